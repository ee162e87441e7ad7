//! Rewriting: what a patch changes, and what it refuses before anything changes.

mod common;

use common::{Choices, random_graph, random_inputs, run};
use proptest::prelude::*;
use quad_ir::dtype::DType;
use quad_ir::graph::{Graph, NodeId, NodeRef, Output, Patch, PatchError, StaleEdit, ValueId, ValueRef};
use quad_ir::interpret::{Interpreter, NamedTensors};
use quad_ir::loc::Loc;
use quad_ir::module::Module;
use quad_ir::ops::source::Binding;
use quad_ir::ops::{Add, Mul, Relu, Reshape, Sigmoid, Sub};
use quad_ir::tensor::Tensor;
use quad_ir::text::{NoWeights, parse, print};
use quad_ir::types::{Dim, TensorType};
use quad_ir::verify::verify;

fn graph(text: &str) -> Graph {
    let module =
        parse(&format!("quad 1\n{text}"), &NoWeights).unwrap_or_else(|error| panic!("{}", error.show()));
    module.graphs.into_iter().next().expect("a graph")
}

fn text(graph: &Graph) -> String {
    let text = print(&Module { graphs: vec![graph.clone()] }).expect("prints");
    text.trim_start_matches("quad 1\n\n").to_owned()
}

fn value(graph: &Graph, name: &str) -> ValueId {
    graph.find(name).expect("named").id()
}

fn node(graph: &Graph, name: &str) -> NodeId {
    graph.find(name).expect("named").producer().id()
}

/// `y = relu(x + x)` and `z = y * x`.
fn example() -> Graph {
    graph(
        "graph @main(%x: f32[batch, 2]) {
          %sum = add(%x, %x) : f32[batch, 2]
          %y = relu(%sum) : f32[batch, 2]
          %z = mul(%y, %x) : f32[batch, 2]
          return \"y\" = %y, \"z\" = %z
        }",
    )
}

#[test]
fn two_nodes_become_one() {
    let mut graph = example();
    let mut patch = Patch::new(&graph, "relu-of-sum");
    let x = value(&graph, "x");
    let new = patch.add_value(Sigmoid, &[x]).expect("typed");
    patch.replace(value(&graph, "y"), new).expect("of the same type");
    patch.erase(node(&graph, "y")).expect("it is there");
    patch.erase(node(&graph, "sum")).expect("it is there");
    let edit = patch.finish().expect("nothing reads them");
    assert_eq!((edit.n_added(), edit.erased().len(), edit.is_empty()), (1, 2, false));
    graph.apply(edit).expect("the graph is as it was");
    verify(&graph).expect("still a graph");
    let expected = "graph @main(%x: f32[batch, 2]) {
  %y = sigmoid(%x) : f32[batch, 2]
  %z = mul(%y, %x) : f32[batch, 2]
  return \"y\" = %y, \"z\" = %z
}
";
    assert_eq!(text(&graph), expected);
    let loc = graph.find("y").expect("the name moved").producer().loc().to_string();
    assert_eq!(loc, "rule `relu-of-sum` from line 4");
    let before = graph.nodes().count();
    let renumbering = graph.compact();
    verify(&graph).expect("still a graph");
    assert_eq!(text(&graph), expected, "renumbering does not show");
    assert_eq!(graph.nodes().map(|node| node.id().to_string()).collect::<Vec<_>>(), ["n0", "n1", "n2"]);
    assert_eq!(renumbering.value(new), Some(value(&graph, "y")));
    assert_eq!(graph.nodes().count(), before);
}

#[test]
fn something_is_put_behind_a_value() {
    let mut graph = example();
    let mut patch = Patch::new(&graph, "scale");
    let y = value(&graph, "y");
    let two = patch.add_constant(&Tensor::scalar(2.0f32)).expect("a weight");
    let scaled = patch.add_value(Mul, &[y, two]).expect("it reads the replaced value");
    patch.replace(y, scaled).expect("of the same type");
    graph.apply(patch.finish().expect("no cycle")).expect("the graph is as it was");
    verify(&graph).expect("still a graph");
    let expected = "graph @main(%x: f32[batch, 2]) {
  %sum = add(%x, %x) : f32[batch, 2]
  %0 = relu(%sum) : f32[batch, 2]
  %1 = weight 2.0 : f32[]
  %y = mul(%0, %1) : f32[batch, 2]
  %z = mul(%y, %x) : f32[batch, 2]
  return \"y\" = %y, \"z\" = %z
}
";
    assert_eq!(text(&graph), expected);
}

