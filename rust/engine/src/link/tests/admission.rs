//! Who is admitted, and who is not: each attack is refused, and counted by name.

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::super::certificates::{CONTROL_PROTOCOL, client_config};
use super::super::limits::{HANDSHAKE_TIME, HANDSHAKES_PER_SOURCE};
use super::*;
use crate::link::Count;

/// An Edge that admits `pins`, and what it shows.
fn edge(house: &House, pins: Vec<LinkPin>) -> (Side, Shown, SocketAddr) {
    let (side, shown) = (Side::new(), house.issue(EDGE));
    let address = side.listen(&shown, pins);
    (side, shown, address)
}

/// What a Core with `own` is told when it dials.
async fn refused(own: &Shown, shown: &Shown, address: SocketAddr) -> String {
    let mut core = Side::new();
    core.dial(CORE_LINK, address, own, shown);
    let reason = core.down().await;
    core.links.close_all().await;
    reason
}

const REFUSED: &str = "the other end refused our certificate; compare its pins with it";

#[tokio::test]
async fn a_core_with_a_certificate_of_another_name_is_refused() {
    let house = House::new();
    let other = house.issue("other.bank.example");
    // Even where its fingerprint is pinned.
    let (mut side, shown, address) = edge(&house, vec![other.pin(EDGE_LINK, CORE)]);
    assert_eq!(refused(&other, &shown, address).await, REFUSED);
    side.counted(Count::HandshakeFailed, 1).await;
    assert!(side.events.try_recv().is_err());
}

#[tokio::test]
async fn a_core_with_the_right_name_and_another_fingerprint_is_refused() {
    let house = House::new();
    let (pinned, forged) = (house.issue(CORE), house.issue(CORE));
    let (mut side, shown, address) = edge(&house, vec![pinned.pin(EDGE_LINK, CORE)]);
    assert_eq!(refused(&forged, &shown, address).await, REFUSED);
    side.counted(Count::HandshakeFailed, 1).await;
    assert!(side.events.try_recv().is_err());
}

#[tokio::test]
async fn a_core_from_another_issuer_is_refused_even_when_it_is_pinned() {
    let (house, stranger) = (House::new(), House::new());
    let mut foreign = stranger.issue(CORE);
    foreign.credentials.issuers_pem = house.issue(CORE).credentials.issuers_pem;
    let (side, shown, address) = edge(&house, vec![foreign.pin(EDGE_LINK, CORE)]);
    assert_eq!(refused(&foreign, &shown, address).await, REFUSED);
    side.counted(Count::HandshakeFailed, 1).await;
}

#[tokio::test]
async fn an_edge_of_another_name_fingerprint_or_issuer_is_left_with_a_reason() {
    let house = House::new();
    let core = house.issue(CORE);
    let (_side, shown, address) = edge(&house, vec![core.pin(EDGE_LINK, CORE)]);
    let pinned = house.issue(EDGE);
    assert_eq!(
        refused(&core, &pinned, address).await,
        "the certificate of the other end has another fingerprint, or another name, than the pinned one"
    );
    let mut stranger = house.issue(CORE);
    stranger.credentials.issuers_pem = House::new().issue(CORE).credentials.issuers_pem;
    assert_eq!(refused(&stranger, &shown, address).await, "the certificate of the other end is from another issuer");

    let misnamed = Side::new();
    let other = house.issue("other.bank.example");
    let address = misnamed.listen(&other, vec![core.pin(EDGE_LINK, CORE)]);
    assert_eq!(refused(&core, &other, address).await, "the certificate of the other end is for another name");
}

#[tokio::test]
async fn a_second_connection_of_the_same_core_takes_the_place_of_the_first() {
    let house = House::new();
    let core = house.issue(CORE);
    let (mut side, shown, address) = edge(&house, vec![core.pin(EDGE_LINK, CORE)]);
    let (mut first, mut second) = (Side::new(), Side::new());
    first.dial(CORE_LINK, address, &core, &shown);
    assert_eq!((first.up().await, side.up().await), (CORE_LINK, EDGE_LINK));
    second.dial(CORE_LINK, address, &core, &shown);
    assert_eq!(side.down().await, "a newer connection of the same Core came in its place");
    assert_eq!((side.up().await, second.up().await), (EDGE_LINK, CORE_LINK));
    side.links.send_message(EDGE_LINK, Bytes::from_static(b"to the second")).unwrap();
    assert_eq!(second.message().await, "to the second");
    first.down().await;
    first.links.close_all().await;
}

