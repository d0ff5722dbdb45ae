//! Lines to a description; the current level is the session or the last section.

use std::borrow::Cow;

use super::attributes::{media_attribute, session_attribute};
use super::description::{Bandwidth, Level, Origin, Session, Timing};
use super::error::{Malformed, SdpError, malformed};
use super::grammar::{cut, is_host, is_protocol, is_space, is_token, long_digits, trim, words};
use super::section::Section;

/// Longest description read.
pub const MAX_BYTES: usize = 65_536;
pub const MAX_LINES: usize = 4_096;
pub const MAX_LINE_BYTES: usize = 4_096;
pub const MAX_MEDIA: usize = 64;
pub const MAX_FORMATS: usize = 128;
/// Most attributes of one level.
pub const MAX_ATTRIBUTES: usize = 1_024;
const MAX_REPEATED: usize = 16;

/// Read a description (RFC 8866).
pub fn parse(text: &str) -> Result<Session<'_>, SdpError> {
    if text.len() > MAX_BYTES {
        return Err(whole(format!("longer than {MAX_BYTES} bytes")));
    }
    let text = text.trim_end_matches(is_space);
    if text.is_empty() {
        return Err(whole("empty"));
    }
    let mut session = Session::default();
    for (number, line) in (1..).zip(Lines(Some(text))) {
        if number > MAX_LINES {
            return Err(whole(format!("more than {MAX_LINES} lines")));
        }
        let taken = if number == 1 { first_line(line) } else { take_line(&mut session, number, line) };
        taken.map_err(|reason| SdpError { line: number, reason, text: shown(line) })?;
    }
    let Session { level, media, .. } = &mut session;
    media.iter_mut().for_each(|section| section.level.inherit(level));
    Ok(session)
}

fn whole(reason: impl Into<Cow<'static, str>>) -> SdpError {
    SdpError { line: 0, reason: reason.into(), text: String::new() }
}

/// Errors reach logs; keys and passwords must not.
fn shown(line: &str) -> String {
    let secret = ["a=ice-pwd", "a=crypto", "k="].iter().any(|start| line.starts_with(start));
    if secret { String::new() } else { line.to_owned() }
}

/// Lines that end with CRLF, LF or CR; the last may have no end.
struct Lines<'a>(Option<&'a str>);

impl<'a> Iterator for Lines<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let text = self.0?;
        let Some(end) = text.bytes().position(|byte| matches!(byte, b'\r' | b'\n')) else {
            self.0 = None;
            return Some(text);
        };
        let after = &text[end..];
        self.0 = Some(after.strip_prefix("\r\n").unwrap_or(&after[1..]));
        Some(&text[..end])
    }
}

fn first_line(line: &str) -> Result<(), Malformed> {
    if trim(line) == "v=0" { Ok(()) } else { malformed("the first line must be v=0") }
}

fn take_line<'a>(session: &mut Session<'a>, number: usize, line: &'a str) -> Result<(), Malformed> {
    if line.len() > MAX_LINE_BYTES {
        return Err(format!("longer than {MAX_LINE_BYTES} bytes").into());
    }
    if line.contains('\0') {
        return malformed("a NUL character");
    }
    if trim(line).is_empty() {
        return malformed("an empty line");
    }
    let mut letters = line.chars();
    let (Some(letter), Some('=')) = (letters.next(), letters.next()) else {
        return malformed("not of the form <letter>=<value>");
    };
    if !letter.is_alphabetic() {
        return malformed("not of the form <letter>=<value>");
    }
    let value = trim(letters.as_str());
    match letter {
        'o' => origin(session, value),
        's' => {
            session.name = Some(value).filter(|name| !name.is_empty());
            Ok(())
        }
        'i' => {
            if let Some(section) = session.media.last_mut() {
                section.title = Some(value);
            }
            Ok(())
        }
        'c' => connection(level(session), value),
        'b' => {
            bandwidth(level(session), value);
            Ok(())
        }
        't' => {
            timing(session, value);
            Ok(())
        }
        'm' => media(session, number, value),
        'a' => attribute(session, value),
        // RFC 8866 §5 lets a parser ignore what it does not know; e=, p=, u=, k=, r=, z= say nothing to us.
        _ => Ok(()),
    }
}

fn level<'s, 'a>(session: &'s mut Session<'a>) -> &'s mut Level<'a> {
    match session.media.last_mut() {
        Some(section) => &mut section.level,
        None => &mut session.level,
    }
}

fn origin<'a>(session: &mut Session<'a>, value: &'a str) -> Result<(), Malformed> {
    let parts: Vec<&str> = words(value).take(7).collect();
    match parts[..] {
        // Ids beyond 64 bits and even words are seen; they are only ever compared.
        [username, session_id, version, _, _, address] if session.media.is_empty() && is_host(address) => {
            session.origin = Some(Origin { username, session_id, version, address });
            Ok(())
        }
        _ => malformed("an origin is <user> <id> <version> IN <IP4|IP6> <address>"),
    }
}

