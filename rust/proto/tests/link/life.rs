//! A link on a line without faults.

use std::net::SocketAddr;

use mediaserver_proto::io::Path;
use mediaserver_proto::link::frame::{FrameKind, frames};
use mediaserver_proto::link::{CoreEvent, EdgeEvent, Way};
use mediaserver_proto::path::EdgeDrop;

use crate::world::*;

fn kinds(sent: &Sent) -> Vec<FrameKind> {
    frames(&sent.bytes).map(|frame| frame.unwrap().header.kind).collect()
}

#[test]
fn a_link_is_up_after_two_round_trips_and_both_ends_say_so() {
    let mut world = World::lossy(0.0, std::time::Duration::ZERO, 1);
    world.run_until(at(9));
    assert_eq!(world.edge_events, [EdgeEvent::LinkUp { name: NAME, address: world.outside, way: Way::Udp }]);
    let up: Vec<_> = world.core_events.iter().filter(|(_, event)| *event == CoreEvent::Up).collect();
    assert_eq!(up.len(), 1);
    assert!(up[0].0 <= at(9), "{up:?}");
}

#[test]
fn a_visitors_first_check_reaches_the_core_with_its_address_and_the_answer_comes_back() {
    let mut world = World::new();
    world.visit(&[(visitor(1), check(42))]);
    world.run_for(5);
    assert_eq!(world.core_got, [(linked(1), check(42))]);
    world.answer(&[(linked(1), b"answer".to_vec())]);
    world.run_for(5);
    assert_eq!(world.visitors_got, [(visitor(1), b"answer".to_vec())]);
}

#[test]
fn open_frames_are_repeated_until_the_core_has_acknowledged_the_path() {
    let mut world = World::new();
    let before = world.wire_to_core.len();
    world.visit(&[(visitor(1), check(42))]);
    world.visit(&[(visitor(1), check(42))]);
    world.run_for(5);
    world.visit(&[(visitor(1), check(42))]);
    let sent: Vec<_> = world.wire_to_core[before..].iter().flat_map(kinds).collect();
    assert_eq!(sent.iter().filter(|&&kind| kind == FrameKind::Open).count(), 2);
    assert_eq!(sent.last(), Some(&FrameKind::Data));
    world.run_for(5);
    assert_eq!(world.core_got.len(), 3);
    let opened = world.core_events.iter().filter(|(_, event)| matches!(event, CoreEvent::Opened(_))).count();
    assert_eq!(opened, 1);
}

#[test]
fn an_ipv6_visitor_is_one() {
    let mut world = World::new();
    let remote: SocketAddr = "[2001:db8::7]:6000".parse().unwrap();
    world.visit(&[(Path { remote, ..visitor(1) }, check(42))]);
    world.run_for(5);
    assert_eq!(world.core_got, [(Path { remote, ..linked(1) }, check(42))]);
}

#[test]
fn small_datagrams_of_one_batch_share_datagrams_and_large_ones_stand_side_by_side() {
    let mut world = World::new();
    world.admit(1, 42);
    world.admit(2, 43);
    assert_eq!(world.core.mtu(), 8972, "what the line passes was found");
    let audio: Vec<_> = (0..50).map(|at| (visitor(1 + at % 2), media(at as u8, 172))).collect();
    let before = world.wire_to_core.len();
    world.visit(&audio);
    assert_eq!(world.wire_to_core.len() - before, 2, "49 frames of 180 bytes and one");
    world.run_for(5);
    let got: Vec<_> = world.core_got.drain(..).map(|(path, bytes)| (path.remote, bytes)).collect();
    assert_eq!(got, audio.iter().map(|(path, bytes)| (path.remote, bytes.clone())).collect::<Vec<_>>());
    let before = world.wire_to_edge.len();
    let video: Vec<_> = (0..8).map(|at| (linked(1 + at % 2), media(at as u8, 1200))).collect();
    world.answer(&video);
    let sizes: Vec<_> = world.wire_to_edge[before..].iter().map(|sent| sent.bytes.len()).collect();
    assert_eq!(sizes, [7 * 1208, 1208]);
    world.run_for(5);
    assert_eq!(world.visitors_got.len(), 8);
}

#[test]
fn before_the_way_is_known_frames_share_what_every_way_passes() {
    let mut world = World::new();
    let path = world.admit(1, 42);
    world.restart_core(99);
    world.run_for(5);
    world.visit(&[(visitor(1), check(42))]);
    world.run_for(2);
    let before = world.wire_to_edge.len();
    world.answer(&vec![(path, media(1, 300)); 9]);
    assert!(world.wire_to_edge[before..].iter().all(|sent| sent.bytes.len() <= 1232));
}

