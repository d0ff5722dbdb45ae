//! What each attribute means: one reader per attribute.
//!
//! Whether a malformed value refuses the description or leaves the attribute as plain text is decided by the table it
//! stands in: media depends on the needed ones.

use super::candidate::Candidate;
use super::crypto::Crypto;
use super::description::{Attribute, Direction, Extension, Fingerprint, Group, Level, Session, Setup};
use super::error::{Malformed, malformed};
use super::grammar::{cut, digits, first_word, is_host, is_printable, is_short_token, payload_type, trim, words};
use super::section::{Section, entry};
use super::streams::{MAX_MEMBERS, Rid, Simulcast, SsrcGroup};

const MAX_FMTP_PARAMETERS: usize = 64;
const MAX_FEEDBACK: usize = 32;
const MAX_FINGERPRINTS: usize = 16;
const MAX_ICE_OPTIONS: usize = 16;

/// What became of an attribute.
type Taken = Result<(), Malformed>;

/// Take an attribute of the session level; an error if media depends on it and it is malformed.
pub(crate) fn session_attribute<'a>(session: &mut Session<'a>, name: &'a str, value: Option<&'a str>) -> Taken {
    let text = value.unwrap_or_default();
    let taken = match name {
        "group" => return group(text).map(|group| session.groups.push(group)),
        "ice-lite" => {
            session.ice_lite = true;
            Ok(())
        }
        _ => match needed_at_both(&mut session.level, name, text) {
            Some(taken) => return taken,
            None => other_at_both(&mut session.level, name, text),
        },
    };
    keep_unless(taken, &mut session.level, name, value);
    Ok(())
}

/// Take an attribute of a section; an error if media depends on it and it is malformed.
pub(crate) fn media_attribute<'a>(section: &mut Section<'a>, name: &'a str, value: Option<&'a str>) -> Taken {
    let text = value.unwrap_or_default();
    let taken = match name {
        "rtpmap" => return rtpmap(section, text),
        "mid" => return mid(section, text),
        "rtcp-mux" => return flag(&mut section.rtcp_mux),
        "rtcp-mux-only" => return flag(&mut section.rtcp_mux_only),
        "rtcp-rsize" => return flag(&mut section.rtcp_rsize),
        "bundle-only" => return flag(&mut section.bundle_only),
        "end-of-candidates" => return flag(&mut section.end_of_candidates),
        "fmtp" => fmtp(section, text),
        "rtcp-fb" => feedback(section, text),
        "msid" => msid(section, text),
        "rtcp" => rtcp(section, text),
        "crypto" => Crypto::parse(text).map(|crypto| section.cryptos.push(crypto)),
        "candidate" => Candidate::parse(text).map(|candidate| section.candidates.push(candidate)),
        "ssrc" => section.ssrcs.read(text),
        "ssrc-group" => SsrcGroup::parse(text).map(|group| section.ssrc_groups.push(group)),
        "rid" => Rid::parse(text).map(|rid| section.rids.push(rid)),
        "simulcast" => Simulcast::parse(text).map(|found| section.simulcast = Some(found)),
        _ => match needed_at_both(&mut section.level, name, text) {
            Some(taken) => return taken,
            None => other_at_both(&mut section.level, name, text),
        },
    };
    keep_unless(taken, &mut section.level, name, value);
    Ok(())
}

fn keep_unless<'a>(taken: Taken, level: &mut Level<'a>, name: &'a str, value: Option<&'a str>) {
    if taken.is_err() {
        level.attributes.push(Attribute { name, value });
    }
}

fn flag(place: &mut bool) -> Taken {
    *place = true;
    Ok(())
}

fn needed_at_both<'a>(level: &mut Level<'a>, name: &str, value: &'a str) -> Option<Taken> {
    if let Some(direction) = Direction::of(name) {
        level.direction = Some(direction);
        return Some(Ok(()));
    }
    match name {
        "ice-ufrag" => Some(ice_ufrag(level, value)),
        "ice-pwd" => Some(ice_pwd(level, value)),
        "fingerprint" => Some(fingerprint(level, value)),
        "setup" => Some(setup(level, value)),
        _ => None,
    }
}

