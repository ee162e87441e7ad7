//! Convolution and pooling: operations whose window slides over the spatial axes.
//!
//! Ours state their padding; `auto_pad`, `kernel_shape` of a convolution and `output_shape` are resolved here.

use quad_ir::graph::NodeRef;
use quad_ir::ops::{
    AveragePool, Conv, ConvInteger, ConvTranspose, LpPool, MaxPool, MaxUnpool, Op, OpDef, QLinearConv,
    ReduceL1, ReduceL2, ReduceMax, ReduceMean,
};
use quad_ir::types::Dim;

use super::{Row, bf16_since_22, import, op};
use crate::onnx::context::{NodeContext, Values};
use crate::onnx::error::NodeError;

pub(super) const ROWS: &[Row] = &[
    op::<Conv>("Conv").reading(conv).newer(bf16_since_22),
    op::<ConvTranspose>("ConvTranspose").reading(conv_transpose).newer(bf16_since_22),
    op::<ConvInteger>("ConvInteger").reading(conv_integer),
    op::<QLinearConv>("QLinearConv").reading(qlinear_conv),
    op::<MaxPool>("MaxPool").reading(max_pool).newer(pool_opset),
    op::<AveragePool>("AveragePool").reading(average_pool).since(19).newer(pool_opset),
    op::<LpPool>("LpPool").reading(lp_pool).newer(bf16_since_22),
    op::<MaxUnpool>("MaxUnpool").newer(bf16_since_22),
    import("GlobalAveragePool", global_pool::<ReduceMean>),
    import("GlobalMaxPool", global_pool::<ReduceMax>),
    import("GlobalLpPool", global_lp_pool),
];

/// Operator set 22 says that a window must not start on the padding after the end.
fn pool_opset(node: NodeRef<'_>) -> i64 {
    let rounds_up = node.is::<MaxPool>().map(|op| op.ceil_mode);
    let rounds_up = rounds_up.or_else(|| node.is::<AveragePool>().map(|op| op.ceil_mode));
    if rounds_up == Some(true) { 22 } else { bf16_since_22(node) }
}

/// Declares how convolutions are read: the padding is resolved for the kernel at `$kernel`. `$window` leads from the
/// operation to the attributes of the window.
macro_rules! read_convolutions {
    ($($function:ident: $op:ty, $kernel:literal, [$($window:ident).*];)*) => {$(
        fn $function(context: &mut NodeContext<'_, '_>) -> Result<Values, NodeError> {
            let mut op = context.op::<$op>()?;
            check_kernel_shape(context, $kernel)?;
            if let Some(padding) = Automatic::read(context)? {
                let window = &mut op$(.$window)*;
                let kernel = kernel_sizes(context, $kernel)?;
                window.pads = padding.pads(context, &kernel, (&window.strides, &window.dilations), false)?;
            }
            add_same(context, op)
        }
    )*};
}

read_convolutions! {
    conv: Conv, 1, [];
    conv_integer: ConvInteger, 1, [conv];
    qlinear_conv: QLinearConv, 3, [conv];
}

/// Declares how pooling is read.
macro_rules! read_pools {
    ($($function:ident: $op:ty;)*) => {$(
        fn $function(context: &mut NodeContext<'_, '_>) -> Result<Values, NodeError> {
            let mut op = context.op::<$op>()?;
            if let Some(padding) = Automatic::of_pool(context, op.ceil_mode)? {
                op.pads = padding.pads(context, &op.kernel_shape, (&op.strides, &op.dilations), true)?;
            }
            add_same(context, op)
        }
    )*};
}

read_pools! {
    max_pool: MaxPool;
    average_pool: AveragePool;
    lp_pool: LpPool;
}

/// Pooling over whole planes is the reduction `R` over the spatial axes.
fn global_pool<R: OpDef + Into<Op>>(context: &mut NodeContext<'_, '_>) -> Result<Values, NodeError> {
    let x = context.operand(0)?;
    let axes: Vec<i64> = (2..context.ty(x).rank() as i64).collect();
    // Without axes a reduction would take all of them.
    if axes.is_empty() {
        return Err(context.unsupported("pooling without spatial axes"));
    }
    let axes = context.integers(&axes)?;
    Ok(Values::from_slice(&[context.value(R::default(), &[x, axes])?]))
}

/// Norms other than those of order 1 and 2 are pooled by a window as large as the plane.
fn global_lp_pool(context: &mut NodeContext<'_, '_>) -> Result<Values, NodeError> {
    match context.int("p")?.unwrap_or(2) {
        1 => global_pool::<ReduceL1>(context),
        2 => global_pool::<ReduceL2>(context),
        p => add_same(context, LpPool { kernel_shape: input_sizes(context)?, p, ..LpPool::default() }),
    }
}

