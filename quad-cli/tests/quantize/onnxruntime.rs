//! The ONNX model of the testbed in ONNX Runtime, against the interpreter.
//!
//! Two questions are asked, for every adapter, with ONNX Runtime's optimizations and without.
//!
//! Does it store the same numbers wherever it reads the same numbers? The model is cut at each `QuantizeLinear` for that, and
//! nothing may be more than a step off.
//!
//! Are whole runs the same? In a whole run differences add up: a sum that is rounded in another order may be stored a step
//! off, and that moves what comes behind it. So two runs of one program in two orders are apart as well, and that is the
//! yardstick: ONNX Runtime with its optimizations against ONNX Runtime without them. The interpreter may not be further from
//! either than [`YARDS`] times that, nor further from the float model than they are.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::path::Path;

use libtest_mimic::Failed;
use quad_frontends::data::npz;
use quad_frontends::data::safetensors::SafeTensorsFile;
use quad_frontends::onnx;
use quad_ir::graph::{Graph, ValueRef};
use quad_ir::interpret::{Interpreter, NamedTensors};
use quad_ir::ops::QuantizeLinear;
use quad_ir::tensor::Tensor;
use quad_ir::text;

use crate::cut::{self, GIVEN};
use crate::{Bench, Calibrated, Session, TASKS, expected, inputs, lora, psnr, show};

/// How many times as far the interpreter may be from ONNX Runtime as that is from itself.
const YARDS: f64 = 1.5;

/// A model in QDQ form, cut at each `quantize_linear`.
fn cut(model: &Path) -> Result<Graph, Failed> {
    cut::cut(text::read_files(model)?.main().ok_or("it runs")?.clone(), |_| true)
}

/// Everything that a model in QDQ form stores in a run, by name.
fn stored(model: &Path, inputs: &NamedTensors) -> Result<NamedTensors, Failed> {
    let module = text::read_files(model)?;
    let mut stored = NamedTensors::new();
    let mut observe = |value: ValueRef<'_>, tensor: &Tensor| {
        let is_stored = value.producer().is::<QuantizeLinear>().is_some();
        stored.extend(value.name().filter(|_| is_stored).map(|name| (name.to_string(), tensor.clone())));
    };
    Interpreter::new(module.main().ok_or("it runs")?).run_observed(inputs, &mut observe)?;
    Ok(stored)
}

/// How far stored numbers are apart.
#[derive(Default)]
struct Apart {
    elements: usize,
    differ: usize,
    /// The largest difference, and where it is.
    most: (u64, String),
}

impl Apart {
    fn add(&mut self, found: &NamedTensors, expected: &NamedTensors) -> Result<(), Failed> {
        for (name, expected) in expected {
            let found = found.get(name).ok_or_else(|| format!("there is no output {name}"))?.to_i64()?;
            for (found, expected) in found.iter().zip(expected.to_i64()?) {
                let steps = found.abs_diff(expected);
                self.elements += 1;
                self.differ += usize::from(steps > 0);
                if steps > self.most.0 {
                    self.most = (steps, name.clone());
                }
            }
        }
        Ok(())
    }
}

/// What was made of the testbed in one precision.
struct Made {
    /// What the whole model takes for each adapter.
    fed: Vec<NamedTensors>,
    /// What the model takes that was cut.
    pieces: Vec<NamedTensors>,
    /// What the interpreter stores of that.
    stored: Vec<NamedTensors>,
    /// What the interpreter computes: simulated, and in integers.
    ours: Vec<[NamedTensors; 2]>,
}

impl Made {
    fn new(bench: &Bench, qdq: &Path, typed: &Path) -> Result<Self, Failed> {
        let mut made = Self { fed: vec![], pieces: vec![], stored: vec![], ours: vec![] };
        for task in TASKS {
            let mut inputs = inputs(task)?;
            let taken = bench.path("inputs.npz");
            npz::write(&taken, &inputs)?;
            let slots_of = |model: &Path| {
                let packed = bench.pack(model, lora(task).as_os_str())?;
                let slots: NamedTensors = SafeTensorsFile::open(&packed)?.tensors().iter().cloned().collect();
                Ok::<_, Failed>((bench.run(model, Some(&packed), &taken)?, slots))
            };
            let ((simulated, slots), (integers, same)) = (slots_of(qdq)?, slots_of(typed)?);
            if same != slots {
                return Err(format!("{task}: the slots of both forms differ").into());
            }
            inputs.extend(slots);
            let stored = stored(qdq, &inputs)?;
            let mut piece = inputs.clone();
            piece.extend(stored.iter().map(|(name, tensor)| (format!("{name}{GIVEN}"), tensor.clone())));
            made.pieces.push(piece);
            made.stored.push(stored);
            made.ours.push([simulated, integers]);
            made.fed.push(inputs);
        }
        Ok(made)
    }
}

