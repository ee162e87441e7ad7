//! Computing with quantized values: what the interpreter does at nodes whose operands or results are stored integers.
//!
//! A node computes with the real numbers that its operands stand for. [`Arithmetic::Integer`] computes sums, products and
//! comparisons with the stored integers and scales once, as an accelerator does. Where no rule is for that, and everywhere
//! with [`Arithmetic::Simulated`], operands are taken apart into real numbers, the operation's own reference semantics
//! computes, and each result that states an encoding is rounded to it. That is what a graph with a `dequantize_linear`
//! before and a `quantize_linear` behind every operation computes, to the bit.
//!
//! `docs/quantization.md` says what is computed, operation by operation.

pub(crate) mod affine;
mod integer;
mod moves;
#[cfg(test)]
mod tests;

use affine::Affine;
pub use moves::moved_operands;

use crate::dtype::DType;
use crate::graph::{NodeRef, ValueRef};
use crate::interpret::{infer_run_time, infer_with};
use crate::ops::{EvalError, Fact, Inputs, Results, Types};
use crate::tensor::Tensor;
use crate::types::{Encoded, Known, Quant, TensorType};

/// How nodes compute whose operands or results are quantized.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Arithmetic {
    /// With stored integers where there is a rule for it, else as simulated.
    #[default]
    Integer,
    /// With real numbers, rounded to the encodings of results.
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
    arithmetic: Arithmetic,
    /// The types of the results before they are encoded.
    pub(crate) types: Types,
}

impl<'g> Call<'g> {
    /// `node` on `operands`, as they are stored.
    pub(crate) fn new(
        node: NodeRef<'g>,
        operands: Vec<Option<Tensor>>,
        arithmetic: Arithmetic,
    ) -> Result<Self, EvalError> {
        let fact = |(value, tensor): (Option<ValueRef<'g>>, &Option<Tensor>)| {
            let quant = value.and_then(|value| value.ty().quant.as_ref());
            let tensor = tensor.as_ref()?;
            Some(match quant {
                Some(quant) => {
                    let ty = TensorType { quant: Some(quant.clone()), ..tensor.ty() };
                    Fact { ty: ty.expressed(), known: None }
                }
                None => Fact { ty: tensor.ty(), known: Some(Known::Constant(tensor.clone())) },
            })
        };
        let facts: Vec<Option<Fact>> = node.operands().zip(&operands).map(fact).collect();
        let types = infer_with(node.op(), &facts)?;
        Ok(Self { node, operands, arithmetic, types })
    }

    /// The results as they are stored.
    pub(crate) fn evaluate(self) -> Result<Results, EvalError> {
        let def = self.node.op().def();
        if !self.node.touches_quantized() {
            return def.eval(&Inputs::new(def.operands(), &self.operands), &self.types);
        }
        if self.arithmetic == Arithmetic::Integer
            && let Some(results) = self.with_integers()?
        {
            return Ok(results);
        }
        self.simulated()
    }

    /// The results by the rule of integer arithmetic, where there is one that applies.
    fn with_integers(&self) -> Result<Option<Results>, EvalError> {
        let Some(rule) = integer::rule_of(self.node.op(), self.operands.len()) else { return Ok(None) };
        let encodings: Vec<Option<Encoded>> =
            self.node.operands().map(|operand| operand.and_then(|value| Encoded::of(value.ty()))).collect();
        rule(&integer::Operation {
            op: self.node.op(),
            operands: &self.operands,
            encodings: &encodings,
            results: &self.node.stated(),
        })
    }

    /// The results by way of real numbers.
    fn simulated(self) -> Result<Results, EvalError> {
        let real = |(value, tensor): (Option<ValueRef<'g>>, Option<Tensor>)| {
            let quant = value.and_then(|value| value.ty().quant.as_deref());
            match (quant, tensor) {
                (Some(quant), Some(tensor)) => dequantize(&tensor, quant).map(Some),
                (_, tensor) => Ok(tensor),
            }
        };
        let operands: Vec<Option<Tensor>> =
            self.node.operands().zip(self.operands).map(real).collect::<Result<_, _>>()?;
        // Sizes may depend on elements that are there only now.
        let types = infer_run_time(self.node.op(), &operands)?;
        let def = self.node.op().def();
        let results = def.eval(&Inputs::new(def.operands(), &operands), &types)?;
        let encoded = |(tensor, value): (Tensor, ValueRef<'_>)| match Encoded::of(value.ty()) {
            Some(encoded) => quantize(&tensor, &encoded),
            None => Ok(tensor),
        };
        results.into_iter().zip(self.node.results()).map(encoded).collect()
    }
}
