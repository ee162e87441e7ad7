//! Operations along some axes of one value: those are stored as axes of their own, wherever they are.

use quad_ir::ops::resize::{AspectRatioPolicy, Coordinates};
use quad_ir::ops::{Gather, LayerNorm, LogSoftmax, Op, Pad, Resize, RmsNorm, Softmax, Split};
use quad_ir::types::Dim;

use super::{Given, Plan, Planner, Reason, normal_axis};
use crate::layout::order::{Order, Part, cut_where, fitted, single_part, whole};
use crate::layout::view::View;

impl Planner<'_, '_> {
    /// `x` with the axes `special` stored as axes of their own: how it is given, the order, and where they are.
    fn along(&self, special: &[usize]) -> Result<(Given, Order, Vec<usize>), Reason> {
        let x = self.view(0)?;
        let (order, places) = self.isolated(x, special)?;
        Ok((Given::Stored(x.clone(), x.axes(&order)), order, places))
    }

    /// The operands after the first, as they are.
    fn others(&self) -> impl Iterator<Item = Given> {
        self.views.iter().skip(1).map(|view| if view.is_some() { Given::AsSeen } else { Given::Nothing })
    }

    /// A result that is `x` stored in `order`, with the sizes of result `index` along `special`.
    fn resized(&self, index: usize, order: &Order, special: &[(usize, usize)]) -> Result<View, Reason> {
        let x = self.view(0)?;
        let result = self.node.results().nth(index).ok_or("it has fewer results")?;
        let mut order = order.clone();
        for (axis, at) in special {
            order = single_part(order, *at, *axis);
        }
        let changed = |axis: usize| special.iter().any(|(special, _)| *special == axis);
        let size = |part: Part| {
            if changed(part.axis) { result.ty().shape[part.axis].clone() } else { x.part_size(part) }
        };
        Ok(View::of(&order, x.seen.len(), size))
    }

    pub(super) fn softmax(&self, given: i64) -> Result<Plan, Reason> {
        let rank = self.view(0)?.seen.len();
        let axis = normal_axis(given, rank)?;
        let (x, order, places) = self.along(&[axis])?;
        let result = self.resized(0, &order, &[])?;
        let axis = renumbered(given, &order, places[0]);
        let op: Op = match self.node.op() {
            Op::LogSoftmax(_) => LogSoftmax { axis }.into(),
            _ => Softmax { axis }.into(),
        };
        Ok(Plan { op, operands: vec![x], results: vec![result] })
    }

    pub(super) fn split(&self, split: &Split) -> Result<Plan, Reason> {
        let axis = normal_axis(split.axis, self.view(0)?.seen.len())?;
        let (x, order, places) = self.along(&[axis])?;
        let results = 0..self.node.results().len();
        let results = results.map(|index| self.resized(index, &order, &[(axis, places[0])]));
        let op = Split { axis: renumbered(split.axis, &order, places[0]), ..split.clone() };
        let operands = [x].into_iter().chain(self.others()).collect();
        Ok(Plan { op: op.into(), operands, results: results.collect::<Result<_, Reason>>()? })
    }

    /// In place of the axis that is picked from there are the axes of the indices.
    pub(super) fn gather(&self, given: i64) -> Result<Plan, Reason> {
        let x = self.view(0)?;
        let axis = normal_axis(given, x.seen.len())?;
        let (given_x, mut order, places) = self.along(&[axis])?;
        let more = self.view(1)?.seen.len();
        if self.settings.max_rank.is_some_and(|max_rank| order.len() - 1 + more > max_rank) {
            return Err("its indices would add axes to more than a value may have".into());
        }
        let op = Gather { axis: renumbered(given, &order, places[0]) };
        for part in order.iter_mut().flatten().filter(|part| part.axis > axis) {
            part.axis = part.axis + more - 1;
        }
        let picked = (axis..axis + more).map(|axis| vec![Part { axis, factor: 0 }]);
        order.splice(places[0]..=places[0], picked);
        let shape = self.result_shape();
        let size = |part: Part| match part.axis {
            before if before < axis => x.part_size(part),
            picked if picked < axis + more => shape[picked].clone(),
            after => x.part_size(Part { axis: after + 1 - more, ..part }),
        };
        let result = View::of(&order, shape.rank(), size);
        Ok(Plan { op: op.into(), operands: vec![given_x, Given::AsSeen], results: vec![result] })
    }

