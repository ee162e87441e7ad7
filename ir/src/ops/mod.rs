//! The operations. Each is declared once, in one file with its family, and listed once, here.
//!
//! [`Op`] is closed but `#[non_exhaustive]`: inside this file [`Op::def`] is the only exhaustive match, and no other
//! crate can write one. Consumers attach tables to operations instead.

pub(crate) mod apply;
pub(crate) mod centered;
mod def;
pub(crate) mod granularity;
pub mod layout;
pub(crate) mod movement;
mod operands;
pub(crate) mod pool;
pub(crate) mod products;
pub(crate) mod rules;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod window;

use std::collections::BTreeMap;
use std::sync::LazyLock;

pub use def::*;
pub(crate) use operands::operand_name;
pub use operands::{Fact, Inputs, Operands};

/// Lists the operations by module: expands to the modules, the enum, the conversions and [`ALL_OPS`].
macro_rules! ops {
    ($($(#[$doc:meta])* $module:ident => $($op:ident),+ $(,)?;)*) => {
        $($(#[$doc])* pub mod $module;)*
        $(pub use $module::{$($op),+};)*

        /// Which operation, without its attributes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum OpKind { $($(#[doc = concat!("[`", stringify!($op), "`](crate::ops::", stringify!($op), ")")] $op,)+)* }

        /// An operation with its attributes.
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Op { $($(#[doc = concat!("[`", stringify!($op), "`](crate::ops::", stringify!($op), ")")] $op($op),)+)* }

        impl Op {
            /// What the operation declares. The only match over all operations.
            pub fn def(&self) -> &dyn OpObj {
                match self { $($(Self::$op(op) => op,)+)* }
            }

            /// As [`def`](Self::def), to write attributes.
            pub fn def_mut(&mut self) -> &mut dyn OpObj {
                match self { $($(Self::$op(op) => op,)+)* }
            }

            /// Which operation this is.
            pub fn kind(&self) -> OpKind {
                match self { $($(Self::$op(_) => OpKind::$op,)+)* }
            }
        }

        $($(
            impl From<$op> for Op {
                fn from(op: $op) -> Self { Self::$op(op) }
            }
            impl OpVariant for $op {
                const KIND: OpKind = OpKind::$op;
                fn of(op: &Op) -> Option<&Self> {
                    match op { Op::$op(op) => Some(op), _ => None }
                }
            }
        )+)*

        /// Every operation with its default attributes, in listing order.
        pub fn all_ops() -> Vec<Op> {
            vec![$($(Op::$op($op::default()),)+)*]
        }
    };
}

ops! {
    source => Input, Weight;

    // Elementwise.
    binary => Add, Sub, Mul, Div, Min, Max, Mod;
    pow => Pow;
    logic => And, Or, Xor, Not, BitwiseAnd, BitwiseOr, BitwiseXor, BitwiseNot, BitShift;
    compare => Equal, Less, LessOrEqual, Greater, GreaterOrEqual;
    select => Where;
    clip => Clip;
    unary => Abs, Neg, Sign, Relu, Sqrt, Reciprocal, Exp, Log, Floor, Ceil, Round, Sin, Cos, Tan, Asin, Acos, Atan, Sinh,
        Cosh, Tanh, Asinh, Acosh, Atanh, Erf;
    activation => Sigmoid, Softplus, Softsign, Mish, HardSwish, HardSigmoid, LeakyRelu, Elu, Selu, Celu,
        ThresholdedRelu, Swish, Gelu, Shrink;
    prelu => PRelu;
    classify => IsNan, IsInf;
    cast => Cast, BitCast;

    // Along axes.
    reduce => ReduceSum, ReduceProd, ReduceMean, ReduceMax, ReduceMin, ReduceL1, ReduceL2, ReduceSumSquare,
        ReduceLogSum, ReduceLogSumExp;
    arg_extreme => ArgMax, ArgMin;
    softmax => Softmax, LogSoftmax, Hardmax;
    cumulative => CumSum, CumProd;

    // Linear algebra, convolution, normalization, attention.
    matmul => MatMul;
    gemm => Gemm;
    einsum => Einsum;
    conv => Conv;
    conv_transpose => ConvTranspose;
    average_pool => AveragePool;
    lp_pool => LpPool;
    max_pool => MaxPool;
    max_unpool => MaxUnpool;
    batch_norm => BatchNorm;
    group_norm => GroupNorm, InstanceNorm;
    layer_norm => LayerNorm;
    rms_norm => RmsNorm;
    lrn => Lrn;
    axis_norm => LpNorm, MeanVarianceNorm;

    // Shape and data movement.
    reshape => Reshape;
    shape_of => ShapeOf;
    concat => Concat;
    expand => Expand;
    gather => Gather;
    gather_elements => GatherElements;
    gather_nd => GatherNd;
    scatter => ScatterElements, ScatterNd;
    tensor_scatter => TensorScatter;
    center_crop_pad => CenterCropPad;
    compress => Compress;
    depth_to_space => DepthToSpace, SpaceToDepth;
    eye_like => EyeLike;
    non_max_suppression => NonMaxSuppression;
    non_zero => NonZero;
    one_hot => OneHot;
    pad => Pad;
    range => Range;
    reverse_sequence => ReverseSequence;
    size_of => SizeOf;
    tile => Tile;
    top_k => TopK;
    trilu => Trilu;
    unique => Unique;
    slice => Slice;
    split => Split;
    squeeze => Squeeze, Unsqueeze, Flatten;
    transpose => Transpose;

    // Resampling, signals, recurrence.
    attention => Attention;
    linear_attention => LinearAttention;
    rotary_embedding => RotaryEmbedding;
    resize => Resize;
    affine_grid => AffineGrid;
    grid_sample => GridSample;
    roi_align => RoiAlign;
    deform_conv => DeformConv;
    col2im => Col2Im;
    det => Det;

    // Quantization and types.
    conv_integer => ConvInteger;
    dequantize_linear => DequantizeLinear;
    dynamic_quantize_linear => DynamicQuantizeLinear;
    encode => Quantize, Dequantize;
    matmul_integer => MatMulInteger;
    qlinear_conv => QLinearConv;
    qlinear_matmul => QLinearMatMul;
    quantize_linear => QuantizeLinear;
}

impl Op {
    /// The operation called `name` in the text format, with its default attributes.
    pub fn by_name(name: &str) -> Option<Self> {
        static BY_NAME: LazyLock<BTreeMap<&str, Op>> =
            LazyLock::new(|| all_ops().into_iter().map(|op| (op.def().name(), op)).collect());
        BY_NAME.get(name).cloned()
    }
}
