//! What every message is asked for, read in one go: the fields of RFC 3261 §8.1.1 and the length of the body.

use super::number::{cseq, number};
use super::text::is_token;
use super::{Head, Name, NameAddr, Start, Uri, Via, split};

const MAX_LENGTH: u64 = (1 << 31) - 1;
const MAX_FORWARDS: u64 = 255;

/// Values of a head; `None` for what is missing, broken, or there twice.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Essentials<'a> {
    /// Every Via, topmost first; at least one.
    pub vias: Option<Vec<Via<'a>>>,
    pub from: Option<NameAddr<'a>>,
    pub to: Option<NameAddr<'a>>,
    pub call_id: Option<&'a [u8]>,
    pub cseq: Option<(u64, &'a [u8])>,
    /// Content-Length.
    pub length: Option<u64>,
    /// Request-URI.
    pub uri: Option<Uri<'a>>,
    /// Everything is there that a message of its kind must have, and nothing contradicts.
    pub sound: bool,
}

impl<'a> Essentials<'a> {
    /// Read what a head has of them.
    pub fn of(head: &'a Head<'_>) -> Self {
        let mut found = Self {
            vias: vias(head),
            from: single(head, "From").and_then(|value| NameAddr::parse(value).ok()),
            to: single(head, "To").and_then(|value| NameAddr::parse(value).ok()),
            call_id: single(head, "Call-ID").filter(|value| is_call_id(value)),
            cseq: single(head, "CSeq").and_then(|value| cseq(value).ok()),
            length: single(head, "Content-Length").and_then(|value| number(value, "Content-Length", MAX_LENGTH).ok()),
            ..Self::default()
        };
        let addressed = found.from.is_some() && found.to.is_some() && found.call_id.is_some();
        found.sound = addressed && found.vias.is_some() && found.cseq.is_some();
        if let Start::Request { method, uri } = head.start {
            found.uri = Uri::parse(uri).ok();
            found.sound &= found.uri.is_some()
                && found.cseq.is_some_and(|(_, named)| named == method)
                && found.vias.as_ref().is_some_and(|vias| vias[0].version == b"2.0")
                && hops_left(head);
        }
        found
    }
}

fn values<'a>(head: &'a Head<'_>, name: &'static str) -> impl Iterator<Item = &'a [u8]> {
    let name = Name::of(name.as_bytes());
    head.fields.iter().filter(move |field| field.name == name).map(|field| field.value.as_ref())
}

/// RFC 4475 §3.3.8: these fields must not be repeated.
fn single<'a>(head: &'a Head<'_>, name: &'static str) -> Option<&'a [u8]> {
    let mut values = values(head, name);
    let first = values.next();
    first.filter(|_| values.next().is_none())
}

fn vias<'a>(head: &'a Head<'_>) -> Option<Vec<Via<'a>>> {
    let mut vias = Vec::new();
    for value in values(head, "Via") {
        for entry in split(value, b',').ok()? {
            vias.push(Via::parse(entry).ok()?);
        }
    }
    Some(vias).filter(|vias| !vias.is_empty())
}

/// RFC 3261 §25.1 `word`; ":" and brackets as they are, "@" joins two words.
fn is_call_id(value: &[u8]) -> bool {
    let inside = |byte: &u8| br#"()<>:\"/[]?{}@"#.contains(byte) || is_token(std::slice::from_ref(byte));
    !value.is_empty() && value.iter().all(inside)
}

fn hops_left(head: &Head<'_>) -> bool {
    let mut said = values(head, "Max-Forwards");
    match (said.next(), said.next()) {
        (None, _) => true,
        (Some(value), None) => number(value, "Max-Forwards", MAX_FORWARDS).is_ok(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Limits;
    use super::*;

    const OPTIONS: &str = "OPTIONS sip:a@b SIP/2.0\r\nv: SIP/2.0/UDP h;branch=1, SIP/2.0/TCP i\r\nVia: SIP/2.0/UDP j\r\n\
        f: <sip:c@d>;tag=e\r\nTo: <sip:a@b>\r\ni: f@g\r\nCSeq: 7 OPTIONS\r\nl: 12";

    fn sound(text: &str) -> bool {
        let head = Head::parse(text.as_bytes(), Limits { headers: 20, header_bytes: 99 }).expect("a head");
        Essentials::of(&head).sound
    }

    #[test]
    fn every_field_is_read() {
        let head = Head::parse(OPTIONS.as_bytes(), Limits { headers: 20, header_bytes: 99 }).expect("a head");
        let found = Essentials::of(&head);
        assert_eq!(found.vias.as_ref().map(Vec::len), Some(3));
        assert_eq!(found.cseq, Some((7, &b"OPTIONS"[..])));
        assert_eq!((found.call_id, found.length), (Some(&b"f@g"[..]), Some(12)));
        assert!(found.sound && found.uri.is_some() && found.from.is_some() && found.to.is_some());
        assert!(sound(&format!("{OPTIONS}\r\nMax-Forwards: 70")));
        assert!(sound(&OPTIONS.replacen("OPTIONS sip:a@b SIP/2.0", "SIP/2.0 200 OK", 1)));
    }

    #[test]
    fn what_is_broken_missing_or_repeated_is_not_sound() {
        let changes = [
            ("CSeq: 7 OPTIONS", "CSeq: 7 INVITE"),
            ("CSeq: 7 OPTIONS", "CSeq: 7"),
            ("i: f@g", "i: f g"),
            ("i: f@g", "i:"),
            ("To: <sip:a@b>\r\n", ""),
            ("l: 12", "To: <sip:a@b>"),
            ("l: 12", "Max-Forwards: 256"),
            ("l: 12", "Max-Forwards: 1\r\nMax-Forwards: 1"),
            ("v: SIP/2.0/UDP", "v: SIP/3.0/UDP"),
            ("Via: SIP/2.0/UDP j", "Via: SIP/2.0/UDP"),
            ("sip:a@b SIP", "a SIP"),
        ];
        for (before, after) in changes {
            assert!(!sound(&OPTIONS.replacen(before, after, 1)), "{after}");
        }
    }
}
