//! Typed ids and the maps keyed by them.
//!
//! An id is a `u32` newtype whose spelling in logs and errors is the one of the text format (`n12`, `v7`, `w3`),
//! so a message, a snapshot and a debugger show the same name. Ids are handed out in order and never reused.

use std::marker::PhantomData;

/// What an id type offers to [`EntityMap`].
pub trait Entity: Copy + Eq {
    /// The id with position `index`, counted from 0.
    ///
    /// # Panics
    /// If `index` is `u32::MAX` or more; a graph runs out of memory first.
    fn from_index(index: usize) -> Self;
    /// The position of this id, counted from 0.
    fn index(self) -> usize;
}

/// Declares an id type: `entity! { /// doc pub struct NodeId("n"); }`.
macro_rules! entity {
    ($($(#[$doc:meta])* pub struct $name:ident($prefix:literal);)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(std::num::NonZeroU32);

        impl $crate::entity::Entity for $name {
            fn from_index(index: usize) -> Self {
                let one_based = u32::try_from(index).ok().and_then(|i| i.checked_add(1));
                let id = one_based.and_then(std::num::NonZeroU32::new);
                Self(id.expect("fewer than 2^32 - 1 entities"))
            }
            fn index(self) -> usize {
                self.0.get() as usize - 1
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!($prefix, "{}"), $crate::entity::Entity::index(*self))
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Display::fmt(self, f)
            }
        }
    )*};
}
pub(crate) use entity;

/// A vector indexed by an id type. It only grows: an id stays valid as long as its map.
#[derive(Clone, Debug)]
pub struct EntityMap<K, V> {
    items: Vec<V>,
    key: PhantomData<K>,
}

impl<K: Entity, V> EntityMap<K, V> {
    /// An empty map.
    pub fn new() -> Self {
        Self { items: Vec::new(), key: PhantomData }
    }

    /// Appends `value` and returns its id.
    pub fn push(&mut self, value: V) -> K {
        let id = self.next_id();
        self.items.push(value);
        id
    }

    /// The id that the next [`push`](Self::push) will return.
    pub fn next_id(&self) -> K {
        K::from_index(self.items.len())
    }

    /// How many ids have been handed out.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether no id has been handed out.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The value of `id`, or `None` when `id` is from another map.
    pub fn get(&self, id: K) -> Option<&V> {
        self.items.get(id.index())
    }

    /// All ids with their values, in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (K, &V)> + ExactSizeIterator {
        self.items.iter().enumerate().map(|(index, value)| (K::from_index(index), value))
    }
}

impl<K: Entity, V> Default for EntityMap<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

/// All ids with their values, in order.
impl<K: Entity, V> IntoIterator for EntityMap<K, V> {
    type Item = (K, V);
    type IntoIter = std::iter::Map<std::iter::Enumerate<std::vec::IntoIter<V>>, fn((usize, V)) -> (K, V)>;
    fn into_iter(self) -> Self::IntoIter {
        self.items.into_iter().enumerate().map(|(index, value)| (K::from_index(index), value))
    }
}

impl<K: Entity, V> std::ops::Index<K> for EntityMap<K, V> {
    type Output = V;
    fn index(&self, id: K) -> &V {
        &self.items[id.index()]
    }
}

impl<K: Entity, V> std::ops::IndexMut<K> for EntityMap<K, V> {
    fn index_mut(&mut self, id: K) -> &mut V {
        &mut self.items[id.index()]
    }
}
