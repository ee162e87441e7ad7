//! Filling slots that store integers, and counting what of an adapter is beyond their range.
//!
//! An operation that quantizes cuts off in silence what is beyond the codes. Here the real numbers that it reads are looked
//! at as well, so that whoever packs an adapter learns how much of it is lost.

use quad_ir::graph::{Graph, Output, ValueId, ValueRef};
use quad_ir::interpret::{Interpreter, NamedTensors, RunError};
use quad_ir::ops::{Clip, Quantize, QuantizeLinear};
use quad_ir::tensor::{Tensor, TensorError};
use quad_ir::types::{Encoded, TensorType};
use quad_passes::quant::linear::{Linear, encoding_of_quantize};
use serde::Serialize;

use crate::simulate::is_clipped;

/// How much of a slot is beyond what it can store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Clipping {
    /// The slot.
    pub slot: String,
    /// Its elements.
    pub elements: usize,
    /// How many are more than half a step beyond the codes, or no numbers.
    pub clipped: usize,
}

impl Clipping {
    /// The part of the elements that is clipped.
    pub fn share(&self) -> f64 {
        self.clipped as f64 / self.elements.max(1) as f64
    }
}

/// The slots of a module, and what was clipped of each that stores integers, in the order of the slots.
#[derive(Clone, Debug)]
pub struct Filled {
    /// The slots.
    pub slots: NamedTensors,
    /// What was clipped.
    pub clipping: Vec<Clipping>,
}

