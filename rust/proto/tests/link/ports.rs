//! Ports of an Edge for media without ICE: who comes in, who hears us first, and what is left when one end begins anew.

use std::net::SocketAddr;
use std::time::Duration;

use mediaserver_proto::io::{Path, SocketId};
use mediaserver_proto::link::LinkDrop;
use mediaserver_proto::path::{EdgeDrop, SessionKey};

use crate::world::{NAME, World, at, media};

const TRANSPORT: u64 = (NAME.shard as u64) << 48 | 4711;
/// The Edge's sockets, and the Core's names of them.
const AT_EDGE: [SocketId; 2] = [SocketId(70_000), SocketId(70_001)];
const AT_CORE: [SocketId; 2] = [SocketId::edge_port(0), SocketId::edge_port(1)];

fn session() -> SessionKey {
    SessionKey { core: NAME.core, transport: TRANSPORT }
}

fn phone(port: u16) -> SocketAddr {
    ([203, 0, 113, 9], port).into()
}

fn outside(component: usize, port: u16) -> Path {
    Path { socket: AT_EDGE[component], remote: phone(port) }
}

fn inside(component: usize, port: u16) -> Path {
    Path { socket: AT_CORE[component], remote: phone(port) }
}

/// A world with a pair of ports, at which media is waited for from ports 4000 and 4001 of the phone.
fn world() -> World {
    let mut world = World::new();
    assert!(world.edge.open_ports(session(), AT_EDGE, world.now));
    world.core.open_ports(TRANSPORT, AT_CORE);
    assert!(world.edge.aim_ports(session(), [Some(phone(4000)), Some(phone(4001))], Duration::from_secs(5), world.now));
    world
}

#[test]
fn media_goes_both_ways_whoever_begins() {
    let mut world = world();
    world.answer(&[(inside(0, 4000), media(1, 160)), (inside(1, 4001), media(2, 60))]);
    world.run_for(20);
    assert_eq!(world.visitors_got, [(outside(0, 4000), media(1, 160)), (outside(1, 4001), media(2, 60))]);
    world.visitors_got.clear();
    world.visit(&[(outside(0, 4000), media(3, 160))]);
    world.run_for(20);
    assert_eq!(world.core_got, [(inside(0, 4000), media(3, 160))]);
    // From now on nothing is said twice: 8 bytes of header, and the datagram.
    let before = world.wire_to_edge.len();
    world.answer(&[(inside(0, 4000), media(4, 160))]);
    assert_eq!(world.wire_to_edge[before].bytes.len(), 168);
    assert_eq!(world.edge.paths(), 2);
}

#[test]
fn a_phone_behind_a_nat_comes_in_inside_the_window_and_strangers_after_it_do_not() {
    let mut world = world();
    world.visit(&[(outside(0, 9_999), media(1, 160))]);
    world.run_for(20);
    assert_eq!(world.core_got, [(inside(0, 9_999), media(1, 160))]);
    // The Core has taken its media, and not that of somebody else who tried.
    world.visit(&[(outside(0, 6_666), media(2, 160))]);
    world.prove(inside(0, 9_999));
    world.run_until(at(6_000));
    world.core_got.clear();
    world.visit(&[(outside(0, 9_999), media(3, 160)), (outside(0, 6_666), media(4, 160))]);
    world.visit(&[(outside(0, 7_777), media(5, 160))]);
    world.run_for(20);
    assert_eq!(world.core_got, [(inside(0, 9_999), media(3, 160))]);
    assert_eq!(world.dropped(EdgeDrop::PortStranger), 2);
}

#[test]
fn no_more_strangers_come_in_than_a_session_may_have() {
    let mut world = world();
    for port in 5_000..5_010 {
        world.visit(&[(outside(0, port), media(1, 160))]);
    }
    assert_eq!((world.edge.paths(), world.dropped(EdgeDrop::SessionFull)), (4, 6));
    // Whoever is named comes in all the same.
    world.visit(&[(outside(0, 4000), media(2, 160))]);
    world.run_for(20);
    assert!(world.core_got.contains(&(inside(0, 4000), media(2, 160))));
}

#[test]
fn a_stun_check_of_a_session_is_nothing_else_at_such_a_port() {
    let mut world = world();
    world.visit(&[(outside(0, 4000), crate::world::check(9))]);
    world.run_for(20);
    assert_eq!(world.core_got, [(inside(0, 4000), crate::world::check(9))]);
    assert_eq!(world.edge.paths(), 1);
}

