//! A counter that any thread may raise, and families of counters with names.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, more: u64) {
        if more > 0 {
            self.0.fetch_add(more, Ordering::Relaxed);
        }
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Declares a family of counters: a struct of plain values, and a struct of the same fields that any thread may raise.
macro_rules! family {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $field:ident,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq)]
        pub struct $name<T = u64> {
            $($(#[$doc])* pub $field: T,)*
        }

        impl<T: Copy> $name<T> {
            /// All fields with their names.
            pub fn named(&self) -> [(&'static str, T); [$(stringify!($field)),*].len()] {
                [$((stringify!($field), self.$field),)*]
            }
        }

        impl std::ops::AddAssign for $name {
            fn add_assign(&mut self, other: $name) {
                $(self.$field += other.$field;)*
            }
        }
    };
    ($(#[$meta:meta])* $name:ident, raised as $counters:ident { $($(#[$doc:meta])* $field:ident,)* }) => {
        $crate::broker::stats::counter::family!($(#[$meta])* $name { $($(#[$doc])* $field,)* });

        /// The same fields, raised by any thread.
        #[derive(Debug, Default)]
        pub(crate) struct $counters {
            $(pub(crate) $field: $crate::broker::stats::Counter,)*
        }

        impl $counters {
            pub(crate) fn add(&self, more: &$name) {
                $(self.$field.add(more.$field);)*
            }

            pub(crate) fn get(&self) -> $name {
                $name { $($field: self.$field.get(),)* }
            }
        }
    };
}

pub(super) use family;

#[cfg(test)]
mod tests {
    family! {
        /// A family for this test.
        Pair, raised as PairCounters { first, second, }
    }

    #[test]
    fn a_family_adds_up_and_names_its_fields() {
        let counters = PairCounters::default();
        let mut more = Pair {
            first: 1,
            second: 2,
        };
        more += more;
        counters.add(&more);
        counters.second.add(1);
        assert_eq!(counters.get().named(), [("first", 2), ("second", 5)]);
    }
}
