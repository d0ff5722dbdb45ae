//! Sets of bytes, and the white space that may stand around values.

/// A set of bytes.
#[derive(Debug)]
pub(crate) struct Set([bool; 256]);

impl Set {
    /// ASCII letters, digits and `others`.
    pub(crate) const fn alphanumeric_and(others: &[u8]) -> Self {
        let mut table = [false; 256];
        let mut byte = 0;
        while byte < 128 {
            table[byte] = (byte as u8).is_ascii_alphanumeric();
            byte += 1;
        }
        let mut index = 0;
        while index < others.len() {
            table[others[index] as usize] = true;
            index += 1;
        }
        Self(table)
    }

    pub(crate) fn has(&self, byte: u8) -> bool {
        self.0[usize::from(byte)]
    }

    /// True when every byte of `text` is in the set.
    pub(crate) fn holds(&self, text: &[u8]) -> bool {
        text.iter().all(|&byte| self.has(byte))
    }
}

/// RFC 3261 §25.1 `token`.
const TOKEN: Set = Set::alphanumeric_and(b"-.!%*_+`'~");

/// True when every byte may stand in a token (RFC 3261 §25.1) and there is one.
pub fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && TOKEN.holds(text)
}

/// What is dropped around a value: LWS of RFC 3261 §25.1, and the control characters that some peers write for it.
pub(crate) const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r' | 0x1c..=0x1f)
}

/// `text` without white space around it.
pub(crate) fn trim(text: &[u8]) -> &[u8] {
    trim_end(trim_start(text))
}

pub(crate) fn trim_start(mut text: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = text
        && is_space(*first)
    {
        text = rest;
    }
    text
}

fn trim_end(mut text: &[u8]) -> &[u8] {
    while let [rest @ .., last] = text
        && is_space(*last)
    {
        text = rest;
    }
    text
}

/// `text` without spaces and tabs around it.
pub(crate) fn trim_blanks(text: &[u8]) -> &[u8] {
    let written = |byte: &u8| !matches!(byte, b' ' | b'\t');
    let start = text.iter().position(written).unwrap_or(text.len());
    let end = text.iter().rposition(written).map_or(start, |last| last + 1);
    &text[start..end]
}

/// `text` up to the first `at` and what is behind it; `None` behind it when `at` is not there.
pub(crate) fn cut(text: &[u8], at: u8) -> (&[u8], Option<&[u8]>) {
    match text.iter().position(|&byte| byte == at) {
        Some(index) => (&text[..index], Some(&text[index + 1..])),
        None => (text, None),
    }
}

/// The words of `text`.
pub(crate) fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|&byte| is_space(byte)).filter(|word| !word.is_empty())
}
