//! Datagrams of nobody in large numbers: answers are bounded, and memory stays where it is.

use std::net::Ipv4Addr;

use super::*;

fn bare_allocate() -> Vec<u8> {
    let mut bytes = Vec::new();
    udp(Writer::new(&mut bytes, Class::Request, method::ALLOCATE, TransactionId([1; 12]))).finish();
    bytes
}

#[test]
fn a_million_spoofed_allocates_leave_nothing_behind() {
    let mut world = World::open();
    let request = bare_allocate();
    let (mut transmit, mut inward) = (TransmitQueue::default(), ReceiveBatch::default());
    let mut answered = 0;
    for index in 0..1_000_000u32 {
        let remote = SocketAddr::from((Ipv4Addr::from_bits(0x0100_0000 + index * 977), 1 + (index % 60_000) as u16));
        let path = Path { socket: LISTENER, remote };
        let mut out = Outputs { transmit: &mut transmit, inward: &mut inward };
        world.server.handle_datagram(path, &request, &mut world.ports, world.now, &mut out);
        answered += transmit.len();
        transmit.clear();
    }
    assert_eq!((answered, world.server.allocations()), (1_000_000, 0));
    assert_eq!(world.count(TurnDrop::Unauthenticated), 1_000_000);
    // No table knows any of them.
    assert_eq!(world.server.allocation_memory(), 0);
    assert_eq!(world.server.poll_timeout(), None);
}

#[test]
fn answers_to_one_prefix_are_bounded_and_others_are_not_touched() {
    let mut world = World::new(Peers::Open(PeerPolicy::default()), Limits { answers_per_second: 50, ..LIMITS });
    let request = bare_allocate();
    let flood = |world: &mut World| {
        let paths = (0..5_000u32).map(|index| Path {
            socket: LISTENER,
            remote: SocketAddr::from(([192, 0, 2, (index % 250) as u8], 1_000 + index as u16)),
        });
        paths.map(|path| world.send(path, &request).len()).sum::<usize>()
    };
    assert_eq!(flood(&mut world), 50);
    assert_eq!(world.count(TurnDrop::AnswerLimited), 4_950);
    let mut elsewhere = Client::named("203.0.113.1:5000");
    elsewhere.allocate(&mut world);
    world.pass(1);
    assert_eq!(flood(&mut world), 50);
}

#[test]
fn no_answer_to_a_stranger_is_much_longer_than_what_it_answers() {
    let mut world = World::open();
    let mut worst = (0.0f64, 0.0f64);
    for source in ["192.0.2.1:5000", "[2001:db8::1]:5000"] {
        let path = Path { socket: LISTENER, remote: address(source) };
        let mut binding = Vec::new();
        Writer::new(&mut binding, Class::Request, method::BINDING, TransactionId([1; 12])).finish();
        let answer = &world.send(path, &binding)[0].1;
        worst.0 = worst.0.max(answer.len() as f64 / binding.len() as f64);
        let request = bare_allocate();
        let answer = &world.send(path, &request)[0].1;
        worst.1 = worst.1.max(answer.len() as f64 / request.len() as f64);
    }
    println!("amplification: Binding {:.2}, 401 {:.2}", worst.0, worst.1);
    assert!(worst.0 <= 2.5 && worst.1 <= 4.0, "{worst:?}");
    // A request too short to be one of a client's gets nothing.
    let mut empty = Vec::new();
    Writer::new(&mut empty, Class::Request, method::ALLOCATE, TransactionId([1; 12])).finish();
    let path = Path { socket: LISTENER, remote: address("192.0.2.1:5000") };
    assert!(world.send(path, &empty).is_empty());
    assert_eq!(world.count(TurnDrop::Amplification), 1);
}

#[test]
fn the_longest_realm_still_fits_the_smallest_request() {
    let server = |realm: usize| {
        let mut world = World::open();
        world.server = Server::new(ServerConfig {
            realm: "r".repeat(realm),
            secrets: Vec::new(),
            users: Vec::new(),
            peers: Peers::Closed(Vec::new()),
            limits: LIMITS,
            unix_epoch: Duration::ZERO,
            seed: [1; 32],
        });
        world
    };
    let path = Path { socket: LISTENER, remote: address("192.0.2.1:5000") };
    assert_eq!(server(MOST_REALM).send(path, &bare_allocate()).len(), 1);
    assert_eq!(server(MOST_REALM + 8).send(path, &bare_allocate()).len(), 0);
}

#[test]
fn an_allocation_with_full_tables_takes_less_than_two_kilobytes() {
    let mut world = World::new(
        Peers::Open(PeerPolicy::default()),
        Limits { allocations_per_user: 1000, allocations: 1000, ..LIMITS },
    );
    let mut full = 0;
    for port in 0..700u16 {
        let mut client = Client::named(&format!("192.0.2.1:{}", 1_000 + port));
        client.allocate(&mut world);
        for index in 0..MOST_CHANNELS as u16 {
            let peer = format!("203.0.113.{}:{}", index + 1, 4_000 + index);
            assert_eq!(client.bind(&mut world, 0x4000 + index, &peer), Answer::Success);
        }
        full += 1;
    }
    let bytes = world.server.allocation_memory() / full;
    println!("bytes per allocation with full tables: {bytes}");
    assert!(bytes <= 2_048, "{bytes}");
}
