//! Datagrams on their way to other threads: collected in one buffer for each, which comes back when it was read.

use mediaserver_proto::io::{Path, ReceiveBatch};
use mediaserver_proto::time::Time;

/// Buffers kept for reuse.
const POOLED_BUFFERS: usize = 64;

/// See the module.
#[derive(Debug)]
pub(crate) struct Collecting {
    /// By the index of the thread that they are for.
    places: Vec<Option<Box<ReceiveBatch>>>,
    #[allow(clippy::vec_box, reason = "they travel as boxes, and taking one out must not allocate")]
    pool: Vec<Box<ReceiveBatch>>,
}

impl Collecting {
    /// For so many threads.
    pub(crate) fn new(threads: usize) -> Collecting {
        Collecting { places: (0..threads).map(|_| None).collect(), pool: Vec::new() }
    }

    /// Whether there is a thread with this index.
    pub(crate) fn leads_to(&self, to: usize) -> bool {
        to < self.places.len()
    }

    /// Adds a datagram for a thread; `arrived` is when came what caused it. How many bytes wait for that thread now.
    pub(crate) fn push(&mut self, to: usize, path: Path, datagram: &[u8], arrived: Option<Time>) -> usize {
        let Some(place) = self.places.get_mut(to) else { return 0 };
        let buffer = place.get_or_insert_with(|| self.pool.pop().unwrap_or_default());
        buffer.arrival = buffer.arrival.or(arrived);
        buffer.push(path, datagram);
        buffer.space().len()
    }

    /// The next buffer, with the index of the thread that it is for.
    pub(crate) fn take(&mut self) -> Option<(usize, Box<ReceiveBatch>)> {
        let to = self.places.iter().position(Option::is_some)?;
        Some((to, self.take_of(to)?))
    }

    /// The buffer for one thread.
    pub(crate) fn take_of(&mut self, to: usize) -> Option<Box<ReceiveBatch>> {
        self.places.get_mut(to)?.take()
    }

    /// Keeps a buffer that is free again.
    pub(crate) fn keep(&mut self, mut buffer: Box<ReceiveBatch>) {
        if self.pool.len() < POOLED_BUFFERS {
            buffer.clear();
            buffer.arrival = None;
            self.pool.push(buffer);
        }
    }

    /// Buffers that are free.
    #[cfg(test)]
    pub(crate) fn pooled(&self) -> usize {
        self.pool.len()
    }
}

#[cfg(test)]
mod tests {
    use mediaserver_proto::io::SocketId;

    use super::*;

    const PATH: Path = Path {
        socket: SocketId(1),
        remote: std::net::SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 4000),
    };

    #[test]
    fn each_thread_has_a_buffer_that_remembers_when_its_first_datagram_came() {
        let mut collecting = Collecting::new(3);
        assert_eq!(collecting.push(2, PATH, b"one", Some(Time::from_millis(7))), 3);
        assert_eq!(collecting.push(1, PATH, b"two", None), 3);
        assert_eq!(collecting.push(2, PATH, b"four", Some(Time::from_millis(9))), 7);
        assert_eq!((collecting.leads_to(3), collecting.push(3, PATH, b"nobody", None)), (false, 0));
        assert_eq!(collecting.take().map(|(to, buffer)| (to, buffer.len(), buffer.arrival)), Some((1, 1, None)));
        let (to, buffer) = collecting.take().unwrap();
        assert_eq!((to, buffer.len(), buffer.arrival), (2, 2, Some(Time::from_millis(7))));
        assert!(collecting.take().is_none());
    }

    #[test]
    fn a_buffer_that_comes_back_is_used_again_and_there_is_a_bound() {
        let mut collecting = Collecting::new(1);
        collecting.push(0, PATH, b"one", Some(Time::from_millis(7)));
        let buffer = collecting.take_of(0).unwrap();
        collecting.keep(buffer);
        assert_eq!(collecting.pooled(), 1);
        collecting.push(0, PATH, b"two", None);
        let again = collecting.take_of(0).unwrap();
        assert_eq!((collecting.pooled(), again.len(), again.arrival), (0, 1, None));
        (0..POOLED_BUFFERS + 1).for_each(|_| collecting.keep(Box::default()));
        assert_eq!(collecting.pooled(), POOLED_BUFFERS);
    }
}
