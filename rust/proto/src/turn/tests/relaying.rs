//! Data on its way between clients and peers.

use super::*;

const SOURCE: &str = "192.0.2.1:5000";

fn ready(world: &mut World) -> (Client, SocketAddr) {
    let mut client = Client::named(SOURCE);
    let relayed = client.allocate(world);
    (client, relayed)
}

#[test]
fn data_of_every_length_goes_by_channel_to_the_peer_and_back() {
    let mut world = World::open();
    let (mut client, relayed) = ready(&mut world);
    assert_eq!(client.bind(&mut world, 0x4001, PEER), Answer::Success);
    for len in 0..70 {
        let data = vec![len as u8; len];
        let sent = world.send(client.path, &channel_data(0x4001, &data));
        let out = Path { socket: PseudoPorts::socket(relayed), remote: address(PEER) };
        assert_eq!(sent, [(out, data.clone())]);
        let back = world.peer_sends(relayed, PEER, &data);
        assert_eq!(back, [(client.path, channel_data(0x4001, &data))]);
    }
    let traffic = world.server.traffic();
    assert_eq!((traffic.packets_to_peers, traffic.packets_to_clients), (70, 70));
    assert_eq!(traffic.bytes_to_peers, (0..70).sum::<u64>());
}

#[test]
fn data_goes_by_indication_where_there_is_no_channel() {
    let mut world = World::open();
    let (mut client, relayed) = ready(&mut world);
    assert_eq!(client.permit(&mut world, &[PEER]), Answer::Success);
    let sent = world.send(client.path, &send_indication(PEER, b"hello"));
    assert_eq!(sent, [(Path { socket: PseudoPorts::socket(relayed), remote: address(PEER) }, b"hello".to_vec())]);
    let back = world.peer_sends(relayed, "203.0.113.9:77", b"answer");
    let message = Message::parse(&back[0].1).unwrap();
    assert_eq!((message.class(), message.method()), (Class::Indication, method::DATA));
    assert_eq!(message.xor_address(attribute::XOR_PEER_ADDRESS), Some(address("203.0.113.9:77")));
    assert_eq!(message.attribute(attribute::DATA), Some(&b"answer"[..]));
}

#[test]
fn a_client_on_a_stream_gets_channel_data_in_fours() {
    let mut world = World::open();
    let mut client = Client::named(SOURCE);
    client.path.socket = SocketId::carried(9, 1);
    let relayed = client.allocate(&mut world);
    client.bind(&mut world, 0x4001, PEER);
    let sent = world.send(client.path, &[&channel_data(0x4001, b"12345")[..], &[0; 3]].concat());
    assert_eq!(sent[0].1, b"12345");
    let back = world.peer_sends(relayed, PEER, b"12345");
    assert_eq!(back[0].1, [&channel_data(0x4001, b"12345")[..], &[0; 3]].concat());
}

#[test]
fn an_allocation_ends_with_its_connection() {
    let mut world = World::open();
    let mut client = Client::named(SOURCE);
    client.path.socket = SocketId::carried(9, 1);
    let relayed = client.allocate(&mut world);
    client.permit(&mut world, &[PEER]);
    let another = Path { remote: address("192.0.2.1:5001"), ..client.path };
    world.run(|server, ports, _, _| server.handle_closed(another, ports));
    assert_eq!(world.server.allocations(), 1);
    world.run(|server, ports, _, _| server.handle_closed(client.path, ports));
    assert_eq!((world.server.allocations(), world.server.poll_timeout()), (0, None));
    assert!(world.peer_sends(relayed, PEER, b"x").is_empty());
}

#[test]
fn nobody_is_reached_and_nobody_gets_in_without_a_permission() {
    let mut world = World::open();
    let (mut client, relayed) = ready(&mut world);
    assert!(world.send(client.path, &send_indication(PEER, b"x")).is_empty());
    assert!(world.peer_sends(relayed, PEER, b"x").is_empty());
    assert!(world.send(client.path, &channel_data(0x4000, b"x")).is_empty());
    assert_eq!((world.count(TurnDrop::NoPermission), world.count(TurnDrop::UnpermittedPeer)), (1, 1));
    assert_eq!(world.count(TurnDrop::NoChannel), 1);
    client.permit(&mut world, &[PEER]);
    world.pass(u64::from(PERMISSION_LIFETIME_S));
    assert!(world.send(client.path, &send_indication(PEER, b"x")).is_empty());
    assert!(world.peer_sends(relayed, PEER, b"x").is_empty());
    assert_eq!((world.count(TurnDrop::NoPermission), world.count(TurnDrop::UnpermittedPeer)), (2, 2));
}

#[test]
fn strangers_and_relayed_addresses_of_nobody_are_counted() {
    let mut world = World::open();
    let path = Path { socket: LISTENER, remote: address("192.0.2.66:1") };
    assert!(world.send(path, &channel_data(0x4000, b"x")).is_empty());
    assert!(world.send(path, &send_indication(PEER, b"x")).is_empty());
    assert!(world.peer_sends(address("198.51.100.1:50000"), PEER, b"x").is_empty());
    assert_eq!((world.count(TurnDrop::NoAllocation), world.count(TurnDrop::NoRelay)), (2, 1));
}

#[test]
fn a_closed_relay_leads_into_the_process_and_nowhere_else() {
    let mut world = World::closed();
    let mut client = Client::time_limited(SOURCE, UNIX_S + 60, "visitor");
    let relayed = client.allocate(&mut world);
    let ours = "198.51.100.1:3478";
    assert_eq!(client.permit(&mut world, &[PEER]), Answer::Error(403));
    assert_eq!(client.permit(&mut world, &[ours, PEER]), Answer::Error(403));
    assert!(world.send(client.path, &send_indication(ours, b"x")).is_empty(), "all of them or none");
    assert_eq!(client.bind(&mut world, 0x4000, "198.51.100.1:22"), Answer::Error(403));
    assert_eq!(client.bind(&mut world, 0x4000, ours), Answer::Success);
    assert!(world.send(client.path, &channel_data(0x4000, b"check")).is_empty());
    let inner = Path { socket: SocketId::carried(3, 0), remote: relayed };
    assert_eq!(world.inward, [(inner, b"check".to_vec())]);
    assert!(world.send(client.path, &send_indication("198.51.100.1:22", b"x")).is_empty());
    assert_eq!((world.inward.len(), world.count(TurnDrop::PeerDenied)), (1, 4));

    let back = world.run(|server, _, now, out| server.handle_inward(inner, b"answer", now, out));
    assert_eq!(back, [(client.path, channel_data(0x4000, b"answer"))]);
    let nobody = Path { socket: SocketId::carried(3, 9), remote: relayed };
    assert!(world.run(|server, _, now, out| server.handle_inward(nobody, b"x", now, out)).is_empty());
    assert_eq!(world.count(TurnDrop::NoRelay), 1);
}
