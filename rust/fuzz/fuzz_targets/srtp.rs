//! RTP header parser, SRTP and SRTCP: forged packets are refused, own packets come back as they were.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mediaserver_proto::srtp::{Inbound, MasterKey, Outbound, RtpHeader, Suite};

const SUITES: [Suite; 4] =
    [Suite::AeadAes128Gcm, Suite::AeadAes256Gcm, Suite::AesCm128HmacSha1_80, Suite::AesCm128HmacSha1_32];

fuzz_target!(|input: &[u8]| {
    let Some((&which, packet)) = input.split_first() else { return };
    let suite = SUITES[usize::from(which) % SUITES.len()];
    let key = MasterKey::from_key_and_salt(suite, &vec![9; suite.key_len() + suite.salt_len()]).unwrap();
    let (mut inbound, mut outbound) = (Inbound::new(&key), Outbound::new(&key));

    let mut forged = packet.to_vec();
    if suite != Suite::AesCm128HmacSha1_32 {
        if let Some(header) = RtpHeader::parse(&forged) {
            assert!(inbound.unprotect_rtp(&mut forged, &header).is_err());
        }
        assert!(inbound.unprotect_rtcp(&mut forged).is_err());
    }

    let mut sealed = Vec::new();
    if let Some(header) = RtpHeader::parse(packet) {
        outbound.protect_rtp(&packet[..header.len], &packet[header.len..], &mut sealed).unwrap();
        let opened = inbound.unprotect_rtp(&mut sealed, &header).unwrap();
        assert_eq!(&sealed[..opened.len], packet);
    }
    sealed.clear();
    if outbound.protect_rtcp(packet, &mut sealed).is_ok() {
        let len = inbound.unprotect_rtcp(&mut sealed).unwrap();
        assert_eq!(&sealed[..len], packet);
    }
});
