//! `split`: consecutive parts of a tensor along an axis, one result each.
//!
//! With the operand `split` its elements are the sizes of the parts. Without it there are `num_outputs` parts of equal
//! size, rounded up, the last smaller where they do not come out even.

use super::{
    EvalError, InferError, Inputs, OpDef, Operand, Operands, Results, Types, movement, one, optional, rules,
    sizes_of,
};
use crate::attr::{AttrError, AttrVisitor};
use crate::kernels::copy::Layout;
use crate::types::{Dim, DimExpr, SymTensor, TensorType};

/// See the [module](self).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Split {
    /// The axis; negative ones count from the end.
    pub axis: i64,
    /// How many parts; absent where the operand `split` says it.
    pub num_outputs: Option<u64>,
}

/// More parts than any model has; a limit on what a hostile attribute can ask for.
const MAX_PARTS: u64 = 1 << 15;

impl OpDef for Split {
    const NAME: &'static str = "split";
    const OPERANDS: &'static [Operand] = &[one("x"), optional("split")];

    fn attrs(&mut self, visitor: &mut dyn AttrVisitor) -> Result<(), AttrError> {
        visitor.attr("axis", &mut self.axis)?;
        visitor.attr("num_outputs", &mut self.num_outputs)
    }

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        let x = operands.ty(0)?;
        let axis = rules::axis("axis", self.axis, x.rank())?;
        let parts = self.parts(operands, &x.shape[axis])?;
        let part = |size: Dim| {
            let mut shape = x.shape.clone();
            shape.0[axis] = size;
            TensorType::new(x.dtype, shape)
        };
        Ok(parts.into_iter().map(part).collect())
    }

    fn eval(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
        let x = operands.tensor(0)?;
        let axis = rules::axis("axis", self.axis, x.rank())?;
        let mut layout = Layout::dense(x.sizes());
        let step = layout.strides[axis].cast_unsigned();
        let mut results = Results::new();
        for ty in types {
            let sizes = sizes_of(ty)?;
            results.push(movement::boxed(x, &sizes, &layout)?);
            layout.offset += sizes[axis] * step;
        }
        Ok(results)
    }

    fn symbolic_results(&self, operands: &Operands<'_>) -> Vec<Option<SymTensor>> {
        let results = movement::symbolic(self, operands, 0..1).unwrap_or_default();
        results.into_iter().map(Some).collect()
    }
}

impl Split {
    /// The sizes of the parts of an axis of `size`.
    fn parts(&self, operands: &Operands<'_>, size: &Dim) -> Result<Vec<Dim>, InferError> {
        let wrong = |found: String, expected: &str| InferError::Attribute {
            attr: "num_outputs",
            found,
            expected: expected.to_owned(),
        };
        match (operands.has(1), self.num_outputs) {
            (true, None) => given_parts(operands, size),
            (false, Some(count @ 1..=MAX_PARTS)) => even_parts(operands, size, count),
            (false, Some(count)) => Err(wrong(count.to_string(), "1 to 32768 parts")),
            (true, Some(count)) => Err(wrong(count.to_string(), "either it or the operand `split`")),
            (false, None) => Err(wrong("its absence".to_owned(), "it or the operand `split`")),
        }
    }
}

fn given_parts(operands: &Operands<'_>, size: &Dim) -> Result<Vec<Dim>, InferError> {
    let count = movement::list_len(operands, 1)?;
    if count as u64 > MAX_PARTS {
        return Err(operands.mismatch(1, "at most 32768 parts"));
    }
    let Some(parts) = operands.symbolic(1) else {
        return Ok((0..count).map(|_| operands.fresh()).collect());
    };
    let sum = parts.elements.iter().try_fold(DimExpr::constant(0), |sum, part| sum.add(part));
    let sum = sum.and_then(|sum| sum.as_constant());
    if let (Some(sum), Some(size)) = (sum, size.known())
        && u64::try_from(sum).ok() != Some(size)
    {
        return Err(InferError::Operand {
            operand: operands.name(1),
            found: format!("parts of {sum} elements"),
            expected: format!("{size} elements, as the axis has"),
        });
    }
    parts.elements.into_iter().map(|part| operands.dim(1, Some(part))).collect()
}

fn even_parts(operands: &Operands<'_>, size: &Dim, count: u64) -> Result<Vec<Dim>, InferError> {
    let Some(size) = size.known() else {
        let part = size.expr().div_exact(&DimExpr::constant(count.cast_signed()));
        return (0..count).map(|_| operands.dim(0, part.clone())).collect();
    };
    let part = size.div_ceil(count);
    let last = size.checked_sub(part.saturating_mul(count - 1)).ok_or_else(|| InferError::Attribute {
        attr: "num_outputs",
        found: count.to_string(),
        expected: format!("a number of parts of {part} that {size} elements fill"),
    })?;
    Ok((1..count).map(|_| part).chain([last]).map(Dim::Known).collect())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{floats, list, run, run_some};
    use super::*;
    use crate::tensor::Tensor;

    fn parts(axis: i64, num_outputs: Option<u64>, operands: &[Tensor]) -> Vec<Vec<f64>> {
        let results = run(Split { axis, num_outputs }, operands).expect("splits");
        results.iter().map(|part| part.to_f64().expect("numbers")).collect()
    }

    #[test]
    fn the_last_part_may_be_smaller() {
        assert_eq!(parts(0, Some(3), &[floats(&[5])]), [vec![0.0, 1.0], vec![2.0, 3.0], vec![4.0]]);
        assert_eq!(parts(-1, Some(2), &[floats(&[2, 2])]), [[0.0, 2.0], [1.0, 3.0]]);
        assert_eq!(parts(0, Some(2), &[floats(&[1])]), [vec![0.0], vec![]]);
    }

    #[test]
    fn given_sizes_hold() {
        let operands = [floats(&[4]), list(&[1, 0, 3])];
        assert_eq!(parts(0, None, &operands), [vec![0.0], vec![], vec![1.0, 2.0, 3.0]]);
    }

    #[test]
    fn parts_that_do_not_fit_are_refused() {
        let refused = |num_outputs, split| {
            run_some(Split { axis: 0, num_outputs }, &[Some(floats(&[5])), split]).is_err()
        };
        assert!(refused(Some(4), None), "2 + 2 + 2 is more than 5");
        assert!(refused(Some(0), None));
        assert!(refused(Some(u64::MAX), None));
        assert!(refused(None, None));
        assert!(refused(Some(2), Some(list(&[2, 3]))));
        assert!(refused(None, Some(list(&[2, 2]))));
        assert!(refused(None, Some(list(&[6, -1]))));
        assert!(refused(None, Some(list(&[i64::MAX, i64::MAX]))));
    }
}
