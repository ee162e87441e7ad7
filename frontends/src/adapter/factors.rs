//! From the tensors of one site to its two factors.
//!
//! Every supported form is exactly `B A` for some `A` and `B`; the products are written out in double precision and
//! rounded to `f32` once. Plain factors stay views of the file.

use std::collections::BTreeMap;

use quad_ir::tensor::Tensor;

use super::key::Leaf;
use super::matrix::Matrix;
use super::normal_form::{Form, SiteKind};
use super::{loha, lokr};

/// Elements beyond which a factor is not written out: a small file must not become gigabytes.
pub(super) const MAX_ELEMENTS: usize = 1 << 24;

/// The tensors of a site by what they are, each with its name.
pub(super) type Parts = BTreeMap<Leaf, (String, Tensor)>;

/// The two factors of a branch.
#[derive(Clone, Debug)]
pub(super) struct Factors {
    pub(super) kind: SiteKind,
    /// `[rank, in]` or `[rank, in, kernel..]`.
    pub(super) lora_a: Tensor,
    /// `[out, rank]`.
    pub(super) lora_b: Tensor,
    pub(super) form: Form,
    /// The rank that scales are relative to; `None` where the form has none and alpha does not count.
    pub(super) stored_rank: Option<usize>,
    /// More than 1 where `lora_b` was stored for the groups of a convolution.
    pub(super) groups: usize,
}

impl Factors {
    /// Elements that are in memory, because they are not stored as they are.
    pub(super) fn written_elements(&self) -> usize {
        let a = if self.form == Form::Lora { 0 } else { self.lora_a.len() };
        let b = if self.form == Form::Lora && self.groups == 1 { 0 } else { self.lora_b.len() };
        a + b
    }
}

/// What is wrong with a tensor: its name, and what was found and expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) tensor: String,
    pub(super) found: String,
}

impl Fault {
    pub(super) fn new(tensor: &str, found: impl Into<String>) -> Self {
        Self { tensor: tensor.to_owned(), found: found.into() }
    }
}

/// The factors that `parts` make.
pub(super) fn assemble(parts: &Parts) -> Result<Factors, Fault> {
    let is = |test: fn(Leaf) -> bool| parts.keys().any(|leaf| test(*leaf));
    let forms = [is(is_plain), is(is_hada), is(is_lokr)];
    match forms {
        [true, false, false] => plain(parts),
        [false, true, false] => loha::factors(parts),
        [false, false, true] => lokr::factors(parts),
        [false, false, false] => {
            Err(Fault::new(first_name(parts), "it stands alone, without the factors of a branch"))
        }
        _ => Err(Fault::new(first_name(parts), "its site has the tensors of several kinds of adapters")),
    }
}

/// The part `leaf`, which must be there.
pub(super) fn require(parts: &Parts, leaf: Leaf) -> Result<(&str, &Tensor), Fault> {
    optional(parts, leaf).ok_or_else(|| {
        Fault::new(first_name(parts), format!("the {} that belongs to it is missing", describe(leaf)))
    })
}

/// The part `leaf`, if it is there.
pub(super) fn optional(parts: &Parts, leaf: Leaf) -> Option<(&str, &Tensor)> {
    parts.get(&leaf).map(|(name, tensor)| (name.as_str(), tensor))
}

/// Whether a product of matrices has low rank: `rank`, for a layer from `columns` channels to `rows`. Asked before it is
/// written out.
pub(super) fn check_rank(name: &str, rank: usize, columns: usize, rows: usize) -> Result<(), Fault> {
    if rank <= columns.min(rows) {
        return Ok(());
    }
    Err(Fault::new(
        name,
        format!(
            "written out as two factors it has rank {rank}, more than a layer from {columns} to {rows} channels; \
             merge it into the model"
        ),
    ))
}

