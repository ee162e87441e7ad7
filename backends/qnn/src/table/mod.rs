//! From the IR to QNN, operation by operation.
//!
//! A row of the table says what an operation becomes and emits it. Whether a node is legal is asked of the same function:
//! the node is emitted by itself, and what comes of it is held against the [rules](rules) and [type sets](types) of the
//! tensor processor. So a check and an emission cannot drift apart, and what is legal is what the library takes.

mod constants;
mod elementwise;
mod linear;
mod lowering;
mod movement;
mod norms;
mod pools;
mod rules;
mod types;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::LazyLock;

use quad_backends::legality::{Legality, Reason};
use quad_backends::support::{SupportRow, rows_of};
use quad_backends::table::{OpRow, OpTable, name_of};
use quad_ir::graph::{Graph, NodeId, NodeRef};
use quad_ir::ops::OpKind;

pub use constants::permute;
pub use lowering::Reordered;

use crate::model::QnnGraph;
use crate::soc::Soc;
use lowering::{Emitted, Lowering};

/// What legality depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The chip.
    pub soc: Soc,
}

/// How a node is emitted.
type Emit = fn(&mut Lowering<'_>, NodeRef<'_>) -> Emitted;

/// The table of operations.
type QnnTable = OpTable<Setting, Emit>;

/// A lowered graph.
#[derive(Clone, Debug, PartialEq)]
pub struct Lowered {
    /// The graph.
    pub graph: QnnGraph,
    /// Inputs whose axes are in another order than the IR has them.
    pub reordered: Vec<Reordered>,
}

/// Nodes that cannot be lowered, each with all reasons.
#[derive(Debug, thiserror::Error)]
#[error("{} of the graph's nodes cannot be lowered to QNN:{}", .0.len(), list(.0))]
pub struct LowerErrors(pub Vec<(String, Vec<Reason>)>);

/// Nodes that an error names; the rest is counted.
const NAMED: usize = 20;

fn list(all: &[(String, Vec<Reason>)]) -> String {
    // Writing to a string does not fail.
    let mut text = String::new();
    for (node, reasons) in all.iter().take(NAMED) {
        let reasons: Vec<String> = reasons.iter().map(ToString::to_string).collect();
        let _ = write!(text, "\n  {node}: {}", reasons.join("; "));
    }
    if all.len() > NAMED {
        let _ = write!(text, "\n  and {} more", all.len() - NAMED);
    }
    text
}

/// What becomes of each operation.
fn table() -> &'static QnnTable {
    static TABLE: LazyLock<QnnTable> = LazyLock::new(|| OpTable::new(rows()));
    &TABLE
}

/// Lowers `graph` for the chip of `setting`, or says everything that is in the way.
pub fn lower(graph: &Graph, setting: Setting) -> Result<Lowered, LowerErrors> {
    let mut lowering = Lowering::new(graph, true);
    let mut errors = Vec::new();
    declare_inputs(graph, &mut lowering, &mut errors);
    for id in graph.topo() {
        let node = graph.node(id);
        let before = lowering.qnn.nodes.len();
        let reasons = match emit(&mut lowering, node) {
            Ok(()) => lowering.qnn.nodes[before..]
                .iter()
                .flat_map(|made| rules::against(&lowering.qnn, made, setting.soc))
                .collect(),
            Err(reason) => vec![reason],
        };
        if !reasons.is_empty() {
            errors.push((describe(node), reasons));
        }
    }
    errors.extend(misplaced_outputs(graph));
    if !errors.is_empty() {
        return Err(LowerErrors(errors));
    }
    Ok(Lowered { graph: lowering.qnn, reordered: lowering.reordered })
}

/// Inputs come first and in the graph's order, whoever reads them; kernels that adapters fill are taken as QNN wants
/// them.
fn declare_inputs(graph: &Graph, lowering: &mut Lowering<'_>, errors: &mut Vec<(String, Vec<Reason>)>) {
    for input in graph.inputs() {
        let declared = lowering.declare(input);
        if let Err(reason) = declared {
            errors.push((format!("input `{}`", lowering.name_of(input)), vec![reason]));
        }
    }
}

/// Outputs that no operation makes, or that are the same value as another.
fn misplaced_outputs(graph: &Graph) -> Vec<(String, Vec<Reason>)> {
    let mut errors = Vec::new();
    for (at, output) in graph.outputs().iter().enumerate() {
        let value = graph.value(output.value);
        let source = matches!(value.producer().op().kind(), OpKind::Input | OpKind::Weight);
        let taken = graph.inputs().any(|input| input.name() == Some(&output.name));
        let again = graph.outputs()[..at].iter().any(|other| other.value == output.value);
        if source || again || taken {
            let why = match (source, again) {
                (true, _) => "no operation makes it",
                (_, true) => "it is another output, too",
                _ => "an input has its name, too",
            };
            errors.push((format!("output `{}`", output.name), vec![Reason::new(why)]));
        }
    }
    errors
}

fn emit(lowering: &mut Lowering<'_>, node: NodeRef<'_>) -> Emitted {
    match table().row(node.op().kind()) {
        Some(row) => (row.emit)(lowering, node),
        None => Err(Reason::new(format!("`{}` is not supported", node.op().def().name()))),
    }
}

/// Whether `node` can be emitted by itself, and what comes of it is taken.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "the type is that of tables in general")]
fn legality(node: NodeRef<'_>, setting: &Setting) -> Legality {
    let mut lowering = Lowering::new(node.graph(), false);
    if let Err(reason) = emit(&mut lowering, node) {
        return Legality::Illegal(vec![reason]);
    }
    let made = lowering.qnn.nodes.iter();
    Legality::of(made.flat_map(|made| rules::against(&lowering.qnn, made, setting.soc)).collect())
}

