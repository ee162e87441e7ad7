//! The cases: an operation, its operands, and how far it may be off.

use quad_ir::dtype::DType;
use quad_ir::ops::layout::DataLayout;
#[expect(clippy::wildcard_imports, reason = "nearly all operations are named here")]
use quad_ir::ops::*;
use quad_ir::types::Encoded;

/// An operation on operands.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) op: Op,
    pub(crate) operands: Vec<Operand>,
    kind: Kind,
    /// Steps of 16 and of 8 bits that it may be off; `None` where it is not for that width.
    limits: [Option<f64>; 2],
}

/// How the result is stored.
enum Kind {
    /// In steps that its numbers fill.
    Computed,
    /// As the first operand is.
    Moved,
    /// From 0 to 1.
    Share,
    /// Not as integers.
    Real,
}

/// An operand.
#[derive(Clone)]
pub(crate) enum Operand {
    /// None.
    Absent,
    /// An input of stored integers, of as many bits as activations have unless `dtype` says otherwise; symmetric where it
    /// is the second operand of a product.
    Stored { dims: Vec<u64>, min: f32, max: f32, dtype: Option<DType>, symmetric: bool },
    /// A constant of stored integers, by channel along `axis`.
    Weight { dims: Vec<u64>, axis: Option<usize>, magnitude: f32, dtype: DType },
    /// A constant of real numbers.
    Real { dims: Vec<u64>, min: f32, max: f32 },
    /// An input of real numbers.
    Free { dims: Vec<u64>, min: f32, max: f32 },
    /// A constant list.
    Integers(Vec<i64>),
}

impl Operand {
    /// How it is stored beside activations of `width` bits.
    pub(crate) fn encoding(&self, width: u32) -> Option<Encoded> {
        let Self::Stored { min, max, dtype, symmetric, .. } = self else { return None };
        let dtype = dtype.unwrap_or(if width == 8 { DType::U8 } else { DType::U16 });
        Some(if *symmetric { symmetric_encoding(dtype, max.abs()) } else { spread(dtype, *min, *max) })
    }

    /// The smallest and the largest code that is drawn.
    pub(crate) fn codes(&self, stored: DType) -> (i64, i64) {
        let (low, high) = stored.integer_range().expect("an integer type");
        let (low, high) = (low as i64, high as i64);
        let Self::Stored { symmetric: true, .. } = self else { return (low, high) };
        let (zero, most) = ((low + high + 1) / 2, if stored.bits() == 16 { 32639 } else { 127 });
        (zero - most, zero + most)
    }
}

/// The encoding whose integers of `dtype` fill the range, which 0 is in.
fn spread(dtype: DType, min: f32, max: f32) -> Encoded {
    let (low, high) = dtype.integer_range().expect("an integer type");
    let scale = (max - min) / (high - low) as f32;
    let zero = (low as f32 - min / scale).round();
    Encoded::per_tensor(dtype, scale, zero as i32).expect("a positive scale")
}

fn symmetric_encoding(dtype: DType, magnitude: f32) -> Encoded {
    let (low, high) = dtype.integer_range().expect("an integer type");
    let most = if dtype.bits() == 16 { 32639.0 } else { 127.0 };
    Encoded::per_tensor(dtype, magnitude / most, ((low + high + 1) / 2) as i32).expect("a positive scale")
}

impl Case {
    /// Whether there is such a case with activations of `width` bits.
    pub(crate) fn is_for(&self, width: u32) -> bool {
        self.limits[usize::from(width == 8)].is_some()
    }

    /// Whether its stored numbers are those of its operand.
    pub(crate) fn is_moved(&self) -> bool {
        matches!(self.kind, Kind::Moved)
    }

    /// Whether it is a product, a sum, or another operation that is as exact as those.
    pub(crate) fn is_linear(&self, width: u32) -> bool {
        !self.is_moved() && !matches!(self.kind, Kind::Real) && self.limit(width) <= LINEAR
    }

    /// Steps that it may be off.
    pub(crate) fn limit(&self, width: u32) -> f64 {
        self.limits[usize::from(width == 8)].unwrap_or(0.0)
    }

    /// How the result is stored, which should hold `values`.
    pub(crate) fn result_encoding(&self, width: u32, values: &[f64]) -> Option<Encoded> {
        let dtype = if width == 8 { DType::U8 } else { DType::U16 };
        match self.kind {
            Kind::Computed => {
                let min = values.iter().copied().fold(0.0, f64::min);
                let max = values.iter().copied().fold(0.0, f64::max);
                Some(spread(dtype, min as f32, max as f32))
            }
            Kind::Moved => self.operands[0].encoding(width),
            Kind::Share => Some(spread(dtype, 0.0, 1.0)),
            Kind::Real => None,
        }
    }

