//! Operations that have one in the IR for them, whose operands are those of the node.

use quad_ir::ops::{
    Add, Cast, Concat, Cos, Div, Exp, Gather, Gelu, HardSwish, Max, Min, Mul, Neg, Op, Relu, Sin, Softmax,
    Sqrt, Sub, Tanh, Transpose,
};

use super::{Raising, Step, dtype};
use crate::model::{Node, Param};

/// The operation that `node` is, if there is one.
pub(super) fn op(r: &Raising<'_>, node: &Node) -> Step<Option<Op>> {
    let axis = || match node.param("axis") {
        Some(Param::I32(axis)) => i64::from(*axis),
        _ => i64::from(node.number("axis").unwrap_or(0)),
    };
    Ok(Some(match node.kind.as_str() {
        "ElementWiseAdd" => Add.into(),
        "ElementWiseSubtract" => Sub.into(),
        "ElementWiseMultiply" => Mul.into(),
        "ElementWiseDivide" => Div.into(),
        "ElementWiseMaximum" => Max.into(),
        "ElementWiseMinimum" => Min.into(),
        "Relu" => Relu.into(),
        "HardSwish" => HardSwish.into(),
        "ElementWiseExp" => Exp.into(),
        "ElementWiseSquareRoot" => Sqrt.into(),
        "ElementWiseSin" => Sin.into(),
        "ElementWiseCos" => Cos.into(),
        "ElementWiseNeg" => Neg.into(),
        "Tanh" => Tanh.into(),
        "Gelu" => Gelu::default().into(),
        "Softmax" => Softmax { axis: axis() }.into(),
        "Concat" => Concat { axis: axis() }.into(),
        "Gather" => Gather { axis: axis() }.into(),
        "Transpose" => {
            let perm = node.list("perm").iter().map(|axis| i64::from(*axis)).collect();
            Transpose { perm: Some(perm) }.into()
        }
        "Cast" => {
            let to = dtype(r.tensor(node.outputs[0]).data_type);
            Cast { to, ..Cast::default() }.into()
        }
        _ => return Ok(None),
    }))
}
