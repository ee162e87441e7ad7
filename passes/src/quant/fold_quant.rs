//! Makes quantized types of `quantize_linear` and `dequantize_linear`: operations read what is stored, and state how their
//! results are.
//!
//! The scales and zero points must be constants. A `dequantize_linear` goes into the operations that read it, and a
//! `quantize_linear` into the one whose result it alone reads, or several of one encoding do; where that cannot be, it
//! becomes a `quantize`, which another encoding of what is quantized already becomes too. Storing what was just taken apart
//! in the same encoding is nothing, where real numbers have the digits for it. Constants, and inputs that are dequantized at
//! once, become quantized themselves.
//!
//! What only moves elements states the encoding of what it moves, where nothing says otherwise: all that it needs is there
//! as it is stored. `movers=false` leaves those results real numbers.
//!
//! A `quantize_linear` that is read by something that computes with stored integers stays, and so does what divides in
//! 16 bits, as a result might differ.
//!
//! Before:
//! ```quad
//! graph @main(%x: f32[1, 2]) {
//!   %s = weight 0.5 : f32[]
//!   %z = weight 128 : u8[]
//!   %q = quantize_linear(%x, %s, %z) {output_dtype = u8} : u8[1, 2]
//!   %dq = dequantize_linear(%q, %s, %z) : f32[1, 2]
//!   %w = weight [1, -2, 3, 4] : i8[2, 2]
//!   %ws = weight [0.25, 0.5] : f32[2]
//!   %dw = dequantize_linear(%w, %ws) : f32[2, 2]
//!   %product = matmul(%dq, %dw) : f32[1, 2]
//!   %o = quantize_linear(%product, %s, %z) {output_dtype = u8} : u8[1, 2]
//!   %y = dequantize_linear(%o, %s, %z) : f32[1, 2]
//!   return "y" = %y
//! }
//! ```
//! After:
//! ```quad
//! graph @main(%x: f32[1, 2]) {
//!   %q = quantize(%x) : u8[1, 2] quant(scale = [0.5], zero_point = [128], of = f32)
//!   %w = weight [1, -2, 3, 4] : i8[2, 2] quant(scale = [0.25, 0.5], zero_point = [0, 0], axis = 1, of = f32)
//!   %product = matmul(%q, %w) : u8[1, 2] quant(scale = [0.5], zero_point = [128], of = f32)
//!   %y = dequantize(%product) : f32[1, 2]
//!   return "y" = %y
//! }
//! ```

use quad_ir::attr::{AttrError, AttrVisitor};
use quad_ir::dtype::DType;
use quad_ir::graph::{Graph, NodeId, NodeRef, ValueId, ValueRef};
use quad_ir::ops::{
    Dequantize, DequantizeLinear, Input, OpTraits, Quantize, QuantizeLinear, Transpose, Weight,
};
use quad_ir::quantized::moved_operands;
use quad_ir::types::{Encoded, Quant};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use super::copy::Copy;
use super::linear::{encoding_of_dequantize, encoding_of_quantize};
use crate::context::{Context, Place};
use crate::emit::weight_of;
use crate::pass::{Pass, PassError, PassInfo};

/// See the [module](self).
#[derive(Clone, Debug)]
pub struct FoldQuant {
    /// Whether what only moves elements states the encoding of what it moves.
    pub movers: bool,
}

impl Default for FoldQuant {
    fn default() -> Self {
        Self { movers: true }
    }
}

const INFO: PassInfo = PassInfo { name: "fold-quant", source: include_str!("fold_quant.rs") };

impl Pass for FoldQuant {
    fn info(&self) -> &'static PassInfo {
        &INFO
    }

    fn options(&mut self, visitor: &mut dyn AttrVisitor) -> Result<(), AttrError> {
        visitor.attr("movers", &mut self.movers)
    }

    fn run(&self, graph: &mut Graph, cx: &mut Context) -> Result<(), PassError> {
        if !cx.has_fuel() {
            return Ok(());
        }
        let plan = Plan::of(graph, cx);
        let Some(first) = graph.topo().into_iter().find(|node| plan.encodings.contains_key(node)) else {
            return Ok(());
        };
        let place = Place::of(graph.node(first));
        let mut fold = Fold {
            copy: Copy::new(graph, INFO.name),
            plan,
            movers: self.movers,
            weights: FxHashMap::default(),
        };
        for node in graph.topo() {
            fold.node(graph.node(node))?;
        }
        let edit = fold.finish()?;
        cx.apply(graph, edit, INFO.name, place)?;
        Ok(())
    }
}

