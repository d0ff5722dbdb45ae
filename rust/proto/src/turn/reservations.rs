//! Ports that are kept for a second allocation (RFC 8656 §7.2, §18.10).

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::ports::Relayed;
use super::quota::UserKey;
use crate::time::Time;

/// RFC 8656 §7.2: how long a port is kept.
pub const RESERVATION_LIFETIME: Duration = Duration::from_secs(30);

/// RESERVATION-TOKEN.
pub(super) type Token = [u8; 8];

/// A port that is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reservation {
    pub(super) relayed: Relayed,
    pub(super) user: UserKey,
    expires: Time,
}

/// The ports that are kept, by token.
#[derive(Debug, Default)]
pub(super) struct Reservations {
    by_token: HashMap<Token, Reservation>,
    /// Tokens in the order of their ends; of some the port is gone already.
    ends: VecDeque<(Time, Token)>,
}

impl Reservations {
    /// Keeps a port for a user.
    pub(super) fn keep(&mut self, token: Token, relayed: Relayed, user: UserKey, now: Time) {
        let expires = now + RESERVATION_LIFETIME;
        self.by_token.insert(token, Reservation { relayed, user, expires });
        self.ends.push_back((expires, token));
    }

    /// Gives a port to whom it was kept for.
    pub(super) fn redeem(&mut self, token: Token, user: UserKey, now: Time) -> Option<Reservation> {
        let kept = *self.by_token.get(&token)?;
        if kept.user != user || kept.expires <= now {
            return None;
        }
        self.by_token.remove(&token)
    }

    /// The next port whose time is over; call until there is none.
    pub(super) fn expire(&mut self, now: Time) -> Option<Reservation> {
        while self.ends.front().is_some_and(|(end, _)| *end <= now) {
            let (_, token) = self.ends.pop_front()?;
            if let Some(kept) = self.by_token.remove(&token) {
                return Some(kept);
            }
        }
        None
    }

    /// When [`Reservations::expire`] has something to do.
    pub(super) fn next_end(&self) -> Option<Time> {
        self.ends.front().map(|(end, _)| *end)
    }
}
