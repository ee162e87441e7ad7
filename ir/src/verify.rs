//! The verifier: whether a graph is what its two doors promise. All errors are collected, and each is shown inside the
//! printed node that it is about.
//!
//! # Rules
//!
//! 1. **Live operands.** Each operand, and each output, is a result of a node that is there.
//! 2. **Uses.** The readers of a value are exactly the operands that name it; a result knows its producer.
//! 3. **No cycles.** No node depends on its own result.
//! 4. **Arity and types.** The type rule of each operation accepts the operands. The types of the results are those
//!    that it gives, or say less of a size that is known now, or more of one that the rule knows nothing of.
//! 5. **Known elements.** What is known of a value's elements has the sizes of its type.
//! 6. **Inputs.** Every input is listed exactly once and has a name; nothing else is listed.
//! 7. **Names.** No two values have one name, and no two outputs.
//! 8. **Weights.** Every weight node names a weight that is there, of the node's type.
//! 9. **Quantization.** Stored elements are integers or narrow floats that stand for floats; scales are positive; there
//!    are as many as the axis asks for; zero points are values of the stored type.
//! 10. **Symbols.** Types mention only symbols of the graph.

use std::fmt;

use crate::entity::Entity;
use crate::graph::{Graph, NodeId, NodeRef, ValueId, ValueRef};
use crate::loc::Name;
use crate::ops::InferError;
use crate::text::LinePrinter;
use crate::types::{Dim, Encoded, Known};

/// All rules that a graph breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyErrors(Vec<VerifyError>);

/// A rule that a graph breaks, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyError {
    /// The node, when there is one.
    pub node: Option<NodeId>,
    /// The operand, counted from 0, when it is about one.
    pub operand: Option<usize>,
    /// What is wrong.
    pub kind: VerifyErrorKind,
    /// The node with the message below it.
    shown: String,
}

/// What is wrong with a graph.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyErrorKind {
    /// An operand's producer is not there.
    #[error("{value} is not in the graph: its producer was erased")]
    Erased {
        /// The value.
        value: ValueId,
    },
    /// An operand is not, or not once, among the readers of its value.
    #[error("{value} is read here, but this is listed {listed} times among its readers")]
    Use {
        /// The value.
        value: ValueId,
        /// How often.
        listed: usize,
    },
    /// A node is listed as a reader more or less often than it reads.
    #[error("{operands} operands, but {edges} edges lead here")]
    Uses {
        /// How many operands it has.
        operands: usize,
        /// How many readings are listed.
        edges: usize,
    },
    /// A result does not name its producer.
    #[error("result {value} does not know that it comes from here")]
    Result {
        /// The result.
        value: ValueId,
    },
    /// Some node depends on its own result.
    #[error("a node depends on its own result")]
    Cycle,
    /// The type rule does not accept the operands.
    #[error("{0}")]
    Infer(InferError),
    /// The node has another number of results than its operation gives.
    #[error("{found} results, but the operation has {expected}")]
    Results {
        /// How many there are.
        found: usize,
        /// How many there should be.
        expected: usize,
    },
    /// A result has a type that its type rule does not allow.
    #[error("the result is {found}, but the operands make it {expected}")]
    Type {
        /// The type it has.
        found: String,
        /// The type that the rule gives.
        expected: String,
    },
    /// What is known of the elements does not fit the type.
    #[error("the result is {ty}, but elements of {known:?} are known of it")]
    Known {
        /// The type.
        ty: String,
        /// The sizes of what is known.
        known: Vec<usize>,
    },
    /// Something that is no input is listed as one.
    #[error("{node} is listed as an input, but is none")]
    NotAnInput {
        /// The node.
        node: NodeId,
    },
    /// An input is listed twice.
    #[error("the input is listed twice")]
    InputTwice,
    /// An input is not listed.
    #[error("the input is not listed among the inputs of the graph")]
    UnlistedInput,
    /// An input has no name.
    #[error("an input needs a name, by which callers pass it")]
    NamelessInput,
    /// An output is not there.
    #[error("output `{output}` is {value}, which is not there")]
    Output {
        /// The output.
        output: Name,
        /// Its value.
        value: ValueId,
    },
    /// Two outputs have one name.
    #[error("two outputs are called `{output}`")]
    OutputTwice {
        /// The name.
        output: Name,
    },
    /// Two values have one name.
    #[error("the name `{name}` is that of another value too")]
    Name {
        /// The name.
        name: Name,
    },
    /// The index of names is not that of the values.
    #[error("{named} values have names, but {listed} names are listed")]
    Names {
        /// How many values have one.
        named: usize,
        /// How many are listed.
        listed: usize,
    },
    /// A weight node names a weight that is not there.
    #[error("the graph has no weight of that number and type")]
    Weight,
    /// A quantization does not fit the type that it is part of.
    #[error("the quantization of {ty} does not fit: {why}")]
    Quant {
        /// The type.
        ty: String,
        /// Why not.
        why: String,
    },
    /// A type mentions a symbol that the graph does not have.
    #[error("{ty} mentions a symbol that the graph does not have")]
    Symbol {
        /// The type.
        ty: String,
    },
}

