//! What the commands that run pipelines share: the model, the pipeline, and how outputs are compared.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use quad_frontends::data::npz::Archive;
use quad_ir::dtype::DType;
use quad_ir::interpret::NamedTensors;
use quad_ir::module::Module;
use quad_passes::bench::{ALLOWED, Settings};
use quad_passes::check::{DrawError, draw_inputs};
use quad_passes::context::Place;
use quad_passes::pipeline::Pipeline;
use quad_passes::registry::Registry;
use serde::Serialize;

use crate::exit::Failure;
use crate::model;

/// A model and what is done to it.
#[derive(Debug, clap::Args)]
pub(super) struct Subject {
    /// The model, .onnx or .quad.
    pub(super) model: PathBuf,
    /// Passes in the order in which they run: names of passes and pipelines, options in braces, `( .. )*` around what is
    /// repeated until it changes nothing.
    #[arg(short, long, value_name = "PIPELINE")]
    pub(super) pipeline: String,
    /// Leave out a pass; may be given more than once.
    #[arg(long, value_name = "PASS")]
    pub(super) skip: Vec<String>,
}

impl Subject {
    /// The pipeline.
    pub(super) fn pipeline(&self, registry: &Registry) -> Result<Pipeline, Failure> {
        if let Some(unknown) = self.skip.iter().find(|name| registry.pass(name).is_none()) {
            return Err(Failure::message(format!(
                "there is no pass `{unknown}` to skip; `quad passes` lists all"
            )));
        }
        Pipeline::parse(&self.pipeline, registry).map_err(Failure::input)
    }

    /// The model.
    pub(super) fn module(&self) -> Result<Module, Failure> {
        let module = model::open(&self.model).map_err(Failure::input)?;
        model::main_graph(&module, &self.model).map_err(Failure::input)?;
        Ok(module)
    }

    /// The passes that are left out.
    pub(super) fn skipped(&self) -> BTreeSet<String> {
        self.skip.iter().cloned().collect()
    }

    /// The pipeline and the skipped passes as arguments of another command.
    pub(super) fn arguments(&self) -> String {
        let mut text = format!("-p '{}'", self.pipeline);
        for name in &self.skip {
            text.push_str(" --skip ");
            text.push_str(name);
        }
        text
    }
}

/// On which inputs outputs are compared, and how closely.
#[derive(Debug, clap::Args)]
pub(super) struct Comparison {
    /// Archive with the inputs to compare on; without it they are drawn.
    #[arg(long, value_name = "IN.npz")]
    pub(super) inputs: Option<PathBuf>,
    /// What inputs are drawn from.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(super) seed: u64,
    /// The value of a symbolic size when inputs are drawn, 2 by default; may be given more than once.
    #[arg(long = "size", value_name = "NAME=N", value_parser = size)]
    pub(super) sizes: Vec<(String, u64)>,
    /// Largest deviation of an output, relative to its largest magnitude.
    #[arg(long, value_name = "X", default_value_t = ALLOWED, value_parser = super::compare::tolerance)]
    pub(super) tolerance: f64,
}

impl Comparison {
    /// The settings of a bench that compares this way.
    pub(super) fn settings(&self, module: &Module, subject: &Subject) -> Result<Settings, Failure> {
        let inputs = self.inputs.is_some().then(|| self.inputs(module)).transpose()?;
        let sizes = self.sizes();
        Ok(Settings {
            allowed: self.tolerance,
            seed: self.seed,
            sizes,
            inputs,
            check: true,
            skip: subject.skipped(),
        })
    }

    /// The inputs that are given, or drawn ones.
    pub(super) fn inputs(&self, module: &Module) -> Result<NamedTensors, Failure> {
        let Some(path) = &self.inputs else {
            let drawn: Result<NamedTensors, DrawError> = draw_inputs(module, self.seed, &self.sizes());
            return drawn.map_err(Failure::input);
        };
        let mut archive = Archive::open(path).map_err(Failure::input)?;
        let names: Vec<String> = archive.names().map(str::to_owned).collect();
        let mut inputs = NamedTensors::new();
        for name in names {
            let tensor = archive.read(&name, dtype(module, &name)).map_err(Failure::input)?;
            inputs.insert(name, tensor);
        }
        Ok(inputs)
    }

    /// What is not as usual, as arguments of another command.
    pub(super) fn arguments(&self) -> String {
        let mut parts = Vec::new();
        if self.seed != 0 {
            parts.push(format!(" --seed {}", self.seed));
        }
        parts.extend(self.inputs.iter().map(|path| format!(" --inputs {}", path.display())));
        parts.extend(self.sizes.iter().map(|(name, size)| format!(" --size {name}={size}")));
        if self.tolerance != ALLOWED {
            parts.push(format!(" --tolerance {}", self.tolerance));
        }
        parts.concat()
    }

    fn sizes(&self) -> BTreeMap<String, u64> {
        self.sizes.iter().cloned().collect()
    }
}

/// The element type of the input `name` of any graph of `module`.
fn dtype(module: &Module, name: &str) -> Option<DType> {
    let mut inputs = module.graphs.iter().flat_map(quad_ir::graph::Graph::inputs);
    inputs.find(|input| input.name().is_some_and(|found| **found == *name)).map(|input| input.ty().dtype)
}

/// Reads `batch=4`.
pub(super) fn size(text: &str) -> Result<(String, u64), String> {
    let parsed = text
        .split_once('=')
        .and_then(|(name, size)| Some((name.trim().to_owned(), size.trim().parse().ok()?)));
    parsed.ok_or_else(|| "expected a name and a number, such as batch=4".to_owned())
}

/// A node as JSON tells of it.
#[derive(Debug, Serialize)]
pub(super) struct NodeLine {
    node: String,
    op: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    origin: String,
}

impl NodeLine {
    /// What there is to say of `place`.
    pub(super) fn of(place: &Place) -> Self {
        Self {
            node: place.node.clone(),
            op: place.op,
            name: place.name.as_ref().map(ToString::to_string),
            origin: place.loc.to_string(),
        }
    }
}
