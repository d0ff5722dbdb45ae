//! Published vectors, round trips, replays, rollover and hostile bytes.

use proptest::prelude::*;

use super::*;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn master(suite: Suite, text: &str) -> MasterKey {
    MasterKey::from_key_and_salt(suite, &hex(text)).unwrap()
}

const CM_KEY: &str = "E1F97A0D3E018BE0D64FA32C06DE4139 0EC675AD498AFEEBB6960B3AABE6";
const GCM_KEY: &str = "000102030405060708090a0b0c0d0e0f a0a1a2a3a4a5a6a7a8a9aaab";
const GCM_256_KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f a0a1a2a3a4a5a6a7a8a9aaab";
const ALL: [Suite; 4] =
    [Suite::AeadAes128Gcm, Suite::AeadAes256Gcm, Suite::AesCm128HmacSha1_80, Suite::AesCm128HmacSha1_32];

fn any_key(suite: Suite) -> MasterKey {
    let bytes: Vec<u8> = (0..suite.key_len() + suite.salt_len()).map(|i| (i as u8).wrapping_mul(7)).collect();
    MasterKey::from_key_and_salt(suite, &bytes).unwrap()
}

fn rtp(sequence: u16, ssrc: u32) -> [u8; 12] {
    let mut header = [0x80, 96, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0];
    header[2..4].copy_from_slice(&sequence.to_be_bytes());
    header[8..].copy_from_slice(&ssrc.to_be_bytes());
    header
}

fn open(inbound: &mut Inbound, packet: &mut [u8]) -> Result<Opened, SrtpError> {
    let header = RtpHeader::parse(packet).unwrap();
    inbound.unprotect_rtp(packet, &header)
}

/// RFC 3711 appendix B.3.
#[test]
fn session_keys_are_those_of_rfc_3711() {
    let master = master(Suite::AesCm128HmacSha1_80, CM_KEY);
    let (mut key, mut salt, mut auth) = ([0u8; 16], [0u8; 14], [0u8; 20]);
    master.derive(0, &mut key);
    master.derive(2, &mut salt);
    master.derive(1, &mut auth);
    assert_eq!(key[..], hex("C61E7A93744F39EE10734AFE3FF7A087"));
    assert_eq!(salt[..], hex("30CBBC08863D8C85D49DB34A9AE1"));
    assert_eq!(auth[..], hex("CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4"));
}

/// RFC 3711 appendix B.2, through the same function that encrypts packets.
#[test]
fn the_key_stream_is_that_of_rfc_3711() {
    let stream = super::cipher::key_stream_for_test(
        &hex("2B7E151628AED2A6ABF7158809CF4F3C"),
        &hex("F0F1F2F3F4F5F6F7F8F9FAFBFCFD"),
        48,
    );
    let expected = "E03EAD0935C95E80E166B16DD92B4EB4 D23513162B02D0F72A43A2FE4A5F97AB 41E95B3BB0A2E8DD477901E4FCA894C0";
    assert_eq!(stream, hex(expected));
}

/// Made by libsrtp 2 (its `srtp_validate` packets), which covers derivation, cipher and tag of every suite at once.
#[test]
fn packets_are_those_of_libsrtp() {
    let packet = hex("800f1234decafbadcafebabe abababababababababababababababab");
    for (suite, key, expected) in [
        (
            Suite::AesCm128HmacSha1_80,
            CM_KEY,
            "800f1234decafbadcafebabe 4e55dc4ce79978d88ca4d215949d2402 b78d6acc99ea179b8dbb",
        ),
        (
            Suite::AeadAes128Gcm,
            GCM_KEY,
            "800f1234decafbadcafebabe c5002ede04cfdd2eb91159e0880aa06e d2976826f796b201df3131a127e8a392",
        ),
        (
            Suite::AeadAes256Gcm,
            GCM_256_KEY,
            "800f1234decafbadcafebabe 0af7f21e8a90bdad7a425c9c31ed4bb1 d90238917e7390a2793500e1681acaea",
        ),
        (Suite::AesCm128HmacSha1_32, CM_KEY, "800f1234decafbadcafebabe 4e55dc4ce79978d88ca4d215949d2402 b78d6acc"),
    ] {
        let mut sealed = Vec::new();
        Outbound::new(&master(suite, key)).protect_rtp(&packet[..12], &packet[12..], &mut sealed).unwrap();
        assert_eq!(sealed, hex(expected), "{}", suite.name());
        let opened = open(&mut Inbound::new(&master(suite, key)), &mut sealed).unwrap();
        assert_eq!(&sealed[..opened.len], &packet[..]);
    }
}

