//! Who is let in (RFC 8489 §9.2).

use super::*;

const SOURCE: &str = "192.0.2.1:5000";

#[test]
fn every_kind_of_password_and_integrity_is_taken() {
    for (sha256_password, sha256_integrity, userhash) in
        [(false, false, false), (false, true, false), (true, true, false), (true, true, true), (false, false, true)]
    {
        let mut world = World::open();
        let mut client = Client { sha256_password, sha256_integrity, userhash, ..Client::named(SOURCE) };
        let (answer, bytes) = client.ask(&mut world, method::ALLOCATE, udp);
        assert_eq!(answer, Answer::Success);
        let message = Message::parse(&bytes).unwrap();
        assert_eq!(message.has_integrity_sha256(), sha256_integrity, "answered as it was asked");
        assert_eq!(client.refresh(&mut world, 600).0, Answer::Success);
    }
}

#[test]
fn a_request_without_credentials_is_told_how_to_go_on() {
    let mut world = World::open();
    let bytes = Client::named(SOURCE).challenge(&mut world);
    let message = Message::parse(&bytes).unwrap();
    assert_eq!(message.error_code(), Some(401));
    assert_eq!(message.attribute(attribute::REALM), Some(REALM.as_bytes()));
    assert!(message.attribute(attribute::NONCE).unwrap().starts_with(b"obMatJos2AAAD"));
    assert_eq!(message.attribute(attribute::PASSWORD_ALGORITHMS), Some(&[0, 2, 0, 0, 0, 1, 0, 0][..]));
}

#[test]
fn time_limited_names_count_until_their_time_and_calls_outlast_them() {
    let mut world = World::open();
    let mut client = Client::time_limited(SOURCE, UNIX_S + 100, "session");
    client.allocate(&mut world);
    world.pass(99);
    Client::time_limited("192.0.2.1:5001", UNIX_S + 100, "session").allocate(&mut world);
    world.pass(1);
    let mut late = Client::time_limited("192.0.2.1:5002", UNIX_S + 100, "session");
    assert_eq!(late.ask(&mut world, method::ALLOCATE, udp).0, Answer::Error(401));
    assert_eq!(world.count(TurnDrop::ExpiredCredentials), 1);
    assert_eq!(client.refresh(&mut world, 600).0, Answer::Success);
}

#[test]
fn the_password_of_a_time_limited_name_is_the_hmac_of_the_name() {
    // Computed with HMAC-SHA1 of another library.
    assert_eq!(time_limited_password(b"north", "1800000000:abc"), "8mE1mCdEjNur0DF8ID/k1yDKnFY=");
}

#[test]
fn two_secrets_count_and_what_is_taken_away_does_not() {
    let mut world = World::open();
    world.server.set_secrets(&[b"the next one".to_vec(), SECRET.to_vec()]);
    Client::time_limited(SOURCE, UNIX_S + 100, "a").allocate(&mut world);
    world.server.set_secrets(&[b"the next one".to_vec()]);
    let mut old = Client::time_limited("192.0.2.1:5001", UNIX_S + 100, "b");
    assert_eq!(old.ask(&mut world, method::ALLOCATE, udp).0, Answer::Error(401));
    assert_eq!(world.count(TurnDrop::BadIntegrity), 1);
    world.server.set_secrets(&[]);
    assert_eq!(old.ask(&mut world, method::ALLOCATE, udp).0, Answer::Error(401));
    assert_eq!(world.count(TurnDrop::UnknownUser), 1);
}

fn users(named: &[(&str, &str)]) -> Vec<(String, String)> {
    named.iter().map(|&(name, password)| (name.to_owned(), password.to_owned())).collect()
}

#[test]
fn named_users_come_and_go_while_the_server_runs() {
    let mut world = World::open();
    let mut bob = Client::new("192.0.2.2:5000", "bob", "new here");
    assert_eq!(bob.ask(&mut world, method::ALLOCATE, udp).0, Answer::Error(401));
    world.server.set_users(&users(&[("bob", "new here")]));
    for userhash in [false, true] {
        let source = format!("192.0.2.2:{}", 5001 + u16::from(userhash));
        Client { userhash, ..Client::new(&source, "bob", "new here") }.allocate(&mut world);
        let mut gone = Client { userhash, ..Client::named(SOURCE) };
        assert_eq!(gone.ask(&mut world, method::ALLOCATE, udp).0, Answer::Error(401));
    }
    assert_eq!(world.count(TurnDrop::UnknownUser), 3);
}

