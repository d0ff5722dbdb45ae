//! The first message of a TLS client (RFC 8446 §4.1.2), read for the name that it asks for and nothing else.

use std::borrow::Cow;

use thiserror::Error;

/// A first message that takes more bytes on the stream is refused; with keys against quantum computers it takes two thousand.
pub const MOST_HELLO_BYTES: usize = 16 * 1024;

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
/// RFC 8446 §5.1: no record has more.
const MOST_RECORD: usize = 1 << 14;
const RECORD_HEADER: usize = 5;
const MESSAGE_HEADER: usize = 4;
/// RFC 6066 §3.
const SERVER_NAME: u16 = 0;
const HOST_NAME: u8 = 0;
/// RFC 1035 §2.3.4.
const MOST_NAME: usize = 253;

/// What a TLS client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientHello {
    /// The name of the server in lower case (RFC 6066 §3); clients that were given an address say none, and Firefox says
    /// none to a TURN server.
    pub name: Option<String>,
}

/// Why the first bytes of a stream are not the first message of a TLS client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum HelloError {
    /// Another protocol.
    #[error("the first bytes are not TLS")]
    NotTls,
    /// More than [`MOST_HELLO_BYTES`].
    #[error("the first message is too long")]
    TooLong,
    /// Lengths that do not fit each other, or a name that is none.
    #[error("the first message is malformed")]
    Malformed,
}

/// Reads what has come so far from the first byte on; `None` when more is needed. Takes no more time than the message is long.
pub fn client_hello(bytes: &[u8]) -> Result<Option<ClientHello>, HelloError> {
    let Some(message) = message(bytes)? else { return Ok(None) };
    let name = server_name(&message).ok_or(HelloError::Malformed)?;
    Ok(Some(ClientHello { name: name.map(|name| host_name(name).ok_or(HelloError::Malformed)).transpose()? }))
}

/// The body of the message, put together from as many records as it takes.
fn message(bytes: &[u8]) -> Result<Option<Cow<'_, [u8]>>, HelloError> {
    // What comes at once is judged as if it had come byte by byte.
    let mut bytes = &bytes[..bytes.len().min(MOST_HELLO_BYTES)];
    let total = bytes.len();
    let mut joined: Cow<'_, [u8]> = Cow::Borrowed(&[]);
    loop {
        // Wrong bytes are told from the first one on: another protocol may wait for us to speak.
        match bytes {
            [kind, ..] if *kind != HANDSHAKE => return Err(HelloError::NotTls),
            [_, major, ..] if *major != 3 => return Err(HelloError::NotTls),
            _ => {}
        }
        let Some((header, rest)) = bytes.split_first_chunk::<RECORD_HEADER>() else { break };
        let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
        if length == 0 || length > MOST_RECORD {
            return Err(HelloError::Malformed);
        }
        let part = &rest[..length.min(rest.len())];
        if joined.is_empty() {
            joined = Cow::Borrowed(part);
        } else {
            joined.to_mut().extend_from_slice(part);
        }
        if let Some((&[kind, high, middle, low], body)) = joined.split_first_chunk::<MESSAGE_HEADER>() {
            if kind != CLIENT_HELLO {
                return Err(HelloError::NotTls);
            }
            let wanted = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
            if wanted > MOST_HELLO_BYTES - RECORD_HEADER - MESSAGE_HEADER {
                return Err(HelloError::TooLong);
            }
            if body.len() >= wanted {
                return Ok(Some(match joined {
                    Cow::Borrowed(all) => Cow::Borrowed(&all[MESSAGE_HEADER..MESSAGE_HEADER + wanted]),
                    Cow::Owned(all) => Cow::Owned(all[MESSAGE_HEADER..MESSAGE_HEADER + wanted].to_vec()),
                }));
            }
        }
        if rest.len() < length {
            break;
        }
        bytes = &rest[length..];
    }
    if total >= MOST_HELLO_BYTES { Err(HelloError::TooLong) } else { Ok(None) }
}

