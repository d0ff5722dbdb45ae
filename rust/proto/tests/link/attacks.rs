//! Attacks on paths and on the link: each is refused, and counted under its name.

use std::net::SocketAddr;
use std::time::Duration;

use mediaserver_proto::ice::{UfragKey, minute_of};
use mediaserver_proto::io::{Carries, Path, SocketId};
use mediaserver_proto::link::frame::{FrameKind, HEADER, Header, frames};
use mediaserver_proto::link::{LinkKey, LinkName};
use mediaserver_proto::path::{EdgeDrop, PathId, SessionKey};

use crate::world::*;

const ATTACKER: ([u8; 4], u16) = ([10, 0, 0, 66], 666);

fn first(sent: &Sent) -> FrameKind {
    frames(&sent.bytes).next().unwrap().unwrap().header.kind
}

/// The last datagram of a kind that the Core has sent.
fn last_of(world: &World, kind: FrameKind) -> Sent {
    world.wire_to_edge.iter().rev().find(|sent| first(sent) == kind).unwrap().clone()
}

fn data(path: PathId, body: &[u8]) -> Vec<u8> {
    let header = Header { carries: Carries::Video, ..Header::new(FrameKind::Data, body.len() as u16, path) };
    [&header.write()[..], body].concat()
}

/// The name of the only path, as the line shows it.
fn path_id(world: &World) -> PathId {
    let acknowledgement = last_of(world, FrameKind::OpenAck);
    frames(&acknowledgement.bytes).next().unwrap().unwrap().header.path
}

#[test]
fn tokens_that_are_forged_expired_of_others_or_none_leave_nothing_and_get_nothing() {
    let mut world = World::new();
    let minute = minute_of(UNIX) + 5;
    let transport = u64::from(NAME.shard) << 48 | 42;
    let forged = UfragKey::new(NAME.core, 0, &[4; 32]).make(transport, 0, minute);
    let unknown = UfragKey::new(NAME.core, 9, &[3; 32]).make(transport, 0, minute);
    let no_link = ufrag_key().make(u64::from(NAME.shard + 1) << 48 | 42, 0, minute);
    let sent = world.wire_to_core.len();
    for (datagram, reason) in [
        (check_with(&forged), EdgeDrop::ForgedToken),
        (check_with(&unknown), EdgeDrop::UnknownKey),
        (check_with(&token(42, -1)), EdgeDrop::ExpiredToken),
        (check_with("abcd"), EdgeDrop::ForeignToken),
        (check_with(&no_link), EdgeDrop::NoLink),
        (media(1, 200), EdgeDrop::NoPath),
        (Vec::new(), EdgeDrop::NoPath),
    ] {
        let before = world.dropped(reason);
        world.visit(&[(visitor(1), datagram)]);
        assert_eq!(world.dropped(reason), before + 1, "{reason:?}");
    }
    assert_eq!((world.edge.paths(), world.wire_to_core.len(), world.visitors_got.len()), (0, sent, 0));
}

#[test]
fn a_token_that_was_overheard_is_worth_nothing_after_its_session_has_ended() {
    let mut world = World::new();
    let path = world.admit(1, 42);
    let session = SessionKey { core: NAME.core, transport: u64::from(NAME.shard) << 48 | 42 };
    world.edge.revoke(session, minute_of(UNIX) + 10, world.now);
    world.close_path(path);
    assert_eq!(world.edge.paths(), 0);
    world.visit(&[(visitor(1), check(42)), (visitor(2), check(42))]);
    assert_eq!((world.edge.paths(), world.dropped(EdgeDrop::RevokedToken)), (0, 2));
}

#[test]
fn a_valid_token_from_fifty_thousand_sources_costs_four_paths_and_the_visitor_nothing() {
    let mut world = World::new();
    let path = world.admit(1, 42);
    let before = world.wire_to_core.len();
    for number in 0..50_000u32 {
        let remote = SocketAddr::from(([11, (number >> 16) as u8, (number >> 8) as u8, number as u8], 7000));
        world.visit(&[(Path { socket: PUBLIC, remote }, check(42))]);
    }
    assert_eq!((world.edge.paths(), world.dropped(EdgeDrop::SessionFull)), (5, 50_000 - 4));
    assert_eq!(world.wire_to_core.len() - before, 4, "nobody behind the link hears of the rest");
    world.run_for(5);
    world.core_got.clear();
    world.visit(&[(visitor(1), media(1, 100))]);
    world.answer(&[(path, media(2, 100))]);
    world.run_for(5);
    assert_eq!(world.core_got, [(path, media(1, 100))]);
    assert_eq!(world.visitors_got, [(visitor(1), media(2, 100))]);
}

