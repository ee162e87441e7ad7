//! Algebra: what sums, products and signs are equal to, in forms that may be cheaper.
//!
//! There is no commutativity and no associativity here: where operands may be exchanged, rules look at both.

use egg::Id;
use quad_ir::ops::{Add, Expand, MatMul, Mul, Neg, Op, OpKind, Sub};
use quad_ir::tensor::Tensor;

use crate::egraph::language::Constant;
use crate::egraph::rule::{Roots, Rule, Site};
use crate::egraph::term::Term;

/// Whether sums and products in another order are far from overflowing and from vanishing. Integers wrap alike in any order.
pub(super) fn is_wide(site: &Site<'_, '_>) -> bool {
    !site.ty().dtype.is_float() || site.ty().dtype.bits() >= 32
}

/// Those about operands that change nothing.
pub const NEUTRAL: &[Rule] = &[Rule {
    name: "neutral-operand",
    roots: Roots::Kinds(&[OpKind::Add, OpKind::Sub, OpKind::Mul, OpKind::Div]),
    equal: neutral,
}];

/// The others.
pub const RULES: &[Rule] = &[
    Rule {
        name: "equal-operands",
        roots: Roots::Kinds(&[OpKind::Sub, OpKind::Min, OpKind::Max, OpKind::Where]),
        equal: same,
    },
    Rule { name: "twice", roots: Roots::Kinds(TWICE), equal: twice },
    Rule {
        name: "signs",
        roots: Roots::Kinds(&[OpKind::Add, OpKind::Sub, OpKind::Mul, OpKind::Neg]),
        equal: signs,
    },
    Rule { name: "common-factor", roots: Roots::Kinds(&[OpKind::Add, OpKind::Sub]), equal: common_factor },
    Rule { name: "common-matrix", roots: Roots::Kinds(&[OpKind::Add, OpKind::Sub]), equal: common_matrix },
    Rule { name: "add-constants", roots: Roots::Kinds(&[OpKind::Add]), equal: add_constants },
];

/// Functions that are their own inverse, or that change nothing the second time.
const TWICE: &[OpKind] = &[
    OpKind::Neg,
    OpKind::Not,
    OpKind::Abs,
    OpKind::Relu,
    OpKind::Floor,
    OpKind::Ceil,
    OpKind::Round,
    OpKind::Sign,
];

/// The number that all elements of `class` are, when they are few and known.
pub(super) fn uniform(site: &Site<'_, '_>, class: Id) -> Option<f64> {
    let elements = site.tensor(class)?.to_f64().ok()?;
    let first = *elements.first()?;
    elements.iter().all(|element| *element == first).then_some(first)
}

/// Both operands.
fn pair(site: &Site<'_, '_>) -> Option<[Id; 2]> {
    Some([site.operand(0)?, site.operand(1)?])
}

/// `x + 0`, `x - 0`, `x * 1` and `x / 1` are `x`, `0 - x` and `x * -1` are `-x`.
fn neutral(site: &Site<'_, '_>) -> Vec<Term> {
    let Some([a, b]) = pair(site) else { return Vec::new() };
    let (number, commutes) = match site.op() {
        Op::Add(_) => (0.0, true),
        Op::Sub(_) => (0.0, false),
        Op::Mul(_) => (1.0, true),
        _ => (1.0, false),
    };
    let ways = [(a, b, true), (b, a, commutes)].into_iter();
    let ways = ways.filter(|(x, _, allowed)| *allowed && site.ty_of(*x) == Some(site.ty()));
    let mut terms = Vec::new();
    for (x, other, _) in ways {
        let Some(other) = uniform(site, other) else { continue };
        if other == number {
            terms.push(Term::from(x));
        } else if other == -1.0 && number == 1.0 {
            terms.push(negated(x));
        }
    }
    if matches!(site.op(), Op::Sub(_)) && uniform(site, a) == Some(0.0) && site.ty_of(b) == Some(site.ty()) {
        terms.push(negated(b));
    }
    terms
}

fn negated(x: impl Into<Term>) -> Term {
    Term::apply(Neg, [x.into()])
}

/// `x - x` is 0, but of infinite floats; `min(x, x)`, `max(x, x)` and `where(c, x, x)` are `x`.
fn same(site: &Site<'_, '_>) -> Vec<Term> {
    let mut operands = site.operands().iter().copied().rev();
    let Some(x) = operands.next().filter(|x| operands.next() == Some(*x)) else { return Vec::new() };
    if matches!(site.op(), Op::Sub(_)) {
        return zero(site).filter(|_| !site.ty().dtype.is_float()).into_iter().collect();
    }
    if site.ty_of(x) == Some(site.ty()) { vec![Term::from(x)] } else { Vec::new() }
}

