//! The page on what kernels of the runtime compute: `docs/generated/litert-kernels.md`.
//!
//! The page has the largest deviation seen. The reference kernels have none where a rule is known. Others pick instructions of the
//! processor, and on another one they may be nearer.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use libtest_mimic::Failed;
use quad_litert::kernels::Way;
use quad_tests::litert::RESOLVERS;
use quad_tests::paths;

const PAGE: &str = "docs/generated/litert-kernels.md";

const BEGINNING: &str = "\
# What LiteRT's kernels compute

Written by the test `quantized layers` of `tests/tests/litert`, which fails when a set of kernels is further off than this page
says. `QUAD_BLESS=1 ./test.sh --package quad-tests --test litert` writes it again.

`quad_litert::kernels` has the rules of the runtime's reference kernels. Here they are compared with three sets of kernels of
the runtime, on whole models: every tensor of stored integers is read from the runtime, and computed from what the runtime stored
for the operands. Numbers are the largest deviation in steps of the result; 0 is equality to the bit. How a layer is computed:

* *integers*: exact sums and products, scaled and rounded by multiplier and shift;
* *functions*: looked up, with lines between samples in 16 bits; softmax of 8 bits in fixed point;
* *moved*: elements are moved as they are stored;
* *floats*: between reading and storing integers, as normalizations are.
";

const OF_CHAINS: &str = "
## In one chain

The reference kernels against the interpreter with these rules, from the inputs of the model to its outputs. The table of `gelu`
in 16 bits is made with the error function of the C library, whose versions differ in the last place; there the rule is the
exact function, rounded.

| model | precision | layers | equal to the bit | first that is not | outputs |
|---|---|---|---|---|---|
";

/// What is said of outputs that are equal to the bit.
const EQUAL: &str = "equal";

const OF_FILES: &str = "
## Operations by themselves

Each file of `tests/litert` against the interpreter's own arithmetic, which rounds once: the steps that a set of kernels may be
off (of floats, thousandths of the largest), and whether the reference kernels give what the rules do, to the bit.

| file | XNNPACK | optimized | reference | by rule |
|---|---|---|---|---|
";

/// Layers that are computed alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Layers {
    pub(super) operation: &'static str,
    pub(super) bits: u32,
    pub(super) way: Way,
}

/// What was found of them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Figure {
    pub(super) count: u64,
    /// Steps, for each set of kernels in the order of [`RESOLVERS`].
    pub(super) worst: [i64; RESOLVERS.len()],
}