    fn only_16(mut self) -> Self {
        self.limits[1] = None;
        self
    }
}

fn case(name: &'static str, op: impl Into<Op>, operands: Vec<Operand>, limit: f64) -> Case {
    Case { name, op: op.into(), operands, kind: Kind::Computed, limits: [Some(limit), Some(limit.min(2.0))] }
}

fn moved(name: &'static str, op: impl Into<Op>, operands: Vec<Operand>) -> Case {
    Case { kind: Kind::Moved, ..case(name, op, operands, 0.0) }
}

fn x(dims: &[u64]) -> Operand {
    between(dims, -4.0, 4.0)
}

fn between(dims: &[u64], min: f32, max: f32) -> Operand {
    Operand::Stored { dims: dims.to_vec(), min, max, dtype: None, symmetric: false }
}

fn second(dims: &[u64], dtype: Option<DType>) -> Operand {
    Operand::Stored { dims: dims.to_vec(), min: -1.0, max: 1.0, dtype, symmetric: true }
}

fn weight(dims: &[u64], axis: Option<usize>, dtype: DType) -> Operand {
    Operand::Weight { dims: dims.to_vec(), axis, magnitude: 0.3, dtype }
}

fn real(dims: &[u64], min: f32, max: f32) -> Operand {
    Operand::Real { dims: dims.to_vec(), min, max }
}

fn list(values: &[i64]) -> Operand {
    Operand::Integers(values.to_vec())
}

/// Steps that products and sums may be off.
const LINEAR: f64 = 2.0;

/// All cases.
pub(crate) fn all() -> Vec<Case> {
    let mut all = products();
    all.extend(pairs());
    all.extend(functions());
    all.extend(normalizations());
    all.extend(movements());
    all.extend(reductions());
    all
}

fn conv(pads: u64, stride: u64, group: u64) -> Conv {
    Conv { pads: vec![pads; 4], strides: vec![stride; 2], group, layout: DataLayout::Nhwc, ..Conv::default() }
}

fn products() -> Vec<Case> {
    let image = || x(&[1, 8, 8, 16]);
    let bias = |size: u64| real(&[size], -1.0, 1.0);
    let rows = || x(&[1, 16, 32]);
    vec![
        case(
            "conv",
            conv(1, 1, 1),
            vec![image(), weight(&[24, 3, 3, 16], Some(0), DType::I8), bias(24)],
            LINEAR,
        ),
        case(
            "conv, one scale, stride 2",
            conv(1, 2, 1),
            vec![image(), weight(&[24, 3, 3, 16], None, DType::I8)],
            LINEAR,
        ),
        case(
            "conv, groups",
            conv(1, 1, 4),
            vec![image(), weight(&[24, 3, 3, 4], Some(0), DType::I8), bias(24)],
            LINEAR,
        ),
        case(
            "conv, by channel",
            conv(1, 1, 16),
            vec![image(), weight(&[16, 3, 3, 1], Some(0), DType::I8), bias(16)],
            LINEAR,
        ),
        case(
            "conv, weights of 16 bits",
            conv(1, 1, 1),
            vec![image(), weight(&[24, 3, 3, 16], Some(0), DType::I16)],
            LINEAR,
        )
        .only_16(),
        case(
            "conv, weights as input",
            conv(0, 1, 1),
            vec![image(), second(&[24, 1, 1, 16], Some(DType::I8)), bias(24)],
            LINEAR,
        ),
        case(
            "conv, weights of 16 bits as input",
            conv(0, 1, 1),
            vec![image(), second(&[24, 1, 1, 16], Some(DType::I16))],
            LINEAR,
        )
        .only_16(),
        // A product, and then a sum of what it stored: two roundings, in steps that differ.
        case(
            "conv, large bias",
            conv(1, 1, 1),
            vec![image(), weight(&[24, 3, 3, 16], Some(0), DType::I16), real(&[24], -90.0, 90.0)],
            2.0 * LINEAR,
        )
        .only_16(),
        case(
            "conv_transpose",
            ConvTranspose {
                strides: vec![2; 2],
                pads: vec![1; 4],
                layout: DataLayout::Nhwc,
                ..ConvTranspose::default()
            },
            vec![image(), weight(&[24, 4, 4, 16], None, DType::I8), bias(24)],
            LINEAR,
        ),
        case(
            "conv_transpose, by output",
            ConvTranspose { strides: vec![2; 2], layout: DataLayout::Nhwc, ..ConvTranspose::default() },
            vec![image(), weight(&[24, 2, 2, 16], Some(0), DType::I8)],
            LINEAR,
        ),
        case("matmul", MatMul, vec![rows(), weight(&[1, 32, 24], None, DType::I8)], LINEAR),
        case("matmul, by channel", MatMul, vec![x(&[16, 32]), weight(&[32, 24], Some(1), DType::I8)], LINEAR),
        case(
            "matmul, rows of planes by channel",
            MatMul,
            vec![x(&[1, 16, 32]), weight(&[32, 24], Some(1), DType::I8)],
            LINEAR,
        ),
        case("matmul, weights as input", MatMul, vec![rows(), second(&[1, 32, 24], Some(DType::I8))], LINEAR),
        case(
            "matmul, weights of 16 bits as input",
            MatMul,
            vec![rows(), second(&[1, 32, 24], Some(DType::I16))],
            LINEAR,
        )
        .only_16(),
        case("matmul, heads", MatMul, vec![x(&[1, 4, 16, 32]), second(&[1, 4, 32, 24], None)], LINEAR),
        case(
            "gemm",
            Gemm { transB: true, ..Gemm::default() },
            vec![x(&[16, 32]), weight(&[24, 32], Some(0), DType::I8), bias(24)],
            LINEAR,
        ),
    ]
}

