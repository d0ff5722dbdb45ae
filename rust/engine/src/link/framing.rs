//! Messages in a stream of bytes: a length of four bytes (big endian) before each.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::limits::MESSAGE_BYTES;

const LENGTH: usize = 4;

/// The other end said that a message is longer than allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLong(pub(crate) usize);

/// Puts the messages together again.
#[derive(Debug, Default)]
pub(crate) struct MessageReader {
    buffer: BytesMut,
}

impl MessageReader {
    /// Takes the next bytes.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole message. Nothing is kept for one that is too long.
    pub(crate) fn next(&mut self) -> Result<Option<Bytes>, TooLong> {
        let Some(head) = self.buffer.first_chunk::<LENGTH>() else { return Ok(None) };
        let length = u32::from_be_bytes(*head) as usize;
        if length > MESSAGE_BYTES {
            return Err(TooLong(length));
        }
        if self.buffer.len() < LENGTH + length {
            return Ok(None);
        }
        self.buffer.advance(LENGTH);
        Ok(Some(self.buffer.split_to(length).freeze()))
    }
}

/// A message with its length. The caller has seen to it that it is not too long.
pub(crate) fn write_message(message: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(LENGTH + message.len());
    out.put_u32(message.len() as u32);
    out.put_slice(message);
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_out_as_they_went_in_however_the_bytes_are_cut() {
        let messages: [&[u8]; 3] = [b"hello", b"", &[7; 3000]];
        let wire: Vec<u8> = messages.iter().flat_map(|message| write_message(message)).collect();
        for size in [1, 3, 1000, wire.len()] {
            let mut reader = MessageReader::default();
            let mut out = Vec::new();
            for piece in wire.chunks(size) {
                reader.push(piece);
                while let Some(message) = reader.next().unwrap() {
                    out.push(message);
                }
            }
            assert_eq!(out, messages);
        }
    }

    #[test]
    fn a_message_of_a_million_bytes_is_refused_by_its_length_alone() {
        let mut reader = MessageReader::default();
        reader.push(&1_000_000_u32.to_be_bytes());
        assert_eq!(reader.next(), Err(TooLong(1_000_000)));
    }
}
