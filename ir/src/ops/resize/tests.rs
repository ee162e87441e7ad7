use super::*;
use crate::interpret::infer_run_time;
use crate::ops::testing::{evaluate_some, refused, tensor};
use crate::ops::{Fact, Op};

fn scaled(resize: Resize, x: &Tensor, scales: &[f32]) -> Tensor {
    let scales = tensor(&[scales.len()], scales);
    evaluate_some(&resize.into(), &[Some(x), None, Some(&scales)]).remove(0)
}

fn sized(resize: Resize, x: &Tensor, sizes: &[i64]) -> Tensor {
    let sizes = Tensor::from_vec(&[sizes.len()], sizes.to_vec()).expect("a vector");
    evaluate_some(&resize.into(), &[Some(x), None, None, Some(&sizes)]).remove(0)
}

fn linear() -> Resize {
    Resize { mode: Interpolation::Linear, ..Resize::default() }
}

#[test]
fn doubling_repeats_every_element() {
    let x = tensor(&[1, 1, 2, 2], &[1.0, 2.0, 3.0, 4.0]);
    let expected = [1.0, 1.0, 2.0, 2.0, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 4.0, 4.0, 3.0, 3.0, 4.0, 4.0];
    let asymmetric = Resize {
        coordinate_transformation_mode: Coordinates::Asymmetric,
        nearest_mode: NearestMode::Floor,
        ..Resize::default()
    };
    for resize in [Resize::default(), asymmetric] {
        assert_eq!(scaled(resize, &x, &[1.0, 1.0, 2.0, 2.0]), tensor(&[1, 1, 4, 4], &expected));
    }
}

#[test]
fn nearest_modes_differ_half_way() {
    // Four elements to two: places 0.5 and 2.5 with half pixels.
    let x = Tensor::from_vec(&[4], vec![10i64, 11, 12, 13]).expect("four elements");
    let pick = |nearest_mode| sized(Resize { nearest_mode, ..Resize::default() }, &x, &[2]);
    let vector = |values: [i64; 2]| Tensor::from_vec(&[2], values.to_vec()).expect("two elements");
    assert_eq!(pick(NearestMode::RoundPreferFloor), vector([10, 12]));
    assert_eq!(pick(NearestMode::RoundPreferCeil), vector([11, 13]));
    assert_eq!(pick(NearestMode::Floor), vector([10, 12]));
    assert_eq!(pick(NearestMode::Ceil), vector([11, 13]));
}

#[test]
fn linear_repeats_the_ends() {
    // Places -0.25, 0.25, 0.75, 1.25 of the elements 0 and 4.
    assert_eq!(scaled(linear(), &tensor(&[2], &[0.0, 4.0]), &[2.0]), tensor(&[4], &[0.0, 1.0, 3.0, 4.0]));
}

#[test]
fn antialiasing_counts_every_element() {
    // One of six: a triangle of half-width 6 around place 2.5, made to add up to 1 over the elements there are.
    let x = tensor(&[6], &[6.0, 0.0, 0.0, 0.0, 0.0, 6.0]);
    let antialiased = Resize { antialias: true, exclude_outside: true, ..linear() };
    let y = sized(antialiased, &x, &[1]);
    let weight = |i: f32| 1.0 - (i - 2.5).abs() / 6.0;
    let total: f32 = (0..6u8).map(|i| weight(f32::from(i))).sum();
    let expected = 12.0 * weight(0.0) / total;
    assert!((y.to_f64().expect("numbers")[0] - f64::from(expected)).abs() < 1e-6, "{y:?}");
}

#[test]
fn cubic_passes_through_the_elements() {
    let cubic = Resize {
        mode: Interpolation::Cubic,
        coordinate_transformation_mode: Coordinates::AlignCorners,
        ..Resize::default()
    };
    let y = sized(cubic, &tensor(&[4], &[1.0, -2.0, 5.0, 7.0]), &[7]);
    let values = y.to_f64().expect("numbers");
    assert_eq!([values[0], values[2], values[4], values[6]], [1.0, -2.0, 5.0, 7.0]);
    // Half-way, with a = -3/4: 19/32 of the neighbors less 3/32 of the ones after.
    assert!((values[3] - (19.0 * 3.0 - 3.0 * 8.0) / 32.0).abs() < 1e-6, "{values:?}");
}

