//! What is written to a file, as plain data. Its `Display` is what snapshots look at.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use quad_ir::dtype::DType;
use quad_ir::graph::NodeId;
use quad_ir::types::Quant;
use quad_ir::weights::{WeightId, Weights};
use smallvec::SmallVec;

use crate::schema::{Builtin, Value};

/// A model for the LiteRT runtime.
#[derive(Clone, Debug)]
pub struct LiteRtModel {
    /// Who made it.
    pub description: String,
    /// The subgraphs; the first is what runs where nothing else is asked for.
    pub subgraphs: Vec<Subgraph>,
    /// What can be called, by name.
    pub signatures: Vec<Signature>,
    /// Names and texts that travel with the model.
    pub metadata: BTreeMap<String, String>,
    /// What constants are views of. Cloning it copies no bytes.
    pub weights: Weights,
}

/// A graph of operators in the order in which they run.
#[derive(Clone, Debug)]
pub struct Subgraph {
    /// Its name.
    pub name: String,
    /// The tensors, which operators know by their number.
    pub tensors: Vec<Tensor>,
    /// The inputs in order.
    pub inputs: Vec<TensorId>,
    /// The outputs in order.
    pub outputs: Vec<TensorId>,
    /// The operators.
    pub operators: Vec<Operator>,
}

/// The number of a tensor of a subgraph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TensorId(pub u32);

/// A tensor.
#[derive(Clone, Debug)]
pub struct Tensor {
    /// Its name.
    pub name: String,
    /// Sizes along each axis.
    pub sizes: SmallVec<[u64; 6]>,
    /// Type of the stored elements.
    pub dtype: DType,
    /// What stored integers stand for.
    pub quant: Option<std::sync::Arc<Quant>>,
    /// Its elements, where they are constant.
    pub content: Content,
}

/// Where the elements of a tensor come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// They are computed, or passed in.
    Computed,
    /// These bytes: little-endian, packed.
    Bytes(Bytes),
    /// A weight of the model, read when the model is written.
    Weight(WeightId),
}

/// An operator.
#[derive(Clone, Debug)]
pub struct Operator {
    /// What it computes.
    pub op: Builtin,
    /// Which of the runtime's kernels it asks for.
    pub version: i32,
    /// Its operands; `None` where an optional one is left out.
    pub inputs: SmallVec<[Option<TensorId>; 4]>,
    /// Its results.
    pub outputs: SmallVec<[TensorId; 1]>,
    /// Its options by name; those left out have the value that the schema gives them.
    pub options: Vec<(&'static str, Value)>,
    /// The node of the graph for whose sake it is there.
    pub node: Option<NodeId>,
}

/// A subgraph with the names by which callers know its inputs and outputs.
#[derive(Clone, Debug)]
pub struct Signature {
    /// The name of the call.
    pub key: String,
    /// The subgraph.
    pub subgraph: u32,
    /// Names of the inputs, in order.
    pub inputs: Vec<(String, TensorId)>,
    /// Names of the outputs, in order.
    pub outputs: Vec<(String, TensorId)>,
}

impl Subgraph {
    /// The tensor `id`.
    ///
    /// # Panics
    /// When it is of another subgraph.
    pub fn tensor(&self, id: TensorId) -> &Tensor {
        &self.tensors[id.0 as usize]
    }
}

impl Operator {
    /// The option `name`, or what the schema gives it.
    ///
    /// # Panics
    /// When the operation has no such option: a fault of the caller.
    pub fn option(&self, name: &str) -> Value {
        let given = self.options.iter().find(|(given, _)| *given == name).map(|(_, value)| *value);
        let fields = self.op.options().map_or(&[][..], |table| table.fields);
        let default = || fields.iter().find(|(field, ..)| *field == name).map(|(_, _, value)| *value);
        given.or_else(default).unwrap_or_else(|| panic!("{} has no option `{name}`", self.op.name()))
    }

    /// The tensors that it reads, left out ones excepted.
    pub fn operands(&self) -> impl Iterator<Item = TensorId> {
        self.inputs.iter().flatten().copied()
    }
}

impl fmt::Display for LiteRtModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (key, value) in &self.metadata {
            writeln!(f, "metadata {key} = {value:?}")?;
        }
        for signature in &self.signatures {
            write!(f, "signature {} of subgraph {}(", signature.key, signature.subgraph)?;
            write_list(f, signature.inputs.iter().map(|(name, tensor)| format!("{name} = {tensor}")))?;
            f.write_str(") -> ")?;
            write_list(f, signature.outputs.iter().map(|(name, tensor)| format!("{name} = {tensor}")))?;
            writeln!(f)?;
        }
        self.subgraphs.iter().try_for_each(|subgraph| write!(f, "{subgraph}"))
    }
}

impl fmt::Display for Subgraph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let typed = |id: &TensorId| format!("{id}: {}", self.tensor(*id));
        write!(f, "subgraph {}(", self.name)?;
        write_list(f, self.inputs.iter().map(typed))?;
        writeln!(f, ") {{")?;
        for operator in &self.operators {
            f.write_str("  ")?;
            write_list(f, operator.outputs.iter().map(ToString::to_string))?;
            write!(f, " = {}.{}(", operator.op.name(), operator.version)?;
            let shown =
                |operand: &Option<TensorId>| operand.map_or_else(|| "-".to_owned(), |id| self.shown(id));
            write_list(f, operator.inputs.iter().map(shown))?;
            f.write_str(")")?;
            if !operator.options.is_empty() {
                f.write_str(" {")?;
                write_list(f, operator.options.iter().map(|(name, value)| format!("{name} = {value}")))?;
                f.write_str("}")?;
            }
            f.write_str(" : ")?;
            write_list(f, operator.outputs.iter().map(|id| self.tensor(*id).to_string()))?;
            writeln!(f)?;
        }
        f.write_str("  return ")?;
        write_list(f, self.outputs.iter().map(ToString::to_string))?;
        writeln!(f, "\n}}")
    }
}

impl Subgraph {
    /// The tensor `id` as an operand: its number, and its elements where it is a short constant of integers.
    fn shown(&self, id: TensorId) -> String {
        let tensor = self.tensor(id);
        match &tensor.content {
            Content::Computed => id.to_string(),
            Content::Bytes(bytes) if tensor.dtype == DType::I32 && bytes.len() <= 64 => {
                let words = bytes
                    .chunks_exact(4)
                    .map(|word| word.iter().rev().fold(0u32, |n, b| n << 8 | u32::from(*b)));
                let words: Vec<String> = words.map(|word| (word as i32).to_string()).collect();
                format!("[{}]", words.join(", "))
            }
            Content::Bytes(_) | Content::Weight(_) => format!("{tensor}"),
        }
    }
}

impl fmt::Display for TensorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "%{}", self.0)
    }
}

impl fmt::Display for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.content == Content::Computed { "" } else { "const " };
        write!(f, "{kind}{}[", self.dtype)?;
        write_list(f, self.sizes.iter().map(ToString::to_string))?;
        f.write_str("]")?;
        self.quant.as_ref().map_or(Ok(()), |quant| write!(f, " {quant}"))
    }
}

fn write_list(f: &mut fmt::Formatter<'_>, items: impl Iterator<Item = String>) -> fmt::Result {
    let items: Vec<String> = items.collect();
    f.write_str(&items.join(", "))
}
