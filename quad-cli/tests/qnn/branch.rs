//! A layer with a branch that adapters fill, from a model in floats to the simulator: one graph for three adapters and none.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use libtest_mimic::Failed;
use quad_frontends::data::npz;
use quad_frontends::data::safetensors::{self, SafeTensorsFile};
use quad_ir::dtype::DType;
use quad_ir::graph::{Graph, Output};
use quad_ir::interpret::NamedTensors;
use quad_ir::loc::Loc;
use quad_ir::module::Module;
use quad_ir::ops::MatMul;
use quad_ir::ops::source::Binding;
use quad_ir::tensor::Tensor;
use quad_ir::text;
use quad_ir::types::TensorType;
use quad_qnn::native::Program;
use quad_qnn::soc::Soc;
use serde_json::Value;
use tempfile::TempDir;

use crate::SOC;
use crate::bench::{Runtime, apart, as_qnn, native, onnxruntime, page, quad, run, start, words};
use crate::files::members;
use crate::parts::parts;
use crate::trained::named;

const ROWS: usize = 64;
/// Channels in.
const INPUTS: usize = 64;
/// Channels out.
const OUTPUTS: usize = 48;
const RANK: usize = 4;
const ADAPTERS: [&str; 3] = ["small", "middle", "large"];
/// The chips of generations that multiply 16 bits by 16.
const SOCS: [&str; 4] = ["43", "57", "69", "87"];

/// Numbers from -1 to 1 that look drawn.
fn numbers(seed: u64, count: usize, scale: f32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        let drawn = state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 40;
        (drawn as f32 / (1u32 << 23) as f32 - 1.0) * scale
    };
    (0..count).map(|_| next()).collect()
}

fn model() -> Result<Module, Failed> {
    let mut graph = Graph::new("main");
    let ty = TensorType::known(DType::F32, &[1, ROWS as u64, INPUTS as u64]);
    let x = graph.add_input("x", ty, Binding::Run, Loc::Built)?;
    let weights = Tensor::from_vec(&[INPUTS, OUTPUTS], numbers(1, INPUTS * OUTPUTS, 0.2))?;
    let weights = graph.add_constant(&weights, Loc::Built)?;
    let y = graph.add_value(MatMul, &[x, weights], Loc::Text { line: 1, path: Some("to_q".into()) })?;
    graph.set_outputs(vec![Output { name: "y".into(), value: y }])?;
    Ok(Module { graphs: vec![graph] })
}

/// The quantized layer, with adapters in files.
struct Layer {
    folder: TempDir,
    quantized: PathBuf,
}

impl Layer {
    /// The layer, made when the first test asks for it.
    fn get() -> Result<&'static Self, Failed> {
        static LAYER: OnceLock<Result<Layer, String>> = OnceLock::new();
        let layer = LAYER.get_or_init(|| Self::new().map_err(|failed| format!("{failed:?}")));
        layer.as_ref().map_err(|failed| failed.clone().into())
    }

    fn new() -> Result<Self, Failed> {
        let folder = tempfile::tempdir()?;
        let path = |name: &str| folder.path().join(name);
        text::write_files(&path("model.quad"), &model()?)?;
        for (at, name) in ADAPTERS.iter().enumerate() {
            let scale = 0.1 * (at + 1) as f32;
            let factor = |seed, sizes: [usize; 2]| {
                Tensor::from_vec(&sizes, numbers(seed, sizes.iter().product(), scale))
            };
            let factors = NamedTensors::from([
                ("unet.to_q.lora_A.weight".to_owned(), factor(at as u64 + 10, [RANK, INPUTS])?),
                ("unet.to_q.lora_B.weight".to_owned(), factor(at as u64 + 20, [OUTPUTS, RANK])?),
            ]);
            safetensors::write(&path(&format!("{name}.lora.safetensors")), &factors, &BTreeMap::new())?;
        }
        let samples = Tensor::from_vec(&[4, ROWS, INPUTS], numbers(2, 4 * ROWS * INPUTS, 2.0))?;
        npz::write(&path("data.npz"), &NamedTensors::from([("x".to_owned(), samples)]))?;
        let quantized = path("q.quad");
        let layer = Self { folder, quantized };
        let (stats, profile) = (layer.path("stats"), layer.path("profile"));
        let given = layer.adapters();
        let data = [words(&["--data"]), vec![layer.path("data.npz").into()]].concat();
        let calibrate = [words(&["calibrate"]), vec![layer.path("model.quad").into()], given.clone(), data];
        quad(&[calibrate.concat(), words(&["-o"]), vec![stats.clone().into()]].concat())?;
        let options = words(&["--anchor", "unified", "--rules", "qnn", "-o"]);
        quad(
            &[words(&["profile", "make"]), vec![stats.into()], options, vec![profile.clone().into()]]
                .concat(),
        )?;
        let quantize =
            [words(&["quantize"]), vec![layer.path("model.quad").into()], given, words(&["--profile"])];
        let out = vec![profile.into(), "-o".into(), layer.quantized.clone().into()];
        quad(&[quantize.concat(), out].concat())?;
        Ok(layer)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn adapters(&self) -> Vec<OsString> {
        let given = |name: &&str| named(name, &self.path(&format!("{name}.lora.safetensors")));
        ADAPTERS.iter().flat_map(|name| ["--adapter".into(), given(name)]).collect()
    }

    /// The command that converts the layer for `soc` into `out`.
    fn conversion(&self, soc: &str, out: &Path) -> Vec<OsString> {
        let convert = vec!["convert".into(), self.quantized.clone().into()];
        let target = words(&["--target", "qnn", "--soc", soc, "-o"]);
        let mut keep = out.as_os_str().to_owned();
        keep.push(".kept.quad");
        [convert, self.adapters(), words(&["--keep"]), vec![keep], target, vec![out.into()]].concat()
    }

    /// The layer converted for `soc`, and the graph that was converted.
    fn converted(&self, soc: &str, name: &str) -> Result<(PathBuf, PathBuf), Failed> {
        let out = self.path(name);
        quad(&self.conversion(soc, &out))?;
        Ok((out, self.path(&format!("{name}.kept.quad"))))
    }
}

