//! Via entries (RFC 3261 §20.42).

use std::borrow::Cow;
use std::net::IpAddr;

use super::list::{params, split};
use super::text::{is_space, is_token, trim, trim_start};
use super::{HostPort, Params, ParseError};

/// One Via entry; `host` has no brackets, `transport` is lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Via<'a> {
    pub transport: Vec<u8>,
    pub host: Cow<'a, [u8]>,
    pub port: Option<u16>,
    pub params: Params<'a>,
    pub version: &'a [u8],
}

impl<'a> Via<'a> {
    /// Read one entry.
    pub fn parse(text: &'a [u8]) -> Result<Self, ParseError> {
        let mut parts = split(text, b';')?.into_iter();
        let head = parts.next().unwrap_or_default();
        let mut protocol = head.splitn(3, |&byte| byte == b'/');
        let (Some(name), Some(version), Some(rest)) = (protocol.next(), protocol.next(), protocol.next()) else {
            return Err(ParseError::new("Via does not begin with SIP/2.0/"));
        };
        if !trim(name).eq_ignore_ascii_case(b"SIP") {
            return Err(ParseError::new("Via does not begin with SIP/2.0/"));
        }
        let (version, rest) = (trim(version), trim_start(rest));
        let end = rest.iter().position(|&byte| is_space(byte)).unwrap_or(rest.len());
        let (transport, sent_by) = (&rest[..end], trim(&rest[end..]));
        if sent_by.is_empty() || !is_token(transport) || !is_token(version) {
            return Err(ParseError::new("Via without a sent-by"));
        }
        let (host, port) = host_port(sent_by)?;
        let params = params(parts)?;
        check_received(&params)?;
        Ok(Self { transport: transport.to_ascii_lowercase(), host, port, params, version })
    }
}

/// COLON allows spaces around it (RFC 3261 §25.1).
fn host_port(sent_by: &[u8]) -> Result<(Cow<'_, [u8]>, Option<u16>), ParseError> {
    if !sent_by.contains(&b':') || !sent_by.iter().any(|&byte| is_space(byte)) {
        return HostPort::parse(sent_by).map(|found| (Cow::Borrowed(found.host), found.port));
    }
    let closed: Vec<u8> = sent_by.iter().copied().filter(|&byte| !is_space(byte)).collect();
    HostPort::parse(&closed).map(|found| (Cow::Owned(found.host.to_vec()), found.port))
}

/// RFC 5118 §4.5: an IPv6 address is accepted with and without brackets.
fn check_received(params: &Params<'_>) -> Result<(), ParseError> {
    let Some((_, value)) = params.iter().find(|(name, _)| name.eq_ignore_ascii_case(b"received")) else {
        return Ok(());
    };
    let text = std::str::from_utf8(value.unwrap_or_default()).unwrap_or_default();
    match text.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(_) => Ok(()),
        Err(_) => Err(ParseError::new("Via received parameter is not an address")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_are_allowed_where_the_grammar_has_them() {
        let via = Via::parse(b"SIP / 2.0 / UDP  first.example.com : 4000 ; ttl=16 ;branch=z9hG4bKa").expect("a Via");
        assert_eq!(
            (via.transport.as_slice(), via.host.as_ref(), via.port),
            (&b"udp"[..], &b"first.example.com"[..], Some(4000))
        );
        assert_eq!(via.params.len(), 2);
    }

    #[test]
    fn received_is_an_address() {
        assert!(Via::parse(b"SIP/2.0/UDP h;received=[2001:db8::1]").is_ok());
        assert!(Via::parse(b"SIP/2.0/UDP h;received=there").is_err());
    }
}
