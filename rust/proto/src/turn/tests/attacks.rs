//! What hostile clients try; each is refused and counted by name.

use super::*;

const SOURCE: &str = "192.0.2.1:5000";

#[test]
fn even_port_ten_thousand_times_takes_no_more_than_the_quota() {
    let mut world = World::open();
    let mut granted = 0;
    for index in 0..10_000u32 {
        let mut client =
            Client::time_limited(&format!("192.0.{}.{}:5000", index >> 8 & 0xff, index & 0xff), UNIX_S + 60, "greedy");
        let (answer, _) =
            client.ask(&mut world, method::ALLOCATE, |writer| udp(writer).attribute(attribute::EVEN_PORT, &[0x80]));
        match answer {
            Answer::Success => granted += 1,
            answer => assert_eq!(answer, Answer::Error(486)),
        }
    }
    assert_eq!((granted, world.server.allocations()), (5, 5), "each takes two of ten");
    assert_eq!(world.count(TurnDrop::UserQuota), 9_995);
    Client::time_limited("192.0.2.1:1", UNIX_S + 60, "modest").allocate(&mut world);
    // When all is over nothing is left of it: every port can be had again.
    world.pass(600);
    world.pass(600);
    assert_eq!((world.server.allocations(), world.server.poll_timeout()), (0, None));
    let mut pairs = 0;
    for _ in 0..3 {
        for index in 0..1_000 {
            let wish = PortWish { family: Family::V4, even: true, reserve_next: true };
            pairs += u32::from(index < 1_000 && world.ports.open(wish).is_some());
        }
    }
    assert_eq!(pairs, 500);
}

#[test]
fn inner_peers_are_denied_in_every_form() {
    let mut world = World::open();
    let mut v4 = Client::named(SOURCE);
    v4.allocate(&mut world);
    let mut v6 = Client::named("192.0.2.1:5001");
    let (answer, _) = v6.ask(&mut world, method::ALLOCATE, |writer| {
        udp(writer).attribute(attribute::REQUESTED_ADDRESS_FAMILY, &[2, 0, 0, 0])
    });
    assert_eq!(answer, Answer::Success);
    let mut tried = 0;
    let of_v4 = ["127.0.0.1:80", "169.254.169.254:80", "10.0.0.1:80", "224.0.0.1:80", "0.0.0.0:80"];
    let of_v6 = [
        "[::ffff:127.0.0.1]:80",
        "[::127.0.0.1]:80",
        "[2002:7f00:1::]:80",
        "[64:ff9b::127.0.0.1]:80",
        "[64:ff9b::169.254.169.254]:80",
        "[::ffff:169.254.169.254]:80",
        "[::1]:80",
        "[fe80::1]:80",
        "[fc00::1]:80",
        "[ff02::1]:80",
    ];
    for (client, peers) in [(&mut v4, &of_v4[..]), (&mut v6, &of_v6[..])] {
        for peer in peers {
            assert_eq!(client.permit(&mut world, &[peer]), Answer::Error(403), "{peer}");
            assert_eq!(client.bind(&mut world, 0x4000, peer), Answer::Error(403), "{peer}");
            assert!(world.send(client.path, &send_indication(peer, b"x")).is_empty(), "{peer}");
            tried += 1;
        }
    }
    assert_eq!((world.count(TurnDrop::PeerDenied), world.count(TurnDrop::NoPermission)), (2 * tried, tried));
}

#[test]
fn a_nonce_of_another_address_is_refused() {
    let mut world = World::open();
    let mut victim = Client::named(SOURCE);
    victim.challenge(&mut world);
    for source in ["192.0.2.1:5001", "192.0.2.2:5000", "[2001:db8::1]:5000"] {
        let mut thief = Client { nonce: victim.nonce.clone(), ..Client::named(source) };
        assert_eq!(thief.ask(&mut world, method::ALLOCATE, udp).0, Answer::Error(438));
    }
    assert_eq!((world.count(TurnDrop::ForeignNonce), world.server.allocations()), (3, 0));
    victim.allocate(&mut world);
}

