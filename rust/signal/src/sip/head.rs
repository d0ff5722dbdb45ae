//! Start line and header table of a message (RFC 3261 §7), tolerant where it is safe, bounded everywhere.

use std::borrow::Cow;

use super::number::number;
use super::text::{cut, is_token, trim, trim_blanks};
use super::{Name, ParseError};

const VERSION: &[u8] = b"SIP/2.0";
const UNKNOWN: &[u8] = b"UNKNOWN";

/// What bounds a head.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Most header fields.
    pub headers: usize,
    /// Longest field, in bytes.
    pub header_bytes: usize,
}

/// The start line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start<'a> {
    Request { method: &'a [u8], uri: &'a [u8] },
    Response { code: u16, reason: &'a [u8] },
}

/// A header field; the value is unfolded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field<'a> {
    pub name: Name<'a>,
    pub value: Cow<'a, [u8]>,
}

/// Start line and fields. A request with a `problem` is broken, but has enough to be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head<'a> {
    pub start: Start<'a>,
    pub fields: Vec<Field<'a>>,
    pub problem: Option<ParseError>,
}

impl<'a> Head<'a> {
    /// Read a head without the empty line behind it. An error here cannot be answered.
    pub fn parse(data: &'a [u8], limits: Limits) -> Result<Self, ParseError> {
        let mut lines = Lines(Some(data));
        let first = lines.next().unwrap_or_default();
        if Lines(Some(data)).count() - 1 > limits.headers * 2 {
            return Err(ParseError::new("too many header lines"));
        }
        let mut fields = Vec::with_capacity(16);
        if first.starts_with(b"SIP/") {
            let start = status_line(first)?;
            header_lines(lines, limits, &mut fields)?;
            return Ok(Self { start, fields, problem: None });
        }
        let line = request_line(first);
        let mut problem = header_lines(lines, limits, &mut fields).err();
        let (method, uri, version) = match line {
            Ok(line) => line,
            Err(error) => {
                problem = problem.or(Some(error));
                (UNKNOWN, &b""[..], VERSION)
            }
        };
        if problem.is_none() && !version.eq_ignore_ascii_case(VERSION) {
            // RFC 4475 §3.3.16 badvers
            let shown = String::from_utf8_lossy(&version[..version.len().min(16)]).into_owned();
            problem = Some(ParseError::said(format!("version {shown} is not supported"), 505));
        }
        Ok(Self { start: Start::Request { method, uri }, fields, problem })
    }
}

/// Lines between CRLFs; the last has none.
struct Lines<'a>(Option<&'a [u8]>);

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let text = self.0?;
        let mut from = 0;
        while let Some(at) = text[from..].iter().position(|&byte| byte == b'\r') {
            let at = from + at;
            if text.get(at + 1) == Some(&b'\n') {
                self.0 = Some(&text[at + 2..]);
                return Some(&text[..at]);
            }
            from = at + 1;
        }
        self.0 = None;
        Some(text)
    }
}

/// Method, URI and version.
type RequestLine<'a> = (&'a [u8], &'a [u8], &'a [u8]);

/// Exactly one space on each side (§7.1); RFC 4475 §3.1.2.7 (lwsruri) and §3.1.2.9 (lwsstart, trws) may be refused.
fn request_line(line: &[u8]) -> Result<RequestLine<'_>, ParseError> {
    one_line(line)?;
    let mut parts = line.split(|&byte| byte == b' ');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(method), Some(uri), Some(version), None) if is_token(method) && !uri.is_empty() => {
            // §7.1: case-insensitive, sent in upper case
            if version.get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"SIP/")) {
                Ok((method, uri, version))
            } else {
                Err(ParseError::new("request line without a SIP version"))
            }
        }
        _ => Err(ParseError::new("request line is not method, URI and version")),
    }
}

fn status_line(line: &[u8]) -> Result<Start<'_>, ParseError> {
    one_line(line)?;
    let (version, rest) = cut(line, b' ');
    if !version.eq_ignore_ascii_case(VERSION) {
        return Err(ParseError::with_status("response of another version", 505));
    }
    let (code, reason) = cut(rest.unwrap_or_default(), b' ');
    if code.len() != 3 {
        return Err(ParseError::new("status code is not three digits"));
    }
    match number(code, "status code", 699)? {
        code @ 100.. => Ok(Start::Response { code: code as u16, reason: reason.unwrap_or_default() }),
        _ => Err(ParseError::new("status code is below 100")),
    }
}

/// What goes on as it came must not look like two lines to others.
fn one_line(start: &[u8]) -> Result<(), ParseError> {
    match start.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
        true => Err(ParseError::new("the start line holds a bare CR, LF or NUL")),
        false => Ok(()),
    }
}

fn header_lines<'a>(lines: Lines<'a>, limits: Limits, fields: &mut Vec<Field<'a>>) -> Result<(), ParseError> {
    for line in lines {
        match line.first() {
            None => {}
            Some(b' ' | b'\t') => fold(fields, line, limits.header_bytes)?,
            Some(_) => {
                let field = header_line(line, limits.header_bytes)?;
                if fields.len() >= limits.headers {
                    return Err(ParseError::new("too many headers"));
                }
                fields.push(field);
            }
        }
    }
    Ok(())
}

