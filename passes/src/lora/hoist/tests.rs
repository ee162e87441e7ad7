//! Tests of the cut between adapter and run. That the module computes what it computed is checked along.

use std::collections::BTreeMap;

use quad_ir::text::{self, NoWeights};
use quad_ir::verify::verify;

use super::*;
use crate::check::{draw_inputs, evaluate};

fn parse(body: &str) -> Module {
    text::parse(&format!("quad 1\n\n{body}"), &NoWeights).unwrap_or_else(|error| panic!("{}", error.show()))
}

/// Hoists, checks that nothing else changed, and returns how many changes were made.
fn hoist(module: &mut Module) -> usize {
    let inputs = draw_inputs(module, 1, &BTreeMap::new()).expect("known sizes");
    let before = evaluate(module, &inputs).expect("it runs");
    let mut cx = Context::default();
    HoistAdapter.run_module(module, &mut cx).expect("it can be hoisted");
    for graph in &mut module.graphs {
        graph.compact();
        verify(graph).expect("valid");
    }
    assert_eq!(evaluate(module, &inputs).expect("it runs"), before);
    cx.changes()
}

/// Names and types of the inputs of the graph that runs which depend on an adapter.
fn slots(module: &Module) -> Vec<String> {
    let main = module.main().expect("a graph that runs");
    adapter_inputs(main)
        .map(|input| format!("{}: {}", input.name().map_or("", |name| name), input.ty()))
        .collect()
}

/// What the graph that runs computes.
fn operations(module: &Module) -> Vec<&'static str> {
    let main = module.main().expect("a graph that runs");
    main.topo()
        .into_iter()
        .map(|node| main.node(node).op().def().name())
        .filter(|name| *name != "input")
        .collect()
}

#[test]
fn what_is_larger_than_its_origin_is_made_in_each_run() {
    let mut module = parse(
        "graph @g(%x: f32[6, 2], %s.lora_scale: f32[2] adapter) {
           %shape = weight [6, 2] : i64[2]
           %0 = neg(%s.lora_scale) : f32[2]
           %1 = expand(%0, %shape) : f32[6, 2]
           %2 = transpose(%1) {perm = [1, 0]} : f32[2, 6]
           %3 = transpose(%2) {perm = [1, 0]} : f32[6, 2]
           %y = mul(%x, %3) : f32[6, 2]
           return \"y\" = %y
         }",
    );
    assert!(hoist(&mut module) > 0);
    assert_eq!(slots(&module), ["s.lora_scale: f32[2]"]);
    assert_eq!(operations(&module), ["weight", "expand", "transpose", "transpose", "mul"]);
    assert_eq!(hoist(&mut module), 0, "once is enough");
}

#[test]
fn slices_of_a_factor_are_numbered_slots() {
    let mut module = parse(
        "graph @g(%x: f32[3, 2], %q.lora_B: f32[4, 2] adapter, %q.lora_scale: f32[2] adapter) {
           %sizes = weight [2, 2] : i64[2]
           %0 = mul(%q.lora_B, %q.lora_scale) : f32[4, 2]
           %1 = transpose(%0) {perm = [1, 0]} : f32[2, 4]
           %2, %3 = split(%1, %sizes) {axis = 1} : f32[2, 2], f32[2, 2]
           %4 = matmul(%x, %2) : f32[3, 2]
           %y = matmul(%4, %3) : f32[3, 2]
           return \"y\" = %y
         }",
    );
    hoist(&mut module);
    assert_eq!(slots(&module), ["q.lora_B.0: f32[2, 2]", "q.lora_B.1: f32[2, 2]"]);
    assert_eq!(operations(&module), ["matmul", "matmul"]);
    assert_eq!(hoist(&mut module), 0, "once is enough");
}

#[test]
fn what_passes_add_later_is_hoisted_later() {
    let mut module = parse(
        "graph @g(%x: f32[3, 2], %q.lora_A: f32[4, 2] adapter, %p.lora_A: f32[3, 3] adapter) {
           %0 = transpose(%q.lora_A) {perm = [1, 0]} : f32[2, 4]
           %1 = matmul(%x, %0) : f32[3, 4]
           %y = matmul(%p.lora_A, %1) : f32[3, 4]
           return \"y\" = %y
         }",
    );
    hoist(&mut module);
    assert_eq!(slots(&module), ["p.lora_A: f32[3, 3]", "q.lora_A: f32[2, 4]"]);
    let printed = text::print(&module).expect("it can be printed");
    let later = printed.replace("matmul(%x, %q.lora_A) : f32[3, 4]", "matmul(%x, %neg) : f32[3, 4]");
    let later = later.replacen(") {\n", ") {\n  %neg = neg(%q.lora_A) : f32[2, 4]\n", 1);
    assert_ne!(later, printed);
    let mut module = text::parse(&later, &NoWeights).expect("a module");
    assert!(hoist(&mut module) > 0);
    assert_eq!(slots(&module), ["p.lora_A: f32[3, 3]", "q.lora_A: f32[2, 4]"]);
    assert_eq!(operations(&module), ["matmul", "matmul"]);
    let pack = module.graph(PACK).expect("it was made");
    assert_eq!(adapter_inputs(pack).names(), ["q.lora_A", "p.lora_A"]);
    assert!(pack.nodes().any(|node| node.op().def().name() == "neg"));
}

