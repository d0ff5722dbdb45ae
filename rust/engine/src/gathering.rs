//! A thread that is woken for almost every packet looks at its sockets at intervals instead, as network cards hold back
//! their interrupts: what comes meanwhile is found together, and costs one sleep.

use std::io;
use std::time::{Duration, Instant};

use crate::counters::{Counters, set};
use crate::sys::{Poller, sleep};

/// Between two looks: the most that this adds to a packet's way.
const INTERVAL: Duration = Duration::from_micros(150);
/// So many sleeps in a row, each of which ended by a message ...
const MANY_SLEEPS: usize = 8;
/// ... within this time begin it: one every 67 µs.
const SHORT_TIME: Duration = Duration::from_micros(536);
/// A pause that brings fewer messages than this has not paid ...
const FEW_MESSAGES: u64 = 2;
/// ... and so many of them in a row end it.
const POOR_PAUSES: u32 = 4;
/// A wait as long as this was a sleep; one for what is there already takes less than a microsecond.
const SLEPT: Duration = Duration::from_micros(5);

/// What a wait was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// Something was there already, or has been gathered: there may be more than one message. Or the time is over.
    Found,
    /// The thread slept, and was woken by the first that came.
    Woken,
}

/// Waits for sockets, at once or after a pause; see the module.
#[derive(Debug)]
pub struct Gathering {
    began: Instant,
    looked_at: Instant,
    judge: Judge,
}

impl Default for Gathering {
    fn default() -> Gathering {
        let now = Instant::now();
        Gathering { began: now, looked_at: now, judge: Judge::default() }
    }
}

impl Gathering {
    /// Waits until a socket of `poller` can be read or `timeout` has passed (`None`: for ever). `messages` is how many the
    /// thread has received since it began.
    pub fn wait(&mut self, poller: &mut Poller, timeout: Option<Duration>, messages: u64) -> io::Result<Waited> {
        let mut before = Instant::now();
        let pause = self.judge.pause(before.duration_since(self.looked_at), timeout);
        if let Some(pause) = pause {
            sleep(pause);
            before = Instant::now();
        }
        poller.wait(timeout.map(|timeout| timeout.saturating_sub(pause.unwrap_or_default())))?;
        self.looked_at = Instant::now();
        let slept = self.looked_at.duration_since(before);
        let waited = if slept >= SLEPT && poller.ready() > 0 { Waited::Woken } else { Waited::Found };
        let now = self.looked_at.duration_since(self.began);
        self.judge.waited(Wait { paused: pause.is_some(), slept, waited, now }, messages);
        Ok(waited)
    }

    /// Writes how often sockets were left alone under its name.
    pub fn write(&self, counters: &mut Counters) {
        set(counters, "pauses", self.judge.all_pauses);
    }
}

/// A wait that is over.
struct Wait {
    paused: bool,
    /// How long behind the pause.
    slept: Duration,
    waited: Waited,
    /// When it ended, since the thread began.
    now: Duration,
}

/// Whether pauses pay, by what came of the waits before.
#[derive(Debug, Default)]
struct Judge {
    gathers: bool,
    all_pauses: u64,
    /// When the last sleeps ended; the oldest is the next to be overwritten.
    sleeps: [Duration; MANY_SLEEPS],
    oldest: usize,
    /// Pauses in a row that have not paid.
    poor: u32,
    /// What had been received before the last wait, if that was a pause.
    before_pause: Option<u64>,
}

impl Judge {
    /// How long the sockets are left alone before a wait of at most `timeout`, when the last look is `ago`. Whoever worked
    /// longer than the interval does not pause.
    fn pause(&self, ago: Duration, timeout: Option<Duration>) -> Option<Duration> {
        let left = INTERVAL.saturating_sub(ago);
        let pause = timeout.map_or(left, |timeout| timeout.min(left));
        (self.gathers && !pause.is_zero()).then_some(pause)
    }

