//! Computes in another float type: every float of type `from` inside the graph becomes one of type `to`.
//!
//! Inputs and outputs keep their types, with casts behind and before them. Constants are cast by recipe. Wider floats make
//! a graph in half precision comparable with one in single precision: rewrites that are exact in real numbers differ by
//! the rounding of the narrow type otherwise.
//!
//! Before:
//! ```quad
//! graph @main(%x: f16[2]) {
//!   %w = weight [1.5, 2.0] : f16[2]
//!   %y = mul(%x, %w) : f16[2]
//!   return "y" = %y
//! }
//! ```
//! After (off by 1e-3):
//! ```quad
//! graph @main(%x: f16[2]) {
//!   %0 = cast(%x) : f32[2]
//!   %w = weight [1.5, 2.0] : f32[2]
//!   %y = mul(%0, %w) : f32[2]
//!   %y.1 = cast(%y) {to = f16} : f16[2]
//!   return "y" = %y.1
//! }
//! ```

use quad_ir::attr::{Attr, AttrError, AttrValue, AttrVisitor};
use quad_ir::dtype::DType;
use quad_ir::graph::{Graph, NodeId, NodeRef, Patch, ValueId};
use quad_ir::ops::{Cast, Weight};
use quad_ir::types::TensorType;
use smallvec::SmallVec;

use crate::context::{Context, Place};
use crate::invariants::refuse_quantized;
use crate::pass::{Pass, PassError, PassInfo};
use crate::rebuild::{Rebuild, rebuild};

/// See the [module](self).
#[derive(Clone, Debug)]
pub struct ConvertFloats {
    /// The type that goes.
    pub from: DType,
    /// The type that comes.
    pub to: DType,
}

impl Default for ConvertFloats {
    fn default() -> Self {
        Self { from: DType::F16, to: DType::F32 }
    }
}

const INFO: PassInfo = PassInfo { name: "convert-floats", source: include_str!("convert_floats.rs") };

impl Pass for ConvertFloats {
    fn info(&self) -> &'static PassInfo {
        &INFO
    }

    fn options(&mut self, visitor: &mut dyn AttrVisitor) -> Result<(), AttrError> {
        visitor.attr("from", &mut self.from)?;
        visitor.attr("to", &mut self.to)
    }

    fn run(&self, graph: &mut Graph, cx: &mut Context) -> Result<(), PassError> {
        if !self.from.is_float() || !self.to.is_float() {
            let found =
                format!("`convert-floats` found {} and {}, expected types of floats", self.from, self.to);
            return Err(PassError::Refused(found));
        }
        let is_from = |node: &NodeRef<'_>| node.results().any(|result| result.ty().dtype == self.from);
        let Some(node) = graph.nodes().find(is_from) else { return Ok(()) };
        let place = Place::of(node);
        refuse_quantized(graph, INFO.name)?;
        let edit = rebuild(graph, INFO.name, self)?;
        cx.apply(graph, edit, INFO.name, place)?;
        Ok(())
    }
}

/// Sets every attribute that names the old type to the new one.
struct Retype<'c>(&'c ConvertFloats);

impl AttrVisitor for Retype<'_> {
    fn visit(&mut self, name: &'static str, value: &mut dyn AttrValue) -> Result<(), AttrError> {
        if value.to_attr() != Attr::DType(self.0.from) {
            return Ok(());
        }
        let refused =
            |expected| AttrError::Kind { name: name.to_owned(), found: self.0.to.to_string(), expected };
        value.set_attr(&Attr::DType(self.0.to)).map_err(refused)
    }
}

impl ConvertFloats {
    fn constant(&self, weight: &Weight, patch: &mut Patch<'_>) -> Result<NodeId, PassError> {
        let ty = TensorType { dtype: self.to, ..weight.ty.clone() };
        let cast = Cast { to: self.to, ..Cast::default() };
        let id = patch.weights_mut().add_recipe(ty.clone(), cast.into(), &[Some(weight.id)])?;
        Ok(patch.add(Weight { id, ty }, &[])?)
    }
}

impl Rebuild for ConvertFloats {
    fn read_input(&self, new: ValueId, patch: &mut Patch<'_>) -> Result<ValueId, PassError> {
        let is_from = patch.ty(new).is_some_and(|ty| ty.dtype == self.from);
        if is_from { cast(new, self.to, patch) } else { Ok(new) }
    }

    fn node(
        &self,
        node: NodeRef<'_>,
        operands: &[Option<ValueId>],
        patch: &mut Patch<'_>,
    ) -> Result<SmallVec<[ValueId; 1]>, PassError> {
        let weight = node.is::<Weight>().filter(|weight| weight.ty.dtype == self.from);
        let copy = if let Some(weight) = weight {
            self.constant(weight, patch)?
        } else {
            let mut op = node.op().clone();
            let refused = |error: AttrError| PassError::Refused(format!("{}: {error}", Place::of(node)));
            op.def_mut().attrs(&mut Retype(self)).map_err(refused)?;
            patch.add(op, operands)?
        };
        patch.set_loc(copy, node.loc().clone());
        Ok(patch.results(copy).iter().copied().collect())
    }

    fn output(&self, old: &TensorType, new: ValueId, patch: &mut Patch<'_>) -> Result<ValueId, PassError> {
        if old.dtype == self.from { cast(new, self.from, patch) } else { Ok(new) }
    }
}

fn cast(x: ValueId, to: DType, patch: &mut Patch<'_>) -> Result<ValueId, PassError> {
    Ok(patch.add_value(Cast { to, ..Cast::default() }, &[x])?)
}
