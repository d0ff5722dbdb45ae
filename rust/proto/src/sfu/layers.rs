//! The layers of one up track as receivers see them: what lives, how large it is, and which one fits a target.

use super::target::Target;
use super::temporal_rates::BelowBps;
use crate::rtp::Token;

/// Most layers of one track.
pub const MAX_LAYERS: usize = 8;

/// One simulcast layer, or one spatial layer of the only stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Layer {
    /// Its name; `None` without simulcast.
    pub rid: Option<Token>,
    /// Spatial layer within its stream.
    pub spatial: u8,
    /// Width in pixels; zero while it is not known.
    pub width: u16,
    /// Height in pixels; zero while it is not known.
    pub height: u16,
    /// Measured bits per second.
    pub bitrate_bps: u32,
    /// Of its temporal layers; of spatial layers inside one stream the lowest has them.
    pub temporal_bps: BelowBps,
    /// Whether packets came lately.
    pub alive: bool,
    /// Whether packets came ever.
    pub heard: bool,
}

impl Layer {
    fn pixels(&self) -> u32 {
        u32::from(self.width) * u32::from(self.height)
    }

    /// Whether it belongs above `other`: by size, or by bitrate where the sizes are not known or the same. Bitrates
    /// of one layer vary, so that only a large difference counts.
    fn is_above(&self, other: &Layer) -> bool {
        match (self.heard, other.heard) {
            (true, false) => false,
            (false, true) => true,
            _ if self.pixels() != other.pixels() && self.pixels() != 0 && other.pixels() != 0 => {
                self.pixels() > other.pixels()
            }
            _ => u64::from(self.bitrate_bps) * 2 > u64::from(other.bitrate_bps) * 3 && other.bitrate_bps != 0,
        }
    }

    fn macroblocks(&self) -> u32 {
        u32::from(self.width).div_ceil(16) * u32::from(self.height).div_ceil(16)
    }

    /// Whether a receiver that is bound to a size can be given it; a size that is not known fits.
    pub(super) fn is_within(&self, target: &Target) -> bool {
        self.width <= target.max_width
            && self.height <= target.max_height
            && self.macroblocks() <= target.max_macroblocks
    }

    pub(super) fn fits(&self, target: &Target, rank: usize) -> bool {
        self.is_within(target) && self.bitrate_bps <= target.max_bitrate_bps && rank <= usize::from(target.max_spatial)
    }
}

/// Why nothing is forwarded, or what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The layer with this index.
    Layer(u8),
    /// A strict target, and every live layer has a larger picture.
    TooLarge,
    /// No layer is alive.
    Silent,
    /// The receiver wants nothing for now.
    Paused,
}

impl Choice {
    /// Its name in events.
    pub const fn name(self) -> &'static str {
        match self {
            Choice::Layer(_) => "forwarding",
            Choice::TooLarge => "too_large",
            Choice::Silent => "silent",
            Choice::Paused => "paused",
        }
    }
}

/// All layers of a track, by index, and their ranks. Plain data that is copied to other shards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LayerTable {
    layers: [Layer; MAX_LAYERS],
    /// Indices from the smallest layer to the largest; those never heard come last.
    order: [u8; MAX_LAYERS],
    len: u8,
    /// Dependency descriptors tell the layers inside its stream apart.
    described: bool,
}

impl LayerTable {
    /// Takes the state of the layers and ranks them anew; what cannot be told apart keeps its order.
    pub fn update(&mut self, layers: impl Iterator<Item = Layer>) {
        let before = self.len;
        self.len = 0;
        for (index, layer) in layers.take(MAX_LAYERS).enumerate() {
            self.layers[index] = layer;
            self.len += 1;
        }
        if before != self.len || self.is_one_stream() {
            self.order = std::array::from_fn(|index| index as u8);
        }
        if self.is_one_stream() {
            // What needs the other one is above it.
            return;
        }
        let order = &mut self.order[..usize::from(self.len)];
        for end in 1..order.len() {
            let mut at = end;
            while at > 0 && self.layers[usize::from(order[at - 1])].is_above(&self.layers[usize::from(order[at])]) {
                order.swap(at - 1, at);
                at -= 1;
            }
        }
    }

    /// The layer with an index.
    pub fn get(&self, index: u8) -> Option<&Layer> {
        self.layers[..usize::from(self.len)].get(usize::from(index))
    }

    /// Indices and layers, from the smallest to the largest.
    pub fn ranked(&self) -> impl DoubleEndedIterator<Item = (u8, &Layer)> + ExactSizeIterator {
        self.order[..usize::from(self.len)].iter().map(|&index| (index, &self.layers[usize::from(index)]))
    }

    /// Whether there is anything to choose.
    pub fn is_layered(&self) -> bool {
        self.len > 1 || self.layers[0].rid.is_some()
    }

    /// Whether its layers lie inside one stream, each sent with those below it; their index is the spatial layer.
    pub fn is_one_stream(&self) -> bool {
        self.len > 1 && self.layers[0].rid.is_none()
    }

