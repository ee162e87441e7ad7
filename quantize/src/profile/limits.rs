//! How far from the middle the codes of weights and slots go.
//!
//! An entry keeps the limit of the codes that it was made with. In the file it is left out where it is what the rules of the
//! profile ask of such a value, which is also how files of versions are read that did not write it.

use quad_ir::dtype::DType;

use super::Role;
use crate::encoding::{Codes, Encoding};
use crate::rules::Rules;

/// The limit by the rules called `rules`, of a value that is stored as `encoding`: what a file means that says none.
pub(crate) fn usual(rules: &str, role: Role, encoding: &Encoding) -> Option<i32> {
    let of_rules = |lists: fn(&Rules) -> [&'static [Codes]; 2]| {
        let rules = Rules::preset(rules).ok()?;
        let codes = lists(&rules).into_iter().flatten().find(|codes| codes.stored == encoding.stored)?;
        codes.symmetric
    };
    let asked = match role {
        Role::Weight => of_rules(|rules| [rules.weights, &[]]),
        Role::Slot => of_rules(|rules| [rules.slots, rules.slots_of_products]),
        Role::Activation | Role::Bias => return None,
    };
    asked.or(Codes::symmetric(encoding.stored).symmetric).filter(|_| encoding.is_symmetric())
}

/// The limit that stands in a file for all codes of `stored`: one more than there are on the shorter side.
pub(super) fn of_all_codes(stored: DType) -> i32 {
    Codes::symmetric(stored).symmetric.map_or(i32::MAX, |most| most.saturating_add(1))
}
