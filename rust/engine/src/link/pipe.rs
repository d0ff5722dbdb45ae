//! A visitor's connection over one stream of the link: bytes, ends of halves and resets, both ways.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use h2::{Reason, RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::control::capacity;
use super::limits::{HALF_CLOSED_TIME, STALLED_TIME};
use super::state::Connection;

/// Bytes read at a time.
const CHUNK: usize = 8 * 1024;

/// How a visitor's connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Both halves came to their end.
    Done,
    /// Somebody reset it.
    Reset,
    /// A reader took nothing for too long.
    Stalled,
}

/// Why one half stopped before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Broken {
    /// The local side was reset, or does not read any more.
    Local,
    /// The other end of the link reset the stream.
    Remote,
    /// The local side does not read.
    Stalled,
}

/// When bytes moved last, in any direction.
#[derive(Debug)]
struct Movement {
    start: Instant,
    last_ms: AtomicU64,
}

impl Default for Movement {
    fn default() -> Movement {
        Movement { start: Instant::now(), last_ms: AtomicU64::new(0) }
    }
}

impl Movement {
    fn note(&self) {
        let passed = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_ms.store(passed, Ordering::Relaxed);
    }

    fn last(&self) -> Instant {
        self.start + Duration::from_millis(self.last_ms.load(Ordering::Relaxed))
    }
}

/// Carries everything between `connection` and the stream.
pub(crate) async fn pipe(
    mut connection: Box<dyn Connection>,
    mut send: SendStream<Bytes>,
    mut receive: RecvStream,
) -> End {
    let tells_resets = connection.tells_resets();
    let (reader, writer) = split(&mut connection);
    let (end, abort) = {
        let moved = Movement::default();
        let mut up = pin!(upwards(reader, tells_resets, &mut send, &moved));
        let mut down = pin!(downwards(writer, &mut receive, &moved));
        let first = tokio::select! {
            result = &mut up => (Some(result), None),
            result = &mut down => (None, Some(result)),
        };
        match first {
            // What came before the reset is still there.
            (Some(Err(Broken::Remote)), _) => match half(&mut down, &moved).await {
                Ok(()) | Err(Broken::Local) => return End::Reset,
                Err(broken) => (ended(broken), broken),
            },
            (Some(Err(broken)), _) => (ended(broken), broken),
            (_, Some(Err(broken @ (Broken::Remote | Broken::Stalled)))) => (ended(broken), broken),
            // Whoever does not read any more may have written before: that goes on to its end.
            (_, Some(Err(Broken::Local))) => match half(&mut up, &moved).await {
                Ok(()) => return End::Done,
                Err(broken) => (ended(broken), broken),
            },
            (Some(Ok(())), _) => match half(&mut down, &moved).await {
                Ok(()) | Err(Broken::Local) => return End::Done,
                Err(broken) => (ended(broken), broken),
            },
            (_, Some(Ok(()))) => match half(&mut up, &moved).await {
                Ok(()) => return End::Done,
                // Everything that the other end had to say was said; a plain close lets the local side read it.
                Err(Broken::Remote) => return End::Reset,
                Err(broken) => (ended(broken), broken),
            },
            (None, None) => return End::Done,
        }
    };
    if abort != Broken::Local {
        connection.abort();
    }
    send.send_reset(Reason::CANCEL);
    end
}

fn ended(broken: Broken) -> End {
    match broken {
        Broken::Local | Broken::Remote => End::Reset,
        Broken::Stalled => End::Stalled,
    }
}

/// The other half, for as long as something moves on it.
async fn half(rest: &mut (impl Future<Output = Result<(), Broken>> + Unpin), moved: &Movement) -> Result<(), Broken> {
    moved.note();
    loop {
        tokio::select! {
            result = &mut *rest => return result,
            () = sleep_until(moved.last() + HALF_CLOSED_TIME) => if moved.last() + HALF_CLOSED_TIME <= Instant::now() {
                return Err(Broken::Stalled);
            },
        }
    }
}

/// From the local side to the stream.
async fn upwards(
    mut reader: impl AsyncRead + Unpin,
    tells_resets: bool,
    send: &mut SendStream<Bytes>,
    moved: &Movement,
) -> Result<(), Broken> {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(CHUNK);
        let read = tokio::select! {
            read = reader.read_buf(&mut buffer) => read,
            _ = poll_fn(|cx| send.poll_reset(cx)) => return Err(Broken::Remote),
        };
        moved.note();
        let read = match read {
            Ok(read) => read,
            Err(_) if tells_resets => return Err(Broken::Local),
            Err(_) => 0,
        };
        if read == 0 {
            return send.send_data(Bytes::new(), true).map_err(|_| Broken::Remote);
        }
        while !buffer.is_empty() {
            let granted = capacity(send, buffer.len()).await.map_err(|_| Broken::Remote)?;
            send.send_data(buffer.split_to(granted).freeze(), false).map_err(|_| Broken::Remote)?;
            moved.note();
        }
    }
}

/// From the stream to the local side. What comes is taken from the stream at once, so that many small frames wait as
/// bytes; the window opens again when they are written.
async fn downwards(
    mut writer: impl AsyncWrite + Unpin,
    receive: &mut RecvStream,
    moved: &Movement,
) -> Result<(), Broken> {
    let mut waiting = BytesMut::new();
    let mut is_open = true;
    let mut stalls_at = Instant::now() + STALLED_TIME;
    while is_open || !waiting.is_empty() {
        let is_waiting = !waiting.is_empty();
        tokio::select! {
            data = receive.data(), if is_open => match data {
                Some(Ok(data)) => {
                    if waiting.is_empty() {
                        stalls_at = Instant::now() + STALLED_TIME;
                    }
                    waiting.extend_from_slice(&data);
                }
                Some(Err(_)) => return Err(Broken::Remote),
                None => is_open = false,
            },
            written = timeout_at(stalls_at, writer.write(&waiting)), if is_waiting => {
                let written = written.map_err(|_| Broken::Stalled)?.map_err(|_: io::Error| Broken::Local)?;
                if written == 0 {
                    return Err(Broken::Local);
                }
                moved.note();
                stalls_at = moved.last() + STALLED_TIME;
                waiting.advance(written);
                receive.flow_control().release_capacity(written).map_err(|_| Broken::Remote)?;
            }
        }
    }
    writer.shutdown().await.map_err(|_| Broken::Local)
}
