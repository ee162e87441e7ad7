//! Quantized graphs: their two forms compute the same, passes leave them what they are, and ONNX Runtime agrees.

use std::collections::BTreeMap;

use quad_frontends::onnx;
use quad_ir::dtype::DType;
use quad_ir::graph::{Graph, NodeRef, Output, Patch, ValueId, ValueRef};
use quad_ir::interpret::{Interpreter, NamedTensors};
use quad_ir::loc::Loc;
use quad_ir::module::Module;
use quad_ir::ops::source::Binding;
use quad_ir::ops::{
    Add, Conv, Dequantize, DequantizeLinear, MatMul, Mul, Op, QLinearConv, QLinearMatMul, Quantize,
    QuantizeLinear, Weight,
};
use quad_ir::quantized::Arithmetic;
use quad_ir::tensor::Tensor;
use quad_ir::text::{self, NoWeights};
use quad_ir::types::{Encoded, Quant, TensorType};
use quad_ir::verify::verify;
use quad_passes::check::draw_inputs;
use quad_passes::pass::PassError;
use quad_passes::pipeline::Pipeline;
use quad_passes::registry::Registry;
use quad_passes::runner::{self, RunErrorKind, RunOptions};
use quad_tests::generate;
use quad_tests::onnxruntime::OnnxRuntime;

/// Draws numbers.
struct Draw(u64);

impl Draw {
    fn below(&mut self, count: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % count
    }

    /// Any values of `dtype`.
    fn stored(&mut self, dtype: DType, sizes: &[usize]) -> Tensor {
        let (lowest, highest) = dtype.integer_range().expect("an integer type");
        let (lowest, highest) = (lowest.max(-1 << 16) as i64, highest.min(1 << 16) as i64);
        let count = sizes.iter().product();
        let one = |_| lowest + self.below((highest - lowest + 1) as u64) as i64;
        Tensor::from_i64(dtype, sizes, (0..count).map(one).collect()).expect("in range")
    }

    /// Multiples of half a step from beyond one end of what can be stored to beyond the other, and numbers in between.
    fn real(&mut self, encoded: &Encoded, sizes: &[usize]) -> Tensor {
        let (lowest, highest) = encoded.stored.integer_range().expect("an integer type");
        let steps = (highest - lowest) as u64 + 20;
        let scale = encoded.quant.scales[0].get();
        let zero = encoded.quant.zero_points[0];
        let one = |_| {
            let halves = self.below(2 * steps) as f32 / 2.0 + lowest as f32 - 10.0 - zero as f32;
            halves * scale + if self.below(2) == 0 { 0.0 } else { self.below(1000) as f32 * 1e-3 * scale }
        };
        let count: usize = sizes.iter().product();
        Tensor::from_vec(sizes, (0..count).map(one).collect()).expect("as many")
    }
}

fn module(graph: Graph) -> Module {
    let mut module = Module::default();
    module.graphs.push(graph);
    module
}

fn run_pipeline(text: &str, graph: &Graph) -> Graph {
    let mut module = module(graph.clone());
    let pipeline = Pipeline::parse(text, &Registry::standard()).expect("a pipeline");
    runner::run(&pipeline, &mut module, &RunOptions::default(), &mut [])
        .unwrap_or_else(|error| panic!("{error}"));
    module.graphs.remove(0)
}

fn compute(graph: &Graph, inputs: &NamedTensors, arithmetic: Arithmetic) -> NamedTensors {
    Interpreter::new(graph).with_arithmetic(arithmetic).run(inputs).unwrap_or_else(|error| panic!("{error}"))
}

