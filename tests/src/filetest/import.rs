//! `import: small/model.onnx`: lets the test be about a model below `tests/fixtures`. Where `QUAD_PYTHON` names a Python
//! with ONNX Runtime, it must compute the same from the model as it is.

use libtest_mimic::Failed;
use quad_ir::interpret::Interpreter;
use quad_ir::module::Module;
use quad_ir::text;

use super::onnx::require_close;
use super::{FileTest, Test};
use crate::onnxruntime::OnnxRuntime;
use crate::paths;

/// See the [module](self).
pub(super) struct Import;

/// How far ONNX Runtime may be off, relative to the largest element.
const TOLERANCE: f64 = 1e-5;

impl FileTest for Import {
    fn name(&self) -> &'static str {
        "import"
    }

    fn run(&self, test: &mut Test<'_>, arguments: &[String]) -> Result<(), Failed> {
        let [file] = arguments else {
            return Err("expected one model, as in `import: small/model.onnx`".into());
        };
        if !test.case.body().trim().is_empty() {
            return Err("the file has a graph, which the model would take the place of".into());
        }
        let path = paths::fixtures().join(file);
        let module = quad_frontends::onnx::import(&path)?;
        test.story.tell("import", &format!("{file}: {}", summary(&module)), [text::print(&module)?]);
        test.set_module(module);
        if let Some(runtime) = OnnxRuntime::shared()? {
            let inputs = test.inputs()?;
            let graph = test.module()?.main().ok_or("a model has one graph")?;
            let computed = Interpreter::new(graph).run(&inputs)?;
            require_close(&computed, &runtime.run(&path, &inputs)?, TOLERANCE)
                .map_err(|why| format!("ONNX Runtime computes something else: {why}"))?;
        }
        Ok(())
    }
}

fn summary(module: &Module) -> String {
    let nodes: usize = module.graphs.iter().map(|graph| graph.nodes().count()).sum();
    let weights: usize = module.graphs.iter().map(|graph| graph.weights().ids().count()).sum();
    format!("{}, {}", counted(nodes, "node"), counted(weights, "weight"))
}

fn counted(count: usize, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}
