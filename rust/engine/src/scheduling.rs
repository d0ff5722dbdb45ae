//! How a shard's thread is scheduled: on a CPU of its own, and before everything else on it while it is not too busy.

use std::time::Duration;

use mediaserver_proto::time::Time;

use crate::counters::{Counters, set};
use crate::sys::{pin_to_cpu, set_real_time, set_timer_slack, thread_cpu_ns};

/// How late a timer may be: pauses between packets are not much longer (`gathering`), and deadlines of pacers are kept.
const TIMER_SLACK: Duration = Duration::from_micros(10);

/// How often a thread looks at its own share of the CPU.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Beyond this share, in percent, others on this CPU would starve: the control plane among them.
const BUSY_PERCENT: u128 = 80;
/// Below this share for `CALM_LOOKS` looks it is urgent again.
const CALM_PERCENT: u128 = 50;
const CALM_LOOKS: u32 = 10;

/// See the module; made anywhere, used on the shard's thread.
#[derive(Debug)]
pub struct Scheduling {
    cpu: Option<usize>,
    urgency: Option<Urgency>,
    urgent: bool,
    given_up: u64,
}

impl Scheduling {
    /// Bound to `cpu`, and real-time where that is wanted.
    pub fn new(cpu: Option<usize>, real_time: bool) -> Scheduling {
        Scheduling { cpu, urgency: real_time.then(Urgency::default), urgent: false, given_up: 0 }
    }

    /// Takes effect on the calling thread. What the system does not allow is left out, and metrics say so.
    pub fn begin(&mut self) {
        set_timer_slack(TIMER_SLACK);
        // Fewer CPUs than shards, or a cpuset that does not hold this one: the scheduler decides.
        self.cpu = self.cpu.filter(|&cpu| pin_to_cpu(cpu).is_ok());
        if self.urgency.is_some() {
            self.urgent = set_real_time(true).is_ok();
            if !self.urgent {
                // No CAP_SYS_NICE and RLIMIT_RTPRIO 0; asking again will not help.
                self.urgency = None;
            }
        }
    }

    /// To be called in every round.
    pub fn look(&mut self, now: Time) {
        let Some(urgency) = &mut self.urgency else { return };
        if now.since(urgency.looked_at) < LOOK_EVERY {
            return;
        }
        let wanted = urgency.look(now, thread_cpu_ns());
        if wanted != self.urgent && set_real_time(wanted).is_ok() {
            self.urgent = wanted;
            self.given_up += u64::from(!wanted);
        }
    }

    /// Writes what is in force under its names.
    pub fn write(&self, counters: &mut Counters) {
        set(counters, "pinned", u64::from(self.cpu.is_some()));
        set(counters, "real_time", u64::from(self.urgent));
        set(counters, "real_time_given_up", self.given_up);
    }
}

/// Whether a thread may go before all others, by what it took of the CPU.
#[derive(Debug)]
struct Urgency {
    looked_at: Time,
    cpu_ns: u64,
    urgent: bool,
    calm_looks: u32,
}

impl Default for Urgency {
    fn default() -> Urgency {
        Urgency { looked_at: Time::ZERO, cpu_ns: 0, urgent: true, calm_looks: 0 }
    }
}

impl Urgency {
    /// `cpu_ns` is what the thread has taken since it began.
    fn look(&mut self, now: Time, cpu_ns: u64) -> bool {
        let passed = now.since(self.looked_at).as_nanos().max(1);
        let percent = u128::from(cpu_ns.saturating_sub(self.cpu_ns)) * 100 / passed;
        (self.looked_at, self.cpu_ns) = (now, cpu_ns);
        if percent > BUSY_PERCENT {
            self.urgent = false;
        }
        self.calm_looks = if percent < CALM_PERCENT { self.calm_looks + 1 } else { 0 };
        self.urgent |= self.calm_looks >= CALM_LOOKS;
        self.urgent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_thread_gives_way_and_is_urgent_again_after_a_calm_second() {
        let (mut urgency, mut now, mut cpu_ns) = (Urgency::default(), Time::from_millis(0), 0);
        let mut busy = |percent: u64, urgency: &mut Urgency| {
            now = now + Duration::from_millis(100);
            cpu_ns += percent * 1_000_000;
            urgency.look(now, cpu_ns)
        };
        assert!(busy(80, &mut urgency));
        assert!(!busy(81, &mut urgency));
        for _ in 0..9 {
            assert!(!busy(49, &mut urgency));
        }
        assert!(!busy(50, &mut urgency), "not calm yet");
        for _ in 0..9 {
            assert!(!busy(49, &mut urgency));
        }
        assert!(busy(49, &mut urgency));
        assert!(!busy(99, &mut urgency));
    }

    #[test]
    fn what_is_not_wanted_is_not_done() {
        let mut scheduling = Scheduling::new(None, false);
        scheduling.begin();
        scheduling.look(Time::from_millis(1000));
        let mut counters = Counters::default();
        scheduling.write(&mut counters);
        assert_eq!(counters.iter().map(|(_, value)| value).collect::<Vec<_>>(), [0, 0, 0]);
    }
}