#[test]
fn rtcp_packets_are_those_of_libsrtp() {
    let packet = hex("81c8000bcafebabe abababababababababababababababab");
    for (suite, key, expected) in [
        (
            Suite::AesCm128HmacSha1_80,
            CM_KEY,
            "81c8000bcafebabe 7128035be487b9bdbef89041f977a5a8 80000001 993e08cd54d6c1230798",
        ),
        (
            Suite::AeadAes128Gcm,
            GCM_KEY,
            "81c8000bcafebabe c98b8b5df0392a55852b6c21ac8e7025 c52c6fbea2b3b446ea31123ba88ce61e 80000001",
        ),
        (
            Suite::AeadAes256Gcm,
            GCM_256_KEY,
            "81c8000bcafebabe 8abfafa780070a90e80f9161cf4aac08 1ed93aaa53c15b0f3ed1a3b984167b03 80000001",
        ),
        (
            Suite::AesCm128HmacSha1_32,
            CM_KEY,
            "81c8000bcafebabe 7128035be487b9bdbef89041f977a5a8 80000001 993e08cd54d6c1230798",
        ),
    ] {
        let mut outbound = Outbound::new(&master(suite, key));
        // Their first index is 1; ours is 0.
        outbound.restore(StreamIndices { ssrc: 0xcafebabe, rtp: None, rtcp: Some(0) }).unwrap();
        let mut sealed = Vec::new();
        assert_eq!(outbound.protect_rtcp(&packet, &mut sealed), Ok(1));
        assert_eq!(sealed, hex(expected), "{}", suite.name());
        let len = Inbound::new(&master(suite, key)).unprotect_rtcp(&mut sealed).unwrap();
        assert_eq!(&sealed[..len], &packet[..]);
    }
}

/// RFC 7714 §16.1.1, §16.2.1, §17.1, §17.2: session keys are given there, so the derivation is passed by.
#[test]
fn gcm_packets_are_those_of_rfc_7714() {
    let salt = hex("517569642070726f2071756f");
    let rtp = hex(
        "8040f17b 8041f8d3 5501a0b2 47616c6c 69612065 7374206f 6d6e6973 20646976 69736120 696e2070 61727465 73207472 6573",
    );
    let rtcp = hex(
        "81c8000d 4d617273 4e545031 4e545032 52545020 0000042a 0000e930 4c756e61 deadbeef deadbeef deadbeef deadbeef deadbeef",
    );
    for (key_len, sealed_rtp, sealed_rtcp) in [
        (
            16,
            "8040f17b 8041f8d3 5501a0b2 f24de3a3 fb34de6c acba861c 9d7e4bca be633bd5 0d294e6f 42a5f47a 51c7d19b 36de3adf \
             8833899d 7f27beb1 6a9152cf 765ee439 0cce",
            "81c8000d 4d617273 63e94885 dcdab67c a727d766 2f6b7e99 7ff5c0f7 6c06f32d c676a5f1 730d6fda 4ce09b46 86303ded \
             0bb9275b c84aa458 96cf4d2f c5abf872 45d9eade 800005d4",
        ),
        (
            32,
            "8040f17b 8041f8d3 5501a0b2 32b1de78 a822fe12 ef9f78fa 332e33aa b1801238 9a58e2f3 b50b2a02 76ffae0f 1ba63799 \
             b87b7aa3 db36dfff d6b0f9bb 7878d7a7 6c13",
            "81c8000d 4d617273 d50ae4d1 f5ce5d30 4ba297e4 7d470c28 2c3ece5d bffe0a50 a2eaa5c1 110555be 8415f658 c61de047 \
             6f1b6fad 1d1eb30c 4446839f 57ff6f6c b26ac3be 800005d4",
        ),
    ] {
        let key: Vec<u8> = (0..key_len).collect();
        let cipher = super::cipher::Cipher::gcm_with_session_keys(&key, &salt);
        let mut out = Vec::new();
        cipher.seal_rtp(0x5501_a0b2, 0xf17b, &rtp[..12], &rtp[12..], &mut out).unwrap();
        assert_eq!(out, hex(sealed_rtp), "RTP, {key_len} byte key");
        assert_eq!(cipher.open_rtp(0x5501_a0b2, 0xf17b, &mut out, 12), Ok(rtp.len()));
        assert_eq!(&out[..rtp.len()], &rtp[..]);
        let mut out = Vec::new();
        cipher.seal_rtcp(0x4d61_7273, 0x5d4, &rtcp, &mut out).unwrap();
        assert_eq!(out, hex(sealed_rtcp), "RTCP, {key_len} byte key");
        assert_eq!(cipher.rtcp_index(&out), Ok(0x5d4));
        assert_eq!(cipher.open_rtcp(0x4d61_7273, 0x5d4, &mut out), Ok(rtcp.len()));
    }
}

