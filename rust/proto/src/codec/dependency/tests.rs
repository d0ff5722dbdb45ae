//! Descriptors written by the syntax of A.8.2, from the tables of the specification's A.10.2.

use super::*;
use crate::codec::dependency_writer::Outgoing;
use proptest::prelude::*;
use std::num::NonZeroU8;

/// A row of a table: spatial and temporal layer, references, chains, decode target indications.
pub(crate) type Row = (u8, u8, Vec<u32>, Vec<u32>, &'static str);

/// A structure to be written.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    pub(crate) id_offset: u8,
    pub(crate) templates: Vec<Row>,
    pub(crate) protected_by: Vec<u32>,
    pub(crate) sizes: Vec<(u16, u16)>,
}

/// A descriptor to be written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Written {
    pub(crate) starts: bool,
    pub(crate) ends: bool,
    pub(crate) template: u8,
    pub(crate) number: u16,
    pub(crate) structure: Option<Spec>,
    /// Bit mask, and how many bits.
    pub(crate) active: Option<(u32, u32)>,
    pub(crate) indications: Option<&'static str>,
    pub(crate) references: Option<Vec<u32>>,
    pub(crate) chains: Option<Vec<u32>>,
}

#[derive(Default)]
struct Bits(Vec<u8>);

impl Bits {
    fn put(&mut self, value: u32, count: u32) {
        self.0.extend((0..count).rev().map(|bit| (value >> bit & 1) as u8));
    }

    /// `write_ns(n, v)` of A.8.2.
    fn put_below(&mut self, n: u32, value: u32) {
        if n == 1 {
            return;
        }
        let width = 32 - n.leading_zeros();
        let short = (1 << width) - n;
        if value < short { self.put(value, width - 1) } else { self.put(value + short, width) }
    }

    fn put_indications(&mut self, indications: &str) {
        for letter in indications.chars() {
            self.put("-DSR".find(letter).unwrap() as u32, 2);
        }
    }

    fn bytes(self) -> Vec<u8> {
        self.0.chunks(8).map(|bits| bits.iter().enumerate().fold(0, |all, (at, bit)| all | (bit << (7 - at)))).collect()
    }
}

impl Spec {
    fn targets(&self) -> u32 {
        self.templates[0].4.len() as u32
    }

    fn put(&self, bits: &mut Bits) {
        bits.put(u32::from(self.id_offset), 6);
        bits.put(self.targets() - 1, 5);
        for pair in self.templates.windows(2) {
            bits.put(if pair[1].0 > pair[0].0 { 2 } else { u32::from(pair[1].1 - pair[0].1) }, 2);
        }
        bits.put(3, 2);
        self.templates.iter().for_each(|row| bits.put_indications(row.4));
        for row in &self.templates {
            for reference in &row.2 {
                bits.put(1, 1);
                bits.put(reference - 1, 4);
            }
            bits.put(0, 1);
        }
        let chains = self.templates[0].3.len() as u32;
        bits.put_below(self.targets() + 1, chains);
        if chains > 0 {
            self.protected_by.iter().for_each(|chain| bits.put_below(chains, *chain));
            self.templates.iter().flat_map(|row| &row.3).for_each(|chain| bits.put(*chain, 4));
        }
        bits.put(u32::from(!self.sizes.is_empty()), 1);
        for (width, height) in &self.sizes {
            bits.put(u32::from(*width) - 1, 16);
            bits.put(u32::from(*height) - 1, 16);
        }
    }
}

impl Written {
    /// The only packet of a keyframe's lowest layer.
    pub(crate) fn key(structure: Spec) -> Written {
        Written { structure: Some(structure.clone()), ..Written::delta(structure.id_offset, 0, 0) }
    }

    /// The only packet of a frame that follows a template by its index.
    pub(crate) fn delta(id_offset: u8, number: u16, index: u8) -> Written {
        Written { starts: true, ends: true, template: (id_offset + index) & 0x3f, number, ..Written::default() }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bits = Bits::default();
        bits.put(u32::from(self.starts) << 1 | u32::from(self.ends), 2);
        bits.put(u32::from(self.template), 6);
        bits.put(u32::from(self.number), 16);
        let flags = [
            self.structure.is_some(),
            self.active.is_some(),
            self.indications.is_some(),
            self.references.is_some(),
            self.chains.is_some(),
        ];
        if flags.contains(&true) {
            flags.iter().for_each(|flag| bits.put(u32::from(*flag), 1));
        }
        if let Some(structure) = &self.structure {
            structure.put(&mut bits);
        }
        if let Some((mask, count)) = self.active {
            bits.put(mask, count);
        }
        if let Some(indications) = self.indications {
            bits.put_indications(indications);
        }
        if let Some(references) = &self.references {
            for reference in references {
                let size = (1..=3).find(|size| (reference - 1) >> (4 * size) == 0).unwrap();
                bits.put(size, 2);
                bits.put(reference - 1, 4 * size);
            }
            bits.put(0, 2);
        }
        for chain in self.chains.iter().flatten() {
            bits.put(*chain, 8);
        }
        bits.bytes()
    }
}

