//! Integer arithmetic against plain loops over integers, and simulated arithmetic against the operations that it stands for.

use super::*;
use crate::graph::{Graph, Output, ValueId};
use crate::interpret::{Interpreter, Kernels, NamedTensors};
use crate::loc::Loc;
use crate::ops::layout::DataLayout;
use crate::ops::source::Binding;
use crate::ops::{
    Add, AveragePool, Conv, ConvTranspose, Gemm, MatMul, Mul, Op, Quantize, ReduceMean, Relu, Softmax,
};
use crate::types::Shape;

/// Draws numbers.
struct Draw(u64);

impl Draw {
    fn below(&mut self, count: i64) -> i64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as i64).rem_euclid(count)
    }

    /// A tensor with any values of `dtype`, 32-bit ones up to a million.
    fn tensor(&mut self, dtype: DType, sizes: &[usize]) -> Tensor {
        let (lowest, highest) = dtype.integer_range().expect("an integer type");
        let (lowest, highest) = (lowest.max(-1_000_000) as i64, highest.min(1_000_000) as i64);
        let count = sizes.iter().product();
        let values = (0..count).map(|_| lowest + self.below(highest - lowest + 1)).collect();
        Tensor::from_i64(dtype, sizes, values).expect("in range")
    }
}

fn single(stored: DType, scale: f32, zero_point: i32) -> Encoded {
    Encoded::per_tensor(stored, scale, zero_point).expect("a positive scale")
}

fn along(stored: DType, axis: u8, scales: &[f32]) -> Encoded {
    let quant = Quant {
        axis: Some(axis),
        scales: scales.iter().copied().map(Into::into).collect(),
        zero_points: vec![0; scales.len()].into(),
        ..Quant::per_tensor(1.0, 0).expect("a scale")
    };
    Encoded::new(stored, quant)
}

/// A graph of one operation on inputs `x0`, `x1`, ..
struct Single {
    graph: Graph,
    inputs: NamedTensors,
}

impl Single {
    fn new(op: impl Into<Op>, operands: &[(&Tensor, Option<&Encoded>)], result: Option<&Encoded>) -> Self {
        let mut graph = Graph::new("main");
        let mut inputs = NamedTensors::new();
        let mut values: Vec<Option<ValueId>> = Vec::new();
        for (index, (tensor, encoded)) in operands.iter().enumerate() {
            let name = format!("x{index}");
            let shape: Shape = tensor.ty().shape;
            let ty = encoded.map_or_else(|| tensor.ty(), |encoded| encoded.ty(shape));
            values.push(Some(graph.add_input(&name, ty, Binding::Run, Loc::Built).expect("an input")));
            inputs.insert(name, Tensor::clone(tensor));
        }
        let node = graph.add_stated(op, &values, &[result.cloned()], Loc::Built).expect("typed");
        let value = graph.node(node).result().id();
        graph.set_outputs(vec![Output { name: "y".into(), value }]).expect("y is there");
        Self { graph, inputs }
    }

    fn run(&self, arithmetic: Arithmetic) -> Tensor {
        let interpreter = Interpreter::new(&self.graph).with_arithmetic(arithmetic);
        interpreter.run(&self.inputs).expect("runs").remove("y").expect("an output")
    }

    /// Whether a rule of integer arithmetic computes it.
    fn has_integers(&self) -> bool {
        let node = self.graph.value(self.graph.outputs()[0].value).producer();
        let operands =
            node.operands().flatten().map(|value| self.inputs.get(&**value.name().expect("a name")).cloned());
        let call = Call::new(node, operands.collect(), Arithmetic::Integer).expect("typed");
        call.with_integers().expect("computes").is_some()
    }
}

/// One step of requantization, written out: `acc * scale` rounded half to even, shifted, saturated.
fn requantized(sum: i64, scale: f64, to: &Encoded) -> i64 {
    let exact = sum as f64 * scale;
    let floor = exact.floor();
    let rounded = match (exact - floor).partial_cmp(&0.5).expect("numbers") {
        std::cmp::Ordering::Less => floor,
        std::cmp::Ordering::Equal if floor % 2.0 == 0.0 => floor,
        std::cmp::Ordering::Greater | std::cmp::Ordering::Equal => floor + 1.0,
    };
    let (lowest, highest) = to.stored.integer_range().expect("an integer type");
    (rounded as i128 + i128::from(to.quant.zero_points[0])).clamp(lowest, highest) as i64
}