#[test]
fn inputs_keep_their_names() {
    let mut graph = example();
    let mut patch = Patch::new(&graph, "positive");
    let x = value(&graph, "x");
    let positive = patch.add_value(Relu, &[x]).expect("typed");
    patch.replace(x, positive).expect("of the same type");
    graph.apply(patch.finish().expect("no cycle")).expect("the graph is as it was");
    verify(&graph).expect("still a graph");
    assert!(text(&graph).contains("%0 = relu(%x) : f32[batch, 2]\n  %sum = add(%0, %0)"), "{}", text(&graph));
}

#[test]
fn a_value_stands_in_for_an_equal_one() {
    let mut graph = graph(
        "graph @main(%x: f32[2]) {
          %a = relu(%x) : f32[2]
          %b = relu(%x) : f32[2]
          %c = add(%a, %b) : f32[2]
          return \"c\" = %c, \"b\" = %b
        }",
    );
    let mut patch = Patch::new(&graph, "common");
    patch.replace(value(&graph, "b"), value(&graph, "a")).expect("of the same type");
    patch.erase(node(&graph, "b")).expect("it is there");
    graph.apply(patch.finish().expect("nothing reads it")).expect("the graph is as it was");
    verify(&graph).expect("still a graph");
    assert!(text(&graph).ends_with("%c = add(%a, %a) : f32[2]\n  return \"c\" = %c, \"b\" = %a\n}\n"));
}

#[test]
fn names_inputs_and_symbols_are_added() {
    let mut graph = example();
    let mut patch = Patch::new(&graph, "adapt");
    let rank = Dim::Sym(patch.symbol("rank"));
    let ty = TensorType::new(DType::F32, [rank, Dim::Known(2)].into_iter().collect());
    let slot = patch.add_input("slot", ty, Binding::Adapter).expect("an input");
    let positive = patch.add_value(Relu, &[slot]).expect("typed");
    patch.set_name(positive, "y");
    graph.apply(patch.finish().expect("nothing is read")).expect("the graph is as it was");
    verify(&graph).expect("still a graph");
    assert!(text(&graph).starts_with("graph @main(%x: f32[batch, 2], %slot: f32[rank, 2] adapter) {"));
    assert!(graph.find("y.1").is_some(), "a number keeps names apart");
    let mut patch = Patch::new(&graph, "drop");
    patch.erase(node(&graph, "y.1")).expect("it is there");
    patch.erase(node(&graph, "slot")).expect("it is there");
    graph.apply(patch.finish().expect("nothing reads them")).expect("the graph is as it was");
    verify(&graph).expect("still a graph");
    assert_eq!(text(&graph), text(&example()));
}

#[test]
fn refused_replacements() {
    let graph = example();
    let mut patch = Patch::new(&graph, "rule");
    let (x, y, z, sum) = (value(&graph, "x"), value(&graph, "y"), value(&graph, "z"), value(&graph, "sum"));
    let scalar = patch.add_constant(&Tensor::scalar(2.0f32)).expect("a weight");
    let error = patch.replace(y, scalar).expect_err("another shape").to_string();
    assert_eq!(error, "rule `rule`: %y has type f32[batch, 2], its replacement v4 has type f32[]");
    patch.replace(y, sum).expect("of the same type");
    let twice = |error| matches!(error, Err(PatchError::ReplacedTwice { .. }));
    assert!(twice(patch.replace(y, x)), "replaced twice");
    assert!(twice(patch.replace(z, y)), "the replacement is replaced");
    assert!(twice(patch.replace(sum, x)), "a replacement is replaced");
    assert!(twice(patch.replace(z, z)), "by itself");
    assert!(matches!(patch.replace(scalar, x), Err(PatchError::NoSuchValue { .. })), "not of the graph");
}

#[test]
fn refused_as_a_whole() {
    let graph = example();
    let finish = |change: &dyn Fn(&mut Patch<'_>)| {
        let mut patch = Patch::new(&graph, "rule");
        change(&mut patch);
        patch.finish().expect_err("refused").to_string()
    };
    let (sum, y, z) = (value(&graph, "sum"), value(&graph, "y"), value(&graph, "z"));
    let erase = |patch: &mut Patch<'_>, name: &str| patch.erase(node(&graph, name)).expect("it is there");
    assert_eq!(
        finish(&|patch| erase(patch, "y")),
        "rule `rule`: %y goes away but is still read by `mul`, n3 (line 5)"
    );
    assert_eq!(
        finish(&|patch| erase(patch, "z")),
        "rule `rule`: %z goes away but is still read by output `z`"
    );
    let read_by_new = finish(&|patch| {
        let new = patch.add_value(Relu, &[z]).expect("typed");
        patch.replace(z, new).expect("of the same type");
        erase(patch, "z");
    });
    assert_eq!(read_by_new, "rule `rule`: %z goes away but is still read by a new `relu`");
    let replacement_erased = finish(&|patch| {
        patch.replace(z, y).expect("of the same type");
        erase(patch, "y");
    });
    assert_eq!(
        replacement_erased,
        "rule `rule`: %y goes away but is still read by the readers of %z, which it replaces"
    );
    let cycle = finish(&|patch| {
        let new = patch.add_value(Sub, &[z, sum]).expect("typed");
        patch.replace(y, new).expect("of the same type");
    });
    assert!(cycle.contains("would depend on its own result"), "{cycle}");
    let cycle = finish(&|patch| patch.replace(y, z).expect("of the same type"));
    assert!(cycle.contains("would depend on its own result"), "{cycle}");
}

