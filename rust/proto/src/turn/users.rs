//! Users and their keys (RFC 8489 §9.2): named ones, and those whose name says until when it counts.

use std::collections::HashMap;
use std::fmt;

use aws_lc_rs::{digest, hmac};
use md5::{Digest, Md5};

use super::drops::TurnDrop;
use super::quota::UserKey;
use crate::base64;

/// Secrets at a time: the one in use and the one before it, for each Core of an Edge.
pub const MOST_SECRETS: usize = 16;

/// PASSWORD-ALGORITHM (RFC 8489 §18.5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Md5 = 1,
    Sha256 = 2,
}

/// The long-term key of a user under one algorithm.
#[derive(Clone, Copy)]
pub(super) struct LongTermKey {
    bytes: [u8; 32],
    pub(super) algorithm: Algorithm,
}

impl LongTermKey {
    /// RFC 8489 §18.5.1: the hash of "username:realm:password".
    pub(super) fn new(algorithm: Algorithm, username: &[u8], realm: &str, password: &[u8]) -> LongTermKey {
        let parts = [username, b":", realm.as_bytes(), b":", password];
        let mut bytes = [0u8; 32];
        match algorithm {
            Algorithm::Md5 => {
                let mut context = Md5::new();
                parts.iter().for_each(|part| context.update(part));
                bytes[..16].copy_from_slice(&context.finalize());
            }
            Algorithm::Sha256 => bytes = sha256(&parts),
        }
        LongTermKey { bytes, algorithm }
    }

    fn bytes(&self) -> &[u8] {
        match self.algorithm {
            Algorithm::Md5 => &self.bytes[..16],
            Algorithm::Sha256 => &self.bytes,
        }
    }

    /// The key of MESSAGE-INTEGRITY.
    pub(super) fn sha1(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, self.bytes())
    }

    /// The key of MESSAGE-INTEGRITY-SHA256.
    pub(super) fn sha256(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, self.bytes())
    }
}

impl fmt::Debug for LongTermKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LongTermKey").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

pub(super) fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    parts.iter().for_each(|part| context.update(part));
    let mut bytes = [0u8; 32];
    bytes.copy_from_slice(context.finish().as_ref());
    bytes
}

/// A short name for a text of any length.
pub(super) fn user_key(text: &[u8]) -> UserKey {
    let mut key = UserKey::default();
    key.copy_from_slice(&sha256(&[text])[..16]);
    key
}

/// How a request names its user.
#[derive(Clone, Copy, Debug)]
pub(super) enum Name<'a> {
    /// USERNAME.
    Plain(&'a [u8]),
    /// USERHASH.
    Hash(&'a [u8; 32]),
}

/// A user that there is: its name, what quotas know it by, and the keys one of which is right.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) username: UserKey,
    pub(super) quota: UserKey,
    pub(super) keys: [Option<LongTermKey>; MOST_SECRETS],
    /// Whether it is there as long as it is named, and not until a time that its name says.
    pub(super) is_named: bool,
}

impl Candidate {
    /// A time-limited one of which it is known which key is right.
    pub(super) fn holding(username: UserKey, quota: UserKey, key: LongTermKey) -> Candidate {
        let mut keys = [None; MOST_SECRETS];
        keys[0] = Some(key);
        Candidate { username, quota, keys, is_named: false }
    }

    fn named(named: &Named, algorithm: Algorithm) -> Candidate {
        let mut keys = [None; MOST_SECRETS];
        keys[0] = named.keys.iter().find(|key| key.algorithm == algorithm).copied();
        Candidate { username: named.username, quota: named.username, keys, is_named: true }
    }
}

#[derive(Debug)]
struct Named {
    username: UserKey,
    keys: [LongTermKey; 2],
}

/// All users.
pub(super) struct Users {
    realm: String,
    secrets: Vec<hmac::Key>,
    named: Vec<Named>,
    by_name: HashMap<UserKey, usize>,
    by_hash: HashMap<[u8; 32], usize>,
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Users").field("named", &self.named.len()).finish_non_exhaustive()
    }
}