fn f64_of(encoded: &Encoded, index: usize) -> f64 {
    let scales = &encoded.quant.scales;
    f64::from(scales[if scales.len() == 1 { 0 } else { index }].get())
}

#[test]
fn matrix_products_are_those_of_integers() {
    let mut draw = Draw(1);
    let cases = [
        (DType::U8, DType::I8, DType::U8),
        (DType::U16, DType::I8, DType::U16),
        (DType::I16, DType::I16, DType::I16),
        (DType::U16, DType::I4, DType::I8),
        (DType::U16, DType::U16, DType::I32),
    ];
    for (index, (left, right, to)) in cases.into_iter().enumerate() {
        let (rows, depth, columns) = (5, 700, 3);
        let (a, b) = (draw.tensor(left, &[rows, depth]), draw.tensor(right, &[depth, columns]));
        let x = single(left, 0.013, if left == DType::I16 { 0 } else { 100 });
        let w = if index % 2 == 0 { along(right, 1, &[0.01, 0.02, 0.5]) } else { single(right, 0.07, 1) };
        let y = single(to, if to.bits() == 32 { 1e-4 } else { 3.7 }, 7);
        let single = Single::new(MatMul, &[(&a, Some(&x)), (&b, Some(&w))], Some(&y));
        let found = single.run(Arithmetic::Integer).to_i64().expect("integers");
        let (a, b) = (a.to_i64().expect("integers"), b.to_i64().expect("integers"));
        let (za, zb) = (i64::from(x.quant.zero_points[0]), i64::from(w.quant.zero_points[0]));
        for row in 0..rows {
            for column in 0..columns {
                let sum: i64 =
                    (0..depth).map(|k| (a[row * depth + k] - za) * (b[k * columns + column] - zb)).sum();
                let scale = f64_of(&x, 0) * f64_of(&w, column) / f64_of(&y, 0);
                let expected = requantized(sum, scale, &y);
                assert_eq!(
                    found[row * columns + column],
                    expected,
                    "case {index}, row {row}, column {column}"
                );
            }
        }
        assert!(single.has_integers());
    }
}

/// A convolution of `[1, channels, height, width]` by 3x3 kernels with padding of 1, written out.
fn convolved(x: &[i64], w: &[i64], [channels, outputs, height, width]: [usize; 4]) -> Vec<i64> {
    let mut sums = Vec::new();
    for output in 0..outputs {
        for row in 0..height {
            for column in 0..width {
                let mut sum = 0;
                for channel in 0..channels {
                    for tap in 0..9 {
                        let (r, c) = (row + tap / 3, column + tap % 3);
                        // Outside of the plane the real number 0 is read, whatever the zero point is.
                        if (1..=height).contains(&r) && (1..=width).contains(&c) {
                            let place = (channel * height + r - 1) * width + c - 1;
                            sum += x[place] * w[(output * channels + channel) * 9 + tap];
                        }
                    }
                }
                sums.push(sum);
            }
        }
    }
    sums
}

