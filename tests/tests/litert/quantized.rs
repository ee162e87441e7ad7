//! Quantized models for LiteRT: the trained UNet of the testbed, and exported ones in miniature, in 8 and in 16 bits.
//!
//! `adapters` asks whether one file serves several adapters, as well as the interpreter does; `layers` whether each tensor of
//! stored integers is what `quad_litert::kernels` says.

mod adapters;
mod layers;
mod page;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::OnceLock;

use libtest_mimic::{Failed, Trial};
use quad_frontends::data::npz;
use quad_frontends::data::safetensors::SafeTensorsFile;
use quad_ir::dtype::DType;
use quad_ir::interpret::NamedTensors;
use quad_ir::module::Module;
use quad_ir::tensor::Tensor;
use quad_ir::text::read_files;
use quad_litert::target::finishing;
use quad_passes::check;
use quad_passes::lora::interface::adapter_inputs;
use quad_passes::registry::Registry;
use quad_tests::{paths, testbed};

use crate::{after, named, vendors};

/// The precisions that every model is quantized with.
const PRECISIONS: [&str; 2] = ["w8a16", "w8a8"];

/// A model that is quantized.
#[derive(Clone, Copy, Debug)]
struct Source {
    /// `testbed`, or one of `tests/fixtures/tiny`.
    name: &'static str,
    /// The adapters that share its encodings.
    adapters: &'static [&'static str],
}

const TESTBED: Source = Source { name: "testbed", adapters: &["inpaint", "edge", "relight"] };
const TINY: Source = Source { name: "unet2_base.legacy17", adapters: &["taskA", "taskB", "taskC"] };
const SOURCES: [Source; 4] = [
    TESTBED,
    TINY,
    Source { name: "unet2_base.dynamo23", adapters: &[] },
    Source { name: "unet4_lora_taskB.dynamo18", adapters: &[] },
];

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("quantized testbed with adapters", || adapters::check(prepared(TESTBED)?)),
        Trial::test("quantized unet2 with adapters", || adapters::check(prepared(TINY)?)),
        Trial::test("quantized testbed by command", || adapters::command(prepared(TESTBED)?)),
        Trial::test("quantized layers", layers::check),
        Trial::test("quantized w8a16 legalized", legalize),
        Trial::test("quantized w8a16 compiled", compile)
            .with_ignored_flag(std::env::var_os("QUAD_COMPILERS").is_none()),
    ]
}

/// Runs a command of the program.
pub(crate) fn quad(arguments: &[&str]) -> Result<(), Failed> {
    let all = ["quad"].into_iter().chain(arguments.iter().copied());
    let code = quad_cli::run(&Registry::standard(), all.map(str::to_owned));
    if code == ExitCode::SUCCESS { Ok(()) } else { Err(format!("quad {} fails", arguments.join(" ")).into()) }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// A model in all precisions.
struct Prepared {
    source: Source,
    folder: tempfile::TempDir,
    quantized: Vec<Quantized>,
}

/// A model in one precision.
struct Quantized {
    precision: &'static str,
    /// What `quad quantize` wrote.
    typed: PathBuf,
    /// The same as a module.
    module: Module,
    /// What becomes of it before it is written.
    legal: Module,
    /// What `quad convert` wrote.
    written: PathBuf,
    /// What each adapter fills in, and zeros for `none`.
    slots: BTreeMap<&'static str, NamedTensors>,
}

/// The model quantized, which happens once for all trials.
fn prepared(source: Source) -> Result<&'static Prepared, Failed> {
    static ALL: [OnceLock<Result<Prepared, String>>; SOURCES.len()] =
        [const { OnceLock::new() }; SOURCES.len()];
    let index = SOURCES.iter().position(|other| other.name == source.name).ok_or("a model of the list")?;
    let made = ALL[index].get_or_init(|| {
        Prepared::new(source).map_err(|failed| failed.message().unwrap_or("no message").to_owned())
    });
    made.as_ref().map_err(|message| message.as_str().into())
}

impl Prepared {
    fn new(source: Source) -> Result<Self, Failed> {
        let folder = tempfile::tempdir()?;
        let stats = text(&folder.path().join("stats"));
        let (model, adapters) = (text(&source.model()?), source.options());
        let adapters: Vec<&str> = adapters.iter().map(String::as_str).collect();
        let data = source.data(folder.path())?;
        let data: Vec<&str> = data.iter().map(String::as_str).collect();
        let calibrate = ["calibrate", &model, "--samples", "2", "-o", &stats];
        quad(&[&calibrate[..], &adapters, &data].concat())?;
        let quantized = PRECISIONS
            .into_iter()
            .map(|precision| source.quantized(precision, [&model, &stats], &adapters, folder.path()))
            .collect::<Result<_, Failed>>()?;
        Ok(Self { source, folder, quantized })
    }
}

impl Source {
    fn is_testbed(self) -> bool {
        self.name == TESTBED.name
    }

    fn model(self) -> Result<PathBuf, Failed> {
        if self.is_testbed() {
            return Ok(testbed::model());
        }
        Ok(paths::fixtures().join("tiny/models").join(named(self.name)?.file))
    }

    fn adapter(self, task: &str) -> PathBuf {
        if self.is_testbed() {
            testbed::adapter(task)
        } else {
            paths::fixtures().join("tiny/lora").join(task).join("peft")
        }
    }

    /// The options that name all adapters.
    fn options(self) -> Vec<String> {
        let named = |task: &&str| ["--adapter".to_owned(), format!("{task}={}", text(&self.adapter(task)))];
        self.adapters.iter().flat_map(named).collect()
    }

