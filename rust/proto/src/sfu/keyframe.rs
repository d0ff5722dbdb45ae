//! When a source is asked for a keyframe: one policy per source, for everybody who receives it.

use crate::time::Time;
use std::time::Duration;

/// Least time between two commands to a source that answered the first.
const MIN_INTERVAL: Duration = Duration::from_millis(500);
/// Same for requests that stand for lost packets, which come in numbers.
const MIN_INTERVAL_LOSS: Duration = Duration::from_secs(1);
/// Waiting time before each repetition while no keyframe comes; the last one repeats.
const RETRIES: [Duration; 4] =
    [Duration::from_millis(200), Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2)];
/// Most repetitions; after that the next request begins anew.
const MAX_RETRIES: usize = 30;

/// Why a keyframe is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// A receiver starts, switches, or cannot decode.
    Picture,
    /// A receiver reports lost packets that nobody can repair.
    Loss,
}

/// Tells the source now. A repetition has the number of the first (RFC 5104 §4.3.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Command {
    /// Number of the command, for FIR.
    pub number: u8,
    /// How often it was given before.
    pub repetition: usize,
}

impl Command {
    /// Whether it is worth a message of the signalling, which costs a transaction: the first, and few of the others.
    pub fn suits_signalling(self) -> bool {
        self.repetition.is_multiple_of(3) && self.repetition <= 9
    }
}

/// Requests of one source.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeyframeRequests {
    state: State,
    number: u8,
    last_command: Option<Time>,
    /// What the keyframe that is wanted costs, as time between two of them, and until when those before are paid for.
    apart: Duration,
    paid: Option<Time>,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    /// Nobody wants anything.
    #[default]
    Idle,
    /// A command will be given at the time named: the last one is too recent.
    Deferred(Time),
    /// A command was given; it will be repeated at the time named.
    Asked { retries: usize, repeat_at: Time },
}

impl KeyframeRequests {
    /// Somebody wants a keyframe; in the long run they come `apart` from each other at the least, but one may come early,
    /// so that a receiver whose line falls does not wait for what another has just had. Ask [`KeyframeRequests::poll`]
    /// next.
    pub fn request(&mut self, want: Want, apart: Duration, now: Time) {
        let interval = match want {
            Want::Picture => MIN_INTERVAL,
            Want::Loss => MIN_INTERVAL_LOSS,
        };
        self.apart = apart;
        let early = self.paid.map_or(Duration::ZERO, |paid| (paid - now).saturating_sub(apart));
        let allowed = self.last_command.map_or(now, |last| (last + interval).max(now + early));
        self.state = match self.state {
            State::Idle => State::Deferred(allowed),
            State::Deferred(at) => State::Deferred(at.min(allowed)),
            asked @ State::Asked { .. } => asked,
        };
    }

    /// A keyframe began to arrive.
    pub fn arrived(&mut self) {
        self.state = State::Idle;
    }

    /// Nobody receives the source any more.
    pub fn cancel(&mut self) {
        self.state = State::Idle;
    }

    /// When [`KeyframeRequests::poll`] has a command.
    pub fn poll_timeout(&self) -> Option<Time> {
        match self.state {
            State::Idle => None,
            State::Deferred(at) | State::Asked { repeat_at: at, .. } => Some(at),
        }
    }

    /// The command that is due.
    pub fn poll(&mut self, now: Time) -> Option<Command> {
        let retries = match self.state {
            State::Deferred(at) if at <= now => {
                self.number = self.number.wrapping_add(1);
                self.paid = Some(self.paid.map_or(now, |paid| paid.max(now)) + self.apart);
                0
            }
            State::Asked { retries: MAX_RETRIES, repeat_at } if repeat_at <= now => {
                self.state = State::Idle;
                return None;
            }
            State::Asked { retries, repeat_at } if repeat_at <= now => retries + 1,
            _ => return None,
        };
        let wait = RETRIES[retries.min(RETRIES.len() - 1)];
        self.state = State::Asked { retries, repeat_at: now + wait };
        self.last_command = Some(now);
        Some(Command { number: self.number, repetition: retries })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Time {
        Time::from_millis(ms)
    }

    #[test]
    fn requests_of_many_receivers_are_one_command() {
        let mut requests = KeyframeRequests::default();
        for _ in 0..300 {
            requests.request(Want::Picture, Duration::ZERO, ms(1000));
        }
        assert!(requests.poll(ms(1000)).is_some());
        requests.request(Want::Picture, Duration::ZERO, ms(1050));
        assert_eq!(requests.poll(ms(1050)), None);
    }

    #[test]
    fn an_unanswered_command_is_repeated_after_200_and_500_ms_with_its_number() {
        let mut requests = KeyframeRequests::default();
        requests.request(Want::Picture, Duration::ZERO, ms(0));
        let first = requests.poll(ms(0)).unwrap();
        assert_eq!(requests.poll_timeout(), Some(ms(200)));
        assert_eq!(requests.poll(ms(200)), Some(Command { repetition: 1, ..first }));
        assert_eq!(requests.poll_timeout(), Some(ms(700)));
        assert_eq!(requests.poll(ms(700)), Some(Command { repetition: 2, ..first }));
        requests.arrived();
        assert_eq!(requests.poll_timeout(), None);
    }

    #[test]
    fn a_request_soon_after_a_keyframe_waits_for_the_interval() {
        let mut requests = KeyframeRequests::default();
        requests.request(Want::Picture, Duration::ZERO, ms(0));
        let first = requests.poll(ms(0)).unwrap();
        requests.arrived();
        requests.request(Want::Picture, Duration::ZERO, ms(100));
        assert_eq!(requests.poll(ms(100)), None);
        assert_eq!(requests.poll_timeout(), Some(ms(500)));
        let second = requests.poll(ms(500)).unwrap();
        assert_ne!(second.number, first.number, "a new command has a new number");
    }

    #[test]
    fn loss_waits_longer_than_a_picture_request_which_overtakes_it() {
        let mut requests = KeyframeRequests::default();
        requests.request(Want::Picture, Duration::ZERO, ms(0));
        requests.poll(ms(0)).unwrap();
        requests.arrived();
        requests.request(Want::Loss, Duration::ZERO, ms(100));
        assert_eq!(requests.poll_timeout(), Some(ms(1000)));
        requests.request(Want::Picture, Duration::ZERO, ms(200));
        assert_eq!(requests.poll_timeout(), Some(ms(500)));
    }

    #[test]
    fn of_dear_keyframes_one_may_come_early_and_no_more() {
        let mut requests = KeyframeRequests::default();
        let mut at = Vec::new();
        for step in 0..1_000u64 {
            let now = ms(step * 10);
            requests.request(Want::Picture, Duration::from_secs(3), now);
            if requests.poll(now).is_some() {
                at.push(step * 10);
                requests.arrived();
            }
        }
        assert_eq!(at, [0, 500, 3_000, 6_000, 9_000]);
    }

    #[test]
    fn repetition_ends_when_the_source_never_answers() {
        let mut requests = KeyframeRequests::default();
        requests.request(Want::Picture, Duration::ZERO, ms(0));
        let mut commands = Vec::new();
        while let Some(at) = requests.poll_timeout() {
            commands.extend(requests.poll(at));
        }
        assert_eq!(commands.len(), MAX_RETRIES + 1);
        assert_eq!(commands.iter().filter(|command| command.suits_signalling()).count(), 4);
    }
}
