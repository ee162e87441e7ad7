//! Layers: products of activations with constants or slots, and what is added to them.

use std::collections::BTreeMap;

use quad_ir::graph::{Graph, NodeRef, ValueRef};
use quad_ir::ops::layout::DataLayout;
use quad_ir::ops::{Add, Attention, Conv, ConvTranspose, Gemm, MatMul, Mul, OpKind};
use quad_passes::lora::interface::{LORA_A, LORA_B, adapter_inputs};

use super::islands::{Dataflow, Depends};

/// An operand of a layer that is a constant or a slot.
#[derive(Clone, Copy, Debug)]
pub struct Factor<'g> {
    /// The layer.
    pub node: NodeRef<'g>,
    /// The constant or slot.
    pub w: ValueRef<'g>,
    /// What it is multiplied with.
    pub x: ValueRef<'g>,
    /// The axis of the layer's output channels in `w`, where scales may differ along it.
    pub axis: Option<u8>,
}

impl Factor<'_> {
    /// Whether the constant or slot is the first factor of a product: its channels are rows of the result.
    pub fn is_first(&self) -> bool {
        self.node.operands().next().flatten().is_some_and(|first| first.id() == self.w.id())
    }
}

/// The constant or slot that `node` multiplies with an activation, when it is a layer.
pub fn factor<'g>(node: NodeRef<'g>, flow: &Dataflow) -> Option<Factor<'g>> {
    let mut operands = node.operands().flatten();
    let (first, second) = (operands.next()?, operands.next()?);
    let is_run = |value| flow.depends(value) == Depends::Run;
    if node.is::<Conv>().is_some() {
        // Output channels are the first axis of a kernel in both layouts.
        return (!is_run(second)).then_some(Factor { node, w: second, x: first, axis: Some(0) });
    }
    if let Some(op) = node.is::<ConvTranspose>() {
        let axis = match (op.layout, op.group) {
            (_, 2..) => None,
            (DataLayout::Nhwc, _) => Some(0),
            (DataLayout::Nchw, _) => Some(1),
        };
        return (!is_run(second)).then_some(Factor { node, w: second, x: first, axis });
    }
    let (transposed_a, transposed_b) = match (node.is::<MatMul>(), node.is::<Gemm>()) {
        (Some(_), _) => (false, false),
        (_, Some(op)) => (op.transA, op.transB),
        _ => return None,
    };
    match (is_run(first), is_run(second)) {
        (true, false) => {
            let axis = (second.ty().rank() == 2).then_some(u8::from(!transposed_b));
            Some(Factor { node, w: second, x: first, axis })
        }
        (false, true) => {
            let axis = (first.ty().rank() == 2).then_some(u8::from(transposed_a));
            Some(Factor { node, w: first, x: second, axis })
        }
        _ => None,
    }
}

/// The activations that are second operands of products of two activations in `node`.
pub fn second_operands<'g>(node: NodeRef<'g>, flow: &Dataflow) -> Vec<ValueRef<'g>> {
    let is_run = |value: &ValueRef<'g>| flow.depends(*value) == Depends::Run;
    let operands: Vec<Option<ValueRef<'g>>> = node.operands().collect();
    let all_run =
        |count: usize| operands.iter().take(count).flatten().filter(|value| is_run(value)).count() == count;
    let product = node.is::<MatMul>().is_some() || node.is::<Gemm>().is_some();
    let places: &[usize] = match () {
        () if product && all_run(2) => &[1],
        () if node.is::<Attention>().is_some() => &[1, 2],
        () => &[],
    };
    places.iter().filter_map(|place| operands.get(*place).copied().flatten()).filter(is_run).collect()
}

/// The operand of a layer that is added to its products.
pub const BIAS: usize = 2;

/// The bias of the layer `node`: a constant that is added to products as they are, a number to each output channel.
pub fn bias<'g>(node: NodeRef<'g>, flow: &Dataflow) -> Option<ValueRef<'g>> {
    // A gemm may scale its products and what it adds; then no integer is both.
    let plain = node.is::<Gemm>().is_none_or(|op| op.alpha.get() == 1.0 && op.beta.get() == 1.0);
    let is_layer = matches!(node.op().kind(), OpKind::Conv | OpKind::ConvTranspose | OpKind::Gemm);
    let bias = node.operands().nth(BIAS).flatten().filter(|_| plain && is_layer)?;
    // It lies along columns, and the output channels of a first factor are rows.
    let along_channels = !factor(node, flow)?.is_first();
    (along_channels && flow.depends(bias) == Depends::Nothing && bias.ty().rank() == 1).then_some(bias)
}

/// The slots of each site, and the constants of the layers beside them, by name.
pub fn sites(graph: &Graph, flow: &Dataflow) -> BTreeMap<String, Vec<String>> {
    let mut sites: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for slot in adapter_inputs(graph) {
        let Some(name) = slot.name() else { continue };
        let Some((path, part)) = site_of(name) else { continue };
        let names = sites.entry(path.to_owned()).or_default();
        names.push(name.to_string());
        if part == LORA_B {
            let beside =
                slot.readers().filter_map(|(reader, _)| beside(reader, flow)).filter_map(ValueRef::name);
            names.extend(beside.map(ToString::to_string));
        }
    }
    for names in sites.values_mut() {
        names.sort_unstable();
        names.dedup();
    }
    sites
}

/// The path of the site that the slot called `name` is of, and which factor it is.
pub fn site_of(name: &str) -> Option<(&str, &'static str)> {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let name = name.rsplit_once('.').filter(|(_, end)| is_number(end)).map_or(name, |(name, _)| name);
    let (path, part) = name.rsplit_once('.')?;
    [LORA_A, LORA_B].into_iter().find(|known| *known == part).map(|known| (path, known))
}

/// The constant of the layer whose result is added to that of `branch`.
fn beside<'g>(branch: NodeRef<'g>, flow: &Dataflow) -> Option<ValueRef<'g>> {
    let mut value = branch.result();
    loop {
        let reader = value.only_reader()?;
        if reader.is::<Add>().is_none() {
            let goes_on = reader.is::<Mul>().is_some() || reader.op().kind() == OpKind::Reshape;
            value = goes_on.then(|| reader.result())?;
            continue;
        }
        let mut base = reader.operands().flatten().find(|operand| operand.id() != value.id())?;
        while base.producer().op().kind() == OpKind::Reshape {
            base = base.producer().operands().next().flatten()?;
        }
        let factor = factor(base.producer(), flow)?;
        return (flow.depends(factor.w) == Depends::Nothing).then_some(factor.w);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_tell_their_site() {
        assert_eq!(site_of("up.0.to_q.lora_A"), Some(("up.0.to_q", LORA_A)));
        assert_eq!(site_of("up.0.to_q.lora_B.3"), Some(("up.0.to_q", LORA_B)));
        assert_eq!(site_of("up.0.to_q.lora_scale"), None);
        assert_eq!(site_of("up.0"), None);
    }
}
