//! name-addr and addr-spec with header parameters: From, To, Contact, Route and the like (RFC 3261 §20).

use std::borrow::Cow;

use super::list::{end_of_quote, params, split, unquoted};
use super::text::{cut, trim, words};
use super::{Params, ParseError, Uri};

/// An address with its display name, unquoted, and its header parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameAddr<'a> {
    pub uri: Uri<'a>,
    pub display_name: Cow<'a, [u8]>,
    pub params: Params<'a>,
}

impl<'a> NameAddr<'a> {
    /// Read one entry.
    pub fn parse(text: &'a [u8]) -> Result<Self, ParseError> {
        let text = trim(text);
        let (display_name, open) = if text.first() == Some(&b'"') { quoted_name(text)? } else { plain_name(text)? };
        let (uri, rest) = match open {
            Some(open) => bracketed(&text[open + 1..])?,
            None => bare(text)?,
        };
        let params = if rest.is_empty() { Vec::new() } else { params(split(rest, b';')?.into_iter().skip(1))? };
        Ok(Self { uri, display_name, params })
    }
}

fn quoted_name(text: &[u8]) -> Result<(Cow<'_, [u8]>, Option<usize>), ParseError> {
    let end = end_of_quote(text, 0)?;
    match cut(&text[end..], b'<') {
        (between, Some(_)) if trim(between).is_empty() => Ok((unquoted(&text[..end]), Some(end + between.len()))),
        _ => Err(ParseError::new("display name is not followed by <")),
    }
}

fn plain_name(text: &[u8]) -> Result<(Cow<'_, [u8]>, Option<usize>), ParseError> {
    let Some(open) = text.iter().position(|&byte| byte == b'<') else { return Ok((Cow::Borrowed(b""), None)) };
    // Tolerant (RFC 4475 §3.1.2.15 baddn): unquoted characters outside token are taken as text, except those that
    // would change the meaning of the field.
    let name = words(&text[..open]).collect::<Vec<_>>().join(&b' ');
    if name.iter().any(|byte| b"\";<>@".contains(byte)) {
        return Err(ParseError::new("broken display name"));
    }
    Ok((Cow::Owned(name), Some(open)))
}

fn bracketed(inner: &[u8]) -> Result<(Uri<'_>, &[u8]), ParseError> {
    let (uri, Some(rest)) = cut(inner, b'>') else { return Err(ParseError::new("< without >")) };
    let rest = trim(rest);
    if rest.first().is_some_and(|&byte| byte != b';') {
        return Err(ParseError::new("text after >"));
    }
    Ok((Uri::parse(trim(uri))?, rest))
}

/// RFC 3261 §20: without brackets, everything from the first ";" on are header parameters; "?" and "," must not appear.
fn bare(text: &[u8]) -> Result<(Uri<'_>, &[u8]), ParseError> {
    let end = text.iter().position(|&byte| byte == b';').unwrap_or(text.len());
    let uri = trim(&text[..end]);
    if uri.iter().any(|byte| b"?,".contains(byte)) {
        return Err(ParseError::new("URI with ? or , needs angle brackets"));
    }
    Ok((Uri::parse(uri)?, &text[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_brackets_and_parameters_are_told_apart() {
        let address = NameAddr::parse(br#" "A \"B\"" <sip:a@b;x=1> ; tag=7;q="0,5" "#).expect("an address");
        assert_eq!(address.display_name.as_ref(), br#"A "B""#);
        assert_eq!(address.params, [(&b"tag"[..], Some(&b"7"[..])), (b"q", Some(b"\"0,5\""))]);
        let bare = NameAddr::parse(b"sip:a@b;tag=7").expect("an address");
        assert_eq!(bare.params, [(&b"tag"[..], Some(&b"7"[..]))]);
        assert_eq!(NameAddr::parse(b"J.  Doe <tel:+1>").expect("an address").display_name.as_ref(), b"J. Doe");
    }

    #[test]
    fn broken_addresses_are_refused() {
        for text in ["\"a\" sip:b@c", "a@b <sip:c>", "<sip:a", "<sip:a>b", "sip:a?b", "<sip:a>;", "\"a <sip:b>"] {
            assert!(NameAddr::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
