//! One `m=` section, and its codecs.

use super::candidate::Candidate;
use super::crypto::Crypto;
use super::description::{Direction, Level};
use super::static_payloads::STATIC_PAYLOADS;
use super::streams::{Rid, Simulcast, SsrcGroup, Ssrcs};

/// Parameters of a format in order: lower-case name and value; a parameter without `=` keeps its case.
pub type Fmtp<'a> = Vec<(String, &'a str)>;

/// A payload type with its rtpmap, fmtp and rtcp-fb lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Codec<'a> {
    pub pt: u8,
    pub name: &'a str,
    pub clock_rate: u32,
    pub channels: u8,
    pub fmtp: &'a [(String, &'a str)],
    /// In order, each once.
    pub feedback: Vec<&'a str>,
}

/// A section. `level` holds what the session level says, too, where the section does not say it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Section<'a> {
    pub level: Level<'a>,
    /// Lower case.
    pub kind: String,
    pub port: u16,
    /// Upper case.
    pub protocol: String,
    pub formats: Vec<&'a str>,
    /// Where the section began, 1-based.
    pub line: usize,
    pub title: Option<&'a str>,
    pub mid: Option<&'a str>,
    pub(crate) rtpmaps: Vec<(u8, (&'a str, u32, u8))>,
    pub(crate) fmtps: Vec<(u8, Fmtp<'a>)>,
    /// By the decimal payload type or "*".
    pub(crate) feedback: Vec<(String, Vec<String>)>,
    pub rtcp_mux: bool,
    pub rtcp_mux_only: bool,
    pub rtcp_rsize: bool,
    pub rtcp_port: Option<u16>,
    pub rtcp_address: Option<&'a str>,
    pub cryptos: Vec<Crypto<'a>>,
    pub candidates: Vec<Candidate<'a>>,
    pub end_of_candidates: bool,
    pub ssrcs: Ssrcs<'a>,
    pub ssrc_groups: Vec<SsrcGroup>,
    pub msid: Option<&'a str>,
    pub rids: Vec<Rid<'a>>,
    pub simulcast: Option<Simulcast<'a>>,
    pub bundle_only: bool,
}

impl Section<'_> {
    /// True for the RTP profiles, whatever carries them.
    pub fn is_rtp(&self) -> bool {
        self.protocol.contains("RTP/")
    }

    /// The direction in force.
    pub fn direction(&self) -> Direction {
        self.level.direction.unwrap_or(Direction::Sendrecv)
    }

    /// The codecs whose payload type is known, in the writer's order.
    pub fn codecs(&self) -> Vec<Codec<'_>> {
        if !self.is_rtp() {
            return Vec::new();
        }
        self.formats.iter().filter_map(|text| self.codec(text)).collect()
    }

    fn codec(&self, text: &str) -> Option<Codec<'_>> {
        let pt = text.parse().ok()?;
        let mapped = self.rtpmaps.iter().find(|(of, _)| *of == pt).map(|(_, found)| *found);
        let (name, clock_rate, channels) = mapped.or_else(|| static_payload(pt))?;
        let fmtp = self.fmtps.iter().find(|(of, _)| *of == pt).map_or(&[][..], |(_, found)| found);
        let mut feedback: Vec<&str> = Vec::new();
        for (_, entries) in [text, "*"].iter().filter_map(|key| self.feedback.iter().find(|(of, _)| of == key)) {
            for entry in entries {
                if !feedback.contains(&entry.as_str()) {
                    feedback.push(entry);
                }
            }
        }
        Some(Codec { pt, name, clock_rate, channels, fmtp, feedback })
    }
}

fn static_payload(pt: u8) -> Option<(&'static str, u32, u8)> {
    let index = STATIC_PAYLOADS.binary_search_by_key(&pt, |known| known.0).ok()?;
    let (_, name, clock_rate, channels) = STATIC_PAYLOADS[index];
    Some((name, clock_rate, channels))
}

/// The entry of `key`, which is appended where there is none.
pub(crate) fn entry<K: PartialEq, V: Default>(table: &mut Vec<(K, V)>, key: K) -> &mut V {
    let index = table.iter().position(|(of, _)| *of == key).unwrap_or_else(|| {
        table.push((key, V::default()));
        table.len() - 1
    });
    &mut table[index].1
}