/// What is decided before anything is built.
#[derive(Default)]
struct Plan {
    /// What each `quantize_linear` and `dequantize_linear` stands for that goes.
    encodings: FxHashMap<NodeId, Encoded>,
    /// Inputs, and results of operations, that are to be stored.
    stored: FxHashMap<ValueId, Encoded>,
}

impl Plan {
    fn of(graph: &Graph, cx: &mut Context) -> Self {
        let mut plan = Self::default();
        for node in graph.topo().into_iter().map(|node| graph.node(node)) {
            let encoded = if node.is::<QuantizeLinear>().is_some() {
                encoding_of_quantize(node)
            } else if node.is::<DequantizeLinear>().is_some() {
                encoding_of_dequantize(node)
            } else {
                continue;
            };
            match encoded {
                Ok(encoded) => {
                    plan.encodings.insert(node.id(), encoded);
                }
                Err(why) => cx.left(INFO.name, Place::of(node), why),
            }
        }
        plan.keep_what_is_read_as_integers(graph, cx);
        let results = graph.nodes().flat_map(NodeRef::results);
        plan.stored = results.filter_map(|value| Some((value.id(), plan.stored_as(value)?))).collect();
        plan
    }

    /// A `quantize_linear` stays whose result something else than a `dequantize_linear` of the same encoding reads, and a
    /// `dequantize_linear` of what is computed with integers.
    fn keep_what_is_read_as_integers(&mut self, graph: &Graph, cx: &mut Context) {
        let mut kept = Vec::new();
        for node in graph.topo().into_iter().map(|node| graph.node(node)) {
            let Some(encoded) = self.encodings.get(&node.id()) else { continue };
            if node.is::<QuantizeLinear>().is_some()
                && node.result().readers().any(|(reader, _)| !self.takes_apart(reader, encoded))
            {
                kept.push(node.id());
            }
        }
        for node in kept {
            self.encodings.remove(&node);
            cx.left(INFO.name, Place::of(graph.node(node)), "something computes with its integers");
        }
        let is_plain = |node: &NodeId| {
            let node = graph.node(*node);
            let Some(x) = node.operand("x").filter(|_| node.is::<DequantizeLinear>().is_some()) else {
                return false;
            };
            let source = x.producer();
            let known = source.is::<Weight>().is_some() || self.encodings.contains_key(&source.id());
            !(known || source.is::<Input>().is_some() && self.common(x).is_some())
        };
        let encoded = graph.topo().into_iter().filter(|node| self.encodings.contains_key(node));
        let plain: Vec<NodeId> = encoded.filter(is_plain).collect();
        for node in plain {
            self.encodings.remove(&node);
            cx.left(INFO.name, Place::of(graph.node(node)), "what it reads is computed with integers");
        }
    }

    /// Whether `reader` is a `dequantize_linear` of encoding `encoded`.
    fn takes_apart(&self, reader: NodeRef<'_>, encoded: &Encoded) -> bool {
        reader.is::<DequantizeLinear>().is_some() && self.encodings.get(&reader.id()) == Some(encoded)
    }

    /// The encoding of all readers of `value`, where there are any and all have that one.
    fn common(&self, value: ValueRef<'_>) -> Option<&Encoded> {
        let mut readers = value.readers().map(|(reader, operand)| match operand {
            0 => self.encodings.get(&reader.id()),
            _ => None,
        });
        let first = readers.next()??;
        readers.all(|other| other == Some(first)).then_some(first)
    }

    /// How `value` is to be stored, if it is: an input that is taken apart at once, or the result of an operation that only
    /// `quantize_linear` reads.
    fn stored_as(&self, value: ValueRef<'_>) -> Option<Encoded> {
        let node = value.producer();
        let encoded = self.common(value)?;
        let is_float = value.ty().dtype.is_float() && value.ty().quant.is_none();
        let wanted = if is_float {
            let computes = !is_linear(node) && node.is::<Input>().is_none() && node.is::<Weight>().is_none();
            let reads = value.readers().all(|(reader, _)| reader.is::<QuantizeLinear>().is_some());
            computes && reads && !value.is_output() && node.op().def().traits().contains(OpTraits::PURE)
        } else {
            node.is::<Input>().is_some()
                && value.readers().all(|(reader, _)| reader.is::<DequantizeLinear>().is_some())
        };
        wanted.then(|| encoded.clone())
    }
}

fn is_linear(node: NodeRef<'_>) -> bool {
    node.is::<QuantizeLinear>().is_some() || node.is::<DequantizeLinear>().is_some()
}

