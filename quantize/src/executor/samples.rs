//! Samples: what the inputs of a run are, again and again.
//!
//! An array with the sizes of the input is the same for all samples of its file. One that has another first size, where
//! the input has 1 or any, or one more axis in front, has a sample to an index. Floats are widened to the type of the
//! input, and integers to wider ones. Elements stay where they are, in mapped files perhaps, until a sample is asked for.

use quad_ir::dtype::DType;
use quad_ir::graph::{Graph, ValueRef};
use quad_ir::interpret::NamedTensors;
use quad_ir::ops::Input;
use quad_ir::ops::source::Binding;
use quad_ir::tensor::{Narrowing, Tensor, TensorError};
use quad_ir::types::Dim;

/// Arrays that a message names.
const SHOWN: usize = 8;

/// The run inputs of a graph for any number of samples.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    parts: Vec<Part>,
}

/// The samples of one file.
#[derive(Clone, Debug)]
struct Part {
    columns: Vec<Column>,
    len: usize,
}

/// One input over the samples of a part.
#[derive(Clone, Debug)]
struct Column {
    name: String,
    array: Tensor,
    /// Whether there is a sample to each index of the first axis.
    each: bool,
    /// Sizes of one sample.
    sizes: Vec<usize>,
    /// What the input takes.
    dtype: DType,
}

/// Arrays are not samples of a graph.
#[derive(Debug, thiserror::Error)]
pub enum SampleError {
    /// An array is no input.
    #[error("array `{name}` is no input; the model takes {expected}. `--ignore {name}` leaves it out")]
    Unknown {
        /// The array.
        name: String,
        /// The run inputs.
        expected: String,
    },
    /// An input has no array.
    #[error("input `{name}`: {expected} has no array; given are {given}")]
    Missing {
        /// The input.
        name: String,
        /// Its type.
        expected: String,
        /// The arrays there are.
        given: String,
    },
    /// An array does not have the sizes of its input.
    #[error(
        "array `{name}` is {found}, the input of that name {expected}: expected are these sizes, shared by all samples, or \
         one more axis in front, with a sample to an index; a first size of 1 may also be the number of samples"
    )]
    Sizes {
        /// The input.
        name: String,
        /// The type of the array.
        found: String,
        /// The type of the input.
        expected: String,
    },
    /// An array does not have the element type of its input.
    #[error(
        "array `{name}` has elements of type {found}, which do not all fit {expected}, the type of the input"
    )]
    Elements {
        /// The input.
        name: String,
        /// What the array has.
        found: DType,
        /// What the input takes.
        expected: DType,
    },
    /// Two arrays have different numbers of samples.
    #[error("array `{first}` has {left} samples, array `{second}` has {right}: expected are as many in both")]
    Count {
        /// An array.
        first: String,
        /// Its samples.
        left: usize,
        /// Another one.
        second: String,
        /// Its samples.
        right: usize,
    },
    /// A sample is asked for that is not there.
    #[error("sample {sample} is not there: there are {len}, counted from 0")]
    Beyond {
        /// The sample.
        sample: usize,
        /// How many there are.
        len: usize,
    },
    /// Elements could not be had.
    #[error("array `{name}`: {error}")]
    Tensor {
        /// The array.
        name: String,
        /// Why.
        error: TensorError,
    },
}

impl Samples {
    /// Adds the samples that `arrays`, the contents of one file, hold for the inputs of `graph` that every run gives.
    pub fn add(&mut self, graph: &Graph, arrays: NamedTensors) -> Result<(), SampleError> {
        let mut given: Vec<String> = arrays.keys().take(SHOWN).map(|name| format!("`{name}`")).collect();
        if let Some(more) = arrays.len().checked_sub(SHOWN + 1) {
            given.push(format!("{} more", more + 1));
        }
        let mut columns = Vec::new();
        let mut arrays = arrays;
        for input in run_inputs(graph) {
            let name = input.name().map_or("", |name| &**name);
            let array = arrays.remove(name).ok_or_else(|| SampleError::Missing {
                name: name.to_owned(),
                expected: show(input),
                given: if given.is_empty() { "none".to_owned() } else { given.join(", ") },
            })?;
            columns.push(Column::new(name, array, input)?);
        }
        if let Some((name, _)) = arrays.pop_first() {
            let expected: Vec<String> = run_inputs(graph).map(show_input).collect();
            return Err(SampleError::Unknown { name, expected: expected.join(", ") });
        }
        let mut lengths = columns.iter().filter_map(|column| Some((column.count()?, &column.name)));
        let first = lengths.next();
        if let (Some((left, first)), Some((right, second))) =
            (first, lengths.find(|(count, _)| first.is_some_and(|(left, _)| left != *count)))
        {
            return Err(SampleError::Count { first: first.clone(), left, second: second.clone(), right });
        }
        let len = first.map_or(1, |(len, _)| len);
        self.parts.push(Part { columns, len });
        Ok(())
    }

