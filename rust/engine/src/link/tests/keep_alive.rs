//! Ends that do not do their part: silent, deaf, flooding. Over a pipe in memory and on virtual time.

use std::future::poll_fn;
use std::sync::Arc;

use tokio::io::{AsyncWriteExt, DuplexStream, duplex};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::super::limits::{ARRIVALS, CONTROL_TIME, MESSAGE_BYTES, STREAMS};
use super::super::parts::{Stopper, stop};
use super::super::state::Link;
use super::super::{core_end, edge_end};
use super::*;

const PIPE: usize = 64 * 1024;

fn somewhere() -> SocketAddr {
    "192.0.2.1:7443".parse().unwrap()
}

/// One end of a link by itself, and the wire to it.
struct Alone {
    side: Side,
    link: Arc<Link>,
    ended: JoinHandle<String>,
    wire: Option<DuplexStream>,
    _stopper: Stopper,
}

impl Alone {
    fn new(is_edge: bool) -> Alone {
        let side = Side::new();
        let (ours, theirs) = duplex(PIPE);
        let (stopper, mut stop) = stop();
        let link = Link::new(1, side.counters.clone());
        let (its, parts) = (link.clone(), side.parts.clone());
        let ended = tokio::spawn(async move {
            if is_edge {
                edge_end::run(ours, somewhere(), &its, &parts, &mut stop).await
            } else {
                core_end::run(ours, somewhere(), &its, &parts, &mut stop).await
            }
        });
        Alone { side, link, ended, wire: Some(theirs), _stopper: stopper }
    }
}

/// A Core that answers the control stream and hands it out.
async fn core_by_hand(wire: DuplexStream) -> (h2::server::Connection<DuplexStream, Bytes>, h2::SendStream<Bytes>) {
    let mut connection = h2::server::handshake(wire).await.unwrap();
    let (_, mut response) = connection.accept().await.unwrap().unwrap();
    let stream = response.send_response(http::Response::new(()), false).unwrap();
    (connection, stream)
}

