//! Values that other shards read for a while and that are used again once nobody else holds them.

use std::sync::Arc;

/// A bounded pool; taking from it allocates only while it grows.
#[derive(Debug)]
pub struct SharedPool<T> {
    values: Vec<Arc<T>>,
    most: usize,
}

impl<T: Default> SharedPool<T> {
    /// An empty pool that keeps `most` values.
    pub fn new(most: usize) -> SharedPool<T> {
        SharedPool { values: Vec::new(), most }
    }

    /// A value that nobody else holds, as it was left; `None` when all are under way and there may be no more.
    pub fn take(&mut self) -> Option<Arc<T>> {
        if let Some(free) = self.values.iter_mut().position(|value| Arc::get_mut(value).is_some()) {
            return Some(self.values.swap_remove(free));
        }
        (self.values.len() < self.most).then(Arc::default)
    }

    /// Keeps a value that goes out, or forgets it when there are enough.
    pub fn keep(&mut self, value: &Arc<T>) {
        if self.values.len() < self.most {
            self.values.push(Arc::clone(value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_used_again_when_nobody_else_holds_it() {
        let mut pool = SharedPool::<u8>::new(1);
        let value = pool.take().unwrap();
        pool.keep(&value);
        assert!(pool.take().is_none(), "it is under way, and there may be no more");
        let address = Arc::as_ptr(&value);
        drop(value);
        assert_eq!(pool.take().map(|value| Arc::as_ptr(&value)), Some(address));
    }
}
