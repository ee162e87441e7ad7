//! What is lowered, and what is refused, without any library.

use quad_backends::target::Target as _;
use quad_ir::graph::Graph;
use quad_ir::text::{NoWeights, parse};
use quad_qnn::model::{Encoding, Role};
use quad_qnn::table::{LowerErrors, Lowered, Reordered, Setting, lower};
use quad_qnn::target::Qnn;

/// A test that needs no library.
type Test = (&'static str, fn());

pub(crate) const TESTS: &[Test] = &[
    (
        "lowering: old generations do not multiply 16 bits by 16",
        old_generations_do_not_multiply_16_bits_by_16,
    ),
    ("lowering: second operands of 16 bits are symmetric", second_operands_of_16_bits_are_symmetric),
    ("lowering: batches of signed matrices are refused", batches_of_signed_matrices_are_refused),
    ("lowering: codes stay within what is not cut off", codes_stay_within_what_is_not_cut_off),
    ("lowering: a bias is stored in steps of the product", a_bias_is_stored_in_steps_of_the_product),
    ("lowering: a bias out of range is added", a_bias_out_of_range_is_added),
    (
        "lowering: types that do not go together are refused with those that do",
        types_that_do_not_go_together_are_refused_with_those_that_do,
    ),
    ("lowering: every reason is said at once", every_reason_is_said_at_once),
    ("lowering: slots of kernels are taken as qnn has them", slots_of_kernels_are_taken_as_qnn_has_them),
];

/// The only graph of `body`, the lines between the head and the return of `@main`.
fn graph(inputs: &str, body: &str) -> Graph {
    let text = format!("quad 1\n\ngraph @main({inputs}) {{\n{body}\n}}\n");
    let mut module = parse(&text, &NoWeights).unwrap_or_else(|errors| panic!("{}\n{text}", errors.show()));
    module.graphs.remove(0)
}

fn setting(soc: &str) -> Setting {
    Setting { soc: soc.parse().expect("a chip") }
}

const X: &str = "%x: u16[1, 4, 8] quant(scale = [0.01], zero_point = [30000], of = f32)";
const OUT: &str = "quant(scale = [0.1], zero_point = [32768], of = f32)";

/// Why a product of `X` and `second` is refused.
fn refused(second: &str, soc: &str) -> String {
    let body = format!("  %y = matmul(%x, %w) : u16[1, 4, 2] {OUT}\n  return \"y\" = %y");
    let graph = graph(&format!("{X}, %w: {second}"), &body);
    match lower(&graph, setting(soc)) {
        Ok(_) => String::new(),
        Err(errors) => errors.to_string(),
    }
}

fn old_generations_do_not_multiply_16_bits_by_16() {
    let second = "i16[1, 8, 2] quant(scale = [0.001], zero_point = [0], of = f32)";
    let why = refused(second, "SM8450");
    assert!(why.contains("`matmul` that makes `y`") && why.contains("16 bits by 16 bits"), "{why}");
    assert!(why.contains("v69") && why.contains("give the weights 8 bits"), "{why}");
    assert_eq!(refused(second, "SM8550"), "");
    assert_eq!(refused("i8[1, 8, 2] quant(scale = [0.1], zero_point = [0], of = f32)", "SM8450"), "");
}

fn second_operands_of_16_bits_are_symmetric() {
    let unsigned =
        |zero: u32| format!("u16[1, 8, 2] quant(scale = [0.001], zero_point = [{zero}], of = f32)");
    assert_eq!(refused(&unsigned(32768), "SM8750"), "");
    let why = refused(&unsigned(32767), "SM8750");
    assert!(why.contains("zero point 32767, and must have 32768"), "{why}");
}

fn batches_of_signed_matrices_are_refused() {
    let body = format!("  %y = matmul(%x, %w) : u16[4, 4, 2] {OUT}\n  return \"y\" = %y");
    let x = "%x: u16[4, 4, 8] quant(scale = [0.01], zero_point = [30000], of = f32)";
    let w = "%w: i16[4, 8, 2] quant(scale = [0.001], zero_point = [0], of = f32)";
    let why = lower(&graph(&format!("{x}, {w}"), &body), setting("SM8750")).expect_err("refused").to_string();
    assert!(why.contains("4 matrices of signed 16-bit numbers"), "{why}");
}

fn codes_stay_within_what_is_not_cut_off() {
    let with = |code: i32| {
        let body = format!(
            "  %w = weight [1, {code}, -32768, 4] : i16[2, 2] quant(scale = [0.001], zero_point = [0], of = f32)\n  \
             %y = matmul(%x, %w) : u16[4, 2] {OUT}\n  return \"y\" = %y"
        );
        let x = "%x: u16[4, 2] quant(scale = [0.01], zero_point = [30000], of = f32)";
        lower(&graph(x, &body), setting("SM8750"))
    };
    assert!(with(32640).is_ok());
    let why = with(32641).expect_err("too large").to_string();
    assert!(why.contains("the code 32641") && why.contains("32639"), "{why}");
}

/// A convolution with a bias of two numbers.
fn conv(bias: &str, scale: &str) -> Result<Lowered, LowerErrors> {
    let body = format!(
        "  %w = weight [1, 2, 3, -4] : i16[2, 1, 1, 2] quant(scale = [{scale}, 0.5], zero_point = [0, 0], axis = 0, of = f32)\n  \
         %b = weight [{bias}] : f32[2]\n  \
         %y = conv(%x, %w, %b) {{layout = \"nhwc\"}} : u16[1, 4, 4, 2] {OUT}\n  return \"y\" = %y"
    );
    let x = "%x: u16[1, 4, 4, 2] quant(scale = [0.25], zero_point = [30000], of = f32)";
    lower(&graph(x, &body), setting("SM8750"))
}

fn a_bias_is_stored_in_steps_of_the_product() {
    let lowered = conv("1.0, -2.0", "0.5").expect("legal");
    let text = lowered.graph.to_string();
    let bias = lowered.graph.tensors.iter().find(|tensor| tensor.name == "b.s32").expect("a bias");
    let Role::Static(bytes) = &bias.role else { panic!("{text}") };
    assert_eq!(bytes[..], [8i32.to_le_bytes(), (-16i32).to_le_bytes()].concat(), "{text}");
    let kernel = lowered.graph.tensors.iter().find(|tensor| tensor.name == "w").expect("a kernel");
    assert_eq!(
        (&kernel.dims[..], kernel.encoding.as_ref().and_then(Encoding::axis)),
        (&[1, 1, 2, 2][..], Some(3))
    );
    let Role::Static(bytes) = &kernel.role else { panic!("{text}") };
    assert_eq!(bytes[..], [1i16, 3, 2, -4].map(i16::to_le_bytes).concat(), "{text}");
}

fn a_bias_out_of_range_is_added() {
    let lowered = conv("1.0, -2.0", "1e-9").expect("legal");
    let kinds: Vec<(&str, usize)> =
        lowered.graph.nodes.iter().map(|node| (node.kind.as_str(), node.inputs.len())).collect();
    assert_eq!(kinds, [("Conv2d", 2), ("ElementWiseAdd", 2)], "{}", lowered.graph);
    let product = lowered.graph.tensors.iter().find(|tensor| tensor.name == "y.product").expect("a product");
    let reach = |code: i32| {
        let part = product.encoding.as_ref().expect("an encoding").parts()[0];
        part.scale * (code + part.offset) as f32
    };
    // `y` reaches from -3276.8 to 3276.7.
    assert!(reach(0) <= -3277.7 && reach(65535) >= 3278.6, "{} to {}", reach(0), reach(65535));
}

fn types_that_do_not_go_together_are_refused_with_those_that_do() {
    let body =
        "  %y = relu(%x) : u8[1, 4, 8] quant(scale = [0.1], zero_point = [0], of = f32)\n  return \"y\" = %y";
    let graph = graph(X, body);
    let why = lower(&graph, setting("SM8750")).expect_err("mixed").to_string();
    assert!(why.contains("Relu takes no u16 -> u8") && why.contains("it takes u16 -> u16"), "{why}");
    let illegal: Vec<String> = Qnn { soc: "SM8750".parse().expect("a chip") }
        .verdicts(&graph)
        .values()
        .flat_map(|verdict| verdict.reasons().iter().map(ToString::to_string))
        .collect();
    assert_eq!(illegal.len(), 1, "a verdict says the same as lowering: {illegal:?}");
    assert!(why.contains(&illegal[0]));
}

fn every_reason_is_said_at_once() {
    let body =
        "  %a = erf(%x) : f32[2]\n  %b = tan(%x) : f32[2]\n  return \"a\" = %a, \"b\" = %b, \"x\" = %x";
    let why = lower(&graph("%x: f32[2]", body), setting("SM8750")).expect_err("refused").to_string();
    for part in ["`erf` is not supported", "`tan` is not supported", "output `x`: no operation makes it"] {
        assert!(why.contains(part), "{part} is not in {why}");
    }
}

fn slots_of_kernels_are_taken_as_qnn_has_them() {
    let x = "%x: u16[1, 4, 4, 2] quant(scale = [0.25], zero_point = [30000], of = f32)";
    let slot = "%slot: i16[3, 1, 1, 2] quant(scale = [0.001], zero_point = [0], of = f32) adapter";
    let body =
        format!("  %y = conv(%x, %slot) {{layout = \"nhwc\"}} : u16[1, 4, 4, 3] {OUT}\n  return \"y\" = %y");
    let lowered = lower(&graph(&format!("{x}, {slot}"), &body), setting("SM8750")).expect("legal");
    assert_eq!(lowered.reordered, [Reordered { name: "slot".to_owned(), order: vec![1, 2, 3, 0] }]);
    let taken = lowered.graph.inputs().find(|tensor| tensor.name == "slot").expect("an input");
    assert_eq!(taken.dims, [1, 1, 2, 3]);
    assert_eq!(lowered.graph.nodes.len(), 1, "{}", lowered.graph);
}
