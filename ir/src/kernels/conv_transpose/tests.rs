use proptest::prelude::*;

use super::super::reference::{Case, assert_close, cases, reals, to_f32};
use super::*;

/// The transposed convolution of a case and the length of its output.
fn transposed(case: &Case) -> (TransposedConvolution, usize) {
    let plane = case.transposed_plane().expect("an output plane");
    let channels = [case.groups * case.input_channels, case.output_channels];
    let transposed = TransposedConvolution::new(&TransposedConvolutionParameters {
        input_shape: &case.input_shape(),
        weight_shape: &[&channels, &case.kernel[..]].concat(),
        strides: &case.strides,
        dilations: &case.dilations,
        pads_begin: &case.pads_begin,
        output_plane: &plane,
        groups: case.groups,
    });
    let length = case.batch * case.groups * case.output_channels * plane.iter().product::<usize>();
    (transposed.expect("consistent sizes"), length)
}

/// Runs a case in a float type, giving f64.
fn run<T: Element<Sum = T> + Into<f64>>(case: &Case, data: [&[T]; 3]) -> Vec<f64> {
    let (transposed, length) = transposed(case);
    let mut output = vec![T::default(); length];
    let bias = case.with_bias.then_some(data[2]);
    transposed.run(data[0], data[1], bias, &mut output).expect("matching lengths");
    output.into_iter().map(Into::into).collect()
}

/// Checks a case in f32 and f64 against the nested loops.
fn check(case: &Case) {
    let input = reals(case.input_length(), case.seed);
    let weight = reals(case.weight_length(), case.seed ^ 1);
    let bias = reals(case.bias_length(), case.seed ^ 2);
    let expected = case.transposed(&input, &weight, case.with_bias.then_some(&bias));
    assert_close(&run(case, [&input, &weight, &bias]), &expected, 1e-14);
    let (input, weight, bias) = (to_f32(&input), to_f32(&weight), to_f32(&bias));
    assert_close(&run(case, [&input, &weight, &bias]), &expected, 1e-5);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn agrees_with_the_nested_loops(case in cases()) {
        prop_assume!(case.transposed_plane().is_some());
        check(&case);
    }
}

#[test]
fn a_plane_of_several_tiles_agrees_with_the_nested_loops() {
    let case = Case { strides: vec![2; 2], ..Case::plane([3, 64], [90, 91], 3) };
    assert!(tiles::<f32>(90 * 91, 64 * 9).count() > 1, "the case is too small to be split");
    check(&case);
}

#[test]
fn the_number_of_threads_does_not_change_a_bit() {
    let grouped = Case { groups: 20, ..Case::plane([4, 4], [33, 30], 3) };
    for case in [Case::plane([40, 64], [90, 91], 3), Case::plane([256, 64], [9, 8], 4), grouped] {
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
const GOOD: TransposedConvolutionParameters<'_> = TransposedConvolutionParameters {
    input_shape: &[1, 4, 5, 5],
    weight_shape: &[4, 2, 3, 3],
    strides: &[2, 2],
    dilations: &[1, 1],
    pads_begin: &[0, 0],
    output_plane: &[11, 11],
    groups: 2,
};

#[test]
fn sizes_that_do_not_belong_together_are_refused() {
    type Parameters = TransposedConvolutionParameters<'static>;
    assert!(TransposedConvolution::new(&GOOD).is_ok());
    let spoiled = [
        (Parameters { groups: 0, ..GOOD }, "number of groups is zero, expected at least one"),
        (Parameters { groups: 3, ..GOOD }, "input channels is 4, which 3 groups do not divide evenly"),
        (Parameters { weight_shape: &[3, 2, 3, 3], ..GOOD }, "input channels of the weight is 3, expected 4"),
        (Parameters { strides: &[2], ..GOOD }, "strides has 1 entries, expected 2"),
        (Parameters { strides: &[0, 2], ..GOOD }, "stride is zero, expected at least one"),
        (Parameters { dilations: &[1, 0], ..GOOD }, "dilation is zero, expected at least one"),
        (Parameters { output_plane: &[11], ..GOOD }, "output plane has 1 entries, expected 2"),
    ];
    for (parameters, message) in spoiled {
        let error = TransposedConvolution::new(&parameters).expect_err(message);
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn sizes_that_overflow_are_refused() {
    type Parameters<'a> = TransposedConvolutionParameters<'a>;
    for large in [usize::MAX, usize::MAX / 2] {
        let spoiled = [
            Parameters { strides: &[large, 1], ..GOOD },
            Parameters { pads_begin: &[large, large], output_plane: &[large, 1], ..GOOD },
            Parameters { output_plane: &[large, 3], ..GOOD },
            Parameters { input_shape: &[large, 4, 5, 5], ..GOOD },
            Parameters { weight_shape: &[4, large, 3, 3], ..GOOD },
            Parameters { input_shape: &[1, 0, 5, 5], weight_shape: &[0, 0, 3, 3], groups: large, ..GOOD },
        ];
        for parameters in spoiled {
            assert!(TransposedConvolution::new(&parameters).is_err(), "{parameters:?}");
        }
    }
}

#[test]
fn slices_of_the_wrong_length_are_refused() {
    let (transposed, length) = transposed(&Case::plane([2, 3], [4, 4], 3));
    let (input, weight, bias) = (vec![0.0_f32; 32], vec![0.0_f32; 54], vec![0.0_f32; 3]);
    let mut output = vec![0.0_f32; length];
    assert!(transposed.run(&input, &weight, Some(&bias), &mut output).is_ok());
    assert!(transposed.run(&input[1..], &weight, None, &mut output).is_err());
    assert!(transposed.run(&input, &weight[1..], None, &mut output).is_err());
    assert!(transposed.run(&input, &weight, Some(&bias[1..]), &mut output).is_err());
    assert!(transposed.run(&input, &weight, None, &mut output[1..]).is_err());
}
