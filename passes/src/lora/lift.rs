//! Takes adapters that a model was exported with out of its graph.
//!
//! A model that was exported with its adapter unmerged has the branches in it, with factors as weights. [`lift`] reads the
//! factors, and lets what the branches were added to take the place of the sums. What is left is the base model, to be
//! exposed like any other; the factors are an adapter like one from a file. Weights of branches are never made inputs
//! themselves: exporters keep equal weights once, so that one may belong to several branches.

use std::collections::BTreeMap;

use quad_ir::graph::{Graph, NodeId, NodeRef, Patch, ValueRef};
use quad_ir::ops::{Cast, Gemm, Inputs, MatMul, Mul, OpTraits};
use quad_ir::tensor::Tensor;

use super::expose::Site;
use super::layer::Layer;
use super::pack::{Adapter, Factors};
use crate::context::{Context, Place};
use crate::pass::PassError;

/// A low-rank branch beside a layer, as it was found in a graph.
#[derive(Clone, Debug, PartialEq)]
pub struct Branch {
    /// The path of the module that the layer is.
    pub path: String,
    /// The addition that joins the branch to its layer.
    pub join: NodeId,
    /// The product of the layer itself.
    pub layer: NodeId,
    /// The product with the weight that reduces to the rank.
    pub down: NodeId,
    /// The product with the weight that leads back to the layer's channels.
    pub up: NodeId,
    /// What the branch is multiplied with.
    pub scale: f64,
}

/// What [`lift`] took out.
#[derive(Clone, Debug, PartialEq)]
pub struct Lifted {
    /// The factors. Where a layer had several branches they stand behind one another along the rank.
    pub adapter: Adapter,
    /// The modules with their layers and the ranks of their branches together, in order of their paths.
    pub sites: Vec<Site>,
}

const LIFT: &str = "lift-adapter";

/// Steps between an addition and the last product of its branch.
const MAX_STEPS: usize = 64;

/// Takes `branches` out of `graph`.
pub fn lift(graph: &mut Graph, branches: &[Branch], cx: &mut Context) -> Result<Lifted, PassError> {
    let mut by_path: BTreeMap<&str, BTreeMap<NodeId, Vec<&Branch>>> = BTreeMap::new();
    for branch in branches {
        by_path.entry(&branch.path).or_default().entry(branch.layer).or_default().push(branch);
    }
    let mut lifted = Lifted { adapter: Adapter::default(), sites: Vec::new() };
    for (path, calls) in by_path {
        let mut factors = calls.values().map(|branches| factors(graph, path, branches));
        let Some(first) = factors.next().transpose()? else { continue };
        for other in factors {
            if other? != first {
                let found = format!("module `{path}` has other branches in one of its calls than in another");
                return Err(PassError::Refused(found));
            }
        }
        let (layers, rank) = (calls.keys().copied().collect(), first.scale.len() as u64);
        lifted.sites.push(Site { path: path.to_owned(), layers, rank });
        lifted.adapter.sites.push(first);
    }
    for branch in branches {
        remove(graph, branch, cx)?;
    }
    Ok(lifted)
}

/// Lets what `branch` is added to take the place of the sum.
fn remove(graph: &mut Graph, branch: &Branch, cx: &mut Context) -> Result<(), PassError> {
    let join = graph.node(branch.join);
    let (Some(a), Some(b)) = (join.operand("a"), join.operand("b")) else {
        return Err(refused(join, "it adds nothing"));
    };
    let base = match (leads_to(a, branch.up), leads_to(b, branch.up)) {
        (true, false) => b,
        (false, true) => a,
        _ => return Err(refused(join, "it does not join the branch to anything")),
    };
    let place = Place::of(join);
    let mut patch = Patch::new(graph, LIFT);
    patch.replace(join.result().id(), base.id())?;
    patch.erase_unread();
    let edit = patch.finish()?;
    cx.apply(graph, edit, LIFT, place)?;
    Ok(())
}

/// Whether `value` is the result of `up`, up to casts and factors.
fn leads_to(mut value: ValueRef<'_>, up: NodeId) -> bool {
    for _ in 0..MAX_STEPS {
        let node = value.producer();
        if node.id() == up {
            return true;
        }
        let before = if node.is::<Cast>().is_some() {
            node.operand("x")
        } else if node.is::<Mul>().is_some() {
            node.operands().flatten().find(|operand| operand.constant().is_none())
        } else {
            None
        };
        match before {
            Some(before) => value = before,
            None => return false,
        }
    }
    false
}

