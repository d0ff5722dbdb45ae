//! Is the queue growing? The slope of the one-way delay over the last groups against a threshold that adapts.
//!
//! The over-use detector and its adaptive threshold are those of draft-ietf-rmcat-gcc-02 §5.4; the slope by linear
//! regression stands in the place of the Kalman filter of §5.3 (Carlucci et al., "Congestion Control for Web
//! Real-Time Communication", IEEE/ACM ToN 2017).

use super::arrival_group::Delta;

/// Groups that the line is laid through.
const WINDOW: usize = 20;
/// Groups older than this do not count, so that one line does not reach over many frames.
const WINDOW_MS: f64 = 700.0;
/// Fewer points make no line.
const FEWEST: usize = 5;
/// Share of the old value in the smoothed delay, per group.
const SMOOTHING: f64 = 0.8;
/// Brings a slope (milliseconds of delay per millisecond) to the scale of the threshold.
const GAIN: f64 = 200.0;
/// Over-use must last this long (`overuse_time_th`).
const OVERUSE_TIME_MS: f64 = 10.0;
/// Threshold at the start (`del_var_th(0)`) and its bounds, in milliseconds.
const THRESHOLD_START: f64 = 12.5;
const THRESHOLD_MIN: f64 = 6.0;
const THRESHOLD_MAX: f64 = 600.0;
/// Speed of the threshold upwards and downwards per millisecond (`K_u`, `K_d`).
const THRESHOLD_UP: f64 = 0.0087;
const THRESHOLD_DOWN: f64 = 0.039;
/// A value this far above the threshold does not move it: a step of the path must not make us deaf.
const THRESHOLD_JUMP: f64 = 15.0;
/// What is left of the delay in the best of the last groups must be more than this: a large frame raises the delay of
/// its own group and of the next, a queue that stays raises that of all.
const STANDING_MS: f64 = 4.0;
const STANDING_GROUPS: usize = 5;
/// Age at which the smallest delay is forgotten, in milliseconds; twice that at most.
const BASE_AGE_MS: f64 = 10_000.0;

/// A delay that has not moved by more than this for so long is that of the path, which has changed: no queue stands so
/// still. One that is full to its brim does, so that it counts only up to a bound.
const PLATEAU_SPREAD_MS: f64 = 4.0;
const PLATEAU_AGE_MS: f64 = 2_500.0;
const PLATEAU_MOST_MS: f64 = 100.0;

/// What the delay says about the queue at the bottleneck.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Usage {
    /// It neither grows nor shrinks.
    #[default]
    Normal,
    /// It grows: we send more than goes through.
    Over,
    /// It shrinks: wait until it has.
    Under,
}

#[derive(Clone, Copy, Debug, Default)]
struct Point {
    arrival_ms: f64,
    /// Smoothed, and as it was.
    delay_ms: f64,
    raw_ms: f64,
}

/// The filter, the detector and the threshold.
#[derive(Debug)]
pub struct Trendline {
    points: [Point; WINDOW],
    next: usize,
    len: usize,
    /// Sum of all growth since the start, and the same smoothed.
    delay_ms: f64,
    smoothed_ms: f64,
    threshold: f64,
    over_ms: f64,
    previous: f64,
    usage: Usage,
    base: Base,
    plateau: Plateau,
}

/// The smallest delay of the last [`BASE_AGE_MS`], in two halves of which the older is thrown away.
#[derive(Clone, Copy, Debug)]
struct Base {
    current_ms: f64,
    older_ms: f64,
    since_ms: f64,
}

impl Base {
    fn at(delay_ms: f64, since_ms: f64) -> Base {
        Base { current_ms: delay_ms, older_ms: delay_ms, since_ms }
    }
}

/// How long the delay has stayed where it is.
#[derive(Clone, Copy, Debug, Default)]
struct Plateau {
    least_ms: f64,
    most_ms: f64,
    since_ms: f64,
}

impl Plateau {
    /// Takes a delay; true when it has not moved for long.
    fn update(&mut self, delay_ms: f64, arrival_ms: f64) -> bool {
        let (least_ms, most_ms) = (self.least_ms.min(delay_ms), self.most_ms.max(delay_ms));
        if most_ms - least_ms > PLATEAU_SPREAD_MS {
            *self = Plateau { least_ms: delay_ms, most_ms: delay_ms, since_ms: arrival_ms };
            return false;
        }
        (self.least_ms, self.most_ms) = (least_ms, most_ms);
        arrival_ms - self.since_ms > PLATEAU_AGE_MS
    }
}

