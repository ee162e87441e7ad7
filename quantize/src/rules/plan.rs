//! The rules applied to a graph: which values get an encoding, with which codes, and which of them the same.

mod biases;

use std::collections::{BTreeMap, BTreeSet};

use quad_ir::dtype::DType;
use quad_ir::graph::{Graph, NodeRef, ValueId, ValueRef};
use quad_ir::ops::{OpKind, OpTraits};
use quad_passes::lora::interface::adapter_inputs;
use quad_passes::pattern::mixes_channels;
use rustc_hash::{FxHashMap, FxHashSet};

use super::islands::{Dataflow, Depends, is_real};
use super::ties::{self, Sets};
use super::{Asks, Fixed, Rules, layers};
use crate::encoding::Codes;
use crate::precision::{Mixed, Pattern};

/// What gets an encoding in a graph, and how it is to be made.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Activations that share an encoding, in the order of the first of each.
    pub activations: Vec<Shared>,
    /// Constants, by name.
    pub weights: BTreeMap<String, Constant>,
    /// Slots, by name.
    pub slots: BTreeMap<String, Constant>,
    /// Biases, by name.
    pub biases: BTreeMap<String, Bias>,
    /// The slots of each site and the constants of the layers beside them.
    pub sites: BTreeMap<String, Vec<String>>,
    /// Values that stay floats on purpose, and why.
    pub floats: BTreeMap<String, String>,
    /// What could not be as the rules ask.
    pub notes: Vec<String>,
}

impl Plan {
    /// The values that get an encoding.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let activations = self.activations.iter().flat_map(|shared| &shared.members);
        let constants = self.weights.keys().chain(self.slots.keys()).chain(self.biases.keys());
        activations.chain(constants).map(String::as_str)
    }
}

/// Activations that share an encoding.
#[derive(Clone, Debug, PartialEq)]
pub struct Shared {
    /// All of them, by name, producers first.
    pub members: Vec<String>,
    /// Those whose numbers the others have: the ones whose statistics count.
    pub sources: Vec<String>,
    /// The codes.
    pub codes: Codes,
    /// The encoding that an operation determines.
    pub fixed: Option<Fixed>,
    /// The floating-point type of the real numbers.
    pub expressed: DType,
}

/// A constant or slot.
#[derive(Clone, Debug, PartialEq)]
pub struct Constant {
    /// The codes.
    pub codes: Codes,
    /// The axis along which scales may differ.
    pub axis: Option<u8>,
    /// Whether it is a factor of a layer, or else an operand of something that computes element by element.
    pub is_factor: bool,
    /// The floating-point type of the real numbers.
    pub expressed: DType,
}

/// A bias, whose encoding follows from those of what it is added to.
#[derive(Clone, Debug, PartialEq)]
pub struct Bias {
    /// The element type.
    pub stored: DType,
    /// The activation that the layer reads.
    pub x: String,
    /// The constant or slot that it is multiplied with.
    pub w: String,
    /// The floating-point type of the real numbers.
    pub expressed: DType,
}

/// The rules and a graph or a precision do not go together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A value has no name, by which encodings are known.
    #[error("the graph has values without names: run the pass `name-values` first")]
    Nameless,
    /// The rules have no codes of so many bits.
    #[error("`{name}`: rules `{rules}` have no {what} of {bits} bits, only of {known}")]
    Bits {
        /// The value.
        name: String,
        /// The rules.
        rules: &'static str,
        /// What the value is.
        what: &'static str,
        /// The bits asked for.
        bits: u32,
        /// The bits there are.
        known: String,
    },
}

/// Applies `rules` to `graph`. Values that one of the patterns in `floats` fits stay floats.
pub fn plan(graph: &Graph, rules: &Rules, mixed: &Mixed, floats: &[Pattern]) -> Result<Plan, PlanError> {
    if graph.nodes().flat_map(NodeRef::results).any(|value| value.name().is_none()) {
        return Err(PlanError::Nameless);
    }
    let flow = Dataflow::of(graph);
    let nodes: Vec<NodeRef<'_>> = graph.topo().into_iter().map(|node| graph.node(node)).collect();
    let mut planner = Planner {
        graph,
        rules,
        mixed,
        floats,
        flow,
        nodes,
        sets: Sets::default(),
        eligible: FxHashSet::default(),
        moved: FxHashSet::default(),
        plan: Plan::default(),
    };
    planner.choose_activations();
    planner.tie();
    planner.share_activations()?;
    planner.plan_constants()?;
    planner.plan_slots()?;
    planner.plan_biases();
    // A constant that another module reads has the encoding that this one asks for.
    let Plan { floats, weights, .. } = &mut planner.plan;
    floats.retain(|name, _| !weights.contains_key(name));
    planner.plan.sites = layers::sites(graph, &planner.flow);
    Ok(planner.plan)
}