/// Names, for comparison.
trait Names {
    fn names(self) -> Vec<String>;
}

impl<'g, I: Iterator<Item = quad_ir::graph::ValueRef<'g>>> Names for I {
    fn names(self) -> Vec<String> {
        self.filter_map(|value| Some(value.name()?.to_string())).collect()
    }
}

#[test]
fn a_quantized_slot_stays_small() {
    let mut module = parse(
        "graph @g(%x: f32[3, 8], %q.lora_A: f32[8, 4] adapter) {
           %scale = weight 0.1 : f32[]
           %zero = weight 0 : i8[]
           %0 = quantize_linear(%q.lora_A, %scale, %zero) : i8[8, 4]
           %1 = dequantize_linear(%0, %scale, %zero) : f32[8, 4]
           %y = matmul(%x, %1) : f32[3, 4]
           return \"y\" = %y
         }",
    );
    hoist(&mut module);
    assert_eq!(slots(&module), ["q.lora_A: i8[8, 4]"]);
    assert_eq!(operations(&module), ["weight", "weight", "dequantize_linear", "matmul"]);
}

#[test]
fn a_tensor_that_is_read_as_it_is_becomes_a_slot_of_its_own_name() {
    let mut module = parse(
        "graph @g(%x: f32[1, 3, 4, 4], %c.lora_A: f32[2, 3, 1, 1] adapter) {
           %y = conv(%x, %c.lora_A) : f32[1, 2, 4, 4]
           return \"y\" = %y
         }",
    );
    assert!(hoist(&mut module) > 0, "the graph @pack is new");
    assert_eq!(slots(&module), ["c.lora_A: f32[2, 3, 1, 1]"]);
    let pack = module.graph(PACK).expect("it was made");
    assert_eq!(pack.outputs().len(), 1);
    assert_eq!(&**module.main().expect("a graph that runs").name(), "main");
}

#[test]
fn a_graph_without_adapter_inputs_is_left_alone() {
    let mut module = parse("graph @g(%x: f32[2]) {\n  %y = relu(%x) : f32[2]\n  return \"y\" = %y\n}\n");
    assert_eq!(hoist(&mut module), 0);
    assert_eq!(module.graphs.len(), 1);
}

#[test]
fn a_slot_does_not_take_the_name_of_another_value() {
    let mut module = parse(
        "graph @g(%x: f32[2, 4], %q.lora_B: f32[4, 2] adapter) {
           %sizes = weight [2, 2] : i64[2]
           %a, %b = split(%q.lora_B, %sizes) {axis = 0} : f32[2, 2], f32[2, 2]
           %q.lora_B.1 = matmul(%a, %x) : f32[2, 4]
           %y = matmul(%b, %q.lora_B.1) : f32[2, 4]
           return \"y\" = %y
         }",
    );
    let before = module.graphs[0].nodes().count();
    let error = HoistAdapter.run_module(&mut module, &mut Context::default()).expect_err("the name is taken");
    assert!(error.to_string().contains("%q.lora_B.1"), "{error}");
    assert_eq!((module.graphs.len(), module.graphs[0].nodes().count()), (1, before));
}

#[test]
fn without_fuel_nothing_changes() {
    let text = "graph @g(%x: f32[3, 2], %q.lora_A: f32[4, 2] adapter) {
           %0 = transpose(%q.lora_A) {perm = [1, 0]} : f32[2, 4]
           %y = matmul(%x, %0) : f32[3, 4]
           return \"y\" = %y
         }";
    for fuel in 0..3 {
        let mut module = parse(text);
        let inputs = draw_inputs(&module, 1, &BTreeMap::new()).expect("known sizes");
        let before = evaluate(&module, &inputs).expect("it runs");
        HoistAdapter.run_module(&mut module, &mut Context::with_fuel(Some(fuel))).expect("it can be hoisted");
        assert_eq!(evaluate(&module, &inputs).expect("it runs"), before, "fuel {fuel}");
    }
}
