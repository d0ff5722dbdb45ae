//! What a TLS client says first, in every shape that it may come in, over real sockets.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use mediaserver_proto::stream::{ClientHello, HelloError, MOST_HELLO_BYTES};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use super::hello::peek_hello;
use super::line::End;
use super::tests::house;

/// A message that asks for `name`, with so many bytes of padding (RFC 7685).
fn hello(name: &str, padding: usize) -> Vec<u8> {
    let with_length = |width: usize, value: &[u8]| [&value.len().to_be_bytes()[8 - width..], value].concat();
    let extension = |kind: u16, value: &[u8]| [&kind.to_be_bytes()[..], &with_length(2, value)].concat();
    let names = with_length(2, &[&[0][..], &with_length(2, name.as_bytes())].concat());
    let extensions = [extension(21, &vec![0; padding]), extension(0, &names)].concat();
    let body = [&[3, 3][..], &[7; 32], &[0], &[0, 2, 0x13, 1], &[1, 0], &with_length(2, &extensions)].concat();
    let message = [&[1][..], &with_length(3, &body)].concat();
    [&[22, 3, 1][..], &with_length(2, &message)].concat()
}

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    client.set_nodelay(true).unwrap();
    (client, listener.accept().await.unwrap().0)
}

#[tokio::test]
async fn a_message_in_pieces_is_waited_for_without_taking_it_or_turning_in_circles() {
    let hub = house().hub;
    let (mut client, server) = pair().await;
    let message = hello("calls.example.org", 600);
    let pieces: Vec<Vec<u8>> = message.chunks(100).map(<[u8]>::to_vec).collect();
    let count = pieces.len() as u32;
    let send = async move {
        for piece in pieces {
            client.write_all(&piece).await.unwrap();
            sleep(Duration::from_millis(5)).await;
        }
        client
    };
    let polls = std::cell::Cell::new(0);
    let counted = async {
        let mut peeking = std::pin::pin!(peek_hello(&hub, &server));
        std::future::poll_fn(|context| {
            polls.set(polls.get() + 1);
            peeking.as_mut().poll(context)
        })
        .await
    };
    let (_client, found) = tokio::join!(send, counted);
    assert_eq!(found, Ok(ClientHello { name: Some("calls.example.org".to_owned()) }));
    assert!(polls.get() < 8 * count, "{} polls for {count} pieces", polls.get());
    let mut taken = vec![0; MOST_HELLO_BYTES];
    assert_eq!(server.try_read(&mut taken).unwrap(), message.len());
    assert_eq!(taken[..message.len()], message);
}

#[tokio::test]
async fn a_message_that_is_never_finished_is_waited_for_and_one_that_breaks_off_is_not() {
    let hub: Rc<_> = house().hub;
    let message = hello("calls.example.org", 600);
    let (mut client, server) = pair().await;
    client.write_all(&message[..message.len() - 1]).await.unwrap();
    assert!(timeout(Duration::from_millis(50), peek_hello(&hub, &server)).await.is_err());
    client.shutdown().await.unwrap();
    assert_eq!(peek_hello(&hub, &server).await, Err(End::Peer));

    let (client, server) = pair().await;
    drop(client);
    assert_eq!(peek_hello(&hub, &server).await, Err(End::Peer));
}

#[tokio::test]
async fn a_huge_message_and_another_protocol_are_refused_at_once() {
    let hub = house().hub;
    let (mut client, server) = pair().await;
    client.write_all(&hello("calls.example.org", 16_305)[..300]).await.unwrap();
    assert_eq!(peek_hello(&hub, &server).await, Err(End::Hello(HelloError::TooLong)));
    let (mut client, server) = pair().await;
    client.write_all(b"G").await.unwrap();
    assert_eq!(peek_hello(&hub, &server).await, Err(End::Hello(HelloError::NotTls)));
}
