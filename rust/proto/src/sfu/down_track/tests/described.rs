//! Layers that only dependency descriptors tell apart, for receivers that are sent them and for others.

use super::*;
use crate::sfu::layers::{Choice, Layer, LayerTable};

fn av1(described: bool) -> DownTrack {
    let mut track = track(MediaKind::Video, vec![payload(45, "AV1", 90_000)]);
    let mut map = extensions();
    if described {
        map.set(12, ExtensionKind::DependencyDescriptor.uri()).unwrap();
    }
    track.set_extensions(&map);
    track
}

fn table(alive: [bool; 2]) -> LayerTable {
    let layers = [0, 1].map(|spatial| Layer {
        spatial,
        height: 180 << spatial,
        bitrate_bps: 200_000 << spatial,
        alive: alive[usize::from(spatial)],
        heard: true,
        ..Layer::default()
    });
    let mut table = LayerTable::default();
    table.update(layers.into_iter());
    table.set_described(true);
    table
}

#[test]
fn who_is_sent_no_descriptors_gets_the_lowest_layer_that_lives() {
    for (described, alive, wanted) in [
        (true, [true, true], Choice::Layer(1)),
        (false, [true, true], Choice::Layer(0)),
        (false, [false, true], Choice::Layer(1)),
    ] {
        let mut track = av1(described);
        track.choose(&table(alive));
        assert_eq!(track.choice(), wanted);
    }
    assert_eq!(table([true, true]).allowed(&av1(false).target_for(&table([true, true]))), 0b01, "none asks for more");
}

#[test]
fn layers_that_their_own_headers_tell_apart_need_no_descriptors() {
    let mut vp9 = table([true, true]);
    vp9.set_described(false);
    let mut track = av1(false);
    track.choose(&vp9);
    assert_eq!(track.choice(), Choice::Layer(1));
}
