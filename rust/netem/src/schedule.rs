//! The rate of a line over time: constant pieces.

use mediaserver_proto::time::Time;
use std::time::Duration;

/// Pieces of constant rate, each from its start on.
#[derive(Clone, Debug)]
pub struct Schedule {
    pieces: Vec<(Time, f64)>,
}

impl Schedule {
    /// The same rate always, in bits per second.
    pub fn constant(bps: f64) -> Schedule {
        Schedule::steps(&[(0.0, bps)])
    }

    /// Pairs of start in seconds and rate in bits per second, the first at 0, in order.
    pub fn steps(steps: &[(f64, f64)]) -> Schedule {
        let pieces = steps.iter().map(|&(at_s, bps)| (Time((at_s * 1e9) as u64), bps.max(1.0))).collect();
        Schedule { pieces }
    }

    /// Bits per second at `now`.
    pub fn at(&self, now: Time) -> f64 {
        self.pieces[self.index(now)].1
    }

    /// When `bits` that begin to leave at `now` have left.
    pub fn finish(&self, now: Time, mut bits: f64) -> Time {
        let (mut now, mut index) = (now, self.index(now));
        loop {
            let bps = self.pieces[index].1;
            let end = now + Duration::from_secs_f64(bits / bps);
            match self.pieces.get(index + 1) {
                Some(&(next, _)) if next < end => {
                    bits -= next.since(now).as_secs_f64() * bps;
                    (now, index) = (next, index + 1);
                }
                _ => return end,
            }
        }
    }

    /// Bits that can pass between two points in time.
    pub fn bits(&self, from: Time, to: Time) -> f64 {
        let (mut now, mut index, mut bits) = (from, self.index(from), 0.0);
        while now < to {
            let end = self.pieces.get(index + 1).map_or(to, |&(next, _)| next.min(to));
            bits += end.since(now).as_secs_f64() * self.pieces[index].1;
            (now, index) = (end, index + 1);
        }
        bits
    }

    /// The changes after the first piece: when, from which rate, to which.
    pub fn changes(&self) -> impl Iterator<Item = (Time, f64, f64)> + '_ {
        self.pieces.windows(2).map(|pair| (pair[1].0, pair[0].1, pair[1].1))
    }

    fn index(&self, now: Time) -> usize {
        self.pieces.iter().rposition(|&(from, _)| from <= now).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_that_leaves_over_a_change_takes_both_rates() {
        let schedule = Schedule::steps(&[(0.0, 1_000.0), (1.0, 500.0)]);
        assert_eq!(schedule.finish(Time::from_millis(500), 1_000.0), Time::from_millis(2_000));
        assert_eq!(schedule.bits(Time::from_millis(500), Time::from_millis(2_000)), 1_000.0);
        assert_eq!(schedule.at(Time::from_millis(999)), 1_000.0);
        assert_eq!(schedule.at(Time::from_millis(1_000)), 500.0);
    }
}