/// An input that is no sample of the calibration.
fn input() -> Result<Tensor, Failed> {
    Ok(Tensor::from_vec(&[1, ROWS, INPUTS], numbers(3, ROWS * INPUTS, 1.9))?)
}

/// The files of slots of no adapter and of all.
fn slots(package: &Path) -> Vec<Option<PathBuf>> {
    let files = ADAPTERS.iter().map(|name| Some(package.join(format!("{name}.safetensors"))));
    [None].into_iter().chain(files).collect()
}

/// The inputs of a converted layer with the slots in `file`, or with zeros.
fn inputs(package: &Path, file: Option<&Path>) -> Result<NamedTensors, Failed> {
    let mut inputs = NamedTensors::from([("x".to_owned(), input()?)]);
    if let Some(file) = file {
        inputs.extend(SafeTensorsFile::open(file)?.tensors().iter().cloned());
        return Ok(inputs);
    }
    for port in page(package)?.inputs.iter().filter(|port| port.binding == "adapter") {
        assert_eq!(port.offset.as_deref(), Some(&[0][..]), "zero stands for zero");
        let sizes: Vec<usize> = port.sizes.iter().map(|size| *size as usize).collect();
        inputs.insert(port.name.clone(), Tensor::zeros(port.element.parse()?, &sizes)?);
    }
    Ok(inputs)
}

/// The step in which `y` is stored before it becomes real numbers.
fn step(package: &Path) -> Result<f64, Failed> {
    let net: Value = serde_json::from_str(&std::fs::read_to_string(package.join("model_net.json"))?)?;
    let nodes = net["graph"]["nodes"].as_object().ok_or("nodes")?;
    let last = nodes.values().find(|node| node["output_names"][0] == "y").ok_or("what makes y")?;
    let stored = last["input_names"][0].as_str().ok_or("its input")?;
    let scale = &net["graph"]["tensors"][stored]["quant_params"]["scale_offset"]["scale"];
    Ok(scale.as_f64().filter(|scale| *scale > 0.0).ok_or("a scale")?)
}

/// On every chip one compiled graph gives what the interpreter gives, within two steps, for three adapters and none.
pub(crate) fn adapters() -> Result<(), Failed> {
    let (layer, native) = (Layer::get()?, native()?);
    let mut report = String::new();
    let mut wrong = false;
    for name in SOCS {
        let (package, kept) = layer.converted(name, &format!("package-{name}"))?;
        let (page, step, soc) = (page(&package)?, step(&package)?, name.parse::<Soc>()?);
        let all: Vec<NamedTensors> =
            slots(&package).iter().map(|file| inputs(&package, file.as_deref())).collect::<Result<_, _>>()?;
        let runs: Vec<_> = all.iter().map(|tensors| page.stored(tensors)).collect::<Result<_, _>>()?;
        let binary = Program::Binary(std::fs::read(package.join("model.bin"))?);
        let outputs = native.execute(&binary, soc, &runs)?;
        let mut base = None;
        for (output, file) in outputs.iter().zip(slots(&package)) {
            let found = page.tensors(output)?["y"].clone();
            let x = NamedTensors::from([("x".to_owned(), input()?)]);
            let expected = run(&kept, file.as_deref(), &x)?["y"].clone();
            // Both are whole steps, as real numbers.
            let off = (apart(&found, &expected)? / step).round();
            let moved = (apart(&found, base.get_or_insert_with(|| found.clone()))? / step).round();
            writeln!(report, "{soc}, {file:?}: {off} steps off, {moved} steps from no adapter")?;
            wrong |= off > 2.0 || (file.is_some() && moved < 100.0);
        }
    }
    if wrong { Err(report.into()) } else { Ok(()) }
}