/// A stated or derived `output_shape` becomes the padding that gives it.
fn conv_transpose(context: &mut NodeContext<'_, '_>) -> Result<Values, NodeError> {
    let mut op = context.op::<ConvTranspose>()?;
    check_kernel_shape(context, 1)?;
    let automatic = Automatic::read(context)?;
    let stated = context.ints("output_shape")?.filter(|stated| !stated.is_empty());
    let wanted = match (stated, automatic) {
        (Some(shape), _) => Some(spatial_of(context, &shape)?),
        (None, Some(Automatic::Upper | Automatic::Lower)) => {
            let size = |(axis, size): (usize, u64)| size.saturating_mul(entry(&op.strides, axis, 1));
            Some(input_sizes(context)?.into_iter().enumerate().map(size).collect())
        }
        _ => None,
    };
    if let Some(Automatic::Valid) = automatic {
        op.pads = Vec::new();
    }
    if let Some(wanted) = wanted {
        (op.pads, op.output_padding) = transposed_pads(context, &op, &wanted, automatic)?;
    }
    add_same(context, op)
}

/// How padding is derived where it is not stated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Automatic {
    /// As many places as strides fit, the odd element of padding at the end.
    Upper,
    /// The same, the odd element at the beginning.
    Lower,
    /// No padding.
    Valid,
}

impl Automatic {
    /// What `auto_pad` says; `None` where the padding is stated.
    fn read(context: &NodeContext<'_, '_>) -> Result<Option<Self>, NodeError> {
        Ok(match context.word("auto_pad")?.as_deref() {
            None | Some("" | "NOTSET") => None,
            Some("SAME_UPPER") => Some(Self::Upper),
            Some("SAME_LOWER") => Some(Self::Lower),
            Some("VALID") => Some(Self::Valid),
            Some(other) => return Err(context.unsupported(format!("auto_pad `{other}`"))),
        })
    }

    /// The same for pooling, where the format does not say what rounding up means without padding.
    fn of_pool(context: &NodeContext<'_, '_>, ceil_mode: bool) -> Result<Option<Self>, NodeError> {
        let padding = Self::read(context)?;
        if padding == Some(Self::Valid) && ceil_mode {
            return Err(context.unsupported("ceil_mode together with auto_pad `VALID`"));
        }
        Ok(padding)
    }

    /// The padding before and after each spatial axis of the first operand.
    fn pads(
        self,
        context: &NodeContext<'_, '_>,
        kernel: &[u64],
        (strides, dilations): (&[u64], &[u64]),
        pooling: bool,
    ) -> Result<Vec<u64>, NodeError> {
        if self == Self::Valid {
            return Ok(Vec::new());
        }
        let mut pads = vec![0; 2 * kernel.len()];
        for (axis, taps) in kernel.iter().enumerate() {
            let stride = entry(strides, axis, 1).max(1);
            let span = span(*taps, entry(dilations, axis, 1));
            // With a stride of 1 the padding does not depend on the size.
            let total = if stride == 1 {
                span.saturating_sub(1)
            } else {
                let size = input_size(context, axis)?;
                let reach =
                    size.div_ceil(stride).saturating_sub(1).saturating_mul(stride).saturating_add(span);
                if reach < size && pooling {
                    // The format asks for negative padding then, which runtimes read differently.
                    return Err(context.unsupported(format!(
                        "auto_pad where windows leave out elements at the end, {size} elements of spatial axis {axis}"
                    )));
                }
                reach.saturating_sub(size)
            };
            let begin = if self == Self::Upper { total / 2 } else { total.div_ceil(2) };
            (pads[axis], pads[axis + kernel.len()]) = (begin, total - begin);
        }
        Ok(pads)
    }
}

