//! The sizes of a tensor along all its axes, and the names of symbolic sizes.

use std::fmt;

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use super::TensorType;
use super::dim::{Dim, DimExpr, SymId, write_expr};
use crate::entity::{Entity, EntityMap};
use crate::loc::Name;

/// The sizes along each axis, outermost first. A scalar has none.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shape(pub SmallVec<[Dim; 6]>);

impl Shape {
    /// The shape of known sizes.
    pub fn known(sizes: &[u64]) -> Self {
        Self(sizes.iter().map(|size| Dim::Known(*size)).collect())
    }

    /// Number of axes.
    pub fn rank(&self) -> usize {
        self.0.len()
    }

    /// All sizes, when every one is known.
    pub fn as_known(&self) -> Option<SmallVec<[u64; 6]>> {
        self.0.iter().map(Dim::known).collect()
    }

    /// Number of elements as a polynomial, or `None` on overflow.
    pub fn elements(&self) -> Option<DimExpr> {
        self.0.iter().try_fold(DimExpr::constant(1), |product, dim| product.mul(&dim.expr()))
    }
}

impl std::ops::Deref for Shape {
    type Target = [Dim];
    fn deref(&self) -> &[Dim] {
        &self.0
    }
}

impl FromIterator<Dim> for Shape {
    fn from_iter<I: IntoIterator<Item = Dim>>(dims: I) -> Self {
        Self(dims.into_iter().collect())
    }
}

/// Prints symbols by their ids; [`SymTable::show`] prints them by name.
impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_shape(f, self, &|symbol| symbol.to_string())
    }
}

/// The names of a graph's symbolic sizes.
#[derive(Clone, Debug, Default)]
pub struct SymTable {
    names: EntityMap<SymId, Option<Name>>,
    by_name: FxHashMap<Name, SymId>,
}

impl SymTable {
    /// The symbol called `name`, made if there is none.
    pub fn named(&mut self, name: &str) -> SymId {
        if let Some(symbol) = self.find(name) {
            return symbol;
        }
        let name: Name = name.into();
        let symbol = self.names.push(Some(name.clone()));
        self.by_name.insert(name, symbol);
        symbol
    }

    /// The symbol called `name`.
    pub fn find(&self, name: &str) -> Option<SymId> {
        self.by_name.get(name).copied()
    }

    /// A new symbol without a name.
    pub fn fresh(&mut self) -> SymId {
        self.names.push(None)
    }

    /// The name of `symbol`, or `None` for one made by a type rule.
    pub fn name(&self, symbol: SymId) -> Option<&Name> {
        self.names.get(symbol).and_then(Option::as_ref)
    }

    /// How many symbols there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there is no symbol.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Adds nameless symbols until there are `count`: what a type rule asked for becomes part of the graph.
    pub(crate) fn grow_to(&mut self, count: usize) {
        while self.names.len() < count {
            self.names.push(None);
        }
    }

    /// How `symbol` is written: its name, or `?` and its number.
    pub fn spelling(&self, symbol: SymId) -> String {
        self.name(symbol).map_or_else(|| format!("?{}", symbol.index()), ToString::to_string)
    }

    /// Prints `ty` with the names of this table.
    pub fn show_type<'a>(&'a self, ty: &'a TensorType) -> impl fmt::Display + 'a {
        struct Show<'a>(&'a SymTable, &'a TensorType);
        impl fmt::Display for Show<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}{}", self.1.dtype, self.0.show(&self.1.shape))?;
                self.1.quant.as_ref().map_or(Ok(()), |quant| write!(f, " {quant}"))
            }
        }
        Show(self, ty)
    }

    /// Prints `shape` with the names of this table.
    pub fn show<'a>(&'a self, shape: &'a Shape) -> impl fmt::Display + 'a {
        struct Show<'a>(&'a SymTable, &'a Shape);
        impl fmt::Display for Show<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_shape(f, self.1, &|symbol| self.0.spelling(symbol))
            }
        }
        Show(self, shape)
    }
}

pub(crate) fn write_shape(
    f: &mut dyn fmt::Write,
    shape: &Shape,
    name: &dyn Fn(SymId) -> String,
) -> fmt::Result {
    f.write_char('[')?;
    for (axis, dim) in shape.iter().enumerate() {
        if axis > 0 {
            f.write_str(", ")?;
        }
        match dim {
            Dim::Known(size) => write!(f, "{size}")?,
            other => write_expr(f, &other.expr(), name)?,
        }
    }
    f.write_char(']')
}
