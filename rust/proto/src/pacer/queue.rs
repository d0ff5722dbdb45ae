//! A leaky bucket of debt: as long as the debt is small everything leaves at once, a whole frame as one run; what
//! goes beyond it waits and is spaced.
//!
//! The pacer holds small records, not bytes; whoever takes one out writes the packet and encrypts it then. Audio
//! never waits. Behind it come a shared screen, then cameras, of each what is sent again before what is new, then
//! padding, and padding only for a train of probes. So a large keyframe of a screen leaves as fast as the line carries
//! it, whatever waits of cameras that have not yet given way.

use std::collections::VecDeque;
use std::time::Duration;

use super::drops::{PacerDrop, PacerDrops};
use crate::bwe::{ClusterId, Probe};
use crate::time::Time;

/// What a record is, in order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Leaves at once, always; its bytes are debt all the same.
    Audio,
    /// A packet of a screen that was asked for again.
    ScreenRetransmission,
    /// A shared screen.
    Screen,
    /// Any other packet that was asked for again.
    Retransmission,
    /// Everything else that is media.
    Video,
}

impl Class {
    /// Those that wait, in order of precedence.
    const WAITING: [Class; 4] = [Class::ScreenRetransmission, Class::Screen, Class::Retransmission, Class::Video];

    /// Whether it was asked for again.
    pub fn is_repair(self) -> bool {
        matches!(self, Class::ScreenRetransmission | Class::Retransmission)
    }

    /// The queue in which it waits.
    fn queue(self) -> usize {
        Class::WAITING.iter().position(|class| *class == self).unwrap_or(0)
    }
}

/// Whether a packet may leave now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Send it now; its bytes are accounted for.
    Now,
    /// Hand it to [`Pacer::hold`].
    Hold,
}

/// A record that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held<R> {
    /// What the caller gave.
    pub record: R,
    /// Bytes of the packet on the wire.
    pub size: usize,
    /// When it came.
    pub since: Time,
}

/// What is to be sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release<R> {
    /// A record that has waited; as part of a train when it names one.
    Packet {
        /// The record.
        held: Held<R>,
        /// What it is.
        class: Class,
        /// The train it belongs to.
        cluster: Option<ClusterId>,
    },
    /// Padding, or old packets again, for a train: about this many bytes in one packet. The caller tells with
    /// [`Pacer::padded`] what it sent.
    Padding {
        /// Bytes wanted.
        bytes: usize,
        /// The train.
        cluster: ClusterId,
    },
}

/// Room of each queue that is made at once; a line that needs more makes more, and keeps it.
const ROOM: [usize; 4] = [0, 0, 64, 128];
/// Records that wait in one class, at most.
const MOST_RECORDS: usize = 2_048;
/// Bytes that wait, at most.
const MOST_BYTES: usize = 2 << 20;
/// A record that has waited this long is of no use any more. The tail of a screen's keyframe is until the next one.
const STALE: Duration = Duration::from_millis(1_500);
const STALE_SCREEN: Duration = Duration::from_millis(3_000);
/// Debt that may be made at once: this much time at the rate, and at least so many bytes.
const BURST: Duration = Duration::from_millis(40);
const BURST_BYTES: f64 = 6_000.0;
/// The same where much less is sent than the line carries.
const ROOMY_BURST: Duration = Duration::from_millis(80);
/// The same where bursts are spread.
const SPREAD: Duration = Duration::from_millis(5);
const SPREAD_BYTES: f64 = 2_400.0;
/// Debt is paid back this much faster than the estimate, so that what waits gets out before the next frame comes.
const PACE: f64 = 1.25;
/// What waits has left after this time, if the rate must be exceeded for it. Not while a screen is shared: what the line
/// has no room for is lost, of the screen, too, and a keyframe of it that takes the line for a second has to take a second.
const LONGEST_WAIT_SECONDS: f64 = 0.5;
/// A screen is shared for so long after its last packet.
const SHARED: Duration = Duration::from_secs(2);
const SHORTEST_SECONDS: f64 = 0.02;
/// Size of a packet of padding.
const PADDING: usize = 1_000;
/// A train may fall behind by this much before it is spaced anew, so that it is not sent as one burst.
const TRAIN_LAG: Duration = Duration::from_millis(5);

/// A train that is being sent.
#[derive(Clone, Copy, Debug)]
struct Train {
    probe: Probe,
    bytes: usize,
    packets: u32,
    next: Time,
}