/// Something wrong, before it is shown.
pub(crate) struct Finding {
    node: Option<NodeId>,
    operand: Option<usize>,
    kind: VerifyErrorKind,
}

impl Finding {
    pub(crate) fn graph(kind: VerifyErrorKind) -> Self {
        Self { node: None, operand: None, kind }
    }

    pub(crate) fn node(node: NodeId, kind: VerifyErrorKind) -> Self {
        Self { node: Some(node), operand: None, kind }
    }

    pub(crate) fn operand(node: NodeId, operand: usize, kind: VerifyErrorKind) -> Self {
        Self { node: Some(node), operand: Some(operand), kind }
    }
}

/// Checks all rules.
pub fn verify(graph: &Graph) -> Result<(), VerifyErrors> {
    let mut found = graph.inconsistencies();
    // Types are looked at only where the tables agree, as they are found through those.
    if found.is_empty() {
        for node in graph.nodes() {
            check_types(graph, node, &mut found);
            for value in node.results() {
                check_value(graph, value, &mut found);
            }
        }
    }
    if found.is_empty() {
        return Ok(());
    }
    let printer = LinePrinter::new(graph, &graph.any_order());
    Err(VerifyErrors(found.into_iter().map(|finding| show(graph, &printer, finding)).collect()))
}

impl VerifyErrors {
    /// The errors, by node.
    pub fn errors(&self) -> &[VerifyError] {
        &self.0
    }
}

impl fmt::Display for VerifyErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            f.write_str(if index > 0 { "\n\n" } else { "" })?;
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for VerifyErrors {}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl std::error::Error for VerifyError {}

/// Rule 4.
fn check_types(graph: &Graph, node: NodeRef<'_>, found: &mut Vec<Finding>) {
    let types = match graph.retype(node.id()) {
        Ok(types) => types,
        Err(error) => {
            let operand = error.operand_index(node.op().def().operands(), node.operands().len());
            let kind = VerifyErrorKind::Infer(error);
            found.push(Finding { node: Some(node.id()), operand, kind });
            return;
        }
    };
    if types.len() != node.results().len() {
        let kind = VerifyErrorKind::Results { found: node.results().len(), expected: types.len() };
        found.push(Finding::node(node.id(), kind));
        return;
    }
    let symbols = graph.symbols();
    for (value, expected) in node.results().zip(&types) {
        if !expected.allows(value.ty(), symbols.len(), symbols) {
            let (stored, expected) = (symbols.show_type(value.ty()), symbols.show_type(expected));
            let kind = VerifyErrorKind::Type { found: stored.to_string(), expected: expected.to_string() };
            found.push(Finding::node(node.id(), kind));
        }
    }
}

