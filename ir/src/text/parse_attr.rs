//! Reading attributes, through the one description that each operation gives of its own.

use std::collections::BTreeMap;

use super::cursor::Cursor;
use super::error::{ParseError, ParseErrorKind};
use super::lex::Token;
use super::literal::Numeral;
use crate::attr::{Attr, AttrError, AttrValue, AttrVisitor};
use crate::ops::Op;

/// Attributes as they are written, with the places of their values.
#[derive(Debug, Default)]
pub(super) struct StatedAttrs<'t>(BTreeMap<&'t str, (usize, Attr)>);

impl<'t> Cursor<'t> {
    /// `{name = value, ..}`, or nothing.
    pub(super) fn attrs(&mut self) -> Result<StatedAttrs<'t>, ParseError> {
        let mut attrs = StatedAttrs::default();
        if !self.skip_mark('{')? {
            return Ok(attrs);
        }
        self.list('}', |cursor| {
            let at = cursor.at();
            let name = cursor.any_word("the name of an attribute")?;
            cursor.mark('=')?;
            let value_at = cursor.at();
            match attrs.0.insert(name, (value_at, cursor.attr()?)) {
                Some(_) => Err(cursor.error(at, ParseErrorKind::Duplicate(format!("attribute `{name}`")))),
                None => Ok(()),
            }
        })?;
        Ok(attrs)
    }

    fn attr(&mut self) -> Result<Attr, ParseError> {
        match self.peek() {
            Token::Quoted(text) => {
                let text = text.clone().into_owned();
                self.take()?;
                Ok(Attr::Str(text))
            }
            Token::Word("true" | "false" | "inf" | "nan") | Token::Number(_) | Token::Mark('-') => {
                self.number_attr()
            }
            Token::Word(word) => {
                let attr = word.parse().map_or_else(|_| Attr::Str((*word).to_owned()), Attr::DType);
                self.take()?;
                Ok(attr)
            }
            Token::Mark('[') => self.list_attr(),
            _ => Err(self.unexpected(
                "the value of an attribute: a number, a word, a quoted text or a list of numbers",
            )),
        }
    }

    fn number_attr(&mut self) -> Result<Attr, ParseError> {
        if self.skip_word("true")? {
            return Ok(Attr::Bool(true));
        }
        if self.skip_word("false")? {
            return Ok(Attr::Bool(false));
        }
        let at = self.at();
        let numeral = self.numeral("a number")?;
        let attr = if numeral.is_integer() {
            integer(numeral).map(Attr::Int)
        } else {
            numeral.float().map(Attr::Float)
        };
        attr.ok_or_else(|| self.error(at, self.not_a(at, WIDTH)))
    }

    fn list_attr(&mut self) -> Result<Attr, ParseError> {
        let start = self.at();
        let (mut integers, mut floats) = (Vec::new(), Vec::new());
        self.mark('[')?;
        self.list(']', |cursor| {
            let at = cursor.at();
            let numeral = cursor.numeral("a number")?;
            let kept = if numeral.is_integer() {
                integer(numeral).map(|value| integers.push(value))
            } else {
                numeral.float().map(|value| floats.push(value))
            };
            kept.ok_or_else(|| cursor.error(at, cursor.not_a(at, WIDTH)))
        })?;
        match (integers.is_empty(), floats.is_empty()) {
            (_, true) => Ok(Attr::Ints(integers)),
            (true, false) => Ok(Attr::Floats(floats)),
            (false, false) => {
                let expected = "a list of integers or a list of numbers with points, not of both".to_owned();
                let kind = ParseErrorKind::Unexpected { found: "a mixed list".to_owned(), expected };
                Err(self.error(start, kind))
            }
        }
    }
}

const WIDTH: &str = "a number that an attribute holds: integers have 64 bits, others 32";

fn integer(numeral: Numeral<'_>) -> Option<i64> {
    numeral.integer().and_then(|value| i64::try_from(value).ok())
}

impl StatedAttrs<'_> {
    /// Writes the attributes into `op`. An error comes with the place of the value that it is about.
    pub(super) fn write(mut self, op: &mut Op) -> Result<(), (Option<usize>, ParseErrorKind)> {
        let name = op.def().name();
        let refused = |at, error| (at, ParseErrorKind::Attr { op: name, error });
        let mut write = Write { stated: &mut self.0, known: Vec::new(), at: None };
        if let Err(error) = op.def_mut().attrs(&mut write) {
            return Err(refused(write.at, error));
        }
        let known = write.known.join(", ");
        match self.0.into_iter().next() {
            Some((attr, (at, _))) => {
                Err(refused(Some(at), AttrError::Unknown { name: attr.to_owned(), known }))
            }
            None => Ok(()),
        }
    }
}

/// Moves attributes from the text to the fields of an operation.
struct Write<'w, 't> {
    stated: &'w mut BTreeMap<&'t str, (usize, Attr)>,
    known: Vec<&'static str>,
    /// Where the attribute was that was refused.
    at: Option<usize>,
}

impl AttrVisitor for Write<'_, '_> {
    fn visit(&mut self, name: &'static str, value: &mut dyn AttrValue) -> Result<(), AttrError> {
        self.known.push(name);
        let Some((at, attr)) = self.stated.remove(name) else { return Ok(()) };
        value.set_attr(&attr).map_err(|expected| {
            self.at = Some(at);
            AttrError::Kind { name: name.to_owned(), found: describe(&attr), expected }
        })
    }
}

fn describe(attr: &Attr) -> String {
    match attr {
        Attr::Str(text) => format!("`{}`", super::lex::shorten(text)),
        Attr::Int(value) => value.to_string(),
        other => other.kind().to_owned(),
    }
}