impl Default for Trendline {
    fn default() -> Self {
        Trendline {
            points: [Point::default(); WINDOW],
            next: 0,
            len: 0,
            delay_ms: 0.0,
            smoothed_ms: 0.0,
            threshold: THRESHOLD_START,
            over_ms: 0.0,
            previous: 0.0,
            usage: Usage::Normal,
            base: Base::at(0.0, f64::NEG_INFINITY),
            plateau: Plateau::default(),
        }
    }
}

impl Trendline {
    /// Takes how one group followed another and says what that means.
    pub fn update(&mut self, delta: &Delta) -> Usage {
        let arrival_ms = delta.arrival_us as f64 / 1e3;
        // A second is more than any queue adds between two groups; it bounds what a liar can do to the sum.
        self.delay_ms += delta.growth_ms().clamp(-1000.0, 1000.0);
        self.smoothed_ms = SMOOTHING * self.smoothed_ms + (1.0 - SMOOTHING) * self.delay_ms;
        self.base.update(self.smoothed_ms, arrival_ms);
        if self.plateau.update(self.smoothed_ms, arrival_ms) && self.queue_ms() < PLATEAU_MOST_MS {
            self.base = Base::at(self.smoothed_ms, arrival_ms);
            self.plateau = Plateau { least_ms: self.smoothed_ms, most_ms: self.smoothed_ms, since_ms: arrival_ms };
        }
        self.points[self.next] = Point { arrival_ms, delay_ms: self.smoothed_ms, raw_ms: self.delay_ms };
        self.next = (self.next + 1) % WINDOW;
        self.len = (self.len + 1).min(WINDOW);
        match self.slope(arrival_ms) {
            Some(slope) => self.detect(slope * GAIN, delta),
            // Whoever sends so little says nothing of the line, and what was found before is over.
            None => (self.usage, self.over_ms) = (Usage::Normal, 0.0),
        }
        self.usage
    }

    /// What [`Trendline::update`] said last.
    pub fn usage(&self) -> Usage {
        self.usage
    }

    /// Delay above the smallest one of the last 10 to 20 s, in milliseconds.
    pub fn queue_ms(&self) -> f64 {
        (self.smoothed_ms - self.base.least_ms()).max(0.0)
    }

    /// The smallest delay of the last groups above the base, in milliseconds.
    fn standing_ms(&self) -> f64 {
        let newest =
            (1..=STANDING_GROUPS.min(self.len)).map(|back| self.points[(self.next + WINDOW - back) % WINDOW].raw_ms);
        newest.fold(f64::INFINITY, f64::min) - self.base.least_ms()
    }

    /// Forgets the past of a clock that has jumped; the threshold, which is a property of the path, stays.
    pub fn reset(&mut self) {
        let threshold = self.threshold;
        *self = Trendline { threshold, ..Trendline::default() };
    }

    /// Least squares through the points of the window.
    fn slope(&self, newest_ms: f64) -> Option<f64> {
        let points = || self.points[..self.len].iter().filter(|point| newest_ms - point.arrival_ms < WINDOW_MS);
        let count = points().count();
        if count < FEWEST {
            return None;
        }
        let n = count as f64;
        let (sum_x, sum_y) = points().fold((0.0, 0.0), |(x, y), point| (x + point.arrival_ms, y + point.delay_ms));
        let (mean_x, mean_y) = (sum_x / n, sum_y / n);
        let (mut over, mut under) = (0.0, 0.0);
        for point in points() {
            let x = point.arrival_ms - mean_x;
            over += x * (point.delay_ms - mean_y);
            under += x * x;
        }
        (under > 0.0).then(|| over / under)
    }

    fn detect(&mut self, value: f64, delta: &Delta) {
        if value > self.threshold {
            // Half of the first interval: it is not known when within it the queue began to grow.
            self.over_ms += if self.over_ms > 0.0 { delta.departure_ms } else { delta.departure_ms / 2.0 };
            if self.over_ms > OVERUSE_TIME_MS && value >= self.previous && self.standing_ms() > STANDING_MS {
                self.usage = Usage::Over;
            }
        } else {
            self.over_ms = 0.0;
            self.usage = if value < -self.threshold { Usage::Under } else { Usage::Normal };
        }
        self.previous = value;
        self.adapt(value.abs(), delta.arrival_ms);
    }

    /// §5.4: the threshold follows the value, slowly, so that a TCP flow beside us does not starve us.
    fn adapt(&mut self, value: f64, elapsed_ms: f64) {
        if value > self.threshold + THRESHOLD_JUMP {
            return;
        }
        let speed = if value < self.threshold { THRESHOLD_DOWN } else { THRESHOLD_UP };
        let step = speed * (value - self.threshold) * elapsed_ms.min(100.0);
        self.threshold = (self.threshold + step).clamp(THRESHOLD_MIN, THRESHOLD_MAX);
    }
}

