//! Normalizations that exporters compute in a wider type: of models in 16 bits, cast up before and down afterwards.

use quad_ir::graph::{NodeRef, Patch, ValueId};
use quad_ir::ops::{Cast, OpKind};

use super::affine::is_filled_with;
use crate::emit::Emit;
use crate::pattern::{made_by, only_read_by, sizes};
use crate::rule::{Rule, Skip, because};

/// `cast(norm(cast(x)))`, back to the type of `x`, is `norm(x)`: a normalization forms its sums in full precision whatever
/// the type of its operand, and rounds once.
#[derive(Debug)]
pub(super) struct NormBetweenCasts(pub(super) OpKind);

impl Rule for NormBetweenCasts {
    fn name(&self) -> &'static str {
        "norm-between-casts"
    }

    fn roots(&self) -> &'static [OpKind] {
        &[OpKind::Cast]
    }

    fn rewrite(&self, root: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
        let (y, normed) = (root.result(), root.operand("x").ok_or(Skip::NoMatch)?);
        let norm = normed.producer();
        if norm.op().kind() != self.0 || normed.port() != 0 {
            return Err(Skip::NoMatch);
        }
        let (widened, _) = norm.operand("x").and_then(made_by::<Cast>).ok_or(Skip::NoMatch)?;
        let x = widened.operand("x").filter(|x| x.ty() == y.ty()).ok_or(Skip::NoMatch)?;
        let dtype = x.ty().dtype;
        if !dtype.is_float() || dtype.bits() >= normed.ty().dtype.bits() {
            return Err(Skip::NoMatch);
        }
        only_read_by(normed, root)?;
        let mut operands: Vec<Option<ValueId>> = vec![Some(x.id())];
        for parameter in norm.operands().skip(1).flatten() {
            let number = [1.0, 0.0].into_iter().find(|number| is_filled_with(parameter, *number));
            let number = number.zip(sizes(parameter));
            let (number, sizes) = number.ok_or_else(|| {
                because(norm, format!("its scale or bias, {}, would be rounded to {dtype}", parameter.ty()))
            })?;
            operands.push(Some(patch.filled(dtype, &sizes, number)?));
        }
        let narrow = patch.op(norm.op().clone(), &operands)?;
        Ok(patch.replace(y.id(), narrow)?)
    }
}
