//! Reading the text of a pipeline.

use std::collections::BTreeMap;

use quad_ir::attr::{Attr, AttrError, AttrValue, AttrVisitor, F32Bits};

use super::{Configured, Pipeline, PipelineError, PipelineErrorKind, Step};
use crate::registry::Registry;

/// Parentheses, and pipelines by name, within each other.
pub(super) const MAX_DEPTH: usize = 8;

/// The pipeline that `text` is.
pub(super) fn pipeline(text: &str, registry: &Registry) -> Result<Pipeline, PipelineError> {
    nested(text, registry, 0)
}

fn nested(text: &str, registry: &Registry, depth: usize) -> Result<Pipeline, PipelineError> {
    let mut reader = Reader { text, at: 0, registry, depth };
    let pipeline = reader.list()?;
    match reader.peek() {
        None => Ok(pipeline),
        Some(_) => Err(reader.expected("`,` or the end")),
    }
}

struct Reader<'t> {
    text: &'t str,
    /// Bytes read so far.
    at: usize,
    registry: &'t Registry,
    depth: usize,
}

impl Reader<'_> {
    fn list(&mut self) -> Result<Pipeline, PipelineError> {
        if self.depth > MAX_DEPTH {
            return Err(self.error(self.at, PipelineErrorKind::Depth));
        }
        let mut pipeline = Pipeline::default();
        if self.peek().is_none() {
            return Ok(pipeline);
        }
        loop {
            self.step(&mut pipeline)?;
            if !self.eat(',') {
                return Ok(pipeline);
            }
        }
    }

    fn step(&mut self, pipeline: &mut Pipeline) -> Result<(), PipelineError> {
        if self.eat('(') {
            self.depth += 1;
            let list = self.list()?;
            self.depth -= 1;
            self.want(')', "`,` or `)`")?;
            self.want('*', "`*` after the `)` of a list that is repeated")?;
            pipeline.steps.push(Step::Repeat(list));
            return Ok(());
        }
        self.peek();
        let start = self.at;
        let name = self.word();
        if name.is_empty() {
            return Err(self.expected("the name of a pass, or `(`"));
        }
        if let Some(named) = self.registry.pipeline(&name) {
            pipeline.steps.extend(nested(named.text, self.registry, self.depth + 1)?.steps);
            return Ok(());
        }
        let (pass, default) = self.registry.pass(&name).zip(self.registry.pass(&name)).ok_or_else(|| {
            let hint = self.hint(&name);
            self.error(start, PipelineErrorKind::Unknown { name: name.clone(), hint })
        })?;
        let mut pass = pass;
        let options = if self.eat('{') { self.options()? } else { BTreeMap::new() };
        let mut set = Set { options, known: Vec::new() };
        let outcome = pass.options(&mut set).and_then(|()| set.finish());
        outcome.map_err(|error| self.error(start, PipelineErrorKind::Option { pass: name, error }))?;
        pipeline.steps.push(Step::Pass(Configured::new(pass, default)));
        Ok(())
    }

    fn options(&mut self) -> Result<BTreeMap<String, Attr>, PipelineError> {
        let mut options = BTreeMap::new();
        while !self.eat('}') {
            self.peek();
            let (start, name) = (self.at, self.word());
            self.want('=', "`=` after the name of an option, or `}`")?;
            let value = self.value()?;
            if options.insert(name, value).is_some() {
                let kind = PipelineErrorKind::Syntax {
                    found: "an option for the second time".to_owned(),
                    expected: "each once",
                };
                return Err(self.error(start, kind));
            }
            if !self.eat(',') {
                self.want('}', "`,` or `}`")?;
                break;
            }
        }
        Ok(options)
    }

    fn value(&mut self) -> Result<Attr, PipelineError> {
        if self.eat('[') {
            let mut items = Vec::new();
            while !self.eat(']') {
                // A list of lists is no value of any option, and would let a text nest as deep as it likes.
                if self.peek() == Some('[') {
                    return Err(self.expected("a number"));
                }
                items.push(self.value()?);
                if !self.eat(',') {
                    self.want(']', "`,` or `]`")?;
                    break;
                }
            }
            return self.joined(&items);
        }
        if self.eat('"') {
            let rest = &self.text[self.at..];
            let end = rest.find('"').ok_or_else(|| self.expected("a closing quote"))?;
            self.at += end + 1;
            return Ok(Attr::Str(rest[..end].to_owned()));
        }
        self.peek();
        let word = self.word();
        if word.is_empty() {
            return Err(self.expected("a value"));
        }
        Ok(scalar(&word))
    }

    /// The list that `items` are: numbers of one kind.
    fn joined(&mut self, items: &[Attr]) -> Result<Attr, PipelineError> {
        let ints = items.iter().map(|item| if let Attr::Int(int) = item { Some(*int) } else { None });
        if let Some(ints) = ints.collect() {
            return Ok(Attr::Ints(ints));
        }
        let floats = items.iter().map(|item| match item {
            Attr::Float(float) => Some(*float),
            Attr::Int(int) => Some((*int as f32).into()),
            _ => None,
        });
        let floats: Option<Vec<F32Bits>> = floats.collect();
        floats.map(Attr::Floats).ok_or_else(|| self.expected("a list of numbers"))
    }

    /// The next character that is no space.
    fn peek(&mut self) -> Option<char> {
        let rest = self.text[self.at..].trim_start();
        self.at = self.text.len() - rest.len();
        rest.chars().next()
    }

    fn eat(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        self.at += if found { wanted.len_utf8() } else { 0 };
        found
    }

    fn want(&mut self, wanted: char, expected: &'static str) -> Result<(), PipelineError> {
        if self.eat(wanted) { Ok(()) } else { Err(self.expected(expected)) }
    }

    fn word(&mut self) -> String {
        let rest = &self.text[self.at..];
        let is_part = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '+');
        let word: String = rest.chars().take_while(|c| is_part(*c)).collect();
        self.at += word.len();
        word
    }

    fn hint(&self, name: &str) -> String {
        let passes = self.registry.passes().map(|(_, info, _)| info.name);
        let names = passes.chain(self.registry.pipelines().map(|pipeline| pipeline.name));
        let likeness =
            |known: &&str| known.split('-').filter(|part| name.split('-').any(|word| word == *part)).count();
        match names.max_by_key(likeness).filter(|best| likeness(best) > 0) {
            Some(best) => format!("the nearest name is `{best}`"),
            None => "`quad passes` lists all".to_owned(),
        }
    }

    fn expected(&mut self, expected: &'static str) -> PipelineError {
        let found = self.peek().map_or_else(|| "the end".to_owned(), |found| format!("`{found}`"));
        self.error(self.at, PipelineErrorKind::Syntax { found, expected })
    }

    fn error(&self, at: usize, kind: PipelineErrorKind) -> PipelineError {
        PipelineError { column: self.text[..at].chars().count() + 1, kind }
    }
}

