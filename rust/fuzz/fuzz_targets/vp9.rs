//! VP9 payloads: parsing never panics, what is rewritten says the same afterwards, and no choice of layers gives a packet
//! of a layer above it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mediaserver_proto::codec::vp9::{Descriptor, MAX_REWRITTEN};
use mediaserver_proto::codec::vp9_structure::Structure;
use mediaserver_proto::sfu::rewriter::Vp9Map;
use mediaserver_proto::sfu::vp9_filter::{Verdict, Vp9Filter};

fuzz_target!(|input: &[u8]| {
    let (mut filter, mut map) = (Vp9Filter::default(), Vp9Map::default());
    let (mut rest, mut started) = (input, false);
    while let [limits, timestamp, len, after @ ..] = rest {
        let (payload, next) = after.split_at(after.len().min(usize::from(*len)));
        rest = next;
        let Some(descriptor) = Descriptor::parse(payload) else { continue };
        assert!(usize::from(descriptor.len) <= payload.len());
        let mut out = [0; MAX_REWRITTEN];
        let written = descriptor.write(&mut out);
        assert_eq!(&out[..usize::from(written)], &payload[..usize::from(descriptor.rewritten_len)]);
        if let Some(structure) = Structure::parse(payload, &descriptor) {
            assert!((1..=8).contains(&structure.count));
        }
        if !started && descriptor.starts_keyframe() {
            filter.start(&descriptor);
            map.start();
            started = true;
        }
        let (wanted, above, most) = (limits & 7, limits >> 3 & 7, limits >> 6);
        filter.set_spatial(wanted, wanted + above);
        filter.set_temporal(most);
        let verdict = filter.decide(u32::from(*timestamp) << 24, false, &descriptor);
        if matches!(verdict, Verdict::Forward { .. }) {
            let mapped = map.map(&descriptor);
            assert_eq!((mapped.flags, mapped.layers), (descriptor.flags, descriptor.layers));
            assert_eq!(mapped.picture_id.is_some(), mapped.long_picture_id);
        }
    }
});