    /// The options that name what it is calibrated with. Samples that the program does not read as they are, are written into
    /// `folder`.
    fn data(self, folder: &Path) -> Result<Vec<String>, Failed> {
        if self.is_testbed() {
            let of = |task: &&str| {
                ["--data".to_owned(), format!("{task}={}", text(&testbed::samples(task, "calib")))]
            };
            let ignored = ["--ignore", "target"].map(str::to_owned);
            return Ok(self.adapters.iter().flat_map(of).chain(ignored).collect());
        }
        let (model, samples) = (named(self.name)?, folder.join("samples"));
        std::fs::create_dir(&samples)?;
        let module = model.import()?;
        for case in &model.cases[..2] {
            npz::write(&samples.join(format!("{case}.npz")), &model.inputs(&module, case)?)?;
        }
        Ok(vec!["--data".to_owned(), text(&samples)])
    }

    fn quantized(
        self,
        precision: &'static str,
        [model, stats]: [&str; 2],
        adapters: &[&str],
        folder: &Path,
    ) -> Result<Quantized, Failed> {
        let [profile, typed, written] =
            ["profile", "quad", "tflite"].map(|kind| folder.join(format!("{precision}.{kind}")));
        let [profile_at, typed_at, written_at] = [&profile, &typed, &written].map(|path| text(path));
        let rules = ["--anchor", "unified", "--precision", precision, "--rules", "litert"];
        quad(&[&["profile", "make", stats, "-o", &profile_at][..], &rules].concat())?;
        quad(&[&["quantize", model, "--profile", &profile_at, "-o", &typed_at][..], adapters].concat())?;
        quad(&["convert", &typed_at, "--target", "litert", "-o", &written_at])?;
        let module = read_files(&typed)?;
        let legal = after(module.clone(), &finishing(false))?;
        let graph = module.main().ok_or("a graph runs")?;
        let zeros = adapter_inputs(graph)
            .filter_map(|slot| Some((slot.name()?.to_string(), check::absent(slot)?)))
            .collect();
        let mut slots = BTreeMap::from([("none", zeros)]);
        for task in self.adapters {
            let packed = folder.join(format!("{precision}.{task}.safetensors"));
            quad(&["adapter", "pack", &typed_at, &text(&self.adapter(task)), "-o", &text(&packed)])?;
            slots.insert(task, SafeTensorsFile::open(&packed)?.tensors().iter().cloned().collect());
        }
        Ok(Quantized { precision, typed, module, legal, written, slots })
    }

    /// The inputs that are none of an adapter, of `task`'s sample number `index`; those of the first adapter for `none`.
    fn inputs(self, task: &str, index: usize) -> Result<NamedTensors, Failed> {
        if !self.is_testbed() {
            let model = named(self.name)?;
            let case = model.cases.get(index).ok_or("as many samples")?;
            return model.inputs(&model.import()?, case);
        }
        let task = if task == "none" { self.adapters[0] } else { task };
        let file = SafeTensorsFile::open(&testbed::samples(task, "eval"))?;
        let all: NamedTensors = file.tensors().iter().cloned().collect();
        let tensor = |name: &str| all.get(name).ok_or_else(|| format!("there is no {name}"));
        let (samples, states) = (tensor("sample")?, tensor("encoder_hidden_states")?);
        let sizes = [&[1], &samples.sizes()[1..]].concat();
        let length: usize = sizes.iter().product();
        let sample = samples.to_f32()?[index * length..][..length].to_vec();
        let of_states = [&[1], &states.sizes()[states.sizes().len() - 2..]].concat();
        Ok(NamedTensors::from([
            ("sample".to_owned(), Tensor::from_f32(DType::F32, &sizes, &sample)?),
            (
                "encoder_hidden_states".to_owned(),
                Tensor::from_f32(DType::F32, &of_states, &states.to_f32()?)?,
            ),
            ("timestep".to_owned(), tensor("timestep")?.clone()),
        ]))
    }
}

impl Quantized {
    /// `inputs` and what `task` fills in.
    fn with_slots(&self, task: &str, inputs: &NamedTensors) -> Result<NamedTensors, Failed> {
        let slots = self.slots.get(task).ok_or("an adapter of the list")?;
        Ok(inputs.iter().chain(slots).map(|(name, tensor)| (name.clone(), tensor.clone())).collect())
    }
}

/// The model as it is written for NeuroPilot, under `name`: the file that all compilers are asked about.
fn for_compilers(name: &str) -> Result<PathBuf, Failed> {
    let prepared = prepared(TESTBED)?;
    let written = prepared.folder.path().join(name);
    let typed = text(&prepared.quantized[0].typed);
    quad(&["convert", &typed, "--target", "neuropilot", "-o", &text(&written)])?;
    Ok(written)
}

/// The plugins of MediaTek, beside two versions of NeuroPilot, and Samsung legalize all of the model.
fn legalize() -> Result<(), Failed> {
    let written = for_compilers("legalized.tflite")?;
    let plugins =
        [("mediatek", "mt6989", "8.2.0"), ("mediatek", "mt6991", "8.2.24"), ("samsung", "E9965", "")];
    plugins.iter().try_for_each(|(vendor, soc, version)| vendors::takes_whole(vendor, soc, version, &written))
}

/// Qualcomm's compiler takes all of the same model.
fn compile() -> Result<(), Failed> {
    let written = for_compilers("compiled.tflite")?;
    let chips = ["SM8650", "SM8750", "SM8850"];
    chips.iter().try_for_each(|soc| vendors::takes_whole("qualcomm", soc, "", &written))
}