/// The graph in its new form. `copy.other` has the quantized value that stands for one: for stored integers, and for the
/// real numbers that they mean.
/// Whether codes are what they were after they are taken apart and stored again. A number of `f32` is a code times its scale to a
/// part in 2^24; of `f16` to one in 2^11, so that codes of a byte come back and others do not; `bf16` loses those of a byte, too.
fn survives(encoded: &Encoded) -> bool {
    match encoded.quant.expressed {
        DType::F16 => encoded.stored.bits() <= 8,
        DType::BF16 => encoded.stored.bits() <= 4,
        _ => encoded.stored.bits() <= 16,
    }
}

struct Fold<'g> {
    copy: Copy<'g>,
    plan: Plan,
    movers: bool,
    /// Constants that were given encodings.
    weights: FxHashMap<(ValueId, Encoded), ValueId>,
}

impl<'g> Fold<'g> {
    fn node(&mut self, node: NodeRef<'g>) -> Result<(), PassError> {
        if node.is::<Weight>().is_some() {
            return Ok(());
        }
        if node.is::<Input>().is_some() {
            return self.input(node.result());
        }
        match self.plan.encodings.get(&node.id()).cloned() {
            Some(encoded) if node.is::<QuantizeLinear>().is_some() => self.quantize(node, encoded),
            Some(encoded) => self.dequantize(node, encoded),
            None => self.operation(node),
        }
    }

    fn input(&mut self, input: ValueRef<'g>) -> Result<(), PassError> {
        let stored = self.plan.stored.get(&input.id());
        let ty = stored.map_or_else(|| input.ty().clone(), |encoded| encoded.ty(input.ty().shape.clone()));
        let is_stored = stored.is_some();
        let new = self.copy.input(input, ty)?;
        let copies = if is_stored { &mut self.copy.other } else { &mut self.copy.plain };
        copies.insert(input.id(), new);
        Ok(())
    }

    /// What is stored stands for the result: the value itself where it is stored so, else a `quantize`.
    fn quantize(&mut self, node: NodeRef<'g>, encoded: Encoded) -> Result<(), PassError> {
        let (Some(x), result) = (node.operand("x"), node.result()) else { return Ok(()) };
        let there = self.copy.other.get(&x.id()).copied();
        let same = |value: &ValueId| {
            let there = self.copy.patch.ty(*value).and_then(Encoded::of);
            there.is_some_and(|there| there == encoded && survives(&there))
        };
        let new = match there.filter(same) {
            Some(value) => value,
            None if x.weight().is_some() => self.quantized_constant(node, encoded)?,
            None => {
                let operand = self.read(x)?;
                let new = self.copy.patch.add_stated(Quantize, &[Some(operand)], &[Some(encoded)])?;
                self.copy.patch.set_loc(new, node.loc().clone());
                let new = self.copy.patch.results(new)[0];
                self.copy.name(new, result);
                new
            }
        };
        self.copy.other.insert(result.id(), new);
        Ok(())
    }

    /// A constant is quantized once, when its bytes are made.
    fn quantized_constant(&mut self, node: NodeRef<'g>, encoded: Encoded) -> Result<ValueId, PassError> {
        let operands = node.operands().map(|operand| match operand {
            Some(value) => weight_of(value, &mut self.copy.patch),
            None => Ok(None),
        });
        let operands: Vec<_> = operands.collect::<Result<_, _>>()?;
        let weights = self.copy.patch.weights_mut();
        let stored = weights.derive(node.op().clone(), &operands)?;
        let weight = weights.reinterpret(stored, Some(encoded.quant))?;
        let new = self.copy.patch.add_weight(weight)?;
        self.copy.name(new, node.result());
        Ok(new)
    }

    /// The quantized value that is taken apart stands for the result.
    fn dequantize(&mut self, node: NodeRef<'g>, encoded: Encoded) -> Result<(), PassError> {
        let (Some(x), result) = (node.operand("x"), node.result()) else { return Ok(()) };
        let new = match (self.copy.other.get(&x.id()), x.producer().is::<Weight>()) {
            (Some(value), _) => *value,
            (None, Some(weight)) => self.encoded_constant(x, weight, encoded)?,
            // The plan keeps others as they are.
            (None, None) => return self.operation(node),
        };
        self.copy.other.insert(result.id(), new);
        Ok(())
    }

    fn encoded_constant(
        &mut self,
        x: ValueRef<'g>,
        weight: &Weight,
        encoded: Encoded,
    ) -> Result<ValueId, PassError> {
        let key = (x.id(), encoded);
        if let Some(there) = self.weights.get(&key) {
            return Ok(*there);
        }
        let id = self.copy.patch.weights_mut().reinterpret(weight.id, Some(key.1.quant.clone()))?;
        let ty = key.1.ty(x.ty().shape.clone());
        let node = self.copy.patch.add(Weight { id, ty }, &[])?;
        self.copy.patch.set_loc(node, x.producer().loc().clone());
        let new = self.copy.patch.results(node)[0];
        self.copy.name(new, x);
        self.weights.insert(key, new);
        Ok(new)
    }

