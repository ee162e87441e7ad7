//! `quad adapter verify`: proves that an adapter takes effect in a model.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use quad_frontends::data::safetensors::SafeTensorsFile;
use quad_ir::interpret::{Interpreter, NamedTensors};
use quad_ir::tensor::Tensor;
use quad_passes::check::draw_inputs;
use quad_passes::lora::expose::Options;
use quad_passes::lora::interface::adapter_inputs;
use serde::Serialize;

use crate::adapters::{self, AdapterFailure, Prepared, Rank, Settings};
use crate::exit::{Failure, Outcome};
use crate::progress::Progress;
use crate::table::counted;
use crate::{model, output};

/// Prove that an adapter takes effect in a model.
///
/// Checked is that every tensor of the file is read and every site has its layer; that what the model takes is not zero
/// at any site, also after it was rounded to what the model computes in; that the outputs are numbers where those of the
/// base are, and differ from them, on drawn inputs; and that after another adapter was used, this one gives the very same outputs again.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  quad adapter verify unet.onnx style.safetensors
  quad adapter verify unet.quad style.safetensors --other edit/ --json

The exit code is 1 when a check does not hold.")]
pub(crate) struct Arguments {
    /// The model, .onnx or .quad.
    model: PathBuf,
    /// The adapter.
    adapter: PathBuf,
    /// The adapter that is used in between. By default the same one at the opposite strength.
    #[arg(long, value_name = "PATH")]
    other: Option<PathBuf>,
    /// Sites of adapters that the model may lack, with * for any text. May be given several times.
    #[arg(long, value_name = "PATTERN")]
    allow_unused: Vec<String>,
    /// The checkpoint that the model was exported from, to tell layers by the content of their weights too.
    #[arg(long, value_name = "BASE.safetensors")]
    base: Option<PathBuf>,
    /// What inputs are drawn from.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// What was found of one thing that was checked.
#[derive(Debug, Serialize)]
struct Check {
    what: &'static str,
    holds: bool,
    found: String,
}

/// Everything that the command has to say.
#[derive(Debug, Serialize)]
struct Report {
    adapter: PathBuf,
    holds: bool,
    checks: Vec<Check>,
    notes: Vec<String>,
}

/// Runs the command.
pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let mut report =
        Report { adapter: arguments.adapter.clone(), holds: true, checks: Vec::new(), notes: Vec::new() };
    match bound(arguments, &mut report) {
        Ok(prepared) => prove(arguments, &prepared, &mut report)?,
        Err(failure) => {
            let found = failure_text(failure)?;
            report.add("every tensor is bound once", false, found);
        }
    }
    report.holds = report.checks.iter().all(|check| check.holds);
    report.print(arguments.json)?;
    Ok(if report.holds { Outcome::Done } else { Outcome::DoesNotHold })
}

/// What was found when the adapter does not fit the model; anything else is no finding but a failure.
fn failure_text(failure: AdapterFailure) -> Result<String, Failure> {
    match failure {
        AdapterFailure::Read(_)
        | AdapterFailure::Match(_)
        | AdapterFailure::Pack(_)
        | AdapterFailure::Tensor { .. } => Ok(failure.to_string()),
        _ => Err(Failure::input(failure)),
    }
}

/// The model with the adapter and the other one, which is the same again where none is given.
fn bound(arguments: &Arguments, report: &mut Report) -> Result<Prepared, AdapterFailure> {
    let module = model::open(&arguments.model).map_err(AdapterFailure::Open)?;
    let other = arguments.other.as_ref().unwrap_or(&arguments.adapter);
    let tensors = tensor_count(&arguments.adapter);
    let adapters = adapters::read([&arguments.adapter, other], &mut report.notes)?;
    let base = arguments.base.as_deref().map(SafeTensorsFile::open).transpose()?;
    let settings = Settings {
        rank: Rank::Largest,
        options: Options::default(),
        allow_unused: &arguments.allow_unused,
        base: base.as_ref(),
    };
    let mut prepared = adapters::prepare(module, &adapters, &settings)?;
    adapters::hoist(&mut prepared.module)?;
    report.notes.append(&mut prepared.notes);
    report.notes.dedup();
    let (bound, stored) = (prepared.adapters[0].sites.len(), adapters[0].sites.len());
    let found = match (stored - bound, tensors) {
        (0, Some(tensors)) => format!("{} for {}", counted(tensors, "tensor"), counted(bound, "layer")),
        (0, None) => counted(bound, "layer"),
        (unused, _) => format!(
            "those of {}; {} left out, as --allow-unused has it",
            counted(bound, "layer"),
            counted(unused, "site")
        ),
    };
    report.add("every tensor is bound once", bound > 0, found);
    Ok(prepared)
}

/// How many tensors the file of the adapter has, when it is a file.
fn tensor_count(path: &Path) -> Option<usize> {
    let file = SafeTensorsFile::open(path).ok()?;
    Some(file.tensors().len())
}