#[test]
fn ports_end_with_their_session() {
    let mut world = world();
    world.answer(&[(inside(0, 4000), media(1, 160))]);
    world.run_for(20);
    world.core.close_ports(TRANSPORT);
    assert_eq!(world.core.paths(), 0);
    // The Edge has not heard of it yet: what still comes is nobody's, and takes no place.
    world.visit(&[(outside(1, 4001), media(2, 60))]);
    world.run_for(20);
    assert_eq!((world.core_got.len(), world.core.drops_mut().get(LinkDrop::NoPort)), (0, 1));
    world.edge.revoke(session(), u32::MAX, world.now);
    assert_eq!(world.edge.poll_closed_ports(), Some((session(), AT_EDGE)));
    assert_eq!((world.edge.paths(), world.edge.port_pairs()), (0, 0));
    world.visit(&[(outside(0, 4000), media(3, 160))]);
    world.run_for(20);
    assert_eq!(world.core_got.len(), 0);
}

#[test]
fn a_core_of_a_new_life_has_no_ports_and_an_edge_of_a_new_life_sends_from_none() {
    let mut first = world();
    first.restart_core(99);
    first.run_for(100);
    assert_eq!(first.edge.port_pairs(), 0);

    let mut second = world();
    second.answer(&[(inside(0, 4000), media(1, 160))]);
    second.run_for(20);
    second.visitors_got.clear();
    second.restart_edge(78);
    second.run_for(1_500);
    second.answer(&[(inside(0, 4000), media(2, 160))]);
    second.run_for(20);
    assert_eq!((second.visitors_got.len(), second.dropped(EdgeDrop::UnknownPort)), (0, 1));
}

#[test]
fn who_was_let_in_before_a_restart_of_the_edge_is_so_again_once_it_has_the_ports() {
    let mut world = world();
    // Behind a NAT, so nobody has named the address that is heard.
    world.visit(&[(outside(0, 9_999), media(1, 160)), (outside(0, 6_666), media(2, 160))]);
    world.run_for(20);
    world.prove(inside(0, 9_999));
    world.run_until(at(6_000));
    world.core_got.clear();
    world.restart_edge(78);
    world.run_for(1_500);
    assert_eq!((world.core.paths(), world.edge.paths()), (0, 0));
    assert!(world.edge.open_ports(session(), AT_EDGE, world.now));
    world.run_for(250);
    // The Core has sent nothing to him, and no window is open.
    world.visit(&[(outside(0, 9_999), media(3, 160)), (outside(0, 6_666), media(4, 160))]);
    world.run_for(20);
    assert_eq!(world.core_got, [(inside(0, 9_999), media(3, 160))]);
    assert_eq!((world.edge.paths(), world.dropped(EdgeDrop::PortStranger)), (1, 1));
    let asked = world.dropped(EdgeDrop::UnknownPort);
    world.run_for(5_000);
    assert!((1..10).contains(&asked) && world.dropped(EdgeDrop::UnknownPort) == asked, "{asked}");
}

#[test]
fn ports_that_are_open_before_the_cores_first_hello_stay_open() {
    let mut world = world();
    world.answer(&[(inside(0, 4000), media(1, 160))]);
    world.run_for(20);
    world.restart_edge(78);
    assert!(world.edge.open_ports(session(), AT_EDGE, world.now));
    assert!(world.edge.aim_ports(session(), [Some(phone(4000)), None], Duration::ZERO, world.now));
    world.run_for(1_500);
    assert_eq!(world.edge.port_pairs(), 1);
    world.core_got.clear();
    world.visit(&[(outside(0, 4000), media(2, 160))]);
    world.run_for(20);
    assert_eq!(world.core_got, [(inside(0, 4000), media(2, 160))]);
    // Those of a Core's earlier life are another thing.
    world.restart_core(99);
    world.run_for(500);
    assert_eq!(world.edge.port_pairs(), 0);
}

#[test]
fn a_restarted_edge_is_not_asked_for_peers_of_a_call_that_is_over() {
    let mut world = world();
    world.visit(&[(outside(0, 4_000), media(1, 160))]);
    world.run_for(20);
    world.prove(inside(0, 4_000));
    world.restart_edge(78);
    world.core.close_ports(TRANSPORT);
    world.run_for(3_000);
    assert!(world.core.is_up());
    assert_eq!(world.dropped(EdgeDrop::UnknownPort), 0);
}

#[test]
fn a_listener_who_says_nothing_keeps_his_path() {
    let mut world = world();
    for second in 0..90 {
        world.answer(&[(inside(0, 4000), media(second, 160))]);
        world.run_for(1_000);
    }
    assert_eq!(world.visitors_got.len(), 90);
    let opened = world.wire_to_core.iter().filter(|sent| sent.bytes[0] == 2).count();
    assert_eq!(opened, 1, "the Edge has made one path, once");
}
