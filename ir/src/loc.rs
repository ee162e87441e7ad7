//! Where a node came from, for diagnostics.

use std::fmt;
use std::sync::Arc;

/// A shared, read-only name.
pub type Name = Arc<str>;

/// The origin of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Loc {
    /// Made through the Rust interface, without an origin.
    #[default]
    Built,
    /// A node of an imported model file.
    Source {
        /// The node's name in the file, or a description of its place where it has none.
        node: Name,
        /// What the file calls the operation.
        op_type: Name,
    },
    /// A line of a text file, counted from 1.
    Text {
        /// The line.
        line: u32,
    },
    /// Made by a rewrite rule from other nodes.
    Rewritten {
        /// The rule.
        rule: &'static str,
        /// The nodes that it replaced.
        from: Arc<[Loc]>,
    },
}

impl fmt::Display for Loc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Built => f.write_str("a node built in memory"),
            Self::Source { node, op_type } => write!(f, "node `{node}` ({op_type})"),
            Self::Text { line } => write!(f, "line {line}"),
            Self::Rewritten { rule, from } => {
                write!(f, "rule `{rule}`")?;
                // One origin is enough to find the place; rules may merge hundreds of nodes.
                match from.first() {
                    Some(first) => write!(f, " from {first}"),
                    None => Ok(()),
                }
            }
        }
    }
}
