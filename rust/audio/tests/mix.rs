//! Conferences of tones: each listener hears all the others' and not its own.

use mediaserver_audio::decoder::Decoder;
use mediaserver_audio::encoder::Encoder;
use mediaserver_audio::format::frame_samples;
use mediaserver_audio::mix::MOST_HEARD;
use mediaserver_audio::transcoder::Input;
use mediaserver_audio::voice::{RATES, rate_index};
use mediaserver_audio::{Arrival, Content, Format, Mix};
use mediaserver_proto::time::Time;
use std::collections::HashMap;

const PCMU: Format = Format::Pcmu;
const OPUS: Format = Format::Opus;
const G722: Format = Format::G722;
/// A listener has the id of its voice and this.
const LISTENS: u64 = 1_000;
/// What a tone of a party measures where it is heard.
const LOUD: f64 = 2_000.0;

/// A party with a tone of its own: its encoder, and the decoder of what it hears.
struct Party {
    id: u64,
    format: Format,
    hz: f64,
    amplitude: f64,
    encoder: Encoder,
    decoder: Decoder,
    heard: Vec<i16>,
    sequences: Vec<u64>,
    timestamps: Vec<u32>,
}

impl Party {
    fn new(id: u64, format: Format, hz: f64) -> Party {
        let rate = RATES[rate_index(format)];
        let (encoder, decoder) = (Encoder::new(format, rate).unwrap(), Decoder::new(format, rate).unwrap());
        let (heard, sequences, timestamps) = (Vec::new(), Vec::new(), Vec::new());
        Party { id, format, hz, amplitude: 4_000.0, encoder, decoder, heard, sequences, timestamps }
    }

    fn rate(&self) -> u32 {
        RATES[rate_index(self.format)]
    }

    fn payload(&mut self, number: u64) -> Vec<u8> {
        let (rate, samples) = (f64::from(self.rate()), frame_samples(self.rate()) as u64);
        let wave = |n: u64| (self.amplitude * (std::f64::consts::TAU * self.hz * n as f64 / rate).sin()) as i16;
        let samples: Vec<i16> = (number * samples..(number + 1) * samples).map(wave).collect();
        let mut payload = Vec::new();
        self.encoder.encode(&samples, &mut payload).unwrap();
        payload
    }

    /// Amplitude of a tone in what it heard in the last `frames`.
    fn hears(&self, hz: f64, frames: usize) -> f64 {
        let heard = &self.heard[self.heard.len() - frames * frame_samples(self.rate())..];
        let (mut sine, mut cosine) = (0.0, 0.0);
        for (n, &sample) in heard.iter().enumerate() {
            let angle = std::f64::consts::TAU * hz * n as f64 / f64::from(self.rate());
            sine += f64::from(sample) * angle.sin();
            cosine += f64::from(sample) * angle.cos();
        }
        2.0 * f64::hypot(sine, cosine) / heard.len() as f64
    }

    fn peak(&self, frames: usize) -> u16 {
        let heard = &self.heard[self.heard.len() - frames * frame_samples(self.rate())..];
        heard.iter().map(|sample| sample.unsigned_abs()).max().unwrap_or(0)
    }
}

/// A mix with its parties on virtual time.
#[derive(Default)]
struct Conference {
    mix: Mix,
    parties: Vec<Party>,
    number: u64,
}

impl Conference {
    fn of(formats: &[Format]) -> Conference {
        let mut conference = Conference::default();
        formats.iter().for_each(|&format| conference.join(format));
        conference
    }

    /// Somebody joins with the next tone.
    fn join(&mut self, format: Format) {
        let id = self.parties.len() as u64 + 1;
        self.mix.add_voice(id, format).unwrap();
        self.mix.set_listener(LISTENS + id, format, &[id]).unwrap();
        self.parties.push(Party::new(id, format, 350.0 + 150.0 * id as f64));
    }

    fn leave(&mut self, id: u64) {
        self.mix.remove_voice(id);
        self.mix.remove_listener(LISTENS + id);
        self.parties.retain(|party| party.id != id);
    }

