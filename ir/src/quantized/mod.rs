//! Computing with quantized values: what the interpreter does at nodes whose operands or results are stored integers.
//!
//! A node computes with the real numbers that its operands stand for. [`Arithmetic::Simulated`] does exactly that: operands
//! are taken apart into real numbers, the operation's own reference semantics computes, and each result that states an
//! encoding is rounded to it. That is what a graph with a `dequantize_linear` before and a `quantize_linear` behind every
//! operation computes, to the bit.

pub(crate) mod affine;
mod moves;

use affine::Affine;
pub use moves::moved_operands;

use crate::dtype::DType;
use crate::graph::{NodeRef, ValueRef};
use crate::interpret::infer_run_time;
use crate::ops::{EvalError, Inputs, Results, Types};
use crate::tensor::Tensor;
use crate::types::{Encoded, Quant};

/// How nodes compute whose operands or results are quantized.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Arithmetic {
    /// With real numbers, rounded to the encodings of results.
    #[default]
    Simulated,
}

/// The real numbers that `stored`, elements of a tensor of encoding `quant`, stand for.
pub fn dequantize(stored: &Tensor, quant: &Quant) -> Result<Tensor, EvalError> {
    Affine::of(quant, stored.sizes()).real(stored, quant.expressed)
}

/// The real numbers `real` as they are stored in `encoded`: rounded to the nearest, halves to even, and saturated.
pub fn quantize(real: &Tensor, encoded: &Encoded) -> Result<Tensor, EvalError> {
    Affine::of(&encoded.quant, real.sizes()).store(real, DType::F32, (encoded.stored, true))
}

/// A node that is about to be computed, with the elements of its operands.
pub(crate) struct Call<'g> {
    node: NodeRef<'g>,
    operands: Vec<Option<Tensor>>,
    /// The types of the results before they are encoded.
    pub(crate) types: Types,
}

impl<'g> Call<'g> {
    /// `node` on `operands`, as they are stored.
    pub(crate) fn new(node: NodeRef<'g>, operands: Vec<Option<Tensor>>) -> Result<Self, EvalError> {
        let real = |(value, tensor): (Option<ValueRef<'g>>, Option<Tensor>)| {
            let quant = value.and_then(|value| value.ty().quant.as_deref());
            match (quant, tensor) {
                (Some(quant), Some(tensor)) => dequantize(&tensor, quant).map(Some),
                (_, tensor) => Ok(tensor),
            }
        };
        let operands: Vec<Option<Tensor>> =
            node.operands().zip(operands).map(real).collect::<Result<_, _>>()?;
        let types = infer_run_time(node.op(), &operands)?;
        Ok(Self { node, operands, types })
    }

    /// The results as they are stored.
    pub(crate) fn evaluate(self) -> Result<Results, EvalError> {
        let def = self.node.op().def();
        let results = def.eval(&Inputs::new(def.operands(), &self.operands), &self.types)?;
        let encoded = |(tensor, value): (Tensor, ValueRef<'_>)| match Encoded::of(value.ty()) {
            Some(encoded) => quantize(&tensor, &encoded),
            None => Ok(tensor),
        };
        results.into_iter().zip(self.node.results()).map(encoded).collect()
    }
}
