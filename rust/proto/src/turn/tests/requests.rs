//! Requests of well-behaved clients, and what they get.

use super::*;

const SOURCE: &str = "192.0.2.1:5000";

#[test]
fn a_binding_request_is_answered_with_the_source_address() {
    let mut world = World::open();
    let mut bytes = Vec::new();
    Writer::new(&mut bytes, Class::Request, method::BINDING, TransactionId([1; 12])).fingerprint();
    let path = Path { socket: LISTENER, remote: address(SOURCE) };
    let sent = world.send(path, &bytes);
    let message = Message::parse(&sent[0].1).unwrap();
    assert_eq!((message.class(), message.xor_mapped_address()), (Class::Success, Some(address(SOURCE))));
    assert!(message.has_fingerprint());
}

#[test]
fn an_allocation_gets_a_relayed_address_of_the_family_that_is_asked_for() {
    let mut world = World::open();
    let mut client = Client::named(SOURCE);
    let (_, bytes) = client.ask(&mut world, method::ALLOCATE, udp);
    assert!(relayed(&bytes).is_ipv4());
    assert_eq!(lifetime(&bytes), Some(DEFAULT_LIFETIME_S));
    assert_eq!(Message::parse(&bytes).unwrap().xor_mapped_address(), Some(address(SOURCE)));
    let mut client = Client::named("192.0.2.1:5001");
    let (_, bytes) = client.ask(&mut world, method::ALLOCATE, |writer| {
        udp(writer).attribute(attribute::REQUESTED_ADDRESS_FAMILY, &[2, 0, 0, 0])
    });
    assert!(relayed(&bytes).is_ipv6());
    let mut client = Client::named("192.0.2.1:5002");
    let (answer, _) = client.ask(&mut world, method::ALLOCATE, |writer| {
        udp(writer).attribute(attribute::REQUESTED_ADDRESS_FAMILY, &[3, 0, 0, 0])
    });
    assert_eq!(answer, Answer::Error(440));
}

#[test]
fn a_second_family_beside_the_first_is_told_to_be_missing() {
    let mut world = World::open();
    let (answer, bytes) = Client::named(SOURCE).ask(&mut world, method::ALLOCATE, |writer| {
        udp(writer).attribute(attribute::ADDITIONAL_ADDRESS_FAMILY, &[2, 0, 0, 0])
    });
    assert_eq!(answer, Answer::Success);
    let message = Message::parse(&bytes).unwrap();
    assert_eq!(message.attribute(attribute::ADDRESS_ERROR_CODE), Some(&[2, 0, 4, 40][..]));
}

#[test]
fn the_same_allocate_request_again_gets_the_same_answer() {
    let mut world = World::open();
    let mut client = Client::named(SOURCE);
    client.challenge(&mut world);
    let request = client.write(method::ALLOCATE, |writer| udp(writer).attribute(attribute::EVEN_PORT, &[0x80]));
    let (first, second) = (client.exchange(&mut world, &request), client.exchange(&mut world, &request));
    assert_eq!(first, second);
    assert_eq!(world.server.allocations(), 1);
    let (answer, _) = client.ask(&mut world, method::ALLOCATE, udp);
    assert_eq!(answer, Answer::Error(437), "another request on the same 5-tuple");
}

#[test]
fn an_allocation_ends_when_it_is_not_refreshed() {
    let mut world = World::open();
    let mut client = Client::named(SOURCE);
    client.allocate(&mut world);
    assert_eq!(world.server.poll_timeout(), Some(Time::from_millis(600_000)));
    world.pass(599);
    assert_eq!(client.refresh(&mut world, 100), (Answer::Success, Some(DEFAULT_LIFETIME_S)));
    world.pass(599);
    assert_eq!(client.refresh(&mut world, 1_000_000), (Answer::Success, Some(MAX_LIFETIME_S)));
    world.pass(u64::from(MAX_LIFETIME_S) - 1);
    assert_eq!(world.server.allocations(), 1);
    world.pass(1);
    assert_eq!((world.server.allocations(), world.server.poll_timeout()), (0, None));
    client.nonce.clear();
    assert_eq!(client.refresh(&mut world, 600).0, Answer::Error(437));
}