impl Users {
    /// `secrets` make the passwords of time-limited names, `named` are the others: name and password, both as
    /// RFC 8265 §4.2 prepares them.
    pub(super) fn new(realm: &str, secrets: &[Vec<u8>], named: &[(String, String)]) -> Users {
        let mut users = Users {
            realm: realm.to_owned(),
            secrets: Vec::new(),
            named: Vec::new(),
            by_name: HashMap::new(),
            by_hash: HashMap::new(),
        };
        users.set_secrets(secrets);
        users.set_named(named);
        users
    }

    /// Takes other named users, in place of all that there were.
    pub(super) fn set_named(&mut self, named: &[(String, String)]) {
        self.named.clear();
        self.by_name.clear();
        self.by_hash.clear();
        for (name, password) in named {
            let key = |algorithm| LongTermKey::new(algorithm, name.as_bytes(), &self.realm, password.as_bytes());
            let keys = [key(Algorithm::Md5), key(Algorithm::Sha256)];
            let username = user_key(name.as_bytes());
            self.by_name.insert(username, self.named.len());
            // RFC 8489 §14.4.
            self.by_hash.insert(sha256(&[name.as_bytes(), b":", self.realm.as_bytes()]), self.named.len());
            self.named.push(Named { username, keys });
        }
    }

    /// Takes other secrets for time-limited names, the first of which count.
    pub(super) fn set_secrets(&mut self, secrets: &[Vec<u8>]) {
        let key = |secret: &Vec<u8>| hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
        self.secrets = secrets.iter().take(MOST_SECRETS).map(key).collect();
    }

    pub(super) fn realm(&self) -> &str {
        &self.realm
    }

    /// Finds a user; `unix_s` is the time of day.
    pub(super) fn find(&self, name: Name<'_>, algorithm: Algorithm, unix_s: u64) -> Result<Candidate, TurnDrop> {
        let named = match name {
            Name::Plain(name) => self.by_name.get(&user_key(name)),
            Name::Hash(hash) => self.by_hash.get(hash),
        };
        if let Some(named) = named.and_then(|&index| self.named.get(index)) {
            return Ok(Candidate::named(named, algorithm));
        }
        match name {
            Name::Plain(name) => self.time_limited(name, algorithm, unix_s),
            // A hash cannot be turned back into a name that says until when it counts.
            Name::Hash(_) => Err(TurnDrop::UnknownUser),
        }
    }

    /// draft-uberti-behave-turn-rest §2.2: "expiry:session", with the HMAC of the name as password.
    fn time_limited(&self, name: &[u8], algorithm: Algorithm, unix_s: u64) -> Result<Candidate, TurnDrop> {
        if self.secrets.is_empty() {
            return Err(TurnDrop::UnknownUser);
        }
        let colon = name.iter().position(|&byte| byte == b':').ok_or(TurnDrop::UnknownUser)?;
        let (expiry, session) = (&name[..colon], &name[colon + 1..]);
        let expiry: u64 =
            str::from_utf8(expiry).ok().and_then(|text| text.parse().ok()).ok_or(TurnDrop::UnknownUser)?;
        if expiry <= unix_s {
            return Err(TurnDrop::ExpiredCredentials);
        }
        let mut keys = [None; MOST_SECRETS];
        for (key, secret) in keys.iter_mut().zip(&self.secrets) {
            let password = base64::encode(hmac::sign(secret, name).as_ref());
            *key = Some(LongTermKey::new(algorithm, name, &self.realm, password.as_bytes()));
        }
        Ok(Candidate { username: user_key(name), quota: user_key(session), keys, is_named: false })
    }
}

/// The password of a time-limited name.
pub fn time_limited_password(secret: &[u8], name: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
    base64::encode(hmac::sign(&key, name.as_bytes()).as_ref())
}
