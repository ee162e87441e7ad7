//! Typing a node: the one place where a type rule meets its operands.
//!
//! Building, rewriting, parsing and verifying all ask here, so none of them can accept what another refuses.

use smallvec::{SmallVec, smallvec};

use super::ValueId;
use crate::ops::{Arity, Fact, InferError, Inputs, Op, OpTraits, OpVariant, Operands, Types, Weight};
use crate::tensor::Tensor;
use crate::types::{Known, MAX_RANK, TensorType};
use crate::weights::{Source, WeightId, Weights};

/// Results with more elements than this are not evaluated while a graph is built: shapes are small.
const MAX_KNOWN_ELEMENTS: i64 = 1024;

/// The elements known in one graph, all values together; beyond it results are typed as if nothing was known of them.
/// Shape arithmetic of large models stays far below. A model file made to exhaust memory does not.
pub(super) const MAX_KNOWN_TOTAL: usize = 1 << 22;

/// Elements of a tensor that says sizes or axes: two for each axis, as pads have.
const MAX_SIZES: usize = 2 * MAX_RANK;

/// The results of one operation; their numbers are 16 bits wide.
const MAX_RESULTS: usize = 1 << 15;

/// A node's results before the node exists.
#[derive(Clone, Debug)]
pub struct Typed {
    /// Their types.
    pub types: Types,
    /// What is known of their elements, one entry per type.
    pub known: SmallVec<[Option<Known>; 1]>,
    /// How many symbols the graph has with the fresh ones of `types`.
    pub symbols: usize,
}

impl Typed {
    /// Whether what is known is kept when `left` more elements may be known. A few numbers, as sizes and axes are, always
    /// are, so that a change of a large graph is typed as the graph was: they take little more than their node.
    pub(super) fn keeps_known(&self, left: usize) -> bool {
        let elements = self.known_elements();
        let are_numbers = || self.known.iter().flatten().all(|known| known.constant().is_some());
        elements <= left || elements <= MAX_SIZES && are_numbers()
    }

    /// How many elements are known.
    pub(super) fn known_elements(&self) -> usize {
        self.known.iter().flatten().map(Known::len).sum()
    }
}

/// Types `op` on operands of which `facts` are known, in a graph with the constants `weights` and with `symbols` symbols:
/// for those who weigh nodes before any of them is added.
pub fn type_node(
    op: &Op,
    facts: &[Option<Fact>],
    weights: &Weights,
    symbols: usize,
) -> Result<Typed, InferError> {
    let context = Operands::new(op.def().operands(), facts, symbols);
    check_arity(&context, op)?;
    let types = op.def().infer(&context)?;
    if types.is_empty() || types.len() > MAX_RESULTS {
        return Err(InferError::Unsupported(format!("{} results", types.len())));
    }
    if let Some(ty) = types.iter().find(|ty| !ty.is_representable()) {
        return Err(InferError::TooLarge { ty: ty.to_string() });
    }
    let mut known = known_results(op, &context, facts, weights, &types);
    known.resize(types.len(), None);
    Ok(Typed { types, known, symbols: context.next_symbol() })
}

/// The operands without absent ones at the end, where leaving them out means the same.
pub(super) fn trim_absent<'a>(op: &Op, operands: &'a [Option<ValueId>]) -> &'a [Option<ValueId>] {
    let declared = op.def().operands();
    let absent = |index: usize| {
        let optional = declared.get(index).is_some_and(|operand| operand.arity == Arity::Optional);
        optional && operands[index].is_none()
    };
    let mut length = operands.len();
    while length > 0 && absent(length - 1) {
        length -= 1;
    }
    &operands[..length]
}

/// The weight that `op` is, if it is one.
pub(super) fn op_weight(op: &Op) -> Option<&Weight> {
    Weight::of(op)
}

/// What is known of the results' elements: evaluated where all operands are, else followed symbolically.
fn known_results(
    op: &Op,
    context: &Operands<'_>,
    facts: &[Option<Fact>],
    weights: &Weights,
    types: &[TensorType],
) -> SmallVec<[Option<Known>; 1]> {
    if !types.iter().all(is_small) {
        return SmallVec::new();
    }
    if let Some(weight) = op_weight(op) {
        return smallvec![known_weight(weights, weight.id)];
    }
    if !op.def().traits().contains(OpTraits::PURE) || facts.is_empty() {
        return SmallVec::new();
    }
    let Some(tensors) = constants(facts) else {
        let results = op.def().symbolic_results(context).into_iter();
        return results.map(|tensor| tensor.map(Known::from_symbolic)).collect();
    };
    // An operation that cannot be evaluated here says so when the graph runs.
    let results = op.def().eval(&Inputs::new(op.def().operands(), &tensors), types).unwrap_or_default();
    results.into_iter().map(|tensor| Some(Known::Constant(tensor))).collect()
}

/// What type rules see of a weight, or `None` when it is of another table.
pub(crate) fn weight_fact(weights: &Weights, weight: WeightId) -> Option<Fact> {
    let ty = weights.ty(weight)?;
    let known = if is_small(ty) { known_weight(weights, weight) } else { None };
    Some(Fact { ty: ty.clone(), known })
}

/// The elements of a small weight. A recipe of few elements may rest on large weights, which are not read while a graph
/// is built.
fn known_weight(weights: &Weights, weight: WeightId) -> Option<Known> {
    let is_recipe = matches!(weights.source(weight), Source::Recipe { .. });
    if is_recipe { None } else { weights.tensor(weight).ok().map(Known::Constant) }
}

/// Whether a value of type `ty` is one whose elements are looked at.
fn is_small(ty: &TensorType) -> bool {
    let elements = ty.shape.elements().and_then(|count| count.as_constant());
    elements.is_some_and(|count| (0..=MAX_KNOWN_ELEMENTS).contains(&count))
}

/// The operands' elements, when all of them are numbers.
fn constants(facts: &[Option<Fact>]) -> Option<Vec<Option<Tensor>>> {
    let constant = |fact: &Option<Fact>| match fact {
        Some(fact) => fact.known.as_ref().and_then(Known::constant).cloned().map(Some),
        None => Some(None),
    };
    facts.iter().map(constant).collect()
}

/// Whether the operands given are as many as the operation declares, with none left out that must be there.
fn check_arity(operands: &Operands<'_>, op: &Op) -> Result<(), InferError> {
    let declared = op.def().operands();
    let variadic = declared.last().is_some_and(|operand| operand.arity == Arity::Variadic);
    if !variadic && operands.len() > declared.len() {
        return Err(InferError::TooMany { found: operands.len(), expected: declared.len() });
    }
    for (index, operand) in declared.iter().enumerate() {
        if operand.arity == Arity::One {
            operands.ty(index)?;
        }
    }
    // Of a variadic tail every operand given must be there.
    let tail = if variadic { declared.len() - 1 } else { operands.len() };
    (tail..operands.len()).try_for_each(|index| operands.ty(index).map(|_| ()))
}