    /// Lets `frames` pass in which those speak whom `says` names by id and number of the frame.
    fn run(&mut self, frames: u64, says: impl Fn(u64, u64) -> bool) {
        for number in self.number..self.number + frames {
            for party in &mut self.parties {
                let payload = party.payload(number);
                if says(party.id, number) {
                    let now = Time::from_millis(1_000 + number * 20 + party.id % 7);
                    let timestamp = number as u32 * party.format.frame_units();
                    let arrival = Arrival {
                        sequence: number,
                        timestamp,
                        content: Content::Sound,
                        capture: now,
                        payload: &payload,
                    };
                    self.mix.push(party.id, Input::Sound(party.format), &arrival, now).unwrap();
                }
            }
            let mut given: HashMap<u64, Vec<u8>> = HashMap::new();
            let parties = &mut self.parties;
            self.mix
                .pull(Time::from_millis(1_000 + number * 20 + 10), |id, produced| {
                    let party = parties.iter_mut().find(|party| LISTENS + party.id == id).unwrap();
                    party.sequences.push(produced.sequence);
                    party.timestamps.push(produced.timestamp);
                    given.insert(id, produced.payload.to_vec());
                })
                .unwrap();
            for party in parties {
                party.decoder.decode(&given[&(LISTENS + party.id)], &mut party.heard).unwrap();
            }
        }
        self.number += frames;
    }

    /// Everybody hears the tones of `speaking`, but never its own.
    fn assert_mix_minus(&self, speaking: &[u64], frames: usize) {
        for party in &self.parties {
            for other in &self.parties {
                let level = party.hears(other.hz, frames);
                let wanted = other.id != party.id && speaking.contains(&other.id);
                assert!(
                    if wanted { level > LOUD } else { level < LOUD / 20.0 },
                    "{} ({:?}) hears {} with {level}",
                    party.id,
                    party.format,
                    other.id
                );
            }
        }
    }
}

#[test]
fn everybody_hears_all_the_others_and_not_itself_whatever_their_formats() {
    for formats in [&[PCMU, PCMU, PCMU][..], &[OPUS, PCMU, G722], &[OPUS, OPUS, Format::Pcma, G722, PCMU]] {
        let mut conference = Conference::of(formats);
        conference.run(150, |_, _| true);
        let all: Vec<u64> = (1..=formats.len() as u64).collect();
        conference.assert_mix_minus(&all, 50);
    }
}

#[test]
fn every_listener_gets_a_frame_every_time_with_a_clock_without_gaps() {
    let mut conference = Conference::of(&[OPUS, PCMU, PCMU]);
    conference.run(120, |id, number| id == 1 || (id == 2 && number % 50 < 25));
    for party in &conference.parties {
        assert_eq!(party.sequences, (1..=120).collect::<Vec<u64>>());
        let unit = party.format.frame_units();
        assert!(party.timestamps.windows(2).all(|pair| pair[1] == pair[0] + unit));
    }
}

#[test]
fn while_nobody_speaks_there_is_a_little_noise_and_nothing_else() {
    let mut conference = Conference::of(&[OPUS, PCMU, G722]);
    conference.run(60, |_, _| false);
    for party in &conference.parties {
        assert!((1..100).contains(&party.peak(30)), "{:?}: {}", party.format, party.peak(30));
    }
}

#[test]
fn somebody_who_comes_late_hears_and_is_heard_and_somebody_who_leaves_is_not() {
    let mut conference = Conference::of(&[PCMU, OPUS]);
    conference.run(50, |_, _| true);
    conference.join(G722);
    conference.run(100, |_, _| true);
    conference.assert_mix_minus(&[1, 2, 3], 40);
    conference.leave(1);
    conference.run(100, |_, _| true);
    let gone = 500.0;
    conference.assert_mix_minus(&[2, 3], 40);
    assert!(conference.parties.iter().all(|party| party.hears(gone, 40) < LOUD / 20.0));
}

#[test]
fn lost_packets_are_concealed_and_counted_also_when_the_voice_has_gone() {
    let mut conference = Conference::of(&[OPUS, PCMU, G722]);
    conference.run(300, |id, number| (number + id) % 20 != 0);
    conference.assert_mix_minus(&[1, 2, 3], 100);
    let lost = conference.mix.stats().buffer.lost;
    assert!((40..=45).contains(&lost), "{lost}");
    (1..=3).for_each(|id| conference.leave(id));
    assert_eq!(conference.mix.stats().buffer.lost, lost);
}