/// A plan being made.
struct Planner<'g> {
    graph: &'g Graph,
    rules: &'g Rules,
    mixed: &'g Mixed,
    floats: &'g [Pattern],
    flow: Dataflow,
    /// Producers before readers.
    nodes: Vec<NodeRef<'g>>,
    sets: Sets,
    /// The activations that get an encoding.
    eligible: FxHashSet<ValueId>,
    /// Those whose numbers are all those of others of their set.
    moved: FxHashSet<ValueId>,
    plan: Plan,
}

fn name(value: ValueRef<'_>) -> &str {
    value.name().map_or("", |name| &**name)
}

fn path(node: NodeRef<'_>) -> Option<&str> {
    node.loc().path().map(|path| &**path)
}

impl<'g> Planner<'g> {
    /// Which activations get an encoding.
    fn choose_activations(&mut self) {
        for value in self.nodes.clone().into_iter().flat_map(ties::real_results) {
            if self.flow.depends(value) != Depends::Run {
                continue;
            }
            let island = self.flow.is_island(value)
                && !(self.rules.asks.contains(Asks::ISLAND_ENDS) && self.flow.is_island_end(value));
            let reason = if island {
                Some("on a float island: computed of a timestep or other integers alone".to_owned())
            } else {
                self.asked_for(value, value.producer())
            };
            match reason {
                Some(reason) => drop(self.plan.floats.insert(name(value).to_owned(), reason)),
                None => drop(self.eligible.insert(value.id())),
            }
        }
    }

    /// Why `value`, a result or an operand of `node`, is to stay a float, when a pattern asks for that.
    fn asked_for(&self, value: ValueRef<'_>, node: NodeRef<'_>) -> Option<String> {
        let fits = |pattern: &&Pattern| pattern.fits(name(value), path(node));
        self.floats.iter().find(fits).map(|pattern| format!("asked for by `{}`", pattern.text()))
    }

    /// Unites what must share an encoding. Concats come last: a part whose encoding is fixed stays apart.
    fn tie(&mut self) {
        let (concats, others): (Vec<_>, Vec<_>) =
            self.nodes.iter().copied().partition(|node| ties::is_concat(*node));
        for node in others {
            for (from, to) in self.pairs(node) {
                self.sets.unite(from.id(), to.id());
            }
            if let Some(x) = ties::fused(node, self.rules).filter(|x| self.eligible.contains(&x.id())) {
                let y = node.result();
                if self.eligible.contains(&y.id()) {
                    // The range is that of what is left after clamping.
                    self.sets.unite(x.id(), y.id());
                    self.moved.insert(x.id());
                }
            }
        }
        let fixed = self.fixed_sets();
        for node in concats {
            for (from, to) in self.pairs(node) {
                if fixed.contains(&self.sets.find(from.id())) {
                    let note = format!(
                        "concat `{}` takes `{}`, whose encoding is fixed, in another one: it is requantized",
                        name(to),
                        name(from)
                    );
                    self.plan.notes.push(note);
                    self.moved.remove(&to.id());
                } else {
                    self.sets.unite(from.id(), to.id());
                }
            }
        }
    }

    /// What `node` moves, from and to, where both have encodings. Notes results that have no numbers of their own.
    fn pairs(&mut self, node: NodeRef<'g>) -> Vec<(ValueRef<'g>, ValueRef<'g>)> {
        let from = ties::moved(node, self.rules);
        let has_encoding = |value: &ValueRef<'g>| self.eligible.contains(&value.id());
        let all_from_others = !from.is_empty() && from.iter().all(has_encoding);
        let results: Vec<ValueRef<'g>> =
            ties::real_results(node).filter(|result| has_encoding(result)).collect();
        let from: Vec<ValueRef<'g>> = from.into_iter().filter(has_encoding).collect();
        if all_from_others {
            self.moved.extend(results.iter().map(|result| result.id()));
        }
        results.iter().flat_map(|to| from.iter().map(move |from| (*from, *to))).collect()
    }