/// Puts a `quantize_linear` and a `dequantize_linear` behind most floats, with scales that fit what `inputs` give.
fn quantize_everywhere(graph: &mut Graph, inputs: &NamedTensors, draw: &mut Draw) {
    let mut ranges: BTreeMap<ValueId, (f32, f32)> = BTreeMap::new();
    let mut observe = |value: ValueRef<'_>, tensor: &Tensor| {
        if let (DType::F32, Ok(elements)) = (value.ty().dtype, tensor.to_f32()) {
            let fold = |(low, high): (f32, f32), element: &f32| (low.min(*element), high.max(*element));
            ranges.insert(value.id(), elements.iter().fold((0.0, 1e-3), fold));
        }
    };
    Interpreter::new(graph).run_observed(inputs, &mut observe).expect("runs");
    let mut patch = Patch::new(graph, "test");
    for (value, (low, high)) in ranges {
        let value = graph.value(value);
        // Small constants may be sizes and factors that type rules read.
        let small = value.producer().is::<Weight>().is_some() && value.ty().rank() < 2;
        if small || !(low.is_finite() && high.is_finite()) || draw.below(4) == 0 {
            continue;
        }
        let stored = [DType::U8, DType::I8, DType::U16, DType::I16][draw.below(4) as usize];
        let (lowest, highest) = stored.integer_range().expect("an integer type");
        let scale = (high - low) / (highest - lowest) as f32;
        let zero = (lowest as f32 - low / scale).round().clamp(lowest as f32, highest as f32);
        let scale = patch.add_constant(&Tensor::scalar(scale)).expect("a constant");
        let zero = Tensor::from_i64(stored, &[], vec![zero as i64]).expect("in range");
        let zero = patch.add_constant(&zero).expect("a constant");
        let op = QuantizeLinear { output_dtype: Some(stored), ..QuantizeLinear::default() };
        let q = patch.add_value(op, &[value.id(), scale, zero]).expect("typed");
        let real = patch.add_value(DequantizeLinear::default(), &[q, scale, zero]).expect("typed");
        patch.replace(value.id(), real).expect("of the same type");
    }
    let edit = patch.finish().expect("a change");
    graph.apply(edit).expect("it is of this graph");
}

#[test]
fn both_forms_of_random_graphs_compute_the_same_bits() {
    let (mut quantized, mut differing, mut compared) = (0, 0, 0);
    for seed in 0..60 {
        let mut graph = generate::graph(seed, 40).expect("a graph");
        let inputs = draw_inputs(&module(graph.clone()), seed, &BTreeMap::new()).expect("inputs");
        quantize_everywhere(&mut graph, &inputs, &mut Draw(seed));
        let folded = run_pipeline("fold-quant", &graph);
        verify(&folded).unwrap_or_else(|errors| panic!("seed {seed}: {errors}"));
        let left = folded.nodes().filter(|node| node.is::<QuantizeLinear>().is_some()).count();
        assert_eq!(left, 0, "seed {seed}");
        quantized += folded.nodes().filter(|node| node.touches_quantized()).count();
        let expected = compute(&graph, &inputs, Arithmetic::Integer);
        assert_eq!(compute(&folded, &inputs, Arithmetic::Simulated), expected, "seed {seed}, folded");
        let unfolded = run_pipeline("unfold-quant", &folded);
        assert!(!unfolded.nodes().any(NodeRef::touches_quantized));
        assert_eq!(compute(&unfolded, &inputs, Arithmetic::Integer), expected, "seed {seed}, unfolded");
        assert_eq!(compute(&run_pipeline("fold-quant", &unfolded), &inputs, Arithmetic::Simulated), expected);
        let (elements, off) = compare_nodes(&folded, &inputs, seed);
        compared += elements;
        differing += off;
    }
    assert!(quantized > 1000, "{quantized} nodes compute with quantized values");
    assert!(differing * 1000 < compared, "{differing} of {compared} elements");
}

