//! Media frames that wait for a TLS connection: what is older than 200 ms is dropped, never queued. Time is an argument.

use std::collections::VecDeque;

use bytes::{BufMut, BytesMut};
use tokio::time::Instant;

use super::limits::{FRAME_AGE, FRAME_BYTES, FRAMES_WAITING_BYTES};

/// Why a frame was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Empty, or longer than a frame may be.
    Size,
    /// Too much waits.
    Full,
}

/// Frames in the order of their coming.
#[derive(Debug, Default)]
pub(crate) struct FrameQueue {
    frames: VecDeque<(Instant, Box<[u8]>)>,
    bytes: usize,
}

impl FrameQueue {
    /// Takes a frame at `now`.
    pub(crate) fn push(&mut self, now: Instant, frame: &[u8]) -> Result<(), Refused> {
        if frame.is_empty() || frame.len() > FRAME_BYTES {
            return Err(Refused::Size);
        }
        if self.bytes + frame.len() > FRAMES_WAITING_BYTES {
            return Err(Refused::Full);
        }
        self.bytes += frame.len();
        self.frames.push_back((now, frame.into()));
        Ok(())
    }

    /// Writes frames with their lengths to `out`, up to `most` bytes; gives how many, and how many were too old.
    pub(crate) fn take(&mut self, now: Instant, most: usize, out: &mut BytesMut) -> (u64, u64) {
        let (mut taken, mut late) = (0, 0);
        while let Some((since, frame)) = self.frames.front() {
            let is_late = now.saturating_duration_since(*since) > FRAME_AGE;
            if !is_late && out.len() + 2 + frame.len() > most {
                break;
            }
            if is_late {
                late += 1;
            } else {
                out.put_u16(frame.len() as u16);
                out.put_slice(frame);
                taken += 1;
            }
            self.bytes -= frame.len();
            self.frames.pop_front();
        }
        (taken, late)
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_frame_leaves_up_to_200_ms_after_it_came_and_not_later() {
        let start = Instant::now();
        let mut queue = FrameQueue::default();
        for age in [0, 50, 100] {
            queue.push(start + Duration::from_millis(age), &[age as u8; 3]).unwrap();
        }
        let mut out = BytesMut::new();
        assert_eq!(queue.take(start + Duration::from_millis(250), 1000, &mut out), (2, 1));
        assert_eq!(&out[..], [0, 3, 50, 50, 50, 0, 3, 100, 100, 100]);
        assert!(queue.is_empty());
    }

    #[test]
    fn a_line_that_stands_still_for_a_second_gives_what_is_fresh_and_counts_the_rest() {
        let start = Instant::now();
        let mut queue = FrameQueue::default();
        for tick in 0..50 {
            queue.push(start + Duration::from_millis(20) * tick, &[tick as u8; 100]).unwrap();
        }
        let mut out = BytesMut::new();
        let (taken, late) = queue.take(start + Duration::from_millis(980), usize::MAX, &mut out);
        assert_eq!((taken, late, out[2]), (11, 39, 39));
    }

    #[test]
    fn what_waits_is_bounded_and_gives_its_room_back() {
        let now = Instant::now();
        let mut queue = FrameQueue::default();
        let frame = [0; FRAME_BYTES];
        let room = FRAMES_WAITING_BYTES / FRAME_BYTES;
        assert!((0..room).all(|_| queue.push(now, &frame).is_ok()));
        assert_eq!(queue.push(now, &frame), Err(Refused::Full));
        let mut out = BytesMut::new();
        assert_eq!(queue.take(now, FRAME_BYTES + 2, &mut out), (1, 0));
        assert_eq!(queue.push(now, &frame), Ok(()));
        assert_eq!(queue.push(now, &[]), Err(Refused::Size));
        assert_eq!(queue.push(now, &[0; FRAME_BYTES + 1]), Err(Refused::Size));
    }
}
