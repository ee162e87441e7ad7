//! How names are spelled: plain words as they are, anything else in quotes.

use std::fmt::Write as _;

use super::lex::is_word;
use crate::attr::Attr;
use crate::dtype::DType;
use crate::entity::{Entity, EntityMap};
use crate::graph::{Graph, NodeId, NodeRef, ValueId};
use crate::types::{Dim, SymId, TensorType, write_shape};

/// `text` in quotes, with escapes where they are needed.
pub(super) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            control if control.is_control() => quoted.push_str(&control.escape_unicode().to_string()),
            plain => quoted.push(plain),
        }
    }
    quoted.push('"');
    quoted
}

/// `text` as a word, or in quotes when it is none.
pub(super) fn word_or_quote(text: &str) -> String {
    if is_word(text) { text.to_owned() } else { quote(text) }
}

/// The value of an attribute.
pub fn spell_attr(attr: &Attr) -> String {
    let list = |items: Vec<String>| format!("[{}]", items.join(", "));
    match attr {
        Attr::Bool(value) => value.to_string(),
        Attr::Int(value) => value.to_string(),
        Attr::Ints(values) => list(values.iter().map(ToString::to_string).collect()),
        Attr::Float(value) => value.to_string(),
        Attr::Floats(values) => list(values.iter().map(ToString::to_string).collect()),
        Attr::Str(text) if means_something(text) => quote(text),
        Attr::Str(text) => word_or_quote(text),
        Attr::DType(dtype) => dtype.to_string(),
    }
}

/// Whether a word would be read as something other than a text.
fn means_something(word: &str) -> bool {
    matches!(word, "true" | "false" | "inf" | "nan") || word.parse::<DType>().is_ok()
}

/// The spelling of every value and symbol of a graph when its nodes are printed in a given order.
pub(super) struct Spellings {
    values: EntityMap<ValueId, String>,
    symbols: EntityMap<SymId, String>,
}

impl Spellings {
    /// Numbers what has no name in the order in which it is printed: inputs first, then the results of `order`.
    pub(super) fn new(graph: &Graph, order: &[NodeId]) -> Self {
        let mut numbering = Numbering {
            graph,
            values: vec![None; graph.n_values()],
            symbols: vec![None; graph.symbols().len()],
            next_value: 0,
            next_symbol: 0,
        };
        graph.inputs().for_each(|value| numbering.visit(value.id(), value.ty()));
        let nodes = order.iter().map(|node| graph.node(*node));
        let results =
            nodes.filter(|node| node.is::<crate::ops::Input>().is_none()).flat_map(NodeRef::results);
        results.for_each(|value| numbering.visit(value.id(), value.ty()));
        numbering.finish()
    }

    /// The spelling of a value: `%name`, `%"odd name"` or `%12`.
    pub(super) fn value(&self, value: ValueId) -> &str {
        self.values.get(value).map_or("%?", String::as_str)
    }

    /// The spelling of a type.
    pub(super) fn ty(&self, ty: &TensorType) -> String {
        let mut text = ty.dtype.to_string();
        let symbol = |symbol: SymId| self.symbols.get(symbol).cloned().unwrap_or_else(|| symbol.to_string());
        // Writing to a string cannot fail.
        let _ = write_shape(&mut text, &ty.shape, &symbol);
        if let Some(quant) = &ty.quant {
            let _ = write!(text, " {quant}");
        }
        text
    }
}

struct Numbering<'g> {
    graph: &'g Graph,
    values: Vec<Option<usize>>,
    symbols: Vec<Option<usize>>,
    next_value: usize,
    next_symbol: usize,
}

impl Numbering<'_> {
    fn visit(&mut self, value: ValueId, ty: &TensorType) {
        if let Some(slot @ None) = self.values.get_mut(value.index())
            && self.graph.value(value).name().is_none()
        {
            *slot = Some(self.next_value);
            self.next_value += 1;
        }
        for dim in ty.shape.iter() {
            // Ascending, because a parser numbers those that it meets first inside one size in that order too.
            let mut symbols: Vec<SymId> = Dim::symbols(dim).collect();
            symbols.sort_unstable();
            for symbol in symbols {
                let nameless = self.graph.symbols().name(symbol).is_none();
                let slot = self.symbols.get_mut(symbol.index()).filter(|slot| nameless && slot.is_none());
                if let Some(slot) = slot {
                    *slot = Some(self.next_symbol);
                    self.next_symbol += 1;
                }
            }
        }
    }

    /// Whatever is printed nowhere, because the graph is broken, is spelled by its id.
    fn finish(self) -> Spellings {
        let mut spellings = Spellings { values: EntityMap::new(), symbols: EntityMap::new() };
        for (index, number) in self.values.iter().enumerate() {
            let id = ValueId::from_index(index);
            spellings.values.push(match (self.graph.value(id).name(), number) {
                (Some(name), _) => format!("%{}", word_or_quote(name)),
                (None, Some(number)) => format!("%{number}"),
                (None, None) => format!("%<{id}>"),
            });
        }
        for (index, number) in self.symbols.iter().enumerate() {
            let id = SymId::from_index(index);
            spellings.symbols.push(match (self.graph.symbols().name(id), number) {
                (Some(name), _) => word_or_quote(name),
                (None, Some(number)) => format!("?{number}"),
                (None, None) => format!("<{id}>"),
            });
        }
        spellings
    }
}