#[test]
fn names_with_format_strings_and_names_that_are_too_long_are_names_of_nobody() {
    let mut world = World::open();
    let names = ["%s%s%s%n%n%n", "%1000000000d", "${jndi:ldap://x}", "';--", "\0\0\0", ":", "1800000100:", ""];
    for name in names {
        let mut client = Client::new(SOURCE, name, "whatever");
        assert_eq!(client.ask(&mut world, method::ALLOCATE, udp).0, Answer::Error(401), "{name}");
    }
    let mut long = Client::new(SOURCE, &"x".repeat(513), "whatever");
    assert_eq!(long.ask(&mut world, method::ALLOCATE, udp).0, Answer::Error(400));
    let mut longest = Client::new(SOURCE, &"x".repeat(508), "whatever");
    assert_eq!(longest.ask(&mut world, method::ALLOCATE, udp).0, Answer::Error(401));
    assert_eq!((world.count(TurnDrop::LongUsername), world.server.allocations()), (1, 0));
}

#[test]
fn expiries_that_are_no_numbers_are_names_of_nobody() {
    let mut world = World::open();
    for expiry in ["-1", "+1", "1e99", "99999999999999999999999999", "0x7fffffff", "", " 1800000100"] {
        let username = format!("{expiry}:s");
        let mut client = Client::new(SOURCE, &username, &time_limited_password(SECRET, &username));
        let (answer, _) = client.ask(&mut world, method::ALLOCATE, udp);
        assert_eq!(answer, Answer::Error(401), "{expiry}");
    }
}

#[test]
fn of_two_peers_in_one_attribute_list_the_first_one_counts() {
    let mut world = World::open();
    let mut client = Client::named(SOURCE);
    let relayed = client.allocate(&mut world);
    let bind = |client: &mut Client, world: &mut World, first: &str, second: &str| {
        let (first, second) = (address(first), address(second));
        client
            .ask(world, method::CHANNEL_BIND, |writer| {
                writer
                    .attribute(attribute::CHANNEL_NUMBER, &[0x40, 0, 0, 0])
                    .xor_address(attribute::XOR_PEER_ADDRESS, first)
                    .xor_address(attribute::XOR_PEER_ADDRESS, second)
            })
            .0
    };
    assert_eq!(bind(&mut client, &mut world, "127.0.0.1:80", PEER), Answer::Error(403));
    assert_eq!(bind(&mut client, &mut world, PEER, "127.0.0.1:80"), Answer::Success);
    let sent = world.send(client.path, &channel_data(0x4000, b"x"));
    assert_eq!(sent[0].0, Path { socket: PseudoPorts::socket(relayed), remote: address(PEER) });

    let mut twice = Vec::new();
    Writer::new(&mut twice, Class::Indication, method::SEND, TransactionId([1; 12]))
        .xor_address(attribute::XOR_PEER_ADDRESS, address("127.0.0.1:80"))
        .xor_address(attribute::XOR_PEER_ADDRESS, address(PEER))
        .attribute(attribute::DATA, b"x")
        .finish();
    assert!(world.send(client.path, &twice).is_empty());
    // In CreatePermission several are several; one that is denied denies all.
    assert_eq!(client.permit(&mut world, &["203.0.113.10:1", "127.0.0.1:1"]), Answer::Error(403));
    assert!(world.send(client.path, &send_indication("203.0.113.10:1", b"x")).is_empty());
    assert_eq!(client.permit(&mut world, &["203.0.113.10:1"; 20]), Answer::Success);
    let memory = world.server.allocation_memory();
    assert_eq!(client.permit(&mut world, &["203.0.113.10:1"; 20]), Answer::Success);
    assert_eq!(world.server.allocation_memory(), memory, "the same peer again takes no memory");
}

