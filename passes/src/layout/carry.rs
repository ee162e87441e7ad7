//! Carries transposes and reshapes along instead of computing them, until something needs its elements in order.
//!
//! The graph is gone through once, producers before readers. What stands for a value of the graph is stored with axes of
//! its own choice, and a [`View`] says where the graph's axes are in it. Transposes and reshapes change the view only. A
//! [`Plan`] says what becomes of every other node. Where an operand is not stored as a plan wants it, the fewest moves are
//! added that make it so, once for all readers. Outputs are as the graph sees them.
//!
//! It ends because every node is looked at once. Moves thus go toward the outputs, past all operations for which there is
//! a plan, and two that undo each other are never made. Doing it again changes nothing: where the moves that are wanted
//! are there already, those are used.

use quad_ir::graph::{Graph, NodeId, NodeRef, Patch, ValueId, ValueRef};
use quad_ir::ops::{Input, Op, OpVariant, Reshape, Transpose, Weight};
use quad_ir::tensor::Tensor;
use quad_ir::types::{Dim, Shape};
use quad_ir::weights::WeightError;
use rustc_hash::{FxHashMap, FxHashSet};

use super::moves::{Move, moves};
use super::plan::{Given, Plan, Planner, Settings};
use super::view::{Axes, View};
use crate::context::{Context, Place};
use crate::emit::Emit;
use crate::pass::{Fault, PassError};

/// What stands for a value of the graph.
#[derive(Clone, Debug)]
struct Carried {
    value: ValueId,
    view: View,
}

/// Rewrites `graph` for the sake of pass `name`.
pub(crate) fn carry(
    graph: &mut Graph,
    name: &'static str,
    settings: Settings,
    cx: &mut Context,
) -> Result<(), PassError> {
    if !cx.has_fuel() {
        return Ok(());
    }
    let live = live_nodes(graph);
    refuse_quantized(graph, &live)?;
    let mut carrier = Carrier::new(graph, name, settings);
    for node in graph.topo().into_iter().filter(|node| live.contains(node)) {
        carrier.node(graph.node(node))?;
    }
    carrier.outputs()?;
    let Carrier { mut patch, misses, names, .. } = carrier;
    // What nothing reads must not have more axes than the rest.
    if !patch.is_empty() || settings.max_rank.is_some() {
        patch.erase_dead();
        for (new, name) in names {
            patch.set_name(new, &name);
        }
    }
    let edit = patch.finish()?;
    for (node, why) in misses {
        cx.left(name, Place::of(graph.node(node)), why);
    }
    let Some(first) = edit.erased().next() else { return Ok(()) };
    let place = Place::of(graph.node(first));
    cx.apply(graph, edit, name, place)?;
    Ok(())
}

/// Encodings along an axis would have to follow it: axes are moved before values are quantized.
fn refuse_quantized(graph: &Graph, live: &FxHashSet<NodeId>) -> Result<(), PassError> {
    let nodes = graph.nodes().filter(|node| live.contains(&node.id()));
    match nodes.flat_map(NodeRef::results).find(|result| result.ty().quant.is_some()) {
        Some(result) => {
            let place = Place::of(result.producer());
            let found =
                format!("{place} has quantized type {}, expected axes to be moved before", result.ty());
            Err(PassError::Refused(found))
        }
        None => Ok(()),
    }
}

/// The nodes that an output depends on.
fn live_nodes(graph: &Graph) -> FxHashSet<NodeId> {
    let mut waiting: Vec<NodeRef<'_>> =
        graph.outputs().iter().map(|output| graph.value(output.value).producer()).collect();
    let mut live = FxHashSet::default();
    while let Some(node) = waiting.pop() {
        if live.insert(node.id()) {
            waiting.extend(node.operands().flatten().map(ValueRef::producer));
        }
    }
    live
}

struct Carrier<'g> {
    graph: &'g Graph,
    patch: Patch<'g>,
    settings: Settings,
    carried: FxHashMap<ValueId, Carried>,
    /// Values of the graph that nothing before them has changed.
    intact: FxHashSet<ValueId>,
    /// Moves that there are, of the graph and of the patch.
    made: FxHashMap<(ValueId, Move), ValueId>,
    /// New values without a name.
    unnamed: FxHashSet<ValueId>,
    /// Names for new values.
    names: Vec<(ValueId, String)>,
    misses: Vec<(NodeId, String)>,
}

impl<'g> Carrier<'g> {
    fn new(graph: &'g Graph, name: &'static str, settings: Settings) -> Self {
        Self {
            graph,
            patch: Patch::new(graph, name),
            settings,
            carried: FxHashMap::default(),
            intact: FxHashSet::default(),
            made: FxHashMap::default(),
            unnamed: FxHashSet::default(),
            names: Vec::new(),
            misses: Vec::new(),
        }
    }

