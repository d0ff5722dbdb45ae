//! Named telephone events (RFC 4733 §2.3): DTMF digits as RTP payload.

use crate::rtp::bytes::u16_at;

/// Length of one event on the wire, in bytes.
pub const LEN: usize = 4;

/// One event report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TelephoneEvent {
    /// Event code; 0 to 15 are the DTMF digits.
    pub event: u8,
    /// Whether the event is over.
    pub end: bool,
    /// Power level in -dBm0, 0 to 63.
    pub volume: u8,
    /// Duration so far in timestamp units.
    pub duration: u16,
}

impl TelephoneEvent {
    /// Parses the first event of a payload.
    pub fn parse(payload: &[u8]) -> Option<TelephoneEvent> {
        let duration = u16_at(payload, 2)?;
        Some(TelephoneEvent { event: payload[0], end: payload[1] & 0x80 != 0, volume: payload[1] & 0x3f, duration })
    }

    /// The four bytes on the wire.
    pub fn to_bytes(self) -> [u8; LEN] {
        let [high, low] = self.duration.to_be_bytes();
        [self.event, (u8::from(self.end) << 7) | (self.volume & 0x3f), high, low]
    }

    /// The DTMF digit (`0-9*#A-D`) of the event; `None` for other events.
    pub fn digit(self) -> Option<char> {
        digit(self.event)
    }
}

const DIGITS: &[u8; 16] = b"0123456789*#ABCD";

/// The DTMF digit of an event code (RFC 4733 §3.2).
pub fn digit(event: u8) -> Option<char> {
    DIGITS.get(usize::from(event)).map(|&byte| char::from(byte))
}

/// The event code of a DTMF digit, letters in either case.
pub fn event_of(digit: char) -> Option<u8> {
    let digit = digit.to_ascii_uppercase();
    DIGITS.iter().position(|&known| char::from(known) == digit).map(|index| index as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_end_report_is_parsed() {
        let event = TelephoneEvent::parse(&[11, 0x8a, 0x03, 0x20]).unwrap();
        assert_eq!(event, TelephoneEvent { event: 11, end: true, volume: 10, duration: 800 });
        assert_eq!(event.digit(), Some('#'));
    }

    #[test]
    fn short_payloads_and_other_events_give_nothing() {
        assert_eq!(TelephoneEvent::parse(&[1, 2, 3]), None);
        assert_eq!(digit(16), None);
        assert_eq!(event_of('x'), None);
    }

    #[test]
    fn every_digit_has_its_code() {
        for code in 0..16 {
            assert_eq!(event_of(digit(code).unwrap()), Some(code));
        }
        assert_eq!(event_of('d'), Some(15));
    }

    proptest! {
        #[test]
        fn events_round_trip(event: u8, end: bool, volume in 0u8..64, duration: u16) {
            let value = TelephoneEvent { event, end, volume, duration };
            prop_assert_eq!(TelephoneEvent::parse(&value.to_bytes()), Some(value));
        }
    }
}