#[test]
fn integers_are_rounded_to_even_and_saturated() {
    let x = Tensor::from_vec(&[2], vec![0u8, 5]).expect("two elements");
    let corners = Resize { coordinate_transformation_mode: Coordinates::AlignCorners, ..linear() };
    assert_eq!(sized(corners, &x, &[3]), Tensor::from_vec(&[3], vec![0u8, 2, 5]).expect("three"));
    let edge = Tensor::from_vec(&[4], vec![0u8, 255, 255, 0]).expect("four elements");
    let cubic = Resize { mode: Interpolation::Cubic, ..Resize::default() };
    assert_eq!(sized(cubic, &edge, &[8]).elements::<u8>().expect("u8")[4], 255);
}

#[test]
fn cropping_fills_outside() {
    let resize = Resize {
        coordinate_transformation_mode: Coordinates::TfCropAndResize,
        extrapolation_value: (-9.0).into(),
        axes: vec![-1],
        ..linear()
    };
    let (x, roi) = (tensor(&[1, 3], &[1.0, 2.0, 3.0]), tensor(&[2], &[0.5, 1.5]));
    let sizes = Tensor::from_vec(&[1], vec![3i64]).expect("one element");
    let y = evaluate_some(&resize.into(), &[Some(&x), Some(&roi), None, Some(&sizes)]);
    assert_eq!(y[0], tensor(&[1, 3], &[2.0, 3.0, -9.0]));
}

#[test]
fn the_aspect_ratio_is_kept_by_the_tightest_bound() {
    let x = tensor(&[2, 4], &[0.0; 8]);
    let policy = |keep_aspect_ratio_policy| Resize { keep_aspect_ratio_policy, ..Resize::default() };
    assert_eq!(sized(policy(AspectRatioPolicy::NotLarger), &x, &[7, 8]).sizes(), [4, 8]);
    assert_eq!(sized(policy(AspectRatioPolicy::NotSmaller), &x, &[7, 8]).sizes(), [7, 14]);
}

#[test]
fn whole_factors_scale_symbolic_sizes() {
    let mut symbols = crate::types::SymTable::default();
    let height = Dim::Sym(symbols.named("height"));
    let known = |tensor: Tensor| Fact { ty: tensor.ty(), known: Some(crate::types::Known::Constant(tensor)) };
    let x = TensorType::new(DType::F32, Shape::from_iter([Dim::Known(3), height.clone()]));
    let facts =
        [Some(Fact { ty: x, known: None }), None, Some(known(tensor(&[2], &[1.5, 2.0])))];
    let op = Op::from(Resize::default());
    let types = op.def().infer(&Operands::new(op.def().operands(), &facts, symbols.len())).expect("fits");
    let doubled = Dim::from_expr(height.expr().mul(&DimExpr::constant(2)).expect("small")).expect("a size");
    assert_eq!(types[0].shape, Shape::from_iter([Dim::Known(4), doubled]));
}

#[test]
fn hostile_operands_are_refused() {
    let x = tensor(&[2], &[0.0; 2]);
    let roi = tensor(&[0], &[]);
    for scale in [0.0, -1.0, f32::NAN, f32::INFINITY, f32::MAX] {
        let message = refused(&Resize::default().into(), &[&x, &roi, &tensor(&[1], &[scale])]);
        assert!(message.contains("positive numbers") || message.contains("larger than"), "{message}");
    }
    let message = refused(&Resize::default().into(), &[&x, &roi, &tensor(&[2], &[1.0; 2])]);
    assert!(message.contains("`scales`"), "{message}");
    let sizes = Tensor::from_vec(&[1], vec![2i64]).expect("one element");
    let operands = [Some(tensor(&[0], &[])), None, None, Some(sizes)];
    let error = infer_run_time(&Resize::default().into(), &operands).expect_err("nothing to repeat");
    assert!(error.to_string().contains("elements along axis 0"), "{error}");
}

#[test]
fn a_vanishing_axis_is_empty_and_not_an_endless_filter() {
    let antialiased = Resize { antialias: true, ..linear() };
    assert_eq!(sized(antialiased.clone(), &tensor(&[3], &[1.0; 3]), &[0]).sizes(), [0]);
    assert_eq!(scaled(antialiased, &tensor(&[3], &[1.0; 3]), &[1e-30]).sizes(), [0]);
}
