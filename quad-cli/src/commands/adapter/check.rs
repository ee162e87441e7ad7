//! `quad adapter check`: whether an adapter fits a profile that is frozen already.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use quad_ir::interpret::NamedTensors;
use quad_quantize::admission::own::{self, Candidate};
use quad_quantize::admission::{self, Forecast, Limits, SlotFit, Verdict};
use quad_quantize::executor::Reference;
use quad_quantize::insert;
use quad_quantize::precision::Pattern;
use quad_quantize::profile::Profile;
use quad_quantize::rules::layers;
use quad_quantize::sensitivity::bench::{self, Bench, Subject};
use serde::Serialize;

use crate::exit::{Failure, Outcome};
use crate::freezing::freeze;
use crate::frozen::{Frozen, Named, named};
use crate::measuring::{Counter, Looking};
use crate::table::{Align, Table, counted};
use crate::{output, profiles, samples};

/// Say whether an adapter fits a profile that was made without it.
///
/// Its numbers are stored as the profile says, and what is beyond the encodings is clipped: how much of each slot is, the
/// command tells without any data. That does not see activations, which an adapter can drive out of their encodings. With
/// --data the model is run on samples of the adapter's task, in full precision, with the profile, and with encodings of the
/// adapter's own, and the verdict goes by what the profile costs.
///
/// Without --data the verdict is one on the slots alone, and says so.
///
/// fit: the adapter can be used. fit with loss: it can be used, and is worse than it could be. needs distillation: it has
/// to be tuned for the profile first; the command then ends with exit code 1.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  quad adapter check profile.json style.safetensors --model unet.quad
  quad adapter check profile.json style.safetensors --model unet.quad --data style.npz --peak 2
  quad adapter check profile.json new/ --model unet.onnx --beside a=a/ --beside b=b/ --data new.npz --json")]
pub(super) struct Arguments {
    /// The profile.
    profile: PathBuf,
    /// The adapter, a file or folder.
    adapter: PathBuf,
    /// The model that the profile is of: the one in full precision that was calibrated, .onnx or .quad.
    #[arg(long, value_name = "MODEL")]
    model: PathBuf,
    /// An adapter that the model was calibrated with, when the model is not one of `quad lora expose`: which layers are
    /// exposed depends on them. May be given several times.
    #[arg(long, value_name = "NAME=PATH", value_parser = named)]
    beside: Vec<Named>,
    /// Samples of the adapter's task: .npz, .safetensors or a folder of them.
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
    /// Arrays in the data that are no inputs, with * for any text.
    #[arg(long, value_name = "PATTERN")]
    ignore: Vec<Pattern>,
    /// Sites of adapters that the model may lack, with * for any text.
    #[arg(long, value_name = "PATTERN")]
    allow_unused: Vec<String>,
    /// The most that may be lost for a fit, in decibels.
    #[arg(long, value_name = "DB", default_value_t = Limits::default().loss, value_parser = decibels)]
    fit_loss: f64,
    /// The most that may be lost without distillation, in decibels.
    #[arg(long, value_name = "DB", default_value_t = Limits::default().most, value_parser = decibels)]
    most_loss: f64,
    #[command(flatten)]
    looking: Looking,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Everything that the command has to say.
#[derive(Debug, Serialize)]
struct Report {
    verdict: Verdict,
    /// Whether the verdict goes by outputs, which were measured on data, or by slots alone.
    measured: bool,
    /// What the outputs are expected to be; `None` without data.
    expected: Option<Forecast>,
    /// Elements of all slots, and how many of them are clipped.
    elements: usize,
    clipped: usize,
    /// Slots of which too much is clipped, most first.
    clipped_slots: Vec<SlotFit>,
    /// All slots.
    slots: Vec<SlotFit>,
    /// Where verdicts begin.
    limits: Limits,
}

/// Slots that a table lists.
const MAX_SLOTS: usize = 12;

/// What the adapter is called beside those that the model was calibrated with.
const CANDIDATE: &str = "the adapter";

/// Runs the command.
pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    if arguments.fit_loss > arguments.most_loss {
        return Err(Failure::message(format!(
            "--fit-loss {} is more than --most-loss {}: what fits loses less than what only needs no distillation",
            arguments.fit_loss, arguments.most_loss
        )));
    }
    let profile = profiles::read(&arguments.profile)?;
    let mut given = arguments.beside.clone();
    given.push(Named { name: CANDIDATE.to_owned(), path: arguments.adapter.clone() });
    let frozen = freeze(&arguments.model, &given, &arguments.allow_unused)?;
    check_graph(&frozen, &profile, arguments)?;
    let slots = frozen.adapters.last().map(|(_, slots)| slots.clone()).unwrap_or_default();
    refuse_zeros(&slots, &arguments.adapter)?;
    let limits = Limits { loss: arguments.fit_loss, most: arguments.most_loss, ..Limits::default() };
    let fits = admission::fit(&slots, &profile).map_err(Failure::input)?;
    note_floats(slots.len() - fits.len());
    let expected = match &arguments.data {
        Some(data) => Some(arguments.forecast(&frozen, &profile, (&slots, data), limits)?),
        None => None,
    };
    let verdict = admission::judge(&fits, expected.as_ref().map(|forecast| forecast.expected), limits);
    let report = Report {
        verdict,
        measured: expected.is_some(),
        expected,
        elements: fits.iter().map(|fit| fit.elements).sum(),
        clipped: fits.iter().map(|fit| fit.clipped).sum(),
        clipped_slots: admission::clipped(&fits, limits).into_iter().cloned().collect(),
        slots: fits,
        limits,
    };
    report.print(arguments.json)?;
    Ok(if verdict == Verdict::NeedsDistillation { Outcome::DoesNotHold } else { Outcome::Done })
}

