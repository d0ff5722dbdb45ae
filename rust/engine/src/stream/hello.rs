//! Looks at what a client says first and leaves it where it is: whoever takes the connection reads it from the socket itself.

use std::future::poll_fn;
use std::io;
use std::task::{Poll, ready};

use mediaserver_proto::stream::{ClientHello, client_hello};
use tokio::io::{Interest, ReadBuf};
use tokio::net::TcpStream;

use super::hub::Hub;
use super::line::End;

/// Waits until a TLS client's first message is whole. The bound on its length is that of the reader, the bound on time its
/// caller's.
pub(super) async fn peek_hello(hub: &Hub, stream: &TcpStream) -> Result<ClientHello, End> {
    peek(hub, stream, |seen| client_hello(seen).map_err(End::Hello)).await
}

/// Waits for the first two bytes.
pub(super) async fn peek_length(hub: &Hub, stream: &TcpStream) -> Result<u16, End> {
    peek(hub, stream, |seen| Ok(seen.first_chunk().map(|&bytes| u16::from_be_bytes(bytes)))).await
}

/// Waits until `read` has seen enough.
async fn peek<T>(
    hub: &Hub,
    stream: &TcpStream,
    mut read: impl FnMut(&[u8]) -> Result<Option<T>, End>,
) -> Result<T, End> {
    let (mut seen, mut is_closed) = (0, false);
    loop {
        let (found, len) = poll_fn(|context| {
            let piece = &mut hub.piece.borrow_mut();
            let mut buffer = ReadBuf::new(piece);
            let peeked = ready!(stream.poll_peek(context, &mut buffer));
            Poll::Ready(peeked.map(|_| (read(buffer.filled()), buffer.filled().len())))
        })
        .await
        .map_err(|_| End::Broken)?;
        if let Some(found) = found? {
            return Ok(found);
        }
        if len == 0 || is_closed && len == seen {
            return Err(End::Peer);
        }
        seen = len;
        // What was seen stays there, so that the socket would be readable for ever: from now on only what is new counts.
        stream.try_io(Interest::READABLE, || Err::<(), _>(io::ErrorKind::WouldBlock.into())).ok();
        is_closed = stream.ready(Interest::READABLE).await.map_err(|_| End::Broken)?.is_read_closed();
    }
}