impl Base {
    fn least_ms(&self) -> f64 {
        self.current_ms.min(self.older_ms)
    }

    fn update(&mut self, delay_ms: f64, now_ms: f64) {
        if now_ms - self.since_ms > BASE_AGE_MS {
            let older_ms = if self.since_ms.is_finite() { self.current_ms } else { delay_ms };
            *self = Base { current_ms: delay_ms, older_ms, since_ms: now_ms };
        } else {
            self.current_ms = self.current_ms.min(delay_ms);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Groups every 20 ms whose delay grows by `growth_ms(index)`; gives out what was said at each.
    fn run(trendline: &mut Trendline, count: usize, start_ms: &mut f64, growth: impl Fn(usize) -> f64) -> Vec<Usage> {
        (0..count)
            .map(|index| {
                let arrival_ms = 20.0 + growth(index);
                *start_ms += arrival_ms;
                trendline.update(&Delta { departure_ms: 20.0, arrival_ms, arrival_us: (*start_ms * 1e3) as i64 })
            })
            .collect()
    }

    #[test]
    fn a_growing_queue_is_over_use_within_300_ms_and_a_shrinking_one_under_use() {
        let (mut trendline, mut clock) = (Trendline::default(), 0.0);
        assert!(run(&mut trendline, 100, &mut clock, |_| 0.0).iter().all(|&usage| usage == Usage::Normal));
        let said = run(&mut trendline, 15, &mut clock, |_| 4.0);
        assert!(said.contains(&Usage::Over), "{said:?}");
        assert!((30.0..61.0).contains(&trendline.queue_ms()), "{}", trendline.queue_ms());
        let said = run(&mut trendline, 30, &mut clock, |_| -2.0);
        assert_eq!(said.last(), Some(&Usage::Under));
        run(&mut trendline, 100, &mut clock, |_| 0.0);
        assert_eq!(trendline.usage(), Usage::Normal);
    }

    #[test]
    fn jitter_without_a_trend_is_normal() {
        let (mut trendline, mut clock) = (Trendline::default(), 0.0);
        let said = run(&mut trendline, 2_000, &mut clock, |index| if index % 2 == 0 { 8.0 } else { -8.0 });
        assert!(said.iter().all(|&usage| usage == Usage::Normal));
    }

    #[test]
    fn a_path_that_got_longer_is_not_a_queue_for_ever() {
        let (mut trendline, mut clock) = (Trendline::default(), 0.0);
        run(&mut trendline, 100, &mut clock, |_| 0.0);
        run(&mut trendline, 1, &mut clock, |_| 80.0);
        run(&mut trendline, 50, &mut clock, |_| 0.0);
        assert!(trendline.queue_ms() > 70.0);
        run(&mut trendline, 1_100, &mut clock, |_| 0.0);
        assert!(trendline.queue_ms() < 1.0);
        assert_eq!(trendline.usage(), Usage::Normal);
    }

    #[test]
    fn what_was_found_while_much_was_sent_is_over_when_little_is() {
        let (mut trendline, mut clock) = (Trendline::default(), 0.0);
        run(&mut trendline, 100, &mut clock, |_| 0.0);
        assert_eq!(run(&mut trendline, 15, &mut clock, |_| 4.0).last(), Some(&Usage::Over));
        for _ in 0..3 {
            clock += 300.0;
            trendline.update(&Delta { departure_ms: 300.0, arrival_ms: 300.0, arrival_us: (clock * 1e3) as i64 });
        }
        assert_eq!(trendline.usage(), Usage::Normal);
    }

    #[test]
    fn absurd_times_stay_finite() {
        let mut trendline = Trendline::default();
        for index in 0..1_000i64 {
            let sign = if index % 3 == 0 { -1 } else { 1 };
            let arrival_us = sign * ((i64::MAX / 2) >> (index % 40));
            trendline.update(&Delta { departure_ms: 0.0, arrival_ms: arrival_us as f64 / 1e3, arrival_us });
        }
        assert!(trendline.queue_ms().is_finite() && trendline.threshold.is_finite());
    }

    #[test]
    fn large_frames_now_and_then_are_not_over_use() {
        let (mut trendline, mut clock) = (Trendline::default(), 0.0);
        // Each 25th frame takes 60 ms longer, which the four after it make up for.
        let growth = |index: usize| match index % 25 {
            10 => 60.0,
            11..=14 => -15.0,
            _ => 0.0,
        };
        let said = run(&mut trendline, 1_000, &mut clock, growth);
        assert!(said.iter().all(|&usage| usage != Usage::Over));
    }
}
