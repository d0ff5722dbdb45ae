//! How a dependency descriptor leaves: other numbers, and the decode targets that this receiver has.

use std::num::NonZeroU8;

use super::bit_reader::BitReader;
use super::dependency::{Layout, MANDATORY, STRUCTURE_AT};

/// Longest descriptor that is written, in bytes: the longest header extension element (RFC 8285 §4.3).
pub const MAX_LEN: usize = 255;
/// What a bit mask of decode targets adds at most: flags, 32 bits, and the rest of a byte.
const MOST_ADDED: usize = 6;
const TELLS_ACTIVE: u32 = 0x40;

/// What a descriptor says to one receiver; everything else stays as in the original.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Id of the header extension.
    pub id: NonZeroU8,
    /// Frame number.
    pub number: u16,
    /// By how much template ids are shifted, 0 to 63.
    pub template_shift: u8,
    /// How many decode targets are told about; 0 for what the original says, which is nothing.
    pub targets: u8,
    /// Bit by decode target: those that can be decoded.
    pub active: u32,
    /// Of the original.
    pub layout: Layout,
}

impl Outgoing {
    /// Gives the descriptor that `original` becomes to `take`; nothing where it would be too long.
    pub fn write(&self, original: &[u8], take: impl FnOnce(&[u8])) {
        let mut out = [0; MAX_LEN + MOST_ADDED];
        let len = if self.targets == 0 { self.patch(original, &mut out) } else { self.insert(original, &mut out) };
        if let Some(written) = len.and_then(|len| out.get(..len)).filter(|written| written.len() <= MAX_LEN) {
            take(written);
        }
    }

    /// The same length: the numbers lie where they lay.
    fn patch(&self, original: &[u8], out: &mut [u8]) -> Option<usize> {
        let copy = out.get_mut(..original.len())?;
        copy.copy_from_slice(original);
        let head = copy.first_chunk_mut::<MANDATORY>()?;
        let id = (head[0] & 0x3f).wrapping_add(self.template_shift) & 0x3f;
        let [high, low] = self.number.to_be_bytes();
        *head = [(head[0] & 0xc0) | id, high, low];
        if self.layout.has_structure() {
            // The id of the first template lies in bits 29 to 34.
            let [flags, next] = copy.get_mut(MANDATORY..)?.first_chunk_mut::<2>()?;
            let id = (((*flags & 0x07) << 3) | (*next >> 5)).wrapping_add(self.template_shift) & 0x3f;
            (*flags, *next) = ((*flags & 0xf8) | (id >> 3), (*next & 0x1f) | (id << 5));
        }
        Some(original.len())
    }

    /// With a bit mask of decode targets, which moves what is behind it.
    fn insert(&self, original: &[u8], out: &mut [u8; MAX_LEN + MOST_ADDED]) -> Option<usize> {
        let mut patched = [0; MAX_LEN];
        let len = self.patch(original, &mut patched)?;
        let mut from = BitReader::new(&patched[..len]);
        let mut to = BitWriter { out, at: 0 };
        to.put(from.read(MANDATORY as u32 * 8)?, MANDATORY as u32 * 8);
        let has_flags = len > MANDATORY;
        let flags = if has_flags { from.read(5)? << 3 } else { 0 };
        to.put((flags | TELLS_ACTIVE) >> 3, 5);
        let structure_end = usize::from(self.layout.structure_end);
        if has_flags && structure_end > STRUCTURE_AT {
            to.copy(&mut from, structure_end)?;
        }
        to.put(self.active, u32::from(self.targets));
        if has_flags {
            let mut tail = BitReader::starting_at(&patched[..len], usize::from(self.layout.tail_at));
            to.copy(&mut tail, len * 8)?;
        }
        Some(to.at.div_ceil(8))
    }
}

struct BitWriter<'a> {
    out: &'a mut [u8],
    at: usize,
}

impl BitWriter<'_> {
    /// Writes the lowest `count` bits into bytes that are zero; what does not fit is left out.
    fn put(&mut self, value: u32, count: u32) {
        let mut left = count;
        while left > 0 {
            let room = 8 - self.at % 8;
            let take = room.min(left as usize);
            left -= take as u32;
            let bits = (u64::from(value) >> left) & ((1 << take) - 1);
            if let Some(byte) = self.out.get_mut(self.at / 8) {
                *byte |= (bits as u8) << (room - take);
            }
            self.at += take;
        }
    }

    /// Copies everything before bit `end`.
    fn copy(&mut self, from: &mut BitReader<'_>, end: usize) -> Option<()> {
        while from.position() < end {
            let count = (end - from.position()).min(32) as u32;
            self.put(from.read(count)?, count);
        }
        Some(())
    }
}
