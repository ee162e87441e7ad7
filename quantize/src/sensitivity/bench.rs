//! The bench: adapters with data, what the full-precision model makes of it, and what quantized ones make of it.
//!
//! Scores, choices, groups, sweeps and admission all ask the same question: what are the outputs with these encodings? The
//! full-precision outputs are computed once. A set of encodings is put into a copy of the graph, as `insert-quant` does,
//! and run on the same samples. Slots are stored and read back here, so that the quantized graph is the same for all
//! adapters and takes floats; the numbers are those of the packed form.

use std::collections::BTreeSet;
use std::slice;

use quad_ir::graph::{Graph, ValueRef};
use quad_ir::interpret::NamedTensors;
use quad_ir::module::Module;
use quad_ir::ops::Input;
use quad_ir::ops::source::Binding;
use quad_ir::tensor::Tensor;
use quad_passes::context::Context;
use quad_passes::pass::PassError;

use super::divergence::Divergence;
use crate::executor::{ExecuteError, Executor, Reference, RunAllError, Samples, run_all};
use crate::insert::{self, Encodings};
use crate::metrics::images::Likeness;
use crate::metrics::{MetricError, errors};
use crate::simulate::{self, StoreError};

/// A model could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The module has no graph that runs.
    #[error("no graph of the model runs: there are several, and none is called @main")]
    NoMain,
    /// An adapter has no sample.
    #[error("adapter `{0}` has no sample: it is measured on data, give it some")]
    NoSamples(String),
    /// The executor could not be prepared.
    #[error(transparent)]
    Execute(#[from] ExecuteError),
    /// A run did not finish.
    #[error("adapter `{adapter}`: {error}")]
    Run {
        /// The adapter.
        adapter: String,
        /// Why.
        error: RunAllError,
    },
    /// The encodings do not fit the graph.
    #[error(transparent)]
    Insert(#[from] PassError),
    /// A slot cannot be stored.
    #[error("adapter `{adapter}`, slot `{slot}`: {error}")]
    Store {
        /// The adapter.
        adapter: String,
        /// The slot.
        slot: String,
        /// Why.
        error: StoreError,
    },
    /// Outputs cannot be compared.
    #[error("adapter `{adapter}`: {error}")]
    Metric {
        /// The adapter.
        adapter: String,
        /// Why.
        error: MetricError,
    },
}

/// Makes an executor of a graph.
pub type Prepare = dyn for<'g> Fn(&'g Graph) -> Result<Box<dyn Executor + 'g>, ExecuteError> + Sync;

/// The interpreter, for [`Bench::new`].
pub fn reference<'g>(graph: &'g Graph) -> Result<Box<dyn Executor + 'g>, ExecuteError> {
    Ok(Box::new(Reference::new(graph)?))
}

/// What an adapter is measured with.
#[derive(Clone, Debug)]
pub struct Subject {
    /// What it is called.
    pub name: String,
    /// What it fills the slots of the full-precision graph with.
    pub slots: NamedTensors,
    /// Its samples.
    pub samples: Samples,
    /// The numbers of those that are run.
    pub which: Vec<usize>,
}

impl Subject {
    /// At most `most` of `samples`, spread over all of them.
    pub fn new(name: &str, slots: NamedTensors, samples: Samples, most: Option<usize>) -> Self {
        let which = (0..samples.len()).collect();
        let all = Self { name: name.to_owned(), slots, samples, which };
        most.map_or_else(|| all.clone(), |most| all.limited(most))
    }

    /// The same with at most `most` of the samples, spread over all.
    #[must_use]
    pub fn limited(&self, most: usize) -> Self {
        let (len, count) = (self.which.len(), most.min(self.which.len()));
        let which = (0..count).map(|at| self.which[at * len / count]).collect();
        Self { which, ..self.clone() }
    }
}

/// How outputs are looked at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct View {
    /// The spread that outputs can have, for PSNR and SSIM; `None` takes that of all full-precision outputs.
    pub peak: Option<f64>,
    /// Pixels of an image along each side that lie in the channels of an output; see
    /// [`Planes::of`](crate::metrics::images::Planes::of).
    pub block: usize,
    /// What the score is.
    pub divergence: Divergence,
}