/// Zeros of the type of the result.
fn zero(site: &Site<'_, '_>) -> Option<Term> {
    let sizes: Vec<i64> = site.ty().shape.as_known()?.iter().map(|size| *size as i64).collect();
    let zero = Term::Constant(Constant::new(&Tensor::zeros(site.ty().dtype, &[]).ok()?));
    Some(Term::apply(Expand, [zero, Term::integers(&sizes)?]))
}

/// `-(-x)` is `x`, and `relu(relu(x))` is `relu(x)`.
fn twice(site: &Site<'_, '_>) -> Vec<Term> {
    let Some(x) = site.operand(0) else { return Vec::new() };
    let inner = site.operations(x).filter(|inner| inner.op() == site.op());
    let is_inverse = matches!(site.op(), Op::Neg(_) | Op::Not(_));
    let equal = inner
        .filter_map(|inner| if is_inverse { inner.operand(0).map(Term::from) } else { Some(Term::from(x)) });
    equal.collect()
}

/// The operands of the negations that `class` is the result of.
fn negations(site: &Site<'_, '_>, class: Id) -> Vec<Id> {
    site.nodes::<Neg>(class).map(|(_, operands)| operands[0]).collect()
}

/// `a + -b` is `a - b`, `a - -b` is `a + b`, `-a * -b` is `a * b`, and `-(a - b)` is `b - a`.
fn signs(site: &Site<'_, '_>) -> Vec<Term> {
    if site.operands().len() == 1 {
        let differences = site.operand(0).into_iter().flat_map(|x| site.nodes::<Sub>(x));
        return differences
            .map(|(_, operands)| Term::apply(Sub, [operands[1].into(), operands[0].into()]))
            .collect();
    }
    let Some([a, b]) = pair(site) else { return Vec::new() };
    let (left, right) = (negations(site, a), negations(site, b));
    let of = |op: Op, a: Id, b: Id| Term::Apply(op, vec![a.into(), b.into()]);
    match site.op() {
        Op::Add(_) => {
            let right = right.into_iter().map(|b| of(Sub.into(), a, b));
            right.chain(left.into_iter().map(|a| of(Sub.into(), b, a))).collect()
        }
        Op::Sub(_) => right.into_iter().map(|b| of(Add.into(), a, b)).collect(),
        _ => left.iter().flat_map(|a| right.iter().map(|b| of(Mul.into(), *a, *b))).collect(),
    }
}

/// `a * s + b * s` is `(a + b) * s`, and so for differences.
fn common_factor(site: &Site<'_, '_>) -> Vec<Term> {
    let Some([left, right]) = pair(site).filter(|_| is_wide(site)) else { return Vec::new() };
    let factors = |class| {
        site.nodes::<Mul>(class)
            .flat_map(|(_, operands)| [[operands[0], operands[1]], [operands[1], operands[0]]])
    };
    let mut terms = Vec::new();
    for [a, factor] in factors(left) {
        for [b, _] in factors(right).filter(|[_, other]| *other == factor) {
            let sum = site.with_operands([a.into(), b.into()]);
            terms.push(Term::apply(Mul, [sum, factor.into()]));
        }
    }
    terms
}

/// `matmul(x, a) + matmul(x, b)` is `matmul(x, a + b)`, likewise on the left, and so for differences.
fn common_matrix(site: &Site<'_, '_>) -> Vec<Term> {
    let Some([left, right]) = pair(site) else { return Vec::new() };
    let same_type = |a: Id, b: Id| site.ty_of(a) == site.ty_of(b);
    let mut terms = Vec::new();
    for (_, one) in site.nodes::<MatMul>(left) {
        for (_, other) in site.nodes::<MatMul>(right) {
            if one[0] == other[0] && same_type(one[1], other[1]) {
                let sum = site.with_operands([one[1].into(), other[1].into()]);
                terms.push(Term::apply(MatMul, [one[0].into(), sum]));
            }
            if one[1] == other[1] && same_type(one[0], other[0]) {
                let sum = site.with_operands([one[0].into(), other[0].into()]);
                terms.push(Term::apply(MatMul, [sum, one[1].into()]));
            }
        }
    }
    terms
}

/// `(x + c) + d` is `x + (c + d)`, where both are constants.
fn add_constants(site: &Site<'_, '_>) -> Vec<Term> {
    let Some([a, b]) = pair(site).filter(|_| is_wide(site)) else { return Vec::new() };
    let outer = [(a, b), (b, a)].into_iter().filter(|(_, constant)| site.is_constant(*constant));
    let merged = outer.flat_map(|(y, outer)| {
        let inner = site
            .nodes::<Add>(y)
            .flat_map(|(_, operands)| [(operands[0], operands[1]), (operands[1], operands[0])]);
        let inner = inner.filter(|(_, inner)| site.is_constant(*inner));
        inner.map(move |(x, inner)| {
            Term::apply(Add, [x.into(), Term::apply(Add, [inner.into(), outer.into()])])
        })
    });
    merged.collect()
}
