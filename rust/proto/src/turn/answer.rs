//! Answers: what is signed for those who have proven who they are, and what others get, which is bounded.

use std::net::SocketAddr;

use super::authentication::Identity;
use super::drops::TurnDrop;
use super::server::{Outputs, Server};
use crate::io::Path;
use crate::stun::{Class, Message, Writer, attribute};
use crate::time::Time;

/// An answer to somebody who has proven nothing is at most so many times as long as what it answers: nobody gains by
/// asking under a victim's address.
const MOST_AMPLIFICATION: usize = 4;
/// Unknown attributes that are named in an answer.
const MOST_UNKNOWN: usize = 8;

/// A request, as answering it needs it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'m, 'a> {
    pub(super) path: Path,
    pub(super) message: &'m Message<'a>,
    /// Its length in bytes.
    pub(super) len: usize,
}

/// Why a request is refused, with what its answer tells beside the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Nothing.
    Because(TurnDrop),
    /// Attributes that are not understood.
    Unknown([u16; MOST_UNKNOWN], usize),
    /// Who takes new clients.
    TryAlternate(SocketAddr),
}

impl From<TurnDrop> for Refusal {
    fn from(reason: TurnDrop) -> Refusal {
        Refusal::Because(reason)
    }
}

impl Refusal {
    pub(super) fn reason(&self) -> TurnDrop {
        match self {
            Refusal::Because(reason) => *reason,
            Refusal::Unknown(..) => TurnDrop::UnknownAttribute,
            Refusal::TryAlternate(_) => TurnDrop::Draining,
        }
    }

    fn code(&self) -> (u16, &'static str) {
        match self {
            Refusal::TryAlternate(_) => (300, "Try Alternate"),
            Refusal::Unknown(..) => (420, "Unknown Attribute"),
            Refusal::Because(reason) => code_of(*reason),
        }
    }
}

/// RFC 8489 §14.8, RFC 8656 §19, RFC 8016 §3.2: the code of each reason. Those that are told before anything is proven
/// have no phrase, which keeps them short.
fn code_of(reason: TurnDrop) -> (u16, &'static str) {
    match reason {
        TurnDrop::Unauthenticated
        | TurnDrop::WrongRealm
        | TurnDrop::UnknownUser
        | TurnDrop::ExpiredCredentials
        | TurnDrop::BadIntegrity => (401, ""),
        TurnDrop::StaleNonce | TurnDrop::ForeignNonce => (438, ""),
        TurnDrop::BadCredentials | TurnDrop::LongUsername => (400, ""),
        TurnDrop::PeerDenied => (403, "Forbidden"),
        TurnDrop::Mobility => (405, "Mobility Forbidden"),
        TurnDrop::UnknownAttribute => (420, "Unknown Attribute"),
        TurnDrop::Mismatch => (437, "Allocation Mismatch"),
        TurnDrop::Family => (440, "Address Family not Supported"),
        TurnDrop::WrongUser => (441, "Wrong Credentials"),
        TurnDrop::Transport => (442, "Unsupported Transport Protocol"),
        TurnDrop::PeerFamily => (443, "Peer Address Family Mismatch"),
        TurnDrop::UserQuota => (486, "Allocation Quota Reached"),
        TurnDrop::TotalQuota | TurnDrop::NoPort | TurnDrop::TableFull | TurnDrop::Draining => {
            (508, "Insufficient Capacity")
        }
        _ => (400, "Bad Request"),
    }
}

impl Server {
    /// RFC 8489 §6.3.1: what a client's address looks like from here.
    pub(super) fn answer_binding(
        &mut self,
        path: Path,
        message: &Message<'_>,
        len: usize,
        now: Time,
        out: &mut Outputs<'_, '_>,
    ) -> Result<(), TurnDrop> {
        let asked = Asked { path, message, len };
        let (unknown, count) = unknown_attributes(message);
        if count > 0 {
            let refusal = Refusal::Unknown(unknown, count);
            self.drops.count(refusal.reason());
            return self.answer_stranger(asked, now, out, Class::Error, |_, writer| refuse(writer, &refusal));
        }
        self.answer_stranger(asked, now, out, Class::Success, |_, writer| writer.xor_mapped_address(path.remote))
    }