#[test]
fn convolutions_are_those_of_integers_in_either_layout() {
    let mut draw = Draw(2);
    let (channels, outputs, height, width) = (6, 4, 5, 4);
    let x = draw.tensor(DType::U16, &[1, channels, height, width]);
    let w = draw.tensor(DType::I8, &[outputs, channels, 3, 3]);
    let bias = draw.tensor(DType::I32, &[outputs]);
    let weight_scales = [0.01f32, 0.02, 0.003, 0.5];
    let (of_x, of_w) = (single(DType::U16, 0.0013, 30_000), along(DType::I8, 0, &weight_scales));
    let of_b = along(DType::I32, 0, &weight_scales.map(|scale| 0.0013f32 * scale));
    let of_y = single(DType::U16, 0.4, 32_768);
    let conv = Conv { pads: vec![1; 4], ..Conv::default() };
    let operands = [(&x, Some(&of_x)), (&w, Some(&of_w)), (&bias, Some(&of_b))];
    let first = Single::new(conv.clone(), &operands, Some(&of_y));
    let centered: Vec<i64> = x.to_i64().expect("integers").iter().map(|x| x - 30_000).collect();
    let sums = convolved(&centered, &w.to_i64().expect("integers"), [channels, outputs, height, width]);
    let b = bias.to_i64().expect("integers");
    let plane = height * width;
    let expected: Vec<i64> = (0..sums.len())
        .map(|index| {
            let scale = f64_of(&of_x, 0) * f64_of(&of_w, index / plane) / f64_of(&of_y, 0);
            requantized(sums[index] + b[index / plane], scale, &of_y)
        })
        .collect();
    assert_eq!(first.run(Arithmetic::Integer).to_i64().expect("integers"), expected);
    // Channels last: the same numbers at other places.
    let order = |tensor: &Tensor| {
        let op = crate::ops::Transpose { perm: Some(vec![0, 2, 3, 1]) };
        crate::ops::testing::evaluate(&op.into(), &[tensor]).remove(0)
    };
    let last = Conv { layout: DataLayout::Nhwc, ..conv };
    let (x_last, w_last) = (order(&x), order(&w));
    let operands = [(&x_last, Some(&of_x)), (&w_last, Some(&of_w)), (&bias, Some(&of_b))];
    let found = Single::new(last, &operands, Some(&of_y)).run(Arithmetic::Integer);
    assert_eq!(found, order(&first.run(Arithmetic::Integer)));
}

#[test]
fn an_addend_in_other_steps_is_added_to_the_scaled_sum() {
    let mut draw = Draw(3);
    let (a, b) = (draw.tensor(DType::U8, &[2, 8]), draw.tensor(DType::I8, &[3, 8]));
    let floats = Tensor::from_vec(&[3], vec![0.25f32, -7.1, 1e3]).expect("three");
    let of_c = single(DType::I32, 0.5, 0);
    let integers = draw.tensor(DType::I32, &[3]);
    let (of_a, of_b, of_y) =
        (single(DType::U8, 0.1, 3), along(DType::I8, 0, &[0.2, 0.3, 0.4]), single(DType::I16, 0.7, -5));
    let op = Gemm { transB: true, ..Gemm::default() };
    for (c, of_c) in [(&floats, None), (&integers, Some(&of_c))] {
        let single = Single::new(op.clone(), &[(&a, Some(&of_a)), (&b, Some(&of_b)), (c, of_c)], Some(&of_y));
        assert!(single.has_integers());
        let found = single.run(Arithmetic::Integer).to_i64().expect("integers");
        let (a, b) = (a.to_i64().expect("integers"), b.to_i64().expect("integers"));
        let c: Vec<f64> =
            c.to_f64().expect("numbers").iter().map(|c| c * of_c.map_or(1.0, |of| f64_of(of, 0))).collect();
        for (index, found) in found.into_iter().enumerate() {
            let (row, column) = (index / 3, index % 3);
            let sum: i64 = (0..8).map(|k| (a[row * 8 + k] - 3) * b[column * 8 + k]).sum();
            let scaled = sum as f64 * (f64_of(&of_a, 0) * f64_of(&of_b, column) / f64_of(&of_y, 0));
            let exact = scaled + c[column] / f64_of(&of_y, 0);
            let expected = (exact.round_ties_even() - 5.0).clamp(-32768.0, 32767.0) as i64;
            assert_eq!(found, expected, "element {index}");
        }
    }
}

