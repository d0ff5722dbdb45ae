//! Media frames over a TLS connection of their own, where UDP is blocked: a length before each, and nothing waits longer
//! than 200 ms. Both ends do the same.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::control::no_sign_of_life;
use super::event::LinkEvent;
use super::limits::FRAME_BYTES;
use super::parts::{Parts, Stop};
use super::pulse::{Beat, DEAD_AFTER, Pulse};
use super::reason::of_io;
use super::state::Link;

/// A length that asks for a sign of life.
const ASK: u16 = 0;
/// A length that is one.
const ANSWER: u16 = u16::MAX;
/// Bytes given to TLS at a time: one record.
const BATCH: usize = 16 * 1024;
/// Bytes read at a time.
const READ: usize = 64 * 1024;

/// What the reader, the writer and the keep-alive say to each other.
#[derive(Default)]
struct Signals {
    ask: AtomicBool,
    answer: AtomicBool,
    to_write: Notify,
    answered: Notify,
}

impl Signals {
    fn raise(&self, which: &AtomicBool) {
        which.store(true, Ordering::Relaxed);
        self.to_write.notify_one();
    }
}

/// Carries frames until the connection ends; gives the reason.
pub(crate) async fn run<T>(io: T, link: &Arc<Link>, parts: &Parts, stop: &mut Stop) -> String
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let (reader, writer) = split(io);
    let signals = Signals::default();
    link.set_frames_open(true);
    parts.tell(LinkEvent::MediaUp { link: link.id });
    let reason = tokio::select! {
        reason = read(reader, link, parts, &signals) => reason,
        reason = write(writer, link, &signals) => reason,
        reason = keep_alive(link.busy.subscribe(), &signals) => reason,
        reason = stop.said() => reason.to_owned(),
    };
    link.set_frames_open(false);
    reason
}

async fn keep_alive(mut busy: watch::Receiver<bool>, signals: &Signals) -> String {
    let mut pulse = Pulse::new(Instant::now(), *busy.borrow_and_update());
    loop {
        tokio::select! {
            () = sleep_until(pulse.poll_timeout()) => match pulse.handle_timeout(Instant::now()) {
                Beat::Wait => {}
                Beat::Ask => signals.raise(&signals.ask),
                Beat::Dead => return no_sign_of_life(),
            },
            () = signals.answered.notified() => pulse.handle_answer(Instant::now()),
            Ok(()) = busy.changed() => pulse.set_busy(*busy.borrow_and_update()),
        }
    }
}

async fn read<T: AsyncRead>(mut reader: ReadHalf<T>, link: &Link, parts: &Parts, signals: &Signals) -> String {
    let mut buffer = BytesMut::new();
    let mut frames: Vec<Bytes> = Vec::new();
    loop {
        buffer.reserve(READ);
        match reader.read_buf(&mut buffer).await {
            Ok(0) => return "the other end closed the connection".to_owned(),
            Ok(_) => {}
            Err(error) => return of_io(&error),
        }
        while let Some(head) = buffer.first_chunk::<2>() {
            let length = u16::from_be_bytes(*head);
            let size = match length {
                ASK | ANSWER => 0,
                length if usize::from(length) <= FRAME_BYTES => usize::from(length),
                length => return format!("the other end sent a media frame of {length} bytes"),
            };
            if buffer.len() < 2 + size {
                break;
            }
            buffer.advance(2);
            match length {
                ASK => signals.raise(&signals.answer),
                ANSWER => signals.answered.notify_one(),
                _ => frames.push(buffer.split_to(size).freeze()),
            }
        }
        if !frames.is_empty() {
            parts.frames(link.id, &frames);
            frames.clear();
        }
    }
}

async fn write<T: AsyncWrite>(mut writer: WriteHalf<T>, link: &Link, signals: &Signals) -> String {
    let mut out = BytesMut::with_capacity(BATCH);
    loop {
        tokio::select! {
            () = link.frames_waiting() => {}
            () = signals.to_write.notified() => {}
        }
        out.clear();
        for (signal, word) in [(&signals.ask, ASK), (&signals.answer, ANSWER)] {
            if signal.swap(false, Ordering::Relaxed) {
                out.put_u16(word);
            }
        }
        link.take_frames(BATCH, &mut out);
        let written = async {
            writer.write_all(&out).await?;
            writer.flush().await
        };
        match timeout(DEAD_AFTER, written).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return of_io(&error),
            Err(_) => return format!("the other end took nothing for {} s", DEAD_AFTER.as_secs()),
        }
    }
}
