//! Runs one test case and says how it went.

use std::panic::{self, AssertUnwindSafe};
use std::path::Path;

use quad_frontends::data::pb;
use quad_frontends::onnx;
use quad_ir::compare::{Difference, Tolerance};
use quad_ir::dtype::DType;
use quad_ir::graph::Graph;
use quad_ir::interpret::{Interpreter, NamedTensors};
use quad_ir::tensor::Tensor;
use serde::Serialize;

use super::cases::{Case, Stated};

/// Values that a case may hold at a time, in bytes.
const MEMORY_LIMIT: u64 = 2 << 30;

/// What became of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    /// All outputs are as expected.
    Passed,
    /// An output is wrong, or the case could not be run although nothing unsupported is in it.
    Failed,
    /// The model asks for something that is not supported.
    Unsupported,
}

/// A case and what became of it.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) name: String,
    pub(super) status: Status,
    /// Why it did not pass.
    pub(super) detail: String,
}

/// Why a case did not pass.
struct Shortfall(Status, String);

impl Shortfall {
    fn new(unsupported: bool, why: impl std::fmt::Display) -> Self {
        Self(if unsupported { Status::Unsupported } else { Status::Failed }, why.to_string())
    }
}

/// Runs `case`. A panic is a failure of the case and of nothing else.
///
/// What `options` state of tolerances goes before what the case states.
pub(super) fn check(case: &Case, options: Stated) -> Report {
    let result = panic::catch_unwind(AssertUnwindSafe(|| run(case, options)));
    let (status, detail) = match result {
        Ok(Ok(())) => (Status::Passed, String::new()),
        Ok(Err(Shortfall(status, why))) => (status, why),
        Err(panic) => (Status::Failed, format!("panic: {}", message(&*panic))),
    };
    Report { name: case.name.clone(), status, detail }
}

fn run(case: &Case, options: Stated) -> Result<(), Shortfall> {
    let failed = |why: String| Shortfall::new(false, why);
    let stated = options.or(case.stated().map_err(failed)?);
    let module =
        onnx::import(&case.model()).map_err(|error| Shortfall::new(error.is_unsupported(), error))?;
    let graph = module.main().ok_or_else(|| failed("the model has no graph".to_owned()))?;
    let sets = case.data_sets().map_err(|error| failed(error.to_string()))?;
    sets.iter().try_for_each(|set| run_data_set(graph, set, stated))
}

fn run_data_set(graph: &Graph, folder: &Path, stated: Stated) -> Result<(), Shortfall> {
    let read = |prefix| pb::read_series(folder, prefix).map_err(|error| Shortfall::new(false, error));
    let input_names: Vec<String> =
        graph.inputs().map(|input| input.name().map_or_else(String::new, ToString::to_string)).collect();
    let output_names: Vec<String> = graph.outputs().iter().map(|output| output.name.to_string()).collect();
    let inputs = assign(read("input")?, &input_names)?;
    let expected = assign(read("output")?, &output_names)?;
    let outputs = Interpreter::new(graph)
        .with_memory_limit(MEMORY_LIMIT)
        .run(&inputs)
        .map_err(|error| Shortfall::new(error.is_unsupported(), error))?;
    if expected.is_empty() {
        return Err(Shortfall::new(false, "nothing is expected: there is no output_0.pb"));
    }
    for (name, expected) in &expected {
        let found = outputs.get(name).ok_or_else(|| Shortfall::new(false, format!("no output `{name}`")))?;
        compare(name, found, expected, stated.tolerance(expected.dtype()))
            .map_err(|why| Shortfall::new(false, why))?;
    }
    Ok(())
}

/// Gives tensors the names of the values they are for.
fn assign(tensors: Vec<(String, Tensor)>, names: &[String]) -> Result<NamedTensors, Shortfall> {
    let count = tensors.len();
    pb::by_name(tensors, names)
        .ok_or_else(|| Shortfall::new(false, format!("{count} tensors are given for {} values", names.len())))
}

/// ONNX's own runner grants results in bf16 at least this relative tolerance, two units in the last place: the expected
/// ones are rounded after every step of a composed operation.
const BF16_RTOL: f64 = 1.0 / 64.0;

fn compare(name: &str, found: &Tensor, expected: &Tensor, mut tolerance: Tolerance) -> Result<(), String> {
    if expected.dtype() == DType::BF16 {
        tolerance.rtol = tolerance.rtol.max(BF16_RTOL);
    }
    let difference = Difference::between(found, expected, tolerance)
        .map_err(|error| format!("output `{name}`: {error}"))?;
    let Some(first) = &difference.first_outside else { return Ok(()) };
    Err(format!(
        "output `{name}`: {} of {} elements are off, by up to {:.3e}; at {:?} found {}, expected {}",
        difference.outside, difference.elements, difference.max_abs, first.index, first.found, first.expected,
    ))
}

/// The message of a caught panic.
fn message(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message")
}
