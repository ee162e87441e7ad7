//! Writes quantized types out: values are stored by `quantize_linear` and read through `dequantize_linear`, between which
//! operations compute with floats.
//!
//! The reverse of `fold-quant`, for what takes that form only, such as ONNX. It computes what the quantized graph does with
//! simulated arithmetic, to the bit. Quantized inputs and outputs become integers, as they are stored.
//!
//! A value keeps its name before it is stored; what is stored is called `<name>.q`, and what is read of it `<name>.dq`.
//!
//! Before:
//! ```quad
//! graph @main(%x: u8[1, 2] quant(scale = [0.5], zero_point = [128], of = f32)) {
//!   %y = relu(%x) : u8[1, 2] quant(scale = [0.25], zero_point = [0], of = f32)
//!   return "y" = %y
//! }
//! ```
//! After:
//! ```quad
//! graph @main(%x: u8[1, 2]) {
//!   %0 = weight 0.5 : f32[]
//!   %1 = weight 128 : u8[]
//!   %x.dq = dequantize_linear(%x, %0, %1) : f32[1, 2]
//!   %y = relu(%x.dq) : f32[1, 2]
//!   %2 = weight 0.25 : f32[]
//!   %3 = weight 0 : u8[]
//!   %y.q = quantize_linear(%y, %2, %3) : u8[1, 2]
//!   return "y" = %y.q
//! }
//! ```

use quad_ir::graph::{Graph, NodeRef, ValueId, ValueRef};
use quad_ir::ops::{Dequantize, Input, Quantize, Weight};
use quad_ir::types::{Encoded, TensorType};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use super::copy::Copy;
use super::linear::Linear;
use crate::context::{Context, Place};
use crate::pass::{Pass, PassError, PassInfo};

/// See the [module](self).
#[derive(Clone, Debug, Default)]
pub struct UnfoldQuant;

const INFO: PassInfo = PassInfo { name: "unfold-quant", source: include_str!("unfold_quant.rs") };

impl Pass for UnfoldQuant {
    fn info(&self) -> &'static PassInfo {
        &INFO
    }

    fn run(&self, graph: &mut Graph, cx: &mut Context) -> Result<(), PassError> {
        if !cx.has_fuel() {
            return Ok(());
        }
        let order = graph.topo();
        let quantized = |node: &&quad_ir::graph::NodeId| {
            graph.node(**node).results().any(|result| result.ty().quant.is_some())
        };
        let Some(first) = order.iter().find(quantized) else { return Ok(()) };
        let place = Place::of(graph.node(*first));
        let mut unfold = Unfold { copy: Copy::new(graph, INFO.name), parameters: FxHashMap::default() };
        for node in order {
            unfold.node(graph.node(node))?;
        }
        let edit = unfold.finish()?;
        cx.apply(graph, edit, INFO.name, place)?;
        Ok(())
    }
}

/// Scales and zero points that are there, with what says how they are used.
#[derive(Clone)]
struct Parameters {
    linear: Linear,
    scale: ValueId,
    zero_point: Option<ValueId>,
}

/// The graph in its new form. `copy.plain` has real numbers, `copy.other` the integers of what was quantized.
struct Unfold<'g> {
    copy: Copy<'g>,
    /// The constants of each encoding; those of blocks differ with the sizes.
    parameters: FxHashMap<TensorType, Parameters>,
}

impl<'g> Unfold<'g> {
    fn node(&mut self, node: NodeRef<'g>) -> Result<(), PassError> {
        if node.is::<Weight>().is_some() {
            return Ok(());
        }
        let result = node.result();
        if node.is::<Input>().is_some() {
            let ty = TensorType { quant: None, ..result.ty().clone() };
            let new = self.copy.input(result, ty)?;
            let stored = result.ty().quant.is_some();
            let copies = if stored { &mut self.copy.other } else { &mut self.copy.plain };
            copies.insert(result.id(), new);
            return Ok(());
        }
        let mut operands: SmallVec<[Option<ValueId>; 4]> = SmallVec::new();
        for operand in node.operands() {
            operands.push(operand.map(|value| self.read(value)).transpose()?);
        }
        let identity = node.is::<Quantize>().is_some() || node.is::<Dequantize>().is_some();
        if let (true, [Some(x)]) = (identity, &operands[..]) {
            return self.identity(node, *x);
        }
        let new = self.copy.patch.add(node.op().clone(), &operands)?;
        self.copy.patch.set_loc(new, node.loc().clone());
        let results: SmallVec<[ValueId; 1]> = self.copy.patch.results(new).iter().copied().collect();
        for (old, new) in node.results().zip(results) {
            self.copy.name(new, old);
            self.store(old, new)?;
        }
        Ok(())
    }

    /// `quantize` and `dequantize` compute nothing: what they are is in the types.
    fn identity(&mut self, node: NodeRef<'g>, x: ValueId) -> Result<(), PassError> {
        let result = node.result();
        if result.ty().quant.is_none() {
            self.copy.plain.insert(result.id(), x);
            return Ok(());
        }
        self.store(result, x)
    }

