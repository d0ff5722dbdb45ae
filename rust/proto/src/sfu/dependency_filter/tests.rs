//! What a receiver of fewer layers gets, frame by frame.

use super::*;
use crate::codec::dependency::Dependencies;
use crate::codec::dependency::tests::{Spec, Written, l1t3, l2t2, l3t3};

/// One publisher's stream and the filter of one receiver: frames of one packet each.
struct Line {
    up: Dependencies,
    filter: DependencyFilter,
    number: u16,
    unit: u32,
}

impl Line {
    /// Begins with a keyframe of the templates `key`, one for each spatial layer.
    fn new(spec: Spec, key: &[u8], wanted: u8, temporal: u8) -> Line {
        let mut line = Line { up: Dependencies::default(), filter: DependencyFilter::default(), number: 0, unit: 0 };
        line.filter.set_spatial(wanted, wanted);
        line.filter.set_temporal(temporal);
        let first = line.up.read(&Written::key(spec).bytes(), 0).unwrap();
        line.filter.start(&first);
        line.send(key);
        line
    }

    fn frame(&mut self, template: u8, number: u16, unit: u32) -> Frame {
        self.up.read(&Written::delta(0, number, template).bytes(), unit * 3_000).unwrap()
    }

    /// The next temporal unit; for each frame whether it is forwarded, and with a marker.
    fn send(&mut self, templates: &[u8]) -> String {
        let mut fates = String::new();
        for (at, &template) in templates.iter().enumerate() {
            let (frame, last) = (self.frame(template, self.number, self.unit), at + 1 == templates.len());
            self.number += 1;
            fates += match self.filter.decide(self.unit * 3_000, last, &frame) {
                Verdict::Forward { ends_picture: true } => "E",
                Verdict::Forward { .. } => "f",
                Verdict::Temporal => "t",
                Verdict::Spatial => "s",
                Verdict::AwaitsKeyframe => "k",
            };
        }
        self.unit += 1;
        fates
    }
}

/// Templates of the units of [`l2t2`]: a keyframe, the frames of temporal layer 1, those of temporal layer 0.
const KEY: [u8; 2] = [0, 3];
const ODD: [u8; 2] = [2, 5];
const EVEN: [u8; 2] = [1, 4];

#[test]
fn temporal_layers_above_the_limit_are_left_out_and_entered_where_everything_was_sent() {
    let mut line = Line::new(l1t3(0), &[0], 0, 0);
    assert_eq!([3, 2, 4, 1].map(|template| line.send(&[template])), ["t", "t", "t", "E"]);
    line.filter.set_temporal(1);
    assert_eq!([3, 2, 4, 1].map(|template| line.send(&[template])), ["t", "E", "t", "E"]);
    line.send(&[3]);
    line.filter.set_temporal(0);
    line.send(&[2]);
    line.filter.set_temporal(2);
    assert_eq!(line.send(&[4]), "t", "refers to the frame that was left out");
    assert_eq!([1, 3, 2, 4].map(|template| line.send(&[template])), ["E"; 4]);
    assert_eq!(line.filter.temporal(), Some(2));
}

#[test]
fn the_marker_stands_on_the_last_layer_that_is_forwarded() {
    let mut line = Line::new(l2t2(0), &KEY, 0, 7);
    assert_eq!([line.send(&ODD), line.send(&EVEN)], ["Es", "Es"]);
    let mut all = Line::new(l2t2(0), &KEY, 1, 7);
    assert_eq!([all.send(&ODD), all.send(&EVEN), all.send(&[2])], ["fE", "fE", "E"]);
    let mut slow = Line::new(l2t2(0), &KEY, 1, 0);
    assert_eq!([slow.send(&ODD), slow.send(&EVEN)], ["tt", "fE"]);
}

