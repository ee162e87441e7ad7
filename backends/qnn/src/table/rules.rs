//! What the tensor processor asks of an operation beside the types of its tensors.

use quad_backends::legality::Reason;

use super::constants::LARGEST_CODE;
use super::types;
use crate::model::{DataType, Encoding, Node, QnnGraph, Role, Tensor};
use crate::soc::{Arch, Soc};

/// The first generation that multiplies 16 bits by 16 bits exactly.
const WIDE_PRODUCTS: Arch = Arch(73);
/// Axes that the tensor processor works on at most.
const MAX_RANK: usize = 5;

/// All reasons against `node` on `soc`.
pub(super) fn against(graph: &QnnGraph, node: &Node, soc: Soc) -> Vec<Reason> {
    let mut reasons: Vec<Reason> = types::misfit(graph, node).into_iter().collect();
    let tensors = node.inputs.iter().chain(&node.outputs).map(|id| graph.tensor(*id));
    if let Some(tensor) = tensors.into_iter().find(|tensor| tensor.dims.len() > MAX_RANK) {
        let rank = tensor.dims.len();
        reasons.push(Reason::new(format!("`{}` has {rank} axes, {MAX_RANK} are taken", tensor.name)));
    }
    if matches!(
        node.kind.as_str(),
        "MatMul" | "FullyConnected" | "Conv2d" | "DepthWiseConv2d" | "TransposeConv2d"
    ) {
        let (first, second) = (graph.tensor(node.inputs[0]), graph.tensor(node.inputs[1]));
        reasons.extend(against_product(&node.kind, first, second, soc));
    }
    reasons
}

fn against_product(kind: &str, first: &Tensor, second: &Tensor, soc: Soc) -> Vec<Reason> {
    let mut reasons = Vec::new();
    let wide = |tensor: &Tensor| matches!(tensor.data_type, DataType::Ufixed16 | DataType::Sfixed16);
    if wide(first) && wide(second) && soc.arch() < WIDE_PRODUCTS {
        let why =
            format!("it multiplies 16 bits by 16 bits, which {soc} does not; {WIDE_PRODUCTS} and newer do");
        reasons.push(Reason::new(why).help("give the weights 8 bits"));
    }
    reasons.extend(against_second(second));
    let batch = second.dims.iter().rev().skip(2).product::<u32>();
    let is_dynamic = !matches!(second.role, Role::Static(_));
    if kind == "MatMul" && is_dynamic && second.data_type == DataType::Sfixed16 && batch > 1 {
        let why =
            format!("its second operand is {batch} matrices of signed 16-bit numbers that are computed");
        let help = "store them unsigned with zero point 32768";
        reasons.push(Reason::new(why).help(help).source("observed on the libraries of API 5.51"));
    }
    reasons
}

/// A second operand of 16 bits is symmetric, and its codes stay below the largest ones.
fn against_second(second: &Tensor) -> Vec<Reason> {
    let zero = match second.data_type {
        DataType::Ufixed16 => 32768,
        DataType::Sfixed16 => 0,
        _ => return Vec::new(),
    };
    let mut reasons = Vec::new();
    let parts = second.encoding.iter().flat_map(Encoding::parts);
    if let Some(part) = parts.clone().find(|part| part.zero_point() != zero) {
        let why = format!(
            "its second operand `{}` is {} with zero point {}, and must have {zero}",
            second.name,
            second.data_type,
            part.zero_point()
        );
        reasons.push(Reason::new(why).help("quantize it symmetrically"));
    }
    let Role::Static(bytes) = &second.role else { return reasons };
    let codes = bytes.chunks_exact(2).map(|code| match second.data_type {
        DataType::Ufixed16 => i64::from(u16::from_le_bytes([code[0], code[1]])) - 32768,
        _ => i64::from(i16::from_le_bytes([code[0], code[1]])),
    });
    let largest = codes.max().unwrap_or(0);
    if largest > LARGEST_CODE {
        let why = format!(
            "its second operand `{}` has the code {largest} above zero; above {LARGEST_CODE} the tensor processor \
             cuts them off",
            second.name
        );
        reasons.push(Reason::new(why).help("quantize it with a scale of its magnitude over 32639"));
    }
    reasons
}
