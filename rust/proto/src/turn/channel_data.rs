//! ChannelData (RFC 8656 §12.4): four bytes before the data.

use super::drops::TurnDrop;

/// Bytes before the data.
pub(super) const HEADER_LEN: usize = 4;

/// The number and the data. Over UDP padding may follow, which is passed over.
pub(super) fn parse(datagram: &[u8]) -> Result<(u16, &[u8]), TurnDrop> {
    let (&[n0, n1, l0, l1], rest) = datagram.split_first_chunk::<HEADER_LEN>().ok_or(TurnDrop::Malformed)?;
    let len = usize::from(u16::from_be_bytes([l0, l1]));
    let data = rest.get(..len).ok_or(TurnDrop::Malformed)?;
    Ok((u16::from_be_bytes([n0, n1]), data))
}

/// Appends a message; `pad` makes its length a multiple of four, as a stream needs it (RFC 8656 §12.5).
pub(super) fn write(out: &mut Vec<u8>, number: u16, data: &[u8], pad: bool) {
    out.extend_from_slice(&number.to_be_bytes());
    out.extend_from_slice(&(data.len() as u16).to_be_bytes());
    out.extend_from_slice(data);
    if pad {
        out.extend_from_slice(&[0; 3][..data.len().next_multiple_of(4) - data.len()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_with_and_without_padding() {
        for len in 0..9 {
            let data: Vec<u8> = (0..len).collect();
            for pad in [false, true] {
                let mut out = Vec::new();
                write(&mut out, 0x4001, &data, pad);
                assert_eq!(parse(&out), Ok((0x4001, &data[..])));
                assert!(!pad || out.len() % 4 == 0);
            }
        }
    }

    #[test]
    fn a_length_beyond_the_datagram_is_malformed() {
        assert_eq!(parse(&[0x40, 0, 0, 2, 9]), Err(TurnDrop::Malformed));
        assert_eq!(parse(&[0x40, 0, 0]), Err(TurnDrop::Malformed));
    }
}