    /// After a wait; `messages` came until then, without what it found.
    fn waited(&mut self, wait: Wait, messages: u64) {
        self.all_pauses += u64::from(wait.paused);
        if let Some(had) = std::mem::replace(&mut self.before_pause, wait.paused.then_some(messages)) {
            let paid = messages.saturating_sub(had) >= FEW_MESSAGES;
            self.poor = if paid { 0 } else { self.poor + 1 };
        }
        if self.gathers {
            // Who slept long had nothing to gather.
            self.gathers = self.poor < POOR_PAUSES && wait.slept < SHORT_TIME;
        } else if wait.waited == Waited::Woken {
            let first = std::mem::replace(&mut self.sleeps[self.oldest], wait.now);
            self.oldest = (self.oldest + 1) % MANY_SLEEPS;
            self.gathers = !first.is_zero() && wait.now.saturating_sub(first) <= SHORT_TIME;
            self.poor = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A thread with packets at equal distances, each of which takes it `work`.
    struct Thread {
        judge: Judge,
        now: Duration,
        looked: Duration,
        next: Duration,
        work: Duration,
        taken: u64,
        slept: u64,
        longest: Duration,
    }

    impl Thread {
        fn new() -> Thread {
            let zero = Duration::ZERO;
            Thread {
                judge: Judge::default(),
                now: zero,
                looked: zero,
                next: zero,
                work: zero,
                taken: 0,
                slept: 0,
                longest: zero,
            }
        }

        /// Runs for a while with a packet each `every`, and `timer` as the longest wait.
        fn run(&mut self, long: Duration, every: Duration, timer: Option<Duration>) {
            let end = self.now + long;
            self.next = self.next.max(self.now);
            while self.now < end {
                let pause = self.judge.pause(self.now - self.looked, timer);
                self.now += pause.unwrap_or_default();
                let waited = if self.next <= self.now { Waited::Found } else { Waited::Woken };
                self.slept += u64::from(waited == Waited::Woken);
                let left = timer.map(|timer| timer - pause.unwrap_or_default());
                let (before, messages) = (self.now, self.taken);
                self.now = self.now.max(left.map_or(self.next, |left| self.next.min(self.now + left)));
                self.looked = self.now;
                let wait = Wait { paused: pause.is_some(), slept: self.now - before, waited, now: self.now };
                self.judge.waited(wait, messages);
                for _ in 0..64 {
                    if self.next > self.now {
                        break;
                    }
                    self.longest = self.longest.max(self.now - self.next);
                    self.next += every;
                    self.taken += 1;
                    self.now += self.work;
                }
            }
        }
    }

    fn us(us: u64) -> Duration {
        Duration::from_micros(us)
    }

    #[test]
    fn many_packets_a_second_are_gathered_and_wait_no_longer_than_a_pause() {
        let mut thread = Thread::new();
        thread.run(us(1_000_000), us(50), None);
        assert!((19_900..=20_100).contains(&thread.taken), "{}", thread.taken);
        assert!(thread.judge.all_pauses < thread.taken / 2, "{} pauses", thread.judge.all_pauses);
        assert!(thread.slept < 300, "{} sleeps", thread.slept);
        assert!(thread.longest <= INTERVAL, "{:?}", thread.longest);
    }

    #[test]
    fn few_packets_a_second_are_taken_as_they_come() {
        let mut thread = Thread::new();
        thread.run(us(1_000_000), us(250), None);
        assert_eq!((thread.judge.all_pauses, thread.longest), (0, Duration::ZERO));
    }

    #[test]
    fn it_is_given_up_when_fewer_come() {
        let mut thread = Thread::new();
        thread.run(us(100_000), us(50), None);
        assert!(thread.judge.gathers);
        thread.run(us(30_000), us(200), None);
        assert!(!thread.judge.gathers);
        thread.run(us(100_000), us(50), None);
        assert!(thread.judge.gathers);
        thread.run(us(1_000_000), us(500_000), None);
        assert!(!thread.judge.gathers, "a long sleep ends it as well");
    }

    #[test]
    fn bursts_are_gathered_soon_and_what_comes_alone_between_them_does_not_wait() {
        let mut thread = Thread::new();
        for _ in 0..30 {
            thread.next = thread.now;
            thread.run(us(3_000), us(10), None);
            thread.run(us(30_000), us(5_000), None);
        }
        assert!((9_000..9_700).contains(&thread.taken), "{}", thread.taken);
        let lonely = 30 * 6;
        assert!(thread.slept <= 30 * (MANY_SLEEPS as u64 + 2) + lonely, "{} sleeps", thread.slept);
        assert!(thread.judge.all_pauses < 30 * 25, "{} pauses", thread.judge.all_pauses);
    }

    #[test]
    fn a_timer_is_not_missed_for_it_and_what_waits_already_is_not_paused_for() {
        let judge = Judge { gathers: true, ..Judge::default() };
        assert_eq!(judge.pause(us(0), Some(us(40))), Some(us(40)));
        assert_eq!(judge.pause(us(30), Some(us(400))), Some(us(120)));
        assert_eq!(judge.pause(us(0), None), Some(INTERVAL));
        assert_eq!(judge.pause(us(0), Some(Duration::ZERO)), None);
    }

    #[test]
    fn whoever_has_no_time_to_sleep_does_not_pause() {
        let mut thread = Thread::new();
        thread.run(us(100_000), us(50), None);
        assert!(thread.judge.gathers);
        (thread.work, thread.next) = (us(60), thread.now);
        let pauses = thread.judge.all_pauses;
        thread.run(us(1_000_000), us(50), None);
        assert!(thread.judge.all_pauses - pauses < 20, "{} pauses", thread.judge.all_pauses - pauses);
        assert!(thread.taken > 18_000, "{}", thread.taken);
    }
}
