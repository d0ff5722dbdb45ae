//! Payload protocol identifiers of data channels (RFC 8831 §8).

/// What a message is to the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MessageKind {
    /// UTF-8 text.
    Text,
    /// Bytes.
    Binary,
}

/// What an SCTP user message carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ppid {
    /// A message of the channel protocol (RFC 8832).
    Dcep,
    /// A message of at least one byte.
    Message(MessageKind),
    /// A message without content; SCTP cannot carry one, so a byte stands for it that is ignored.
    Empty(MessageKind),
}

impl Ppid {
    /// Reads the number; `None` for one that data channels do not use (52 and 54 are deprecated).
    pub const fn from_number(number: u32) -> Option<Ppid> {
        match number {
            50 => Some(Ppid::Dcep),
            51 => Some(Ppid::Message(MessageKind::Text)),
            53 => Some(Ppid::Message(MessageKind::Binary)),
            56 => Some(Ppid::Empty(MessageKind::Text)),
            57 => Some(Ppid::Empty(MessageKind::Binary)),
            _ => None,
        }
    }

    /// The number on the wire.
    pub const fn number(self) -> u32 {
        match self {
            Ppid::Dcep => 50,
            Ppid::Message(MessageKind::Text) => 51,
            Ppid::Message(MessageKind::Binary) => 53,
            Ppid::Empty(MessageKind::Text) => 56,
            Ppid::Empty(MessageKind::Binary) => 57,
        }
    }

    /// The identifier for a message of `kind`.
    pub const fn of(kind: MessageKind, payload: &[u8]) -> Ppid {
        if payload.is_empty() { Ppid::Empty(kind) } else { Ppid::Message(kind) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_identifier_reads_back_and_the_deprecated_ones_do_not() {
        let known: Vec<u32> = (0..100).filter(|&number| Ppid::from_number(number).is_some()).collect();
        assert_eq!(known, [50, 51, 53, 56, 57]);
        assert!(known.iter().all(|&number| Ppid::from_number(number).map(Ppid::number) == Some(number)));
    }
}
