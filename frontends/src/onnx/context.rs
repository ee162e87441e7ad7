//! What the import of one node sees: its attributes, its operands, and the graph it adds to.

use std::cell::RefCell;

use quad_ir::attr::{Attr, AttrError, AttrValue, AttrVisitor, F32Bits};
use quad_ir::dtype::DType;
use quad_ir::graph::{Graph, NodeId, ValueId};
use quad_ir::loc::Loc;
use quad_ir::ops::{Op, OpDef};
use quad_ir::tensor::{Element, Tensor};
use quad_ir::types::TensorType;
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use super::error::NodeError;
use super::import::Importer;
use super::proto::{AttributeProto, AttributeType, GraphProto};
use super::tensor::{dtype_of_code, tensor_from_proto};

/// The values that a node's outputs name, in order.
pub(crate) type Values = SmallVec<[ValueId; 2]>;

/// Attributes by name, with references to a function's attributes already replaced by what the caller passed.
pub(crate) type Attributes<'p> = FxHashMap<&'p str, &'p AttributeProto>;

/// One node on its way into the graph.
pub(crate) struct NodeContext<'a, 'p> {
    pub(crate) importer: &'a mut Importer<'p>,
    pub(super) opset: i64,
    pub(super) operands: SmallVec<[Option<ValueId>; 4]>,
    pub(super) output_count: usize,
    pub(super) attributes: Attributes<'p>,
    pub(super) read: RefCell<Vec<&'static str>>,
    pub(super) loc: Loc,
}

