//! The ICE agent of one transport: answers checks, challenges tuples, selects a path, watches consent.

use std::collections::VecDeque;
use std::time::Duration;

use aws_lc_rs::hmac;

use super::credentials::{LocalCredentials, RemoteCredentials};
use super::tuple::{CONSENT_LIFE, Due, Tuple};
use crate::error::Drop;
use crate::io::{Path, TransmitQueue};
use crate::stun::{Class, Message, TransactionId, Writer, attribute, method};
use crate::time::Time;

const MAX_UNPROVEN: usize = 4;
const MAX_PROVEN: usize = 8;
/// An unproven tuple that was silent for so long gives way to a new one.
const UNPROVEN_GIVES_WAY: Duration = Duration::from_secs(2);
/// How long a nomination outweighs media that still arrives on another tuple.
const NOMINATION_HOLDS: Duration = Duration::from_millis(1000);
/// RFC 8445 §5.1.2.1: type preference of peer-reflexive, highest local preference, component 1.
const PRIORITY: u32 = 110 << 24 | 0xffff << 8 | 0xff;

/// What an agent tells its transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IceEvent {
    /// A new tuple passed an authenticated check.
    Bound(Path),
    /// A tuple has answered a challenge for the first time.
    Proven(Path),
    /// A tuple is forgotten.
    Unbound(Path),
    /// Media goes to this (proven) tuple from now on.
    Selected(Path),
    /// 30 s without any valid check or response (RFC 7675 §5.1).
    ConsentExpired,
}

/// The peer's credentials and the USERNAME of our requests that goes with them.
#[derive(Clone, Debug)]
struct Remote {
    credentials: RemoteCredentials,
    username: Vec<u8>,
}

/// ICE-lite agent of one component; always controlled (RFC 8445 §6.1.1), so there are no role conflicts to solve.
#[derive(Debug)]
pub struct Agent {
    secret: hmac::Key,
    transactions: u64,
    local: LocalCredentials,
    /// Credentials before the restart and how long they still count.
    previous: Option<(LocalCredentials, Time)>,
    remote: Option<Remote>,
    tuples: Vec<Tuple>,
    selected: Option<Path>,
    selected_by_nomination_at: Option<Time>,
    nomination: Option<u32>,
    consent_ends: Time,
    round_trip: Option<Duration>,
    next_due: Time,
    events: VecDeque<IceEvent>,
}

impl Agent {
    /// An agent that waits for checks. `seed` are 32 random bytes; transaction ids are derived of it.
    pub fn new(local: LocalCredentials, seed: &[u8; 32]) -> Agent {
        Agent {
            secret: hmac::Key::new(hmac::HMAC_SHA256, seed),
            transactions: 0,
            local,
            previous: None,
            remote: None,
            tuples: Vec::with_capacity(MAX_UNPROVEN + MAX_PROVEN),
            selected: None,
            selected_by_nomination_at: None,
            nomination: None,
            consent_ends: Time::FAR_FUTURE,
            round_trip: None,
            next_due: Time::FAR_FUTURE,
            events: VecDeque::new(),
        }
    }

    /// Takes the peer's credentials (first ones or those of a restart) and challenges every tuple not yet proven:
    /// a browser's checks may well come before its description.
    pub fn set_remote(&mut self, credentials: RemoteCredentials, now: Time, out: &mut TransmitQueue) {
        let username = [credentials.ufrag().as_bytes(), b":", self.local.ufrag().as_bytes()].concat();
        let changed = self.remote.as_ref().is_none_or(|remote| {
            remote.username != username || remote.credentials.password() != credentials.password()
        });
        if !changed {
            return;
        }
        self.remote = Some(Remote { credentials, username });
        self.nomination = None;
        if self.consent_ends == Time::FAR_FUTURE {
            self.consent_ends = now + CONSENT_LIFE;
        }
        for at in 0..self.tuples.len() {
            // Challenges under the old credentials will not be answered any more.
            self.tuples[at].challenge = None;
            if !self.tuples[at].proven {
                self.challenge(at, now, out);
            }
        }
        self.reschedule();
    }

    /// ICE restart (RFC 8445 §9): new credentials now, the old ones honoured for `grace`; proven tuples stay proven.
    ///
    /// To be called before [`Agent::set_remote`] with the peer's new credentials: our requests name both new ufrags.
    pub fn restart(&mut self, local: LocalCredentials, grace: Duration, now: Time) {
        let old = std::mem::replace(&mut self.local, local);
        self.previous = Some((old, now + grace));
        self.reschedule();
    }

