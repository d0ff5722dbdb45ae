//! Control messages, and the end of a link.

use super::super::limits::{MESSAGE_BYTES, MESSAGES_WAITING_BYTES};
use super::*;

#[tokio::test]
async fn messages_go_both_ways_in_order_and_whole() {
    let (mut core, mut edge) = connected().await;
    let large = Bytes::from(vec![7; MESSAGE_BYTES]);
    for message in [Bytes::from_static(b"one"), Bytes::new(), large] {
        core.links.send_message(CORE_LINK, message.clone()).unwrap();
        edge.links.send_message(EDGE_LINK, message.clone()).unwrap();
        assert_eq!((core.message().await, edge.message().await), (message.clone(), message));
    }
}

#[tokio::test]
async fn what_is_too_long_or_too_much_is_refused_before_it_is_sent() {
    let (core, _edge) = connected().await;
    let too_long = Bytes::from(vec![0; MESSAGE_BYTES + 1]);
    let refused = core.links.send_message(CORE_LINK, too_long).unwrap_err();
    assert_eq!(refused, "invalid payload: too long for a control message");
    // Nothing is sent before this test waits, so the room is all there is.
    let message = Bytes::from(vec![0; MESSAGE_BYTES]);
    let taken = (0..100).take_while(|_| core.links.send_message(CORE_LINK, message.clone()).is_ok()).count();
    assert_eq!(taken, MESSAGES_WAITING_BYTES / MESSAGE_BYTES);
    assert_eq!(core.links.send_message(CORE_LINK, message).unwrap_err(), "limit link_messages");
    assert_eq!(core.links.send_message(99, Bytes::new()).unwrap_err(), "there is no such link");
}

#[tokio::test]
async fn a_reader_that_does_not_take_its_messages_stops_the_sender_and_not_the_link() {
    let (core, mut edge) = connected().await;
    let message = Bytes::from(vec![0; MESSAGE_BYTES]);
    let room = MESSAGES_WAITING_BYTES / MESSAGE_BYTES;
    let mut held = Vec::new();
    let mut sent = 0;
    while held.len() < room {
        while core.links.send_message(CORE_LINK, message.clone()).is_ok() {
            sent += 1;
        }
        match edge.next().await {
            LinkEvent::Message { message, .. } => held.push(message),
            other => panic!("{other:?}"),
        }
    }
    // All the room is in our hands: nothing more can come until some is given back.
    tokio::task::yield_now().await;
    assert!(edge.events.try_recv().is_err());
    held.clear();
    while held.len() < sent - room {
        match edge.next().await {
            LinkEvent::Message { message, .. } => drop(message),
            other => panic!("{other:?}"),
        }
        sent -= 1;
    }
}

#[tokio::test]
async fn a_link_that_is_closed_is_down_at_the_other_end_at_once() {
    let (core, mut edge) = connected().await;
    core.links.close(CORE_LINK).unwrap();
    // Whether the goodbye or the end of the socket is seen first.
    let reason = edge.down().await;
    assert!(reason.contains("closed the connection") || reason.contains("reset the connection"), "{reason}");
    assert_eq!(edge.links.send_message(EDGE_LINK, Bytes::new()).unwrap_err(), "the link is down");
    assert_eq!(core.links.close(CORE_LINK).unwrap_err(), "there is no such link");
}

#[tokio::test]
async fn a_core_comes_back_when_its_edge_does() {
    let house = House::new();
    let (core_shown, edge_shown) = (house.issue(CORE), house.issue(EDGE));
    let mut core = Side::new();
    let first = Side::new();
    let address = first.listen(&edge_shown, vec![core_shown.pin(EDGE_LINK, CORE)]);
    core.dial(CORE_LINK, address, &core_shown, &edge_shown);
    core.up().await;
    first.links.close_all().await;
    core.down().await;
    let second = Side::new();
    let listen = ListenLink {
        bind: (address.ip(), address.port()),
        credentials: edge_shown.credentials.clone(),
        cores: vec![core_shown.pin(EDGE_LINK, CORE)],
    };
    second.links.listen(1, &listen).unwrap();
    while !matches!(core.next().await, LinkEvent::Up { .. }) {}
}
