//! Making the bytes of recipes.
//!
//! A recipe may rest on others, thousands deep, and several may share one. So the recipes that a weight needs are found
//! first, then computed in order, each once, and each is dropped after the last that needs it. The order is that of the
//! ids: a recipe is added after what it is made of.
//!
//! What a recipe rests on is read from its file, not mapped in: pages that were touched through a map would pile up while
//! one recipe after the other is written.

use std::collections::BTreeMap;

use super::{Source, WeightError, WeightId, Weights, sizes};
use crate::graph::{type_node, weight_fact};
use crate::ops::{EvalError, Fact, Inputs, Op};
use crate::tensor::Tensor;
use crate::types::{Known, TensorType};

impl Weights {
    /// Adds the weight that `op`, which has one result, makes of `from`, typed by its rule: a recipe, whose bytes are
    /// made when they are asked for, or the elements, where they are few and `from` holds few elements, too.
    pub fn derive(&mut self, op: impl Into<Op>, from: &[Option<WeightId>]) -> Result<WeightId, WeightError> {
        let op = op.into();
        let fact = |weight: &Option<WeightId>| match weight {
            Some(weight) => {
                weight_fact(self, *weight).map(Some).ok_or(WeightError::Missing { weight: *weight })
            }
            None => Ok(None),
        };
        let facts: Vec<Option<Fact>> = from.iter().map(fact).collect::<Result<_, _>>()?;
        let recipe = |error| WeightError::Recipe { op: op.def().name(), error };
        let typed = type_node(&op, &facts, &[], self, 0).map_err(|error| recipe(error.into()))?;
        let [ty] = &typed.types[..] else {
            let results = format!("a recipe of {} results", typed.types.len());
            return Err(recipe(EvalError::Unsupported(results)));
        };
        match &typed.known[0] {
            Some(Known::Constant(tensor)) => self.add_memory(ty.clone(), tensor.bytes().clone()),
            _ => self.add_recipe(ty.clone(), op, from),
        }
    }
}

/// Computes the elements of the recipe `wanted`.
pub(super) fn evaluate(weights: &Weights, wanted: WeightId) -> Result<Tensor, WeightError> {
    let mut pending = readers(weights, wanted);
    let mut made: BTreeMap<WeightId, Tensor> = BTreeMap::new();
    let order: Vec<WeightId> = pending.keys().copied().collect();
    for weight in order {
        let Source::Recipe { op, from } = weights.source(weight) else { continue };
        let operand = |from: &Option<WeightId>| match from {
            Some(from) => {
                made.get(from).map_or_else(|| read(weights, *from), |made| Ok(made.clone())).map(Some)
            }
            None => Ok(None),
        };
        let operands: Vec<Option<Tensor>> = from.iter().map(operand).collect::<Result<_, _>>()?;
        for from in from.iter().flatten() {
            if let Some(count) = pending.get_mut(from) {
                *count -= 1;
                if *count == 0 {
                    made.remove(from);
                }
            }
        }
        made.insert(weight, cook(&weights.entries[weight].ty, op, &operands)?);
    }
    made.remove(&wanted).ok_or(WeightError::Missing { weight: wanted })
}

/// The recipes that `wanted` needs, itself included, with how often each is read on the way to it.
fn readers(weights: &Weights, wanted: WeightId) -> BTreeMap<WeightId, usize> {
    let mut pending = BTreeMap::from([(wanted, 0)]);
    let mut waiting = vec![wanted];
    while let Some(weight) = waiting.pop() {
        let Source::Recipe { from, .. } = weights.source(weight) else { continue };
        let is_recipe = |from: &&WeightId| matches!(weights.source(**from), Source::Recipe { .. });
        for from in from.iter().flatten().filter(is_recipe) {
            let count = pending.entry(*from).or_insert_with(|| {
                waiting.push(*from);
                0
            });
            *count += 1;
        }
    }
    pending
}

