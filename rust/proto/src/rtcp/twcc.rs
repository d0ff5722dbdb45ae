//! Transport-wide congestion control feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1).

use super::{RtcpError, packet_type, write_packet};
use crate::rtp::Ssrc;
use crate::rtp::bytes::{u16_at, u24_at, u32_at};
use crate::time::Time;

pub(super) const FORMAT: u8 = 15;
/// Most packet statuses that one written feedback holds; keeps it under 1000 bytes.
pub const MAX_STATUSES: usize = 400;
/// Unit of the receive deltas, in microseconds.
const TICK_US: u64 = 250;
/// Ticks in one unit of the reference time (64 ms).
const REFERENCE_TICKS: u64 = 256;

/// A parsed feedback.
#[derive(Clone, Copy, Debug)]
pub struct TwccFeedback<'a> {
    /// Who reports.
    pub sender: Ssrc,
    /// A media source of the transport reported about.
    pub media: Ssrc,
    /// First transport-wide sequence number reported.
    pub base: u16,
    /// How many packets are reported.
    pub count: u16,
    /// Reference time in units of 64 ms, 24 bits, of the reporter's clock.
    pub reference: u32,
    /// Number of this feedback, modulo 256.
    pub feedback_count: u8,
    chunks: &'a [u8],
    deltas: &'a [u8],
}

/// What a feedback says about one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Transport-wide sequence number.
    pub sequence: u16,
    /// Arrival on the reporter's clock in microseconds since its 64 ms reference zero; `None` when not received.
    pub arrival_us: Option<i64>,
}

impl<'a> TwccFeedback<'a> {
    pub(super) fn parse(body: &'a [u8]) -> Result<TwccFeedback<'a>, RtcpError> {
        let short = RtcpError::Short;
        let count = u16_at(body, 10).ok_or(short)?;
        let chunks = body.get(16..).ok_or(short)?;
        let (mut covered, mut chunk_len, mut delta_len) = (0usize, 0usize, 0usize);
        while covered < usize::from(count) {
            let chunk = u16_at(chunks, chunk_len).ok_or(short)?;
            chunk_len += 2;
            let symbols = usize::from(chunk_symbols(chunk)).min(usize::from(count) - covered);
            if symbols == 0 {
                return Err(RtcpError::Value);
            }
            if chunk & 0x8000 == 0 {
                delta_len += symbols * symbol_len(chunk_symbol(chunk, 0))?;
            } else {
                for index in 0..symbols {
                    delta_len += symbol_len(chunk_symbol(chunk, index))?;
                }
            }
            covered += symbols;
        }
        let deltas = chunks.get(chunk_len..chunk_len + delta_len).ok_or(short)?;
        Ok(TwccFeedback {
            sender: Ssrc(u32_at(body, 0).ok_or(short)?),
            media: Ssrc(u32_at(body, 4).ok_or(short)?),
            base: u16_at(body, 8).ok_or(short)?,
            count,
            reference: u24_at(body, 12).ok_or(short)?,
            feedback_count: body[15],
            chunks: &chunks[..chunk_len],
            deltas,
        })
    }

    /// The packets reported about, in order of their sequence numbers.
    pub fn packets(&self) -> impl Iterator<Item = Arrival> + use<'a> {
        let (chunks, mut deltas, base) = (self.chunks, self.deltas, self.base);
        let mut now_us = i64::from(self.reference) * (REFERENCE_TICKS * TICK_US) as i64;
        let symbols = chunks.chunks_exact(2).flat_map(|bytes| {
            let chunk = u16::from_be_bytes([bytes[0], bytes[1]]);
            (0..usize::from(chunk_symbols(chunk))).map(move |index| chunk_symbol(chunk, index))
        });
        symbols.take(usize::from(self.count)).enumerate().map(move |(index, symbol)| {
            let delta = match symbol {
                1 => deltas.split_first().map(|(&small, rest)| {
                    deltas = rest;
                    i64::from(small)
                }),
                2 => deltas.split_first_chunk::<2>().map(|(large, rest)| {
                    deltas = rest;
                    i64::from(i16::from_be_bytes(*large))
                }),
                _ => None,
            };
            let arrival_us = delta.map(|ticks| {
                now_us += ticks * TICK_US as i64;
                now_us
            });
            Arrival { sequence: base.wrapping_add(index as u16), arrival_us }
        })
    }
}