    /// `real` are the numbers of `old`: what reads them, where they are stored.
    fn store(&mut self, old: ValueRef<'g>, real: ValueId) -> Result<(), PassError> {
        let Some(encoded) = Encoded::of(old.ty()) else {
            self.copy.plain.insert(old.id(), real);
            return Ok(());
        };
        if encoded.stored.bits() > 16 {
            let place = Place::of(old.producer());
            return Err(PassError::Refused(format!(
                "{place} is stored as {}, expected at most 16 bits: `quantize_linear` has no more. Leave it a float, or let \
                 it be a constant",
                encoded.stored
            )));
        }
        let parameters = self.parameters(old)?;
        let op = parameters.linear.quantize(encoded.stored);
        let node = self.copy.patch.add(op, &[Some(real), Some(parameters.scale), parameters.zero_point])?;
        self.copy.patch.set_loc(node, old.producer().loc().clone());
        let stored = self.copy.patch.results(node)[0];
        self.suffixed(stored, old, "q");
        self.copy.other.insert(old.id(), stored);
        Ok(())
    }

    /// The real numbers of `value`.
    fn read(&mut self, value: ValueRef<'g>) -> Result<ValueId, PassError> {
        let Some(encoded) = Encoded::of(value.ty()) else {
            let copy = self.copy.constant(value)?;
            return Ok(copy.unwrap_or_else(|| self.copy.plain[&value.id()]));
        };
        if let Some(there) = self.copy.plain.get(&value.id()) {
            return Ok(*there);
        }
        let stored = self.stored(value)?;
        let parameters = self.parameters(value)?;
        let op = parameters.linear.dequantize(encoded.quant.expressed);
        let operands = [Some(stored), Some(parameters.scale), parameters.zero_point];
        let node = self.copy.patch.add(op, &operands).map_err(|error| {
            PassError::Refused(format!(
                "{}: {error}, so it cannot be written out",
                Place::of(value.producer())
            ))
        })?;
        self.copy.patch.set_loc(node, value.producer().loc().clone());
        let real = self.copy.patch.results(node)[0];
        self.suffixed(real, value, "dq");
        self.copy.plain.insert(value.id(), real);
        Ok(real)
    }

    /// The integers of the quantized `value`.
    fn stored(&mut self, value: ValueRef<'g>) -> Result<ValueId, PassError> {
        if let Some(there) = self.copy.other.get(&value.id()) {
            return Ok(*there);
        }
        let Some(weight) = value.weight() else { return Ok(self.copy.other[&value.id()]) };
        let plain = self.copy.patch.weights_mut().reinterpret(weight, None)?;
        let stored = self.copy.patch.add_weight(plain)?;
        self.copy.name(stored, value);
        self.copy.other.insert(value.id(), stored);
        Ok(stored)
    }

    /// The constants that say how `value` is stored.
    fn parameters(&mut self, value: ValueRef<'g>) -> Result<Parameters, PassError> {
        let ty = value.ty();
        // Where scales do not depend on sizes one pair of constants does for all tensors.
        let blocks = ty.quant.as_ref().is_some_and(|quant| quant.block.is_some());
        let key = if blocks {
            ty.clone()
        } else {
            TensorType { shape: std::iter::empty().collect(), ..ty.clone() }
        };
        if let Some(there) = self.parameters.get(&key) {
            return Ok(there.clone());
        }
        let refused = |why: String| {
            PassError::Refused(format!("{} cannot be written out: {why}", Place::of(value.producer())))
        };
        let encoded = Encoded::of(ty).ok_or_else(|| refused("it is not quantized".to_owned()))?;
        let linear = Linear::of(&encoded, ty).map_err(refused)?;
        let scale = self.copy.patch.add_constant(&linear.scale)?;
        let zero_point =
            linear.zero_point.as_ref().map(|zero| self.copy.patch.add_constant(zero)).transpose()?;
        let parameters = Parameters { linear, scale, zero_point };
        self.parameters.insert(key, parameters.clone());
        Ok(parameters)
    }

    /// Names `new` after `old`, with an ending.
    fn suffixed(&mut self, new: ValueId, old: ValueRef<'_>, ending: &str) {
        if let Some(name) = old.name() {
            self.copy.patch.set_name(new, &format!("{name}.{ending}"));
        }
    }

    fn finish(mut self) -> Result<quad_ir::graph::Edit, PassError> {
        let graph: &Graph = self.copy.graph;
        let mut outputs = Vec::new();
        for output in graph.outputs() {
            if outputs.iter().any(|(old, _)| *old == output.value) {
                continue;
            }
            let value = graph.value(output.value);
            let new = if value.ty().quant.is_some() { self.stored(value)? } else { self.read(value)? };
            outputs.push((output.value, new));
        }
        self.copy.finish(&outputs)
    }
}
