//! Payload types as negotiated: the value from the control plane and the table of a track.

use super::Codec;

/// What a peer accepts as feedback about a payload type (`a=rtcp-fb`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Feedback {
    /// Generic NACK.
    pub nack: bool,
    /// Picture loss indication.
    pub nack_pli: bool,
    /// Full intra request.
    pub ccm_fir: bool,
    /// Request for a lower rate.
    pub ccm_tmmbr: bool,
    /// Transport-wide congestion control.
    pub transport_cc: bool,
    /// Receiver estimated maximum bitrate.
    pub goog_remb: bool,
}

impl Feedback {
    /// From the values of `a=rtcp-fb` lines, such as `nack pli`; others are ignored.
    pub fn from_values<'a>(values: impl IntoIterator<Item = &'a str>) -> Feedback {
        let mut feedback = Feedback::default();
        for value in values {
            match value {
                "nack" => feedback.nack = true,
                "nack pli" => feedback.nack_pli = true,
                "ccm fir" => feedback.ccm_fir = true,
                "ccm tmmbr" => feedback.ccm_tmmbr = true,
                "transport-cc" => feedback.transport_cc = true,
                "goog-remb" => feedback.goog_remb = true,
                _ => {}
            }
        }
        feedback
    }
}

/// One payload type as the control plane negotiated it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// Payload type, 0 to 127.
    pub payload_type: u8,
    /// Name as in `a=rtpmap`.
    pub name: String,
    /// Clock rate as in `a=rtpmap`, in Hz.
    pub clock_rate: u32,
    /// Channels; 1 when absent.
    pub channels: u8,
    /// `a=fmtp` parameters as key and value.
    pub parameters: Vec<(String, String)>,
    /// `a=rtcp-fb` of this payload type.
    pub feedback: Feedback,
}

impl Payload {
    /// Value of a format parameter, its key compared without case.
    pub fn parameter(&self, key: &str) -> Option<&str> {
        self.parameters.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, value)| value.as_str())
    }
}

/// One row of a [`PayloadTable`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PayloadEntry {
    /// Payload type on the wire.
    pub payload_type: u8,
    /// What it means.
    pub codec: Codec,
    /// Feedback negotiated for it.
    pub feedback: Feedback,
}

/// The payload types of one track, in order of preference; unknown codecs are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PayloadTable {
    entries: Vec<PayloadEntry>,
}

impl PayloadTable {
    /// From the negotiated list; of two rows with one payload type the first counts.
    pub fn new(payloads: &[Payload]) -> PayloadTable {
        let mut entries: Vec<PayloadEntry> = Vec::with_capacity(payloads.len());
        for payload in payloads {
            let Some(codec) = Codec::from_payload(payload) else { continue };
            let payload_type = payload.payload_type;
            if payload_type < 128 && entries.iter().all(|entry| entry.payload_type != payload_type) {
                entries.push(PayloadEntry { payload_type, codec, feedback: payload.feedback });
            }
        }
        PayloadTable { entries }
    }

    /// The rows in order of preference.
    pub fn entries(&self) -> &[PayloadEntry] {
        &self.entries
    }

    /// The row of a payload type.
    pub fn by_type(&self, payload_type: u8) -> Option<&PayloadEntry> {
        self.entries.iter().find(|entry| entry.payload_type == payload_type)
    }

    /// The payload type under which a receiver with this table takes `codec`: an equal one first, then a fitting one.
    pub fn type_for(&self, codec: Codec) -> Option<u8> {
        let equal = self.entries.iter().find(|entry| entry.codec == codec);
        equal.or_else(|| self.entries.iter().find(|entry| codec.fits(entry.codec))).map(|entry| entry.payload_type)
    }

    /// Every feedback type that any row has.
    pub fn feedback(&self) -> Feedback {
        self.entries.iter().fold(Feedback::default(), |all, entry| Feedback {
            nack: all.nack | entry.feedback.nack,
            nack_pli: all.nack_pli | entry.feedback.nack_pli,
            ccm_fir: all.ccm_fir | entry.feedback.ccm_fir,
            ccm_tmmbr: all.ccm_tmmbr | entry.feedback.ccm_tmmbr,
            transport_cc: all.transport_cc | entry.feedback.transport_cc,
            goog_remb: all.goog_remb | entry.feedback.goog_remb,
        })
    }

    /// The preferred payload type of telephone events: with the clock of the preferred codec where there is one.
    pub fn telephone_event(&self) -> Option<&PayloadEntry> {
        let clock_rate = self.entries.iter().find(|entry| entry.codec.is_primary())?.codec.clock_rate();
        let mut events = self.entries.iter().filter(|entry| matches!(entry.codec, Codec::TelephoneEvent { .. }));
        let same_clock = events.clone().find(|entry| entry.codec.clock_rate() == clock_rate);
        same_clock.or_else(|| events.next())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(payload_type: u8, name: &str, clock_rate: u32) -> Payload {
        Payload {
            payload_type,
            name: name.to_owned(),
            clock_rate,
            channels: 1,
            parameters: Vec::new(),
            feedback: Feedback::default(),
        }
    }

    #[test]
    fn a_codec_is_mapped_to_the_payload_type_of_the_receiver() {
        let table = PayloadTable::new(&[payload(109, "opus", 48_000), payload(0, "PCMU", 8_000)]);
        assert_eq!(table.type_for(Codec::Opus), Some(109));
        assert_eq!(table.type_for(Codec::Pcmu), Some(0));
        assert_eq!(table.type_for(Codec::Vp8), None);
    }

    #[test]
    fn an_unknown_codec_and_a_repeated_type_are_left_out() {
        let table = PayloadTable::new(&[payload(8, "PCMA", 8_000), payload(8, "PCMU", 8_000), payload(9, "x", 1)]);
        assert_eq!(table.entries().len(), 1);
        assert_eq!(table.by_type(8).unwrap().codec, Codec::Pcma);
    }

    #[test]
    fn telephone_events_follow_the_clock_of_the_preferred_codec() {
        let events = [payload(101, "telephone-event", 8_000), payload(110, "telephone-event", 48_000)];
        let [slow, fast] = events;
        let browser = PayloadTable::new(&[payload(111, "opus", 48_000), slow.clone(), fast.clone()]);
        assert_eq!(browser.telephone_event().unwrap().payload_type, 110);
        let phone = PayloadTable::new(&[payload(0, "PCMU", 8_000), fast, slow]);
        assert_eq!(phone.telephone_event().unwrap().payload_type, 101);
    }

    #[test]
    fn feedback_values_are_read_by_name() {
        let feedback = Feedback::from_values(["nack", "nack pli", "ack rpsi"]);
        assert_eq!(feedback, Feedback { nack: true, nack_pli: true, ..Feedback::default() });
    }
}
