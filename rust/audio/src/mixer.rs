//! Several voices to each of their owners: everybody hears all but themselves (mix-minus), and never too loud.

/// Up to this level sound passes as it is; what is louder comes ever closer to the loudest that there is.
const KNEE: i32 = 24_000;
const ROOM: i32 = i16::MAX as i32 - KNEE;

/// One frame's sum at one rate. Use: [`Mixer::begin`], [`Mixer::add`] for each voice, [`Mixer::hear`] for each listener.
#[derive(Debug)]
pub struct Mixer {
    sum: Vec<i32>,
    rest: Vec<i32>,
}

impl Mixer {
    /// For frames of `frame` samples.
    pub fn new(frame: usize) -> Mixer {
        Mixer { sum: vec![0; frame], rest: vec![0; frame] }
    }

    /// Begins a frame.
    pub fn begin(&mut self) {
        self.sum.fill(0);
    }

    /// Adds a voice; one that says nothing has no samples.
    pub fn add(&mut self, samples: &[i16]) {
        self.sum.iter_mut().zip(samples).for_each(|(sum, &sample)| *sum += i32::from(sample));
    }

    /// Gives what a listener hears in place of what is in `out`: all but the voices `without`, which were added.
    pub fn hear<'a>(&mut self, without: impl IntoIterator<Item = &'a [i16]>, out: &mut Vec<i16>) {
        self.rest.copy_from_slice(&self.sum);
        for voice in without {
            self.rest.iter_mut().zip(voice).for_each(|(rest, &sample)| *rest -= i32::from(sample));
        }
        out.clear();
        out.extend(self.rest.iter().map(|&sample| soften(sample)));
    }
}

/// The sample as it fits into 16 bits: beyond the knee, `room * x / (room + x)` of what it is above.
fn soften(sample: i32) -> i16 {
    let beyond = sample.saturating_abs() - KNEE;
    if beyond <= 0 {
        return sample as i16;
    }
    let level = KNEE + (i64::from(ROOM) * i64::from(beyond) / i64::from(ROOM.saturating_add(beyond))) as i32;
    (level * sample.signum()) as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mixed(voices: &[i16]) -> Vec<i16> {
        let mut mixer = Mixer::new(4);
        mixer.begin();
        for &voice in voices {
            mixer.add(&[voice; 4]);
        }
        let heard = voices.iter().map(|&voice| {
            let mut out = vec![7];
            mixer.hear([&[voice; 4][..]], &mut out);
            assert_eq!(out.len(), 4);
            out[3]
        });
        heard.collect()
    }

    #[test]
    fn everybody_hears_all_but_themselves() {
        assert_eq!(mixed(&[1_000, 2_000, -500]), [1_500, 500, 3_000]);
        assert_eq!(mixed(&[i16::MIN, i16::MIN, i16::MAX]), [-1, -1, soften(-65_536)]);
    }

    #[test]
    fn what_is_too_loud_is_bent_and_neither_wrapped_nor_turned_round() {
        let mut before = i16::MIN;
        for sample in (-400_000..400_000).step_by(37) {
            let soft = soften(sample);
            assert!(soft >= before, "{sample}");
            assert_eq!(soft, -soften(-sample));
            assert!(sample.abs() > KNEE || i32::from(soft) == sample);
            before = soft;
        }
        assert!(soften(i32::MAX) > 32_000 && soften(i32::MIN) < -32_000);
    }

    #[test]
    fn without_voices_there_is_silence() {
        let mut mixer = Mixer::new(2);
        mixer.add(&[5, 5]);
        mixer.begin();
        let mut out = Vec::new();
        mixer.hear([], &mut out);
        assert_eq!(out, [0, 0]);
    }
}