/// The first host name of the message's server_name extension; `None` when a length does not fit.
fn server_name(message: &[u8]) -> Option<Option<&[u8]>> {
    // RFC 8446 §4.1.2: version, random, session id, cipher suites, compression methods, extensions.
    let rest = message.get(2 + 32..)?;
    let (_, rest) = vector::<1>(rest)?;
    let (_, rest) = vector::<2>(rest)?;
    let (_, rest) = vector::<1>(rest)?;
    if rest.is_empty() {
        return Some(None);
    }
    let (mut extensions, _) = vector::<2>(rest)?;
    let mut found = None;
    while !extensions.is_empty() {
        let (kind, rest) = extensions.split_first_chunk::<2>()?;
        let (value, rest) = vector::<2>(rest)?;
        extensions = rest;
        if u16::from_be_bytes(*kind) == SERVER_NAME {
            if found.is_some() {
                // RFC 8446 §4.2: no two extensions of a kind. Whoever reads the other one would go elsewhere.
                return None;
            }
            found = Some(first_host_name(value)?);
        }
    }
    Some(found)
}

fn first_host_name(value: &[u8]) -> Option<&[u8]> {
    let (mut names, _) = vector::<2>(value)?;
    loop {
        let (&kind, rest) = names.split_first()?;
        let (name, rest) = vector::<2>(rest)?;
        if kind == HOST_NAME {
            return Some(name);
        }
        names = rest;
    }
}

/// Splits off what has its length, in `N` bytes, before it.
fn vector<const N: usize>(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<N>()?;
    let length = length.iter().fold(0usize, |length, &byte| length << 8 | usize::from(byte));
    rest.split_at_checked(length)
}