/// Computes each node of `graph` by itself in both arithmetics, on the same stored operands. Results are off by one step at
/// most. Returns how many elements there were, and how many were off.
fn compare_nodes(graph: &Graph, inputs: &NamedTensors, seed: u64) -> (usize, usize) {
    let mut values: BTreeMap<ValueId, Tensor> = BTreeMap::new();
    let mut observe = |value: ValueRef<'_>, tensor: &Tensor| {
        values.insert(value.id(), tensor.clone());
    };
    Interpreter::new(graph).run_observed(inputs, &mut observe).expect("runs");
    let (mut elements, mut off) = (0, 0);
    for node in graph.nodes().filter(|node| node.operands().len() > 0 && node.touches_quantized()) {
        let (alone, given) = alone(node, &values);
        let [integer, simulated] = [Arithmetic::Integer, Arithmetic::Simulated]
            .map(|arithmetic| compute(&alone, &given, arithmetic));
        for (name, integer) in integer.iter().filter(|(_, tensor)| tensor.dtype().is_integer()) {
            let (a, b) = (integer.to_i64().expect("integers"), simulated[name].to_i64().expect("integers"));
            let distances = || a.iter().zip(&b).map(|(a, b)| (a - b).abs());
            let worst = distances().max().unwrap_or(0);
            assert!(worst <= 1, "seed {seed}: {:?} is off by {worst} steps", node.op());
            elements += a.len();
            off += distances().filter(|distance| *distance > 0).count();
        }
    }
    (elements, off)
}

/// A graph of `node` alone, with its operands as inputs; integers that are not quantized, which types depend on, are
/// constants.
fn alone(node: NodeRef<'_>, values: &BTreeMap<ValueId, Tensor>) -> (Graph, NamedTensors) {
    let mut graph = Graph::new("main");
    let mut inputs = NamedTensors::new();
    let operands: Vec<Option<ValueId>> = node
        .operands()
        .enumerate()
        .map(|(index, operand)| {
            let operand = operand?;
            let tensor = &values[&operand.id()];
            if operand.ty().quant.is_none() && !tensor.dtype().is_float() {
                return Some(graph.add_constant(tensor, Loc::Built).expect("a constant"));
            }
            let ty = TensorType { quant: operand.ty().quant.clone(), ..tensor.ty() };
            inputs.insert(format!("x{index}"), tensor.clone());
            Some(graph.add_input(&format!("x{index}"), ty, Binding::Run, Loc::Built).expect("an input"))
        })
        .collect();
    let new = graph.add_stated(node.op().clone(), &operands, &node.stated(), Loc::Built).expect("typed");
    let results = graph.node(new).results().map(ValueRef::id).enumerate();
    let outputs = results.map(|(index, value)| Output { name: format!("y{index}").as_str().into(), value });
    graph.set_outputs(outputs.collect()).expect("they are there");
    (graph, inputs)
}

