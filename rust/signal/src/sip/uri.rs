//! URIs of RFC 3261 §19.1; values keep their escapes.

use std::net::Ipv6Addr;

use super::text::{Set, cut};
use super::{Params, ParseError};

const MAX_BYTES: usize = 2048;
const MAX_HOST: usize = 255;

const USER: Set = Set::alphanumeric_and(b"-_.!~*'()&=+$,;?/%");
const PASSWORD: Set = Set::alphanumeric_and(b"-_.!~*'()&=+$,%");
const PARAM: Set = Set::alphanumeric_and(b"-_.!~*'()[]/:&+$%");
const HEADER: Set = Set::alphanumeric_and(b"-_.!~*'()[]/?:+$%");
/// Tolerant: "_" is not in the grammar but in many names.
const HOST: Set = Set::alphanumeric_and(b"-._");
const SCHEME: Set = Set::alphanumeric_and(b"+-.");

/// A URI of any scheme.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Uri<'a> {
    Sip(SipUri<'a>),
    /// tel:, urn: and others, whole; `scheme` is lower case.
    Other {
        scheme: String,
        text: &'a [u8],
    },
}

/// A sip: or sips: URI; `host` has no brackets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SipUri<'a> {
    pub host: &'a [u8],
    pub user: Option<&'a [u8]>,
    pub port: Option<u16>,
    /// sips:
    pub secure: bool,
    pub password: Option<&'a [u8]>,
    pub params: Params<'a>,
    pub headers: Vec<(&'a [u8], &'a [u8])>,
}

/// `hostport` of RFC 3261 §25.1; the host has no brackets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostPort<'a> {
    pub host: &'a [u8],
    pub port: Option<u16>,
}

impl<'a> Uri<'a> {
    /// Read an addr-spec without brackets around it.
    pub fn parse(text: &'a [u8]) -> Result<Self, ParseError> {
        if text.len() > MAX_BYTES {
            return Err(ParseError::with_status("URI is too long", 414));
        }
        let (scheme, rest) = cut(text, b':');
        let (Some(rest), Some(first)) = (rest, scheme.first()) else {
            return Err(ParseError::new("URI without a scheme"));
        };
        if !first.is_ascii_alphabetic() || !SCHEME.holds(scheme) {
            return Err(ParseError::new("URI without a scheme"));
        }
        if scheme.eq_ignore_ascii_case(b"sip") {
            return SipUri::parse(rest, false).map(Self::Sip);
        }
        if scheme.eq_ignore_ascii_case(b"sips") {
            return SipUri::parse(rest, true).map(Self::Sip);
        }
        let scheme = String::from_utf8_lossy(scheme).to_ascii_lowercase();
        if rest.is_empty() || rest.iter().any(|byte| !(b'!'..=b'~').contains(byte) || b"<>\"".contains(byte)) {
            return Err(ParseError::said(format!("{scheme}: URI holds a character that must be escaped"), 400));
        }
        Ok(Self::Other { scheme, text })
    }
}

impl<'a> SipUri<'a> {
    fn parse(rest: &'a [u8], secure: bool) -> Result<Self, ParseError> {
        // The userinfo may hold ; ? and /, so the "@" is looked for first; a later "@" must be escaped (§25.1).
        let (mut user, mut password, mut after) = (None, None, rest);
        if let Some(at) = rest.iter().rposition(|&byte| byte == b'@') {
            let (name, secret) = cut(&rest[..at], b':');
            if name.is_empty() {
                return Err(ParseError::new("URI with @ but no user"));
            }
            user = Some(checked(name, &USER, "user")?);
            password = secret.map(|secret| checked(secret, &PASSWORD, "password")).transpose()?;
            after = &rest[at + 1..];
        }
        let (before, header_text) = cut(after, b'?');
        let mut parts = before.split(|&byte| byte == b';');
        let HostPort { host, port } = HostPort::parse(parts.next().unwrap_or_default())?;
        let params = parts.map(uri_param).collect::<Result<_, _>>()?;
        let headers = match header_text {
            Some(text) => text.split(|&byte| byte == b'&').map(uri_header).collect::<Result<_, _>>()?,
            None => Vec::new(),
        };
        Ok(Self { host, user, port, secure, password, params, headers })
    }
}

