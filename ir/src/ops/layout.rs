//! Where channels lie: operations over planes take them after the batch or after all other axes.
//!
//! With `layout = "nhwc"` the tensors that an operation's [`Roles`] name have their channels last. Its rules are written
//! for channels first; [`DataLayout::infer`] and [`DataLayout::eval`] put the axes in that order before and back
//! afterwards. That is how `nhwc` is defined: the same numbers at other places.
//!
//! | role | `nchw` | `nhwc` |
//! |---|---|---|
//! | features | `[n, channels, spatial..]` | `[n, spatial.., channels]` |
//! | kernel of a convolution | `[outputs, inputs, kernel..]` | `[outputs, kernel.., inputs]` |
//! | kernel of a transposed convolution | `[inputs, outputs, kernel..]` | `[outputs, kernel.., inputs]` |

use smallvec::SmallVec;

use super::{EvalError, Fact, InferError, Inputs, Op, Operands, Results, Types, movement};
use crate::attr::attr_enum;
use crate::kernels::copy::Layout;
use crate::tensor::{Tensor, TensorError};
use crate::types::TensorType;

attr_enum! {
    /// Where the channels of an operation's tensors lie.
    pub enum DataLayout {
        /// After the batch, before the spatial axes.
        #[default]
        Nchw = "nchw",
        /// After all other axes.
        Nhwc = "nhwc",
    }
}

/// What a tensor is to an operation that has a layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Planes of channels, one set per batch entry.
    Features,
    /// The kernel of a convolution.
    Kernel,
    /// The kernel of a transposed convolution, which has its input channels first.
    TransposedKernel,
}

/// The tensors of an operation whose axes depend on its layout; all others are the same in both.
#[derive(Debug, PartialEq, Eq)]
pub struct Roles {
    /// The operands by number.
    pub operands: &'static [(usize, Role)],
    /// How many results, from the first, are features.
    pub results: usize,
}

/// An order of axes: for each axis of the result, the axis it is taken from.
pub type AxisOrder = SmallVec<[usize; 6]>;

/// Features in, features out.
pub(crate) const FEATURES: Roles = Roles { operands: &[(0, Role::Features)], results: 1 };
/// Features in, two results out.
pub(crate) const TWO_RESULTS: Roles = Roles { operands: &[(0, Role::Features)], results: 2 };
/// Features and a kernel in.
pub(crate) const CONVOLUTION: Roles =
    Roles { operands: &[(0, Role::Features), (1, Role::Kernel)], results: 1 };
/// Features and, after their scale and zero point, a kernel in.
pub(crate) const QUANTIZED_CONVOLUTION: Roles =
    Roles { operands: &[(0, Role::Features), (3, Role::Kernel)], results: 1 };
/// Features and the kernel of a transposed convolution in.
pub(crate) const TRANSPOSED_CONVOLUTION: Roles =
    Roles { operands: &[(0, Role::Features), (1, Role::TransposedKernel)], results: 1 };

/// The layout of `op` and the tensors that it concerns; `None` for an operation that has none.
pub fn layout_of(op: &Op) -> Option<(DataLayout, &'static Roles)> {
    Some(match op {
        Op::Conv(op) => (op.layout, &CONVOLUTION),
        Op::ConvInteger(op) => (op.conv.layout, &CONVOLUTION),
        Op::QLinearConv(op) => (op.conv.layout, &QUANTIZED_CONVOLUTION),
        Op::ConvTranspose(op) => (op.layout, &TRANSPOSED_CONVOLUTION),
        Op::AveragePool(op) => (op.layout, &FEATURES),
        Op::LpPool(op) => (op.layout, &FEATURES),
        Op::MaxPool(op) => (op.layout, &TWO_RESULTS),
        Op::BatchNorm(op) => (op.layout, &FEATURES),
        Op::GroupNorm(op) => (op.layout, &FEATURES),
        Op::InstanceNorm(op) => (op.layout, &FEATURES),
        Op::DepthToSpace(op) => (op.layout, &FEATURES),
        Op::SpaceToDepth(op) => (op.layout, &FEATURES),
        _ => return None,
    })
}

/// `op` in another layout. An operation that has none stays as it is.
#[must_use]
pub fn with_layout(mut op: Op, layout: DataLayout) -> Op {
    let field = match &mut op {
        Op::Conv(op) => &mut op.layout,
        Op::ConvInteger(op) => &mut op.conv.layout,
        Op::QLinearConv(op) => &mut op.conv.layout,
        Op::ConvTranspose(op) => &mut op.layout,
        Op::AveragePool(op) => &mut op.layout,
        Op::LpPool(op) => &mut op.layout,
        Op::MaxPool(op) => &mut op.layout,
        Op::BatchNorm(op) => &mut op.layout,
        Op::GroupNorm(op) => &mut op.layout,
        Op::InstanceNorm(op) => &mut op.layout,
        Op::DepthToSpace(op) => &mut op.layout,
        Op::SpaceToDepth(op) => &mut op.layout,
        _ => return op,
    };
    *field = layout;
    op
}