/// What rules of passes look for, with quantized values in between.
const TEMPTING: &str = r#"quad 1
graph @main(%x: f32[1, 4, 4, 4], %slot: i8[4, 4] quant(scale = [0.01], zero_point = [0]) adapter) {
  %q = quantize(%x) : u8[1, 4, 4, 4] quant(scale = [0.02], zero_point = [128])
  %a = transpose(%q) {perm = [0, 2, 3, 1]} : u8[1, 4, 4, 4] quant(scale = [0.02], zero_point = [128])
  %b = transpose(%a) {perm = [0, 3, 1, 2]} : u8[1, 4, 4, 4] quant(scale = [0.5], zero_point = [3])
  %real = transpose(%q) {perm = [0, 2, 3, 1]} : f32[1, 4, 4, 4]
  %back = transpose(%real) {perm = [0, 3, 1, 2]} : f32[1, 4, 4, 4]
  %same = transpose(%q) {perm = [0, 2, 3, 1]} : u8[1, 4, 4, 4] quant(scale = [0.02], zero_point = [128])
  %two = weight 1 : u8[] quant(scale = [2.0], zero_point = [0])
  %twice = mul(%b, %two) : f32[1, 4, 4, 4]
  %zero = weight 7 : u8[] quant(scale = [2.0], zero_point = [7])
  %sum = add(%twice, %zero) : i16[1, 4, 4, 4] quant(scale = [0.001], zero_point = [0])
  %none = weight 0.0 : f32[]
  %again = add(%sum, %none) : i16[1, 4, 4, 4] quant(scale = [0.1], zero_point = [0])
  %w = weight [1, 2, 3, 4, 5, 6, 7, 8, -1, -2, -3, -4, -5, -6, -7, -8] : i8[4, 4, 1, 1] quant(scale = [0.1, 0.2, 0.3, 0.4], zero_point = [0, 0, 0, 0], axis = 0)
  %bias = weight [1, 2, 3, 4] : i32[4] quant(scale = [0.1], zero_point = [0])
  %column = weight [4, 1, 1] : i64[3]
  %tall = reshape(%bias, %column) : f32[4, 1, 1]
  %conv = conv(%back, %w) : f32[1, 4, 4, 4]
  %biased = add(%conv, %tall) : u8[1, 4, 4, 4] quant(scale = [0.05], zero_point = [100])
  %sigmoid = sigmoid(%biased) : u8[1, 4, 4, 4] quant(scale = [0.00390625], zero_point = [0])
  %silu = mul(%biased, %sigmoid) : u8[1, 4, 4, 4] quant(scale = [0.05], zero_point = [20])
  %other = mul(%biased, %sigmoid) : u8[1, 4, 4, 4] quant(scale = [0.1], zero_point = [20])
  %third = mul(%biased, %sigmoid) : u8[1, 4, 4, 4] quant(scale = [0.1], zero_point = [20])
  %rows = weight [16, 4] : i64[2]
  %flat = reshape(%silu, %rows) : u8[16, 4] quant(scale = [0.05], zero_point = [20])
  %lora = matmul(%flat, %slot) : i16[16, 4] quant(scale = [0.01], zero_point = [0])
  %more = add(%lora, %lora) : f32[16, 4]
  %three = mul(%other, %third) : f32[1, 4, 4, 4]
  %dead = relu(%silu) : u8[1, 4, 4, 4] quant(scale = [0.05], zero_point = [20])
  %d = dequantize(%again) : f32[1, 4, 4, 4]
  %e = dequantize(%same) : f32[1, 4, 4, 4]
  return "d" = %d, "more" = %more, "three" = %three, "e" = %e, "silu" = %silu
}
"#;

#[test]
fn every_pass_and_pipeline_leaves_quantized_values_what_they_are() {
    let graph = text::parse(TEMPTING, &NoWeights).unwrap_or_else(|error| panic!("{error}")).graphs.remove(0);
    verify(&graph).unwrap_or_else(|errors| panic!("{errors}"));
    let inputs = draw_inputs(&module(graph.clone()), 1, &BTreeMap::new()).expect("inputs");
    let expected =
        [Arithmetic::Integer, Arithmetic::Simulated].map(|arithmetic| compute(&graph, &inputs, arithmetic));
    let registry = Registry::standard();
    let names =
        registry.passes().map(|(_, info, _)| info.name).chain(registry.pipelines().map(|named| named.name));
    let (mut refused, mut changed) = (Vec::new(), Vec::new());
    for name in names {
        let pipeline = Pipeline::parse(name, &registry).expect("a pass");
        let mut after = module(graph.clone());
        match runner::run(&pipeline, &mut after, &RunOptions::default(), &mut []) {
            Ok(report) => {
                if report.changes() > 0 {
                    changed.push(name);
                }
            }
            Err(error) => {
                let RunErrorKind::Pass(PassError::Refused(why)) = &error.kind else {
                    panic!("`{name}`: {error}")
                };
                assert!(why.contains("quantized"), "`{name}`: {why}");
                refused.push(name);
                continue;
            }
        }
        let main = after.main().expect("@main");
        verify(main).unwrap_or_else(|errors| panic!("`{name}`: {errors}"));
        if !main.nodes().any(NodeRef::touches_quantized) {
            // What is written out computes with real numbers.
            assert_eq!(compute(main, &inputs, Arithmetic::Integer), expected[1], "`{name}`");
            continue;
        }
        for (arithmetic, expected) in [Arithmetic::Integer, Arithmetic::Simulated].into_iter().zip(&expected)
        {
            assert_eq!(compute(main, &inputs, arithmetic), *expected, "`{name}` with {arithmetic:?}");
        }
    }
    assert!(changed.contains(&"cse") && changed.contains(&"dce"), "{changed:?}");
    assert!(!refused.is_empty(), "some passes cannot deal with quantized values, and say so");
}

