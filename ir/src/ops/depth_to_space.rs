//! `depth_to_space` and `space_to_depth`: blocks of channels laid out as squares of pixels, and back. With
//! `layout = "nhwc"` channels are the last axis of operand and result.

use super::layout::{DataLayout, FEATURES};
use super::{
    EvalError, InferError, Inputs, OpDef, Operand, Operands, Results, Types, movement, one, only, single,
    sizes_of,
};
use crate::attr::{AttrError, AttrVisitor, attr_enum};
use crate::kernels::copy::Layout;
use crate::tensor::Tensor;
use crate::types::{Dim, DimExpr, Shape, TensorType};

attr_enum! {
    /// How the place in a square and the channel make up the deeper channel.
    pub enum DepthOrder {
        /// Row of the square, column, channel: the channel runs fastest.
        #[default]
        Dcr = "DCR",
        /// Channel, row of the square, column: the column runs fastest.
        Crd = "CRD",
    }
}

/// `[n, c*b*b, h, w]` to `[n, c, h*b, w*b]`, where `b` is `blocksize`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DepthToSpace {
    /// Edge of the squares.
    pub blocksize: u64,
    /// How channels of `x` are numbered.
    pub mode: DepthOrder,
    /// Where channels lie.
    pub layout: DataLayout,
}

/// `[n, c, h*b, w*b]` to `[n, c*b*b, h, w]`, where `b` is `blocksize`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpaceToDepth {
    /// Edge of the squares.
    pub blocksize: u64,
    /// How channels of the result are numbered.
    pub mode: DepthOrder,
    /// Where channels lie.
    pub layout: DataLayout,
}

impl Default for DepthToSpace {
    fn default() -> Self {
        Self { blocksize: 1, mode: DepthOrder::Dcr, layout: DataLayout::Nchw }
    }
}

impl Default for SpaceToDepth {
    fn default() -> Self {
        Self { blocksize: 1, mode: DepthOrder::Dcr, layout: DataLayout::Nchw }
    }
}

impl OpDef for DepthToSpace {
    const NAME: &'static str = "depth_to_space";
    const OPERANDS: &'static [Operand] = &[one("x")];

    fn attrs(&mut self, visitor: &mut dyn AttrVisitor) -> Result<(), AttrError> {
        visitor.attr("blocksize", &mut self.blocksize)?;
        visitor.attr("mode", &mut self.mode)?;
        visitor.attr("layout", &mut self.layout)
    }

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        self.layout.infer(&FEATURES, operands, |operands| self.types(operands))
    }

    fn eval(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
        self.layout.eval(&FEATURES, operands, types, |operands, types| self.evaluate(operands, types))
    }
}

impl DepthToSpace {
    /// The type rule for channels first.
    fn types(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        let x = operands.ranked(0, 4)?;
        let (block, square) = factors(self.blocksize)?;
        let shape = Shape::from_iter([
            x.shape[0].clone(),
            divided(operands, &x.shape[1], &square)?,
            operands.dim(0, x.shape[2].expr().mul(&block))?,
            operands.dim(0, x.shape[3].expr().mul(&block))?,
        ]);
        Ok(single(x.dtype, shape))
    }

    /// The reference semantics for channels first.
    fn evaluate(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
        let (x, sizes) = (operands.tensor(0)?, sizes_of(&types[0])?);
        let (n, c, h, w, b) = (sizes[0], sizes[1], x.sizes()[2], x.sizes()[3], self.blocksize as usize);
        match self.mode {
            DepthOrder::Dcr => rearranged(x, [n, b, b, c, h, w], [0, 3, 4, 1, 5, 2], &sizes),
            DepthOrder::Crd => rearranged(x, [n, c, b, b, h, w], [0, 1, 4, 2, 5, 3], &sizes),
        }
    }
}

impl OpDef for SpaceToDepth {
    const NAME: &'static str = "space_to_depth";
    const OPERANDS: &'static [Operand] = &[one("x")];

    fn attrs(&mut self, visitor: &mut dyn AttrVisitor) -> Result<(), AttrError> {
        visitor.attr("blocksize", &mut self.blocksize)?;
        visitor.attr("mode", &mut self.mode)?;
        visitor.attr("layout", &mut self.layout)
    }

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        self.layout.infer(&FEATURES, operands, |operands| self.types(operands))
    }

    fn eval(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
        self.layout.eval(&FEATURES, operands, types, |operands, types| self.evaluate(operands, types))
    }
}

