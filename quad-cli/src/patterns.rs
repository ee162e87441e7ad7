//! What the patterns of `--mixed` and `--float` reach. One that reaches nothing is a slip more often than it is meant.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use quad_ir::graph::{Graph, NodeRef, ValueRef};
use quad_passes::lora::interface::adapter_inputs;
use quad_quantize::precision::Pattern;
use quad_quantize::profile::{Profile, Role};
use serde::Serialize;

use crate::output;
use crate::table::counted;

/// Names that a warning lists.
const NEAREST: usize = 3;

/// What a pattern reaches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Reach {
    /// The option that it is of.
    option: &'static str,
    pattern: String,
    weights: usize,
    activations: usize,
    slots: usize,
    /// Where it reaches nothing, the names that are most like it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    nearest: Vec<String>,
}

/// A value that a profile speaks of.
struct Known<'g> {
    role: Role,
    /// The modules that it is of.
    paths: BTreeSet<&'g str>,
}

/// What the patterns of `mixed` and `floats` reach in `profile`, which was made with them for `graph`. Warns of those that
/// reach nothing.
pub(crate) fn reach<'p>(
    graph: &Graph,
    profile: &Profile,
    mixed: impl IntoIterator<Item = &'p Pattern>,
    floats: impl IntoIterator<Item = &'p Pattern>,
) -> Vec<Reach> {
    let known = known(graph);
    let stored = |name: &str| profile.entries.contains_key(name);
    let kept = |name: &str| profile.floats.get(name).is_some_and(|reason| reason.starts_with("asked for"));
    let mixed = mixed.into_iter().map(|pattern| Reach::of("--mixed", pattern, &known, &stored));
    let floats = floats.into_iter().map(|pattern| Reach::of("--float", pattern, &known, &kept));
    let found: Vec<Reach> = mixed.chain(floats).collect();
    found.iter().filter(|reach| reach.is_nothing()).for_each(|reach| output::warning(&reach.warning()));
    found
}

/// Says what each pattern reaches.
pub(crate) fn print(reaches: &[Reach], out: &mut dyn Write) -> io::Result<()> {
    for Reach { option, pattern, weights, activations, slots, .. } in reaches {
        let counts = [(*weights, "weight"), (*activations, "activation"), (*slots, "slot")];
        let counts = counts.map(|(count, noun)| counted(count, noun)).join(", ");
        writeln!(out, "{option} `{pattern}` reaches {counts}")?;
    }
    Ok(())
}

/// The values of `graph` that can have an encoding, by name.
fn known(graph: &Graph) -> BTreeMap<&str, Known<'_>> {
    let slots: BTreeSet<_> = adapter_inputs(graph).map(ValueRef::id).collect();
    let mut known = BTreeMap::new();
    for value in graph.nodes().flat_map(NodeRef::results) {
        let Some(name) = value.name() else { continue };
        let is_slot = slots.contains(&value.id());
        let role = match value.weight() {
            _ if is_slot => Role::Slot,
            Some(_) => Role::Weight,
            None => Role::Activation,
        };
        // Constants and slots belong to whoever reads them.
        let nodes: Vec<NodeRef<'_>> = match role {
            Role::Activation => vec![value.producer()],
            _ => value.readers().map(|(reader, _)| reader).collect(),
        };
        let paths = nodes.into_iter().filter_map(|node| node.loc().path()).map(|path| &**path).collect();
        known.insert(&**name, Known { role, paths });
    }
    known
}

impl Reach {
    /// What `pattern` reaches of the `known` values that `counts` says of that they count.
    fn of(
        option: &'static str,
        pattern: &Pattern,
        known: &BTreeMap<&str, Known<'_>>,
        counts: &dyn Fn(&str) -> bool,
    ) -> Self {
        let fits = |(name, known): &(&&str, &Known<'_>)| {
            pattern.fits(name, None) || known.paths.iter().any(|path| pattern.fits(name, Some(path)))
        };
        let mut found: BTreeMap<Role, usize> = BTreeMap::new();
        for (_, known) in known.iter().filter(|(name, _)| counts(name)).filter(fits) {
            *found.entry(known.role).or_default() += 1;
        }
        let of = |role: Role| found.get(&role).copied().unwrap_or_default();
        let (weights, activations, slots) = (of(Role::Weight), of(Role::Activation), of(Role::Slot));
        let nearest = if found.is_empty() { nearest(pattern.text(), known) } else { Vec::new() };
        Self { option, pattern: pattern.text().to_owned(), weights, activations, slots, nearest }
    }

    fn is_nothing(&self) -> bool {
        self.weights + self.activations + self.slots == 0
    }

    fn warning(&self) -> String {
        let Self { option, pattern, nearest, .. } = self;
        let nearest: Vec<String> = nearest.iter().map(|name| format!("`{name}`")).collect();
        format!(
            "{option} `{pattern}` reaches nothing: it fits the whole name of no value that is quantized and of no module; the \
             nearest names are {}, and * stands for any text",
            nearest.join(", ")
        )
    }
}

/// The names of values and modules, also of modules around them, that are most like `pattern`.
fn nearest(pattern: &str, known: &BTreeMap<&str, Known<'_>>) -> Vec<String> {
    let wanted = pattern.replace('*', "");
    let wanted = wanted.trim_matches(['.', '/']);
    let modules = known
        .values()
        .flat_map(|known| &known.paths)
        .flat_map(|path| path.match_indices('.').map(|(at, _)| &path[..at]).chain([*path]));
    let names: BTreeSet<&str> = known.keys().copied().chain(modules).collect();
    let mut ranked: Vec<(usize, &str)> =
        names.into_iter().map(|name| (strsim::damerau_levenshtein(wanted, name), name)).collect();
    ranked.sort_unstable();
    ranked.into_iter().take(NEAREST).map(|(_, name)| name.to_owned()).collect()
}
