//! Reading the nodes of a graph.

use std::borrow::Cow;

use super::cursor::Cursor;
use super::error::{ParseError, ParseErrorKind};
use super::lex::{Token, shorten};
use super::literal::{MAX_LITERAL, Numeral, tensor_of};
use super::parse::GraphParser;
use super::parse_attr::StatedAttrs;
use super::parse_type::Stated;
use super::source::Stored;
use crate::graph::{AddError, NodeId, ValueId};
use crate::loc::{Loc, Name};
use crate::ops::{InferError, Op, all_ops};
use crate::tensor::Sizes;
use crate::types::TensorType;
use crate::weights::{Digest, WeightError, WeightId};

/// Operands that one node may have.
const MAX_OPERANDS: usize = 1 << 12;

/// The name of a result as it is written.
enum ResultName<'t> {
    Named(Cow<'t, str>),
    Numbered(u64),
}

/// What stands before the `=` of a node, and where its operation is.
struct Head<'t> {
    results: Vec<(usize, ResultName<'t>)>,
    line: u32,
    /// Where the operation's name is.
    at: usize,
}

/// A node as it is written.
struct StatedNode<'t> {
    head: Head<'t>,
    op: Op,
    operands: Vec<Option<ValueId>>,
    /// Where the operands are.
    places: Vec<usize>,
    types: Vec<Stated>,
    path: Option<Name>,
}

