//! Typing a node: the one place where a type rule meets its operands.
//!
//! Building, rewriting, parsing and verifying all ask here, so none of them can accept what another refuses.

use std::borrow::Cow;

use smallvec::{SmallVec, smallvec};

use super::ValueId;
use crate::ops::{
    Arity, Fact, InferError, Inputs, Op, OpTraits, OpVariant, Operands, Quantize, Types, Weight,
};
use crate::tensor::Tensor;
use crate::types::{Encoded, Known, MAX_RANK, TensorType};
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
///
/// A type rule sees quantized operands as the real numbers that they stand for, so its results are real numbers too.
/// `stated` says how each result is stored instead; a result for which there is nothing stays as the rule has it.
pub fn type_node(
    op: &Op,
    facts: &[Option<Fact>],
    stated: &[Option<Encoded>],
    weights: &Weights,
    symbols: usize,
) -> Result<Typed, InferError> {
    let facts = expressed(facts);
    let context = Operands::new(op.def().operands(), &facts, symbols);
    check_arity(&context, op)?;
    let mut types = op.def().infer(&context)?;
    if types.is_empty() || types.len() > MAX_RESULTS {
        return Err(InferError::Unsupported(format!("{} results", types.len())));
    }
    if let Some(ty) = types.iter().find(|ty| !ty.is_representable()) {
        return Err(InferError::TooLarge { ty: ty.to_string() });
    }
    let mut known = known_results(op, &context, &facts, weights, &types);
    known.resize(types.len(), None);
    state(op, &mut types, stated)?;
    // What is known are real numbers, which type rules and passes compute with.
    let quantized = known.iter_mut().zip(&types).filter(|(_, ty)| ty.quant.is_some());
    quantized.for_each(|(known, _)| *known = None);
    Ok(Typed { types, known, symbols: context.next_symbol() })
}

/// What type rules see of operands: quantized ones as real numbers of which nothing is known.
fn expressed(facts: &[Option<Fact>]) -> Cow<'_, [Option<Fact>]> {
    if facts.iter().flatten().all(|fact| fact.ty.quant.is_none()) {
        return Cow::Borrowed(facts);
    }
    let seen = |fact: &Fact| match fact.ty.quant {
        Some(_) => Fact { ty: fact.ty.expressed(), known: None },
        None => fact.clone(),
    };
    facts.iter().map(|fact| fact.as_ref().map(seen)).collect()
}

