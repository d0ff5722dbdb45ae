//! Characters and numbers of RFC 8866 §9, and white space around values.

/// What is dropped around values: Unicode's white space and the separators of ASCII.
pub(crate) fn is_space(letter: char) -> bool {
    letter.is_whitespace() || matches!(letter, '\u{1c}'..='\u{1f}')
}

pub(crate) fn trim(text: &str) -> &str {
    text.trim_matches(is_space)
}

pub(crate) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(is_space).filter(|word| !word.is_empty())
}

/// `text` up to the first `at`, and what is behind it.
pub(crate) fn cut(text: &str, at: char) -> (&str, Option<&str>) {
    text.split_once(at).map_or((text, None), |(before, after)| (before, Some(after)))
}

/// The first word of `text`, and the rest of it; empty where there is none.
pub(crate) fn first_word(text: &str) -> (&str, &str) {
    let text = text.trim_start_matches(is_space);
    match text.find(is_space) {
        Some(end) => (&text[..end], text[end..].trim_start_matches(is_space)),
        None => (text, ""),
    }
}

const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'{'..=b'~')
}

fn all(text: &str, least: usize, most: usize, allowed: impl Fn(u8) -> bool) -> bool {
    (least..=most).contains(&text.len()) && text.bytes().all(allowed)
}

pub(crate) fn is_token(text: &str) -> bool {
    all(text, 1, usize::MAX, is_token_byte)
}

/// A token of at most 64 characters: what we give a place in our tables.
pub(crate) fn is_short_token(text: &str) -> bool {
    all(text, 1, 64, is_token_byte)
}

/// Tokens with slashes between them.
pub(crate) fn is_protocol(text: &str) -> bool {
    all(text, 1, usize::MAX, |byte| byte == b'/' || is_token_byte(byte))
}

/// An address, or a name that stands for one.
pub(crate) fn is_host(text: &str) -> bool {
    all(text, 1, 255, |byte| byte.is_ascii_alphanumeric() || b".:%_-".contains(&byte))
}

pub(crate) fn is_rid(text: &str) -> bool {
    all(text, 1, 64, |byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
}

/// Printable ASCII without the space.
pub(crate) fn is_printable(text: &str, least: usize, most: usize) -> bool {
    all(text, least, most, |byte| byte.is_ascii_graphic())
}

/// A decimal number of at most ten digits.
pub(crate) fn digits(text: &str) -> Option<u64> {
    all(text, 1, 10, |byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// A decimal number of at most twenty digits.
pub(crate) fn long_digits(text: &str) -> Option<u128> {
    all(text, 1, 20, |byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// A payload type, 0 to 127.
pub(crate) fn payload_type(text: &str) -> Option<u8> {
    digits(text).and_then(|number| u8::try_from(number).ok()).filter(|&number| number < 128)
}