#[test]
fn attributes_behind_the_integrity_are_not_obeyed() {
    for sha256_integrity in [false, true] {
        let mut world = World::open();
        let mut client = Client { sha256_integrity, ..Client::named(SOURCE) };
        client.allocate(&mut world);
        let request =
            client.write(method::REFRESH, |writer| writer.attribute(attribute::LIFETIME, &600u32.to_be_bytes()));
        let lifetime = [0, 13, 0, 4, 0, 0, 0, 0];
        let mut tampered = [&request[..], &lifetime].concat();
        let length = u16::from_be_bytes([tampered[2], tampered[3]]) + 8;
        tampered[2..4].copy_from_slice(&length.to_be_bytes());
        assert_eq!(client.exchange(&mut world, &tampered).0, Answer::Success);
        assert_eq!(world.server.allocations(), 1, "a lifetime of nothing behind the signature ends nothing");
        // The same before the signature breaks it.
        let mut inserted = request[..20].to_vec();
        inserted.extend_from_slice(&lifetime);
        inserted.extend_from_slice(&request[20..]);
        inserted[2..4].copy_from_slice(&length.to_be_bytes());
        assert_eq!(client.exchange(&mut world, &inserted).0, Answer::Error(401));
        assert_eq!((world.server.allocations(), world.count(TurnDrop::BadIntegrity)), (1, 1));
    }
}

#[test]
fn the_quota_is_that_of_the_session_whatever_credentials_and_addresses_it_takes() {
    let mut world = World::open();
    let mut sources = 0;
    let mut try_one = |world: &mut World, expires_s| {
        sources += 1;
        let mut client = Client::time_limited(&format!("192.0.2.1:{sources}"), expires_s, "visitor");
        (client.ask(world, method::ALLOCATE, udp).0, client)
    };
    let mut clients = Vec::new();
    for index in 0..10 {
        let (answer, client) = try_one(&mut world, UNIX_S + 60 + index);
        assert_eq!(answer, Answer::Success);
        clients.push(client);
    }
    // New credentials, new addresses, again and again: the old allocations still count.
    for index in 0..50 {
        assert_eq!(try_one(&mut world, UNIX_S + 1_000 + index).0, Answer::Error(486));
    }
    clients[0].refresh(&mut world, 0);
    assert_eq!(try_one(&mut world, UNIX_S + 60).0, Answer::Success);
    assert_eq!(try_one(&mut world, UNIX_S + 60).0, Answer::Error(486));
}

#[test]
fn all_allocations_together_are_bounded() {
    let mut world = World::open();
    for index in 0..100 {
        Client::time_limited(&format!("192.0.2.1:{}", index + 1), UNIX_S + 60, &format!("s{index}"))
            .allocate(&mut world);
    }
    let mut one_more = Client::time_limited("192.0.2.1:999", UNIX_S + 60, "more");
    assert_eq!(one_more.ask(&mut world, method::ALLOCATE, udp).0, Answer::Error(508));
    assert_eq!(world.count(TurnDrop::TotalQuota), 1);
}

#[test]
fn an_allocation_is_its_owners() {
    let mut world = World::open();
    let mut owner = Client::named(SOURCE);
    owner.allocate(&mut world);
    let mut other = Client::time_limited(SOURCE, UNIX_S + 60, "other");
    other.transaction = 1_000;
    assert_eq!(other.refresh(&mut world, 0).0, Answer::Error(441));
    assert_eq!(other.permit(&mut world, &[PEER]), Answer::Error(441));
    assert_eq!(other.bind(&mut world, 0x4000, PEER), Answer::Error(441));
    assert_eq!((world.server.allocations(), world.count(TurnDrop::WrongUser)), (1, 3));
    // The owner's request again, signed by somebody else.
    other.transaction = owner.transaction;
    other.challenge(&mut world);
    let request = other.write(method::ALLOCATE, udp);
    assert_eq!(other.exchange(&mut world, &request).0, Answer::Error(437));
}

#[test]
fn relaying_by_tcp_is_not_served() {
    let mut world = World::open();
    let mut client = Client::named(SOURCE);
    client.allocate(&mut world);
    // Connect and ConnectionBind of RFC 6062, and answers that nobody asked for.
    for method in [0x00A, 0x00B] {
        assert_eq!(client.ask(&mut world, method, |writer| writer).0, Answer::Silence);
    }
    let mut answer = Vec::new();
    Writer::new(&mut answer, Class::Success, method::ALLOCATE, TransactionId([1; 12])).finish();
    assert!(world.send(client.path, &answer).is_empty());
    assert_eq!(world.count(TurnDrop::Unsupported), 3);
}
