//! The rule that takes the rearranging of heads into the attention.
//!
//! Projections give heads side by side, `[batch, length, heads * size]`, and `attention` takes them so. What brings heads
//! in front of the length before it, and back after it, goes away.

use quad_ir::attr::F32Bits;
use quad_ir::graph::{NodeRef, Patch, ValueId, ValueRef};
use quad_ir::ops::{Attention, OpKind};
use quad_ir::types::Dim;

use super::scale;
use crate::attention::axes::{Axes, origins, step_forward};
use crate::attention::form::{check_plain, replace};
use crate::emit::Emit;
use crate::rule::{Rule, Skip, because};

/// See the [module](self).
#[derive(Debug)]
pub(super) struct PackHeads;

impl Rule for PackHeads {
    fn name(&self) -> &'static str {
        "pack-heads"
    }

    fn roots(&self) -> &'static [OpKind] {
        &[OpKind::Attention]
    }

    fn rewrite(&self, node: NodeRef<'_>, patch: &mut Patch<'_>) -> Result<(), Skip> {
        let attention = node.is::<Attention>().ok_or(Skip::NoMatch)?;
        let form = Form::of(node, attention).ok_or(Skip::NoMatch)?;
        check_plain(node, attention)?;
        if node.operand("nonpad_kv_seqlen").is_some() {
            return Err(because(node, "it is told how many of its keys are not padding"));
        }
        let [q, k, v] = operands(node).ok_or(Skip::NoMatch)?;
        let found = [form.packed(q, true), form.packed(k, true), form.packed(v, false)];
        let missing = [q, k, v].into_iter().zip(&found).find(|(_, packed)| packed.is_none());
        if let Some((value, _)) = missing {
            // Single heads of three axes are in order as they are.
            return Err(match form {
                Form::Merged => Skip::NoMatch,
                Form::Apart => {
                    because(value.producer(), "its result is not a rearrangement of heads side by side")
                }
            });
        }
        let [Some(q), Some(k), Some(v)] = found else { return Err(Skip::NoMatch) };
        let (old, heads) = form.packed_result(node.result(), &q)?;
        if matches!(form, Form::Merged) && [k.heads, v.heads, heads].iter().any(|other| *other != q.heads) {
            return Err(because(node, "queries, keys, values and result have not the same number of heads"));
        }
        let factor = q.factor * k.factor;
        let packed = Attention {
            q_num_heads: Some(q.heads),
            kv_num_heads: Some(k.heads),
            scale: if factor == 1.0 { attention.scale } else { rescaled(node, attention, factor)? },
            ..attention.clone()
        };
        let mask = form.mask(node, &q, patch)?;
        let y = patch.op(packed, &[Some(q.value.id()), Some(k.value.id()), Some(v.value.id()), mask])?;
        replace(patch, old, y)
    }
}

/// The three operands that every attention has.
fn operands(node: NodeRef<'_>) -> Option<[ValueRef<'_>; 3]> {
    let [q, k, v] = ["q", "k", "v"].map(|name| node.operand(name));
    Some([q?, k?, v?])
}

/// Where an attention has its heads.
#[derive(Clone, Copy)]
enum Form {
    /// `[batch, heads, length, size]`.
    Apart,
    /// `[batch * heads, length, size]`: for the operation a batch of single heads.
    Merged,
}

/// Heads side by side.
struct Packed<'g> {
    value: ValueRef<'g>,
    heads: u64,
    /// What the elements are multiplied by to be those of the attention's operand.
    factor: f64,
}

impl Form {
    fn of(node: NodeRef<'_>, attention: &Attention) -> Option<Self> {
        match node.operand("q")?.ty().rank() {
            4 => Some(Self::Apart),
            3 if attention.q_num_heads == Some(1) && attention.kv_num_heads == Some(1) => Some(Self::Merged),
            _ => None,
        }
    }

    /// The value with heads side by side that `value` is a rearrangement of, or a multiple where that is allowed.
    fn packed(self, value: ValueRef<'_>, multiples: bool) -> Option<Packed<'_>> {
        let origins = origins(value).into_iter().take_while(|origin| multiples || origin.factor == 1.0);
        let packed = origins.filter_map(|origin| {
            let heads = self.heads(&origin.axes)?;
            Some(Packed { value: origin.value, heads, factor: origin.factor })
        });
        match self {
            Self::Apart => packed.last(),
            // A single head is what there is already.
            Self::Merged => packed.filter(|packed| packed.heads > 1).last(),
        }
    }

    /// How many heads there are where `axes` are `[batch, length, heads * size]`.
    fn heads(self, axes: &Axes) -> Option<u64> {
        let [batch, length, width] = axes.now() else { return None };
        let last = match self {
            Self::Apart => 3,
            Self::Merged => 2,
        };
        let heads = width.strip_suffix(axes.of_first(last).as_slice())?;
        let fits = match self {
            Self::Apart => *batch == axes.of_first(0) && *heads == axes.of_first(1),
            Self::Merged => [batch.as_slice(), heads].concat() == axes.of_first(0),
        };
        let heads = u64::try_from(axes.size(heads)?.as_constant()?).ok()?;
        (fits && *length == axes.of_first(last - 1)).then_some(heads)
    }

    /// The value after `y` that has heads side by side as `q` has, and how many they are.
    fn packed_result<'g>(self, y: ValueRef<'g>, q: &Packed<'_>) -> Result<(ValueRef<'g>, u64), Skip> {
        let mut at = (y, Axes::of(&y.ty().shape));
        loop {
            let (value, axes) = &at;
            if let Some(heads) = self.heads(axes).filter(|heads| *heads == q.heads) {
                return Ok((*value, heads));
            }
            let reader = value.only_reader();
            let next = reader.and_then(|reader| step_forward(axes, reader));
            at = next.ok_or_else(|| match reader {
                Some(reader) => because(reader, "it reads heads that are not side by side"),
                None => because(
                    value.producer(),
                    "its result is read more than once before heads are side by side",
                ),
            })?;
        }
    }

    /// The mask of `node`, with the heads of merged ones as an axis of their own.
    fn mask(self, node: NodeRef<'_>, q: &Packed<'_>, patch: &mut Patch<'_>) -> Result<Option<ValueId>, Skip> {
        let Some(mask) = node.operand("attn_mask") else { return Ok(None) };
        let merged =
            matches!(self, Self::Merged) && mask.ty().rank() == 4 && mask.ty().shape[0].known() != Some(1);
        if !merged {
            return Ok(Some(mask.id()));
        }
        let [_, _, queries, keys] = &mask.ty().shape[..] else { return Ok(Some(mask.id())) };
        let sizes = [None, Some(q.heads), queries.known(), keys.known()];
        if sizes[2..].contains(&None) {
            return Err(because(mask.producer(), "it is a mask of symbolic sizes for merged heads"));
        }
        let sizes = sizes.map(|size| size.map_or(-1, |size| size as i64));
        Ok(Some(patch.reshape(mask.id(), &sizes)?))
    }
}

/// The scale of `node`, which is `attention`, times `factor`.
fn rescaled(node: NodeRef<'_>, attention: &Attention, factor: f64) -> Result<Option<F32Bits>, Skip> {
    let ty = node.operand("q").ok_or(Skip::NoMatch)?.ty();
    let size = ty.shape.last().and_then(Dim::known);
    let usual = size.map(|size| 1.0 / (size as f64).sqrt());
    let before = attention.scale.map(|scale| f64::from(scale.get())).or(usual);
    let before =
        before.ok_or_else(|| because(node, "it is scaled by the size of its heads, which is not known"))?;
    Ok(scale(before * factor, size, ty.dtype))
}
