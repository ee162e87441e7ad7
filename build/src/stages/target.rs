//! One target: the quantized graph, made legal and written as the target takes it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use quad_backends::report::Report;
use quad_backends::target::{self, Target};
use quad_frontends::onnx;
use quad_ir::graph::Graph;
use quad_ir::module::Module;
use quad_ir::text;
use quad_litert::target::LITERT;
use quad_passes::check::PACK;
use quad_passes::lora::interface::adapter_inputs;
use quad_passes::registry::Registry;
use quad_qnn::native::{Libraries, Native, NotFound, Places};
use quad_qnn::soc::Soc;
use quad_qnn::target::Qnn;
use quad_quantize::encoding::Range;
use quad_quantize::precision::Pattern;
use quad_quantize::profile::make::make;
use quad_quantize::profile::{Anchor, Profile};
use quad_quantize::rules::Rules;
use quad_quantize::statistics::{AdapterStatistics, BASE, Model, Statistics, weights};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::freeze::FrozenStage;
use super::runner::{Place, Runner, read};
use super::{BuildError, Failed};
use crate::bundle::{GRAPH, PACK_FILE, PROFILE, Slot};
use crate::cache::{self, Product};
use crate::emit::{self, litert};
use crate::frozen::{self, Freezing, Frozen};
use crate::job::{IoLayout, IoTypes, Job, TargetJob, TargetKind};
use crate::packed;
use crate::quantized::{self, Form};
use crate::targets::{TARGETS, make_legal};

/// The folder of what goes into the bundle.
pub(super) const FILES: &str = "files";
/// The graph with its weights, to be run.
pub(super) const MODULE: &str = "module.quad";
const FACTS: &str = "facts.json";
const SEPARATE: &str = "separate.json";

/// What is known of a target's model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TargetFacts {
    /// A digest of the graph that runs, which packed adapters name.
    pub model: String,
    /// A digest of the encodings of the profile, which packed adapters name: not of why they are these.
    pub encodings: String,
    /// Whose encodings all share, and why.
    pub anchor: (String, String),
    /// The model, by its name in the folder of the target.
    pub file: String,
    /// Bytes of the model.
    pub bytes: u64,
    /// Operations of the model.
    pub operators: usize,
    /// What an adapter fills.
    pub slots: Vec<Slot>,
    /// Nodes of the graph, those that the target takes, and pieces that it falls into.
    pub coverage: [usize; 3],
    /// Why nodes are not taken, with how many.
    pub reasons: Vec<(String, usize)>,
    /// The command that compiles the model, where there is one.
    pub next: Option<String>,
}

/// What became of one target.
pub(crate) struct Made {
    pub(crate) product: Product,
    pub(crate) facts: TargetFacts,
    pub(crate) kind: TargetKind,
}

impl Made {
    /// The folder of what goes into the bundle.
    pub(crate) fn files(&self) -> PathBuf {
        self.product.folder.join(FILES)
    }
}

/// Makes what `target` takes, with the encodings of `profile`.
pub(super) fn target(
    run: &Runner<'_>,
    frozen: &FrozenStage,
    target: &TargetJob,
    profile: &Product,
) -> Result<Made, BuildError> {
    // What is written for QNN depends on the libraries that are found.
    let found =
        run.options.qnn.as_ref().filter(|_| target.kind == TargetKind::Qnn).map(|_| libraries(target));
    let inputs = json!({
        "frozen": frozen.product.digest, "profile": profile.digest, "target": target, "sizes": run.job.sizes,
        "libraries": found.map(|found| found.map_or_else(|_| "none".to_owned(), |found| format!("{found:?}"))),
    });
    let product = run.stage("target", target.kind.name(), &inputs, |place| {
        Writer { run, frozen, target, place }.write(super::profile::read(profile)?)
    })?;
    let facts = Runner::reading("target", read(&product, FACTS))?;
    Ok(Made { product, facts, kind: target.kind })
}

