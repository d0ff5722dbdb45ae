//! The ciphers of SRTP by aws-lc, used as the engine uses it: copy, then seal in place with a separate tag.
//!
//! The only caller is `benchmarks/limit/aead.c`, whose declarations these match.

use std::slice;

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{AES_128, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::{constant_time, hmac};

/// Bytes of every key; what a suite does not need of them is left.
const KEY: usize = 48;
const IV: usize = 12;
const GCM_TAG: usize = 16;
const CM_TAG: usize = 10;
const CM_KEY: usize = 16;
const AUTH_KEY: usize = 20;
/// The rollover counter that is authenticated behind a packet (RFC 3711 §4.2).
const ROLLOVER: [u8; 4] = [0; 4];

/// A key of one suite.
#[derive(Debug)]
pub enum Key {
    /// RFC 7714.
    Gcm(LessSafeKey),
    /// RFC 3711: AES in counter mode and HMAC-SHA1 of 80 bits. Boxed as the engine's: it is large.
    Cm(Box<(EncryptingKey, hmac::Key)>),
}

/// Makes a key; never null. Suites are 0 for AES-128-GCM, 1 for AES-256-GCM, 2 for AES-CM with HMAC-SHA1-80.
///
/// # Safety
/// `key` points to 48 readable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn engine_aead_new(suite: i32, key: *const u8) -> *mut Key {
    // SAFETY: promised by the caller.
    let bytes = unsafe { slice::from_raw_parts(key, KEY) };
    let gcm = |key: Result<UnboundKey, _>| Key::Gcm(LessSafeKey::new(key.expect("the key has the right length")));
    let key = match suite {
        0 => gcm(UnboundKey::new(&AES_128_GCM, &bytes[..16])),
        1 => gcm(UnboundKey::new(&AES_256_GCM, &bytes[..32])),
        _ => {
            let cipher = UnboundCipherKey::new(&AES_128, &bytes[..CM_KEY]).and_then(EncryptingKey::ctr);
            let auth = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &bytes[CM_KEY..CM_KEY + AUTH_KEY]);
            Key::Cm(Box::new((cipher.expect("the key has the right length"), auth)))
        }
    };
    Box::into_raw(Box::new(key))
}

/// Forgets a key.
///
/// # Safety
/// `key` came from [`engine_aead_new`] and is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn engine_aead_free(key: *mut Key) {
    // SAFETY: promised by the caller.
    drop(unsafe { Box::from_raw(key) });
}

/// Encrypts `len` bytes from `input` to `out` and writes the tag.
///
/// # Safety
/// `key` is alive; `iv` has 12, `aad` `aad_len`, `input` and `out` `len`, `tag` 16 bytes, or 10 with AES-CM; `out` is
/// `input` itself or does not overlap it, and overlaps nothing else.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn engine_aead_seal(
    key: *mut Key,
    iv: *const u8,
    aad: *const u8,
    aad_len: i32,
    input: *const u8,
    out: *mut u8,
    len: i32,
    tag: *mut u8,
) {
    // SAFETY: promised by the caller.
    let (key, aad, text, iv) = unsafe {
        if !std::ptr::eq(input, out) {
            std::ptr::copy_nonoverlapping(input, out, len as usize);
        }
        (&*key, slice::from_raw_parts(aad, aad_len as usize), slice::from_raw_parts_mut(out, len as usize), array(iv))
    };
    let mut sealed = [0; GCM_TAG];
    let tag_len = match key {
        Key::Gcm(key) => {
            let nonce = Nonce::assume_unique_for_key(iv);
            let found =
                key.seal_in_place_separate_tag(nonce, Aad::from(aad), text).expect("a packet is never too long");
            sealed.copy_from_slice(found.as_ref());
            GCM_TAG
        }
        Key::Cm(keys) => {
            let (cipher, auth) = &**keys;
            apply_counter(cipher, &iv, text);
            sealed[..CM_TAG].copy_from_slice(&authenticate(auth, aad, text));
            CM_TAG
        }
    };
    // SAFETY: promised by the caller.
    unsafe { std::ptr::copy_nonoverlapping(sealed.as_ptr(), tag, tag_len) };
}

