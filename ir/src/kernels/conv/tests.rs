use proptest::prelude::*;

use super::super::matmul::CenteredByte;
use super::super::reference::{Case, assert_close, bytes, cases, reals, to_f32};
use super::*;

/// The convolution of a case.
fn convolution(case: &Case) -> Convolution {
    let weight_shape =
        [&[case.groups * case.output_channels, case.input_channels], &case.kernel[..]].concat();
    Convolution::new(&ConvolutionParameters {
        input_shape: &case.input_shape(),
        weight_shape: &weight_shape,
        strides: &case.strides,
        dilations: &case.dilations,
        pads_begin: &case.pads_begin,
        pads_end: &case.pads_end,
        groups: case.groups,
    })
    .expect("consistent sizes")
}

/// Runs a case in a float type, giving f64.
fn run<T: Element<Sum = T> + Into<f64>>(case: &Case, data: [&[T]; 3]) -> Vec<f64> {
    let convolution = convolution(case);
    let mut output = vec![T::default(); convolution.output_shape().iter().product()];
    let bias = case.with_bias.then_some(data[2]);
    convolution.run(data[0], data[1], bias, &mut output).expect("matching lengths");
    output.into_iter().map(Into::into).collect()
}

/// Checks a case in f32 and f64 against the nested loops.
fn check_floats(case: &Case) {
    let input = reals(case.input_length(), case.seed);
    let weight = reals(case.weight_length(), case.seed ^ 1);
    let bias = reals(case.bias_length(), case.seed ^ 2);
    let expected = case.forward(&input, &weight, case.with_bias.then_some(&bias));
    assert_close(&run(case, [&input, &weight, &bias]), &expected, 1e-14);
    let (input, weight, bias) = (to_f32(&input), to_f32(&weight), to_f32(&bias));
    assert_close(&run(case, [&input, &weight, &bias]), &expected, 1e-5);
}

/// Checks a case of bytes with zero points, exactly.
fn check_bytes(case: &Case) {
    let centered = |length: usize, seed: u64, zero_point: u8| -> Vec<CenteredByte> {
        bytes(length, seed).into_iter().map(|byte| CenteredByte::from_u8(byte, zero_point)).collect()
    };
    let input = centered(case.input_length(), case.seed, 3);
    let weight = centered(case.weight_length(), case.seed ^ 1, 250);
    let bias: Vec<i32> = (0..case.bias_length() as i32).map(|channel| channel * 70_000 - 50_000).collect();
    let widen =
        |values: &[CenteredByte]| -> Vec<f64> { values.iter().map(|value| f64::from(value.get())).collect() };
    let wide_bias: Vec<f64> = bias.iter().map(|&bias| f64::from(bias)).collect();
    let expected = case.forward(&widen(&input), &widen(&weight), case.with_bias.then_some(&wide_bias));
    let expected: Vec<i32> = expected.iter().map(|expected| expected.value as i32).collect();

    let convolution = convolution(case);
    let mut output = vec![0; expected.len()];
    let bias = case.with_bias.then_some(&bias[..]);
    convolution.run(&input, &weight, bias, &mut output).expect("matching lengths");
    assert_eq!(output, expected);
    let widen =
        |values: &[CenteredByte]| -> Vec<i32> { values.iter().map(|value| i32::from(value.get())).collect() };
    convolution.run(&widen(&input), &widen(&weight), bias, &mut output).expect("matching lengths");
    assert_eq!(output, expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn agrees_with_the_nested_loops(case in cases()) {
        prop_assume!(case.forward_plane().is_some());
        check_floats(&case);
        check_bytes(&case);
    }
}

#[test]
fn a_plane_of_several_tiles_agrees_with_the_nested_loops() {
    let case = Case::plane([64, 3], [90, 91], 3);
    assert!(tiles::<f32>(90 * 91, 64 * 9).count() > 1, "the case is too small to be split");
    check_floats(&case);
    check_bytes(&case);
}

#[test]
fn a_sum_longer_than_one_block_of_the_product_agrees_with_the_nested_loops() {
    let case = Case::plane([256, 5], [9, 8], 3);
    check_floats(&case);
    check_bytes(&case);
}

#[test]
fn pointwise_and_depthwise_agree_with_the_nested_loops() {
    let pointwise =
        Case { pads_begin: vec![0; 2], pads_end: vec![0; 2], batch: 2, ..Case::plane([7, 5], [6, 9], 1) };
    assert!(convolution(&pointwise).window.is_identity());
    check_floats(&pointwise);
    check_bytes(&pointwise);
    for multiplier in [1, 3] {
        let depthwise = Case { groups: 5, strides: vec![2, 1], ..Case::plane([1, multiplier], [8, 7], 3) };
        check_floats(&depthwise);
        check_bytes(&depthwise);
    }
}

#[test]
fn the_number_of_threads_does_not_change_a_bit() {
    let grouped = Case { groups: 20, ..Case::plane([4, 4], [33, 30], 3) };
    for case in [Case::plane([64, 70], [90, 91], 3), Case::plane([256, 300], [9, 8], 3), grouped] {
        let input = to_f32(&reals(case.input_length(), 1));
        let weight = to_f32(&reals(case.weight_length(), 2));
        let bias = to_f32(&reals(case.bias_length(), 3));
        let outputs: Vec<Vec<f64>> = [1, 2, 3, 8]
            .into_iter()
            .map(|threads| {
                let pool =
                    rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a thread pool");
                pool.install(|| run(&case, [&input, &weight, &bias]))
            })
            .collect();
        assert!(outputs.iter().all(|output| *output == outputs[0]));
    }
}

/// Sizes that belong together, to be spoiled one at a time.
const GOOD: ConvolutionParameters<'_> = ConvolutionParameters {
    input_shape: &[1, 4, 5, 5],
    weight_shape: &[6, 2, 3, 3],
    strides: &[1, 1],
    dilations: &[1, 1],
    pads_begin: &[0, 0],
    pads_end: &[0, 0],
    groups: 2,
};