/// A.10.2.1.
pub(crate) fn l1t3(id_offset: u8) -> Spec {
    let row =
        |temporal, references: &[u32], chain, indications| (0, temporal, references.to_vec(), vec![chain], indications);
    let templates = vec![
        row(0, &[], 0, "SSS"),
        row(0, &[4], 4, "SSS"),
        row(1, &[2], 2, "SD-"),
        row(2, &[1], 1, "D--"),
        row(2, &[1], 3, "D--"),
    ];
    Spec { id_offset, templates, protected_by: vec![0; 3], sizes: vec![] }
}

/// Two spatial and two temporal layers, as A.10.2.2 does it for three.
pub(crate) fn l2t2(id_offset: u8) -> Spec {
    let row = |layers: (u8, u8), references: &[u32], chains: [u32; 2], indications| {
        (layers.0, layers.1, references.to_vec(), chains.to_vec(), indications)
    };
    let templates = vec![
        row((0, 0), &[], [0, 0], "SSSS"),
        row((0, 0), &[4], [4, 3], "RRSS"),
        row((0, 1), &[2], [2, 1], "R-D-"),
        row((1, 0), &[1], [1, 1], "SS--"),
        row((1, 0), &[4, 1], [1, 1], "SS--"),
        row((1, 1), &[2, 1], [3, 2], "D---"),
    ];
    Spec { id_offset, templates, protected_by: vec![1, 1, 0, 0], sizes: vec![(320, 180), (640, 360)] }
}

/// A.10.2.2.
pub(crate) fn l3t3(id_offset: u8) -> Spec {
    let row = |layers: (u8, u8), references: &[u32], chains: [u32; 3], indications| {
        (layers.0, layers.1, references.to_vec(), chains.to_vec(), indications)
    };
    let templates = vec![
        row((0, 0), &[], [0, 0, 0], "SSSSSSSSS"),
        row((0, 0), &[12], [12, 11, 10], "RRRRRRSSS"),
        row((0, 1), &[6], [6, 5, 4], "RR-RR-SD-"),
        row((0, 2), &[3], [3, 2, 1], "R--R--D--"),
        row((0, 2), &[3], [9, 8, 7], "R--R--D--"),
        row((1, 0), &[1], [1, 1, 1], "SSSSSS---"),
        row((1, 0), &[12, 1], [1, 1, 1], "RRRSSS---"),
        row((1, 1), &[6, 1], [7, 6, 5], "RR-SD----"),
        row((1, 2), &[3, 1], [4, 3, 2], "R--D-----"),
        row((1, 2), &[3, 1], [10, 9, 8], "R--D-----"),
        row((2, 0), &[1], [2, 1, 1], "SSS------"),
        row((2, 0), &[12, 1], [2, 1, 1], "SSS------"),
        row((2, 1), &[6, 1], [8, 7, 6], "SD-------"),
        row((2, 2), &[3, 1], [5, 4, 3], "D--------"),
        row((2, 2), &[3, 1], [11, 10, 9], "D--------"),
    ];
    let sizes = vec![(320, 180), (640, 360), (1280, 720)];
    Spec { id_offset, templates, protected_by: vec![2, 2, 2, 1, 1, 1, 0, 0, 0], sizes }
}

fn read(dependencies: &mut Dependencies, written: &Written, timestamp: u32) -> Frame {
    dependencies.read(&written.bytes(), timestamp).unwrap()
}