    fn node(&mut self, node: NodeRef<'g>) -> Result<(), PassError> {
        self.patch.on_behalf_of(node.id());
        if Input::of(node.op()).is_some() {
            self.check_rank(node.result(), "inputs stay as they are")?;
        }
        if Input::of(node.op()).is_some() || Weight::of(node.op()).is_some() {
            self.keep(node);
            return Ok(());
        }
        if self.seen_otherwise(node) {
            return Ok(());
        }
        let views: Vec<Option<View>> = node
            .operands()
            .map(|operand| operand.map(|operand| self.carried[&operand.id()].view.clone()))
            .collect();
        let planner = Planner { node, views: &views, settings: self.settings };
        let plan = match planner.plan() {
            Ok(plan) => plan,
            Err(why) => {
                let results = node.results().chain(node.operands().flatten());
                results.into_iter().try_for_each(|value| self.check_rank(value, &why))?;
                if views.iter().flatten().any(|view| !view.is_plain()) {
                    self.misses.push((node.id(), why.into_owned()));
                }
                planner.as_seen()
            }
        };
        self.make(node, plan)
    }

    /// Refuses a value that must be as the graph sees it and has too many axes then.
    fn check_rank(&self, value: ValueRef<'_>, why: &str) -> Result<(), PassError> {
        let rank = value.ty().rank();
        match self.settings.max_rank.filter(|max_rank| rank > *max_rank) {
            Some(max_rank) => {
                let place = Place::of(value.producer());
                let found = format!("{place} gives {rank} axes, expected at most {max_rank}, because {why}");
                Err(PassError::Refused(found))
            }
            None => Ok(()),
        }
    }

    /// The results of `node` are there as they are.
    fn keep(&mut self, node: NodeRef<'_>) {
        for result in node.results() {
            let carried = Carried { value: result.id(), view: View::plain(&result.ty().shape) };
            self.carried.insert(result.id(), carried);
            self.intact.insert(result.id());
        }
    }

    /// Whether `node` only shows other axes of its operand, which are then carried along.
    fn seen_otherwise(&mut self, node: NodeRef<'_>) -> bool {
        let Some(x) = node.operands().next().flatten() else { return false };
        let Carried { value, view } = self.carried[&x.id()].clone();
        let shape = &node.result().ty().shape;
        let (seen, step) = match node.op() {
            Op::Transpose(transpose) => {
                let order = axis_order(transpose, x.ty().rank());
                (Some(view.transposed(&order)), Move::Transpose(order))
            }
            Op::Reshape(_) | Op::Squeeze(_) | Op::Unsqueeze(_) | Op::Flatten(_) => {
                (reshaped(&view, &x.ty().shape, shape), Move::Reshape(shape.clone()))
            }
            _ => return false,
        };
        let Some(view) = seen else { return false };
        self.name(value, node.result());
        // The node itself is used where its result is wanted.
        if self.intact.contains(&x.id()) {
            self.made.entry((x.id(), step)).or_insert(node.result().id());
            self.intact.insert(node.result().id());
        }
        self.carried.insert(node.result().id(), Carried { value, view });
        true
    }

    /// Adds what `plan` says for `node`, or keeps the node where that is the same.
    fn make(&mut self, node: NodeRef<'_>, plan: Plan) -> Result<(), PassError> {
        let given: Vec<_> = node.operands().map(|operand| operand.map(ValueRef::id)).collect();
        let mut operands = Vec::with_capacity(plan.operands.len());
        for (index, wanted) in plan.operands.into_iter().enumerate() {
            let old = given.get(index).copied().flatten();
            operands.push(self.operand(old, wanted)?);
        }
        while operands.last().is_some_and(Option::is_none) && operands.len() > given.len() {
            operands.pop();
        }
        if plan.op == *node.op() && operands == given {
            self.keep(node);
            return Ok(());
        }
        let new = self.patch.add(plan.op, &operands)?;
        let values = self.patch.results(new).to_vec();
        for ((old, value), view) in node.results().zip(values).zip(plan.results) {
            self.check(value, &view)?;
            self.unnamed.insert(value);
            self.name(value, old);
            self.carried.insert(old.id(), Carried { value, view });
        }
        Ok(())
    }

    /// Gives a new `value` the name of what it stands for, unless it has one.
    fn name(&mut self, value: ValueId, old: ValueRef<'_>) {
        if let Some(name) = old.name()
            && self.unnamed.remove(&value)
        {
            self.names.push((value, name.to_string()));
        }
    }

    /// A view that does not fit what is stored would be a wrong result: it is an error instead.
    fn check(&self, value: ValueId, view: &View) -> Result<(), PassError> {
        let found = self.patch.ty(value).map(|ty| &ty.shape);
        let expected = view.shape(&view.stored);
        if found.is_some() && found == expected.as_ref() {
            return Ok(());
        }
        let show = |shape: Option<&Shape>| shape.map_or_else(|| "nothing".to_owned(), ToString::to_string);
        let (expected, found) = (show(expected.as_ref()), show(found));
        Err(PassError::Fault(Box::new(Fault::Plan { expected, found })))
    }