#[test]
fn elementwise_operations_scale_once() {
    let mut draw = Draw(4);
    let (a, b) = (draw.tensor(DType::U16, &[4, 3]), draw.tensor(DType::I8, &[3]));
    let (of_a, of_b) = (single(DType::U16, 0.001, 1000), along(DType::I8, 0, &[0.5, 0.25, 0.1]));
    let of_y = single(DType::I16, 0.02, 3);
    let product = Single::new(Mul, &[(&a, Some(&of_a)), (&b, Some(&of_b))], Some(&of_y));
    let sum = Single::new(Add, &[(&a, Some(&of_a)), (&b, Some(&of_b))], Some(&of_y));
    assert!(product.has_integers() && sum.has_integers());
    let (products, sums) = (product.run(Arithmetic::Integer), sum.run(Arithmetic::Integer));
    let (a, b) = (a.to_i64().expect("integers"), b.to_i64().expect("integers"));
    for index in 0..12 {
        let (x, y) = (a[index] - 1000, b[index % 3]);
        let (sx, sy, unit) = (f64_of(&of_a, 0), f64_of(&of_b, index % 3), f64_of(&of_y, 0));
        assert_eq!(products.to_i64().expect("integers")[index], requantized(x * y, sx * sy / unit, &of_y));
        let expected = ((x as f64 * sx + y as f64 * sy) / unit).round_ties_even() + 3.0;
        assert_eq!(sums.to_i64().expect("integers")[index], expected.clamp(-32768.0, 32767.0) as i64);
    }
}

#[test]
fn means_and_other_encodings_round_half_to_even() {
    let of_x = single(DType::U8, 0.5, 10);
    let x = Tensor::from_i64(DType::U8, &[2, 4], vec![10, 12, 10, 10, 11, 12, 13, 255]).expect("eight");
    let axes = Tensor::from_vec(&[1], vec![1i64]).expect("one");
    // Sums of steps 2 and 251, over 4: 0.5 and 62.75 steps.
    let of_y = single(DType::U8, 0.5, 10);
    let op = ReduceMean { keepdims: false, ..ReduceMean::default() };
    let mean = Single::new(op, &[(&x, Some(&of_x)), (&axes, None)], Some(&of_y));
    assert!(mean.has_integers());
    assert_eq!(mean.run(Arithmetic::Integer).to_i64().expect("integers"), [10, 73]);
    let coarse = single(DType::I8, 1.0, 0);
    let again = Single::new(Quantize, &[(&x, Some(&of_x))], Some(&coarse));
    // Half steps: 0, 1, 0, 0, 0.5, 1, 1.5, 122.5.
    assert_eq!(again.run(Arithmetic::Integer).to_i64().expect("integers"), [0, 1, 0, 0, 0, 1, 2, 122]);
    let planes = x.reshaped(&[1, 1, 2, 4]).expect("eight");
    let pool = AveragePool { kernel_shape: vec![2, 2], strides: vec![2, 2], ..AveragePool::default() };
    let pooled = Single::new(pool, &[(&planes, Some(&of_x))], Some(&of_y));
    assert!(pooled.has_integers());
    // Steps 0, 2, 1, 2 and 0, 0, 3, 245: means 1.25 and 62.
    assert_eq!(pooled.run(Arithmetic::Integer).to_i64().expect("integers"), [11, 72]);
}

#[test]
fn transposed_convolutions_have_rules_too() {
    let mut draw = Draw(5);
    let (x, w) = (draw.tensor(DType::U8, &[1, 2, 3]), draw.tensor(DType::I8, &[2, 3, 2]));
    let (of_x, of_w) = (single(DType::U8, 0.1, 128), along(DType::I8, 1, &[0.1, 0.2, 0.3]));
    let of_y = single(DType::I16, 0.05, 0);
    let op = ConvTranspose { strides: vec![2], ..ConvTranspose::default() };
    let single = Single::new(op, &[(&x, Some(&of_x)), (&w, Some(&of_w))], Some(&of_y));
    assert!(single.has_integers());
    let found = single.run(Arithmetic::Integer).to_i64().expect("integers");
    let (x, w) = (x.to_i64().expect("integers"), w.to_i64().expect("integers"));
    for output in 0..3 {
        for place in 0..6 {
            // With a stride of two and two taps nothing overlaps.
            let sum: i64 =
                (0..2).map(|c| (x[c * 3 + place / 2] - 128) * w[(c * 3 + output) * 2 + place % 2]).sum();
            let scale = f64_of(&of_x, 0) * f64_of(&of_w, output) / f64_of(&of_y, 0);
            assert_eq!(found[output * 6 + place], requantized(sum, scale, &of_y));
        }
    }
}

