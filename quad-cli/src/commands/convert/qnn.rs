//! Converting for Qualcomm's tensor processors: a folder with the graph in the forms that their tools and runtimes take.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use quad_ir::text;
use quad_ir::whole_file::WholeFile;
use quad_passes::registry::Registry;
use quad_qnn::emit::ep_context;
use quad_qnn::emit::net_json::{self, NetJson};
use quad_qnn::emit::package::{self, Package};
use quad_qnn::model::QnnGraph;
use quad_qnn::native::Native;
use quad_qnn::soc::Soc;
use quad_qnn::table::{Setting, lower};
use quad_qnn::target::Qnn;
use serde::Serialize;

use super::runtime::{self, Options};
use crate::exit::{Failure, Outcome};
use crate::frozen::Named;
use crate::table::{bytes, counted};
use crate::targets::make_legal;
use crate::{adapters, model, output, packed, qnn};

/// The names of files in the folder.
const BINARY: &str = "model.bin";
const DLC: &str = "model.dlc";
const EP_CONTEXT: &str = "model.onnx";
const NET_JSON: &str = "model_net.json";
const WEIGHTS: &str = "weights";

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
    let mut prepared = runtime::prepared(model, options, &mut notes)?;
    let sizes = options.sizes.iter().cloned().collect();
    make_legal(&mut prepared.module, &Qnn { soc }, &sizes, registry, &mut notes)?;
    let graph = model::main_graph(&prepared.module, model).map_err(Failure::input)?;
    let lowered = lower(graph, Setting { soc }).map_err(Failure::input)?;
    let digest = packed::digest(&prepared.module).map_err(Failure::input)?;
    let mut page = Package::of(graph, &lowered, soc, &digest);
    fs::create_dir_all(out.join(WEIGHTS)).map_err(|error| cannot_write(out, &error))?;
    write_text(out, &lowered.graph, &mut page)?;
    let mut binary = None;
    match native {
        Ok(native) => binary = Some(write_native(out, &lowered.graph, soc, &native, &mut page)?),
        Err(missing) => notes.push(format!("no context binary and no DLC are written: {missing}")),
    }
    write_adapters(out, &prepared, options, &mut page)?;
    if let Some(path) = &options.keep {
        text::write_files(path, &prepared.module).map_err(Failure::input)?;
    }
    // The page comes last: where it is, everything that it names is.
    write_file(&out.join(package::FILE), &json(&page)?)?;
    let files = page.files.into_values().chain([package::FILE.to_owned()]).collect();
    let operators = lowered.graph.nodes.len();
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

/// The text form with its constants, which need no library.
fn write_text(out: &Path, graph: &QnnGraph, page: &mut Package) -> Result<(), Failure> {
    write_file(&out.join(NET_JSON), &json(&NetJson::of(graph))?)?;
    for (name, bytes) in net_json::weights(graph) {
        write_file(&out.join(WEIGHTS).join(name), bytes)?;
    }
    page.files.insert("net_json".to_owned(), NET_JSON.to_owned());
    page.files.insert("weights".to_owned(), WEIGHTS.to_owned());
    Ok(())
}

/// What the libraries make: context binary, DLC, and the ONNX model around the binary. How large the binary is.
fn write_native(
    out: &Path,
    graph: &QnnGraph,
    soc: Soc,
    native: &Native,
    page: &mut Package,
) -> Result<u64, Failure> {
    let about = native.about().map_err(Failure::input)?;
    if let Some(warning) = &about.warning {
        output::note(warning);
    }
    let compiled = native.compile(graph, soc).map_err(Failure::input)?;
    if compiled.soc_model != soc.model() {
        let found = compiled.soc_model;
        return Err(Failure::message(format!("QNN compiled for chip {found}, not for {soc}")));
    }
    write_file(&out.join(BINARY), &compiled.binary)?;
    write_file(&out.join(EP_CONTEXT), &ep_context::model(graph, BINARY))?;
    // The library writes the file itself; it gets its name when it is whole.
    let part = out.join(format!("{DLC}.{}.part", std::process::id()));
    native.write_dlc(graph, &part).map_err(Failure::input)?;
    fs::rename(&part, out.join(DLC)).map_err(|error| cannot_write(out, &error))?;
    for (what, file) in [("context_binary", BINARY), ("ep_context", EP_CONTEXT), ("dlc", DLC)] {
        page.files.insert(what.to_owned(), file.to_owned());
    }
    page.libraries = Some(about.build);
    Ok(compiled.binary.len() as u64)
}

/// The slots of each adapter, in a file of its name.
fn write_adapters(
    out: &Path,
    prepared: &adapters::Prepared,
    options: &Options,
    page: &mut Package,
) -> Result<(), Failure> {
    for (index, Named { name, .. }) in options.adapters.iter().enumerate() {
        let file = format!("{name}.safetensors");
        runtime::write_slots(&out.join(&file), prepared, index, name)?;
        page.files.insert(format!("adapter {name}"), file);
    }
    Ok(())
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, Failure> {
    let mut bytes = serde_json::to_vec_pretty(value).map_err(Failure::input)?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn write_file(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let write = || {
        let mut file = WholeFile::create(path)?;
        file.write_all(bytes)?;
        file.publish()
    };
    write().map_err(|error: std::io::Error| cannot_write(path, &error))
}

fn cannot_write(path: &Path, error: &std::io::Error) -> Failure {
    Failure::message(format!("{}: {error}", path.display()))
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
