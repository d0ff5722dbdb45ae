//! Several voices to each of their owners: everybody hears all but themselves (mix-minus).

/// A leg is mixed from this level on (root mean square), and for so many frames after it was last as loud.
const OPEN_ABOVE: i64 = 60;
const HOLD_FRAMES: u32 = 25;

/// One conference's sum of a frame. Use: [`Mixer::begin`], [`Mixer::add`] for each leg, [`Mixer::hear`] for each leg.
#[derive(Debug)]
pub struct Mixer {
    sum: Vec<i32>,
    legs: Vec<Leg>,
    frame: usize,
}

#[derive(Debug, Default)]
struct Leg {
    samples: Vec<i16>,
    /// Frames for which it is still mixed.
    open: u32,
    spoke: bool,
}

impl Mixer {
    /// For frames of `frame` samples.
    pub fn new(frame: usize) -> Mixer {
        Mixer { sum: vec![0; frame], legs: Vec::new(), frame }
    }

    /// Begins a frame of `legs` legs.
    pub fn begin(&mut self, legs: usize) {
        self.sum.fill(0);
        self.legs.resize_with(legs, Leg::default);
        self.legs.iter_mut().for_each(|leg| leg.spoke = false);
    }

    /// Adds what a leg says. Noise between its words is left out: with many legs it would add up.
    pub fn add(&mut self, leg: usize, samples: &[i16]) {
        let Some(leg) = self.legs.get_mut(leg) else { return };
        let samples = &samples[..samples.len().min(self.frame)];
        let energy: i64 = samples.iter().map(|&sample| i64::from(sample).pow(2)).sum();
        if energy > OPEN_ABOVE.pow(2) * samples.len() as i64 {
            leg.open = HOLD_FRAMES;
        }
        leg.spoke = leg.open > 0;
        leg.open = leg.open.saturating_sub(1);
        if leg.spoke {
            leg.samples.clear();
            leg.samples.extend_from_slice(samples);
            self.sum.iter_mut().zip(samples).for_each(|(sum, &sample)| *sum += i32::from(sample));
        }
    }

    /// Whether a leg is in the mix of this frame.
    pub fn speaks(&self, leg: usize) -> bool {
        self.legs.get(leg).is_some_and(|leg| leg.spoke)
    }

    /// Appends what a leg hears: the others. What is too loud together is cut off.
    pub fn hear(&self, leg: usize, out: &mut Vec<i16>) {
        let own = self.legs.get(leg).filter(|leg| leg.spoke).map_or(&[][..], |leg| &leg.samples);
        let own = own.iter().copied().chain(std::iter::repeat(0));
        out.extend(self.sum.iter().zip(own).map(|(&sum, own)| crate::saturate(sum - i32::from(own))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mixed(voices: &[i16]) -> Vec<i16> {
        let mut mixer = Mixer::new(4);
        mixer.begin(voices.len());
        for (leg, &voice) in voices.iter().enumerate() {
            mixer.add(leg, &[voice; 4]);
        }
        (0..voices.len())
            .map(|leg| {
                let mut out = Vec::new();
                mixer.hear(leg, &mut out);
                assert_eq!(out.len(), 4);
                out[3]
            })
            .collect()
    }

    #[test]
    fn everybody_hears_all_but_themselves() {
        assert_eq!(mixed(&[1_000, 2_000, -500]), [1_500, 500, 3_000]);
    }

    #[test]
    fn what_is_too_loud_is_cut_off_and_not_wrapped() {
        assert_eq!(mixed(&[30_000, 30_000, 30_000]), [32_767, 32_767, 32_767]);
        assert_eq!(mixed(&[i16::MIN, i16::MIN, i16::MAX]), [-1, -1, i16::MIN]);
    }

    #[test]
    fn noise_is_left_out_but_not_the_end_of_a_word() {
        let mut mixer = Mixer::new(4);
        let mut heard = Vec::new();
        for frame in 0..40 {
            mixer.begin(2);
            mixer.add(0, &[if frame == 5 { 3_000 } else { 30 }; 4]);
            heard.push(mixer.speaks(0));
        }
        assert_eq!(heard.iter().position(|&speaks| speaks), Some(5));
        assert_eq!(heard.iter().filter(|&&speaks| speaks).count(), HOLD_FRAMES as usize);
    }
}
