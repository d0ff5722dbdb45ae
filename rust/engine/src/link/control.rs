//! The control stream: messages both ways as long as the link is up, and the keep-alive beside it.

use std::future::{pending, poll_fn};

use bytes::Bytes;
use h2::{Ping, PingPong, RecvStream, SendStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::budget::Charged;
use super::counters::Count;
use super::event::{LinkEvent, Message};
use super::framing::{MessageReader, TooLong, write_message};
use super::limits::MESSAGE_BYTES;
use super::parts::Parts;
use super::pulse::{Beat, DEAD_AFTER, Pulse};
use super::reason::of_h2;
use super::state::Link;

/// Waits until at least one byte of `wanted` may be sent.
pub(crate) async fn capacity(stream: &mut SendStream<Bytes>, wanted: usize) -> Result<usize, Option<h2::Error>> {
    stream.reserve_capacity(wanted);
    while stream.capacity() == 0 {
        match poll_fn(|cx| stream.poll_capacity(cx)).await {
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(Some(error)),
            None => return Err(None),
        }
    }
    Ok(stream.capacity().min(wanted))
}

/// Sends what is queued; ends with a reason when that is not possible any more.
pub(crate) async fn send(mut stream: SendStream<Bytes>, mut messages: mpsc::UnboundedReceiver<Charged>) -> String {
    while let Some(message) = messages.recv().await {
        let mut bytes = write_message(&message.bytes);
        while !bytes.is_empty() {
            let sent = match capacity(&mut stream, bytes.len()).await {
                Ok(granted) => stream.send_data(bytes.split_to(granted), false),
                Err(Some(error)) => return of_h2(&error),
                Err(None) => return "the other end closed the control stream".to_owned(),
            };
            if let Err(error) = sent {
                return of_h2(&error);
            }
        }
    }
    // The link was closed on our side; whoever did that has the reason.
    pending().await
}

/// Hands on what comes; ends with a reason. Stops reading while too much waits for our control plane.
pub(crate) async fn receive(mut stream: RecvStream, link: &Link, parts: &Parts) -> String {
    let mut reader = MessageReader::default();
    while let Some(data) = stream.data().await {
        let data = match data {
            Ok(data) => data,
            Err(error) => return of_h2(&error),
        };
        reader.push(&data);
        loop {
            match reader.next() {
                Ok(Some(message)) => {
                    let Some(charged) = link.received.charge(message).await else { break };
                    parts.counters.add(Count::MessagesReceived, 1);
                    if !parts.tell(LinkEvent::Message { link: link.id, message: Message::new(charged) }) {
                        return "our own control plane does not take its events".to_owned();
                    }
                }
                Ok(None) => break,
                Err(TooLong(length)) => {
                    return format!(
                        "the other end sent a control message of {length} bytes; {MESSAGE_BYTES} are allowed"
                    );
                }
            }
        }
        if let Err(error) = stream.flow_control().release_capacity(data.len()) {
            return of_h2(&error);
        }
    }
    "the other end closed the control stream".to_owned()
}

/// Asks for signs of life; ends with a reason when there are none.
pub(crate) async fn keep_alive(mut ping: PingPong, mut busy: watch::Receiver<bool>) -> String {
    let mut pulse = Pulse::new(Instant::now(), *busy.borrow_and_update());
    loop {
        tokio::select! {
            () = sleep_until(pulse.poll_timeout()) => match pulse.handle_timeout(Instant::now()) {
                Beat::Wait => {}
                Beat::Ask => {
                    if let Err(error) = ping.send_ping(Ping::opaque()) {
                        return of_h2(&error);
                    }
                }
                Beat::Dead => return no_sign_of_life(),
            },
            pong = poll_fn(|cx| ping.poll_pong(cx)) => match pong {
                Ok(_) => pulse.handle_answer(Instant::now()),
                Err(error) => return of_h2(&error),
            },
            Ok(()) = busy.changed() => pulse.set_busy(*busy.borrow_and_update()),
        }
    }
}

/// Why a link is down that was asked for a sign of life in vain.
pub(crate) fn no_sign_of_life() -> String {
    format!("no sign of life from the other end for {} s", DEAD_AFTER.as_secs())
}
