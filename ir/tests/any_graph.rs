//! What must hold of any graph: it is verified, printed and parsed back, and means the same.

mod common;

use std::collections::BTreeSet;

use common::{Choices, random_graph, random_inputs, run};
use proptest::prelude::*;
use quad_ir::graph::Graph;
use quad_ir::module::Module;
use quad_ir::text::{MemoryWeights, parse, print};
use quad_ir::verify::verify;

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn is_verified_and_survives_text(numbers in proptest::collection::vec(any::<u32>(), 0..1000)) {
        let mut choices = Choices::new(numbers);
        let graph = random_graph(&mut choices);
        prop_assert_eq!(errors(&graph), "");
        let weights = MemoryWeights::of(graph.weights()).expect("in memory");
        let module = Module { graphs: vec![graph.clone()] };
        let text = print(&module).expect("prints");
        let parsed = match parse(&text, &weights) {
            Ok(parsed) => parsed,
            Err(error) => return Err(TestCaseError::fail(format!("{}\n\n{text}", error.show()))),
        };
        prop_assert_eq!(print(&parsed).expect("prints again"), text);
        let parsed = &parsed.graphs[0];
        prop_assert_eq!(errors(parsed), "");
        let inputs = random_inputs(&graph, &mut choices);
        prop_assert_eq!(run(&graph, &inputs), run(parsed, &inputs));
    }

    #[test]
    fn no_text_panics(text in "(quad 1|graph|@m|%x|%1|\\(|\\)|\\{|\\}|:|=|,|f32|\\[|\\]|4|-|\\*|\\+|\\?1|return|relu|add|weight|\"|meta|quant|nan|1e5| |\n|//|\\PC){0,60}") {
        let _ = parse(&text, &quad_ir::text::NoWeights);
        let _ = parse(&format!("quad 1 graph @main(%x: f32[4]) {{ {text}"), &quad_ir::text::NoWeights);
    }

    #[test]
    fn no_damage_panics(
        numbers in proptest::collection::vec(any::<u32>(), 0..200),
        cut in any::<prop::sample::Index>(),
        other in any::<char>(),
    ) {
        let graph = random_graph(&mut Choices::new(numbers));
        let weights = MemoryWeights::of(graph.weights()).expect("in memory");
        let text = print(&Module { graphs: vec![graph] }).expect("prints");
        let at = text.floor_char_boundary(cut.index(text.len()));
        prop_assert!(parse(&text[..at], &weights).is_err() || text[at..].trim().is_empty() || at <= "quad 1\n\n".len());
        let changed: String = text[..at].chars().chain([other]).chain(text[at..].chars().skip(1)).collect();
        if let Err(error) = parse(&changed, &weights) {
            let _ = error.show().to_string();
        }
    }
}

/// What the verifier says.
fn errors(graph: &Graph) -> String {
    verify(graph).map_or_else(|errors| errors.to_string(), |()| String::new())
}

/// The generator would test nothing if type rules refused what it draws.
#[test]
fn most_operations_are_reached() {
    let mut reached = BTreeSet::new();
    for seed in 0..400u32 {
        let numbers = (0..1000u32).map(|index| (seed * 7919 + index).wrapping_mul(2_654_435_761) >> 7);
        let graph = random_graph(&mut Choices::new(numbers.collect()));
        reached.extend(graph.nodes().map(|node| node.op().def().name()));
    }
    let all: BTreeSet<&str> = quad_ir::ops::all_ops().iter().map(|op| op.def().name()).collect();
    let missed: Vec<&&str> = all.iter().filter(|name| !reached.contains(**name)).collect();
    assert!(reached.len() * 10 >= all.len() * 8, "never accepted: {missed:?}");
}