#[test]
fn an_edit_is_of_one_state() {
    let mut graph = example();
    let (first, second) = {
        let mut first = Patch::new(&graph, "first");
        first.add_value(Relu, &[value(&graph, "x")]).expect("typed");
        let mut second = Patch::new(&graph, "second");
        second.add_value(Relu, &[value(&graph, "x")]).expect("typed");
        (first.finish().expect("an edit"), second.finish().expect("an edit"))
    };
    let mut copy = graph.clone();
    copy.apply(first.clone()).expect("an equal graph");
    graph.apply(first).expect("the graph is as it was");
    assert_eq!(graph.apply(second.clone()), Err(StaleEdit));
    assert_eq!(copy.apply(second), Err(StaleEdit));
    verify(&graph).expect("nothing was changed half way");
}

#[test]
fn what_is_known_is_known_in_a_patch() {
    let mut graph = graph("graph @main(%x: f32[4]) { %y = relu(%x) : f32[4] return \"y\" = %y }");
    let mut patch = Patch::new(&graph, "square");
    let one = patch.add_constant(&Tensor::from_vec(&[2], vec![1i64, 2]).expect("two")).expect("a weight");
    let two = patch.add_value(Add, &[one, one]).expect("typed");
    assert_eq!(patch.known(two).and_then(|known| known.constant()?.to_i64().ok()), Some(vec![2, 4]));
    let refused = patch.add(Reshape::default(), &[Some(value(&graph, "y")), Some(two)]);
    assert!(refused.is_err(), "four elements are not eight");
    let square = patch.add_constant(&Tensor::from_vec(&[2], vec![2i64, 2]).expect("two")).expect("a weight");
    let y = patch.add_value(Reshape::default(), &[value(&graph, "y"), square]).expect("four are two by two");
    assert_eq!(patch.ty(y), Some(&TensorType::known(DType::F32, &[2, 2])));
    graph.apply(patch.finish().expect("an edit")).expect("the graph is as it was");
    assert_eq!(graph.value(y).ty(), &TensorType::known(DType::F32, &[2, 2]));
    let x = Tensor::from_vec(&[4], vec![1.0f32; 4]).expect("four");
    let outputs = Interpreter::new(&graph).run(&NamedTensors::from([("x".to_owned(), x)])).expect("runs");
    assert_eq!(outputs.len(), 1);
}