#[tokio::test(start_paused = true)]
async fn a_busy_core_that_never_reads_any_more_is_dead_after_two_seconds() {
    let mut edge = Alone::new(true);
    let (mut connection, _stream) = core_by_hand(edge.wire.take().unwrap()).await;
    tokio::select! {
        _ = connection.accept() => panic!("nobody visits"),
        link = edge.side.up() => assert_eq!(link, 1),
    }
    edge.link.busy.send_replace(true);
    // It answers for a while, and then stands still with its socket open.
    tokio::time::timeout(Duration::from_secs(3), connection.accept()).await.unwrap_err();
    let silent = Instant::now();
    assert_eq!(edge.ended.await.unwrap(), "no sign of life from the other end for 2 s");
    let took = silent.elapsed();
    assert!((Duration::from_millis(1500)..=Duration::from_millis(2010)).contains(&took), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_core_that_never_speaks_is_left_when_the_time_for_the_control_stream_is_over() {
    let mut edge = Alone::new(true);
    let _wire = edge.wire.take().unwrap();
    let since = Instant::now();
    assert_eq!(edge.ended.await.unwrap(), "the other end took no control stream in time");
    assert!(since.elapsed() <= CONTROL_TIME + Duration::from_millis(10));
    assert!(edge.side.events.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn an_edge_that_opens_no_control_stream_is_left_in_time() {
    let mut core = Alone::new(false);
    let (_requests, connection) = h2::client::handshake(core.wire.take().unwrap()).await.unwrap();
    let driving = tokio::spawn(connection);
    assert_eq!(core.ended.await.unwrap(), "the other end opened no control stream in time");
    driving.abort();
}

#[tokio::test(start_paused = true)]
async fn what_is_not_http2_is_a_reason_in_plain_words() {
    let mut core = Alone::new(false);
    let mut wire = core.wire.take().unwrap();
    wire.write_all(b"GET / HTTP/1.1\r\nHost: inside.example\r\n\r\n").await.unwrap();
    assert!(core.ended.await.unwrap().starts_with("the other end broke the protocol"));
}

#[tokio::test(start_paused = true)]
async fn a_control_message_of_a_million_bytes_ends_the_link_by_its_length() {
    let mut edge = Alone::new(true);
    let (mut connection, mut stream) = core_by_hand(edge.wire.take().unwrap()).await;
    stream.send_data(Bytes::copy_from_slice(&1_000_000_u32.to_be_bytes()), false).unwrap();
    let driving = tokio::spawn(async move { poll_fn(|cx| connection.poll_closed(cx)).await.ok() });
    let reason = edge.ended.await.unwrap();
    assert_eq!(reason, format!("the other end sent a control message of 1000000 bytes; {MESSAGE_BYTES} are allowed"));
    driving.abort();
}

/// An Edge that has opened its control stream.
async fn edge_by_hand(core: &mut Alone) -> (h2::client::SendRequest<Bytes>, h2::SendStream<Bytes>, JoinHandle<()>) {
    let (requests, connection) = h2::client::handshake(core.wire.take().unwrap()).await.unwrap();
    let driving = tokio::spawn(async move { connection.await.unwrap_or_default() });
    let mut requests = requests.ready().await.unwrap();
    let (response, stream) = requests.send_request(super::super::headers::control_request(), false).unwrap();
    response.await.unwrap();
    assert_eq!(core.side.up().await, 1);
    (requests, stream, driving)
}

fn visit() -> http::Request<()> {
    let visitor = super::super::Visitor {
        source: "203.0.113.9:1".parse().unwrap(),
        local: "192.0.2.1:443".parse().unwrap(),
        server_name: String::new(),
        service: super::super::Service::Page,
        number: 0,
    };
    super::super::headers::visitor_request(&visitor).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_streams_is_bounded_by_number() {
    let mut core = Alone::new(false);
    let (mut requests, _control, _driving) = edge_by_hand(&mut core).await;
    let (mut streams, mut opened) = (Vec::new(), Vec::new());
    for _ in 0..STREAMS {
        requests = requests.ready().await.unwrap();
        streams.push(requests.send_request(visit(), false).unwrap());
        opened.push(match core.side.next().await {
            LinkEvent::StreamOpened(event) => event.connection,
            other => panic!("{other:?}"),
        });
    }
    // Our client keeps to the limit that it was told, so one more waits for as long as the others are there.
    let one_more = requests.ready().await.unwrap().send_request(visit(), false).unwrap();
    tokio::time::timeout(Duration::from_secs(3), core.side.next()).await.unwrap_err();
    drop((one_more, streams, opened));
}

#[tokio::test(start_paused = true)]
async fn streams_that_are_opened_and_reset_without_end_cost_no_more_than_those_that_nobody_took() {
    let mut core = Alone::new(false);
    let (mut requests, _control, _driving) = edge_by_hand(&mut core).await;
    for _ in 0..4 * ARRIVALS {
        requests = requests.ready().await.unwrap();
        let (response, mut stream) = requests.send_request(visit(), false).unwrap();
        // Reset as soon as the Core has seen it, whether it took it or not.
        response.await.ok();
        stream.send_reset(h2::Reason::CANCEL);
    }
    let counters = &core.side.counters;
    assert_eq!(counters.get(crate::link::Count::StreamsOpened), ARRIVALS as u64);
    assert_eq!(counters.get(crate::link::Count::StreamsBound), 3 * ARRIVALS as u64);
    // What is taken makes room.
    drop(core.side.next().await);
    let (response, _stream) = requests.ready().await.unwrap().send_request(visit(), false).unwrap();
    assert!(response.await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn streams_of_no_known_kind_are_refused_one_by_one() {
    let mut core = Alone::new(false);
    let (mut requests, _control, _driving) = edge_by_hand(&mut core).await;
    for path in ["/control", "/visitor", "/nothing"] {
        let mut request = http::Request::new(());
        *request.uri_mut() = format!("https://link.invalid{path}").parse().unwrap();
        requests = requests.ready().await.unwrap();
        let (response, _stream) = requests.send_request(request, false).unwrap();
        assert_eq!(response.await.unwrap_err().reason(), Some(h2::Reason::REFUSED_STREAM), "{path}");
    }
    assert_eq!(core.side.counters.get(crate::link::Count::StreamInvalid), 3);
}
