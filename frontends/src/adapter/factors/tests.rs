//! Every form against its definition, written out element by element.

use super::*;

/// Elements that repeat after 97: enough to tell wrong indices.
fn tensor(seed: usize, sizes: &[usize]) -> Tensor {
    let count = sizes.iter().product();
    let element = |index: usize| ((index * 37 + seed * 11) % 97) as f32 / 97.0 - 0.4;
    Tensor::from_vec(sizes, (0..count).map(element).collect()).expect("as many as the sizes say")
}

fn parts(tensors: &[(Leaf, &Tensor)]) -> Parts {
    let name = |leaf: Leaf| format!("{leaf:?}");
    tensors.iter().map(|(leaf, tensor)| (*leaf, (name(*leaf), (*tensor).clone()))).collect()
}

/// `lora_b lora_a`, one row for each channel out.
fn product(factors: &Factors) -> Vec<f64> {
    let a = Matrix::of("a", &factors.lora_a).expect("a factor");
    let b = Matrix::of("b", &factors.lora_b).expect("a factor");
    assert_eq!(b.columns, a.rows);
    let at = |row: usize, column: usize| (0..a.rows).map(|k| b.at(row, k) * a.at(k, column)).sum();
    (0..b.rows)
        .flat_map(|row| (0..a.columns).map(move |column| (row, column)))
        .map(|(r, c)| at(r, c))
        .collect()
}

/// The product of two tensors as matrices, the axes after the first joined.
fn times(up: &Tensor, down: &Tensor) -> Matrix {
    let (up, down) = (Matrix::of("up", up).expect("up"), Matrix::of("down", down).expect("down"));
    let mut product = Matrix::zeros("product", up.rows, down.columns).expect("small");
    for row in 0..up.rows {
        for column in 0..down.columns {
            product.elements[row * down.columns + column] =
                (0..down.rows).map(|k| up.at(row, k) * down.at(k, column)).sum();
        }
    }
    product
}

/// `w[o, i, place] = sum over p, q of up[o, p] mid[p, q, place] down[q, i]`
fn three_factors(up: &Matrix, mid: &Tensor, down: &Matrix) -> Vec<f64> {
    let places: usize = mid.sizes()[2..].iter().product();
    let mid = mid.to_f64().expect("floats");
    let mut w = vec![0.0; up.rows * down.columns * places];
    for (index, element) in w.iter_mut().enumerate() {
        let (o, i, place) = (index / places / down.columns, index / places % down.columns, index % places);
        for p in 0..up.columns {
            for q in 0..down.rows {
                *element += up.at(o, p) * mid[(p * down.rows + q) * places + place] * down.at(q, i);
            }
        }
    }
    w
}

fn assert_close(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0.0f64, |largest, element| largest.max(element.abs()));
    let worst = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    // Each factor is rounded to f32 once.
    assert!(worst <= 4e-7 * largest, "{worst} of {largest}");
}

#[test]
fn plain_factors_are_views_of_what_is_stored() {
    let (down, up) = (tensor(1, &[2, 6]), tensor(2, &[5, 2]));
    let factors = assemble(&parts(&[(Leaf::Down, &down), (Leaf::Up, &up)])).expect("a pair");
    assert_eq!((factors.kind, factors.form, factors.stored_rank), (SiteKind::Linear, Form::Lora, Some(2)));
    assert_eq!(factors.lora_a.bytes().as_ptr(), down.bytes().as_ptr());
    assert_eq!(factors.lora_b.bytes().as_ptr(), up.bytes().as_ptr());
}

#[test]
fn the_second_factor_of_a_convolution_is_a_matrix() {
    let (down, up) = (tensor(1, &[2, 6, 3, 3]), tensor(2, &[5, 2, 1, 1]));
    let factors = assemble(&parts(&[(Leaf::Down, &down), (Leaf::Up, &up)])).expect("a pair");
    assert_eq!(factors.kind, SiteKind::Conv);
    assert_eq!((factors.lora_a.sizes(), factors.lora_b.sizes()), (&[2, 6, 3, 3][..], &[5, 2][..]));
}

#[test]
fn factors_of_groups_are_written_out_over_all_of_them() {
    let (down, up) = (tensor(1, &[4, 6, 3, 3]), tensor(2, &[8, 2, 1, 1]));
    let factors = assemble(&parts(&[(Leaf::Down, &down), (Leaf::Up, &up)])).expect("a pair");
    assert_eq!((factors.groups, factors.lora_b.sizes()), (2, &[8, 4][..]));
    let (dense, grouped) = (Matrix::of("", &factors.lora_b).expect("b"), Matrix::of("", &up).expect("up"));
    for row in 0..8 {
        for column in 0..4 {
            let is_own = (column / 2) == (row / 4);
            let expected = if is_own { grouped.at(row, column % 2) } else { 0.0 };
            assert_eq!(dense.at(row, column), expected, "{row}, {column}");
        }
    }
}

