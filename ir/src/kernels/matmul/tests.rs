use proptest::prelude::*;

use super::super::reference::{assert_close, bytes, product, reals, to_f32};
use super::*;

/// A row-major matrix laid out with its axes exchanged, to be read as a transposed view.
fn exchanged<T: Copy>(values: &[T], rows: usize, columns: usize) -> Vec<T> {
    Matrix::row_major(values, rows, columns).expect("in bounds").transposed().gather(
        0..columns,
        0..rows,
        |value| value,
    )
}

/// The product with either operand read from a layout with its axes exchanged.
fn run<T: Element>(
    lhs: &[T],
    rhs: &[T],
    [rows, depth, columns]: [usize; 3],
    exchange: [bool; 2],
) -> Vec<T::Sum> {
    let (swapped_lhs, swapped_rhs) = (exchanged(lhs, rows, depth), exchanged(rhs, depth, columns));
    let view = |plain, swapped, rows, columns, exchange| {
        if exchange {
            Matrix::row_major(swapped, columns, rows).map(Matrix::transposed)
        } else {
            Matrix::row_major(plain, rows, columns)
        }
    };
    let left = view(lhs, &swapped_lhs[..], rows, depth, exchange[0]).expect("in bounds");
    let right = view(rhs, &swapped_rhs[..], depth, columns, exchange[1]).expect("in bounds");
    let mut result = vec![T::Sum::default(); rows * columns];
    matmul(left, right, &mut result).expect("matching sizes");
    result
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn floats_agree_with_the_nested_loops(
        sizes in [0_usize..40, 0_usize..70, 0_usize..40],
        exchange in any::<[bool; 2]>(),
        seed in any::<u64>(),
    ) {
        let (lhs, rhs) = (reals(sizes[0] * sizes[1], seed), reals(sizes[1] * sizes[2], seed ^ 1));
        let expected = product(&lhs, &rhs, sizes);
        assert_close(&run(&lhs, &rhs, sizes, exchange), &expected, 1e-14);
        let single = run(&to_f32(&lhs), &to_f32(&rhs), sizes, exchange);
        let single: Vec<f64> = single.into_iter().map(f64::from).collect();
        assert_close(&single, &expected, 1e-5);
    }

    #[test]
    fn integers_agree_with_the_nested_loops(
        sizes in [0_usize..20, 0_usize..600, 0_usize..20],
        exchange in any::<[bool; 2]>(),
        zero_points in any::<[u8; 2]>(),
        seed in any::<u64>(),
    ) {
        let centered = |length: usize, seed: u64, zero_point: u8| -> Vec<CenteredByte> {
            bytes(length, seed).into_iter().map(|byte| CenteredByte::from_u8(byte, zero_point)).collect()
        };
        let lhs = centered(sizes[0] * sizes[1], seed, zero_points[0]);
        let rhs = centered(sizes[1] * sizes[2], seed ^ 1, zero_points[1]);
        let reals = |values: &[CenteredByte]| -> Vec<f64> { values.iter().map(|value| value.get().into()).collect() };
        let expected = product(&reals(&lhs), &reals(&rhs), sizes);
        let expected: Vec<i32> = expected.iter().map(|expected| expected.value as i32).collect();
        prop_assert_eq!(&run(&lhs, &rhs, sizes, exchange), &expected);

        let wide = |values: &[CenteredByte]| -> Vec<i32> { values.iter().map(|value| value.get().into()).collect() };
        let (lhs, rhs) = (wide(&lhs), wide(&rhs));
        prop_assert_eq!(&run(&lhs, &rhs, sizes, exchange), &expected);
        // Two's complement wraps alike at every width, signed or not.
        let unsigned = |values: &[i32]| -> Vec<u64> { values.iter().map(|&value| value as u64).collect() };
        let found = run(&unsigned(&lhs), &unsigned(&rhs), sizes, exchange);
        prop_assert!(found.iter().zip(&expected).all(|(&found, &expected)| found == expected as u64));
    }
}

#[test]
fn the_largest_bytes_stay_exact_over_a_long_sum() {
    let depth = 3 * EXACT_DEPTH + 17;
    for (lhs, rhs) in [((255, 0), (255, 0)), ((0, 255), (255, 0)), ((0, 255), (0, 255))] {
        let lhs = vec![CenteredByte::from_u8(lhs.0, lhs.1); depth];
        let rhs = vec![CenteredByte::from_u8(rhs.0, rhs.1); depth];
        let expected = depth as i32 * i32::from(lhs[0].get()) * i32::from(rhs[0].get());
        assert_eq!(run(&lhs, &rhs, [1, depth, 1], [false; 2]), [expected]);
    }
    // An odd sum just below 2^24 has no room for rounding.
    let lhs: Vec<CenteredByte> =
        (0..EXACT_DEPTH).map(|index| CenteredByte::from_u8(254 + u8::from(index == 0), 0)).collect();
    let rhs = vec![CenteredByte::from_i8(127, -128); EXACT_DEPTH];
    let expected = 255 * (254 * EXACT_DEPTH as i32 + 1);
    assert_eq!(run(&lhs, &rhs, [1, EXACT_DEPTH, 1], [false; 2]), [expected]);
}

