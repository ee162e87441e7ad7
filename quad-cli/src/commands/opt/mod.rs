//! `quad opt`: runs a pipeline on a model.

mod observers;
mod report;

use std::io::{self, Write};
use std::path::PathBuf;

use quad_ir::module::Module;
use quad_ir::verify::verify;
use quad_passes::check::{CheckError, Checker};
use quad_passes::pass::PassError;
use quad_passes::pipeline::Pipeline;
use quad_passes::registry::Registry;
use quad_passes::runner::{self, Observer, RunError, RunErrorKind, RunOptions, RunReport};
use serde::Serialize;

use super::pipeline::{Comparison, Subject};
use crate::destination::Files;
use crate::exit::{Failure, Outcome};
use crate::model::{self, Format};
use crate::output;
use observers::{Dumper, Printer, Printing};
use report::{Report, Reporting};

/// Run a pipeline on a model.
///
/// A pipeline is a list of passes, as in `canonicalize,decompose{gelu=true},(cse,dce)*`: options are in braces, and
/// a list in parentheses with a star is repeated until it changes nothing. `quad passes` lists passes and pipelines.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  quad opt unet.onnx -p dce -o smaller.onnx --stats
  quad opt unet.quad -p '(cse,dce)*' --check-each --seed 7
  quad opt unet.quad -p npu --print-after-changed --fuel 12

The exit code is 1 when --check-each finds that a pass changes what is computed.")]
pub(crate) struct Arguments {
    #[command(flatten)]
    subject: Subject,
    /// The file to write, .onnx or .quad; without it nothing is written.
    #[arg(short, long, value_name = "OUT")]
    output: Option<PathBuf>,
    #[command(flatten)]
    printing: Printing,
    /// Verify the graphs after every pass, and what passes promise of them. They are verified at the end in any case.
    #[arg(long)]
    verify_each: bool,
    /// Run the interpreter before, and after every pass that changed something, and compare the outputs.
    #[arg(long)]
    check_each: bool,
    #[command(flatten)]
    comparison: Comparison,
    #[command(flatten)]
    reporting: Reporting,
    /// Write the graphs as they were before and after every pass that changed something, into this folder.
    #[arg(long, value_name = "DIR")]
    dump_dir: Option<PathBuf>,
    /// Make at most so many changes, all passes together.
    #[arg(long, value_name = "N")]
    fuel: Option<u64>,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments, registry: &Registry) -> Result<Outcome, Failure> {
    // Before the model is read, which may take a while.
    let format = arguments.output.as_deref().map(Format::of).transpose().map_err(Failure::input)?;
    let files = Files::default()
        .reads_model(&arguments.subject.model)
        .reads_given("the inputs", arguments.comparison.inputs.as_ref());
    files.writes(&arguments.output).check()?;
    let pipeline = arguments.subject.pipeline(registry)?;
    arguments.check_names(registry)?;
    let mut module = arguments.subject.module()?;
    let nodes_before = module.graphs.iter().map(|graph| graph.nodes().count()).sum();
    let mut checker = arguments.checker(&module)?;
    let report = match arguments.transform(&pipeline, &mut module, checker.as_mut()) {
        Ok(report) => report,
        Err(error) => return wrong_or_failed(error, arguments),
    };
    verify_all(&module)?;
    if let (Some(path), Some(format)) = (&arguments.output, format) {
        model::write(path, format, &module, &arguments.subject.model)?;
    }
    let mut report = Report::of(&report, nodes_before, checker.as_ref(), &arguments.reporting);
    report.written = arguments.output.as_ref().map(|path| path.display().to_string());
    report.print(&arguments.reporting, &mut output::stdout())?;
    Ok(Outcome::Done)
}

impl Arguments {
    /// Whether passes whose names are options are there.
    fn check_names(&self, registry: &Registry) -> Result<(), Failure> {
        let is_unknown = |name: &&String| !name.is_empty() && registry.pass(name).is_none();
        match self.printing.after.iter().find(is_unknown) {
            Some(name) => Err(Failure::message(format!(
                "there is no pass `{name}` to print after; `quad passes` lists all"
            ))),
            None => Ok(()),
        }
    }