#[test]
fn every_suite_carries_packets_over_two_rollovers_out_of_order() {
    for suite in ALL {
        let (mut outbound, mut inbound) = (Outbound::new(&any_key(suite)), Inbound::new(&any_key(suite)));
        let mut sequence = 65_000u16;
        for round in 0u64..1500 {
            let index = 65_000 + round * 97;
            sequence = if round == 0 { sequence } else { sequence.wrapping_add(97) };
            let mut late = Vec::new();
            outbound.protect_rtp(&rtp(sequence, 7), b"late", &mut late).unwrap();
            let mut early = Vec::new();
            outbound.protect_rtp(&rtp(sequence.wrapping_add(1), 7), b"early", &mut early).unwrap();
            let opened = open(&mut inbound, &mut early).unwrap();
            assert_eq!((opened.index, opened.newest), (index + 1, true), "{}", suite.name());
            let opened = open(&mut inbound, &mut late).unwrap();
            assert_eq!((opened.index, opened.newest), (index, false), "{}", suite.name());
            assert_eq!(&late[12..opened.len], b"late");
        }
    }
}

#[test]
fn a_replay_and_a_changed_packet_are_refused_in_every_suite() {
    for suite in ALL {
        let (mut outbound, mut inbound) = (Outbound::new(&any_key(suite)), Inbound::new(&any_key(suite)));
        let (mut packet, mut report) = (Vec::new(), Vec::new());
        outbound.protect_rtp(&rtp(1, 7), b"payload", &mut packet).unwrap();
        outbound.protect_rtcp(&hex("80c90001 00000007"), &mut report).unwrap();
        for i in [1, 5, 13, packet.len() - 1] {
            let mut changed = packet.clone();
            changed[i] ^= 0x40;
            assert_eq!(open(&mut inbound, &mut changed), Err(SrtpError::Authentication), "{} byte {i}", suite.name());
        }
        for i in 1..4 {
            let mut changed = report.clone();
            changed[i] ^= 1;
            assert_eq!(inbound.unprotect_rtcp(&mut changed), Err(SrtpError::Authentication), "{}", suite.name());
        }
        assert!(open(&mut inbound, &mut packet.clone()).is_ok());
        assert_eq!(open(&mut inbound, &mut packet.clone()), Err(SrtpError::Replayed));
        assert!(inbound.unprotect_rtcp(&mut report.clone()).is_ok());
        assert_eq!(inbound.unprotect_rtcp(&mut report.clone()), Err(SrtpError::Replayed));
    }
}

