//! How loudly somebody speaks on an up track, by the levels that its packets tell of (RFC 6464).
//!
//! Levels are the publisher's own words, so they are taken with salt: what is louder than a loud voice counts like one,
//! a sound that never pauses becomes background, digital silence proves nothing about the background, and a track that
//! tells no levels counts like the quietest voice while it sends. A flood of packets counts by time and not by number.

use crate::rtp::AudioLevel;
use crate::time::Time;
use std::time::Duration;

/// The loudest that is told.
pub const MOST_LOUDNESS: u8 = 5;

/// What is quieter than this (in -dBov) counts like it, and what is louder than [`LOUD`] like that.
const QUIET: f32 = 80.0;
const LOUD: f32 = 20.0;
/// RFC 6464 §3: digital silence.
const SILENCE: u8 = 127;
/// The background of somebody who was not heard before is at most so many dB above [`QUIET`].
const FIRST_BACKGROUND: f32 = 30.0;
/// How fast a sound without pauses becomes background, in dB per second, and how soon the background is found again.
const BACKGROUND_RISE: f32 = 2.0;
const BACKGROUND_FALL: Duration = Duration::from_millis(150);
/// A voice is so many dB louder than the background.
const MARGIN: f32 = 9.0;
/// More above the background makes nobody louder, in dB.
const MOST_ACTIVITY: f32 = 30.0;
/// What a track counts that tells no levels, in dB.
const UNTOLD: f32 = 8.0;
/// A click is over before it counts; a pause between words is no end.
const ATTACK: Duration = Duration::from_millis(80);
const RELEASE: Duration = Duration::from_millis(400);
/// One step of what is told, in dB, how far from the last one the next is told, and how far above silence the first.
const STEP: f32 = 6.0;
const HYSTERESIS: f32 = 4.5;
const START: f32 = 7.0;
/// Between two changes that are told; somebody who begins to speak is told sooner.
const TELL_EVERY: Duration = Duration::from_millis(250);
const TELL_START_EVERY: Duration = Duration::from_millis(100);
/// Without packets for so long nobody speaks; also the longest time that one packet stands for.
const SILENT_AFTER: Duration = Duration::from_millis(600);
const LONGEST_PACKET: Duration = Duration::from_millis(120);
const USUAL_PACKET: Duration = Duration::from_millis(20);

/// See the module. Sans-IO: time is an argument; a change comes back from the call that found it.
#[derive(Clone, Copy, Debug, Default)]
pub struct SpeechMeter {
    /// In dB above [`QUIET`]; `None` before the first level.
    background: Option<f32>,
    /// Voice above the background, smoothed, in dB.
    activity: f32,
    heard_at: Option<Time>,
    told: u8,
    told_at: Option<Time>,
    check_at: Option<Time>,
}

impl SpeechMeter {
    /// Takes a packet of sound; the new loudness, 0 to [`MOST_LOUDNESS`], when that is worth telling.
    pub fn heard(&mut self, level: Option<AudioLevel>, now: Time) -> Option<u8> {
        let passed = self.heard_at.map_or(USUAL_PACKET, |before| now.since(before).min(LONGEST_PACKET));
        self.heard_at = Some(now);
        let voice = match level {
            Some(level) if level.level == SILENCE => 0.0,
            Some(level) => self.above_background(level, passed),
            None => UNTOLD,
        };
        let settles = if voice > self.activity { ATTACK } else { RELEASE };
        self.activity += (voice - self.activity) * share(passed, settles);
        self.tell(now)
    }

    /// When [`SpeechMeter::handle_timeout`] has something to do; only while somebody speaks.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.check_at
    }

    /// Finds out who stopped to send; the new loudness, when that is worth telling.
    pub fn handle_timeout(&mut self, now: Time) -> Option<u8> {
        if self.check_at.is_none_or(|at| at > now) {
            return None;
        }
        let silent_at = self.heard_at.map_or(now, |heard| heard + SILENT_AFTER);
        if silent_at > now {
            self.check_at = Some(silent_at);
            return None;
        }
        (self.activity, self.told, self.told_at, self.check_at) = (0.0, 0, Some(now), None);
        Some(0)
    }

    fn above_background(&mut self, level: AudioLevel, passed: Duration) -> f32 {
        let loudness = QUIET - f32::from(level.level).clamp(LOUD, QUIET);
        let background = self.background.get_or_insert(loudness.min(FIRST_BACKGROUND));
        if loudness < *background {
            *background += (loudness - *background) * share(passed, BACKGROUND_FALL);
        } else {
            *background = loudness.min(*background + BACKGROUND_RISE * passed.as_secs_f32());
        }
        (loudness - *background - MARGIN).clamp(0.0, MOST_ACTIVITY)
    }

    fn tell(&mut self, now: Time) -> Option<u8> {
        let differs = if self.told == 0 { START } else { HYSTERESIS };
        if (self.activity - f32::from(self.told) * STEP).abs() < differs {
            return None;
        }
        let loudness = ((self.activity / STEP).round() as u8).min(MOST_LOUDNESS);
        let wait = if self.told == 0 { TELL_START_EVERY } else { TELL_EVERY };
        if loudness == self.told || self.told_at.is_some_and(|told| now.since(told) < wait) {
            return None;
        }
        (self.told, self.told_at) = (loudness, Some(now));
        self.check_at = (loudness > 0).then_some(now + SILENT_AFTER);
        Some(loudness)
    }
}