    /// The sets with a value whose encoding its operation determines.
    fn fixed_sets(&mut self) -> FxHashSet<ValueId> {
        let fixed = |node: &NodeRef<'g>| self.rules.fixed.iter().any(|fixed| fixed.op == node.op().kind());
        let values: Vec<ValueId> =
            self.nodes.iter().filter(|node| fixed(node)).map(|node| node.result().id()).collect();
        values.into_iter().map(|value| self.sets.find(value)).collect()
    }

    /// The sets as they are now, with codes.
    fn share_activations(&mut self) -> Result<(), PlanError> {
        let second: FxHashSet<ValueId> = self
            .nodes
            .iter()
            .flat_map(|node| layers::second_operands(*node, &self.flow))
            .map(|value| self.sets.find(value.id()))
            .collect();
        let mut sets: BTreeMap<ValueId, Vec<ValueRef<'g>>> = BTreeMap::new();
        let mut order = Vec::new();
        for value in self.nodes.iter().flat_map(|node| ties::real_results(*node)) {
            if self.eligible.contains(&value.id()) {
                let root = self.sets.find(value.id());
                let set = sets.entry(root).or_default();
                if set.is_empty() {
                    order.push(root);
                }
                set.push(value);
            }
        }
        for root in order {
            let shared = self.shared(&sets[&root], second.contains(&root))?;
            self.plan.activations.push(shared);
        }
        Ok(())
    }

