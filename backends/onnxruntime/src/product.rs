//! Products of matrices.
//!
//! An element is a sum over the inner axis, formed one product after the other by fused multiplications, in runs: each run starts
//! from 0, and its sum is added to what is there. How long a run is depends on the sizes ([`run`]). Products with one row or one
//! column have kernels of their own, which do not fuse (`mlas/lib/sgemm.cpp` and its kernels for AVX).

use quad_ir::ops::Gemm;
use quad_ir::tensor::Tensor;
use rayon::prelude::*;

use crate::Computed;
use crate::sum::of_neighbors;

/// Columns that are computed at a time.
const TILE: usize = 64;
/// The longest run where the second factor was laid out when the model was loaded.
const LAID_OUT: usize = 256;

/// A product `[rows, depth] . [depth, columns]`.
#[derive(Clone, Copy)]
pub(crate) struct Product<'p, B> {
    /// The first factor, row by row.
    pub(crate) a: &'p [f32],
    /// Elements between the rows of the first factor.
    pub(crate) stride: usize,
    /// Rows, inner axis, columns.
    pub(crate) sizes: [usize; 3],
    /// The element of the second factor in a row and a column.
    pub(crate) b: B,
    /// Whether the second factor lies column by column.
    pub(crate) is_transposed: bool,
    /// Whether the second factor was laid out when the model was loaded.
    pub(crate) is_laid_out: bool,
}

/// Products in a run for so many `columns` and an inner axis of `depth`: 128 that shrink towards the depth where there are more
/// columns than that, and grow where columns do not fill what is computed at a time.
pub(crate) fn run(columns: usize, depth: usize) -> usize {
    let (mut wide, mut deep) = (128, 128);
    if columns >= depth {
        while deep / 2 >= depth {
            deep /= 2;
        }
    } else {
        while wide > 16 && wide / 2 >= columns {
            deep *= 2;
            wide /= 2;
        }
    }
    deep
}

impl<B: Fn(usize, usize) -> f32 + Sync> Product<'_, B> {
    /// Adds the product to `sums`, `[rows, columns]`.
    pub(crate) fn add_to(&self, sums: &mut [f32]) {
        let [rows, depth, columns] = self.sizes;
        match (rows, columns) {
            _ if self.is_laid_out => self.add_runs(sums, LAID_OUT),
            (1, _) if !self.is_transposed => self.add_row(sums),
            (1, _) => self.add_lanes(sums, |index, inner| (self.a[inner], (self.b)(inner, index))),
            (_, 1) => {
                self.add_lanes(sums, |index, inner| {
                    (self.a[index * self.stride + inner], (self.b)(inner, 0))
                });
            }
            _ => self.add_runs(sums, run(columns, depth)),
        }
    }

    /// In fused runs of `run` products.
    fn add_runs(&self, sums: &mut [f32], run: usize) {
        let [rows, depth, columns] = self.sizes;
        let starts: Vec<usize> = (0..columns).step_by(TILE).collect();
        let tile = |start: &usize| {
            let width = TILE.min(columns - start);
            let of_depth = |inner: usize| (0..width).map(move |column| (self.b)(inner, start + column));
            let factor: Vec<f32> = (0..depth).flat_map(of_depth).collect();
            let mut tile = vec![0.0; rows * width];
            for (row, tile) in tile.chunks_exact_mut(width).enumerate() {
                tile.copy_from_slice(&sums[row * columns + start..][..width]);
                let row = &self.a[row * self.stride..][..depth];
                add_runs_of_row(tile, row, &factor, run);
            }
            (*start, width, tile)
        };
        let tiles: Vec<(usize, usize, Vec<f32>)> = starts.par_iter().map(tile).collect();
        for (start, width, tile) in tiles {
            for (row, tile) in tile.chunks_exact(width).enumerate() {
                sums[row * columns + start..][..width].copy_from_slice(tile);
            }
        }
    }

    /// Of one row: four products are summed and added, then two, then one.
    fn add_row(&self, sums: &mut [f32]) {
        let depth = self.sizes[1];
        let fours = depth / 4 * 4;
        let twos = fours + (depth - fours) / 2 * 2;
        let starts = (0..fours).step_by(4).chain((fours..twos).step_by(2)).chain(twos..depth);
        let ends: Vec<usize> = starts.clone().skip(1).chain([depth]).collect();
        for (start, end) in starts.zip(ends) {
            for (column, sum) in sums.iter_mut().enumerate() {
                let products = (start..end).map(|inner| self.a[inner] * (self.b)(inner, column));
                *sum += products.reduce(|sum, product| sum + product).unwrap_or_default();
            }
        }
    }

    /// In eight lanes, for each of `sums` of the factors that `factors` gives for it and a place of the inner axis. Lanes are added
    /// up in another order for four results at a time, for two, and for one.
    fn add_lanes(&self, sums: &mut [f32], factors: impl Fn(usize, usize) -> (f32, f32)) {
        let count = sums.len();
        for (index, sum) in sums.iter_mut().enumerate() {
            let mut lanes = [0.0f32; 8];
            for inner in 0..self.sizes[1] {
                let (a, b) = factors(index, inner);
                lanes[inner % 8] += a * b;
            }
            let [a, b, c, d, e, f, g, h] = lanes;
            *sum += if index < count / 4 * 4 {
                (((a + b) + c) + d) + (((e + f) + g) + h)
            } else if index < count / 2 * 2 {
                ((a + c) + (e + g)) + ((b + d) + (f + h))
            } else {
                of_neighbors(lanes)
            };
        }
    }
}

