//! Sines and cosines as sums and products of single precision.
//!
//! The argument is brought into one turn, `r = x - n * 2 pi` with a whole `n`, and a polynomial of `r^2` does the rest. Single
//! precision would lose all that matters in `n * 2 pi`, so `2 pi` is cut into three parts, of which the first two have 8 bits:
//! their products with an `n` of up to 16 bits, and the differences, are exact. A whole number is what remains of a float that
//! is converted to an integer and back, which every target can do; that cuts off towards zero, so the rest of up to one turn is
//! cut a second time, doubled.

use std::f64::consts::PI;

use quad_ir::dtype::DType;
use quad_ir::graph::{AddError, NodeRef, Patch, ValueId};
use quad_ir::ops::{Add, Cast, OpKind, Sin};

use super::formula::{Formula, formula};
use super::replace;
use crate::rule::{FnRule, Skip, because};

pub(super) const SINE: FnRule =
    FnRule { name: "sine-to-polynomial", roots: &[OpKind::Sin, OpKind::Cos], rewrite: sine_to_polynomial };

/// `2 pi` in parts of 8 bits, 8 bits, and what is left.
const TURN: [f64; 3] = [6.28125, 253.0 / 131_072.0, 5.070_363_179_981_996e-6];

/// `sin(r) / r` in powers of `r^2`, from the lowest: interpolated between -1.01 and 1.01 times pi, at the zeros of a polynomial
/// of Chebyshev.
const SIN: [f64; 7] = [
    1.0,
    -0.166_666_657,
    0.008_333_319_8,
    -0.000_198_404_727,
    2.753_452_92e-6,
    -2.471_590_93e-8,
    1.356_619_12e-10,
];

/// `cos(r)` likewise.
const COS: [f64; 8] = [
    1.0,
    -0.5,
    0.041_666_664_2,
    -0.001_388_886_01,
    2.480_046_9e-5,
    -2.753_343_44e-7,
    2.059_280_52e-9,
    -9.689_270_22e-12,
];

/// A sine or cosine as a polynomial of the argument within one turn.
fn sine_to_polynomial(node: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
    let x = node.operand("x").ok_or(Skip::NoMatch)?;
    if x.ty().dtype != DType::F32 {
        let found = x.ty().dtype;
        return Err(because(node, format!("its argument is {found}, and the polynomial is one for f32")));
    }
    let (x, mut formula) = formula(node, patch)?;
    let rest = within_a_turn(x, &mut formula)?;
    let square = formula.product(rest, rest)?;
    let new = if node.is::<Sin>().is_some() {
        let quotient = polynomial(square, &SIN, &mut formula)?;
        formula.product(rest, quotient)?
    } else {
        polynomial(square, &COS, &mut formula)?
    };
    replace(node, new, patch)
}

/// `x` less as many whole turns as bring it closest to zero.
fn within_a_turn(x: ValueId, formula: &mut Formula<'_, '_>) -> Result<ValueId, AddError> {
    let turns = formula.times(x, 0.5 / PI)?;
    let whole = whole(turns, formula)?;
    let half_turns = formula.difference(turns, whole)?;
    let half_turns = formula.times(half_turns, 2.0)?;
    let nearer = self::whole(half_turns, formula)?;
    let count = formula.patch.add_value(Add, &[whole, nearer])?;
    TURN.iter().try_fold(x, |rest, part| {
        let part = formula.times(count, *part)?;
        formula.difference(rest, part)
    })
}

/// `x` without what is behind the point.
fn whole(x: ValueId, formula: &mut Formula<'_, '_>) -> Result<ValueId, AddError> {
    let integer = formula.patch.add_value(Cast { to: DType::I32, ..Cast::default() }, &[x])?;
    formula.patch.add_value(Cast { to: DType::F32, ..Cast::default() }, &[integer])
}

/// The polynomial of `x` with `coefficients`, from the lowest.
fn polynomial(x: ValueId, coefficients: &[f64], formula: &mut Formula<'_, '_>) -> Result<ValueId, AddError> {
    let [lower @ .., second, highest] = coefficients else { return Ok(x) };
    let mut sum = formula.times(x, *highest)?;
    sum = formula.plus(sum, *second)?;
    for coefficient in lower.iter().rev() {
        sum = formula.product(sum, x)?;
        sum = formula.plus(sum, *coefficient)?;
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use quad_ir::interpret::{Interpreter, NamedTensors};
    use quad_ir::tensor::Tensor;
    use quad_ir::text::{NoWeights, parse};

    use crate::context::Context;
    use crate::lower::decompose::Decompose;
    use crate::pass::Pass;

    /// How far `op` of `arguments` is off the sine or cosine in double precision after the pass, at most.
    fn off(op: &str, exact: fn(f64) -> f64, arguments: &[f32]) -> f64 {
        let count = arguments.len();
        let text = format!(
            "quad 1\n\ngraph @main(%x: f32[{count}]) {{\n  %y = {op}(%x) : f32[{count}]\n  return \"y\" = %y\n}}\n"
        );
        let mut module = parse(&text, &NoWeights).expect("a graph");
        let graph = &mut module.graphs[0];
        let pass = Decompose { sine: true, ..Decompose::default() };
        pass.run(graph, &mut Context::default()).expect("it runs");
        assert!(graph.nodes().all(|node| node.op().def().name() != op));
        let x = Tensor::from_f32(quad_ir::dtype::DType::F32, &[count], arguments).expect("a tensor");
        let found =
            Interpreter::new(graph).run(&NamedTensors::from([("x".to_owned(), x)])).expect("it computes");
        let found = found["y"].to_f64().expect("numbers");
        let errors = found.iter().zip(arguments).map(|(found, x)| (found - exact(f64::from(*x))).abs());
        errors.fold(0.0, |most, error| if error.is_nan() { f64::INFINITY } else { error.max(most) })
    }

    fn grid(largest: f32) -> Vec<f32> {
        (-100_000..=100_000).map(|step| largest * (step as f32 / 100_000.0)).collect()
    }

    #[test]
    fn it_is_off_by_less_than_the_manual_says() {
        for largest in [4.0, 1000.0, 262_144.0] {
            for (op, exact) in [("sin", f64::sin as fn(f64) -> f64), ("cos", f64::cos)] {
                let off = off(op, exact, &grid(largest));
                assert!(off < 6e-7, "{op} up to {largest}: {off:e}");
            }
        }
    }

    #[test]
    fn borders_of_turns_are_no_worse_than_what_is_between() {
        let borders = |step: i32| {
            let x = (f64::from(step) * std::f64::consts::FRAC_PI_2) as f32;
            [x.next_down(), x, x.next_up()]
        };
        let near: Vec<f32> = (-4000..=4000).flat_map(borders).collect();
        assert!(off("sin", f64::sin, &near) < 6e-7 && off("cos", f64::cos, &near) < 6e-7);
    }

    #[test]
    fn far_arguments_are_what_the_bound_is_for() {
        // Otherwise the bound would say nothing.
        assert!(off("sin", f64::sin, &grid(2e6)) > 1e-3);
    }
}
