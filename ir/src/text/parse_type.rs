//! Reading types, and reconciling them with what type rules say.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;

use super::cursor::Cursor;
use super::error::{ParseError, ParseErrorKind};
use super::lex::Token;
use crate::attr::F32Bits;
use crate::dtype::DType;
use crate::entity::Entity;
use crate::types::{Dim, DimExpr, Encoded, MAX_RANK, MAX_SUM, Quant, Shape, SymId, SymTable, TensorType};

/// A type as it is written: symbols are still words.
#[derive(Clone, Debug)]
pub(super) struct Stated {
    /// Where it starts.
    pub(super) at: usize,
    dtype: DType,
    dims: Vec<StatedDim>,
    quant: Option<Arc<Quant>>,
}

/// A size as it is written.
#[derive(Clone, Debug)]
enum StatedDim {
    Known(u64),
    Sum { at: usize, terms: Vec<Term> },
}

#[derive(Clone, Debug)]
struct Term {
    coefficient: i64,
    factors: SmallVec<[Symbol; 2]>,
}

/// A symbol as it is written.
#[derive(Clone, Debug)]
enum Symbol {
    Named(Box<str>),
    Nameless(u64),
}

/// Factors that one term may have; sizes have two or three.
const MAX_FACTORS: usize = 64;

const SIZE: &str = "a size below 2^63";

/// Which symbols of the graph the nameless ones of the text are.
#[derive(Debug, Default)]
pub(super) struct Nameless {
    by_number: FxHashMap<u64, SymId>,
    taken: FxHashSet<SymId>,
}

