//! The graph that commands calibrate, score and quantize.

use std::path::Path;

use quad_ir::graph::NodeRef;

use crate::exit::Failure;
use crate::frozen::{self, Freezing, Frozen, Named};
use crate::output;

/// As [`frozen::freeze`]; tells what is worth knowing.
pub(crate) fn freeze(path: &Path, given: &[Named], allow_unused: &[String]) -> Result<Frozen, Failure> {
    let freezing = Freezing { allow_unused: allow_unused.to_vec(), ..Freezing::default() };
    let frozen = frozen::freeze(path, given, &freezing).map_err(Failure::input)?;
    if frozen.module.main().is_some_and(|main| main.nodes().any(NodeRef::touches_quantized)) {
        return Err(Failure::message(format!(
            "`{}` is quantized already: give the model in full precision that it was made of, which is what calibration, \
             scores and profiles are about",
            path.display()
        )));
    }
    frozen.notes.iter().for_each(|note| output::note(note));
    Ok(frozen)
}
