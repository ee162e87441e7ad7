//! LoKr: the Kronecker product of two matrices, each stored whole or as two factors.
//!
//! With `w1 = U1 V1` and `w2 = U2 V2` it is exactly `B A` with `B` the Kronecker product of `U1` and `U2`, and `A` that of
//! `V1` and `V2`; a matrix stored whole is itself and an identity on its smaller side. The rank is the product of the two.
//!
//! **Alpha rule.** `scale = alpha / rank` of the factored matrix, `w2` before `w1`, and 1 for a module without an alpha
//! or with both matrices whole.

use super::factors::{
    Factors, Fault, Parts, check_rank, expect_rank, optional, require, tucker, written_out,
};
use super::key::Leaf;
use super::matrix::Matrix;
use super::normal_form::Form;

/// The factors of the product.
pub(super) fn factors(parts: &Parts) -> Result<Factors, Fault> {
    let one = side(parts, Leaf::LokrW1, [Leaf::LokrW1A, Leaf::LokrW1B], None)?;
    let two = side(parts, Leaf::LokrW2, [Leaf::LokrW2A, Leaf::LokrW2B], Some(Leaf::LokrT2))?;
    let times = |of: fn(&Side<'_>) -> usize| of(&one).saturating_mul(of(&two));
    let columns = times(|side| side.down.columns);
    check_rank(one.name, times(|side| side.down.rows), columns, times(|side| side.up.rows))?;
    let b = one.up.kronecker(&two.up, one.name)?;
    let a = one.down.kronecker(&two.down, one.name)?;
    let stored_rank = two.rank.or(one.rank);
    Ok(Factors { stored_rank, ..written_out(&a, &two.kernel, &b, Form::LoKr, one.name)? })
}

/// One of the two matrices, `up down`.
struct Side<'p> {
    name: &'p str,
    up: Matrix,
    down: Matrix,
    kernel: Vec<usize>,
    /// `None` where it is stored whole.
    rank: Option<usize>,
}

fn side(parts: &Parts, whole: Leaf, [up, down]: [Leaf; 2], middle: Option<Leaf>) -> Result<Side<'_>, Fault> {
    if let Some((name, tensor)) = optional(parts, whole) {
        let mut factored = [Some(up), Some(down), middle].into_iter().flatten();
        if let Some((other, _)) = factored.find_map(|leaf| optional(parts, leaf)) {
            return Err(Fault::new(other, format!("`{name}` is the same matrix, stored whole")));
        }
        let matrix = Matrix::of(name, tensor)?;
        let (up, down) = if matrix.rows <= matrix.columns {
            (Matrix::identity(name, matrix.rows)?, matrix)
        } else {
            let identity = Matrix::identity(name, matrix.columns)?;
            (matrix, identity)
        };
        // The identity is over channels in and places of the kernel where the rows are the longer side.
        return Ok(Side { name, up, down, kernel: tensor.sizes()[2..].to_vec(), rank: None });
    }
    let (up_name, up) = require(parts, up)?;
    let (down_name, down) = require(parts, down)?;
    let up = Matrix::of(up_name, up)?;
    let rank = Some(down.sizes()[0]);
    let side = match middle.and_then(|middle| optional(parts, middle)) {
        None => Side { name: up_name, up, down: Matrix::of(down_name, down)?, kernel: Vec::new(), rank },
        Some((name, middle)) => {
            let (down, kernel) = tucker(name, middle, down_name, down)?;
            Side { name: up_name, up: up.transposed(), down, kernel, rank }
        }
    };
    expect_rank(up_name, side.up.columns, side.down.rows)?;
    Ok(side)
}
