//! What a publisher is asked to send at most, and when it is told: a change soon, the same from time to time.

use crate::time::Time;
use std::time::Duration;

/// What is said when nothing bounds a publisher any more, in bits per second.
pub const UNBOUNDED_BPS: u64 = 1_000_000_000;
/// Less by this share is told at once, more by this share a little later.
const LESS: f64 = 0.03;
const MORE: f64 = 0.05;
/// However fast things change, it is not told more often than this downwards and upwards.
const SOONEST_LESS: Duration = Duration::from_millis(50);
const SOONEST_MORE: Duration = Duration::from_millis(200);
/// A bound is repeated this often: the message may be lost, and publishers forget what is old.
const AGAIN: Duration = Duration::from_millis(1_000);
/// That nothing is asked for any more is said so many times.
const FAREWELLS: u8 = 3;

/// What was told last.
#[derive(Clone, Copy, Debug)]
struct Told {
    bps: u64,
    at: Time,
    /// How many more times that there is no bound is to be said.
    farewells: u8,
}

/// The rate that one transport's peer is asked to keep to.
#[derive(Clone, Copy, Debug, Default)]
pub struct AskedRate {
    asked: Option<u64>,
    told: Option<Told>,
}

impl AskedRate {
    /// Takes what the peer may send, all streams together, in bits per second; `None` is as much as it likes.
    pub fn set(&mut self, bps: Option<u64>) {
        self.asked = bps;
        if let (Some(_), Some(told)) = (bps, &mut self.told) {
            told.farewells = FAREWELLS;
        }
    }

    /// What the peer is asked for now.
    pub fn bps(&self) -> Option<u64> {
        self.asked
    }

    /// When [`AskedRate::poll`] has something to say; `Time::ZERO` is at once.
    pub fn poll_timeout(&self) -> Option<Time> {
        let Some(told) = self.told else { return self.asked.map(|_| Time::ZERO) };
        let (asked, was) = (self.asked.unwrap_or(UNBOUNDED_BPS) as f64, told.bps as f64);
        if asked < (1.0 - LESS) * was {
            return Some(told.at + SOONEST_LESS);
        }
        if asked > (1.0 + MORE) * was {
            return Some(told.at + SOONEST_MORE);
        }
        (self.asked.is_some() || told.farewells > 0).then_some(told.at + AGAIN)
    }

    /// What is to be told now, in bits per second.
    pub fn poll(&mut self, now: Time) -> Option<u64> {
        self.poll_timeout().filter(|&at| at <= now)?;
        let bps = self.asked.unwrap_or(UNBOUNDED_BPS);
        let farewells = self.told.map_or(FAREWELLS, |told| told.farewells);
        let farewells = if self.asked.is_none() { farewells.saturating_sub(1) } else { FAREWELLS };
        self.told = Some(Told { bps, at: now, farewells });
        Some(bps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything that is told until `end_ms`, with its time.
    fn told(rate: &mut AskedRate, end_ms: u64) -> Vec<(u64, u64)> {
        let mut told = Vec::new();
        while let Some(at) = rate.poll_timeout().filter(|at| at.as_millis() <= end_ms) {
            told.push((at.as_millis(), rate.poll(at).unwrap()));
        }
        told
    }

    #[test]
    fn nothing_is_told_to_a_publisher_that_was_never_bounded() {
        let mut rate = AskedRate::default();
        rate.set(None);
        assert_eq!(rate.poll_timeout(), None);
        assert_eq!(rate.poll(Time::from_millis(9)), None);
    }

    #[test]
    fn a_bound_is_told_at_once_and_repeated_every_second() {
        let mut rate = AskedRate::default();
        rate.set(Some(500_000));
        assert_eq!(told(&mut rate, 2_500), [(0, 500_000), (1_000, 500_000), (2_000, 500_000)]);
    }

    #[test]
    fn small_changes_wait_for_the_next_time_and_large_ones_do_not() {
        let mut rate = AskedRate::default();
        rate.set(Some(500_000));
        told(&mut rate, 0);
        rate.set(Some(490_000));
        assert_eq!(told(&mut rate, 1_000), [(1_000, 490_000)]);
        rate.set(Some(300_000));
        assert_eq!(told(&mut rate, 1_100), [(1_050, 300_000)]);
        rate.set(Some(400_000));
        assert_eq!(told(&mut rate, 1_300), [(1_250, 400_000)]);
    }

    #[test]
    fn a_bound_that_changes_with_every_look_is_told_twenty_times_a_second_at_most() {
        let (mut rate, mut count) = (AskedRate::default(), 0);
        for ms in 0..10_000 {
            rate.set(Some(if ms % 2 == 0 { 100_000 } else { 900_000 }));
            count += u32::from(rate.poll(Time::from_millis(ms)).is_some());
        }
        assert!(count <= 200, "{count}");
    }

    #[test]
    fn the_end_of_a_bound_is_said_three_times_and_then_nothing() {
        let mut rate = AskedRate::default();
        rate.set(Some(500_000));
        told(&mut rate, 0);
        rate.set(None);
        assert_eq!(told(&mut rate, 60_000).iter().map(|(ms, _)| *ms).collect::<Vec<_>>(), [200, 1_200, 2_200]);
        assert_eq!((rate.poll_timeout(), rate.bps()), (None, None));
        rate.set(Some(500_000));
        assert_eq!(told(&mut rate, 60_000)[0].1, 500_000);
    }
}