/// How many symbols a chunk holds.
fn chunk_symbols(chunk: u16) -> u16 {
    match chunk >> 14 {
        0 | 1 => chunk & 0x1fff,
        2 => 14,
        _ => 7,
    }
}

fn chunk_symbol(chunk: u16, index: usize) -> u8 {
    (match chunk >> 14 {
        0 | 1 => (chunk >> 13) & 3,
        2 => (chunk >> (13 - index)) & 1,
        _ => (chunk >> (12 - 2 * index)) & 3,
    }) as u8
}

fn symbol_len(symbol: u8) -> Result<usize, RtcpError> {
    match symbol {
        0 => Ok(0),
        1 => Ok(1),
        2 => Ok(2),
        _ => Err(RtcpError::Value),
    }
}

/// Appends a feedback about `arrivals`, the first of which has sequence number `base`; returns how many it covers.
///
/// At most [`MAX_STATUSES`] are covered, and fewer when two arrivals lie more than 8 s apart; the rest belongs into
/// the next feedback. Nothing is written, and 0 returned, when no packet of the list arrived.
pub fn write(
    out: &mut Vec<u8>,
    sender: Ssrc,
    media: Ssrc,
    base: u16,
    feedback_count: u8,
    arrivals: &[Option<Time>],
) -> usize {
    let Some(first) = arrivals.iter().take(MAX_STATUSES).flatten().next() else { return 0 };
    let reference = first.as_micros() / TICK_US / REFERENCE_TICKS;
    let mut symbols = [0u8; MAX_STATUSES];
    let mut deltas = [0i16; MAX_STATUSES];
    let (mut last, mut len) = ((reference * REFERENCE_TICKS) as i64, 0);
    for arrival in arrivals.iter().take(MAX_STATUSES) {
        if let Some(time) = arrival {
            let ticks = (time.as_micros() / TICK_US) as i64;
            let Ok(delta) = i16::try_from(ticks - last) else { break };
            symbols[len] = if (0..256).contains(&delta) { 1 } else { 2 };
            deltas[len] = delta;
            last = ticks;
        }
        len += 1;
    }
    let symbols = &symbols[..len];
    write_packet(out, packet_type::RTPFB, FORMAT, |out| {
        let start = out.len();
        out.extend_from_slice(&sender.0.to_be_bytes());
        out.extend_from_slice(&media.0.to_be_bytes());
        out.extend_from_slice(&base.to_be_bytes());
        out.extend_from_slice(&(len as u16).to_be_bytes());
        out.extend_from_slice(&(reference as u32).to_be_bytes()[1..]);
        out.push(feedback_count);
        let mut rest = symbols;
        while !rest.is_empty() {
            let (chunk, taken) = next_chunk(rest);
            out.extend_from_slice(&chunk.to_be_bytes());
            rest = &rest[taken..];
        }
        for (symbol, delta) in symbols.iter().zip(deltas) {
            match symbol {
                1 => out.push(delta as u8),
                2 => out.extend_from_slice(&delta.to_be_bytes()),
                _ => {}
            }
        }
        while !(out.len() - start).is_multiple_of(4) {
            out.push(0);
        }
    });
    len
}

