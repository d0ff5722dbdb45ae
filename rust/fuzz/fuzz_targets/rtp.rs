//! RTP headers and header extensions: whatever parses lies inside the datagram.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mediaserver_proto::rtp::{ExtensionKind, ExtensionMap, Extensions, RtpPacket};

fuzz_target!(|datagram: &[u8]| {
    let mut map = ExtensionMap::default();
    for (index, kind) in ExtensionKind::ALL.into_iter().enumerate() {
        map.set(index as u16 + 1, kind.uri()).expect("ids 1 to 10 are free");
    }
    if let Ok(packet) = RtpPacket::parse(datagram) {
        let end = packet.payload_offset + packet.payload.len() + usize::from(packet.padding);
        assert_eq!(end, datagram.len());
        let found = Extensions::read(packet.extension_profile, packet.extension, &map);
        assert!(found.mid.is_none_or(|mid| mid.len() <= packet.extension.len()));
    }
});