#[test]
fn three_factors_become_two() {
    let (down, mid, up) = (tensor(1, &[3, 5, 1, 1]), tensor(2, &[4, 3, 3, 2]), tensor(3, &[6, 4, 1, 1]));
    let parts = parts(&[(Leaf::Down, &down), (Leaf::Mid, &mid), (Leaf::Up, &up)]);
    let factors = assemble(&parts).expect("three factors");
    assert_eq!((factors.form, factors.stored_rank), (Form::Tucker, Some(3)));
    assert_eq!(factors.lora_a.sizes(), [4, 5, 3, 2]);
    let expected =
        three_factors(&Matrix::of("", &up).expect("up"), &mid, &Matrix::of("", &down).expect("down"));
    assert_close(&product(&factors), &expected);
}

#[test]
fn loha_is_a_product_of_rank_squared() {
    let (a1, b1) = (tensor(1, &[9, 2]), tensor(2, &[2, 12]));
    let (a2, b2) = (tensor(3, &[9, 2]), tensor(4, &[2, 12]));
    let leaves = [(Leaf::HadaW1A, &a1), (Leaf::HadaW1B, &b1), (Leaf::HadaW2A, &a2), (Leaf::HadaW2B, &b2)];
    let factors = assemble(&parts(&leaves)).expect("two products");
    assert_eq!((factors.form, factors.stored_rank), (Form::LoHa, Some(2)));
    assert_eq!((factors.lora_a.sizes(), factors.lora_b.sizes()), (&[4, 12][..], &[9, 4][..]));
    let (one, two) = (times(&a1, &b1), times(&a2, &b2));
    let expected: Vec<f64> = one.elements.iter().zip(&two.elements).map(|(a, b)| a * b).collect();
    assert_close(&product(&factors), &expected);
}

#[test]
fn loha_with_kernels_has_its_first_factors_transposed() {
    let (t1, a1, b1) = (tensor(1, &[2, 2, 3, 3]), tensor(2, &[2, 7]), tensor(3, &[2, 5]));
    let (t2, a2, b2) = (tensor(4, &[2, 2, 3, 3]), tensor(5, &[2, 7]), tensor(6, &[2, 5]));
    let factors = assemble(&parts(&[
        (Leaf::HadaW1A, &a1),
        (Leaf::HadaW1B, &b1),
        (Leaf::HadaT1, &t1),
        (Leaf::HadaW2A, &a2),
        (Leaf::HadaW2B, &b2),
        (Leaf::HadaT2, &t2),
    ]))
    .expect("two products");
    assert_eq!(factors.lora_a.sizes(), [4, 5, 3, 3]);
    let side = |up: &Tensor, mid: &Tensor, down: &Tensor| {
        let up = Matrix::of("", up).expect("up").transposed();
        three_factors(&up, mid, &Matrix::of("", down).expect("down"))
    };
    let (one, two) = (side(&a1, &t1, &b1), side(&a2, &t2, &b2));
    let expected: Vec<f64> = one.iter().zip(&two).map(|(a, b)| a * b).collect();
    assert_close(&product(&factors), &expected);
}

/// The Kronecker product of `w1` and `w2`, whose axes after the first are channels and places of a kernel.
fn kronecker(w1: &Matrix, w2: &Matrix) -> Vec<f64> {
    let mut product = Vec::new();
    for row in 0..w1.rows * w2.rows {
        for column in 0..w1.columns * w2.columns {
            product
                .push(w1.at(row / w2.rows, column / w2.columns) * w2.at(row % w2.rows, column % w2.columns));
        }
    }
    product
}

#[test]
fn lokr_is_a_product_of_all_pairs() {
    let whole1 = tensor(1, &[3, 2]);
    let whole2 = tensor(2, &[4, 5]);
    let (up1, down1) = (tensor(3, &[3, 1]), tensor(4, &[1, 2]));
    let (up2, down2) = (tensor(5, &[4, 2]), tensor(6, &[2, 5]));
    let matrix = |tensor: &Tensor| Matrix::of("", tensor).expect("a matrix");
    let (factored1, factored2) = (times(&up1, &down1), times(&up2, &down2));
    let one = [(Leaf::LokrW1, &whole1)];
    let one_factored = [(Leaf::LokrW1A, &up1), (Leaf::LokrW1B, &down1)];
    let two = [(Leaf::LokrW2, &whole2)];
    let two_factored = [(Leaf::LokrW2A, &up2), (Leaf::LokrW2B, &down2)];
    for (leaves, stored_rank, rank, expected) in [
        ([&one[..], &two[..]].concat(), None, 8, kronecker(&matrix(&whole1), &matrix(&whole2))),
        ([&one[..], &two_factored[..]].concat(), Some(2), 4, kronecker(&matrix(&whole1), &factored2)),
        ([&one_factored[..], &two[..]].concat(), Some(1), 4, kronecker(&factored1, &matrix(&whole2))),
        ([&one_factored[..], &two_factored[..]].concat(), Some(2), 2, kronecker(&factored1, &factored2)),
    ] {
        let factors = assemble(&parts(&leaves)).expect("two matrices");
        assert_eq!((factors.stored_rank, factors.lora_a.sizes()[0]), (stored_rank, rank));
        assert_close(&product(&factors), &expected);
    }
}

