//! `quad calibrate`: takes the statistics that encodings are made of, joins and shows them.

mod given;
mod show;
mod take;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use quad_quantize::precision::Pattern;
use quad_quantize::statistics::{MergeError, Statistics};

use crate::destination::Files;
use crate::exit::{Failure, Outcome};
use crate::frozen::{Named, named};
use crate::samples::{GivenData, given};
use crate::table::counted;
use crate::{output, statistics};

/// Run a model on data for each of its adapters, and note what its values are like.
///
/// The model is made to take the adapters, lowered, and run with each adapter on the data of that adapter: see `quad passes
/// frozen`. For every float value the extremes of each sample and exact counts in fixed bins are kept, so statistics of
/// parts of the data merge into the same bytes as those of all. The model alone is calibrated where data have the name
/// `base`, or no adapter is given.
///
/// Data are a NumPy archive (.npz), a safetensors file, or a folder of them. An array is named after an input. With the
/// sizes of the input it is shared by all samples; with another first size or one more axis in front it has a sample to an
/// index. float16 becomes float32 where the model takes that.
///
/// A calibration that was cut off goes on where it was when it is started again: every few seconds it writes what it has to
/// a checkpoint beside the output, OUT.checkpoint, which it removes at its end. A file of that name that is none of this
/// calibration is left alone: then no checkpoint is written, and a note says so.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  quad calibrate unet.onnx --adapter edit=edit/ --adapter style=style.safetensors \\
      --data edit=edit.npz --data style=style_samples/ -o stats.safetensors
  quad calibrate unet.onnx --adapter edit=edit/ --data edit.npz --data base=photos.npz --samples 64 -o stats.safetensors
  quad calibrate unet.onnx --adapter edit=edit/ --data edit.npz --shard 1/4 -o part1.safetensors
  quad calibrate --merge part1.safetensors part2.safetensors part3.safetensors part4.safetensors -o stats.safetensors
  quad calibrate unet.onnx --adapter edit=edit/ --ranges ranges.json -o stats.safetensors
  quad calibrate --show stats.safetensors")]
pub(crate) struct Arguments {
    /// The model, .onnx or .quad.
    #[arg(required_unless_present_any = ["merge", "show"], conflicts_with_all = ["merge", "show"])]
    model: Option<PathBuf>,
    /// An adapter and what it is called: a LoRA file or folder of any common dialect, or a packed one. May be given several
    /// times.
    #[arg(long, value_name = "NAME=PATH", value_parser = named, conflicts_with_all = ["merge", "show"])]
    adapter: Vec<Named>,
    /// Data of the adapter NAME, or of all that have none of their own. May be given several times.
    #[arg(long, value_name = "[NAME=]PATH", value_parser = given, conflicts_with_all = ["merge", "show"])]
    data: Vec<GivenData>,
    /// Run nothing: take the ranges of values from this JSON object, `{"*": [-8, 8], "*softmax*": [0, 1]}`, in which the
    /// longest pattern that fits a name counts. Weights and slots are looked at as ever.
    #[arg(long, value_name = "RANGES.json", conflicts_with_all = ["merge", "show", "data", "shard", "samples"])]
    ranges: Option<PathBuf>,
    /// Arrays in the data that are no inputs, with * for any text. May be given several times.
    #[arg(long, value_name = "PATTERN")]
    ignore: Vec<Pattern>,
    /// Sites of adapters that the model may lack, with * for any text. May be given several times.
    #[arg(long, value_name = "PATTERN")]
    allow_unused: Vec<String>,
    /// Take the first N samples of each adapter; all by default.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    samples: Option<u64>,
    /// Take part I of N of the samples, for `--merge`.
    #[arg(long, value_name = "I/N", value_parser = shard)]
    shard: Option<Shard>,
    /// Threads; as many as there are processors by default. The result does not depend on them.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    /// Seconds between two checkpoints; 0 writes one after each sample.
    #[arg(long, value_name = "SECONDS", default_value_t = 3)]
    checkpoint_every: u64,
    /// Merge these statistics, of the same model and different samples or adapters.
    #[arg(long, value_name = "STATS", num_args = 1.., conflicts_with = "show", requires = "output")]
    merge: Vec<PathBuf>,
    /// Show these statistics.
    #[arg(long, value_name = "STATS", conflicts_with = "output")]
    show: Option<PathBuf>,
    /// The file to write; it appears whole or not at all.
    #[arg(short, long, value_name = "STATS", required_unless_present = "show")]
    output: Option<PathBuf>,
    /// With --show: print one JSON object, with every value.
    #[arg(long, requires = "show")]
    json: bool,
}

