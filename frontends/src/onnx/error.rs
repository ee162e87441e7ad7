//! Why a model could not be imported: which file, which node, what was found and what was expected.

use std::fmt;

use quad_ir::attr::AttrError;
use quad_ir::dtype::DType;
use quad_ir::graph::AddError;
use quad_ir::ops::InferError;
use quad_ir::tensor::TensorError;
use quad_ir::weights::WeightError;

use super::external::ExternalError;
use super::file::ModelFileError;

/// A model could not be imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file could not be read or is no ONNX model.
    #[error(transparent)]
    File(#[from] ModelFileError),
    /// The contents of a tensor outside the model file could not be had.
    #[error(transparent)]
    External(#[from] ExternalError),
    /// Operations that are not supported: all of the model's, not the first.
    #[error("{}", UnsupportedList(.0))]
    UnsupportedOps(Vec<UnsupportedOp>),
    /// A node could not be imported.
    #[error("node `{node}` ({op_type}, opset {opset}): {error}")]
    Node {
        /// The node's name, or its place.
        node: String,
        /// What the file calls the operation.
        op_type: String,
        /// The operator set version it is written in.
        opset: i64,
        /// Why.
        error: Box<NodeError>,
    },
    /// An initializer could not be read.
    #[error("initializer `{name}`: {error}")]
    Initializer {
        /// The tensor.
        name: String,
        /// Why.
        error: Box<ContentsError>,
    },
    /// A graph input is not one that can be represented.
    #[error("input `{name}`: {why}")]
    Input {
        /// The input.
        name: String,
        /// What was found and what was expected.
        why: String,
    },
    /// A graph input is of a kind that is not supported.
    #[error("input `{name}` {found}, which is not supported; only tensors of numbers are")]
    UnsupportedInput {
        /// The input.
        name: String,
        /// What it is.
        found: String,
    },
    /// A graph output is no value of the graph.
    #[error("output `{name}` is produced by no node; {hint}")]
    Output {
        /// The output.
        name: String,
        /// What may help.
        hint: String,
    },
    /// A graph output is declared to be of another element type than it is.
    #[error("output `{name}` is declared as {declared}, but {found} is computed; export the model again")]
    OutputType {
        /// The output.
        name: String,
        /// The element type that the file states.
        declared: DType,
        /// The element type of the value.
        found: DType,
    },
    /// The operator set of a domain is not one that can be read.
    #[error("opset of {domain}: {why}")]
    Opset {
        /// The domain.
        domain: String,
        /// What was found and what was expected.
        why: String,
    },
    /// The model as a whole does not hold together.
    #[error("{0}")]
    Model(String),
}

impl ImportError {
    /// Whether the model may be sound and asks for something that is not supported.
    pub fn is_unsupported(&self) -> bool {
        match self {
            Self::UnsupportedOps(_) | Self::UnsupportedInput { .. } => true,
            Self::Node { error, .. } => error.is_unsupported(),
            Self::Initializer { error, .. } => error.is_unsupported(),
            _ => false,
        }
    }
}

/// An operation that is not supported, and where it occurs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsupportedOp {
    /// `OpType`, or `domain::OpType` outside the standard domain.
    pub op: String,
    /// Number of nodes.
    pub count: usize,
    /// Names of the first of them.
    pub nodes: Vec<String>,
}

struct UnsupportedList<'a>(&'a [UnsupportedOp]);

impl fmt::Display for UnsupportedList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.iter().map(|op| op.count).sum::<usize>() {
            1 => f.write_str("1 node uses an operation that is not supported:")?,
            nodes => write!(f, "{nodes} nodes use operations that are not supported:")?,
        }
        for UnsupportedOp { op, count, nodes } in self.0 {
            write!(f, "\n  {op} x{count}: {}", nodes.join(", "))?;
            if nodes.len() < *count {
                f.write_str(", ..")?;
            }
        }
        Ok(())
    }
}