    fn checker(&self, module: &Module) -> Result<Option<Checker>, Failure> {
        if !self.check_each {
            return Ok(None);
        }
        let inputs = self.comparison.inputs(module)?;
        Checker::new(module, inputs, self.comparison.tolerance).map(Some).map_err(Failure::input)
    }

    fn transform(
        &self,
        pipeline: &Pipeline,
        module: &mut Module,
        checker: Option<&mut Checker>,
    ) -> Result<RunReport, RunError> {
        let mut printer = Printer::new(&self.printing);
        let mut dumper = self.dump_dir.as_deref().map(Dumper::new);
        let mut observers: Vec<&mut dyn Observer> = vec![&mut printer];
        observers.extend(dumper.as_mut().map(|dumper| dumper as &mut dyn Observer));
        // The last one, so that what it objects to has been printed.
        observers.extend(checker.map(|checker| checker as &mut dyn Observer));
        let (fuel, skip) = (self.fuel, self.subject.skipped());
        let options = RunOptions { verify: self.verify_each, fuel, skip, explain: false };
        let report = runner::run(pipeline, module, &options, &mut observers)?;
        printer.at_the_end(module).map_err(|error| RunError {
            index: report.passes.len(),
            pass: "the last".to_owned(),
            before: Vec::new(),
            kind: RunErrorKind::Observer(error.into()),
        })?;
        Ok(report)
    }
}

/// What JSON tells of a pass that changes what is computed.
#[derive(Debug, Serialize)]
struct Wrong<'e> {
    holds: bool,
    pass: &'e str,
    message: String,
}

fn verify_all(module: &Module) -> Result<(), Failure> {
    let broken = module.graphs.iter().find_map(|graph| verify(graph).err());
    broken.map_or(Ok(()), |errors| Err(Failure::Bug(Box::new(errors))))
}

/// A check that does not hold is said on standard output; anything else is a failure.
fn wrong_or_failed(error: RunError, arguments: &Arguments) -> Result<Outcome, Failure> {
    let RunErrorKind::Observer(source) = &error.kind else { return Err(failed(error, &arguments.subject)) };
    if source.downcast_ref::<CheckError>().is_none() {
        return Err(failed(error, &arguments.subject));
    }
    let out = &mut output::stdout();
    if arguments.reporting.json {
        let wrong = Wrong { holds: false, pass: &error.pass, message: source.to_string() };
        output::json(out, &wrong)?;
        return Ok(Outcome::DoesNotHold);
    }
    writeln!(out, "{source}")?;
    let (model, subject) = (arguments.subject.model.display(), arguments.subject.arguments());
    writeln!(
        out,
        "find the change with\n  quad bisect {model} {subject}{}",
        arguments.comparison.arguments()
    )?;
    Ok(Outcome::DoesNotHold)
}

/// Whose fault it is that a pipeline did not run to its end.
pub(super) fn failed(error: RunError, subject: &Subject) -> Failure {
    /// A pass is at fault, and this is how to find out where.
    #[derive(Debug, thiserror::Error)]
    #[error("{error}\nfind the change with\n  quad bisect {model} {arguments}")]
    struct Fault {
        error: RunError,
        model: String,
        arguments: String,
    }
    match error.kind {
        RunErrorKind::Observer(source) => match source.downcast::<io::Error>() {
            Ok(error) => Failure::Output(*error),
            Err(source) => Failure::Input(source),
        },
        RunErrorKind::Pass(PassError::Refused(_)) | RunErrorKind::Invariant { before: true, .. } => {
            Failure::input(error)
        }
        _ => {
            let (model, arguments) = (subject.model.display().to_string(), subject.arguments());
            Failure::Bug(Box::new(Fault { error, model, arguments }))
        }
    }
}
