//! Whether what is given fits what a graph takes, and what is said where it does not.

use std::collections::BTreeSet;

use rustc_hash::FxHashMap;

use super::{Interpreter, NamedTypes, RunError};
use crate::graph::ValueRef;
use crate::ops::Input;
use crate::ops::source::Binding;
use crate::types::{Dim, SymId, TensorType};

/// Inputs that a message lists.
const LISTED: usize = 8;

impl Interpreter<'_> {
    /// Checks that tensors of the types `given` are what the graph takes, without having them.
    pub fn check_inputs(&self, given: &NamedTypes) -> Result<(), RunError> {
        let mut sizes: FxHashMap<SymId, u64> = FxHashMap::default();
        for input in self.graph.inputs() {
            let name = input.name().cloned().unwrap_or_else(|| "".into());
            let Some(ty) = given.get(&*name) else {
                let (expected, given) = (self.describe_inputs(), self.describe_given(given));
                return Err(RunError::MissingInput { name, expected, given });
            };
            if !fits(ty, input.ty()) || !bind(ty, input.ty(), &mut sizes) {
                let expected = self.describe_bound(input.ty(), &sizes);
                return Err(RunError::InputType { name, found: ty.to_string(), expected });
            }
        }
        self.check_computed_sizes(given, &sizes)?;
        let known =
            |name: &String| self.graph.inputs().any(|input| input.name().is_some_and(|n| **n == **name));
        match given.keys().find(|name| !known(name)) {
            Some(name) => {
                Err(RunError::UnknownInput { name: name.clone(), expected: self.describe_inputs() })
            }
            None => Ok(()),
        }
    }

    /// Sizes such as `2*batch + 1` of inputs, once all symbols have their values.
    fn check_computed_sizes(
        &self,
        given: &NamedTypes,
        sizes: &FxHashMap<SymId, u64>,
    ) -> Result<(), RunError> {
        let wrong = |(dim, size): (&Dim, &Dim)| {
            let computed = dim.expr().evaluate(&|symbol| sizes.get(&symbol).copied());
            computed.is_some_and(|computed| u64::try_from(computed).ok() != size.known())
        };
        for input in self.graph.inputs() {
            let Some((name, ty)) = input.name().and_then(|name| given.get_key_value(&**name)) else {
                continue;
            };
            if input.ty().shape.iter().zip(ty.shape.iter()).any(wrong) {
                let expected = self.describe_bound(input.ty(), sizes);
                return Err(RunError::InputType {
                    name: name.as_str().into(),
                    found: ty.to_string(),
                    expected,
                });
            }
        }
        Ok(())
    }

    /// `ty` with its symbols as they are spelled.
    pub(super) fn describe(&self, ty: &TensorType) -> String {
        format!("{}{}", ty.dtype, self.graph.symbols().show(&ty.shape))
    }

    /// As [`describe`](Self::describe), with the values of the symbols that have one.
    fn describe_bound(&self, ty: &TensorType, sizes: &FxHashMap<SymId, u64>) -> String {
        let mut symbols: Vec<SymId> = Vec::new();
        for dim in ty.shape.iter() {
            symbols.extend(dim.expr().terms().flat_map(|(factors, _)| factors.to_vec()));
        }
        symbols.sort_unstable();
        symbols.dedup();
        let value = |symbol: &SymId| {
            sizes.get(symbol).map(|size| format!("{} = {size}", self.graph.symbols().spelling(*symbol)))
        };
        let values: Vec<String> = symbols.iter().filter_map(value).collect();
        let ty = self.describe(ty);
        if values.is_empty() { ty } else { format!("{ty} with {}", values.join(", ")) }
    }

    fn describe_inputs(&self) -> String {
        let show = |value: ValueRef<'_>| {
            let name = value.name().map_or("", |name| &**name);
            format!("`{name}`: {}", self.describe(value.ty()))
        };
        let (slots, others): (Vec<ValueRef<'_>>, Vec<ValueRef<'_>>) = self.graph.inputs().partition(is_slot);
        let [slots, others] = [slots, others].map(|inputs| inputs.into_iter().map(show).collect::<Vec<_>>());
        if slots.len() + others.len() == 0 { "no inputs".to_owned() } else { few(&others, &slots) }
    }

    /// The names that are given.
    fn describe_given(&self, given: &NamedTypes) -> String {
        let names = |input: ValueRef<'_>| input.name().map(ToString::to_string);
        let known: BTreeSet<String> = self.graph.inputs().filter(is_slot).filter_map(names).collect();
        let (slots, others): (Vec<&String>, Vec<&String>) =
            given.keys().partition(|name| known.contains(*name));
        let [slots, others] =
            [slots, others].map(|names| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>());
        if given.is_empty() {
            "nothing is given".to_owned()
        } else {
            format!("given are {}", few(&others, &slots))
        }
    }
}

/// Whether an adapter fills `input`.
fn is_slot(input: &ValueRef<'_>) -> bool {
    input.producer().is::<Input>().is_some_and(|op| op.binding == Binding::Adapter)
}

/// The first of `parts`, and how many more there are. Slots of adapters are many, and seldom what a caller forgot: beside
/// others they are only counted.
fn few(parts: &[String], slots: &[String]) -> String {
    if parts.is_empty() && slots.len() <= LISTED {
        return slots.join(", ");
    }
    let mut listed: Vec<String> = parts.iter().take(LISTED).cloned().collect();
    if parts.len() > LISTED {
        listed.push(format!("and {} more", parts.len() - LISTED));
    }
    if !slots.is_empty() {
        listed.push(format!("{} that adapters fill", slots.len()));
    }
    listed.join(", ")
}

/// Whether `found`, whose sizes are known, has the element type, the rank and the known sizes of `expected`.
pub(super) fn fits(found: &TensorType, expected: &TensorType) -> bool {
    let fits_size = |(size, dim): (&Dim, &Dim)| dim.known().is_none_or(|known| size.known() == Some(known));
    found.dtype == expected.dtype
        && found.rank() == expected.rank()
        && found.shape.iter().zip(expected.shape.iter()).all(fits_size)
}

/// Binds the symbols of `expected` to the sizes of `found`; `false` when one is bound to another size already.
fn bind(found: &TensorType, expected: &TensorType, sizes: &mut FxHashMap<SymId, u64>) -> bool {
    found.shape.iter().zip(expected.shape.iter()).all(|(size, dim)| match (dim, size.known()) {
        (Dim::Sym(symbol), Some(size)) => *sizes.entry(*symbol).or_insert(size) == size,
        _ => true,
    })
}
