//! Formulas as mathematics writes them: products whatever the order of their factors, polynomials whatever way they are
//! computed, constants wherever they stand.
//!
//! Exporters spell `x / 2 * (1 + erf(x / sqrt(2)))` in half a dozen ways. A rule that asks for the factors of a product
//! and for the coefficients of a polynomial sees one.

use quad_ir::graph::ValueRef;
use quad_ir::ops::{Div, Mul, Neg, OpKind, Pow};
use smallvec::{SmallVec, smallvec};

use crate::pattern::{both_ways, made_by, through_idle_casts, uniform};

/// Factors beyond which a product is not taken apart, so that long chains of products are read in pieces.
const MAX_FACTORS: usize = 8;

/// A product: a number and the factors that are not constant, each as often as it occurs.
#[derive(Clone, Debug)]
pub struct Product<'g> {
    /// The constant factors taken together.
    pub number: f64,
    /// The others, in the order in which they are met.
    pub factors: SmallVec<[ValueRef<'g>; 4]>,
    /// Everything met on the way: the product itself, partial products and factors.
    pub parts: SmallVec<[ValueRef<'g>; 8]>,
}

impl<'g> Product<'g> {
    /// `value` as a product of what is not itself a product: multiplications, and divisions by constants, are followed.
    pub fn of(value: ValueRef<'g>) -> Self {
        Self::around(value, None)
    }

    /// As [`of`](Self::of), but `whole` is a factor even where it is a product.
    pub fn with(value: ValueRef<'g>, whole: ValueRef<'g>) -> Self {
        Self::around(value, Some(whole))
    }

    /// The other factor, when there are two and `factor` is one of them.
    pub fn besides(&self, factor: ValueRef<'g>) -> Option<ValueRef<'g>> {
        match self.factors[..] {
            [a, b] if a.id() == factor.id() => Some(b),
            [a, b] if b.id() == factor.id() => Some(a),
            _ => None,
        }
    }

    fn around(value: ValueRef<'g>, whole: Option<ValueRef<'g>>) -> Self {
        let mut product = Self { number: 1.0, factors: SmallVec::new(), parts: SmallVec::new() };
        let mut waiting: SmallVec<[ValueRef<'g>; 8]> = smallvec![value];
        while let Some(part) = waiting.pop() {
            let part = through_idle_casts(part);
            product.parts.push(part);
            let is_whole = whole.is_some_and(|whole| whole.id() == part.id());
            let room = product.factors.len() + waiting.len() + 1 < MAX_FACTORS;
            match apart(part).filter(|_| !is_whole && room) {
                Some((number, factors)) => {
                    product.number *= number;
                    waiting.extend(factors.into_iter().rev());
                }
                None => product.factors.push(part),
            }
        }
        product
    }
}

/// One step of taking a product apart: a number and factors.
fn apart(value: ValueRef<'_>) -> Option<(f64, SmallVec<[ValueRef<'_>; 2]>)> {
    if let Some(number) = uniform(value) {
        return Some((number, SmallVec::new()));
    }
    let node = value.producer();
    match node.op().kind() {
        OpKind::Neg => Some((-1.0, smallvec![node.operand("x")?])),
        OpKind::Mul => Some((1.0, node.operands().flatten().collect())),
        OpKind::Div => Some((1.0 / uniform(node.operand("b")?)?, smallvec![node.operand("a")?])),
        _ => None,
    }
}

/// `value = number * x`: constants that `value` is multiplied with and divided by, taken together, and what is left. The
/// shape stays the same on the way.
pub fn scaling(value: ValueRef<'_>) -> (f64, ValueRef<'_>) {
    let (mut number, mut x) = (1.0, through_idle_casts(value));
    while let Some((factor, rest)) = constant_factor(x).filter(|(_, rest)| rest.ty() == value.ty()) {
        number *= factor;
        x = through_idle_casts(rest);
    }
    (number, x)
}

/// `value` as a constant times something, by its outermost operation.
fn constant_factor(value: ValueRef<'_>) -> Option<(f64, ValueRef<'_>)> {
    let node = value.producer();
    match node.op().kind() {
        OpKind::Neg => Some((-1.0, node.operand("x")?)),
        OpKind::Mul => both_ways(node).find_map(|(x, number)| Some((uniform(number)?, x))),
        OpKind::Div => Some((1.0 / uniform(node.operand("b")?)?, node.operand("a")?)),
        _ => None,
    }
}

/// `value = x + number`: the other addend.
pub fn plus(value: ValueRef<'_>, is_number: impl Fn(ValueRef<'_>) -> bool) -> Option<ValueRef<'_>> {
    let (sum, _) = made_by::<quad_ir::ops::Add>(value)?;
    both_ways(sum).find(|(_, number)| is_number(*number)).map(|(x, _)| x)
}