impl Cursor<'_> {
    /// `f32[batch, 4, 2*h + 1]`, possibly with `quant(..)`.
    pub(super) fn ty(&mut self) -> Result<Stated, ParseError> {
        let at = self.at();
        let Token::Word(word) = *self.peek() else { return Err(self.unexpected("a type such as f32[1, 4]")) };
        let dtype: DType = word.parse().map_err(|_| self.unexpected("an element type such as f32 or u8"))?;
        self.take()?;
        self.mark('[')?;
        let mut dims = Vec::new();
        self.list(']', |cursor| {
            dims.push(cursor.dim()?);
            let too_many = || cursor.error(at, ParseErrorKind::TooLarge { what: "axes", limit: MAX_RANK });
            if dims.len() > MAX_RANK { Err(too_many()) } else { Ok(()) }
        })?;
        let quant = if self.skip_word("quant")? { Some(Arc::new(self.quant(at)?)) } else { None };
        Ok(Stated { at, dtype, dims, quant })
    }

    fn dim(&mut self) -> Result<StatedDim, ParseError> {
        let at = self.at();
        if let Token::Number(_) = self.peek() {
            let size: u64 = self.integer("a size")?;
            if matches!(self.peek(), Token::Mark(',' | ']')) {
                return Ok(StatedDim::Known(size));
            }
            let first = i64::try_from(size).map_err(|_| self.error(at, self.not_a(at, SIZE)))?;
            let first = self.rest_of_term(at, first, SmallVec::new())?;
            return self.rest_of_sum(at, first);
        }
        let sign = if self.skip_mark('-')? { -1 } else { 1 };
        let first = self.term(sign)?;
        self.rest_of_sum(at, first)
    }

    fn rest_of_sum(&mut self, at: usize, first: Term) -> Result<StatedDim, ParseError> {
        let mut terms = vec![first];
        loop {
            let sign = match self.peek() {
                Token::Mark('+') => 1,
                Token::Mark('-') => -1,
                _ => return Ok(StatedDim::Sum { at, terms }),
            };
            self.take()?;
            terms.push(self.term(sign)?);
            if terms.len() > MAX_SUM {
                return Err(
                    self.error(at, ParseErrorKind::TooLarge { what: "terms of a size", limit: MAX_SUM })
                );
            }
        }
    }

    fn term(&mut self, sign: i64) -> Result<Term, ParseError> {
        let at = self.at();
        if let Some(symbol) = self.symbol()? {
            return self.rest_of_term(at, sign, SmallVec::from_iter([symbol]));
        }
        let coefficient: u64 = self.integer("a number or a symbol")?;
        let coefficient = i64::try_from(coefficient).map_err(|_| self.error(at, self.not_a(at, SIZE)))?;
        self.rest_of_term(at, sign * coefficient, SmallVec::new())
    }

    fn rest_of_term(
        &mut self,
        at: usize,
        mut coefficient: i64,
        mut factors: SmallVec<[Symbol; 2]>,
    ) -> Result<Term, ParseError> {
        while self.skip_mark('*')? {
            if let Some(symbol) = self.symbol()? {
                factors.push(symbol);
            } else {
                let number: i64 = self.integer("a number or a symbol")?;
                let product = coefficient.checked_mul(number);
                coefficient = product.ok_or_else(|| self.error(at, self.not_a(at, SIZE)))?;
            }
            if factors.len() > MAX_FACTORS {
                let kind = ParseErrorKind::TooLarge { what: "factors of a size", limit: MAX_FACTORS };
                return Err(self.error(at, kind));
            }
        }
        Ok(Term { coefficient, factors })
    }

    fn symbol(&mut self) -> Result<Option<Symbol>, ParseError> {
        let symbol = match self.peek() {
            Token::Word(word) => Symbol::Named((*word).into()),
            Token::Quoted(text) => Symbol::Named((&**text).into()),
            Token::Nameless(digits) => {
                let number = digits.parse().map_err(|_| self.unexpected("a smaller number"))?;
                Symbol::Nameless(number)
            }
            _ => return Ok(None),
        };
        self.take()?;
        Ok(Some(symbol))
    }

    /// `(scale = [..], zero_point = [..], axis = .., block = .., of = f32)` in any order.
    fn quant(&mut self, at: usize) -> Result<Quant, ParseError> {
        let (mut scales, mut zero_points) = (None, None);
        let (mut axis, mut block, mut expressed) = (None, None, None);
        self.mark('(')?;
        self.list(')', |cursor| {
            let key_at = cursor.at();
            let key = cursor.any_word("`scale`, `zero_point`, `axis`, `block` or `of`")?;
            cursor.mark('=')?;
            let again = match key {
                "scale" => scales.replace(cursor.scales()?).is_some(),
                "zero_point" => zero_points.replace(cursor.zero_points()?).is_some(),
                "axis" => axis.replace(cursor.integer("an axis below 256")?).is_some(),
                "block" => block.replace(cursor.integer("a number of elements")?).is_some(),
                "of" => expressed.replace(cursor.dtype()?).is_some(),
                _ => {
                    let expected = "`scale`, `zero_point`, `axis`, `block` or `of`".to_owned();
                    let kind = ParseErrorKind::Unexpected { found: format!("`{key}`"), expected };
                    return Err(cursor.error(key_at, kind));
                }
            };
            let twice = || cursor.error(key_at, ParseErrorKind::Duplicate(format!("`{key}`")));
            if again { Err(twice()) } else { Ok(()) }
        })?;
        let quant = Quant {
            axis,
            block,
            scales: scales.unwrap_or_default().into(),
            zero_points: zero_points.unwrap_or_default().into(),
            expressed: expressed.unwrap_or(DType::F32),
        };
        quant.check().map_err(|error| self.error(at, error.into()))?;
        Ok(quant)
    }

    fn scales(&mut self) -> Result<Vec<F32Bits>, ParseError> {
        let mut scales = Vec::new();
        self.mark('[')?;
        self.list(']', |cursor| {
            let at = cursor.at();
            let scale = cursor.numeral("a scale")?.float();
            scales.push(scale.ok_or_else(|| cursor.error(at, cursor.not_a(at, "a scale")))?);
            Ok(())
        })?;
        Ok(scales)
    }

    fn zero_points(&mut self) -> Result<Vec<i32>, ParseError> {
        let mut zero_points = Vec::new();
        self.mark('[')?;
        self.list(']', |cursor| {
            zero_points.push(cursor.integer("a zero point of 32 bits")?);
            Ok(())
        })?;
        Ok(zero_points)
    }

    fn dtype(&mut self) -> Result<DType, ParseError> {
        let at = self.at();
        let word = self.any_word("an element type such as f32")?;
        word.parse().map_err(|_| self.error(at, self.not_a(at, "an element type such as f32")))
    }
}

