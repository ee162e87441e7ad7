//! What commands have in common that run a model in full precision and quantized: its adapters, their data and
//! statistics, and how outputs are looked at.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use quad_ir::graph::Graph;
use quad_quantize::insert::Encodings;
use quad_quantize::precision::Pattern;
use quad_quantize::rules::graph;
use quad_quantize::sensitivity::bench::{self, Bench, BenchError, Subject, View};
use quad_quantize::sensitivity::divergence::Divergence;
use quad_quantize::sensitivity::layers::{self, Layers};
use quad_quantize::statistics::{Statistics, digest};

use crate::destination::Files;
use crate::exit::Failure;
use crate::freezing::freeze;
use crate::frozen::{Frozen, Named, named};
use crate::progress::Progress;
use crate::samples::{self, GivenData, given};
use crate::statistics;

/// A model with adapters, their data and their statistics.
#[derive(Debug, clap::Args)]
pub(crate) struct Measuring {
    /// The model, .onnx or .quad.
    model: PathBuf,
    /// An adapter, a file or folder. May be given several times.
    #[arg(long = "adapter", value_name = "NAME=PATH", value_parser = named, required = true)]
    adapters: Vec<Named>,
    /// Samples that an adapter is measured on: .npz, .safetensors or a folder of them; without a name, of all adapters
    /// that have none of their own.
    #[arg(long = "data", value_name = "[NAME=]PATH", value_parser = given, required = true)]
    data: Vec<GivenData>,
    /// Arrays in the data that are no inputs, with * for any text.
    #[arg(long, value_name = "PATTERN")]
    ignore: Vec<Pattern>,
    /// Sites of adapters that the model may lack, with * for any text.
    #[arg(long, value_name = "PATTERN")]
    allow_unused: Vec<String>,
    /// The statistics that encodings are made of, from `quad calibrate`.
    #[arg(long, value_name = "STATS.safetensors")]
    stats: PathBuf,
    /// Run so many samples of each adapter, spread over all, instead of all.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    samples: Option<u32>,
    #[command(flatten)]
    pub(crate) looking: Looking,
}

/// How outputs are looked at.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Looking {
    /// What the score of an adapter is: js and kl read outputs as logits, js-histogram and kl-histogram as values.
    #[arg(long, value_name = "js|kl|js-histogram|kl-histogram|mse|cosine", default_value_t)]
    pub(crate) divergence: Divergence,
    /// The spread that outputs can have, for PSNR and SSIM: 2 for images in [-1, 1]. Without it, the spread that those in
    /// full precision have.
    #[arg(long, value_name = "X", value_parser = positive)]
    peak: Option<f64>,
    /// Outputs are images of which blocks of N x N pixels lie in neighbouring channels, as PyTorch's `pixel_unshuffle`
    /// makes them.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    shuffle: u32,
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number > 0.0 => Ok(number),
        _ => Err("expected a positive number".to_owned()),
    }
}

impl Looking {
    pub(crate) fn view(self) -> View {
        View { peak: self.peak, block: self.shuffle as usize, divergence: self.divergence }
    }
}

/// Statistics with their graph.
#[derive(Debug)]
pub(crate) struct Calibrated {
    pub(crate) statistics: Statistics,
    pub(crate) graph: Graph,
}

impl Calibrated {
    /// Reads the statistics at `path`.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let statistics = statistics::read(path).map_err(Failure::input)?;
        let graph = graph::read(&statistics.model.text).map_err(Failure::input)?;
        Ok(Self { statistics, graph })
    }
}

/// A model that can be measured.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) frozen: Frozen,
    pub(crate) calibrated: Calibrated,
    /// The adapters with their samples, in the order of the command line.
    pub(crate) subjects: Vec<Subject>,
}

impl Opened {
    /// The names of the adapters.
    pub(crate) fn names(&self) -> Vec<&str> {
        self.subjects.iter().map(|subject| subject.name.as_str()).collect()
    }

    /// The adapters with at most `most` samples each.
    pub(crate) fn limited(&self, most: usize) -> Vec<Subject> {
        self.subjects.iter().map(|subject| subject.limited(most)).collect()
    }