fn refused(node: NodeRef<'_>, found: &str) -> PassError {
    PassError::Refused(format!("{} from {}: {found}", Place::of(node), node.loc()))
}

/// The factors of the branches of one layer, behind one another.
fn factors(graph: &Graph, path: &str, branches: &[&Branch]) -> Result<Factors, PassError> {
    let mut down = Vec::new();
    let mut columns: Vec<(usize, Vec<f32>)> = Vec::new();
    let mut scale = Vec::new();
    let Some(first) = branches.first() else {
        return Err(PassError::Refused(format!("module `{path}` has no branch")));
    };
    let base = layer(graph.node(first.layer))?;
    for branch in branches {
        let (a, b) = (layer(graph.node(branch.down))?, layer(graph.node(branch.up))?);
        if !a.kind.slides_like(&base.kind) || a.channels_in != base.channels_in {
            return Err(refused(a.node, "it does not reduce what its layer reads as the layer would"));
        }
        if b.channels_out != base.channels_out || b.channels_in != a.channels_out {
            return Err(refused(b.node, "it does not lead to the channels of its layer"));
        }
        let rank = a.channels_out as usize;
        down.extend(rows(&a)?);
        columns.push((rank, rows(&b)?));
        scale.extend(std::iter::repeat_n(branch.scale, rank));
    }
    let (rank, out) = (scale.len(), base.channels_out as usize);
    let mut up = Vec::with_capacity(out * rank);
    for row in 0..out {
        for (width, elements) in &columns {
            up.extend_from_slice(&elements[row * width..(row + 1) * width]);
        }
    }
    let inner = std::iter::once(base.channels_in).chain(base.kind.kernel().iter().copied());
    let sizes: Vec<usize> = std::iter::once(rank).chain(inner.map(|size| size as usize)).collect();
    let tensor = |sizes: &[usize], elements: Vec<f32>| {
        let tensor = Tensor::from_vec(sizes, elements);
        tensor.map_err(|error| PassError::Refused(format!("module `{path}`: {error}")))
    };
    let (lora_a, lora_b) = (tensor(&sizes, down)?, tensor(&[out, rank], up)?);
    Ok(Factors { path: path.to_owned(), lora_a, lora_b, scale })
}

fn layer(node: NodeRef<'_>) -> Result<Layer<'_>, PassError> {
    Layer::of(node).map_err(|found| refused(node, &found))
}

/// The elements of the weight of `layer`, one output channel after the other.
fn rows(layer: &Layer<'_>) -> Result<Vec<f32>, PassError> {
    let product = layer.node;
    let operand = if product.is::<MatMul>().is_some() || product.is::<Gemm>().is_some() { "b" } else { "w" };
    let weight = product.operand(operand).ok_or_else(|| refused(product, "it has no weight"))?;
    let weight = constant(weight, 0)?.ok_or_else(|| refused(product, "its weight is not a constant"))?;
    let elements = weight.to_f32().map_err(|error| refused(product, &error.to_string()))?.to_vec();
    let lies_transposed = match product.is::<Gemm>() {
        Some(gemm) => !gemm.transB,
        None => product.is::<MatMul>().is_some(),
    };
    if !lies_transposed {
        return Ok(elements);
    }
    let (rows, columns) = (layer.channels_out as usize, layer.channels_in as usize);
    Ok((0..rows)
        .flat_map(|row| (0..columns).map(move |column| column * rows + row))
        .map(|at| elements[at])
        .collect())
}

/// The elements of `value`, when they depend on constants alone.
fn constant(value: ValueRef<'_>, depth: usize) -> Result<Option<Tensor>, PassError> {
    if let Some(weight) = value.weight() {
        return Ok(Some(value.producer().graph().weights().tensor(weight)?));
    }
    let node = value.producer();
    let definition = node.op().def();
    if depth == MAX_STEPS || !definition.traits().contains(OpTraits::PURE) || node.operands().len() == 0 {
        return Ok(None);
    }
    let mut operands = Vec::new();
    for operand in node.operands() {
        let tensor = match operand {
            Some(operand) => match constant(operand, depth + 1)? {
                Some(tensor) => Some(tensor),
                None => return Ok(None),
            },
            None => None,
        };
        operands.push(tensor);
    }
    let types: Vec<_> = node.results().map(|result| result.ty().clone()).collect();
    let results = definition.eval(&Inputs::new(definition.operands(), &operands), &types);
    let results = results.map_err(|error| refused(node, &error.to_string()))?;
    Ok(results.into_iter().nth(value.port()))
}

#[cfg(test)]
mod tests;
