//! Numbers by name, written again and again in the same order.

/// Counters by name.
///
/// Who writes them does so some times a second, mostly with a cache that others have filled: so they lie side by side, and
/// the next name is looked for where it was the last time.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    entries: Vec<(String, u64)>,
    next: usize,
}

impl Counters {
    /// The names come from the first one on now.
    pub fn begin(&mut self) {
        self.next = 0;
    }

    /// All of them, in the order of their first writing.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.entries.iter().map(|(name, value)| (name.as_str(), *value))
    }

    /// The value of one.
    pub fn get(&self, name: &str) -> Option<u64> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    fn place(&mut self, name: &str) -> usize {
        if self.entries.get(self.next).is_some_and(|(known, _)| known == name) {
            return self.next;
        }
        self.entries.iter().position(|(known, _)| known == name).unwrap_or_else(|| {
            let at = self.next.min(self.entries.len());
            self.entries.insert(at, (name.to_owned(), 0));
            at
        })
    }
}

/// Sets one counter; the name is allocated only the first time.
pub fn set(counters: &mut Counters, name: &str, value: u64) {
    let at = counters.place(name);
    counters.entries[at].1 = value;
    counters.next = at + 1;
}

/// Sets those of what was dropped; `all` calls what it is given for each reason.
pub fn set_drops(counters: &mut Counters, all: impl FnOnce(&mut dyn FnMut(&str, u64))) {
    let mut name = String::with_capacity(64);
    all(&mut |reason, value| {
        name.clear();
        name.push_str("drop.");
        name.push_str(reason);
        set(counters, &name, value);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(counters: &Counters) -> Vec<(&str, u64)> {
        counters.iter().collect()
    }

    #[test]
    fn names_keep_their_places_whatever_the_order_of_a_later_writing() {
        let mut counters = Counters::default();
        for (name, value) in [("a", 1), ("b", 2), ("c", 3)] {
            set(&mut counters, name, value);
        }
        counters.begin();
        set(&mut counters, "c", 6);
        set(&mut counters, "a", 4);
        set(&mut counters, "b", 5);
        assert_eq!(written(&counters), [("a", 4), ("b", 5), ("c", 6)]);
        assert_eq!((counters.get("b"), counters.get("d")), (Some(5), None));
    }

    #[test]
    fn a_name_that_is_new_later_stands_where_it_was_written() {
        let mut counters = Counters::default();
        set(&mut counters, "a", 1);
        set(&mut counters, "c", 3);
        counters.begin();
        set(&mut counters, "a", 1);
        set_drops(&mut counters, |each| each("b", 2));
        set(&mut counters, "c", 4);
        assert_eq!(written(&counters), [("a", 1), ("drop.b", 2), ("c", 4)]);
    }
}