    /// Whether only dependency descriptors tell the layers inside its stream apart.
    pub fn is_described(&self) -> bool {
        self.described && self.is_one_stream()
    }

    /// Takes whether they do.
    pub fn set_described(&mut self, described: bool) {
        self.described = described;
    }

    /// The highest spatial layer that a receiver who is given layer `index` may be sent as soon as it comes: a layer
    /// above that is silent at the moment, and would fit.
    pub fn spatial_limit(&self, index: u8, target: &Target, most: u8) -> u8 {
        if !self.is_one_stream() {
            return u8::MAX;
        }
        let fits = |limit: &u8| {
            self.ranked().enumerate().any(|(rank, (at, layer))| {
                at == *limit && !layer.alive && layer.fits(target, rank) && rank <= usize::from(most)
            })
        };
        index + (index + 1..self.len).take_while(fits).count() as u8
    }

    /// Whether something differs that a receiver's choice depends on: not bitrates alone.
    pub fn differs(&self, other: &LayerTable) -> bool {
        let shape = |layer: &Layer| (layer.rid, layer.width, layer.height, layer.alive, layer.heard);
        self.len != other.len
            || self.described != other.described
            || self.order != other.order
            || self.layers.iter().map(shape).ne(other.layers.iter().map(shape))
    }

    /// Whether a rate differs so much that whoever shares out bandwidth must know.
    pub fn rates_differ(&self, other: &LayerTable) -> bool {
        let rates = |layer: Layer| std::iter::once(layer.bitrate_bps).chain(layer.temporal_bps);
        let pairs = self.layers.into_iter().flat_map(rates).zip(other.layers.into_iter().flat_map(rates));
        pairs.into_iter().any(|(one, two)| one.abs_diff(two) > two / 8)
    }

    /// The best live layer within a target and below `most` (a rank, by the allocation of bandwidth).
    pub fn choose(&self, target: &Target, most: u8) -> Choice {
        if target.paused {
            return Choice::Paused;
        }
        let (mut lowest, mut best, mut too_large) = (None, None, false);
        for (rank, (index, layer)) in self.ranked().enumerate().filter(|(_, (_, layer))| layer.alive) {
            if target.strict && !layer.is_within(target) {
                too_large = true;
                continue;
            }
            lowest = lowest.or(Some(index));
            if layer.fits(target, rank) && rank <= usize::from(most) {
                best = Some(index);
            }
        }
        match best.or(lowest) {
            Some(index) => Choice::Layer(index),
            None if too_large => Choice::TooLarge,
            None => Choice::Silent,
        }
    }

