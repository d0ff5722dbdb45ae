//! A TURN server that is fed datagrams by strangers: nobody gets an allocation, nothing is relayed, and answers are short.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use mediaserver_proto::io::{Path, ReceiveBatch, SocketId, TransmitQueue};
use mediaserver_proto::time::Time;
use mediaserver_proto::turn::{
    InnerPeer, Limits, Outputs, PeerPolicy, Peers, PseudoPorts, Server, ServerConfig,
};

fn server(peers: Peers) -> Server {
    Server::new(ServerConfig {
        realm: "fuzz".to_owned(),
        secrets: vec![b"nobody knows it".to_vec()],
        users: vec![("ann".to_owned(), "nobody knows it".to_owned())],
        peers,
        limits: Limits { allocations: 8, allocations_per_user: 4, answers_per_second: 1_000_000 },
        unix_epoch: Duration::from_secs(1_800_000_000),
        seed: [1; 32],
    })
}

fuzz_target!(|datagrams: Vec<&[u8]>| {
    let inner = InnerPeer { address: ([198, 51, 100, 1], 10_000).into(), socket: SocketId::carried(2, 0) };
    let mut ports = PseudoPorts::new(&[[198, 51, 100, 1].into()], 50_000, 50_099, 1);
    for mut server in [server(Peers::Closed(vec![inner])), server(Peers::Open(PeerPolicy::default()))] {
        let client = Path { socket: SocketId(0), remote: ([192, 0, 2, 1], 5_000).into() };
        for datagram in &datagrams {
            let (mut transmit, mut inward) = (TransmitQueue::default(), ReceiveBatch::default());
            let mut out = Outputs { transmit: &mut transmit, inward: &mut inward };
            server.handle_datagram(client, datagram, &mut ports, Time::ZERO, &mut out);
            server.handle_relayed(SocketId(50_000), ([203, 0, 113, 1], 1).into(), datagram, Time::ZERO, &mut out);
            server.handle_inward(Path { socket: inner.socket, ..client }, datagram, Time::ZERO, &mut out);
            assert!(inward.is_empty());
            for entry in transmit.entries() {
                assert!(entry.path == client && entry.len <= 4 * datagram.len());
            }
        }
        // Nobody can guess an HMAC.
        assert_eq!((server.allocations(), server.poll_timeout()), (0, None));
    }
});
