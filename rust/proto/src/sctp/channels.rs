//! The data channels of one transport: which streams are channels, what came on them, what may be sent.

use std::collections::{BTreeMap, VecDeque};

use super::association::{Association, AssociationEvent, Incoming};
use super::config::{DataConfig, DataLimits, STREAMS};
use super::dcep::{Channel, Dcep, MAX_NAME, Reliability};
use super::ppid::{MessageKind, Ppid};
use super::screen::{Unfit, screen};
use crate::dtls::Role;
use crate::error::{Drop, DropCounters};
use crate::time::Time;
use crate::token_bucket::TokenBucket;

/// What happened on the channels of a transport.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DataEvent {
    /// A channel can be used: the peer opened it, or acknowledged ours.
    Opened {
        /// Its stream.
        stream: u16,
        /// What both ends know about it.
        channel: Channel,
    },
    /// A message came.
    Message {
        /// Stream of the channel.
        stream: u16,
        /// Text or bytes; text is valid UTF-8.
        kind: MessageKind,
        /// The message, possibly empty.
        payload: Vec<u8>,
    },
    /// A channel is over; its stream may be used again by another.
    Closed {
        /// Its stream.
        stream: u16,
        /// Why.
        reason: EndReason,
    },
}

/// Why a channel ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EndReason {
    /// The peer closed it.
    Peer,
    /// We were told to.
    Commanded,
    /// It is reliable and its peer reads too slowly: no message of it may be lost and none may wait for ever.
    TooSlow,
    /// The peer sent what the protocol or our limits forbid.
    Protocol,
    /// The association ended or began anew.
    Association,
}

impl EndReason {
    /// The word of the event.
    pub const fn name(self) -> &'static str {
        match self {
            EndReason::Peer => "peer",
            EndReason::Commanded => "commanded",
            EndReason::TooSlow => "too_slow",
            EndReason::Protocol => "protocol",
            EndReason::Association => "association",
        }
    }
}

/// Why a channel was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The stream is a channel already, or is not reset yet in both directions.
    #[error("the stream is in use")]
    InUse,
    /// A configured bound, or no stream is left.
    #[error("limit data channels")]
    Limit,
    /// The label or protocol is too long.
    #[error("the label or protocol is too long")]
    Name,
    /// There is no association yet.
    #[error("the association is not up")]
    NotConnected,
}

/// Why a message was not taken for sending; counted under the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendRefusal {
    /// No open channel on this stream.
    NoChannel,
    /// Larger than the peer or we allow.
    TooLarge,
    /// The channel has too much waiting; a reliable one is closed.
    ChannelFull,
    /// All channels together have.
    TransportFull,
}

impl SendRefusal {
    const fn counter(self) -> Drop {
        match self {
            SendRefusal::NoChannel => Drop::SctpUnknownChannel,
            SendRefusal::TooLarge => Drop::SctpMessageTooLarge,
            SendRefusal::ChannelFull => Drop::DataChannelFull,
            SendRefusal::TransportFull => Drop::DataTransportFull,
        }
    }
}

/// Where a channel is between its two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Our OPEN is under way. Messages may follow it, in order (RFC 8832 §6).
    Opening,
    Open,
    /// RFC 8831 §6.7: over once both directions are reset.
    Closing {
        ours: bool,
        theirs: bool,
    },
}

#[derive(Debug)]
struct Entry {
    channel: Channel,
    state: State,
}

/// The data channels of one transport.
#[derive(Debug)]
pub struct DataChannels {
    association: Association,
    limits: DataLimits,
    most_sent: usize,
    role: Option<Role>,
    entries: BTreeMap<u16, Entry>,
    allowance: TokenBucket,
    packets: VecDeque<Vec<u8>>,
    events: VecDeque<DataEvent>,
    drops: DropCounters,
}