/// A model in one chain.
#[derive(Clone, Debug)]
pub(super) struct Chain {
    pub(super) model: &'static str,
    pub(super) precision: &'static str,
    pub(super) layers: usize,
    pub(super) same: usize,
    /// The operation of the first that is not, or `none`.
    pub(super) first: String,
    pub(super) outputs: bool,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Figures {
    pub(super) layers: BTreeMap<Layers, Figure>,
    pub(super) chains: Vec<Chain>,
}

/// Where the reference kernels stand among [`RESOLVERS`].
const REFERENCE: usize = 2;

/// Its table is made with the error function of the C library, whose versions differ in the last place.
const BY_LIBRARY: (&str, u32) = ("gelu", 16);

/// Fails where `figures` break a rule, or are not what the page says.
pub(super) fn require(figures: &Figures) -> Result<(), Failed> {
    let mut wrong = Vec::new();
    for (layers, figure) in &figures.layers {
        let is_exact = layers.way != Way::Floats && (layers.operation, layers.bits) != BY_LIBRARY;
        if is_exact && figure.worst[REFERENCE] != 0 {
            wrong.push(format!("{layers:?}: the reference kernels break their rule: {:?}", figure.worst));
        }
    }
    let path = paths::root().join(PAGE);
    if wrong.is_empty() && std::env::var_os("QUAD_BLESS").is_some() {
        std::fs::write(path, page(figures)?)?;
        return Ok(());
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    wrong.extend(differences(figures, &committed)?);
    if wrong.is_empty() { Ok(()) } else { Err(format!("{PAGE}:\n{}", wrong.join("\n")).into()) }
}

/// Where `figures` are worse than `committed` says, or other rows.
fn differences(figures: &Figures, committed: &str) -> Result<Vec<String>, Failed> {
    // With figures that no page has, what is left are the rows and all words around them.
    let known = |layers: &Layers| {
        let row = committed.lines().find_map(|line| line.strip_prefix(&row(*layers)))?;
        let cells: Vec<i64> = row.split('|').filter_map(|cell| cell.trim().parse().ok()).collect();
        let [_, worst @ ..] = cells.as_slice() else { return None };
        worst.try_into().ok()
    };
    let mut wrong = Vec::new();
    let mut agreed = figures.clone();
    for (layers, figure) in &mut agreed.layers {
        let Some(worst): Option<[i64; RESOLVERS.len()]> = known(layers) else {
            wrong.push(format!("{layers:?} is not there: {:?}", figure.worst));
            continue;
        };
        let is_worse = figure.worst.iter().zip(&worst).any(|(found, known)| found > known);
        if is_worse {
            wrong.push(format!("{layers:?}: {:?} found, {worst:?} there", figure.worst));
        }
        figure.worst = worst;
    }
    for chain in &mut agreed.chains {
        let row = committed.lines().find_map(|line| line.strip_prefix(&row_of_chain(chain)));
        let cells: Vec<&str> = row.unwrap_or_default().split('|').map(str::trim).collect();
        let [same, first, outputs, _] = cells[..] else {
            wrong.push(format!("{chain:?} is not there"));
            continue;
        };
        let (same, outputs) = (same.parse().unwrap_or(usize::MAX), outputs == EQUAL);
        if chain.same < same || (outputs && !chain.outputs) {
            wrong.push(format!("{chain:?}: less than what is there"));
        }
        *chain = Chain { same, outputs, first: first.to_owned(), ..*chain };
    }
    if wrong.is_empty() && page(&agreed)? != committed {
        wrong.push("it is out of date".to_owned());
    }
    Ok(wrong)
}

/// The beginning of the row of `layers`.
fn row(layers: Layers) -> String {
    let way = match layers.way {
        Way::Integers => "integers",
        Way::Functions => "functions",
        Way::Moved => "moved",
        Way::Floats => "floats",
    };
    format!("| `{}` | {} | {way} |", layers.operation, layers.bits)
}

/// The beginning of the row of `chain`.
fn row_of_chain(Chain { model, precision, layers, .. }: &Chain) -> String {
    format!("| `{model}` | {} | {layers} |", precision.to_uppercase())
}

/// What the files of `tests/litert` say is expected, which its own tests check.
fn files() -> Result<String, Failed> {
    let mut rows = String::new();
    for path in paths::files_below(&paths::root().join("tests/litert"), "quad")? {
        let text = std::fs::read_to_string(&path)?;
        let Some(expected) = text.lines().find_map(|line| line.strip_prefix("//! litert: ")) else {
            continue;
        };
        let (steps, words) = expected.split_once(';').unwrap_or((expected, ""));
        let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let by_rule = if words.contains("exact") { EQUAL } else { "" };
        let _ = writeln!(rows, "| {name} | {} | {by_rule} |", steps.replace(", ", " | "));
    }
    Ok(rows)
}

fn page(figures: &Figures) -> Result<String, Failed> {
    let mut page = BEGINNING.to_owned();
    page.push_str("\n| operation | bits | computed as | layers | XNNPACK | optimized | reference |\n");
    page.push_str("|---|---|---|---|---|---|---|\n");
    for (layers, Figure { count, worst: [default, plain, reference] }) in &figures.layers {
        let _ = writeln!(page, "{} {count} | {default} | {plain} | {reference} |", row(*layers));
    }
    page.push_str(OF_CHAINS);
    for chain in &figures.chains {
        let Chain { same, first, outputs, .. } = chain;
        let outputs = if *outputs { EQUAL } else { "differ" };
        let _ = writeln!(page, "{} {same} | {first} | {outputs} |", row_of_chain(chain));
    }
    page.push_str(OF_FILES);
    page.push_str(&files()?);
    Ok(page)
}