/// `A` and `B` written out.
pub(super) fn written_out(
    a: &Matrix,
    kernel: &[usize],
    b: &Matrix,
    form: Form,
    name: &str,
) -> Result<Factors, Fault> {
    let fault = |found: String| Fault::new(name, found);
    let places: usize = kernel.iter().product();
    if places == 0 || !a.columns.is_multiple_of(places) {
        return Err(fault(format!("{} columns do not divide into a kernel of {kernel:?}", a.columns)));
    }
    let mut sizes = vec![a.rows, a.columns / places];
    sizes.extend(kernel);
    let kind = if kernel.is_empty() { SiteKind::Linear } else { SiteKind::Conv };
    let tensor = |matrix: &Matrix, sizes: &[usize]| {
        let elements: Vec<f32> = matrix.elements.iter().map(|element| *element as f32).collect();
        // Products of finite numbers may be none in `f32`.
        if elements.iter().any(|element| !element.is_finite()) {
            return Err(fault(
                "written out as two factors it has elements beyond the range of f32".to_owned(),
            ));
        }
        Tensor::from_vec(sizes, elements).map_err(|error| fault(error.to_string()))
    };
    Ok(Factors {
        kind,
        lora_a: tensor(a, &sizes)?,
        lora_b: tensor(b, &[b.rows, b.columns])?,
        form,
        stored_rank: None,
        groups: 1,
    })
}

/// A pair of factors, with or without a kernel in the middle.
fn plain(parts: &Parts) -> Result<Factors, Fault> {
    let (down_name, down) = require(parts, Leaf::Down)?;
    let (up_name, up) = require(parts, Leaf::Up)?;
    check_axes(down_name, down)?;
    check_axes(up_name, up)?;
    if up.sizes()[2..].iter().any(|size| *size != 1) {
        return Err(Fault::new(
            up_name,
            format!("its shape {:?} has a kernel, expected one of 1", up.sizes()),
        ));
    }
    let rank = down.sizes()[0];
    if let Some((name, mid)) = optional(parts, Leaf::Mid) {
        let up = Matrix::of(up_name, up)?;
        let (a, kernel) = tucker(name, mid, down_name, down)?;
        expect_rank(up_name, up.columns, a.rows)?;
        return Ok(Factors { stored_rank: Some(rank), ..written_out(&a, &kernel, &up, Form::Tucker, name)? });
    }
    let kind = if down.rank() == 2 { SiteKind::Linear } else { SiteKind::Conv };
    let flat = |tensor: &Tensor, name: &str| {
        tensor.reshaped(&[up.sizes()[0], up.sizes()[1]]).map_err(|error| Fault::new(name, error.to_string()))
    };
    let (lora_b, groups) = match up.sizes()[1] {
        columns if columns == rank => (flat(up, up_name)?, 1),
        // PEFT keeps the second factor of a grouped convolution in groups, the first one whole.
        columns if kind == SiteKind::Conv && columns > 0 && rank.is_multiple_of(columns) => {
            (block_diagonal(up_name, up, rank)?, rank / columns)
        }
        columns => return Err(wrong_rank(up_name, columns, rank)),
    };
    let lora_a = down.clone();
    Ok(Factors { kind, lora_a, lora_b, form: Form::Lora, stored_rank: Some(rank), groups })
}

/// The first factor of a branch of three: `mid` `[r, s, kernel..]` after `down` `[s, in, 1..]`. The matrix has a column
/// for each channel and place of the kernel.
pub(super) fn tucker(
    mid_name: &str,
    mid: &Tensor,
    down_name: &str,
    down: &Tensor,
) -> Result<(Matrix, Vec<usize>), Fault> {
    if mid.rank() < 3 {
        return Err(Fault::new(mid_name, format!("its shape {:?} has no kernel", mid.sizes())));
    }
    let down = Matrix::of(down_name, down)?;
    expect_rank(mid_name, mid.sizes()[1], down.rows)?;
    let kernel = mid.sizes()[2..].to_vec();
    let places: usize = kernel.iter().product();
    let (rows, inner, columns) = (mid.sizes()[0], down.rows, down.columns);
    let mut a = Matrix::zeros(mid_name, rows, columns.saturating_mul(places))?;
    let mid = Matrix::elements_of(mid_name, mid)?;
    for row in 0..rows {
        for j in 0..inner {
            for column in 0..columns {
                let factor = down.at(j, column);
                for place in 0..places {
                    let at = (row * columns + column) * places + place;
                    a.elements[at] += mid[(row * inner + j) * places + place] * factor;
                }
            }
        }
    }
    Ok((a, kernel))
}

