//! The graph that commands calibrate, score and quantize.

use std::path::Path;

use crate::exit::Failure;
use crate::frozen::{self, Freezing, Frozen, Named};
use crate::output;

/// As [`frozen::freeze`]; tells what is worth knowing.
pub(crate) fn freeze(path: &Path, given: &[Named], allow_unused: &[String]) -> Result<Frozen, Failure> {
    let freezing = Freezing { allow_unused: allow_unused.to_vec(), ..Freezing::default() };
    let frozen = frozen::freeze(path, given, &freezing).map_err(Failure::input)?;
    frozen.notes.iter().for_each(|note| output::note(note));
    Ok(frozen)
}
