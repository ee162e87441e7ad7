//! Layers that a low-rank branch can stand beside: products of what varies with a weight.

use quad_ir::graph::{NodeRef, ValueRef};
use quad_ir::ops::{Add, Cast, Conv, Gemm, MatMul, Reshape, Transpose};
use quad_ir::types::Dim;

/// A layer: what it reads, and how many channels go in and out.
#[derive(Clone, Debug)]
pub struct Layer<'g> {
    /// The product.
    pub node: NodeRef<'g>,
    /// What it multiplies with its weight.
    pub x: ValueRef<'g>,
    /// Matrix product or convolution.
    pub kind: LayerKind,
    /// Channels of `x`.
    pub channels_in: u64,
    /// Channels of the result.
    pub channels_out: u64,
}

/// The kinds of layers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LayerKind {
    /// A matrix product over the last axis.
    Linear,
    /// A convolution over all axes behind the second one.
    Conv {
        /// Sizes of its kernel.
        kernel: Vec<u64>,
        /// The operation. A branch takes its strides, pads and dilations, but no groups: an adapter's change of a grouped
        /// convolution is not grouped.
        op: Conv,
    },
}

impl LayerKind {
    /// Sizes of the kernel; none for a matrix product.
    pub fn kernel(&self) -> &[u64] {
        match self {
            Self::Linear => &[],
            Self::Conv { kernel, .. } => kernel,
        }
    }
}

impl LayerKind {
    /// Whether both go over what they read in the same way: products, or convolutions with kernels of the same sizes, the
    /// same strides, pads and dilations.
    pub fn slides_like(&self, other: &Self) -> bool {
        let (Self::Conv { kernel, op }, Self::Conv { kernel: other_kernel, op: other }) = (self, other)
        else {
            return self == other;
        };
        // Nothing stands for the usual number on each axis.
        let same = |a: &[u64], b: &[u64], usual: u64| {
            let all = |list: &[u64]| list.iter().all(|number| *number == usual);
            a == b || (all(a) && all(b))
        };
        kernel == other_kernel
            && same(&op.strides, &other.strides, 1)
            && same(&op.dilations, &other.dilations, 1)
            && same(&op.pads, &other.pads, 0)
    }
}

impl<'g> Layer<'g> {
    /// The layer that `node` is; an error says what is in the way.
    pub fn of(node: NodeRef<'g>) -> Result<Self, String> {
        let op = node.op();
        if let Some(conv) = node.is::<Conv>() {
            return Self::conv(node, conv);
        }
        let swapped = match node.is::<Gemm>() {
            Some(gemm) if gemm.transA => {
                return Err("its input is transposed, expected channels on the last axis".to_owned());
            }
            Some(gemm) => gemm.transB,
            None if node.is::<MatMul>().is_some() => false,
            None => {
                return Err(format!("it is `{}`, expected `matmul`, `gemm` or `conv`", op.def().name()));
            }
        };
        let (Some(x), Some(weight)) = (node.operand("a"), node.operand("b")) else {
            return Err("an operand is missing".to_owned());
        };
        let [Some(rows), Some(columns)] = *sizes(weight) else {
            return Err(format!("its weight is {}, expected a matrix of known sizes", weight.ty()));
        };
        let (channels_in, channels_out) = if swapped { (columns, rows) } else { (rows, columns) };
        Ok(Self { node, x, kind: LayerKind::Linear, channels_in, channels_out })
    }

    fn conv(node: NodeRef<'g>, conv: &Conv) -> Result<Self, String> {
        let (Some(x), Some(weight)) = (node.operand("x"), node.operand("w")) else {
            return Err("an operand is missing".to_owned());
        };
        let sizes = weight.ty().shape.as_known().filter(|sizes| sizes.len() > 2);
        let sizes = sizes.ok_or_else(|| format!("its kernel is {}, expected known sizes", weight.ty()))?;
        let channels_in = sizes[1].saturating_mul(conv.group);
        let op = Conv { group: 1, ..conv.clone() };
        let kind = LayerKind::Conv { kernel: sizes[2..].to_vec(), op };
        Ok(Self { node, x, kind, channels_in, channels_out: sizes[0] })
    }

    /// The value that a branch is added to: the result, with its bias where one is added and nothing else reads the
    /// result.
    pub fn joint(&self) -> ValueRef<'g> {
        let result = self.node.result();
        let with_bias = result.only_reader().filter(|reader| reader.is::<Add>().is_some());
        let with_bias = with_bias.filter(|add| {
            add.operands().flatten().any(|addend| addend.id() != result.id() && is_fixed(addend))
        });
        // A bias does not change the type; an addend that stretches the result is none.
        with_bias.map(NodeRef::result).filter(|sum| sum.ty() == result.ty()).unwrap_or(result)
    }
}

/// Whether `value` is a constant, up to how it is laid out.
fn is_fixed(mut value: ValueRef<'_>) -> bool {
    loop {
        if value.weight().is_some() || value.constant().is_some() {
            return true;
        }
        let node = value.producer();
        let is_layout =
            node.is::<Cast>().is_some() || node.is::<Reshape>().is_some() || node.is::<Transpose>().is_some();
        match node.operand("x").filter(|_| is_layout) {
            Some(x) => value = x,
            None => return false,
        }
    }
}

/// The sizes of a value, `None` where one is not a number.
fn sizes(value: ValueRef<'_>) -> Box<[Option<u64>]> {
    value.ty().shape.iter().map(Dim::known).collect()
}
