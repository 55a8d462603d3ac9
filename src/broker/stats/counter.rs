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
    use crate::broker::stats::HandedOut;
    use crate::broker::stats::message_stats::HandedOutCounters;

    #[test]
    fn a_family_adds_up_and_names_its_fields() {
        let counters = HandedOutCounters::default();
        let mut more = HandedOut {
            deliver: 1,
            ack: 2,
            ..HandedOut::default()
        };
        more += more;
        counters.add(&more);
        counters.ack.add(1);
        let named = counters.get().named();
        assert_eq!((named[0], named[6]), (("deliver", 2), ("ack", 5)));
    }
}
