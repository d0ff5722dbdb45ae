//! Visitors' connections over a link.

use std::os::unix::net::UnixStream as StdUnixStream;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};

use super::super::event::{StreamOpened, Visitor};
use super::super::limits::HALF_CLOSED_TIME;
use super::super::state::Connection;
use super::*;
use crate::link::Count;

/// A visitor's own socket.
async fn visit(edge: &Side) -> TcpStream {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let visitor = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (accepted, _) = listener.accept().await.unwrap();
    edge.links.open_stream(EDGE_LINK, whoever(), Box::new(accepted) as Box<dyn Connection>).unwrap();
    visitor
}

fn whoever() -> Visitor {
    Visitor {
        source: "203.0.113.9:4711".parse().unwrap(),
        local: "[2001:db8::1]:443".parse().unwrap(),
        server_name: "video.bank.example".to_owned(),
        service: super::super::Service::Page,
        number: 0,
    }
}

async fn opened(core: &mut Side) -> (StreamOpened, UnixStream) {
    match core.next().await {
        LinkEvent::StreamOpened(mut opened) => {
            let (placeholder, _) = StdUnixStream::pair().unwrap();
            let connection = std::mem::replace(&mut opened.connection, placeholder.into());
            (opened, UnixStream::from_std(connection.into()).unwrap())
        }
        other => panic!("{other:?}"),
    }
}

async fn read_to_end(stream: &mut (impl AsyncReadExt + Unpin)) -> std::io::Result<Vec<u8>> {
    let mut all = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut all)).await.expect("an end")?;
    Ok(all)
}

#[tokio::test]
async fn a_visitors_bytes_and_addresses_reach_the_core_and_each_half_ends_by_itself() {
    let (mut core, edge) = connected().await;
    let mut visitor = visit(&edge).await;
    let (opened, mut server) = opened(&mut core).await;
    assert_eq!((opened.link, opened.visitor), (CORE_LINK, whoever()));
    let question = vec![1; 300_000];
    visitor.write_all(&question).await.unwrap();
    visitor.shutdown().await.unwrap();
    assert_eq!(read_to_end(&mut server).await.unwrap(), question);
    // The other half still carries.
    let answer = vec![2; 300_000];
    let reading = tokio::spawn(async move { read_to_end(&mut visitor).await });
    server.write_all(&answer).await.unwrap();
    server.shutdown().await.unwrap();
    assert_eq!(reading.await.unwrap().unwrap(), answer);
}

#[tokio::test]
async fn an_answer_arrives_whole_when_the_server_closes_while_the_visitor_still_sends() {
    let (mut core, edge) = connected().await;
    let mut visitor = visit(&edge).await;
    let (_, mut server) = opened(&mut core).await;
    let answer = vec![3; 400_000];
    let reading = tokio::spawn(async move {
        visitor.write_all(b"more and more").await.unwrap();
        let mut all = Vec::new();
        let mut piece = vec![0; 4096];
        while all.len() < 400_000 {
            match visitor.read(&mut piece).await.unwrap() {
                0 => break,
                count => all.extend_from_slice(&piece[..count]),
            }
        }
        all
    });
    server.write_all(&answer).await.unwrap();
    drop(server);
    assert_eq!(timeout(PATIENCE, reading).await.unwrap().unwrap(), answer);
}

#[tokio::test]
async fn one_visitor_who_does_not_read_stops_neither_the_others_nor_the_control_stream() {
    let (mut core, mut edge) = connected().await;
    let slow = visit(&edge).await;
    let (_, mut to_slow) = opened(&mut core).await;
    let filling = tokio::spawn(async move {
        let block = vec![0; 64 * 1024];
        while to_slow.write_all(&block).await.is_ok() {}
    });
    // And one whose server does not read.
    let mut unheard = visit(&edge).await;
    let (_, deaf) = opened(&mut core).await;
    let shouting = tokio::spawn(async move {
        let block = vec![0; 64 * 1024];
        while unheard.write_all(&block).await.is_ok() {}
    });
    for _ in 0..3 {
        let mut visitor = visit(&edge).await;
        let (_, mut server) = opened(&mut core).await;
        let body = vec![9; 2_000_000];
        let expected = body.clone();
        let writing = tokio::spawn(async move {
            server.write_all(&body).await.unwrap();
            server.shutdown().await.unwrap();
            server
        });
        assert_eq!(read_to_end(&mut visitor).await.unwrap(), expected);
        writing.await.unwrap();
        core.links.send_message(CORE_LINK, Bytes::from_static(b"still here")).unwrap();
        assert_eq!(edge.message().await, "still here");
    }
    assert!(!filling.is_finished() && !shouting.is_finished());
    filling.abort();
    shouting.abort();
    drop((slow, deaf));
}