#[test]
fn an_allocation_of_a_user_who_is_gone_ends_by_itself_and_is_prolonged_by_nobody() {
    for sha256_password in [false, true] {
        let mut world = World::open();
        let mut client = Client { sha256_password, ..Client::named(SOURCE) };
        client.allocate(&mut world);
        assert_eq!(client.permit(&mut world, &[PEER]), Answer::Success);
        world.server.set_users(&[]);
        assert_eq!(client.refresh(&mut world, 3600).0, Answer::Error(401));
        assert_eq!(client.permit(&mut world, &[PEER]), Answer::Error(401));
        assert_eq!(world.count(TurnDrop::UnknownUser), 2);
        assert_eq!(world.server.allocations(), 1, "what is agreed lasts as long as it was agreed");
        world.pass(600);
        assert_eq!(world.server.allocations(), 0);
    }
}

#[test]
fn another_password_goes_on_with_the_allocation_and_the_one_before_does_not() {
    let mut world = World::open();
    let mut client = Client::named(SOURCE);
    client.allocate(&mut world);
    world.server.set_users(&users(&[("ann", "battery staple")]));
    assert_eq!(client.refresh(&mut world, 600).0, Answer::Error(401));
    assert_eq!(world.count(TurnDrop::BadIntegrity), 1);
    client.password = "battery staple".to_owned();
    assert_eq!(client.refresh(&mut world, 600).0, Answer::Success);
}

#[test]
fn who_has_a_name_until_a_time_goes_on_when_named_users_change() {
    let mut world = World::open();
    let mut client = Client::time_limited(SOURCE, UNIX_S + 100, "session");
    client.allocate(&mut world);
    world.server.set_users(&[]);
    world.pass(101);
    assert_eq!(client.refresh(&mut world, 600).0, Answer::Success);
}

#[test]
fn a_nonce_ages_and_the_next_one_is_in_the_refusal() {
    let mut world = World::open();
    let mut client = Client::named(SOURCE);
    client.allocate(&mut world);
    for _ in 0..3 {
        world.pass(500);
        client.refresh(&mut world, 600);
    }
    let (answer, bytes) = client.ask(&mut world, method::REFRESH, |writer| writer);
    assert_eq!((answer, world.count(TurnDrop::StaleNonce)), (Answer::Error(438), 2));
    client.nonce = Message::parse(&bytes).unwrap().attribute(attribute::NONCE).unwrap().to_vec();
    assert_eq!(client.refresh(&mut world, 600).0, Answer::Success);
}

#[test]
fn incomplete_and_contradicting_credentials_are_bad_requests() {
    let mut world = World::open();
    let mut client = Client::named(SOURCE);
    client.challenge(&mut world);
    let mut ask = |write: &dyn Fn(Writer<'_>)| {
        let mut bytes = Vec::new();
        write(Writer::new(&mut bytes, Class::Request, method::ALLOCATE, TransactionId([3; 12])));
        client.exchange(&mut world, &bytes).0
    };
    let key = Client::named(SOURCE).hmac_key();
    let nothing = ask(&|writer| {
        udp(writer).integrity(&key).finish();
    });
    assert_eq!(nothing, Answer::Error(400));
    let no_nonce = ask(&|writer| {
        udp(writer).username(b"ann").attribute(attribute::REALM, REALM.as_bytes()).integrity(&key).finish();
    });
    assert_eq!(no_nonce, Answer::Error(400));
    let half_algorithm = ask(&|writer| {
        let writer = udp(writer).username(b"ann").attribute(attribute::REALM, REALM.as_bytes());
        let writer = writer.attribute(attribute::NONCE, b"n").attribute(attribute::PASSWORD_ALGORITHM, &[0, 2, 0, 0]);
        writer.integrity(&key).finish();
    });
    assert_eq!(half_algorithm, Answer::Error(400), "bidding down: the list is missing");
    let other_list = ask(&|writer| {
        let writer = udp(writer).username(b"ann").attribute(attribute::REALM, REALM.as_bytes());
        let writer = writer.attribute(attribute::NONCE, b"n").attribute(attribute::PASSWORD_ALGORITHM, &[0, 1, 0, 0]);
        writer.attribute(attribute::PASSWORD_ALGORITHMS, &[0, 1, 0, 0]).integrity(&key).finish();
    });
    assert_eq!(other_list, Answer::Error(400), "bidding down: the list is another one");
    assert_eq!(world.count(TurnDrop::BadCredentials), 4);
}
