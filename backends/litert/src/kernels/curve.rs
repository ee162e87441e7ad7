//! Functions of one stored integer, which kernels look up: all values of 8 bits, samples and lines between them of 16.

use quad_ir::dtype::DType;
use quad_ir::graph::NodeRef;
use quad_ir::tensor::Tensor;

use super::{Computed, Stored, result};

/// `function` of the operand `x`, whose kernel fills a table with it.
pub(super) fn of_elements(
    node: NodeRef<'_>,
    operands: &[Option<Tensor>],
    function: fn(f32) -> f32,
) -> Computed {
    let (input, output) = (Stored::of(node.operand("x")?)?, Stored::of(node.result())?);
    let stored = operands.first()?.as_ref()?.to_i64().ok()?;
    let elements = match (input.dtype, output.dtype) {
        (DType::I8, DType::I8) => {
            let table = every_byte(input, output, function);
            stored.iter().map(|x| table[(x + 128) as usize]).collect()
        }
        (DType::I16, DType::I16) => {
            let curve = between(input, output, function);
            stored.iter().map(|x| curve.at(*x)).collect()
        }
        _ => return None,
    };
    result(node, elements)
}

/// What the 256 integers of 8 bits become, from the lowest on. Everything is computed in single precision.
pub(super) fn every_byte(input: Stored, output: Stored, function: fn(f32) -> f32) -> Vec<i64> {
    let steps_per_unit = 1.0 / output.scale;
    let real = |stored: i32| input.scale * (stored - input.zero_point) as f32;
    (-128..128)
        .map(|stored| output.saturated((function(real(stored)) * steps_per_unit).round() as i32))
        .collect()
}

/// `function` over all integers of 16 bits, computed in single precision.
fn between(input: Stored, output: Stored, function: fn(f32) -> f32) -> Curve {
    let ends = |stored: Stored| {
        [i16::MIN, i16::MAX].map(|end| stored.scale * (i32::from(end) - stored.zero_point) as f32)
    };
    let ([low, high], [lowest, highest]) = (ends(input), ends(output));
    let steps_per_unit = INTEGERS as f32 / (highest - lowest);
    let function = |x: f64| f64::from(function(x as f32));
    Curve::of([low.into(), high.into()], steps_per_unit.into(), |x| f64::from(x as f32), function)
}

/// Integers of 16 bits.
const INTEGERS: u32 = 1 << 16;
/// Pieces of a curve.
const PIECES: usize = 512;

/// A function over all integers of 16 bits: [`PIECES`] straight lines of 128 integers each.
pub(super) struct Curve(Vec<i64>);

impl Curve {
    /// `function` from `low` to `high`, in `steps_per_unit`. Samples are moved by half of what the line between them is off
    /// in the middle. Every step of the computation is `rounded`: a float of 64 bits has more than twice the bits of one of
    /// 32, so that rounding again gives what computing in 32 would.
    pub(super) fn of(
        [low, high]: [f64; 2],
        steps_per_unit: f64,
        rounded: fn(f64) -> f64,
        function: impl Fn(f64) -> f64,
    ) -> Self {
        let piece = rounded(rounded(high - low) / PIECES as f64);
        let start = |index: usize| rounded(low + rounded(index as f64 * piece));
        let steps = |x: f64| rounded(function(x) * steps_per_unit);
        let stored = |steps: f64| steps.clamp(-32768.0, 32767.0) as i64;
        let sample = |index: usize| {
            let at_start = steps(start(index)).round();
            let line = rounded(rounded(steps(start(index + 1)) + at_start) / 2.0).round();
            let middle = steps(rounded(start(index) + rounded(piece / 2.0))).round();
            stored(at_start - ((line - middle) / 2.0).round())
        };
        let mut samples: Vec<i64> = (0..PIECES).map(sample).collect();
        samples.push(stored(steps(high).round()));
        Self(samples)
    }

    /// The function at `x`, an integer of 16 bits.
    pub(super) fn at(&self, x: i64) -> i64 {
        let (piece, rest) = ((256 + (x >> 7)) as usize, x & 127);
        let (start, end) = (self.0[piece], self.0[piece + 1]);
        start + (((end - start) * rest + 64) >> 7)
    }
}

/// `x` times the integral of the normal distribution up to `x`.
pub(super) fn gelu(x: f32) -> f32 {
    0.5 * x * libm::erfc(f64::from(x * -std::f32::consts::FRAC_1_SQRT_2)) as f32
}

/// [`gelu`] by way of the hyperbolic tangent.
pub(super) fn gelu_near(x: f32) -> f32 {
    let root = (2.0 / std::f64::consts::PI).sqrt() as f32;
    0.5 * x * (1.0 + tanh(root * (x + 0.044_715 * x * x * x)))
}

/// `1 / (1 + exp(-x))`
pub(super) fn logistic(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

pub(super) fn tanh(x: f32) -> f32 {
    libm::tanh(f64::from(x)) as f32
}

pub(super) fn exp(x: f32) -> f32 {
    libm::exp(f64::from(x)) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_pass_near_their_function() {
        let curve = Curve::of([0.0, 1.0], 32768.0, |x| x, |x| x * x / 2.0);
        for x in (-32768..32768).step_by(97) {
            let real = f64::from(x + 32768) / 65535.0;
            let exact = real * real / 2.0 * 32768.0;
            assert!((curve.at(x.into()) as f64 - exact).abs() <= 1.5, "{x}");
        }
        // The last sample is not moved.
        assert_eq!(curve.0.last(), Some(&16384));
    }

    #[test]
    fn functions_have_their_limits() {
        assert_eq!((gelu(-30.0), gelu(30.0), gelu_near(30.0)), (0.0, 30.0, 30.0));
        assert_eq!((logistic(0.0), tanh(0.0), exp(0.0)), (0.5, 0.0, 1.0));
    }
}