/// The verdict for every node of `graph`.
pub fn verdicts(graph: &Graph, setting: Setting) -> BTreeMap<NodeId, Legality> {
    table().verdicts(graph, &setting)
}

/// The names of all operations that the table has.
pub fn operations() -> impl Iterator<Item = &'static str> {
    table().rows().map(|row| name_of(row.kind))
}

/// What becomes of each operation, for the page of all targets.
pub fn support() -> Vec<SupportRow> {
    rows_of(table())
}

/// Inputs and constants are declared where they are read.
#[expect(clippy::unnecessary_wraps, reason = "the type is that of all emitters")]
fn nothing(_: &mut Lowering<'_>, _: NodeRef<'_>) -> Emitted {
    Ok(())
}

fn describe(node: NodeRef<'_>) -> String {
    let op = node.op().def().name();
    match node.result().name() {
        Some(name) => format!("`{op}` that makes `{name}`"),
        None => format!("`{op}` at {}", node.loc()),
    }
}

fn rows() -> Vec<OpRow<Setting, Emit>> {
    let row = |kind, becomes, asks, emit: Emit| OpRow { kind, becomes, asks, legality, emit };
    let mut rows: Vec<OpRow<Setting, Emit>> = vec![
        row(OpKind::Input, "a tensor that the application writes", "", nothing),
        row(OpKind::Weight, "a static tensor", "", nothing),
        row(OpKind::Conv, "Conv2d, DepthWiseConv2d", "two spatial axes, channels last", linear::conv),
        row(
            OpKind::ConvTranspose,
            "TransposeConv2d",
            "two spatial axes, channels last, no dilation",
            linear::conv_transpose,
        ),
        row(OpKind::MatMul, "MatMul", "two axes or more", linear::matmul),
        row(OpKind::Gemm, "MatMul", "no factors, a bias by column", linear::gemm),
        row(OpKind::Gelu, "Gelu", "the exact function", elementwise::gelu),
        row(OpKind::Sigmoid, "Sigmoid, Convert", "", elementwise::sigmoid),
        row(OpKind::Swish, "Sigmoid, ElementWiseMultiply, Convert", "alpha 1", elementwise::swish),
        row(OpKind::Tanh, "Tanh, Convert", "", elementwise::tanh),
        row(OpKind::Clip, "ReluMinMax", "constant ends", elementwise::clip),
        row(OpKind::Quantize, "Quantize, Convert", "", elementwise::quantize),
        row(OpKind::Dequantize, "Dequantize", "", elementwise::dequantize),
        row(OpKind::Cast, "Cast", "", elementwise::cast),
        row(OpKind::Softmax, "Softmax", "", norms::softmax),
        row(OpKind::GroupNorm, "GroupNorm", "channels last", norms::group_norm),
        row(OpKind::InstanceNorm, "InstanceNorm", "channels last", norms::instance_norm),
        row(OpKind::LayerNorm, "LayerNorm", "only its first result is read", norms::layer_norm),
        row(OpKind::RmsNorm, "RmsNorm", "", norms::rms_norm),
        row(OpKind::Transpose, "Transpose", "", movement::transpose),
        row(OpKind::Concat, "Concat, Convert", "", movement::concat),
        row(OpKind::Split, "Split, Convert", "", movement::split),
        row(OpKind::Slice, "StridedSlice", "constant places, forward", movement::slice),
        row(OpKind::Pad, "Pad", "constant amounts, no wrapping", movement::pad),
        row(OpKind::Expand, "Tile", "no new axes", movement::expand),
        row(OpKind::Gather, "Gather", "indices from the front", movement::gather),
        row(OpKind::DepthToSpace, "DepthToSpace", "channels last", movement::depth_to_space),
        row(OpKind::SpaceToDepth, "SpaceToDepth", "channels last", movement::space_to_depth),
        row(OpKind::Resize, "Resize", "rows and columns, nearest or linear", movement::resize),
        row(OpKind::AveragePool, "PoolAvg2d", "channels last, no dilation", pools::average_pool),
        row(OpKind::MaxPool, "PoolMax2d", "channels last, no dilation", pools::max_pool),
    ];
    for (kind, becomes) in [
        (OpKind::Add, "ElementWiseAdd"),
        (OpKind::Sub, "ElementWiseSubtract"),
        (OpKind::Mul, "ElementWiseMultiply"),
        (OpKind::Div, "ElementWiseDivide"),
        (OpKind::Max, "ElementWiseMaximum"),
        (OpKind::Min, "ElementWiseMinimum"),
    ] {
        rows.push(row(kind, becomes, "two operands", elementwise::pairwise));
    }
    for (kind, becomes) in [
        (OpKind::Relu, "Relu"),
        (OpKind::HardSwish, "HardSwish"),
        (OpKind::Exp, "ElementWiseExp"),
        (OpKind::Sqrt, "ElementWiseSquareRoot"),
        (OpKind::Sin, "ElementWiseSin"),
        (OpKind::Cos, "ElementWiseCos"),
        (OpKind::Neg, "ElementWiseNeg"),
    ] {
        rows.push(row(kind, becomes, "", elementwise::single));
    }
    for kind in [OpKind::Reshape, OpKind::Squeeze, OpKind::Unsqueeze, OpKind::Flatten] {
        rows.push(row(kind, "Reshape", "", movement::reshape));
    }
    for (kind, becomes) in [
        (OpKind::ReduceMean, "ReduceMean"),
        (OpKind::ReduceSum, "ReduceSum"),
        (OpKind::ReduceMax, "ReduceMax"),
    ] {
        rows.push(row(kind, becomes, "constant axes", pools::reduce));
    }
    rows
}
