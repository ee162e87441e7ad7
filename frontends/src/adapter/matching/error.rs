//! Why adapters and a graph do not fit together.

use std::fmt;
use std::path::PathBuf;

use quad_ir::weights::WeightError;

use crate::adapter::names::quoted;

/// The layers could not be found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MatchError {
    /// Sites have no layer, all of them.
    #[error("{}", UnmatchedList(.0))]
    Unmatched(Vec<Unmatched>),
    /// A pattern cannot be used.
    #[error("pattern `{0}` is too long")]
    Pattern(String),
    /// A weight of the graph could not be read to be compared with the checkpoint.
    #[error("a weight of the graph could not be read: {0}")]
    Weight(#[from] WeightError),
    /// A tensor of the checkpoint could not be compared.
    #[error("`{}`, tensor `{tensor}`: {found}", path.display())]
    Base {
        /// The checkpoint.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// What was found.
        found: String,
    },
}

/// A site without a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmatched {
    /// The adapter's name.
    pub adapter: String,
    /// Component and path.
    pub site: String,
    /// Why.
    pub why: Why,
}

/// Why a site has no layer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Why {
    /// No module of the graph has such a path.
    Nothing {
        /// The most similar paths; only the first sites of an error have some.
        near: Vec<String>,
    },
    /// Several modules may be meant.
    Several {
        /// Their paths.
        paths: Vec<String>,
    },
    /// Path and content of the weight name different modules.
    Conflict {
        /// The module by path.
        path: String,
        /// The modules by content.
        content: String,
    },
    /// The checkpoint has the module, with a weight that no layer of the graph has.
    OtherBase {
        /// The module in the checkpoint.
        module: String,
    },
    /// Another site of the same adapter is for the module.
    Taken {
        /// The module.
        path: String,
        /// The other site.
        by: String,
    },
    /// The shapes do not fit.
    Misfit {
        /// The module.
        path: String,
        /// What was found and what was expected.
        why: String,
    },
    /// The module has products with different weights that fit.
    TwoWeights {
        /// The module.
        path: String,
        /// Two of the products.
        nodes: String,
    },
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing { near } => write!(
                f,
                "no layer of the model has this path; the nearest are {}",
                quoted(near.iter().map(String::as_str))
            ),
            Self::Several { paths } => {
                write!(f, "several layers may be meant: {}", quoted(paths.iter().map(String::as_str)))
            }
            Self::Conflict { path, content } => write!(
                f,
                "by its path it is `{path}`, by the weight in the checkpoint `{content}`; is it the model's checkpoint?"
            ),
            Self::OtherBase { module } => write!(
                f,
                "the checkpoint's weight of `{module}` is not in the model: the adapter's base is another one"
            ),
            Self::Taken { path, by } => write!(f, "it is for `{path}`, which `{by}` is for already"),
            Self::Misfit { path, why } => write!(f, "it does not fit `{path}`: {why}"),
            Self::TwoWeights { path, nodes } => {
                write!(
                    f,
                    "`{path}` has products with different weights, {nodes}; give the checkpoint to tell them apart"
                )
            }
        }
    }
}

/// Sites that a message lists.
pub(super) const MAX_LISTED: usize = 10;

struct UnmatchedList<'u>(&'u [Unmatched]);

impl fmt::Display for UnmatchedList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        let sites = if count == 1 { "1 site".to_owned() } else { format!("{count} sites") };
        write!(f, "{sites} of adapters cannot be matched to layers of the model:")?;
        for Unmatched { adapter, site, why } in self.0.iter().take(MAX_LISTED) {
            write!(f, "\n  adapter `{adapter}`, `{site}`: {why}")?;
        }
        match count.checked_sub(MAX_LISTED + 1) {
            Some(more) => write!(f, "\n  and {} more", more + 1),
            None => Ok(()),
        }
    }
}