#[test]
fn a_spoofed_check_moves_no_media() {
    let mut world = World::new();
    let victim = world.admit(1, 42);
    // Whoever has a token of his own shows it from the victim's address.
    world.visit(&[(visitor(1), check(43))]);
    assert_eq!(world.dropped(EdgeDrop::PathTaken), 1);
    // Whoever has the victim's token shows it from a third one's address: a path, unproven, and the old one stays.
    world.visit(&[(visitor(3), check(42))]);
    world.run_for(5);
    world.core_got.clear();
    world.visit(&[(visitor(1), media(1, 100))]);
    world.answer(&[(victim, media(2, 100))]);
    world.run_for(5);
    assert_eq!(world.core_got, [(victim, media(1, 100))]);
    assert_eq!(world.visitors_got, [(visitor(1), media(2, 100))]);
    // And what comes from there in the victim's name is held to what an unproven path may send.
    for _ in 0..100 {
        world.visit(&[(visitor(3), media(3, 1000))]);
    }
    assert!(world.dropped(EdgeDrop::Policed) >= 60);
}

#[test]
fn an_unproven_source_is_given_to_whoever_has_a_token_and_not_to_whoever_has_none() {
    let mut world = World::new();
    world.visit(&[(visitor(1), check(42))]);
    let forged = UfragKey::new(NAME.core, 0, &[4; 32]).make(u64::from(NAME.shard) << 48 | 43, 0, u32::MAX >> 8);
    world.visit(&[(visitor(1), check_with(&forged))]);
    assert_eq!((world.edge.paths(), world.dropped(EdgeDrop::ForgedToken)), (1, 1));
    world.visit(&[(visitor(1), check(43))]);
    world.run_for(5);
    world.core_got.clear();
    world.visit(&[(visitor(1), check(43))]);
    world.run_for(5);
    assert_eq!((world.edge.paths(), world.core_got.len()), (1, 1));
}

#[test]
fn frames_for_a_path_nobody_has_are_counted_at_either_end() {
    let mut world = World::new();
    let path = world.admit(1, 42);
    let (outside, id) = (world.outside, path_id(&world));
    world.give_edge(outside, &data(PathId::new(999, 1), b"to nobody"));
    world.give_edge(outside, &data(PathId(id.0 + (1 << 16)), b"to the next"));
    assert_eq!((world.dropped(EdgeDrop::UnknownPath), world.dropped(EdgeDrop::LatePath)), (1, 1));
    world.give_core(edge_address(), &data(PathId::new(999, 1), b"from nobody"));
    let counted = world.core.drops_mut().iter().find(|(name, _)| *name == "link_unknown_path");
    assert_eq!(counted, Some(("link_unknown_path", 1)));
    assert!(world.visitors_got.is_empty() && world.core_got.is_empty());
    world.close_path(path);
    world.run_for(5);
    world.give_edge(outside, &data(id, b"late"));
    assert_eq!((world.dropped(EdgeDrop::LatePath), world.visitors_got.len()), (2, 0));
}

#[test]
fn a_core_cannot_reach_the_paths_of_another() {
    let mut world = World::new();
    world.admit(1, 42);
    let id = path_id(&world);
    let other = LinkName { core: 2, shard: 0 };
    world.edge.set_link(other, LinkKey::new(&[8; 32]));
    // Another Core comes up beside ours, by the same steps.
    let config = mediaserver_proto::link::CoreLinkConfig {
        name: other,
        instance: 1,
        seed: [1; 32],
        key: LinkKey::new(&[8; 32]),
        socket: SocketId(8),
        edge: edge_address(),
        tls: None,
        number: 0,
        granted: 0,
    };
    let at: SocketAddr = ([10, 0, 0, 3], 5000).into();
    let mut core = mediaserver_proto::link::CoreLink::new(config, world.now);
    let (mut out, mut found) = (mediaserver_proto::io::TransmitQueue::default(), Vec::new());
    core.handle_timeout(world.now, &mut out);
    for _ in 0..2 {
        let bytes = out.bytes().to_vec();
        out.clear();
        world.give_edge(at, &bytes);
        let answer = world.wire_to_core.last().unwrap().clone();
        assert_eq!(answer.peer, at);
        core.handle_datagram(
            Path { socket: SocketId(8), remote: edge_address() },
            &answer.bytes,
            0,
            world.now,
            &mut found,
            &mut out,
        );
    }
    assert!(core.is_up());
    world.give_edge(at, &data(id, b"not yours"));
    assert_eq!((world.dropped(EdgeDrop::ForeignPath), world.visitors_got.len()), (1, 0));
}

#[test]
fn data_is_taken_from_the_proven_address_alone() {
    let mut world = World::new();
    world.admit(1, 42);
    let id = path_id(&world);
    world.give_edge(ATTACKER.into(), &data(id, b"forged"));
    let mut other_port = world.outside;
    other_port.set_port(1);
    world.give_edge(other_port, &data(id, b"forged"));
    assert_eq!((world.dropped(EdgeDrop::UnprovenLink), world.visitors_got.len()), (2, 0));
    world.give_core(ATTACKER.into(), &data(id, b"forged"));
    let counted = world.core.drops_mut().iter().find(|(name, _)| *name == "link_foreign_source");
    assert_eq!((counted, world.core_got.len()), (Some(("link_foreign_source", 1)), 0));
}

