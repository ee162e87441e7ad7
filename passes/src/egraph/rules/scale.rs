//! Scales: products with a single element or with a constant, moved through what is linear, so that they meet and merge,
//! with each other or with a constant weight.
//!
//! A scale is a single element, known or not, or a constant that is stretched over the other operand. It goes into one
//! operand of a product of matrices or of a convolution as a whole, into the rows or columns that it scales, or into the
//! channels. It goes out of a product only where elements have 32 bits or more: models of 16 bits scale an operand lest the
//! sums overflow. For the same reason it goes into operands of `f16` only where it is known to be moderate.

use egg::Id;
use quad_ir::dtype::DType;
use quad_ir::ops::layout::DataLayout;
use quad_ir::ops::{Conv, Gemm, MatMul, Mul, Op, OpKind, Reciprocal};
use quad_ir::types::TensorType;
use smallvec::SmallVec;

use super::algebra::{is_wide, uniform};
use super::reshape::{self, reshaped};
use super::transpose;
use crate::egraph::rule::{Roots, Rule, Site};
use crate::egraph::term::Term;

/// Those that merge a scale with its neighbours.
pub const MERGES: &[Rule] = &[
    Rule { name: "merge-scales", roots: Roots::Kinds(&[OpKind::Mul]), equal: merge },
    Rule { name: "divide-by-scale", roots: Roots::Kinds(&[OpKind::Div]), equal: divide },
];

/// Those that move a scale.
pub const MOVES: &[Rule] = &[
    Rule { name: "scale-into-matmul", roots: Roots::Kinds(&[OpKind::Mul]), equal: into_matmul },
    Rule { name: "scale-out-of-matmul", roots: Roots::Kinds(&[OpKind::MatMul]), equal: out_of_matmul },
    Rule { name: "scale-through-matmul", roots: Roots::Kinds(&[OpKind::MatMul]), equal: through_matmul },
    Rule { name: "scale-into-gemm", roots: Roots::Kinds(&[OpKind::Mul]), equal: into_gemm },
    Rule { name: "scale-into-conv", roots: Roots::Kinds(&[OpKind::Mul]), equal: into_conv },
    Rule { name: "scale-out-of-conv", roots: Roots::Kinds(&[OpKind::Conv]), equal: out_of_conv },
    Rule { name: "scale-through-conv", roots: Roots::Kinds(&[OpKind::Conv]), equal: through_conv },
    Rule { name: "scale-into-sum", roots: Roots::Kinds(&[OpKind::Mul]), equal: into_sum },
    Rule { name: "scale-out-of-reduction", roots: Roots::Kinds(SUMS), equal: out_of_reduction },
    Rule {
        name: "scale-before-transpose",
        roots: Roots::Kinds(&[OpKind::Mul]),
        equal: transpose::sink_elementwise,
    },
    Rule { name: "scale-before-reshape", roots: Roots::Kinds(&[OpKind::Mul]), equal: reshape::sink },
    Rule { name: "scale-after-transpose", roots: Roots::Kinds(&[OpKind::Transpose]), equal: after_transpose },
    Rule { name: "scale-after-reshape", roots: Roots::Kinds(&[OpKind::Reshape]), equal: after_reshape },
];

/// Reductions that a scale may leave.
const SUMS: &[OpKind] = &[OpKind::ReduceSum, OpKind::ReduceMean];

/// How a scale is stretched over a value of several axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Along {
    /// It is a single element.
    All,
    /// It has an element for each place of this axis.
    Axis(usize),
}

/// The ways in which the product `site` is a scaled value: the value, and the scale.
fn scaled(site: &Site<'_, '_>) -> SmallVec<[(Id, Id); 2]> {
    let Some((a, b)) = site.operand(0).zip(site.operand(1)) else { return SmallVec::new() };
    let ways = [(a, b), (b, a)].into_iter();
    ways.filter(|(x, scale)| is_scale(site, *scale) && site.ty_of(*x) == Some(site.ty())).collect()
}

/// Whether `class` scales what it is multiplied by. Products with 1 are equal to themselves times 1, and so on.
fn is_scale(site: &Site<'_, '_>, class: Id) -> bool {
    (site.is_single(class) || site.is_constant(class)) && uniform(site, class) != Some(1.0)
}

/// The scaled values that `class` is equal to.
fn scalings(site: &Site<'_, '_>, class: Id) -> Vec<(Id, Id)> {
    let products = site.operations(class).filter(|inner| inner.is::<Mul>().is_some());
    products.flat_map(|inner| scaled(&inner)).collect()
}

