//! Who is in which topic, on this shard and elsewhere, and what a sender may send.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::held::Held;
use super::message::Shard;
use crate::sctp::{Channel, MessageKind, Reliability};
use crate::time::Time;
use crate::token_bucket::TokenBucket;

/// Messages a second that a topic may cost this shard: each counts once for every receiver.
const DELIVERIES_PER_SECOND: u32 = 4000;

/// A channel opened with this protocol (RFC 8832 section 5.1) gets messages as `SENDER\nMESSAGE`: who said something is
/// the server's word, not the message's.
const NAMED: &str = "mediaserver.named";

/// One data channel of this shard: transport and stream.
pub type ChannelId = (u64, u16);

/// What the messages of one transport may amount to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataRates {
    /// Messages; twice as many may come at once.
    pub messages_per_second: u32,
    /// Bytes; as many as two seconds' worth may come at once.
    pub bytes_per_second: u32,
}

/// What a channel may do in its topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// The topic, by the control plane's numbering.
    pub topic: u64,
    /// Its messages go to the others.
    pub may_send: bool,
    /// It gets theirs.
    pub may_receive: bool,
    /// The control plane gets its messages too.
    pub report: bool,
    /// Whom its messages are from, for those who ask for names.
    pub sender: Arc<str>,
}

/// A message that waits for a topic, or travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicMessage {
    /// Text or bytes.
    pub kind: MessageKind,
    /// The message.
    pub payload: Vec<u8>,
}

impl TopicMessage {
    /// What a channel gets of a message of `sender`.
    pub(super) fn payload_for(&self, sender: &str, named: bool) -> Cow<'_, [u8]> {
        if named {
            Cow::Owned([sender.as_bytes(), b"\n", &self.payload].concat())
        } else {
            Cow::Borrowed(&self.payload)
        }
    }
}

