//! What tests of operations share: running one on tensors as the interpreter does.

use super::{EvalError, Inputs, Op, Results};
use crate::interpret::infer_run_time;
use crate::tensor::Tensor;

/// A tensor of `i64`.
pub(crate) fn ints(sizes: &[usize], elements: &[i64]) -> Tensor {
    Tensor::from_vec(sizes, elements.to_vec()).expect("as many elements as the sizes say")
}

/// A vector of `i64`.
pub(crate) fn list(elements: &[i64]) -> Tensor {
    ints(&[elements.len()], elements)
}

/// The numbers 0, 1, 2, .. as `f32`.
pub(crate) fn floats(sizes: &[usize]) -> Tensor {
    let elements: Vec<f32> = (0..sizes.iter().product::<usize>()).map(|number| number as f32).collect();
    tensor(sizes, &elements)
}

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
    run_some(op.clone(), &tensors).expect("can be evaluated").into_vec()
}

/// As [`evaluate`], where the operation may refuse the operands or their elements.
pub(crate) fn run(op: impl Into<Op>, operands: &[Tensor]) -> Result<Results, EvalError> {
    run_some(op, &operands.iter().cloned().map(Some).collect::<Vec<_>>())
}

/// As [`run`], with operands left out.
pub(crate) fn run_some(op: impl Into<Op>, operands: &[Option<Tensor>]) -> Result<Results, EvalError> {
    let op = op.into();
    let types = infer_run_time(&op, operands)?;
    let results = op.def().eval(&Inputs::new(op.def().operands(), operands), &types)?;
    assert_eq!(results.iter().map(Tensor::ty).collect::<Vec<_>>(), types.to_vec());
    Ok(results)
}

/// Sizes and elements, as integers, of the first result of `op`.
pub(crate) fn run_one(op: impl Into<Op>, operands: &[Tensor]) -> (Vec<usize>, Vec<i64>) {
    parts(&run(op, operands).expect("can be evaluated")[0])
}

/// Sizes and elements, as integers.
pub(crate) fn parts(tensor: &Tensor) -> (Vec<usize>, Vec<i64>) {
    let elements = tensor
        .to_i64()
        .unwrap_or_else(|_| tensor.to_f64().expect("numbers").iter().map(|value| *value as i64).collect());
    (tensor.sizes().to_vec(), elements)
}

/// Why the type rule of `op` refuses the operands.
pub(crate) fn refused(op: &Op, operands: &[&Tensor]) -> String {
    let tensors: Vec<Option<Tensor>> = operands.iter().map(|tensor| Some((*tensor).clone())).collect();
    infer_run_time(op, &tensors).expect_err("the operands do not fit").to_string()
}
