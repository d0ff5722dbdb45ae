//! Lists, quoted strings and parameters: whatever is separated by commas or semicolons (RFC 3261 §7.3.1, §25.1).

use std::borrow::Cow;

use super::text::{cut, is_token, trim};
use super::{Params, ParseError};

/// The parts of `text` between `separator`s outside quotes and angle brackets, trimmed; linear.
pub fn split(text: &[u8], separator: u8) -> Result<Vec<&[u8]>, ParseError> {
    let mut parts = Vec::new();
    let (mut start, mut index, mut angle) = (0, 0, false);
    while let Some(&byte) = text.get(index) {
        match byte {
            b'"' if !angle => {
                index = end_of_quote(text, index)?;
                continue;
            }
            b'<' => angle = true,
            b'>' => angle = false,
            _ if byte == separator && !angle => {
                parts.push(trim(&text[start..index]));
                start = index + 1;
            }
            _ => {}
        }
        index += 1;
    }
    parts.push(trim(&text[start..]));
    Ok(parts)
}

/// Index after the quoted-string that opens at `start`.
pub(crate) fn end_of_quote(text: &[u8], start: usize) -> Result<usize, ParseError> {
    let mut index = start + 1;
    while let Some(&byte) = text.get(index) {
        match byte {
            b'\\' => index += 2,
            b'"' => return Ok(index + 1),
            _ => index += 1,
        }
    }
    Err(ParseError::new("quoted string without its closing quote"))
}

/// True when `text` is one quoted-string and nothing else.
pub fn is_quoted(text: &[u8]) -> bool {
    text.first() == Some(&b'"') && end_of_quote(text, 0) == Ok(text.len())
}

/// Content of a quoted-string; text without quotes comes back as it is.
pub fn unquoted(text: &[u8]) -> Cow<'_, [u8]> {
    let [b'"', inner @ .., b'"'] = text else { return Cow::Borrowed(text) };
    if !inner.contains(&b'\\') {
        return Cow::Borrowed(inner);
    }
    let mut out = Vec::with_capacity(inner.len());
    let mut escaped = false;
    for &byte in inner {
        escaped = !escaped && byte == b'\\';
        if !escaped {
            out.push(byte);
        }
    }
    Cow::Owned(out)
}

/// Header parameters, one in each part.
pub fn params<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Result<Params<'a>, ParseError> {
    parts.into_iter().map(param).collect()
}

fn param(part: &[u8]) -> Result<(&[u8], Option<&[u8]>), ParseError> {
    let (name, value) = cut(part, b'=');
    let (name, value) = (trim(name), value.map(trim));
    if !is_token(name) || value.is_some_and(<[u8]>::is_empty) {
        return Err(ParseError::new("empty or broken header parameter"));
    }
    value.map_or(Ok(()), check_value)?;
    Ok((name, value))
}

fn check_value(value: &[u8]) -> Result<(), ParseError> {
    if value[0] != b'"' {
        let separated = value.iter().any(|byte| b" \t,;<>\"".contains(byte));
        return if separated { Err(ParseError::new("broken header parameter value")) } else { Ok(()) };
    }
    if end_of_quote(value, 0)? == value.len() {
        Ok(())
    } else {
        Err(ParseError::new("text after a quoted parameter value"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separators_in_quotes_and_brackets_do_not_separate() {
        let parts = split(b"\"a, \\\"b\" <sip:x,y> , c,", b',').expect("a list");
        assert_eq!(parts, [&b"\"a, \\\"b\" <sip:x,y>"[..], b"c", b""]);
        assert!(split(b"a, \"b", b',').is_err());
    }

    #[test]
    fn quoted_pairs_lose_their_backslash() {
        assert_eq!(unquoted(br#""a\\\"b""#).as_ref(), br#"a\"b"#);
        assert_eq!(unquoted(b"\"").as_ref(), b"\"");
    }
}