/// Says how many slots are not looked at.
fn note_floats(floats: usize) {
    if floats > 0 {
        let floats = counted(floats, "slot");
        output::note(&format!(
            "the profile has no encoding of {floats}: of what stays a float nothing is clipped"
        ));
    }
}

/// Reads decibels that may be lost.
fn decibels(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(decibels) if decibels >= 0.0 => Ok(decibels),
        _ => Err("expected decibels, a number that is not negative".to_owned()),
    }
}

/// Refuses an adapter that changes nothing: one of whose layers each has a factor of zeros alone.
fn refuse_zeros(slots: &NamedTensors, path: &Path) -> Result<(), Failure> {
    let mut zeros: BTreeMap<(&str, &str), bool> = BTreeMap::new();
    for (name, tensor) in slots {
        let Some(factor) = layers::site_of(name) else { continue };
        let elements = tensor.to_f64().map_err(Failure::input)?;
        *zeros.entry(factor).or_insert(true) &= elements.iter().all(|element| *element == 0.0);
    }
    let sites: BTreeSet<&str> = zeros.keys().map(|(site, _)| *site).collect();
    let silent: BTreeSet<&str> =
        zeros.iter().filter(|(_, zero)| **zero).map(|((site, _), _)| *site).collect();
    if sites.is_empty() || silent.len() < sites.len() {
        return Ok(());
    }
    Err(Failure::message(format!(
        "`{}` changes nothing: at each of its {} a factor is zero everywhere, so every profile fits; see `quad adapter verify`",
        path.display(),
        counted(sites.len(), "layer")
    )))
}

/// Whether the profile is of the graph.
fn check_graph(frozen: &Frozen, profile: &Profile, arguments: &Arguments) -> Result<(), Failure> {
    if frozen.digest == profile.graph {
        return Ok(());
    }
    Err(Failure::message(format!(
        "`{}` is of graph {}, and `{}` with these adapters gives {}: give the model that was calibrated, with the adapters it \
         was calibrated with as --beside unless it was exposed for them; an adapter for other layers, or of a higher rank, \
         needs a model and a profile of its own",
        arguments.profile.display(),
        profile.graph,
        arguments.model.display(),
        frozen.digest
    )))
}

