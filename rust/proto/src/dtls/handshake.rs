//! One DTLS association: from the first ClientHello to SRTP keys, then until close_notify.
//!
//! The library's server prefers AEAD_AES_256_GCM, then AEAD_AES_128_GCM, then AES128_CM_SHA1_80, whatever order the
//! client has. We would rather have 128 bits first (cheaper), but the order is fixed in dimpl 0.9 and both browsers
//! offer all three; the client cannot be made to omit one, since its hello is part of what Finished signs.

use std::collections::VecDeque;

use dimpl::{Output, SrtpProfile};

use super::Role;
use super::fingerprint::{Fingerprint, certificate_matches};
use super::identity::Identity;
use crate::error::Drop;
use crate::srtp::{MasterKey, SrtpKeys, Suite};
use crate::time::Time;

/// Room for one record of the library's MTU; grows when it asks for more.
const SCRATCH: usize = 2048;
/// Datagrams kept until a path is proven and the peer's description is known: a post-quantum ClientHello takes two.
const MAX_HELD: usize = 4;

/// What the association tells its transport.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DtlsEvent {
    /// Handshake done, certificate as promised, keys exported.
    Connected(SrtpKeys),
    /// The end.
    Ended(DtlsEnd),
}

/// How an association ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DtlsEnd {
    /// The handshake failed or took too long.
    Failed,
    /// The certificate is not the one that SDP promised.
    FingerprintMismatch,
    /// close_notify came.
    PeerClosed,
}

/// What an association is doing; each state holds what only it needs.
enum State {
    /// No remote description yet.
    New,
    Handshaking {
        engine: Box<dimpl::Dtls>,
        role: Role,
        certificate_matched: bool,
        finished: bool,
        keys: Option<SrtpKeys>,
    },
    /// The engine stays: the peer may have lost our last flight, and may close.
    Established {
        engine: Box<dimpl::Dtls>,
    },
    Closed,
}

/// One DTLS association. Nothing leaves it and nothing enters the library before [`Dtls::drive`] may send.
pub struct Dtls {
    identity: Identity,
    /// The peer's address is not proven: a client must repeat a cookie first (RFC 6347 §4.2.1).
    asks_cookie: bool,
    promised: Vec<Fingerprint>,
    state: State,
    held: Vec<Vec<u8>>,
    scratch: Vec<u8>,
    timeout: Time,
    /// Application data not yet taken; `None` while nobody wants it.
    received: Option<VecDeque<Vec<u8>>>,
    ignored: u32,
}

impl std::fmt::Debug for Dtls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = match self.state {
            State::New => "New",
            State::Handshaking { .. } => "Handshaking",
            State::Established { .. } => "Established",
            State::Closed => "Closed",
        };
        f.debug_struct("Dtls").field("state", &state).field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

impl Dtls {
    /// An association that waits for the remote description, with a peer whose address is proven before it starts.
    pub fn new(identity: Identity) -> Dtls {
        Dtls {
            identity,
            asks_cookie: false,
            promised: Vec::new(),
            state: State::New,
            held: Vec::new(),
            scratch: Vec::new(),
            timeout: Time::FAR_FUTURE,
            received: None,
            ignored: 0,
        }
    }

    /// An association with a peer whose address nobody has proven: as server we ask for a cookie first.
    pub fn with_cookie(identity: Identity) -> Dtls {
        Dtls { asks_cookie: true, ..Dtls::new(identity) }
    }

    /// The remote description is known. Only the first call counts: an ICE restart keeps the association.
    pub fn start(&mut self, role: Role, promised: Vec<Fingerprint>, now: Time) {
        if !matches!(self.state, State::New) {
            return;
        }
        let config = if self.asks_cookie { &self.identity.cookie_config } else { &self.identity.config };
        let mut engine = Box::new(dimpl::Dtls::new_12(
            config.clone(),
            (*self.identity.certificate).clone(),
            self.identity.instant(now),
        ));
        engine.set_active(role == Role::Client);
        self.promised = promised;
        self.scratch.resize(SCRATCH, 0);
        self.timeout = now;
        self.state = State::Handshaking { engine, role, certificate_matched: false, finished: false, keys: None };
    }

    /// Keeps a datagram that came before the association may speak.
    pub fn hold(&mut self, datagram: &[u8]) -> Result<(), Drop> {
        if matches!(self.state, State::Closed) {
            return Err(Drop::DtlsClosed);
        }
        if self.held.len() >= MAX_HELD {
            return Err(Drop::DtlsEarly);
        }
        self.held.push(datagram.to_vec());
        Ok(())
    }

    /// Takes a datagram; [`Dtls::drive`] is to follow.
    pub fn handle_datagram(&mut self, datagram: &[u8], now: Time) -> Result<Option<DtlsEvent>, Drop> {
        let instant = self.identity.instant(now);
        match &mut self.state {
            State::New => self.hold(datagram).map(|()| None),
            State::Closed => Err(Drop::DtlsClosed),
            State::Handshaking { engine, .. } | State::Established { engine } => {
                let result = engine.handle_timeout(instant).and_then(|()| engine.handle_packet(datagram));
                Ok(result.err().and_then(|_| self.end(DtlsEnd::Failed)))
            }
        }
    }

