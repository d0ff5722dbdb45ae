//! Loss, reordering, a NAT that forgets, and each end beginning a new life.

use std::time::Duration;

use mediaserver_proto::link::{CoreEvent, EdgeEvent, Way};
use mediaserver_proto::path::EdgeDrop;

use crate::world::*;

/// Media both ways every 20 ms; when the first passed again each way, after how long.
pub(crate) fn recovery(world: &mut World, path: mediaserver_proto::io::Path) -> Duration {
    let begin = world.now;
    world.core_got.clear();
    world.visitors_got.clear();
    let (mut up, mut down) = (None, None);
    while (up.is_none() || down.is_none()) && world.now.since(begin) < Duration::from_secs(20) {
        world.visit(&[(visitor(1), media(1, 100))]);
        world.answer(&[(path, media(2, 100))]);
        world.run_for(20);
        up = up.or((!world.core_got.is_empty()).then_some(world.now));
        down = down.or((!world.visitors_got.is_empty()).then_some(world.now));
    }
    up.max(down).expect("media both ways within 20 s").since(begin)
}

#[test]
fn a_link_comes_up_and_paths_are_made_on_a_line_that_loses_a_third_and_reorders() {
    for seed in 0..20 {
        let mut world = World::lossy(0.3, Duration::from_millis(20), seed * 2);
        world.run_until(at(10_000));
        assert!(world.core.is_up(), "seed {seed}");
        let (mut up, mut down) = (0, 0);
        for _ in 0..200 {
            world.visit(&[(visitor(1), check(42))]);
            world.answer(&[(linked(1), media(2, 100))]);
            world.run_for(50);
            if world.core.paths() == 1 {
                world.prove(linked(1));
            }
        }
        up += world.core_got.len();
        down += world.visitors_got.len();
        // A third is lost at each crossing, and nothing else for long.
        assert!(up > 80 && down > 70, "seed {seed}: {up} came to the core and {down} to the visitor");
        assert_eq!((world.edge.paths(), world.core.paths()), (1, 1), "seed {seed}");
        assert_eq!(world.dropped(EdgeDrop::ForgedHello) + world.dropped(EdgeDrop::MalformedFrame), 0);
    }
}

#[test]
fn a_nat_that_changes_the_port_costs_at_most_a_second_and_no_path() {
    let mut world = World::new();
    let path = world.admit(1, 42);
    world.run_for(700);
    world.outside.set_port(5001);
    let lost = recovery(&mut world, path);
    assert!(lost <= Duration::from_millis(1100), "{lost:?}");
    assert_eq!((world.edge.paths(), world.core.paths()), (1, 1));
    assert!(world.edge_events.contains(&EdgeEvent::LinkUp { name: NAME, address: world.outside, way: Way::Udp }));
    assert!(!world.core_events.iter().any(|(_, event)| *event == CoreEvent::Down));
}

#[test]
fn after_a_restart_of_the_edge_media_is_back_within_a_second_under_the_old_names() {
    let mut world = World::new();
    let path = world.admit(1, 42);
    world.admit(2, 43);
    world.is_edge_up = false;
    world.run_for(3_000);
    assert!(world.core_events.iter().any(|(_, event)| *event == CoreEvent::Down));
    world.restart_edge(78);
    world.is_edge_up = true;
    let lost = recovery(&mut world, path);
    assert!(lost <= Duration::from_millis(400), "{lost:?}");
    assert_eq!((world.edge.paths(), world.core.paths()), (2, 2));
    assert!(world.core_events.iter().filter(|(_, event)| *event == CoreEvent::Up).count() == 2);
    // What was proven is so again, without a new challenge.
    world.visit(&vec![(visitor(1), media(3, 1000)); 100]);
    world.run_for(10);
    assert_eq!(world.dropped(EdgeDrop::Policed), 0);
}

#[test]
fn a_quick_restart_of_the_edge_is_noticed_by_missing_echoes() {
    let mut world = World::new();
    let path = world.admit(1, 42);
    world.run_for(900);
    world.restart_edge(78);
    let lost = recovery(&mut world, path);
    assert!(lost <= Duration::from_millis(1100), "{lost:?}");
}

