//! RFC 5769 vectors and what hostile bytes do.

use aws_lc_rs::{digest, hmac};
use proptest::prelude::*;

use super::*;

const PASSWORD: &[u8] = b"VOkJxbRl1RmTxUk/WvJxBt";

fn key() -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, PASSWORD)
}

/// RFC 5769 §2.1.
const REQUEST: &[u8] = b"\x00\x01\x00\x58\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
\x80\x22\x00\x10STUN test client\
\x00\x24\x00\x04\x6e\x00\x01\xff\
\x80\x29\x00\x08\x93\x2f\xf9\xb1\x51\x26\x3b\x36\
\x00\x06\x00\x09evtj:h6vY\x20\x20\x20\
\x00\x08\x00\x14\x9a\xea\xa7\x0c\xbf\xd8\xcb\x56\x78\x1e\xf2\xb5\xb2\xd3\xf2\x49\xc1\xb5\x71\xa2\
\x80\x28\x00\x04\xe5\x7a\x3b\xcf";

/// RFC 5769 §2.2.
const RESPONSE_V4: &[u8] = b"\x01\x01\x00\x3c\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
\x80\x22\x00\x0btest vector\x20\
\x00\x20\x00\x08\x00\x01\xa1\x47\xe1\x12\xa6\x43\
\x00\x08\x00\x14\x2b\x91\xf5\x99\xfd\x9e\x90\xc3\x8c\x74\x89\xf9\x2a\xf9\xba\x53\xf0\x6b\xe7\xd7\
\x80\x28\x00\x04\xc0\x7d\x4c\x96";

/// RFC 5769 §2.3.
const RESPONSE_V6: &[u8] = b"\x01\x01\x00\x48\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
\x80\x22\x00\x0btest vector\x20\
\x00\x20\x00\x14\x00\x02\xa1\x47\x01\x13\xa9\xfa\xa5\xd3\xf1\x79\xbc\x25\xf4\xb5\xbe\xd2\xb9\xd9\
\x00\x08\x00\x14\xa3\x82\x95\x4e\x4b\xe6\x7b\xf1\x17\x84\xc9\x7c\x82\x92\xc2\x75\xbf\xe3\xed\x41\
\x80\x28\x00\x04\xc8\xfb\x0b\x4c";

#[test]
fn the_request_of_rfc_5769_is_read_and_verified() {
    let message = Message::parse(REQUEST).unwrap();
    assert_eq!((message.class(), message.method()), (Class::Request, method::BINDING));
    assert_eq!(message.username(), Some(&b"evtj:h6vY"[..]));
    assert_eq!(message.receiver_ufrag(), Some(&b"evtj"[..]));
    assert_eq!(message.priority(), Some(0x6e00_01ff));
    assert!(!message.use_candidate());
    assert!(message.has_fingerprint());
    assert!(message.verify_integrity(&key()));
    assert!(message.unknown_required().is_empty());
}

#[test]
fn the_responses_of_rfc_5769_give_their_addresses() {
    let message = Message::parse(RESPONSE_V4).unwrap();
    assert_eq!(message.class(), Class::Success);
    assert_eq!(message.xor_mapped_address(), Some("192.0.2.1:32853".parse().unwrap()));
    assert!(message.verify_integrity(&key()));
    let message = Message::parse(RESPONSE_V6).unwrap();
    assert_eq!(message.xor_mapped_address(), Some("[2001:db8:1234:5678:11:2233:4455:6677]:32853".parse().unwrap()));
    assert!(message.verify_integrity(&key()));
}

/// RFC 5769 §2.4.
const LONG_TERM: &[u8] = b"\x00\x01\x00\x60\x21\x12\xa4\x42\x78\xad\x34\x33\xc6\xad\x72\xc0\x29\xda\x41\x2e\
\x00\x06\x00\x12\xe3\x83\x9e\xe3\x83\x88\xe3\x83\xaa\xe3\x83\x83\xe3\x82\xaf\xe3\x82\xb9\x00\x00\
\x00\x15\x00\x1cf//499k954d6OL34oL9FSTvy64sA\
\x00\x14\x00\x0bexample.org\x00\
\x00\x08\x00\x14\xf6\x70\x24\x65\x6d\xd6\x4a\x3e\x02\xb8\xe0\x71\x2e\x85\xc9\xa2\x8c\xa8\x96\x66";

/// RFC 8489 Appendix B.1 with the length and the MESSAGE-INTEGRITY-SHA256 of erratum 6268: the one that was printed covered
/// another length.
const LONG_TERM_SHA256: &[u8] = b"\x00\x01\x00\x90\x21\x12\xa4\x42\x78\xad\x34\x33\xc6\xad\x72\xc0\x29\xda\x41\x2e\
\x00\x1e\x00\x20\x4a\x3c\xf3\x8f\xef\x69\x92\xbd\xa9\x52\xc6\x78\x04\x17\xda\x0f\
\x24\x81\x94\x15\x56\x9e\x60\xb2\x05\xc4\x6e\x41\x40\x7f\x17\x04\
\x00\x15\x00\x29obMatJos2AAACf//499k954d6OL34oL9FSTvy64sA\x00\x00\x00\
\x00\x14\x00\x0bexample.org\x00\
\x00\x1d\x00\x04\x00\x02\x00\x00\
\x00\x1c\x00\x20\xb5\xc7\xbf\x00\x5b\x6c\x52\xa2\x1c\x51\xc5\xe8\x92\xf8\x19\x24\
\x13\x62\x96\xcb\x92\x7c\x43\x14\x93\x09\x27\x8c\xc6\x51\x8e\x65";