fn scalar(word: &str) -> Attr {
    match word {
        "true" => return Attr::Bool(true),
        "false" => return Attr::Bool(false),
        _ => {}
    }
    if let Ok(int) = word.parse() {
        return Attr::Int(int);
    }
    let starts_as_number = word.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.'));
    match word.parse::<f32>().ok().filter(|_| starts_as_number) {
        Some(float) => Attr::Float(float.into()),
        None => word.parse().map_or_else(|_| Attr::Str(word.to_owned()), Attr::DType),
    }
}

/// Writes stated options into a pass.
struct Set {
    options: BTreeMap<String, Attr>,
    known: Vec<&'static str>,
}

impl Set {
    fn finish(self) -> Result<(), AttrError> {
        match self.options.into_keys().next() {
            Some(name) => Err(AttrError::Unknown { name, known: self.known.join(", ") }),
            None => Ok(()),
        }
    }
}

impl AttrVisitor for Set {
    fn visit(&mut self, name: &'static str, value: &mut dyn AttrValue) -> Result<(), AttrError> {
        self.known.push(name);
        let Some(attr) = self.options.remove(name) else { return Ok(()) };
        let found = format!("{} ({})", quad_ir::text::spell_attr(&attr), attr.kind());
        // A number without a point is a number all the same.
        let as_float = if let Attr::Int(int) = attr { Some(Attr::Float((int as f32).into())) } else { None };
        let outcome = value.set_attr(&attr);
        let outcome =
            outcome.or_else(|expected| as_float.and_then(|attr| value.set_attr(&attr).ok()).ok_or(expected));
        outcome.map_err(|expected| AttrError::Kind { name: name.to_owned(), found, expected })
    }
}
