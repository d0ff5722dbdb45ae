//! AES-128-GCM of aws-lc, used as the SRTP code of the engine uses it: copy, then seal in place with a separate tag.
//!
//! The only caller is `benchmarks/limit/aead.c`, whose declarations these match.

use std::slice;

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

const KEY: usize = 16;
const IV: usize = 12;
const TAG: usize = 16;

/// Makes a key; never null.
///
/// # Safety
/// `key` points to 16 readable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn engine_aead_new(key: *const u8) -> *mut LessSafeKey {
    // SAFETY: promised by the caller.
    let key = unsafe { slice::from_raw_parts(key, KEY) };
    let key = UnboundKey::new(&AES_128_GCM, key).expect("the key has 16 bytes");
    Box::into_raw(Box::new(LessSafeKey::new(key)))
}

/// Forgets a key.
///
/// # Safety
/// `key` came from [`engine_aead_new`] and is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn engine_aead_free(key: *mut LessSafeKey) {
    // SAFETY: promised by the caller.
    drop(unsafe { Box::from_raw(key) });
}

/// Encrypts `len` bytes from `input` to `out` and writes the tag.
///
/// # Safety
/// `key` is alive; `iv` has 12, `aad` `aad_len`, `input` and `out` `len`, `tag` 16 bytes; `out` is `input` itself or
/// does not overlap it, and overlaps nothing else.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn engine_aead_seal(
    key: *mut LessSafeKey,
    iv: *const u8,
    aad: *const u8,
    aad_len: i32,
    input: *const u8,
    out: *mut u8,
    len: i32,
    tag: *mut u8,
) {
    // SAFETY: promised by the caller.
    let (key, aad, text, nonce) = unsafe {
        if !std::ptr::eq(input, out) {
            std::ptr::copy_nonoverlapping(input, out, len as usize);
        }
        (&*key, slice::from_raw_parts(aad, aad_len as usize), slice::from_raw_parts_mut(out, len as usize), nonce(iv))
    };
    let sealed = key.seal_in_place_separate_tag(nonce, Aad::from(aad), text).expect("a packet is never too long");
    // SAFETY: promised by the caller.
    unsafe { std::ptr::copy_nonoverlapping(sealed.as_ref().as_ptr(), tag, TAG) };
}

/// Decrypts `len` bytes from `input` to `out`; returns 0, or -1 when the tag is wrong.
///
/// # Safety
/// As [`engine_aead_seal`]; `tag` is read.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn engine_aead_open(
    key: *mut LessSafeKey,
    iv: *const u8,
    aad: *const u8,
    aad_len: i32,
    input: *const u8,
    out: *mut u8,
    len: i32,
    tag: *const u8,
) -> i32 {
    // SAFETY: promised by the caller.
    let (key, aad, text, out, tag, nonce) = unsafe {
        (
            &*key,
            slice::from_raw_parts(aad, aad_len as usize),
            slice::from_raw_parts(input, len as usize),
            slice::from_raw_parts_mut(out, len as usize),
            slice::from_raw_parts(tag, TAG),
            nonce(iv),
        )
    };
    match key.open_separate_gather(nonce, Aad::from(aad), text, tag, out) {
        Ok(()) => 0,
        Err(_) => -1,
    }
}

/// # Safety
/// `iv` points to 12 readable bytes.
unsafe fn nonce(iv: *const u8) -> Nonce {
    let mut bytes = [0u8; IV];
    // SAFETY: promised by the caller.
    unsafe { std::ptr::copy_nonoverlapping(iv, bytes.as_mut_ptr(), IV) };
    Nonce::assume_unique_for_key(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seal(key: *mut LessSafeKey, plain: &[u8]) -> (Vec<u8>, [u8; TAG]) {
        let (mut out, mut tag) = (vec![0; plain.len()], [0u8; TAG]);
        let (input, output, len) = (plain.as_ptr(), out.as_mut_ptr(), plain.len() as i32);
        // SAFETY: the key is alive, the lengths are those of the buffers, and no two of them overlap.
        unsafe { engine_aead_seal(key, [9; IV].as_ptr(), [1; 20].as_ptr(), 20, input, output, len, tag.as_mut_ptr()) };
        (out, tag)
    }

    fn open(key: *mut LessSafeKey, sealed: &[u8], tag: &[u8; TAG]) -> Option<Vec<u8>> {
        let mut out = vec![0; sealed.len()];
        let (input, output, len) = (sealed.as_ptr(), out.as_mut_ptr(), sealed.len() as i32);
        // SAFETY: as above.
        let code =
            unsafe { engine_aead_open(key, [9; IV].as_ptr(), [1; 20].as_ptr(), 20, input, output, len, tag.as_ptr()) };
        (code == 0).then_some(out)
    }

    #[test]
    fn what_is_sealed_opens_and_a_wrong_tag_does_not() {
        // SAFETY: 16 bytes.
        let key = unsafe { engine_aead_new([7; KEY].as_ptr()) };
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