/// Chooses the chunk that covers most of what comes next.
fn next_chunk(symbols: &[u8]) -> (u16, usize) {
    let first = symbols[0];
    let run = symbols.iter().take_while(|&&symbol| symbol == first).count();
    let narrow = symbols.iter().take(14).all(|&symbol| symbol < 2);
    if run >= 14 || (run >= 7 && !narrow) || run == symbols.len() {
        let run = run.min(0x1fff);
        return ((u16::from(first) << 13) | run as u16, run);
    }
    let (head, width, room) = if narrow { (0x8000, 1, 14) } else { (0xc000, 2, 7) };
    let taken = symbols.len().min(room);
    let bits = symbols[..taken].iter().fold(0u16, |bits, &symbol| (bits << width) | u16::from(symbol));
    (head | (bits << (width * (room - taken))), taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtcp::{RtcpPacket, packets};
    use proptest::prelude::*;

    fn parse(bytes: &[u8]) -> TwccFeedback<'_> {
        let Some(Ok(RtcpPacket::Twcc(feedback))) = packets(bytes).next() else { panic!("not a feedback") };
        feedback
    }

    #[test]
    fn run_length_and_vector_chunks_with_a_negative_delta_are_read() {
        let fixture = [
            0x8f, 0xcd, 0, 7, 0, 0, 0, 1, 0, 0, 0, 2, 0x00, 0x05, 0x00, 0x0a, 0x00, 0x00, 0x10, 0x03, //
            0x20, 0x03, // run of three small deltas
            0xd9, 0x40, // two-bit vector: 1 2 1 1 0 0 0
            0x04, 0x00, 0x08, 0x01, 0xff, 0xfc, 0x02, 0x00,
        ];
        let feedback = parse(&fixture);
        assert_eq!((feedback.base, feedback.count, feedback.reference, feedback.feedback_count), (5, 10, 16, 3));
        let start = 16 * 64_000;
        let us: Vec<_> = feedback.packets().map(|packet| packet.arrival_us.map(|us| us - start)).collect();
        let expected = [1000, 1000, 3000, 3250, 2250, 2750, 2750].map(Some);
        assert_eq!(us[..7], expected);
        assert_eq!(us[7..], [None; 3]);
    }

    #[test]
    fn a_chunk_that_covers_nothing_is_an_error() {
        let bytes = [0x8f, 0xcd, 0, 5, 0, 0, 0, 1, 0, 0, 0, 2, 0, 5, 0, 9, 0, 0, 16, 3, 0x20, 0, 0, 0];
        assert_eq!(packets(&bytes).next().unwrap().unwrap_err(), RtcpError::Value);
    }

    #[test]
    fn packets_more_than_eight_seconds_apart_are_left_for_the_next_feedback() {
        let arrivals = [Some(Time::from_millis(100)), None, Some(Time::from_millis(9_000))];
        let mut out = Vec::new();
        assert_eq!(write(&mut out, Ssrc(1), Ssrc(2), 7, 0, &arrivals), 2);
        assert_eq!(parse(&out).packets().count(), 2);
    }

    #[test]
    fn nothing_is_written_when_nothing_arrived() {
        let mut out = Vec::new();
        assert_eq!(write(&mut out, Ssrc(1), Ssrc(2), 7, 0, &[None, None]), 0);
        assert!(out.is_empty());
    }

    proptest! {
        #[test]
        fn arrivals_round_trip_in_quarter_milliseconds(
            base: u16, start in 0u64..1_000_000_000,
            steps in proptest::collection::vec(proptest::option::weighted(0.7, -3_000i64..200_000), 1..300),
        ) {
            let mut now = start as i64;
            let arrivals: Vec<_> = steps.iter().map(|step| step.map(|step| {
                now = (now + step).max(0);
                Time(now as u64 * 1000)
            })).collect();
            let mut out = Vec::new();
            let covered = write(&mut out, Ssrc(1), Ssrc(2), base, 9, &arrivals);
            prop_assume!(covered > 0);
            prop_assert_eq!(covered, arrivals.len());
            prop_assert!(out.len() < 1200);
            let feedback = parse(&out);
            let wrap = (feedback.reference as i64) * 64_000;
            for (index, (packet, arrival)) in feedback.packets().zip(&arrivals).enumerate() {
                prop_assert_eq!(packet.sequence, base.wrapping_add(index as u16));
                let expected = arrival.map(|time| (time.as_micros() / 250 * 250) as i64);
                prop_assert_eq!(packet.arrival_us.map(|us| us - wrap), expected.map(|us| us - wrap));
            }
        }
    }
}
