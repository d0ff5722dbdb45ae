//! The data channel part of a shard's control boundary: channels, topics, messages.

use aws_lc_rs::rand;
use mediaserver_proto::endpoint::{DataRates, Membership, TopicMessage};
use mediaserver_proto::io::TransmitQueue;
use mediaserver_proto::rtp::Ssrc;
use mediaserver_proto::sctp::{Channel, DataConfig, DataLimits, MessageKind, Reliability};
use mediaserver_proto::text::{SendFormat, TextConfig, TextFormat};
use mediaserver_proto::time::Time;

use crate::command::{Action, TextFormat as TextFormatCommand};
use crate::event::Event;
use crate::shard::{Refusal, ShardControl};

/// What a phone may type: several times what anybody can, for text that is pasted.
const TEXT_RATES: DataRates = DataRates { messages_per_second: 20, bytes_per_second: 4096 };
/// Of a sender's name, which stands before each of its messages.
const MOST_SENDER_BYTES: usize = 128;

impl ShardControl {
    pub(crate) fn apply_data(
        &mut self,
        id: u64,
        action: Action,
        now: Time,
        out: &mut TransmitQueue,
    ) -> Result<(), Refusal> {
        let endpoint = &mut self.endpoint;
        match action {
            Action::AcceptData {
                local_port,
                remote_port,
                remote_message_bytes,
                messages_per_second,
                bytes_per_second,
            } => {
                let limits = DataLimits::default();
                let config = DataConfig { local_port, remote_port, remote_message_bytes, entropy: entropy()?, limits };
                endpoint.accept_data(id, config, DataRates { messages_per_second, bytes_per_second }, now, out)?;
            }
            Action::OpenChannel { label, protocol, ordered, max_retransmits, max_lifetime_ms, negotiated } => {
                let reliability = match (max_retransmits, max_lifetime_ms) {
                    (None, None) => Reliability::Reliable,
                    (Some(count), None) => Reliability::Retransmits(count),
                    (None, Some(lifetime)) => Reliability::LifetimeMs(lifetime),
                    // As in the browsers' API.
                    (Some(_), Some(_)) => return Err(Refusal::Invalid("max_retransmits with max_lifetime_ms")),
                };
                let channel = Channel { protocol, ordered, reliability, ..Channel::new(&label) };
                endpoint.open_channel(id, channel, negotiated, now, out)?;
            }
            Action::CloseChannel { stream } => endpoint.close_channel(id, stream, now, out)?,
            Action::JoinTopic { stream, topic, may_send, may_receive, report, sender } => {
                if sender.len() > MOST_SENDER_BYTES || sender.contains('\n') {
                    return Err(Refusal::Invalid("sender"));
                }
                let membership = Membership { topic, may_send, may_receive, report, sender: sender.into() };
                endpoint.join_topic((id, stream), membership, now, out)?;
            }
            Action::LeaveTopic { stream } => endpoint.leave_topic((id, stream))?,
            Action::OpenText { ssrc, cname, receive, send, characters_per_second } => {
                let send = send.map(|send| SendFormat { format: read_format(send), characters_per_second });
                let [sequence, timestamp] = start()?;
                let config = TextConfig {
                    ssrc: Ssrc(ssrc),
                    // RFC 3711 §3.3.1: a first number in the lower half leaves no doubt about the rollover counter.
                    sequence: sequence as u16 & 0x7fff,
                    timestamp,
                    receive: read_format(receive),
                    send,
                };
                endpoint.open_text(id, config, cname, TEXT_RATES, now, out)?;
            }
            Action::SendMessage { stream, text, payload } => {
                endpoint.send_message((id, stream), &read_message(text, payload.into_vec())?, now, out)?;
            }
            Action::Publish { text, payload } => {
                endpoint.publish(id, read_message(text, payload.into_vec())?, now, out);
            }
            _ => return Err(Refusal::Invalid("command for data channels")),
        }
        Ok(())
    }
}

/// A channel as the control plane is told of it.
pub(crate) fn channel_opened(id: u64, stream: u16, channel: Channel) -> Event {
    let Channel { label, protocol, ordered, reliability, priority: _ } = channel;
    let (max_retransmits, max_lifetime_ms) = match reliability {
        Reliability::Reliable => (None, None),
        Reliability::Retransmits(count) => (Some(count), None),
        Reliability::LifetimeMs(lifetime) => (None, Some(lifetime)),
    };
    Event::ChannelOpened { id, stream, label, protocol, ordered, max_retransmits, max_lifetime_ms }
}

fn read_message(text: bool, payload: Vec<u8>) -> Result<TopicMessage, Refusal> {
    if text && std::str::from_utf8(&payload).is_err() {
        return Err(Refusal::Invalid("text: not UTF-8"));
    }
    Ok(TopicMessage { kind: if text { MessageKind::Text } else { MessageKind::Binary }, payload })
}

fn read_format(format: TextFormatCommand) -> TextFormat {
    TextFormat { t140: format.t140, red: format.red }
}

/// Where the numbers and timestamps of a stream begin (RFC 3550 §5.1).
fn start() -> Result<[u32; 2], Refusal> {
    let mut bytes = [0; 8];
    rand::fill(&mut bytes).map_err(|_| Refusal::Random)?;
    let [a, b, c, d, e, f, g, h] = bytes;
    Ok([u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h])])
}

fn entropy() -> Result<u64, Refusal> {
    let mut bytes = [0; 8];
    rand::fill(&mut bytes).map_err(|_| Refusal::Random)?;
    Ok(u64::from_ne_bytes(bytes))
}