#[test]
fn wide_integers_wrap() {
    assert_eq!(run(&[i32::MAX, 1], &[2, 3], [1, 2, 1], [false; 2]), [1]);
    assert_eq!(run(&[u32::MAX, 1], &[2, 3], [1, 2, 1], [false; 2]), [1]);
    assert_eq!(run(&[i64::MAX, 1], &[2, 3], [1, 2, 1], [false; 2]), [1]);
    assert_eq!(run(&[u64::MAX, 1], &[2, 3], [1, 2, 1], [false; 2]), [1]);
}

#[test]
fn an_empty_inner_axis_gives_zeros_in_place_of_what_was_there() {
    let mut result = [f32::NAN; 6];
    let (lhs, rhs) = (Matrix::row_major(&[], 2, 0), Matrix::row_major(&[], 0, 3));
    matmul::<f32>(lhs.expect("empty"), rhs.expect("empty"), &mut result).expect("matching sizes");
    assert_eq!(result, [0.0; 6]);
    let mut result = [7_i32; 6];
    let (lhs, rhs) = (Matrix::row_major(&[], 2, 0), Matrix::row_major(&[], 0, 3));
    matmul::<CenteredByte>(lhs.expect("empty"), rhs.expect("empty"), &mut result).expect("matching sizes");
    assert_eq!(result, [0; 6]);
}

#[test]
fn a_stride_of_zero_repeats_a_row() {
    let values = [1.0_f32, 2.0, 3.0];
    let lhs = Matrix::new(&values, [2, 3], [0, 1]).expect("in bounds");
    let rhs = Matrix::row_major(&values, 3, 1).expect("in bounds");
    let mut result = [f32::NAN; 2];
    matmul(lhs, rhs, &mut result).expect("matching sizes");
    assert_eq!(result, [14.0; 2]);
}

#[test]
fn adding_keeps_the_values_and_leaves_the_gaps_between_rows() {
    fn check<T: Element>(values: [T; 2], initial: T::Sum, expected: T::Sum)
    where
        T::Sum: PartialEq + std::fmt::Debug,
    {
        let lhs = Matrix::row_major(&values, 2, 1).expect("in bounds");
        let rhs = Matrix::row_major(&values[1..], 1, 1).expect("in bounds");
        let mut result = vec![initial; 7];
        let mut target = MatrixMut::new(&mut result, [2, 1], 4).expect("in bounds");
        multiply(lhs, rhs, &mut target, Store::Add, Threads::All).expect("matching sizes");
        assert_eq!(result[4], expected);
        assert!([1, 2, 3, 5, 6].iter().all(|&gap| result[gap] == initial));
    }
    check([2.0_f32, 3.0], 100.0, 109.0);
    check([2.0_f64, 3.0], 100.0, 109.0);
    check([2_i32, 3], 100, 109);
    check([2, 3].map(|byte| CenteredByte::from_u8(byte, 0)), 100, 109);
}

#[test]
fn the_number_of_threads_does_not_change_a_bit() {
    for sizes in
        [[200, 300, 700], [1000, 70, 1100], [1, 5000, 3000], [64, 5000, 64], [3000, 2, 900], [300, 2000, 1]]
    {
        for exchange in [[false, false], [true, false], [false, true], [true, true]] {
            let lhs = to_f32(&reals(sizes[0] * sizes[1], 1));
            let rhs = to_f32(&reals(sizes[1] * sizes[2], 2));
            let results: Vec<Vec<u32>> = [1, 2, 3, 8]
                .into_iter()
                .map(|threads| {
                    let pool =
                        rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a thread pool");
                    let result = pool.install(|| run(&lhs, &rhs, sizes, exchange));
                    result.into_iter().map(f32::to_bits).collect()
                })
                .collect();
            assert!(results.iter().all(|result| *result == results[0]), "{sizes:?} {exchange:?}");
        }
    }
}

#[test]
fn one_thread_and_all_threads_agree_in_every_bit() {
    let sizes = [300, 2100, 250];
    let (lhs, rhs) = (reals(sizes[0] * sizes[1], 1), reals(sizes[1] * sizes[2], 2));
    let [one, all] = [Threads::One, Threads::All].map(|threads| {
        let left = Matrix::row_major(&lhs, sizes[0], sizes[1]).expect("in bounds");
        let right = Matrix::row_major(&rhs, sizes[1], sizes[2]).expect("in bounds");
        let mut result = vec![0.0; sizes[0] * sizes[2]];
        let mut target = MatrixMut::row_major(&mut result, sizes[0], sizes[2]).expect("in bounds");
        multiply(left, right, &mut target, Store::Replace, threads).expect("matching sizes");
        result
    });
    assert_eq!(one, all);
}

#[test]
fn sizes_that_do_not_match_are_refused() {
    let values = [0.0_f32; 12];
    let lhs = Matrix::row_major(&values, 3, 4).expect("in bounds");
    let rhs = Matrix::row_major(&values, 3, 4).expect("in bounds");
    assert!(matmul(lhs, rhs, &mut [0.0; 12]).is_err());
    assert!(matmul(lhs, rhs.transposed(), &mut [0.0; 9]).is_ok());
    assert!(matmul(lhs, rhs.transposed(), &mut [0.0; 8]).is_err());
    let mut result = [0.0; 12];
    let mut target = MatrixMut::row_major(&mut result, 4, 3).expect("in bounds");
    assert!(multiply(lhs, rhs.transposed(), &mut target, Store::Replace, Threads::All).is_err());
}