#[test]
fn a_replayed_hello_moves_no_link() {
    let mut world = World::new();
    let path = world.admit(1, 42);
    let hellos: Vec<Sent> = world.wire_to_edge.iter().filter(|sent| first(sent) == FrameKind::Hello).cloned().collect();
    assert_eq!(hellos.len(), 2, "without a cookie and with one");
    // From another address: the first is answered with a cookie and nothing else, the second's cookie is not for there.
    let before = world.wire_to_core.len();
    world.give_edge(ATTACKER.into(), &hellos[0].bytes);
    assert_eq!(world.wire_to_core.len(), before + 1);
    assert!(world.wire_to_core[before].bytes.len() <= hellos[0].bytes.len());
    world.give_edge(ATTACKER.into(), &hellos[1].bytes);
    assert_eq!((world.dropped(EdgeDrop::StaleHello), world.wire_to_core.len()), (1, before + 1));
    // From the address where it was good, after the Core has moved on: an older cookie than the one in use.
    let old = world.outside;
    world.outside.set_port(5001);
    world.run_for(1_500);
    world.give_edge(old, &hellos[1].bytes);
    assert_eq!(world.dropped(EdgeDrop::StaleHello), 2);
    world.visit(&[(visitor(1), media(1, 100))]);
    world.run_for(5);
    assert_eq!(world.core_got, [(path, media(1, 100))]);
    // And after its time.
    world.run_for(4_000);
    world.give_edge(world.outside, &hellos[1].bytes);
    assert_eq!(world.dropped(EdgeDrop::StaleHello), 3);
}

#[test]
fn hellos_without_the_key_or_for_nobody_get_no_answer() {
    let mut world = World::new();
    let hello = world.wire_to_edge[0].clone();
    let before = world.wire_to_core.len();
    for bit in 0..hello.bytes.len() * 8 {
        let mut forged = hello.bytes.clone();
        forged[bit / 8] ^= 1 << (bit % 8);
        world.give_edge(ATTACKER.into(), &forged);
    }
    assert_eq!(world.wire_to_core.len(), before);
    assert!(world.dropped(EdgeDrop::ForgedHello) > 300);
    assert_eq!(world.dropped(EdgeDrop::UnknownLink), 32, "each bit of the two numbers that name it");
}

#[test]
fn control_frames_count_once_and_not_without_their_tag() {
    let mut world = World::new();
    let path = world.admit(1, 42);
    world.close_path(path);
    world.run_for(5);
    let close = last_of(&world, FrameKind::Close);
    world.admit(1, 42);
    let outside = world.outside;
    world.give_edge(outside, &close.bytes);
    assert_eq!((world.dropped(EdgeDrop::ReplayedControl), world.edge.paths()), (1, 1));
    // A close for the path that is there now, made from the old one.
    let mut forged = close.bytes.clone();
    forged[4..HEADER].copy_from_slice(&path_id(&world).0.to_be_bytes());
    world.give_edge(outside, &forged);
    assert_eq!((world.dropped(EdgeDrop::ForgedControl), world.edge.paths()), (1, 1));
    // An acknowledgement of the Edge's own kind, sent back to it.
    let echo = world.wire_to_core.iter().rev().find(|sent| first(sent) == FrameKind::Echo).unwrap().clone();
    world.give_edge(outside, &echo.bytes);
    assert_eq!(world.dropped(EdgeDrop::ForgedControl), 2);
}

#[test]
fn an_edge_cannot_make_its_core_grow_or_answer_without_bound() {
    let mut world = World::new();
    let before = world.wire_to_edge.len();
    for index in 0..10_000u16 {
        world.give_core(edge_address(), &data(PathId::new(index, 1), b"nobody's"));
    }
    let answers = world.wire_to_edge.len() - before;
    assert!(answers <= 200, "{answers} closes for ten thousand frames");
    world.run_for(2_000);
    assert_eq!(world.core.paths(), 0);
    assert!(world.core.is_up());
}

#[test]
fn a_visitor_is_held_to_what_the_core_granted() {
    let mut world = World::new();
    world.admit(1, 42);
    let begin = world.now;
    let mut sent = 0u64;
    while world.now.since(begin) < Duration::from_secs(5) {
        world.visit(&vec![(visitor(1), media(1, 1000)); 5]);
        sent += 5;
        world.run_for(1);
    }
    let passed = sent - world.dropped(EdgeDrop::Policed);
    assert!((5_000..5_600).contains(&passed), "{passed} kilobytes in five seconds at {RATE} bytes a second");
}
