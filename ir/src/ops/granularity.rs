//! Which scale and zero point belongs to an element: one for all, one per index along an axis, or one per block along
//! an axis.

use rayon::prelude::*;

use super::{InferError, Operands, rules};
use crate::types::{Dim, Quant, Shape};

/// Elements that one thread walks at a time where one scale is for all.
const RUN: usize = 1 << 14;

/// The attributes that say what scales belong to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ScaleAxis {
    /// The axis along which scales differ; negative ones count from the end.
    pub(crate) axis: i64,
    /// Elements along the axis that share a scale, 0 for one scale per index.
    pub(crate) block_size: i64,
}

/// What the scales of a tensor that exists belong to. Elements are walked in rows: those after the axis.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Granularity {
    /// Elements in a row.
    row: usize,
    /// Rows along the axis.
    rows: usize,
    /// Rows that share scales.
    block: usize,
    /// Scales along the axis.
    scales: usize,
    /// Whether elements of a row have scales of their own.
    each: bool,
}

impl ScaleAxis {
    /// Checks that the scales, the operand at 1, and the zero points at 2, belong to elements of the operand at 0.
    pub(crate) fn check(self, operands: &Operands<'_>) -> Result<(), InferError> {
        let (x, scale) = (&operands.ty(0)?.shape, &operands.ty(1)?.shape);
        if let Some(zero_point) = operands.optional(2) {
            let both_single = is_single(scale) && is_single(&zero_point.shape);
            if !both_single && !alike(&zero_point.shape, scale) {
                return Err(operands.mismatch(2, format!("the sizes of the scale, {scale}")));
            }
        }
        if is_single(scale) {
            return Ok(());
        }
        let expected = self.scales_of(x)?;
        if alike(scale, &expected) {
            return Ok(());
        }
        Err(operands.mismatch(1, format!("a single element or {expected}")))
    }

    /// The shape of the scales of a tensor of shape `x` with several scales.
    fn scales_of(self, x: &Shape) -> Result<Shape, InferError> {
        let axis = rules::axis("axis", self.axis, x.rank())?;
        if self.block_size == 0 {
            return Ok(Shape::from_iter([x[axis].clone()]));
        }
        let block = u64::try_from(self.block_size).map_err(|_| InferError::Attribute {
            attr: "block_size",
            found: self.block_size.to_string(),
            expected: "0 or a positive number".to_owned(),
        })?;
        let mut scales = x.clone();
        if let Some(size) = x[axis].known() {
            scales.0[axis] = Dim::Known(size.div_ceil(block));
        }
        Ok(scales)
    }

    /// What each of `scales` belongs to in a tensor of sizes `x`; the caller has [checked](Self::check) them.
    pub(crate) fn over(self, x: &[usize], scales: &[usize]) -> Result<Granularity, InferError> {
        if scales.iter().product::<usize>() == 1 {
            // Rows of any length do, so they are as long as suits one thread at a time.
            let row = x.iter().product::<usize>().min(RUN);
            return Ok(Granularity { row, rows: 1, block: 1, scales: 1, each: false });
        }
        let axis = rules::axis("axis", self.axis, x.len())?;
        let (row, rows) = (x[axis + 1..].iter().product(), x[axis]);
        Ok(match usize::try_from(self.block_size) {
            Ok(block @ 1..) => Granularity { row, rows, block, scales: rows.div_ceil(block), each: true },
            _ => Granularity { row, rows, block: 1, scales: rows, each: false },
        })
    }
}

impl Granularity {
    /// What the scales of `quant` belong to in a tensor of sizes `x`, which fits it.
    pub(crate) fn of(quant: &Quant, x: &[usize]) -> Self {
        let axis = quant.axis.map(usize::from).filter(|axis| *axis < x.len() && quant.scales.len() > 1);
        let Some(axis) = axis else { return Self::along(None, x) };
        let (row, rows) = (x[axis + 1..].iter().product(), x[axis]);
        let block = quant.block.map_or(1, |block| (block as usize).max(1));
        let blocks = rows.div_ceil(block);
        // Blocks are for all indices of the other axes together, unless there are scales for each of them.
        Self { row, rows, block, scales: blocks, each: quant.block.is_some() && quant.scales.len() != blocks }
    }

    /// Parameters of which there is one for each index along `axis` of a tensor of sizes `x`; one for all without.
    pub(crate) fn along(axis: Option<usize>, x: &[usize]) -> Self {
        match axis.filter(|axis| *axis < x.len()) {
            Some(axis) => {
                let (row, rows) = (x[axis + 1..].iter().product(), x[axis]);
                Self { row, rows, block: 1, scales: rows, each: false }
            }
            None => {
                Self { row: x.iter().product::<usize>().min(RUN), rows: 1, block: 1, scales: 1, each: false }
            }
        }
    }

    /// Calls `one` with each element of `from` and the place of its scale, and puts what it returns into `into`, on
    /// several threads.
    pub(crate) fn map<A: Sync, B: Send>(
        &self,
        from: &[A],
        into: &mut [B],
        one: impl Fn(&A, usize) -> B + Sync,
    ) {
        // Chunks of no elements are not possible, and nothing is left to do.
        if from.is_empty() || self.row == 0 {
            return;
        }
        into.par_chunks_mut(self.row).zip(from.par_chunks(self.row)).enumerate().for_each(
            |(index, (into, from))| {
                let (first, step) = self.place(index);
                for (offset, (into, from)) in into.iter_mut().zip(from).enumerate() {
                    *into = one(from, first + offset * step);
                }
            },
        );
    }

    /// The place of the first scale of the row at `index`, and the distance to that of the next element.
    fn place(&self, index: usize) -> (usize, usize) {
        let within = index % self.rows / self.block;
        if self.each {
            let outer = index / self.rows;
            ((outer * self.scales + within) * self.row, 1)
        } else {
            (within, 0)
        }
    }
}

fn is_single(shape: &Shape) -> bool {
    shape.iter().all(|dim| dim.known() == Some(1))
}

/// Whether two shapes have the same axes; sizes that are not known may be the same.
fn alike(a: &Shape, b: &Shape) -> bool {
    let same = |(a, b): (&Dim, &Dim)| a.known().zip(b.known()).is_none_or(|(a, b)| a == b);
    a.rank() == b.rank() && a.iter().zip(b.iter()).all(same)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_may_be_cut_short() {
        let blocks = ScaleAxis { axis: 0, block_size: 2 }.over(&[3, 2], &[2, 2]).expect("fits");
        assert_eq!([0, 1, 2].map(|row| blocks.place(row)), [(0, 1), (0, 1), (2, 1)]);
        let inner = ScaleAxis { axis: -1, block_size: 2 }.over(&[2, 3], &[2, 2]).expect("fits");
        assert_eq!([0, 1, 2, 3, 4, 5].map(|row| inner.place(row).0), [0, 0, 1, 2, 2, 3]);
    }

    #[test]
    fn an_axis_repeats_for_every_outer_index() {
        let along = ScaleAxis { axis: 1, block_size: 0 }.over(&[2, 3, 4], &[3]).expect("fits");
        assert_eq!((along.row, along.place(4)), (4, (1, 0)));
        let whole = ScaleAxis { axis: 7, block_size: 0 }.over(&[2, 3], &[1]).expect("fits");
        assert_eq!((whole.row, whole.place(0)), (6, (0, 0)));
    }
}
