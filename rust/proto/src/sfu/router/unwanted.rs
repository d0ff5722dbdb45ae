//! Layers that nobody wants, of publishers whom nobody can tell so: WHIP has no message for it (RFC 9725), and browsers know no
//! pause of single streams (RFC 7728). They are bounded in rate instead (REMB, TMMBR), so far that their encoder gives
//! up the layers on top.

use std::time::Duration;

use super::{Router, UpEntry};
use crate::sfu::layers::{Layer, LayerTable};
use crate::time::Time;

/// Who is told otherwise has switched layers off after so long.
const OBEYS_WITHIN: Duration = Duration::from_secs(3);
/// What the encoders of browsers give a simulcast layer: height, most, aim and least in bits per second
/// (libwebrtc, video/config/simulcast.cc, kSimulcastFormatsVP8). Rate is given from the smallest layer up: each gets its aim
/// before the next one gets its least, and the last one that gets any may have its most.
const FORMATS: [(u16, u32, u32, u32); 6] = [
    (1080, 5_000_000, 4_000_000, 800_000),
    (720, 2_500_000, 2_500_000, 600_000),
    (540, 1_200_000, 1_200_000, 350_000),
    (360, 700_000, 500_000, 150_000),
    (270, 450_000, 350_000, 150_000),
    (0, 200_000, 150_000, 30_000),
];
/// A bound stays this share below what the layer above would take.
const BELOW: f64 = 0.9;

/// Whether a publisher sends what nobody wants although it was told, where it can be.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Unwanted {
    /// When what is wanted changed last.
    told: Time,
    is_bounded: bool,
}

fn format(layer: &Layer) -> (u32, u32, u32) {
    // A picture that stands upright counts like one that lies.
    let height = layer.height.min(layer.width);
    let row = FORMATS.iter().find(|row| height >= row.0).unwrap_or(&FORMATS[FORMATS.len() - 1]);
    (row.1, row.2, row.3)
}

/// How many layers from the smallest on are kept for those in `wanted` (bit by layer); the smallest one always is.
fn kept(table: &LayerTable, wanted: u8) -> usize {
    table.ranked().rposition(|(index, _)| wanted & (1 << index) != 0).map_or(1, |rank| rank + 1)
}

/// The rate at which an encoder sends so many layers in full, and nothing of the next one.
fn bound_bps(table: &LayerTable, kept: usize) -> u32 {
    let formats = || table.ranked().map(|(_, layer)| format(layer));
    let below: u32 = formats().take(kept - 1).map(|(_, aim, _)| aim).sum();
    let (most, aim, _) = formats().nth(kept - 1).unwrap_or_default();
    let next = formats().nth(kept).map_or(u32::MAX, |(_, _, least)| below + aim + least);
    (below + most).min((f64::from(next) * BELOW) as u32)
}

impl UpEntry {
    /// What the publisher of a track is to send at most, so that it leaves out what nobody wants, in bits per second.
    pub(super) fn bound_by_layers(&self) -> Option<u32> {
        self.unwanted.is_bounded.then(|| bound_bps(&self.table, kept(&self.table, self.wanted.told())))
    }

    /// Whether anything larger than all that is wanted could be left out.
    fn has_unwanted(&self) -> bool {
        self.track.is_simulcast() && kept(&self.table, self.wanted.told()) < self.table.ranked().len()
    }
}

impl Router {
    /// Something else is wanted of a track.
    pub(super) fn wanted_changed(&mut self, key: usize, now: Time) {
        let entry = &mut self.ups[key];
        entry.unwanted.told = now;
        if entry.unwanted.is_bounded {
            entry.unwanted.is_bounded = entry.has_unwanted();
            self.ask_publisher(self.ups[key].transport);
        }
    }

    /// Bounds a publisher that goes on sending what nobody wants.
    pub(super) fn bound_unwanted(&mut self, key: usize, now: Time) {
        let entry = &mut self.ups[key];
        let is_due = entry.wanted.is_known() && now.since(entry.unwanted.told) >= OBEYS_WITHIN;
        if !is_due || entry.unwanted.is_bounded || !entry.has_unwanted() {
            return;
        }
        let kept = kept(&entry.table, entry.wanted.told());
        if entry.table.ranked().skip(kept).any(|(_, layer)| layer.alive) {
            entry.unwanted.is_bounded = true;
            self.ask_publisher(self.ups[key].transport);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::Token;

    fn table(heights: &[u16]) -> LayerTable {
        let mut table = LayerTable::default();
        table.update(heights.iter().map(|&height| Layer {
            rid: Token::new(b"x"),
            height,
            width: height * 16 / 9,
            alive: true,
            ..Layer::default()
        }));
        table
    }

    #[test]
    fn each_bound_leaves_room_for_what_is_wanted_and_none_for_the_next_layer() {
        let layers = table(&[180, 360, 720]);
        assert_eq!((kept(&layers, 0), kept(&layers, 0b001), kept(&layers, 0b011), kept(&layers, 0b100)), (1, 1, 2, 3));
        // The least of the 360 lines begins at 150 + 150 kbit/s, that of the 720 lines at 150 + 500 + 600 kbit/s.
        assert_eq!((bound_bps(&layers, 1), bound_bps(&layers, 2)), (200_000, 850_000));
        assert_eq!(bound_bps(&layers, 3), 150_000 + 500_000 + 2_500_000);
        assert_eq!(bound_bps(&table(&[0, 0]), 1), 162_000, "nothing is known of their size");
    }
}