/// See the [module](self).
pub(crate) fn agrees(statistics: &Calibrated, precision: &str, python: &OsStr) -> Result<(), Failed> {
    let bench = Bench::new(statistics, precision)?;
    let qdq = bench.quantize("qdq.quad", &["--form", "qdq"])?;
    let typed = bench.quantize("typed.quad", &[])?;
    let whole = bench.quantize("model.onnx", &[])?;
    let parts = bench.path("parts.onnx");
    onnx::write(&cut(&qdq)?, &parts)?;
    let made = Made::new(&bench, &qdq, &typed)?;
    let mut report = String::new();
    let mut agrees = true;
    for session in [Session::Plain, Session::Optimized] {
        let mut apart = Apart::default();
        for (found, expected) in
            bench.onnxruntime(python, &parts, &made.pieces, session)?.iter().zip(&made.stored)
        {
            apart.add(found, expected)?;
        }
        agrees &= apart.is_little(session, &mut report);
    }
    let run = |session| bench.onnxruntime(python, &whole, &made.fed, session);
    let [plain, optimized] = [run(Session::Plain)?, run(Session::Optimized)?];
    for (at, task) in TASKS.iter().enumerate() {
        agrees &= runs_agree(task, &made.ours[at], [&plain[at], &optimized[at]], &mut report)?;
    }
    if std::env::var_os("QUAD_SHOW").is_some() {
        show(&format!("{precision}\n{report}"));
    }
    if agrees { Ok(()) } else { Err(format!("{precision}:\n{report}").into()) }
}

impl Apart {
    /// Whether nothing is more than a step off, and hardly anything is.
    fn is_little(&self, session: Session, report: &mut String) -> bool {
        let share = self.differ as f64 / self.elements as f64;
        let (most, place) = &self.most;
        let _ = writeln!(
            report,
            "{session:?}: {} stored numbers, {:.4} % differ, by {most} at most ({place})",
            self.elements,
            100.0 * share
        );
        *most <= 1 && share < 0.05
    }
}

/// Whether whole runs are as near to each other as ONNX Runtime is to itself, and to the float model.
fn runs_agree(
    task: &str,
    [simulated, integers]: &[NamedTensors; 2],
    [plain, optimized]: [&NamedTensors; 2],
    report: &mut String,
) -> Result<bool, Failed> {
    let yard = distance(plain, optimized)?;
    let mut apart = [0.0; 4];
    for (at, (ours, theirs)) in
        [(simulated, plain), (simulated, optimized), (integers, plain), (integers, optimized)]
            .into_iter()
            .enumerate()
    {
        apart[at] = distance(ours, theirs)?;
    }
    let far = apart.iter().fold(0.0, |far: f64, apart| far.max(*apart)) / yard;
    let expected = expected(task)?;
    let mut quality = [0.0; 4];
    for (at, outputs) in [simulated, integers, plain, optimized].into_iter().enumerate() {
        quality[at] = psnr(outputs, &expected)?;
    }
    let _ = writeln!(
        report,
        "  {task}: ONNX Runtime is {yard:.2e} from itself (root mean square); simulated {:.2e} and {:.2e} from it, in integers \
         {:.2e} and {:.2e}: {far:.2} times as far at most; {quality:.2?} dB from the float model",
        apart[0], apart[1], apart[2], apart[3]
    );
    // A single sample in 8 bits is up to 0.7 dB nearer or farther by rounding alone.
    let is_as_good = quality.iter().all(|psnr| (psnr - quality[0]).abs() < 1.0);
    Ok(is_as_good && far <= YARDS)
}

/// The root mean square of the differences of the first outputs.
fn distance(a: &NamedTensors, b: &NamedTensors) -> Result<f64, Failed> {
    let numbers =
        |outputs: &NamedTensors| Ok::<_, Failed>(outputs.values().next().ok_or("an output")?.to_f64()?);
    let (a, b) = (numbers(a)?, numbers(b)?);
    if a.len() != b.len() {
        return Err("outputs have different sizes".into());
    }
    let squares: f64 = a.iter().zip(&b).map(|(a, b)| (a - b).powi(2)).sum();
    Ok((squares / a.len() as f64).sqrt())
}
