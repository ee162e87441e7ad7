//! `einsum`: sums of products of any number of operands, as an equation such as `bhid,bhjd->bhij` says.
//!
//! Each operand has a term, one letter per axis; axes with the same letter are walked together, and letters that do not
//! occur after `->` are summed over. Without `->` the result has the letters that occur once, sorted. `...` stands for
//! axes without letters, broadcast together. A letter repeated within a term walks a diagonal. Axes of size 1 stretch.
//! Integers wrap.

mod contract;
mod equation;

use contract::{View, contract};
use equation::{Equation, Label};

use super::products::{Term, with_term};
use super::{EvalError, InferError, Inputs, OpDef, Operand, Operands, Results, Types, only, rules, single};
use super::{sizes_of, variadic};
use crate::attr::{AttrError, AttrVisitor};
use crate::types::{Dim, Shape, TensorType};

/// See the [module](self).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Einsum {
    /// The terms of the operands and of the result.
    pub equation: String,
}

impl OpDef for Einsum {
    const NAME: &'static str = "einsum";
    const OPERANDS: &'static [Operand] = &[variadic("x")];

    fn attrs(&mut self, visitor: &mut dyn AttrVisitor) -> Result<(), AttrError> {
        visitor.attr("equation", &mut self.equation)
    }

    fn infer(&self, operands: &Operands<'_>) -> Result<Types, InferError> {
        let dtype = rules::number(operands, 0)?.dtype;
        let mut ranks = Vec::with_capacity(operands.len());
        for index in 0..operands.len() {
            ranks.push(operands.same_dtype(index, 0)?.rank());
        }
        let equation = self.parse(&ranks)?;
        let dims = label_dims(operands, &equation)?;
        let find = |label: &Label| dims.iter().find(|(of, _)| of == label).map(|(_, dim)| dim.clone());
        // Parsing has checked that every label of the result occurs in a term.
        Ok(single(dtype, equation.result.iter().filter_map(find).collect::<Shape>()))
    }

    fn eval(&self, operands: &Inputs<'_>, types: &[TensorType]) -> Result<Results, EvalError> {
        with_term!(types[0].dtype, T => self.evaluate::<T>(operands, &types[0]))
    }
}

impl Einsum {
    fn parse(&self, ranks: &[usize]) -> Result<Equation, InferError> {
        Equation::parse(&self.equation, ranks).map_err(|expected| InferError::Attribute {
            attr: "equation",
            found: format!("`{}`", self.equation),
            expected,
        })
    }

    fn evaluate<T: Term>(&self, operands: &Inputs<'_>, ty: &TensorType) -> Result<Results, EvalError> {
        let tensors: Vec<_> = operands.rest(0).collect();
        let ranks: Vec<usize> = tensors.iter().map(|tensor| tensor.rank()).collect();
        let equation = self.parse(&ranks)?;
        let mut views = Vec::with_capacity(tensors.len());
        for (tensor, term) in tensors.iter().zip(&equation.terms) {
            views.push(View::new(T::load(tensor)?, tensor.sizes(), term));
        }
        let sizes = sizes_of(ty)?;
        Ok(only(T::store(ty.dtype, &sizes, contract(views, &equation.result, &sizes)?)?))
    }
}