/// The pacer of one transport.
#[derive(Debug)]
pub struct Pacer<R> {
    queues: [VecDeque<Held<R>>; 4],
    bytes: usize,
    rate_bps: f64,
    spread: bool,
    roomy: bool,
    debt_bytes: f64,
    counted: Time,
    train: Option<Train>,
    /// When the last packet of a screen came.
    screen: Option<Time>,
    drops: PacerDrops,
}

impl<R> Pacer<R> {
    /// A pacer at `rate_bps`, the estimate.
    pub fn new(rate_bps: u64) -> Pacer<R> {
        Pacer {
            queues: ROOM.map(VecDeque::with_capacity),
            bytes: 0,
            rate_bps: rate_bps.max(1) as f64,
            spread: false,
            roomy: false,
            debt_bytes: 0.0,
            counted: Time::ZERO,
            train: None,
            screen: None,
            drops: PacerDrops::default(),
        }
    }

    /// Sets the estimate.
    pub fn set_rate(&mut self, rate_bps: u64, now: Time) {
        self.pay(now);
        self.rate_bps = rate_bps.max(1) as f64;
    }

    /// Whether frames are spread over time instead of leaving as one burst: on a line with a short queue a burst
    /// causes the very loss that it suffers from.
    pub fn set_spread(&mut self, spread: bool) {
        self.spread = spread;
    }

    /// Whether much less is sent than the line carries: then larger frames leave as one burst, too.
    pub fn set_roomy(&mut self, roomy: bool) {
        self.roomy = roomy;
    }

    /// Whether a packet of `size` bytes may leave now; accounts for it when it may.
    pub fn admit(&mut self, class: Class, size: usize, now: Time) -> Admission {
        self.pay(now);
        self.screen = if class == Class::Screen { Some(now) } else { self.screen };
        let is_next = self.queues[..=class.queue()].iter().all(VecDeque::is_empty);
        let free = is_next && self.train.is_none() && self.debt_bytes < self.burst_bytes();
        if class == Class::Audio || free {
            self.debt_bytes += size as f64;
            return Admission::Now;
        }
        Admission::Hold
    }

    /// Keeps a record until it is its turn; audio belongs to nobody here and is taken as a retransmission.
    pub fn hold(&mut self, class: Class, size: usize, record: R, now: Time) -> Result<(), PacerDrop> {
        let queue = &mut self.queues[class.queue()];
        let reason = if queue.len() >= MOST_RECORDS {
            PacerDrop::QueueFull
        } else if self.bytes + size > MOST_BYTES {
            PacerDrop::TooManyBytes
        } else {
            queue.push_back(Held { record, size, since: now });
            self.bytes += size;
            return Ok(());
        };
        self.drops.count(reason);
        Err(reason)
    }

    /// Begins a train; one that is under way is given up.
    pub fn start_probe(&mut self, probe: Probe, now: Time) {
        self.train = Some(Train { probe, bytes: 0, packets: 0, next: now });
    }

    /// What is to be sent now; call again until it is `None`.
    pub fn poll(&mut self, now: Time) -> Option<Release<R>> {
        self.pay(now);
        self.drop_stale(now);
        if let Some(train) = self.train {
            if now < train.next {
                return None;
            }
            let cluster = train.probe.cluster;
            // A train may be more than the line carries: what must not be lost is no part of it.
            let Some((held, class)) = self.take(Class::Retransmission) else {
                return Some(Release::Padding { bytes: PADDING, cluster });
            };
            self.count(held.size, now);
            return Some(Release::Packet { held, class, cluster: Some(cluster) });
        }
        if self.debt_bytes >= self.burst_bytes().min(self.debt_limit()) {
            return None;
        }
        let (held, class) = self.take(Class::ScreenRetransmission)?;
        self.count(held.size, now);
        Some(Release::Packet { held, class, cluster: None })
    }

    /// Tells how many bytes of padding were sent; 0 when there is nothing to pad with, which ends the train.
    pub fn padded(&mut self, bytes: usize, now: Time) -> Option<ClusterId> {
        if bytes == 0 {
            return self.train.take().map(|train| train.probe.cluster);
        }
        self.count(bytes, now);
        None
    }

    /// A record that was taken out has not left after all: its bytes are no debt.
    pub fn forgive(&mut self, size: usize) {
        self.debt_bytes = (self.debt_bytes - size as f64).max(0.0);
    }

