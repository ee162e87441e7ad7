//! `roundtrip`: what is printed can be parsed back, and means the same. Implied for every test that does not expect an
//! error.

use libtest_mimic::Failed;
use quad_ir::interpret::Interpreter;
use quad_ir::module::Module;
use quad_ir::text;
use quad_ir::verify::verify;

use super::eval::Settings;
use super::{FileTest, Test, weights_of};

/// See the [module](self).
pub(super) struct Roundtrip;

impl FileTest for Roundtrip {
    fn name(&self) -> &'static str {
        "roundtrip"
    }

    fn run(&self, test: &mut Test<'_>, _arguments: &[String]) -> Result<(), Failed> {
        let body = test.case.body();
        let arguments = test.eval_arguments();
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
        same_results(module, &again, &Settings::read(module, arguments)?)?;
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

/// Whether both modules compute the same, bit for bit, or both refuse where that is expected.
fn same_results(before: &Module, after: &Module, settings: &Settings<'_>) -> Result<(), Failed> {
    let inputs = settings.inputs()?;
    let run = |module: &Module| {
        let graph = module.main().ok_or("several graphs, and none is called @main")?;
        Interpreter::new(graph).run(&inputs).map_err(|error| error.to_string())
    };
    match (run(before), run(after)) {
        (Err(_), Err(_)) if settings.fails() => Ok(()),
        (Ok(before), Ok(after)) if before == after => Ok(()),
        (before, after) => {
            Err(format!("the graph computes {before:?}, after printing and parsing {after:?}").into())
        }
    }
}