/// Bytes of the same model for the same target, without branches for adapters: what a model takes that has one adapter merged
/// into its weights. `None` where there is no such model.
pub(super) fn separate(
    run: &Runner<'_>,
    frozen: &FrozenStage,
    target: &TargetJob,
) -> Result<Option<u64>, BuildError> {
    let inputs = json!({
        "model": frozen.sources.model, "pipeline": run.job.pipeline, "precision": run.job.precision, "target": target,
        "sizes": run.job.sizes,
    });
    let product = run.stage("separate", target.kind.name(), &inputs, |place| {
        let bytes = Writer { run, frozen, target, place: &mut *place }.separate()?;
        place.write(SEPARATE, &bytes)
    })?;
    Runner::reading("separate", read(&product, SEPARATE))
}

struct Writer<'w, 'p> {
    run: &'w Runner<'w>,
    frozen: &'w FrozenStage,
    target: &'w TargetJob,
    place: &'w mut Place<'p>,
}

/// The model in the folder, and how large it is.
struct Emitted {
    file: String,
    bytes: u64,
    operators: usize,
}

impl Writer<'_, '_> {
    fn write(mut self, mut profile: Profile) -> Result<(), Failed> {
        let files = self.place.folder.join(FILES);
        fs::create_dir(&files)?;
        let module = self.module(&mut profile)?;
        let main = module.main().ok_or("no graph of the model runs")?;
        profile.write(&files.join(PROFILE))?;
        fs::write(files.join(GRAPH), format!("quad 1\n\n{}", text::print_graph(main)?))?;
        let pack = module.graph(PACK).ok_or("the graph that packs adapters is gone")?;
        text::write_files(&files.join(PACK_FILE), &Module { graphs: vec![pack.clone()] })?;
        let (report, emitted, next) = self.emit(&files, &module)?;
        let facts = TargetFacts {
            model: packed::digest(&module)?,
            encodings: encodings_digest(&profile),
            anchor: (profile.anchor.choice.clone(), profile.anchor.reason.clone()),
            file: emitted.file,
            bytes: emitted.bytes,
            operators: emitted.operators,
            slots: adapter_inputs(main).map(|slot| Slot::of(slot, &profile)).collect(),
            coverage: match &report {
                Some(report) => [report.nodes, report.legal_nodes, report.partitions.len()],
                None => [main.nodes().count(), main.nodes().count(), 1],
            },
            reasons: report
                .iter()
                .flat_map(Report::by_reason)
                .map(|(why, nodes)| (why, nodes.len()))
                .collect(),
            next,
        };
        self.place.write(FACTS, &facts)
    }

    /// Writes `module` as the target takes it; what the target says of it, and the command that compiles it.
    fn emit(
        &mut self,
        files: &Path,
        module: &Module,
    ) -> Result<(Option<Report>, Emitted, Option<String>), Failed> {
        let main = module.main().ok_or("no graph of the model runs")?;
        Ok(match self.target.kind {
            TargetKind::Onnx => (None, write_onnx(files, main)?, None),
            TargetKind::Qnn => {
                let report = report(&Qnn { soc: self.soc()? }, main);
                (Some(report), self.write_qnn(files, module)?, None)
            }
            _ => {
                let target = self.litert()?;
                let (emitted, next) = self.write_litert(files, module, &*target)?;
                (Some(report(&*target, main)), emitted, next)
            }
        })
    }