fn pairs() -> Vec<Case> {
    let both = || vec![x(&[1, 8, 8, 16]), between(&[1, 8, 8, 16], -1.0, 3.0)];
    let away = || vec![x(&[1, 8, 8, 16]), between(&[1, 1, 1, 16], 0.0, 3.0)];
    let constant = |min, max| vec![x(&[1, 8, 8, 16]), real(&[16], min, max)];
    vec![
        case("add", Add, both(), LINEAR),
        case("add, a row", Add, away(), LINEAR),
        case("add, a constant", Add, constant(-1.0, 1.0), LINEAR),
        case("sub", Sub, both(), LINEAR),
        case("mul", Mul, both(), LINEAR),
        case("mul, a constant", Mul, vec![x(&[1, 8, 8, 16]), real(&[1], 0.125, 0.125)], LINEAR),
        case("div, a constant", Div, constant(1.0, 3.0), 18.0),
        case("max", Max, both(), LINEAR),
        case("min", Min, both(), LINEAR),
    ]
}

fn functions() -> Vec<Case> {
    let image = || vec![x(&[1, 8, 8, 16])];
    let positive = |min, max| vec![between(&[1, 8, 8, 16], min, max)];
    let share = |name, op: Op, limit| Case { kind: Kind::Share, ..case(name, op, image(), limit) };
    let real_in = || vec![Operand::Free { dims: vec![1, 8, 8, 16], min: -4.0, max: 4.0 }];
    vec![
        case("relu", Relu, image(), 2.4),
        case("clip", Clip, vec![x(&[1, 8, 8, 16]), real(&[], 0.0, 0.0), real(&[], 3.0, 3.0)], 2.4),
        share("sigmoid", Sigmoid.into(), 6.5),
        case("tanh", Tanh, image(), 6.6),
        case("hard_swish", HardSwish, image(), 4.7),
        case("gelu", Gelu::default(), image(), 36.0),
        case("swish", Swish::default(), image(), 6.5),
        case("exp", Exp, positive(-4.0, 0.0), 5.4),
        // Its errors grow with its results, and nearly all of those are far below the largest.
        case("exp, wide", Exp, image(), 15.0),
        case("sqrt", Sqrt, positive(0.0, 4.0), 96.0),
        case("sin", Sin, image(), 10.5),
        case("cos", Cos, image(), 12.0),
        case("neg", Neg, image(), 2.0),
        case("quantize", Quantize, real_in(), 1.0),
        case("quantize, anew", Quantize, image(), 2.0),
        Case { kind: Kind::Real, ..case("dequantize", Dequantize, image(), 0.1) },
        Case { kind: Kind::Real, ..case("cast", Cast { to: DType::F16, ..Cast::default() }, real_in(), 1.0) },
    ]
}