    /// The outputs of `subjects` in full precision.
    pub(crate) fn bench(
        &self,
        subjects: &[Subject],
        view: View,
        done: &(dyn Fn() + Sync),
    ) -> Result<Bench<'_>, Failure> {
        let module = &self.frozen.module;
        Bench::new(module, subjects.to_vec(), &bench::reference, view, done).map_err(Failure::input)
    }

    /// The layers of the values that have `encodings`.
    pub(crate) fn layers(&self, encodings: &Encodings) -> Result<Layers, Failure> {
        let main = self.frozen.module.main().ok_or_else(|| Failure::message("no graph of the model runs"))?;
        Ok(layers::layers(main, encodings.keys()))
    }
}

/// How many runs it takes to run all `subjects` once.
pub(crate) fn runs(subjects: &[Subject]) -> usize {
    subjects.iter().map(|subject| subject.which.len()).sum()
}

impl Measuring {
    /// What is read.
    pub(crate) fn files(&self) -> Files {
        Files::default()
            .reads_model(&self.model)
            .reads("the statistics", &self.stats)
            .reads_adapters(self.adapters.iter().map(|adapter| &adapter.path))
            .reads_data(self.data.iter().map(|data| &data.path))
    }

    /// Reads everything, and checks that it belongs together.
    pub(crate) fn open(&self) -> Result<Opened, Failure> {
        self.check_data()?;
        let frozen = freeze(&self.model, &self.adapters, &self.allow_unused)?;
        let calibrated = Calibrated::read(&self.stats)?;
        self.check(&frozen, &calibrated.statistics)?;
        let main = frozen.module.main().ok_or_else(|| Failure::message("no graph of the model runs"))?;
        let own: BTreeMap<Option<&str>, &PathBuf> =
            self.data.iter().map(|data| (data.name.as_deref(), &data.path)).collect();
        let mut subjects = Vec::new();
        for (name, slots) in &frozen.adapters {
            let path = own.get(&Some(name.as_str())).or_else(|| own.get(&None)).ok_or_else(|| {
                Failure::message(format!("there are no data for `{name}`: `--data {name}=PATH` gives some"))
            })?;
            let all = samples::read(path, main, &self.ignore).map_err(Failure::input)?;
            subjects.push(Subject::new(name, slots.clone(), all, self.samples.map(|most| most as usize)));
        }
        Ok(Opened { frozen, calibrated, subjects })
    }

    /// Whether the names in `--data` are those of adapters, each once.
    fn check_data(&self) -> Result<(), Failure> {
        for (at, data) in self.data.iter().enumerate() {
            if self.data[..at].iter().any(|other| other.name == data.name) {
                let whose = data.name.as_ref().map_or_else(|| "all".to_owned(), |name| format!("`{name}`"));
                return Err(Failure::message(format!(
                    "--data: there are data for {whose} twice; put the files into one folder and give that"
                )));
            }
            if let Some(name) = &data.name
                && !self.adapters.iter().any(|adapter| adapter.name == *name)
            {
                return Err(Failure::message(format!("--data {name}=..: there is no adapter `{name}`")));
            }
        }
        Ok(())
    }

    fn check(&self, frozen: &Frozen, statistics: &Statistics) -> Result<(), Failure> {
        if statistics.model.digest != frozen.digest {
            return Err(Failure::message(format!(
                "`{}` has statistics of another graph, {}; this one is {}: calibrate this model, with the same adapters",
                self.stats.display(),
                statistics.model.digest,
                frozen.digest
            )));
        }
        for (name, slots) in &frozen.adapters {
            let Some(adapter) = statistics.adapters.get(name) else {
                let known: Vec<&str> = statistics.adapters.keys().map(String::as_str).collect();
                return Err(Failure::message(format!(
                    "`{}` has no statistics of adapter `{name}`, only of {}",
                    self.stats.display(),
                    known.join(", ")
                )));
            };
            if adapter.digest != digest(slots) {
                return Err(Failure::message(format!(
                    "`{}` has statistics of another adapter called `{name}`, whose slots differ: give the one that was \
                     calibrated, or calibrate with this one",
                    self.stats.display()
                )));
            }
        }
        Ok(())
    }
}

/// Runs that are counted.
pub(crate) struct Counter {
    progress: Progress,
    done: AtomicUsize,
    total: usize,
}

impl Counter {
    pub(crate) fn new(label: &'static str, total: usize) -> Self {
        Self { progress: Progress::new(label), done: AtomicUsize::new(0), total }
    }

    /// One more run has ended.
    pub(crate) fn step(&self) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        self.progress.set(done, self.total);
    }
}

impl From<BenchError> for Failure {
    fn from(error: BenchError) -> Self {
        Self::input(error)
    }
}