fn other_at_both<'a>(level: &mut Level<'a>, name: &str, value: &'a str) -> Taken {
    match name {
        "ice-options" => {
            let options = words(value).take(MAX_ICE_OPTIONS).filter(|option| is_short_token(option));
            level.ice_options.extend(options);
        }
        "extmap" => level.extensions.push(extmap(value)?),
        "extmap-allow-mixed" => level.extmap_allow_mixed = true,
        "ptime" => level.ptime = Some(milliseconds(value)?),
        "maxptime" => level.maxptime = Some(milliseconds(value)?),
        _ => return malformed("an attribute without a field of its own"),
    }
    Ok(())
}

// RFC 8839 §5.4 has a smaller alphabet; what is printable harms nobody, what is short would be guessable.
fn ice_ufrag<'a>(level: &mut Level<'a>, value: &'a str) -> Taken {
    if !is_printable(value, 4, 256) {
        return malformed("an ICE ufrag has 4 to 256 printable characters");
    }
    level.ice_ufrag = Some(value);
    Ok(())
}

fn ice_pwd<'a>(level: &mut Level<'a>, value: &'a str) -> Taken {
    if !is_printable(value, 22, 256) {
        return malformed("an ICE password has 22 to 256 printable characters");
    }
    level.ice_pwd = Some(value);
    Ok(())
}

fn setup(level: &mut Level<'_>, value: &str) -> Taken {
    let Some(setup) = Setup::of(value) else {
        return malformed("setup is one of actpass, active, passive, holdconn");
    };
    level.setup = Some(setup);
    Ok(())
}

fn fingerprint(level: &mut Level<'_>, value: &str) -> Taken {
    let (algorithm, text) = cut(value, ' ');
    let (true, Some(value)) = (is_short_token(algorithm), hex_pairs(trim(text.unwrap_or_default()))) else {
        return malformed("a fingerprint is <hash> <hex pairs with colons>");
    };
    let algorithm = algorithm.to_ascii_lowercase();
    let wanted = match algorithm.as_str() {
        "md5" => 16,
        "sha-1" => 20,
        "sha-224" => 28,
        "sha-256" => 32,
        "sha-384" => 48,
        "sha-512" => 64,
        _ => value.len(),
    };
    if value.len() != wanted {
        return malformed("the fingerprint has not the length of its hash");
    }
    let fingerprint = Fingerprint { algorithm, value };
    if level.fingerprints.len() < MAX_FINGERPRINTS && !level.fingerprints.contains(&fingerprint) {
        level.fingerprints.push(fingerprint);
    }
    Ok(())
}

fn hex_pairs(text: &str) -> Option<Vec<u8>> {
    text.split(':')
        .map(|pair| (pair.len() == 2 && pair.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(pair))
        .map(|pair| u8::from_str_radix(pair?, 16).ok())
        .collect()
}

fn extmap(value: &str) -> Result<Extension<'_>, Malformed> {
    let (id, rest) = first_word(value);
    let (uri, attributes) = first_word(rest);
    if uri.is_empty() {
        return malformed("an extmap is <id>[/<direction>] <URI>");
    }
    let (number, way) = cut(id, '/');
    let Some(id) = digits(number).and_then(|id| u16::try_from(id).ok()).filter(|id| (1..=4351).contains(id)) else {
        return malformed("an extmap id is a number from 1 to 255, or from 4096 to 4351 in an offer");
    };
    let direction = match way {
        None | Some("") => None,
        Some(way) => match Direction::of(way) {
            None => return malformed("an extmap's direction is one of the four"),
            found => found,
        },
    };
    Ok(Extension { id, uri, direction, attributes: trim(attributes) })
}

fn milliseconds(value: &str) -> Result<u16, Malformed> {
    match digits(cut(value, '.').0) {
        Some(number @ 1..=1000) => Ok(number as u16),
        _ => malformed("a packet time is a number of milliseconds"),
    }
}

