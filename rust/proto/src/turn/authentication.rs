//! The long-term credential mechanism (RFC 8489 §9.2).

use std::net::SocketAddr;
use std::time::Duration;

use super::drops::TurnDrop;
use super::nonce::{NONCE_LEN, Nonces};
use super::quota::UserKey;
use super::users::{Algorithm, Candidate, LongTermKey, Name, Users};
use crate::stun::{Message, Writer, attribute};
use crate::time::Time;

/// RFC 8489 §14.3: USERNAME has less than 509 bytes.
const MOST_USERNAME: usize = 508;
/// PASSWORD-ALGORITHMS as it is sent: SHA-256, then MD5, neither with parameters (RFC 8489 §14.11).
const ALGORITHMS: &[u8; 8] = &[0, 2, 0, 0, 0, 1, 0, 0];

/// Who sent a request, as it has proven.
#[derive(Clone, Copy, Debug)]
pub(super) struct Identity {
    /// Its whole name.
    pub(super) username: UserKey,
    /// What quotas know it by.
    pub(super) quota: UserKey,
    pub(super) key: LongTermKey,
    is_named: bool,
    /// Whether the answer is signed with MESSAGE-INTEGRITY-SHA256.
    pub(super) is_sha256: bool,
}

impl Identity {
    /// Signs an answer as its request was.
    pub(super) fn sign<'a>(&self, writer: Writer<'a>) -> Writer<'a> {
        if self.is_sha256 { writer.integrity_sha256(&self.key.sha256()) } else { writer.integrity(&self.key.sha1()) }
    }

    /// As the owner of an allocation.
    pub(super) fn holder(&self) -> Holder {
        Holder { username: self.username, quota: self.quota, key: (!self.is_named).then_some(self.key) }
    }
}

/// Who owns the allocation that a request is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Holder {
    pub(super) username: UserKey,
    pub(super) quota: UserKey,
    /// Of one whose name says until when it counts. Who is named has none: the next request is judged by the users that there
    /// are then.
    key: Option<LongTermKey>,
}

/// Checks requests.
#[derive(Debug)]
pub(super) struct Authenticator {
    pub(super) users: Users,
    nonces: Nonces,
    /// Time of the Unix epoch at `Time::ZERO`.
    unix_epoch: Duration,
}

impl Authenticator {
    pub(super) fn new(users: Users, secret: &[u8; 32], unix_epoch: Duration) -> Authenticator {
        Authenticator { users, nonces: Nonces::new(secret), unix_epoch }
    }

    /// Who sent a request; else why it is refused. `holder` owns the allocation of the 5-tuple: a key that it has counts on
    /// when the time of its name is over, so that a call outlasts the credentials that it began with.
    pub(super) fn check(
        &self,
        message: &Message<'_>,
        remote: SocketAddr,
        now: Time,
        holder: Option<Holder>,
    ) -> Result<Identity, TurnDrop> {
        if !message.has_integrity() && !message.has_integrity_sha256() {
            return Err(TurnDrop::Unauthenticated);
        }
        let name = read_name(message)?;
        let realm = message.attribute(attribute::REALM).ok_or(TurnDrop::BadCredentials)?;
        let nonce = message.attribute(attribute::NONCE).ok_or(TurnDrop::BadCredentials)?;
        let algorithm = read_algorithm(message)?;
        if realm != self.users.realm().as_bytes() {
            return Err(TurnDrop::WrongRealm);
        }
        let candidate = self.candidate(name, algorithm, now, holder)?;
        let is_sha256 = message.has_integrity_sha256();
        let verifies = |key: &LongTermKey| {
            if is_sha256 {
                message.verify_integrity_sha256(&key.sha256())
            } else {
                message.verify_integrity(&key.sha1())
            }
        };
        let key = candidate.keys.into_iter().flatten().find(verifies).ok_or(TurnDrop::BadIntegrity)?;
        // RFC 8489 §9.2.4: a bad nonce is told only to whom the integrity proves.
        self.nonces.check(nonce, remote, now)?;
        Ok(Identity {
            username: candidate.username,
            quota: candidate.quota,
            key,
            is_named: candidate.is_named,
            is_sha256,
        })
    }

    fn candidate(
        &self,
        name: Name<'_>,
        algorithm: Algorithm,
        now: Time,
        holder: Option<Holder>,
    ) -> Result<Candidate, TurnDrop> {
        if let (Some(Holder { username, quota, key: Some(key) }), Name::Plain(name)) = (holder, name)
            && key.algorithm == algorithm
            && username == super::users::user_key(name)
        {
            return Ok(Candidate::holding(username, quota, key));
        }
        let unix_s = (self.unix_epoch + now.since(Time::ZERO)).as_secs();
        self.users.find(name, algorithm, unix_s)
    }

    /// What a refusal says so that the next request can be right: REALM, NONCE and PASSWORD-ALGORITHMS.
    pub(super) fn challenge<'a>(&self, writer: Writer<'a>, remote: SocketAddr, now: Time) -> Writer<'a> {
        let nonce: [u8; NONCE_LEN] = self.nonces.make(remote, now);
        writer
            .attribute(attribute::REALM, self.users.realm().as_bytes())
            .attribute(attribute::NONCE, &nonce)
            .attribute(attribute::PASSWORD_ALGORITHMS, ALGORITHMS)
    }
}

fn read_name<'a>(message: &Message<'a>) -> Result<Name<'a>, TurnDrop> {
    match (message.username(), message.attribute(attribute::USERHASH)) {
        (Some(name), None) if name.len() > MOST_USERNAME => Err(TurnDrop::LongUsername),
        (Some(name), None) => Ok(Name::Plain(name)),
        (None, Some(hash)) => Ok(Name::Hash(hash.try_into().map_err(|_| TurnDrop::BadCredentials)?)),
        _ => Err(TurnDrop::BadCredentials),
    }
}

/// RFC 8489 §9.2.4: both attributes, the list as it was sent and the choice out of it; or none, which is MD5.
fn read_algorithm(message: &Message<'_>) -> Result<Algorithm, TurnDrop> {
    let list = message.attribute(attribute::PASSWORD_ALGORITHMS);
    match (message.attribute(attribute::PASSWORD_ALGORITHM), list) {
        (None, None) => Ok(Algorithm::Md5),
        (Some([0, 1, 0, 0]), Some(list)) if list == ALGORITHMS => Ok(Algorithm::Md5),
        (Some([0, 2, 0, 0]), Some(list)) if list == ALGORITHMS => Ok(Algorithm::Sha256),
        _ => Err(TurnDrop::BadCredentials),
    }
}