/// How `scale` is stretched over a value of `rank` axes; `None` when it differs along several.
fn along(site: &Site<'_, '_>, scale: Id, rank: usize) -> Option<Along> {
    let sizes = site.sizes(scale)?;
    let missing = rank.checked_sub(sizes.len())?;
    let mut long = (0..sizes.len()).filter(|axis| sizes[*axis] != 1);
    match (long.next(), long.next()) {
        (None, _) => Some(Along::All),
        (Some(axis), None) => Some(Along::Axis(axis + missing)),
        _ => None,
    }
}

/// `scale` with so many axes of size 1 after the one along which it differs; without axes, when it differs along none.
fn spread(site: &Site<'_, '_>, scale: Id, after: usize) -> Option<Term> {
    let sizes = site.sizes(scale)?;
    let length = sizes.iter().copied().find(|size| *size != 1);
    let wanted: Vec<u64> =
        length.into_iter().chain(length.iter().flat_map(|_| std::iter::repeat_n(1, after))).collect();
    if *sizes == *wanted { Some(Term::from(scale)) } else { reshaped(scale, &wanted) }
}

fn times(x: impl Into<Term>, scale: Term) -> Term {
    Term::apply(Mul, [x.into(), scale])
}

/// Factors that an operand of `f16` takes in place of another: the smallest and the largest.
const NARROW_FACTORS: std::ops::RangeInclusive<f64> = 1.0 / 64.0..=1.0;

/// Whether `scale` may be multiplied with an operand of `site`: in the narrow range of `f16` only where that is known not to
/// overflow, nor to make much of the operand vanish.
fn is_moderate(site: &Site<'_, '_>, scale: Id) -> bool {
    let elements = || site.tensor(scale)?.to_f64().ok();
    let is_near_one = |element: &f64| NARROW_FACTORS.contains(&element.abs());
    is_wide(site)
        || site.ty().dtype == DType::BF16
        || elements().is_some_and(|elements| elements.iter().all(is_near_one))
}

/// The ways in which the product `site` is a value scaled by what an operand of that value may be scaled by.
fn moderately_scaled(site: &Site<'_, '_>) -> SmallVec<[(Id, Id); 2]> {
    let mut ways = scaled(site);
    ways.retain(|(_, scale)| is_moderate(site, *scale));
    ways
}

/// `(x * s) * t` is `x * (s * t)`.
fn merge(site: &Site<'_, '_>) -> Vec<Term> {
    let Some((a, b)) = site.operand(0).zip(site.operand(1)).filter(|_| is_wide(site)) else {
        return Vec::new();
    };
    let outer = [(a, b), (b, a)].into_iter().filter(|(_, scale)| is_scale(site, *scale));
    let merged = outer.flat_map(|(y, outer)| {
        let inner = site
            .nodes::<Mul>(y)
            .flat_map(|(_, operands)| [(operands[0], operands[1]), (operands[1], operands[0])]);
        let inner = inner.filter(|(_, inner)| is_scale(site, *inner));
        inner.map(move |(x, inner)| times(x, times(inner, outer.into())))
    });
    merged.collect()
}

/// `x / c` is `x * (1 / c)`. Of 16 bits, only where the reciprocal is as exact as the number.
fn divide(site: &Site<'_, '_>) -> Vec<Term> {
    let term = || {
        let (x, divisor) = (site.operand(0)?, site.operand(1)?);
        let has_reciprocals = || {
            let elements = site.tensor(divisor)?.to_f64().ok()?;
            elements.iter().all(|element| (1.0 / 256.0..=256.0).contains(&element.abs())).then_some(())
        };
        let exact = site.ty().dtype.is_float() && (is_wide(site) || has_reciprocals().is_some());
        let reciprocal = || times(x, Term::apply(Reciprocal, [Term::from(divisor)]));
        (exact && site.is_constant(divisor)).then(reciprocal)
    };
    term().into_iter().collect()
}

