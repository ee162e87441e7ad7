//! The table behind [`Weights`](super::Weights): it only grows, and a copy of it costs next to nothing.
//!
//! Every change that adds a constant works on a copy of the table, so a plain vector would make a pass quadratic in the
//! number of constants. The table is a tree of three levels whose parts are shared between copies; adding copies the last
//! block, and the last list of blocks.

use std::sync::Arc;

use super::{Entry, WeightId};
use crate::entity::Entity;

/// Entries of a block, and blocks of a list.
const BLOCK: usize = 64;

/// A full list of full blocks.
const LIST: usize = BLOCK * BLOCK;

/// Entries, at most [`BLOCK`].
type Block = Arc<Vec<Entry>>;

/// The entries by id.
#[derive(Clone, Debug, Default)]
pub(super) struct Entries {
    /// Lists of at most [`BLOCK`] blocks. All lists and blocks but the last are full.
    lists: Vec<Arc<Vec<Block>>>,
}

impl Entries {
    /// Appends `entry` and returns its id.
    pub(super) fn push(&mut self, entry: Entry) -> WeightId {
        let id = WeightId::from_index(self.len());
        if id.index() % LIST == 0 {
            self.lists.push(Arc::default());
        }
        let list = self.lists.last_mut().map(Arc::make_mut);
        // A list was pushed when there was none.
        let Some(list) = list else { return id };
        match list.last_mut().filter(|block| block.len() < BLOCK) {
            Some(block) => Arc::make_mut(block).push(entry),
            None => list.push(Arc::new(vec![entry])),
        }
        id
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        let in_list =
            |blocks: &Vec<Block>| blocks.last().map_or(0, |last| (blocks.len() - 1) * BLOCK + last.len());
        self.lists.last().map_or(0, |last| (self.lists.len() - 1) * LIST + in_list(last))
    }

    /// The entry of `id`, or `None` when `id` is of another table.
    pub(super) fn get(&self, id: WeightId) -> Option<&Entry> {
        let index = id.index();
        self.lists.get(index / LIST)?.get(index % LIST / BLOCK)?.get(index % BLOCK)
    }

    /// All ids in order.
    pub(super) fn ids(&self) -> impl Iterator<Item = WeightId> + '_ {
        (0..self.len()).map(WeightId::from_index)
    }
}

impl std::ops::Index<WeightId> for Entries {
    type Output = Entry;
    fn index(&self, id: WeightId) -> &Entry {
        self.get(id).expect("an id of this table")
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::dtype::DType;
    use crate::types::TensorType;
    use crate::weights::Source;

    #[test]
    fn copies_grow_apart() {
        let entry = |bytes: &[u8]| Entry {
            ty: TensorType::known(DType::U8, &[bytes.len() as u64]),
            source: Source::Memory(Bytes::copy_from_slice(bytes)),
        };
        let mut first = Entries::default();
        for index in 0..=LIST {
            assert_eq!(first.push(entry(&vec![0; index % 7])).index(), index);
        }
        let mut second = first.clone();
        second.push(entry(&[1, 2, 3]));
        assert_eq!((first.len(), second.len()), (LIST + 1, LIST + 2));
        assert!(first.get(WeightId::from_index(LIST + 1)).is_none());
        assert_eq!(second[WeightId::from_index(LIST)].ty, first[WeightId::from_index(LIST)].ty);
        assert_eq!(second.ids().count(), second.len());
    }
}