/// The size of each label: that of all axes it stands for, which must agree or be 1.
fn label_dims(operands: &Operands<'_>, equation: &Equation) -> Result<Vec<(Label, Dim)>, InferError> {
    let mut dims: Vec<(Label, Dim)> = Vec::new();
    for (index, term) in equation.terms.iter().enumerate() {
        for (label, dim) in term.iter().zip(operands.ty(index)?.shape.iter()) {
            let Some((_, known)) = dims.iter_mut().find(|(of, _)| of == label) else {
                dims.push((*label, dim.clone()));
                continue;
            };
            let pair = [known.clone(), dim.clone()].map(|dim| Shape::from_iter([dim]));
            let joined = rules::broadcast_pair(operands, index, &pair[0], &pair[1])?;
            *known = joined[0].clone();
        }
    }
    Ok(dims)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::DType;
    use crate::ops::testing::{evaluate, refused, tensor};
    use crate::tensor::Tensor;
    use proptest::prelude::*;

    fn einsum(equation: &str, operands: &[&Tensor]) -> Tensor {
        evaluate(&Einsum { equation: equation.to_owned() }.into(), operands).remove(0)
    }

    #[test]
    fn one_operand_is_transposed_summed_and_cut() {
        let x = tensor(&[2, 2], &[1.0, 2.0, 3.0, 4.0]);
        assert_eq!(einsum("ij->ji", &[&x]), tensor(&[2, 2], &[1.0, 3.0, 2.0, 4.0]));
        assert_eq!(einsum("ij->j", &[&x]), tensor(&[2], &[4.0, 6.0]));
        assert_eq!(einsum("ii->i", &[&x]), tensor(&[2], &[1.0, 4.0]));
        assert_eq!(einsum("ii", &[&x]), tensor(&[], &[5.0]));
        assert_eq!(einsum("->", &[&tensor(&[], &[7.0])]), tensor(&[], &[7.0]));
    }

    #[test]
    fn without_an_arrow_labels_are_sorted() {
        let x = tensor(&[1, 2], &[1.0, 2.0]);
        assert_eq!(einsum("ba", &[&x]), tensor(&[2, 1], &[1.0, 2.0]));
        assert_eq!(einsum("aB", &[&x]), tensor(&[2, 1], &[1.0, 2.0]), "capitals come first");
    }

    #[test]
    fn attention_scores() {
        let q = tensor(&[2, 1, 2], &[1.0, 2.0, 3.0, 4.0]);
        let k = tensor(&[2, 2, 2], &[1.0, 0.0, 0.0, 1.0, 1.0, 1.0, 2.0, 0.0]);
        assert_eq!(einsum("bid, bjd -> bij", &[&q, &k]), tensor(&[2, 1, 2], &[1.0, 2.0, 7.0, 6.0]));
        assert_eq!(einsum("bid,bjd->jb", &[&q, &k]), tensor(&[2, 2], &[1.0, 7.0, 2.0, 6.0]));
    }

    #[test]
    fn ellipses_broadcast() {
        let a = tensor(&[2, 1, 2], &[1.0, 2.0, 3.0, 4.0]);
        let b = tensor(&[2], &[10.0, 1.0]);
        assert_eq!(einsum("...d,d->...", &[&a, &b]), tensor(&[2, 1], &[12.0, 34.0]));
        assert_eq!(
            einsum("...d,...d", &[&a, &tensor(&[1, 2], &[10.0, 1.0])]),
            tensor(&[2, 1], &[12.0, 34.0])
        );
    }

    #[test]
    fn three_operands_and_a_stretched_one() {
        let (a, b, c) =
            (tensor(&[2], &[1.0, 2.0]), tensor(&[2, 2], &[1.0, 2.0, 3.0, 4.0]), tensor(&[1], &[10.0]));
        assert_eq!(einsum("i,ij,j->", &[&a, &b, &c]), tensor(&[], &[170.0]));
        assert_eq!(einsum("i,ij,j->j", &[&a, &b, &c]), tensor(&[2], &[70.0, 100.0]));
    }

    #[test]
    fn narrow_integers_wrap() {
        let x = Tensor::from_vec(&[2], vec![200u8, 100]).expect("two elements");
        let y = einsum("i,i->", &[&x, &Tensor::from_vec(&[2], vec![2u8, 1]).expect("two elements")]);
        assert_eq!(y, Tensor::scalar(244u8));
        assert_eq!(y.dtype(), DType::U8);
    }

    #[test]
    fn bad_equations_are_refused() {
        let x = tensor(&[2, 2], &[0.0; 4]);
        let refusal = |equation: &str| refused(&Einsum { equation: equation.to_owned() }.into(), &[&x]);
        assert!(refusal("ij,jk->ik").contains("as many terms as operands, 1"));
        assert!(refusal("ijk->i").contains("2 axes"));
        assert!(refusal("ij->k").contains("`k`"));
        assert!(refusal("ij->ii").contains("`i`"));
        assert!(refusal("i$->i").contains("`$`"));
        assert!(refusal("i..j").contains("`...`"));
        assert!(refusal("......ij").contains("`...`"));
        let pair = (tensor(&[2], &[0.0; 2]), tensor(&[3], &[0.0; 3]));
        let inner = Einsum { equation: "i,i->".to_owned() };
        assert!(refused(&inner.into(), &[&pair.0, &pair.1]).contains("`x[1]`"));
    }

    /// Sizes of the letters `a` to `d` in random equations.
    const SIZES: [usize; 4] = [2, 3, 1, 2];

    /// The sums of products by walking all letters together.
    fn by_definition(terms: &[Vec<usize>], result: &[usize], values: &[Vec<i64>]) -> Vec<i64> {
        let place = |term: &[usize], index: &[usize; 4]| {
            term.iter().fold(0, |place, letter| place * SIZES[*letter] + index[*letter])
        };
        let mut sums = vec![0; result.iter().map(|letter| SIZES[*letter]).product()];
        for number in 0..SIZES.iter().product() {
            let index = [number / 6, number / 2 % 3, 0, number % 2];
            // A letter that occurs nowhere is not summed over.
            let walked = |letter: usize| terms.iter().flatten().any(|used| *used == letter);
            if (0..4).any(|letter| !walked(letter) && index[letter] > 0) {
                continue;
            }
            let factors = terms.iter().zip(values).map(|(term, values)| values[place(term, &index)]);
            sums[place(result, &index)] += factors.product::<i64>();
        }
        sums
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(
            terms in prop::collection::vec(prop::collection::vec(0usize..4, 0..4), 1..4),
            kept in prop::sample::subsequence(vec![0usize, 1, 2, 3], 0..=4),
            seed in 1i64..1000,
        ) {
            let result: Vec<usize> =
                kept.into_iter().rev().filter(|letter| terms.iter().flatten().any(|used| used == letter)).collect();
            let sizes = |term: &[usize]| term.iter().map(|letter| SIZES[*letter]).collect::<Vec<_>>();
            let value = |place: usize| (place as i64 * seed) % 7 - 3;
            let values: Vec<Vec<i64>> =
                terms.iter().map(|term| (0..sizes(term).iter().product()).map(value).collect()).collect();
            let text = |term: &[usize]| term.iter().map(|letter| ['a', 'b', 'c', 'd'][*letter]).collect::<String>();
            let left: Vec<String> = terms.iter().map(|term| text(term)).collect();
            let tensors: Vec<Tensor> = terms
                .iter()
                .zip(&values)
                .map(|(term, values)| Tensor::from_vec(&sizes(term), values.clone()).expect("fits"))
                .collect();
            let found = einsum(&format!("{}->{}", left.join(","), text(&result)), &tensors.iter().collect::<Vec<_>>());
            prop_assert_eq!(found, Tensor::from_vec(&sizes(&result), by_definition(&terms, &result, &values)).expect("fits"));
        }
    }
}