    /// The quantized graph, as the target takes it, with weights that are there and not to be made.
    fn module(&mut self, profile: &mut Profile) -> Result<Module, Failed> {
        let mut module = self.frozen.module()?.clone();
        let form = self.form();
        if form == Form::Qdq {
            let wide = quantized::keep_wide_biases(profile);
            if wide > 0 {
                self.place.notes.push(format!("onnx: {wide} biases of 64 bits stay floats"));
            }
        }
        let report = quantized::quantize(&mut module, &self.frozen.facts.digest, profile, form)?;
        let name = self.target.kind.name();
        let floats = report.unexpected().count();
        if floats > 0 {
            let note = format!("{name}: {floats} values stay floats, and the profile does not say why");
            self.place.notes.push(note);
        }
        self.legalize(&mut module)?;
        module.graphs.iter_mut().for_each(|graph| drop(graph.compact()));
        let path = self.place.folder.join(MODULE);
        text::write_files(&path, &module)?;
        Ok(text::read_files(&path)?)
    }

    /// Runs the passes of the target.
    fn legalize(&mut self, module: &mut Module) -> Result<(), Failed> {
        let registry = Registry::standard();
        let sizes = &self.run.job.sizes;
        let mut notes = Vec::new();
        match self.target.kind {
            TargetKind::Onnx => {}
            TargetKind::Qnn => {
                make_legal(module, &Qnn { soc: self.soc()? }, sizes, &registry, &mut notes)?;
            }
            _ => make_legal(module, &*self.litert()?, sizes, &registry, &mut notes)?,
        }
        self.place.notes.append(&mut notes);
        Ok(())
    }

    /// Bytes of the model without branches for adapters. Nothing is run for it: how many bytes there are does not depend on
    /// the ranges of values, so that any do.
    fn separate(&mut self) -> Result<Option<u64>, Failed> {
        let job = self.run.job;
        let freezing = Freezing { pipeline: job.pipeline.clone(), ..Freezing::default() };
        let frozen = frozen::freeze(&job.model, &[], &freezing)?;
        // Of a model that takes adapters itself there is none without.
        if frozen.module.graphs.len() > 1 {
            return Ok(None);
        }
        let mut profile = any_profile(job, &frozen, &self.target.rules)?;
        let form = self.form();
        if form == Form::Qdq {
            quantized::keep_wide_biases(&mut profile);
        }
        let mut module = frozen.module;
        quantized::quantize(&mut module, &frozen.digest, &profile, form)?;
        self.legalize(&mut module)?;
        let files = self.place.folder.join(FILES);
        fs::create_dir(&files)?;
        // A target that does not take the model alone has no such size.
        let emitted = self.emit(&files, &module);
        cache::remove(&files)?;
        // What there is to say of the target was said of the model with adapters.
        self.place.notes.clear();
        if let Err(error) = &emitted {
            self.place.notes.push(format!(
                "{} does not take the model without adapters: {error}",
                self.target.kind.name()
            ));
        }
        Ok(emitted.ok().map(|(_, emitted, _)| emitted.bytes))
    }

    fn form(&self) -> Form {
        if self.target.kind == TargetKind::Onnx { Form::Qdq } else { Form::Typed }
    }

    fn soc(&self) -> Result<Soc, Failed> {
        Ok(self.target.arch.as_deref().unwrap_or_default().parse::<Soc>()?)
    }

    fn litert(&self) -> Result<Box<dyn Target>, Failed> {
        Ok(target::find(TARGETS, self.target.kind.name(), self.target.arch.as_deref())?)
    }

    fn write_litert(
        &mut self,
        files: &Path,
        module: &Module,
        target: &dyn Target,
    ) -> Result<(Emitted, Option<String>), Failed> {
        let main = module.main().ok_or("no graph of the model runs")?;
        let said = if target.name() == LITERT.name { None } else { emit::left_out(main, target) };
        match said {
            None => {}
            Some(said) if self.target.partial => self.place.notes.push(said),
            Some(said) => {
                return Err(format!(
                    "{said}\n`partial = true` writes the model nevertheless, and leaves these nodes to another processor"
                )
                .into());
            }
        }
        let options = litert::Options {
            half_weights: false,
            io_types: self.target.io_types.map(|types| match types {
                IoTypes::Keep => litert::IoTypes::Keep,
                IoTypes::I32 => litert::IoTypes::I32,
                IoTypes::Quantized => litert::IoTypes::Quantized,
            }),
            channels_last: self.target.io_layout == IoLayout::Nhwc,
        };
        let file = "model.tflite";
        let litert::Written { bytes, operators } =
            litert::write(&files.join(file), module, target, &options)?;
        let next = litert::compile_command(target, self.target.arch.as_deref(), Path::new(file));
        Ok((Emitted { file: file.to_owned(), bytes, operators }, next))
    }

