//! One SCTP association (RFC 9260) with partial reliability (RFC 3758) and stream reset (RFC 6525), by the dcsctp crate.

use std::time::Duration;

use dcsctp::api::{DcSctpSocket, Message, Options, PpId, SendOptions, SocketEvent, SocketState, SocketTime, StreamId};

use super::config::{DataConfig, MTU, STREAMS};
use super::dcep::{Channel, Reliability};
use crate::time::Time;

/// RFC 7053, RFC 9260 §6.1: the window is twice the largest message, so that one can wait for its last fragment while
/// the next begins.
const WINDOW_MESSAGES: usize = 2;

/// What an association tells the channels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AssociationEvent {
    /// To be sent as one DTLS record.
    Packet(Vec<u8>),
    /// Established.
    Connected,
    /// The peer began anew (RFC 9260 §5.2.4.1): its streams start from nothing.
    Restarted,
    /// Over: by shutdown, by ABORT, or because nothing was acknowledged.
    Ended,
    /// The peer reset these streams of its own; empty means all.
    ResetByPeer(Vec<u16>),
    /// The peer has followed our reset.
    ResetDone(Vec<u16>),
    /// It refused.
    ResetRefused(Vec<u16>),
}

/// One user message that came whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// Stream.
    pub stream: u16,
    /// Payload protocol identifier.
    pub ppid: u32,
    /// The message.
    pub payload: Vec<u8>,
}

/// One association. The library keeps time from its own zero and draws from a generator of the thread's, so both are
/// set before each call that could use them.
pub struct Association {
    socket: Box<dyn DcSctpSocket>,
    zero: Time,
    entropy: u64,
}

impl std::fmt::Debug for Association {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Association").field("state", &self.socket.state()).finish_non_exhaustive()
    }
}

impl Association {
    /// An association that waits for the peer; [`Association::connect`] calls it.
    pub fn new(config: &DataConfig, now: Time) -> Association {
        let options = Options {
            local_port: config.local_port,
            remote_port: config.remote_port,
            announced_maximum_incoming_streams: STREAMS,
            announced_maximum_outgoing_streams: STREAMS,
            mtu: MTU,
            max_message_size: config.limits.message_bytes,
            max_receiver_window_buffer_size: WINDOW_MESSAGES * config.limits.message_bytes.max(MTU),
            max_send_buffer_size: config.limits.buffer_bytes,
            per_stream_send_queue_limit: config.limits.channel_buffer_bytes,
            // A peer that is there answers within seconds; ICE consent ends the transport of one that is not.
            max_timer_backoff_duration: Some(Duration::from_secs(3)),
            ..Options::default()
        };
        Association { socket: dcsctp::new_socket("", &options), zero: now, entropy: config.entropy }
    }

    /// Sends INIT. Both ends may: crossing ones make one association (RFC 9260 §5.2.1).
    pub fn connect(&mut self, now: Time) {
        self.prepare(now);
        self.socket.connect();
    }

    /// Whether messages can be sent.
    pub fn is_connected(&self) -> bool {
        self.socket.state() == SocketState::Connected
    }

    /// Takes the content of one DTLS record.
    pub fn handle_packet(&mut self, packet: &[u8], now: Time) {
        self.prepare(now);
        self.socket.handle_input(packet);
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Time) {
        self.prepare(now);
    }

    /// When [`Association::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Time {
        self.zero + (self.socket.poll_timeout() - SocketTime::zero())
    }

    /// The oldest event not yet taken.
    pub fn poll_event(&mut self) -> Option<AssociationEvent> {
        loop {
            return Some(match self.socket.poll_event()? {
                SocketEvent::SendPacket(packet) => AssociationEvent::Packet(packet),
                SocketEvent::OnConnected() => AssociationEvent::Connected,
                SocketEvent::OnConnectionRestarted() => AssociationEvent::Restarted,
                SocketEvent::OnClosed() | SocketEvent::OnAborted(..) => AssociationEvent::Ended,
                SocketEvent::OnIncomingStreamReset(streams) => AssociationEvent::ResetByPeer(numbers(&streams)),
                SocketEvent::OnStreamsResetPerformed(streams) => AssociationEvent::ResetDone(numbers(&streams)),
                SocketEvent::OnStreamsResetFailed(streams) => AssociationEvent::ResetRefused(numbers(&streams)),
                _ => continue,
            });
        }
    }

    /// The oldest message not yet taken.
    pub fn poll_message(&mut self) -> Option<Incoming> {
        let Message { stream_id, ppid, payload } = self.socket.get_next_message()?;
        Some(Incoming { stream: stream_id.0, ppid: ppid.0, payload })
    }

    /// Queues a message of at least one byte as `channel` wants it; `ordered` overrules a channel that is unordered.
    /// False when it is too large, a bound is reached, or the association is ending.
    pub fn send(
        &mut self,
        stream: u16,
        ppid: u32,
        payload: Vec<u8>,
        channel: &Channel,
        ordered: bool,
        now: Time,
    ) -> bool {
        self.prepare(now);
        let options = SendOptions {
            unordered: !channel.ordered && !ordered,
            lifetime: match channel.reliability {
                Reliability::LifetimeMs(lifetime) => Some(Duration::from_millis(u64::from(lifetime))),
                _ => None,
            },
            max_retransmissions: match channel.reliability {
                Reliability::Retransmits(count) => Some(u16::try_from(count).unwrap_or(u16::MAX)),
                _ => None,
            },
            lifecycle_id: None,
        };
        self.socket.send(Message::new(StreamId(stream), PpId(ppid), payload), &options).is_ok()
    }

    /// How much of what was given to a stream has not left once.
    pub fn buffered(&self, stream: u16) -> usize {
        self.socket.buffered_amount(StreamId(stream))
    }

    /// RFC 8831 §6.4.
    pub fn set_priority(&mut self, stream: u16, priority: u16) {
        self.socket.set_stream_priority(StreamId(stream), priority);
    }

    /// Ends our direction of streams; messages that have not begun to leave are forgotten. False when the peer cannot
    /// reset streams or there is no association.
    pub fn reset(&mut self, stream: u16, now: Time) -> bool {
        self.prepare(now);
        self.socket.reset_streams(&[StreamId(stream)]).is_ok()
    }

    /// Ends the association by ABORT.
    pub fn abort(&mut self) {
        self.socket.close();
    }

    fn prepare(&mut self, now: Time) {
        // Tags and first sequence numbers come from the library's generator of this thread (fastrand).
        self.entropy = self.entropy.wrapping_add(0x9e37_79b9_7f4a_7c15);
        fastrand::seed(self.entropy);
        self.socket.advance_time(SocketTime::zero() + now.since(self.zero));
    }
}

fn numbers(streams: &[StreamId]) -> Vec<u16> {
    streams.iter().map(|stream| stream.0).collect()
}
