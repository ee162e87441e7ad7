//! LoHa: the elementwise product of two low-rank matrices, `(w1_a w1_b) * (w2_a w2_b)`.
//!
//! It has low rank itself, exactly: with `r` channels in each matrix, `r * r` pairs of them are the rank of the product,
//! `B[o, (i, j)] = w1_a[o, i] w2_a[o, j]` and `A[(i, j), m] = w1_b[i, m] w2_b[j, m]`. `m` counts channels and places of
//! the kernel. With kernels `t1` and `t2` both matrices are of the kind with three factors, and `w?_a` lies transposed.
//!
//! **Alpha rule.** `scale = alpha / hada_w1_b.shape[0]`, and 1 for a module without an alpha.

use super::factors::{
    Factors, Fault, Parts, check_rank, expect_rank, optional, require, tucker, written_out,
};
use super::key::Leaf;
use super::matrix::Matrix;
use super::normal_form::Form;

/// The factors of the product.
pub(super) fn factors(parts: &Parts) -> Result<Factors, Fault> {
    let (first_name, _) = require(parts, Leaf::HadaW1B)?;
    let one = side(parts, [Leaf::HadaW1A, Leaf::HadaW1B, Leaf::HadaT1])?;
    let two = side(parts, [Leaf::HadaW2A, Leaf::HadaW2B, Leaf::HadaT2])?;
    let same = |a: &Side, b: &Side| (a.up.rows, a.down.columns) == (b.up.rows, b.down.columns);
    if !same(&one, &two) || one.kernel != two.kernel {
        return Err(Fault::new(first_name, "the two products of its site are of different shapes"));
    }
    let rank = one.down.rows.saturating_mul(two.down.rows);
    check_rank(first_name, rank, one.down.columns, one.up.rows)?;
    let a = one.down.pairs_of_rows(&two.down, first_name)?;
    // Pairs of columns are pairs of rows of the transposed.
    let b = one.up.transposed().pairs_of_rows(&two.up.transposed(), first_name)?.transposed();
    let stored_rank = Some(require(parts, Leaf::HadaW1B)?.1.sizes()[0]);
    Ok(Factors { stored_rank, ..written_out(&a, &one.kernel, &b, Form::LoHa, first_name)? })
}

/// One of the two matrices, `up down`.
struct Side {
    /// `[out, rank]`
    up: Matrix,
    /// `[rank, in]`, with a column for each channel and place of the kernel.
    down: Matrix,
    /// Empty where the file does not say.
    kernel: Vec<usize>,
}

fn side(parts: &Parts, [up, down, middle]: [Leaf; 3]) -> Result<Side, Fault> {
    let (up_name, up) = require(parts, up)?;
    let (down_name, down) = require(parts, down)?;
    let up = Matrix::of(up_name, up)?;
    let side = match optional(parts, middle) {
        None => Side { up, down: Matrix::of(down_name, down)?, kernel: Vec::new() },
        Some((name, middle)) => {
            let (down, kernel) = tucker(name, middle, down_name, down)?;
            Side { up: up.transposed(), down, kernel }
        }
    };
    expect_rank(up_name, side.up.columns, side.down.rows)?;
    Ok(side)
}