#[test]
fn equal_computations_merge_only_where_they_are_stored_alike() {
    let graph = text::parse(TEMPTING, &NoWeights).expect("a graph").graphs.remove(0);
    let merged = run_pipeline("cse,dce", &graph);
    let count = |graph: &Graph, op: &str| graph.nodes().filter(|node| node.op().def().name() == op).count();
    // `%other` and `%third` are one, `%silu` is not, and so are `%a` and `%same`, and `%real` is not.
    assert_eq!((count(&graph, "mul"), count(&merged, "mul")), (5, 4));
    assert_eq!((count(&graph, "transpose"), count(&merged, "transpose")), (5, 4));
    assert_eq!((count(&graph, "relu"), count(&merged, "relu")), (1, 0));
}

/// A graph that is put together, with its inputs.
struct Build {
    graph: Graph,
    inputs: NamedTensors,
}

impl Build {
    fn new() -> Self {
        Self { graph: Graph::new("main"), inputs: NamedTensors::new() }
    }

    fn input(&mut self, name: &str, tensor: &Tensor, encoded: Option<&Encoded>) -> ValueId {
        let ty = encoded.map_or_else(|| tensor.ty(), |encoded| encoded.ty(tensor.ty().shape));
        self.inputs.insert(name.to_owned(), tensor.clone());
        self.graph.add_input(name, ty, Binding::Run, Loc::Built).expect("an input")
    }

    fn constant(&mut self, tensor: &Tensor) -> ValueId {
        self.graph.add_constant(tensor, Loc::Built).expect("a constant")
    }

    /// The scale and the zero point of an encoding, as operands.
    fn parameters(&mut self, encoded: &Encoded) -> [ValueId; 2] {
        let quant = &encoded.quant;
        let sizes: &[usize] = if quant.axis.is_some() { &[quant.scales.len()] } else { &[] };
        let scales = quant.scales.iter().map(|scale| scale.get()).collect();
        let zeros = quant.zero_points.iter().map(|zero| i64::from(*zero)).collect();
        let zeros = Tensor::from_i64(encoded.stored, sizes, zeros).expect("in range");
        [self.constant(&Tensor::from_vec(sizes, scales).expect("as many")), self.constant(&zeros)]
    }

    fn outputs(&mut self, outputs: &[(&str, ValueId)]) {
        let outputs = outputs.iter().map(|(name, value)| Output { name: (*name).into(), value: *value });
        self.graph.set_outputs(outputs.collect()).expect("they are there");
    }

    fn run(&self) -> NamedTensors {
        compute(&self.graph, &self.inputs, Arithmetic::Integer)
    }

    /// What ONNX Runtime computes of the graph, written out; `None` where there is no ONNX Runtime.
    fn in_onnx_runtime(&self) -> Option<NamedTensors> {
        let runtime = OnnxRuntime::shared().unwrap_or_else(|error| panic!("{error:?}"))?;
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("model.onnx");
        onnx::write(&run_pipeline("unfold-quant", &self.graph), &path)
            .unwrap_or_else(|error| panic!("{error}"));
        Some(runtime.run(&path, &self.inputs).unwrap_or_else(|error| panic!("{:?}", error.message())))
    }
}