/// A part of the samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shard {
    /// Which one, counted from 0.
    index: usize,
    /// How many there are.
    count: usize,
}

/// Files of statistics do not belong together.
#[derive(Debug, thiserror::Error)]
#[error("`{}` and `{}` cannot be merged", first.display(), second.display())]
struct NoMerge {
    first: PathBuf,
    second: PathBuf,
    source: MergeError,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    if let Some(path) = &arguments.show {
        return show::run(path, arguments.json);
    }
    // The grammar asks for it in all other cases.
    let output = arguments.output.as_deref().ok_or_else(|| Failure::message("-o STATS is missing"))?;
    arguments.files().writes([&output.to_owned()]).check()?;
    let (taken, checkpoint) = match (&arguments.model, &arguments.ranges) {
        (Some(model), Some(ranges)) => (given::take(arguments, model, ranges)?, None),
        (Some(model), None) => take::take(arguments, model, output)?,
        (None, _) => (merge(&arguments.merge)?, None),
    };
    statistics::write(output, &taken).map_err(Failure::input)?;
    if let Some(checkpoint) = checkpoint {
        // One that stays is found to be complete by the next calibration.
        let _ = fs::remove_file(checkpoint);
    }
    report(&taken, output)
}

impl Arguments {
    /// What is read.
    fn files(&self) -> Files {
        let files = self.model.iter().fold(Files::default(), |files, path| files.reads_model(path));
        let files = files.reads_given("the ranges", self.ranges.as_ref());
        let files = self.merge.iter().fold(files, |files, path| files.reads("statistics", path));
        files
            .reads_adapters(self.adapter.iter().map(|adapter| &adapter.path))
            .reads_data(self.data.iter().map(|data| &data.path))
    }
}

/// The statistics of all files in `paths` together.
fn merge(paths: &[PathBuf]) -> Result<Statistics, Failure> {
    let mut paths = paths.iter();
    let first = paths.next().ok_or_else(|| Failure::message("--merge: there is nothing to merge"))?;
    let mut merged = statistics::read(first).map_err(Failure::input)?;
    for path in paths {
        let other = statistics::read(path).map_err(Failure::input)?;
        merged.merge(other).map_err(|source| {
            Failure::input(NoMerge { first: first.clone(), second: path.clone(), source })
        })?;
    }
    Ok(merged)
}

fn report(statistics: &Statistics, path: &Path) -> Result<Outcome, Failure> {
    let out = &mut output::stdout();
    for (name, adapter) in &statistics.adapters {
        let (seen, values) = (adapter.samples.len(), adapter.values.len());
        writeln!(
            out,
            "{name}: {} of {}, {}",
            seen,
            counted(adapter.available as usize, "sample"),
            counted(values, "value")
        )?;
    }
    for (name, _) in statistics.adapters.iter().filter(|(_, adapter)| adapter.samples.is_empty()) {
        output::warning(&format!(
            "`{name}` was run on no sample, so that these statistics make no profile: --shard I/N has none where I is larger \
             than the number of samples; merge the parts that have some with `quad calibrate --merge`"
        ));
    }
    writeln!(out, "written to {}", path.display())?;
    Ok(Outcome::Done)
}

/// Reads `I/N`, counted from 1.
fn shard(text: &str) -> Result<Shard, String> {
    let wrong = || "expected I/N, such as 1/4 for the first of four parts".to_owned();
    let (index, count) = text.split_once('/').ok_or_else(wrong)?;
    let (index, count): (usize, usize) =
        (index.parse().map_err(|_| wrong())?, count.parse().map_err(|_| wrong())?);
    if (1..=count).contains(&index) { Ok(Shard { index: index - 1, count }) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_count_from_one() {
        assert_eq!(shard("1/4"), Ok(Shard { index: 0, count: 4 }));
        assert_eq!(shard("4/4"), Ok(Shard { index: 3, count: 4 }));
        for wrong in ["0/4", "5/4", "1", "1/", "/1", "a/b", "-1/2"] {
            assert!(shard(wrong).is_err(), "{wrong}");
        }
    }
}