#[test]
fn a_whisper_is_heard_only_where_it_is_not_left_out() {
    let mut conference = Conference::of(&[PCMU, PCMU, OPUS]);
    // The third one speaks to the second alone, and hears both.
    conference.mix.set_listener(LISTENS + 1, PCMU, &[1, 3]).unwrap();
    conference.run(120, |_, _| true);
    let level =
        |listener: usize, speaker: usize| conference.parties[listener].hears(conference.parties[speaker].hz, 50);
    assert!(level(0, 2) < LOUD / 20.0, "the first hears the whisper");
    for (listener, speaker) in [(0, 1), (1, 0), (1, 2), (2, 0), (2, 1)] {
        assert!(level(listener, speaker) > LOUD, "{listener} {speaker}");
    }
}

#[test]
fn those_who_only_listen_share_one_encoder() {
    let mut conference = Conference::of(&[OPUS, OPUS, OPUS, OPUS, PCMU, PCMU, PCMU, G722, G722]);
    conference.run(100, |id, _| id == 1);
    conference.assert_mix_minus(&[1], 50);
    let before = conference.mix.frames();
    conference.run(10, |id, _| id == 1);
    let after = conference.mix.frames();
    assert_eq!(after.1 - before.1, 90);
    // Opus for the speaker and once for all others, G.711 once, G.722 for each.
    assert_eq!(after.0 - before.0, 50);
}

#[test]
fn going_over_to_a_shared_encoder_and_back_is_not_heard() {
    let mut conference = Conference::of(&[OPUS, OPUS, OPUS, OPUS]);
    // The second one says a word every second, and so gets a frame of its own as often.
    conference.run(400, |id, number| id == 1 || (id == 2 && number % 50 < 5));
    let party = &conference.parties[1];
    let frames = party.heard.chunks(frame_samples(party.rate())).skip(100);
    let weak = frames.filter(|frame| frame.iter().map(|sample| sample.unsigned_abs()).max().unwrap_or(0) < 2_000);
    assert_eq!(weak.count(), 0);
    assert!(party.hears(500.0, 250) > 3_000.0, "{}", party.hears(500.0, 250));
    assert!(party.hears(650.0, 250) < LOUD / 20.0);
}

#[test]
fn of_too_many_voices_the_loudest_are_heard_and_they_do_not_take_turns() {
    let mut conference = Conference::of(&[PCMU; MOST_HEARD + 3]);
    for (index, party) in conference.parties.iter_mut().enumerate() {
        // The first three are the quietest by far, the others nearly alike.
        party.amplitude = if index < 3 { 300.0 } else { 2_500.0 + 20.0 * index as f64 };
    }
    conference.run(200, |_, _| true);
    let listener = &conference.parties[0];
    for party in &conference.parties {
        let level = listener.hears(party.hz, 50);
        assert!(if party.id <= 3 { level < 50.0 } else { level > 1_000.0 }, "{}: {level}", party.id);
    }
}

#[test]
fn many_who_shout_are_bent_and_do_not_wrap() {
    let mut conference = Conference::of(&[PCMU, PCMU, PCMU, PCMU]);
    conference.parties.iter_mut().for_each(|party| party.amplitude = 30_000.0);
    conference.run(100, |_, _| true);
    for party in &conference.parties {
        // A wrap would be a step over the whole range from one sample to the next.
        let heard = &party.heard[party.heard.len() / 2..];
        let step = heard.windows(2).map(|pair| (i32::from(pair[1]) - i32::from(pair[0])).abs()).max().unwrap();
        assert!(step < 50_000, "{step}");
        assert!(party.peak(20) > 28_000);
    }
}

#[test]
fn a_listener_of_another_format_takes_the_place_of_the_one_before() {
    let mut conference = Conference::of(&[PCMU, PCMU, PCMU]);
    conference.run(50, |_, _| true);
    conference.mix.set_listener(LISTENS + 3, OPUS, &[3]).unwrap();
    conference.parties[2].decoder = Decoder::new(OPUS, 8_000).unwrap();
    conference.run(100, |_, _| true);
    conference.assert_mix_minus(&[1, 2, 3], 50);
    assert_eq!(conference.parties[2].sequences, (1..=150).collect::<Vec<u64>>());
}

#[test]
fn who_speaks_is_told_by_what_is_heard() {
    let mut conference = Conference::of(&[PCMU, OPUS, G722]);
    conference.run(200, |id, number| id == 2 && (20..60).contains(&number));
    let told: Vec<(u64, u8)> = conference.mix.take_speech().collect();
    assert!(told.len() >= 2 && told.iter().all(|(id, _)| *id == 2), "{told:?}");
    assert!(told[0].1 > 0 && told.last().unwrap().1 == 0, "{told:?}");
    assert_eq!(conference.mix.take_speech().count(), 0);
}