    /// Takes a STUN message from `path`; answers go to `out`. An error is the reason why it was dropped.
    pub fn handle_message(
        &mut self,
        path: Path,
        message: &Message<'_>,
        now: Time,
        out: &mut TransmitQueue,
    ) -> Result<(), Drop> {
        if message.method() != method::BINDING {
            return Err(Drop::StunUnsupported);
        }
        let result = match message.class() {
            Class::Request => self.handle_request(path, message, now, out),
            Class::Success | Class::Error => self.handle_response(path, message, now),
            // RFC 8445 §11: a keepalive; it proves nothing.
            Class::Indication if self.is_bound(path) => Ok(()),
            Class::Indication => Err(Drop::UnboundTuple),
        };
        self.reschedule();
        result
    }

    fn handle_request(
        &mut self,
        path: Path,
        message: &Message<'_>,
        now: Time,
        out: &mut TransmitQueue,
    ) -> Result<(), Drop> {
        let ufrag = message.receiver_ufrag().ok_or(Drop::StunIncomplete)?;
        let local = if ufrag == self.local.ufrag().as_bytes() {
            &self.local
        } else {
            match &self.previous {
                Some((previous, until)) if now < *until && ufrag == previous.ufrag().as_bytes() => previous,
                _ => return Err(Drop::StunUnknownUfrag),
            }
        };
        // RFC 8489 §9.1.3 would answer 400 or 401 to these; an unauthenticated datagram gets no answer from us at all.
        if !message.verify_integrity(local.key()) {
            return Err(Drop::StunBadIntegrity);
        }
        let key = local.key().clone();
        if !message.unknown_required().is_empty() {
            push(out, path, |bytes| {
                Writer::new(bytes, Class::Error, method::BINDING, message.transaction())
                    .error_code(420, "Unknown Attribute")
                    .unknown_attributes(message.unknown_required())
                    .integrity(&key)
                    .fingerprint();
            });
            return Err(Drop::StunUnsupported);
        }
        let at = self.bind(path, now)?;
        push(out, path, |bytes| {
            Writer::new(bytes, Class::Success, method::BINDING, message.transaction())
                .xor_mapped_address(path.remote)
                .integrity(&key)
                .fingerprint();
        });
        self.heard(at, now);
        if message.use_candidate() && self.is_newest_nomination(message.nomination()) {
            self.tuples[at].nominated_at = Some(now);
            if self.tuples[at].proven {
                self.select(path, Some(now));
            }
        }
        if !self.tuples[at].proven && self.tuples[at].may_challenge(now) {
            self.challenge(at, now, out);
        }
        Ok(())
    }

    fn handle_response(&mut self, path: Path, message: &Message<'_>, now: Time) -> Result<(), Drop> {
        // RFC 8445 §7.2.5.2.1: the response must come from where the request went.
        let at = self
            .tuples
            .iter()
            .position(|tuple| {
                tuple.path == path && tuple.challenge.is_some_and(|c| c.transaction == message.transaction())
            })
            .ok_or(Drop::StunUnknownTransaction)?;
        let remote = self.remote.as_ref().ok_or(Drop::StunUnknownTransaction)?;
        if !message.verify_integrity(remote.credentials.key()) {
            return Err(Drop::StunBadIntegrity);
        }
        if message.class() == Class::Error {
            return Err(Drop::StunErrorResponse);
        }
        let was_proven = self.tuples[at].proven;
        if let Some(sample) = self.tuples[at].answered(now) {
            self.round_trip = Some(self.round_trip.map_or(sample, |smooth| (smooth * 7 + sample) / 8));
        }
        self.heard(at, now);
        if !was_proven {
            self.events.push_back(IceEvent::Proven(path));
            let nominated_at = self.tuples[at].nominated_at;
            self.make_room_for_proven(path);
            let current = self.selected.and_then(|path| self.find(path)).map(|at| self.tuples[at].nominated_at);
            // Nominated last wins; without any nomination the first proven tuple stays.
            if current.is_none_or(|current| nominated_at > current) {
                self.select(path, nominated_at);
            }
        }
        Ok(())
    }

    /// Authenticated media with a new highest index came from `path`: the peer itself sends there now.
    pub fn heard_media(&mut self, path: Path, now: Time) {
        if self.selected == Some(path) {
            return;
        }
        let held = self.selected_by_nomination_at.is_some_and(|at| now.since(at) < NOMINATION_HOLDS);
        if !held && self.find(path).is_some_and(|at| self.tuples[at].proven) {
            self.select(path, None);
            self.reschedule();
        }
    }