#[test]
fn the_long_term_request_of_rfc_5769_verifies() {
    let text = "マトリックス:example.org:TheMatrIX";
    let key = <md5::Md5 as md5::Digest>::new_with_prefix(text);
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &md5::Digest::finalize(key));
    let message = Message::parse(LONG_TERM).unwrap();
    assert_eq!(message.username(), Some("マトリックス".as_bytes()));
    assert!(message.verify_integrity(&key) && !message.verify_integrity_sha256(&key));
}

#[test]
fn the_request_of_rfc_8489_appendix_b_1_verifies_as_its_erratum_has_it() {
    let sha256 = |text: &str| digest::digest(&digest::SHA256, text.as_bytes());
    let key = sha256("マトリックス:example.org:TheMatrIX");
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_ref());
    let message = Message::parse(LONG_TERM_SHA256).unwrap();
    assert!(message.verify_integrity_sha256(&key) && !message.verify_integrity(&key));
    let userhash = sha256("マトリックス:example.org");
    assert_eq!(message.attribute(attribute::USERHASH), Some(userhash.as_ref()));
    let mut out = Vec::new();
    let mut writer = Writer::new(&mut out, Class::Request, method::BINDING, message.transaction());
    for attribute in message.attributes() {
        writer = writer.attribute(attribute.kind, attribute.value);
    }
    writer.integrity_sha256(&key).finish();
    assert_eq!(out, LONG_TERM_SHA256);
}

#[test]
fn a_wrong_password_or_a_changed_byte_does_not_verify() {
    let other = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, b"another password");
    assert!(!Message::parse(REQUEST).unwrap().verify_integrity(&other));
    for i in 0..REQUEST.len() - 8 {
        let mut changed = REQUEST.to_vec();
        changed[i] ^= 1;
        assert!(Message::parse(&changed).is_err(), "byte {i} is covered by FINGERPRINT");
    }
}

#[test]
fn what_is_written_is_read_back() {
    let transaction = TransactionId([7; 12]);
    let address = "[2001:db8::1]:4242".parse().unwrap();
    let mut out = vec![0xEE; 5];
    Writer::new(&mut out, Class::Success, method::BINDING, transaction)
        .xor_mapped_address(address)
        .integrity(&key())
        .fingerprint();
    let message = Message::parse(&out[5..]).unwrap();
    assert_eq!((message.class(), message.transaction()), (Class::Success, transaction));
    assert_eq!(message.xor_mapped_address(), Some(address));
    assert!(message.has_fingerprint() && message.verify_integrity(&key()));
}

#[test]
fn an_error_answer_names_the_unknown_attributes() {
    let mut out = Vec::new();
    Writer::new(&mut out, Class::Error, method::BINDING, TransactionId([1; 12]))
        .error_code(420, "Unknown Attribute")
        .unknown_attributes(&[0x7001])
        .integrity(&key())
        .fingerprint();
    let message = Message::parse(&out).unwrap();
    assert_eq!(message.error_code(), Some(420));
    assert_eq!(message.attribute(attribute::UNKNOWN_ATTRIBUTES), Some(&[0x70, 0x01][..]));
}

#[test]
fn unknown_required_attributes_are_listed_and_bounded() {
    let mut out = Vec::new();
    let mut writer = Writer::new(&mut out, Class::Request, method::BINDING, TransactionId([1; 12]));
    for kind in 0x7000..0x7010 {
        writer = writer.attribute(kind, b"abc");
    }
    writer.attribute(0xC0DE, b"optional").finish();
    let message = Message::parse(&out).unwrap();
    assert_eq!(message.unknown_required(), (0x7000..0x7008).collect::<Vec<u16>>());
}

#[test]
fn attributes_behind_the_integrity_are_not_seen() {
    let mut out = Vec::new();
    let writer = Writer::new(&mut out, Class::Request, method::BINDING, TransactionId([1; 12]));
    writer.username(b"a:b").integrity(&key()).attribute(attribute::USE_CANDIDATE, b"").finish();
    let message = Message::parse(&out).unwrap();
    assert!(message.verify_integrity(&key()));
    assert!(!message.use_candidate());
}

#[test]
fn a_flood_of_attributes_is_refused() {
    let mut out = Vec::new();
    let mut writer = Writer::new(&mut out, Class::Request, method::BINDING, TransactionId([1; 12]));
    for _ in 0..200 {
        writer = writer.attribute(attribute::SOFTWARE, b"");
    }
    writer.finish();
    assert_eq!(Message::parse(&out).unwrap_err(), ParseError::Malformed);
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(message) = Message::parse(&bytes) {
            read_everything(&message);
        }
    }

    #[test]
    fn a_damaged_message_never_panics(at in 0usize..112, value in any::<u8>(), cut in 0usize..112) {
        let mut bytes = REQUEST[..REQUEST.len() - 8].to_vec();
        bytes[3] -= 8;
        let at = at % bytes.len();
        bytes[at] = value;
        bytes.truncate(bytes.len() - cut % 4 * 4);
        if let Ok(message) = Message::parse(&bytes) {
            read_everything(&message);
        }
    }
}

fn read_everything(message: &Message<'_>) {
    let _ = (message.username(), message.receiver_ufrag(), message.priority(), message.nomination());
    let _ = (message.xor_mapped_address(), message.error_code(), message.use_candidate());
    let _ = (message.verify_integrity(&key()), message.attributes().count());
}