#[test]
fn a_chain_of_rewrites_stays_short() {
    let mut graph = example();
    for _ in 0..200 {
        let mut patch = Patch::new(&graph, "again");
        let y = value(&graph, "y");
        let new = patch.add_value(Relu, &[value(&graph, "sum")]).expect("typed");
        patch.replace(y, new).expect("of the same type");
        patch.erase(node(&graph, "y")).expect("it is there");
        graph.apply(patch.finish().expect("nothing reads it")).expect("the graph is as it was");
    }
    let loc = graph.find("y").expect("named").producer().loc().clone();
    assert!(matches!(loc, Loc::Rewritten { rule: "again", .. }));
    let text = loc.to_string();
    assert!(text.ends_with("from line 4") && text.len() < 400, "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Every node is made anew, one patch after the other: nothing may change.
    #[test]
    fn remaking_nodes_changes_nothing(numbers in proptest::collection::vec(any::<u32>(), 0..300)) {
        let mut choices = Choices::new(numbers);
        let mut graph = random_graph(&mut choices);
        let inputs = random_inputs(&graph, &mut choices);
        let (before, names) = (run(&graph, &inputs), names(&graph));
        for id in graph.nodes().map(NodeRef::id).collect::<Vec<_>>() {
            if graph.node(id).op().def().name() == "input" {
                continue;
            }
            let mut patch = Patch::new(&graph, "remake");
            let node = graph.node(id);
            let operands: Vec<_> = node.operands().map(|value| value.map(ValueRef::id)).collect();
            let new = patch.add(node.op().clone(), &operands).expect("it was accepted before");
            let results = patch.results(new).to_vec();
            for (old, new) in node.results().zip(results) {
                patch.replace(old.id(), new).expect("of the same type");
            }
            patch.erase(id).expect("it is there");
            let edit = patch.finish().expect("nothing reads the old node");
            graph.apply(edit).expect("the graph is as it was");
        }
        prop_assert_eq!(errors(&graph), "");
        prop_assert_eq!(&run(&graph, &inputs), &before);
        let printed = text(&graph);
        graph.compact();
        prop_assert_eq!(errors(&graph), "");
        prop_assert_eq!(text(&graph), printed);
        prop_assert_eq!(run(&graph, &inputs), before);
        prop_assert_eq!(self::names(&graph), names);
    }

    /// A patch is refused as a cycle exactly when a reader of the old value leads to what the patch reads.
    #[test]
    fn cycles_are_found(numbers in proptest::collection::vec(any::<u32>(), 0..300), seed in any::<u32>()) {
        let mut graph = random_graph(&mut Choices::new(numbers));
        let values: Vec<ValueId> = graph.nodes().flat_map(|node| node.results().map(ValueRef::id)).collect();
        let numbers = (0..256u32).map(|index| (seed ^ index).wrapping_mul(2_654_435_761) >> 5);
        let mut choices = Choices::new(numbers.collect());
        for _ in 0..24 {
            let (old, new, other) = (*choices.pick(&values), *choices.pick(&values), *choices.pick(&values));
            let (before, after) = (graph.value(old), graph.value(new));
            // Values of another type, or known to hold something else, may not suit their new readers.
            if before.ty() != after.ty() || before.known().is_some() || after.known().is_some() {
                continue;
            }
            let mut patch = Patch::new(&graph, "any");
            let mut read = vec![new];
            let mut replacement = new;
            if choices.once_in(2) && let Ok(sum) = patch.add_value(Add, &[new, other]) {
                read.push(other);
                replacement = sum;
            }
            // A sum may say more of its sizes than `old` says, so that it does not suit readers that take them for 1.
            if patch.ty(replacement) != Some(before.ty()) || patch.replace(old, replacement).is_err() {
                continue;
            }
            let leads = |reader: NodeRef<'_>| {
                read.iter().any(|value| graph.reaches(reader.id(), graph.value(*value).producer().id()))
            };
            let cyclic = before.readers().any(|(reader, _)| leads(reader));
            match patch.finish() {
                Ok(edit) => {
                    prop_assert!(!cyclic);
                    graph.apply(edit).expect("the graph is as it was");
                    prop_assert_eq!(errors(&graph), "");
                }
                Err(error) => prop_assert!(cyclic && matches!(error, PatchError::Cycle { .. }), "{error}"),
            }
        }
    }

    /// Whatever several replacements of one patch read, a patch that is accepted leaves no cycle.
    #[test]
    fn replacements_together_close_no_cycle(numbers in proptest::collection::vec(any::<u32>(), 0..300), seed in any::<u32>()) {
        let graph = random_graph(&mut Choices::new(numbers));
        let values: Vec<ValueId> = graph.nodes().flat_map(|node| node.results().map(ValueRef::id)).collect();
        let numbers = (0..1024u32).map(|index| (seed ^ index).wrapping_mul(2_654_435_761) >> 5);
        let mut choices = Choices::new(numbers.collect());
        for _ in 0..24 {
            let mut patch = Patch::new(&graph, "any");
            for _ in 0..4 {
                let (old, new, other) = (*choices.pick(&values), *choices.pick(&values), *choices.pick(&values));
                let of_sum = choices.once_in(2).then(|| patch.add_value(Add, &[new, other]).ok()).flatten();
                let new = of_sum.unwrap_or(new);
                let known = [old, new].iter().any(|value| patch.known(*value).is_some());
                if !known && patch.ty(new) == Some(graph.value(old).ty()) {
                    // What is replaced already is refused.
                    let _ = patch.replace(old, new);
                }
            }
            match patch.finish() {
                Ok(edit) => {
                    let mut changed = graph.clone();
                    changed.apply(edit).expect("the graph is as it was");
                    prop_assert_eq!(errors(&changed), "");
                    prop_assert_eq!(changed.topo().len(), changed.nodes().count());
                }
                Err(error) => prop_assert!(matches!(error, PatchError::Cycle { .. }), "{error}"),
            }
        }
    }
}

/// What the verifier says.
fn errors(graph: &Graph) -> String {
    verify(graph).map_or_else(|errors| errors.to_string(), |()| String::new())
}

/// The names of values, of outputs and of inputs.
fn names(graph: &Graph) -> Vec<String> {
    let mut names: Vec<String> = graph
        .nodes()
        .flat_map(|node| node.results().filter_map(|value| value.name().map(ToString::to_string)))
        .collect();
    names.sort_unstable();
    names.extend(graph.outputs().iter().map(|Output { name, .. }| name.to_string()));
    names.extend(graph.inputs().map(|input| input.name().map_or_else(String::new, ToString::to_string)));
    names
}