#[test]
fn the_tables_of_the_specification_are_read() {
    for spec in [l1t3(0), l2t2(62), l3t3(40)] {
        let mut dependencies = Dependencies::default();
        let key = read(&mut dependencies, &Written::key(spec.clone()), 0);
        assert!(key.starts_keyframe() && key.is_intra_unit && key.switches);
        assert_eq!(key.active, (1 << spec.targets()) - 1);
        let structure = dependencies.structure().unwrap();
        assert_eq!((structure.id_offset, usize::from(structure.chains)), (spec.id_offset, spec.templates[0].3.len()));
        assert_eq!(structure.templates().len(), spec.templates.len());
        for (index, (spatial, temporal, references, _, indications)) in spec.templates.iter().enumerate() {
            let template = structure.template((spec.id_offset + index as u8) & 0x3f).unwrap();
            assert_eq!((template.spatial, template.temporal), (*spatial, *temporal));
            assert_eq!(template.references, references.iter().fold(0, |bits, back| bits | 1 << (back - 1)));
            for (target, letter) in indications.chars().enumerate() {
                let expected = match letter {
                    '-' => Indication::NotPresent,
                    'D' => Indication::Discardable,
                    'S' => Indication::Switch,
                    _ => Indication::Required,
                };
                assert_eq!(template.indications.get(target as u8), expected, "template {index}, target {target}");
            }
        }
        let count = usize::from(structure.sizes.count);
        assert_eq!(spec.sizes.is_empty(), structure.sizes.sizes[..count].contains(&(0, 0)));
        assert!(spec.sizes.is_empty() || structure.sizes.sizes[..count] == spec.sizes);
    }
}

#[test]
fn decode_targets_have_the_layers_of_what_belongs_to_them() {
    let mut dependencies = Dependencies::default();
    read(&mut dependencies, &Written::key(l3t3(0)), 0);
    let targets = dependencies.structure().unwrap().targets;
    let layers: Vec<_> = targets.all().iter().map(|target| (target.spatial, target.temporal)).collect();
    assert_eq!(layers, [(2, 2), (2, 1), (2, 0), (1, 2), (1, 1), (1, 0), (0, 2), (0, 1), (0, 0)]);
    assert_eq!(targets.within(1, 1), 0b1_1011_0000);
    assert_eq!(targets.within(0, 7), 0b1_1100_0000);
    assert_eq!(targets.mask(), 0b1_1111_1111);
}

#[test]
fn a_short_descriptor_takes_everything_from_its_template() {
    let mut dependencies = Dependencies::default();
    read(&mut dependencies, &Written::key(l2t2(60)), 0);
    let delta = Written { ends: false, ..Written::delta(60, 6, 5) };
    assert_eq!(delta.bytes(), [0x80 | 1, 0, 6], "three bytes, with an id that wraps");
    let frame = read(&mut dependencies, &delta, 9_000);
    assert_eq!((frame.spatial, frame.temporal, frame.references), (1, 1, 0b11));
    assert!(frame.starts && !frame.ends && !frame.starts_keyframe());
    assert_eq!(frame.layout, Layout { len: 3, structure_end: 29, tail_at: 29 });
}

#[test]
fn a_frame_of_its_own_kind_says_so() {
    let mut dependencies = Dependencies::default();
    read(&mut dependencies, &Written::key(l2t2(0)), 0);
    let own = Written {
        indications: Some("-S--"),
        references: Some(vec![1, 17, 4096]),
        chains: Some(vec![200, 3]),
        active: Some((0b0101, 4)),
        ..Written::delta(0, 9, 4)
    };
    let frame = read(&mut dependencies, &own, 9_000);
    assert_eq!(frame.references, 1 | 1 << 16 | 1 << 63);
    assert_eq!((frame.active, frame.tells_active, frame.switches), (0b0101, true, true));
    let next = read(&mut dependencies, &Written::delta(0, 10, 2), 18_000);
    assert_eq!((next.active, next.tells_active), (0b0101, false), "it holds until the next word");
    assert!(!next.switches, "required and discardable");
}

#[test]
fn frames_that_need_nothing_but_their_temporal_unit_open_their_layer() {
    let mut dependencies = Dependencies::default();
    assert!(read(&mut dependencies, &Written::key(l2t2(0)), 0).opens_layer());
    assert!(read(&mut dependencies, &Written::delta(0, 1, 3), 0).opens_layer());
    assert!(!read(&mut dependencies, &Written::delta(0, 4, 1), 3_000).opens_layer());
    assert!(!read(&mut dependencies, &Written::delta(0, 5, 4), 3_000).opens_layer(), "needs the unit before");
    let from_below = Written { references: Some(vec![1]), ..Written::delta(0, 7, 4) };
    read(&mut dependencies, &Written::delta(0, 6, 1), 6_000);
    assert!(read(&mut dependencies, &from_below, 6_000).opens_layer(), "begins without a keyframe");
    assert!(!read(&mut dependencies, &from_below, 9_000).opens_layer(), "the same alone in its unit");
}

