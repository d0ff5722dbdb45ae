//! A connection whose TLS ends here: what is inside goes to and fro between the visitor and the control plane.

use std::pin::pin;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::time::timeout;

use super::line::End;

/// Bytes read at a time.
const CHUNK: usize = 8 * 1024;
/// Whoever has said its last waits so long for the other's last.
const HALF_CLOSED: Duration = Duration::from_secs(30);
/// So long a visitor is read to whom nobody listens any more.
const LINGER: Duration = Duration::from_secs(2);
/// A reader may take nothing for as long.
const STALLED: Duration = Duration::from_secs(60);

/// Carries everything until one side is gone; gives why it ended.
pub(super) async fn pump<A, B>(visitor: A, inside: B) -> End
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let ((from_visitor, to_visitor), (mut from_inside, to_inside)) = (split(visitor), split(inside));
    let (mut inwards, mut outwards) =
        (pin!(inwards(from_visitor, to_inside)), pin!(copy(&mut from_inside, to_visitor)));
    let (first, is_inwards) = tokio::select! {
        end = &mut inwards => (end, true),
        end = &mut outwards => (end, false),
    };
    if first != End::Peer {
        return first;
    }
    let rest = async { if is_inwards { outwards.await } else { inwards.await } };
    timeout(HALF_CLOSED, rest).await.unwrap_or(End::Peer)
}

/// What the visitor says. When nobody inside listens any more it is read all the same for a while: closed with bytes that
/// nobody has read, TCP would take the answer back that is on its way (RFC 9112 §9.6).
async fn inwards(mut from: impl AsyncRead + Unpin, to: impl AsyncWrite + Unpin) -> End {
    let end = copy(&mut from, to).await;
    if end == End::Broken {
        timeout(LINGER, tokio::io::copy(&mut from, &mut tokio::io::sink())).await.ok();
    }
    end
}

/// One direction, to its end and with it.
async fn copy(from: &mut (impl AsyncRead + Unpin), mut to: impl AsyncWrite + Unpin) -> End {
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = match from.read(&mut chunk).await {
            Ok(0) => break,
            Ok(read) => read,
            Err(_) => return End::Broken,
        };
        let written = async {
            to.write_all(&chunk[..read]).await?;
            to.flush().await
        };
        match timeout(STALLED, written).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return End::Broken,
            Err(_) => return End::Silent,
        }
    }
    to.shutdown().await.ok();
    End::Peer
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_one_side_says_reaches_the_other_to_the_end() {
        let ((mut visitor, outer), (inner, mut house)) = (duplex(64), duplex(64));
        let pumped = tokio::spawn(pump(outer, inner));
        let said = tokio::spawn(async move {
            visitor.write_all(&[7; 500]).await.unwrap();
            visitor.shutdown().await.unwrap();
            let mut answer = Vec::new();
            visitor.read_to_end(&mut answer).await.unwrap();
            answer
        });
        let mut asked = Vec::new();
        house.read_to_end(&mut asked).await.unwrap();
        assert_eq!(asked, [7; 500]);
        house.write_all(b"an answer behind the end of the question").await.unwrap();
        drop(house);
        assert_eq!(said.await.unwrap(), b"an answer behind the end of the question");
        assert_eq!(pumped.await.unwrap(), End::Peer);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_says_no_more_is_not_waited_for_for_ever() {
        let ((visitor, outer), (inner, house)) = (duplex(64), duplex(64));
        drop(house);
        let begun = tokio::time::Instant::now();
        assert_eq!(pump(outer, inner).await, End::Peer);
        assert_eq!(begun.elapsed(), HALF_CLOSED);
        drop(visitor);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_reads_nothing_is_given_up() {
        let ((mut visitor, outer), (inner, house)) = (duplex(64), duplex(64));
        let writing = tokio::spawn(async move { visitor.write_all(&[7; 100_000]).await });
        assert_eq!(pump(outer, inner).await, End::Silent);
        assert!(writing.await.unwrap().is_err());
        drop(house);
    }
}
