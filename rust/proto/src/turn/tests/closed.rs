//! What somebody with credentials of a session tries at a closed relay: it leads to the media addresses of the house, for as
//! many allocations as a session may have, and nowhere else.

use super::*;

const MEDIA: &str = "198.51.100.1:3478";

/// A client on a connection, which another thread has.
fn connected(port: u16, session: &str) -> Client {
    let client = Client::time_limited(&format!("192.0.2.1:{port}"), UNIX_S + 60, session);
    Client { path: Path { socket: SocketId::carried(9, 1), ..client.path }, ..client }
}

fn hang_up(world: &mut World, client: &Client) {
    let path = client.path;
    world.run(|server, ports, _, _| server.handle_closed(path, ports));
}

#[test]
fn the_quota_holds_across_reconnects_and_a_closed_connection_gives_its_part_back() {
    let mut world = World::closed();
    let mut open: Vec<Client> = (0..10).map(|port| connected(1_000 + port, "greedy")).collect();
    for client in &mut open {
        client.allocate(&mut world);
    }
    for round in 0..500u16 {
        let mut more = connected(20_000 + round, "greedy");
        assert_eq!(more.ask(&mut world, method::ALLOCATE, udp).0, Answer::Error(486));
        // New credentials of the same session are the same user's.
        let mut renewed = connected(30_000 + round, "greedy");
        renewed.username = format!("{}:greedy", UNIX_S + 3_000);
        renewed.password = time_limited_password(SECRET, &renewed.username);
        assert_eq!(renewed.ask(&mut world, method::ALLOCATE, udp).0, Answer::Error(486));
        let again = &mut open[usize::from(round) % 10];
        hang_up(&mut world, again);
        *again = connected(40_000 + round % 20_000, "greedy");
        again.allocate(&mut world);
        assert_eq!(world.server.allocations(), 10);
    }
    assert_eq!(world.count(TurnDrop::UserQuota), 1_000);
    open.iter().for_each(|client| hang_up(&mut world, client));
    assert_eq!((world.server.allocations(), world.server.poll_timeout()), (0, None));
}

#[test]
fn only_the_announced_addresses_are_peers() {
    let mut world = World::closed();
    let mut client = connected(1_000, "curious");
    client.allocate(&mut world);
    for (number, peer) in
        ["192.0.2.9:3478", "198.51.100.2:3478", "127.0.0.1:3478", "169.254.169.254:80", "10.3.0.10:5060"]
            .into_iter()
            .enumerate()
    {
        assert_eq!(client.permit(&mut world, &[peer]), Answer::Error(403), "{peer}");
        assert_eq!(
            client.permit(&mut world, &[MEDIA, peer]),
            Answer::Error(403),
            "{peer} behind one that is permitted"
        );
        assert_eq!(client.bind(&mut world, 0x4000 + number as u16, peer), Answer::Error(403), "{peer}");
    }
    assert_eq!(client.permit(&mut world, &[MEDIA]), Answer::Success);
    // A permission is one for an address; at another port of it nobody is either.
    let before = world.count(TurnDrop::PeerDenied);
    for port in [80, 443, 7443, 9090] {
        let peer = format!("198.51.100.1:{port}");
        assert_eq!(client.bind(&mut world, 0x4100, &peer), Answer::Error(403));
        assert_eq!(world.send(client.path, &send_indication(&peer, b"request")), []);
    }
    assert_eq!(world.count(TurnDrop::PeerDenied) - before, 8);
    assert_eq!(world.inward, []);
    world.send(client.path, &send_indication(MEDIA, b"check"));
    assert_eq!(world.inward.len(), 1);
}

#[test]
fn credentials_of_another_house_and_of_a_secret_that_was_taken_away_open_nothing() {
    let mut world = World::closed();
    let username = format!("{}:session", UNIX_S + 60);
    for secret in [&b"the secret of another house"[..], b"", &[SECRET, b"x"].concat()] {
        let mut foreign = Client::new("192.0.2.1:1000", &username, &time_limited_password(secret, &username));
        assert_eq!(foreign.ask(&mut world, method::ALLOCATE, udp).0, Answer::Error(401));
    }
    // As many secrets count as an Edge has of its Cores, each with its own and the one before.
    let secrets: Vec<Vec<u8>> = (0..=MOST_SECRETS as u8).map(|core| vec![core; 32]).collect();
    world.server.set_secrets(&secrets);
    for (at, secret) in secrets.iter().enumerate() {
        let source = format!("192.0.2.1:{}", 2_000 + at);
        let mut client = Client::new(&source, &username, &time_limited_password(secret, &username));
        let expected = if at < 10 {
            Answer::Success
        } else if at < MOST_SECRETS {
            Answer::Error(486)
        } else {
            Answer::Error(401)
        };
        assert_eq!(client.ask(&mut world, method::ALLOCATE, udp).0, expected, "{at}");
    }
    world.server.set_secrets(&[]);
    let mut late = Client::new("192.0.2.1:3000", &username, &time_limited_password(&secrets[0], &username));
    assert_eq!(late.ask(&mut world, method::ALLOCATE, udp).0, Answer::Error(401));
}

#[test]
fn a_relayed_address_that_was_given_back_is_not_the_next_clients() {
    let mut world = World::closed();
    let mut first = connected(1_000, "first");
    let relayed = first.allocate(&mut world);
    assert_eq!(first.permit(&mut world, &[MEDIA]), Answer::Success);
    hang_up(&mut world, &first);
    // 1,000 numbers: all others come before it.
    for number in 0..999u16 {
        let mut other = connected(2_000 + number, &format!("other {number}"));
        assert_ne!(other.allocate(&mut world), relayed);
        assert_eq!(other.permit(&mut world, &[MEDIA]), Answer::Success);
        let late = Path { socket: SocketId::carried(3, 0), remote: relayed };
        let sent = world.run(|server, _, now, out| server.handle_inward(late, b"for the first one", now, out));
        assert_eq!(sent, []);
        hang_up(&mut world, &other);
    }
    assert_eq!(world.count(TurnDrop::NoRelay), 999);
}
