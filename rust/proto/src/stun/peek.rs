//! Finds the local ufrag of a STUN binding request without looking at anything else, so that any shard can route it.

/// RFC 8489 §5: type and length, magic cookie, transaction id.
const HEADER: usize = 20;
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const USERNAME: u16 = 0x0006;
/// Attributes looked at before giving up; USERNAME comes first or second in practice.
const MOST_ATTRIBUTES: usize = 16;

/// The part of USERNAME before the colon: the ufrag of whom the request is for (RFC 8445 §7.2.2).
pub fn local_ufrag(datagram: &[u8]) -> Option<&[u8]> {
    let (header, mut attributes) = datagram.split_at_checked(HEADER)?;
    // Binding request, and the bytes that tell STUN from what it was before RFC 3489.
    if header[..2] != [0x00, 0x01] || header[4..8] != MAGIC_COOKIE {
        return None;
    }
    for _ in 0..MOST_ATTRIBUTES {
        let (head, rest) = attributes.split_at_checked(4)?;
        let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
        let value = rest.get(..length)?;
        if u16::from_be_bytes([head[0], head[1]]) == USERNAME {
            return value.split(|&byte| byte == b':').next();
        }
        attributes = rest.get(length.next_multiple_of(4)..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn request(attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut datagram = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
        for (kind, value) in attributes {
            datagram.extend_from_slice(&kind.to_be_bytes());
            datagram.extend_from_slice(&(value.len() as u16).to_be_bytes());
            datagram.extend_from_slice(value);
            datagram.resize(datagram.len().next_multiple_of(4), 0);
        }
        datagram
    }

    #[test]
    fn the_ufrag_before_the_colon_is_ours() {
        let datagram = request(&[(0x0024, &[0; 4]), (USERNAME, b"ours:theirs")]);
        assert_eq!(local_ufrag(&datagram), Some(&b"ours"[..]));
    }

    #[test]
    fn responses_and_requests_without_username_have_none() {
        let mut response = request(&[(USERNAME, b"ours:theirs")]);
        response[0] = 1;
        assert_eq!(local_ufrag(&response), None);
        assert_eq!(local_ufrag(&request(&[(0x0024, &[0; 4])])), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_looked_at_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            local_ufrag(&bytes);
            let mut datagram = request(&[]);
            datagram.extend_from_slice(&bytes);
            local_ufrag(&datagram);
        }
    }
}
