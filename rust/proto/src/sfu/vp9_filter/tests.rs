//! Layers of a VP9 stream: what is sent of each picture.

use super::*;

const FORWARD: Verdict = Verdict::Forward { ends_picture: false };
const LAST: Verdict = Verdict::Forward { ends_picture: true };

/// One frame in one packet: I, L, B, E, and P where it needs another picture.
fn frame(picture: u16, inter: bool, temporal: u8, up: bool, spatial: u8, inter_layer: bool) -> Descriptor {
    let layers = (temporal << 5) | (u8::from(up) << 4) | (spatial << 1) | u8::from(inter_layer);
    Descriptor {
        flags: 0xac | (u8::from(inter) << 6),
        picture_id: Some(picture),
        long_picture_id: true,
        layers: Some(layers),
        ..Descriptor::default()
    }
}

fn decide(filter: &mut Vp9Filter, descriptor: &Descriptor) -> Verdict {
    let picture = descriptor.picture_id.unwrap();
    filter.decide(u32::from(picture) * 3_000, false, descriptor)
}

/// The three spatial layers of a picture.
fn picture(filter: &mut Vp9Filter, picture: u16, inter: bool) -> [Verdict; 3] {
    [0, 1, 2].map(|spatial| decide(filter, &frame(picture, inter, 0, false, spatial, spatial > 0)))
}

fn begun(wanted: u8) -> Vp9Filter {
    let mut filter = Vp9Filter::default();
    filter.set_spatial(wanted, wanted);
    filter.start(&frame(1, false, 0, false, 0, false));
    filter
}

#[test]
fn the_marker_stands_on_the_last_packet_that_is_sent() {
    let mut filter = begun(1);
    assert_eq!(picture(&mut filter, 1, false), [FORWARD, LAST, Verdict::Spatial]);
    assert_eq!(picture(&mut filter, 2, true), [FORWARD, LAST, Verdict::Spatial]);
    assert_eq!(filter.spatial(), Some(1));
}

#[test]
fn a_layer_is_left_at_the_end_of_a_picture() {
    let mut filter = begun(2);
    assert_eq!(picture(&mut filter, 1, false), [FORWARD, FORWARD, LAST]);
    assert_eq!(decide(&mut filter, &frame(2, true, 0, false, 0, false)), FORWARD);
    filter.set_spatial(0, 0);
    assert_eq!(decide(&mut filter, &frame(2, true, 0, false, 1, true)), FORWARD);
    assert_eq!(decide(&mut filter, &frame(2, true, 0, false, 2, true)), LAST);
    assert_eq!(picture(&mut filter, 3, true), [LAST, Verdict::Spatial, Verdict::Spatial]);
}

#[test]
fn a_layer_is_entered_where_it_needs_no_other_picture() {
    let mut filter = begun(0);
    picture(&mut filter, 1, false);
    filter.set_spatial(2, 2);
    let waits = [LAST, Verdict::AwaitsKeyframe, Verdict::AwaitsKeyframe];
    assert_eq!(picture(&mut filter, 2, true), waits);
    assert!(filter.awaits_keyframe());
    assert_eq!(picture(&mut filter, 3, false), [FORWARD, FORWARD, LAST]);
    assert!(!filter.awaits_keyframe());
    assert_eq!(filter.spatial(), Some(0), "the picture is not over");
    picture(&mut filter, 4, true);
    assert_eq!(filter.spatial(), Some(2));
}

#[test]
fn a_layer_that_its_encoder_begins_to_send_is_entered_without_a_keyframe() {
    let mut filter = begun(0);
    filter.set_spatial(0, 1);
    assert_eq!(decide(&mut filter, &frame(1, false, 0, false, 0, false)), FORWARD);
    assert_eq!(decide(&mut filter, &frame(2, true, 0, false, 0, false)), FORWARD);
    assert_eq!(decide(&mut filter, &frame(2, false, 0, false, 1, true)), LAST);
    assert_eq!(decide(&mut filter, &frame(3, true, 0, false, 0, false)), FORWARD);
    assert_eq!(decide(&mut filter, &frame(3, true, 0, false, 1, true)), LAST);
}

#[test]
fn a_layer_whose_lower_one_was_lost_is_not_entered() {
    let mut filter = begun(2);
    assert_eq!(decide(&mut filter, &frame(1, false, 0, false, 0, false)), FORWARD);
    assert_eq!(decide(&mut filter, &frame(1, false, 0, false, 2, true)), Verdict::AwaitsKeyframe);
    assert_eq!(decide(&mut filter, &frame(1, false, 0, false, 1, true)), LAST, "it came late");
    assert!(filter.awaits_keyframe());
}