/// The oldest chips refuse slots of 16 bits, and say why and what to do.
pub(crate) fn refused() -> Result<(), Failed> {
    let layer = Layer::get()?;
    let out = layer.path("refused");
    let output = start(&layer.conversion("SM8350", &out), true)?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let expected =
        ["multiplies 16 bits by 16 bits", "SM8350 (Snapdragon 888, v68)", "give the weights 8 bits"];
    match expected.iter().find(|part| !said.contains(**part)) {
        None if output.status.code() == Some(2) && !out.exists() => Ok(()),
        _ => Err(format!("{:?}: {said}", output.status).into()),
    }
}

/// Converting twice gives the same context binary and the same members of the DLC, but for the time that it was written.
pub(crate) fn reproducible() -> Result<(), Failed> {
    let layer = Layer::get()?;
    let (first, _) = layer.converted(SOC, "first")?;
    let (second, _) = layer.converted(SOC, "second")?;
    let read = |folder: &Path, name: &str| std::fs::read(folder.join(name));
    for name in
        ["model.bin", "model.onnx", "model.qdq.onnx", "model_net.json", "quad-qnn.json", "sdk/model.onnx"]
    {
        if read(&first, name)? != read(&second, name)? {
            return Err(format!("{name} differs").into());
        }
    }
    let [first, second] = [first, second].map(|folder| read(&folder, "model.dlc"));
    let (first, second) = (members(&first?)?, members(&second?)?);
    for name in ["model", "model.params", "model.params.bin"] {
        if first.get(name).is_none_or(Vec::is_empty) || first.get(name) != second.get(name) {
            return Err(format!("member {name} differs, of {:?}", first.keys()).into());
        }
    }
    Ok(())
}

/// ONNX Runtime's provider for QNN and the CPU store the same, give or take a step, wherever they read the same: two steps
/// where the tensor processor is off by more than rounding. In a whole run of the layer it is two as well, with every adapter.
pub(crate) fn provider() -> Result<(), Failed> {
    let (package, _) = Layer::get()?.converted(SOC, "provider")?;
    let (page, step, model) = (page(&package)?, step(&package)?, package.join("model.qdq.onnx"));
    let all: Result<Vec<NamedTensors>, Failed> =
        slots(&package).iter().map(|file| as_qnn(&page, &inputs(&package, file.as_deref())?)).collect();
    let (all, mut wrong) = (all?, String::new());
    let parts = parts(&model, &all, &package)?;
    assert!(parts.len() >= 4, "two factors, a product and a sum are stored");
    for part in parts.iter().filter(|part| part.apart > 2.0 || part.apart > 1.0 + part.slack) {
        writeln!(wrong, "{}, {:?}: {} steps apart", part.name, part.kind, part.apart)?;
    }
    let (cpu, provider) =
        (onnxruntime(Runtime::Cpu, &model, &all)?, onnxruntime(Runtime::Provider, &model, &all)?);
    for ((cpu, provider), name) in cpu.iter().zip(&provider).zip(["none"].iter().chain(&ADAPTERS)) {
        let off = (apart(&cpu["y"], &provider["y"])? / step).round();
        if off > 2.0 {
            writeln!(wrong, "the layer with adapter {name}: {off} steps apart")?;
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.into()) }
}

/// The folder for the SDK: a model in floats whose adapters are weights, numbers of each adapter, and encodings for all.
pub(crate) fn sdk() -> Result<(), Failed> {
    let layer = Layer::get()?;
    let out = layer.path("sdk");
    let output = start(&layer.conversion(SOC, &out), true)?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    let read = |name: &str| std::fs::read_to_string(out.join("sdk").join(name));
    let lora: Value = serde_json::from_str(&read("lora.json")?)?;
    assert_eq!(lora["quant_updatable_mode"], "none");
    assert_eq!(lora["use_cases"].as_object().map(serde_json::Map::len), Some(ADAPTERS.len()));
    assert_eq!(lora["adapters"]["small"]["rank"], RANK);
    let points: Value = serde_json::from_str(&read("attach_points.json")?)?;
    assert_eq!(points["to_q"]["lora_a"][0], "to_q.lora_A", "{points}");
    assert_eq!(read("lora_config.yaml")?.matches("lora_weights").count(), ADAPTERS.len());
    let overrides: Value = serde_json::from_str(&read("quantization_overrides.json")?)?;
    for name in read("lora_weight_list.txt")?.lines() {
        assert!(overrides["param_encodings"][name].is_array(), "{name} has no encoding");
    }
    // With zeros for an adapter the float model is the layer alone, which the quantized one is near.
    let x = NamedTensors::from([("x".to_owned(), input()?)]);
    let kept = layer.path("sdk.kept.quad");
    let (float, integers) = (run(&out.join("sdk/model.onnx"), None, &x)?, run(&kept, None, &x)?);
    let largest = integers["y"].to_f64()?.iter().fold(0.0, |most: f64, value| most.max(value.abs()));
    let off = apart(&float["y"], &integers["y"])?;
    if off > largest * 1e-3 { Err(format!("{off} of {largest}").into()) } else { Ok(()) }
}