impl<'p> NodeContext<'_, 'p> {
    /// The version of the operator set that the node is written in.
    pub(crate) fn opset(&self) -> i64 {
        self.opset
    }

    /// The operands in order; `None` where one is left out. Trailing absent ones are dropped.
    pub(crate) fn operands(&self) -> &[Option<ValueId>] {
        &self.operands
    }

    /// The operand at `index`, which must be there.
    pub(crate) fn operand(&self, index: usize) -> Result<ValueId, NodeError> {
        self.optional(index).ok_or(NodeError::MissingOperand { index })
    }

    /// The operand at `index`, or `None` when it is left out.
    pub(crate) fn optional(&self, index: usize) -> Option<ValueId> {
        self.operands.get(index).copied().flatten()
    }

    /// Number of outputs that the node names, left-out ones in between included.
    pub(crate) fn output_count(&self) -> usize {
        self.output_count
    }

    /// The graph being built.
    pub(crate) fn graph(&self) -> &Graph {
        &self.importer.graph
    }

    /// The graph being built, to add to it what the helpers here do not cover.
    pub(crate) fn graph_mut(&mut self) -> &mut Graph {
        &mut self.importer.graph
    }

    /// The node's origin, for nodes added on its behalf.
    pub(crate) fn loc(&self) -> Loc {
        self.loc.clone()
    }

    /// The type of `value`.
    pub(crate) fn ty(&self, value: ValueId) -> &TensorType {
        self.graph().value(value).ty()
    }

    /// The elements of `value`: of any weight, or of a value that is known.
    pub(crate) fn constant(&self, value: ValueId) -> Option<Tensor> {
        let value = self.graph().value(value);
        let weight = || value.weight().and_then(|weight| self.graph().weights().tensor(weight).ok());
        value.constant().cloned().or_else(weight)
    }

    /// Adds a node and returns its id.
    pub(crate) fn add(
        &mut self,
        op: impl Into<Op>,
        operands: &[Option<ValueId>],
    ) -> Result<NodeId, NodeError> {
        let loc = self.loc();
        Ok(self.importer.graph.add(op, operands, loc)?)
    }

    /// Adds a node without absent operands and returns its first result.
    pub(crate) fn value(&mut self, op: impl Into<Op>, operands: &[ValueId]) -> Result<ValueId, NodeError> {
        let loc = self.loc();
        Ok(self.importer.graph.add_value(op, operands, loc)?)
    }

    /// Adds a constant.
    pub(crate) fn add_constant(&mut self, tensor: &Tensor) -> Result<ValueId, NodeError> {
        let loc = self.loc();
        Ok(self.importer.graph.add_constant(tensor, loc)?)
    }

    /// Adds a vector of 64-bit integers.
    pub(crate) fn integers(&mut self, values: &[i64]) -> Result<ValueId, NodeError> {
        let tensor = Tensor::from_vec(&[values.len()], values.to_vec());
        self.add_constant(&tensor.map_err(NodeError::Tensor)?)
    }

    /// Adds a constant without axes.
    pub(crate) fn scalar<T: Element>(&mut self, value: T) -> Result<ValueId, NodeError> {
        self.add_constant(&Tensor::scalar(value))
    }

    /// Adds a constant without axes, `value` rounded to the floating-point or integer type `dtype`.
    pub(crate) fn scalar_of(&mut self, dtype: DType, value: f64) -> Result<ValueId, NodeError> {
        let tensor = match dtype {
            DType::F64 => Tensor::from_vec(&[], vec![value]),
            _ if dtype.is_float() => Tensor::from_f32(dtype, &[], &[value as f32]),
            _ => Tensor::from_i64(dtype, &[], vec![value as i64]),
        };
        self.add_constant(&tensor.map_err(NodeError::Tensor)?)
    }

    /// All results of `node`.
    pub(crate) fn results(&self, node: NodeId) -> Values {
        self.graph().node(node).results().map(quad_ir::graph::ValueRef::id).collect()
    }

    /// Whether the node has the attribute `name`.
    pub(crate) fn has(&self, name: &'static str) -> bool {
        self.attributes.contains_key(name)
    }

    /// The integer attribute `name`.
    pub(crate) fn int(&self, name: &'static str) -> Result<Option<i64>, NodeError> {
        self.read_as(name, AttributeType::Int, "an integer", |attribute| attribute.i)
    }

    /// The truth value that the integer attribute `name` stands for; absent means false.
    pub(crate) fn flag(&self, name: &'static str) -> Result<bool, NodeError> {
        Ok(self.int(name)?.unwrap_or(0) != 0)
    }

    /// The number attribute `name`.
    pub(crate) fn float(&self, name: &'static str) -> Result<Option<f32>, NodeError> {
        self.read_as(name, AttributeType::Float, "a number", |attribute| attribute.f)
    }

    /// The list attribute `name`.
    pub(crate) fn ints(&self, name: &'static str) -> Result<Option<Vec<i64>>, NodeError> {
        self.read_as(name, AttributeType::Ints, "a list of integers", |attribute| {
            Some(attribute.ints.clone())
        })
    }

    /// The list attribute `name`.
    pub(crate) fn floats(&self, name: &'static str) -> Result<Option<Vec<f32>>, NodeError> {
        self.read_as(name, AttributeType::Floats, "a list of numbers", |attribute| {
            Some(attribute.floats.clone())
        })
    }

    /// The word attribute `name`.
    pub(crate) fn word(&self, name: &'static str) -> Result<Option<String>, NodeError> {
        self.read_as(name, AttributeType::String, "a word", |attribute| {
            attribute.s.as_ref().map(|word| String::from_utf8_lossy(word).into_owned())
        })
    }

    /// The tensor attribute `name`.
    pub(crate) fn tensor(&self, name: &'static str) -> Result<Option<Tensor>, NodeError> {
        let proto =
            self.read_as(name, AttributeType::Tensor, "a tensor", |attribute| attribute.t.as_deref())?;
        proto.map(|proto| tensor_from_proto(proto).map_err(NodeError::Contents)).transpose()
    }

    /// The subgraph attribute `name`.
    pub(crate) fn subgraph(&self, name: &'static str) -> Result<Option<&'p GraphProto>, NodeError> {
        self.read_as(name, AttributeType::Graph, "a graph", |attribute| attribute.g.as_deref())
    }

    /// The element type that the integer attribute `name` is the code of.
    pub(crate) fn dtype(&self, name: &'static str) -> Result<Option<DType>, NodeError> {
        self.int(name)?.map(|code| dtype_of_code(code).map_err(NodeError::Contents)).transpose()
    }

    /// Takes note that attribute `name` has no meaning here, so that its presence is no error.
    pub(crate) fn ignore(&self, name: &'static str) {
        self.read.borrow_mut().push(name);
    }

    /// The operation `O` with its attributes read from the node under the same names.
    pub(crate) fn op<O: OpDef>(&self) -> Result<O, NodeError> {
        self.op_renamed::<O>(&[])
    }

    /// As [`op`](Self::op), where pairs of `renames` say what the file calls an attribute: `(ours, theirs)`.
    pub(crate) fn op_renamed<O: OpDef>(
        &self,
        renames: &[(&'static str, &'static str)],
    ) -> Result<O, NodeError> {
        let mut op = O::default();
        op.attrs(&mut Reader { context: self, renames }).map_err(NodeError::Attribute)?;
        Ok(op)
    }

    /// The error that the node asks for something that is not supported.
    #[expect(clippy::unused_self, reason = "reads as a statement about the node at hand")]
    pub(crate) fn unsupported(&self, what: impl Into<String>) -> NodeError {
        NodeError::Unsupported(what.into())
    }

    /// The names of attributes that nobody read.
    pub(super) fn unread(&self) -> Vec<String> {
        let read = self.read.borrow();
        let mut unread: Vec<String> = self
            .attributes
            .keys()
            .filter(|name| !read.iter().any(|known| known == *name))
            .map(|name| (*name).to_owned())
            .collect();
        unread.sort();
        unread
    }

    /// Reads attribute `name`, which must be of `kind`. Files before IR version 3 do not state the kind.
    fn read_as<T>(
        &self,
        name: &'static str,
        kind: AttributeType,
        expected: &str,
        get: impl Fn(&'p AttributeProto) -> Option<T>,
    ) -> Result<Option<T>, NodeError> {
        self.ignore(name);
        let Some(attribute) = self.attributes.get(name).copied() else { return Ok(None) };
        let wrong = || AttrError::Kind {
            name: name.to_owned(),
            found: AttributeType::try_from(attribute.r#type).map_or_else(
                |_| format!("of unknown kind {}", attribute.r#type),
                |kind| format!("{kind:?}").to_lowercase(),
            ),
            expected: expected.to_owned(),
        };
        let stated = attribute.r#type;
        if stated != kind as i32 && stated != AttributeType::Undefined as i32 {
            return Err(NodeError::Attribute(wrong()));
        }
        get(attribute).map(Some).ok_or_else(|| NodeError::Attribute(wrong()))
    }
}

/// Whether an attribute is ours alone: what a file calls by its name means something else.
pub(super) fn is_ours(name: &str) -> bool {
    // ONNX has channels first, always.
    name == "layout"
}

/// Fills an operation's fields from a node.
struct Reader<'c, 'a, 'p> {
    context: &'c NodeContext<'a, 'p>,
    renames: &'c [(&'static str, &'static str)],
}

impl AttrVisitor for Reader<'_, '_, '_> {
    fn visit(&mut self, name: &'static str, value: &mut dyn AttrValue) -> Result<(), AttrError> {
        if is_ours(name) {
            return Ok(());
        }
        let theirs = self.renames.iter().find(|(ours, _)| *ours == name).map_or(name, |(_, theirs)| theirs);
        self.context.ignore(theirs);
        let Some(attribute) = self.context.attributes.get(theirs) else { return Ok(()) };
        let mut found = border_form(attribute)?;
        // Files write element types as their codes; 0 stands for one that is not stated.
        if value.is_dtype() && value.is_absent() && found == Attr::Int(0) {
            return Ok(());
        }
        if let (true, Attr::Int(code)) = (value.is_dtype(), &found) {
            let dtype = dtype_of_code(*code).map_err(|error| AttrError::Other(error.to_string()))?;
            found = Attr::DType(dtype);
        }
        value.set_attr(&found).map_err(|expected| AttrError::Kind {
            name: theirs.to_owned(),
            found: format!("{} ({})", found.kind(), shown(&found)),
            expected,
        })
    }
}

