//! One 5-tuple of an ICE agent: what is known about it, and our challenge to it.

use std::time::Duration;

use crate::io::Path;
use crate::stun::TransactionId;
use crate::time::Time;

/// First retransmission of a challenge; each further one waits twice as long, up to the last.
const FIRST_RETRANSMISSION: Duration = Duration::from_millis(100);
const LAST_RETRANSMISSION: Duration = Duration::from_millis(1600);
/// Requests of one challenge: an authenticated check makes us send at most so many to its source.
const ATTEMPTS: u32 = 7;
/// Pause after a challenge that nobody answered.
const AFTER_FAILURE: Duration = Duration::from_millis(2500);
const UNPROVEN_LIFE: Duration = Duration::from_secs(10);
/// RFC 7675 §5.1.
pub(super) const CONSENT_LIFE: Duration = Duration::from_secs(30);

/// Our own Binding request on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Challenge {
    pub(super) transaction: TransactionId,
    sent_at: Time,
    attempts: u32,
    next_at: Time,
}

/// A 5-tuple from which an authenticated check came.
#[derive(Clone, Debug)]
pub(super) struct Tuple {
    pub(super) path: Path,
    /// It answered a challenge of ours.
    pub(super) proven: bool,
    /// Last authenticated check or response.
    pub(super) last_valid: Time,
    /// Last check with USE-CANDIDATE.
    pub(super) nominated_at: Option<Time>,
    pub(super) challenge: Option<Challenge>,
    /// When we would ask again by ourselves.
    next_check: Time,
}

/// What is due on a tuple.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    Retransmit(TransactionId),
    Check,
    Expire,
}

impl Tuple {
    pub(super) fn new(path: Path, now: Time) -> Tuple {
        Tuple { path, proven: false, last_valid: now, nominated_at: None, challenge: None, next_check: now }
    }

    /// An authenticated check or response came from here; `interval` is when we ask ourselves if nothing more comes.
    pub(super) fn heard(&mut self, now: Time, interval: Duration) {
        self.last_valid = now;
        if self.proven {
            self.next_check = now + interval;
        }
    }

    /// A challenge with this id leaves now.
    pub(super) fn start_challenge(&mut self, transaction: TransactionId, now: Time) {
        self.challenge =
            Some(Challenge { transaction, sent_at: now, attempts: 1, next_at: now + FIRST_RETRANSMISSION });
    }

    /// The challenge was answered; returns the round trip when it can be told (Karn: not after a retransmission).
    pub(super) fn answered(&mut self, now: Time) -> Option<Duration> {
        let challenge = self.challenge.take()?;
        self.proven = true;
        (challenge.attempts == 1).then(|| now.since(challenge.sent_at))
    }

    pub(super) fn may_challenge(&self, now: Time) -> bool {
        self.challenge.is_none() && self.next_check <= now
    }

    /// What is due now; a retransmission is counted as sent.
    pub(super) fn due(&mut self, now: Time, selected: bool) -> Due {
        if self.expires_at() <= now {
            return Due::Expire;
        }
        match &mut self.challenge {
            Some(challenge) if challenge.next_at > now => Due::Nothing,
            Some(challenge) if challenge.attempts < ATTEMPTS => {
                let wait = FIRST_RETRANSMISSION * 2u32.pow(challenge.attempts);
                challenge.attempts += 1;
                challenge.next_at = now + wait.min(LAST_RETRANSMISSION);
                Due::Retransmit(challenge.transaction)
            }
            Some(_) => {
                self.challenge = None;
                self.next_check = now + AFTER_FAILURE;
                Due::Nothing
            }
            None if selected && self.next_check <= now => Due::Check,
            None => Due::Nothing,
        }
    }

    pub(super) fn next_due(&self, selected: bool) -> Time {
        let next = match &self.challenge {
            Some(challenge) => challenge.next_at,
            None if selected => self.next_check,
            None => Time::FAR_FUTURE,
        };
        next.min(self.expires_at())
    }

    fn expires_at(&self) -> Time {
        self.last_valid + if self.proven { CONSENT_LIFE } else { UNPROVEN_LIFE }
    }
}