#[test]
fn a_spatial_layer_is_left_at_the_end_of_a_unit_and_entered_with_a_keyframe() {
    let mut line = Line::new(l2t2(0), &KEY, 1, 7);
    line.send(&ODD);
    assert_eq!(line.filter.spatial(), Some(1));
    line.filter.set_spatial(0, 0);
    assert_eq!([line.send(&EVEN), line.send(&ODD)], ["Es", "Es"]);
    assert_eq!(line.filter.spatial(), Some(0));
    line.filter.set_spatial(1, 1);
    assert!(line.filter.awaits_keyframe());
    assert_eq!([line.send(&EVEN), line.send(&ODD)], ["Ek", "Ek"]);
    assert_eq!([line.send(&KEY), line.send(&ODD)], ["fE", "fE"]);
    assert!(!line.filter.awaits_keyframe());
}

#[test]
fn three_spatial_layers_are_forwarded_up_to_the_one_that_is_wanted() {
    let mut line = Line::new(l3t3(0), &[0, 5, 10], 1, 1);
    let units = [[3, 8, 13], [2, 7, 12], [4, 9, 14], [1, 6, 11]];
    assert_eq!(units.map(|unit| line.send(&unit)), ["tts", "fEs", "tts", "fEs"]);
    assert_eq!(line.filter.expected(), (1, 1));
}

#[test]
fn all_packets_of_a_frame_share_its_fate_and_late_ones_that_of_their_frame() {
    let mut line = Line::new(l2t2(0), &KEY, 0, 7);
    let (number, unit) = (line.number, line.unit);
    let mut low = line.frame(1, number, unit);
    low.ends = false;
    let high = line.frame(4, number + 1, unit);
    let at = unit * 3_000;
    assert_eq!(line.filter.decide(at, false, &low), Verdict::Forward { ends_picture: false });
    assert_eq!(line.filter.decide(at, false, &high), Verdict::Spatial);
    line.filter.set_spatial(1, 1);
    low.ends = true;
    assert_eq!(line.filter.decide(at, true, &high), Verdict::AwaitsKeyframe);
    (line.number, line.unit) = (number + 2, unit + 1);
    assert_eq!(line.send(&ODD), "Ek");
    assert_eq!(line.filter.decide(at, false, &low), Verdict::Forward { ends_picture: true }, "the end comes late");
    assert_eq!(line.filter.decide(at, true, &high), Verdict::AwaitsKeyframe);
}

#[test]
fn a_frame_that_was_lost_is_not_taken_for_one_that_was_left_out() {
    let mut line = Line::new(l1t3(0), &[0], 0, 7);
    line.number += 3;
    assert_eq!([1, 3, 2].map(|template| line.send(&[template])), ["E", "E", "E"]);
    line.number += 400;
    assert_eq!(line.send(&[1]), "E", "further than is remembered");
}

#[test]
fn temporal_layers_that_differ_within_a_unit_are_all_kept() {
    // As L2T2_KEY_SHIFT: the upper layer's temporal layer 1 falls together with the lower one's 0.
    let mut line = Line::new(l2t2(0), &KEY, 1, 0);
    let number = line.number;
    let alone = |template, number, references: &[u32]| Written {
        references: Some(references.to_vec()),
        ..Written::delta(0, number, template)
    };
    let low = line.up.read(&alone(1, number, &[2]).bytes(), 3_000).unwrap();
    let high = line.up.read(&alone(5, number + 1, &[2]).bytes(), 3_000).unwrap();
    assert_eq!(line.filter.decide(3_000, false, &low), Verdict::Forward { ends_picture: false });
    assert_eq!(line.filter.decide(3_000, true, &high), Verdict::Forward { ends_picture: true });
    assert_eq!((line.filter.temporal(), line.filter.expected()), (Some(1), (1, u8::MAX)));
}

#[test]
fn a_layer_that_begins_without_a_keyframe_is_entered_where_it_says_so() {
    let mut line = Line::new(l2t2(0), &[0], 1, 7);
    assert_eq!(line.send(&[1]), "E");
    let (number, unit) = (line.number, line.unit);
    let low = line.frame(1, number, unit);
    let own = Written { references: Some(vec![1]), ..Written::delta(0, number + 1, 4) };
    let high = line.up.read(&own.bytes(), unit * 3_000).unwrap();
    assert_eq!(line.filter.decide(unit * 3_000, false, &low), Verdict::Forward { ends_picture: false });
    assert_eq!(line.filter.decide(unit * 3_000, true, &high), Verdict::Forward { ends_picture: true });
}