    fn operand(&mut self, old: Option<ValueId>, wanted: Given) -> Result<Option<ValueId>, PassError> {
        let known = |carrier: &Self| old.and_then(|old| carrier.graph.value(old).constant());
        Ok(match (wanted, old) {
            (Given::Stored(view, axes), Some(old)) => Some(self.stored(old, &view, &axes)?),
            (Given::AsSeen, Some(old)) => {
                let view = self.carried[&old].view.clone();
                let seen = view.seen.clone();
                Some(self.stored(old, &view, &seen)?)
            }
            (Given::Integers(list), _) => {
                let same = known(self).is_some_and(|tensor| {
                    tensor.rank() == 1 && tensor.to_i64().is_ok_and(|found| found == list)
                });
                let kept = old.filter(|_| same).map(|old| self.carried[&old].value);
                Some(kept.map_or_else(|| self.patch.integers(&list), Ok)?)
            }
            (Given::Numbers(list), _) => {
                let wanted = Tensor::from_vec(&[list.len()], list).map_err(WeightError::from)?;
                let kept = old.filter(|_| known(self) == Some(&wanted)).map(|old| self.carried[&old].value);
                Some(kept.map_or_else(|| self.patch.add_constant(&wanted), Ok)?)
            }
            _ => None,
        })
    }

    /// What stands for `old`, its factors cut as in `view`, stored with `axes`.
    fn stored(&mut self, old: ValueId, view: &View, axes: &Axes) -> Result<ValueId, PassError> {
        let mut value = self.carried[&old].value;
        let steps = moves(view, axes, self.settings.max_rank).ok_or_else(|| {
            let ty = self.graph.symbols().show_type(self.graph.value(old).ty()).to_string();
            PassError::Refused(format!(
                "{old} of type {ty} cannot be reordered: set its symbolic sizes first"
            ))
        })?;
        for step in steps {
            value = self.moved(value, step)?;
        }
        Ok(value)
    }

    fn moved(&mut self, value: ValueId, step: Move) -> Result<ValueId, PassError> {
        let key = (value, step);
        if let Some(made) = self.made.get(&key) {
            return Ok(*made);
        }
        let new = match &key.1 {
            Move::Transpose(order) => {
                let perm = order.iter().map(|axis| *axis as i64).collect();
                self.patch.derived(Transpose { perm: Some(perm) }, &[value])?
            }
            Move::Reshape(shape) => self.reshape(value, shape)?,
        };
        self.made.insert(key, new);
        Ok(new)
    }

    fn reshape(&mut self, value: ValueId, shape: &Shape) -> Result<ValueId, PassError> {
        if let Some(sizes) = shape.as_known() {
            return Ok(self.patch.sized(value, &sizes)?);
        }
        let from = self.patch.ty(value).map(|ty| ty.shape.clone()).unwrap_or_default();
        let sizes = symbolic_sizes(&from, shape).ok_or_else(|| {
            PassError::Refused(format!("no reshape says {shape} for {from}: set the symbolic sizes first"))
        })?;
        let sizes = self.patch.integers(&sizes)?;
        Ok(self.patch.add_value(Reshape { allowzero: false }, &[value, sizes])?)
    }

    /// Outputs are as the graph sees them.
    fn outputs(&mut self) -> Result<(), PassError> {
        let mut replaced = FxHashMap::default();
        for output in self.graph.outputs() {
            let old = output.value;
            self.patch.on_behalf_of(self.graph.value(old).producer().id());
            self.check_rank(self.graph.value(old), "outputs stay as they are")?;
            let view = self.carried[&old].view.clone();
            let new = self.stored(old, &view, &view.seen.clone())?;
            if new != old {
                replaced.insert(old, new);
            }
        }
        // The name of an output goes to what is returned.
        self.names.retain(|(new, name)| {
            let of_output = |old: &ValueId| self.graph.value(*old).name().is_some_and(|own| **own == **name);
            !replaced.keys().any(of_output) || replaced.values().any(|value| value == new)
        });
        let mut replaced: Vec<(ValueId, ValueId)> = replaced.into_iter().collect();
        replaced.sort_unstable();
        for (old, new) in replaced {
            self.patch.replace(old, new)?;
        }
        Ok(())
    }
}

/// `view` with axes of sizes `to`. Symbolic sizes are followed when each stays an axis of its own.
fn reshaped(view: &View, from: &Shape, to: &Shape) -> Option<View> {
    symbolic_sizes(from, to)?;
    view.reshaped(to)
}

/// The sizes `to` as a reshape of `from` names them: -1 for one that is not known, 0 for others that stay where they are.
fn symbolic_sizes(from: &Shape, to: &Shape) -> Option<Vec<i64>> {
    let mut open = 1;
    let size = |(at, dim): (usize, &Dim)| match dim.known() {
        Some(size) => i64::try_from(size).ok(),
        None if from.get(at) == Some(dim) => Some(0),
        None if open == 1 => {
            open = 0;
            Some(-1)
        }
        None => None,
    };
    to.iter().enumerate().map(size).collect()
}

fn axis_order(transpose: &Transpose, rank: usize) -> Vec<usize> {
    match &transpose.perm {
        Some(perm) => {
            let normal = |axis: &i64| if *axis < 0 { axis + rank as i64 } else { *axis };
            perm.iter().map(|axis| usize::try_from(normal(axis)).unwrap_or_default()).collect()
        }
        None => (0..rank).rev().collect(),
    }
}
