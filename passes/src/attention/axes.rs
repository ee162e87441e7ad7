//! Where the axes of a value come from, seen through whatever only rearranges elements.
//!
//! Exporters reshape and transpose heads in many orders. All of them say the same when an axis is seen as a list of
//! *factors*: a reshape joins the factors of neighboring axes, or divides an axis between its factors, and a transpose
//! moves lists of factors. Two values hold the same elements in the same order when their lists are equal.

use std::collections::VecDeque;

use quad_ir::graph::{NodeRef, ValueRef};
use quad_ir::ops::{Cast, Div, Flatten, Mul, Reshape, Squeeze, Transpose, Unsqueeze};
use quad_ir::types::{DimExpr, Shape};

use crate::pattern::{both_ways, made_by, permutation, uniform};

/// Steps back from a value beyond which its origin is not looked for.
const MAX_STEPS: usize = 32;

/// A part of an axis; the number is that of a size in [`Axes`].
type Factor = usize;

/// The axes of a value as factors of the axes of another one, from which the view was begun.
#[derive(Clone, Debug)]
pub(super) struct Axes {
    /// The size of each factor; none is 1.
    sizes: Vec<DimExpr>,
    /// What a factor was divided into, outer part first.
    parts: Vec<Option<[Factor; 2]>>,
    /// The factor that each axis was at first; none for axes of size 1.
    first: Vec<Option<Factor>>,
    /// The factors of each axis now, outermost first.
    now: Vec<Vec<Factor>>,
}

impl Axes {
    /// Each axis of `shape` as one factor.
    pub(super) fn of(shape: &Shape) -> Self {
        let mut axes = Self { sizes: Vec::new(), parts: Vec::new(), first: Vec::new(), now: Vec::new() };
        for dim in shape.iter() {
            let factor = (dim.known() != Some(1)).then(|| axes.add(dim.expr()));
            axes.first.push(factor);
            axes.now.push(factor.into_iter().collect());
        }
        axes
    }

    /// The factors of each axis, outermost first; none for an axis of size 1.
    pub(super) fn now(&self) -> &[Vec<Factor>] {
        &self.now
    }

    /// The factors that the axis `axis` of the first value has been divided into.
    pub(super) fn of_first(&self, axis: usize) -> Vec<Factor> {
        let mut factors = Vec::new();
        let mut waiting: Vec<Factor> = self.first[axis].into_iter().collect();
        while let Some(factor) = waiting.pop() {
            match self.parts[factor] {
                Some([outer, inner]) => waiting.extend([inner, outer]),
                None => factors.push(factor),
            }
        }
        factors
    }

    /// The product of the sizes of `factors`.
    pub(super) fn size(&self, factors: &[Factor]) -> Option<DimExpr> {
        factors.iter().try_fold(DimExpr::constant(1), |product, factor| product.mul(&self.sizes[*factor]))
    }

    /// Whether the axes are those of the first value in the order `order`.
    pub(super) fn are(&self, order: &[usize]) -> bool {
        self.now.len() == order.len()
            && self.now.iter().zip(order).all(|(now, first)| *now == self.of_first(*first))
    }

    /// Moves axes: axis `i` becomes what axis `order(i)` was.
    fn permute(&mut self, order: impl Iterator<Item = usize>) {
        self.now = order.map(|axis| self.now[axis].clone()).collect();
    }

    /// Joins and divides axes so that their sizes are those of `shape`; `None` where they do not come out even.
    fn regroup(&mut self, shape: &Shape) -> Option<()> {
        let mut left: VecDeque<Factor> = self.now.iter().flatten().copied().collect();
        let mut now = Vec::with_capacity(shape.rank());
        for dim in shape.iter() {
            now.push(self.take(dim.expr(), &mut left)?);
        }
        left.is_empty().then(|| self.now = now)
    }

    /// Takes factors of the product `size` from the front of `left`; the last one is divided where it is too large.
    fn take(&mut self, mut size: DimExpr, left: &mut VecDeque<Factor>) -> Option<Vec<Factor>> {
        let mut taken = Vec::new();
        while size.as_constant() != Some(1) {
            let factor = left.pop_front()?;
            if let Some(rest) = size.div_exact(&self.sizes[factor]) {
                taken.push(factor);
                size = rest;
            } else {
                let rest = self.sizes[factor].div_exact(&size)?;
                let (outer, inner) = (self.add(size), self.add(rest));
                self.parts[factor] = Some([outer, inner]);
                taken.push(outer);
                left.push_front(inner);
                break;
            }
        }
        Some(taken)
    }

