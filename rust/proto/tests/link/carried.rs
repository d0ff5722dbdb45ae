//! Sources of other threads of the Edge: connections, and relayed addresses of TURN clients.

use mediaserver_proto::io::{Path, SocketId, TransmitQueue};
use mediaserver_proto::link::{CoreEvent, EdgeEvent};
use mediaserver_proto::path::EdgeDrop;

use crate::world::*;

const RELAY: u16 = 0;
const STREAMS: u16 = 2;

fn connection(port: u16) -> Path {
    Path { socket: SocketId::carried(STREAMS, 0), remote: ([192, 0, 2, 1], port).into() }
}

fn relayed(port: u16) -> Path {
    Path { socket: SocketId::carried(RELAY, 0), remote: ([203, 0, 113, 5], port).into() }
}

fn news(world: &mut World) -> Vec<EdgeEvent> {
    let is_news = |event: &EdgeEvent| matches!(event, EdgeEvent::PathBound(_) | EdgeEvent::PathUnbound(_));
    std::mem::take(&mut world.edge_events).into_iter().filter(is_news).collect()
}

fn closed(world: &World) -> Vec<Path> {
    let closed = world.core_events.iter().filter_map(|(_, event)| match event {
        CoreEvent::Closed(path) => Some(*path),
        _ => None,
    });
    closed.collect()
}

#[test]
fn a_connection_is_a_path_that_is_bound_when_it_is_proven_and_ends_with_its_transport() {
    let mut world = World::new();
    world.visit(&[(connection(1), check(42))]);
    world.run_for(5);
    let path = Path { remote: connection(1).remote, ..linked(1) };
    assert_eq!(world.core_got, [(path, check(42))]);
    assert_eq!(news(&mut world), []);
    world.prove(path);
    world.run_for(5);
    assert_eq!(news(&mut world), [EdgeEvent::PathBound(connection(1))]);
    world.answer(&[(path, b"answer".to_vec())]);
    world.run_for(5);
    assert_eq!(world.visitors_got, [(connection(1), b"answer".to_vec())]);
    world.close_path(path);
    world.run_for(5);
    assert_eq!(news(&mut world), [EdgeEvent::PathUnbound(connection(1))]);
}

#[test]
fn a_core_learns_at_once_that_a_connection_is_closed() {
    let mut world = World::new();
    world.visit(&[(connection(1), check(42))]);
    world.run_for(5);
    world.close_source(connection(1));
    // Of one that nobody has nothing is said.
    world.close_source(connection(2));
    world.run_for(5);
    assert_eq!(closed(&world), [Path { remote: connection(1).remote, ..linked(1) }]);
    assert_eq!((world.edge.paths(), world.core.paths()), (0, 0));
}

#[test]
fn who_is_not_let_in_is_sent_away_and_who_is_in_stays_whatever_he_says() {
    let mut world = World::new();
    let forged = token(42, 10).replace(|letter: char| letter.is_ascii_lowercase(), "x");
    world.visit(&[(connection(1), check_with(&forged)), (connection(2), check_with(&token(42, -1)))]);
    world.run_for(5);
    let refused = [EdgeEvent::PathUnbound(connection(1)), EdgeEvent::PathUnbound(connection(2))];
    assert_eq!(news(&mut world), refused);
    assert_eq!((world.dropped(EdgeDrop::ForgedToken), world.dropped(EdgeDrop::ExpiredToken)), (1, 1));
    world.visit(&[(connection(3), check(42))]);
    world.visit(&[(connection(3), media(1, 60_000))]);
    world.run_for(5);
    assert_eq!((world.dropped(EdgeDrop::Policed), news(&mut world)), (1, vec![]));
}

#[test]
fn relayed_addresses_share_no_bound_of_a_network_but_that_of_their_session_stays() {
    let mut world = World::new();
    world.edge.set_relay(RELAY);
    for port in 0..100 {
        world.visit(&[(relayed(50_000 + port), check(u64::from(port)))]);
    }
    assert_eq!((world.edge.paths(), world.dropped(EdgeDrop::PrefixFull)), (100, 0));
    for port in 0..5 {
        world.visit(&[(relayed(60_000 + port), check(7))]);
    }
    assert_eq!((world.edge.paths(), world.dropped(EdgeDrop::SessionFull)), (103, 2));
    for port in 0..70 {
        world.visit(&[(connection(port), check(1_000 + u64::from(port)))]);
    }
    assert_eq!(world.dropped(EdgeDrop::PrefixFull), 6);
}

#[test]
fn connections_and_allocations_end_with_the_edges_life_and_the_core_is_told() {
    let mut world = World::new();
    world.admit(1, 42);
    let path = Path { remote: connection(1).remote, socket: SocketId::linked(5, 1) };
    world.visit(&[(connection(1), check(43))]);
    world.run_for(20);
    world.prove(path);
    world.run_for(20);
    assert_eq!(world.core.paths(), 2);
    world.is_edge_up = false;
    world.run_for(3_000);
    world.restart_edge(78);
    world.is_edge_up = true;
    world.run_for(2_000);
    assert_eq!((world.edge.paths(), world.core.paths()), (1, 1));
    assert_eq!(closed(&world), [path]);
}

impl World {
    fn close_source(&mut self, path: Path) {
        let mut out = TransmitQueue::default();
        self.edge.close_source(path, &mut out);
        self.leave_edge(&out);
    }
}
