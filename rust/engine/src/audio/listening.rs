//! Who of an audio thread's makers listens to which up track.

use std::collections::HashMap;

/// Ids of transcoders, or of mixes, by the up track that they hear.
#[derive(Debug, Default)]
pub struct Listening {
    by_source: HashMap<u64, Vec<u64>>,
}

impl Listening {
    /// `id` hears `source` from now on.
    pub fn begin(&mut self, source: u64, id: u64) {
        self.by_source.entry(source).or_default().push(id);
    }

    /// It does no more.
    pub fn end(&mut self, source: u64, id: u64) {
        if let Some(ids) = self.by_source.get_mut(&source) {
            ids.retain(|&other| other != id);
            if ids.is_empty() {
                self.by_source.remove(&source);
            }
        }
    }

    /// Who hears `source`.
    pub fn to(&self, source: u64) -> &[u64] {
        self.by_source.get(&source).map(Vec::as_slice).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::Listening;

    #[test]
    fn who_has_ended_hears_nothing_and_leaves_nothing_behind() {
        let mut listening = Listening::default();
        for id in [1, 2] {
            listening.begin(7, id);
        }
        listening.end(7, 1);
        assert_eq!((listening.to(7), listening.to(8)), (&[2][..], &[][..]));
        listening.end(7, 2);
        listening.end(9, 2);
        assert!(listening.by_source.is_empty());
    }
}