impl Default for View {
    fn default() -> Self {
        Self { peak: None, block: 1, divergence: Divergence::default() }
    }
}

/// What quantization does to the outputs for one adapter.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Fidelity {
    /// The mean over samples of the peak signal-to-noise ratio, in decibels.
    pub psnr: f64,
    /// The mean structural similarity, where outputs are images.
    pub ssim: Option<f64>,
    /// Equation (8): the mean divergence.
    pub qss: f64,
}

/// A sample whose outputs are equal to the last bit counts as this many decibels in means.
pub const CEILING: f64 = 150.0;

/// A model, adapters with data, and their outputs in full precision.
pub struct Bench<'m> {
    module: &'m Module,
    prepare: &'m Prepare,
    subjects: Vec<Subject>,
    expected: Vec<Vec<NamedTensors>>,
    view: View,
    peak: f64,
}

impl<'m> Bench<'m> {
    /// Runs `module` in full precision for all `subjects`. `done` is told of each run that has ended.
    pub fn new(
        module: &'m Module,
        subjects: Vec<Subject>,
        prepare: &'m Prepare,
        view: View,
        done: &(dyn Fn() + Sync),
    ) -> Result<Self, BenchError> {
        let executor = prepare(module.main().ok_or(BenchError::NoMain)?)?;
        let mut expected = Vec::with_capacity(subjects.len());
        for subject in &subjects {
            if subject.which.is_empty() {
                return Err(BenchError::NoSamples(subject.name.clone()));
            }
            expected.push(subject.run(&*executor, &subject.slots, done)?);
        }
        let peak = match view.peak {
            Some(peak) => peak,
            None => {
                spread(&expected).map_err(|error| BenchError::Metric { adapter: "any".to_owned(), error })?
            }
        };
        Ok(Self { module, prepare, subjects, expected, view, peak })
    }

    /// What is measured.
    pub fn subjects(&self) -> &[Subject] {
        &self.subjects
    }

    /// The full-precision outputs of a subject, by its number.
    pub fn expected(&self, subject: usize) -> &[NamedTensors] {
        &self.expected[subject]
    }

    /// The spread that PSNR and SSIM are taken with.
    pub fn peak(&self) -> f64 {
        self.peak
    }

    /// The outputs of the subjects `which` with `encodings`, by subject and sample.
    pub fn outputs(
        &self,
        encodings: &Encodings,
        which: &[usize],
        done: &(dyn Fn() + Sync),
    ) -> Result<Vec<Vec<NamedTensors>>, BenchError> {
        let module = self.quantized(encodings)?;
        let executor = (self.prepare)(module.main().ok_or(BenchError::NoMain)?)?;
        let run = |subject: &usize| {
            let subject = &self.subjects[*subject];
            subject.run(&*executor, &subject.stored(encodings)?, done)
        };
        which.iter().map(run).collect()
    }

    /// What `encodings` do to the outputs of the subjects `which`, in that order.
    pub fn measure(
        &self,
        encodings: &Encodings,
        which: &[usize],
        done: &(dyn Fn() + Sync),
    ) -> Result<Vec<Fidelity>, BenchError> {
        let found = self.outputs(encodings, which, done)?;
        which.iter().zip(&found).map(|(subject, found)| self.fidelity(*subject, found)).collect()
    }

    /// What `found`, the outputs of a subject, are against those in full precision.
    pub fn fidelity(&self, subject: usize, found: &[NamedTensors]) -> Result<Fidelity, BenchError> {
        let expected = &self.expected[subject];
        let fidelity = || {
            let qss = self.view.divergence.score(expected, found)?;
            let (psnr, ssim) = self.likeness(expected, found)?;
            Ok(Fidelity { psnr, ssim, qss })
        };
        fidelity().map_err(|error| BenchError::Metric { adapter: self.subjects[subject].name.clone(), error })
    }