/// The attribute as one of the kinds that operations have.
fn border_form(attribute: &AttributeProto) -> Result<Attr, AttrError> {
    let missing = || AttrError::Other(format!("attribute `{}` has no value of its kind", attribute.name));
    let word = |word: &bytes::Bytes| Attr::Str(String::from_utf8_lossy(word).into_owned());
    Ok(match AttributeType::try_from(attribute.r#type) {
        Ok(AttributeType::Int) => Attr::Int(attribute.i.ok_or_else(missing)?),
        Ok(AttributeType::Ints) => Attr::Ints(attribute.ints.clone()),
        Ok(AttributeType::Float) => Attr::Float(F32Bits::from(attribute.f.ok_or_else(missing)?)),
        Ok(AttributeType::Floats) => {
            Attr::Floats(attribute.floats.iter().map(|value| F32Bits::from(*value)).collect())
        }
        Ok(AttributeType::String) => attribute.s.as_ref().map(word).ok_or_else(missing)?,
        _ => {
            return Err(AttrError::Other(format!(
                "attribute `{}` is neither number, word nor list",
                attribute.name
            )));
        }
    })
}

fn shown(attr: &Attr) -> String {
    match attr {
        Attr::Bool(value) => value.to_string(),
        Attr::Int(value) => value.to_string(),
        Attr::Ints(values) => format!("{values:?}"),
        Attr::Float(value) => value.to_string(),
        Attr::Floats(values) => values.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        Attr::Str(value) => format!("`{value}`"),
        Attr::DType(value) => value.to_string(),
    }
}
