//! Gives every value a name.
//!
//! Statistics, profiles and the files of other tools know values by their names, so each needs one, and the same one
//! whenever the same model goes through the same passes. A name that is there stays. Another value is called after the
//! module that its node is from, or else after the nearest operand that has a name, with the operation behind a slash:
//! `conv_in/transpose`. A constant is called after its first reader, with what it is to that: `conv_in/transpose.w`. The
//! second of the same name has `_2` at its end.
//!
//! Before:
//! ```quad
//! graph @main(%x: f32[2]) {
//!   %0 = weight [1.0, 2.0] : f32[2]
//!   %1 = add(%x, %0) : f32[2] from "blocks.0.norm"
//!   %2 = relu(%1) : f32[2] from "blocks.0.norm"
//!   %3 = neg(%2) : f32[2]
//!   %4 = neg(%x) : f32[2]
//!   %5 = neg(%4) : f32[2]
//!   return "y" = %3, "z" = %5
//! }
//! ```
//! After:
//! ```quad
//! graph @main(%x: f32[2]) {
//!   %"blocks.0.norm/add.b" = weight [1.0, 2.0] : f32[2]
//!   %"blocks.0.norm/add" = add(%x, %"blocks.0.norm/add.b") : f32[2] from "blocks.0.norm"
//!   %"blocks.0.norm/relu" = relu(%"blocks.0.norm/add") : f32[2] from "blocks.0.norm"
//!   %"blocks.0.norm/neg" = neg(%"blocks.0.norm/relu") : f32[2]
//!   %"x/neg" = neg(%x) : f32[2]
//!   %"x/neg_2" = neg(%"x/neg") : f32[2]
//!   return "y" = %"blocks.0.norm/neg", "z" = %"x/neg_2"
//! }
//! ```

use std::collections::BTreeMap;

use quad_ir::graph::{Graph, NodeRef, Patch, ValueId, ValueRef};
use quad_ir::ops::Weight;
use rustc_hash::{FxHashMap, FxHashSet};

use crate::context::{Context, Place};
use crate::pass::{Pass, PassError, PassInfo};

/// See the [module](self).
#[derive(Clone, Debug, Default)]
pub struct NameValues;

const INFO: PassInfo = PassInfo { name: "name-values", source: include_str!("name_values.rs") };

impl Pass for NameValues {
    fn info(&self) -> &'static PassInfo {
        &INFO
    }

    fn run(&self, graph: &mut Graph, cx: &mut Context) -> Result<(), PassError> {
        let names = Names::of(graph).given;
        let Some((first, _)) = names.first_key_value() else { return Ok(()) };
        let place = Place::of(graph.value(*first).producer());
        let mut patch = Patch::new(graph, INFO.name);
        for (value, name) in &names {
            patch.set_name(*value, name);
        }
        let edit = patch.finish()?;
        cx.apply(graph, edit, INFO.name, place)?;
        Ok(())
    }
}

/// The names that values without one get.
#[derive(Debug)]
struct Names<'g> {
    graph: &'g Graph,
    given: BTreeMap<ValueId, String>,
    taken: FxHashSet<String>,
    /// The last number tried for a name that several ask for.
    asked: FxHashMap<String, usize>,
}

impl<'g> Names<'g> {
    /// The names for `graph`.
    fn of(graph: &'g Graph) -> Self {
        let mut names =
            Self { graph, given: BTreeMap::new(), taken: FxHashSet::default(), asked: FxHashMap::default() };
        let order: Vec<NodeRef<'_>> = graph.topo().into_iter().map(|node| graph.node(node)).collect();
        let (constants, computed): (Vec<_>, Vec<_>) =
            order.into_iter().partition(|node| node.is::<Weight>().is_some());
        names.name_computed(&computed);
        for node in constants {
            names.name_constant(node);
        }
        names
    }

    fn name_computed(&mut self, nodes: &[NodeRef<'g>]) {
        // What a value lends to those that are called after it: its own name or path, and never a name made here, or
        // names would grow with every node of a chain.
        let mut stems: FxHashMap<ValueId, &'g str> = FxHashMap::default();
        for node in nodes {
            let inherited = node.operands().flatten().find_map(|operand| stems.get(&operand.id()).copied());
            let stem = node.loc().path().map(|path| &**path).or(inherited);
            for value in node.results() {
                let name = value.name().map(|name| &**name);
                if name.is_none() {
                    let op = node.op().def().name();
                    self.give(value, &stem.map_or_else(|| op.to_owned(), |stem| format!("{stem}/{op}")));
                }
                stems.extend(name.or(stem).map(|stem| (value.id(), stem)));
            }
        }
    }

    fn name_constant(&mut self, node: NodeRef<'g>) {
        let value = node.result();
        if value.name().is_some() {
            return;
        }
        let path = node.loc().path().map(ToString::to_string);
        let name = path.or_else(|| self.after_reader(value)).unwrap_or_else(|| "weight".to_owned());
        self.give(value, &name);
    }

    /// The name of the first reader of `value`, with the name of the operand that it is.
    fn after_reader(&self, value: ValueRef<'g>) -> Option<String> {
        let (reader, operand) = value.readers().next()?;
        let declared = reader.op().def().operands();
        let operand = declared.get(operand).or(declared.last())?.name;
        let result = reader.result();
        let name = result.name().map(|name| &**name).or(self.given.get(&result.id()).map(String::as_str))?;
        Some(format!("{name}.{operand}"))
    }

    /// Gives `value` the name, with a number behind it where another value has it.
    fn give(&mut self, value: ValueRef<'g>, name: &str) {
        let mut unique = name.to_owned();
        while self.graph.find(&unique).is_some() || !self.taken.insert(unique.clone()) {
            let number = self.asked.entry(name.to_owned()).or_insert(1);
            *number += 1;
            unique = format!("{name}_{number}");
        }
        self.given.insert(value.id(), unique);
    }
}
