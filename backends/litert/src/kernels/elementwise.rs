//! Sums, differences and products of two operands, and what is cut off at 0.

use quad_ir::dtype::DType;
use quad_ir::graph::{NodeRef, ValueRef};
use quad_ir::tensor::Tensor;

use super::fixed_point::Multiplier;
use super::{Computed, Stored, centered, result};

/// `a + sign * b`. Both are brought to one scale, twice the larger, with room for the fraction.
pub(super) fn sum(node: NodeRef<'_>, operands: &[Option<Tensor>], sign: i32) -> Computed {
    let [left, right, output] = encodings(node)?;
    let room = if left.dtype == DType::I16 { 15 } else { 20 };
    let twice = f64::from(2.0 * left.scale.max(right.scale));
    let of_left = Multiplier::of(f64::from(left.scale) / twice);
    let of_right = Multiplier::of(f64::from(right.scale) / twice);
    let of_right = if sign < 0 { of_right.negated() } else { of_right };
    let of_sum = Multiplier::of(twice / (f64::from(1 << room) * f64::from(output.scale)));
    pairs(node, operands, left, right, |a, b| {
        let sum = of_left.times((a << room) as i32) + of_right.times((b << room) as i32);
        output.saturated(of_sum.times(sum))
    })
}

/// `a * b`.
pub(super) fn product(node: NodeRef<'_>, operands: &[Option<Tensor>]) -> Computed {
    let [left, right, output] = encodings(node)?;
    let multiplier = factor_of_product(left, right, output);
    pairs(node, operands, left, right, |a, b| output.saturated(multiplier.times((a * b) as i32)))
}

/// What steps of a product are in steps of `output`: a ratio that the kernel forms in single precision.
pub(super) fn factor_of_product(left: Stored, right: Stored, output: Stored) -> Multiplier {
    Multiplier::of(f64::from(left.scale * right.scale / output.scale))
}

/// `max(x, 0)`, in another encoding.
pub(super) fn relu(node: NodeRef<'_>, operands: &[Option<Tensor>]) -> Computed {
    let (input, output) = (Stored::of(node.operand("x")?)?, Stored::of(node.result())?);
    let multiplier = Multiplier::of(f64::from(input.scale / output.scale));
    let above = |x: &i64| output.saturated(multiplier.times(*x as i32)).max(i64::from(output.zero_point));
    result(node, centered(operands, 0, input)?.iter().map(above).collect())
}

/// How both operands and the result are stored, which is in one width.
fn encodings(node: NodeRef<'_>) -> Option<[Stored; 3]> {
    let (left, right) = (Stored::of(node.operand("a")?)?, Stored::of(node.operand("b")?)?);
    let output = Stored::of(node.result())?;
    (left.dtype == right.dtype && left.dtype == output.dtype).then_some([left, right, output])
}

/// `combine` of each pair of elements of two operands that are broadcast together.
fn pairs(
    node: NodeRef<'_>,
    operands: &[Option<Tensor>],
    left: Stored,
    right: Stored,
    combine: impl Fn(i64, i64) -> i64,
) -> Computed {
    let (a, b) = (centered(operands, 0, left)?, centered(operands, 1, right)?);
    let known = |value: ValueRef<'_>| -> Option<Vec<usize>> {
        Some(value.ty().shape.as_known()?.iter().map(|size| *size as usize).collect())
    };
    let sizes = known(node.result())?;
    let (a_sizes, b_sizes) = (known(node.operand("a")?)?, known(node.operand("b")?)?);
    let combined = (0..sizes.iter().product()).map(|index| {
        let place = |own: &[usize]| broadcast_place(own, &sizes, index);
        Some(combine(*a.get(place(&a_sizes))?, *b.get(place(&b_sizes))?))
    });
    result(node, combined.collect::<Option<Vec<i64>>>()?)
}

/// Where the element at `index` of a tensor of `sizes` comes from, in one of sizes `own` that is stretched to it.
fn broadcast_place(own: &[usize], sizes: &[usize], index: usize) -> usize {
    let (mut rest, mut place, mut step) = (index, 0, 1);
    for axis in (0..sizes.len()).rev() {
        let at = rest % sizes[axis];
        rest /= sizes[axis];
        let size = (axis + own.len()).checked_sub(sizes.len()).map_or(1, |axis| own[axis]);
        place += if size == 1 { 0 } else { at * step };
        step *= size;
    }
    place
}
