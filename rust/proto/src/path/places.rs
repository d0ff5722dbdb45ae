//! Places of paths: a path's name is the number of its place and the place's generation.

use std::collections::VecDeque;

use super::id::PathId;
use super::table::Entry;

#[derive(Debug)]
struct Place {
    generation: u16,
    entry: Option<Entry>,
    /// Its number stands among those that are free; also, for a while, where it was taken by its name.
    is_listed: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Places {
    /// So many paths at the most.
    most: usize,
    /// Generation of places that were never used; differs from one life of the Edge to the next.
    first_generation: u16,
    all: Vec<Place>,
    /// Places without a path, longest free first.
    free: VecDeque<u16>,
    used: usize,
}

impl Places {
    /// None yet, and at most as many as names can tell.
    pub(super) fn new(most: usize, first_generation: u16) -> Places {
        Places {
            most: nameable(most),
            first_generation: first_generation.max(1),
            all: Vec::new(),
            free: VecDeque::new(),
            used: 0,
        }
    }

    /// So many at the most from now on; those beyond stay where they are until they end.
    pub(super) fn set_most(&mut self, most: usize) {
        self.most = nameable(most);
    }

    /// Whether there has ever been a path at this place.
    pub(super) fn knows(&self, index: u16) -> bool {
        usize::from(index) < self.all.len()
    }

    /// The path at a place.
    pub(super) fn get(&self, index: u16) -> Option<&Entry> {
        self.all.get(usize::from(index))?.entry.as_ref()
    }

    /// The same, to change it.
    pub(super) fn get_mut(&mut self, index: u16) -> Option<&mut Entry> {
        self.all.get_mut(usize::from(index))?.entry.as_mut()
    }

    /// All paths.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> + Clone {
        self.all.iter().filter_map(|place| place.entry.as_ref())
    }

    /// A place for a new path; `None` when there are as many as may be.
    pub(super) fn take(&mut self) -> Option<u16> {
        if self.used >= self.most {
            return None;
        }
        while let Some(index) = self.free.pop_front() {
            let place = &mut self.all[usize::from(index)];
            place.is_listed = false;
            if place.entry.is_none() {
                return Some(index);
            }
        }
        let index = u16::try_from(self.all.len()).ok()?;
        self.all.push(self.unused(false));
        Some(index)
    }

    /// The place that `id` names, such that the path in it gets that name; `None` where another path is there.
    pub(super) fn take_named(&mut self, id: PathId) -> Option<u16> {
        let index = usize::from(id.index());
        if self.used >= self.most || index >= self.most {
            return None;
        }
        while self.all.len() <= index {
            self.free.push_back(u16::try_from(self.all.len()).ok()?);
            self.all.push(self.unused(true));
        }
        let place = &mut self.all[index];
        if place.entry.is_some() {
            return None;
        }
        place.generation = id.generation().wrapping_sub(1);
        Some(id.index())
    }

    /// The name of the next path at a place that was taken.
    pub(super) fn name(&mut self, index: u16) -> PathId {
        let place = &mut self.all[usize::from(index)];
        place.generation = place.generation.wrapping_add(1).max(1);
        PathId::new(index, place.generation)
    }

    /// A path is at a place that was taken.
    pub(super) fn put(&mut self, index: u16, entry: Entry) {
        self.used += usize::from(self.all[usize::from(index)].entry.replace(entry).is_none());
    }

    /// The path that leaves its place.
    pub(super) fn free(&mut self, index: u16) -> Option<Entry> {
        let place = self.all.get_mut(usize::from(index))?;
        let entry = place.entry.take()?;
        self.used -= 1;
        if !std::mem::replace(&mut place.is_listed, true) {
            self.free.push_back(index);
        }
        Some(entry)
    }

    fn unused(&self, is_listed: bool) -> Place {
        Place { generation: self.first_generation.wrapping_sub(1), entry: None, is_listed }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// Every place is used or listed, and listed once.
    #[cfg(test)]
    pub(super) fn is_consistent(&self) -> bool {
        let listed = self.all.iter().filter(|place| place.is_listed).count();
        self.used == self.entries().count()
            && self.free.len() == listed
            && self.all.iter().all(|place| place.is_listed || place.entry.is_some())
    }
}

/// As many as names can tell.
fn nameable(most: usize) -> usize {
    most.min(usize::from(u16::MAX) + 1)
}