    /// Mean PSNR and SSIM over all float outputs of all samples.
    fn likeness(
        &self,
        expected: &[NamedTensors],
        found: &[NamedTensors],
    ) -> Result<(f64, Option<f64>), MetricError> {
        let (mut psnr, mut ssim) = (Vec::new(), Vec::new());
        for (expected, found) in expected.iter().zip(found) {
            for (name, tensor) in expected.iter().filter(|(_, tensor)| tensor.dtype().is_float()) {
                let Some(found) = found.get(name) else { continue };
                let likeness = Likeness::between(tensor, found, self.view.block, self.peak)?;
                psnr.push(likeness.psnr);
                ssim.extend(likeness.ssim);
            }
        }
        let mean = |figures: &[f64]| figures.iter().sum::<f64>() / figures.len() as f64;
        let ssim = (!ssim.is_empty() && ssim.len() == psnr.len()).then(|| mean(&ssim));
        Ok((errors::mean_decibels(&psnr, CEILING).ok_or(MetricError::Empty)?, ssim))
    }

    /// The peak signal-to-noise ratio of each sample of a subject with `encodings`, in decibels and at most [`CEILING`], in
    /// the order of [`Subject::which`].
    pub fn decibels(
        &self,
        encodings: &Encodings,
        subject: usize,
        done: &(dyn Fn() + Sync),
    ) -> Result<Vec<f64>, BenchError> {
        let found = self.outputs(encodings, &[subject], done)?;
        let samples = self.expected[subject].iter().zip(found.iter().flatten());
        let decibels = |(expected, found): (&NamedTensors, &NamedTensors)| {
            Ok(self.likeness(slice::from_ref(expected), slice::from_ref(found))?.0)
        };
        let failed = |error| BenchError::Metric { adapter: self.subjects[subject].name.clone(), error };
        samples.map(decibels).collect::<Result<_, MetricError>>().map_err(failed)
    }

    /// The graph that runs with everything quantized but the slots, which stay floats.
    fn quantized(&self, encodings: &Encodings) -> Result<Module, BenchError> {
        let main = self.module.main().ok_or(BenchError::NoMain)?;
        let slots: BTreeSet<&str> =
            main.inputs().filter(is_slot).filter_map(|input| Some(&**input.name()?)).collect();
        let rest = encodings.iter().filter(|(name, _)| !slots.contains(name.as_str()));
        let rest: Encodings = rest.map(|(name, wanted)| (name.clone(), wanted.clone())).collect();
        let mut module = Module { graphs: vec![main.clone()] };
        insert::insert(&mut module, &rest, &mut Context::default())?;
        Ok(module)
    }
}

/// Whether an adapter fills `input`.
fn is_slot(input: &ValueRef<'_>) -> bool {
    input.producer().is::<Input>().is_some_and(|op| op.binding == Binding::Adapter)
}

impl Subject {
    /// The outputs of `executor` with `slots`.
    fn run(
        &self,
        executor: &dyn Executor,
        slots: &NamedTensors,
        done: &(dyn Fn() + Sync),
    ) -> Result<Vec<NamedTensors>, BenchError> {
        run_all(executor, &self.samples, slots, self.which.iter().copied(), done)
            .map_err(|error| BenchError::Run { adapter: self.name.clone(), error })
    }

    /// The slots as they are read back once they were stored with `encodings`.
    fn stored(&self, encodings: &Encodings) -> Result<NamedTensors, BenchError> {
        let stored = |(slot, tensor): (&String, &Tensor)| {
            let Some(wanted) = encodings.get(slot) else { return Ok((slot.clone(), tensor.clone())) };
            let stored = simulate::store(tensor, wanted).map_err(|error| BenchError::Store {
                adapter: self.name.clone(),
                slot: slot.clone(),
                error,
            })?;
            Ok((slot.clone(), stored.real))
        };
        self.slots.iter().map(stored).collect()
    }
}

/// The spread of all float outputs of all samples.
fn spread(outputs: &[Vec<NamedTensors>]) -> Result<f64, MetricError> {
    let (mut low, mut high) = (f32::INFINITY, f32::NEG_INFINITY);
    for tensor in outputs.iter().flatten().flat_map(NamedTensors::values) {
        if tensor.dtype().is_float() {
            for number in tensor.to_f32()?.iter() {
                (low, high) = (low.min(*number), high.max(*number));
            }
        }
    }
    Ok(f64::from(high) - f64::from(low))
}
