//! Which layers of a source live. A layer is silent when the others come without it; when nothing comes at all, then the
//! source has a pause, and its layers are what they were as soon as it goes on.

use super::rate_meter::TICK;
use std::time::Duration;

/// A layer is alive while packets came within this time.
pub const ALIVE: Duration = Duration::from_millis(500);
/// The smallest one that lives is given up later: who goes from it to a larger one may not have the line for that, and
/// encoders of little rate leave out frames for longer (libvpx after a keyframe that took what it had).
pub const SMALLEST_ALIVE: Duration = Duration::from_millis(1_500);

/// Of one layer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Life {
    state: State,
    /// Since the last tick.
    heard: bool,
    /// Time in which others came without it.
    silent: Duration,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Dead,
    Alive,
    /// It was alive when its source fell silent.
    Asleep,
}

impl Life {
    /// A packet came; true when it was not alive before.
    pub fn hear(&mut self) -> bool {
        (self.heard, self.silent) = (true, Duration::ZERO);
        std::mem::replace(&mut self.state, State::Alive) != State::Alive
    }

    /// Whether packets came lately.
    pub fn is_alive(&self) -> bool {
        self.state == State::Alive
    }

    /// Its source goes on.
    pub fn wake(&mut self) {
        if self.state == State::Asleep {
            (self.state, self.silent) = (State::Alive, Duration::ZERO);
        }
    }

    /// Its source has been silent for too long.
    pub fn sleep(&mut self) {
        if self.state == State::Alive {
            self.state = State::Asleep;
        }
    }

    /// Whether a packet came since the last tick.
    pub fn is_heard(&self) -> bool {
        self.heard
    }

    /// Ends an interval of [`TICK`] in which `others` came or not; it is given up after `patience`.
    pub fn tick(&mut self, others: bool, patience: Duration) {
        if !std::mem::take(&mut self.heard) && others {
            self.silent += TICK;
        }
        if self.silent > patience {
            self.state = State::Dead;
        }
    }
}
