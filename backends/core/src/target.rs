//! A backend as a program sees it that checks models.

use std::collections::BTreeMap;
use std::fmt;

use quad_ir::graph::{Graph, NodeId};
use quad_ir::module::Module;

use crate::legality::Legality;
use crate::support::SupportRow;

/// The pipeline that makes the frozen form of a graph, which all targets share, of an imported one.
pub const FROZEN: &str = "frozen";

/// The graph that computes slots of what adapters hold.
const PACK: &str = "pack";

/// Whether `module` is in the frozen form already, so that passes for any target come next: it takes slots, or computes
/// with stored integers, and what slots and scales are made for must not change.
pub fn is_frozen(module: &Module) -> bool {
    let is_quantized =
        |graph: &Graph| graph.nodes().any(|node| node.results().any(|value| value.ty().quant.is_some()));
    module.graph(PACK).is_some() || module.graphs.iter().any(is_quantized)
}

/// What models are checked for: a backend with its settings chosen.
pub trait Target: fmt::Debug + Send + Sync {
    /// The name by which commands know it.
    fn name(&self) -> &'static str;

    /// The passes that make the frozen form of a graph legal, as pipelines are written. They may run again on a graph that
    /// they have made legal.
    fn finishing(&self) -> String;

    /// The passes that make any graph legal.
    fn pipeline(&self) -> String {
        format!("{FROZEN},{}", self.finishing())
    }

    /// The verdict for every node of `graph`, which the pipeline has left, inputs and constants included.
    fn verdicts(&self, graph: &Graph) -> BTreeMap<NodeId, Legality>;

    /// What becomes of each operation, for the support page.
    fn support(&self) -> Vec<SupportRow>;
}

/// A target in a list of them.
#[derive(Clone, Copy, Debug)]
pub struct TargetInfo {
    /// The name by which commands know it.
    pub name: &'static str,
    /// A sentence that says what it is.
    pub summary: &'static str,
    /// The generations of hardware that it knows, oldest first; the last is meant where none is named.
    pub archs: &'static [&'static str],
    /// The presets of rules whose profiles it takes; `quad profile make --rules` makes one for it by the first.
    pub rules: &'static [&'static str],
    /// Makes the target for a generation of hardware, one of `archs`, or for the default.
    pub make: fn(Option<&str>) -> Box<dyn Target>,
}

/// A target or a generation of hardware is not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnknownTarget {
    /// There is no such target.
    #[error("there is no target `{name}`; known are {known}")]
    Name {
        /// What was asked for.
        name: String,
        /// The names of all targets.
        known: String,
    },
    /// The target has no such generation.
    #[error("target `{target}` has no architecture `{arch}`; known are {known}")]
    Arch {
        /// The target.
        target: &'static str,
        /// What was asked for.
        arch: String,
        /// All that it has.
        known: String,
    },
}

/// What is known of the target `name` of `targets`.
pub fn info<'t>(targets: &'t [TargetInfo], name: &str) -> Result<&'t TargetInfo, UnknownTarget> {
    targets.iter().find(|info| info.name == name).ok_or_else(|| UnknownTarget::Name {
        name: name.to_owned(),
        known: targets.iter().map(|info| info.name).collect::<Vec<_>>().join(", "),
    })
}

/// The target `name` of `targets`, for the generation of hardware `arch`.
pub fn find(
    targets: &[TargetInfo],
    name: &str,
    arch: Option<&str>,
) -> Result<Box<dyn Target>, UnknownTarget> {
    let info = info(targets, name)?;
    if let Some(arch) = arch.filter(|arch| !info.archs.contains(arch)) {
        let known = if info.archs.is_empty() { "none".to_owned() } else { info.archs.join(", ") };
        return Err(UnknownTarget::Arch { target: info.name, arch: arch.to_owned(), known });
    }
    Ok((info.make)(arch))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Nothing;

    impl Target for Nothing {
        fn name(&self) -> &'static str {
            "nothing"
        }
        fn finishing(&self) -> String {
            "clean".to_owned()
        }
        fn verdicts(&self, graph: &Graph) -> BTreeMap<NodeId, Legality> {
            graph.nodes().map(|node| (node.id(), Legality::because("nothing is taken"))).collect()
        }
        fn support(&self) -> Vec<SupportRow> {
            Vec::new()
        }
    }

    #[test]
    fn what_is_not_known_is_said_with_what_is() {
        let info = TargetInfo {
            name: "nothing",
            summary: "",
            archs: &["v1", "v2"],
            rules: &[],
            make: |_| Box::new(Nothing),
        };
        let targets = [info];
        assert!(find(&targets, "nothing", None).is_ok() && find(&targets, "nothing", Some("v2")).is_ok());
        let said = |name, arch| find(&targets, name, arch).expect_err("not known").to_string();
        assert_eq!(said("all", None), "there is no target `all`; known are nothing");
        assert_eq!(
            said("nothing", Some("v3")),
            "target `nothing` has no architecture `v3`; known are v1, v2"
        );
    }
}
