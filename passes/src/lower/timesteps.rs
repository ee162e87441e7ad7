//! Looks sines and cosines of whole timesteps up in a table.
//!
//! A timestep times frequencies is an angle of up to 1000, of which 16-bit floats lose up to a quarter of a radian, and with it
//! all meaning of the higher frequencies: what a processor for neural networks computes in 16 bits is wrong there, whichever way
//! it computes a sine. Here nothing is computed but `relu(min(1 + d, 1 - d))` with `d = t - k` for every `k` from 0 to `steps - 1`,
//! which is 1 at the timestep, 0 elsewhere, and exact in 16 bits up to 2048 steps; a product with the table of all sines picks a
//! row. Products, sums, `min` and `relu` are all it needs, so targets without sines or lookups take it.
//!
//! **Timesteps must be whole numbers from 0 to `steps - 1`.** Between two whole ones the result lies on the line between theirs,
//! which is another number than the sine; below 0 and from `steps` on it fades to 0.
//!
//! An argument is taken for a timestep where it is an input, cast or reshaped at most, times a constant along the last axis.
//!
//! Before `tabulate-timesteps{steps=4}`:
//! ```quad
//! graph @main(%t: i64[1]) {
//!   %w = weight [1.0, 0.5] : f32[1, 2]
//!   %x = cast(%t) : f32[1]
//!   %angle = mul(%x, %w) : f32[1, 2]
//!   %y = sin(%angle) : f32[1, 2]
//!   return "y" = %y
//! }
//! ```
//! After:
//! ```quad
//! graph @main(%t: i64[1]) {
//!   %x = cast(%t) : f32[1]
//!   %0 = weight [1, 1] : i64[2]
//!   %1 = reshape(%x, %0) : f32[1, 1]
//!   %2 = weight [0.0, 1.0, 2.0, 3.0] : f32[1, 4]
//!   %3 = sub(%1, %2) : f32[1, 4]
//!   %4 = weight 1.0 : f32[]
//!   %5 = add(%3, %4) : f32[1, 4]
//!   %6 = sub(%4, %3) : f32[1, 4]
//!   %7 = min(%5, %6) : f32[1, 4]
//!   %8 = relu(%7) : f32[1, 4]
//!   %9 = weight [0.0, 1.0, 2.0, 3.0] : f32[4, 1]
//!   %10 = weight [0.0, 0.0, 1.0, 0.5, 2.0, 1.0, 3.0, 1.5] : f32[4, 2]
//!   %11 = weight [0.0, 0.0, 0.84147096, 0.47942555, 0.9092974, 0.84147096, 0.14112, 0.997495] : f32[4, 2]
//!   %12 = matmul(%8, %11) : f32[1, 2]
//!   %13 = weight [1, 2] : i64[2]
//!   %y = reshape(%12, %13) : f32[1, 2]
//!   return "y" = %y
//! }
//! ```

use quad_ir::attr::{AttrError, AttrVisitor};
use quad_ir::dtype::DType;
use quad_ir::graph::{Graph, NodeRef, Patch, ValueId, ValueRef};
use quad_ir::ops::source::Binding;
use quad_ir::ops::{Add, Input, MatMul, Min, Mul, OpKind, Relu, Sub};
use quad_ir::tensor::Tensor;
use quad_ir::weights::WeightError;

use crate::context::Context;
use crate::emit::Emit;
use crate::pass::{Pass, PassError, PassInfo};
use crate::pattern::{both_ways, is_constant, sizes};
use crate::rule::{Rule, Skip, apply_rules, because};

/// See the [module](self).
#[derive(Clone, Debug)]
pub struct TabulateTimesteps {
    /// How many whole timesteps there are.
    pub steps: u64,
}

impl Default for TabulateTimesteps {
    fn default() -> Self {
        Self { steps: 1000 }
    }
}

const INFO: PassInfo = PassInfo { name: "tabulate-timesteps", source: include_str!("timesteps.rs") };

/// The most steps: a longer table would be larger than the model around it.
const MOST: u64 = 1 << 20;

impl Pass for TabulateTimesteps {
    fn info(&self) -> &'static PassInfo {
        &INFO
    }

    fn options(&mut self, visitor: &mut dyn AttrVisitor) -> Result<(), AttrError> {
        visitor.attr("steps", &mut self.steps)
    }

    fn run(&self, graph: &mut Graph, cx: &mut Context) -> Result<(), PassError> {
        if !(1..=MOST).contains(&self.steps) {
            let found = format!("`tabulate-timesteps` found {} steps, expected 1 to {MOST}", self.steps);
            return Err(PassError::Refused(found));
        }
        apply_rules(graph, &[&SineOfTimestep { steps: self.steps }], cx)
    }
}

