//! `non_max_suppression`: of boxes that overlap, only the one with the best score.
//!
//! For each batch element and class the boxes are taken by descending score, equal scores by ascending index. A box is
//! selected unless its intersection over union with one selected before is greater than `iou_threshold`. Boxes whose
//! score is not greater than `score_threshold` do not take part. The result has a row for each selected box: batch
//! element, class, box.

use super::{
    EvalError, InferError, Inputs, OpDef, Operand, Operands, Results, Types, movement, one, only, optional,
    single,
};
use crate::attr::{AttrError, AttrVisitor};
use crate::dtype::DType;
use crate::kernels::order::ascending;
use crate::tensor::Tensor;
use crate::types::{Dim, Shape, TensorType};

/// See the [module](self). Operands: `boxes` of sizes `[batch, boxes, 4]`, `scores` of sizes `[batch, classes, boxes]`,
/// and single elements. Without `max_output_boxes_per_class` nothing is selected; without `iou_threshold` it is 0;
/// without `score_threshold` all boxes take part.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NonMaxSuppression {
    /// Whether boxes are given as `[x, y, width, height]` with their center, instead of by two opposite corners
    /// `[y, x, y, x]`.
    pub center_point_box: bool,
}

impl OpDef for NonMaxSuppression {
    const NAME: &'static str = "non_max_suppression";
    const OPERANDS: &'static [Operand] = &[
        one("boxes"),
        one("scores"),
        optional("max_output_boxes_per_class"),
        optional("iou_threshold"),
        optional("score_threshold"),
    ];

    fn attrs(&mut self, visitor: &mut dyn AttrVisitor) -> Result<(), AttrError> {
        visitor.attr("center_point_box", &mut self.center_point_box)
    }

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        for index in [0, 1] {
            operands.one_of(index, &[DType::F32])?;
            operands.ranked(index, 3)?;
        }
        let (boxes, scores) = (operands.ty(0)?, operands.ty(1)?);
        operands.same_dim(0, &boxes.shape[2], &Dim::Known(4))?;
        operands.same_dim(1, &scores.shape[0], &boxes.shape[0])?;
        operands.same_dim(1, &scores.shape[2], &boxes.shape[1])?;
        for (index, dtypes) in [(2, movement::INDEX), (3, &[DType::F32]), (4, &[DType::F32])] {
            if operands.has(index) {
                operands.one_of(index, dtypes)?;
                movement::check_scalar(operands, index)?;
            }
        }
        let tensors: Option<Vec<Option<Tensor>>> =
            (0..operands.len())
                .map(|index| {
                    if operands.has(index) { operands.constant(index).cloned().map(Some) } else { Some(None) }
                })
                .collect();
        let selected = tensors.and_then(|tensors| self.select(&Inputs::new(Self::OPERANDS, &tensors)).ok());
        let count = selected.map_or_else(|| operands.fresh(), |selected| Dim::Known(selected.len() as u64));
        Ok(single(DType::I64, Shape::from_iter([count, Dim::Known(3)])))
    }

    fn eval(&self, operands: &Inputs<'_>, _types: &[TensorType]) -> Result<Results, EvalError> {
        let selected = self.select(operands)?;
        let rows = selected.as_flattened().iter().map(|index| *index as i64).collect();
        Ok(only(Tensor::from_vec(&[selected.len(), 3], rows)?))
    }
}

impl NonMaxSuppression {
    /// Batch element, class and box of each selected box.
    fn select(&self, operands: &Inputs<'_>) -> Result<Vec<[usize; 3]>, EvalError> {
        let (boxes, scores) = (operands.tensor(0)?.to_f32()?, operands.tensor(1)?);
        let [_, classes, count] = *scores.sizes() else { return Ok(Vec::new()) };
        let number =
            |index: usize| operands.optional(index).map(|tensor| tensor.to_f32().map(|value| value[0]));
        let limit = operands.optional(2).map_or(Ok(0), |limit| limit.to_i64().map(|limit| limit[0]))?;
        let limit = usize::try_from(limit).unwrap_or(0);
        let (threshold, least) = (number(3).transpose()?.unwrap_or(0.0), number(4).transpose()?);
        if scores.is_empty() {
            return Ok(Vec::new());
        }
        let boxes: Vec<Area> = boxes.as_chunks().0.iter().map(|sides| self.area(*sides)).collect();
        let mut selected = Vec::new();
        for (class, scores) in scores.to_f32()?.chunks_exact(count).enumerate() {
            let (batch, class) = (class / classes, class % classes);
            let best = best_boxes(&boxes[batch * count..][..count], scores, (threshold, least), limit);
            selected.extend(best.into_iter().map(|index| [batch, class, index]));
        }
        Ok(selected)
    }