    fn write_qnn(&mut self, files: &Path, module: &Module) -> Result<Emitted, Failed> {
        let native = match (&self.run.options.qnn, libraries(self.target)) {
            (Some(launcher), Ok(libraries)) => Some(Native { libraries, launcher: launcher.clone() }),
            (_, Err(missing)) if self.target.libraries.is_some() => return Err(missing.into()),
            (_, Err(missing)) => {
                let note = format!("qnn: no context binary and no DLC are written: {missing}");
                self.place.notes.push(note);
                None
            }
            (None, Ok(_)) => {
                let note =
                    "qnn: no context binary and no DLC are written: this program does not call libraries";
                self.place.notes.push(note.to_owned());
                None
            }
        };
        let folder = emit::qnn::write(files, module, self.soc()?, native.as_ref())?;
        self.place.notes.extend(folder.warning.clone());
        let (operators, binary) = (folder.operators, folder.binary);
        folder.publish(files)?;
        let file = if binary.is_some() { "model.bin" } else { "model_net.json" };
        let mut bytes = 0;
        for (name, path) in cache::files(files)? {
            // What a device needs: the binary, or else the graph with its constants.
            if name == file || (binary.is_none() && name.starts_with("weights/")) {
                bytes += fs::metadata(path)?.len();
            }
        }
        Ok(Emitted { file: file.to_owned(), bytes, operators })
    }
}

/// A profile of the model `frozen`, which takes no adapters, with the same range for every value.
fn any_profile(job: &Job, frozen: &Frozen, rules: &str) -> Result<Profile, Failed> {
    let main = frozen.module.main().ok_or("no graph of the model runs")?;
    let ranges = [("*".parse::<Pattern>()?, Range { min: -8.0, max: 8.0 })];
    let given = AdapterStatistics::given(main, BASE, &frozen.base, &ranges)?;
    let (digest, pipeline, text) = (frozen.digest.clone(), frozen.pipeline.clone(), frozen.text.clone());
    let statistics = Statistics {
        model: Model { digest, pipeline, text },
        weights: weights(main)?,
        adapters: BTreeMap::from([(BASE.to_owned(), given)]),
    };
    let anchor = Anchor { choice: BASE.to_owned(), ..Anchor::default() };
    Ok(make(&statistics, &anchor, &job.encoding(Rules::preset(rules)?))?.profile)
}

/// A digest of the encodings of `profile`, whichever adapters they were chosen among.
fn encodings_digest(profile: &Profile) -> String {
    let plain = Profile { anchor: Anchor::default(), ..profile.clone() };
    quad_quantize::digest::of_text(&plain.to_text())
}

fn libraries(target: &TargetJob) -> Result<Libraries, NotFound> {
    Places::from_environment(target.libraries.clone()).find()
}

fn report(target: &dyn Target, main: &Graph) -> Report {
    Report::new(target.name(), main, &target.verdicts(main))
}

fn write_onnx(files: &Path, main: &Graph) -> Result<Emitted, Failed> {
    let file = "model.qdq.onnx";
    onnx::write(main, &files.join(file))?;
    let mut bytes = 0;
    for (name, path) in cache::files(files)? {
        if name.starts_with(file) {
            bytes += fs::metadata(path)?.len();
        }
    }
    Ok(Emitted { file: file.to_owned(), bytes, operators: main.nodes().count() })
}
