use super::*;
use crate::entity::Entity;
use crate::ops::testing::{evaluate_some, refused, tensor};
use crate::ops::{Fact, Op, OpObj};
use crate::types::{Known, SymId};

fn reduced(op: impl Into<Op>, x: &Tensor, axes: Option<&[i64]>) -> Tensor {
    let axes = axes.map(|axes| Tensor::from_vec(&[axes.len()], axes.to_vec()).expect("a vector"));
    evaluate_some(&op.into(), &[Some(x), axes.as_ref()])[0].clone()
}

fn numbers(op: impl Into<Op>, x: &Tensor, axes: Option<&[i64]>) -> Vec<f64> {
    reduced(op, x, axes).to_f64().expect("numbers")
}

#[test]
fn every_function_of_three_and_four() {
    let x = tensor(&[1, 2], &[3.0, -4.0]);
    assert_eq!(numbers(ReduceSum::default(), &x, None), [-1.0]);
    assert_eq!(numbers(ReduceProd::default(), &x, None), [-12.0]);
    assert_eq!(numbers(ReduceMean::default(), &x, None), [-0.5]);
    assert_eq!(numbers(ReduceMax::default(), &x, None), [3.0]);
    assert_eq!(numbers(ReduceMin::default(), &x, None), [-4.0]);
    assert_eq!(numbers(ReduceL1::default(), &x, None), [7.0]);
    assert_eq!(numbers(ReduceL2::default(), &x, None), [5.0]);
    assert_eq!(numbers(ReduceSumSquare::default(), &x, None), [25.0]);
    assert!(numbers(ReduceLogSum::default(), &x, None)[0].is_nan());
    assert_eq!(numbers(ReduceLogSum::default(), &tensor(&[2], &[3.0, -2.0]), None), [0.0]);
    let log = f64::from((3f64.exp() + (-4f64).exp()).ln() as f32);
    assert_eq!(numbers(ReduceLogSumExp::default(), &x, None), [log]);
}

#[test]
fn axes_may_be_kept_dropped_or_none() {
    let x = tensor(&[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let dropped = ReduceSum { keepdims: false, ..ReduceSum::default() };
    let rows = reduced(dropped.clone(), &x, Some(&[-1]));
    assert_eq!((rows.sizes(), rows.to_f64().expect("f32")), (&[2][..], vec![6.0, 15.0]));
    let columns = reduced(ReduceSum::default(), &x, Some(&[0]));
    assert_eq!((columns.sizes(), columns.to_f64().expect("f32")), (&[1, 3][..], vec![5.0, 7.0, 9.0]));
    assert_eq!(reduced(dropped, &x, Some(&[])).sizes(), [0usize; 0]);
    let noop = ReduceSumSquare { noop_with_empty_axes: true, ..ReduceSumSquare::default() };
    assert_eq!(numbers(noop.clone(), &x, None), [1.0, 4.0, 9.0, 16.0, 25.0, 36.0]);
    assert_eq!(numbers(noop, &x, Some(&[])), [1.0, 4.0, 9.0, 16.0, 25.0, 36.0]);
}

#[test]
fn nothing_gives_the_neutral_element() {
    let x = tensor(&[2, 0], &[]);
    assert_eq!(numbers(ReduceSum::default(), &x, Some(&[1])), [0.0, 0.0]);
    assert_eq!(numbers(ReduceProd::default(), &x, None), [1.0]);
    assert_eq!(numbers(ReduceMax::default(), &x, None), [f64::NEG_INFINITY]);
    assert_eq!(numbers(ReduceMin::default(), &x, None), [f64::INFINITY]);
    assert_eq!(numbers(ReduceLogSumExp::default(), &x, None), [f64::NEG_INFINITY]);
    assert!(numbers(ReduceMean::default(), &x, None)[0].is_nan());
    let none = |dtype| Tensor::zeros(dtype, &[0]).expect("nothing");
    assert_eq!(numbers(ReduceMax::default(), &none(DType::I4), None), [-8.0]);
    assert_eq!(numbers(ReduceMin::default(), &none(DType::U2), None), [3.0]);
    assert_eq!(numbers(ReduceMax::default(), &none(DType::Bool), None), [0.0]);
    assert_eq!(numbers(ReduceMean::default(), &none(DType::I64), None), [0.0]);
}

#[test]
fn integers_are_exact_and_wrap() {
    let x = Tensor::from_vec(&[2], vec![i64::MAX, 1]).expect("two");
    assert_eq!(reduced(ReduceSum::default(), &x, None).to_i64().expect("i64"), [i64::MIN]);
    assert_eq!(reduced(ReduceMean::default(), &x, None).to_i64().expect("i64"), [1 << 62]);
    let x = Tensor::from_vec(&[2], vec![u64::MAX, u64::MAX]).expect("two");
    assert_eq!(&*reduced(ReduceMean::default(), &x, None).elements::<u64>().expect("u64"), [u64::MAX]);
    assert_eq!(&*reduced(ReduceMax::default(), &x, None).elements::<u64>().expect("u64"), [u64::MAX]);
    let x = Tensor::from_vec(&[3], vec![-3i32, -3, -2]).expect("three");
    assert_eq!(reduced(ReduceMean::default(), &x, None).to_i64().expect("i32"), [-2]);
    assert_eq!(reduced(ReduceL2::default(), &x, None).to_i64().expect("i32"), [4]);
}

#[test]
fn extreme_elements() {
    let x = tensor(&[3], &[1.0, f32::NAN, 2.0]);
    assert!(numbers(ReduceMax::default(), &x, None)[0].is_nan() && numbers(ReduceMin::default(), &x, None)[0].is_nan());
    let log = |x: &[f32]| numbers(ReduceLogSumExp::default(), &tensor(&[x.len()], x), None)[0];
    assert_eq!(log(&[1000.0, 1000.0]), f64::from((1000.0 + 2f64.ln()) as f32));
    assert_eq!(log(&[f32::NEG_INFINITY, f32::NEG_INFINITY]), f64::NEG_INFINITY);
    assert_eq!(log(&[f32::INFINITY, 0.0, f32::INFINITY]), f64::INFINITY);
    assert!(log(&[1.0, f32::NAN, 2.0]).is_nan());
}

#[test]
fn wrong_axes_are_refused() {
    let (x, axes) = (tensor(&[2], &[1.0, 2.0]), |axes: &[i64]| Tensor::from_vec(&[axes.len()], axes.to_vec()).expect("a vector"));
    assert_eq!(
        refused(&ReduceSum::default().into(), &[&x, &axes(&[1])]),
        "attribute `axes`: 1 does not fit, expected an axis from -1 to 0"
    );
    assert_eq!(
        refused(&ReduceSum::default().into(), &[&x, &axes(&[0, -1])]),
        "attribute `axes`: [0, -1] does not fit, expected each axis at most once"
    );
}

#[test]
fn the_number_of_elements_is_followed() {
    let batch = DimExpr::symbol(SymId::from_index(0));
    let shape = SymTensor::vector(vec![batch.clone(), DimExpr::constant(4), DimExpr::constant(8)]);
    let facts = [Some(Fact { ty: TensorType::known(DType::I64, &[3]), known: Some(Known::Symbolic(shape)) })];
    let op = ReduceProd { keepdims: false, ..ReduceProd::default() };
    let operands = Operands::new(OpObj::operands(&op), &facts, 1);
    let found = OpDef::symbolic(&op, &operands).expect("followed");
    assert_eq!((found.sizes.len(), &found.elements[0]), (0, &batch.mul(&DimExpr::constant(32)).expect("small")));
}