fn prove(arguments: &Arguments, prepared: &Prepared, report: &mut Report) -> Result<(), Failure> {
    let own = match adapters::bind(prepared, [(0, 1.0)]) {
        Ok(slots) => slots,
        Err(error) => {
            report.add("every tensor is bound once", false, error.to_string());
            return Ok(());
        }
    };
    let other_share = (1, if arguments.other.is_some() { 1.0 } else { -1.0 });
    let other = adapters::bind(prepared, [other_share]).map_err(Failure::input)?;
    let base = adapters::bind(prepared, []).map_err(Failure::input)?;
    report.add_effect(prepared, &own);
    let [without, first, between, again] = run_all(arguments, prepared, [&base, &own, &other, &own])?;
    let lost = [&first, &between].map(|outputs| no_longer_finite(&without, outputs)).iter().sum::<usize>();
    let found =
        if lost == 0 { "all of them".to_owned() } else { format!("{} not", counted(lost, "element")) };
    report.add("outputs are finite where the base's are", lost == 0, found);
    let effect = largest_difference(&first, &without);
    report.add("outputs differ from the base's", effect > 0.0, format!("by up to {effect:.3e}"));
    let change = largest_difference(&between, &first);
    report.add("outputs follow the other adapter", change > 0.0, format!("by up to {change:.3e}"));
    let same = first == again;
    let found = if same { "bit for bit" } else { "they differ" };
    report.add("the adapter gives the same again", same, found.to_owned());
    Ok(())
}

/// What the model computes with each of `slots`, one after the other, on the same drawn inputs.
fn run_all<const N: usize>(
    arguments: &Arguments,
    prepared: &Prepared,
    slots: [&NamedTensors; N],
) -> Result<[NamedTensors; N], Failure> {
    let main = model::main_graph(&prepared.module, &arguments.model).map_err(Failure::input)?;
    let inputs = draw_inputs(&prepared.module, arguments.seed, &BTreeMap::new()).map_err(Failure::input)?;
    let progress = Progress::new("running");
    let mut outputs = [const { NamedTensors::new() }; N];
    for (done, slots) in slots.into_iter().enumerate() {
        progress.set(done, N);
        let names = main.inputs().filter_map(|input| input.name().map(ToString::to_string));
        let given = |name: String| {
            let tensor = slots.get(&name).or_else(|| inputs.get(&name))?.clone();
            Some((name, tensor))
        };
        outputs[done] =
            Interpreter::new(main).run(&names.filter_map(given).collect()).map_err(Failure::input)?;
    }
    Ok(outputs)
}

/// How many elements are finite in `base` and not in `outputs`.
fn no_longer_finite(base: &NamedTensors, outputs: &NamedTensors) -> usize {
    let elements = |tensor: &Tensor| tensor.to_f64().unwrap_or_default();
    let pairs =
        base.iter().filter_map(|(name, tensor)| Some((elements(tensor), elements(outputs.get(name)?))));
    let lost = |(a, b): (Vec<f64>, Vec<f64>)| {
        a.iter().zip(&b).filter(|(a, b)| a.is_finite() && !b.is_finite()).count()
    };
    pairs.map(lost).sum()
}

fn largest_difference(a: &NamedTensors, b: &NamedTensors) -> f64 {
    let elements = |tensor: &Tensor| tensor.to_f64().unwrap_or_default();
    let differences = a.iter().filter_map(|(name, tensor)| Some((elements(tensor), elements(b.get(name)?))));
    let largest = |(a, b): (Vec<f64>, Vec<f64>)| {
        a.into_iter()
            .zip(b)
            .map(|(a, b)| (a - b).abs())
            .filter(|difference| !difference.is_nan())
            .fold(0.0, f64::max)
    };
    differences.map(largest).fold(0.0, f64::max)
}

impl Report {
    fn add(&mut self, what: &'static str, holds: bool, found: String) {
        self.checks.push(Check { what, holds, found });
    }

    /// Checks that no slot of a site of the adapter is zero everywhere.
    fn add_effect(&mut self, prepared: &Prepared, slots: &NamedTensors) {
        let is_zero = |tensor: &Tensor| {
            tensor.to_f64().is_ok_and(|elements| elements.iter().all(|element| *element == 0.0))
        };
        let of_site =
            |name: &str, path: &str| name.strip_prefix(path).is_some_and(|rest| rest.starts_with(".lora_"));
        let main = prepared.module.main();
        let names: Vec<String> = main
            .into_iter()
            .flat_map(adapter_inputs)
            .filter_map(|input| input.name().map(ToString::to_string))
            .collect();
        let silent = prepared.adapters[0].sites.iter().filter_map(|site| {
            let mut of_site = names.iter().filter(|name| of_site(name, &site.path));
            of_site.find(|name| slots.get(*name).is_none_or(is_zero)).cloned()
        });
        let silent: Vec<String> = silent.collect();
        let found = match silent.first() {
            None => format!("at {}", counted(prepared.adapters[0].sites.len(), "layer")),
            Some(first) => {
                format!("{} zero everywhere in what the model takes, the first `{first}`", silent.len())
            }
        };
        self.add("no layer's change is zero", silent.is_empty(), found);
    }

    fn print(&self, json: bool) -> Result<(), Failure> {
        let out = &mut output::stdout();
        if json {
            output::json(out, self)?;
            return Ok(());
        }
        self.notes.iter().for_each(|note| output::note(note));
        for Check { what, holds, found } in &self.checks {
            writeln!(out, "{}  {what}: {found}", if *holds { "ok " } else { "off" })?;
        }
        let verdict = if self.holds { "takes effect" } else { "does not take effect as it should" };
        writeln!(out, "{} {verdict}", self.adapter.display())?;
        Ok(())
    }
}