#[test]
fn sizes_that_do_not_belong_together_are_refused() {
    type Parameters = ConvolutionParameters<'static>;
    assert!(Convolution::new(&GOOD).is_ok());
    let spoiled = [
        (Parameters { groups: 0, ..GOOD }, "number of groups is zero, expected at least one"),
        (Parameters { groups: 3, ..GOOD }, "input channels is 4, expected 6"),
        (
            Parameters { weight_shape: &[5, 2, 3, 3], ..GOOD },
            "output channels is 5, which 2 groups do not divide evenly",
        ),
        (Parameters { strides: &[1], ..GOOD }, "strides has 1 entries, expected 2"),
        (Parameters { strides: &[0, 1], ..GOOD }, "stride is zero, expected at least one"),
        (Parameters { dilations: &[0, 1], ..GOOD }, "dilation is zero, expected at least one"),
        (Parameters { weight_shape: &[6, 2, 0, 3], ..GOOD }, "kernel length is zero, expected at least one"),
        (Parameters { input_shape: &[1, 4], ..GOOD }, "input shape has 2 entries, expected 3"),
        (
            Parameters { dilations: &[1, 3], ..GOOD },
            "the kernel spans 7 elements on spatial axis 1, more than the 5 of the padded input",
        ),
    ];
    for (parameters, message) in spoiled {
        let error = Convolution::new(&parameters).expect_err(message);
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn sizes_that_overflow_are_refused() {
    type Parameters<'a> = ConvolutionParameters<'a>;
    for large in [usize::MAX, usize::MAX / 2] {
        let spoiled = [
            Parameters { pads_begin: &[large, 0], ..GOOD },
            Parameters { pads_end: &[large, large], ..GOOD },
            Parameters { dilations: &[large, 1], ..GOOD },
            Parameters { input_shape: &[large, 4, 5, 5], ..GOOD },
            Parameters { input_shape: &[0, 4, large, 5], ..GOOD },
            Parameters { input_shape: &[1, 0, 5, 5], weight_shape: &[0, 0, 3, 3], groups: large, ..GOOD },
            Parameters { weight_shape: &[6, 2, large, 3], ..GOOD },
        ];
        for parameters in spoiled {
            assert!(Convolution::new(&parameters).is_err(), "{parameters:?}");
        }
    }
}

#[test]
fn slices_of_the_wrong_length_are_refused() {
    let case = Case { kernel: vec![3; 2], ..Case::plane([2, 3], [4, 4], 3) };
    let convolution = convolution(&case);
    let (input, weight, bias) = (vec![0.0_f32; 32], vec![0.0_f32; 54], vec![0.0_f32; 3]);
    let mut output = vec![0.0_f32; 48];
    assert!(convolution.run(&input, &weight, Some(&bias), &mut output).is_ok());
    assert!(convolution.run(&input[1..], &weight, None, &mut output).is_err());
    assert!(convolution.run(&input, &weight[1..], None, &mut output).is_err());
    assert!(convolution.run(&input, &weight, Some(&bias[1..]), &mut output).is_err());
    assert!(convolution.run(&input, &weight, None, &mut output[1..]).is_err());
}

#[test]
fn empty_batches_and_channels_give_empty_output_or_the_bias() {
    let none = Case { batch: 0, ..Case::plane([2, 3], [4, 4], 3) };
    assert!(run::<f32>(&none, [&[], &[0.0; 54], &[0.0; 3]]).is_empty());
    let no_input = Case::plane([0, 2], [2, 1], 1);
    let expected = [[1.0; 12], [2.0; 12]].concat();
    assert_eq!(run::<f32>(&no_input, [&[], &[], &[1.0, 2.0]]), expected);
}
