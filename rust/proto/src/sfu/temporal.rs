//! Which frames of a stream with temporal layers one receiver gets.

/// Decides for whole frames: a frame is kept or left out with all its packets.
#[derive(Clone, Copy, Debug)]
pub struct TemporalFilter {
    target: u8,
    current: u8,
    frame: Option<(u32, bool)>,
    /// Highest layer seen in the stream.
    seen: u8,
}

impl Default for TemporalFilter {
    fn default() -> TemporalFilter {
        TemporalFilter { target: u8::MAX, current: u8::MAX, frame: None, seen: 0 }
    }
}

impl TemporalFilter {
    /// Takes the highest layer wanted.
    pub fn set_target(&mut self, target: u8) {
        self.target = target;
    }

    /// Highest layer that is let through; `None` for a stream without temporal layers.
    pub fn highest(&self) -> Option<u8> {
        self.frame.map(|_| self.current.min(self.seen))
    }

    /// A source begins with a keyframe: every layer can be decoded from here on.
    pub fn start(&mut self) {
        (self.current, self.frame, self.seen) = (self.target, None, 0);
    }

    /// Whether a packet of layer `layer` is to be forwarded. `sync` says that its frame needs nothing but layer 0,
    /// so that its layer can be entered here.
    pub fn keep(&mut self, timestamp: u32, layer: u8, sync: bool) -> bool {
        if let Some((frame, keep)) = self.frame
            && frame == timestamp
        {
            return keep;
        }
        let newer = self.frame.is_none_or(|(frame, _)| timestamp.wrapping_sub(frame) < 0x8000_0000);
        if !newer {
            return layer <= self.current;
        }
        self.seen = self.seen.max(layer);
        if self.target < self.current {
            self.current = self.target;
        } else if layer > self.current && layer <= self.target && sync {
            // The layers between enter at sync frames of their own, which come before: encoders sync from below.
            self.current = layer;
        }
        let keep = layer <= self.current;
        self.frame = Some((timestamp, keep));
        keep
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Layers 0 2 1 2, as Chromium sends three.
    const PATTERN: [u8; 4] = [0, 2, 1, 2];

    fn run(filter: &mut TemporalFilter, frames: std::ops::Range<u32>, sync: bool) -> Vec<u8> {
        let layers = frames.map(|frame| (frame, PATTERN[frame as usize % 4]));
        layers.filter(|&(frame, layer)| filter.keep(frame * 3_000, layer, sync)).map(|(_, layer)| layer).collect()
    }

    #[test]
    fn layers_above_the_target_are_left_out() {
        for (target, kept) in [(2, &[0, 2, 1, 2][..]), (1, &[0, 1]), (0, &[0])] {
            let mut filter = TemporalFilter::default();
            filter.set_target(target);
            filter.start();
            assert_eq!(run(&mut filter, 0..4, false), kept);
        }
    }

    #[test]
    fn a_layer_is_left_at_once_and_entered_at_a_sync_frame() {
        let mut filter = TemporalFilter::default();
        filter.start();
        filter.set_target(0);
        assert_eq!(run(&mut filter, 0..4, true), [0]);
        filter.set_target(2);
        assert_eq!(run(&mut filter, 4..8, false), [0]);
        assert_eq!(run(&mut filter, 8..12, true), [0, 2, 1, 2]);
    }

    #[test]
    fn packets_of_one_frame_share_its_fate() {
        let mut filter = TemporalFilter::default();
        filter.start();
        assert!(filter.keep(3_000, 1, false));
        filter.set_target(0);
        assert!(filter.keep(3_000, 1, false), "the frame was begun");
        assert!(!filter.keep(6_000, 1, false));
        filter.set_target(1);
        assert!(!filter.keep(6_000, 1, true));
    }
}
