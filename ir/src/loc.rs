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
        /// Where it is in the program that the model was made from; see [`Loc::path`].
        path: Option<Name>,
    },
    /// A line of a text file, counted from 1.
    Text {
        /// The line.
        line: u32,
        /// What the text says of where it is in the program that the model was made from; see [`Loc::path`].
        path: Option<Name>,
    },
    /// Made by a rewrite rule from other nodes.
    Rewritten {
        /// The rule.
        rule: &'static str,
        /// The nodes that it replaced.
        from: Arc<[Loc]>,
        /// The path of those that have one, when it is one; see [`Loc::path`].
        path: Option<Name>,
    },
}

/// Origins that a rewritten node remembers: enough to find the place; rules may merge hundreds of nodes.
const MAX_ORIGINS: usize = 8;

/// Rules that a chain of rewrites remembers. A node rewritten more often keeps its last rules and its first origins.
const MAX_DEPTH: usize = 16;

impl Loc {
    /// The origin of what `rule` makes of nodes from `origins`.
    pub fn rewritten<'l>(rule: &'static str, origins: impl IntoIterator<Item = &'l Self>) -> Self {
        let mut from: Vec<Self> = Vec::new();
        let mut paths: Vec<&Name> = Vec::new();
        for origin in origins {
            paths.extend(origin.path().filter(|path| !paths.contains(path)));
            let origin = if origin.depth() < MAX_DEPTH { origin } else { origin.first() };
            if from.len() < MAX_ORIGINS && !from.contains(origin) {
                from.push(origin.clone());
            }
        }
        let path = if let [path] = paths[..] { Some(path.clone()) } else { None };
        Self::Rewritten { rule, from: from.into(), path }
    }

    /// Where the node is in the program that the model was made from, such as `decoder.layers.0.to_q` for a product and
    /// `decoder.layers.0.to_q.weight` for its weight; `None` where nobody said. It is printed with the node and read
    /// again. A rewritten node has it when all nodes that it was made of agree.
    pub fn path(&self) -> Option<&Name> {
        match self {
            Self::Built => None,
            Self::Source { path, .. } | Self::Text { path, .. } | Self::Rewritten { path, .. } => {
                path.as_ref()
            }
        }
    }

    /// How many rules led to the node.
    fn depth(&self) -> usize {
        match self {
            Self::Rewritten { from, .. } => 1 + from.iter().map(Self::depth).max().unwrap_or(0),
            _ => 0,
        }
    }

    /// Where the first of its origins came from, before any rule.
    fn first(&self) -> &Self {
        match self {
            Self::Rewritten { from, .. } => from.first().map_or(self, Self::first),
            _ => self,
        }
    }
}

impl fmt::Display for Loc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Built => f.write_str("a node built in memory"),
            Self::Source { node, op_type, .. } => write!(f, "node `{node}` ({op_type})"),
            Self::Text { line, .. } => write!(f, "line {line}"),
            Self::Rewritten { rule, from, .. } => {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn at(path: Option<&str>) -> Loc {
        Loc::Text { line: 1, path: path.map(Into::into) }
    }

    #[test]
    fn a_rewritten_node_has_the_path_that_its_origins_agree_on() {
        let path = |origins: &[Loc]| Loc::rewritten("rule", origins).path().map(ToString::to_string);
        assert_eq!(path(&[at(Some("a")), at(None), at(Some("a"))]).as_deref(), Some("a"));
        assert_eq!(path(&[at(Some("a")), at(Some("b"))]), None);
        assert_eq!(path(&[Loc::Built]), None);
        assert_eq!(path(&[Loc::rewritten("first", [&at(Some("a"))])]).as_deref(), Some("a"));
    }
}
