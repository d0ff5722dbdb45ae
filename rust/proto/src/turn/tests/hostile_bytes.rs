//! Bytes that no client would send.

use proptest::prelude::*;

use super::*;

const SOURCE: &str = "192.0.2.1:5000";

fn established() -> (World, Client, SocketAddr) {
    let mut world = World::open();
    let mut client = Client::named(SOURCE);
    let relayed = client.allocate(&mut world);
    client.bind(&mut world, 0x4000, PEER);
    (world, client, relayed)
}

proptest! {
    #[test]
    fn arbitrary_bytes_reach_only_the_bound_peer(bytes in proptest::collection::vec(any::<u8>(), 0..120), first in 0u8..0x50) {
        let (mut world, client, _) = established();
        let mut bytes = bytes;
        if let Some(byte) = bytes.first_mut() {
            *byte = first;
        }
        for (path, _) in world.send(client.path, &bytes) {
            prop_assert!(path == client.path || path.remote == address(PEER));
        }
        prop_assert_eq!(world.server.allocations(), 1);
    }

    #[test]
    fn a_changed_request_does_nothing(at in 0usize..200, value in 1u8..=255, kind in 0usize..4) {
        let (mut world, mut client, _) = established();
        client.transaction += 1;
        let mut request = match kind {
            0 => client.write(method::REFRESH, |writer| writer.attribute(attribute::LIFETIME, &[0; 4])),
            1 => client.write(method::ALLOCATE, udp),
            2 => client.write(method::CREATE_PERMISSION, |writer| {
                writer.xor_address(attribute::XOR_PEER_ADDRESS, address("203.0.113.77:1"))
            }),
            _ => client.write(method::CHANNEL_BIND, |writer| {
                writer
                    .attribute(attribute::CHANNEL_NUMBER, &[0x41, 0, 0, 0])
                    .xor_address(attribute::XOR_PEER_ADDRESS, address("203.0.113.77:1"))
            }),
        };
        // Everything is signed but FINGERPRINT, which there is none of, and the padding before it.
        let at = at % request.len();
        request[at] ^= value;
        world.send(client.path, &request);
        prop_assert_eq!(world.server.allocations(), 1);
        let to_peer = world.send(client.path, &send_indication("203.0.113.77:1", b"x"));
        prop_assert!(to_peer.is_empty());
        prop_assert!(world.send(client.path, &channel_data(0x4100, b"x")).is_empty());
    }

    #[test]
    fn any_length_of_channel_data_is_taken_or_dropped(claimed in any::<u16>(), len in 0usize..50) {
        let (mut world, client, _) = established();
        let mut bytes = channel_data(0x4000, &vec![7; len]);
        bytes[2..4].copy_from_slice(&claimed.to_be_bytes());
        let sent = world.send(client.path, &bytes);
        if usize::from(claimed) <= len {
            prop_assert_eq!(&sent[0].1, &vec![7; usize::from(claimed)]);
        } else {
            prop_assert!(sent.is_empty() && world.count(TurnDrop::Malformed) == 1);
        }
    }
}