    /// When to call [`Pacer::poll`] next; `None` when nothing waits.
    pub fn poll_timeout(&self) -> Option<Time> {
        if let Some(train) = self.train {
            return Some(train.next);
        }
        if self.is_empty() {
            return None;
        }
        let over_bytes = (self.debt_bytes - self.debt_limit()).max(0.0);
        let wait_s = over_bytes * 8.0 / self.drain_bps();
        // A little more than needed: rounded down it would be due for ever.
        Some(self.counted + Duration::from_secs_f64(wait_s.min(10.0)) + Duration::from_micros(1))
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.queues.iter().all(VecDeque::is_empty)
    }

    /// The records of new pictures that wait, those of one picture in order.
    pub fn waiting_video(&self) -> impl Iterator<Item = &Held<R>> {
        self.queues[Class::Screen.queue()].iter().chain(&self.queues[Class::Video.queue()])
    }

    /// Drops what is of no use any more.
    pub fn abandon(&mut self, is_useless: impl Fn(&R) -> bool) {
        for queue in &mut self.queues {
            queue.retain(|held| {
                let goes = is_useless(&held.record);
                if goes {
                    self.bytes -= held.size;
                    self.drops.count(PacerDrop::Abandoned);
                }
                !goes
            });
        }
    }

    /// Bytes that wait.
    pub fn waiting_bytes(&self) -> usize {
        self.bytes
    }

    /// How long the oldest record has waited.
    pub fn longest_wait(&self, now: Time) -> Duration {
        self.queues.iter().filter_map(VecDeque::front).map(|held| now.since(held.since)).max().unwrap_or_default()
    }

    /// What was dropped and why.
    pub fn drops_mut(&mut self) -> &mut PacerDrops {
        &mut self.drops
    }

    /// The next record, of classes from `first` on.
    fn take(&mut self, first: Class) -> Option<(Held<R>, Class)> {
        for (queue, class) in self.queues.iter_mut().zip(Class::WAITING).filter(|(_, class)| *class >= first) {
            if let Some(held) = queue.pop_front() {
                self.bytes -= held.size;
                return Some((held, class));
            }
        }
        None
    }

    /// Accounts for what leaves, in the debt and in the train.
    fn count(&mut self, size: usize, now: Time) {
        self.debt_bytes += size as f64;
        let Some(train) = &mut self.train else { return };
        train.bytes += size;
        train.packets += 1;
        if train.bytes >= train.probe.bytes && train.packets >= train.probe.packets {
            self.train = None;
            return;
        }
        let spacing = Duration::from_secs_f64(size as f64 * 8.0 / train.probe.rate_bps.max(1) as f64);
        let begin = if now.since(train.next) > TRAIN_LAG { now } else { train.next };
        train.next = begin + spacing;
    }

    /// What waits is let out one packet at a time as soon as the debt is paid to this.
    fn debt_limit(&self) -> f64 {
        0.5 * self.burst_bytes()
    }

    fn burst_bytes(&self) -> f64 {
        let (time, bytes) = match (self.spread, self.roomy) {
            (true, _) => (SPREAD, SPREAD_BYTES),
            (false, true) => (ROOMY_BURST, BURST_BYTES),
            (false, false) => (BURST, BURST_BYTES),
        };
        (self.rate_bps * time.as_secs_f64() / 8.0).max(bytes)
    }

    fn drain_bps(&self) -> f64 {
        if self.screen.is_some_and(|screen| self.counted.since(screen) < SHARED) {
            return PACE * self.rate_bps;
        }
        let left_s = (LONGEST_WAIT_SECONDS - self.longest_wait(self.counted).as_secs_f64()).max(SHORTEST_SECONDS);
        (PACE * self.rate_bps).max(self.bytes as f64 * 8.0 / left_s)
    }

    fn pay(&mut self, now: Time) {
        let elapsed_s = now.since(self.counted).as_secs_f64();
        self.counted = self.counted.max(now);
        self.debt_bytes = (self.debt_bytes - self.drain_bps() * elapsed_s / 8.0).max(0.0);
    }