/// `matmul(a, b) * s` is `matmul(a * s, b)` and `matmul(a, b * s)`, where `s` is the same for all columns or all rows.
fn into_matmul(site: &Site<'_, '_>) -> Vec<Term> {
    let mut terms = Vec::new();
    for (y, scale) in moderately_scaled(site) {
        let rank = site.ty().rank();
        let Some(along) = along(site, scale, rank) else { continue };
        for (_, operands) in site.nodes::<MatMul>(y) {
            let [a, b] = [operands[0], operands[1]];
            let ranks = [a, b].map(|operand| site.ty_of(operand).map_or(0, TensorType::rank));
            // Of vectors the axis is not in the result.
            let matrices = ranks.iter().all(|rank| *rank >= 2);
            if along == Along::All || (matrices && along == Along::Axis(rank - 2)) {
                terms.extend(
                    spread(site, scale, 1).map(|scale| Term::apply(MatMul, [times(a, scale), b.into()])),
                );
            }
            if along == Along::All || (matrices && along == Along::Axis(rank - 1)) {
                terms.extend(
                    spread(site, scale, 0).map(|scale| Term::apply(MatMul, [a.into(), times(b, scale)])),
                );
            }
        }
    }
    terms
}

/// `matmul(a * s, b)` and `matmul(a, b * s)` are `matmul(a, b) * s`, where `s` is a single element.
fn out_of_matmul(site: &Site<'_, '_>) -> Vec<Term> {
    let Some((a, b)) = site.operand(0).zip(site.operand(1)).filter(|_| is_wide(site)) else {
        return Vec::new();
    };
    let single = |(_, scale): &(Id, Id)| site.is_single(*scale);
    let product = |a: Id, b: Id, scale| {
        spread(site, scale, 0).map(|scale| times(Term::apply(MatMul, [a.into(), b.into()]), scale))
    };
    let left = scalings(site, a).into_iter().filter(single).filter_map(|(a, scale)| product(a, b, scale));
    let right = scalings(site, b).into_iter().filter(single).filter_map(|(b, scale)| product(a, b, scale));
    left.chain(right).collect()
}

/// `matmul(a * s, b)` is `matmul(a, s * b)`, where `s` scales what is summed over, or everything.
fn through_matmul(site: &Site<'_, '_>) -> Vec<Term> {
    let Some((a, b)) = site.operand(0).zip(site.operand(1)) else { return Vec::new() };
    let Some((left, right)) = site.ty_of(a).zip(site.ty_of(b)) else { return Vec::new() };
    let moved = scalings(site, a).into_iter().filter_map(|(a, scale)| {
        match along(site, scale, left.rank()).filter(|_| is_moderate(site, scale))? {
            Along::All => {}
            Along::Axis(axis) if axis + 1 == left.rank() && right.rank() >= 2 => {}
            Along::Axis(_) => return None,
        }
        Some(Term::apply(MatMul, [a.into(), times(b, spread(site, scale, 1)?)]))
    });
    moved.collect()
}

/// `gemm(a, b, c) * s` is `gemm(a, b * s, c * s)`, where `s` is the same for all rows.
fn into_gemm(site: &Site<'_, '_>) -> Vec<Term> {
    let mut terms = Vec::new();
    for (y, scale) in moderately_scaled(site) {
        if !matches!(along(site, scale, 2), Some(Along::All | Along::Axis(1))) {
            continue;
        }
        // Of integers, what is multiplied by `alpha` and `beta` is rounded.
        let is_exact =
            |gemm: &Gemm| site.ty().dtype.is_float() || (gemm.alpha.get(), gemm.beta.get()) == (1.0, 1.0);
        let nodes =
            site.nodes::<Gemm>(y).filter(|(gemm, _)| is_exact(gemm)).filter_map(|(gemm, operands)| {
                let weight = times(operands[1], spread(site, scale, usize::from(gemm.transB))?);
                let bias = match operands.get(2) {
                    Some(bias) if !site.is_absent(*bias) => times(*bias, spread(site, scale, 0)?),
                    _ => Term::Absent,
                };
                Some(Term::apply(gemm.clone(), [operands[0].into(), weight, bias]))
            });
        terms.extend(nodes);
    }
    terms
}

/// Where the images of `conv`, of `rank` axes, have their channels.
fn channels(conv: &Conv, rank: usize) -> Along {
    Along::Axis(if conv.layout == DataLayout::Nchw { 1 } else { rank - 1 })
}