fn group(value: &str) -> Result<Group<'_>, Malformed> {
    let mut parts = words(value).take(MAX_MEMBERS + 1);
    let semantics = parts.next().unwrap_or_default();
    let mids: Vec<&str> = parts.collect();
    if !is_short_token(semantics) || !mids.iter().all(|mid| is_short_token(mid)) {
        return malformed("a group is <semantics> <mid> ...");
    }
    Ok(Group { semantics: semantics.to_ascii_uppercase(), mids })
}

fn rtpmap<'a>(section: &mut Section<'a>, value: &'a str) -> Taken {
    let (pt, encoding) = cut(value, ' ');
    let mut parts = trim(encoding.unwrap_or_default()).split('/');
    let (name, rate, channels) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
    let (Some(pt), true, Some(rate)) = (payload_type(pt), is_short_token(name), rate.and_then(digits)) else {
        return malformed("an rtpmap is <payload type> <name>/<clock rate>[/<channels>]");
    };
    let (rate, channels) = (u32::try_from(rate), u8::try_from(channels.and_then(digits).unwrap_or(1)));
    match (rate, channels) {
        (Ok(rate @ 1..), Ok(channels @ 1..)) => *entry(&mut section.rtpmaps, pt) = (name, rate, channels),
        _ => return malformed("clock rate or channels are out of range"),
    }
    Ok(())
}

fn fmtp<'a>(section: &mut Section<'a>, value: &'a str) -> Taken {
    let (pt, text) = cut(value, ' ');
    let Some(pt) = payload_type(pt) else { return malformed("an fmtp is <payload type> <parameters>") };
    let parameters = entry(&mut section.fmtps, pt);
    for item in text.unwrap_or_default().split(';') {
        let (key, content) = cut(trim(item), '=');
        // RFC 4855 §3: names of parameters are the same in any case.
        let key = if content.is_some() { trim(key).to_lowercase() } else { trim(key).to_owned() };
        let known = parameters.iter().any(|(name, _)| *name == key);
        if !key.is_empty() && !known && parameters.len() < MAX_FMTP_PARAMETERS {
            parameters.push((key, trim(content.unwrap_or_default())));
        }
    }
    Ok(())
}

fn feedback(section: &mut Section<'_>, value: &str) -> Taken {
    let (pt, text) = cut(value, ' ');
    let key = match (pt, payload_type(pt)) {
        ("*", _) => "*".to_owned(),
        (_, Some(pt)) => pt.to_string(),
        _ => return malformed("an rtcp-fb is <payload type or *> <feedback>"),
    };
    let entries = entry(&mut section.feedback, key);
    let text = words(text.unwrap_or_default()).collect::<Vec<_>>().join(" ").to_lowercase();
    if !text.is_empty() && entries.len() < MAX_FEEDBACK {
        entries.push(text);
    }
    Ok(())
}

fn mid<'a>(section: &mut Section<'a>, value: &'a str) -> Taken {
    if !is_short_token(value) {
        return malformed("a mid is a token of at most 64 characters");
    }
    section.mid = Some(value);
    Ok(())
}

/// The first counts: a track in several streams is one track to us (RFC 8830 §2).
fn msid<'a>(section: &mut Section<'a>, value: &'a str) -> Taken {
    if value.is_empty() {
        return malformed("an msid is <stream> [<track>]");
    }
    section.msid.get_or_insert(value);
    Ok(())
}

fn rtcp<'a>(section: &mut Section<'a>, value: &'a str) -> Taken {
    let parts: Vec<&str> = words(value).take(5).collect();
    let port = parts.first().and_then(|port| digits(port)).and_then(|port| u16::try_from(port).ok());
    let Some(port @ 1..) = port else {
        return malformed("an rtcp attribute is <port> [IN <IP4|IP6> <address>] (RFC 3605)");
    };
    section.rtcp_port = Some(port);
    section.rtcp_address = (parts.len() == 4 && is_host(parts[3])).then(|| parts[3]);
    Ok(())
}