#[test]
fn a_visitor_who_comes_before_the_replay_keeps_the_path_that_he_gets() {
    let mut world = World::new();
    world.admit(1, 42);
    let path = world.admit(2, 43);
    world.is_edge_up = false;
    world.run_for(3_000);
    world.restart_edge(77 + (1 << 16));
    world.is_edge_up = true;
    // Both names that the earlier life had given may be given to others now.
    let begin = world.now;
    while world.edge.paths() < 2 && world.now.since(begin) < Duration::from_secs(2) {
        world.visit(&[(visitor(9), check(49)), (visitor(8), check(48))]);
        world.run_for(1);
    }
    world.run_for(500);
    assert_eq!((world.edge.paths(), world.core.paths()), (4, 4));
    world.core_got.clear();
    world.visitors_got.clear();
    for number in [1, 2, 8, 9] {
        world.visit(&[(visitor(number), media(number as u8, 100))]);
        world.answer(&[(linked(number), media(number as u8, 50))]);
    }
    world.run_for(10);
    let got: Vec<_> = world.core_got.iter().map(|(path, bytes)| (*path, bytes[1])).collect();
    assert_eq!(got, [1, 2, 8, 9].map(|number| (linked(number), number as u8)));
    let got: Vec<_> = world.visitors_got.iter().map(|(path, bytes)| (*path, bytes[1])).collect();
    assert_eq!(got, [1, 2, 8, 9].map(|number| (visitor(number), number as u8)));
    assert!(path.socket.link() == Some(5));
}

#[test]
fn many_paths_are_replayed_over_a_line_that_loses_a_fifth() {
    let mut world = World::lossy(0.2, Duration::from_millis(5), 40);
    world.run_until(at(5_000));
    for round in 0..40 {
        for number in 0..300u16 {
            world.visit(&[(visitor(number), check(u64::from(number)))]);
            world.prove(linked(number));
            if round == 0 {
                world.run_for(5);
            }
        }
        world.run_for(110);
    }
    assert_eq!(world.edge.paths(), 300);
    world.restart_edge(78);
    world.run_for(6_000);
    assert_eq!((world.edge.paths(), world.core.paths()), (300, 300));
}

#[test]
fn a_restart_of_the_core_ends_the_old_paths_and_new_visitors_come_in() {
    let mut world = World::new();
    world.admit(1, 42);
    world.restart_core(89);
    world.run_for(20);
    assert!(world.core.is_up());
    assert_eq!((world.edge.paths(), world.core.paths()), (0, 0));
    world.visit(&[(visitor(1), check(44))]);
    world.run_for(20);
    assert_eq!(world.core_got, [(linked(1), check(44))]);
}

#[test]
fn a_line_that_is_cut_for_10_s_costs_no_path() {
    let mut world = World::new();
    let path = world.admit(1, 42);
    world.cut = true;
    for _ in 0..100 {
        world.visit(&[(visitor(1), media(1, 100))]);
        world.run_for(100);
    }
    assert!(world.edge_events.contains(&EdgeEvent::LinkDown { name: NAME }));
    assert!(world.dropped(EdgeDrop::LinkDown) > 50);
    let down: Vec<_> = world.core_events.iter().filter(|(_, event)| *event == CoreEvent::Down).collect();
    assert_eq!(down.len(), 1);
    world.cut = false;
    let lost = recovery(&mut world, path);
    assert!(lost <= Duration::from_millis(400), "{lost:?}");
    assert_eq!((world.edge.paths(), world.core.paths()), (1, 1));
}

#[test]
fn without_its_core_the_edge_lets_nobody_in() {
    let mut world = World::lossy(0.0, Duration::ZERO, 1);
    world.visit(&[(visitor(1), check(42))]);
    assert_eq!((world.edge.paths(), world.dropped(EdgeDrop::NoLink)), (0, 1));
    assert!(world.wire_to_core.is_empty() && world.visitors_got.is_empty());
}