/// Puts the encodings that are stated into the types of results.
fn state(op: &Op, types: &mut Types, stated: &[Option<Encoded>]) -> Result<(), InferError> {
    let wrong = |result: usize, ty: Option<&TensorType>, why: String| {
        let found = ty.map_or_else(|| "nothing".to_owned(), ToString::to_string);
        Err(InferError::Encoding { result, found, why })
    };
    if Quantize::of(op).is_some() && stated.iter().flatten().next().is_none() {
        return wrong(0, types.first(), "needs an encoding, as `quantize` is nothing without one".to_owned());
    }
    for (result, encoded) in stated.iter().enumerate() {
        let Some(encoded) = encoded else { continue };
        let Some(ty) = types.get_mut(result) else {
            return wrong(result, None, "is there to be encoded".to_owned());
        };
        // Inputs and weights say themselves how they are stored.
        if Encoded::of(ty).as_ref() == Some(encoded) {
            continue;
        }
        if ty.quant.is_some() || ty.dtype != encoded.quant.expressed {
            let why = format!("cannot be stored as {} {}", encoded.stored, encoded.quant);
            return wrong(result, Some(ty), why);
        }
        if let Some(why) = encoded.misfit(&ty.shape) {
            return wrong(result, Some(ty), format!("cannot be stored as {}: {why}", encoded.stored));
        }
        *ty = encoded.ty(ty.shape.clone());
    }
    Ok(())
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
    let known = if is_small(ty) && ty.quant.is_none() { known_weight(weights, weight) } else { None };
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::DType;
    use crate::graph::{Graph, Patch};
    use crate::loc::Loc;
    use crate::ops::source::Binding;
    use crate::ops::{Add, ArgMax, Relu, ShapeOf};
    use crate::tensor::Tensor;
    use crate::types::Quant;

    fn encoded(stored: DType, scale: f32, zero_point: i32) -> Encoded {
        Encoded::per_tensor(stored, scale, zero_point).expect("a positive scale")
    }

    fn quantized_input() -> (Graph, ValueId) {
        let mut graph = Graph::new("main");
        let ty = encoded(DType::U8, 0.5, 3).ty([crate::types::Dim::Known(4)].into_iter().collect());
        let x = graph.add_input("x", ty, Binding::Run, Loc::Built).expect("an input");
        (graph, x)
    }

    #[test]
    fn results_are_real_numbers_unless_they_are_stated() {
        let (mut graph, x) = quantized_input();
        let plain = graph.add_value(Relu, &[x], Loc::Built).expect("typed");
        assert_eq!(*graph.value(plain).ty(), TensorType::known(DType::F32, &[4]));
        let to = encoded(DType::I16, 0.25, -7);
        let stated = graph.add_value_stated(Relu, &[x], to.clone(), Loc::Built).expect("typed");
        assert_eq!(Encoded::of(graph.value(stated).ty()), Some(to));
        assert!(graph.node(graph.value(stated).producer().id()).touches_quantized());
        assert!(crate::verify::verify(&graph).is_ok());
    }

    #[test]
    fn what_cannot_be_stated_is_refused() {
        let (mut graph, x) = quantized_input();
        let mut refused = |op: Op, stated: &[Option<Encoded>]| {
            let error = graph.add_stated(op, &[Some(x)], stated, Loc::Built).expect_err("refused");
            error.to_string()
        };
        let byte = encoded(DType::U8, 0.5, 0);
        let message = refused(ArgMax::default().into(), &[Some(byte.clone())]);
        assert!(message.contains("result 0: i64[1] cannot be stored as u8 quant("), "{message}");
        let outside = Encoded::new(DType::I8, Quant::per_tensor(1.0, 200).expect("a scale"));
        let message = refused(Relu.into(), &[Some(outside)]);
        assert!(
            message.contains("f32[4] cannot be stored as i8: zero point 200 is no value of i8"),
            "{message}"
        );
        let message = refused(Relu.into(), &[None, Some(byte)]);
        assert!(message.contains("result 1: nothing is there to be encoded"), "{message}");
        let message = refused(Quantize.into(), &[]);
        assert!(message.contains("needs an encoding"), "{message}");
        let axis = Quant { axis: Some(0), ..Quant::per_tensor(1.0, 0).expect("a scale") };
        let message = refused(Relu.into(), &[Some(Encoded::new(DType::I8, axis))]);
        assert!(message.contains("1 scales where axis 0 asks for 4"), "{message}");
    }

    #[test]
    fn stored_elements_are_not_taken_for_real_numbers() {
        let (mut graph, x) = quantized_input();
        let stored = Tensor::from_i64(DType::I8, &[4], vec![1, 2, 3, 4]).expect("four");
        let plain = graph.weights_mut().add_tensor(&stored).expect("its own bytes");
        let quant = encoded(DType::I8, 2.0, 0).quant;
        let weight = graph.weights_mut().reinterpret(plain, Some(quant)).expect("there");
        let w = graph.add_weight(weight, Loc::Built).expect("typed");
        assert!(graph.value(w).constant().is_none());
        let sum = graph.add_value(Add, &[x, w], Loc::Built).expect("both are f32");
        assert!(graph.value(sum).constant().is_none());
        // The sizes of a quantized value are as known as any.
        let sizes = graph.add_value(ShapeOf::default(), &[x], Loc::Built).expect("typed");
        assert_eq!(
            graph.value(sizes).constant().map(|sizes| sizes.to_i64().expect("integers")),
            Some(vec![4])
        );
        let error =
            graph.weights_mut().derive(Relu, &[Some(weight)]).expect_err("recipes are of plain weights");
        assert!(error.to_string().contains("recipes compute with stored elements"), "{error}");
    }

    #[test]
    fn a_patch_states_too_and_replaces_like_with_like() {
        let (mut graph, x) = quantized_input();
        let to = encoded(DType::I16, 0.25, 0);
        let y = graph.add_value_stated(Relu, &[x], to.clone(), Loc::Built).expect("typed");
        graph.set_outputs(vec![crate::graph::Output { name: "y".into(), value: y }]).expect("y is there");
        let mut patch = Patch::new(&graph, "test");
        let other = patch.add_value_stated(Relu, &[x], encoded(DType::I16, 0.5, 0)).expect("typed");
        assert!(patch.replace(y, other).is_err());
        let like = patch.add_like(graph.value(y).producer(), &[Some(x)]).expect("typed");
        let like = patch.results(like)[0];
        patch.replace(y, like).expect("of equal types");
        patch.erase_unread();
        let edit = patch.finish().expect("a change");
        assert!(edit.touches_quantized(&graph));
        graph.apply(edit).expect("it is of this graph");
        graph.compact();
        assert_eq!(Encoded::of(graph.value(graph.outputs()[0].value).ty()), Some(to));
        assert!(crate::verify::verify(&graph).is_ok());
    }
}
