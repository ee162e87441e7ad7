//! Printing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::ops::Range;
use std::sync::LazyLock;

use super::digests::Digests;
use super::literal::{MAX_LITERAL, write_elements};
use super::spelling::{Spellings, quote, spell_attr, word_or_quote};
use crate::attr::{Attr, AttrError, AttrValue, AttrVisitor};
use crate::graph::{Graph, NodeId, NodeRef, ValueRef};
use crate::module::Module;
use crate::ops::source::Binding;
use crate::ops::{Input, Op, OpKind, Weight, all_ops};
use crate::types::TensorType;
use crate::weights::WeightError;

/// The text of a module. Large weights are read, one piece at a time, to name them by their digest.
pub fn print(module: &Module) -> Result<String, WeightError> {
    print_with(module, &Digests::of(module)?)
}

/// The text of one graph, without the line that gives the version.
pub fn print_graph(graph: &Graph) -> Result<String, WeightError> {
    let digests = Digests::of_graphs(std::slice::from_ref(graph))?;
    let mut text = String::new();
    write_graph(&mut text, graph, &digests, 0)?;
    Ok(text)
}

/// The lines of some nodes of `graph`, in topological order, spelled as in the text of the whole graph. Large weights are
/// named by their ids, as their bytes are not read.
pub fn print_nodes(graph: &Graph, nodes: &BTreeSet<NodeId>) -> Result<Vec<String>, WeightError> {
    let order = graph.topo();
    let printer = LinePrinter::new(graph, &order);
    let line = |node: &NodeId| match graph.node(*node).op() {
        Op::Weight(weight) if is_literal(&weight.ty) => {
            let name = printer.spellings.value(graph.node(*node).result().id());
            Ok(format!("{name} = weight {} : {}", literal_text(graph, weight)?, printer.ty(&weight.ty)))
        }
        _ => Ok(printer.line(*node).text),
    };
    order.iter().filter(|node| nodes.contains(node)).map(line).collect()
}

/// As [`print`], with digests that are there already.
pub(super) fn print_with(module: &Module, digests: &Digests) -> Result<String, WeightError> {
    let mut text = String::from("quad 1\n");
    for (index, graph) in module.graphs.iter().enumerate() {
        text.push('\n');
        write_graph(&mut text, graph, digests, index)?;
    }
    Ok(text)
}

/// A printed node.
pub(crate) struct Line {
    pub(crate) text: String,
    /// Where the operands are in it, in bytes.
    pub(crate) operands: Vec<Range<usize>>,
    /// Where the operation's name is.
    pub(crate) op: Range<usize>,
}

/// Prints single nodes of a graph that may be broken, for messages. Weights are not read.
pub(crate) struct LinePrinter<'g> {
    graph: &'g Graph,
    spellings: Spellings,
}

impl<'g> LinePrinter<'g> {
    /// A printer that numbers what has no name as if nodes were printed in `order`.
    pub(crate) fn new(graph: &'g Graph, order: &[NodeId]) -> Self {
        Self { graph, spellings: Spellings::new(graph, order) }
    }

    /// The line of `node`.
    pub(crate) fn line(&self, node: NodeId) -> Line {
        let node = self.graph.node(node);
        match node.op() {
            Op::Input(input) => {
                plain_line(self.spellings.value(node.result().id()), "input", &self.ty(&input.ty))
            }
            Op::Weight(weight) => {
                let what = format!("weight {}", weight.id);
                plain_line(self.spellings.value(node.result().id()), &what, &self.ty(&weight.ty))
            }
            _ => node_line(&self.spellings, node),
        }
    }

    fn ty(&self, ty: &TensorType) -> String {
        self.spellings.ty(ty)
    }
}

fn plain_line(result: &str, what: &str, ty: &str) -> Line {
    let start = result.len() + 3;
    Line { text: format!("{result} = {what} : {ty}"), operands: Vec::new(), op: start..start + what.len() }
}