    fn drop_stale(&mut self, now: Time) {
        for (queue, class) in self.queues.iter_mut().zip(Class::WAITING) {
            let limit = if class < Class::Retransmission { STALE_SCREEN } else { STALE };
            while queue.front().is_some_and(|held| now.since(held.since) > limit) {
                self.bytes -= queue.pop_front().map_or(0, |held| held.size);
                self.drops.count(PacerDrop::Stale);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU8;

    const RATE_BPS: u64 = 1_200_000;

    /// Sends `packets` of 1000 bytes at `now`; gives out how many left at once.
    fn frame(pacer: &mut Pacer<u32>, packets: u32, now: Time) -> u32 {
        let mut left = 0;
        for record in 0..packets {
            match pacer.admit(Class::Video, 1_000, now) {
                Admission::Now => left += 1,
                Admission::Hold => pacer.hold(Class::Video, 1_000, record, now).unwrap(),
            }
        }
        left
    }

    /// Runs until nothing waits; gives out when each record left.
    fn drain(pacer: &mut Pacer<u32>) -> Vec<(u64, Release<u32>)> {
        let mut released = Vec::new();
        while let Some(at) = pacer.poll_timeout() {
            while let Some(release) = pacer.poll(at) {
                if let Release::Padding { bytes, .. } = release {
                    pacer.padded(bytes, at);
                }
                released.push((at.as_millis(), release));
            }
        }
        released
    }

    fn probe(rate_bps: u64) -> Probe {
        Probe { cluster: ClusterId(NonZeroU8::MIN), rate_bps, bytes: 5_000, packets: 5 }
    }

    #[test]
    fn where_the_line_has_room_a_larger_frame_leaves_at_once() {
        let mut pacer = Pacer::new(RATE_BPS);
        assert_eq!(frame(&mut pacer, 10, Time::ZERO), 6);
        let mut pacer = Pacer::new(RATE_BPS);
        pacer.set_roomy(true);
        assert_eq!(frame(&mut pacer, 10, Time::ZERO), 10);
        assert!(pacer.is_empty());
        // Not without end.
        assert_eq!(frame(&mut pacer, 10, Time::ZERO), 2);
    }

    #[test]
    fn frames_leave_whole_while_less_is_sent_than_the_estimate() {
        let mut pacer = Pacer::new(RATE_BPS);
        for index in 0..300 {
            let packets = if index % 30 == 0 { 6 } else { 3 };
            assert_eq!(frame(&mut pacer, packets, Time::from_millis(1_000 + index * 33)), packets);
        }
    }

    #[test]
    fn what_goes_beyond_the_burst_is_spaced_a_little_faster_than_the_estimate() {
        let mut pacer = Pacer::new(RATE_BPS);
        let now = Time::from_millis(1_000);
        assert_eq!(frame(&mut pacer, 36, now), 6);
        let released = drain(&mut pacer);
        assert_eq!(released.len(), 30);
        let span_ms = released[29].0 - released[0].0;
        assert!((145..165).contains(&span_ms), "{span_ms}");
        assert!(released.windows(2).all(|pair| pair[1].0 - pair[0].0 <= 7), "{released:?}");
    }

    #[test]
    fn a_frame_is_spread_where_bursts_are_lost() {
        let mut pacer = Pacer::new(RATE_BPS);
        pacer.set_spread(true);
        assert_eq!(frame(&mut pacer, 8, Time::from_millis(1_000)), 3);
        let released = drain(&mut pacer);
        assert!((20..40).contains(&(released[4].0 - 1_000)), "{released:?}");
    }

    #[test]
    fn audio_never_waits_and_a_retransmission_goes_before_video() {
        let mut pacer = Pacer::new(RATE_BPS);
        let now = Time::from_millis(1_000);
        frame(&mut pacer, 20, now);
        assert_eq!(pacer.admit(Class::Audio, 200, now), Admission::Now);
        assert_eq!(pacer.admit(Class::Retransmission, 900, now), Admission::Hold);
        pacer.hold(Class::Retransmission, 900, 77, now).unwrap();
        let (_, first) = drain(&mut pacer)[0];
        assert!(matches!(first, Release::Packet { held, class: Class::Retransmission, .. } if held.record == 77));
    }

    #[test]
    fn a_train_takes_media_first_then_padding_and_is_spaced_at_its_rate() {
        let mut pacer = Pacer::new(RATE_BPS);
        let now = Time::from_millis(1_000);
        pacer.start_probe(probe(4_000_000), now);
        assert_eq!(frame(&mut pacer, 2, now), 0);
        let released = drain(&mut pacer);
        assert_eq!(released.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [1000, 1002, 1004, 1006, 1008]);
        assert!(released[..2].iter().all(|(_, release)| matches!(release, Release::Packet { cluster: Some(_), .. })));
        assert!(released[2..].iter().all(|(_, release)| matches!(release, Release::Padding { .. })));
        assert_eq!(frame(&mut pacer, 1, Time::from_millis(1_100)), 1);
    }

    #[test]
    fn a_train_without_anything_to_pad_with_ends() {
        let mut pacer: Pacer<u32> = Pacer::new(RATE_BPS);
        pacer.start_probe(probe(4_000_000), Time::ZERO);
        assert!(matches!(pacer.poll(Time::ZERO), Some(Release::Padding { .. })));
        assert_eq!(pacer.padded(0, Time::ZERO), Some(ClusterId(NonZeroU8::MIN)));
        assert_eq!(pacer.poll_timeout(), None);
    }

    #[test]
    fn the_queue_is_bounded_by_records_bytes_and_time() {
        let mut pacer = Pacer::new(RATE_BPS);
        for record in 0..MOST_RECORDS {
            pacer.hold(Class::Video, 1, record, Time::ZERO).unwrap();
        }
        assert_eq!(pacer.hold(Class::Video, 1, 0, Time::ZERO), Err(PacerDrop::QueueFull));
        assert_eq!(pacer.hold(Class::Retransmission, MOST_BYTES, 0, Time::ZERO), Err(PacerDrop::TooManyBytes));
        assert!(pacer.poll(Time::from_millis(1_501)).is_none());
        assert_eq!(pacer.drops_mut().get(PacerDrop::Stale), MOST_RECORDS as u64);
        assert_eq!((pacer.waiting_bytes(), pacer.is_empty()), (0, true));
    }

    #[test]
    fn what_is_of_no_use_any_more_makes_room_for_what_is() {
        let mut pacer = Pacer::new(RATE_BPS);
        let now = Time::from_millis(1_000);
        frame(&mut pacer, 20, now);
        pacer.hold(Class::Retransmission, 900, 77, now).unwrap();
        assert_eq!(pacer.waiting_video().count(), 14);
        pacer.abandon(|record| *record >= 8);
        assert_eq!((pacer.waiting_bytes(), pacer.drops_mut().get(PacerDrop::Abandoned)), (2_000, 13));
        assert_eq!(drain(&mut pacer).len(), 2);
    }

    #[test]
    fn what_waits_leaves_within_half_a_second_even_above_the_rate() {
        let mut pacer = Pacer::new(100_000);
        let now = Time::from_millis(1_000);
        frame(&mut pacer, 200, now);
        let released = drain(&mut pacer);
        assert!(released.last().unwrap().0 < 2_500, "{:?}", released.last());
        assert_eq!(pacer.drops_mut().get(PacerDrop::Stale), 0);
    }

    fn hold(pacer: &mut Pacer<u32>, class: Class, records: std::ops::Range<u32>, now: Time) {
        for record in records {
            match pacer.admit(class, 1_000, now) {
                Admission::Now => {}
                Admission::Hold => pacer.hold(class, 1_000, record, now).unwrap(),
            }
        }
    }

    #[test]
    fn a_keyframe_of_a_screen_goes_before_cameras_takes_its_time_and_leaves_whole() {
        let mut pacer = Pacer::new(200_000);
        let now = Time::from_millis(1_000);
        hold(&mut pacer, Class::Video, 0..40, now);
        hold(&mut pacer, Class::Retransmission, 100..110, now);
        hold(&mut pacer, Class::Screen, 200..260, now);
        let released = drain(&mut pacer);
        let of_screen = |release: &Release<u32>| matches!(release, Release::Packet { class: Class::Screen, .. });
        let (screen, cameras) = released.split_at(60);
        assert!(screen.iter().all(|(_, release)| of_screen(release)), "{screen:?}");
        // 60 packets at a quarter more than the rate.
        assert!((2_800..3_050).contains(&screen[59].0), "{:?}", screen[59]);
        assert!(screen.windows(10).all(|ten| ten[9].0 - ten[0].0 >= 280), "{screen:?}");
        assert_eq!((cameras.len(), pacer.drops_mut().get(PacerDrop::Stale)), (0, 44), "what waited behind it is late");
    }

    #[test]
    fn a_small_frame_of_a_screen_leaves_at_once_though_cameras_wait() {
        let mut pacer = Pacer::new(1_200_000);
        let now = Time::from_millis(1_000);
        hold(&mut pacer, Class::Video, 0..30, now);
        let later = Time::from_millis(1_020);
        while pacer.poll(later).is_some() {}
        assert_eq!(pacer.admit(Class::Screen, 900, later), Admission::Now);
        assert_eq!(pacer.admit(Class::Video, 900, later), Admission::Hold);
    }
}
