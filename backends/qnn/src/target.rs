//! Qualcomm's tensor processors as a target: the passes that come first, and the verdict for each node.

use std::collections::BTreeMap;

use quad_backends::legality::Legality;
use quad_backends::support::SupportRow;
use quad_backends::target::{Target, TargetInfo};
use quad_ir::graph::{Graph, NodeId};

use crate::soc::Soc;
use crate::table::{Setting, support, verdicts};

/// The passes that make a frozen graph legal: quantization becomes part of types, and what is not quantized is in single
/// precision.
pub const FINISHING: &str = "convert-floats,fold-quant,clean";

/// In lists of targets.
pub const QNN: TargetInfo = TargetInfo {
    name: "qnn",
    summary: "The tensor processors (HTP) of Qualcomm's chips, through QNN.",
    archs: &["SM8350", "SM8450", "SM8550", "SC8380XP", "SM8650", "SM8750", "SM8850"],
    rules: &["qnn"],
    make: |arch| Box::new(Qnn { soc: arch.and_then(|part| part.parse().ok()).unwrap_or_default() }),
};

/// The tensor processor of a chip.
#[derive(Clone, Copy, Debug)]
pub struct Qnn {
    /// The chip.
    pub soc: Soc,
}

impl Target for Qnn {
    fn name(&self) -> &'static str {
        QNN.name
    }

    fn finishing(&self) -> String {
        FINISHING.to_owned()
    }

    fn verdicts(&self, graph: &Graph) -> BTreeMap<NodeId, Legality> {
        verdicts(graph, Setting { soc: self.soc })
    }

    fn support(&self) -> Vec<SupportRow> {
        support()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_chip_is_listed_oldest_first() {
        let mut all: Vec<Soc> = Soc::all().collect();
        all.sort_by_key(|soc| (soc.arch(), soc.model()));
        let parts: Vec<&str> = all.iter().map(|soc| soc.part()).collect();
        assert_eq!(parts, QNN.archs);
        assert_eq!(Soc::default().part(), "SM8850");
    }
}