impl<'a> HostPort<'a> {
    /// Read host and port.
    pub fn parse(text: &'a [u8]) -> Result<Self, ParseError> {
        let Some(inner) = text.strip_prefix(b"[") else {
            let (host, port) = cut(text, b':');
            if host.is_empty() || host.len() > MAX_HOST || !HOST.holds(host) {
                return Err(ParseError::new("host is empty or holds a wrong character"));
            }
            return Ok(Self { host, port: port.map(port_number).transpose()? });
        };
        let (host, Some(rest)) = cut(inner, b']') else {
            return Err(ParseError::new("IPv6 reference without its closing bracket"));
        };
        // An IPv6 reference has no zone (RFC 3261 §25.1).
        if std::str::from_utf8(host).ok().and_then(|text| text.parse::<Ipv6Addr>().ok()).is_none() {
            return Err(ParseError::new("not an IPv6 address between brackets"));
        }
        match rest {
            [] => Ok(Self { host, port: None }),
            [b':', port @ ..] => Ok(Self { host, port: Some(port_number(port)?) }),
            _ => Err(ParseError::new("text after an IPv6 reference")),
        }
    }
}

fn port_number(text: &[u8]) -> Result<u16, ParseError> {
    if text.is_empty() || text.len() > 5 || !text.iter().all(u8::is_ascii_digit) {
        return Err(ParseError::new("port is not a number"));
    }
    let value = text.iter().fold(0_u32, |value, &digit| value * 10 + u32::from(digit - b'0'));
    u16::try_from(value).map_err(|_| ParseError::new("port is above 65535"))
}

fn uri_param(item: &[u8]) -> Result<(&[u8], Option<&[u8]>), ParseError> {
    let (name, value) = cut(item, b'=');
    if name.is_empty() || value.is_some_and(<[u8]>::is_empty) {
        return Err(ParseError::new("empty URI parameter"));
    }
    let name = checked(name, &PARAM, "parameter")?;
    Ok((name, value.map(|value| checked(value, &PARAM, "parameter")).transpose()?))
}

fn uri_header(item: &[u8]) -> Result<(&[u8], &[u8]), ParseError> {
    match cut(item, b'=') {
        (name, Some(value)) if !name.is_empty() => {
            Ok((checked(name, &HEADER, "header")?, checked(value, &HEADER, "header")?))
        }
        _ => Err(ParseError::new("URI header without a value")),
    }
}

fn checked<'a>(text: &'a [u8], allowed: &Set, what: &str) -> Result<&'a [u8], ParseError> {
    if !allowed.holds(text) {
        return Err(ParseError::said(format!("{what} of a URI holds a character that must be escaped"), 400));
    }
    let mut rest = text;
    while let Some(at) = rest.iter().position(|&byte| byte == b'%') {
        match &rest[at + 1..] {
            [high, low, after @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => rest = after,
            _ => return Err(ParseError::said(format!("{what} of a URI holds a broken escape"), 400)),
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_a_uri_is_read() {
        let Ok(Uri::Sip(uri)) = Uri::parse(b"SIPS:al%20ice;x=1:pw@[2001:db8::1]:5061;transport=tls;lr?a=b&c=") else {
            panic!("a sips: URI");
        };
        assert!(uri.secure);
        assert_eq!((uri.user, uri.password), (Some(&b"al%20ice;x=1"[..]), Some(&b"pw"[..])));
        assert_eq!((uri.host, uri.port), (&b"2001:db8::1"[..], Some(5061)));
        assert_eq!(uri.params, [(&b"transport"[..], Some(&b"tls"[..])), (b"lr", None)]);
        assert_eq!(uri.headers, [(&b"a"[..], &b"b"[..]), (b"c", b"")]);
    }

    #[test]
    fn what_has_no_scheme_or_breaks_an_escape_is_refused() {
        for text in ["", "sip:", "sip:@h", "sip:a%4@h", "sip:h:99999", "sip:[::1", "1a:b", "sip:a@b@c", "tel:"] {
            assert!(Uri::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