macro_rules! drops {
    ($($(#[$doc:meta])* $field:ident => $name:literal,)*) => {
        /// Messages that were not passed on, by reason.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub(super) struct TopicDrops { $($(#[$doc])* pub(super) $field: u64,)* }

        impl TopicDrops {
            pub(super) fn counters(&self, mut each: impl FnMut(&str, u64)) {
                $(each($name, self.$field);)*
            }
        }
    };
}

drops! {
    /// From a channel whose messages nobody hears yet, beyond what is held.
    held_full => "data_held_full",
    /// Held, and nobody came in time.
    held_too_long => "data_held_too_long",
    /// Held when the channel went.
    held_closed => "data_held_closed",
    /// From a member that may not send.
    not_permitted => "data_not_permitted",
    /// More messages a second than the sender may.
    rate_messages => "data_rate_messages",
    /// More bytes a second than the sender may.
    rate_bytes => "data_rate_bytes",
    /// More deliveries a second than a topic may cost.
    rate_topic => "data_rate_topic",
}

/// A channel as the topics see it.
#[derive(Debug)]
struct ChannelState {
    membership: Option<Membership>,
    /// What is said to nobody waits for somebody; unreliable messages are about the moment and do not.
    reliable: bool,
    /// It asked for the names of those who say something.
    named: bool,
    /// The topic in which it has met somebody: what it says when they are gone is not for those who come later.
    met: Option<u64>,
    held: Held,
}

impl ChannelState {
    /// Whether what it says now has to wait.
    fn waits(&self, membership: &Membership) -> bool {
        self.reliable && !membership.report && self.met != Some(membership.topic)
    }
}

/// A transport that has data channels.
#[derive(Debug)]
struct Sender {
    messages: TokenBucket,
    bytes: TokenBucket,
    channels: BTreeMap<u16, ChannelState>,
}

impl Sender {
    /// Keeps a message, or counts why not.
    fn hold(&mut self, stream: u16, message: TopicMessage, now: Time, drops: &mut TopicDrops) {
        drops.held_too_long += self.channels.values_mut().map(|state| state.held.expire(now)).sum::<u64>();
        let of_all = self.channels.values().map(|state| state.held.bytes()).sum();
        match self.channels.get_mut(&stream) {
            Some(state) if state.held.fits(message.payload.len(), of_all) => state.held.push(message, now),
            _ => drops.held_full += 1,
        }
    }
}

#[derive(Debug)]
struct Topic {
    members: Vec<ChannelId>,
    /// Other shards with members.
    shards: Vec<Shard>,
    deliveries: TokenBucket,
}

impl Default for Topic {
    fn default() -> Topic {
        let deliveries = TokenBucket::new(DELIVERIES_PER_SECOND, 2 * DELIVERIES_PER_SECOND);
        Topic { members: Vec::new(), shards: Vec::new(), deliveries }
    }
}

/// What is to be done with a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing: it is held or counted.
    Kept,
    /// To be passed on under this membership.
    Pass(Membership, TopicMessage),
}

/// All topics of a shard.
#[derive(Debug, Default)]
pub(super) struct Topics {
    senders: HashMap<u64, Sender>,
    topics: HashMap<u64, Topic>,
    pub(super) drops: TopicDrops,
    pub(super) delivered: u64,
}

impl Topics {
    /// A transport may have channels from now on.
    pub(super) fn add_transport(&mut self, transport: u64, rates: DataRates) {
        let DataRates { messages_per_second, bytes_per_second } = rates;
        self.senders.entry(transport).or_insert_with(|| Sender {
            messages: TokenBucket::new(messages_per_second, messages_per_second.saturating_mul(2)),
            bytes: TokenBucket::new(bytes_per_second, bytes_per_second.saturating_mul(2)),
            channels: BTreeMap::new(),
        });
    }

    /// Forgets a transport with its channels; gives the topics that have no member here any more.
    pub(super) fn remove_transport(&mut self, transport: u64) -> Vec<u64> {
        let streams: Vec<u16> =
            self.senders.get(&transport).map(|sender| sender.channels.keys().copied().collect()).unwrap_or_default();
        let emptied = streams.into_iter().filter_map(|stream| self.remove_channel((transport, stream))).collect();
        self.senders.remove(&transport);
        emptied
    }

    /// A channel is open.
    pub(super) fn add_channel(&mut self, (transport, stream): ChannelId, channel: &Channel) {
        if let Some(sender) = self.senders.get_mut(&transport) {
            let reliable = channel.reliability == Reliability::Reliable;
            let named = channel.protocol == NAMED;
            let state = ChannelState { membership: None, reliable, named, met: None, held: Held::default() };
            sender.channels.insert(stream, state);
        }
    }

    /// A channel is over; gives its topic when it was the last member here.
    pub(super) fn remove_channel(&mut self, channel: ChannelId) -> Option<u64> {
        let left = self.leave(channel);
        let (transport, stream) = channel;
        let state = self.senders.get_mut(&transport)?.channels.remove(&stream)?;
        self.drops.held_closed += state.held.len() as u64;
        left
    }

    /// Whether the channel exists.
    pub(super) fn has(&self, (transport, stream): ChannelId) -> bool {
        self.senders.get(&transport).is_some_and(|sender| sender.channels.contains_key(&stream))
    }

    /// Puts a channel into a topic; true when it is the first member here. What it was in before, it has left.
    pub(super) fn join(&mut self, channel: ChannelId, membership: Membership) -> bool {
        let Some(state) = self.state_mut(channel) else { return false };
        let topic = membership.topic;
        state.membership = Some(membership);
        let members = &mut self.topics.entry(topic).or_default().members;
        members.push(channel);
        members.len() == 1
    }

    /// Takes a channel out of its topic; gives the topic when it was the last member here.
    pub(super) fn leave(&mut self, channel: ChannelId) -> Option<u64> {
        let topic = self.state_mut(channel)?.membership.take()?.topic;
        let entry = self.topics.get_mut(&topic)?;
        entry.members.retain(|member| *member != channel);
        let last = entry.members.is_empty();
        self.tidy(topic);
        last.then_some(topic)
    }

    /// Channels of a topic here that somebody may hear from now on, after one has joined or another shard has members.
    /// All but the first two have met somebody before, when they came.
    pub(super) fn first_members(&self, topic: u64) -> [Option<ChannelId>; 2] {
        let members = self.topics.get(&topic).map_or(&[][..], |entry| &entry.members);
        [members.first().copied(), members.get(1).copied()]
    }

    /// What a channel has said and somebody may hear now: before it had a topic, or while it was alone in it.
    pub(super) fn take_held(&mut self, channel: ChannelId, now: Time) -> Option<(Membership, Vec<TopicMessage>)> {
        let membership = self.state_mut(channel)?.membership.clone()?;
        let company = self.has_company(membership.topic);
        let state = self.state_mut(channel)?;
        if company {
            state.met = Some(membership.topic);
        } else if membership.may_send && state.waits(&membership) {
            return None;
        }
        let expired = state.held.expire(now);
        let held: Vec<_> = state.held.take().collect();
        self.drops.held_too_long += expired;
        Some((membership, held))
    }

    /// Another shard has members of a topic, or has none any more.
    pub(super) fn set_remote(&mut self, topic: u64, shard: Shard, present: bool) {
        if present {
            let shards = &mut self.topics.entry(topic).or_default().shards;
            if !shards.contains(&shard) {
                shards.push(shard);
            }
        } else if let Some(entry) = self.topics.get_mut(&topic) {
            entry.shards.retain(|other| *other != shard);
            self.tidy(topic);
        }
    }

    /// Looks at a message that came on a channel.
    pub(super) fn receive(&mut self, (transport, stream): ChannelId, message: TopicMessage, now: Time) -> Verdict {
        let Some(sender) = self.senders.get_mut(&transport) else { return Verdict::Kept };
        if !sender.messages.take(1, now) {
            self.drops.rate_messages += 1;
            return Verdict::Kept;
        }
        let len = message.payload.len();
        if !sender.bytes.take(u32::try_from(len).unwrap_or(u32::MAX), now) {
            self.drops.rate_bytes += 1;
            return Verdict::Kept;
        }
        let Some(state) = sender.channels.get_mut(&stream) else { return Verdict::Kept };
        match &state.membership {
            Some(Membership { may_send: false, .. }) => self.drops.not_permitted += 1,
            Some(membership) if !state.waits(membership) => return Verdict::Pass(membership.clone(), message),
            // Alone in its topic, or in none.
            Some(_) | None => sender.hold(stream, message, now, &mut self.drops),
        }
        Verdict::Kept
    }

    /// The members here that a message of `from` goes to, as far as the topic's rate lets it.
    pub(super) fn receivers(&mut self, topic: u64, from: Option<ChannelId>, now: Time, into: &mut Vec<ChannelId>) {
        into.clear();
        let Some(entry) = self.topics.get_mut(&topic) else { return };
        for &member in entry.members.iter().filter(|&&member| Some(member) != from) {
            let (transport, stream) = member;
            let state = self.senders.get(&transport).and_then(|sender| sender.channels.get(&stream));
            if !state.and_then(|state| state.membership.as_ref()).is_some_and(|membership| membership.may_receive) {
                continue;
            }
            if entry.deliveries.take(1, now) {
                into.push(member);
            } else {
                self.drops.rate_topic += 1;
            }
        }
    }

    /// Other shards with members of a topic.
    pub(super) fn shards(&self, topic: u64) -> &[Shard] {
        self.topics.get(&topic).map_or(&[], |entry| &entry.shards)
    }

    /// Whether a channel asked for the names of those who say something.
    pub(super) fn wants_names(&self, (transport, stream): ChannelId) -> bool {
        self.senders.get(&transport).and_then(|sender| sender.channels.get(&stream)).is_some_and(|state| state.named)
    }

    fn state_mut(&mut self, (transport, stream): ChannelId) -> Option<&mut ChannelState> {
        self.senders.get_mut(&transport)?.channels.get_mut(&stream)
    }

    /// Whether a member here has somebody else in its topic.
    fn has_company(&self, topic: u64) -> bool {
        self.topics.get(&topic).is_some_and(|entry| entry.members.len() > 1 || !entry.shards.is_empty())
    }

    fn tidy(&mut self, topic: u64) {
        if self.topics.get(&topic).is_some_and(|entry| entry.members.is_empty() && entry.shards.is_empty()) {
            self.topics.remove(&topic);
        }
    }
}
