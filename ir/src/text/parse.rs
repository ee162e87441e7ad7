//! Parsing.

use std::collections::BTreeSet;

use rustc_hash::FxHashMap;

use super::cursor::Cursor;
use super::error::{ParseError, ParseErrorKind, error_at};
use super::lex::{Token, shorten};
use super::parse_type::Nameless;
use super::source::WeightSource;
use crate::attr::{Attr, AttrValue};
use crate::graph::{Graph, Misplaced, Output, ValueId};
use crate::loc::Loc;
use crate::module::Module;
use crate::ops::source::Binding;
use crate::types::TensorType;
use crate::weights::{Digest, WeightId};

/// Bytes of text beyond which nothing is read. The largest diffusion models take about one megabyte.
pub(super) const MAX_TEXT: usize = 16 << 20;

/// Nodes that one text may have.
const MAX_NODES: usize = 1 << 18;

/// Reads a module. The bytes of weights that the text names by digest come from `weights`.
pub fn parse(text: &str, weights: &dyn WeightSource) -> Result<Module, ParseError> {
    if text.len() > MAX_TEXT {
        return Err(error_at(text, 0, ParseErrorKind::TooLarge { what: "bytes of text", limit: MAX_TEXT }));
    }
    let mut cursor = Cursor::new(text)?;
    version(&mut cursor)?;
    let mut module = Module::default();
    let mut budget = MAX_NODES;
    while *cursor.peek() != Token::End {
        cursor.word("graph")?;
        let at = cursor.at();
        let Token::Global(name) = cursor.peek().clone() else {
            return Err(cursor.unexpected("the name of a graph, such as @main"));
        };
        cursor.take()?;
        if module.graphs.iter().any(|graph| **graph.name() == *name) {
            return Err(cursor.error(at, ParseErrorKind::Duplicate(format!("graph @{}", shorten(&name)))));
        }
        let mut parser = GraphParser {
            cursor: &mut cursor,
            source: weights,
            graph: Graph::new(&*name),
            numbered: FxHashMap::default(),
            nameless: Nameless::default(),
            weights: FxHashMap::default(),
            budget: &mut budget,
        };
        parser.inputs()?;
        parser.body()?;
        module.graphs.push(parser.graph);
    }
    Ok(module)
}

fn version(cursor: &mut Cursor<'_>) -> Result<(), ParseError> {
    if !cursor.skip_word("quad")? {
        return Err(cursor.unexpected("`quad 1`, with which every text starts"));
    }
    match cursor.peek() {
        Token::Number("1") => cursor.take().map(|_| ()),
        other => Err(cursor.error(cursor.at(), ParseErrorKind::Version(other.describe()))),
    }
}

/// Reads one graph.
pub(super) struct GraphParser<'p, 't> {
    pub(super) cursor: &'p mut Cursor<'t>,
    pub(super) source: &'p dyn WeightSource,
    pub(super) graph: Graph,
    pub(super) numbered: FxHashMap<u64, ValueId>,
    pub(super) nameless: Nameless,
    /// Weights that were named by digest before.
    pub(super) weights: FxHashMap<(Digest, TensorType), WeightId>,
    /// Nodes that the text may still have.
    pub(super) budget: &'p mut usize,
}

impl GraphParser<'_, '_> {
    fn inputs(&mut self) -> Result<(), ParseError> {
        self.cursor.mark('(')?;
        while !self.cursor.skip_mark(')')? {
            self.input()?;
            if !self.cursor.skip_mark(',')? {
                return self.cursor.mark(')');
            }
        }
        Ok(())
    }

    /// `%x: f32[1, 4]` or `%a: f32[8, 320] adapter`.
    fn input(&mut self) -> Result<(), ParseError> {
        let (at, line) = (self.cursor.at(), self.cursor.line());
        let Token::Value(name) = self.cursor.peek().clone() else {
            return Err(self.cursor.unexpected("an input with a name, such as %x"));
        };
        self.cursor.take()?;
        self.require_new(at, &name)?;
        self.cursor.mark(':')?;
        let stated = self.cursor.ty()?;
        let ty = stated.resolve(self.cursor, self.graph.symbols_mut(), &mut self.nameless, None)?;
        let binding_at = self.cursor.at();
        let mut binding = Binding::default();
        if let Token::Word(word) = *self.cursor.peek() {
            self.cursor.take()?;
            binding.set_attr(&Attr::Str(word.to_owned())).map_err(|expected| {
                self.cursor
                    .error(binding_at, ParseErrorKind::Unexpected { found: format!("`{word}`"), expected })
            })?;
        }
        self.spend(at)?;
        let added = self.graph.add_input(&name, ty, binding, Loc::Text { line, path: None });
        added.map(|_| ()).map_err(|error| self.cursor.error(at, ParseErrorKind::Add(error)))
    }