/// The padding, and the output padding, with which a transposed convolution gives the spatial sizes `wanted`.
fn transposed_pads(
    context: &NodeContext<'_, '_>,
    op: &ConvTranspose,
    wanted: &[u64],
    automatic: Option<Automatic>,
) -> Result<(Vec<u64>, Vec<u64>), NodeError> {
    let (kernel, input) = (kernel_sizes(context, 1)?, input_sizes(context)?);
    let mut pads = vec![0; 2 * wanted.len()];
    let mut more: Vec<u64> = (0..wanted.len()).map(|axis| entry(&op.output_padding, axis, 0)).collect();
    for (axis, ((wanted, size), taps)) in wanted.iter().zip(&input).zip(&kernel).enumerate() {
        let reach = entry(&op.strides, axis, 1).saturating_mul(size.saturating_sub(1));
        let full =
            reach.saturating_add(more[axis]).saturating_add(span(*taps, entry(&op.dilations, axis, 1)));
        let total = full.saturating_sub(*wanted);
        let begin = if automatic == Some(Automatic::Upper) { total / 2 } else { total.div_ceil(2) };
        (pads[axis], pads[axis + input.len()]) = (begin, total - begin);
        let missing = wanted.saturating_sub(full);
        // Runtimes agree on where a stated size grows, but not on where a derived one does.
        if missing > 0 && automatic.is_some() {
            return Err(
                context.unsupported(format!("auto_pad to {wanted} elements where {full} are computed"))
            );
        }
        more[axis] = more[axis].saturating_add(missing);
    }
    Ok((pads, more))
}

/// Adds `op` with the node's operands.
fn add_same(context: &mut NodeContext<'_, '_>, op: impl Into<Op>) -> Result<Values, NodeError> {
    let operands = context.operands().to_vec();
    let node = context.add(op, &operands)?;
    Ok(context.results(node))
}

/// Checks that `kernel_shape`, where it is stated, is that of the kernel, the operand at `index`.
pub(super) fn check_kernel_shape(context: &NodeContext<'_, '_>, index: usize) -> Result<(), NodeError> {
    let Some(stated) = context.ints("kernel_shape")?.filter(|stated| !stated.is_empty()) else {
        return Ok(());
    };
    let shape = context.ty(context.operand(index)?).shape.clone();
    let spatial = shape.get(2..).unwrap_or_default();
    let same =
        |(dim, stated): (&Dim, &i64)| dim.known().is_none_or(|known| i64::try_from(known) == Ok(*stated));
    if stated.len() == spatial.len() && spatial.iter().zip(&stated).all(same) {
        return Ok(());
    }
    Err(context.unsupported(format!("kernel_shape {stated:?} with a kernel of shape {shape}")))
}

/// The spatial sizes of the kernel, the operand at `index`.
fn kernel_sizes(context: &NodeContext<'_, '_>, index: usize) -> Result<Vec<u64>, NodeError> {
    spatial_sizes(context, index, "kernel")
}

/// The spatial sizes of the first operand.
fn input_sizes(context: &NodeContext<'_, '_>) -> Result<Vec<u64>, NodeError> {
    spatial_sizes(context, 0, "input")
}

fn spatial_sizes(context: &NodeContext<'_, '_>, index: usize, what: &str) -> Result<Vec<u64>, NodeError> {
    let shape = &context.ty(context.operand(index)?).shape;
    let known: Option<Vec<u64>> = shape.iter().skip(2).map(Dim::known).collect();
    known.ok_or_else(|| {
        context.unsupported(format!("padding that depends on {what} sizes that are not known, {shape}"))
    })
}

/// The size of the first operand along spatial axis `axis`.
fn input_size(context: &NodeContext<'_, '_>, axis: usize) -> Result<u64, NodeError> {
    let shape = &context.ty(context.operand(0)?).shape;
    shape.get(axis + 2).and_then(Dim::known).ok_or_else(|| {
        context.unsupported(format!("auto_pad over spatial axis {axis} of {shape}, whose size is not known"))
    })
}

/// The spatial part of a stated `output_shape`; old exporters state batch and channels too.
fn spatial_of(context: &NodeContext<'_, '_>, stated: &[i64]) -> Result<Vec<u64>, NodeError> {
    let axes = context.ty(context.operand(0)?).rank().saturating_sub(2);
    let extra = stated.len().checked_sub(axes).filter(|extra| matches!(extra, 0 | 2));
    let sizes = extra.map(|extra| stated[extra..].iter().map(|size| u64::try_from(*size)));
    sizes
        .and_then(|sizes| sizes.collect::<Result<Vec<u64>, _>>().ok())
        .ok_or_else(|| context.unsupported(format!("output_shape {stated:?} over {axes} spatial axes")))
}

/// Elements from the first tap to the last.
fn span(taps: u64, dilation: u64) -> u64 {
    taps.saturating_sub(1).saturating_mul(dilation).saturating_add(1)
}

/// The entry of a list that may be left out.
fn entry(list: &[u64], axis: usize, default: u64) -> u64 {
    list.get(axis).copied().unwrap_or(default)
}

#[cfg(test)]
mod tests;