/// Rules 5, 9 and 10.
fn check_value(graph: &Graph, value: ValueRef<'_>, found: &mut Vec<Finding>) {
    let (ty, node) = (value.ty(), value.producer().id());
    let shown = || graph.symbols().show_type(ty).to_string();
    if ty.shape.iter().flat_map(Dim::symbols).any(|symbol| symbol.index() >= graph.symbols().len()) {
        found.push(Finding::node(node, VerifyErrorKind::Symbol { ty: ty.to_string() }));
        return;
    }
    let known: Option<&[usize]> = value.known().map(|known| match known {
        Known::Constant(tensor) => tensor.sizes(),
        Known::Symbolic(tensor) => &tensor.sizes,
    });
    if let Some(known) = known {
        let fits = |(size, dim): (&usize, &Dim)| dim.known() == Some(*size as u64);
        if known.len() != ty.rank() || !known.iter().zip(ty.shape.iter()).all(fits) {
            found.push(Finding::node(node, VerifyErrorKind::Known { ty: shown(), known: known.to_vec() }));
        }
    }
    if let Some(why) = Encoded::of(ty).and_then(|encoded| encoded.misfit(&ty.shape)) {
        found.push(Finding::node(node, VerifyErrorKind::Quant { ty: shown(), why }));
    }
}

/// The finding inside the printed node, with the node's origin.
fn show(graph: &Graph, printer: &LinePrinter<'_>, finding: Finding) -> VerifyError {
    let Finding { node, operand, kind } = finding;
    let shown = match node.filter(|node| graph.is_printable(*node)) {
        None => format!("graph @{}: {kind}", graph.name()),
        Some(node) => {
            let line = printer.line(node);
            let place = operand.and_then(|index| line.operands.get(index)).unwrap_or(&line.op);
            let before = line.text.get(..place.start).map_or(0, |text| text.chars().count());
            let marked = line.text.get(place.clone()).map_or(1, |text| text.chars().count().max(1));
            let (indent, carets) = (" ".repeat(before + 2), "^".repeat(marked));
            let origin = graph.node(node).loc();
            format!("  {}\n{indent}{carets} {kind}\n{indent}from {origin}", line.text)
        }
    };
    VerifyError { node, operand, kind, shown }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::{NoWeights, parse};

    fn quantized(ty: &str) -> String {
        let text = format!("quad 1\ngraph @main(%n: i64[1], %x: {ty}) {{ return }}");
        let module = parse(&text, &NoWeights).expect("a graph");
        verify(&module.graphs[0]).map_or_else(|errors| errors.to_string(), |()| String::new())
    }

    #[test]
    fn quantization_must_fit() {
        assert_eq!(quantized("u8[2, n] quant(scale = [1.0, 2.0], zero_point = [0, 255], axis = 0)"), "");
        assert_eq!(
            quantized("i4[7] quant(scale = [1.0, 2.0], zero_point = [0, 0], axis = 0, block = 4)"),
            ""
        );
        let cases = [
            (
                "u8[3] quant(scale = [1.0, 2.0], zero_point = [0, 0], axis = 0)",
                "2 scales where axis 0 asks for 3",
            ),
            ("u8[3] quant(scale = [1.0], zero_point = [256])", "zero point 256 is no value of u8"),
            ("u8[3] quant(scale = [1.0], zero_point = [0], axis = 1)", "there is no axis 1"),
            ("u8[3] quant(scale = [1.0], zero_point = [0], block = 4)", "blocks need an axis"),
            ("u8[3] quant(scale = [1.0], zero_point = [0], axis = 0, block = 0)", "blocks have no elements"),
            ("f32[3] quant(scale = [1.0], zero_point = [0])", "stored elements cannot be f32"),
            ("u8[3] quant(scale = [1.0], zero_point = [0], of = u8)", "real numbers cannot be u8"),
        ];
        for (ty, expected) in cases {
            let message = quantized(ty);
            assert!(message.contains(expected), "{message:?} of {ty} lacks {expected:?}");
        }
    }

    #[test]
    fn an_error_is_shown_in_its_line() {
        let message = quantized("f32[3] quant(scale = [1.0], zero_point = [0])");
        let ty = "f32[3] quant(scale = [1.0], zero_point = [0], of = f32)";
        let expected = format!(
            "  %x = input : {ty}\n       ^^^^^ the quantization of {ty} does not fit: stored elements cannot be f32\n       \
             from line 2"
        );
        assert_eq!(message, expected);
    }
}
