//! The spatial layers inside one stream: which of them come, how large they are, and what each costs.

use super::layers::{Layer, MAX_LAYERS};
use super::life::ALIVE;
use super::rate_meter::RateMeter;
use super::temporal_rates::BelowBps;
use crate::codec::vp9_structure::Structure;
use crate::time::Time;

/// One spatial layer.
#[derive(Clone, Copy, Debug, Default)]
struct SpatialLayer {
    size: (u16, u16),
    meter: RateMeter,
    last: Option<Time>,
    alive: bool,
}

/// See the module. A stream without layers has one.
#[derive(Clone, Copy, Debug, Default)]
pub struct SpatialLayers {
    layers: [SpatialLayer; MAX_LAYERS],
    count: u8,
}

impl SpatialLayers {
    /// Whether there is anything to choose.
    pub fn is_layered(&self) -> bool {
        self.count > 1
    }

    /// Counts a packet of layer `spatial` (0 to 7); true when the layer was not alive before.
    pub fn count(&mut self, spatial: u8, octets: usize, now: Time) -> bool {
        let Some(layer) = self.layers.get_mut(usize::from(spatial)) else { return false };
        self.count = self.count.max(spatial + 1);
        layer.meter.count(octets);
        layer.last = Some(now);
        !std::mem::replace(&mut layer.alive, true)
    }

    /// Takes what a keyframe announces; true when it differs. Layers above are forgotten.
    pub fn announce(&mut self, structure: &Structure) -> bool {
        let count = structure.count.min(MAX_LAYERS as u8);
        let mut differs = std::mem::replace(&mut self.count, count) != count;
        for (index, layer) in self.layers.iter_mut().enumerate() {
            if index >= usize::from(count) {
                *layer = SpatialLayer::default();
                continue;
            }
            let size = structure.sizes[index];
            differs |= std::mem::replace(&mut layer.size, size) != size;
        }
        differs
    }

    /// Ends an interval of the measurement, and the life of layers that are silent.
    pub fn tick(&mut self, now: Time) {
        for layer in &mut self.layers[..usize::from(self.count)] {
            layer.meter.tick();
            layer.alive = layer.last.is_some_and(|last| now.since(last) <= ALIVE);
        }
    }

    /// What receivers are told: each layer with the cost of those below it, which are sent with it. The lowest one has
    /// temporal layers of these rates.
    pub fn describe(&self, temporal_bps: BelowBps) -> impl Iterator<Item = Layer> + '_ {
        let mut below = 0u32;
        self.layers[..usize::from(self.count)].iter().enumerate().map(move |(index, layer)| {
            below = below.saturating_add(layer.meter.bps());
            Layer {
                rid: None,
                spatial: index as u8,
                width: layer.size.0,
                height: layer.size.1,
                bitrate_bps: below,
                temporal_bps: if index == 0 { temporal_bps } else { BelowBps::default() },
                alive: layer.alive,
                heard: layer.last.is_some(),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sfu::rate_meter::TICK;

    fn structure(sizes: &[(u16, u16)]) -> Structure {
        let mut structure = Structure { count: sizes.len() as u8, ..Structure::default() };
        structure.sizes[..sizes.len()].copy_from_slice(sizes);
        structure
    }

    #[test]
    fn each_layer_costs_what_it_needs_below_it() {
        let mut layers = SpatialLayers::default();
        assert!(layers.announce(&structure(&[(320, 180), (640, 360)])));
        assert!(!layers.announce(&structure(&[(320, 180), (640, 360)])));
        for tick in 1..=6 {
            let now = Time::from_millis(200 * tick);
            layers.count(0, 2_500, now);
            layers.count(1, 10_000, now);
            layers.tick(now);
        }
        let told: Vec<_> =
            layers.describe([0; 3]).map(|layer| (layer.spatial, layer.height, layer.bitrate_bps)).collect();
        assert_eq!(told, [(0, 180, 101_760), (1, 360, 503_520)]);
    }

    #[test]
    fn a_layer_lives_while_it_comes_and_is_known_by_its_first_packet() {
        let mut layers = SpatialLayers::default();
        assert!(layers.count(0, 1, Time::ZERO));
        assert!(!layers.is_layered());
        assert!(layers.count(2, 1, Time::ZERO));
        assert!(layers.is_layered());
        let alive = |layers: &SpatialLayers| layers.describe([0; 3]).map(|layer| layer.alive).collect::<Vec<_>>();
        assert_eq!(alive(&layers), [true, false, true]);
        layers.count(0, 1, Time::from_millis(700));
        layers.tick(Time::ZERO + TICK * 4);
        assert_eq!(alive(&layers), [true, false, false]);
        assert!(layers.count(2, 1, Time::from_millis(900)), "and comes back with its next packet");
    }

    #[test]
    fn a_structure_with_fewer_layers_forgets_the_rest() {
        let mut layers = SpatialLayers::default();
        layers.announce(&structure(&[(320, 180), (640, 360), (1280, 720)]));
        layers.count(2, 1, Time::ZERO);
        assert!(layers.announce(&structure(&[(640, 360)])));
        assert!(!layers.is_layered());
        assert!(layers.count(2, 1, Time::ZERO), "what comes all the same is a layer again");
        assert_eq!(layers.describe([0; 3]).count(), 3);
    }
}