    fn area(&self, [a, b, c, d]: [f32; 4]) -> Area {
        if self.center_point_box {
            return Area { x: [a - c / 2.0, a + c / 2.0], y: [b - d / 2.0, b + d / 2.0] };
        }
        Area { x: [b.min(d), b.max(d)], y: [a.min(c), a.max(c)] }
    }
}

/// The indices of the boxes of one class that are selected, best first.
fn best_boxes(
    boxes: &[Area],
    scores: &[f32],
    (threshold, least): (f32, Option<f32>),
    limit: usize,
) -> Vec<usize> {
    let takes_part = |index: &usize| least.is_none_or(|least| scores[*index] > least);
    let mut order: Vec<usize> = (0..boxes.len()).filter(takes_part).collect();
    order.sort_by(|a, b| ascending(scores[*b], scores[*a]));
    let mut best: Vec<usize> = Vec::new();
    for index in order {
        if best.len() >= limit {
            break;
        }
        if !best.iter().any(|other| boxes[index].overlap(&boxes[*other]) > threshold) {
            best.push(index);
        }
    }
    best
}

/// A rectangle: its lower and upper bound in each direction.
struct Area {
    x: [f32; 2],
    y: [f32; 2],
}

impl Area {
    fn size(&self) -> f32 {
        (self.x[1] - self.x[0]) * (self.y[1] - self.y[0])
    }

    /// Intersection over union, from 0 to 1. Minus infinity where there is none, which no threshold suppresses.
    fn overlap(&self, other: &Self) -> f32 {
        let side = |a: [f32; 2], b: [f32; 2]| a[1].min(b[1]) - a[0].max(b[0]);
        let (width, height) = (side(self.x, other.x), side(self.y, other.y));
        let shared = width * height;
        let union = self.size() + other.size() - shared;
        let sensible =
            [width, height, shared, union, self.size(), other.size()].iter().all(|value| *value > 0.0);
        if sensible { shared / union } else { f32::NEG_INFINITY }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{parts, run_some, tensor};
    use super::*;

    /// The boxes selected of three of one class: the second lies half in the first, the third apart.
    fn selected(
        center_point_box: bool,
        boxes: &[f32],
        limit: Option<i64>,
        thresholds: [Option<f32>; 2],
    ) -> Vec<i64> {
        let operands = [
            Some(tensor(&[1, 3, 4], boxes)),
            Some(tensor(&[1, 1, 3], &[0.5, 0.9, 0.7])),
            limit.map(Tensor::scalar),
            thresholds[0].map(Tensor::scalar),
            thresholds[1].map(Tensor::scalar),
        ];
        let results = run_some(NonMaxSuppression { center_point_box }, &operands).expect("boxes and scores");
        parts(&results[0]).1.chunks_exact(3).map(|row| row[2]).collect()
    }

    #[test]
    fn overlapping_boxes_are_suppressed() {
        // In the second box the corners are exchanged. It shares 2 of 6 units with the first.
        let corners = [0.0, 0.0, 2.0, 2.0, 2.0, 3.0, 0.0, 1.0, 5.0, 5.0, 6.0, 6.0];
        let select = |limit, iou| selected(false, &corners, limit, [iou, None]);
        assert_eq!(select(Some(9), Some(0.3)), [1, 2]);
        assert_eq!(select(Some(9), Some(0.4)), [1, 2, 0]);
        assert_eq!(select(Some(1), Some(0.4)), [1]);
        assert_eq!(select(Some(-1), Some(0.4)), [] as [i64; 0]);
        assert_eq!(select(None, Some(0.4)), [] as [i64; 0]);
        assert_eq!(select(Some(9), None), [1, 2]);
        assert_eq!(selected(false, &corners, Some(9), [Some(1.0), Some(0.7)]), [1]);
    }

    #[test]
    fn boxes_given_by_their_center() {
        let centers = [1.0, 1.0, 2.0, 2.0, 2.0, 1.0, 2.0, 2.0, 5.5, 5.5, 1.0, 1.0];
        assert_eq!(selected(true, &centers, Some(9), [Some(0.3), None]), [1, 2]);
        assert_eq!(selected(true, &centers, Some(9), [Some(0.4), None]), [1, 2, 0]);
    }

    #[test]
    fn operands_that_do_not_fit_are_refused() {
        let refused = |boxes: &[usize], scores: &[usize]| {
            let zeros = |sizes: &[usize]| Tensor::zeros(DType::F32, sizes).ok();
            run_some(NonMaxSuppression::default(), &[zeros(boxes), zeros(scores)]).is_err()
        };
        assert!(!refused(&[1, 2, 4], &[1, 3, 2]));
        assert!(refused(&[1, 2, 5], &[1, 3, 2]));
        assert!(refused(&[1, 2, 4], &[1, 3, 3]));
        assert!(refused(&[1, 2, 4], &[2, 3, 2]));
        assert!(refused(&[2, 4], &[3, 2]));
    }
}
