//! Converting for Qualcomm's tensor processors: a folder with the graph in the forms that their tools and runtimes take.

use std::io::Write;
use std::path::{Path, PathBuf};

use quad_build::emit::qnn::{self as emit, Folder};
use quad_ir::text;
use quad_passes::registry::Registry;
use quad_qnn::soc::Soc;
use quad_qnn::target::{QNN, Qnn};
use serde::Serialize;

use super::runtime::{self, Options};
use crate::exit::{Failure, Outcome};
use crate::frozen::Named;
use crate::table::{bytes, counted};
use crate::targets::make_legal;
use crate::{adapters, model, output, qnn};

/// Everything that the command has to say.
#[derive(Debug, Serialize)]
struct Report {
    output: PathBuf,
    target: &'static str,
    soc: String,
    operators: usize,
    /// Bytes of the context binary, where there is one.
    binary: Option<u64>,
    files: Vec<String>,
    notes: Vec<String>,
}

/// Converts the model at `model` into the folder `out`.
pub(super) fn run(
    model: &Path,
    out: &Path,
    options: &Options,
    registry: &Registry,
) -> Result<Outcome, Failure> {
    let soc = soc(options)?;
    // A folder of libraries that is named and has none is a fault of the usage, and said before any work.
    let native = match (qnn::native(options.qnn_libs.clone())?, &options.qnn_libs) {
        (Err(missing), Some(_)) => return Err(Failure::input(missing)),
        (native, _) => native,
    };
    let mut notes = Vec::new();
    let mut prepared = runtime::prepared(model, options, &QNN, registry, &mut notes)?;
    let sizes = options.sizes.iter().cloned().collect();
    make_legal(&mut prepared.module, &Qnn { soc }, &sizes, registry, &mut notes)?;
    model::main_graph(&prepared.module, model).map_err(Failure::input)?;
    let mut folder = emit::write(out, &prepared.module, soc, native.as_ref().ok()).map_err(Failure::input)?;
    if let Err(missing) = native {
        notes.push(format!("no context binary and no DLC are written: {missing}"));
    }
    if let Some(warning) = &folder.warning {
        output::note(warning);
    }
    write_adapters(out, &prepared, options, &mut folder)?;
    if let Some(path) = &options.keep {
        text::write_files(path, &prepared.module).map_err(Failure::input)?;
    }
    let (operators, binary) = (folder.operators, folder.binary);
    let files = folder.publish(out).map_err(Failure::input)?;
    let output = out.to_owned();
    let report = Report { output, target: "qnn", soc: soc.to_string(), operators, binary, files, notes };
    report.print(options.json)?;
    Ok(Outcome::Done)
}

fn soc(options: &Options) -> Result<Soc, Failure> {
    let known: Vec<&str> = Soc::all().map(Soc::part).collect();
    let missing = || Failure::message(format!("--target qnn needs --soc, one of {}", known.join(", ")));
    options.arch.as_deref().ok_or_else(missing)?.parse().map_err(Failure::input)
}

/// The slots of each adapter, in a file of its name.
fn write_adapters(
    out: &Path,
    prepared: &adapters::Prepared,
    options: &Options,
    folder: &mut Folder,
) -> Result<(), Failure> {
    for (index, Named { name, .. }) in options.adapters.iter().enumerate() {
        let file = format!("{name}.safetensors");
        runtime::write_slots(&out.join(&file), prepared, index, name)?;
        folder.add(format!("adapter {name}"), file);
    }
    Ok(())
}

impl Report {
    fn print(&self, json: bool) -> Result<(), Failure> {
        let out = &mut output::stdout();
        if json {
            output::json(out, self)?;
            return Ok(());
        }
        self.notes.iter().for_each(|note| output::note(note));
        writeln!(out, "{} for {}", counted(self.operators, "operation"), self.soc)?;
        if let Some(binary) = self.binary {
            writeln!(out, "context binary of {}", bytes(binary))?;
        }
        writeln!(out, "written to {}: {}", self.output.display(), self.files.join(", "))?;
        Ok(())
    }
}
