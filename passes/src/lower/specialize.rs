//! Gives symbolic sizes a number, so that all sizes behind them are numbers too.
//!
//! Compilers for NPUs take fixed sizes only. `sizes` names symbols and their numbers, `batch=1 tokens=77`; a symbol that is
//! not named gets `rest`, when that is given, and stays symbolic otherwise.
//!
//! Before `specialize{sizes="batch=2"}`:
//! ```quad
//! graph @main(%x: f32[batch, 2]) {
//!   %0 = shape_of(%x) : i64[2]
//!   %1 = reshape(%x, %0) : f32[batch, 2]
//!   %y = relu(%1) : f32[batch, 2]
//!   return "y" = %y
//! }
//! ```
//! After:
//! ```quad
//! graph @main(%x: f32[2, 2]) {
//!   %0 = shape_of(%x) : i64[2]
//!   %1 = reshape(%x, %0) : f32[2, 2]
//!   %y = relu(%1) : f32[2, 2]
//!   return "y" = %y
//! }
//! ```

use quad_ir::attr::{AttrError, AttrVisitor};
use quad_ir::graph::Graph;
use quad_ir::types::{Dim, Shape, SymTable, TensorType};

use crate::context::{Context, Place};
use crate::pass::{Pass, PassError, PassInfo};
use crate::rebuild::{Rebuild, rebuild};

/// See the [module](self).
#[derive(Clone, Debug, Default)]
pub struct Specialize {
    /// `name=number`, separated by spaces.
    pub sizes: String,
    /// The number of all other symbols.
    pub rest: Option<u64>,
}

const INFO: PassInfo = PassInfo { name: "specialize", source: include_str!("specialize.rs") };

impl Pass for Specialize {
    fn info(&self) -> &'static PassInfo {
        &INFO
    }

    fn options(&mut self, visitor: &mut dyn AttrVisitor) -> Result<(), AttrError> {
        visitor.attr("sizes", &mut self.sizes)?;
        visitor.attr("rest", &mut self.rest)
    }

    fn run(&self, graph: &mut Graph, cx: &mut Context) -> Result<(), PassError> {
        let given = parse(&self.sizes)?;
        let symbols = graph.symbols().clone();
        let is_symbolic = |ty: &TensorType| ty.shape.iter().any(|dim| dim.known().is_none());
        let Some(input) = graph.inputs().find(|input| is_symbolic(input.ty())) else { return Ok(()) };
        let place = Place::of(input.producer());
        let sizes = Sizes { given, rest: self.rest, symbols };
        if !graph.inputs().any(|input| sizes.input(input.ty()) != *input.ty()) {
            return Ok(());
        }
        let edit = rebuild(graph, INFO.name, &sizes)?;
        cx.apply(graph, edit, INFO.name, place)?;
        Ok(())
    }
}

/// Numbers by name.
fn parse(sizes: &str) -> Result<Vec<(String, u64)>, PassError> {
    let pair = |word: &str| {
        let (name, number) = word.split_once('=')?;
        Some((name.to_owned(), number.parse().ok()?))
    };
    let refused = |word: &str| {
        PassError::Refused(format!(
            "`specialize` found `{word}` in its sizes, expected words such as `batch=1`"
        ))
    };
    sizes.split_whitespace().map(|word| pair(word).ok_or_else(|| refused(word))).collect()
}

struct Sizes {
    given: Vec<(String, u64)>,
    rest: Option<u64>,
    symbols: SymTable,
}

impl Sizes {
    fn size_of(&self, symbol: quad_ir::types::SymId) -> Option<u64> {
        let name = self.symbols.spelling(symbol);
        let given = self.given.iter().find(|(given, _)| *given == name).map(|(_, size)| *size);
        given.or(self.rest)
    }
}

impl Rebuild for Sizes {
    fn input(&self, ty: &TensorType) -> TensorType {
        let size = |dim: &Dim| {
            let size = dim.expr().evaluate(&|symbol| self.size_of(symbol));
            size.and_then(|size| u64::try_from(size).ok()).map_or_else(|| dim.clone(), Dim::Known)
        };
        TensorType { shape: ty.shape.iter().map(size).collect::<Shape>(), ..ty.clone() }
    }
}
