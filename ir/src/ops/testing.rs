//! What tests of operations share: running one on tensors as the interpreter does.

use super::{Inputs, Op};
use crate::interpret::infer_run_time;
use crate::tensor::Tensor;

/// A tensor of `f32`.
pub(crate) fn tensor(sizes: &[usize], elements: &[f32]) -> Tensor {
    Tensor::from_vec(sizes, elements.to_vec()).expect("as many elements as the sizes say")
}

/// The results of `op`; what a type rule said of them is checked.
pub(crate) fn evaluate(op: &Op, operands: &[&Tensor]) -> Vec<Tensor> {
    evaluate_some(op, &operands.iter().map(|tensor| Some(*tensor)).collect::<Vec<_>>())
}

/// As [`evaluate`], with operands left out.
pub(crate) fn evaluate_some(op: &Op, operands: &[Option<&Tensor>]) -> Vec<Tensor> {
    let tensors: Vec<Option<Tensor>> = operands.iter().map(|tensor| tensor.cloned()).collect();
    let types = infer_run_time(op, &tensors).expect("the operands fit");
    let results =
        op.def().eval(&Inputs::new(op.def().operands(), &tensors), &types).expect("can be evaluated");
    assert_eq!(results.iter().map(Tensor::ty).collect::<Vec<_>>(), types.to_vec());
    results.into_vec()
}

/// Why the type rule of `op` refuses the operands.
pub(crate) fn refused(op: &Op, operands: &[&Tensor]) -> String {
    let tensors: Vec<Option<Tensor>> = operands.iter().map(|tensor| Some((*tensor).clone())).collect();
    infer_run_time(op, &tensors).expect_err("the operands do not fit").to_string()
}