/// §7.3.1: the whole stretch counts as one space.
fn fold(fields: &mut Vec<Field<'_>>, line: &[u8], bound: usize) -> Result<(), ParseError> {
    let Some(last) = fields.last_mut() else { return Err(ParseError::new("a folded line without a header")) };
    let folded = trim(line);
    clean(folded)?;
    if !folded.is_empty() {
        let value = last.value.to_mut();
        if !value.is_empty() {
            value.push(b' ');
        }
        value.extend_from_slice(folded);
    }
    if last.value.len() > bound {
        fields.pop();
        return Err(ParseError::new("a header is too long"));
    }
    Ok(())
}

fn header_line(line: &[u8], bound: usize) -> Result<Field<'_>, ParseError> {
    let (name, Some(value)) = cut(line, b':') else { return Err(ParseError::new("a header line without a colon")) };
    let name = trim_blanks(name);
    if !is_token(name) {
        return Err(ParseError::new("a header name is not a token"));
    }
    if line.len() > bound {
        return Err(ParseError::new("a header is too long"));
    }
    clean(value)?;
    Ok(Field { name: Name::of(name), value: Cow::Borrowed(trim_blanks(value)) })
}

fn clean(value: &[u8]) -> Result<(), ParseError> {
    is_clean(value).then_some(()).ok_or(ParseError::new("a header holds a bare CR, LF or NUL"))
}

/// NUL may only stand as a quoted-pair (§25.1; RFC 4475 §3.1.1.2).
fn is_clean(value: &[u8]) -> bool {
    if !value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
        return true;
    }
    let mut before = 0;
    for &byte in value {
        if matches!(byte, b'\r' | b'\n') || (byte == 0 && before != b'\\') {
            return false;
        }
        before = byte;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { headers: 4, header_bytes: 40 };

    #[test]
    fn fields_are_unfolded_and_named_as_usual() {
        let head = Head::parse(b"INVITE sip:a sip/2.0\r\nv : x \r\n\t y\r\nNew-FIELD:\r\n z", LIMITS).expect("a head");
        let fields: Vec<_> = head.fields.iter().map(|field| (field.name.as_str(), field.value.as_ref())).collect();
        assert_eq!(fields, [("Via", &b"x y"[..]), ("New-Field", b"z")]);
        assert_eq!(head.problem, None);
    }

    #[test]
    fn a_broken_request_keeps_what_was_read_before() {
        let head = Head::parse(b"INVITE sip:a SIP/2.0\r\nVia: x\r\nno colon\r\nTo: y", LIMITS).expect("a head");
        assert_eq!(head.fields.len(), 1);
        assert!(head.problem.is_some());
        assert!(Head::parse(b"SIP/2.0 200 OK\r\nno colon", LIMITS).is_err());
    }

    #[test]
    fn no_value_looks_like_two_lines() {
        let broken = [
            &b"INVITE sip:a SIP/2.0\r\na: b\nVia: c"[..],
            b"INVITE sip:a SIP/2.0\r\na: b\r\n c\nVia: d",
            b"INVITE sip:a SIP/2.0\r\na: b\r\n\tc\rd",
            b"INVITE sip:a SIP/2.0\r\na: b\r\n c\0",
            b"INVITE sip:a\nb SIP/2.0\r\na: b",
        ];
        for text in broken {
            let head = Head::parse(text, LIMITS).expect("a head");
            assert!(head.problem.is_some(), "{:?}", String::from_utf8_lossy(text));
            assert!(head.fields.iter().all(|field| is_clean(&field.value)));
        }
        assert!(Head::parse(b"SIP/2.0 200 a\nVia: c\r\na: b", LIMITS).is_err());
        assert!(Head::parse(b"SIP/2.0 200 OK\r\na: b\r\n c\nVia: d", LIMITS).is_err());
    }

    #[test]
    fn heads_are_bounded() {
        let many = b"INVITE sip:a SIP/2.0".iter().chain(b"\r\na: b".repeat(5).iter()).copied().collect::<Vec<_>>();
        let head = Head::parse(&many, LIMITS).expect("a head");
        assert_eq!((head.fields.len(), head.problem.is_some()), (4, true));
        assert!(Head::parse(&[&many[..], &b"\r\n".repeat(9)].concat(), LIMITS).is_err());
        let long = [b"INVITE sip:a SIP/2.0\r\na:", &b"x".repeat(40)[..]].concat();
        assert!(Head::parse(&long, LIMITS).expect("a head").problem.is_some());
    }

    #[test]
    fn another_version_is_answered_with_505() {
        let head = Head::parse(b"INVITE sip:a SIP/7.0", LIMITS).expect("a head");
        assert_eq!(head.problem.map(|problem| problem.status), Some(505));
    }
}