#[test]
fn an_index_is_never_used_twice_and_nothing_is_written_then() {
    let mut outbound = Outbound::new(&any_key(Suite::AeadAes128Gcm));
    let mut out = vec![1, 2, 3];
    outbound.protect_rtp(&rtp(5000, 7), b"first", &mut out).unwrap();
    let len = out.len();
    assert_eq!(outbound.protect_rtp(&rtp(5000, 7), b"other", &mut out), Err(SrtpError::IndexUsed));
    outbound.protect_rtp(&rtp(6500, 7), b"later", &mut out).unwrap();
    let len_after = out.len();
    assert!(len_after > len);
    assert_eq!(outbound.protect_rtp(&rtp(5001, 7), b"too far back", &mut out), Err(SrtpError::IndexUsed));
    assert_eq!(out.len(), len_after);
}

#[test]
fn restored_indices_are_never_used_again() {
    let key = any_key(Suite::AesCm128HmacSha1_80);
    let mut before = Outbound::new(&key);
    let mut out = Vec::new();
    before.protect_rtp(&rtp(40_000, 7), b"x", &mut out).unwrap();
    before.protect_rtp(&rtp(100, 7), b"x", &mut out).unwrap();
    before.protect_rtcp(&hex("80c90001 00000007"), &mut out).unwrap();
    let exported: Vec<StreamIndices> = before.indices().collect();
    assert_eq!(exported, [StreamIndices { ssrc: 7, rtp: Some(65_636), rtcp: Some(0) }]);

    let mut after = Outbound::new(&key);
    after.restore(exported[0]).unwrap();
    assert_eq!(after.protect_rtp(&rtp(100, 7), b"x", &mut out), Err(SrtpError::IndexUsed));
    assert_eq!(after.protect_rtp(&rtp(99, 7), b"x", &mut out), Err(SrtpError::IndexUsed));
    assert_eq!(after.protect_rtp(&rtp(101, 7), b"x", &mut out), Ok(65_637));
    assert_eq!(after.protect_rtcp(&hex("80c90001 00000007"), &mut out), Ok(1));
}

#[test]
fn forged_ssrcs_fill_no_table_and_real_ones_are_bounded() {
    let key = any_key(Suite::AeadAes128Gcm);
    let (mut outbound, mut inbound) = (Outbound::new(&key), Inbound::new(&key));
    for ssrc in 0..1000 {
        let mut forged = rtp(1, ssrc).to_vec();
        forged.extend_from_slice(&[0; 32]);
        assert_eq!(open(&mut inbound, &mut forged), Err(SrtpError::Authentication));
    }
    let mut results = Vec::new();
    for ssrc in 0..65 {
        let mut packet = Vec::new();
        outbound.protect_rtp(&rtp(1, ssrc), b"x", &mut packet).unwrap();
        results.push(open(&mut inbound, &mut packet).map(|_| ()));
    }
    assert!(results[..64].iter().all(Result::is_ok));
    assert_eq!(results[64], Err(SrtpError::TooManySsrcs));
}

#[test]
fn clear_srtcp_is_refused() {
    for suite in ALL {
        let mut inbound = Inbound::new(&any_key(suite));
        let mut packet = vec![0u8; 60];
        packet[0] = 0x80;
        assert_eq!(inbound.unprotect_rtcp(&mut packet), Err(SrtpError::Malformed), "{}", suite.name());
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..120), which in 0usize..4) {
        let mut inbound = Inbound::new(&any_key(ALL[which]));
        if let Some(header) = RtpHeader::parse(&bytes) {
            prop_assert!(inbound.unprotect_rtp(&mut bytes, &header).is_err());
        }
        prop_assert!(inbound.unprotect_rtcp(&mut bytes).is_err());
    }

    #[test]
    fn the_guess_is_the_nearest_index(highest in 0u64..1 << 40, distance in -0x7fffi64..0x7fff) {
        let index = highest as i64 + distance;
        prop_assume!(index >= 0);
        prop_assert_eq!(guess_index(Some(highest), index as u16), index as u64);
    }
}