/// The elements of a weight that is no recipe, in memory.
fn read(weights: &Weights, weight: WeightId) -> Result<Tensor, WeightError> {
    let Source::File { file, range } = weights.source(weight) else { return weights.tensor(weight) };
    let ty = &weights.entries[weight].ty;
    let length =
        usize::try_from(range.end - range.start).map_err(|_| WeightError::Type { ty: ty.to_string() })?;
    let io = |error| WeightError::Io { path: file.path().to_owned(), error };
    Tensor::filled_by(ty.dtype, &sizes(ty)?, length, |buffer| file.read_at(range.start, buffer).map_err(io))
}

/// The result of `op`, which must be of type `ty`.
fn cook(ty: &TensorType, op: &Op, operands: &[Option<Tensor>]) -> Result<Tensor, WeightError> {
    let recipe = |error| WeightError::Recipe { op: op.def().name(), error };
    let inputs = Inputs::new(op.def().operands(), operands);
    let mut results = op.def().eval(&inputs, std::slice::from_ref(ty)).map_err(recipe)?;
    let tensor = results
        .pop()
        .ok_or_else(|| recipe(EvalError::Unsupported("the operation has no result".to_owned())))?;
    if tensor.dtype() == ty.dtype && tensor.sizes() == &sizes(ty)?[..] {
        return Ok(tensor);
    }
    Err(recipe(EvalError::Unsupported(format!("it makes {} where {ty} was promised", tensor.ty()))))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::dtype::DType;
    use crate::ops::{Add, Clip, Neg, ReduceMax, Split, Transpose};
    use crate::weights::MappedFile;

    fn vector(weights: &mut Weights, values: &[f32]) -> WeightId {
        let tensor = Tensor::from_vec(&[values.len()], values.to_vec()).expect("a vector");
        weights.add_memory(tensor.ty(), tensor.bytes().clone()).expect("its own bytes")
    }

    fn elements(weights: &Weights, weight: WeightId) -> Vec<f32> {
        weights.tensor(weight).expect("computed").to_f32().expect("floats").into_owned()
    }

    fn f32_vector(length: u64) -> TensorType {
        TensorType::known(DType::F32, &[length])
    }

    #[test]
    fn a_chain_of_any_depth_is_computed() {
        let mut weights = Weights::default();
        let mut last = vector(&mut weights, &[1.0, -2.0]);
        for _ in 0..100_001 {
            last = weights
                .add_recipe(f32_vector(2), Neg.into(), &[Some(last)])
                .expect("an operand that is there");
        }
        assert_eq!(elements(&weights, last), [-1.0, 2.0]);
    }

    #[test]
    fn what_several_recipes_share_is_computed_once() {
        // Each recipe reads the one before twice: without sharing there would be 2^60 additions.
        let mut weights = Weights::default();
        let mut last = vector(&mut weights, &[1.0]);
        for _ in 0..60 {
            let twice = [Some(last), Some(last)];
            last = weights.add_recipe(f32_vector(1), Add.into(), &twice).expect("operands that are there");
        }
        assert_eq!(elements(&weights, last), [2f32.powi(60)]);
    }

    #[test]
    fn files_are_read_and_not_mapped_in() {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        let bytes: Vec<u8> = [0f32, 1.0, 2.0].iter().flat_map(|value| value.to_le_bytes()).collect();
        file.write_all(&bytes).expect("writing it");
        let mapped = MappedFile::open(file.path()).expect("mapping");
        let mut weights = Weights::default();
        // A range that is aligned to nothing.
        let stored =
            weights.add_file(TensorType::known(DType::U8, &[11]), mapped, 1..12).expect("in the file");
        let ty = TensorType::known(DType::U8, &[11]);
        let twice = weights.add_recipe(ty, Add.into(), &[Some(stored), Some(stored)]).expect("typed");
        let expected: Vec<u8> = bytes[1..].iter().map(|byte| byte.wrapping_add(*byte)).collect();
        assert_eq!(weights.tensor(twice).expect("computed").bytes(), &expected);
        // Reading sees that the file is another one now; a map would not.
        file.as_file().set_modified(std::time::SystemTime::UNIX_EPOCH).expect("an older time");
        let error = weights.tensor(twice).expect_err("the bytes may be others").to_string();
        assert!(error.contains("was changed"), "{error}");
    }

    #[test]
    fn operands_may_be_left_out() {
        let mut weights = Weights::default();
        let (x, max) = (vector(&mut weights, &[1.0, 5.0]), vector(&mut weights, &[3.0]));
        let clipped = weights.add_recipe(f32_vector(2), Clip.into(), &[Some(x), None, Some(max)]);
        assert_eq!(elements(&weights, clipped.expect("operands that are there")), [1.0, 3.0]);
    }

    #[test]
    fn few_elements_are_computed_at_once() {
        let mut weights = Weights::default();
        let (small, large) = (vector(&mut weights, &[1.0, 2.0]), vector(&mut weights, &[1.0; 2000]));
        let sum = weights.derive(Add, &[Some(small), Some(small)]).expect("typed");
        assert!(matches!(weights.source(sum), Source::Memory(_)));
        assert_eq!(elements(&weights, sum), [2.0, 4.0]);
        // Of a large weight not even few elements are: it would have to be read.
        let largest = weights.derive(ReduceMax::default(), &[Some(large)]).expect("typed");
        assert!(matches!(weights.source(largest), Source::Recipe { .. }));
        let negated = weights.derive(Neg, &[Some(largest)]).expect("typed");
        assert!(matches!(weights.source(negated), Source::Recipe { .. }));
        assert_eq!(elements(&weights, negated), [-1.0]);
    }

    #[test]
    fn operands_that_do_not_fit_are_refused() {
        let mut weights = Weights::default();
        let (two, three) = (vector(&mut weights, &[1.0, 2.0]), vector(&mut weights, &[1.0, 2.0, 3.0]));
        let error = weights.derive(Add, &[Some(two), Some(three)]).expect_err("two and three elements");
        let text = "recipe `add`: operand `b`: f32[3] does not fit, expected sizes that broadcast with [2]";
        assert_eq!(error.to_string(), text);
        let halves = Split { axis: 0, num_outputs: Some(2) };
        let error = weights.derive(halves, &[Some(two)]).expect_err("two results");
        assert_eq!(error.to_string(), "recipe `split`: not supported: a recipe of 2 results");
    }

    #[test]
    fn what_is_not_there_is_refused() {
        let mut weights = Weights::default();
        let other = vector(&mut Weights::default(), &[1.0]);
        let error =
            weights.add_recipe(f32_vector(1), Neg.into(), &[Some(other)]).expect_err("of another table");
        assert_eq!(error.to_string(), "weight w0 is not in the graph");
    }

    #[test]
    fn another_type_than_promised_is_an_error() {
        let mut weights = Weights::default();
        let x = vector(&mut weights, &[1.0, 5.0]);
        let wrong = weights.add_recipe(f32_vector(3), Neg.into(), &[Some(x)]).expect("not looked at yet");
        let error = weights.tensor(wrong).expect_err("two elements are not three");
        assert_eq!(
            error.to_string(),
            "recipe `neg`: not supported: it makes f32[2] where f32[3] was promised"
        );
    }

    #[test]
    fn equal_bytes_have_equal_digests_however_they_are_made() {
        let mut weights = Weights::default();
        let tensor = Tensor::from_vec(&[2, 3], vec![1f32, 2.0, 3.0, 4.0, 5.0, 6.0]).expect("a matrix");
        let x = weights.add_memory(tensor.ty(), tensor.bytes().clone()).expect("its own bytes");
        let ty = TensorType::known(DType::F32, &[3, 2]);
        let made = weights.add_recipe(ty.clone(), Transpose::default().into(), &[Some(x)]).expect("typed");
        let swapped = Tensor::from_vec(&[3, 2], vec![1f32, 4.0, 2.0, 5.0, 3.0, 6.0]).expect("a matrix");
        let stored = weights.add_memory(ty, swapped.bytes().clone()).expect("its own bytes");
        assert_eq!(weights.digest(made).expect("computed"), weights.digest(stored).expect("read"));
        let mut streamed = Vec::new();
        weights.stream(made, &mut streamed).expect("computed");
        assert_eq!(streamed, swapped.bytes()[..]);
    }
}
