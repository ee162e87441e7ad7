//! `roundtrip`: what is printed can be parsed back, and means the same. Implied for every test that does not expect an
//! error.

use libtest_mimic::Failed;
use quad_ir::interpret::{Interpreter, NamedTensors};
use quad_ir::module::Module;
use quad_ir::text;
use quad_ir::verify::verify;

use super::{FileTest, Test, weights_of};

/// See the [module](self).
pub(super) struct Roundtrip;

impl FileTest for Roundtrip {
    fn name(&self) -> &'static str {
        "roundtrip"
    }

    fn run(&self, test: &mut Test<'_>, _arguments: &[String]) -> Result<(), Failed> {
        let body = test.case.body();
        let inputs = test.inputs()?;
        let module = test.module()?;
        verify_all(module)?;
        let printed = text::print(module)?;
        let weights = weights_of(module)?;
        let again = text::parse(&printed, &weights)
            .map_err(|error| format!("what was printed cannot be parsed:\n{}\n{printed}", error.show()))?;
        verify_all(&again)?;
        let reprinted = text::print(&again)?;
        if printed != reprinted {
            return Err(format!("printed first:\n{printed}\nprinted after parsing that:\n{reprinted}").into());
        }
        same_results(module, &again, &inputs)?;
        let as_written = body.trim_end() == printed.trim_end();
        match (as_written, test.case.commands.is_empty()) {
            (true, true) => test.story.tell("printed", "as it is written", []),
            (false, _) if !body.is_empty() => test.story.tell("printed", "", [printed]),
            // What other commands have to say is enough.
            _ => {}
        }
        Ok(())
    }
}

fn verify_all(module: &Module) -> Result<(), Failed> {
    module.graphs.iter().try_for_each(|graph| Ok(verify(graph)?))
}

/// Whether both modules compute the same, bit for bit, or both refuse.
fn same_results(before: &Module, after: &Module, inputs: &NamedTensors) -> Result<(), Failed> {
    let run = |module: &Module| -> Result<Option<NamedTensors>, Failed> {
        let graph = module.main().ok_or("several graphs, and none is called @main")?;
        Ok(Interpreter::new(graph).run(inputs).ok())
    };
    let (before, after) = (run(before)?, run(after)?);
    if before == after {
        return Ok(());
    }
    Err(format!("the graph computes {before:?}, after printing and parsing {after:?}").into())
}