/// `up` `[out, rank / groups, 1..]` as `[out, rank]`: each group of rows reads its own part of the rank.
fn block_diagonal(name: &str, up: &Tensor, rank: usize) -> Result<Tensor, Fault> {
    let (out, columns) = (up.sizes()[0], up.sizes()[1]);
    let groups = rank / columns;
    if !out.is_multiple_of(groups) {
        return Err(Fault::new(name, format!("{out} channels do not divide into {groups} groups")));
    }
    let grouped = Matrix::of(name, up)?;
    let mut dense = Matrix::zeros(name, out, rank)?;
    for row in 0..out {
        let first = row / (out / groups) * columns;
        for column in 0..columns {
            dense.elements[row * rank + first + column] = grouped.at(row, column);
        }
    }
    let elements: Vec<f32> = dense.elements.iter().map(|element| *element as f32).collect();
    Tensor::from_vec(&[out, rank], elements).map_err(|error| Fault::new(name, error.to_string()))
}

/// Factors have two axes, those of convolutions more; none is empty.
pub(super) fn check_axes(name: &str, tensor: &Tensor) -> Result<(), Fault> {
    let sizes = tensor.sizes();
    if !(2..=5).contains(&sizes.len()) || sizes.contains(&0) {
        return Err(Fault::new(
            name,
            format!("its shape is {sizes:?}, expected a matrix or a kernel with elements"),
        ));
    }
    Ok(())
}

pub(super) fn expect_rank(name: &str, found: usize, expected: usize) -> Result<(), Fault> {
    if found == expected { Ok(()) } else { Err(wrong_rank(name, found, expected)) }
}

fn wrong_rank(name: &str, found: usize, expected: usize) -> Fault {
    Fault::new(name, format!("it is for rank {found}, the other factor for rank {expected}"))
}

fn first_name(parts: &Parts) -> &str {
    parts.values().next().map_or("", |(name, _)| name)
}

fn is_plain(leaf: Leaf) -> bool {
    matches!(leaf, Leaf::Down | Leaf::Up | Leaf::Mid)
}

fn is_hada(leaf: Leaf) -> bool {
    matches!(
        leaf,
        Leaf::HadaW1A | Leaf::HadaW1B | Leaf::HadaW2A | Leaf::HadaW2B | Leaf::HadaT1 | Leaf::HadaT2
    )
}

fn is_lokr(leaf: Leaf) -> bool {
    !is_plain(leaf) && !is_hada(leaf) && leaf != Leaf::Alpha
}

fn describe(leaf: Leaf) -> &'static str {
    match leaf {
        Leaf::Down => "factor that reduces to the rank (`lora_A`, `down`)",
        Leaf::Up => "factor that leads back (`lora_B`, `up`)",
        Leaf::Mid => "kernel between the factors",
        Leaf::Alpha => "alpha",
        Leaf::HadaW1A => "factor `hada_w1_a`",
        Leaf::HadaW1B => "factor `hada_w1_b`",
        Leaf::HadaW2A => "factor `hada_w2_a`",
        Leaf::HadaW2B => "factor `hada_w2_b`",
        Leaf::HadaT1 => "kernel `hada_t1`",
        Leaf::HadaT2 => "kernel `hada_t2`",
        Leaf::LokrW1 => "factor `lokr_w1`",
        Leaf::LokrW1A => "factor `lokr_w1_a`",
        Leaf::LokrW1B => "factor `lokr_w1_b`",
        Leaf::LokrW2 => "factor `lokr_w2`",
        Leaf::LokrW2A => "factor `lokr_w2_a`",
        Leaf::LokrW2B => "factor `lokr_w2_b`",
        Leaf::LokrT2 => "kernel `lokr_t2`",
    }
}

#[cfg(test)]
mod tests;
