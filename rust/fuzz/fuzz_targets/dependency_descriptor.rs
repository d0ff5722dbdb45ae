//! Dependency descriptors: reading never panics, a receiver can read what is written for it, and no choice of layers gives
//! a packet of a layer above it.
#![no_main]

use std::num::NonZeroU8;

use libfuzzer_sys::fuzz_target;
use mediaserver_proto::codec::av1;
use mediaserver_proto::codec::dependency::{Dependencies, MANDATORY};
use mediaserver_proto::codec::dependency_structure::Structure;
use mediaserver_proto::sfu::dependency_filter::DependencyFilter;
use mediaserver_proto::sfu::rewriter::DependencyMap;
use mediaserver_proto::sfu::vp9_filter::Verdict;

fuzz_target!(|input: &[u8]| {
    let _ = (av1::starts_keyframe(input), av1::frame_size(input));
    let (mut up, mut receiver) = (Dependencies::default(), Dependencies::default());
    let (mut filter, mut map) = (DependencyFilter::default(), DependencyMap::default());
    let (mut rest, mut started, mut number) = (input, false, None);
    while let [limits, timestamp, len, after @ ..] = rest {
        let (descriptor, next) = after.split_at(after.len().min(usize::from(*len)));
        rest = next;
        // Over longer jumps than any line has, what is late is a matter of opinion.
        let Some(&[_, high, low]) = descriptor.first_chunk::<MANDATORY>() else { continue };
        let at = u16::from_be_bytes([high, low]);
        if at.wrapping_sub(*number.get_or_insert(at)).wrapping_add(0x400) > 0x800 {
            continue;
        }
        number = Some(at);
        let timestamp = u32::from(*timestamp) << 24;
        let Ok(frame) = up.read(descriptor, timestamp) else { continue };
        assert!(frame.spatial < 8 && frame.temporal < 8 && descriptor.len() >= MANDATORY);
        if !started {
            if !frame.starts_keyframe() {
                continue;
            }
            filter.start(&frame);
            map.start();
            started = true;
        }
        let (wanted, above, most) = (limits & 7, limits >> 3 & 1, limits >> 4 & 7);
        filter.set_spatial(wanted, wanted + above);
        filter.set_temporal(most);
        if !matches!(filter.decide(timestamp, false, &frame), Verdict::Forward { .. }) {
            if frame.layout.has_structure() {
                // The receiver would need another keyframe.
                (started, map) = (false, DependencyMap::default());
                receiver.restart();
            }
            continue;
        }
        let structure = Structure::of(descriptor, &frame.layout);
        let Some(outgoing) = map.map(NonZeroU8::MIN, &frame, structure.as_ref(), filter.expected()) else { continue };
        let mut is_written = false;
        outgoing.write(descriptor, |written| {
            is_written = true;
            let read = receiver.read(written, timestamp).expect("what is written can be read");
            assert_eq!(read.number, outgoing.number);
            assert_eq!((read.spatial, read.temporal), (frame.spatial, frame.temporal));
            assert_eq!((read.starts, read.ends, read.references), (frame.starts, frame.ends, frame.references));
            assert!(outgoing.targets == 0 || read.active == outgoing.active);
        });
        if frame.layout.has_structure() && !is_written {
            // With the bits that are added it is longer than an extension can be (RFC 8285 §4.3): who gets the frame without
            // it needs another keyframe.
            (started, map) = (false, DependencyMap::default());
            receiver.restart();
        }
    }
});