    /// A tuple is gone for good. Consent still lasts as long as after the last valid check: the peer may come by another way.
    pub fn forget(&mut self, path: Path) {
        if let Some(at) = self.find(path) {
            self.remove(at);
            self.reschedule();
        }
    }

    /// An Edge is lost, or shall be left: where media goes over its link, and another proven tuple does not, media goes there
    /// from now on. Nothing is forgotten, for the Edge may come back. Whether media went over the link.
    pub fn leave_link(&mut self, link: u32) -> bool {
        if !self.uses_link(link) {
            return false;
        }
        let others = self.tuples.iter().filter(|tuple| tuple.proven && tuple.path.socket.link() != Some(link));
        if let Some(path) = others.max_by_key(|tuple| tuple.last_valid).map(|tuple| tuple.path) {
            self.select(path, None);
            self.reschedule();
        }
        true
    }

    /// Forgets the tuples over an Edge's link when media goes elsewhere.
    pub fn forget_link(&mut self, link: u32) {
        if self.selected.is_none() || self.uses_link(link) {
            return;
        }
        while let Some(at) = self.tuples.iter().position(|tuple| tuple.path.socket.link() == Some(link)) {
            self.remove(at);
        }
        self.reschedule();
    }

    /// Whether media goes over an Edge's link.
    pub fn uses_link(&self, link: u32) -> bool {
        self.selected.is_some_and(|path| path.socket.link() == Some(link))
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Time, out: &mut TransmitQueue) {
        if self.next_due > now {
            return;
        }
        if self.previous.as_ref().is_some_and(|(_, until)| *until <= now) {
            self.previous = None;
        }
        let mut at = 0;
        while at < self.tuples.len() {
            let path = self.tuples[at].path;
            match self.tuples[at].due(now, self.selected == Some(path)) {
                Due::Expire => {
                    self.remove(at);
                    continue;
                }
                Due::Retransmit(transaction) => self.send_challenge(path, transaction, out),
                Due::Check => self.challenge(at, now, out),
                Due::Nothing => {}
            }
            at += 1;
        }
        if self.consent_ends <= now {
            self.consent_ends = Time::FAR_FUTURE;
            self.events.push_back(IceEvent::ConsentExpired);
        }
        self.reschedule();
    }

    /// When [`Agent::handle_timeout`] is due; [`Time::FAR_FUTURE`] when never.
    pub fn poll_timeout(&self) -> Time {
        self.next_due
    }

    /// The oldest event not yet taken.
    pub fn poll_event(&mut self) -> Option<IceEvent> {
        self.events.pop_front()
    }

    /// Where media goes: a proven tuple.
    pub fn selected(&self) -> Option<Path> {
        self.selected
    }

    /// Whether an authenticated check came from this tuple.
    pub fn is_bound(&self, path: Path) -> bool {
        self.selected == Some(path) || self.find(path).is_some()
    }

    /// Whether a tuple has answered a challenge.
    pub fn is_proven(&self, path: Path) -> bool {
        self.find(path).is_some_and(|at| self.tuples[at].proven)
    }

