//! `input` and `weight`: where values come from. Both are nodes, so that every value has a producer.

use smallvec::smallvec;

use super::{EvalError, InferError, Inputs, OpDef, Operand, Operands, Results, Types};
use crate::attr::attr_enum;
use crate::dtype::DType;
use crate::entity::Entity;
use crate::types::{Shape, TensorType};
use crate::weights::WeightId;

attr_enum! {
    /// When the elements of a graph input become known.
    pub enum Binding {
        /// At each run: image, latent, timestep.
        #[default]
        Run = "run",
        /// When an adapter is chosen: its factors, or what is packed from them.
        Adapter = "adapter",
    }
}

/// A graph input. It has no operands; the graph lists its inputs in order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Input {
    /// What the caller must pass.
    pub ty: TensorType,
    /// When the caller passes it.
    pub binding: Binding,
}

impl Default for Input {
    fn default() -> Self {
        Self { ty: TensorType::new(DType::F32, Shape::default()), binding: Binding::Run }
    }
}

impl OpDef for Input {
    const NAME: &'static str = "input";
    const OPERANDS: &'static [Operand] = &[];

    fn infer(&self, _operands: &Operands<'_>) -> Result<Types, InferError> {
        Ok(smallvec![self.ty.clone()])
    }

    fn eval(&self, _operands: &Inputs<'_>, _types: &[TensorType]) -> Result<Results, EvalError> {
        Err(EvalError::Unsupported("an input has no elements of its own".to_owned()))
    }
}

/// A constant whose elements the graph's [`Weights`](crate::weights::Weights) hold.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Weight {
    /// Which entry.
    pub id: WeightId,
    /// Its type.
    pub ty: TensorType,
}

impl Default for Weight {
    fn default() -> Self {
        Self { id: WeightId::from_index(0), ty: TensorType::new(DType::F32, Shape::default()) }
    }
}

impl OpDef for Weight {
    const NAME: &'static str = "weight";
    const OPERANDS: &'static [Operand] = &[];

    fn infer(&self, _operands: &Operands<'_>) -> Result<Types, InferError> {
        Ok(smallvec![self.ty.clone()])
    }

    fn eval(&self, _operands: &Inputs<'_>, _types: &[TensorType]) -> Result<Results, EvalError> {
        Err(EvalError::Unsupported("the elements of a weight are in the graph".to_owned()))
    }
}