#[test]
fn what_the_core_closes_is_gone_at_the_edge_and_a_late_answer_goes_nowhere() {
    let mut world = World::new();
    let path = world.admit(1, 42);
    world.close_path(path);
    world.run_for(5);
    assert_eq!((world.edge.paths(), world.core.paths()), (0, 0));
    world.visit(&[(visitor(1), media(1, 100))]);
    assert_eq!(world.dropped(EdgeDrop::NoPath), 1);
    world.answer(&[(path, media(1, 100))]);
    world.run_for(5);
    assert!(world.visitors_got.is_empty());
}

#[test]
fn what_falls_silent_is_closed_at_both_ends() {
    let mut world = World::new();
    world.admit(1, 42);
    world.visit(&[(visitor(2), check(43))]);
    world.run_for(9_000);
    assert_eq!((world.edge.paths(), world.core.paths()), (2, 2));
    world.run_for(2_000);
    assert_eq!((world.edge.paths(), world.core.paths()), (1, 1));
    world.run_for(40_000);
    assert_eq!((world.edge.paths(), world.core.paths()), (0, 0));
}

#[test]
fn keep_alives_come_every_500_ms_with_paths_and_every_5_s_without() {
    let mut world = World::new();
    world.run_for(2_000);
    let count = |world: &World, before: usize| {
        world.wire_to_edge[before..].iter().filter(|sent| kinds(sent) == [FrameKind::KeepAlive]).count()
    };
    let before = world.wire_to_edge.len();
    world.run_for(50_000);
    assert!((9..=11).contains(&count(&world, before)));
    world.admit(1, 42);
    let before = world.wire_to_edge.len();
    world.run_for(10_000);
    assert!((19..=21).contains(&count(&world, before)));
}

#[test]
fn a_proof_that_was_lost_is_told_again_when_the_edge_shows_that_it_has_not_heard() {
    let mut world = World::new();
    world.visit(&[(visitor(1), check(42))]);
    world.run_for(5);
    world.cut = true;
    world.prove(linked(1));
    world.cut = false;
    world.run_for(200);
    let before = world.wire_to_edge.len();
    for number in 0..10 {
        world.visit(&[(visitor(1), media(number, 100))]);
        world.run_for(5);
    }
    let told = world.wire_to_edge[before..].iter().filter(|sent| kinds(sent) == [FrameKind::Proven]).count();
    assert_eq!(told, 1);
    let last = world.wire_to_core.iter().rev().find(|sent| kinds(sent) == [FrameKind::Data]).unwrap();
    assert!(frames(&last.bytes).next().unwrap().unwrap().header.is_proven);
}

/// Bytes that pass the Edge of what a visitor sends at 2 MB/s for a second.
fn passes(world: &mut World) -> usize {
    world.core_got.clear();
    for _ in 0..100 {
        world.visit(&vec![(visitor(1), media(1, 1000)); 20]);
        world.run_for(10);
    }
    world.core_got.iter().map(|(_, bytes)| bytes.len()).sum()
}

#[test]
fn a_visitor_may_send_what_was_granted_to_the_session_and_never_more_than_any() {
    let mut world = World::new();
    let transport = u64::from(NAME.shard) << 48 | 42;
    world.grant(transport, Some(100_000));
    world.admit(1, 42);
    passes(&mut world);
    let bytes = passes(&mut world);
    assert!((90_000..=110_000).contains(&bytes), "{bytes}");
    world.grant(transport, Some(500_000));
    passes(&mut world);
    let bytes = passes(&mut world);
    assert!((450_000..=550_000).contains(&bytes), "{bytes}");
    for more in [Some(5_000_000), None] {
        world.grant(transport, more);
        passes(&mut world);
        let bytes = passes(&mut world);
        assert!((900_000..=1_100_000).contains(&bytes), "{bytes}");
    }
    assert!(world.dropped(EdgeDrop::Policed) > 0);
}

#[test]
fn a_grant_that_was_lost_on_the_way_is_told_again() {
    let mut world = World::new();
    world.admit(1, 42);
    world.cut = true;
    world.grant(u64::from(NAME.shard) << 48 | 42, Some(100_000));
    world.run_for(50);
    world.cut = false;
    passes(&mut world);
    passes(&mut world);
    let bytes = passes(&mut world);
    assert!((90_000..=110_000).contains(&bytes), "{bytes}");
}
