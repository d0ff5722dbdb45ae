//! Named reasons with a counter each: what is dropped or not believed is counted by name, everywhere in the same way.

/// Writes an enum of reasons and the set of their counters.
///
/// The enum gets `ALL` and `name`; the set `count`, `get`, `iter`, `merge` and `take`. Reasons are counted by their place in
/// the list; the text after `=>` is the name of the counter.
macro_rules! counted {
    (
        $(#[$about:meta])* $reason:ident;
        $(#[$about_counters:meta])* $counters:ident;
        $($(#[$doc:meta])* $variant:ident => $name:literal,)*
    ) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(usize)]
        pub enum $reason { $($(#[$doc])* $variant,)* }

        impl $reason {
            /// All reasons in counter order.
            pub const ALL: &'static [$reason] = &[$($reason::$variant,)*];

            /// The name under which the reason is counted.
            pub const fn name(self) -> &'static str {
                match self { $($reason::$variant => $name,)* }
            }
        }

        $(#[$about_counters])*
        #[derive(Clone, Copy, PartialEq, Eq)]
        pub struct $counters([u64; $reason::ALL.len()]);

        impl Default for $counters {
            fn default() -> $counters {
                $counters([0; $reason::ALL.len()])
            }
        }

        impl $counters {
            /// Counts one.
            pub fn count(&mut self, reason: $reason) {
                self.0[reason as usize] += 1;
            }

            /// How many were counted for `reason`.
            pub fn get(&self, reason: $reason) -> u64 {
                self.0[reason as usize]
            }

            /// All counters with their names, zeros included.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
                $reason::ALL.iter().map(|&reason| (reason.name(), self.get(reason)))
            }

            /// Adds another set to this one.
            pub fn merge(&mut self, other: &$counters) {
                for (mine, theirs) in self.0.iter_mut().zip(other.0) {
                    *mine += theirs;
                }
            }

            /// Hands out what was counted and starts again at zero.
            pub fn take(&mut self) -> $counters {
                std::mem::take(self)
            }
        }

        impl std::fmt::Debug for $counters {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_map().entries(self.iter().filter(|(_, count)| *count > 0)).finish()
            }
        }
    };
}

pub(crate) use counted;