impl Stated {
    /// The encoding that is written, if one is.
    pub(super) fn encoded(&self) -> Option<Encoded> {
        self.quant.as_ref().map(|quant| Encoded { stored: self.dtype, quant: quant.clone() })
    }

    /// The type with the symbols of the graph. `inferred` is what a type rule made of it, if one did, with the symbols
    /// from `fresh` on that it made: a nameless symbol of the text that stands for one of them becomes it.
    pub(super) fn resolve(
        self,
        cursor: &Cursor<'_>,
        symbols: &mut SymTable,
        nameless: &mut Nameless,
        inferred: Option<(&TensorType, usize)>,
    ) -> Result<TensorType, ParseError> {
        let mut shape = Shape::default();
        for (axis, dim) in self.dims.into_iter().enumerate() {
            let made = inferred.and_then(|(ty, fresh)| match ty.shape.get(axis) {
                Some(Dim::Sym(symbol)) if symbol.index() >= fresh => Some(*symbol),
                _ => None,
            });
            shape.0.push(dim.resolve(cursor, symbols, nameless, made)?);
        }
        let ty = TensorType { dtype: self.dtype, shape, quant: self.quant };
        if ty.is_representable() {
            return Ok(ty);
        }
        let expected = "a size that a tensor may have (2^48 elements, 32 axes)";
        Err(cursor
            .error(self.at, ParseErrorKind::Number { text: ty.to_string(), expected: expected.to_owned() }))
    }
}

impl StatedDim {
    fn resolve(
        self,
        cursor: &Cursor<'_>,
        symbols: &mut SymTable,
        nameless: &mut Nameless,
        made: Option<SymId>,
    ) -> Result<Dim, ParseError> {
        let (at, terms) = match self {
            Self::Known(size) => return Ok(Dim::Known(size)),
            Self::Sum { at, terms } => (at, terms),
        };
        if let ([Term { coefficient: 1, factors }], Some(made)) = (terms.as_slice(), made)
            && let [Symbol::Nameless(number)] = factors.as_slice()
        {
            nameless.bind(*number, made);
        }
        nameless.make_all(&terms, symbols);
        let mut id = |symbol: &Symbol| match symbol {
            Symbol::Named(name) => symbols.named(name),
            Symbol::Nameless(number) => nameless.get(*number, symbols),
        };
        let terms = terms.iter().map(|term| (term.factors.iter().map(&mut id).collect(), term.coefficient));
        let terms: Vec<(SmallVec<[SymId; 2]>, i64)> = terms.collect();
        let dim = DimExpr::from_terms(terms).and_then(Dim::from_expr);
        let expected = "a size: it is negative, or larger than 2^63";
        dim.ok_or_else(|| {
            cursor
                .error(at, ParseErrorKind::Number { text: "this".to_owned(), expected: expected.to_owned() })
        })
    }
}

impl Nameless {
    /// Lets `number` stand for `symbol`, unless either has a partner.
    fn bind(&mut self, number: u64, symbol: SymId) {
        if !self.by_number.contains_key(&number) && self.taken.insert(symbol) {
            self.by_number.insert(number, symbol);
        }
    }

    /// Makes symbols for all numbers of `terms`, in ascending order, which is how a printer numbers them.
    fn make_all(&mut self, terms: &[Term], symbols: &mut SymTable) {
        let mut numbers: Vec<u64> = Vec::new();
        for symbol in terms.iter().flat_map(|term| &term.factors) {
            if let Symbol::Nameless(number) = symbol {
                numbers.push(*number);
            }
        }
        numbers.sort_unstable();
        for number in numbers {
            self.get(number, symbols);
        }
    }

    fn get(&mut self, number: u64, symbols: &mut SymTable) -> SymId {
        let taken = &mut self.taken;
        *self.by_number.entry(number).or_insert_with(|| {
            let symbol = symbols.fresh();
            taken.insert(symbol);
            symbol
        })
    }
}
