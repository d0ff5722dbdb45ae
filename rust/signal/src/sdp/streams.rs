//! SSRCs and their groups (RFC 5576), rids (RFC 8851) and simulcast (RFC 8853).

use std::collections::HashMap;

use super::error::{Malformed, malformed};
use super::grammar::{cut, digits, first_word, is_rid, is_short_token, trim, words};

pub(crate) const MAX_MEMBERS: usize = 64;

/// All `a=ssrc` lines of one SSRC.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ssrc<'a> {
    pub id: u32,
    pub cname: Option<&'a str>,
    pub msid: Option<&'a str>,
}

/// The SSRCs of a section, in the order of their first line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ssrcs<'a> {
    list: Vec<Ssrc<'a>>,
    places: HashMap<u32, usize>,
}

impl<'a> Ssrcs<'a> {
    /// Each SSRC once.
    pub fn as_slice(&self) -> &[Ssrc<'a>] {
        &self.list
    }

    pub(crate) fn read(&mut self, value: &'a str) -> Result<(), Malformed> {
        let (id, text) = cut(value, ' ');
        let (name, content) = cut(trim(text.unwrap_or_default()), ':');
        let Some(id) = ssrc(id) else { return malformed("an ssrc is <32-bit number> <attribute>") };
        let content = Some(content.unwrap_or_default());
        match name {
            "cname" => self.of(id).cname = content,
            "msid" => self.of(id).msid = content,
            _ => {}
        }
        Ok(())
    }

    fn of(&mut self, id: u32) -> &mut Ssrc<'a> {
        let place = *self.places.entry(id).or_insert_with(|| {
            self.list.push(Ssrc { id, ..Ssrc::default() });
            self.list.len() - 1
        });
        &mut self.list[place]
    }
}

fn ssrc(text: &str) -> Option<u32> {
    digits(text).and_then(|number| u32::try_from(number).ok())
}

/// An `a=ssrc-group` line; the semantics are upper case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SsrcGroup {
    pub semantics: String,
    pub ssrcs: Vec<u32>,
}

impl SsrcGroup {
    pub(crate) fn parse(value: &str) -> Result<Self, Malformed> {
        let mut parts = words(value);
        let semantics = parts.next().unwrap_or_default();
        let ssrcs: Option<Vec<u32>> = parts.take(MAX_MEMBERS).map(ssrc).collect();
        match ssrcs {
            Some(ssrcs) if is_short_token(semantics) => Ok(Self { semantics: semantics.to_ascii_uppercase(), ssrcs }),
            _ => malformed("an ssrc-group is <semantics> <ssrc> ..."),
        }
    }
}

/// An `a=rid` line: one encoding of a simulcast.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rid<'a> {
    pub id: &'a str,
    /// "send" or "recv".
    pub direction: &'a str,
    pub restrictions: &'a str,
}

impl<'a> Rid<'a> {
    pub(crate) fn parse(value: &'a str) -> Result<Self, Malformed> {
        let (id, rest) = first_word(value);
        let (direction, restrictions) = first_word(rest);
        if !is_rid(id) || !matches!(direction, "send" | "recv") {
            return malformed("a rid is <id> <send|recv> [<restrictions>] (RFC 8851)");
        }
        Ok(Self { id, direction, restrictions: trim(restrictions) })
    }
}

/// The streams of one direction, each with its alternative rids.
type Alternatives<'a> = Vec<Vec<&'a str>>;

/// An `a=simulcast` line; a leading "~" of a rid (paused at first) is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Simulcast<'a> {
    pub send: Alternatives<'a>,
    pub receive: Alternatives<'a>,
}

impl<'a> Simulcast<'a> {
    pub(crate) fn parse(value: &'a str) -> Result<Self, Malformed> {
        let parts: Vec<&str> = words(value).take(5).collect();
        if !matches!(parts.len(), 2 | 4) {
            return malformed("a simulcast is <send|recv> <rids> [<send|recv> <rids>] (RFC 8853)");
        }
        let (mut send, mut receive) = (None, None);
        for pair in parts.chunks(2) {
            let streams: Alternatives<'_> =
                pair[1].split(';').take(MAX_MEMBERS).map(|stream| stream.split(',').collect()).collect();
            let found = match pair[0] {
                "send" => &mut send,
                "recv" => &mut receive,
                _ => return malformed("a simulcast names send and recv once at most"),
            };
            if !streams.iter().flatten().all(|rid| is_rid(rid.strip_prefix('~').unwrap_or(rid))) {
                return malformed("a rid of the simulcast is malformed");
            }
            if found.replace(streams).is_some() {
                return malformed("a simulcast names send and recv once at most");
            }
        }
        Ok(Self { send: send.unwrap_or_default(), receive: receive.unwrap_or_default() })
    }
}
