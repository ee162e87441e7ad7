//! Numeric proof: what a module computes before and after every pass.
//!
//! A [`Checker`] runs the interpreter on the module as it was, and after every pass that changed something, on the same
//! inputs. Inputs that depend on an adapter are drawn like all others, so a rewrite that loses them is seen.

mod draw;

use std::collections::BTreeMap;

use quad_ir::compare::{Difference, Tolerance};
use quad_ir::graph::{Graph, ValueRef};
use quad_ir::interpret::{Interpreter, NamedTensors, RunError};
use quad_ir::module::Module;
use quad_ir::ops::Input;
use quad_ir::ops::source::Binding;
use quad_ir::quantized::{Arithmetic, quantize};
use quad_ir::tensor::{Tensor, element_count};
use quad_ir::types::{Dim, Encoded, SymId};

use crate::runner::{Observer, PassReport};

use draw::MAX_ELEMENTS;
pub use draw::{Draw, DrawError};

/// The graph that turns the tensors of an adapter into inputs of the one that runs.
pub const PACK: &str = "pack";

/// The value of symbolic sizes that nobody gave.
const SIZE: u64 = 2;

/// What a module computes: `@pack`, where there is one, on its inputs, and then the graph that runs on its own and on
/// what `@pack` made. Inputs that depend on an adapter and are not given are zeros: no adapter. Quantized values are simulated.
pub fn evaluate(module: &Module, inputs: &NamedTensors) -> Result<NamedTensors, RunError> {
    let Some(main) = module.main() else { return Ok(NamedTensors::new()) };
    let of = |graph: &Graph, given: &NamedTensors| -> NamedTensors {
        let named = graph.inputs().filter_map(|input| Some((input.name()?.to_string(), input)));
        let tensor = |name: &str, input| given.get(name).cloned().or_else(|| absent(input));
        named.filter_map(|(name, input)| tensor(&name, input).map(|tensor| (name, tensor))).collect()
    };
    let mut given = inputs.clone();
    if let Some(pack) = module.graph(PACK) {
        given.extend(interpreter(pack).run(&of(pack, inputs))?);
    }
    interpreter(main).run(&of(main, &given))
}

/// Passes are compared by the real numbers that their graphs mean: rounding once or twice is the affair of a device.
fn interpreter(graph: &Graph) -> Interpreter<'_> {
    Interpreter::new(graph).with_arithmetic(Arithmetic::Simulated)
}

/// What `input` is when there is no adapter: zeros, where it depends on one.
pub fn absent(input: ValueRef<'_>) -> Option<Tensor> {
    let is_adapter = input.producer().is::<Input>()?.binding == Binding::Adapter;
    let sizes = input.ty().shape.as_known().filter(|_| is_adapter)?;
    let sizes: Option<Vec<usize>> = sizes.iter().map(|size| usize::try_from(*size).ok()).collect();
    let sizes = sizes.filter(|sizes| element_count(sizes).is_some_and(|count| count <= MAX_ELEMENTS))?;
    let Some(encoded) = Encoded::of(input.ty()) else { return Tensor::zeros(input.ty().dtype, &sizes).ok() };
    // What is stored for zero is the zero point.
    quantize(&Tensor::zeros(encoded.quant.expressed, &sizes).ok()?, &encoded).ok()
}

/// Inputs for `module`, drawn from `seed`. Symbolic sizes are those in `sizes`, or 2.
pub fn draw_inputs(
    module: &Module,
    seed: u64,
    sizes: &BTreeMap<String, u64>,
) -> Result<NamedTensors, DrawError> {
    let mut draw = Draw::new(seed);
    let mut inputs = NamedTensors::new();
    let made: Vec<String> = module
        .graph(PACK)
        .map_or_else(Vec::new, |pack| pack.outputs().iter().map(|output| output.name.to_string()).collect());
    for graph in &module.graphs {
        for input in graph.inputs() {
            let name = input.name().map_or_else(String::new, ToString::to_string);
            // A slot may have the name of the tensor that it is made of.
            let is_made = &**graph.name() != PACK && made.contains(&name);
            if !is_made && !inputs.contains_key(&name) {
                inputs.insert(name, draw.tensor(input.ty().dtype, &sizes_of(input, graph, sizes)?)?);
            }
        }
    }
    Ok(inputs)
}

fn sizes_of(
    input: ValueRef<'_>,
    graph: &Graph,
    given: &BTreeMap<String, u64>,
) -> Result<Vec<usize>, DrawError> {
    let symbols = graph.symbols();
    let size_of = |symbol: SymId| {
        let size = symbols.name(symbol).and_then(|name| given.get(&**name));
        Some(size.copied().unwrap_or(SIZE))
    };
    let size = |dim: &Dim| dim.expr().evaluate(&size_of).and_then(|size| usize::try_from(size).ok());
    let sizes: Option<Vec<usize>> = input.ty().shape.iter().map(size).collect();
    sizes.ok_or_else(|| DrawError::Sizes {
        input: input.name().map_or_else(String::new, ToString::to_string),
        ty: symbols.show_type(input.ty()).to_string(),
    })
}