#[tokio::test]
async fn a_reset_of_the_visitor_ends_the_server_and_a_reset_of_the_server_ends_the_visitor() {
    let (mut core, edge) = connected().await;
    let visitor = visit(&edge).await;
    let (_, mut server) = opened(&mut core).await;
    visitor.set_zero_linger().unwrap();
    drop(visitor);
    assert_eq!(read_to_end(&mut server).await.unwrap(), b"");
    timeout(PATIENCE, async { while server.write_all(b"x").await.is_ok() {} }).await.unwrap();

    let mut visitor = visit(&edge).await;
    let (_, server) = opened(&mut core).await;
    drop(server);
    assert_eq!(read_to_end(&mut visitor).await.unwrap(), b"");
    timeout(PATIENCE, async { while visitor.write_all(b"x").await.is_ok() {} }).await.unwrap();
}

#[tokio::test]
async fn visitors_are_cut_off_when_the_link_ends() {
    let (mut core, edge) = connected().await;
    let mut visitor = visit(&edge).await;
    let (_, mut server) = opened(&mut core).await;
    core.links.close(CORE_LINK).unwrap();
    assert_eq!(read_to_end(&mut server).await.unwrap(), b"");
    // An end or a reset, as it comes.
    read_to_end(&mut visitor).await.ok();
}

#[tokio::test]
async fn a_visitor_with_a_name_that_is_none_is_refused_at_the_edge() {
    let (mut core, mut edge) = connected().await;
    let (ours, theirs) = UnixStream::pair().unwrap();
    let visitor = Visitor { server_name: "a\r\nb".to_owned(), ..whoever() };
    edge.links.open_stream(EDGE_LINK, visitor, Box::new(theirs)).unwrap();
    let mut ours = ours;
    assert_eq!(read_to_end(&mut ours).await.unwrap(), b"");
    assert_eq!(edge.counters.get(Count::StreamInvalid), 1);
    // The link is none the worse for it.
    core.links.send_message(CORE_LINK, Bytes::from_static(b"here")).unwrap();
    assert_eq!(edge.message().await, "here");
    assert!(core.events.try_recv().is_err());
}

#[tokio::test]
async fn a_half_closed_connection_on_which_nothing_moves_is_reset_after_its_time() {
    let (mut core, edge) = connected().await;
    let mut visitor = visit(&edge).await;
    let (_, mut server) = opened(&mut core).await;
    visitor.shutdown().await.unwrap();
    assert_eq!(read_to_end(&mut server).await.unwrap(), b"");
    tokio::time::pause();
    let since = tokio::time::Instant::now();
    let (at_edge, at_core) = (edge.counted(Count::StreamStalled, 1), core.counted(Count::StreamStalled, 1));
    tokio::select! {
        () = at_edge => {}
        () = at_core => {}
    }
    assert!(since.elapsed() >= HALF_CLOSED_TIME - Duration::from_secs(1), "{:?}", since.elapsed());
    assert!(since.elapsed() <= HALF_CLOSED_TIME + Duration::from_secs(1), "{:?}", since.elapsed());
    timeout(PATIENCE, async { while server.write_all(b"x").await.is_ok() {} }).await.unwrap();
}

#[tokio::test]
async fn a_visitor_who_takes_nothing_for_a_minute_is_reset() {
    let (mut core, edge) = connected().await;
    let mut visitor = visit(&edge).await;
    let (_, mut server) = opened(&mut core).await;
    // Until every buffer on the way is full.
    let block = vec![0; 64 * 1024];
    while timeout(Duration::from_secs(1), server.write_all(&block)).await.is_ok() {}
    tokio::time::pause();
    edge.counted(Count::StreamStalled, 1).await;
    tokio::time::resume();
    // What was on the way before is read, and then there is the reset.
    let failed = read_to_end(&mut visitor).await.unwrap_err();
    assert_eq!(failed.kind(), std::io::ErrorKind::ConnectionReset);
}