impl Arguments {
    /// Runs the model on the samples of the adapter's task.
    fn forecast(
        &self,
        frozen: &Frozen,
        profile: &Profile,
        (slots, data): (&NamedTensors, &Path),
        limits: Limits,
    ) -> Result<Forecast, Failure> {
        let graph = frozen.module.main().ok_or_else(|| Failure::message("no graph of the model runs"))?;
        let samples = samples::read(data, graph, &self.ignore).map_err(Failure::input)?;
        let counter = Counter::new("running", 5 * samples.len());
        let done = || counter.step();
        if let Some(assumed) = own::assumed(profile) {
            output::note(&assumed);
        }
        let executor = Reference::new(graph).map_err(Failure::input)?;
        let candidate = Candidate { name: CANDIDATE, slots, samples: &samples };
        let own = own::profiles(graph, &frozen.text, &executor, candidate, profile, &done)
            .map_err(Failure::input)?;
        let count = samples.len();
        let subject = Subject::new(CANDIDATE, slots.clone(), samples, None);
        // Samples of the profile first, then those of each of the adapter's own.
        let mut subjects = vec![subject.clone()];
        subjects.extend(own.iter().map(|own| Subject { which: own.measured.clone(), ..subject.clone() }));
        let bench = Bench::new(&frozen.module, subjects, &bench::reference, self.looking.view(), &done)?;
        let psnr =
            |profile: &Profile, subject: usize| bench.decibels(&insert::of_profile(profile), subject, &done);
        let mut of_own = vec![f64::NAN; count];
        for (at, own) in own.iter().enumerate() {
            for (sample, psnr) in own.measured.iter().zip(psnr(&own.profile, at + 1)?) {
                of_own[*sample] = psnr;
            }
        }
        Forecast::new(&psnr(profile, 0)?, &of_own, limits)
            .ok_or_else(|| Failure::message(format!("`{}` has no sample", data.display())))
    }
}

impl Report {
    fn print(&self, json: bool) -> Result<(), Failure> {
        let out = &mut output::stdout();
        if json {
            output::json(out, self)?;
            return Ok(());
        }
        self.print_slots(out)?;
        match &self.expected {
            Some(forecast) => self.print_forecast(forecast, out)?,
            None => {
                writeln!(
                    out,
                    "outputs: not measured, --data is missing; activations may be clipped, and outputs far off, although \
                     slots fit"
                )?;
            }
        }
        if self.measured {
            writeln!(out, "verdict: {}", self.verdict)?;
        } else {
            writeln!(out, "verdict on the slots alone, outputs not measured: {}", self.verdict)?;
        }
        Ok(())
    }

    fn print_forecast(&self, forecast: &Forecast, out: &mut dyn Write) -> io::Result<()> {
        let Forecast { expected, loss, between, samples, tally, .. } = forecast;
        writeln!(
            out,
            "outputs: {:.2} dB against full precision, {:.2} dB with encodings of its own: a loss of {loss:.2} dB ({})",
            expected.psnr,
            expected.own,
            counted(*samples, "sample")
        )?;
        if let Some([low, high]) = between {
            writeln!(
                out,
                "  of samples like these: from {low:.2} to {high:.2} dB in the mean, 95 times of 100"
            )?;
        }
        let Limits { loss: fine, most, .. } = self.limits;
        writeln!(
            out,
            "  sample by sample: {} up to {fine} dB, {} up to {most} dB, {} more",
            tally.fit, tally.fit_with_loss, tally.needs_distillation
        )?;
        if !forecast.is_sure(self.limits) {
            writeln!(out, "  with other samples the verdict may be another: give more of them")?;
        }
        Ok(())
    }

    fn print_slots(&self, out: &mut dyn Write) -> io::Result<()> {
        let share = 100.0 * self.clipped as f64 / self.elements.max(1) as f64;
        writeln!(
            out,
            "{}, {share:.3} % of {} clipped",
            counted(self.slots.len(), "slot"),
            counted(self.elements, "element")
        )?;
        if self.clipped_slots.is_empty() {
            return Ok(());
        }
        let mut table = Table::new(&[Align::Left, Align::Right, Align::Right, Align::Right, Align::Right]);
        table.row(["clipped slot", "share", "largest", "reach", "SQNR"]);
        for slot in self.clipped_slots.iter().take(MAX_SLOTS) {
            table.row([
                slot.slot.clone(),
                format!("{:.2} %", 100.0 * slot.share()),
                format!("{:.4}", slot.magnitude),
                format!("{:.4}", slot.reach),
                format!("{:.1} dB", slot.sqnr),
            ]);
        }
        table.print("  ", out)?;
        match self.clipped_slots.len().saturating_sub(MAX_SLOTS) {
            0 => Ok(()),
            more => writeln!(out, "  and {more} more; --json has all"),
        }
    }
}