#[test]
fn independent_layers_are_entered_one_without_the_other() {
    let mut filter = begun(2);
    assert_eq!(decide(&mut filter, &frame(1, false, 0, false, 0, false)), FORWARD);
    assert_eq!(decide(&mut filter, &frame(1, false, 0, false, 2, false)), LAST);
}

/// Temporal layers 0 2 1 2 of one spatial layer; those that are sent.
fn temporal(filter: &mut Vp9Filter, pictures: std::ops::Range<u16>, up: bool) -> Vec<u8> {
    let layers = pictures.map(|number| (number, [0, 2, 1, 2][usize::from(number) % 4]));
    let sent = layers.filter(|&(number, layer)| {
        matches!(decide(filter, &frame(number, number != 0, layer, up, 0, false)), Verdict::Forward { .. })
    });
    sent.map(|(_, layer)| layer).collect()
}

#[test]
fn temporal_layers_are_left_at_once_and_entered_behind_a_switching_up_point() {
    let mut filter = begun(0);
    assert_eq!(temporal(&mut filter, 0..4, false), [0, 2, 1, 2]);
    filter.set_temporal(0);
    assert_eq!(temporal(&mut filter, 4..8, false), [0]);
    assert_eq!(filter.temporal(), Some(0));
    filter.set_temporal(1);
    assert_eq!(temporal(&mut filter, 8..12, false), [0]);
    assert_eq!(temporal(&mut filter, 12..16, true), [0, 1]);
    assert_eq!(filter.temporal(), Some(1));
}

#[test]
fn in_flexible_mode_a_picture_is_sent_when_all_its_references_were() {
    let flexible = |number: u16, layer: u8, references: [u8; 3]| {
        let mut descriptor = frame(number, number != 0, layer, false, 0, false);
        descriptor.flags |= 0x10;
        descriptor.references = references;
        descriptor
    };
    let mut filter = begun(0);
    filter.set_temporal(0);
    let send = |filter: &mut Vp9Filter, number, layer, references| {
        matches!(decide(filter, &flexible(number, layer, references)), Verdict::Forward { .. })
    };
    assert!(send(&mut filter, 0, 0, [0; 3]));
    assert!(!send(&mut filter, 1, 1, [1, 0, 0]));
    filter.set_temporal(2);
    assert!(send(&mut filter, 2, 0, [2, 0, 0]));
    assert!(!send(&mut filter, 3, 1, [2, 1, 0]), "refers to one that was left out");
    assert!(!send(&mut filter, 4, 2, [1, 0, 0]), "and so does this one, by way of it");
    assert!(send(&mut filter, 5, 1, [3, 0, 0]), "refers to the lowest layer alone");
    assert!(send(&mut filter, 7, 2, [1, 0, 0]), "picture 6 is lost, and may still come");
}

#[test]
fn a_late_packet_shares_the_fate_of_its_picture() {
    let mut filter = begun(1);
    filter.set_temporal(0);
    picture(&mut filter, 1, false);
    assert_eq!(decide(&mut filter, &frame(2, true, 1, true, 0, false)), Verdict::Temporal);
    filter.set_temporal(1);
    assert_eq!(decide(&mut filter, &frame(3, true, 0, true, 0, false)), FORWARD);
    assert_eq!(decide(&mut filter, &frame(4, true, 1, true, 0, false)), FORWARD);
    assert_eq!(decide(&mut filter, &frame(2, true, 1, true, 1, false)), Verdict::Temporal);
    assert_eq!(decide(&mut filter, &frame(3, true, 0, true, 1, false)), LAST);
    assert_eq!(decide(&mut filter, &frame(3, true, 0, true, 2, false)), Verdict::Spatial);
}

#[test]
fn a_stream_without_layers_passes_as_it_is() {
    let plain = |flags| Descriptor { flags, ..Descriptor::default() };
    let mut filter = Vp9Filter::default();
    filter.start(&plain(0x08));
    assert_eq!(filter.decide(1, false, &plain(0x08)), FORWARD);
    assert_eq!(filter.decide(1, true, &plain(0x04)), LAST);
    assert_eq!(filter.decide(2, true, &plain(0x4c)), LAST);
    assert_eq!(filter.temporal(), None);
}