    fn body(&mut self) -> Result<(), ParseError> {
        self.cursor.mark('{')?;
        loop {
            match self.cursor.peek() {
                Token::Word("meta") => self.meta()?,
                Token::Word("return") => {
                    self.outputs()?;
                    return self.cursor.mark('}');
                }
                Token::Value(_) | Token::Numbered(_) => self.node()?,
                _ => {
                    return Err(self
                        .cursor
                        .unexpected("a node such as `%y = relu(%x) : f32[4]`, `meta` or `return`"));
                }
            }
        }
    }

    /// `meta "key" = "value"`.
    fn meta(&mut self) -> Result<(), ParseError> {
        self.cursor.word("meta")?;
        let at = self.cursor.at();
        let key = self.cursor.quoted("a key in quotes")?;
        self.cursor.mark('=')?;
        let value = self.cursor.quoted("a text in quotes")?.into_owned();
        match self.graph.metadata_mut().insert(key.clone().into_owned(), value) {
            Some(_) => {
                Err(self.cursor.error(at, ParseErrorKind::Duplicate(format!("metadata {:?}", shorten(&key)))))
            }
            None => Ok(()),
        }
    }

    /// `return "name" = %y, ..`.
    fn outputs(&mut self) -> Result<(), ParseError> {
        let at = self.cursor.at();
        self.cursor.word("return")?;
        let mut outputs = Vec::new();
        let mut names = BTreeSet::new();
        while let Token::Quoted(_) = self.cursor.peek() {
            let name_at = self.cursor.at();
            let name = self.cursor.quoted("the name of an output in quotes")?;
            self.cursor.mark('=')?;
            let value = self.value()?;
            if !names.insert(name.clone()) {
                let kind = ParseErrorKind::Duplicate(format!("output {:?}", shorten(&name)));
                return Err(self.cursor.error(name_at, kind));
            }
            outputs.push(Output { name: name.into(), value });
            if !self.cursor.skip_mark(',')? {
                break;
            }
        }
        let misplaced = |error: Misplaced| ParseErrorKind::UnknownValue(error.value.to_string());
        self.graph.set_outputs(outputs).map_err(|error| self.cursor.error(at, misplaced(error)))
    }

    /// Counts one more node.
    pub(super) fn spend(&mut self, at: usize) -> Result<(), ParseError> {
        match self.budget.checked_sub(1) {
            Some(left) => *self.budget = left,
            None => {
                return Err(self
                    .cursor
                    .error(at, ParseErrorKind::TooLarge { what: "nodes", limit: MAX_NODES }));
            }
        }
        Ok(())
    }

    /// The name `name` at `at` must not be there yet.
    pub(super) fn require_new(&self, at: usize, name: &str) -> Result<(), ParseError> {
        match self.graph.find(name) {
            Some(_) => {
                Err(self.cursor.error(at, ParseErrorKind::Duplicate(format!("the value %{}", shorten(name)))))
            }
            None => Ok(()),
        }
    }

    /// `%name` or `%12`, defined above.
    pub(super) fn value(&mut self) -> Result<ValueId, ParseError> {
        let at = self.cursor.at();
        let found = match self.cursor.peek() {
            Token::Value(name) => self.graph.find(name).map(crate::graph::ValueRef::id),
            Token::Numbered(digits) => {
                digits.parse().ok().and_then(|number: u64| self.numbered.get(&number).copied())
            }
            _ => return Err(self.cursor.unexpected("a value such as %x")),
        };
        let unknown = |token: &Token<'_>| ParseErrorKind::UnknownValue(token.describe());
        let value = found.ok_or_else(|| self.cursor.error(at, unknown(self.cursor.peek())))?;
        self.cursor.take()?;
        Ok(value)
    }
}
