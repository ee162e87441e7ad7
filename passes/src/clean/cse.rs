//! Merges nodes that compute the same from the same values, and constants that are equal.
//!
//! Two nodes are one when their operations, attributes included, their operands, and the encodings that they state of
//! results are equal; operands that may be exchanged are compared either way round. Constants are equal when they are the same bytes of a file, when they are
//! small and hold the same bytes, or when they are the same recipe over equal constants. Large constants are not read, so
//! equal ones from two places stay two.
//!
//! All of a graph is merged in one change, since each merge makes others possible.
//!
//! Before:
//! ```quad
//! graph @main(%x: f32[2]) {
//!   %half = weight 0.5 : f32[]
//!   %a = mul(%x, %half) : f32[2]
//!   %too = weight 0.5 : f32[]
//!   %b = mul(%too, %x) : f32[2]
//!   %y = add(%a, %b) : f32[2]
//!   return "y" = %y
//! }
//! ```
//! After:
//! ```quad
//! graph @main(%x: f32[2]) {
//!   %half = weight 0.5 : f32[]
//!   %a = mul(%x, %half) : f32[2]
//!   %y = add(%a, %a) : f32[2]
//!   return "y" = %y
//! }
//! ```

use std::collections::hash_map::Entry;

use bytes::Bytes;
use quad_ir::graph::{Graph, NodeId, NodeRef, Patch, ValueId};
use quad_ir::ops::{Input, Op, OpTraits, Weight};
use quad_ir::types::{Encoded, TensorType};
use quad_ir::weights::{Source, WeightId, Weights};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use crate::context::{Context, Place};
use crate::pass::{Pass, PassError, PassInfo};

/// See the [module](self).
#[derive(Clone, Debug, Default)]
pub struct Cse;

const INFO: PassInfo = PassInfo { name: "cse", source: include_str!("cse.rs") };

/// Constants of at most so many bytes are compared byte by byte.
const SMALL: usize = 1 << 14;

impl Pass for Cse {
    fn info(&self) -> &'static PassInfo {
        &INFO
    }

    fn run(&self, graph: &mut Graph, cx: &mut Context) -> Result<(), PassError> {
        if !cx.has_fuel() {
            return Ok(());
        }
        let mut merge = Merge::new(graph);
        for node in graph.topo() {
            merge.visit(graph.node(node))?;
        }
        let Some(first) = merge.first else { return Ok(()) };
        let mut patch = merge.patch;
        patch.erase_unread();
        let edit = patch.finish()?;
        let place = Place::of(graph.node(first));
        cx.apply(graph, edit, INFO.name, place)?;
        Ok(())
    }
}

/// What a node computes, with operands by the values that stand for them, and how its results are stored.
type Computation = (Op, SmallVec<[Option<ValueId>; 4]>, SmallVec<[Option<Encoded>; 1]>);

struct Merge<'g> {
    patch: Patch<'g>,
    /// For each weight the first one that is equal.
    weights: FxHashMap<WeightId, WeightId>,
    /// The first node of each computation.
    seen: FxHashMap<Computation, NodeId>,
    /// What stands for a value that is merged into another.
    stands_for: FxHashMap<ValueId, ValueId>,
    /// The first node that was merged into another.
    first: Option<NodeId>,
}

impl<'g> Merge<'g> {
    fn new(graph: &'g Graph) -> Self {
        Self {
            patch: Patch::new(graph, INFO.name),
            weights: first_of_equals(graph.weights()),
            seen: FxHashMap::default(),
            stands_for: FxHashMap::default(),
            first: None,
        }
    }

    /// Merges `node` into one that was seen before, if there is an equal one.
    fn visit(&mut self, node: NodeRef<'g>) -> Result<(), PassError> {
        if node.is::<Input>().is_some() || !node.op().def().traits().contains(OpTraits::PURE) {
            return Ok(());
        }
        let computation = self.computation(node);
        let other = match self.seen.entry(computation) {
            Entry::Vacant(vacant) => {
                vacant.insert(node.id());
                return Ok(());
            }
            Entry::Occupied(seen) => self.patch.graph().node(*seen.get()),
        };
        // Sizes may have been stated for one of them only.
        let symbols = node.graph().symbols();
        if !node.results().zip(other.results()).all(|(old, new)| new.ty().refines(old.ty(), symbols)) {
            return Ok(());
        }
        for (old, new) in node.results().zip(other.results()) {
            self.patch.replace(old.id(), new.id())?;
            self.stands_for.insert(old.id(), new.id());
        }
        self.first.get_or_insert(node.id());
        Ok(())
    }

    fn computation(&self, node: NodeRef<'g>) -> Computation {
        if let Some(weight) = node.is::<Weight>() {
            let id = self.weights.get(&weight.id).copied().unwrap_or(weight.id);
            return (Weight { id, ty: weight.ty.clone() }.into(), SmallVec::new(), SmallVec::new());
        }
        let standing = |value: ValueId| self.stands_for.get(&value).copied().unwrap_or(value);
        let mut operands: SmallVec<[Option<ValueId>; 4]> =
            node.operands().map(|operand| operand.map(|value| standing(value.id()))).collect();
        if node.op().def().traits().contains(OpTraits::COMMUTATIVE) {
            operands.sort_unstable();
        }
        (node.op().clone(), operands, node.stated())
    }
}

/// What makes two weights equal without reading large ones.
#[derive(PartialEq, Eq, Hash)]
enum Content {
    /// A range of the file at an address.
    File(usize, u64, u64),
    Bytes(Bytes),
    /// Bytes at an address.
    Memory(usize, usize),
    Recipe(Op, SmallVec<[Option<WeightId>; 2]>),
}

/// For each weight that has an equal one before it, the first of those.
fn first_of_equals(weights: &Weights) -> FxHashMap<WeightId, WeightId> {
    let mut first: FxHashMap<(TensorType, Content), WeightId> = FxHashMap::default();
    let mut equal: FxHashMap<WeightId, WeightId> = FxHashMap::default();
    for weight in weights.ids() {
        let Some(ty) = weights.ty(weight) else { continue };
        let content = match weights.source(weight) {
            Source::File { file, range } => {
                Content::File(std::sync::Arc::as_ptr(file).addr(), range.start, range.end)
            }
            Source::Memory(bytes) if bytes.len() <= SMALL => Content::Bytes(bytes.clone()),
            Source::Memory(bytes) => Content::Memory(bytes.as_ptr().addr(), bytes.len()),
            // What a recipe is made of has a smaller id, so it was looked at before.
            Source::Recipe { op, from } => {
                let standing = |weight: WeightId| equal.get(&weight).copied().unwrap_or(weight);
                Content::Recipe(op.clone(), from.iter().map(|weight| weight.map(standing)).collect())
            }
        };
        match first.entry((ty.clone(), content)) {
            Entry::Vacant(vacant) => {
                vacant.insert(weight);
            }
            Entry::Occupied(before) => {
                equal.insert(weight, *before.get());
            }
        }
    }
    equal
}
