//! A session description as it was read: the session level, and what may stand at both levels.

use super::section::Section;

/// Which way media flows, seen from the side that wrote the description (RFC 8866 §6.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    Sendrecv,
    Sendonly,
    Recvonly,
    Inactive,
}

impl Direction {
    /// The direction of an attribute's name.
    pub(crate) fn of(name: &str) -> Option<Self> {
        match name {
            "sendrecv" => Some(Self::Sendrecv),
            "sendonly" => Some(Self::Sendonly),
            "recvonly" => Some(Self::Recvonly),
            "inactive" => Some(Self::Inactive),
            _ => None,
        }
    }
}

/// The role in setting up a connection (RFC 4145 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setup {
    Actpass,
    Active,
    Passive,
    Holdconn,
}

impl Setup {
    /// The role as it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Actpass => "actpass",
            Self::Active => "active",
            Self::Passive => "passive",
            Self::Holdconn => "holdconn",
        }
    }

    pub(crate) fn of(text: &str) -> Option<Self> {
        [Self::Actpass, Self::Active, Self::Passive, Self::Holdconn]
            .into_iter()
            .find(|setup| text.eq_ignore_ascii_case(setup.as_str()))
    }
}

/// The `o=` line; ids are texts, because some peers exceed 64 bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin<'a> {
    pub username: &'a str,
    pub session_id: &'a str,
    pub version: &'a str,
    pub address: &'a str,
}

/// A `b=` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bandwidth<'a> {
    pub kind: &'a str,
    pub value: u128,
}

/// A `t=` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timing {
    pub start: u128,
    pub stop: u128,
}

/// An `a=` line that has no field of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute<'a> {
    pub name: &'a str,
    pub value: Option<&'a str>,
}

/// An RTP header extension (RFC 8285 §8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extension<'a> {
    pub id: u16,
    pub uri: &'a str,
    pub direction: Option<Direction>,
    pub attributes: &'a str,
}

/// The hash of a DTLS certificate (RFC 8122 §5); the algorithm is lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    pub algorithm: String,
    pub value: Vec<u8>,
}

/// An `a=group` line (RFC 5888 §5); the semantics are upper case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group<'a> {
    pub semantics: String,
    pub mids: Vec<&'a str>,
}

/// What may stand at the session level and in a section.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Level<'a> {
    pub connection: Option<&'a str>,
    pub bandwidth: Vec<Bandwidth<'a>>,
    pub direction: Option<Direction>,
    pub ice_ufrag: Option<&'a str>,
    pub ice_pwd: Option<&'a str>,
    pub ice_options: Vec<&'a str>,
    pub fingerprints: Vec<Fingerprint>,
    pub setup: Option<Setup>,
    pub extensions: Vec<Extension<'a>>,
    pub extmap_allow_mixed: bool,
    /// Milliseconds.
    pub ptime: Option<u16>,
    pub maxptime: Option<u16>,
    pub attributes: Vec<Attribute<'a>>,
    pub(crate) attribute_count: usize,
}

impl Level<'_> {
    /// Take from the session level what it says for all sections and this one does not say itself.
    pub(crate) fn inherit(&mut self, session: &Self) {
        self.connection = self.connection.or(session.connection);
        self.ice_ufrag = self.ice_ufrag.or(session.ice_ufrag);
        self.ice_pwd = self.ice_pwd.or(session.ice_pwd);
        self.direction = self.direction.or(session.direction);
        self.setup = self.setup.or(session.setup);
        self.extmap_allow_mixed |= session.extmap_allow_mixed;
        self.ptime = self.ptime.or(session.ptime);
        self.maxptime = self.maxptime.or(session.maxptime);
        if self.fingerprints.is_empty() {
            self.fingerprints.clone_from(&session.fingerprints);
        }
        if self.extensions.is_empty() {
            self.extensions.clone_from(&session.extensions);
        }
    }
}

/// A whole description.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Session<'a> {
    pub level: Level<'a>,
    pub origin: Option<Origin<'a>>,
    pub name: Option<&'a str>,
    pub timing: Vec<Timing>,
    pub groups: Vec<Group<'a>>,
    pub ice_lite: bool,
    pub media: Vec<Section<'a>>,
}