impl DataChannels {
    /// Channels that wait for DTLS; `now` is the zero of the association's own time.
    pub fn new(config: DataConfig, now: Time) -> DataChannels {
        let DataConfig { limits, remote_message_bytes, .. } = config;
        let most_sent = match remote_message_bytes {
            // RFC 8841 §6: zero says that the peer can take any.
            0 => limits.message_bytes,
            bytes => bytes.min(limits.message_bytes),
        };
        DataChannels {
            association: Association::new(&config, now),
            limits,
            most_sent,
            role: None,
            entries: BTreeMap::new(),
            allowance: TokenBucket::new(limits.packets_per_second, limits.packets_per_second.saturating_mul(2)),
            packets: VecDeque::new(),
            events: VecDeque::new(),
            drops: DropCounters::default(),
        }
    }

    /// DTLS is up; `role` is ours in it and says which stream ids are ours. Only the first call counts.
    pub fn connect(&mut self, role: Role, now: Time) {
        if self.role.is_none() {
            self.role = Some(role);
            self.association.connect(now);
            self.take_association(now);
        }
    }

    /// Whether messages can be sent.
    pub fn is_connected(&self) -> bool {
        self.association.is_connected()
    }

    /// Takes the content of one DTLS record.
    pub fn handle_packet(&mut self, packet: &[u8], now: Time) {
        if !self.allowance.take(1, now) {
            return self.drops.count(Drop::SctpPacketRate);
        }
        match screen(packet, STREAMS) {
            Err(Unfit::Stream) => self.drops.count(Drop::SctpStreamOutOfRange),
            Err(Unfit::Fragment) => self.drops.count(Drop::SctpTinyFragment),
            Ok(()) => {
                self.association.handle_packet(packet, now);
                self.take_association(now);
            }
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Time) {
        self.association.handle_timeout(now);
        self.take_association(now);
    }

    /// When [`DataChannels::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Time {
        self.association.poll_timeout()
    }

