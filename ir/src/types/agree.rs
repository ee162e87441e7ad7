//! When one type may stand for another: what rewriting, parsing and verifying compare.
//!
//! Element types, ranks and quantization must be equal. A size says less than another in three ways: it mentions a
//! symbol without a name, which stands for "some size"; it is symbolic where the other is a number; or, when it comes
//! out of a type rule, it mentions a symbol that the rule just made because nothing was known.

use super::{Dim, Shape, SymId, SymTable, TensorType};
use crate::entity::Entity;

impl TensorType {
    /// Whether a value of this type may replace one of type `other`: it is equal or says more. `symbols` names the
    /// symbols of both.
    pub fn refines(&self, other: &Self, symbols: &SymTable) -> bool {
        self.like(other) && every_dim(&self.shape, &other.shape, |new, old| dim_refines(new, old, symbols))
    }

    /// Whether a type rule that gave this type allows the value to have type `stated`. Symbols numbered from `fresh`
    /// on were made by the rule; a statement may say more of them, or of anything less.
    pub(crate) fn allows(&self, stated: &Self, fresh: usize, symbols: &SymTable) -> bool {
        let allows = |inferred: &Dim, stated: &Dim| {
            mentions(inferred, &|symbol| symbol.index() >= fresh) || dim_refines(inferred, stated, symbols)
        };
        self.like(stated) && every_dim(&self.shape, &stated.shape, allows)
    }

    /// Whether the types may differ in their sizes only.
    fn like(&self, other: &Self) -> bool {
        self.dtype == other.dtype && self.rank() == other.rank() && self.quant == other.quant
    }
}

fn every_dim(left: &Shape, right: &Shape, holds: impl Fn(&Dim, &Dim) -> bool) -> bool {
    left.iter().zip(right.iter()).all(|(left, right)| holds(left, right))
}

fn dim_refines(new: &Dim, old: &Dim, symbols: &SymTable) -> bool {
    new == old
        || (new.known().is_some() && old.known().is_none())
        || mentions(old, &|symbol| symbols.name(symbol).is_none())
}

fn mentions(dim: &Dim, holds: &dyn Fn(SymId) -> bool) -> bool {
    dim.symbols().any(holds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::DType;

    #[test]
    fn more_refines_less() {
        let mut symbols = SymTable::default();
        let (batch, length) = (Dim::Sym(symbols.named("batch")), Dim::Sym(symbols.named("length")));
        let some = Dim::Sym(symbols.fresh());
        let ty = |dim: &Dim| TensorType::new(DType::F32, Shape::from_iter([dim.clone()]));
        let refines = |new: &Dim, old: &Dim| ty(new).refines(&ty(old), &symbols);
        let four = Dim::Known(4);
        assert!(refines(&batch, &batch) && refines(&batch, &some) && refines(&four, &some));
        assert!(refines(&four, &batch));
        assert!(!refines(&batch, &four) && !refines(&some, &batch) && !refines(&length, &batch));
        assert!(!refines(&four, &Dim::Known(5)));
        let other = TensorType::new(DType::F16, Shape::from_iter([batch.clone()]));
        assert!(!other.refines(&ty(&batch), &symbols), "the element type differs");
    }

    #[test]
    fn a_rule_that_knows_nothing_allows_anything() {
        let mut symbols = SymTable::default();
        let batch = Dim::Sym(symbols.named("batch"));
        let ty = |dim: Dim| TensorType::new(DType::F32, Shape::from_iter([dim]));
        let fresh = ty(Dim::Sym(SymId::from_index(1)));
        assert!(
            fresh.allows(&ty(batch.clone()), 1, &symbols) && fresh.allows(&ty(Dim::Known(3)), 1, &symbols)
        );
        assert!(!ty(batch).allows(&ty(Dim::Known(3)), 1, &symbols), "nothing says that the batch is 3");
    }
}
