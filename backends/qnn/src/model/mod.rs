//! A QNN graph as plain data: tensors, and operations on them in the order in which they run.
//!
//! Everything is as QNN has it: features have their channels last, every tensor of integers that stand for real numbers
//! has an [`Encoding`], and an encoding has an *offset*, `real = scale * (stored + offset)`, which is the zero point of
//! the IR negated. Names of operations, parameters and types are those of the public operation definitions (AI Engine
//! Direct SDK, "Operation definitions", package `qti.aisw`).

mod data_type;
mod display;

use serde::{Deserialize, Serialize};

pub use data_type::DataType;

/// The package of operations that the tensor processor has itself.
pub const PACKAGE: &str = "qti.aisw";

/// A graph: tensors, and nodes in an order in which they can run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct QnnGraph {
    /// The name under which a context binary has it.
    pub name: String,
    /// All tensors; inputs and outputs of the graph are among them, in order.
    pub tensors: Vec<Tensor>,
    /// All operations, producers before readers.
    pub nodes: Vec<Node>,
}

/// A tensor of a [`QnnGraph`], by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TensorId(pub u32);

/// A tensor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tensor {
    /// Its name, unique in the graph.
    pub name: String,
    /// Where its elements come from.
    pub role: Role,
    /// The type of stored elements.
    pub data_type: DataType,
    /// Sizes along each axis.
    pub dims: Vec<u32>,
    /// What stored integers stand for; none for floats and for plain integers.
    pub encoding: Option<Encoding>,
}

/// Where a tensor's elements come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Role {
    /// The application writes it before each run (`APP_WRITE`).
    Input,
    /// The application reads it after each run (`APP_READ`).
    Output,
    /// Between two operations (`NATIVE`).
    Native,
    /// A constant (`STATIC`): packed little-endian elements.
    Static(#[serde(with = "serde_bytes")] Vec<u8>),
}

/// One scale and offset: `real = scale * (stored + offset)`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScaleOffset {
    /// A positive number.
    pub scale: f32,
    /// The zero point, negated.
    pub offset: i32,
}

/// How stored integers stand for real numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Encoding {
    /// One scale and offset.
    Tensor(ScaleOffset),
    /// One for each index along an axis.
    Axis {
        /// The axis.
        axis: u32,
        /// As many as the axis has indices.
        each: Vec<ScaleOffset>,
    },
    /// One scale and offset for integers of fewer bits than the stored type, one to a byte.
    Narrow {
        /// The bits that are used, such as 4.
        bits: u32,
        /// The scale and the offset.
        all: ScaleOffset,
    },
    /// As [`Encoding::Narrow`], for each index along an axis.
    NarrowAxis {
        /// The bits that are used.
        bits: u32,
        /// The axis.
        axis: u32,
        /// As many as the axis has indices.
        each: Vec<ScaleOffset>,
    },
}

/// An operation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Its name, unique in the graph.
    pub name: String,
    /// Which operations these are: [`PACKAGE`].
    pub package: String,
    /// The operation, such as `Conv2d`.
    pub kind: String,
    /// Its parameters by name.
    pub params: Vec<(String, Param)>,
    /// What it reads.
    pub inputs: Vec<TensorId>,
    /// What it makes.
    pub outputs: Vec<TensorId>,
}

/// A parameter of an operation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Param {
    /// A truth value.
    Bool(bool),
    /// An unsigned number.
    U32(u32),
    /// A signed number.
    I32(i32),
    /// A real number.
    F32(f32),
    /// A tensor of unsigned numbers: its sizes and its elements.
    U32s(Vec<u32>, Vec<u32>),
    /// A tensor of signed numbers: its sizes and its elements.
    I32s(Vec<u32>, Vec<i32>),
}

impl QnnGraph {
    /// An empty graph.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// Adds a tensor.
    pub fn add_tensor(&mut self, tensor: Tensor) -> TensorId {
        self.tensors.push(tensor);
        TensorId(u32::try_from(self.tensors.len() - 1).unwrap_or(u32::MAX))
    }