impl Role {
    /// The order that puts the axes of a channels-last tensor of `rank` axes in channels-first order.
    pub fn channels_first(self, rank: usize) -> AxisOrder {
        match self {
            _ if rank < 2 => (0..rank).collect(),
            Self::Features | Self::Kernel => [0, rank - 1].into_iter().chain(1..rank - 1).collect(),
            Self::TransposedKernel => [rank - 1].into_iter().chain(0..rank - 1).collect(),
        }
    }

    /// The order that puts the axes of a channels-first tensor of `rank` axes in channels-last order.
    pub fn channels_last(self, rank: usize) -> AxisOrder {
        match self {
            _ if rank < 2 => (0..rank).collect(),
            Self::Features | Self::Kernel => [0].into_iter().chain(2..rank).chain([1]).collect(),
            Self::TransposedKernel => (1..rank).chain([0]).collect(),
        }
    }
}

impl DataLayout {
    /// The types that `rule`, which is written for channels first, gives for `operands`.
    pub(crate) fn infer(
        self,
        roles: &Roles,
        operands: &Operands<'_>,
        rule: impl FnOnce(&Operands<'_>) -> Result<Types, InferError>,
    ) -> Result<Types, InferError> {
        if self == Self::Nchw {
            return rule(operands);
        }
        let mut facts = operands.facts().to_vec();
        for (index, role) in roles.operands {
            if let Some(fact) = facts.get_mut(*index).and_then(Option::as_mut) {
                let order = role.channels_first(fact.ty.rank());
                *fact = Fact { ty: permuted(&fact.ty, &order), known: None };
            }
        }
        let types = operands.instead(&facts, rule);
        let mut types = types.map_err(|error| blame_as_given(error, roles, operands, &facts))?;
        for ty in types.iter_mut().take(roles.results) {
            *ty = permuted(ty, &Role::Features.channels_last(ty.rank()));
        }
        Ok(types)
    }

    /// What `rule`, which is written for channels first, computes for `operands` and results of `types`.
    pub(crate) fn eval(
        self,
        roles: &Roles,
        operands: &Inputs<'_>,
        types: &[TensorType],
        rule: impl FnOnce(&Inputs<'_>, &[TensorType]) -> Result<Results, EvalError>,
    ) -> Result<Results, EvalError> {
        if self == Self::Nchw {
            return rule(operands, types);
        }
        let mut tensors = operands.tensors().to_vec();
        for (index, role) in roles.operands {
            if let Some(tensor) = tensors.get_mut(*index).and_then(Option::as_mut) {
                *tensor = transposed(tensor, &role.channels_first(tensor.rank()))?;
            }
        }
        let mut first = types.to_vec();
        for ty in first.iter_mut().take(roles.results) {
            *ty = permuted(ty, &Role::Features.channels_first(ty.rank()));
        }
        let mut results = operands.instead(&tensors, |operands| rule(operands, &first))?;
        for tensor in results.iter_mut().take(roles.results) {
            *tensor = transposed(tensor, &Role::Features.channels_last(tensor.rank()))?;
        }
        Ok(results)
    }
}

/// `error` with the types that were given where it names those in the other order.
fn blame_as_given(
    mut error: InferError,
    roles: &Roles,
    operands: &Operands<'_>,
    facts: &[Option<Fact>],
) -> InferError {
    if let InferError::Operand { operand, found, .. } = &mut error {
        for (index, _) in roles.operands {
            let ordered = facts.get(*index).and_then(Option::as_ref).map(|fact| fact.ty.to_string());
            if *operand == operands.name(*index) && ordered.is_some_and(|ordered| ordered == *found) {
                *found = operands.optional(*index).map(ToString::to_string).unwrap_or_default();
            }
        }
    }
    error
}

/// `ty` with its axes in another order. Quantization is dropped: no rule looks at it.
fn permuted(ty: &TensorType, order: &[usize]) -> TensorType {
    TensorType::new(ty.dtype, order.iter().map(|axis| ty.shape[*axis].clone()).collect())
}

/// `tensor` with its axes in this order, which has each of them once.
///
/// # Errors
/// When the result cannot be held.
pub fn transposed(tensor: &Tensor, order: &[usize]) -> Result<Tensor, TensorError> {
    let sizes: SmallVec<[usize; 6]> = order.iter().map(|axis| tensor.sizes()[*axis]).collect();
    movement::boxed(tensor, &sizes, &Layout::dense(tensor.sizes()).permuted(order))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entity::Entity;
    use crate::ops::testing::{evaluate, floats, refused, tensor};
    use crate::ops::{
        AveragePool, BatchNorm, Conv, ConvTranspose, DepthToSpace, GroupNorm, InstanceNorm, LpPool, MaxPool,
        SpaceToDepth, all_ops,
    };
    use crate::types::{Dim, Shape, SymId};

    /// Checks that `op` computes the same in both layouts, on operands given with channels first.
    fn same_in_both(op: impl Into<Op>, operands: &[&Tensor]) {
        let op = op.into();
        let (_, roles) = layout_of(&op).expect("the operation has a layout");
        let expected = evaluate(&op, operands);
        let mut last: Vec<Tensor> = operands.iter().map(|tensor| (*tensor).clone()).collect();
        for (index, role) in roles.operands {
            let order = role.channels_last(last[*index].rank());
            last[*index] = transposed(&last[*index], &order).expect("a permutation");
        }
        let op = with_layout(op, DataLayout::Nhwc);
        let found = evaluate(&op, &last.iter().collect::<Vec<_>>());
        for (number, (found, expected)) in found.iter().zip(&expected).enumerate() {
            let order = Role::Features.channels_first(found.rank());
            let first = if number < roles.results { transposed(found, &order) } else { Ok(found.clone()) };
            assert_eq!(first.expect("a permutation"), *expected, "{op:?}");
        }
    }

    #[test]
    fn convolutions_compute_the_same_in_both_layouts() {
        let x = floats(&[2, 4, 5, 3]);
        let conv = Conv { strides: vec![2, 1], pads: vec![1, 0, 1, 2], group: 2, ..Conv::default() };
        same_in_both(conv, &[&x, &floats(&[6, 2, 3, 2]), &floats(&[6])]);
        let transposed = ConvTranspose { strides: vec![2, 1], group: 2, ..ConvTranspose::default() };
        same_in_both(transposed, &[&x, &floats(&[4, 3, 3, 2]), &floats(&[6])]);
    }

    #[test]
    fn windows_norms_and_squares_compute_the_same_in_both_layouts() {
        let x = floats(&[2, 4, 6, 2]);
        let (kernel_shape, pads) = (vec![2, 2], vec![0, 1, 1, 0]);
        same_in_both(
            MaxPool { kernel_shape: kernel_shape.clone(), pads: pads.clone(), ..MaxPool::default() },
            &[&x],
        );
        same_in_both(
            AveragePool { kernel_shape: kernel_shape.clone(), pads, ..AveragePool::default() },
            &[&x],
        );
        same_in_both(LpPool { kernel_shape, ..LpPool::default() }, &[&x]);
        let (scale, bias) = (floats(&[4]), tensor(&[4], &[1.0, 2.0, 3.0, 4.0]));
        same_in_both(GroupNorm { num_groups: 2, ..GroupNorm::default() }, &[&x, &scale, &bias]);
        same_in_both(InstanceNorm::default(), &[&x, &scale, &bias]);
        let training = BatchNorm { training_mode: true, ..BatchNorm::default() };
        same_in_both(training, &[&x, &scale, &bias, &scale, &bias]);
        same_in_both(DepthToSpace { blocksize: 2, ..DepthToSpace::default() }, &[&x]);
        same_in_both(SpaceToDepth { blocksize: 2, ..SpaceToDepth::default() }, &[&x]);
    }

    #[test]
    fn exactly_the_operations_with_a_layout_attribute_have_a_layout() {
        for op in all_ops() {
            let mut names = Names(Vec::new());
            op.clone().def_mut().attrs(&mut names).expect("names are only read");
            assert_eq!(names.0.contains(&"layout"), layout_of(&op).is_some(), "{op:?}");
            let last = with_layout(op.clone(), DataLayout::Nhwc);
            assert_eq!(layout_of(&last).map(|(layout, _)| layout), layout_of(&op).map(|_| DataLayout::Nhwc));
        }
    }

    struct Names(Vec<&'static str>);

    impl crate::attr::AttrVisitor for Names {
        fn visit(
            &mut self,
            name: &'static str,
            _: &mut dyn crate::attr::AttrValue,
        ) -> Result<(), crate::attr::AttrError> {
            self.0.push(name);
            Ok(())
        }
    }

    #[test]
    fn messages_show_the_type_that_was_given() {
        let op = Conv { layout: DataLayout::Nhwc, ..Conv::default() };
        let message = refused(&op.into(), &[&floats(&[1, 4, 4, 3]), &floats(&[8, 3, 3, 2])]);
        assert!(message.contains("f32[8, 3, 3, 2]"), "{message}");
    }

    #[test]
    fn sizes_made_by_the_rule_are_counted() {
        // A stride that need not divide the height gives a size that nobody knows.
        let height = Dim::Sym(SymId::from_index(0));
        let x = Shape::from_iter([Dim::Known(1), height, Dim::Known(8), Dim::Known(4)]);
        let fact = |shape| Some(Fact { ty: TensorType::new(crate::dtype::DType::F32, shape), known: None });
        let facts = [fact(x), fact(Shape::known(&[2, 3, 3, 4]))];
        let op: Op = Conv { strides: vec![2, 2], layout: DataLayout::Nhwc, ..Conv::default() }.into();
        let operands = Operands::new(op.def().operands(), &facts, 1);
        let types = op.def().infer(&operands).expect("fits");
        let expected = [Dim::Known(1), Dim::Sym(SymId::from_index(1)), Dim::Known(3), Dim::Known(2)];
        assert_eq!(types[0].shape, Shape::from_iter(expected));
        assert_eq!(operands.next_symbol(), 2);
    }
}