/// Decrypts `len` bytes from `input` to `out`; returns 0, or -1 when the tag is wrong.
///
/// # Safety
/// As [`engine_aead_seal`]; `tag` is read.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn engine_aead_open(
    key: *mut Key,
    iv: *const u8,
    aad: *const u8,
    aad_len: i32,
    input: *const u8,
    out: *mut u8,
    len: i32,
    tag: *const u8,
) -> i32 {
    // SAFETY: promised by the caller.
    let (key, aad, text, out, iv) = unsafe {
        (
            &*key,
            slice::from_raw_parts(aad, aad_len as usize),
            slice::from_raw_parts(input, len as usize),
            slice::from_raw_parts_mut(out, len as usize),
            array(iv),
        )
    };
    let is_right = match key {
        Key::Gcm(key) => {
            // SAFETY: promised by the caller.
            let tag = unsafe { slice::from_raw_parts(tag, GCM_TAG) };
            key.open_separate_gather(Nonce::assume_unique_for_key(iv), Aad::from(aad), text, tag, out).is_ok()
        }
        Key::Cm(keys) => {
            let (cipher, auth) = &**keys;
            // SAFETY: promised by the caller.
            let tag = unsafe { slice::from_raw_parts(tag, CM_TAG) };
            let is_right = constant_time::verify_slices_are_equal(&authenticate(auth, aad, text), tag).is_ok();
            out.copy_from_slice(text);
            apply_counter(cipher, &iv, out);
            is_right
        }
    };
    if is_right { 0 } else { -1 }
}

fn apply_counter(key: &EncryptingKey, iv: &[u8; IV], text: &mut [u8]) {
    let mut block = [0; 16];
    block[..IV].copy_from_slice(iv);
    let context = EncryptionContext::Iv128(FixedLength::from(block));
    key.less_safe_encrypt(text, context).expect("CTR takes any length and a 16 byte IV");
}

fn authenticate(key: &hmac::Key, header: &[u8], text: &[u8]) -> [u8; CM_TAG] {
    let mut context = hmac::Context::with_key(key);
    for part in [header, text, &ROLLOVER] {
        context.update(part);
    }
    let mut tag = [0; CM_TAG];
    tag.copy_from_slice(&context.sign().as_ref()[..CM_TAG]);
    tag
}

/// # Safety
/// `bytes` points to as many readable bytes.
unsafe fn array<const N: usize>(bytes: *const u8) -> [u8; N] {
    let mut found = [0u8; N];
    // SAFETY: promised by the caller.
    unsafe { std::ptr::copy_nonoverlapping(bytes, found.as_mut_ptr(), N) };
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seal(key: *mut Key, plain: &[u8]) -> (Vec<u8>, [u8; GCM_TAG]) {
        let (mut out, mut tag) = (vec![0; plain.len()], [0u8; GCM_TAG]);
        let (input, output, len) = (plain.as_ptr(), out.as_mut_ptr(), plain.len() as i32);
        // SAFETY: the key is alive, the lengths are those of the buffers, and no two of them overlap.
        unsafe { engine_aead_seal(key, [9; IV].as_ptr(), [1; 20].as_ptr(), 20, input, output, len, tag.as_mut_ptr()) };
        (out, tag)
    }

    fn open(key: *mut Key, sealed: &[u8], tag: &[u8; GCM_TAG]) -> Option<Vec<u8>> {
        let mut out = vec![0; sealed.len()];
        let (input, output, len) = (sealed.as_ptr(), out.as_mut_ptr(), sealed.len() as i32);
        // SAFETY: as above.
        let code =
            unsafe { engine_aead_open(key, [9; IV].as_ptr(), [1; 20].as_ptr(), 20, input, output, len, tag.as_ptr()) };
        (code == 0).then_some(out)
    }

    #[test]
    fn what_is_sealed_opens_and_a_wrong_tag_does_not() {
        for suite in 0..3 {
            // SAFETY: 48 bytes.
            let key = unsafe { engine_aead_new(suite, [7; KEY].as_ptr()) };
            let plain: Vec<u8> = (0..1180u32).map(|n| n as u8).collect();
            let (sealed, mut tag) = seal(key, &plain);
            assert_ne!(sealed, plain);
            assert_eq!(open(key, &sealed, &tag), Some(plain));
            tag[3] ^= 1;
            assert_eq!(open(key, &sealed, &tag), None);
            // SAFETY: not used again.
            unsafe { engine_aead_free(key) };
        }
    }
}
