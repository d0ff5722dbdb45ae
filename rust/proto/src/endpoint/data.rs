//! Data channels of a shard's transports, and the way of a message from one to the others of its topic.

use std::sync::Arc;

use super::message::{Shard, ShardMessage};
use super::slot::{AnyTransport, Slot};
use super::topics::{ChannelId, DataRates, Membership, TopicMessage, Verdict};
use super::{CommandError, Endpoint, EndpointEvent};
use crate::io::TransmitQueue;
use crate::sctp::{Channel, DataConfig, DataEvent, MessageKind, OpenError};
use crate::time::Time;
use crate::transport::IceTransport;

impl Endpoint {
    /// A WebRTC transport has agreed on data channels.
    pub fn accept_data(
        &mut self,
        id: u64,
        config: DataConfig,
        rates: DataRates,
        now: Time,
        out: &mut TransmitQueue,
    ) -> Result<(), CommandError> {
        let index = self.transport_index(id)?;
        self.ice_transport(index)?.accept_data(config, now, out);
        self.topics.add_transport(id, rates);
        self.touch(index);
        self.settle(now, out);
        Ok(())
    }

    /// Opens a channel from our side and gives its stream.
    pub fn open_channel(
        &mut self,
        id: u64,
        channel: Channel,
        negotiated: Option<u16>,
        now: Time,
        out: &mut TransmitQueue,
    ) -> Result<u16, CommandError> {
        let index = self.transport_index(id)?;
        let opened = self.ice_transport(index)?.open_channel(channel, negotiated, now, out);
        let stream = opened.map_err(|error| match error {
            OpenError::InUse => CommandError::IdInUse,
            OpenError::Limit => CommandError::Limit("data_channels"),
            OpenError::Name => CommandError::Invalid("label or protocol"),
            OpenError::NotConnected => CommandError::NoChannel,
        })?;
        self.touch(index);
        self.settle(now, out);
        Ok(stream)
    }

    /// Closes a channel.
    pub fn close_channel(
        &mut self,
        id: u64,
        stream: u16,
        now: Time,
        out: &mut TransmitQueue,
    ) -> Result<(), CommandError> {
        let index = self.channel_index((id, stream))?;
        self.ice_transport(index)?.close_channel(stream, now, out);
        self.touch(index);
        self.settle(now, out);
        Ok(())
    }

    /// Puts a channel into a topic, in place of the one that it was in. What it sent before follows now, or as soon as
    /// somebody else is there.
    pub fn join_topic(
        &mut self,
        channel: ChannelId,
        membership: Membership,
        now: Time,
        out: &mut TransmitQueue,
    ) -> Result<(), CommandError> {
        self.channel_index(channel)?;
        let (topic, left) = (membership.topic, self.topics.leave(channel));
        if self.topics.join(channel, membership) && left != Some(topic) {
            self.tell_topic(topic, true);
        }
        if let Some(left) = left.filter(|left| *left != topic) {
            self.tell_topic(left, false);
        }
        self.pass_on_held(channel, now, out);
        self.release_held(topic, now, out);
        self.settle(now, out);
        Ok(())
    }

    /// Takes a channel out of its topic.
    pub fn leave_topic(&mut self, channel: ChannelId) -> Result<(), CommandError> {
        self.channel_index(channel)?;
        if let Some(topic) = self.topics.leave(channel) {
            self.tell_topic(topic, false);
        }
        Ok(())
    }

    /// Sends a message of the control plane on one channel; what does not fit is counted, not refused.
    pub fn send_message(
        &mut self,
        channel: ChannelId,
        message: &TopicMessage,
        now: Time,
        out: &mut TransmitQueue,
    ) -> Result<(), CommandError> {
        self.channel_index(channel)?;
        self.deliver(channel, "", message, now, out);
        self.settle(now, out);
        Ok(())
    }

    /// Sends a message of the control plane to everybody in a topic.
    pub fn publish(&mut self, topic: u64, message: TopicMessage, now: Time, out: &mut TransmitQueue) {
        self.spread(topic, None, "".into(), message, now, out);
        self.settle(now, out);
    }

    /// Takes a message that a member on another shard sent.
    pub(super) fn handle_topic_message(
        &mut self,
        topic: u64,
        sender: &str,
        message: &TopicMessage,
        now: Time,
        out: &mut TransmitQueue,
    ) {
        self.deliver_to_members(topic, None, sender, message, now, out);
        self.settle(now, out);
    }

