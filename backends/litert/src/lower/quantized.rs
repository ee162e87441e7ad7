//! What is asked of encodings where a node computes with stored integers.
//!
//! Kernels differ in what they take and check, and some compute something else in silence where they are given what they do
//! not expect. So every operation has a rule here, which refuses whatever is not known to be right with all kernels; an
//! operation without a rule is computed in floats, between `dequantize` and `quantize`.

use quad_backends::legality::{Legality, Reason, Reasons};
use quad_ir::dtype::DType;
use quad_ir::graph::{NodeRef, ValueRef};
use quad_ir::ops::{Concat, OpKind, Swish};
use quad_ir::types::Quant;
use quad_passes::pattern::{is_constant, mixes_channels};

/// Whether `node` computes with real numbers though some of its operands or results are stored integers: a node with both is
/// one, as the last of a normalization is, and a sum that no kernel can scale. Layers are none: their kernels would be another,
/// much slower, model.
pub(crate) fn is_in_floats(node: NodeRef<'_>) -> bool {
    let kind = node.op().kind();
    if matches!(kind, OpKind::Conv | OpKind::MatMul | OpKind::Quantize | OpKind::Dequantize) {
        return false;
    }
    let results = node.results().filter(|value| value.is_read() || value.is_output());
    let values: Vec<ValueRef<'_>> = node.operands().flatten().chain(results).collect();
    let is_real = |value: &ValueRef<'_>| value.ty().quant.is_none() && value.ty().dtype.is_float();
    values.iter().any(|value| value.ty().quant.is_some())
        && (values.iter().any(is_real) || is_sum_beyond_scaling(node))
}

/// Whether a step of an operand of the sum `node` is so many steps of its result that the kernel, which shifts operands to the
/// left and scales down, has nothing left to scale down: it ends the process. So does a range of zeros alone, whose scale is 1,
/// beside numbers.
fn is_sum_beyond_scaling(node: NodeRef<'_>) -> bool {
    let scale = |value: Option<ValueRef<'_>>| Some(value?.ty().quant.as_deref()?.scales.first()?.get());
    let of_sum = matches!(node.op().kind(), OpKind::Add | OpKind::Sub).then(|| {
        let (a, b) = (scale(node.operand("a"))?, scale(node.operand("b"))?);
        let shift = if node.result().ty().dtype == DType::I16 { 15 } else { 20 };
        let ratio = f64::from(2.0 * a.max(b)) / f64::from(scale(Some(node.result()))?);
        Some(ratio >= f64::from(1 << shift))
    });
    of_sum.flatten().unwrap_or(false)
}

/// The encodings that the kernels of operations with bounded results ask for: of 8 bits, then of 16.
const LOGISTIC: [(f32, i32); 2] = [(1.0 / 256.0, -128), (1.0 / 32768.0, 0)];
const TANH: [(f32, i32); 2] = [(1.0 / 128.0, 0), (1.0 / 32768.0, 0)];

/// Scales of a bias that are as far from the product of those of its layer are taken for it, relative to that.
const BIAS_TOLERANCE: f64 = 1e-5;

