//! Sizes along an axis: known numbers, named symbols, and integer polynomials of symbols.
//!
//! A model with a dynamic batch computes `[batch, 4, 64, 64]` through a dozen shape operations. Both the sizes and the
//! elements of small integer tensors are carried as [`DimExpr`], so that arithmetic on them cancels where it can.
//! What does not stay a polynomial (a division with a remainder) becomes a fresh symbol; no size is ever "unknown".

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::entity::entity;

entity! {
    /// A symbolic size, named by the graph's [`SymTable`](crate::types::SymTable).
    pub struct SymId("s");
}

/// The number of elements along one axis.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dim {
    /// A number known when the graph is built.
    Known(u64),
    /// A symbol, bound when the graph runs.
    Sym(SymId),
    /// A polynomial of symbols that is neither a number nor a single symbol.
    Expr(Arc<DimExpr>),
}

impl Dim {
    /// The number, when it is known.
    pub fn known(&self) -> Option<u64> {
        match self {
            Self::Known(size) => Some(*size),
            _ => None,
        }
    }

    /// The size as a polynomial.
    pub fn expr(&self) -> DimExpr {
        match self {
            Self::Known(size) => {
                i64::try_from(*size).map_or_else(|_| DimExpr::constant(i64::MAX), DimExpr::constant)
            }
            Self::Sym(symbol) => DimExpr::symbol(*symbol),
            Self::Expr(expr) => (**expr).clone(),
        }
    }

    /// The symbols it mentions, each as often as it does.
    pub fn symbols(&self) -> impl Iterator<Item = SymId> + '_ {
        let (alone, expr) = match self {
            Self::Known(_) => (None, None),
            Self::Sym(symbol) => (Some(*symbol), None),
            Self::Expr(expr) => (None, Some(expr)),
        };
        let factors = expr.into_iter().flat_map(|expr| expr.terms().flat_map(|(symbols, _)| symbols));
        alone.into_iter().chain(factors.copied())
    }

    /// The size that `expr` is, or `None` when it is a negative number.
    pub fn from_expr(expr: DimExpr) -> Option<Self> {
        if let Some(constant) = expr.as_constant() {
            return u64::try_from(constant).ok().map(Self::Known);
        }
        Some(match expr.as_symbol() {
            Some(symbol) => Self::Sym(symbol),
            None => Self::Expr(Arc::new(expr)),
        })
    }
}

impl From<u64> for Dim {
    fn from(size: u64) -> Self {
        Self::Known(size)
    }
}

/// A product of symbols in ascending order; the empty product is 1.
type Monomial = SmallVec<[SymId; 2]>;

/// Terms and factors beyond which a product is not followed. Sizes have a handful of terms; a model made to exhaust
/// memory multiplies sums until there are millions.
const MAX_TERMS: usize = 64;

/// Terms beyond which a sum is not followed.
pub(crate) const MAX_SUM: usize = 1024;

/// An integer polynomial of symbols in normal form: equal polynomials compare equal.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DimExpr {
    /// Coefficients by monomial; none is zero.
    terms: BTreeMap<Monomial, i64>,
}

impl DimExpr {
    /// The number `value`.
    pub fn constant(value: i64) -> Self {
        Self::term(Monomial::new(), value)
    }

    /// The polynomial that is just `symbol`.
    pub fn symbol(symbol: SymId) -> Self {
        Self::term(SmallVec::from_slice(&[symbol]), 1)
    }

    /// The sum of these terms, each a product of symbols and its coefficient; `None` on overflow.
    pub fn from_terms(terms: impl IntoIterator<Item = (SmallVec<[SymId; 2]>, i64)>) -> Option<Self> {
        let mut sum = Self::default();
        for (mut monomial, coefficient) in terms {
            monomial.sort_unstable();
            sum.accumulate(monomial, coefficient)?;
        }
        Some(sum)
    }

    /// The terms in ascending order of their symbols, the constant first.
    pub fn terms(&self) -> impl DoubleEndedIterator<Item = (&[SymId], i64)> {
        self.terms.iter().map(|(monomial, coefficient)| (monomial.as_slice(), *coefficient))
    }

    /// The number, when no symbol is left.
    pub fn as_constant(&self) -> Option<i64> {
        match self.terms.len() {
            0 => Some(0),
            1 => self.terms.get(&Monomial::new()).copied(),
            _ => None,
        }
    }

    /// The symbol, when the polynomial is just one.
    pub fn as_symbol(&self) -> Option<SymId> {
        let (monomial, coefficient) = self.terms.iter().next()?;
        (self.terms.len() == 1 && *coefficient == 1 && monomial.len() == 1).then(|| monomial[0])
    }

    /// The sum, or `None` on overflow and when it would have a great many terms.
    pub fn add(&self, other: &Self) -> Option<Self> {
        if self.terms.len() + other.terms.len() > MAX_SUM {
            return None;
        }
        let mut sum = self.clone();
        for (monomial, coefficient) in &other.terms {
            sum.accumulate(monomial.clone(), *coefficient)?;
        }
        Some(sum)
    }

    /// The difference, or `None` on overflow.
    pub fn sub(&self, other: &Self) -> Option<Self> {
        self.add(&other.mul(&Self::constant(-1))?)
    }