#[derive(Debug)]
struct SineOfTimestep {
    steps: u64,
}

impl Rule for SineOfTimestep {
    fn name(&self) -> &'static str {
        "sine-of-timestep"
    }

    fn roots(&self) -> &'static [OpKind] {
        &[OpKind::Sin, OpKind::Cos]
    }

    fn rewrite(&self, root: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
        let angle = root.operand("x").filter(|x| x.ty().dtype == DType::F32).ok_or(Skip::NoMatch)?;
        let product = angle.producer();
        let factors = both_ways(product).find(|(_, frequencies)| is_constant(*frequencies));
        let (timestep, frequencies) = factors
            .filter(|_| product.is::<Mul>().is_some())
            .ok_or_else(|| because(product, "its argument is no product with a constant"))?;
        if !is_timestep(timestep) {
            return Err(because(timestep.producer(), "what is multiplied is computed, and no timestep"));
        }
        let along_last = |value: ValueRef<'_>| {
            let sizes = sizes(value)?;
            let (last, others) = sizes.split_last()?;
            others.iter().all(|size| *size == 1).then_some(*last)
        };
        let count = along_last(frequencies)
            .ok_or_else(|| because(product, "its frequencies are not along the last axis"))?;
        // One axis is the last, on which frequencies are, unless there is one timestep.
        let steps =
            sizes(timestep).ok_or_else(|| because(product, "the number of timesteps is not known"))?;
        let number: u64 = steps.iter().product();
        if number != 1 && steps.last() != Some(&1) {
            return Err(because(product, "its timesteps are not along the axes before the last"));
        }
        let picks = self.picks(timestep.id(), number, patch)?;
        let table = self.table(root, frequencies.id(), count, patch)?;
        let rows = patch.add_value(MatMul, &[picks, table])?;
        let new = patch.reshape_as(rows, root.result().ty())?;
        Ok(patch.replace(root.result().id(), new)?)
    }
}

/// Whether `value` is an input, cast or reshaped at most.
fn is_timestep(mut value: ValueRef<'_>) -> bool {
    loop {
        let node = value.producer();
        if let Some(input) = node.is::<Input>() {
            return input.binding == Binding::Run;
        }
        let keeps = [OpKind::Cast, OpKind::Reshape, OpKind::Unsqueeze, OpKind::Squeeze, OpKind::Flatten];
        let operand = node.operands().next().flatten();
        match operand.filter(|_| keeps.contains(&node.op().kind())) {
            Some(operand) => value = operand,
            None => return false,
        }
    }
}

impl SineOfTimestep {
    /// The whole numbers of all steps, with `sizes`.
    fn whole(&self, sizes: [usize; 2], patch: &mut Patch<'_>) -> Result<ValueId, Skip> {
        let numbers: Vec<f32> = (0..self.steps).map(|step| step as f32).collect();
        let tensor = Tensor::from_f32(DType::F32, &sizes, &numbers).map_err(WeightError::from)?;
        Ok(patch.add_constant(&tensor)?)
    }

    /// For each of the `number` timesteps, 1 at its step and 0 elsewhere: `[number, steps]`.
    fn picks(&self, timestep: ValueId, number: u64, patch: &mut Patch<'_>) -> Result<ValueId, Skip> {
        let column = patch.reshape(timestep, &[number.cast_signed(), 1])?;
        let whole = self.whole([1, self.steps as usize], patch)?;
        let distance = patch.add_value(Sub, &[column, whole])?;
        let one = patch.scalar(DType::F32, 1.0)?;
        // Not a magnitude, which some targets lack.
        let below = patch.add_value(Add, &[distance, one])?;
        let above = patch.add_value(Sub, &[one, distance])?;
        let near = patch.add_value(Min, &[below, above])?;
        Ok(patch.add_value(Relu, &[near])?)
    }

    /// What `root` makes of each step times each of `count` frequencies: `[steps, count]`.
    fn table(
        &self,
        root: NodeRef<'_>,
        frequencies: ValueId,
        count: u64,
        patch: &mut Patch<'_>,
    ) -> Result<ValueId, Skip> {
        let whole = self.whole([self.steps as usize, 1], patch)?;
        let frequencies = patch.sized(frequencies, &[1, count])?;
        let angles = patch.derived(Mul, &[whole, frequencies])?;
        Ok(patch.derived(root.op().clone(), &[angles])?)
    }
}