    pub(super) fn slice(&self) -> Result<Plan, Reason> {
        let rank = self.view(0)?.seen.len();
        let starts = self.operand(1).and_then(|starts| starts.ty().shape.first()?.known());
        let axes = match self.operand(3) {
            Some(_) => self.integers(3).ok_or("its axes are not known")?,
            None => (0..starts.ok_or("how many axes it cuts is not known")? as i64).collect(),
        };
        let axes = axes.into_iter().map(|axis| normal_axis(axis, rank)).collect::<Result<Vec<usize>, _>>()?;
        let (x, order, places) = self.along(&axes)?;
        let special: Vec<(usize, usize)> = axes.iter().copied().zip(places.iter().copied()).collect();
        let result = self.resized(0, &order, &special)?;
        let mut operands: Vec<Given> = [x].into_iter().chain(self.others()).collect();
        operands.resize(operands.len().max(4), Given::Nothing);
        let stays = self.operand(3).is_none() && places.iter().enumerate().all(|(at, place)| at == *place);
        if !stays {
            operands[3] = Given::Integers(places.iter().map(|place| *place as i64).collect());
        }
        Ok(Plan { op: self.node.op().clone(), operands, results: vec![result] })
    }

    pub(super) fn pad(&self) -> Result<Plan, Reason> {
        let Op::Pad(Pad { mode }) = self.node.op() else { return Err("it pads nothing".into()) };
        let rank = self.view(0)?.seen.len();
        let axes = match self.operand(3) {
            Some(_) => self.integers(3).ok_or("its axes are not known")?,
            None => (0..rank as i64).collect(),
        };
        let pads =
            self.integers(1).filter(|pads| pads.len() == 2 * axes.len()).ok_or("its pads are not known")?;
        let mut padded = Vec::new();
        for (at, axis) in axes.iter().enumerate() {
            let pair = (pads[at], pads[axes.len() + at]);
            if pair != (0, 0) {
                padded.push((normal_axis(*axis, rank)?, pair));
            }
        }
        let special: Vec<usize> = padded.iter().map(|(axis, _)| *axis).collect();
        let (x, order, places) = self.along(&special)?;
        let special: Vec<(usize, usize)> = special.into_iter().zip(places.iter().copied()).collect();
        let result = self.resized(0, &order, &special)?;
        let mut all = vec![0; 2 * order.len()];
        for (place, (_, (before, after))) in places.iter().zip(&padded) {
            (all[*place], all[order.len() + place]) = (*before, *after);
        }
        let value = if self.operand(2).is_some() { Given::AsSeen } else { Given::Nothing };
        let operands = vec![x, Given::Integers(all), value];
        Ok(Plan { op: Pad { mode: *mode }.into(), operands, results: vec![result] })
    }

    pub(super) fn resize(&self, resize: &Resize) -> Result<Plan, Reason> {
        let (x, y) = (self.view(0)?, self.result_shape());
        let rank = x.seen.len();
        let plain = resize.keep_aspect_ratio_policy == AspectRatioPolicy::Stretch
            && resize.coordinate_transformation_mode != Coordinates::TfCropAndResize;
        let axes: Vec<i64> =
            if resize.axes.is_empty() { (0..rank as i64).collect() } else { resize.axes.clone() };
        let axes = axes.into_iter().map(|axis| normal_axis(axis, rank)).collect::<Result<Vec<usize>, _>>()?;
        let from = &self.operand(0).ok_or("an operand is missing")?.ty().shape;
        let scales = self.operand(2).and_then(|scales| scales.constant()?.to_f64().ok());
        let scales = scales.filter(|scales| plain && scales.len() == axes.len());
        let scales = scales.ok_or("only plain scales of known values are moved")?;
        let scaled = axes.iter().zip(&scales).filter(|(_, scale)| **scale != 1.0);
        let special: Vec<usize> = scaled.clone().map(|(axis, _)| *axis).collect();
        if axes.iter().any(|axis| !special.contains(axis) && from[*axis] != y[*axis]) {
            return Err("it changes an axis that it does not scale".into());
        }
        let (x, order, places) = self.along(&special)?;
        let mut all = vec![1.0; order.len()];
        for (place, (_, scale)) in places.iter().zip(scaled) {
            all[*place] = *scale as f32;
        }
        let special: Vec<(usize, usize)> = special.into_iter().zip(places).collect();
        let result = self.resized(0, &order, &special)?;
        let operands = vec![x, Given::Nothing, Given::Numbers(all)];
        let op = Resize { axes: Vec::new(), ..resize.clone() };
        Ok(Plan { op: op.into(), operands, results: vec![result] })
    }

