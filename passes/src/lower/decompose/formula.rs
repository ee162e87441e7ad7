//! Arithmetic that rules write most often.

use quad_ir::dtype::DType;
use quad_ir::graph::{AddError, NodeRef, Patch, ValueId};
use quad_ir::ops::{Add, Clip, Mul, Sub};

use crate::emit::Emit;
use crate::rule::Skip;

/// Arithmetic of a value and a number.
pub(super) struct Formula<'p, 'g> {
    pub(super) patch: &'p mut Patch<'g>,
    dtype: DType,
}

impl Formula<'_, '_> {
    pub(super) fn times(&mut self, x: ValueId, number: f64) -> Result<ValueId, AddError> {
        let number = self.patch.scalar(self.dtype, number)?;
        self.patch.add_value(Mul, &[x, number])
    }

    pub(super) fn plus(&mut self, x: ValueId, number: f64) -> Result<ValueId, AddError> {
        let number = self.patch.scalar(self.dtype, number)?;
        self.patch.add_value(Add, &[x, number])
    }

    pub(super) fn product(&mut self, a: ValueId, b: ValueId) -> Result<ValueId, AddError> {
        self.patch.add_value(Mul, &[a, b])
    }

    pub(super) fn difference(&mut self, a: ValueId, b: ValueId) -> Result<ValueId, AddError> {
        self.patch.add_value(Sub, &[a, b])
    }

    /// `slope * x + offset` between 0 and 1.
    pub(super) fn ramp(&mut self, x: ValueId, slope: f64, offset: f64) -> Result<ValueId, AddError> {
        let line = self.times(x, slope)?;
        let line = self.plus(line, offset)?;
        let (low, high) = (self.patch.scalar(self.dtype, 0.0)?, self.patch.scalar(self.dtype, 1.0)?);
        self.patch.add_value(Clip, &[line, low, high])
    }
}

/// The operand of `node`, and formulas of its type.
pub(super) fn formula<'p, 'g>(
    node: NodeRef<'_>,
    patch: &'p mut Patch<'g>,
) -> Result<(ValueId, Formula<'p, 'g>), Skip> {
    let x = node.operand("x").ok_or(Skip::NoMatch)?;
    Ok((x.id(), Formula { patch, dtype: x.ty().dtype }))
}
