//! Data Channel Establishment Protocol (RFC 8832): `DATA_CHANNEL_OPEN` and `DATA_CHANNEL_ACK`.

/// RFC 8832 §8.2.1.
const OPEN: u8 = 0x03;
const ACK: u8 = 0x02;
/// RFC 8832 §5.1: type, channel type, priority, reliability, two lengths.
const OPEN_HEADER: usize = 12;
/// Bit of the channel type that says unordered (RFC 8832 §5.1).
const UNORDERED: u8 = 0x80;
/// Longest label and longest protocol that are taken, in bytes. The field would allow 65535.
pub const MAX_NAME: usize = 256;

/// How hard a message is tried (RFC 3758).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reliability {
    /// Until it arrives or the association ends.
    Reliable,
    /// At most so many retransmissions.
    Retransmits(u32),
    /// At most so many milliseconds.
    LifetimeMs(u32),
}

/// What both ends know about a channel.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Channel {
    /// Name of its use; UTF-8, may be empty, need not be unique.
    pub label: String,
    /// Name of a subprotocol; UTF-8, may be empty.
    pub protocol: String,
    /// Whether messages arrive in the order in which they were sent.
    pub ordered: bool,
    /// How hard each message is tried.
    pub reliability: Reliability,
    /// RFC 8831 §6.4: 128 below normal, 256 normal, 512 high, 1024 extra high.
    pub priority: u16,
}

impl Channel {
    /// A reliable, ordered channel of normal priority.
    pub fn new(label: &str) -> Channel {
        Channel {
            label: label.to_owned(),
            protocol: String::new(),
            ordered: true,
            reliability: Reliability::Reliable,
            priority: 256,
        }
    }
}

/// A message of the protocol.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Dcep {
    /// The sender opens a channel on the stream that this came on.
    Open(Channel),
    /// The channel is open.
    Ack,
}

impl Dcep {
    /// Reads a message; `None` when it is malformed, of an unknown type, or has names that are too long or no UTF-8.
    pub fn parse(message: &[u8]) -> Option<Dcep> {
        match *message.first()? {
            // RFC 8832 §5.2: one byte; what may follow some day is not ours to judge.
            ACK => Some(Dcep::Ack),
            OPEN => parse_open(message).map(Dcep::Open),
            _ => None,
        }
    }

    /// Appends the message. Names beyond [`MAX_NAME`] are the caller's mistake and make a message that does not parse.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Dcep::Ack => out.push(ACK),
            Dcep::Open(channel) => write_open(channel, out),
        }
    }
}

fn parse_open(message: &[u8]) -> Option<Channel> {
    let (header, names) = message.split_first_chunk::<OPEN_HEADER>()?;
    let [_, channel_type, priority @ .., r0, r1, r2, r3, l0, l1, p0, p1] = *header;
    let parameter = u32::from_be_bytes([r0, r1, r2, r3]);
    let label_len = usize::from(u16::from_be_bytes([l0, l1]));
    let protocol_len = usize::from(u16::from_be_bytes([p0, p1]));
    if names.len() != label_len + protocol_len || label_len > MAX_NAME || protocol_len > MAX_NAME {
        return None;
    }
    let (label, protocol) = names.split_at(label_len);
    let reliability = match channel_type & !UNORDERED {
        0 => Reliability::Reliable,
        1 => Reliability::Retransmits(parameter),
        2 => Reliability::LifetimeMs(parameter),
        _ => return None,
    };
    Some(Channel {
        label: std::str::from_utf8(label).ok()?.to_owned(),
        protocol: std::str::from_utf8(protocol).ok()?.to_owned(),
        ordered: channel_type & UNORDERED == 0,
        reliability,
        priority: u16::from_be_bytes(priority),
    })
}

fn write_open(channel: &Channel, out: &mut Vec<u8>) {
    let (channel_type, parameter) = match channel.reliability {
        Reliability::Reliable => (0, 0),
        Reliability::Retransmits(count) => (1, count),
        Reliability::LifetimeMs(lifetime) => (2, lifetime),
    };
    let length = |name: &str| u16::try_from(name.len()).unwrap_or(u16::MAX).to_be_bytes();
    out.extend([OPEN, channel_type | if channel.ordered { 0 } else { UNORDERED }]);
    out.extend(channel.priority.to_be_bytes());
    out.extend(parameter.to_be_bytes());
    out.extend(length(&channel.label));
    out.extend(length(&channel.protocol));
    out.extend(channel.label.as_bytes());
    out.extend(channel.protocol.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(message: &Dcep) -> Vec<u8> {
        let mut bytes = Vec::new();
        message.write(&mut bytes);
        bytes
    }

    #[test]
    fn an_open_of_chromium_parses() {
        // createDataChannel("chat", {ordered: false, maxRetransmits: 3, protocol: "p"})
        let bytes = b"\x03\x81\x01\x00\x00\x00\x00\x03\x00\x04\x00\x01chatp";
        let channel = Channel {
            protocol: "p".to_owned(),
            ordered: false,
            reliability: Reliability::Retransmits(3),
            ..Channel::new("chat")
        };
        assert_eq!(Dcep::parse(bytes), Some(Dcep::Open(channel.clone())));
        assert_eq!(written(&Dcep::Open(channel)), bytes);
    }

    #[test]
    fn all_six_channel_types_read_back() {
        for ordered in [true, false] {
            for reliability in [Reliability::Reliable, Reliability::Retransmits(0), Reliability::LifetimeMs(1500)] {
                let open = Dcep::Open(Channel { ordered, reliability, ..Channel::new("ä") });
                assert_eq!(Dcep::parse(&written(&open)), Some(open));
            }
        }
        assert_eq!(Dcep::parse(&written(&Dcep::Ack)), Some(Dcep::Ack));
    }

    #[test]
    fn what_is_malformed_is_refused() {
        let good = written(&Dcep::Open(Channel::new("chat")));
        assert!(Dcep::parse(&[]).is_none());
        assert!(Dcep::parse(&[0x7f]).is_none(), "unknown type");
        assert!((1..good.len()).all(|len| Dcep::parse(&good[..len]).is_none()), "truncated");
        assert!(Dcep::parse(&[&good[..], b"x"].concat()).is_none(), "bytes left over");
        let mut unknown_reliability = good.clone();
        unknown_reliability[1] = 3;
        assert!(Dcep::parse(&unknown_reliability).is_none());
        let mut not_utf8 = good.clone();
        not_utf8[OPEN_HEADER] = 0xff;
        assert!(Dcep::parse(&not_utf8).is_none());
        assert!(Dcep::parse(&written(&Dcep::Open(Channel::new(&"x".repeat(MAX_NAME + 1))))).is_none());
    }
}