/// The degree up to which polynomials are followed, and the operations they may be nested.
const MAX_DEGREE: usize = 3;
const MAX_NESTING: usize = 8;

/// Coefficients of a polynomial by power.
pub type Coefficients = [f64; MAX_DEGREE + 1];

/// `value` as a polynomial of `x`, of degree 3 at most.
pub fn polynomial(value: ValueRef<'_>, x: ValueRef<'_>) -> Option<Coefficients> {
    nested_polynomial(value, x, MAX_NESTING)
}

fn nested_polynomial(value: ValueRef<'_>, x: ValueRef<'_>, nesting: usize) -> Option<Coefficients> {
    let value = through_idle_casts(value);
    if value.id() == x.id() {
        return Some([0.0, 1.0, 0.0, 0.0]);
    }
    if let Some(number) = uniform(value) {
        return Some([number, 0.0, 0.0, 0.0]);
    }
    let node = value.producer();
    let of = |name: &str| nested_polynomial(node.operand(name)?, x, nesting.checked_sub(1)?);
    let scaled = |polynomial: Coefficients, factor: f64| polynomial.map(|coefficient| coefficient * factor);
    let sum = |a: Coefficients, b: Coefficients| std::array::from_fn(|power| a[power] + b[power]);
    match node.op().kind() {
        OpKind::Neg => Some(scaled(of("x")?, -1.0)),
        OpKind::Add => Some(sum(of("a")?, of("b")?)),
        OpKind::Sub => Some(sum(of("a")?, scaled(of("b")?, -1.0))),
        OpKind::Mul => multiplied(of("a")?, of("b")?),
        OpKind::Div => Some(scaled(of("a")?, 1.0 / uniform(node.operand("b")?)?)),
        OpKind::Pow => power(of("a")?, uniform(node.operand("b")?)?),
        _ => None,
    }
}

fn multiplied(a: Coefficients, b: Coefficients) -> Option<Coefficients> {
    let mut product = [0.0; MAX_DEGREE + 1];
    for (left, a) in a.into_iter().enumerate() {
        for (right, b) in b.into_iter().enumerate().filter(|(_, b)| a != 0.0 && *b != 0.0) {
            *product.get_mut(left + right)? += a * b;
        }
    }
    Some(product)
}

fn power(base: Coefficients, exponent: f64) -> Option<Coefficients> {
    let exponent = (1..=MAX_DEGREE).find(|power| *power as f64 == exponent)?;
    (1..exponent).try_fold(base, |product, _| multiplied(product, base))
}

/// Whether `value` is the square of `x`: `x * x` or `x ^ 2`.
pub fn is_square_of(value: ValueRef<'_>, x: ValueRef<'_>) -> bool {
    let is_x = |operand: ValueRef<'_>| through_idle_casts(operand).id() == x.id();
    if let Some((square, _)) = made_by::<Mul>(value) {
        return both_ways(square).all(|(a, b)| is_x(a) && is_x(b));
    }
    made_by::<Pow>(value).is_some_and(|(square, _)| {
        square.operand("a").is_some_and(is_x) && square.operand("b").and_then(uniform) == Some(2.0)
    })
}

/// `value = numerator / denominator`, neither of which need be constant. A reciprocal has no numerator.
pub fn quotient(value: ValueRef<'_>) -> Option<(Option<ValueRef<'_>>, ValueRef<'_>)> {
    if let Some((node, _)) = made_by::<quad_ir::ops::Reciprocal>(value) {
        return Some((None, node.operand("x")?));
    }
    let (node, _) = made_by::<Div>(value)?;
    let (numerator, denominator) = (node.operand("a")?, node.operand("b")?);
    Some((Some(numerator).filter(|numerator| uniform(*numerator) != Some(1.0)), denominator))
}