    /// All tuples.
    pub fn paths(&self) -> impl Iterator<Item = Path> + '_ {
        self.tuples.iter().map(|tuple| tuple.path)
    }

    /// Current local credentials.
    pub fn local(&self) -> &LocalCredentials {
        &self.local
    }

    /// The peer's credentials, once known.
    pub fn remote(&self) -> Option<&RemoteCredentials> {
        self.remote.as_ref().map(|remote| &remote.credentials)
    }

    /// Smoothed round trip of our own checks.
    pub fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    fn find(&self, path: Path) -> Option<usize> {
        self.tuples.iter().position(|tuple| tuple.path == path)
    }

    /// The place of a tuple, made when it is new. An unproven one never evicts a proven one.
    fn bind(&mut self, path: Path, now: Time) -> Result<usize, Drop> {
        if let Some(at) = self.find(path) {
            return Ok(at);
        }
        if self.tuples.iter().filter(|tuple| !tuple.proven).count() >= MAX_UNPROVEN {
            let oldest = self
                .tuples
                .iter()
                .enumerate()
                .filter(|(_, tuple)| !tuple.proven && now.since(tuple.last_valid) >= UNPROVEN_GIVES_WAY)
                .min_by_key(|(_, tuple)| tuple.last_valid)
                .map(|(at, _)| at)
                .ok_or(Drop::TupleTableFull)?;
            self.remove(oldest);
        }
        self.tuples.push(Tuple::new(path, now));
        self.events.push_back(IceEvent::Bound(path));
        Ok(self.tuples.len() - 1)
    }

    /// Keeps the number of proven tuples in its bound: the one heard least recently goes, never the selected or new one.
    fn make_room_for_proven(&mut self, new: Path) {
        if self.tuples.iter().filter(|tuple| tuple.proven).count() <= MAX_PROVEN {
            return;
        }
        let oldest = self
            .tuples
            .iter()
            .enumerate()
            .filter(|(_, tuple)| tuple.proven && tuple.path != new && Some(tuple.path) != self.selected)
            .min_by_key(|(_, tuple)| tuple.last_valid)
            .map(|(at, _)| at);
        if let Some(at) = oldest {
            self.remove(at);
        }
    }

    /// Forgets a tuple; when it was the selected one, the proven tuple heard last takes over.
    fn remove(&mut self, at: usize) {
        let path = self.tuples.swap_remove(at).path;
        self.events.push_back(IceEvent::Unbound(path));
        if self.selected == Some(path) {
            self.selected = None;
            self.selected_by_nomination_at = None;
            let next = self.tuples.iter().filter(|tuple| tuple.proven).max_by_key(|tuple| tuple.last_valid);
            if let Some(next) = next.map(|tuple| tuple.path) {
                self.select(next, None);
            }
        }
    }

    fn select(&mut self, path: Path, nominated_at: Option<Time>) {
        self.selected_by_nomination_at = nominated_at;
        if self.selected != Some(path) {
            self.selected = Some(path);
            self.events.push_back(IceEvent::Selected(path));
        }
    }

    /// draft-thatcher-ice-renomination: a lower number than one seen is an old request; without numbers each one counts.
    fn is_newest_nomination(&mut self, number: Option<u32>) -> bool {
        let newest = number >= self.nomination || number.is_none();
        if newest && number.is_some() {
            self.nomination = number;
        }
        newest
    }

    fn heard(&mut self, at: usize, now: Time) {
        // RFC 7675 §5.1: 5 s, give or take 20 percent.
        let jitter = hmac::sign(&self.secret, &now.0.to_be_bytes()).as_ref()[0];
        self.tuples[at].heard(now, Duration::from_millis(4000 + u64::from(jitter) * 2000 / 255));
        self.consent_ends = now + CONSENT_LIFE;
    }

    fn challenge(&mut self, at: usize, now: Time, out: &mut TransmitQueue) {
        if self.remote.is_some() {
            let transaction = self.next_transaction();
            self.tuples[at].start_challenge(transaction, now);
            self.send_challenge(self.tuples[at].path, transaction, out);
        }
    }

    fn send_challenge(&self, path: Path, transaction: TransactionId, out: &mut TransmitQueue) {
        let Some(remote) = &self.remote else { return };
        let tie_breaker = hmac::sign(&self.secret, b"tie breaker");
        push(out, path, |bytes| {
            Writer::new(bytes, Class::Request, method::BINDING, transaction)
                .username(&remote.username)
                .attribute(attribute::ICE_CONTROLLED, &tie_breaker.as_ref()[..8])
                .priority(PRIORITY)
                .integrity(remote.credentials.key())
                .fingerprint();
        });
    }

    fn next_transaction(&mut self) -> TransactionId {
        self.transactions += 1;
        let tag = hmac::sign(&self.secret, &self.transactions.to_be_bytes());
        let mut id = [0u8; 12];
        id.copy_from_slice(&tag.as_ref()[..12]);
        TransactionId(id)
    }

    fn reschedule(&mut self) {
        let tuples = self.tuples.iter().map(|tuple| tuple.next_due(self.selected == Some(tuple.path)));
        let grace = self.previous.as_ref().map_or(Time::FAR_FUTURE, |(_, until)| *until);
        self.next_due = tuples.min().unwrap_or(Time::FAR_FUTURE).min(grace).min(self.consent_ends);
    }
}

fn push(out: &mut TransmitQueue, path: Path, write: impl FnOnce(&mut Vec<u8>)) {
    let Ok(()) = out.push_with(path, |bytes| {
        write(bytes);
        Ok::<(), std::convert::Infallible>(())
    });
}