#[test]
fn lokr_of_a_convolution_keeps_its_kernel() {
    let (w1, w2) = (tensor(1, &[2, 2]), tensor(2, &[3, 4, 3, 3]));
    let factors = assemble(&parts(&[(Leaf::LokrW1, &w1), (Leaf::LokrW2, &w2)])).expect("two matrices");
    assert_eq!(factors.lora_a.sizes(), [6, 8, 3, 3]);
    let matrix = |tensor: &Tensor| Matrix::of("", tensor).expect("a matrix");
    assert_close(&product(&factors), &kronecker(&matrix(&w1), &matrix(&w2)));
    let (t2, a2, b2) = (tensor(3, &[2, 2, 3, 3]), tensor(4, &[2, 3]), tensor(5, &[2, 4]));
    let leaves = [(Leaf::LokrW1, &w1), (Leaf::LokrT2, &t2), (Leaf::LokrW2A, &a2), (Leaf::LokrW2B, &b2)];
    let factors = assemble(&parts(&leaves)).expect("three factors");
    assert_eq!((factors.lora_a.sizes(), factors.stored_rank), (&[4, 8, 3, 3][..], Some(2)));
    let w2 = three_factors(&matrix(&a2).transposed(), &t2, &matrix(&b2));
    let w2 = Matrix { rows: 3, columns: 36, elements: w2 };
    assert_close(&product(&factors), &kronecker(&matrix(&w1), &w2));
}

#[test]
fn tensors_that_do_not_fit_together_are_named() {
    for (tensors, tensor, part) in [
        (vec![(Leaf::Up, tensor(1, &[5, 2]))], "Up", "missing"),
        (vec![(Leaf::Down, tensor(1, &[2, 5]))], "Down", "missing"),
        (vec![(Leaf::Alpha, tensor(1, &[1]))], "Alpha", "stands alone"),
        (vec![(Leaf::Down, tensor(1, &[2, 5])), (Leaf::Up, tensor(1, &[5, 3]))], "Up", "rank 3"),
        (vec![(Leaf::Down, tensor(1, &[10])), (Leaf::Up, tensor(1, &[5, 2]))], "Down", "expected a matrix"),
        (vec![(Leaf::Down, tensor(1, &[2, 0])), (Leaf::Up, tensor(1, &[5, 2]))], "Down", "[2, 0]"),
        (
            vec![(Leaf::Down, tensor(1, &[2, 5, 3, 3])), (Leaf::Up, tensor(1, &[5, 2, 3, 3]))],
            "Up",
            "expected one of 1",
        ),
        (
            vec![
                (Leaf::Down, tensor(1, &[2, 5])),
                (Leaf::Up, tensor(1, &[5, 2])),
                (Leaf::LokrW1, tensor(1, &[2, 2])),
            ],
            "Down",
            "several kinds",
        ),
    ] {
        let leaves: Vec<(Leaf, &Tensor)> = tensors.iter().map(|(leaf, tensor)| (*leaf, tensor)).collect();
        let fault = assemble(&parts(&leaves)).expect_err(part);
        assert_eq!(fault.tensor, tensor);
        assert!(fault.found.contains(part), "{part} is not in: {}", fault.found);
    }
}

#[test]
fn a_product_that_is_no_longer_of_low_rank_is_refused() {
    let (a, b) = (tensor(1, &[9, 4]), tensor(2, &[4, 12]));
    let leaves = [(Leaf::HadaW1A, &a), (Leaf::HadaW1B, &b), (Leaf::HadaW2A, &a), (Leaf::HadaW2B, &b)];
    let fault = assemble(&parts(&leaves)).expect_err("rank 16 of 9");
    assert!(fault.found.contains("rank 16"), "{}", fault.found);
}

#[test]
fn small_files_do_not_become_gigabytes() {
    let (a, b) = (tensor(1, &[1 << 14, 1]), tensor(2, &[1, 1 << 14]));
    let leaves = [(Leaf::LokrW1A, &a), (Leaf::LokrW1B, &b), (Leaf::LokrW2A, &a), (Leaf::LokrW2B, &b)];
    let fault = assemble(&parts(&leaves)).expect_err("2^28 elements");
    assert!(fault.found.contains("more than"), "{}", fault.found);
}
