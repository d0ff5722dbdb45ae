//! Base64 (RFC 4648 §4), whose alphabet is exactly the ice-char set of RFC 8839 §5.4.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Writes bytes as text, padded where their number is not a multiple of 3.
pub(crate) fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for triple in bytes.chunks(3) {
        let mut word = [0u8; 4];
        word[1..=triple.len()].copy_from_slice(triple);
        let word = u32::from_be_bytes(word);
        for (at, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            text.push(if at <= triple.len() { char::from(ALPHABET[(word >> shift) as usize & 63]) } else { '=' });
        }
    }
    text
}

/// Reads text without padding into `out`; `None` when a character or the length is wrong.
pub(crate) fn decode(text: &[u8], out: &mut [u8]) -> Option<()> {
    if text.len() * 3 != out.len() * 4 {
        return None;
    }
    for (quad, triple) in text.chunks_exact(4).zip(out.chunks_exact_mut(3)) {
        let mut word = 0u32;
        for &c in quad {
            let value = match c {
                b'A'..=b'Z' => c - b'A',
                b'a'..=b'z' => c - b'a' + 26,
                b'0'..=b'9' => c - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                _ => return None,
            };
            word = word << 6 | u32::from(value);
        }
        triple.copy_from_slice(&word.to_be_bytes()[1..]);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vectors_of_rfc_4648_are_met() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(encode(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn what_has_no_padding_is_read_back() {
        let bytes: Vec<u8> = (0..27).map(|i| i * 9).collect();
        let mut back = [0u8; 27];
        decode(encode(&bytes).as_bytes(), &mut back).unwrap();
        assert_eq!(&back[..], &bytes[..]);
        assert_eq!(decode(b"Zm9=", &mut [0; 3]), None);
    }
}