    /// Refuses somebody who has proven nothing.
    pub(super) fn refuse_stranger(
        &mut self,
        asked: Asked<'_, '_>,
        reason: TurnDrop,
        now: Time,
        out: &mut Outputs<'_, '_>,
    ) -> Result<(), TurnDrop> {
        let refusal = Refusal::Because(reason);
        self.answer_stranger(asked, now, out, Class::Error, |server, writer| {
            let writer = refuse(writer, &refusal);
            match refusal.code().0 {
                401 | 438 => server.authenticator.challenge(writer, asked.path.remote, now),
                _ => writer,
            }
        })
    }

    fn answer_stranger(
        &mut self,
        asked: Asked<'_, '_>,
        now: Time,
        out: &mut Outputs<'_, '_>,
        class: Class,
        write: impl for<'w> FnOnce(&Server, Writer<'w>) -> Writer<'w>,
    ) -> Result<(), TurnDrop> {
        if !self.answer_limit.admit(asked.path.remote.ip(), now) {
            return Err(TurnDrop::AnswerLimited);
        }
        out.transmit.push_with(asked.path, |bytes| {
            let start = bytes.len();
            let writer = Writer::new(bytes, class, asked.message.method(), asked.message.transaction());
            let writer = write(self, writer);
            finish(writer, asked.message);
            let fits = bytes.len() - start <= MOST_AMPLIFICATION * asked.len;
            if fits { Ok(()) } else { Err(TurnDrop::Amplification) }
        })
    }

    /// Refuses somebody who has proven who he is.
    pub(super) fn refuse(
        &mut self,
        asked: Asked<'_, '_>,
        identity: &Identity,
        refusal: &Refusal,
        out: &mut Outputs<'_, '_>,
    ) {
        answer(asked, Class::Error, identity, out, |writer| refuse(writer, refusal));
    }
}

/// Answers somebody who has proven who he is.
pub(super) fn answer(
    asked: Asked<'_, '_>,
    class: Class,
    identity: &Identity,
    out: &mut Outputs<'_, '_>,
    write: impl for<'w> FnOnce(Writer<'w>) -> Writer<'w>,
) {
    let written: Result<(), TurnDrop> = out.transmit.push_with(asked.path, |bytes| {
        let writer = Writer::new(bytes, class, asked.message.method(), asked.message.transaction());
        finish(identity.sign(write(writer)), asked.message);
        Ok(())
    });
    debug_assert!(written.is_ok());
}

fn refuse<'w>(writer: Writer<'w>, refusal: &Refusal) -> Writer<'w> {
    let (code, phrase) = refusal.code();
    let writer = writer.error_code(code, phrase);
    match refusal {
        Refusal::Because(_) => writer,
        Refusal::Unknown(kinds, count) => writer.unknown_attributes(&kinds[..*count]),
        Refusal::TryAlternate(server) => writer.address(attribute::ALTERNATE_SERVER, *server),
    }
}

/// Ends an answer; with FINGERPRINT where the request has one (RFC 8489 §6.3.1).
fn finish(writer: Writer<'_>, request: &Message<'_>) {
    if request.has_fingerprint() { writer.fingerprint() } else { writer.finish() }
}

/// Attributes of a request that must be understood and are not (RFC 8489 §6.3.1), and how many they are.
pub(super) fn unknown_attributes(message: &Message<'_>) -> ([u16; MOST_UNKNOWN], usize) {
    let (mut kinds, mut count) = ([0; MOST_UNKNOWN], 0);
    let unknown = message.attributes().map(|attribute| attribute.kind).filter(|&kind| kind < 0x8000 && !is_known(kind));
    for (place, kind) in kinds.iter_mut().zip(unknown) {
        *place = kind;
        count += 1;
    }
    (kinds, count)
}

/// DONT-FRAGMENT is not: a server that cannot set the bit says so by not knowing it (RFC 8656 §18.9).
fn is_known(kind: u16) -> bool {
    use attribute::*;
    matches!(
        kind,
        // RFC 8489 §14.1: MAPPED-ADDRESS.
        0x0001
            | USERNAME
            | ERROR_CODE
            | UNKNOWN_ATTRIBUTES
            | CHANNEL_NUMBER
            | LIFETIME
            | XOR_PEER_ADDRESS
            | DATA
            | REALM
            | NONCE
            | XOR_RELAYED_ADDRESS
            | REQUESTED_ADDRESS_FAMILY
            | EVEN_PORT
            | REQUESTED_TRANSPORT
            | PASSWORD_ALGORITHM
            | USERHASH
            | XOR_MAPPED_ADDRESS
            | RESERVATION_TOKEN
            | PRIORITY
            | USE_CANDIDATE
    )
}