#[test]
fn a_refresh_to_nothing_ends_the_allocation() {
    let mut world = World::open();
    let mut client = Client::named(SOURCE);
    client.allocate(&mut world);
    assert_eq!(client.refresh(&mut world, 0), (Answer::Success, Some(0)));
    assert_eq!((world.server.allocations(), world.server.poll_timeout()), (0, None));
    client.allocate(&mut world);
}

#[test]
fn a_refresh_for_the_other_family_is_refused() {
    let mut world = World::open();
    let mut client = Client::named(SOURCE);
    client.allocate(&mut world);
    let refresh = |client: &mut Client, world: &mut World, family| {
        let family: [u8; 4] = [family, 0, 0, 0];
        client.ask(world, method::REFRESH, |writer| writer.attribute(attribute::REQUESTED_ADDRESS_FAMILY, &family)).0
    };
    assert_eq!(refresh(&mut client, &mut world, 2), Answer::Error(443));
    assert_eq!(refresh(&mut client, &mut world, 1), Answer::Success);
}

#[test]
fn what_is_not_offered_is_refused_by_the_right_code() {
    let refused = |fill: fn(Writer<'_>) -> Writer<'_>| {
        let mut world = World::open();
        let (answer, bytes) = Client::named(SOURCE).ask(&mut world, method::ALLOCATE, fill);
        assert_eq!(world.server.allocations(), 0);
        (answer, bytes)
    };
    let tcp = refused(|writer| writer.attribute(attribute::REQUESTED_TRANSPORT, &[6, 0, 0, 0]));
    assert_eq!(tcp.0, Answer::Error(442));
    assert_eq!(refused(|writer| writer).0, Answer::Error(400), "no transport at all");
    let (answer, bytes) = refused(|writer| udp(writer).attribute(attribute::DONT_FRAGMENT, &[]));
    assert_eq!(answer, Answer::Error(420));
    let unknown = Message::parse(&bytes).unwrap().attribute(attribute::UNKNOWN_ATTRIBUTES).map(<[u8]>::to_vec);
    assert_eq!(unknown, Some(attribute::DONT_FRAGMENT.to_be_bytes().to_vec()));
    let moving = refused(|writer| udp(writer).attribute(attribute::MOBILITY_TICKET, &[]));
    assert_eq!(moving.0, Answer::Error(405));
    let both = refused(|writer| {
        udp(writer).attribute(attribute::EVEN_PORT, &[0]).attribute(attribute::RESERVATION_TOKEN, &[1; 8])
    });
    assert_eq!(both.0, Answer::Error(400));
    let gone = refused(|writer| udp(writer).attribute(attribute::RESERVATION_TOKEN, &[1; 8]));
    assert_eq!(gone.0, Answer::Error(508));
}

#[test]
fn an_even_port_keeps_the_next_one_for_its_owner() {
    let mut world = World::open();
    let (answer, bytes) = Client::named(SOURCE)
        .ask(&mut world, method::ALLOCATE, |writer| udp(writer).attribute(attribute::EVEN_PORT, &[0x80]));
    assert_eq!(answer, Answer::Success);
    let first = relayed(&bytes);
    assert_eq!(first.port() % 2, 0);
    let token = Message::parse(&bytes).unwrap().attribute(attribute::RESERVATION_TOKEN).unwrap().to_vec();
    let redeem = |client: &mut Client, world: &mut World| {
        client.ask(world, method::ALLOCATE, |writer| udp(writer).attribute(attribute::RESERVATION_TOKEN, &token))
    };
    let mut stranger = Client::time_limited("192.0.2.1:5003", UNIX_S + 60, "another");
    assert_eq!(redeem(&mut stranger, &mut world).0, Answer::Error(508), "it is not his");
    let (answer, bytes) = redeem(&mut Client::named("192.0.2.1:5001"), &mut world);
    assert_eq!((answer, relayed(&bytes).port()), (Answer::Success, first.port() + 1));
    let again = redeem(&mut Client::named("192.0.2.1:5002"), &mut world);
    assert_eq!(again.0, Answer::Error(508), "a token counts once");
}

#[test]
fn a_kept_port_is_given_back_after_thirty_seconds() {
    let mut world = World::open();
    let (_, bytes) = Client::named(SOURCE)
        .ask(&mut world, method::ALLOCATE, |writer| udp(writer).attribute(attribute::EVEN_PORT, &[0x80]));
    let token = Message::parse(&bytes).unwrap().attribute(attribute::RESERVATION_TOKEN).unwrap().to_vec();
    world.now = Time::from_millis(30_000);
    let redeem = |world: &mut World| {
        let mut client = Client::named("192.0.2.1:5001");
        client.ask(world, method::ALLOCATE, |writer| udp(writer).attribute(attribute::RESERVATION_TOKEN, &token)).0
    };
    assert_eq!(redeem(&mut world), Answer::Error(508));
    assert_eq!(world.server.poll_timeout(), Some(world.now));
    world.pass(0);
    assert_eq!(world.server.poll_timeout(), Some(Time::from_millis(600_000)));
}

#[test]
fn while_draining_new_clients_are_sent_elsewhere_and_the_others_stay() {
    let mut world = World::open();
    let mut here = Client::named(SOURCE);
    here.allocate(&mut world);
    world.server.set_draining(Some(vec![address("198.51.100.2:3478")]));
    let mut new = Client::named("192.0.2.1:5001");
    let (answer, bytes) = new.ask(&mut world, method::ALLOCATE, udp);
    assert_eq!(answer, Answer::Error(300));
    let alternate = Message::parse(&bytes).unwrap().attribute(attribute::ALTERNATE_SERVER).map(<[u8]>::to_vec);
    assert_eq!(alternate, Some(vec![0, 1, 0x0D, 0x96, 198, 51, 100, 2]));
    let mut other_family = Client::named("[2001:db8::1]:5001");
    assert_eq!(other_family.ask(&mut world, method::ALLOCATE, udp).0, Answer::Error(508));
    assert_eq!(here.refresh(&mut world, 600).0, Answer::Success);
    world.server.set_draining(None);
    new.allocate(&mut world);
}

#[test]
fn channels_and_permissions_are_bound_and_refused_by_the_right_code() {
    let mut world = World::open();
    let mut client = Client::named(SOURCE);
    assert_eq!(client.permit(&mut world, &[PEER]), Answer::Error(437), "without an allocation");
    client.allocate(&mut world);
    assert_eq!(client.permit(&mut world, &[]), Answer::Error(400));
    assert_eq!(client.permit(&mut world, &["[2001:db8::9]:1"]), Answer::Error(443));
    assert_eq!(client.bind(&mut world, 0x4000, "[2001:db8::9]:1"), Answer::Error(443));
    assert_eq!(client.bind(&mut world, 0x3FFF, PEER), Answer::Error(400));
    assert_eq!(client.bind(&mut world, 0x7FFF, PEER), Answer::Error(400));
    assert_eq!(client.bind(&mut world, 0x7FFE, PEER), Answer::Success);
    assert_eq!(client.bind(&mut world, 0x4000, PEER), Answer::Error(400), "the peer has a number");
    assert_eq!(client.bind(&mut world, 0x7FFE, "203.0.113.9:1"), Answer::Error(400), "the number has a peer");
    assert_eq!(client.bind(&mut world, 0x4000, "203.0.113.9:1"), Answer::Success);
}

#[test]
fn tables_of_an_allocation_are_bounded() {
    let mut world = World::open();
    let mut client = Client::named(SOURCE);
    client.allocate(&mut world);
    for port in 0..MOST_CHANNELS as u16 {
        assert_eq!(client.bind(&mut world, 0x4000 + port, &format!("203.0.113.9:{}", port + 1)), Answer::Success);
    }
    assert_eq!(client.bind(&mut world, 0x5000, "203.0.113.9:999"), Answer::Error(508));
    for last in 0..MOST_PERMISSIONS - 1 {
        assert_eq!(client.permit(&mut world, &[&format!("203.0.113.{}:1", last + 10)]), Answer::Success);
    }
    assert_eq!(client.permit(&mut world, &["203.0.113.200:1"]), Answer::Error(508));
}
