//! The table behind [`Weights`](super::Weights): it only grows, and a copy of it costs next to nothing.
//!
//! Every change that adds a constant works on a copy of the table, so a plain vector would make a pass quadratic in the
//! number of constants. Blocks of entries are shared between copies; adding copies the last block only.

use std::sync::Arc;

use super::{Entry, WeightId};
use crate::entity::Entity;

/// Entries of a block.
const BLOCK: usize = 64;

/// The entries by id.
#[derive(Clone, Debug, Default)]
pub(super) struct Entries {
    /// All but the last are full.
    blocks: Vec<Arc<Vec<Entry>>>,
}

impl Entries {
    /// Appends `entry` and returns its id.
    pub(super) fn push(&mut self, entry: Entry) -> WeightId {
        let id = WeightId::from_index(self.len());
        match self.blocks.last_mut().filter(|block| block.len() < BLOCK) {
            Some(block) => Arc::make_mut(block).push(entry),
            None => self.blocks.push(Arc::new(vec![entry])),
        }
        id
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.blocks.last().map_or(0, |last| (self.blocks.len() - 1) * BLOCK + last.len())
    }

    /// The entry of `id`, or `None` when `id` is of another table.
    pub(super) fn get(&self, id: WeightId) -> Option<&Entry> {
        self.blocks.get(id.index() / BLOCK)?.get(id.index() % BLOCK)
    }

    /// All ids in order.
    pub(super) fn ids(&self) -> impl Iterator<Item = WeightId> + '_ {
        (0..self.len()).map(WeightId::from_index)
    }
}

impl std::ops::Index<WeightId> for Entries {
    type Output = Entry;
    fn index(&self, id: WeightId) -> &Entry {
        &self.blocks[id.index() / BLOCK][id.index() % BLOCK]
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
        for index in 0..=BLOCK {
            assert_eq!(first.push(entry(&vec![0; index])).index(), index);
        }
        let mut second = first.clone();
        second.push(entry(&[1, 2, 3]));
        assert_eq!((first.len(), second.len()), (BLOCK + 1, BLOCK + 2));
        assert!(first.get(WeightId::from_index(BLOCK + 1)).is_none());
        assert_eq!(second[WeightId::from_index(BLOCK)].ty, first[WeightId::from_index(BLOCK)].ty);
        assert_eq!(second.ids().count(), second.len());
    }
}