/// Adds to `sums` the products of `row` with the rows of `factor`, which are as long as `sums`.
fn add_runs_of_row(sums: &mut [f32], row: &[f32], factor: &[f32], run: usize) {
    let mut of_run = vec![0.0f32; sums.len()];
    for (row, factor) in row.chunks(run).zip(factor.chunks(run * sums.len())) {
        of_run.fill(0.0);
        for (a, factor) in row.iter().zip(factor.chunks_exact(sums.len())) {
            for (sum, b) in of_run.iter_mut().zip(factor) {
                *sum = a.mul_add(*b, *sum);
            }
        }
        sums.iter_mut().zip(&of_run).for_each(|(sum, of_run)| *sum += of_run);
    }
}

/// `a . b`, where axes before the last two are stretched to each other.
pub(crate) fn matmul(a: &Tensor, b: &Tensor, is_constant: bool) -> Computed {
    let [.., rows, depth] = *a.sizes() else { return None };
    let [ref batch_of_b @ .., inner, columns] = *b.sizes() else { return None };
    let batch_of_a = &a.sizes()[..a.rank() - 2];
    let (of_a, of_b): (usize, usize) = (batch_of_a.iter().product(), batch_of_b.iter().product());
    // One second factor for all: its batches are rows. Else batches must be the same, which is what attention has.
    let (batches, rows_of_batch) = if of_b == 1 { (1, of_a * rows) } else { (of_b, rows) };
    if inner != depth || batch_of_b.len() > batch_of_a.len() || (of_b != 1 && batch_of_a != batch_of_b) {
        return None;
    }
    let (elements, factors) = (a.to_f32().ok()?, b.to_f32().ok()?);
    let mut sums = vec![0.0; batches * rows_of_batch * columns];
    for (index, sums) in sums.chunks_exact_mut(rows_of_batch * columns).enumerate() {
        let factors = &factors[index * depth * columns..];
        let product = Product {
            a: &elements[index * rows_of_batch * depth..],
            stride: depth,
            sizes: [rows_of_batch, depth, columns],
            b: |inner: usize, column: usize| factors[inner * columns + column],
            is_transposed: false,
            is_laid_out: is_constant && b.rank() == 2,
        };
        product.add_to(sums);
    }
    let sizes = [batch_of_a, &[rows, columns]].concat();
    Some(Tensor::from_vec(&sizes, sums).map_err(Into::into))
}

/// `a . b + c`; `None` with factors or a transposed first operand.
pub(crate) fn gemm(gemm: &Gemm, [a, b]: [&Tensor; 2], c: Option<&Tensor>, is_constant: bool) -> Computed {
    let ([rows, depth], [height, width]) = (*a.sizes().as_array()?, *b.sizes().as_array()?);
    if gemm.transA || gemm.alpha.get() != 1.0 || gemm.beta.get() != 1.0 {
        return None;
    }
    let columns = if gemm.transB { height } else { width };
    let mut sums = match c {
        Some(c) => stretched(c, [rows, columns])?,
        None => vec![0.0; rows * columns],
    };
    let factors = b.to_f32().ok()?;
    let product = Product {
        a: &a.to_f32().ok()?,
        stride: depth,
        sizes: [rows, depth, columns],
        b: |inner: usize, column: usize| {
            factors[if gemm.transB { column * depth + inner } else { inner * columns + column }]
        },
        is_transposed: gemm.transB,
        is_laid_out: is_constant,
    };
    product.add_to(&mut sums);
    Some(Tensor::from_vec(&[rows, columns], sums).map_err(Into::into))
}

/// The elements of `c`, stretched to a matrix.
fn stretched(c: &Tensor, [rows, columns]: [usize; 2]) -> Option<Vec<f32>> {
    let (height, width) = match *c.sizes() {
        [] => (1, 1),
        [width] => (1, width),
        [height, width] => (height, width),
        _ => return None,
    };
    let elements = c.to_f32().ok()?;
    let place = |row: usize, column: usize| (row % height) * width + column % width;
    let of_row = |row: usize| (0..columns).map(move |column| place(row, column));
    Some((0..rows).flat_map(of_row).map(|place| elements[place]).collect())
}