    /// Advances time, feeds what was held, hands each datagram to `send`, and says what came of it.
    ///
    /// To be called only while there is a path, and without a cookie only one that is proven: what it sends is far larger
    /// than a spoofed check.
    pub fn drive(&mut self, now: Time, mut send: impl FnMut(&[u8])) -> Option<DtlsEvent> {
        if matches!(self.state, State::New) {
            return None;
        }
        for datagram in std::mem::take(&mut self.held) {
            if let Ok(Some(event)) = self.handle_datagram(&datagram, now) {
                return Some(event);
            }
        }
        let instant = self.identity.instant(now);
        if let State::Handshaking { engine, .. } | State::Established { engine } = &mut self.state
            && self.timeout <= now
            && engine.handle_timeout(instant).is_err()
        {
            return self.end(DtlsEnd::Failed);
        }
        self.poll(&mut send)
    }

    /// When [`Dtls::drive`] wants to be called again.
    pub fn poll_timeout(&self) -> Time {
        self.timeout
    }

    /// From now on application data is kept for [`Dtls::take_received`].
    pub fn accept_data(&mut self) {
        self.received.get_or_insert_default();
    }

    /// The content of the oldest application data record not yet taken; to be drained after each datagram.
    pub fn take_received(&mut self) -> Option<Vec<u8>> {
        self.received.as_mut()?.pop_front()
    }

    /// Sends application data as one record; what there is no association for is gone.
    pub fn send_data(&mut self, data: &[u8], mut send: impl FnMut(&[u8])) -> Option<DtlsEvent> {
        let State::Established { engine } = &mut self.state else { return None };
        if engine.send_application_data(data).is_err() {
            return self.end(DtlsEnd::Failed);
        }
        self.poll(&mut send)
    }

    /// How many application data records came since the last call that nobody wanted.
    pub fn take_ignored(&mut self) -> u32 {
        std::mem::take(&mut self.ignored)
    }

    /// Says goodbye by close_notify when there is an association to end.
    pub fn close(&mut self, mut send: impl FnMut(&[u8])) {
        if let State::Established { engine } = &mut self.state
            && engine.close().is_ok()
        {
            self.poll(&mut send);
        }
        self.end(DtlsEnd::PeerClosed);
    }

    /// Empties the library's output queue.
    fn poll(&mut self, send: &mut impl FnMut(&[u8])) -> Option<DtlsEvent> {
        loop {
            let (engine, mut handshake) = match &mut self.state {
                State::New | State::Closed => return None,
                State::Established { engine } => (engine, None),
                State::Handshaking { engine, role, certificate_matched, finished, keys } => {
                    (engine, Some((*role, certificate_matched, finished, keys)))
                }
            };
            match (engine.poll_output(&mut self.scratch), &mut handshake) {
                (Output::Packet(packet), _) => send(packet),
                (Output::BufferTooSmall { needed }, _) => {
                    // Records are bounded by the MTU; more than a datagram's worth is a fault.
                    if needed > usize::from(u16::MAX) {
                        return self.end(DtlsEnd::Failed);
                    }
                    self.scratch.resize(needed, 0);
                }
                (Output::Timeout(instant), _) => {
                    self.timeout = self.identity.time(instant);
                    return self.complete();
                }
                (Output::PeerCert(der), Some((_, matched, _, _))) => {
                    // RFC 5763 §5: a certificate that SDP did not promise ends the association.
                    if !certificate_matches(der, &self.promised) {
                        return self.end(DtlsEnd::FingerprintMismatch);
                    }
                    **matched = true;
                }
                (Output::Connected, Some((_, _, finished, _))) => **finished = true,
                (Output::KeyingMaterial(material, profile), Some((role, _, _, keys))) => {
                    **keys = split_keys(&material, profile, *role);
                }
                (Output::CloseNotify, _) => return self.end(DtlsEnd::PeerClosed),
                (Output::ApplicationData(data), _) => match &mut self.received {
                    Some(received) => received.push_back(data.to_vec()),
                    None => self.ignored += 1,
                },
                _ => {}
            }
        }
    }

    /// From handshaking to established, once all three things are there.
    fn complete(&mut self) -> Option<DtlsEvent> {
        if !matches!(self.state, State::Handshaking { finished: true, .. }) {
            return None;
        }
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Handshaking { engine, certificate_matched: true, keys: Some(keys), .. } => {
                self.state = State::Established { engine };
                Some(DtlsEvent::Connected(keys))
            }
            // Finished without certificate or without an SRTP profile: of no use to us.
            _ => {
                self.timeout = Time::FAR_FUTURE;
                Some(DtlsEvent::Ended(DtlsEnd::Failed))
            }
        }
    }

    fn end(&mut self, end: DtlsEnd) -> Option<DtlsEvent> {
        if matches!(self.state, State::Closed) {
            return None;
        }
        self.state = State::Closed;
        self.timeout = Time::FAR_FUTURE;
        self.held.clear();
        Some(DtlsEvent::Ended(end))
    }
}

/// RFC 5764 §4.2: client key, server key, client salt, server salt. `None` for a profile that is not ours.
fn split_keys(material: &[u8], profile: SrtpProfile, role: Role) -> Option<SrtpKeys> {
    let suite = match profile {
        SrtpProfile::AES128_CM_SHA1_80 => Suite::AesCm128HmacSha1_80,
        SrtpProfile::AEAD_AES_128_GCM => Suite::AeadAes128Gcm,
        SrtpProfile::AEAD_AES_256_GCM => Suite::AeadAes256Gcm,
        _ => return None,
    };
    let (key, salt) = (suite.key_len(), suite.salt_len());
    if material.len() != 2 * (key + salt) {
        return None;
    }
    let (keys, salts) = material.split_at(2 * key);
    let client = MasterKey::from_slices(suite, &keys[..key], &salts[..salt]);
    let server = MasterKey::from_slices(suite, &keys[key..], &salts[salt..]);
    Some(match role {
        Role::Client => SrtpKeys { local: client, remote: server },
        Role::Server => SrtpKeys { local: server, remote: client },
    })
}
