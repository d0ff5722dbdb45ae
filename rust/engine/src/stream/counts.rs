//! What the thread counts: plain numbers under their names.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use tokio::sync::Notify;

use crate::counters::{Counters, set};

/// Counters that exist from the start, so that a graph has a zero to begin with.
const NAMES: [&str; 8] = [
    "stream_connections",
    "datagrams_received",
    "bytes_received",
    "datagrams_sent",
    "bytes_sent",
    "drop.stream_frame_too_long",
    "drop.stream_slow_reader",
    "drop.stream_late",
];

/// See the module.
#[derive(Debug)]
pub(super) struct Counts {
    values: RefCell<BTreeMap<&'static str, u64>>,
    changed: Cell<bool>,
    news: Notify,
}

impl Default for Counts {
    fn default() -> Counts {
        let values = NAMES.iter().map(|&name| (name, 0)).collect();
        Counts { values: RefCell::new(values), changed: Cell::new(true), news: Notify::new() }
    }
}

impl Counts {
    /// Adds to one of them.
    pub(super) fn add(&self, name: &'static str, count: u64) {
        if count > 0 {
            *self.values.borrow_mut().entry(name).or_default() += count;
            self.touch();
        }
    }

    /// What is published beside them has changed.
    pub(super) fn touch(&self) {
        if !self.changed.replace(true) {
            self.news.notify_one();
        }
    }

    /// Something changed since [`Counts::write`].
    pub(super) fn changed(&self) -> bool {
        self.changed.get()
    }

    /// Returns when something changes that was written.
    pub(super) async fn news(&self) {
        self.news.notified().await;
    }

    /// Writes all of them.
    pub(super) fn write(&self, counters: &mut Counters) {
        for (name, &value) in self.values.borrow().iter() {
            set(counters, name, value);
        }
        self.changed.set(false);
    }
}