#[test]
fn a_structure_that_comes_late_is_good_for_its_own_packet_only() {
    let mut dependencies = Dependencies::default();
    read(&mut dependencies, &Written { number: 100, ..Written::key(l2t2(6)) }, 9_000);
    let old = Written { number: 90, ..Written::key(l2t2(0)) };
    let late = read(&mut dependencies, &old, 0);
    assert!(late.is_superseded && !late.starts_keyframe());
    assert_eq!(dependencies.structure().unwrap().id_offset, 6);
    let ahead = Written { active: Some((0b1000, 4)), ..Written::delta(6, 104, 1) };
    read(&mut dependencies, &ahead, 18_000);
    let again = Written { number: 101, ..Written::key(l2t2(12)) };
    assert!(read(&mut dependencies, &again, 12_000).starts_keyframe(), "sent again, and the latest all the same");
    assert_eq!(dependencies.structure().unwrap().id_offset, 12);
    dependencies.restart();
    read(&mut dependencies, &old, 0);
    assert_eq!(dependencies.structure().unwrap().id_offset, 0, "numbers begin anew");
}

#[test]
fn a_keyframe_is_the_latest_however_many_frames_lie_before_it() {
    let mut dependencies = Dependencies::default();
    read(&mut dependencies, &Written::key(l2t2(0)), 0);
    for unit in 1..=50u16 {
        read(&mut dependencies, &Written::delta(0, unit * 1_000, 1), u32::from(unit) * 3_000);
    }
    let key = Written { number: 50_001, ..Written::key(l2t2(20)) };
    assert!(read(&mut dependencies, &key, 600_000).starts_keyframe());
    assert_eq!(dependencies.structure().unwrap().id_offset, 20);
}

#[test]
fn what_is_cut_short_or_not_known_is_named() {
    let mut dependencies = Dependencies::default();
    let unknown = Err(Unreadable::UnknownTemplate);
    assert_eq!(dependencies.read(&Written::delta(0, 1, 0).bytes(), 0), unknown);
    let key = Written::key(l3t3(0)).bytes();
    for len in 0..key.len() {
        assert!(dependencies.read(&key[..len], 0).is_err(), "length {len}");
    }
    assert!(dependencies.structure().is_none());
    dependencies.read(&key, 0).unwrap();
    assert_eq!(dependencies.read(&Written::delta(0, 1, 15).bytes(), 0), unknown);
    let own = Written { references: Some(vec![5]), ..Written::delta(0, 1, 1) }.bytes();
    assert_eq!(dependencies.read(&own[..own.len() - 1], 0), Err(Unreadable::Malformed));
    assert_eq!(dependencies.read(&[0; 256], 0), Err(Unreadable::Malformed), "longer than an element can be");
}

#[test]
fn more_layers_than_there_can_be_are_refused() {
    let mut rows = l1t3(0).templates;
    let first = rows[0].clone();
    rows = (0..9).map(|spatial| (spatial, 0, vec![], first.3.clone(), first.4)).collect();
    let many = Spec { templates: rows, ..l1t3(0) };
    let read = Dependencies::default().read(&Written::key(many.clone()).bytes(), 0);
    assert_eq!(read, Err(Unreadable::Malformed));
    let fewer = Spec { templates: many.templates[..8].to_vec(), ..many };
    assert!(Dependencies::default().read(&Written::key(fewer).bytes(), 0).is_ok());
    let alike = Spec { templates: vec![first; 65], ..l1t3(0) };
    let read = Dependencies::default().read(&Written::key(alike).bytes(), 0);
    assert_eq!(read, Err(Unreadable::Malformed), "more templates than ids");
}

proptest! {
    #[test]
    fn arbitrary_descriptors_never_panic_and_are_written_back(
        first in proptest::collection::vec(any::<u8>(), 0..120),
        second in proptest::collection::vec(any::<u8>(), 0..20),
        known: bool, shift in 0u8..64, number: u16, targets in 0u8..=32, active: u32,
    ) {
        let mut dependencies = Dependencies::default();
        if known {
            dependencies.read(&Written::key(l3t3(7)).bytes(), 0).unwrap();
        }
        for (timestamp, descriptor) in [&first, &second].into_iter().enumerate() {
            let Ok(frame) = dependencies.read(descriptor, timestamp as u32) else { continue };
            prop_assert!(usize::from(frame.layout.tail_at) <= descriptor.len().max(4) * 8);
            let outgoing = Outgoing { id: NonZeroU8::MIN, number, template_shift: shift, targets, active, layout: frame.layout };
            outgoing.write(descriptor, |written| assert!(written.len() < 256 && written.len() + 4 >= descriptor.len()));
        }
    }
}
