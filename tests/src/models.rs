//! The models that real exporters wrote, with inputs for them: `tests/fixtures/tiny`.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs;
use std::path::PathBuf;

use libtest_mimic::Failed;
use quad_frontends::adapter::branches;
use quad_frontends::data::npz::Archive;
use quad_frontends::onnx;
use quad_ir::dtype::DType;
use quad_ir::graph::{Graph, Patch, ValueRef};
use quad_ir::interpret::NamedTensors;
use quad_ir::module::Module;
use quad_ir::ops::Transpose;
use quad_ir::ops::source::Binding;
use quad_ir::tensor::Tensor;
use quad_passes::check::draw_inputs;
use serde::Deserialize;

use crate::paths;

/// A model and what it is tested with, as `cases.json` lists it.
#[derive(Clone, Debug, Deserialize)]
pub struct Model {
    /// The file below `models`.
    #[serde(rename = "model")]
    pub file: String,
    /// The archive below `io`.
    pub io: String,
    /// Which outputs of the archive are this model's.
    pub variant: String,
    /// The samples of the archive that the model takes.
    pub cases: Vec<String>,
}

/// All models.
pub fn all() -> Result<Vec<Model>, Failed> {
    Ok(serde_json::from_str(&fs::read_to_string(folder().join("cases.json"))?)?)
}

fn folder() -> PathBuf {
    paths::fixtures().join("tiny")
}

impl Model {
    /// The name without `.onnx`.
    pub fn name(&self) -> &str {
        self.file.trim_end_matches(".onnx")
    }

    /// Whether the model computes in floats of 16 bits.
    pub fn is_half(&self) -> bool {
        self.variant.ends_with("_fp16")
    }

    /// The model.
    pub fn import(&self) -> Result<Module, Failed> {
        Ok(onnx::import(&folder().join("models").join(&self.file))?)
    }

    /// The inputs of sample `case` for `module`, which is this model. Stored in single precision, they are rounded where
    /// the model takes less.
    pub fn inputs(&self, module: &Module, case: &str) -> Result<NamedTensors, Failed> {
        let graph = module.main().ok_or("a model has one graph")?;
        let mut archive = Archive::open(&folder().join("io").join(&self.io))?;
        let mut inputs = NamedTensors::new();
        for input in graph.inputs() {
            let name = input.name().ok_or("an input has a name")?.to_string();
            let tensor = archive.read(&format!("in.{case}.{name}"), None)?;
            let narrow = input.ty().dtype == DType::F16 && tensor.dtype() != DType::F16;
            let tensor = if narrow {
                Tensor::from_f32(DType::F16, tensor.sizes(), &tensor.to_f32()?)?
            } else {
                tensor
            };
            inputs.insert(name, tensor);
        }
        Ok(inputs)
    }
}

/// The inputs of the first sample for `module`. Those of adapters are drawn, and small, as adapters are.
pub fn inputs_of(model: &Model, module: &Module) -> Result<NamedTensors, Failed> {
    let original = model.import()?;
    let mut inputs = model.inputs(&original, model.cases.first().ok_or("a model has a case")?)?;
    for (name, drawn) in draw_inputs(module, 1, &BTreeMap::new())? {
        if let Entry::Vacant(place) = inputs.entry(name) {
            let small: Vec<f32> = drawn.to_f32()?.iter().map(|x| x / 10.0).collect();
            place.insert(Tensor::from_f32(drawn.dtype(), drawn.sizes(), &small)?);
        }
    }
    Ok(inputs)
}

/// Makes inputs of the weights of all low-rank branches of `graph`.
///
/// # Panics
/// When a branch has no weights, or an input cannot stand for one: the fixtures are not what they were.
pub fn give_branches_when_it_runs(graph: &mut Graph) {
    let branches = branches::find(graph);
    let mut patch = Patch::new(graph, "test");
    for (number, branch) in branches.iter().enumerate() {
        for (name, node) in [("a", branch.down), ("b", branch.up)] {
            let weight = graph.node(node).operands().flatten().find_map(weight_behind).expect("a weight");
            let input = patch.add_input(&format!("{name}{number}"), weight.ty().clone(), Binding::Adapter);
            patch.replace(weight.id(), input.expect("an input")).expect("the weight is read");
        }
    }
    patch.erase_unread();
    let edit = patch.finish().expect("inputs replace weights");
    graph.apply(edit).expect("nothing changed in between");
}

/// The weight that `value` is, or is a transpose of.
fn weight_behind(value: ValueRef<'_>) -> Option<ValueRef<'_>> {
    let node = value.producer();
    let source = node.is::<Transpose>().and_then(|_| node.operand("x")).unwrap_or(value);
    source.weight().map(|_| source)
}
