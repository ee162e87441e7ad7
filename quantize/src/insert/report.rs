//! What was quantized and what was left.

use std::collections::BTreeMap;

use serde::Serialize;

use super::plan::Plan;
use crate::profile::{Profile, Role};

/// A float that has no encoding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FloatValue {
    /// Its name, or else its id.
    pub name: String,
    /// What it is to the graph.
    pub role: Role,
    /// The operation that computes it; of a constant or a slot the first that reads it.
    pub op: String,
    /// Why it stays a float, where the profile says so.
    pub reason: Option<String>,
}

/// What was quantized and what was left.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// How many values were quantized, by what they are and the operation that computes them, or reads them where they
    /// are constants or slots.
    pub quantized: BTreeMap<Role, BTreeMap<String, usize>>,
    /// Floats without an encoding, in the order in which they are computed.
    pub float: Vec<FloatValue>,
    /// Names in the encodings that no value has.
    pub absent: Vec<String>,
    /// Names of values that were quantized before.
    pub already: Vec<String>,
}

impl Report {
    pub(super) fn of(plan: Plan) -> Self {
        plan.report
    }

    /// How many values of a role were quantized.
    pub fn count(&self, role: Role) -> usize {
        self.quantized.get(&role).map_or(0, |ops| ops.values().sum())
    }

    /// Takes from `profile` why floats stay floats.
    pub(super) fn explain_floats(&mut self, profile: &Profile) {
        for value in &mut self.float {
            value.reason = profile.floats.get(&value.name).cloned();
        }
    }

    /// Floats that are computed in each run, or that an adapter fills, and of which nobody said that they should stay
    /// floats.
    pub fn unexpected(&self) -> impl Iterator<Item = &FloatValue> {
        let is_computed = |value: &&FloatValue| matches!(value.role, Role::Activation | Role::Slot);
        self.float.iter().filter(is_computed).filter(|value| value.reason.is_none())
    }

    /// What is worth telling, a line each.
    pub fn lines(&self) -> Vec<String> {
        let kinds = [
            (Role::Activation, "activations"),
            (Role::Weight, "weights"),
            (Role::Bias, "biases"),
            (Role::Slot, "slots"),
        ];
        let counts: Vec<String> =
            kinds.iter().map(|(role, plural)| format!("{} {plural}", self.count(*role))).collect();
        let mut lines = vec![format!("quantized {}", counts.join(", "))];
        let mut list = |what: &str, names: Vec<String>| {
            if let Some(listed) = listed(&names) {
                lines.push(format!("{what}: {listed}"));
            }
        };
        list("floats", self.float.iter().map(|value| format!("%{} ({})", value.name, value.op)).collect());
        list("not in the graph", self.absent.clone());
        list("quantized before", self.already.clone());
        lines
    }
}

/// Names that a line lists.
const MAX_LISTED: usize = 8;

/// The first of `names`, and how many more there are; `None` when there are none.
pub(super) fn listed(names: &[String]) -> Option<String> {
    let more = names.len().saturating_sub(MAX_LISTED);
    let shown = names[..names.len() - more].join(", ");
    match (names.is_empty(), more) {
        (true, _) => None,
        (false, 0) => Some(shown),
        (false, more) => Some(format!("{shown} and {more} more")),
    }
}