#[tokio::test]
async fn two_cores_have_a_link_each() {
    let house = House::new();
    let (one, two) = (house.issue("one.bank.example"), house.issue("two.bank.example"));
    let pins = vec![one.pin(1, "one.bank.example"), two.pin(2, "two.bank.example")];
    let (mut side, shown, address) = edge(&house, pins);
    let cores = [(Side::new(), one), (Side::new(), two)];
    for (core, own) in &cores {
        core.dial(CORE_LINK, address, own, &shown);
    }
    let mut up = [side.up().await, side.up().await];
    up.sort_unstable();
    assert_eq!(up, [1, 2]);
}

/// A TLS client by hand.
fn client(own: &Shown, shown: &Shown, protocol: &[u8]) -> ClientConfig {
    client_config(&own.read(), shown.fingerprint(), protocol).unwrap()
}

fn edge_name() -> ServerName<'static> {
    ServerName::try_from(EDGE).unwrap()
}

#[tokio::test]
async fn a_replayed_client_hello_gets_no_further_than_the_first_answer_and_is_closed() {
    let house = House::new();
    let core = house.issue(CORE);
    let (mut side, shown, address) = edge(&house, vec![core.pin(EDGE_LINK, CORE)]);
    let mut session = ClientConnection::new(client(&core, &shown, CONTROL_PROTOCOL).into(), edge_name()).unwrap();
    let mut hello = Vec::new();
    session.write_tls(&mut hello).unwrap();
    let mut heard = Vec::new();
    for _ in 0..2 {
        let mut connection = TcpStream::connect(address).await.unwrap();
        connection.write_all(&hello).await.unwrap();
        let mut answer = vec![0; 16 * 1024];
        let length = timeout(PATIENCE, connection.read(&mut answer)).await.unwrap().unwrap();
        heard.push((answer[..length].to_vec(), connection));
    }
    // Every answer is made of fresh secrets, so a recorded session says nothing under another one's keys.
    assert_ne!(heard[0].0, heard[1].0);
    // All that is waited for now is the end of the time for handshakes.
    tokio::time::pause();
    let before = tokio::time::Instant::now();
    side.counted(Count::HandshakeTime, 2).await;
    assert!(before.elapsed() <= HANDSHAKE_TIME + Duration::from_millis(10));
    assert!(side.events.try_recv().is_err());
}

#[tokio::test]
async fn a_client_without_the_name_of_the_protocol_is_refused() {
    let house = House::new();
    let core = house.issue(CORE);
    let (side, shown, address) = edge(&house, vec![core.pin(EDGE_LINK, CORE)]);
    for (protocols, what) in [(vec![], Count::NoAlpn), (vec![b"h2".to_vec()], Count::HandshakeFailed)] {
        let mut config = client(&core, &shown, CONTROL_PROTOCOL);
        config.alpn_protocols = protocols;
        let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
        let connection = TcpStream::connect(address).await.unwrap();
        if let Ok(mut connection) = connector.connect(edge_name(), connection).await {
            timeout(PATIENCE, connection.read(&mut [0])).await.unwrap().ok();
        }
        side.counted(what, 1).await;
    }
}

#[tokio::test]
async fn silent_connections_of_one_source_are_bounded_and_closed_in_time() {
    let house = House::new();
    let core = house.issue(CORE);
    let (mut side, shown, address) = edge(&house, vec![core.pin(EDGE_LINK, CORE)]);
    let mut silent = Vec::new();
    for _ in 0..HANDSHAKES_PER_SOURCE {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    let mut one_more = TcpStream::connect(address).await.unwrap();
    assert_eq!(timeout(PATIENCE, one_more.read(&mut [0])).await.unwrap().unwrap(), 0);
    assert_eq!(side.counters.get(Count::HandshakesBound), 1);
    tokio::time::pause();
    side.counted(Count::HandshakeTime, HANDSHAKES_PER_SOURCE as u64).await;
    tokio::time::resume();
    // And then there is room again.
    let admitted = Side::new();
    admitted.dial(CORE_LINK, address, &core, &shown);
    assert_eq!(side.up().await, EDGE_LINK);
}
