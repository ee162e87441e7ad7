//! Softmax: exponentials in 16 lanes, and one product with the reciprocal of their sum.

use quad_ir::ops::layout::{AxisOrder, transposed};
use quad_ir::tensor::Tensor;

use crate::Computed;
use crate::function::exponential_of_difference;
use crate::sum::of_neighbors;

/// Of each line of `x` along `axis`.
pub(crate) fn softmax(axis: i64, x: &Tensor) -> Computed {
    let last = x.rank().checked_sub(1)?;
    let axis = usize::try_from(if axis < 0 { axis + x.rank() as i64 } else { axis }).ok()?;
    if axis != last {
        // The runtime brings the axis to the end as well.
        let mut order: AxisOrder = (0..=last).collect();
        order.swap(axis, last);
        let back = |result: Tensor| Ok(transposed(&result, &order)?);
        return match transposed(x, &order) {
            Ok(swapped) => softmax(-1, &swapped).map(|result| result.and_then(back)),
            Err(error) => Some(Err(error.into())),
        };
    }
    let elements = x.to_f32().ok()?;
    let rows = elements.chunks(*x.sizes().last()?).flat_map(of_row);
    Some(Tensor::from_vec(x.sizes(), rows.collect()).map_err(Into::into))
}

fn of_row(row: &[f32]) -> Vec<f32> {
    let largest = row.iter().copied().fold(f32::MIN, f32::max);
    let mut exponentials: Vec<f32> = row.iter().map(|x| exponential_of_difference(x - largest)).collect();
    let mut lanes = [0.0f32; 16];
    for group in exponentials.chunks(16) {
        for (lane, exponential) in lanes.iter_mut().zip(group) {
            *lane += exponential;
        }
    }
    let factor = 1.0 / of_neighbors(std::array::from_fn(|lane| lanes[lane] + lanes[lane + 8]));
    for exponential in &mut exponentials {
        *exponential *= factor;
    }
    exponentials
}