fn single(stored: DType, scale: f32, zero_point: i32) -> Encoded {
    Encoded::per_tensor(stored, scale, zero_point).expect("a positive scale")
}

fn along(stored: DType, axis: u8, scales: &[f32], zero_points: &[i32]) -> Encoded {
    let quant = Quant {
        axis: Some(axis),
        block: None,
        scales: scales.iter().copied().map(Into::into).collect(),
        zero_points: zero_points.into(),
        expressed: DType::F32,
    };
    Encoded::new(stored, quant)
}

#[test]
fn storing_and_reading_is_what_onnx_runtime_does() {
    let mut draw = Draw(7);
    for stored in [DType::U8, DType::I8, DType::U16, DType::I16, DType::U4, DType::I4] {
        let (lowest, highest) = stored.integer_range().expect("an integer type");
        let zero = (lowest + (highest - lowest) * 2 / 5) as i32;
        let encodings = [
            single(stored, 0.013, zero),
            single(stored, 0.5, 0),
            along(stored, 1, &[0.013, 1.0, 3.7], &[zero, 0, 1]),
            along(stored, 0, &[0.25, 1e-3], &[0, zero]),
        ];
        for encoded in encodings {
            let mut build = Build::new();
            let x = build.input("x", &draw.real(&encoded, &[2, 3, 500]), None);
            let q = build.graph.add_value_stated(Quantize, &[x], encoded.clone(), Loc::Built).expect("typed");
            let y = build.graph.add_value(Dequantize, &[q], Loc::Built).expect("typed");
            // NumPy has no integers of 4 bits; what is read of them tells each from all others.
            let outputs = [("y", y), ("q", q)];
            build.outputs(if stored.bits() < 8 { &outputs[..1] } else { &outputs });
            if let Some(found) = build.in_onnx_runtime() {
                assert_eq!(build.run(), found, "{encoded:?}");
            }
        }
    }
}

/// How many elements there are, how many are off, and by how much the worst is.
fn difference(a: &Tensor, b: &Tensor) -> (usize, usize, i64) {
    assert_eq!((a.dtype(), a.sizes()), (b.dtype(), b.sizes()));
    let (a, b) = (a.to_i64().expect("integers"), b.to_i64().expect("integers"));
    let distances: Vec<i64> = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).collect();
    (
        a.len(),
        distances.iter().filter(|distance| **distance > 0).count(),
        distances.into_iter().max().unwrap_or(0),
    )
}

/// Both results are of `what`. They may be a step apart where a sum lies between two steps, in one element of `rarity`.
fn require_alike(what: &str, ours: &Tensor, theirs: &Tensor, rarity: usize) {
    let (count, off, worst) = difference(ours, theirs);
    assert!(worst <= 1 && off * rarity <= count, "{what}: {off} of {count} are off, by up to {worst}");
}

/// What two operands are stored as, and the result.
const STORED: [[DType; 3]; 4] = [
    [DType::U8, DType::I8, DType::U8],
    [DType::I8, DType::I8, DType::I8],
    [DType::U16, DType::I8, DType::U16],
    [DType::I16, DType::I8, DType::I16],
];