fn connection<'a>(level: &mut Level<'a>, value: &'a str) -> Result<(), Malformed> {
    let parts: Vec<&str> = words(value).take(4).collect();
    let [network, family, address] = parts[..] else { return malformed("a connection is IN <IP4|IP6> <address>") };
    let known = ["IP4", "IP6"].iter().any(|known| family.eq_ignore_ascii_case(known));
    if !known || !network.eq_ignore_ascii_case("IN") {
        return malformed("a connection is IN <IP4|IP6> <address>");
    }
    let address = cut(address, '/').0;
    if !is_host(address) {
        return malformed("the connection's address is not an address");
    }
    level.connection = Some(address);
    Ok(())
}

/// Only informs.
fn bandwidth<'a>(level: &mut Level<'a>, value: &'a str) {
    let (kind, amount) = cut(value, ':');
    if let Some(value) = long_digits(trim(amount.unwrap_or_default()))
        && is_token(kind)
        && level.bandwidth.len() < MAX_REPEATED
    {
        level.bandwidth.push(Bandwidth { kind, value });
    }
}

fn timing(session: &mut Session<'_>, value: &str) {
    let parts: Vec<_> = words(value).take(3).map(long_digits).collect();
    if let [Some(start), Some(stop)] = parts[..]
        && session.timing.len() < MAX_REPEATED
    {
        session.timing.push(Timing { start, stop });
    }
}

fn media<'a>(session: &mut Session<'a>, line: usize, value: &'a str) -> Result<(), Malformed> {
    if session.media.len() >= MAX_MEDIA {
        return Err(format!("more than {MAX_MEDIA} media sections").into());
    }
    let mut parts = words(value);
    let (Some(kind), Some(port), Some(protocol)) = (parts.next(), parts.next(), parts.next()) else {
        return malformed("a media section is <kind> <port> <protocol> <format> ...");
    };
    let all: Vec<&str> = parts.collect();
    let (port, count) = cut(port, '/');
    if all.is_empty() && port != "0" {
        // A refusal without a format is a common mistake that harms nobody.
        return malformed("the media section names no format");
    }
    if !is_token(kind) || !is_protocol(protocol) {
        return malformed("the kind or the protocol is not a token");
    }
    let count_is_number = count.is_none_or(|count| count.is_empty() || long_digits(count).is_some());
    let port = long_digits(port).and_then(|port| u16::try_from(port).ok()).filter(|_| count_is_number);
    let Some(port) = port else { return malformed("the port is not a number from 0 to 65535") };
    if all.len() > MAX_FORMATS {
        return Err(format!("more than {MAX_FORMATS} formats").into());
    }
    let mut formats: Vec<&str> = Vec::with_capacity(all.len());
    for format in all {
        if !formats.contains(&format) {
            formats.push(format);
        }
    }
    let (kind, protocol) = (kind.to_ascii_lowercase(), protocol.to_ascii_uppercase());
    let section = Section { kind, port, protocol, formats, line, ..Section::default() };
    if section.is_rtp() && !section.formats.iter().all(|text| long_digits(text).is_some_and(|pt| pt < 128)) {
        return malformed("a payload type is not a number from 0 to 127");
    }
    session.media.push(section);
    Ok(())
}

fn attribute<'a>(session: &mut Session<'a>, value: &'a str) -> Result<(), Malformed> {
    let (name, content) = cut(value, ':');
    let (name, content) = (trim(name), content.map(trim));
    if !is_token(name) {
        return malformed("the attribute's name is not a token");
    }
    let count = &mut level(session).attribute_count;
    *count += 1;
    if *count > MAX_ATTRIBUTES {
        return Err(format!("more than {MAX_ATTRIBUTES} attributes").into());
    }
    match session.media.last_mut() {
        Some(section) => media_attribute(section, name, content),
        None => session_attribute(session, name, content),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "v=0\no=- 1 2 IN IP4 192.0.2.1\rs=-\r\na=inactive\n";

    #[test]
    fn any_line_end_is_read_and_the_session_speaks_for_its_sections() {
        let text = format!("{HEAD}m=audio 4000 RTP/AVP 0 101\na=rtpmap:101 telephone-event/8000\na=fmtp:101 0-15\n\n ");
        let session = parse(&text).expect("a description");
        let codecs = session.media[0].codecs();
        assert_eq!(codecs.iter().map(|codec| codec.name).collect::<Vec<_>>(), ["PCMU", "telephone-event"]);
        assert_eq!(codecs[1].fmtp, [("0-15".to_owned(), "")]);
        assert_eq!(session.media[0].direction(), crate::sdp::Direction::Inactive);
    }

    #[test]
    fn errors_name_their_line_and_hide_secrets() {
        let error = parse(&format!("{HEAD}m=audio x RTP/AVP 0")).expect_err("a wrong port");
        assert_eq!((error.line, error.text.as_str()), (5, "m=audio x RTP/AVP 0"));
        let error = parse(&format!("{HEAD}a=ice-pwd:short")).expect_err("a short password");
        assert_eq!((error.line, error.text.as_str()), (5, ""));
    }
}
