//! UDP that is blocked between Edge and Core, and the connection that carries frames instead.

use std::time::Duration;

use mediaserver_proto::link::{CoreEvent, EdgeEvent, Way};
use mediaserver_proto::path::EdgeDrop;

use crate::faults::recovery;
use crate::world::*;

/// A line by which no datagram passes, with a connection for frames.
fn blocked() -> World {
    let mut world = World::lossy(0.0, Duration::ZERO, 1);
    (world.cut, world.has_tls) = (true, true);
    world.run_until(at(1_000));
    world
}

/// When frames went by UDP again, looked at every 100 ms.
fn returns(world: &mut World) -> Duration {
    let begin = world.now;
    while world.core.way() == Way::Tls && world.now.since(begin) < Duration::from_secs(200) {
        world.run_for(100);
    }
    world.now.since(begin)
}

#[test]
fn where_udp_is_blocked_from_the_beginning_frames_go_over_tls_both_ways() {
    let mut world = World::lossy(0.0, Duration::ZERO, 1);
    (world.cut, world.has_tls) = (true, true);
    world.run_until(at(700));
    assert!(!world.core.is_up() && world.over_tls == 0);
    world.run_until(at(800));
    assert_eq!((world.core.is_up(), world.core.way()), (true, Way::Tls));
    assert!(matches!(world.edge_events[..], [EdgeEvent::LinkUp { name: NAME, way: Way::Tls, .. }]));
    assert_eq!(world.core_events.iter().map(|(_, event)| *event).collect::<Vec<_>>(), [CoreEvent::Up]);
    let path = world.admit(1, 42);
    for number in 0..50 {
        world.visit(&[(visitor(1), media(number, 1200))]);
        world.answer(&[(path, media(number, 1100))]);
        world.run_for(20);
    }
    assert_eq!((world.core_got.len(), world.visitors_got.len()), (50, 50));
    assert_eq!((world.edge.paths(), world.core.paths()), (1, 1));
}

#[test]
fn without_the_connection_a_blocked_link_stays_down_until_there_is_one() {
    let mut world = World::lossy(0.0, Duration::ZERO, 1);
    world.cut = true;
    world.run_until(at(10_000));
    assert!(!world.core.is_up());
    world.has_tls = true;
    world.run_for(300);
    assert_eq!((world.core.is_up(), world.core.way()), (true, Way::Tls));
}

#[test]
fn udp_that_is_blocked_in_the_middle_costs_two_seconds_and_no_path() {
    let mut world = World::new();
    world.has_tls = true;
    let path = world.admit(1, 42);
    world.run_for(3_000);
    assert_eq!((world.over_tls, world.core.way()), (0, Way::Udp));
    world.cut = true;
    let lost = recovery(&mut world, path);
    assert!(lost <= Duration::from_millis(2_000), "{lost:?}");
    assert_eq!((world.edge.paths(), world.core.paths(), world.core.way()), (1, 1, Way::Tls));
    let events: Vec<_> = world.core_events.iter().map(|(_, event)| *event).collect();
    assert!(events.contains(&CoreEvent::OtherWay) && !events.contains(&CoreEvent::Down), "{events:?}");
    assert!(matches!(world.edge_events.last(), Some(EdgeEvent::LinkUp { way: Way::Tls, .. })));
}

#[test]
fn frames_go_back_when_udp_has_answered_three_times_in_a_row_and_none_is_lost() {
    let mut world = blocked();
    let path = world.admit(1, 42);
    world.cut = false;
    let begin = world.now;
    let (mut sent, mut over_udp) = (0, 0);
    while world.now.since(begin) < Duration::from_secs(10) {
        world.visit(&[(visitor(1), media(1, 500))]);
        world.answer(&[(path, media(2, 500))]);
        world.run_for(20);
        sent += 1;
        over_udp += u32::from(world.core.way() == Way::Udp);
    }
    // 3 s of 10 for three questions.
    assert!((300..=400).contains(&over_udp), "{over_udp} of {sent}");
    assert!(matches!(world.edge_events.last(), Some(EdgeEvent::LinkUp { way: Way::Udp, .. })));
    // What was on the other way while the Edge changed is late for it; that is one round trip.
    let lost = [world.core_got.len(), world.visitors_got.len()].map(|got| sent - got);
    assert!(lost.iter().all(|&lost| lost <= 1), "{lost:?} of {sent}");
    assert_eq!((world.edge.paths(), world.core.paths()), (1, 1));
}

#[test]
fn udp_that_comes_and_goes_is_waited_for_longer_each_time() {
    let mut world = blocked();
    world.admit(1, 42);
    let mut waits = Vec::new();
    for _ in 0..4 {
        world.cut = false;
        waits.push(returns(&mut world).as_secs());
        world.cut = true;
        // A path that is silent ends, and a link without paths is looked at every 5 s.
        world.run_for(10_000);
        assert_eq!(world.core.way(), Way::Tls);
    }
    assert!(waits[0] <= 4 && waits[1] >= 5 && waits[2] >= 11 && waits[3] >= 23, "{waits:?}");
}

#[test]
fn a_connection_that_ends_while_udp_is_blocked_is_waited_for() {
    let mut world = blocked();
    let path = world.admit(1, 42);
    world.has_tls = false;
    world.run_for(4_000);
    assert_eq!(world.core_events.last().map(|(_, event)| *event), Some(CoreEvent::Down));
    world.has_tls = true;
    let lost = recovery(&mut world, path);
    assert!(lost <= Duration::from_millis(300), "{lost:?}");
    assert_eq!((world.edge.paths(), world.core.paths()), (1, 1));
}

#[test]
fn an_edge_that_begins_again_behind_a_blocked_line_gets_its_paths_back() {
    let mut world = blocked();
    let path = world.admit(1, 42);
    world.is_edge_up = false;
    world.run_for(3_000);
    world.restart_edge(78);
    world.is_edge_up = true;
    let lost = recovery(&mut world, path);
    assert!(lost <= Duration::from_millis(400), "{lost:?}");
    assert_eq!((world.edge.paths(), world.dropped(EdgeDrop::Policed)), (1, 0));
}

#[test]
fn a_datagram_from_the_address_of_the_connection_is_a_strangers() {
    let mut world = blocked();
    world.admit(1, 42);
    world.cut = false;
    // The same address at the socket for datagrams is another place.
    let id = mediaserver_proto::path::PathId::new(0, 77);
    let header =
        mediaserver_proto::link::frame::Header::new(mediaserver_proto::link::frame::FrameKind::Data, 3, id).write();
    world.give_edge(([10, 0, 0, 2], 2).into(), &[&header[..], b"abc"].concat());
    assert_eq!((world.dropped(EdgeDrop::UnprovenLink), world.visitors_got.len()), (1, 0));
}