/// A name, an operation, the sizes of two operands, and the axis of the second along which scales differ.
type Case = (&'static str, Op, Vec<usize>, Vec<usize>, u8);

#[test]
fn products_and_sums_are_those_of_onnx_runtime() {
    let mut draw = Draw(11);
    for [a, w, to] in STORED {
        let wide = a.bits() == 16;
        let zero = if a.is_signed_integer() { -3 } else { 1 << (a.bits() - 1) };
        let of_a = single(a, if wide { 0.0003 } else { 0.07 }, zero);
        let scales: Vec<f32> = (1..=16).map(|channel| 0.001 * channel as f32).collect();
        let of_w = |axis| along(w, axis, &scales, &[0; 16]);
        let of_y = single(to, if wide { 0.0011 } else { 0.29 }, zero);
        let cases: [Case; 4] = [
            ("matmul", MatMul.into(), vec![64, 80], vec![80, 16], 1),
            (
                "conv",
                Conv { pads: vec![1; 4], ..Conv::default() }.into(),
                vec![1, 24, 12, 12],
                vec![16, 24, 3, 3],
                0,
            ),
            ("mul", Mul.into(), vec![200, 16], vec![16], 0),
            ("add", Add.into(), vec![200, 16], vec![16], 0),
        ];
        for (name, op, left, right, axis) in cases {
            let mut build = Build::new();
            let (x, kernel) = (draw.stored(a, &left), draw.stored(w, &right));
            let x = build.input("x", &x, Some(&of_a));
            let w = build.input("w", &kernel, Some(&of_w(axis)));
            let y = build.graph.add_value_stated(op, &[x, w], of_y.clone(), Loc::Built).expect("typed");
            build.outputs(&[("y", y)]);
            if let Some(found) = build.in_onnx_runtime() {
                // Sums of floats are off by some units in the last place, and steps of 16 bits are small.
                let rarity = if wide { 50 } else { 500 };
                require_alike(
                    &format!("{name} of {a} to {to}, floats in between"),
                    &build.run()["y"],
                    &found["y"],
                    rarity,
                );
            }
        }
    }
}

#[test]
fn integer_operators_of_onnx_runtime_round_alike() {
    let mut draw = Draw(13);
    let of_a = single(DType::U8, 0.07, 120);
    let scales: Vec<f32> = (1..=16).map(|channel| 0.001 * channel as f32).collect();
    let of_y = single(DType::U8, 0.31, 131);
    let (x, kernel) = (draw.stored(DType::U8, &[1, 24, 20, 20]), draw.stored(DType::I8, &[16, 24, 3, 3]));
    let (a, b) = (draw.stored(DType::U8, &[200, 80]), draw.stored(DType::I8, &[80, 16]));
    let convolution = Conv { pads: vec![1; 4], ..Conv::default() };
    let linear = QLinearConv { conv: convolution.clone() };
    let of_w = single(DType::I8, 0.011, 0);
    let cases: [(&str, Op, Op, [&Tensor; 2], Encoded); 3] = [
        (
            "QLinearConv",
            convolution.into(),
            linear.into(),
            [&x, &kernel],
            along(DType::I8, 0, &scales, &[0; 16]),
        ),
        ("QLinearMatMul", MatMul.into(), QLinearMatMul.into(), [&a, &b], of_w.clone()),
        (
            "QLinearMatMul by column",
            MatMul.into(),
            QLinearMatMul.into(),
            [&a, &b],
            along(DType::I8, 1, &scales, &[0; 16]),
        ),
    ];
    for (name, typed, linear, [left, right], of_w) in cases {
        let mut ours = Build::new();
        let x = ours.input("x", left, Some(&of_a));
        let w = ours.input("w", right, Some(&of_w));
        let y = ours.graph.add_value_stated(typed, &[x, w], of_y.clone(), Loc::Built).expect("typed");
        ours.outputs(&[("y", y)]);
        let mut theirs = Build::new();
        let x = theirs.input("x", left, None);
        let [xs, xz] = theirs.parameters(&of_a);
        let w = theirs.constant(right);
        let [ws, wz] = theirs.parameters(&of_w);
        let [ys, yz] = theirs.parameters(&of_y);
        let y = theirs.graph.add_value(linear, &[x, xs, xz, w, ws, wz, ys, yz], Loc::Built).expect("typed");
        theirs.outputs(&[("y", y)]);
        if let Some(found) = theirs.in_onnx_runtime() {
            require_alike(name, &ours.run()["y"], &found["y"], 1000);
        }
    }
}
