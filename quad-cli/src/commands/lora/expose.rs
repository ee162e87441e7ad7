//! `quad lora expose`: writes a model whose adapted layers take their LoRA weights as inputs.

use std::io::Write;
use std::path::{Path, PathBuf};

use quad_frontends::data::safetensors::SafeTensorsFile;
use quad_ir::attr::{Attr, AttrValue};
use quad_ir::module::Module;
use quad_passes::lora::expose::{Form, Options, Strength};
use quad_passes::lora::interface::{Interface, SiteTypes};
use serde::Serialize;

use crate::adapters::{self, Prepared, Rank, Settings};
use crate::destination::Files;
use crate::exit::{Failure, Outcome};
use crate::model::{self, Format};
use crate::table::counted;
use crate::{lifted, output};

/// Write a model whose adapted layers take their LoRA weights as inputs.
///
/// The layers are those that the adapters change, and those that have a branch in the model already, because it was
/// exported with an adapter. Beside each comes a branch with three inputs, named after the module: `.lora_A` and `.lora_B`
/// as PEFT stores them, padded to a common rank, and `.lora_scale`, what each rank is multiplied with. The weights of the
/// adapters themselves are not in the result: with zeros it is the base model.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  quad lora expose unet.onnx --adapter style.safetensors -o unet.quad
  quad lora expose unet.onnx --adapter edit=edit/ --adapter style=style.safetensors --rank 16 --strength input -o unet.quad
  quad lora expose unet_with_style.onnx --lifted style.safetensors -o unet.quad
  quad lora expose unet.onnx --adapter pipeline.safetensors --allow-unused 'text_encoder.*' -o exposed.onnx")]
pub(crate) struct Arguments {
    /// The model, .onnx or .quad.
    model: PathBuf,
    /// An adapter, a LoRA file or folder of any common dialect, with a name for messages. May be given several times.
    #[arg(long, value_name = "[NAME=]PATH", value_parser = named)]
    adapter: Vec<Named>,
    /// The file to write, .onnx or .quad.
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,
    /// The rank that adapters are padded to. By default the largest that an adapter has.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    rank: Option<u64>,
    /// Whether strengths are multiplied into the weights when an adapter is packed, `fold`, or stay an input, `input`.
    #[arg(long, value_name = "WHEN", default_value = "fold", value_parser = word::<Strength>)]
    strength: Strength,
    /// Whether factors reach the products as they are, `plain`, or with each rank divided by its largest magnitude,
    /// `rank-normalized`, which one quantization fits for all adapters.
    #[arg(long, value_name = "FORM", default_value = "plain", value_parser = word::<Form>)]
    form: Form,
    /// The checkpoint that the model was exported from, to tell layers by the content of their weights too.
    #[arg(long, value_name = "BASE.safetensors")]
    base: Option<PathBuf>,
    /// Sites of adapters that the model may lack, with * for any text. May be given several times.
    #[arg(long, value_name = "PATTERN")]
    allow_unused: Vec<String>,
    /// A file to write the adapter to that the model was exported with.
    #[arg(long, value_name = "OUT.safetensors")]
    lifted: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// An adapter with a name.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Named {
    name: Option<String>,
    path: PathBuf,
}

/// Everything that the command has to say.
#[derive(Debug, Serialize)]
struct Report {
    output: PathBuf,
    rank: u64,
    /// Whether the model was exported with an adapter, which was taken out.
    lifted: bool,
    sites: Vec<Line>,
    notes: Vec<String>,
}

/// One site.
#[derive(Debug, Serialize)]
struct Line {
    path: String,
    kind: &'static str,
    channels_in: u64,
    channels_out: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    kernel: Vec<u64>,
    rank: u64,
    /// The adapters that change it.
    adapters: Vec<String>,
}

