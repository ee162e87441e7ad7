//! The functions that a model defines, found by the nodes that call them.

use rustc_hash::{FxHashMap, FxHashSet};

use super::proto::{FunctionProto, NodeProto};

/// The functions of a model by domain, name and overload.
pub(super) struct Functions<'p> {
    by_name: FxHashMap<(&'p str, &'p str, &'p str), &'p FunctionProto>,
}

impl<'p> Functions<'p> {
    /// An index of `functions`, whose names must differ.
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

/// The name of a function that `functions` holds twice: nothing says which one a call means.
pub(super) fn defined_twice(functions: &[FunctionProto]) -> Option<&str> {
    let mut seen = FxHashSet::default();
    let key = |function: &'_ FunctionProto| {
        (standard(&function.domain).to_owned(), function.name.clone(), function.overload.clone())
    };
    functions.iter().find(|function| !seen.insert(key(function))).map(|function| function.name.as_str())
}

/// The standard domain has two spellings.
fn standard(domain: &str) -> &str {
    if domain == "ai.onnx" { "" } else { domain }
}