    /// Normalized axes must stay last, in their order; scale and bias have no others.
    pub(super) fn layer_norm(&self, given: i64) -> Result<Plan, Reason> {
        let x = self.view(0)?;
        let rank = x.seen.len();
        let first = normal_axis(given, rank)?;
        if self.views.iter().skip(1).flatten().any(|view| view.seen.len() > rank - first) {
            return Err("its scale has axes that are not normalized".into());
        }
        let order = self.normalized_last(first)?;
        let given = Given::Stored(x.clone(), x.axes(&order));
        let operands = [given].into_iter().chain(self.others()).collect();
        let statistic = |part: Part| if part.axis < first { x.part_size(part) } else { Dim::Known(1) };
        let results = (0..self.node.results().len()).map(|index| match index {
            0 => View::of(&order, rank, |part| x.part_size(part)),
            _ => View::of(&order, rank, statistic),
        });
        let results = results.collect();
        let op = with_axis(self.node.op(), &order, order.len() - (rank - first))?;
        Ok(Plan { op, operands, results })
    }

    /// The order in which the axes of `x` from `first` on are axes of their own, and last.
    fn normalized_last(&self, first: usize) -> Result<Order, Reason> {
        let x = self.view(0)?;
        let special: Vec<usize> = (first..x.seen.len()).collect();
        let are_last = |order: &Order| {
            let behind = order.len().checked_sub(special.len());
            let place = |axis: usize| whole(order, axis, x.seen[axis].len());
            behind.is_some_and(|behind| {
                special.iter().enumerate().all(|(at, axis)| place(*axis) == Some(behind + at))
            })
        };
        let (order, _) = self.isolated(x, &special)?;
        if are_last(&order) {
            return Ok(order);
        }
        // What is before the normalized axes stays in its order.
        let (front, back): (Vec<Part>, Vec<Part>) = order.concat().iter().partition(|part| part.axis < first);
        let order = cut_where(&vec![front, back], |part| part.axis);
        let key = |axis: &[Part]| axis.iter().all(|part| part.axis < first).then_some(());
        let order = fitted(order, self.settings.max_rank, key).filter(are_last);
        order.ok_or_else(|| "its normalized axes cannot be last".into())
    }

    /// Reduced axes may be merged with each other, and the others too.
    pub(super) fn reduce(&self) -> Result<Plan, Reason> {
        let x = self.view(0)?;
        let rank = x.seen.len();
        let axes = self.integers(1).filter(|axes| !axes.is_empty()).ok_or("its axes are not known")?;
        let axes = axes.into_iter().map(|axis| normal_axis(axis, rank)).collect::<Result<Vec<usize>, _>>()?;
        let reduced = |part: Part| axes.contains(&part.axis);
        let order = cut_where(&x.stored_order(), reduced);
        let key = |axis: &[Part]| axis.first().map(|part| reduced(*part));
        let order =
            fitted(order, self.settings.max_rank, key).ok_or("it needs more axes than a value may have")?;
        let goes = |axis: &Vec<Part>| axis.iter().any(|part| reduced(*part));
        let places: Vec<i64> = (0..).zip(&order).filter(|(_, axis)| goes(axis)).map(|(at, _)| at).collect();
        if places.is_empty() {
            return Err("it reduces axes of size 1".into());
        }
        let operands = vec![Given::Stored(x.clone(), x.axes(&order)), Given::Integers(places)];
        let keeps = self.result_shape().rank() == rank;
        let size = |part: Part| if reduced(part) { Dim::Known(1) } else { x.part_size(part) };
        let left: Order = if keeps { order } else { order.into_iter().filter(|axis| !goes(axis)).collect() };
        let mut result = View::of(&left, rank, size);
        if !keeps {
            let seen = (0..rank).filter(|axis| !axes.contains(axis));
            result.seen = seen.map(|axis| result.seen[axis].clone()).collect();
        }
        Ok(Plan { op: self.node.op().clone(), operands, results: vec![result] })
    }
}

/// The number of the axis at `at` as an attribute says it: `given` where that means the same.
fn renumbered(given: i64, order: &Order, at: usize) -> i64 {
    let rank = order.len();
    let from_end = at as i64 - rank as i64;
    if given == from_end || given == at as i64 {
        given
    } else if given < 0 {
        from_end
    } else {
        at as i64
    }
}

/// The normalization `op` of the axes of `order` from `first` on.
fn with_axis(op: &Op, order: &Order, first: usize) -> Result<Op, Reason> {
    Ok(match op {
        Op::LayerNorm(norm) => LayerNorm { axis: renumbered(norm.axis, order, first), ..norm.clone() }.into(),
        Op::RmsNorm(norm) => RmsNorm { axis: renumbered(norm.axis, order, first), ..norm.clone() }.into(),
        _ => return Err("it normalizes nothing".into()),
    })
}