/// `conv(x, w, b) * s` is `conv(x, w * s, b * s)`, where `s` is the same for all places and images. Without a bias and
/// the same for all channels, it is `conv(x * s, w)`, too.
fn into_conv(site: &Site<'_, '_>) -> Vec<Term> {
    let mut terms = Vec::new();
    for (y, scale) in moderately_scaled(site) {
        let rank = site.ty().rank();
        let Some(along) = along(site, scale, rank) else { continue };
        let nodes = site.nodes::<Conv>(y);
        for (conv, operands) in nodes.filter(|(conv, _)| [Along::All, channels(conv, rank)].contains(&along))
        {
            let bias = operands.get(2).filter(|bias| !site.is_absent(**bias));
            let weight = spread(site, scale, rank - 1).map(|scale| times(operands[1], scale));
            let Some((weight, scale)) = weight.zip(spread(site, scale, 0)) else { continue };
            let x = Term::from(operands[0]);
            if bias.is_none() && along == Along::All {
                let scaled = [times(x.clone(), scale.clone()), operands[1].into()];
                terms.push(Term::apply(conv.clone(), scaled));
            }
            let bias = bias.map_or(Term::Absent, |bias| times(*bias, scale));
            terms.push(Term::apply(conv.clone(), [x, weight, bias]));
        }
    }
    terms
}

/// `conv(x * s, w)` is `conv(x, w) * s`, where `s` is a single element.
fn out_of_conv(site: &Site<'_, '_>) -> Vec<Term> {
    let (Some(conv), Some(x), Some(w)) = (site.is::<Conv>(), site.operand(0), site.operand(1)) else {
        return Vec::new();
    };
    if site.operand(2).is_some() || !is_wide(site) {
        return Vec::new();
    }
    let single = scalings(site, x).into_iter().filter(|(_, scale)| site.is_single(*scale));
    let moved = single.filter_map(|(x, scale)| {
        Some(times(Term::apply(conv.clone(), [x.into(), w.into()]), spread(site, scale, 0)?))
    });
    moved.collect()
}

/// `conv(x * s, w, b)` is `conv(x, w * s, b)`, where `s` is the same for all places and images. Zeros around the image
/// stay zeros.
fn through_conv(site: &Site<'_, '_>) -> Vec<Term> {
    let (Some(conv), Some(x), Some(w)) = (site.is::<Conv>(), site.operand(0), site.operand(1)) else {
        return Vec::new();
    };
    let rank = site.ty().rank();
    let moved = scalings(site, x).into_iter().filter_map(|(x, scale)| {
        let along = along(site, scale, rank).filter(|_| is_moderate(site, scale))?;
        if along != Along::All && (along != channels(conv, rank) || conv.group != 1) {
            return None;
        }
        let bias = site.operand(2).map_or(Term::Absent, Term::from);
        // The kernel has its input channels where the image has them.
        let after = if conv.layout == DataLayout::Nchw { rank - 2 } else { 0 };
        let weight = times(w, spread(site, scale, after)?);
        Some(Term::apply(conv.clone(), [x.into(), weight, bias]))
    });
    moved.collect()
}

/// `(a + b) * s` is `a * s + b * s`, and so for differences.
fn into_sum(site: &Site<'_, '_>) -> Vec<Term> {
    let distributed = moderately_scaled(site).into_iter().flat_map(|(y, scale)| {
        let sums = site.operations(y).filter(|inner| matches!(inner.op(), Op::Add(_) | Op::Sub(_)));
        sums.map(move |inner| inner.with_operands(inner.operands().iter().map(|x| times(*x, scale.into()))))
    });
    distributed.collect()
}

/// `sum(x * s)` is `sum(x) * s`, where `s` is a single element, and so for means.
fn out_of_reduction(site: &Site<'_, '_>) -> Vec<Term> {
    let Some(x) = site.operand(0).filter(|_| site.ty().dtype.is_float() && is_wide(site)) else {
        return Vec::new();
    };
    let single = scalings(site, x).into_iter().filter(|(_, scale)| site.is_single(*scale));
    let moved = single.filter_map(|(x, scale)| {
        let rest = site.operands().iter().skip(1).map(|operand| Term::from(*operand));
        let reduced = site.with_operands(std::iter::once(Term::from(x)).chain(rest));
        Some(times(reduced, spread(site, scale, 0)?))
    });
    moved.collect()
}

/// `transpose(x * s)` is `transpose(x) * s`, with the axes of `s` in the same order.
fn after_transpose(site: &Site<'_, '_>) -> Vec<Term> {
    transpose::hoist_past_those(site, |inner| inner.is::<Mul>().is_some() && !scaled(inner).is_empty())
}

/// `reshape(x * s)` is `reshape(x) * s`, with the axes of `s` joined and split likewise.
fn after_reshape(site: &Site<'_, '_>) -> Vec<Term> {
    reshape::hoist_past_those(site, |inner| inner.is::<Mul>().is_some() && !scaled(inner).is_empty())
}