fn write_graph(text: &mut String, graph: &Graph, digests: &Digests, index: usize) -> Result<(), WeightError> {
    let order = graph.topo();
    let spellings = Spellings::new(graph, &order);
    let inputs: Vec<String> = graph.inputs().map(|input| input_text(&spellings, input)).collect();
    let _ = writeln!(text, "graph @{}({}) {{", word_or_quote(graph.name()), inputs.join(", "));
    for (key, value) in graph.metadata() {
        let _ = writeln!(text, "  meta {} = {}", quote(key), quote(value));
    }
    for node in order.iter().map(|node| graph.node(*node)) {
        match node.op() {
            Op::Input(_) => {}
            Op::Weight(weight) => {
                let elements = weight_text(graph, weight, digests, index)?;
                let (name, ty) = (spellings.value(node.result().id()), spellings.ty(&weight.ty));
                let _ = writeln!(text, "  {name} = weight {elements} : {ty}{}", path_text(node));
            }
            _ => {
                let _ = writeln!(text, "  {}{}", node_line(&spellings, node).text, path_text(node));
            }
        }
    }
    let output = |output: &crate::graph::Output| {
        format!("{} = {}", quote(&output.name), spellings.value(output.value))
    };
    let outputs: Vec<String> = graph.outputs().iter().map(output).collect();
    let space = if outputs.is_empty() { "" } else { " " };
    let _ = writeln!(text, "  return{space}{}\n}}", outputs.join(", "));
    Ok(())
}

/// What is known of where the node is in the program that the model was made from.
fn path_text(node: NodeRef<'_>) -> String {
    node.loc().path().map(|path| format!(" from {}", quote(path))).unwrap_or_default()
}

fn input_text(spellings: &Spellings, input: ValueRef<'_>) -> String {
    let binding = input.producer().is::<Input>().map_or(Binding::Run, |input| input.binding);
    let mut text = format!("{}: {}", spellings.value(input.id()), spellings.ty(input.ty()));
    if binding != Binding::default() {
        text.push(' ');
        text.push_str(&spell_attr(&binding.to_attr()));
    }
    text
}

fn weight_text(
    graph: &Graph,
    weight: &Weight,
    digests: &Digests,
    index: usize,
) -> Result<String, WeightError> {
    if let Some(digest) = digests.get(index, weight.id) {
        return Ok(format!("\"{digest}\""));
    }
    literal_text(graph, weight)
}

/// The elements of a small weight.
fn literal_text(graph: &Graph, weight: &Weight) -> Result<String, WeightError> {
    let tensor = graph.weights().tensor(weight.id)?;
    let elements = write_elements(&tensor)?.join(", ");
    Ok(if tensor.rank() == 0 { elements } else { format!("[{elements}]") })
}

/// Whether the elements of a weight of type `ty` are written out.
pub(super) fn is_literal(ty: &TensorType) -> bool {
    let count = ty.shape.iter().try_fold(1u64, |product, dim| product.checked_mul(dim.known()?));
    count.is_some_and(|count| count <= MAX_LITERAL)
}

fn node_line(spellings: &Spellings, node: NodeRef<'_>) -> Line {
    let results: Vec<&str> = node.results().map(|value| spellings.value(value.id())).collect();
    let types: Vec<String> = node.results().map(|value| spellings.ty(value.ty())).collect();
    let mut text = format!("{} = ", results.join(", "));
    let op = text.len()..text.len() + node.op().def().name().len();
    text.push_str(node.op().def().name());
    text.push('(');
    let mut operands = Vec::new();
    for (index, operand) in node.operands().enumerate() {
        if index > 0 {
            text.push_str(", ");
        }
        let start = text.len();
        text.push_str(operand.map_or("_", |value| spellings.value(value.id())));
        operands.push(start..text.len());
    }
    text.push(')');
    let attrs: Vec<String> = changed_attrs(node.op())
        .into_iter()
        .map(|(name, attr)| format!("{name} = {}", spell_attr(&attr)))
        .collect();
    if !attrs.is_empty() {
        let _ = write!(text, " {{{}}}", attrs.join(", "));
    }
    let _ = write!(text, " : {}", types.join(", "));
    Line { text, operands, op }
}

/// The attributes that differ from the operation's defaults.
fn changed_attrs(op: &Op) -> Vec<(&'static str, Attr)> {
    static DEFAULTS: LazyLock<BTreeMap<OpKind, Vec<(&'static str, Attr)>>> =
        LazyLock::new(|| all_ops().into_iter().map(|op| (op.kind(), attrs(&op))).collect());
    let defaults = DEFAULTS.get(&op.kind()).map_or(&[][..], Vec::as_slice);
    attrs(op).into_iter().filter(|attr| !defaults.contains(attr)).collect()
}

/// All attributes that are there, in the order in which the operation hands them over.
fn attrs(op: &Op) -> Vec<(&'static str, Attr)> {
    struct Collect(Vec<(&'static str, Attr)>);
    impl AttrVisitor for Collect {
        fn visit(&mut self, name: &'static str, value: &mut dyn AttrValue) -> Result<(), AttrError> {
            if !value.is_absent() {
                self.0.push((name, value.to_attr()));
            }
            Ok(())
        }
    }
    let mut collect = Collect(Vec::new());
    // The collector refuses nothing.
    let _ = op.clone().def_mut().attrs(&mut collect);
    collect.0
}