fn normalizations() -> Vec<Case> {
    let image = || x(&[1, 8, 8, 16]);
    let factors = || [real(&[16], 0.5, 1.5), real(&[16], -1.0, 1.0)];
    let with = |first: Operand| {
        let [scale, bias] = factors();
        vec![first, scale, bias]
    };
    vec![
        Case {
            kind: Kind::Share,
            ..case("softmax", Softmax { axis: -1 }, vec![between(&[1, 4, 16, 128], -1.0, 1.0)], 8.4)
        },
        // The larger a share, the more steps it is off.
        Case {
            kind: Kind::Share,
            ..case("softmax, wide", Softmax { axis: -1 }, vec![x(&[1, 4, 16, 32])], 32.0)
        },
        case(
            "group_norm",
            GroupNorm { num_groups: 4, layout: DataLayout::Nhwc, ..GroupNorm::default() },
            with(image()),
            LINEAR,
        ),
        case(
            "group_norm, few places",
            GroupNorm { num_groups: 8, layout: DataLayout::Nhwc, ..GroupNorm::default() },
            vec![x(&[1, 4, 4, 96]), real(&[96], 0.5, 1.5), real(&[96], -1.0, 1.0)],
            LINEAR,
        ),
        case(
            "instance_norm",
            InstanceNorm { layout: DataLayout::Nhwc, ..InstanceNorm::default() },
            with(image()),
            LINEAR,
        ),
        case("layer_norm", LayerNorm::default(), with(x(&[1, 64, 16])), LINEAR),
        case("rms_norm", RmsNorm::default(), vec![x(&[1, 64, 16]), real(&[16], 0.5, 1.5)], 2.4),
    ]
}

fn movements() -> Vec<Case> {
    let image = || x(&[1, 8, 8, 16]);
    let up = || Resize {
        coordinate_transformation_mode: resize::Coordinates::Asymmetric,
        nearest_mode: resize::NearestMode::Floor,
        ..Resize::default()
    };
    let linear = || Resize { mode: resize::Interpolation::Linear, ..Resize::default() };
    let sizes = || vec![image(), Operand::Absent, Operand::Absent, list(&[1, 16, 16, 16])];
    vec![
        moved("reshape", Reshape::default(), vec![image(), list(&[1, 64, 16])]),
        moved("squeeze", Squeeze, vec![image(), list(&[0])]),
        moved("unsqueeze", Unsqueeze, vec![x(&[1, 64, 16]), list(&[1])]),
        moved("flatten", Flatten::default(), vec![image()]),
        moved("transpose", Transpose { perm: Some(vec![0, 3, 1, 2]) }, vec![image()]),
        moved("concat", Concat { axis: 3 }, vec![image(), image()]),
        moved("split", Split { axis: 3, num_outputs: Some(2) }, vec![image()]),
        moved("slice", Slice, vec![image(), list(&[1, -9]), list(&[7, 100]), list(&[1, 3]), list(&[2, 3])]),
        moved("pad", Pad::default(), vec![image(), list(&[0, 1, 2, 0, 0, 0, 1, 0])]),
        moved("pad, edge", Pad { mode: pad::PadMode::Edge }, vec![image(), list(&[0, 1, 2, 0, 0, 0, 1, 0])]),
        moved("expand", Expand, vec![x(&[1, 1, 8, 16]), list(&[1, 4, 8, 16])]),
        moved("gather", Gather { axis: 1 }, vec![x(&[1, 8, 16]), list(&[7, 0, 3])]),
        moved(
            "depth_to_space",
            DepthToSpace { blocksize: 2, layout: DataLayout::Nhwc, ..DepthToSpace::default() },
            vec![image()],
        ),
        moved(
            "space_to_depth",
            SpaceToDepth { blocksize: 2, layout: DataLayout::Nhwc, ..SpaceToDepth::default() },
            vec![image()],
        ),
        moved("resize", up(), sizes()),
        case("resize, linear", linear(), sizes(), LINEAR),
    ]
}

fn reductions() -> Vec<Case> {
    let image = || x(&[1, 8, 8, 16]);
    let two = || vec![2, 2];
    vec![
        case("reduce_mean", ReduceMean::default(), vec![image(), list(&[1, 2])], LINEAR),
        case(
            "reduce_sum",
            ReduceSum { keepdims: false, ..ReduceSum::default() },
            vec![image(), list(&[3])],
            LINEAR,
        ),
        case("reduce_max", ReduceMax::default(), vec![image(), list(&[-1])], LINEAR),
        case(
            "average_pool",
            AveragePool {
                kernel_shape: two(),
                strides: two(),
                layout: DataLayout::Nhwc,
                ..AveragePool::default()
            },
            vec![image()],
            LINEAR,
        ),
        moved(
            "max_pool",
            MaxPool { kernel_shape: two(), strides: two(), layout: DataLayout::Nhwc, ..MaxPool::default() },
            vec![image()],
        ),
    ]
}