/// How much of the way to a new value a time goes that settles within `settles`.
fn share(passed: Duration, settles: Duration) -> f32 {
    let passed = passed.as_secs_f32();
    passed / (passed + settles.as_secs_f32())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds packets of 20 ms with the levels that `of` gives per packet number; what was told, with its time in ms.
    fn feed(meter: &mut SpeechMeter, from_ms: u64, ms: u64, of: impl Fn(u64) -> Option<u8>) -> Vec<(u64, u8)> {
        let mut told = Vec::new();
        for index in 0..ms / 20 {
            let at = from_ms + 20 * index;
            let now = Time::from_millis(at);
            let level = of(index).map(|level| AudioLevel { voice: true, level });
            told.extend(meter.handle_timeout(now).into_iter().chain(meter.heard(level, now)).map(|step| (at, step)));
        }
        told
    }

    /// Words of 400 ms at a level with pauses of 100 ms in a quiet room.
    fn words(level: u8) -> impl Fn(u64) -> Option<u8> {
        move |index| Some(if index % 25 < 20 { level } else { 70 })
    }

    #[test]
    fn a_voice_is_told_within_a_tenth_of_a_second_and_its_end_within_two() {
        let mut meter = SpeechMeter::default();
        assert_eq!(feed(&mut meter, 0, 2_000, |_| Some(70)), []);
        let told = feed(&mut meter, 2_000, 4_000, words(35));
        assert!(told[0].0 <= 2_100 && told.iter().all(|(_, step)| *step > 0), "{told:?}");
        let told = feed(&mut meter, 6_000, 3_000, |_| Some(70));
        assert_eq!(told.last().map(|(at, step)| (*at < 8_000, *step)), Some((true, 0)));
    }

    #[test]
    fn somebody_who_stops_to_send_is_silent_after_a_moment() {
        let mut meter = SpeechMeter::default();
        feed(&mut meter, 0, 1_000, words(30));
        let mut told = None;
        while let Some(at) = meter.poll_timeout() {
            told = meter.handle_timeout(at).map(|step| (at, step)).or(told);
        }
        assert_eq!(told, Some((Time::from_millis(980) + SILENT_AFTER, 0)));
    }

    #[test]
    fn whoever_claims_the_loudest_for_ever_becomes_background() {
        let mut meter = SpeechMeter::default();
        let told = feed(&mut meter, 0, 60_000, |_| Some(0));
        let silent_at = told.last().filter(|(_, step)| *step == 0).map(|(at, _)| *at);
        assert!(silent_at.is_some_and(|at| at < 15_000), "{told:?}");
    }

    #[test]
    fn a_shout_counts_no_more_than_a_loud_voice() {
        let (mut shout, mut loud) = (SpeechMeter::default(), SpeechMeter::default());
        let shouted = feed(&mut shout, 0, 5_000, words(0));
        assert_eq!(shouted, feed(&mut loud, 0, 5_000, words(LOUD as u8)));
        assert_eq!(shouted.iter().map(|(_, step)| *step).max(), Some(MOST_LOUDNESS));
    }

    #[test]
    fn a_fan_and_a_click_are_nobody_speaking() {
        let mut meter = SpeechMeter::default();
        assert_eq!(feed(&mut meter, 0, 10_000, |_| Some(45)), []);
        let clicks = |index: u64| Some(if index.is_multiple_of(50) { 20 } else { 70 });
        assert_eq!(feed(&mut SpeechMeter::default(), 0, 10_000, clicks), []);
    }

    #[test]
    fn digital_silence_does_not_make_the_background_a_voice() {
        let mut meter = SpeechMeter::default();
        feed(&mut meter, 0, 2_000, |_| Some(50));
        feed(&mut meter, 2_000, 10_000, |_| Some(SILENCE));
        assert_eq!(feed(&mut meter, 12_000, 5_000, |_| Some(50)), []);
    }

    #[test]
    fn without_levels_a_track_counts_like_the_quietest_voice() {
        let mut meter = SpeechMeter::default();
        let told = feed(&mut meter, 0, 10_000, |_| None);
        assert_eq!(told.iter().map(|(_, step)| *step).collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn little_is_told_whatever_comes() {
        let mut meter = SpeechMeter::default();
        let mut told = 0;
        // A thousand packets a second whose levels jump about.
        for index in 0..60_000u64 {
            let level = AudioLevel { voice: true, level: (index / 150 * 7919 % 128) as u8 };
            told += u64::from(meter.heard(Some(level), Time::from_millis(index)).is_some());
        }
        assert!(told < 60 * 5, "{told} changes in a minute");
    }

    #[test]
    fn a_flood_of_packets_is_not_louder_than_a_steady_stream() {
        let (mut flood, mut steady) = (SpeechMeter::default(), SpeechMeter::default());
        for ms in 0..3_000u64 {
            let level = AudioLevel { voice: true, level: if ms / 100 % 5 < 4 { 40 } else { 70 } };
            flood.heard(Some(level), Time::from_millis(ms));
            if ms % 20 == 0 {
                steady.heard(Some(level), Time::from_millis(ms));
            }
        }
        assert!((flood.activity - steady.activity).abs() < STEP / 2.0, "{} {}", flood.activity, steady.activity);
    }
}
