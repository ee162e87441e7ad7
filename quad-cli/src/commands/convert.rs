//! `quad convert`: writes a model in another format, for a runtime, or in the same one as QUAD understands it.

mod qnn;
mod quantizing;
mod runtime;

use std::io::Write;
use std::path::PathBuf;

use quad_passes::registry::Registry;

use crate::destination::Files;
use crate::exit::{Failure, Outcome};
use crate::model::{self, Format};
use crate::output;

/// Write a model as QUAD understands it, or for a runtime.
///
/// Without --target the extension of OUT decides the format. An ONNX model with more than 64 MiB of weights is written as
/// two files, OUT and OUT.data; a text with large weights is OUT and OUT.safetensors. With --target the passes of that
/// target run first, and what it does not take is an error that names every node and reason. Files appear whole or not at
/// all, over files of the same names that are there; converting a model onto itself is safe.
///
/// ONNX has no quantized types: values of one are written between `QuantizeLinear` and `DequantizeLinear`, as pass
/// `unfold-quant` does it. `quad opt -p fold-quant` makes types of those again.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  quad convert unet.onnx -o unet.quad
  quad convert unet.quad -o copy.onnx
  quad convert unet.onnx --target litert -o unet.tflite
  quad convert quantized.quad --target qnn --soc SM8750 --adapter style=style/ -o unet-8750
  quad convert unet.onnx --target litert --precision f16 --adapter style=style/ -o unet.tflite
  quad convert unet.onnx --target neuropilot --adapter style=style/ --profile unet.profile -o unet.tflite
  quad convert unet.onnx --target litert --precision w8a16 --adapter style=style/ --stats unet.stats -o unet.tflite")]
pub(crate) struct Arguments {
    /// The model, .onnx or .quad.
    model: PathBuf,
    /// The file to write: .onnx or .quad, .tflite for LiteRT, or a folder for QNN.
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,
    #[command(flatten)]
    runtime: runtime::Options,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments, registry: &Registry) -> Result<Outcome, Failure> {
    if let Some(target) = &arguments.runtime.target {
        return runtime::run(&arguments.model, &arguments.output, target, &arguments.runtime, registry);
    }
    // Before the model is read, which may take a while.
    let format = Format::of(&arguments.output).map_err(Failure::input)?;
    // What is read of the model stays mapped until all is written, so onto itself is safe.
    Files::default().writes([&arguments.output]).check()?;
    let module = model::open(&arguments.model).map_err(Failure::input)?;
    model::write(&arguments.output, format, &module, &arguments.model)?;
    writeln!(output::stdout(), "written to {}", arguments.output.display())?;
    Ok(Outcome::Done)
}