    /// Bit by index: the layers that a receiver with this target may be given, alive or not.
    pub fn allowed(&self, target: &Target) -> u8 {
        if target.paused {
            return 0;
        }
        let fitting = self.ranked().enumerate().filter(|(rank, (_, layer))| layer.fits(target, *rank));
        let allowed = fitting.fold(0, |bits, (_, (index, _))| bits | (1 << index));
        let lowest = self.ranked().find(|(_, layer)| !target.strict || layer.is_within(target));
        match lowest {
            Some((lowest, _)) if allowed == 0 => 1 << lowest,
            _ => allowed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(rid: &str, height: u16, kbps: u32, alive: bool) -> Layer {
        Layer {
            rid: Token::new(rid.as_bytes()),
            width: height / 9 * 16,
            height,
            bitrate_bps: kbps * 1000,
            alive,
            heard: alive || kbps > 0,
            ..Layer::default()
        }
    }

    fn table(layers: &[Layer]) -> LayerTable {
        let mut table = LayerTable::default();
        table.update(layers.iter().copied());
        table
    }

    fn ranks(table: &LayerTable) -> Vec<u8> {
        table.ranked().map(|(index, _)| index).collect()
    }

    #[test]
    fn layers_are_ranked_by_size_then_bitrate_and_the_unheard_come_last() {
        let high_first = [layer("h", 720, 1500, true), layer("m", 360, 500, true), layer("l", 180, 150, true)];
        assert_eq!(ranks(&table(&high_first)), [2, 1, 0]);
        let unknown = [layer("a", 0, 900, true), layer("b", 0, 300, true), layer("c", 0, 0, false)];
        assert_eq!(ranks(&table(&unknown)), [1, 0, 2]);
    }

    #[test]
    fn bitrates_that_are_close_do_not_change_ranks() {
        let mut table = table(&[layer("a", 0, 500, true), layer("b", 0, 1000, true)]);
        table.update([layer("a", 0, 1200, true), layer("b", 0, 1000, true)].into_iter());
        assert_eq!(ranks(&table), [0, 1]);
        table.update([layer("a", 0, 1600, true), layer("b", 0, 1000, true)].into_iter());
        assert_eq!(ranks(&table), [1, 0]);
    }

    #[test]
    fn the_best_live_layer_within_the_bounds_is_chosen() {
        let all = table(&[layer("l", 180, 150, true), layer("m", 360, 500, true), layer("h", 720, 1500, true)]);
        let any = Target::default();
        assert_eq!(all.choose(&any, u8::MAX), Choice::Layer(2));
        assert_eq!(all.choose(&any, 1), Choice::Layer(1), "by allocation");
        assert_eq!(all.choose(&Target { max_height: 400, ..any }, u8::MAX), Choice::Layer(1));
        assert_eq!(all.choose(&Target { max_bitrate_bps: 200_000, ..any }, u8::MAX), Choice::Layer(0));
        assert_eq!(all.choose(&Target { max_spatial: 0, ..any }, u8::MAX), Choice::Layer(0));
        assert_eq!(all.choose(&Target { paused: true, ..any }, u8::MAX), Choice::Paused);
        let small = Target { max_height: 100, ..any };
        assert_eq!(all.choose(&small, u8::MAX), Choice::Layer(0), "a wish");
        assert_eq!(all.choose(&Target { strict: true, ..small }, u8::MAX), Choice::TooLarge, "a decoder's limit");
    }

    #[test]
    fn a_decoders_limit_counts_whole_macroblocks() {
        let all = table(&[layer("l", 180, 150, true), layer("m", 270, 300, true), layer("h", 720, 1500, true)]);
        // H.264 level 1.2: 396 macroblocks; 320 x 180 has 240, 480 x 270 has 510.
        let level_1_2 = Target { max_macroblocks: 396, strict: true, ..Target::default() };
        assert_eq!(all.choose(&level_1_2, u8::MAX), Choice::Layer(0));
        assert_eq!(all.allowed(&level_1_2), 0b001);
        let high = table(&[layer("h", 720, 1500, true)]);
        assert_eq!(high.choose(&level_1_2, u8::MAX), Choice::TooLarge);
        assert_eq!(high.choose(&Target { max_macroblocks: 3600, ..level_1_2 }, u8::MAX), Choice::Layer(0));
    }

    #[test]
    fn a_strict_size_leaves_bitrate_a_wish() {
        let one = table(&[layer("l", 180, 500, true), layer("h", 720, 1500, true)]);
        let target = Target { max_height: 360, max_bitrate_bps: 400_000, strict: true, ..Target::default() };
        assert_eq!(one.choose(&target, u8::MAX), Choice::Layer(0));
        assert_eq!(one.allowed(&target), 0b01);
    }

    #[test]
    fn a_silent_lowest_layer_is_passed_over() {
        let firefox = table(&[layer("l", 180, 150, false), layer("m", 360, 500, true), layer("h", 720, 1500, true)]);
        let small = Target { max_height: 200, ..Target::default() };
        assert_eq!(firefox.choose(&small, u8::MAX), Choice::Layer(1));
        assert_eq!(firefox.choose(&small, 0), Choice::Layer(1));
        let none = table(&[layer("l", 180, 150, false)]);
        assert_eq!(none.choose(&Target::default(), u8::MAX), Choice::Silent);
    }

    #[test]
    fn a_spatial_layer_that_is_silent_and_would_fit_may_come_back_by_itself() {
        let spatial = |height, alive| Layer { rid: None, ..layer("x", height, 100 * u32::from(height), alive) };
        let all = |alive: [bool; 3]| table(&[spatial(180, alive[0]), spatial(360, alive[1]), spatial(720, alive[2])]);
        let any = Target::default();
        let limit = |alive, target, most| {
            let Choice::Layer(index) = all(alive).choose(&target, most) else { panic!("nothing lives") };
            all(alive).spatial_limit(index, &target, most)
        };
        assert_eq!(limit([true, true, true], any, u8::MAX), 2);
        assert_eq!(limit([true, false, false], any, u8::MAX), 2);
        assert_eq!(limit([true, false, false], any, 1), 1, "by allocation");
        assert_eq!(limit([true, false, true], Target { max_height: 400, ..any }, u8::MAX), 1);
        assert_eq!(limit([true, true, true], any, 0), 0, "what lives is left out on purpose");
        let simulcast = table(&[layer("l", 180, 100, true), layer("h", 720, 900, true)]);
        assert_eq!(simulcast.spatial_limit(0, &any, u8::MAX), u8::MAX, "has no layers inside");
    }

    #[test]
    fn layers_are_allowed_by_target_whether_they_live_or_not() {
        let some = table(&[layer("l", 180, 150, true), layer("m", 360, 500, false), layer("h", 720, 1500, true)]);
        assert_eq!(some.allowed(&Target { max_height: 400, ..Target::default() }), 0b011);
        assert_eq!(some.allowed(&Target { max_height: 100, ..Target::default() }), 0b001);
        assert_eq!(some.allowed(&Target { max_height: 100, strict: true, ..Target::default() }), 0);
        assert_eq!(some.allowed(&Target { paused: true, ..Target::default() }), 0);
    }
}