    /// The product, or `None` on overflow and when it would have a great many terms.
    pub fn mul(&self, other: &Self) -> Option<Self> {
        let mut product = Self::default();
        if self.terms.len().saturating_mul(other.terms.len()) > MAX_TERMS {
            return None;
        }
        for (left, a) in &self.terms {
            for (right, b) in &other.terms {
                if left.len() + right.len() > MAX_TERMS {
                    return None;
                }
                let mut monomial = left.clone();
                monomial.extend_from_slice(right);
                monomial.sort_unstable();
                product.accumulate(monomial, a.checked_mul(*b)?)?;
            }
        }
        Some(product)
    }

    /// The quotient, when `divisor` is a single term that divides every term without remainder.
    pub fn div_exact(&self, divisor: &Self) -> Option<Self> {
        if divisor.terms.len() != 1 {
            return (self == divisor && !self.terms.is_empty()).then(|| Self::constant(1));
        }
        let (by, coefficient) = divisor.terms.iter().next()?;
        let mut quotient = Self::default();
        for (monomial, a) in &self.terms {
            if a.checked_rem(*coefficient)? != 0 {
                return None;
            }
            quotient.accumulate(remove_factors(monomial, by)?, a / coefficient)?;
        }
        Some(quotient)
    }

    /// Whether the value is at least 0 for whatever sizes, none of which is negative. `false` means that no term is
    /// there to tell.
    pub fn is_never_negative(&self) -> bool {
        self.terms.values().all(|coefficient| *coefficient >= 0)
    }

    /// The value with every symbol replaced by `size_of(symbol)`; `None` when one has no size or on overflow.
    pub fn evaluate(&self, size_of: &dyn Fn(SymId) -> Option<u64>) -> Option<i64> {
        let mut sum = 0i64;
        for (monomial, coefficient) in &self.terms {
            let mut product = *coefficient;
            for symbol in monomial {
                product = product.checked_mul(i64::try_from(size_of(*symbol)?).ok()?)?;
            }
            sum = sum.checked_add(product)?;
        }
        Some(sum)
    }

    fn term(monomial: Monomial, coefficient: i64) -> Self {
        let nonzero = (coefficient != 0).then_some((monomial, coefficient));
        Self { terms: nonzero.into_iter().collect() }
    }

    fn accumulate(&mut self, monomial: Monomial, coefficient: i64) -> Option<()> {
        let sum = self.terms.get(&monomial).copied().unwrap_or(0).checked_add(coefficient)?;
        if sum == 0 {
            self.terms.remove(&monomial);
        } else {
            self.terms.insert(monomial, sum);
        }
        Some(())
    }
}

/// `monomial` without the factors of `by`, or `None` when one is missing.
fn remove_factors(monomial: &Monomial, by: &Monomial) -> Option<Monomial> {
    let mut rest = monomial.clone();
    for factor in by {
        let at = rest.iter().position(|symbol| symbol == factor)?;
        rest.remove(at);
    }
    Some(rest)
}

/// Writes a polynomial with `name` spelling each symbol: `2*batch*heads + 1`, `h - 1`.
///
/// Terms are ordered by their spelling, the constant last, so that the text does not depend on how symbols are numbered.
pub(crate) fn write_expr(
    f: &mut dyn fmt::Write,
    expr: &DimExpr,
    name: &dyn Fn(SymId) -> String,
) -> fmt::Result {
    let spell = |(symbols, coefficient): (&[SymId], i64)| {
        let mut factors: Vec<String> = symbols.iter().map(|symbol| name(*symbol)).collect();
        factors.sort_unstable();
        (factors.is_empty(), factors, coefficient)
    };
    let mut terms: Vec<(bool, Vec<String>, i64)> = expr.terms().map(spell).collect();
    terms.sort_unstable();
    if terms.is_empty() {
        return f.write_char('0');
    }
    for (position, (_, mut factors, coefficient)) in terms.into_iter().enumerate() {
        let sign = match (position, coefficient < 0) {
            (0, false) => "",
            (0, true) => "-",
            (_, false) => " + ",
            (_, true) => " - ",
        };
        f.write_str(sign)?;
        let magnitude = coefficient.unsigned_abs();
        if magnitude != 1 || factors.is_empty() {
            factors.insert(0, magnitude.to_string());
        }
        f.write_str(&factors.join("*"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entity::Entity;

    fn symbol(index: usize) -> DimExpr {
        DimExpr::symbol(SymId::from_index(index))
    }

    #[test]
    fn reshape_arithmetic_cancels() {
        let batch_heads = symbol(0).mul(&DimExpr::constant(8)).expect("small");
        let total = batch_heads.mul(&DimExpr::constant(40)).expect("small");
        assert_eq!(total.div_exact(&DimExpr::constant(320)), Some(symbol(0)));
        assert_eq!(total.div_exact(&symbol(0)), Some(DimExpr::constant(320)));
        assert_eq!(total.div_exact(&symbol(1)), None);
        assert_eq!(symbol(0).sub(&symbol(0)), Some(DimExpr::constant(0)));
    }

    #[test]
    fn overflow_is_none() {
        let large = DimExpr::constant(i64::MAX);
        assert_eq!(large.add(&DimExpr::constant(1)), None);
        assert_eq!(large.mul(&large), None);
    }

    #[test]
    fn negative_sizes_are_refused() {
        assert_eq!(Dim::from_expr(DimExpr::constant(-1)), None);
        assert_eq!(Dim::from_expr(DimExpr::constant(3)), Some(Dim::Known(3)));
    }
}
