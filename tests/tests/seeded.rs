//! The bench finds what is wrong with passes that are broken on purpose: the check catches each, bisecting names the
//! rewrite, and reducing shows it on a model of a few nodes.

use quad_passes::bench::{Bisection, Failure, FailureKind};
use quad_passes::rule::Rule;
use quad_tests::generate::Trial;
use quad_tests::seeded::{SEEDED, Seeded};
use rayon::prelude::*;

/// Random graphs among which there is one that shows the mistake.
const SEEDS: u64 = 600;

/// Nodes of a graph, about.
const NODES: usize = 60;

/// Nodes that a reduced model may have, inputs and constants among them.
const FEW: usize = 15;

/// Smaller models that are tried.
const LIMIT: usize = 5000;

#[test]
fn every_mistake_is_caught_named_and_shown_on_few_nodes() {
    assert!(SEEDED.len() >= 12);
    let faults: Vec<String> = SEEDED.par_iter().filter_map(|seeded| fault(*seeded)).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// What the bench does not do for `seeded`.
fn fault(seeded: Seeded) -> Option<String> {
    let pipeline = seeded.pipeline();
    let name = seeded.name();
    let trial = Trial::new(&pipeline, NODES);
    let caught = (0..SEEDS).find_map(|seed| {
        let module = trial.module(seed).expect("a graph");
        let outcome = trial.bench(seed).attempt(&module).expect("it runs");
        outcome.err().map(|failure| (seed, module, failure))
    });
    let Some((seed, module, failure)) = caught else { return Some(format!("{name} is not caught")) };
    if failure.pass != name {
        return Some(format!("{name}: {failure}"));
    }
    let bench = trial.bench(seed);
    match bench.bisect(&module).expect("it runs") {
        Bisection::Fails(culprit) if names(&culprit.failure, culprit.rule, name) && culprit.change > 0 => {
            let seen = culprit.witness.as_ref().is_some_and(|witness| witness.before != witness.after);
            if !seen && culprit.failure.kind.is_numeric() {
                return Some(format!("{name}: the change is not shown: {culprit:?}"));
            }
        }
        other => return Some(format!("{name}, seed {seed}: bisecting finds {other:?}")),
    }
    let reduced = bench.reduce(&module, LIMIT, &mut |_, _| ()).expect("it runs").expect("it fails");
    let nodes = reduced.module.graphs[0].nodes().count();
    let text = quad_ir::text::print(&reduced.module).expect("in memory");
    if nodes > FEW || !failure.is_again(&reduced.failure) {
        return Some(format!("{name}, seed {seed}: reduced to {nodes} nodes, {}\n{text}", reduced.failure));
    }
    None
}

/// Whether a bisection names the broken rule; of a panic only the pass is known.
fn names(failure: &Failure, rule: Option<&str>, name: &str) -> bool {
    failure.pass == name && (rule == Some(name) || failure.kind == FailureKind::Panic)
}