    fn shared(&mut self, members: &[ValueRef<'g>], is_second: bool) -> Result<Shared, PlanError> {
        let own: Vec<ValueRef<'g>> =
            members.iter().copied().filter(|value| !self.moved.contains(&value.id())).collect();
        let sources = if own.is_empty() { members.to_vec() } else { own };
        let bits = |value: &ValueRef<'g>| self.mixed.of(name(*value), path(value.producer())).activations;
        let bits = sources.iter().map(bits).max().unwrap_or(self.mixed.base.activations);
        let codes = self
            .rules
            .activation(bits)
            .ok_or_else(|| self.no_bits(members[0], "activations", self.rules.activations, bits))?;
        let fixed =
            sources.iter().find_map(|value| self.rules.fixed(value.producer().op().kind(), codes.stored));
        let second = self.rules.second_operands.iter().copied().find(|codes| codes.stored.bits() == bits);
        Ok(Shared {
            members: members.iter().map(|value| name(*value).to_owned()).collect(),
            sources: sources.iter().map(|value| name(*value).to_owned()).collect(),
            codes: second.filter(|_| is_second && fixed.is_none()).unwrap_or(codes),
            fixed,
            expressed: members[0].ty().dtype,
        })
    }

    fn no_bits(&self, value: ValueRef<'_>, what: &'static str, codes: &[Codes], bits: u32) -> PlanError {
        let known: Vec<String> = codes.iter().map(|codes| codes.stored.bits().to_string()).collect();
        PlanError::Bits {
            name: name(value).to_owned(),
            rules: self.rules.name,
            what,
            bits,
            known: known.join(" and "),
        }
    }

    /// Constants of layers, and those that meet activations where the rules ask for it.
    fn plan_constants(&mut self) -> Result<(), PlanError> {
        for node in self.nodes.clone() {
            let factor = layers::factor(node, &self.flow).filter(|factor| is_constant(factor.w));
            if let Some(factor) = factor {
                if let Some(reason) = self.asked_for(factor.w, node) {
                    self.plan.floats.insert(name(factor.w).to_owned(), reason);
                    continue;
                }
                let bits = self.mixed.of(name(factor.w), path(node)).weights;
                let codes = self
                    .rules
                    .weight(bits)
                    .ok_or_else(|| self.no_bits(factor.w, "weights", self.rules.weights, bits))?;
                let is_taken = !(factor.is_first() && self.rules.asks.contains(Asks::SECOND_CHANNELS));
                let axis = factor.axis.filter(|_| is_taken);
                let expressed = factor.w.ty().dtype;
                self.add_constant(factor.w, Constant { codes, axis, is_factor: true, expressed });
            } else if self.rules.asks.contains(Asks::CONSTANTS) && meets_constants(node) {
                self.plan_operands(node)?;
            }
        }
        Ok(())
    }

    /// The constants among the operands of an elementwise operation.
    fn plan_operands(&mut self, node: NodeRef<'g>) -> Result<(), PlanError> {
        let has_encoding = |value: ValueRef<'g>| self.eligible.contains(&value.id());
        if !has_encoding(node.result()) || !node.operands().flatten().any(has_encoding) {
            return Ok(());
        }
        let constants = node.operands().flatten().filter(|value| is_constant(*value));
        for constant in constants.collect::<Vec<_>>() {
            let bits = self.mixed.of(name(node.result()), path(node)).activations;
            let codes = self
                .rules
                .activation(bits)
                .ok_or_else(|| self.no_bits(constant, "activations", self.rules.activations, bits))?;
            let expressed = constant.ty().dtype;
            self.add_constant(constant, Constant { codes, axis: None, is_factor: false, expressed });
        }
        Ok(())
    }

    /// Adds a constant, or makes what is known of it such that it suits another reader, too.
    fn add_constant(&mut self, value: ValueRef<'g>, wanted: Constant) {
        let Constant { codes, axis, is_factor, .. } = wanted;
        let constant = self.plan.weights.entry(name(value).to_owned()).or_insert(wanted);
        if constant.axis != axis {
            constant.axis = None;
        }
        constant.is_factor |= is_factor;
        if constant.codes.stored.bits() < codes.stored.bits() {
            constant.codes = codes;
        }
    }

    /// Slots of layers have codes of their own; others are like activations.
    fn plan_slots(&mut self) -> Result<(), PlanError> {
        let mut in_layers: FxHashMap<ValueId, Vec<layers::Factor<'_>>> = FxHashMap::default();
        for node in &self.nodes {
            if let Some(factor) = layers::factor(*node, &self.flow) {
                in_layers.entry(factor.w.id()).or_default().push(factor);
            }
        }
        for slot in adapter_inputs(self.graph).filter(|slot| is_real(slot.ty().dtype)) {
            let reason = slot.readers().find_map(|(reader, _)| self.asked_for(slot, reader));
            if let Some(reason) = reason {
                self.plan.floats.insert(name(slot).to_owned(), reason);
                continue;
            }
            let modules: BTreeSet<&str> = slot.readers().filter_map(|(reader, _)| path(reader)).collect();
            let precision = self.mixed.of(name(slot), modules.first().copied());
            let codes = if let Some(factors) = in_layers.get(&slot.id()) {
                self.slot_codes(factors, precision.slots)
                    .ok_or_else(|| self.no_bits(slot, "slots", self.rules.slots, precision.slots))?
            } else {
                let bits = precision.activations;
                let codes = self
                    .rules
                    .activation(bits)
                    .ok_or_else(|| self.no_bits(slot, "activations", self.rules.activations, bits))?;
                // Adapters differ in sign: the range is one for all of them.
                if codes.symmetric.is_some() { codes } else { Codes::symmetric(codes.stored) }
            };
            let (expressed, is_factor) = (slot.ty().dtype, in_layers.contains_key(&slot.id()));
            let constant = Constant { codes, axis: None, is_factor, expressed };
            self.plan.slots.insert(name(slot).to_owned(), constant);
        }
        Ok(())
    }

    /// The codes of a slot of `bits` that is the factor of all these layers.
    fn slot_codes(&self, factors: &[layers::Factor<'_>], bits: u32) -> Option<Codes> {
        let beside = |factor: &layers::Factor<'_>| {
            let is_product = mixes_channels(factor.node) && layers::bias(factor.node, &self.flow).is_none();
            self.activation_codes(name(factor.x)).filter(|_| is_product).map(|codes| codes.stored.bits())
        };
        let activations: Option<BTreeSet<u32>> = factors.iter().map(beside).collect();
        match activations.unwrap_or_default().into_iter().collect::<Vec<u32>>()[..] {
            [activations] => self.rules.slot_of_products(bits, activations),
            _ => self.rules.slot(bits),
        }
    }

    /// The codes of the activation called `name`, where it has any.
    fn activation_codes(&self, name: &str) -> Option<Codes> {
        self.plan
            .activations
            .iter()
            .find(|shared| shared.members.iter().any(|member| member == name))
            .map(|shared| shared.codes)
    }
}

/// Whether `node` computes each element of two tensors: where a constant must be like the other operand.
fn meets_constants(node: NodeRef<'_>) -> bool {
    let elementwise = node.op().def().traits().contains(OpTraits::ELEMENTWISE);
    elementwise
        && matches!(
            node.op().kind(),
            OpKind::Add | OpKind::Sub | OpKind::Mul | OpKind::Div | OpKind::Min | OpKind::Max
        )
}

/// Whether `value` is a constant of floats.
fn is_constant(value: ValueRef<'_>) -> bool {
    is_real(value.ty().dtype) && value.weight().is_some()
}
