//! Vendors as targets: the runtime's rules first, then those of the vendor's compiler for every operator.

use std::collections::BTreeMap;

use quad_backends::legality::Legality;
use quad_backends::support::{SupportRow, rows_of};
use quad_backends::target::{Target, TargetInfo};
use quad_ir::graph::{Graph, NodeId};

use super::{VendorRules, exynos, neuropilot, qualcomm};
use crate::lower::{Settings, legality, lower, table};
use crate::schema::Builtin;
use crate::target::{RULES, finishing};

/// NeuroPilot in lists of targets.
pub const NEUROPILOT: TargetInfo = TargetInfo {
    name: "neuropilot",
    summary: "MediaTek's NeuroPilot through LiteRT: what the plugin legalizes and the documentation of the MDLA allows. \
              Whether NeuroPilot compiles a model only NeuroPilot can tell.",
    archs: neuropilot::ARCHS,
    rules: &["neuropilot"],
    make: |arch| {
        let rules = neuropilot::rules(arch.unwrap_or("mdla5.5"));
        Box::new(Vendor { info: &NEUROPILOT, rules })
    },
};

/// Exynos in lists of targets.
pub const EXYNOS: TargetInfo = TargetInfo {
    name: "exynos",
    summary: "Samsung's Exynos through LiteRT: what the plugin has a builder for. Whether Exynos compiles a model only \
              Exynos can tell.",
    archs: &[],
    rules: &["exynos", "litert", "neuropilot"],
    make: |_| Box::new(Vendor { info: &EXYNOS, rules: &exynos::RULES }),
};

/// Qualcomm through LiteRT in lists of targets.
pub const QUALCOMM: TargetInfo = TargetInfo {
    name: "litert-qualcomm",
    summary: "Qualcomm's Hexagon NPU through LiteRT: what the plugin compiles with QNN 2.51 for SM8650 and later.",
    archs: &[],
    rules: RULES,
    make: |_| Box::new(Vendor { info: &QUALCOMM, rules: &qualcomm::RULES }),
};

/// A vendor's compiler behind the runtime.
#[derive(Clone, Copy, Debug)]
struct Vendor {
    info: &'static TargetInfo,
    rules: &'static VendorRules,
}

impl Target for Vendor {
    fn name(&self) -> &'static str {
        self.info.name
    }

    fn finishing(&self) -> String {
        finishing(!self.rules.lists(Builtin::Sin) || !self.rules.lists(Builtin::Cos))
    }

    fn verdicts(&self, graph: &Graph) -> BTreeMap<NodeId, Legality> {
        let settings = Settings { narrow_inputs: true, ..Settings::default() };
        let mut verdicts: BTreeMap<NodeId, Legality> =
            graph.nodes().map(|node| (node.id(), legality(node, &settings))).collect();
        // Where a node cannot be lowered there are no operators to ask; its reasons are said already.
        let Ok(model) = lower(graph, &settings) else { return verdicts };
        for subgraph in &model.subgraphs {
            for operator in &subgraph.operators {
                let reasons = self.rules.reasons(operator, subgraph);
                if let Some(node) = operator.node.filter(|_| !reasons.is_empty()) {
                    let so_far = verdicts.remove(&node).unwrap_or(Legality::Legal);
                    verdicts.insert(node, so_far.and(Legality::of(reasons)));
                }
            }
        }
        verdicts
    }

    fn support(&self) -> Vec<SupportRow> {
        rows_of(table()).into_iter().filter_map(|row| self.row(row)).collect()
    }
}

impl Vendor {
    /// What the compiler makes of a row of the runtime; `None` where it takes none of the operators.
    fn row(&self, mut row: SupportRow) -> Option<SupportRow> {
        let operators = named(&row.becomes);
        let listed = |op: &Builtin| self.rules.operators.iter().find(|(listed, _)| listed == op);
        if operators.iter().all(|op| listed(op).is_none()) {
            let is_sine = operators.iter().any(|op| matches!(op, Builtin::Sin | Builtin::Cos));
            "sums and products, by the passes that come first".clone_into(&mut row.becomes);
            return is_sine.then_some(row);
        }
        for op in operators {
            let more = match listed(&op) {
                None => format!("no `{}`", op.name()),
                Some((_, [])) => continue,
                Some((_, types)) => {
                    let types: Vec<&str> = types.iter().map(|dtype| dtype.name()).collect();
                    format!("`{}` of {}", op.name(), types.join(", "))
                }
            };
            row.asks = if row.asks.is_empty() { more } else { format!("{}; {more}", row.asks) };
        }
        Some(row)
    }
}

/// The operators that a text names.
fn named(text: &str) -> Vec<Builtin> {
    let words = text.split('`').skip(1).step_by(2);
    words.filter_map(|word| Builtin::ALL.iter().copied().find(|op| op.name() == word)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_name_operators_that_there_are() {
        for row in rows_of(table()) {
            let words = row.becomes.split('`').skip(1).step_by(2);
            let operators = words.filter(|word| word.chars().all(|letter| !letter.is_lowercase())).count();
            assert!(operators > 0 && named(&row.becomes).len() == operators, "{}: {}", row.op, row.becomes);
        }
    }

    #[test]
    fn what_a_compiler_has_not_is_not_said_to_be_taken() {
        let rows = (NEUROPILOT.make)(None).support();
        let found = |name: &str| rows.iter().find(|row| row.op == name);
        assert!(found("exp").is_none());
        assert_eq!(found("sin").map(|row| row.becomes.starts_with("sums")), Some(true));
        assert_eq!(found("add").map(|row| &*row.becomes), Some("`ADD`"));
    }
}
