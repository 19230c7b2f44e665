//! What is the same in thousands of tables, kept once.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;

/// The things so far that differ.
#[derive(Debug)]
pub struct Interner<T: ?Sized>(HashSet<Arc<T>>);

impl<T: ?Sized> Default for Interner<T> {
    fn default() -> Self {
        Interner(HashSet::new())
    }
}

impl<T: Eq + Hash + ?Sized> Interner<T> {
    /// The first thing that is the same as this one.
    pub fn intern(&mut self, thing: Arc<T>) -> Arc<T> {
        if let Some(first) = self.0.get(&thing) {
            return Arc::clone(first);
        }
        self.0.insert(Arc::clone(&thing));
        thing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_the_same_is_kept_once() {
        let mut interner = Interner::<str>::default();
        let first = interner.intern("INTEGER".into());
        let again = interner.intern("INTEGER".into());
        assert!(Arc::ptr_eq(&first, &again) && !Arc::ptr_eq(&first, &interner.intern("TEXT".into())));
    }
}