fn host_name(name: &[u8]) -> Option<String> {
    let is_allowed = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    if name.is_empty() || name.len() > MOST_NAME || !name.iter().all(is_allowed) {
        return None;
    }
    Some(String::from_utf8_lossy(name).to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn with_length(width: usize, value: &[u8]) -> Vec<u8> {
        [&value.len().to_be_bytes()[8 - width..], value].concat()
    }

    fn extension(kind: u16, value: &[u8]) -> Vec<u8> {
        [&kind.to_be_bytes()[..], &with_length(2, value)].concat()
    }

    fn sni(name: &[u8]) -> Vec<u8> {
        extension(0, &with_length(2, &[&[0][..], &with_length(2, name)].concat()))
    }

    /// A message as Chromium builds it: GREASE (RFC 8701) among ciphers and extensions.
    fn hello(extensions: &[Vec<u8>]) -> Vec<u8> {
        let body = [
            &[3, 3][..],
            &[7; 32],
            &with_length(1, &[9; 32]),
            &with_length(2, &[0x0a, 0x0a, 0x13, 0x01]),
            &with_length(1, &[0]),
            &with_length(2, &extensions.concat()),
        ]
        .concat();
        [&[CLIENT_HELLO][..], &with_length(3, &body)].concat()
    }

    fn records(message: &[u8], size: usize) -> Vec<u8> {
        message.chunks(size).flat_map(|part| [&[HANDSHAKE, 3, 1][..], &with_length(2, part)].concat()).collect()
    }

    fn named(name: &str) -> Result<Option<ClientHello>, HelloError> {
        Ok(Some(ClientHello { name: Some(name.to_owned()) }))
    }

    #[test]
    fn the_name_is_found_behind_grease_and_told_in_lower_case() {
        let message = hello(&[extension(0x1a1a, &[]), sni(b"Calls.Example.org"), extension(0xaaaa, &[0])]);
        assert_eq!(client_hello(&records(&message, MOST_RECORD)), named("calls.example.org"));
    }

    #[test]
    fn a_client_may_say_no_name() {
        for extensions in [vec![], vec![extension(43, &[2, 3, 4])]] {
            let found = client_hello(&records(&hello(&extensions), MOST_RECORD));
            assert_eq!(found, Ok(Some(ClientHello { name: None })));
        }
    }

    #[test]
    fn in_whatever_pieces_it_comes_nothing_is_said_before_the_last_byte() {
        let message = hello(&[extension(21, &[0; 900]), sni(b"calls.example.org")]);
        for size in [1, 3, 500, MOST_RECORD] {
            let stream = records(&message, size);
            for end in 0..stream.len() {
                assert_eq!(client_hello(&stream[..end]), Ok(None), "{end} bytes in records of {size}");
            }
            assert_eq!(client_hello(&stream), named("calls.example.org"));
            // What follows is not looked at.
            assert_eq!(client_hello(&[&stream[..], b"early data"].concat()), named("calls.example.org"));
        }
    }

    #[test]
    fn a_huge_one_is_refused_by_what_its_header_says_and_one_that_never_ends_by_its_bytes() {
        let huge = [&[HANDSHAKE, 3, 1, 0x40, 0, CLIENT_HELLO, 0xff, 0xff, 0xff][..], &[0; 100]].concat();
        assert_eq!(client_hello(&huge), Err(HelloError::TooLong));
        let message = hello(&[extension(21, &[0; 16_000])]);
        // In records of one byte each it takes six times its length.
        assert_eq!(client_hello(&records(&message, 1)[..MOST_HELLO_BYTES]), Err(HelloError::TooLong));
    }

    #[test]
    fn other_protocols_are_told_from_their_first_byte_on() {
        for bytes in [&b"G"[..], b"GET / HTTP/1.1\r\n\r\n", &[0, 1, 0, 8], &[21, 3, 1], &[HANDSHAKE, 2]] {
            assert_eq!(client_hello(bytes), Err(HelloError::NotTls));
        }
        assert_eq!(client_hello(&records(&[2, 0, 0, 1, 0], 9)), Err(HelloError::NotTls), "a server's message");
        assert_eq!(client_hello(&[]), Ok(None));
    }

    #[test]
    fn names_that_are_none_two_names_and_lengths_that_lie_are_refused() {
        let long = [b'a'; 254];
        let mut lying = hello(&[sni(b"calls.example.org")]);
        let at = lying.len() - 18;
        lying[at] += 1;
        for message in [
            hello(&[sni(b"a.example\0.evil.example")]),
            hello(&[sni(b"")]),
            hello(&[sni(&long)]),
            hello(&[sni(b"a.example"), sni(b"b.example")]),
            hello(&[extension(0, &[])]),
            lying,
        ] {
            assert_eq!(client_hello(&records(&message, MOST_RECORD)), Err(HelloError::Malformed));
        }
        assert_eq!(client_hello(&[HANDSHAKE, 3, 1, 0, 0]), Err(HelloError::Malformed), "an empty record");
        assert_eq!(client_hello(&[HANDSHAKE, 3, 1, 0x40, 1]), Err(HelloError::Malformed), "a record too long");
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            client_hello(&bytes).ok();
            client_hello(&records(&[&[CLIENT_HELLO][..], &with_length(3, &bytes)].concat(), 100)).ok();
        }
    }

    #[test]
    fn a_message_in_many_records_is_too_long_whether_it_comes_at_once_or_not() {
        let message = [&[CLIENT_HELLO, 0, 0x0b, 0xb8][..], &[0; 3_000]].concat();
        let stream: Vec<u8> = message.iter().flat_map(|&byte| [HANDSHAKE, 3, 1, 0, 1, byte]).collect();
        assert!(stream.len() > MOST_HELLO_BYTES);
        assert_eq!(client_hello(&stream[..MOST_HELLO_BYTES]), Err(HelloError::TooLong));
        assert_eq!(client_hello(&stream), Err(HelloError::TooLong));
    }
}