/// `value = -x`, spelled as a negation or as a product with -1.
pub fn negated(value: ValueRef<'_>) -> Option<ValueRef<'_>> {
    if let Some((node, _)) = made_by::<Neg>(value) {
        return node.operand("x");
    }
    constant_factor(value).filter(|(number, _)| *number == -1.0).map(|(_, x)| x)
}

#[cfg(test)]
mod tests {
    use quad_ir::module::Module;
    use quad_ir::text::{self, NoWeights};

    use super::*;

    /// A graph of this body; `%x` and `%u` are `f32[2]`.
    fn module(body: &str) -> Module {
        let text = format!("quad 1\ngraph @main(%x: f32[2], %u: f32[2]) {{\n{body}\nreturn \"y\" = %y\n}}");
        text::parse(&text, &NoWeights).expect("a graph")
    }

    fn find<'g>(module: &'g Module, name: &str) -> ValueRef<'g> {
        module.main().and_then(|graph| graph.find(name)).expect("a value of this name")
    }

    #[test]
    fn factors_and_numbers_are_told_apart() {
        let body = "%two = weight 2.0 : f32[]\n%a = mul(%x, %two) : f32[2]\n%b = neg(%u) : f32[2]\n\
                    %c = mul(%a, %b) : f32[2]\n%four = weight [4.0, 4.0] : f32[2]\n%y = div(%c, %four) : f32[2]";
        let module = module(body);
        let value = |name| find(&module, name);
        let product = Product::of(value("y"));
        assert_eq!(product.number.to_bits(), (-0.5f64).to_bits());
        let factors: Vec<_> = product.factors.iter().map(|factor| factor.id()).collect();
        assert_eq!(factors, [value("x").id(), value("u").id()]);
        let whole = Product::with(value("y"), value("a"));
        assert_eq!(whole.besides(value("u")).map(ValueRef::id), Some(value("a").id()));
    }

    #[test]
    fn long_products_are_read_in_pieces() {
        let line = |index: usize| format!("%a{} = mul(%a{index}, %x) : f32[2]", index + 1);
        let lines: Vec<String> = (0..20).map(line).collect();
        let body = format!("%a0 = mul(%x, %u) : f32[2]\n{}", lines.join("\n"));
        let module = module(&(body + "\n%y = neg(%a20) : f32[2]"));
        let value = |name| find(&module, name);
        let product = Product::of(value("y"));
        assert_eq!(product.factors.len(), MAX_FACTORS);
    }

    #[test]
    fn polynomials_are_followed_to_the_third_degree() {
        let body = "%two = weight 2.0 : f32[]\n%s = mul(%x, %x) : f32[2]\n%c = mul(%s, %x) : f32[2]\n\
                    %d = sub(%c, %two) : f32[2]\n%e = div(%d, %two) : f32[2]\n%p = pow(%x, %two) : f32[2]\n\
                    %f = add(%e, %p) : f32[2]\n%q = pow(%s, %two) : f32[2]\n%y = add(%f, %q) : f32[2]";
        let module = module(body);
        let value = |name| find(&module, name);
        assert_eq!(polynomial(value("f"), value("x")), Some([-1.0, 0.0, 1.0, 0.5]));
        assert_eq!(polynomial(value("y"), value("x")), None, "the fourth degree");
        assert_eq!(polynomial(value("f"), value("u")), None, "another variable");
    }

    #[test]
    fn constants_around_a_value_are_one_number() {
        let body = "%two = weight [2.0] : f32[1]\n%a = mul(%two, %x) : f32[2]\n%b = div(%a, %two) : f32[2]\n\
                    %c = neg(%b) : f32[2]\n%wide = weight [1.0, 1.0] : f32[2, 1]\n%y = mul(%c, %wide) : f32[2, 2]";
        let module = module(body);
        let value = |name| find(&module, name);
        let (number, x) = scaling(value("c"));
        assert_eq!((number.to_bits(), x.id()), ((-1.0f64).to_bits(), value("x").id()));
        assert_eq!(scaling(value("y")).1.id(), value("y").id(), "the shape changes");
    }
}
