//! A graph that grows, with the values that steps may go on from and the range of each.

use quad_ir::dtype::DType;
use quad_ir::graph::{AddError, Graph, ValueId};
use quad_ir::loc::Loc;
use quad_ir::ops::source::Binding;
use quad_ir::ops::{Clip, Mul, Op, Reshape, Sigmoid, Softsign, Tanh, Transpose};
use quad_ir::tensor::Tensor;
use quad_ir::types::{Dim, Shape, TensorType};
use quad_ir::weights::WeightError;
use quad_passes::check::Draw;

use super::Step;

/// The range that drawn inputs are in.
pub(super) const INPUT: Range = Range { low: -3.5, high: 3.5 };

/// Magnitudes that may be gone on from.
const TAME: f64 = 32.0;

/// Elements of a value that may be gone on from, along all axes but the first.
const MAX_ELEMENTS: u64 = 512;

/// Values that are likely to be gone on from.
const RECENT: u64 = 6;

/// What all elements of a value lie between.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Range {
    pub(super) low: f64,
    pub(super) high: f64,
}

impl Range {
    /// From `-magnitude` to `magnitude`.
    pub(super) fn around_zero(magnitude: f64) -> Self {
        Self { low: -magnitude, high: magnitude }
    }

    pub(super) fn magnitude(self) -> f64 {
        self.low.abs().max(self.high.abs())
    }

    /// The range of what `function`, which rises or falls throughout, makes of it.
    pub(super) fn map(self, function: impl Fn(f64) -> f64) -> Self {
        let (a, b) = (function(self.low), function(self.high));
        Self { low: a.min(b), high: a.max(b) }
    }

    /// The smallest range that holds both.
    pub(super) fn or(self, other: Self) -> Self {
        Self { low: self.low.min(other.low), high: self.high.max(other.high) }
    }

    /// The range of sums.
    pub(super) fn plus(self, other: Self) -> Self {
        Self { low: self.low + other.low, high: self.high + other.high }
    }

    /// The range of products.
    pub(super) fn times(self, other: Self) -> Self {
        let ends =
            [self.low * other.low, self.low * other.high, self.high * other.low, self.high * other.high];
        let start = Self { low: ends[0], high: ends[0] };
        ends.iter().fold(start, |range, end| range.or(Self { low: *end, high: *end }))
    }
}

/// A value and the range of its elements.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grown {
    pub(super) id: ValueId,
    pub(super) range: Range,
}

/// A graph that grows. All values to go on from are `f32`, and all their sizes but the first are numbers.
pub(super) struct Grower {
    pub(super) graph: Graph,
    draw: Draw,
    /// What steps may go on from, oldest first.
    pub(super) values: Vec<Grown>,
    /// The first size of inputs.
    batch: Dim,
}

impl Grower {
    /// A graph of one input. `seed` decides all that happens to it.
    pub(super) fn new(seed: u64) -> Self {
        let mut graph = Graph::new("main");
        let mut draw = Draw::new(seed);
        let batch = match draw.below(3) {
            0 => Dim::Sym(graph.symbols_mut().named("batch")),
            1 => Dim::Known(1),
            _ => Dim::Known(2),
        };
        Self { graph, draw, values: Vec::new(), batch }
    }

    pub(super) fn n_nodes(&self) -> usize {
        self.graph.nodes().count()
    }

    // Choices.

