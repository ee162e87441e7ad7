//! What compilers of vendors take of a model that the runtime runs.
//!
//! Their rules are about operators and the tensors that these read and make, so a graph is lowered first and each operator is
//! asked; what is said of an operator is said of the node for whose sake it is there. Rules are data, one file for each
//! vendor, with the source of every rule.

pub mod exynos;
pub mod neuropilot;
pub mod qualcomm;
mod target;

use quad_backends::legality::Reason;
use quad_ir::dtype::DType;

use crate::model::{Content, Operator, Subgraph, Tensor};
use crate::schema::Builtin;

pub use target::{EXYNOS, NEUROPILOT, QUALCOMM};

/// What a vendor takes.
#[derive(Debug)]
pub struct VendorRules {
    /// The operators that are taken, with the element types of their first operand; no types means any.
    pub operators: &'static [(Builtin, &'static [DType])],
    /// Where that list comes from.
    pub source: &'static str,
    /// What else is asked.
    pub asks: &'static [Ask],
}

/// A condition on operators.
#[derive(Debug)]
pub struct Ask {
    /// The operators that it is about; none means all.
    pub of: &'static [Builtin],
    /// Why an operator is not taken, or nothing where it is.
    pub against: fn(&Operator, &Subgraph) -> Option<String>,
    /// Where it comes from.
    pub source: &'static str,
}

impl VendorRules {
    /// Whether `op` is taken at all.
    pub fn lists(&self, op: Builtin) -> bool {
        self.operators.iter().any(|(listed, _)| *listed == op)
    }

    /// Every reason for which `operator` of `graph` is not taken.
    pub fn reasons(&self, operator: &Operator, graph: &Subgraph) -> Vec<Reason> {
        let mut reasons = Vec::new();
        let name = operator.op.name();
        match self.operators.iter().find(|(op, _)| *op == operator.op) {
            None => reasons.push(Reason::new(format!("{name} is not taken")).source(self.source)),
            Some((_, types)) => {
                let first = operator.operands().next().map(|id| graph.tensor(id).dtype);
                if let Some(found) = first.filter(|found| !types.is_empty() && !types.contains(found)) {
                    let why = format!("{name} of {found} is not taken");
                    reasons.push(Reason::new(why).source(self.source));
                }
            }
        }
        for ask in self.asks.iter().filter(|ask| ask.of.is_empty() || ask.of.contains(&operator.op)) {
            if let Some(why) = (ask.against)(operator, graph) {
                reasons.push(Reason::new(format!("{name}: {why}")).source(ask.source));
            }
        }
        reasons
    }
}

/// The tensors that `operator` reads and makes.
fn tensors<'g>(operator: &'g Operator, graph: &'g Subgraph) -> impl Iterator<Item = &'g Tensor> {
    operator.operands().chain(operator.outputs.iter().copied()).map(|id| graph.tensor(id))
}

/// Whether `tensor` is computed, or passed in.
fn is_computed(tensor: &Tensor) -> bool {
    tensor.content == Content::Computed
}

/// At most `most` axes.
fn more_axes_than(most: usize, operator: &Operator, graph: &Subgraph) -> Option<String> {
    let widest = tensors(operator, graph).map(|tensor| tensor.sizes.len()).max().unwrap_or(0);
    (widest > most).then(|| format!("a tensor has {widest} axes, {most} are taken"))
}

/// No 64-bit integers but constant ones.
fn computes_i64(operator: &Operator, graph: &Subgraph) -> Option<String> {
    let wide = tensors(operator, graph).any(|tensor| tensor.dtype == DType::I64 && is_computed(tensor));
    wide.then(|| "64-bit integers that are computed are not taken; --io-types i32 narrows inputs".to_owned())
}

/// The operand at `index` is constant.
fn computes_operand(index: usize, operator: &Operator, graph: &Subgraph) -> Option<String> {
    let operand = operator.inputs.get(index).copied().flatten()?;
    is_computed(graph.tensor(operand)).then(|| format!("its operand {index} must be constant"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn operators_are_listed_once() {
        let plugin = &neuropilot::PLUGIN_RULES;
        for rules in [plugin, neuropilot::rules("mdla2.0"), &exynos::RULES, &qualcomm::RULES] {
            let unique: BTreeSet<Builtin> = rules.operators.iter().map(|(op, _)| *op).collect();
            assert_eq!(unique.len(), rules.operators.len());
        }
    }
}
