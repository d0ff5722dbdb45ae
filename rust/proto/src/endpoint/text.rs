//! Real-time text of a phone (RFC 4103) as one channel of a topic: to whoever is in it, it is a data channel like others
//! (RFC 8865).

use super::slot::AnyTransport;
use super::topics::DataRates;
use super::{CommandError, Endpoint};
use crate::io::TransmitQueue;
use crate::sctp::Channel;
use crate::text::{TextConfig, TextLine};
use crate::time::Time;

/// The stream under which a transport's text joins a topic.
pub(super) const TEXT_STREAM: u16 = 0;

impl Endpoint {
    /// An RTP transport carries text from now on, or under other formats; it has no tracks. Its channel is open at once,
    /// without an event.
    pub fn open_text(
        &mut self,
        id: u64,
        config: TextConfig,
        cname: String,
        rates: DataRates,
        now: Time,
        out: &mut TransmitQueue,
    ) -> Result<(), CommandError> {
        let index = self.transport_index(id)?;
        let slot = &mut self.slots[index];
        if !matches!(slot.transport, AnyTransport::Rtp(_)) || slot.tracks > 0 {
            return Err(CommandError::WrongKind);
        }
        match &mut slot.text {
            Some(text) => text.update(config.receive, config.send),
            None => slot.text = Some(Box::new(TextLine::new(config, cname))),
        }
        self.topics.add_transport(id, rates);
        if !self.topics.has((id, TEXT_STREAM)) {
            self.topics.add_channel((id, TEXT_STREAM), &Channel::new("t140"));
        }
        self.touch(index);
        self.settle(now, out);
        Ok(())
    }
}