    /// A number below `limit`.
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.draw.below(limit)
    }

    /// True once in `n` times.
    pub(super) fn once_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// One of `items`.
    pub(super) fn pick<T: Clone>(&mut self, items: &[T]) -> T {
        items[self.below(items.len() as u64) as usize].clone()
    }

    /// One of `steps`, as often as their weights say.
    pub(super) fn weighted(&mut self, steps: &[(u64, Step)]) -> Step {
        let mut at = self.below(steps.iter().map(|(weight, _)| weight).sum());
        for (weight, step) in steps {
            match at.checked_sub(*weight) {
                Some(rest) => at = rest,
                None => return *step,
            }
        }
        steps[0].1
    }

    // Values that are there.

    /// Any value to go on from; most often a recent one.
    pub(super) fn value(&mut self) -> Result<Grown, AddError> {
        if self.values.is_empty() || self.once_in(24) {
            return if self.once_in(2) { self.new_tokens() } else { self.new_image() };
        }
        let count = self.values.len() as u64;
        let back = if self.once_in(4) { self.below(count) } else { self.below(count.min(RECENT)) };
        Ok(self.values[(count - 1 - back) as usize])
    }

    /// A value `[batch, length, channels]`.
    pub(super) fn tokens(&mut self) -> Result<Grown, AddError> {
        let x = self.value()?;
        match self.tail(x.id).as_slice() {
            [_, _] => Ok(x),
            [channels, height, width] => {
                let flat = self.reshape(x.id, &[0, *channels as i64, (height * width) as i64])?;
                let id = self.transpose(flat, &[0, 2, 1])?;
                Ok(Grown { id, ..x })
            }
            _ => self.new_tokens(),
        }
    }

    /// A value `[batch, channels, height, width]`.
    pub(super) fn image(&mut self) -> Result<Grown, AddError> {
        let x = self.value()?;
        match self.tail(x.id).as_slice() {
            [_, _, _] => Ok(x),
            [length, channels] if length.is_multiple_of(2) => {
                let turned = self.transpose(x.id, &[0, 2, 1])?;
                let id = self.reshape(turned, &[0, *channels as i64, 2, (length / 2) as i64])?;
                Ok(Grown { id, ..x })
            }
            _ => self.new_image(),
        }
    }

    /// The sizes of `value` but the first, which are numbers for all values that are gone on from.
    pub(super) fn tail(&self, value: ValueId) -> Vec<u64> {
        let shape = &self.graph.value(value).ty().shape;
        shape.iter().skip(1).map(|dim| dim.known().unwrap_or(1)).collect()
    }

    /// The sizes of `value`, when all are numbers.
    pub(super) fn sizes(&self, value: ValueId) -> Option<Vec<u64>> {
        self.graph.value(value).ty().shape.as_known().map(|sizes| sizes.to_vec())
    }

    pub(super) fn rank(&self, value: ValueId) -> usize {
        self.graph.value(value).ty().rank()
    }

    // New values.

    /// An input `[batch, tail..]`.
    pub(super) fn input(&mut self, name: &str, tail: &[u64]) -> Result<Grown, AddError> {
        let sizes = std::iter::once(self.batch.clone()).chain(tail.iter().map(|size| Dim::Known(*size)));
        let ty = TensorType::new(DType::F32, sizes.collect::<Shape>());
        let id = self.graph.add_input(name, ty, Binding::Run, Loc::Built)?;
        Ok(Grown { id, range: INPUT })
    }

    /// An input that an adapter gives.
    pub(super) fn adapter(&mut self, name: &str, sizes: &[u64]) -> Result<Grown, AddError> {
        let ty = TensorType::known(DType::F32, sizes);
        let id = self.graph.add_input(name, ty, Binding::Adapter, Loc::Built)?;
        Ok(Grown { id, range: INPUT })
    }

    fn new_tokens(&mut self) -> Result<Grown, AddError> {
        let tail = [self.pick(&[2, 3, 4, 6]), self.pick(&[4, 6, 8, 12])];
        let input = self.input("tokens", &tail)?;
        self.values.push(input);
        Ok(input)
    }

    fn new_image(&mut self) -> Result<Grown, AddError> {
        let tail = [self.pick(&[2, 3, 4, 8]), self.pick(&[2, 4, 5]), self.pick(&[2, 4, 6])];
        let input = self.input("image", &tail)?;
        self.values.push(input);
        Ok(input)
    }

    /// A constant of random elements, sixteenths of `magnitude` and never 0: zeros hide what goes wrong with places.
    pub(super) fn constant(&mut self, sizes: &[u64], magnitude: f64) -> Result<Grown, AddError> {
        let count: u64 = sizes.iter().product();
        let element = |draw: &mut Draw| {
            let step = 1.0 + draw.below(16) as f64;
            step / 16.0 * if draw.below(2) == 0 { magnitude } else { -magnitude }
        };
        let elements: Vec<f32> = (0..count).map(|_| element(&mut self.draw) as f32).collect();
        Ok(Grown { id: self.floats(sizes, &elements)?, range: Range::around_zero(magnitude) })
    }

    /// A constant of random elements from half of `value` to `value`, which is positive.
    pub(super) fn positive(&mut self, sizes: &[u64], value: f64) -> Result<Grown, AddError> {
        let count: u64 = sizes.iter().product();
        let elements: Vec<f32> =
            (0..count).map(|_| ((9 + self.draw.below(8)) as f64 / 16.0 * value) as f32).collect();
        Ok(Grown { id: self.floats(sizes, &elements)?, range: Range { low: value / 2.0, high: value } })
    }

    /// A constant of these elements.
    pub(super) fn floats(&mut self, sizes: &[u64], elements: &[f32]) -> Result<ValueId, AddError> {
        let sizes: Vec<usize> = sizes.iter().map(|size| *size as usize).collect();
        let tensor = Tensor::from_vec(&sizes, elements.to_vec()).map_err(WeightError::from)?;
        self.graph.add_constant(&tensor, Loc::Built)
    }

    /// A constant without axes.
    pub(super) fn scalar(&mut self, value: f64) -> Result<ValueId, AddError> {
        self.floats(&[], &[value as f32])
    }

    /// A constant vector of integers.
    pub(super) fn integers(&mut self, elements: &[i64]) -> Result<ValueId, AddError> {
        let tensor = Tensor::from_vec(&[elements.len()], elements.to_vec()).map_err(WeightError::from)?;
        self.graph.add_constant(&tensor, Loc::Built)
    }

    // Nodes.

    /// The result of `op` on `operands`.
    pub(super) fn op(&mut self, op: impl Into<Op>, operands: &[ValueId]) -> Result<ValueId, AddError> {
        self.graph.add_value(op, operands, Loc::Built)
    }

    /// The results of `op` on `operands`, of which some may be left out.
    pub(super) fn results(
        &mut self,
        op: impl Into<Op>,
        operands: &[Option<ValueId>],
    ) -> Result<Vec<ValueId>, AddError> {
        let node = self.graph.add(op, operands, Loc::Built)?;
        Ok(self.graph.node(node).results().map(quad_ir::graph::ValueRef::id).collect())
    }

    /// `x` under other sizes: 0 keeps one, -1 is what is left.
    pub(super) fn reshape(&mut self, x: ValueId, sizes: &[i64]) -> Result<ValueId, AddError> {
        let shape = self.integers(sizes)?;
        self.op(Reshape::default(), &[x, shape])
    }

    pub(super) fn transpose(&mut self, x: ValueId, perm: &[i64]) -> Result<ValueId, AddError> {
        self.op(Transpose { perm: Some(perm.to_vec()) }, &[x])
    }

    /// Offers a value to be gone on from, brought back when its elements may be large. Values that would be too many
    /// elements, or of unknown sizes, are left as they are: perhaps outputs, and otherwise dead.
    pub(super) fn keep(&mut self, id: ValueId, range: Range) -> Result<(), AddError> {
        let shape = &self.graph.value(id).ty().shape;
        let fits = (2..=4).contains(&shape.rank())
            && shape.iter().skip(1).all(|dim| dim.known().is_some_and(|size| size > 0))
            && self.tail(id).iter().product::<u64>() <= MAX_ELEMENTS
            && shape[0].known().is_none_or(|size| size <= 64);
        if !fits {
            return Ok(());
        }
        let grown = if range.magnitude() > TAME { self.tamed(id, range)? } else { Grown { id, range } };
        self.values.push(grown);
        Ok(())
    }

    /// A value made of `x` whose elements are small again.
    fn tamed(&mut self, x: ValueId, range: Range) -> Result<Grown, AddError> {
        match self.below(5) {
            0 => Ok(Grown { id: self.op(Tanh, &[x])?, range: Range::around_zero(1.0) }),
            1 => Ok(Grown { id: self.op(Softsign, &[x])?, range: Range::around_zero(1.0) }),
            2 => Ok(Grown { id: self.op(Sigmoid, &[x])?, range: Range { low: 0.0, high: 1.0 } }),
            3 => self.clipped(Grown { id: x, range }, Range::around_zero(2.0)),
            _ => {
                let factor = (TAME / 4.0 / range.magnitude()).log2().floor().exp2();
                let scale = self.scalar(factor)?;
                Ok(Grown { id: self.op(Mul, &[x, scale])?, range: range.map(|end| end * factor) })
            }
        }
    }

    /// `x` held within `limits`, as it is where it lies within already.
    pub(super) fn clipped(&mut self, x: Grown, limits: Range) -> Result<Grown, AddError> {
        if x.range.low >= limits.low && x.range.high <= limits.high {
            return Ok(x);
        }
        let (low, high) = (self.scalar(limits.low)?, self.scalar(limits.high)?);
        let range = x.range.map(|end| end.clamp(limits.low, limits.high));
        Ok(Grown { id: self.op(Clip, &[x.id, low, high])?, range })
    }
}