/// A node could not be imported.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// An operand that must be there is left out.
    #[error("input {index} is missing")]
    MissingOperand {
        /// Which, counted from 0.
        index: usize,
    },
    /// The node reads a value that nothing before it produces.
    #[error(
        "reads `{name}`, which no input, initializer or earlier node produces; nodes must be sorted, without a cycle"
    )]
    Undefined {
        /// The value.
        name: String,
    },
    /// Two nodes, or a node and an input, give a value the same name.
    #[error("produces `{name}`, which exists already; every value must have a name of its own")]
    Redefined {
        /// The value.
        name: String,
    },
    /// The node names more or fewer inputs than the operation has.
    #[error("names {found} inputs, the operation has {expected}")]
    Inputs {
        /// How many it names.
        found: usize,
        /// How many there may be.
        expected: String,
    },
    /// The node names more or fewer outputs than the operation has.
    #[error("names {found} outputs, the operation has {expected}")]
    Outputs {
        /// How many it names.
        found: usize,
        /// How many there may be.
        expected: String,
    },
    /// The operator set does not have the operation yet.
    #[error("the operation exists from operator set {first} on; export the model with a newer one")]
    TooOld {
        /// The operator set that brought the operation.
        first: i64,
    },
    /// The operator set does not have the operation any more.
    #[error("the operation was removed in operator set {since}; export the model with an older one")]
    Removed {
        /// The operator set without it.
        since: i64,
    },
    /// The operation, as the operator set has it, does not have these attributes.
    #[error("the operation has no attribute {} since operator set {since}", .names.join(", "))]
    UnknownAttributes {
        /// Their names.
        names: Vec<String>,
        /// The operator set that gave the operation its present form.
        since: i64,
    },
    /// An attribute refers to one of the enclosing function, and there is none.
    #[error(
        "attribute `{name}` is that of an enclosing function, `{referred}`, and there is no function around"
    )]
    LooseReference {
        /// The attribute.
        name: String,
        /// The attribute of a function that it refers to.
        referred: String,
    },
    /// An attribute is not what the operation takes.
    #[error(transparent)]
    Attribute(AttrError),
    /// Attributes whose meaning is not known: the result could be wrong, so this is an error.
    #[error("attributes that are not understood: {}", .0.join(", "))]
    Unread(Vec<String>),
    /// A required attribute is missing.
    #[error("attribute `{0}` is missing")]
    MissingAttribute(&'static str),
    /// The operation does not accept its operands.
    #[error(transparent)]
    Infer(InferError),
    /// The node could not be added.
    #[error(transparent)]
    Add(AddError),
    /// A tensor attribute could not be read.
    #[error(transparent)]
    Contents(ContentsError),
    /// A tensor could not be made.
    #[error(transparent)]
    Tensor(TensorError),
    /// The node asks for something that is not supported.
    #[error("not supported: {0}")]
    Unsupported(String),
    /// The node and its subgraph do not belong together.
    #[error("the body {0}")]
    Body(String),
    /// A node inside a subgraph or function.
    #[error("in {within}: {error}")]
    Inner {
        /// The inner node.
        within: String,
        /// Why.
        error: Box<ImportError>,
    },
}

impl NodeError {
    fn is_unsupported(&self) -> bool {
        match self {
            Self::Unsupported(_) | Self::Unread(_) | Self::Infer(InferError::Unsupported(_)) => true,
            Self::Contents(error) => error.is_unsupported(),
            Self::Inner { error, .. } => error.is_unsupported(),
            _ => false,
        }
    }
}

impl From<AddError> for NodeError {
    fn from(error: AddError) -> Self {
        // The node is named one level up; what the type rule says is enough here.
        match error {
            AddError::Infer { error, .. } => Self::Infer(error),
            other => Self::Add(other),
        }
    }
}

/// The contents of a tensor are not well formed.
#[derive(Debug, thiserror::Error)]
pub enum ContentsError {
    /// The code stands for no element type.
    #[error("element type {0} is not one of ONNX's numeric types")]
    DType(i64),
    /// Elements that are not numbers.
    #[error("elements of type {0} are not supported; only numbers and truth values are")]
    NotNumeric(&'static str),
    /// A size is negative or too large.
    #[error("dims {dims:?}: sizes must not be negative, and their product at most 2^48")]
    Dims {
        /// The sizes.
        dims: Vec<i64>,
    },
    /// The elements are spread over fields that do not hold this type.
    #[error("{dtype} elements are expected in `raw_data` or `{field}`, found {found} bytes of {expected}")]
    Count {
        /// The element type.
        dtype: DType,
        /// The field that may hold them.
        field: &'static str,
        /// How many there are.
        found: usize,
        /// How many the sizes ask for.
        expected: u64,
    },
    /// An entry is larger than an element may be.
    #[error("`{field}` holds {found}, which is no {dtype}")]
    Range {
        /// The element type.
        dtype: DType,
        /// The field.
        field: &'static str,
        /// The entry.
        found: i32,
    },
    /// The elements are in two places, and nothing says which are right.
    #[error("elements are in `raw_data` and in a field for their type; expected one of them")]
    Twice,
    /// The tensor is one part of a larger one.
    #[error("it is one segment of a tensor; export the tensor as a whole")]
    Segment,
    /// The bytes are not as many as the sizes ask for.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// The bytes are not as many as the sizes ask for.
    #[error(transparent)]
    Weight(#[from] WeightError),
    /// The contents are in another file.
    #[error(transparent)]
    External(#[from] ExternalError),
    /// A sparse tensor that is not well formed.
    #[error("sparse tensor: {0}")]
    Sparse(String),
}

impl ContentsError {
    /// Whether the elements are of a type that the format has and this crate does not.
    pub(crate) fn is_unsupported(&self) -> bool {
        matches!(self, Self::NotNumeric(_))
    }
}