    /// Takes what happened on the channels of a transport.
    pub(super) fn take_data_events(&mut self, index: usize, now: Time, out: &mut TransmitQueue) {
        while let Some(slot) = self.slots.get_mut(index) {
            let id = slot.id;
            let Some(event) = slot.poll_data_event() else { return };
            match event {
                DataEvent::Opened { stream, channel } => {
                    self.topics.add_channel((id, stream), &channel);
                    self.events.push_back(EndpointEvent::ChannelOpened { id, stream, channel });
                }
                DataEvent::Closed { stream, reason } => {
                    if let Some(topic) = self.topics.remove_channel((id, stream)) {
                        self.tell_topic(topic, false);
                    }
                    self.events.push_back(EndpointEvent::ChannelClosed { id, stream, reason: reason.name() });
                }
                DataEvent::Message { stream, kind, payload } => {
                    let channel = (id, stream);
                    let message = TopicMessage { kind, payload };
                    if let Verdict::Pass(membership, message) = self.topics.receive(channel, message, now) {
                        self.pass_on(channel, &membership, message, now, out);
                    }
                }
            }
        }
    }

    /// A transport is gone.
    pub(super) fn forget_data(&mut self, id: u64) {
        for topic in self.topics.remove_transport(id) {
            self.tell_topic(topic, false);
        }
    }

    /// Somebody came into a topic: who was alone in it is heard now.
    pub(super) fn release_held(&mut self, topic: u64, now: Time, out: &mut TransmitQueue) {
        for channel in self.topics.first_members(topic).into_iter().flatten() {
            self.pass_on_held(channel, now, out);
        }
    }

    fn pass_on_held(&mut self, channel: ChannelId, now: Time, out: &mut TransmitQueue) {
        let Some((membership, messages)) = self.topics.take_held(channel, now) else { return };
        for message in messages {
            if membership.may_send {
                self.pass_on(channel, &membership, message, now, out);
            } else {
                self.topics.drops.not_permitted += 1;
            }
        }
    }

    fn pass_on(
        &mut self,
        from: ChannelId,
        membership: &Membership,
        message: TopicMessage,
        now: Time,
        out: &mut TransmitQueue,
    ) {
        if membership.report {
            let (id, stream) = from;
            let text = message.kind == MessageKind::Text;
            self.events.push_back(EndpointEvent::ChannelMessage { id, stream, text, payload: message.payload.clone() });
        }
        self.spread(membership.topic, Some(from), membership.sender.clone(), message, now, out);
    }

    /// To the members here, and to each shard that has some.
    fn spread(
        &mut self,
        topic: u64,
        from: Option<ChannelId>,
        sender: Arc<str>,
        message: TopicMessage,
        now: Time,
        out: &mut TransmitQueue,
    ) {
        self.deliver_to_members(topic, from, &sender, &message, now, out);
        let shards = self.topics.shards(topic);
        if shards.is_empty() {
            return;
        }
        let message = Arc::new(message);
        for &shard in shards {
            let (sender, message) = (sender.clone(), message.clone());
            self.messages.push_back((shard, ShardMessage::Topic { topic, sender, message }));
        }
    }

    fn deliver_to_members(
        &mut self,
        topic: u64,
        from: Option<ChannelId>,
        sender: &str,
        message: &TopicMessage,
        now: Time,
        out: &mut TransmitQueue,
    ) {
        let mut receivers = std::mem::take(&mut self.receivers);
        self.topics.receivers(topic, from, now, &mut receivers);
        for &receiver in &receivers {
            self.deliver(receiver, sender, message, now, out);
        }
        self.receivers = receivers;
    }

    fn deliver(
        &mut self,
        channel: ChannelId,
        sender: &str,
        message: &TopicMessage,
        now: Time,
        out: &mut TransmitQueue,
    ) {
        let (id, stream) = channel;
        let Some(&index) = self.ids.get(&id) else { return };
        let payload = message.payload_for(sender, self.topics.wants_names(channel));
        // Should the receiver's association fail badly, it is the receiver that goes, not the sender.
        let current = self.current.replace(index);
        let delivered = match &mut self.slots[index] {
            Slot { transport: AnyTransport::Ice(transport), .. } => {
                transport.send_message(stream, message.kind, &payload, now, out).is_ok()
            }
            Slot { text: Some(text), .. } => message.kind == MessageKind::Text && text.take_message(&payload),
            Slot { text: None, .. } => false,
        };
        self.topics.delivered += u64::from(delivered);
        self.current = current;
        self.touch(index);
    }

    /// Tells the other shards whether this one has members of a topic.
    fn tell_topic(&mut self, topic: u64, present: bool) {
        for shard in (0..self.config.shards).filter(|&shard: &Shard| shard != self.config.shard) {
            self.messages.push_back((shard, ShardMessage::TopicMembers { topic, present }));
        }
    }

    fn channel_index(&self, channel: ChannelId) -> Result<usize, CommandError> {
        let index = self.transport_index(channel.0)?;
        if self.topics.has(channel) { Ok(index) } else { Err(CommandError::NoChannel) }
    }

    fn ice_transport(&mut self, index: usize) -> Result<&mut IceTransport, CommandError> {
        match &mut self.slots[index].transport {
            AnyTransport::Ice(transport) => Ok(transport),
            AnyTransport::Rtp(_) => Err(CommandError::WrongKind),
        }
    }
}
