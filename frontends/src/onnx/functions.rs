//! The functions that a model defines, found by the nodes that call them.

use rustc_hash::FxHashMap;

use super::proto::{FunctionProto, NodeProto};

/// The functions of a model by domain, name and overload.
pub(super) struct Functions<'p> {
    by_name: FxHashMap<(&'p str, &'p str, &'p str), &'p FunctionProto>,
}

impl<'p> Functions<'p> {
    /// An index of `functions`. Of two with the same name the first counts.
    pub(super) fn new(functions: &'p [FunctionProto]) -> Self {
        let mut by_name = FxHashMap::default();
        for function in functions {
            let key = (standard(&function.domain), function.name.as_str(), function.overload.as_str());
            by_name.entry(key).or_insert(function);
        }
        Self { by_name }
    }

    /// The function that `node` calls.
    pub(super) fn called_by(&self, node: &NodeProto) -> Option<&'p FunctionProto> {
        self.by_name.get(&(standard(&node.domain), node.op_type.as_str(), node.overload.as_str())).copied()
    }
}

/// The standard domain has two spellings.
fn standard(domain: &str) -> &str {
    if domain == "ai.onnx" { "" } else { domain }
}
