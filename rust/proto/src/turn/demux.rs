//! What is for a TURN server on a port that it shares with media: told by the first bytes, never by who sends it, since a
//! browser has one socket for both.

use crate::stun::{MAGIC_COOKIE, local_ufrag, method};

/// Bytes of a STUN header.
const HEADER: usize = 20;

/// Whether a datagram is for the server. A Binding request is, unless it has a user name: then it is a check of ICE.
pub fn is_for_server(datagram: &[u8]) -> bool {
    match datagram.first() {
        // RFC 7983 §7 leaves 64 to 79 to TURN, clients of RFC 5766 go on to 127; media has none of them.
        Some(0x40..=0x7F) => true,
        Some(0..=3) => is_request_or_send(datagram),
        _ => false,
    }
}

fn is_request_or_send(datagram: &[u8]) -> bool {
    let Some(header) = datagram.get(..HEADER).filter(|header| header[4..8] == MAGIC_COOKIE.to_be_bytes()) else {
        return false;
    };
    // RFC 8489 §5: the class's bits, 0x0110, lie between those of the method; 0x0010 is an indication.
    let kind = u16::from_be_bytes([header[0], header[1]]);
    match kind & 0x0110 {
        0 => match kind {
            method::ALLOCATE | method::REFRESH | method::CREATE_PERMISSION | method::CHANNEL_BIND => true,
            method::BINDING => local_ufrag(datagram).is_none(),
            _ => false,
        },
        0x0010 => kind & !0x0110 == method::SEND,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stun::{Class, TransactionId, Writer};

    fn message(class: Class, method: u16, username: Option<&[u8]>) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes, class, method, TransactionId([7; 12]));
        if let Some(username) = username {
            writer = writer.username(username);
        }
        writer.finish();
        bytes
    }

    #[test]
    fn what_asks_a_relay_for_something_is_for_the_server_also_with_a_user_name() {
        for method in [method::ALLOCATE, method::REFRESH, method::CREATE_PERMISSION, method::CHANNEL_BIND] {
            assert!(is_for_server(&message(Class::Request, method, None)));
            assert!(is_for_server(&message(Class::Request, method, Some(b"1795000000:session"))));
        }
        assert!(is_for_server(&message(Class::Indication, method::SEND, None)));
        assert!(is_for_server(&message(Class::Request, method::BINDING, None)));
        assert!(is_for_server(&[0x40, 0, 0, 1, 9]) && is_for_server(&[0x7f, 0xff, 0, 0]));
    }

    #[test]
    fn checks_of_ice_their_answers_and_media_are_not() {
        assert!(!is_for_server(&message(Class::Request, method::BINDING, Some(b"token:peer"))));
        for class in [Class::Success, Class::Error] {
            for method in [method::BINDING, method::ALLOCATE, method::REFRESH] {
                assert!(!is_for_server(&message(class, method, None)));
            }
        }
        // A server says Data, and is told nothing by it.
        assert!(!is_for_server(&message(Class::Indication, method::DATA, None)));
        assert!(!is_for_server(&message(Class::Indication, method::BINDING, None)));
        let without_cookie: Vec<u8> = [&[0, 3, 0, 0][..], &[9; 16]].concat();
        for other in [&b""[..], &[0, 3], &without_cookie, &[22, 254, 253], &[0x80, 96], &[0x90, 200]] {
            assert!(!is_for_server(other));
        }
    }
}
