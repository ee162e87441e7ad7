//! Running a folder that `quad convert --target qnn` wrote, on the simulator of Qualcomm's tensor processors.

use std::fs;
use std::path::Path;
use std::time::Instant;

use quad_frontends::data::npz;
use quad_ir::dtype::DType;
use quad_ir::interpret::NamedTensors;
use quad_ir::tensor::Tensor;
use quad_qnn::emit::package::{FILE, Package, Port};
use quad_qnn::native::Program;
use quad_qnn::soc::Soc;

use super::{Arguments, report};
use crate::adapters::Given;
use crate::exit::{Failure, Outcome};
use crate::{packed, qnn};

/// Whether `path` is such a folder.
pub(super) fn is_package(path: &Path) -> bool {
    path.join(FILE).is_file()
}

/// Runs the folder that `arguments` name.
pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let started = Instant::now();
    let folder = &arguments.model;
    let page = read(folder)?;
    let soc: Soc = page.soc.parse().map_err(Failure::input)?;
    let native = qnn::native(arguments.qnn_libs.clone())?.map_err(Failure::input)?;
    let file = page.files.get("context_binary").ok_or_else(|| {
        Failure::message(format!(
            "`{}` has no context binary: it was converted where the QNN libraries were not found",
            folder.display()
        ))
    })?;
    let binary = fs::read(folder.join(file)).map_err(|error| at(&folder.join(file), &error))?;
    let mut inputs = slots(&page, &arguments.adapter)?;
    let mut archive = npz::Archive::open(&arguments.inputs).map_err(Failure::input)?;
    let names: Vec<String> = archive.names().map(ToOwned::to_owned).collect();
    for name in names {
        let port = page.inputs.iter().find(|port| port.name == name);
        let dtype = port.and_then(|port| port.element.parse::<DType>().ok());
        let tensor = archive.read(&name, dtype).map_err(Failure::input)?;
        inputs.insert(name, tensor);
    }
    let stored = page.stored(&inputs).map_err(Failure::input)?;
    let read = started.elapsed();
    let runs = native.execute(&Program::Binary(binary), soc, &[stored]).map_err(Failure::input)?;
    let ran = started.elapsed().saturating_sub(read);
    let outputs = page.tensors(&runs[0]).map_err(Failure::input)?;
    npz::write(&arguments.outputs, &outputs).map_err(Failure::input)?;
    report(arguments, &outputs, read.as_secs_f64(), ran.as_secs_f64())
}

fn read(folder: &Path) -> Result<Package, Failure> {
    let path = folder.join(FILE);
    let text = fs::read_to_string(&path).map_err(|error| at(&path, &error))?;
    serde_json::from_str(&text).map_err(|error| Failure::message(format!("{}: {error}", path.display())))
}

fn at(path: &Path, error: &std::io::Error) -> Failure {
    Failure::message(format!("{}: {error}", path.display()))
}

/// What the adapter `given` fills, or zeros without one.
fn slots(page: &Package, given: &[Given]) -> Result<NamedTensors, Failure> {
    match given {
        [] => page
            .inputs
            .iter()
            .filter(|port| port.binding == "adapter")
            .map(|port| Ok((port.name.clone(), zeros(port)?)))
            .collect(),
        [Given { path, strength: 1.0 }] => {
            let file = packed::open(path).ok_or_else(|| {
                Failure::message(format!(
                    "`{}` is no packed adapter; `quad adapter pack` makes one for the graph that --keep wrote",
                    path.display()
                ))
            })?;
            packed::slots_for(&file, &page.model).map_err(Failure::input)
        }
        _ => Err(Failure::message("a converted model takes one packed adapter, without a strength")),
    }
}

/// The stored numbers that stand for zero.
fn zeros(port: &Port) -> Result<Tensor, Failure> {
    let sizes: Vec<usize> = port.sizes.iter().map(|size| *size as usize).collect();
    let count = sizes.iter().product();
    let zero =
        port.offset.as_ref().and_then(|offsets| offsets.first()).map_or(0, |offset| -i64::from(*offset));
    let dtype: DType = port.element.parse().map_err(Failure::input)?;
    if dtype.is_float() {
        Tensor::zeros(dtype, &sizes)
    } else {
        Tensor::from_i64(dtype, &sizes, vec![zero; count])
    }
    .map_err(Failure::input)
}