/// Runs the command.
pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    // Before the model is read, which may take a while.
    let format = Format::of(&arguments.output).map_err(Failure::input)?;
    let files =
        Files::default().reads_model(&arguments.model).reads_given("the checkpoint", arguments.base.as_ref());
    let files = files.reads_adapters(arguments.adapter.iter().map(|adapter| &adapter.path));
    files.writes([&arguments.output]).writes(&arguments.lifted).check()?;
    let base = arguments.base.as_ref().map(|path| SafeTensorsFile::open(path)).transpose();
    let base = base.map_err(Failure::input)?;
    let module = model::open(&arguments.model).map_err(Failure::input)?;
    refuse_exposed(&module, &arguments.model)?;
    let mut notes = Vec::new();
    let paths = arguments.adapter.iter().map(|adapter| &adapter.path);
    let mut adapters = adapters::read(paths, &mut notes).map_err(Failure::input)?;
    for (adapter, given) in adapters.iter_mut().zip(&arguments.adapter) {
        adapter.name = given.name.clone().unwrap_or_else(|| adapter.name.clone());
    }
    let settings = Settings {
        rank: arguments.rank.map_or(Rank::Largest, Rank::Fixed),
        options: Options { strength: arguments.strength, form: arguments.form },
        allow_unused: &arguments.allow_unused,
        base: base.as_ref(),
    };
    let mut prepared = adapters::prepare(module, &adapters, &settings).map_err(Failure::input)?;
    prepared.notes.splice(0..0, notes);
    let report = report(arguments, prepared.notes.clone(), &prepared)?;
    if report.sites.is_empty() {
        let found = "there is nothing to expose: give --adapter, or a model that was exported with one";
        return Err(Failure::message(found));
    }
    match (&arguments.lifted, &prepared.lifted) {
        (Some(path), Some(adapter)) => lifted::write(path, adapter).map_err(Failure::input)?,
        (Some(_), None) => {
            return Err(Failure::message("--lifted: the model was not exported with an adapter".to_owned()));
        }
        (None, _) => {}
    }
    model::write(&arguments.output, format, &prepared.module, &arguments.model)?;
    report.print(arguments.json)?;
    Ok(Outcome::Done)
}

/// Layers are exposed once: inputs that a model has already would be left as they are, whatever was asked for.
fn refuse_exposed(module: &Module, path: &Path) -> Result<(), Failure> {
    let interface = Interface::of(module).map_err(Failure::input)?;
    if interface.sites.is_empty() {
        return Ok(());
    }
    Err(Failure::message(format!(
        "`{}` takes adapters already, at {}: bind one with `quad run --adapter` or `quad adapter pack`, or expose the \
         model that it was made from",
        path.display(),
        counted(interface.sites.len(), "layer")
    )))
}

fn report(arguments: &Arguments, notes: Vec<String>, prepared: &Prepared) -> Result<Report, Failure> {
    let interface = Interface::of(&prepared.module).map_err(Failure::input)?;
    let line = |(path, types): (&String, &SiteTypes)| {
        let changes = |name: &String, adapter: &quad_passes::lora::pack::Adapter| {
            adapter.sites.iter().any(|site| site.path == *path).then(|| name.clone())
        };
        let adapters = prepared.adapters.iter().filter_map(|adapter| changes(&adapter.name, adapter));
        Line {
            path: path.clone(),
            kind: if types.kernel().is_empty() { "linear" } else { "conv" },
            channels_in: types.channels_in(),
            channels_out: types.channels_out(),
            kernel: types.kernel(),
            rank: types.rank(),
            adapters: adapters.collect(),
        }
    };
    Ok(Report {
        output: arguments.output.clone(),
        rank: interface.rank().unwrap_or(0),
        lifted: prepared.lifted.is_some(),
        sites: interface.sites.iter().map(line).collect(),
        notes,
    })
}

impl Report {
    fn print(&self, json: bool) -> Result<(), Failure> {
        let out = &mut output::stdout();
        if json {
            output::json(out, self)?;
            return Ok(());
        }
        self.notes.iter().for_each(|note| output::note(note));
        if self.lifted {
            output::note("the adapter that the model was exported with is taken out");
        }
        let convolutions = self.sites.iter().filter(|site| site.kind == "conv").count();
        let sites = counted(self.sites.len(), "layer");
        writeln!(out, "{sites} exposed at rank {}, {convolutions} of them convolutions", self.rank)?;
        writeln!(out, "written to {}", self.output.display())?;
        Ok(())
    }
}

/// Reads `NAME=PATH` or `PATH`.
fn named(text: &str) -> Result<Named, String> {
    match text.split_once('=') {
        Some(("" | ".", _)) => Err("expected a name before the equals sign".to_owned()),
        // A path may have an equals sign itself.
        Some((name, path)) if !PathBuf::from(text).exists() => {
            Ok(Named { name: Some(name.to_owned()), path: path.into() })
        }
        _ => Ok(Named { name: None, path: text.into() }),
    }
}

/// Reads one of the words of `T`.
fn word<T: AttrValue + Default>(text: &str) -> Result<T, String> {
    let mut value = T::default();
    value.set_attr(&Attr::Str(text.to_owned())).map_err(|expected| format!("expected {expected}"))?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adapters_have_names() {
        assert_eq!(named("a=b/c"), Ok(Named { name: Some("a".to_owned()), path: "b/c".into() }));
        assert_eq!(named("b/c"), Ok(Named { name: None, path: "b/c".into() }));
        assert!(named("=b").is_err());
    }

    #[test]
    fn forms_are_words() {
        assert_eq!(word::<Form>("rank-normalized"), Ok(Form::RankNormalized));
        assert_eq!(word::<Strength>("late").expect_err("no such word"), "expected one of fold, input");
    }
}