    /// How many samples there are.
    pub fn len(&self) -> usize {
        self.parts.iter().map(|part| part.len).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The inputs of a run: those of `sample`, counted from 0, and `slots`.
    pub fn inputs(&self, sample: usize, slots: &NamedTensors) -> Result<NamedTensors, SampleError> {
        let mut at = sample;
        for part in &self.parts {
            if at < part.len {
                let named = |column: &Column| Ok((column.name.clone(), column.sample(at)?));
                let mut inputs = slots.clone();
                let given: Result<Vec<_>, SampleError> = part.columns.iter().map(named).collect();
                inputs.extend(given?);
                return Ok(inputs);
            }
            at -= part.len;
        }
        Err(SampleError::Beyond { sample, len: self.len() })
    }

    /// A digest of all arrays.
    pub fn digest(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for column in self.parts.iter().flat_map(|part| &part.columns) {
            let header = format!("{} {} {}\n", column.name, column.array.ty(), column.each);
            hasher.update(&(header.len() as u64).to_le_bytes());
            hasher.update(header.as_bytes());
            hasher.update(column.array.bytes());
        }
        hasher.finalize().to_hex()[..32].to_owned()
    }
}

impl Column {
    fn new(name: &str, array: Tensor, input: ValueRef<'_>) -> Result<Self, SampleError> {
        let (name, dtype) = (name.to_owned(), input.ty().dtype);
        if !widens(array.dtype(), dtype) {
            return Err(SampleError::Elements { name, found: array.dtype(), expected: dtype });
        }
        let (found, expected) = (array.sizes(), &*input.ty().shape);
        let fits = |sizes: &[usize], dims: &[Dim]| {
            let size = |(size, dim): (&usize, &Dim)| dim.known().is_none_or(|known| known == *size as u64);
            sizes.len() == dims.len() && sizes.iter().zip(dims).all(size)
        };
        // A first size that may be anything is how exporters write a batch: one sample makes a batch of one.
        let batches = expected.first().is_some_and(|first| first.known().is_none_or(|size| size == 1));
        let (each, sizes) = match found {
            [count, rest @ ..]
                if batches && *count != 1 && fits(rest, expected.get(1..).unwrap_or_default()) =>
            {
                (true, [&[1], rest].concat())
            }
            sizes if fits(sizes, expected) => (false, sizes.to_vec()),
            [_, rest @ ..] if fits(rest, expected) => (true, rest.to_vec()),
            _ => {
                let (found, expected) = (array.ty().to_string(), show(input));
                return Err(SampleError::Sizes { name, found, expected });
            }
        };
        Ok(Self { name, array, each, sizes, dtype })
    }

    /// How many samples there are; `None` where all are the same.
    fn count(&self) -> Option<usize> {
        self.each.then(|| self.array.sizes()[0])
    }

    /// The tensor of the sample `at`, which must be there.
    fn sample(&self, at: usize) -> Result<Tensor, SampleError> {
        let tensor = if self.each {
            let length = self.array.bytes().len() / self.array.sizes()[0].max(1);
            let bytes = self.array.bytes().slice(at * length..(at + 1) * length);
            Tensor::new(self.array.dtype(), &self.sizes, bytes)
        } else {
            Ok(self.array.clone())
        };
        let cast = |tensor: Tensor| {
            if tensor.dtype() == self.dtype {
                Ok(tensor)
            } else {
                tensor.cast(self.dtype, Narrowing::default())
            }
        };
        tensor.and_then(cast).map_err(|error| SampleError::Tensor { name: self.name.clone(), error })
    }
}

/// The inputs that every run gives, in order.
fn run_inputs(graph: &Graph) -> impl Iterator<Item = ValueRef<'_>> {
    let is_run =
        |input: &ValueRef<'_>| input.producer().is::<Input>().is_some_and(|op| op.binding == Binding::Run);
    graph.inputs().filter(is_run)
}