type Rule = fn(NodeRef<'_>, &mut Reasons);

/// Whether `node`, which reads or makes stored integers, computes with them as it says.
pub(super) fn legality(node: NodeRef<'_>) -> Legality {
    let mut reasons = Reasons::default();
    if let Some(rule) = rule(node.op().kind()) {
        rule(node, &mut reasons);
    } else {
        let name = node.op().def().name();
        let why = format!("`{name}` has no kernel for stored integers that is right everywhere");
        reasons.add(Reason::new(why).help("leave its operands and result floats, without encodings"));
    }
    reasons.legality()
}

fn rule(kind: OpKind) -> Option<Rule> {
    Some(match kind {
        OpKind::Input | OpKind::Weight => |_, _| {},
        OpKind::Add | OpKind::Sub | OpKind::Mul | OpKind::Gelu | OpKind::Relu | OpKind::ReduceMean => alike,
        OpKind::MatMul => product,
        OpKind::Conv => convolution,
        OpKind::Softmax | OpKind::Sigmoid => |node, reasons| bounded(node, &LOGISTIC, reasons),
        OpKind::Tanh => |node, reasons| bounded(node, &TANH, reasons),
        OpKind::Swish => swish,
        OpKind::Reshape
        | OpKind::Squeeze
        | OpKind::Unsqueeze
        | OpKind::Flatten
        | OpKind::Transpose
        | OpKind::Concat
        | OpKind::Slice
        | OpKind::Split
        | OpKind::Pad
        | OpKind::Expand
        | OpKind::Gather
        | OpKind::Resize
        | OpKind::Max
        | OpKind::Min
        | OpKind::ReduceMax => shared,
        OpKind::Quantize => stored,
        OpKind::Dequantize => real,
        _ => return None,
    })
}

/// The encoding of the result of the logistic function inside of `swish`, beside an operand stored as `dtype`.
pub(crate) fn gate(dtype: DType) -> Option<Quant> {
    let (scale, zero_point) = LOGISTIC[usize::from(dtype == DType::I16)];
    Quant::per_tensor(scale, zero_point).ok()
}

/// Asks that `value`, called `what`, be stored as kernels take activations. Whether it is stored at all.
fn activation(value: ValueRef<'_>, what: &str, reasons: &mut Reasons) -> bool {
    let (dtype, Some(quant)) = (value.ty().dtype, &value.ty().quant) else {
        reasons.require(false, || format!("{what} is a float beside stored integers; quantize it first"));
        return false;
    };
    let is_known = matches!(dtype, DType::I8 | DType::I16);
    if !is_known {
        let help = "the rules `litert` choose signed integers of 8 or 16 bits";
        reasons.add(Reason::new(format!("{what} is stored as {dtype}")).help(help));
    }
    reasons.require(quant.axis.is_none(), || format!("{what} has several scales, activations have one"));
    let is_symmetric = quant.zero_points.iter().all(|zero| *zero == 0);
    reasons.require(dtype != DType::I16 || is_symmetric, || {
        format!("{what} has a zero point other than 0, which kernels of 16 bits do not look at")
    });
    is_known
}

/// The operand that the axes, indices and sizes beside it are about.
fn operands(node: NodeRef<'_>) -> Vec<ValueRef<'_>> {
    match node.op().kind() {
        OpKind::Add
        | OpKind::Sub
        | OpKind::Mul
        | OpKind::MatMul
        | OpKind::Concat
        | OpKind::Max
        | OpKind::Min => node.operands().flatten().collect(),
        _ => node.operands().next().flatten().into_iter().collect(),
    }
}

/// Operands and results are activations of one width.
fn alike(node: NodeRef<'_>, reasons: &mut Reasons) {
    let first = operands(node).first().map(|value| value.ty().dtype);
    for (number, value) in operands(node).into_iter().enumerate() {
        activation(value, &format!("operand {number}"), reasons);
        same_width(value, first, reasons);
    }
    for value in node.results().filter(|value| value.is_read() || value.is_output()) {
        activation(value, "its result", reasons);
        same_width(value, first, reasons);
    }
}

fn same_width(value: ValueRef<'_>, first: Option<DType>, reasons: &mut Reasons) {
    let dtype = value.ty().dtype;
    reasons.require(first == Some(dtype) || value.ty().quant.is_none(), || {
        format!("{dtype} beside {}, kernels take one type", first.map_or("nothing", DType::name))
    });
}

/// What moves elements, or chooses some, has one encoding throughout: kernels do not convert, or do so in silence.
fn shared(node: NodeRef<'_>, reasons: &mut Reasons) {
    alike(node, reasons);
    let encoding = |value: ValueRef<'_>| value.ty().quant.clone();
    let expected = encoding(node.result());
    let differs = operands(node).into_iter().any(|value| encoding(value) != expected);
    let help = if node.is::<Concat>().is_some() { "requantize its parts" } else { "requantize its result" };
    if differs {
        let why = "operands and result have different encodings, and the kernel moves stored integers";
        reasons.add(Reason::new(why).help(help));
    }
    if node.op().kind() == OpKind::Pad {
        let fills =
            node.operand("value").is_none_or(|value| quad_passes::pattern::uniform(value) == Some(0.0));
        reasons.require(fills, || "it pads stored integers with a number other than 0".to_owned());
    }
}

/// The result has the encoding that the kernel is written for.
fn bounded(node: NodeRef<'_>, encodings: &[(f32, i32); 2], reasons: &mut Reasons) {
    alike(node, reasons);
    let Some(quant) = &node.result().ty().quant else { return };
    let (scale, zero_point) = encodings[usize::from(node.result().ty().dtype == DType::I16)];
    let found = (quant.scales[0].get(), quant.zero_points[0]);
    reasons.require(found == (scale, zero_point), || {
        format!(
            "its result has scale {} and zero point {}, the kernel makes {scale} and {zero_point}",
            found.0, found.1
        )
    });
}

fn swish(node: NodeRef<'_>, reasons: &mut Reasons) {
    alike(node, reasons);
    let alpha = node.is::<Swish>().map_or(1.0, |swish| swish.alpha.get());
    reasons.require(alpha == 1.0, || format!("it multiplies stored integers by {alpha} inside of the gate"));
}

/// Both factors are activations; a constant one may be 8 bits beside 16, and has one scale.
fn product(node: NodeRef<'_>, reasons: &mut Reasons) {
    let (Some(a), Some(b)) = (node.operand("a"), node.operand("b")) else { return };
    let (a_type, b_type) = (a.ty().dtype, b.ty().dtype);
    activation(a, "operand a", reasons);
    activation(b, "operand b", reasons);
    activation(node.result(), "its result", reasons);
    same_width(node.result(), Some(a_type), reasons);
    let fits = a_type == b_type || (a_type, b_type) == (DType::I16, DType::I8);
    reasons.require(fits, || format!("{a_type} times {b_type} has no kernel"));
}

fn convolution(node: NodeRef<'_>, reasons: &mut Reasons) {
    let (Some(x), Some(w)) = (node.operand("x"), node.operand("w")) else { return };
    let is_stored = activation(x, "its operand", reasons);
    activation(node.result(), "its result", reasons);
    same_width(node.result(), Some(x.ty().dtype), reasons);
    let Some(quant) = w.ty().quant.as_deref() else {
        reasons.require(false, || {
            format!("its kernel is {}; beside stored integers it is stored, too", w.ty().dtype)
        });
        return;
    };
    kernel_type(node, x, w, reasons);
    let is_symmetric = quant.zero_points.iter().all(|zero| *zero == 0);
    reasons.require(is_symmetric, || {
        "its kernel has a zero point other than 0, which is not looked at".to_owned()
    });
    reasons.require(quant.block.is_none() && quant.axis.is_none_or(|axis| axis == 0), || {
        "scales of its kernel differ along another axis than output channels".to_owned()
    });
    // Vendors' plugins drop the scales per channel of what is not constant.
    reasons.require(quant.axis.is_none() || is_constant(w), || {
        "its kernel comes at run time and has several scales, one is taken".to_owned()
    });
    if let Some(bias) = node.operand("b").filter(|_| is_stored) {
        self::bias(bias, x, quant, reasons);
    }
}

/// Whether the kernel `w` of a convolution has 16 bits, of which kernels of the runtime would read 8: the convolution is
/// written as a product.
pub(super) fn is_wide_kernel(w: ValueRef<'_>) -> bool {
    w.ty().dtype == DType::I16 && w.ty().quant.is_some()
}

/// The types of kernels: 8 bits, 4 of constants, and 16 where the convolution is a product of 16 bits.
fn kernel_type(node: NodeRef<'_>, x: ValueRef<'_>, w: ValueRef<'_>, reasons: &mut Reasons) {
    let found = w.ty().dtype;
    let help = "make the profile with the rules `litert`";
    if is_wide_kernel(w) {
        let is_single =
            w.ty().quant.as_ref().is_some_and(|quant| quant.axis.is_none() && quant.block.is_none());
        let is_product = mixes_channels(node) && node.operand("b").is_none() && is_single;
        if !is_product {
            let why = "its kernel is i16, which the runtime takes for products alone: one position, one scale, no bias";
            reasons.add(Reason::new(why).help(help));
        }
        same_width(w, Some(x.ty().dtype), reasons);
        return;
    }
    let is_known = found == DType::I8 || (found == DType::I4 && is_constant(w));
    if !is_known {
        let why = format!("its kernel is {found}; it is stored as i8, or as i4 where it is constant");
        reasons.add(Reason::new(why).help(help));
    }
}

/// Sums of products of 16 and 8 bits overflow 32 bits, so the bias, whose type decides, has 64 there.
fn bias(bias: ValueRef<'_>, x: ValueRef<'_>, filter: &Quant, reasons: &mut Reasons) {
    let expected = if x.ty().dtype == DType::I16 { DType::I64 } else { DType::I32 };
    let Some((input, quant)) = x.ty().quant.as_deref().zip(bias.ty().quant.as_deref()) else {
        reasons.require(false, || "its bias is a float beside stored integers".to_owned());
        return;
    };
    let found = bias.ty().dtype;
    if found != expected {
        let why =
            format!("its bias is stored as {found}, the kernel reads {expected} beside {}", x.ty().dtype);
        reasons.add(Reason::new(why).help("make the profile with the rules `litert`"));
    }
    reasons
        .require(quant.zero_points.iter().all(|zero| *zero == 0), || "its bias has a zero point".to_owned());
    let scale = |quant: &Quant, index: usize| {
        let index = if quant.scales.len() == 1 { 0 } else { index };
        quant.scales.get(index).map_or(0.0, |scale| f64::from(scale.get()))
    };
    let channels = filter.scales.len().max(quant.scales.len());
    let is_product = (0..channels).all(|channel| {
        let product = scale(input, 0) * scale(filter, channel);
        (scale(quant, channel) - product).abs() <= BIAS_TOLERANCE * product
    });
    reasons.require(is_product, || {
        "scales of its bias are not those of its operand times its kernel".to_owned()
    });
}

/// Floats become stored integers, or these others.
fn stored(node: NodeRef<'_>, reasons: &mut Reasons) {
    activation(node.result(), "its result", reasons);
    if let Some(x) = node.operand("x").filter(|x| x.ty().quant.is_some()) {
        activation(x, "its operand", reasons);
    }
}

/// Stored integers become floats; constants may have several scales.
fn real(node: NodeRef<'_>, reasons: &mut Reasons) {
    let Some(x) = node.operand("x") else { return };
    if !is_constant(x) {
        activation(x, "its operand", reasons);
        return;
    }
    let is_known = matches!(x.ty().dtype, DType::I8 | DType::I16);
    reasons.require(is_known, || {
        format!("its operand is stored as {}, the kernel takes i8 and i16", x.ty().dtype)
    });
    let has_blocks = x.ty().quant.as_ref().is_some_and(|quant| quant.block.is_some());
    reasons.require(!has_blocks, || "its operand is stored in blocks".to_owned());
}
