//! `onnx`: writes the graph as an ONNX model, reads that back, and computes the same; shows the nodes of the model as an
//! independent decoder sees them. Where `QUAD_PYTHON` names a Python with ONNX Runtime, that must agree too.
//!
//! `tolerance = 1e-4` is how far results may be off, relative to the largest element, where operations are written as
//! compositions or computed in another order; without it, reading back must give the same bits, and ONNX Runtime may be
//! off by 1e-5. `runtime = ".."` says why ONNX Runtime cannot be asked; once it agrees after all, the test fails.

use std::path::Path;

use libtest_mimic::Failed;
use onnx_protobuf::{Message, ModelProto, NodeProto};
use quad_frontends::onnx;
use quad_ir::compare::{Difference, Tolerance};
use quad_ir::interpret::{Interpreter, NamedTensors};

use super::{FileTest, Test};
use crate::onnxruntime::OnnxRuntime;

/// See the [module](self).
pub(super) struct Onnx;

/// How far ONNX Runtime may be off, relative to the largest element, where the test does not say.
const RUNTIME_TOLERANCE: f64 = 1e-5;

impl FileTest for Onnx {
    fn name(&self) -> &'static str {
        "onnx"
    }

    fn run(&self, test: &mut Test<'_>, arguments: &[String]) -> Result<(), Failed> {
        let settings = Settings::read(arguments)?;
        let inputs = test.inputs()?;
        let graph = test.module()?.main().ok_or("several graphs, and none is called @main")?;
        let expected = Interpreter::new(graph).run(&inputs)?;
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("model.onnx");
        onnx::write(graph, &path)?;
        let again =
            onnx::import(&path).map_err(|error| format!("what was written cannot be read: {error}"))?;
        let again = again.main().ok_or("what was written has no graph")?;
        let found = Interpreter::new(again).run(&inputs)?;
        require_close(&found, &expected, settings.tolerance.unwrap_or(0.0))
            .map_err(|why| format!("read back: {why}"))?;
        if let Some(runtime) = OnnxRuntime::shared()? {
            let tolerance = settings.tolerance.unwrap_or(RUNTIME_TOLERANCE);
            let found =
                runtime.run(&path, &inputs).map_err(|error| error.message().unwrap_or_default().to_owned());
            settings.judge(found.and_then(|found| require_close(&found, &expected, tolerance)))?;
        }
        let (summary, nodes) = describe(&path)?;
        test.story.tell("onnx", &summary, nodes);
        Ok(())
    }
}

struct Settings {
    tolerance: Option<f64>,
    /// Why ONNX Runtime cannot be asked.
    excuse: Option<String>,
}

impl Settings {
    fn read(arguments: &[String]) -> Result<Self, Failed> {
        let mut settings = Self { tolerance: None, excuse: None };
        for argument in arguments {
            match argument.split_once('=').map(|(name, value)| (name.trim(), value.trim())) {
                Some(("tolerance", value)) => settings.tolerance = Some(value.parse()?),
                Some(("runtime", value)) => settings.excuse = Some(value.trim_matches('"').to_owned()),
                _ => {
                    return Err(
                        format!("`{argument}` is neither `tolerance = ..` nor `runtime = \"..\"`").into()
                    );
                }
            }
        }
        Ok(settings)
    }

    /// What the outcome of ONNX Runtime means for the test.
    fn judge(&self, outcome: Result<(), String>) -> Result<(), Failed> {
        match (outcome, &self.excuse) {
            (Ok(()), None) | (Err(_), Some(_)) => Ok(()),
            (Err(why), None) => Err(format!("ONNX Runtime: {why}").into()),
            (Ok(()), Some(excuse)) => {
                Err(format!("ONNX Runtime agrees, so that the exception can go: {excuse}").into())
            }
        }
    }
}

/// Whether all tensors of `found` are those of `expected`, up to `tolerance` of their largest element.
pub(super) fn require_close(
    found: &NamedTensors,
    expected: &NamedTensors,
    tolerance: f64,
) -> Result<(), String> {
    for (name, expected) in expected {
        let found = found.get(name).ok_or_else(|| format!("output `{name}` is missing"))?;
        let elements = expected.to_f64().map_err(|error| error.to_string())?;
        let largest = elements
            .iter()
            .filter(|value| value.is_finite())
            .fold(0.0, |max: f64, value| max.max(value.abs()));
        let allowed = Tolerance { rtol: 0.0, atol: tolerance * largest };
        let difference = Difference::between(found, expected, allowed)
            .map_err(|error| format!("output `{name}`: {error}"))?;
        if !difference.holds() {
            return Err(format!(
                "output `{name}` is off by up to {:e}, {:e} allowed: found {found:?}, expected {expected:?}",
                difference.max_abs, allowed.atol,
            ));
        }
    }
    Ok(())
}

/// The operator sets of the model at `path`, and its nodes.
fn describe(path: &Path) -> Result<(String, Vec<String>), Failed> {
    let model = ModelProto::parse_from_bytes(&std::fs::read(path)?)?;
    let opsets: Vec<String> = model
        .opset_import
        .iter()
        .map(|set| format!("{} {}", set.domain, set.version).trim().to_owned())
        .collect();
    let nodes = model.graph.node.iter().map(show_node).collect();
    Ok((format!("operator set {}", opsets.join(", ")), nodes))
}

/// `y = Relu(x)`, with `_` for what is left out.
fn show_node(node: &NodeProto) -> String {
    let list = |names: &[String]| {
        let spell = |name: &String| if name.is_empty() { "_".to_owned() } else { name.clone() };
        names.iter().map(spell).collect::<Vec<_>>().join(", ")
    };
    let attributes: Vec<&str> = node.attribute.iter().map(|attribute| attribute.name.as_str()).collect();
    let attributes =
        if attributes.is_empty() { String::new() } else { format!(" {{{}}}", attributes.join(", ")) };
    format!("{} = {}({}){attributes}", list(&node.output), node.op_type, list(&node.input))
}
