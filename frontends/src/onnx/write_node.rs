//! One node, from the graph to the form that ONNX has of it.

use bytes::Bytes;
use quad_ir::attr::{Attr, AttrError, AttrValue, AttrVisitor, F32Bits};
use quad_ir::graph::{NodeRef, ValueId, ValueRef};
use quad_ir::loc::Loc;
use rustc_hash::FxHashMap;

use super::context::is_ours;
use super::export::WriteError;
use super::origin;
use super::proto::{AttributeProto, AttributeType, NodeProto};
use super::tensor::code_of_dtype;

/// A node on its way into the file.
pub(crate) struct WriteNode<'w> {
    pub(crate) node: NodeRef<'w>,
    pub(super) op_type: &'static str,
    pub(super) domain: &'static str,
    pub(super) names: &'w FxHashMap<ValueId, String>,
    pub(super) out: &'w mut Vec<NodeProto>,
}

impl WriteNode<'_> {
    /// Writes one node that computes all results, with `attributes` given.
    pub(crate) fn emit(&mut self, attributes: Vec<AttributeProto>) {
        let name = |value: ValueRef<'_>| self.names.get(&value.id()).cloned().unwrap_or_default();
        let input = self.node.operands().map(|operand| operand.map(name).unwrap_or_default()).collect();
        let mut output: Vec<String> = self.node.results().map(name).collect();
        // Results that nobody reads are optional outputs left out. Results beyond the declared ones are parts of a
        // list, which must be whole.
        let declared = self.node.op().def().results().len();
        let read = |value: ValueRef<'_>| value.readers().len() > 0 || value.is_output();
        for (slot, value) in output.iter_mut().zip(self.node.results()).take(declared).skip(1) {
            if !read(value) {
                slot.clear();
            }
        }
        while output.len() > 1 && output.last().is_some_and(String::is_empty) {
            output.pop();
        }
        let name = match self.node.loc() {
            Loc::Source { node, .. } => node.to_string(),
            _ => String::new(),
        };
        let metadata_props = origin::note(self.node.loc().path().map(|path| &**path), &name);
        self.out.push(NodeProto {
            input,
            output,
            name,
            metadata_props,
            op_type: self.op_type.to_owned(),
            domain: self.domain.to_owned(),
            attribute: attributes,
            ..NodeProto::default()
        });
    }

    /// All attributes of the operation, each under the name that `renames`, pairs of `(ours, theirs)`, gives it.
    pub(crate) fn attributes(&self, renames: &[(&str, &str)]) -> Result<Vec<AttributeProto>, WriteError> {
        let mut collector = Collector { renames, attributes: Vec::new() };
        self.node.op().clone().def_mut().attrs(&mut collector)?;
        Ok(collector.attributes)
    }
}

/// Writes a node with its operands and attributes as they are.
pub(crate) fn write_regular(node: &mut WriteNode<'_>) -> Result<(), WriteError> {
    let attributes = node.attributes(&[])?;
    node.emit(attributes);
    Ok(())
}

/// Reads an operation's fields into ONNX attributes.
struct Collector<'r> {
    renames: &'r [(&'r str, &'r str)],
    attributes: Vec<AttributeProto>,
}

impl AttrVisitor for Collector<'_> {
    fn visit(&mut self, name: &'static str, value: &mut dyn AttrValue) -> Result<(), AttrError> {
        if !value.is_absent() && !is_ours(name) {
            let theirs =
                self.renames.iter().find(|(ours, _)| *ours == name).map_or(name, |(_, theirs)| theirs);
            self.attributes.extend(attribute(theirs, value.to_attr()));
        }
        Ok(())
    }
}

/// The ONNX form of an attribute; `None` for an empty list, which stands for the default.
pub(crate) fn attribute(name: &str, value: Attr) -> Option<AttributeProto> {
    let mut proto = AttributeProto { name: name.to_owned(), ..AttributeProto::default() };
    let kind = match value {
        Attr::Bool(value) => {
            proto.i = Some(i64::from(value));
            AttributeType::Int
        }
        Attr::Int(value) => {
            proto.i = Some(value);
            AttributeType::Int
        }
        Attr::DType(value) => {
            proto.i = Some(i64::from(code_of_dtype(value)));
            AttributeType::Int
        }
        Attr::Float(value) => {
            proto.f = Some(value.get());
            AttributeType::Float
        }
        Attr::Str(value) => {
            proto.s = Some(Bytes::from(value));
            AttributeType::String
        }
        Attr::Ints(values) if values.is_empty() => return None,
        Attr::Floats(values) if values.is_empty() => return None,
        Attr::Ints(values) => {
            proto.ints = values;
            AttributeType::Ints
        }
        Attr::Floats(values) => {
            proto.floats = values.into_iter().map(F32Bits::get).collect();
            AttributeType::Floats
        }
    };
    proto.r#type = kind as i32;
    Some(proto)
}