    fn add(&mut self, size: DimExpr) -> Factor {
        self.sizes.push(size);
        self.parts.push(None);
        self.sizes.len() - 1
    }
}

/// A value that holds the elements of a later one, in an order of its own and before it is multiplied by a number.
#[derive(Clone, Debug)]
pub(super) struct Origin<'g> {
    /// The earlier value.
    pub(super) value: ValueRef<'g>,
    /// Its axes, as factors of those of the later value.
    pub(super) axes: Axes,
    /// The number by which its elements are multiplied to be those of the later value.
    pub(super) factor: f64,
}

/// `value` itself, what it is a rearrangement or a multiple of, and so on backward.
pub(super) fn origins(value: ValueRef<'_>) -> Vec<Origin<'_>> {
    let mut origins = vec![Origin { value, axes: Axes::of(&value.ty().shape), factor: 1.0 }];
    while let Some(earlier) = origins.last().and_then(step_back).filter(|_| origins.len() < MAX_STEPS) {
        origins.push(earlier);
    }
    origins
}

fn step_back<'g>(origin: &Origin<'g>) -> Option<Origin<'g>> {
    if let Some((value, factor)) = multiple_of(origin.value) {
        return Some(Origin { value, axes: origin.axes.clone(), factor: origin.factor * factor });
    }
    let node = origin.value.producer();
    let (x, kind) = rearranges(node)?;
    let mut axes = origin.axes.clone();
    match kind {
        Rearrangement::None => {}
        Rearrangement::Sizes => axes.regroup(&x.ty().shape)?,
        Rearrangement::Order(order) => {
            let place = |axis: usize| order.iter().position(|from| *from == axis).unwrap_or(axis);
            axes.permute((0..order.len()).map(place));
        }
    }
    Some(Origin { value: x, axes, factor: origin.factor })
}

/// The result of `node`, which rearranges a value with axes `axes`, and its own axes.
pub(super) fn step_forward<'g>(axes: &Axes, node: NodeRef<'g>) -> Option<(ValueRef<'g>, Axes)> {
    let (_, kind) = rearranges(node)?;
    let mut axes = axes.clone();
    match kind {
        Rearrangement::None => {}
        Rearrangement::Sizes => axes.regroup(&node.result().ty().shape)?,
        Rearrangement::Order(order) => axes.permute(order.into_iter()),
    }
    Some((node.result(), axes))
}

/// What happens to the elements of a value.
enum Rearrangement {
    /// Nothing.
    None,
    /// They get other sizes.
    Sizes,
    /// Axis `i` of the result is the axis of this number.
    Order(Vec<usize>),
}

/// The operand of `node` and what happens to its elements, when nothing else does.
fn rearranges(node: NodeRef<'_>) -> Option<(ValueRef<'_>, Rearrangement)> {
    let x = node.operands().next().flatten()?;
    if let Some(transpose) = node.is::<Transpose>() {
        return Some((x, Rearrangement::Order(permutation(transpose, x).to_vec())));
    }
    if node.is::<Cast>().is_some() {
        return (x.ty() == node.result().ty()).then_some((x, Rearrangement::None));
    }
    let reshapes = node.is::<Reshape>().is_some()
        || node.is::<Squeeze>().is_some()
        || node.is::<Unsqueeze>().is_some()
        || node.is::<Flatten>().is_some();
    reshapes.then_some((x, Rearrangement::Sizes))
}

/// The value that `value` is a multiple of, and the number it is multiplied by.
pub(super) fn multiple_of(value: ValueRef<'_>) -> Option<(ValueRef<'_>, f64)> {
    let (x, factor) = if let Some((mul, _)) = made_by::<Mul>(value) {
        both_ways(mul).find_map(|(x, number)| Some((x, uniform(number)?)))?
    } else {
        let (div, _) = made_by::<Div>(value)?;
        let number = uniform(div.operand("b")?)?;
        (div.operand("a")?, 1.0 / number)
    };
    let same = x.ty() == value.ty() && x.ty().dtype.is_float() && factor.is_finite() && factor != 0.0;
    same.then_some((x, factor))
}