    /// An operation reads what is stored, and its results are stored where that is planned.
    fn operation(&mut self, node: NodeRef<'g>) -> Result<(), PassError> {
        let mut operands: SmallVec<[Option<ValueId>; 4]> = SmallVec::new();
        for operand in node.operands() {
            operands.push(operand.map(|value| self.read(value)).transpose()?);
        }
        let carried = if self.movers { self.carried(node, &operands) } else { None };
        let stated: SmallVec<[Option<Encoded>; 1]> = node
            .results()
            .map(|result| {
                let planned = self.plan.stored.get(&result.id()).cloned();
                planned.or_else(|| Encoded::of(result.ty())).or_else(|| carried.clone())
            })
            .collect();
        let new = self.copy.patch.add_stated(node.op().clone(), &operands, &stated)?;
        self.copy.patch.set_loc(new, node.loc().clone());
        let results: SmallVec<[ValueId; 1]> = self.copy.patch.results(new).iter().copied().collect();
        for (old, new) in node.results().zip(results) {
            self.copy.name(new, old);
            let was_quantized = old.ty().quant.is_some();
            let is_quantized = self.copy.patch.ty(new).is_some_and(|ty| ty.quant.is_some());
            let copies =
                if is_quantized && !was_quantized { &mut self.copy.other } else { &mut self.copy.plain };
            copies.insert(old.id(), new);
        }
        Ok(())
    }

    /// The encoding of all that `node` moves, as its results have it; `None` where they have none in common, or `node`
    /// computes.
    fn carried(&self, node: NodeRef<'g>, operands: &[Option<ValueId>]) -> Option<Encoded> {
        let moved = moved_operands(node.op(), operands.len());
        let mut encodings =
            operands.get(moved)?.iter().map(|value| self.copy.patch.ty((*value)?).and_then(Encoded::of));
        let first = encodings.next()??;
        if !encodings.all(|other| other.as_ref() == Some(&first)) || first.stored.bits() > 16 {
            return None;
        }
        let Some(axis) = first.quant.axis else { return Some(first) };
        // Scales of an axis follow it through a transpose, and are lost in anything else.
        let transpose = node.is::<Transpose>().filter(|_| first.quant.block.is_none())?;
        let rank = node.result().ty().rank();
        let reversed = || (0..rank).rev().map(|axis| axis as i64).collect();
        let perm: Vec<i64> = transpose.perm.clone().unwrap_or_else(reversed);
        let moved_to = perm.iter().position(|from| *from == i64::from(axis))?;
        let quant = Quant { axis: Some(u8::try_from(moved_to).ok()?), ..(*first.quant).clone() };
        Some(Encoded::new(first.stored, quant))
    }

    /// What a node reads in place of `value`: what is stored, where there is that.
    fn read(&mut self, value: ValueRef<'g>) -> Result<ValueId, PassError> {
        match self.copy.other.get(&value.id()) {
            Some(quantized) if value.ty().dtype.is_float() && value.ty().quant.is_none() => Ok(*quantized),
            _ => self.plain(value),
        }
    }

    /// The copy of `value`, of its type.
    fn plain(&mut self, value: ValueRef<'g>) -> Result<ValueId, PassError> {
        if let Some(copy) = self.copy.constant(value)? {
            return Ok(copy);
        }
        let quantized = self.copy.other[&value.id()];
        let node = self.copy.patch.add(Dequantize, &[Some(quantized)])?;
        self.copy.patch.set_loc(node, value.producer().loc().clone());
        let new = self.copy.patch.results(node)[0];
        if is_linear(value.producer()) {
            self.copy.name(new, value);
        }
        self.copy.plain.insert(value.id(), new);
        Ok(new)
    }

    fn finish(mut self) -> Result<quad_ir::graph::Edit, PassError> {
        let graph = self.copy.graph;
        let mut outputs = Vec::new();
        for output in graph.outputs() {
            if outputs.iter().any(|(old, _)| *old == output.value) {
                continue;
            }
            let value = graph.value(output.value);
            let new = match self.copy.other.get(&value.id()) {
                // Integers that are given out are given out as they are stored.
                Some(stored) if !value.ty().dtype.is_float() => *stored,
                _ => self.plain(value)?,
            };
            outputs.push((output.value, new));
        }
        self.copy.finish(&outputs)
    }
}