#[test]
fn what_has_no_rule_is_simulated() {
    let mut draw = Draw(6);
    let wide = draw.tensor(DType::I32, &[1, 4]);
    let largest = Tensor::from_i64(DType::I32, &[4, 1], vec![i64::from(i32::MAX); 4]).expect("four");
    let of = single(DType::I32, 1e-6, 0);
    let y = single(DType::I16, 1.0, 0);
    // Sums beyond 2^53 are not exact in any float.
    let beyond = Single::new(
        MatMul,
        &[(&largest.reshaped(&[1, 4]).expect("four"), Some(&of)), (&largest, Some(&of))],
        Some(&y),
    );
    assert!(!beyond.has_integers());
    // Scales that differ along the axis that is summed over.
    let summed = along(DType::I32, 1, &[0.1, 0.2, 0.3, 0.4]);
    let column = draw.tensor(DType::I8, &[4, 1]);
    let of_column = single(DType::I8, 0.1, 0);
    let differing = Single::new(MatMul, &[(&wide, Some(&summed)), (&column, Some(&of_column))], Some(&y));
    assert!(!differing.has_integers());
    let softmax = Single::new(
        Softmax::default(),
        &[(&column, Some(&of_column))],
        Some(&single(DType::U8, 1.0 / 256.0, 0)),
    );
    assert!(!softmax.has_integers());
    assert_eq!(softmax.run(Arithmetic::Integer), softmax.run(Arithmetic::Simulated));
    let plain = Tensor::from_vec(&[1, 4], vec![1.0f32; 4]).expect("four");
    let mixed = Single::new(MatMul, &[(&plain, None), (&column, Some(&of_column))], Some(&y));
    assert!(!mixed.has_integers());
    // The sum of these floats in f32 is half way between two steps, and the exact one beyond that.
    let (a, b) = (Tensor::from_vec(&[1], vec![1.5f32]), Tensor::from_vec(&[1], vec![1e-8f32]));
    let (a, b) = (a.expect("one"), b.expect("one"));
    let floats = Single::new(Add, &[(&b, None), (&a, None)], Some(&single(DType::I8, 3.0, 0)));
    assert!(!floats.has_integers());
    assert_eq!(floats.run(Arithmetic::Integer).to_i64().expect("integers"), [0]);
    assert_eq!(floats.run(Arithmetic::Simulated), floats.run(Arithmetic::Integer));
}

#[test]
fn real_results_are_sums_of_integers_too() {
    let mut draw = Draw(7);
    let (a, b) = (draw.tensor(DType::U8, &[2, 300]), draw.tensor(DType::I8, &[300, 2]));
    let (of_a, of_b) = (single(DType::U8, 0.1, 3), single(DType::I8, 0.2, 0));
    let product = Single::new(MatMul, &[(&a, Some(&of_a)), (&b, Some(&of_b))], None);
    let found = product.run(Arithmetic::Integer).to_f32().expect("floats").into_owned();
    let (a, b) = (a.to_i64().expect("integers"), b.to_i64().expect("integers"));
    let sum: i64 = (0..300).map(|k| (a[k] - 3) * b[k * 2]).sum();
    assert_eq!(found[0].to_bits(), ((sum as f64 * (f64_of(&of_a, 0) * f64_of(&of_b, 0))) as f32).to_bits());
}

/// Computes every relu as if nothing was negative.
struct Careless;

impl Kernels for Careless {
    fn evaluate(&self, node: NodeRef<'_>, operands: &[Option<Tensor>]) -> Option<Result<Results, EvalError>> {
        node.is::<Relu>()?;
        Some(Ok(operands.iter().flatten().cloned().collect()))
    }
}

#[test]
fn kernels_are_asked_first() {
    let x = Tensor::from_i64(DType::I8, &[2], vec![-3, 3]).expect("two");
    let of = single(DType::I8, 0.5, 0);
    let relu = Single::new(Relu, &[(&x, Some(&of))], Some(&of));
    assert_eq!(relu.run(Arithmetic::Integer).to_i64().expect("integers"), [0, 3]);
    let found = Interpreter::new(&relu.graph).with_kernels(&Careless).run(&relu.inputs).expect("runs");
    assert_eq!(found["y"], x);
}