    /// Adds an operation of [`PACKAGE`].
    pub fn add_node(
        &mut self,
        name: impl Into<String>,
        kind: &str,
        inputs: &[TensorId],
        outputs: &[TensorId],
        params: impl IntoIterator<Item = (&'static str, Param)>,
    ) {
        self.nodes.push(Node {
            name: name.into(),
            package: PACKAGE.to_owned(),
            kind: kind.to_owned(),
            params: params.into_iter().map(|(name, param)| (name.to_owned(), param)).collect(),
            inputs: inputs.to_vec(),
            outputs: outputs.to_vec(),
        });
    }

    /// The tensor `id`.
    ///
    /// # Panics
    /// When it is of another graph.
    pub fn tensor(&self, id: TensorId) -> &Tensor {
        &self.tensors[id.0 as usize]
    }

    /// The tensors that the application writes, in order.
    pub fn inputs(&self) -> impl Iterator<Item = &Tensor> {
        self.tensors.iter().filter(|tensor| tensor.role == Role::Input)
    }

    /// The tensors that the application reads, in order.
    pub fn outputs(&self) -> impl Iterator<Item = &Tensor> {
        self.tensors.iter().filter(|tensor| tensor.role == Role::Output)
    }
}

impl Node {
    /// The parameter called `name`.
    pub fn param(&self, name: &str) -> Option<&Param> {
        self.params.iter().find(|(other, _)| other == name).map(|(_, param)| param)
    }

    /// The unsigned number called `name`.
    pub fn number(&self, name: &str) -> Option<u32> {
        match self.param(name) {
            Some(Param::U32(number)) => Some(*number),
            _ => None,
        }
    }

    /// The list of unsigned numbers called `name`; an empty one where there is none.
    pub fn list(&self, name: &str) -> &[u32] {
        match self.param(name) {
            Some(Param::U32s(_, list)) => list,
            _ => &[],
        }
    }

    /// Whether the truth value called `name` is there and true.
    pub fn flag(&self, name: &str) -> bool {
        matches!(self.param(name), Some(Param::Bool(true)))
    }

    /// The real number called `name`, or 0.
    pub fn real(&self, name: &str) -> f32 {
        match self.param(name) {
            Some(Param::F32(number)) => *number,
            _ => 0.0,
        }
    }
}

impl Tensor {
    /// How many elements there are.
    pub fn len(&self) -> usize {
        self.dims.iter().map(|size| *size as usize).product()
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of the elements.
    pub fn byte_len(&self) -> usize {
        self.len() * self.data_type.bytes()
    }
}

impl ScaleOffset {
    /// The encoding with this scale and the zero point of the IR.
    pub fn new(scale: f32, zero_point: i32) -> Self {
        Self { scale, offset: zero_point.saturating_neg() }
    }

    /// The stored number that stands for zero.
    pub fn zero_point(self) -> i32 {
        self.offset.saturating_neg()
    }
}

impl Encoding {
    /// The scales and offsets, in order.
    pub fn parts(&self) -> &[ScaleOffset] {
        match self {
            Self::Tensor(all) | Self::Narrow { all, .. } => std::slice::from_ref(all),
            Self::Axis { each, .. } | Self::NarrowAxis { each, .. } => each,
        }
    }

    /// The axis along which they differ.
    pub fn axis(&self) -> Option<u32> {
        match self {
            Self::Axis { axis, .. } | Self::NarrowAxis { axis, .. } => Some(*axis),
            Self::Tensor(_) | Self::Narrow { .. } => None,
        }
    }

    /// That of the tensor with its axes in another order: axis `i` of it is axis `order[i]` of this one.
    #[must_use]
    pub fn reordered(self, order: &[usize]) -> Self {
        let moved = |axis: u32| order.iter().position(|from| *from == axis as usize).unwrap_or(0) as u32;
        match self {
            Self::Axis { axis, each } => Self::Axis { axis: moved(axis), each },
            Self::NarrowAxis { bits, axis, each } => Self::NarrowAxis { bits, axis: moved(axis), each },
            other => other,
        }
    }
}
