//! No operation panics, whatever its operands and attributes are: what a type rule accepts can be evaluated or is
//! refused with an error.

use proptest::prelude::*;
use quad_ir::attr::{Attr, AttrError, AttrValue, AttrVisitor, F32Bits};
use quad_ir::dtype::{ALL_DTYPES, DType};
use quad_ir::ops::{Arity, Fact, Inputs, Op, Operands, all_ops};
use quad_ir::tensor::Tensor;
use quad_ir::types::{Known, TensorType};

/// Results with more bytes than this are not computed, as the interpreter's limit on memory would have it.
const LIMIT: u64 = 1 << 16;

/// A source of choices that is the same for the same seed.
struct Choices(u64);

impl Choices {
    /// A number below `count`.
    fn below(&mut self, count: usize) -> usize {
        // Constants of Knuth's MMIX generator; the upper half of its state is random enough for tests.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % count
    }

    fn integer(&mut self) -> i64 {
        const EXTREMES: [i64; 6] = [i64::MIN, i64::MIN + 1, i64::MAX, i64::MAX - 1, 1 << 40, -(1 << 40)];
        match self.below(16) {
            0 => EXTREMES[self.below(EXTREMES.len())],
            1..=7 => self.below(3) as i64,
            _ => self.below(7) as i64 - 3,
        }
    }

    fn float(&mut self) -> f32 {
        const EXTREMES: [f32; 5] = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, -0.0];
        match self.below(6) {
            0 => EXTREMES[self.below(EXTREMES.len())],
            _ => self.below(9) as f32 / 2.0 - 2.0,
        }
    }

    fn integers(&mut self) -> Vec<i64> {
        (0..self.below(4)).map(|_| self.integer()).collect()
    }

    /// A tensor of few elements, which after the first often goes with those before it: of the same type and sizes, a
    /// list with an element for each axis, or a single element.
    fn tensor(&mut self, before: &[Option<Tensor>]) -> Tensor {
        let first = before.iter().flatten().next();
        let last = before.iter().flatten().last();
        let sizes: Vec<usize> = (0..self.below(5)).map(|_| [0, 1, 1, 2, 2, 3, 4][self.below(7)]).collect();
        let (Some(first), Some(last)) = (first, last) else {
            let dtype = self.dtype();
            return self.elements(dtype, &sizes);
        };
        match self.below(8) {
            0 | 1 => self.elements(first.dtype(), first.sizes()),
            2 => self.elements(first.dtype(), last.sizes()),
            3 => self.elements(DType::I64, &[first.rank()]),
            4 => self.elements(DType::I64, &[last.len().min(4)]),
            5 => self.elements([DType::I64, first.dtype()][sizes.len() % 2], &[]),
            6 => self.elements(DType::I64, &sizes),
            _ => {
                let dtype = self.dtype();
                self.elements(dtype, &sizes)
            }
        }
    }

    fn dtype(&mut self) -> DType {
        const COMMON: [DType; 4] = [DType::F32, DType::I64, DType::Bool, DType::F16];
        match self.below(3) {
            0 => ALL_DTYPES[self.below(ALL_DTYPES.len())],
            _ => COMMON[self.below(COMMON.len())],
        }
    }

    fn elements(&mut self, dtype: DType, sizes: &[usize]) -> Tensor {
        let count = sizes.iter().product();
        let tensor = if dtype.is_float() {
            Tensor::from_f32(dtype, sizes, &(0..count).map(|_| self.float()).collect::<Vec<_>>())
        } else {
            Tensor::from_i64(dtype, sizes, (0..count).map(|_| self.integer()).collect())
        };
        tensor.expect("as many elements as the sizes say")
    }
}

/// Sets about half of the attributes to what comes.
impl AttrVisitor for Choices {
    fn visit(&mut self, _name: &'static str, value: &mut dyn AttrValue) -> Result<(), AttrError> {
        if self.below(2) == 0 {
            return Ok(());
        }
        let floats = self.integers().iter().map(|value| F32Bits::from(*value as f32)).collect();
        let candidates = [
            Attr::Int(self.integer()),
            Attr::Int(self.below(4) as i64),
            Attr::Ints(self.integers()),
            Attr::Ints((0..self.below(5)).map(|_| self.below(3) as i64).collect()),
            Attr::Float(F32Bits::from(self.float())),
            Attr::Floats(floats),
            Attr::Bool(self.below(2) == 0),
            Attr::DType(ALL_DTYPES[self.below(ALL_DTYPES.len())]),
        ];
        // An attribute takes the first one of its kind; which that is changes with the start.
        let start = self.below(candidates.len());
        let _ = (0..candidates.len())
            .find(|step| value.set_attr(&candidates[(start + step) % candidates.len()]).is_ok());
        Ok(())
    }
}

/// Runs `op` on random operands. Whether it was evaluated.
fn attempt(mut op: Op, choices: &mut Choices) -> bool {
    op.def_mut().attrs(choices).expect("the visitor refuses nothing");
    let declared = op.def().operands();
    let mut tensors: Vec<Option<Tensor>> = Vec::new();
    for operand in declared {
        let count = match operand.arity {
            Arity::One => 1,
            Arity::Optional => choices.below(2),
            Arity::Variadic => choices.below(4),
        };
        for _ in 0..count {
            tensors.push(Some(choices.tensor(&tensors)));
        }
        if operand.arity == Arity::Optional && count == 0 {
            tensors.push(None);
        }
    }
    let fact = |tensor: &Tensor, known| Fact { ty: tensor.ty(), known };
    let unknown: Vec<_> =
        tensors.iter().map(|tensor| tensor.as_ref().map(|tensor| fact(tensor, None))).collect();
    let known: Vec<_> = tensors
        .iter()
        .map(|tensor| tensor.as_ref().map(|tensor| fact(tensor, Some(Known::Constant(tensor.clone())))))
        .collect();
    // Elements that are not known yet must not make a rule panic either.
    let _ = op.def().infer(&Operands::new(declared, &unknown, 0));
    let Ok(types) = op.def().infer(&Operands::new(declared, &known, 0)) else { return false };
    let small = |ty: &TensorType| ty.is_representable() && ty.byte_len().is_some_and(|bytes| bytes <= LIMIT);
    if !types.iter().all(small) {
        return false;
    }
    let Ok(results) = op.def().eval(&Inputs::new(declared, &tensors), &types) else { return false };
    let found: Vec<TensorType> = results.iter().map(Tensor::ty).collect();
    assert_eq!(found, types.to_vec(), "{op:?} on {tensors:?}");
    true
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn no_operation_panics(seed: u64) {
        for op in all_ops() {
            attempt(op, &mut Choices(seed));
        }
    }
}
