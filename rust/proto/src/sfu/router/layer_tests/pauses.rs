//! Encoders that leave out frames: of one layer, or of all.

use super::publisher::Format;
use super::room::{FRAME_MS, Fault, Room, room};

const TOP: usize = 0;
const LOWEST: u8 = 2;

/// A viewer who is given the lowest of three layers.
fn small_viewer() -> Room {
    let mut room = room(Format::Vp8);
    room.run(Fault::None);
    room.target(200);
    encode(&mut room, 1_000, &[0, 1, 2]);
    assert_eq!(room.layer_at(room.ms), LOWEST);
    room.plis.clear();
    room
}

/// So many milliseconds in which these layers have frames, in this order.
fn encode(room: &mut Room, for_ms: u64, layers: &[usize]) {
    let end = room.ms + for_ms;
    while room.ms < end {
        room.ms += FRAME_MS;
        for &layer in layers {
            room.frame(layer, room.ms / FRAME_MS, Fault::None);
            room.run_timers();
        }
        room.run_timers();
    }
}

fn layers_since(room: &Room, ms: u64) -> Vec<u8> {
    let mut layers: Vec<u8> = room.seen.iter().filter(|seen| seen.ms > ms).map(|seen| seen.layer).collect();
    layers.dedup();
    layers
}

#[test]
fn after_a_pause_of_the_whole_source_a_viewer_goes_on_with_its_layer() {
    for pause_ms in [300, 450, 600, 900, 5_000] {
        let mut room = small_viewer();
        encode(&mut room, pause_ms, &[]);
        let began = room.ms;
        encode(&mut room, 1_000, &[TOP, 1, 2]);
        assert_eq!(layers_since(&room, began), [LOWEST], "{pause_ms}");
        assert!(room.plis.is_empty(), "{pause_ms}: {:?}", room.plis);
    }
}

#[test]
fn a_lowest_layer_that_leaves_out_a_second_is_waited_for() {
    let mut room = small_viewer();
    let began = room.ms;
    encode(&mut room, 1_200, &[TOP, 1]);
    encode(&mut room, 1_000, &[TOP, 1, 2]);
    assert_eq!(layers_since(&room, began), [LOWEST]);
    assert!(room.plis.is_empty(), "{:?}", room.plis);
}

#[test]
fn a_lowest_layer_that_is_gone_for_longer_is_not() {
    let mut room = small_viewer();
    encode(&mut room, 2_500, &[TOP, 1]);
    assert_eq!(room.layer_at(room.ms), 1);
}

#[test]
fn a_layer_above_it_is_given_up_within_a_second() {
    let mut room = small_viewer();
    room.target(u16::MAX);
    encode(&mut room, 1_000, &[TOP, 1, 2]);
    assert_eq!(room.layer_at(room.ms), 0);
    encode(&mut room, 1_000, &[1, 2]);
    assert_eq!(room.layer_at(room.ms), 1);
}