/// The type of `input`.
fn show(input: ValueRef<'_>) -> String {
    input.producer().graph().symbols().show_type(input.ty()).to_string()
}

/// The name and the type of `input`.
fn show_input(input: ValueRef<'_>) -> String {
    format!("`{}`: {}", input.name().map_or("", |name| &**name), show(input))
}

/// Whether every number of type `from` is one of type `to`.
fn widens(from: DType, to: DType) -> bool {
    if from == to {
        return from.bits() >= 8;
    }
    if from.is_float() && to.is_float() {
        return matches!(
            (from, to),
            (DType::F16 | DType::BF16, DType::F32 | DType::F64) | (DType::F32, DType::F64)
        );
    }
    match (from.integer_range(), to.integer_range()) {
        (Some((low, high)), Some((least, most))) => from.bits() >= 8 && least <= low && high <= most,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use quad_ir::tensor::Element;
    use quad_ir::text::{self, NoWeights};

    use super::*;

    const TEXT: &str = "quad 1

graph @main(%x: f32[batch, 2], %t: i64[1], %gain: f32[], %slot: f32[2] adapter) {
  return \"x\" = %x, \"t\" = %t, \"gain\" = %gain, \"slot\" = %slot
}
";

    fn tensor<T: Element>(sizes: &[usize], elements: &[T]) -> Tensor {
        Tensor::from_vec(sizes, elements.to_vec()).expect("as many")
    }

    fn arrays(x: Tensor, t: Tensor, gain: Tensor) -> NamedTensors {
        [("x", x), ("t", t), ("gain", gain)].map(|(name, array)| (name.to_owned(), array)).into()
    }

    #[test]
    fn arrays_are_shared_or_have_a_sample_to_an_index() {
        let module = text::parse(TEXT, &NoWeights).expect("a module");
        let graph = module.main().expect("a graph");
        let mut samples = Samples::default();
        let narrow = Tensor::from_f32(DType::F16, &[3, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).expect("as many");
        let parts = [
            arrays(narrow, tensor(&[1], &[7i64]), tensor(&[], &[0.5f32])),
            arrays(tensor(&[1, 2], &[7.0f32, 8.0]), tensor(&[1], &[8i32]), tensor(&[], &[0.25f32])),
            arrays(tensor(&[2, 3, 2], &[9.0f32; 12]), tensor(&[2], &[1i64, 2]), tensor(&[2], &[3.0f32, 4.0])),
        ];
        for part in parts {
            samples.add(graph, part).expect("samples");
        }
        assert_eq!(samples.len(), 6);
        let slots = NamedTensors::from([("slot".to_owned(), tensor(&[2], &[0.0f32, 1.0]))]);
        let given = |sample: usize, x: Tensor, t: i64, gain: f32| {
            let mut expected = arrays(x, tensor(&[1], &[t]), tensor(&[], &[gain]));
            expected.extend(slots.clone());
            assert_eq!(samples.inputs(sample, &slots).expect("there"), expected, "sample {sample}");
        };
        given(1, tensor(&[1, 2], &[3.0f32, 4.0]), 7, 0.5);
        given(3, tensor(&[1, 2], &[7.0f32, 8.0]), 8, 0.25);
        given(5, tensor(&[3, 2], &[9.0f32; 6]), 2, 4.0);
        assert!(matches!(samples.inputs(6, &slots), Err(SampleError::Beyond { sample: 6, len: 6 })));
    }

    #[test]
    fn numbers_are_never_narrowed() {
        use DType::{BF16, Bool, F16, F32, F64, I4, I32, I64, U8};
        for (from, to) in
            [(F32, F32), (F16, F32), (BF16, F64), (F32, F64), (I32, I64), (U8, I32), (Bool, Bool)]
        {
            assert!(widens(from, to), "{from} to {to}");
        }
        for (from, to) in
            [(F64, F32), (F32, F16), (F16, BF16), (I64, I32), (I64, F32), (F32, I64), (Bool, U8), (I4, I4)]
        {
            assert!(!widens(from, to), "{from} to {to}");
        }
    }
}