impl<'t> GraphParser<'_, 't> {
    /// `%y = conv(%x, %w, _, %b) {group = 2} : f32[1, 4]`.
    pub(super) fn node(&mut self) -> Result<(), ParseError> {
        let line = self.cursor.line();
        let mut results = vec![self.result()?];
        while self.cursor.skip_mark(',')? {
            results.push(self.result()?);
        }
        self.cursor.mark('=')?;
        let at = self.cursor.at();
        self.spend(at)?;
        let head = Head { results, line, at };
        match self.cursor.any_word("the name of an operation")? {
            "weight" => self.weight(head),
            "input" => {
                let expected = "another operation: inputs are listed after the graph's name".to_owned();
                Err(self
                    .cursor
                    .error(at, ParseErrorKind::Unexpected { found: "`input`".to_owned(), expected }))
            }
            name => {
                let stated = self.operation(head, name)?;
                self.add(stated)
            }
        }
    }

    fn result(&mut self) -> Result<(usize, ResultName<'t>), ParseError> {
        let at = self.cursor.at();
        let name = match self.cursor.peek().clone() {
            Token::Value(name) => {
                self.require_new(at, &name)?;
                ResultName::Named(name)
            }
            Token::Numbered(digits) => {
                let number: u64 = digits.parse().map_err(|_| self.cursor.unexpected("a smaller number"))?;
                if self.numbered.contains_key(&number) {
                    return Err(self
                        .cursor
                        .error(at, ParseErrorKind::Duplicate(format!("the value %{number}"))));
                }
                ResultName::Numbered(number)
            }
            _ => return Err(self.cursor.unexpected("a result such as %y")),
        };
        self.cursor.take()?;
        Ok((at, name))
    }

    fn operation(&mut self, head: Head<'t>, name: &str) -> Result<StatedNode<'t>, ParseError> {
        let unknown = || ParseErrorKind::UnknownOp { name: shorten(name).into_owned(), near: nearest(name) };
        let mut op = Op::by_name(name).ok_or_else(|| self.cursor.error(head.at, unknown()))?;
        let (mut operands, mut places) = (Vec::new(), Vec::new());
        self.cursor.mark('(')?;
        while !self.cursor.skip_mark(')')? {
            if places.len() == MAX_OPERANDS {
                let kind = ParseErrorKind::TooLarge { what: "operands of a node", limit: MAX_OPERANDS };
                return Err(self.cursor.error(head.at, kind));
            }
            places.push(self.cursor.at());
            operands.push(if self.cursor.skip_word("_")? { None } else { Some(self.value()?) });
            if !self.cursor.skip_mark(',')? {
                self.cursor.mark(')')?;
                break;
            }
        }
        let attrs: StatedAttrs<'_> = self.cursor.attrs()?;
        let written = attrs.write(&mut op);
        written.map_err(|(at, kind)| self.cursor.error(at.unwrap_or(head.at), kind))?;
        self.cursor.mark(':')?;
        let mut types = vec![self.cursor.ty()?];
        while self.cursor.skip_mark(',')? {
            types.push(self.cursor.ty()?);
        }
        let path = self.path()?;
        Ok(StatedNode { head, op, operands, places, types, path })
    }

    /// `from "decoder.layers.0.to_q"`, if it is there.
    fn path(&mut self) -> Result<Option<Name>, ParseError> {
        if !self.cursor.skip_word("from")? {
            return Ok(None);
        }
        let path = self.cursor.quoted("a path in quotes")?;
        Ok(Some((&*path).into()))
    }

    fn add(&mut self, stated: StatedNode<'t>) -> Result<(), ParseError> {
        let StatedNode { head, op, operands, places, types, path } = stated;
        let (name, declared) = (op.def().name(), op.def().operands());
        let fresh = self.graph.symbols().len();
        let loc = Loc::Text { line: head.line, path };
        let encodings: Vec<_> = types.iter().map(Stated::encoded).collect();
        let node = self.graph.add_stated(op, &operands, &encodings, loc).map_err(|error| {
            let operand = match &error {
                AddError::Infer { error, .. } => error.operand_index(declared, operands.len()),
                _ => None,
            };
            let at = operand.and_then(|index| places.get(index).copied()).unwrap_or(head.at);
            self.cursor.error(at, ParseErrorKind::Add(error))
        })?;
        let results: Vec<ValueId> = self.graph.node(node).results().map(crate::graph::ValueRef::id).collect();
        if types.len() != results.len() {
            let kind = ParseErrorKind::Results { op: name, found: types.len(), expected: results.len() };
            return Err(self.cursor.error(head.at, kind));
        }
        for (value, stated) in results.iter().zip(types) {
            self.state_type(*value, stated, fresh)?;
        }
        self.name_results(name, head, node)
    }

    /// Gives `value` the type that is written, which must be one that its type rule allows.
    fn state_type(&mut self, value: ValueId, stated: Stated, fresh: usize) -> Result<(), ParseError> {
        let at = stated.at;
        let inferred = self.graph.value(value).ty().clone();
        let symbols = self.graph.symbols_mut();
        let ty = stated.resolve(self.cursor, symbols, &mut self.nameless, Some((&inferred, fresh)))?;
        if inferred.allows(&ty, fresh, self.graph.symbols()) {
            self.graph.state_type(value, ty);
            return Ok(());
        }
        let show = |ty: &TensorType| self.graph.symbols().show_type(ty).to_string();
        Err(self.cursor.error(at, ParseErrorKind::Type { inferred: show(&inferred), stated: show(&ty) }))
    }

    fn name_results(&mut self, op: &'static str, head: Head<'t>, node: NodeId) -> Result<(), ParseError> {
        let values: Vec<ValueId> = self.graph.node(node).results().map(crate::graph::ValueRef::id).collect();
        if values.len() != head.results.len() {
            let kind = ParseErrorKind::Results { op, found: head.results.len(), expected: values.len() };
            return Err(self.cursor.error(head.at, kind));
        }
        for (value, (at, name)) in values.into_iter().zip(head.results) {
            match name {
                ResultName::Named(name) => {
                    // Two results of one node may have been given the same name.
                    self.require_new(at, &name)?;
                    self.graph.set_name(value, &name);
                }
                ResultName::Numbered(number) => {
                    if self.numbered.insert(number, value).is_some() {
                        let kind = ParseErrorKind::Duplicate(format!("the value %{number}"));
                        return Err(self.cursor.error(at, kind));
                    }
                }
            }
        }
        Ok(())
    }

    /// `weight "digest" : type`, `weight [1, 2] : type` or, for a scalar, `weight 1 : type`.
    fn weight(&mut self, head: Head<'t>) -> Result<(), ParseError> {
        let value_at = self.cursor.at();
        let written = self.cursor.weight()?;
        self.cursor.mark(':')?;
        let stated = self.cursor.ty()?;
        let type_at = stated.at;
        let ty = stated.resolve(self.cursor, self.graph.symbols_mut(), &mut self.nameless, None)?;
        let path = self.path()?;
        let id = match written {
            WrittenWeight::Digest(digest) => self.stored_weight(digest, ty),
            WrittenWeight::Elements(elements) => self.literal_weight(type_at, ty, &elements)?,
        };
        let id = id.map_err(|kind| self.cursor.error(value_at, kind))?;
        let added = self.graph.add_weight(id, Loc::Text { line: head.line, path });
        let value = added.map_err(|error| self.cursor.error(head.at, ParseErrorKind::Add(error)))?;
        let node = self.graph.value(value).producer().id();
        self.name_results("weight", head, node)
    }

    /// The weight with `digest`; a text may name one several times.
    fn stored_weight(&mut self, digest: Digest, ty: TensorType) -> Result<WeightId, ParseErrorKind> {
        let key = (digest, ty);
        if let Some(id) = self.weights.get(&key) {
            return Ok(*id);
        }
        let ty = &key.1;
        let id = match self.source.find(digest, ty) {
            Some(Stored::Memory(bytes)) => self.graph.weights_mut().add_memory(ty.clone(), bytes)?,
            Some(Stored::File { file, range }) => {
                self.graph.weights_mut().add_file(ty.clone(), file, range)?
            }
            None => {
                let (ty, hint) = (ty.to_string(), self.source.hint());
                return Err(ParseErrorKind::MissingWeight { digest, ty, hint });
            }
        };
        self.weights.insert(key, id);
        Ok(id)
    }

    /// A weight whose elements are written out.
    fn literal_weight(
        &mut self,
        type_at: usize,
        ty: TensorType,
        elements: &[(usize, Numeral<'_>)],
    ) -> Result<Result<WeightId, ParseErrorKind>, ParseError> {
        let sizes: Option<Sizes> = ty
            .shape
            .as_known()
            .and_then(|sizes| sizes.iter().map(|size| usize::try_from(*size).ok()).collect());
        let count = sizes.as_ref().and_then(|sizes| crate::tensor::element_count(sizes));
        let Some(sizes) = sizes.filter(|_| count == Some(elements.len())) else {
            let expected = format!("a type with the {} elements that are written", elements.len());
            let text = self.graph.symbols().show_type(&ty).to_string();
            return Err(self.cursor.error(type_at, ParseErrorKind::Number { text, expected }));
        };
        let mut bits = Vec::with_capacity(elements.len());
        for (at, element) in elements {
            let text = || ParseErrorKind::Number {
                text: element.to_string(),
                expected: format!("an element of {}", ty.dtype),
            };
            bits.push(element.bits(ty.dtype).ok_or_else(|| self.cursor.error(*at, text()))?);
        }
        let tensor = tensor_of(ty.dtype, &sizes, &bits).map_err(WeightError::from);
        let added = tensor.and_then(|tensor| self.graph.weights_mut().add_memory(ty, tensor.bytes().clone()));
        Ok(added.map_err(ParseErrorKind::from))
    }
}

/// What stands after `weight`.
enum WrittenWeight<'t> {
    Digest(Digest),
    /// Elements with their places.
    Elements(Vec<(usize, Numeral<'t>)>),
}

impl<'t> Cursor<'t> {
    fn weight(&mut self) -> Result<WrittenWeight<'t>, ParseError> {
        let at = self.at();
        if let Token::Quoted(text) = self.peek() {
            let digest = text.parse::<Digest>().map_err(|_| ParseErrorKind::Number {
                text: shorten(text).into_owned(),
                expected: "a digest of 32 hexadecimal digits".to_owned(),
            });
            let digest = digest.map_err(|kind| self.error(at, kind))?;
            self.take()?;
            return Ok(WrittenWeight::Digest(digest));
        }
        let mut elements = Vec::new();
        if !self.skip_mark('[')? {
            elements.push((at, self.numeral("a digest in quotes, a list of elements, or one element")?));
            return Ok(WrittenWeight::Elements(elements));
        }
        self.list(']', |cursor| {
            elements.push((cursor.at(), cursor.numeral("an element")?));
            if elements.len() as u64 <= MAX_LITERAL {
                return Ok(());
            }
            let limit = usize::try_from(MAX_LITERAL).unwrap_or(usize::MAX);
            Err(cursor.error(at, ParseErrorKind::TooLarge { what: "elements written out", limit }))
        })?;
        Ok(WrittenWeight::Elements(elements))
    }
}

impl InferError {
    /// Which of `count` operands of an operation that declares `declared` the error is about.
    pub(crate) fn operand_index(
        &self,
        declared: &'static [crate::ops::Operand],
        count: usize,
    ) -> Option<usize> {
        let (Self::Missing { operand } | Self::Operand { operand, .. }) = self else { return None };
        (0..count).find(|index| crate::ops::operand_name(declared, *index) == *operand)
    }
}

/// The operation whose name differs least from `name`, if it is near.
fn nearest(name: &str) -> Option<&'static str> {
    // Words longer than any name are near none; comparing them would only take time.
    if name.len() > 40 {
        return None;
    }
    let distance = |op: &Op| (edit_distance(name, op.def().name()), op.def().name());
    let (distance, near) = all_ops().iter().map(distance).min()?;
    (distance <= 1 + name.len() / 4).then_some(near)
}

/// How many letters must be inserted, removed or exchanged to make one word of the other.
fn edit_distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in right.bytes().enumerate() {
            let exchanged = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = exchanged.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}
