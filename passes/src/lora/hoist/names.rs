//! What slots are called: after the tensors of the adapter that they are made of.

use quad_ir::graph::{Graph, NodeId, ValueId, ValueRef};
use rustc_hash::{FxHashMap, FxHashSet};

/// The name of a slot, and the number of the input of `@pack` that it is called after.
pub(super) struct SlotName {
    pub(super) name: String,
    pub(super) origin: usize,
}

/// The names of the slots that `values` of `pack` fill, in order. Each is unique.
pub(super) fn of(pack: &Graph, values: &[ValueId]) -> Vec<SlotName> {
    let inputs: Vec<ValueRef<'_>> = pack.inputs().collect();
    let places = inputs.iter().enumerate().map(|(place, input)| (input.producer().id(), place)).collect();
    let origins: Vec<usize> =
        values.iter().map(|value| origin(pack.value(*value), &inputs, &places)).collect();
    let mut counts = vec![0usize; inputs.len()];
    for origin in &origins {
        counts[*origin] += 1;
    }
    let mut numbers = vec![0usize; inputs.len()];
    let mut name = |origin: usize| {
        let name = inputs[origin].name().map_or("", |name| &**name);
        numbers[origin] += 1;
        let name =
            if counts[origin] == 1 { name.to_owned() } else { format!("{name}.{}", numbers[origin] - 1) };
        SlotName { name, origin }
    };
    origins.iter().map(|origin| name(*origin)).collect()
}

/// Which of `all` inputs, whose `places` these are, `value` is called after: the one with as many elements, or else the
/// largest; the first of equals.
fn origin(value: ValueRef<'_>, all: &[ValueRef<'_>], places: &FxHashMap<NodeId, usize>) -> usize {
    let mut seen = FxHashSet::default();
    let mut waiting = vec![value];
    let mut found: Vec<usize> = Vec::new();
    while let Some(value) = waiting.pop() {
        let node = value.producer();
        if seen.insert(node.id()) {
            found.extend(places.get(&node.id()));
            waiting.extend(node.operands().flatten());
        }
    }
    found.sort_unstable();
    let size = elements(value);
    let best = found.iter().find(|place| elements(all[**place]) == size);
    let best = best.or_else(|| found.iter().rev().max_by_key(|place| elements(all[**place])));
    best.copied().unwrap_or(0)
}

fn elements(value: ValueRef<'_>) -> u64 {
    let sizes = value.ty().shape.as_known();
    sizes.map_or(u64::MAX, |sizes| sizes.iter().fold(1, |product: u64, size| product.saturating_mul(*size)))
}