    /// The oldest packet not yet taken, for one DTLS record.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.packets.pop_front()
    }

    /// The oldest event not yet taken.
    pub fn poll_event(&mut self) -> Option<DataEvent> {
        self.events.pop_front()
    }

    /// What was dropped and why.
    pub fn drops_mut(&mut self) -> &mut DropCounters {
        &mut self.drops
    }

    /// Bytes that wait to be sent, over all channels.
    pub fn buffered(&self) -> usize {
        self.entries.keys().map(|&stream| self.association.buffered(stream)).sum()
    }

    /// Opens a channel: in band, or on an agreed stream (`negotiated`), where it can be used at once.
    pub fn open(&mut self, channel: Channel, negotiated: Option<u16>, now: Time) -> Result<u16, OpenError> {
        if channel.label.len() > MAX_NAME || channel.protocol.len() > MAX_NAME {
            return Err(OpenError::Name);
        }
        if self.entries.len() >= self.limits.channels {
            return Err(OpenError::Limit);
        }
        let (stream, state) = match negotiated {
            Some(stream) if stream >= STREAMS => return Err(OpenError::Limit),
            Some(stream) => (stream, State::Open),
            None => (self.free_stream()?, State::Opening),
        };
        if self.entries.contains_key(&stream) {
            return Err(OpenError::InUse);
        }
        self.association.set_priority(stream, channel.priority.max(1));
        if negotiated.is_some() {
            self.events.push_back(DataEvent::Opened { stream, channel: channel.clone() });
        } else {
            let mut open = Vec::new();
            Dcep::Open(channel.clone()).write(&mut open);
            self.send_dcep(stream, open, &channel, now);
        }
        self.entries.insert(stream, Entry { channel, state });
        Ok(stream)
    }

    /// Queues a message; when it is refused, it is counted and gone.
    pub fn send(&mut self, stream: u16, kind: MessageKind, payload: &[u8], now: Time) -> Result<(), SendRefusal> {
        let result = self.try_send(stream, kind, payload, now);
        if let Err(refusal) = result {
            self.drops.count(refusal.counter());
            let reliable =
                self.entries.get(&stream).is_some_and(|entry| entry.channel.reliability == Reliability::Reliable);
            if reliable && matches!(refusal, SendRefusal::ChannelFull | SendRefusal::TransportFull) {
                self.end(stream, EndReason::TooSlow, now);
            }
        }
        result
    }

    /// Closes a channel; nothing happens when there is none.
    pub fn close(&mut self, stream: u16, now: Time) {
        self.end(stream, EndReason::Commanded, now);
    }

    /// Other bounds than the association was built with.
    #[cfg(test)]
    pub(super) fn set_limits(&mut self, limits: DataLimits) {
        self.limits = limits;
    }

    fn try_send(&mut self, stream: u16, kind: MessageKind, payload: &[u8], now: Time) -> Result<(), SendRefusal> {
        let entry = self.entries.get(&stream).ok_or(SendRefusal::NoChannel)?;
        let ordered = match entry.state {
            State::Opening => true,
            State::Open => false,
            State::Closing { .. } => return Err(SendRefusal::NoChannel),
        };
        if payload.len() > self.most_sent {
            return Err(SendRefusal::TooLarge);
        }
        if self.association.buffered(stream) + payload.len() > self.limits.channel_buffer_bytes {
            return Err(SendRefusal::ChannelFull);
        }
        if self.buffered() + payload.len() > self.limits.buffer_bytes {
            return Err(SendRefusal::TransportFull);
        }
        let ppid = Ppid::of(kind, payload).number();
        // RFC 8831 §6.6: an empty message is sent as one byte.
        let bytes = if payload.is_empty() { vec![0] } else { payload.to_vec() };
        let taken = self.association.send(stream, ppid, bytes, &entry.channel, ordered, now);
        self.take_association(now);
        if taken { Ok(()) } else { Err(SendRefusal::TransportFull) }
    }

    /// RFC 8832 §6: the DTLS client has the even streams.
    fn free_stream(&self) -> Result<u16, OpenError> {
        let first = match self.role {
            Some(Role::Client) => 0,
            Some(Role::Server) => 1,
            None => return Err(OpenError::NotConnected),
        };
        (first..STREAMS).step_by(2).find(|stream| !self.entries.contains_key(stream)).ok_or(OpenError::Limit)
    }

    fn send_dcep(&mut self, stream: u16, message: Vec<u8>, channel: &Channel, now: Time) {
        // RFC 8832 §6: reliable and in order, whatever the channel will be.
        let reliable = Channel { label: String::new(), protocol: String::new(), ordered: true, ..*channel };
        let reliable = Channel { reliability: Reliability::Reliable, ..reliable };
        self.association.send(stream, Ppid::Dcep.number(), message, &reliable, true, now);
        self.take_association(now);
    }

    /// Takes everything that the association has to say.
    fn take_association(&mut self, now: Time) {
        loop {
            while let Some(event) = self.association.poll_event() {
                match event {
                    AssociationEvent::Packet(packet) => self.packets.push_back(packet),
                    AssociationEvent::Connected => {}
                    AssociationEvent::Restarted | AssociationEvent::Ended => self.forget_all(),
                    AssociationEvent::ResetByPeer(streams) => self.peer_reset(&streams, now),
                    AssociationEvent::ResetDone(streams) => self.reset_done(&streams),
                    // Ours stays half closed; its stream is not used again.
                    AssociationEvent::ResetRefused(_) => {}
                }
            }
            match self.association.poll_message() {
                Some(message) => self.handle_message(message, now),
                None => return,
            }
        }
    }

    fn handle_message(&mut self, message: Incoming, now: Time) {
        let Incoming { stream, ppid, payload } = message;
        match Ppid::from_number(ppid) {
            Some(Ppid::Dcep) => self.handle_dcep(stream, &payload, now),
            Some(Ppid::Message(kind)) => self.handle_content(stream, kind, payload, now),
            Some(Ppid::Empty(kind)) => self.handle_content(stream, kind, Vec::new(), now),
            None => self.drops.count(Drop::SctpUnknownPpid),
        }
    }

    fn handle_content(&mut self, stream: u16, kind: MessageKind, payload: Vec<u8>, now: Time) {
        let open = self.entries.get(&stream).is_some_and(|entry| !matches!(entry.state, State::Closing { .. }));
        if !open {
            return self.drops.count(Drop::SctpUnknownChannel);
        }
        if payload.len() > self.limits.message_bytes {
            // RFC 8841 §6: it was told. What follows would miss this message, so the channel ends.
            self.drops.count(Drop::SctpMessageTooLarge);
            return self.end(stream, EndReason::Protocol, now);
        }
        if kind == MessageKind::Text && std::str::from_utf8(&payload).is_err() {
            return self.drops.count(Drop::SctpTextNotUtf8);
        }
        self.events.push_back(DataEvent::Message { stream, kind, payload });
    }

    fn handle_dcep(&mut self, stream: u16, message: &[u8], now: Time) {
        match (Dcep::parse(message), self.entries.get_mut(&stream)) {
            (Some(Dcep::Open(channel)), None) => self.accept(stream, channel, now),
            (Some(Dcep::Ack), Some(entry)) if entry.state == State::Opening => {
                entry.state = State::Open;
                self.events.push_back(DataEvent::Opened { stream, channel: entry.channel.clone() });
            }
            (Some(Dcep::Ack), _) => self.drops.count(Drop::DcepUnexpected),
            // RFC 8832 §6: a stream in use. The channel on it goes too: its ends no longer agree what it is.
            (Some(Dcep::Open(_)), Some(_)) => self.refuse(stream, Drop::DcepUnexpected, now),
            (None, _) => self.refuse(stream, Drop::DcepMalformed, now),
        }
    }

    fn accept(&mut self, stream: u16, channel: Channel, now: Time) {
        // RFC 8832 §6: the stream must be one of the peer's.
        let theirs = match self.role {
            Some(Role::Client) => !stream.is_multiple_of(2),
            Some(Role::Server) => stream.is_multiple_of(2),
            None => false,
        };
        if !theirs {
            return self.refuse(stream, Drop::DcepUnexpected, now);
        }
        if self.entries.len() >= self.limits.channels {
            return self.refuse(stream, Drop::DataChannelLimit, now);
        }
        self.association.set_priority(stream, channel.priority.max(1));
        let mut ack = Vec::new();
        Dcep::Ack.write(&mut ack);
        self.entries.insert(stream, Entry { channel: channel.clone(), state: State::Open });
        self.events.push_back(DataEvent::Opened { stream, channel: channel.clone() });
        self.send_dcep(stream, ack, &channel, now);
    }

    fn refuse(&mut self, stream: u16, reason: Drop, now: Time) {
        self.drops.count(reason);
        if self.entries.contains_key(&stream) {
            self.end(stream, EndReason::Protocol, now);
        } else {
            self.association.reset(stream, now);
        }
    }

    /// Closes from our side: says so upwards at once and resets our direction.
    fn end(&mut self, stream: u16, reason: EndReason, now: Time) {
        let Some(entry) = self.entries.get_mut(&stream) else { return };
        if matches!(entry.state, State::Closing { .. }) {
            return;
        }
        entry.state = State::Closing { ours: false, theirs: false };
        self.events.push_back(DataEvent::Closed { stream, reason });
        if !self.association.reset(stream, now) {
            // Nobody there who could follow.
            self.entries.remove(&stream);
        }
    }

    /// RFC 8831 §6.7: the peer has closed; our direction follows.
    fn peer_reset(&mut self, streams: &[u16], now: Time) {
        let named: Vec<u16> = match streams {
            [] => self.entries.keys().copied().collect(),
            streams => streams.iter().copied().filter(|stream| self.entries.contains_key(stream)).collect(),
        };
        for stream in named {
            self.end(stream, EndReason::Peer, now);
            self.mark(stream, |ours, _| (ours, true));
        }
    }

    fn reset_done(&mut self, streams: &[u16]) {
        for &stream in streams {
            self.mark(stream, |_, theirs| (true, theirs));
        }
    }

    fn mark(&mut self, stream: u16, change: impl FnOnce(bool, bool) -> (bool, bool)) {
        let Some(entry) = self.entries.get_mut(&stream) else { return };
        let State::Closing { ours, theirs } = &mut entry.state else { return };
        (*ours, *theirs) = change(*ours, *theirs);
        if *ours && *theirs {
            self.entries.remove(&stream);
        }
    }

    fn forget_all(&mut self) {
        for (stream, entry) in std::mem::take(&mut self.entries) {
            if !matches!(entry.state, State::Closing { .. }) {
                self.events.push_back(DataEvent::Closed { stream, reason: EndReason::Association });
            }
        }
    }
}
