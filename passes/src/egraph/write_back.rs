//! Making a choice of nodes a change of the graph.
//!
//! A node that is chosen as it is stays, with its name; what it reads is replaced where something cheaper was found. New
//! nodes are added for the others, and recipes of weights for what is made of constants only.

use egg::Id;
use quad_ir::graph::{Patch, ValueId};
use quad_ir::ops::Op;
use quad_ir::weights::{WeightError, WeightId};
use rustc_hash::{FxHashMap, FxHashSet};

use super::analysis::RuleFault;
use super::extract::Choice;
use super::language::ENode;
use super::region::Region;
use crate::pass::Fault;

/// Writes the change that makes the values `roots` of `region` as `choice` says into `patch`, and returns the values that
/// are replaced.
///
/// # Errors
/// When the change is not possible: a fault of the rules.
pub(super) fn write_back(
    region: &Region<'_>,
    choice: &Choice<'_>,
    there: &FxHashMap<ENode, ValueId>,
    roots: &[ValueId],
    patch: &mut Patch<'_>,
) -> Result<Vec<ValueId>, Fault> {
    let mut writer = Writer {
        region,
        choice,
        there,
        patch,
        made: FxHashMap::default(),
        weights: FxHashMap::default(),
        done: FxHashSet::default(),
        replaced: Vec::new(),
    };
    for root in roots {
        writer.put(*root)?;
    }
    Ok(writer.replaced)
}

struct Writer<'w, 'p, 'g> {
    region: &'w Region<'g>,
    choice: &'w Choice<'w>,
    there: &'w FxHashMap<ENode, ValueId>,
    patch: &'w mut Patch<'p>,
    /// The value of each class.
    made: FxHashMap<Id, ValueId>,
    /// The weight of each class that is a constant.
    weights: FxHashMap<Id, WeightId>,
    /// Values that were looked at by [`put`](Self::put).
    done: FxHashSet<ValueId>,
    replaced: Vec<ValueId>,
}

impl Writer<'_, '_, '_> {
    /// Makes the readers of `old` read what is chosen for its class.
    fn put(&mut self, old: ValueId) -> Result<(), Fault> {
        let class = self.region.class(old);
        if !self.done.insert(old) {
            return Ok(());
        }
        // Another value from outside would do as well, but this one is there.
        if self.region.egraph[class].iter().any(|node| *node == ENode::Outside(old)) {
            return Ok(());
        }
        let new = self.value(class)?;
        if new != old {
            self.patch.replace(old, new)?;
            self.replaced.push(old);
        }
        Ok(())
    }

    /// The value of `class`.
    fn value(&mut self, class: Id) -> Result<ValueId, Fault> {
        let class = self.region.egraph.find(class);
        if let Some(value) = self.made.get(&class) {
            return Ok(*value);
        }
        let value = match self.choice.node(class) {
            Some(ENode::Outside(value)) => *value,
            Some(node @ ENode::Apply { op, children }) => match (self.there.get(node), self.weight(class)?) {
                (Some(value), _) => self.keep(*value)?,
                (None, Some(weight)) => self.patch.add_weight(weight)?,
                (None, None) => self.build(op, children)?,
            },
            Some(ENode::Constant(_) | ENode::Absent) | None => match self.weight(class)? {
                Some(weight) => self.patch.add_weight(weight)?,
                None => return Err(RuleFault::NoNode.into()),
            },
        };
        self.made.insert(class, value);
        Ok(value)
    }

    /// Leaves the node of `value` as it is, over what is chosen for its operands.
    fn keep(&mut self, value: ValueId) -> Result<ValueId, Fault> {
        let operands = self.region.graph.value(value).producer().operands();
        for operand in operands.flatten() {
            self.put(operand.id())?;
        }
        Ok(value)
    }

    fn build(&mut self, op: &Op, children: &[Id]) -> Result<ValueId, Fault> {
        let mut operands: Vec<Option<ValueId>> = Vec::with_capacity(children.len());
        for child in children {
            operands.push(if self.is_absent(*child) { None } else { Some(self.value(*child)?) });
        }
        let node = self.patch.add(op.clone(), &operands)?;
        Ok(self.patch.results(node)[0])
    }

    /// The weight that `class` is when it is a constant, without a node for it: most are read by a recipe only.
    fn weight(&mut self, class: Id) -> Result<Option<WeightId>, Fault> {
        let class = self.region.egraph.find(class);
        if let Some(weight) = self.weights.get(&class) {
            return Ok(Some(*weight));
        }
        let weight = match self.choice.node(class) {
            Some(ENode::Outside(value)) => self.region.graph.value(*value).weight(),
            Some(ENode::Constant(constant)) => {
                let tensor = constant.tensor().map_err(WeightError::from)?;
                Some(self.patch.weights_mut().add_memory(tensor.ty(), tensor.bytes().clone())?)
            }
            Some(ENode::Apply { op, children }) => self.recipe(op, children, class)?,
            Some(ENode::Absent) | None => None,
        };
        self.weights.extend(weight.map(|weight| (class, weight)));
        Ok(weight)
    }

    fn recipe(&mut self, op: &Op, children: &[Id], class: Id) -> Result<Option<WeightId>, Fault> {
        let Some(ty) = self.region.egraph[class].data.ty() else { return Ok(None) };
        if !children.iter().all(|child| self.region.egraph[*child].data.constant) {
            return Ok(None);
        }
        let mut from: Vec<Option<WeightId>> = Vec::with_capacity(children.len());
        for child in children {
            let weight = self.weight(*child)?;
            if weight.is_none() && !self.is_absent(*child) {
                return Ok(None);
            }
            from.push(weight);
        }
        Ok(Some(self.patch.weights_mut().add_recipe(ty.clone(), op.clone(), &from)?))
    }

    fn is_absent(&self, class: Id) -> bool {
        self.region.egraph[class].data.ty().is_none()
    }
}