impl SpaceToDepth {
    /// The type rule for channels first.
    fn types(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        let x = operands.ranked(0, 4)?;
        let (block, square) = factors(self.blocksize)?;
        let shape = Shape::from_iter([
            x.shape[0].clone(),
            operands.dim(0, x.shape[1].expr().mul(&square))?,
            divided(operands, &x.shape[2], &block)?,
            divided(operands, &x.shape[3], &block)?,
        ]);
        Ok(single(x.dtype, shape))
    }

    /// The reference semantics for channels first.
    fn evaluate(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
        let (x, sizes) = (operands.tensor(0)?, sizes_of(&types[0])?);
        let (n, c, h, w, b) = (sizes[0], x.sizes()[1], sizes[2], sizes[3], self.blocksize as usize);
        match self.mode {
            DepthOrder::Dcr => rearranged(x, [n, c, h, b, w, b], [0, 3, 5, 1, 2, 4], &sizes),
            DepthOrder::Crd => rearranged(x, [n, c, h, b, w, b], [0, 1, 3, 5, 2, 4], &sizes),
        }
    }
}

/// The edge of a square and the number of its pixels.
fn factors(blocksize: u64) -> Result<(DimExpr, DimExpr), InferError> {
    let block = i64::try_from(blocksize).ok().filter(|block| *block > 0).map(DimExpr::constant);
    let pair = block.and_then(|block| block.mul(&block).map(|square| (block, square)));
    pair.ok_or_else(|| InferError::Attribute {
        attr: "blocksize",
        found: blocksize.to_string(),
        expected: "a positive number whose square is a 64-bit integer".to_owned(),
    })
}

/// `size / divisor`, which must come out even.
fn divided(operands: &Operands<'_>, size: &Dim, divisor: &DimExpr) -> Result<Dim, InferError> {
    let quotient = size.expr().div_exact(divisor);
    if quotient.is_none() && size.known().is_some() {
        let by = divisor.as_constant().unwrap_or_default();
        return Err(operands.mismatch(
            0,
            format!("sizes that {by} divides, found {}", size.expr().as_constant().unwrap_or_default()),
        ));
    }
    operands.dim(0, quotient)
}

/// `x` read as a tensor of six axes, these in the order `perm`, read as a tensor of `sizes`.
fn rearranged(x: &Tensor, axes: [usize; 6], perm: [usize; 6], sizes: &[usize]) -> Result<Results, EvalError> {
    let layout = Layout::dense(&axes).permuted(&perm);
    Ok(only(movement::boxed(x, &perm.map(|axis| axes[axis]), &layout)?.reshaped(sizes)?))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{floats, run, run_one};
    use super::*;

    #[test]
    fn channels_become_squares() {
        let x = floats(&[1, 8, 1, 1]);
        let squares = |mode| run_one(DepthToSpace { blocksize: 2, mode, ..DepthToSpace::default() }, std::slice::from_ref(&x));
        assert_eq!(squares(DepthOrder::Dcr), (vec![1, 2, 2, 2], vec![0, 2, 4, 6, 1, 3, 5, 7]));
        assert_eq!(squares(DepthOrder::Crd), (vec![1, 2, 2, 2], vec![0, 1, 2, 3, 4, 5, 6, 7]));
    }

    #[test]
    fn each_undoes_the_other() {
        let x = floats(&[2, 12, 3, 5]);
        for mode in [DepthOrder::Dcr, DepthOrder::Crd] {
            let space = run(DepthToSpace { blocksize: 2, mode, ..DepthToSpace::default() }, std::slice::from_ref(&x))
                .expect("12 channels are 3 squares");
            assert_eq!(space[0].sizes(), [2, 3, 6, 10]);
            let depth = run(SpaceToDepth { blocksize: 2, mode, ..SpaceToDepth::default() }, &space).expect("even sizes");
            assert_eq!(depth[0], x);
        }
    }

    #[test]
    fn sizes_that_do_not_divide_are_refused() {
        let refused = |blocksize| {
            run(DepthToSpace { blocksize, ..DepthToSpace::default() }, &[floats(&[1, 8, 1, 1])]).is_err()
        };
        assert!([0, 3, u64::MAX, 1 << 40].into_iter().all(refused));
        assert!(
            run(SpaceToDepth { blocksize: 2, ..SpaceToDepth::default() }, &[floats(&[1, 1, 2, 3])]).is_err()
        );
    }
}