/// How far outputs are from what they should be: the worst element of the worst output.
#[derive(Clone, Debug, PartialEq)]
pub struct Deviation {
    /// The output.
    pub output: String,
    /// The largest difference.
    pub max_abs: f64,
    /// The largest magnitude of the expected output.
    pub magnitude: f64,
}

impl Deviation {
    /// The largest difference, relative to the largest magnitude of the output.
    pub fn relative(&self) -> f64 {
        if self.max_abs == 0.0 { 0.0 } else { self.max_abs / self.magnitude.max(f64::MIN_POSITIVE) }
    }
}

/// A check did not hold, or could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The module does not run any more.
    #[error("after `{pass}` the module does not run: {error}")]
    Run {
        /// The pass.
        pass: String,
        /// Why.
        error: Box<RunError>,
    },
    /// An output differs.
    #[error(
        "after `{pass}` output `{}` is off by {:.3e}, {:.3e} of its largest magnitude; allowed are {allowed:e}",
        deviation.output, deviation.max_abs, deviation.relative()
    )]
    Differs {
        /// The pass.
        pass: String,
        /// By how much.
        deviation: Deviation,
        /// The largest relative deviation that is allowed.
        allowed: f64,
    },
    /// An output is gone, or is of another type.
    #[error("after `{pass}` output `{output}` {found}")]
    Output {
        /// The pass.
        pass: String,
        /// The output.
        output: String,
        /// What became of it.
        found: String,
    },
}

/// Compares what a module computes after every pass with what it computed at first.
#[derive(Clone, Debug)]
pub struct Checker {
    inputs: NamedTensors,
    expected: NamedTensors,
    allowed: f64,
    /// The largest deviation after each pass that changed something.
    deviations: Vec<(String, Deviation)>,
}

impl Checker {
    /// A checker of `module` on `inputs`. Deviations up to `allowed` of the largest magnitude of an output hold.
    pub fn new(module: &Module, inputs: NamedTensors, allowed: f64) -> Result<Self, RunError> {
        let expected = evaluate(module, &inputs)?;
        Ok(Self { inputs, expected, allowed, deviations: Vec::new() })
    }

    /// Compares `module`, as `pass` left it.
    pub fn check(&mut self, pass: &str, module: &Module) -> Result<&Deviation, CheckError> {
        let run = |error| CheckError::Run { pass: pass.to_owned(), error: Box::new(error) };
        let found = evaluate(module, &self.inputs).map_err(run)?;
        if let Some(output) = found.keys().find(|output| !self.expected.contains_key(*output)) {
            let found = "was not there before".to_owned();
            return Err(CheckError::Output { pass: pass.to_owned(), output: output.clone(), found });
        }
        let mut worst = Deviation { output: String::new(), max_abs: 0.0, magnitude: 0.0 };
        for (output, expected) in &self.expected {
            let deviation = deviation(pass, output, found.get(output), expected)?;
            // An infinite deviation of a zero output has no relative size to compare.
            if worst.output.is_empty() || deviation.relative() > worst.relative() {
                worst = deviation;
            }
        }
        // What is not a number compares as false, and must not pass.
        if worst.relative().is_nan() || worst.relative() > self.allowed {
            return Err(CheckError::Differs {
                pass: pass.to_owned(),
                deviation: worst,
                allowed: self.allowed,
            });
        }
        self.deviations.push((pass.to_owned(), worst));
        Ok(&self.deviations[self.deviations.len() - 1].1)
    }

    /// The deviation after each pass that changed something, in order.
    pub fn deviations(&self) -> &[(String, Deviation)] {
        &self.deviations
    }

    /// The largest deviation seen.
    pub fn worst(&self) -> Option<&Deviation> {
        self.deviations
            .iter()
            .map(|(_, deviation)| deviation)
            .max_by(|a, b| a.relative().total_cmp(&b.relative()))
    }

    /// The inputs that are used.
    pub fn inputs(&self) -> &NamedTensors {
        &self.inputs
    }

    /// What the module computed at first.
    pub fn expected(&self) -> &NamedTensors {
        &self.expected
    }
}

fn deviation(
    pass: &str,
    output: &str,
    found: Option<&Tensor>,
    expected: &Tensor,
) -> Result<Deviation, CheckError> {
    let broken =
        |found: String| CheckError::Output { pass: pass.to_owned(), output: output.to_owned(), found };
    let found = found.ok_or_else(|| broken("is gone".to_owned()))?;
    let tolerance = Tolerance { rtol: 0.0, atol: 0.0 };
    let difference = Difference::between(found, expected, tolerance)
        .map_err(|error| broken(format!("changed: {error}")))?;
    let elements = expected.to_f64().map_err(|error| broken(format!("cannot be read: {error}")))?;
    let finite = elements.into_iter().filter(|element| element.is_finite());
    let magnitude = finite.fold(0.0, |largest: f64, element| largest.max(element.abs()));
    Ok(Deviation { output: output.to_owned(), max_abs: difference.max_abs, magnitude })
}

impl Observer for Checker {
    fn after(
        &mut self,
        report: &PassReport,
        module: &Module,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        if report.changes > 0 {
            self.check(&report.pass, module)?;
        }
        Ok(())
    }
}