/// Slots cannot be filled.
#[derive(Debug, thiserror::Error)]
pub enum FillError {
    /// `@pack` did not run.
    #[error("the graph @pack could not be run: {0}")]
    Run(#[from] RunError),
    /// The elements of a tensor could not be read.
    #[error("slot `{slot}`: {error}")]
    Tensor {
        /// The slot.
        slot: String,
        /// Why.
        error: TensorError,
    },
}

/// Where real numbers become stored ones.
struct Border {
    slot: String,
    /// The real numbers.
    real: ValueId,
    encoded: Encoded,
    /// The smallest and the largest stored number.
    codes: [f64; 2],
}

/// Runs `pack`, the graph that fills slots, on what it takes of an adapter.
pub fn fill(pack: &Graph, inputs: &NamedTensors) -> Result<Filled, FillError> {
    let borders: Vec<Border> =
        pack.outputs().iter().filter_map(|output| border(&output.name, pack.value(output.value))).collect();
    let mut observed = pack.clone();
    let mut outputs = pack.outputs().to_vec();
    let name = |slot: &str| format!("{slot} before it is stored");
    outputs
        .extend(borders.iter().map(|border| Output { name: name(&border.slot).into(), value: border.real }));
    if observed.set_outputs(outputs).is_err() {
        // The values are of this graph, so there is nothing that could be wrong with them.
        return Ok(Filled { slots: Interpreter::new(pack).run(inputs)?, clipping: Vec::new() });
    }
    let mut slots = Interpreter::new(&observed).run(inputs)?;
    let mut clipping = Vec::new();
    for border in &borders {
        let Some(real) = slots.remove(&name(&border.slot)) else { continue };
        let clipped =
            clipped(&real, border).map_err(|error| FillError::Tensor { slot: border.slot.clone(), error })?;
        let elements = real.sizes().iter().product();
        clipping.push(Clipping { slot: border.slot.clone(), elements, clipped });
    }
    Ok(Filled { slots, clipping })
}

/// Where what becomes `slot` is stored, when that is an integer.
fn border(slot: &str, value: ValueRef<'_>) -> Option<Border> {
    let (low, high) = value.ty().dtype.integer_range()?;
    let mut codes = [low as f64, high as f64];
    let mut node = value.producer();
    if node.is::<Clip>().is_some() {
        for (at, name) in ["min", "max"].into_iter().enumerate() {
            let limit =
                node.operand(name).and_then(|limit| limit.constant()?.to_f64().ok()?.first().copied());
            codes[at] = limit.unwrap_or(codes[at]);
        }
        node = node.operand("x")?.producer();
    }
    let encoded = if node.is::<QuantizeLinear>().is_some() {
        encoding_of_quantize(node).ok()?
    } else {
        node.is::<Quantize>().and_then(|_| Encoded::of(node.result().ty()))?
    };
    let real = node.operand("x")?.id();
    Some(Border { slot: slot.to_owned(), real, encoded, codes })
}

/// How many elements of `real` are clipped.
fn clipped(real: &Tensor, border: &Border) -> Result<usize, TensorError> {
    let sizes = real.sizes();
    let ty = TensorType::known(real.dtype(), &sizes.iter().map(|size| *size as u64).collect::<Vec<_>>());
    // Encodings of graphs fit the values that they are of.
    let Ok(linear) = Linear::of(&border.encoded, &ty) else { return Ok(0) };
    let scales = linear.scale.to_f32()?.into_owned();
    let zeros = match &linear.zero_point {
        Some(zeros) => zeros.to_f64()?,
        None => vec![0.0; scales.len()],
    };
    let place = places(&linear, sizes);
    let beyond = |(at, number): (usize, &f32)| {
        let place = place(at);
        let code = f64::from((number / scales[place]).round_ties_even()) + zeros[place];
        is_clipped(code, border.codes)
    };
    Ok(real.to_f32()?.iter().enumerate().filter(|element| beyond(*element)).count())
}

/// From the place of an element to that of its scale.
fn places(linear: &Linear, sizes: &[usize]) -> impl Fn(usize) -> usize + use<> {
    let single = linear.scale.sizes().iter().product::<usize>() == 1;
    let axis = usize::try_from(linear.axis).unwrap_or(0).min(sizes.len().saturating_sub(1));
    let inner = sizes.iter().skip(axis + 1).product::<usize>().max(1);
    let size = sizes.get(axis).copied().unwrap_or(1).max(1);
    let block = usize::try_from(linear.block_size).unwrap_or(0);
    move |at: usize| match (single, block) {
        (true, _) => 0,
        (false, 0) => at / inner % size,
        (false, block) => {
            let (outer, within) = (at / inner / size, at / inner % size / block);
            (outer * size.div_ceil(block) + within) * inner + at % inner
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use quad_ir::module::Module;
    use quad_ir::text::{self, NoWeights};
    use quad_passes::check::PACK;
    use quad_passes::context::Context;
    use quad_passes::pass::Pass;
    use quad_passes::quant::fold_quant::FoldQuant;

    use super::*;
    use crate::insert;

    const SLOTS: &str = "quad 1

graph @main(%x: f32[1, 2], %a: f32[2, 2] adapter, %b: f32[2, 2] adapter, %c: f32[2, 2] adapter) {
  %0 = matmul(%x, %a) : f32[1, 2]
  %1 = matmul(%0, %b) : f32[1, 2]
  %y = matmul(%1, %c) : f32[1, 2]
  return \"y\" = %y
}

graph @pack(%a: f32[2, 2] adapter, %b: f32[2, 2] adapter, %c: f32[2, 2] adapter) {
  %0 = transpose(%a) {perm = [1, 0]} : f32[2, 2]
  return \"a\" = %0, \"b\" = %b, \"c\" = %c
}
";

    fn module(encodings: &str) -> Module {
        let mut module = text::parse(SLOTS, &NoWeights).expect("a module");
        let encodings = insert::parse(encodings).expect("encodings");
        insert::insert(&mut module, &encodings, &mut Context::default()).expect("inserted");
        module
    }

    fn counts(module: &Module, numbers: [f32; 4]) -> Vec<(String, usize)> {
        let tensor = Tensor::from_vec(&[2, 2], numbers.to_vec()).expect("a matrix");
        let inputs: NamedTensors =
            ["a", "b", "c"].into_iter().map(|name| (name.to_owned(), tensor.clone())).collect();
        let pack = module.graph(PACK).expect("it is there");
        let filled = fill(pack, &inputs).expect("it runs");
        assert_eq!(filled.slots, Interpreter::new(pack).run(&inputs).expect("it runs"));
        filled.clipping.into_iter().map(|clipping| (clipping.slot, clipping.clipped)).collect()
    }

    fn expected<const N: usize>(counts: [(&str, usize); N]) -> Vec<(String, usize)> {
        BTreeMap::from(counts).into_iter().map(|(slot, count)| (slot.to_owned(), count)).collect()
    }

    #[test]
    fn what_is_beyond_the_codes_is_counted() {
        let numbers = [127.4, -127.6, 20.0, f32::NAN];
        let quantized = module("a=i8:1 b=i8:1,0.1@0");
        assert_eq!(counts(&quantized, numbers), expected([("a", 2), ("b", 3)]));
        let rows = module("a=u8:1:3 b=i8:1,0.1@1");
        assert_eq!(counts(&rows, numbers), expected([("a", 2), ("b", 2)]));
        assert_eq!(counts(&module(""), numbers), []);
    }

    #[test]
    fn folding_changes_nothing() {
        let mut folded = module("a=i8:1 b=u8:1:3 c=i16:0.001");
        FoldQuant::default().run_module(&mut folded, &mut Context::default()).expect("folded");
        let numbers = [127.4, -127.6, 20.0, 2.0];
        assert_eq!(counts(&folded, numbers), expected([("a", 1), ("b", 1), ("c", 2)]));
    }
}
