//! `quad new`: the first job for a model and its adapters.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use quad_build::job::{self, Draft, DraftAdapter};
use quad_ir::graph::Graph;
use quad_ir::ops::Input;
use quad_ir::ops::source::Binding;

use crate::destination::Files;
use crate::exit::{Failure, Outcome};
use crate::frozen::{Named, named};
use crate::samples::{GivenData, given};
use crate::table::counted;
use crate::{adapters, model, output, picture};

/// Write a job for `quad build`, with what is found of a model and its adapters.
///
/// The file says everything that can be said of a job, with comments. Paths in it are relative to its folder.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  quad new unet.onnx --adapter edge=lora/edge --adapter style=style.safetensors
  quad new unet.onnx --adapter edge=lora/edge --data edge=samples/edge.npz --data samples/ -o jobs/edge.toml")]
pub(crate) struct Arguments {
    /// The model, .onnx or .quad.
    model: PathBuf,
    /// An adapter, a file or folder. May be given several times.
    #[arg(long = "adapter", value_name = "NAME=PATH", value_parser = named, required = true)]
    adapters: Vec<Named>,
    /// Samples of an adapter, or of all that have none of their own. May be given several times.
    #[arg(long = "data", value_name = "[NAME=]PATH", value_parser = given)]
    data: Vec<GivenData>,
    /// The file to write.
    #[arg(short, long, value_name = "JOB.toml", default_value = job::FILE)]
    output: PathBuf,
    /// Write over a file that is there.
    #[arg(long)]
    force: bool,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let out = &arguments.output;
    if out.exists() && !arguments.force {
        let out = out.display();
        return Err(Failure::message(format!("`{out}` is there already; --force writes over it")));
    }
    let files = Files::default().reads_model(&arguments.model);
    let files = files.reads_adapters(arguments.adapters.iter().map(|adapter| &adapter.path));
    files.reads_data(arguments.data.iter().map(|data| &data.path)).writes([out]).check()?;
    let module = model::open(&arguments.model).map_err(Failure::input)?;
    let graph = model::main_graph(&module, &arguments.model).map_err(Failure::input)?;
    let unknown = arguments
        .data
        .iter()
        .filter_map(|data| data.name.as_ref())
        .find(|name| !arguments.adapters.iter().any(|adapter| adapter.name == **name));
    if let Some(name) = unknown {
        return Err(Failure::message(format!("--data {name}=..: there is no adapter `{name}`")));
    }
    let mut places = Vec::new();
    for adapter in &arguments.adapters {
        let own = arguments.data.iter().find(|data| data.name.as_ref() == Some(&adapter.name));
        let data = own.map(|data| arguments.relative(&data.path)).transpose()?;
        places.push((arguments.relative(&adapter.path)?, data, about(&adapter.path)?));
    }
    let drafted = arguments.adapters.iter().zip(&places).map(|(adapter, (path, data, about))| DraftAdapter {
        name: &adapter.name,
        path,
        data: data.as_deref(),
        about: about.clone(),
    });
    let shared = arguments.data.iter().find(|data| data.name.is_none());
    let shared = shared.map(|data| arguments.relative(&data.path)).transpose()?;
    let text = job::template(&Draft {
        model: &arguments.relative(&arguments.model)?,
        interface: interface(graph),
        sizes: quad_build::targets::symbols(&module).into_iter().collect(),
        adapters: drafted.collect(),
        data: shared.as_deref(),
    });
    picture::write(out, text.as_bytes())?;
    writeln!(output::stdout(), "written to {}; `quad build {}` builds it", out.display(), out.display())?;
    Ok(Outcome::Done)
}

impl Arguments {
    /// `path`, which must be there, as the job in its folder names it.
    fn relative(&self, path: &Path) -> Result<PathBuf, Failure> {
        let absolute = |path: &Path| {
            fs::canonicalize(path).map_err(|error| Failure::message(format!("`{}`: {error}", path.display())))
        };
        let folder = self.output.parent().filter(|folder| !folder.as_os_str().is_empty());
        let (path, folder) = (absolute(path)?, absolute(folder.unwrap_or(Path::new(".")))?);
        let common = path.components().zip(folder.components()).take_while(|(a, b)| a == b).count();
        let up = folder.components().skip(common).map(|_| "..");
        // Of nothing in common but the root, the whole path says more.
        if common <= 1 {
            return Ok(path);
        }
        Ok(up
            .map(PathBuf::from)
            .chain(path.components().skip(common).map(|part| PathBuf::from(part.as_os_str())))
            .collect())
    }
}

/// What a model takes and gives.
fn interface(graph: &Graph) -> Vec<String> {
    let symbols = graph.symbols();
    let run = graph
        .inputs()
        .filter(|input| input.producer().is::<Input>().is_some_and(|op| op.binding == Binding::Run));
    let inputs = run.map(|input| {
        let name = input.name().map(ToString::to_string).unwrap_or_default();
        format!("takes {name}: {}", symbols.show_type(input.ty()))
    });
    let outputs = graph.outputs().iter().map(|output| {
        format!("gives {}: {}", output.name, symbols.show_type(graph.value(output.value).ty()))
    });
    inputs.chain(outputs).collect()
}

/// What an adapter is like.
fn about(path: &PathBuf) -> Result<String, Failure> {
    let read = adapters::read([path], &mut Vec::new()).map_err(Failure::input)?;
    let sites: Vec<_> = read.iter().flat_map(|adapter| &adapter.sites).collect();
    let ranks = sites.iter().map(|site| site.rank());
    let (least, most) = (ranks.clone().min().unwrap_or(0), ranks.max().unwrap_or(0));
    let rank = if least == most { format!("rank {most}") } else { format!("ranks {least} to {most}") };
    Ok(format!("{} of {rank}", counted(sites.len(), "layer")))
}
