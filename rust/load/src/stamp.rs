//! When a packet was sent, in its last bytes, so that whoever decrypts it in this process knows how long it took.

/// Bytes at the end of a payload.
pub const STAMP: usize = 12;
const MAGIC: [u8; 4] = *b"ms-t";

/// Writes `nanos` at the end of a payload that has room for it.
pub fn write(payload: &mut [u8], nanos: u64) {
    if let Some(end) = payload.len().checked_sub(STAMP).and_then(|start| payload.get_mut(start..)) {
        end[..4].copy_from_slice(&MAGIC);
        end[4..].copy_from_slice(&nanos.to_be_bytes());
    }
}

/// What was written there; none in packets that others made.
pub fn read(payload: &[u8]) -> Option<u64> {
    let end = payload.last_chunk::<STAMP>()?;
    let (magic, nanos) = end.split_first_chunk::<4>()?;
    (*magic == MAGIC).then(|| u64::from_be_bytes(nanos.try_into().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_read_back_and_nothing_else_is_taken_for_one() {
        let mut payload = [9u8; 40];
        assert_eq!(read(&payload), None);
        write(&mut payload, 123_456_789_012);
        assert_eq!(read(&payload), Some(123_456_789_012));
        assert_eq!(payload[..28], [9; 28]);
        let mut short = [1u8; STAMP - 1];
        write(&mut short, 1);
        assert_eq!((short, read(&short)), ([1; STAMP - 1], None));
    }
}
