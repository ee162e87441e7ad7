//! What the LiteRT backend writes runs in LiteRT and computes what the interpreter computes.

mod operations;
mod quantized;
mod vendors;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};
use quad_frontends::data::safetensors::SafeTensorsFile;
use quad_ir::interpret::{Interpreter, NamedTensors};
use quad_ir::module::Module;
use quad_ir::tensor::Tensor;
use quad_ir::text::NoWeights;
use quad_litert::flatbuffer;
use quad_litert::lower::{Settings, lower};
use quad_litert::schema::Builtin;
use quad_litert::target::finishing;
use quad_passes::pipeline::Pipeline;
use quad_passes::registry::Registry;
use quad_passes::runner::{self, RunOptions};
use quad_tests::litert::{LiteRt, RESOLVERS};
use quad_tests::models::{self, Model};
use quad_tests::paths;

/// How far outputs in floats may be off, relative to the largest magnitude of each.
const ALLOWED: f64 = 1e-4;
/// The same where weights are stored in 16 bits.
const ALLOWED_OF_HALVES: f64 = 5e-3;

/// What makes the frozen form, which the target's passes start from; symbolic sizes are 1.
const PREPARATION: &str = "specialize{rest=1},frozen";

fn main() -> Result<ExitCode, Failed> {
    let arguments = Arguments::from_args();
    let without = LiteRt::shared()?.is_none();
    let models = models::all()?;
    let each = models.into_iter().map(|model| {
        let name = format!("float {}", model.name());
        Trial::test(name, move || check(&model))
    });
    let others = [
        Trial::test("adapters one after the other", adapters),
        Trial::test("weights in 16 bits", halves),
        Trial::test("weights outside of the flatbuffer", outside),
        Trial::test("the same bytes with any number of threads", same_bytes),
        Trial::test("channels last at the border", channels_last),
        Trial::test("stored integers at the border", stored_border),
        Trial::test("sines of timesteps", sines),
        Trial::test("what a file says of itself", about),
    ];
    let trials = each
        .chain(others)
        .chain(operations::trials()?)
        .chain(vendors::trials())
        .chain(quantized::trials())
        .map(|trial| if without { trial.with_ignored_flag(true) } else { trial })
        .collect();
    Ok(libtest_mimic::run(&arguments, trials).exit_code())
}

/// The process that runs models.
fn litert() -> Result<&'static LiteRt, Failed> {
    Ok(LiteRt::shared()?.ok_or("QUAD_PYTHON is not set")?)
}

/// `module` after `passes`.
fn after(mut module: Module, passes: &str) -> Result<Module, Failed> {
    let pipeline = Pipeline::parse(passes, &Registry::standard())?;
    runner::run(&pipeline, &mut module, &RunOptions::default(), &mut [])?;
    Ok(module)
}

/// Writes `module`, which is frozen, into `folder`.
fn write(module: &Module, folder: &Path, settings: &Settings, inline_limit: u64) -> Result<PathBuf, Failed> {
    let module = after(module.clone(), &finishing(false))?;
    let model = lower(module.main().ok_or("a model has one graph")?, settings)?;
    let mut bytes = Vec::new();
    let length = flatbuffer::write(&model, inline_limit, &mut bytes)?;
    if length != bytes.len() as u64 {
        return Err(format!("{length} bytes are said to be written, and {} are", bytes.len()).into());
    }
    let path = folder.join("model.tflite");
    std::fs::write(&path, bytes)?;
    Ok(path)
}

/// Largest deviation of an output, relative to its largest magnitude.
fn deviation(found: &NamedTensors, expected: &NamedTensors) -> Result<f64, Failed> {
    let mut worst = 0f64;
    for (name, expected) in expected {
        let found = found.get(name).ok_or_else(|| format!("there is no output `{name}`"))?;
        if (found.sizes(), found.dtype()) != (expected.sizes(), expected.dtype()) {
            return Err(format!("output `{name}` is {}, not {}", found.ty(), expected.ty()).into());
        }
        let (found, expected) = (found.to_f64()?, expected.to_f64()?);
        let largest = expected.iter().fold(f64::MIN_POSITIVE, |largest, x| largest.max(x.abs()));
        let off = found.iter().zip(&expected).map(|(a, b)| (a - b).abs() / largest);
        // NaN must not vanish in a maximum.
        worst = off.fold(worst, |worst, off| if off.is_nan() { f64::INFINITY } else { worst.max(off) });
    }
    Ok(worst)
}

fn require(what: &str, deviation: f64, allowed: f64) -> Result<(), Failed> {
    if deviation <= allowed { Ok(()) } else { Err(format!("{what}: off by {deviation:e}").into()) }
}

fn interpreted(module: &Module, inputs: &NamedTensors) -> Result<NamedTensors, Failed> {
    Ok(Interpreter::new(module.main().ok_or("a model has one graph")?).run(inputs)?)
}

/// Every model agrees with the interpreter, with all kernels. The model as it was imported is what is right, in single
/// precision where it computes in halves.
fn check(model: &Model) -> Result<(), Failed> {
    let imported = after(model.import()?, "specialize{rest=1},convert-floats")?;
    let inputs = model.inputs(&imported, &model.cases[0])?;
    let mut expected = interpreted(&imported, &inputs)?;
    let frozen = after(model.import()?, PREPARATION)?;
    let folder = tempfile::tempdir()?;
    let path = write(&frozen, folder.path(), &Settings::default(), flatbuffer::INLINE_LIMIT)?;
    for resolver in RESOLVERS {
        let found = litert()?.run(&path, resolver, &[&inputs])?;
        // The output of a model in halves is rounded to halves, and two neighbors are further apart.
        let allowed = if model.is_half() { ALLOWED_OF_HALVES } else { ALLOWED };
        require(resolver, deviation(&found[0], &expected)?, allowed)?;
    }
    // A comparison that could not fail would prove nothing.
    let (name, tensor) = expected.pop_first().ok_or("a model has an output")?;
    let mut elements = tensor.to_f32()?.into_owned();
    elements[0] += elements.iter().fold(0f32, |largest, x| largest.max(x.abs()));
    let wrong = Tensor::from_f32(tensor.dtype(), tensor.sizes(), &elements)?;
    let found = litert()?.run(&path, "plain", &[&inputs])?;
    let off = deviation(&found[0], &BTreeMap::from([(name, wrong)]))?;
    if off > 0.1 { Ok(()) } else { Err("a wrong output was not noticed".into()) }
}

/// The model with that name.
fn named(name: &str) -> Result<Model, Failed> {
    let found = models::all()?.into_iter().find(|model| model.name() == name);
    Ok(found.ok_or_else(|| format!("there is no model {name}"))?)
}

/// One file, three adapters and none, switched by inputs alone; each agrees with the interpreter, and what was there before
/// comes again to the bit.
fn adapters() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let tiny = paths::fixtures().join("tiny");
    let model = named("unet2_base.legacy17")?;
    let (out, kept) = (folder.path().join("unet.tflite"), folder.path().join("unet.quad"));
    let text = |path: &Path| path.display().to_string();
    let mut arguments =
        vec!["quad".to_owned(), "convert".to_owned(), text(&tiny.join("models").join(&model.file))];
    arguments.extend(["--target", "litert", "-o", &text(&out), "--keep", &text(&kept)].map(str::to_owned));
    let tasks = ["taskA", "taskB", "taskC"];
    for task in tasks {
        let path = tiny.join("lora").join(task).join("peft");
        arguments.extend(["--adapter".to_owned(), format!("{task}={}", text(&path))]);
    }
    if quad_cli::run(&Registry::standard(), arguments) != ExitCode::SUCCESS {
        return Err("the model could not be converted".into());
    }
    let kept = quad_ir::text::read_files(&kept)?;
    let given = model.inputs(&model.import()?, &model.cases[0])?;
    let mut runs: Vec<NamedTensors> = Vec::new();
    for task in tasks {
        let slots = SafeTensorsFile::open(&folder.path().join(format!("unet.tflite.{task}.safetensors")))?;
        runs.push(given.clone().into_iter().chain(slots.tensors().iter().cloned()).collect());
    }
    let slots = kept
        .main()
        .ok_or("a graph runs")?
        .inputs()
        .filter(|input| !given.contains_key(&input.name().map(ToString::to_string).unwrap_or_default()));
    let mut base = given.clone();
    for slot in slots {
        let zeros = Tensor::zeros(
            slot.ty().dtype,
            &slot
                .ty()
                .shape
                .as_known()
                .ok_or("known sizes")?
                .iter()
                .map(|size| *size as usize)
                .collect::<Vec<_>>(),
        )?;
        base.insert(slot.name().ok_or("a slot has a name")?.to_string(), zeros);
    }
    runs.push(base);
    let order: Vec<&NamedTensors> = [0, 1, 2, 3, 0, 2, 1].iter().map(|run| &runs[*run]).collect();
    for resolver in RESOLVERS {
        let found = litert()?.run(&out, resolver, &order)?;
        for (run, name) in tasks.iter().chain(&["no adapter"]).enumerate() {
            let off = deviation(&found[run], &interpreted(&kept, &runs[run])?)?;
            require(&format!("{resolver}, {name}"), off, ALLOWED)?;
        }
        if found[0] != found[4] || found[2] != found[5] || found[1] != found[6] {
            return Err(format!("{resolver}: an adapter gives something else the second time").into());
        }
        if found[0] == found[1] || found[0] == found[3] {
            return Err(format!("{resolver}: adapters change nothing").into());
        }
        let plain = interpreted(&model.import()?, &given)?;
        require("no adapter against the base model", deviation(&found[3], &plain)?, ALLOWED)?;
    }
    Ok(())
}

/// Weights in 16 bits take half the space and cost little precision.
fn halves() -> Result<(), Failed> {
    let model = named("unet2_base.legacy17")?;
    let (frozen, inputs) =
        (after(model.import()?, PREPARATION)?, model.inputs(&model.import()?, &model.cases[0])?);
    let folder = tempfile::tempdir()?;
    let expected = interpreted(&frozen, &inputs)?;
    let wide = write(&frozen, folder.path(), &Settings::default(), flatbuffer::INLINE_LIMIT)?;
    let wide = std::fs::metadata(wide)?.len();
    let settings = Settings { half_weights: true, ..Settings::default() };
    let path = write(&frozen, folder.path(), &settings, flatbuffer::INLINE_LIMIT)?;
    let narrow = std::fs::metadata(&path)?.len();
    // The tables take space, too, and these models have few weights.
    if narrow * 4 > wide * 3 {
        return Err(format!("{narrow} bytes against {wide}").into());
    }
    for resolver in RESOLVERS {
        let found = litert()?.run(&path, resolver, &[&inputs])?;
        require(resolver, deviation(&found[0], &expected)?, ALLOWED_OF_HALVES)?;
    }
    Ok(())
}

/// A model whose constants lie outside of the flatbuffer, as large ones must, gives the same bits.
fn outside() -> Result<(), Failed> {
    let model = named("vae_decoder.legacy17")?;
    let (frozen, inputs) =
        (after(model.import()?, PREPARATION)?, model.inputs(&model.import()?, &model.cases[0])?);
    let folder = tempfile::tempdir()?;
    for resolver in RESOLVERS {
        let inside = write(&frozen, folder.path(), &Settings::default(), flatbuffer::INLINE_LIMIT)?;
        let inside = litert()?.run(&inside, resolver, &[&inputs])?;
        let outside = write(&frozen, folder.path(), &Settings::default(), 0)?;
        let outside = litert()?.run(&outside, resolver, &[&inputs])?;
        if inside != outside {
            return Err(format!("{resolver}: the outputs differ").into());
        }
    }
    Ok(())
}

/// The bytes depend on nothing but the model.
fn same_bytes() -> Result<(), Failed> {
    let model = named("unet2_lora_taskA.legacy17")?;
    let bytes = |threads: usize| -> Result<Vec<u8>, Failed> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
        pool.install(|| {
            let module = after(model.import()?, &format!("{PREPARATION},{}", finishing(false)))?;
            let settings = Settings { half_weights: true, ..Settings::default() };
            let mut bytes = Vec::new();
            flatbuffer::write(&lower(module.main().ok_or("one graph")?, &settings)?, u64::MAX, &mut bytes)?;
            Ok(bytes)
        })
    };
    if bytes(1)? == bytes(3)? { Ok(()) } else { Err("the bytes differ".into()) }
}

/// Callers may hand over planes with channels last, and get such.
fn channels_last() -> Result<(), Failed> {
    let model = named("vae_decoder.legacy17")?;
    let frozen = after(model.import()?, PREPARATION)?;
    let inputs = model.inputs(&model.import()?, &model.cases[0])?;
    let expected = interpreted(&frozen, &inputs)?;
    let folder = tempfile::tempdir()?;
    let settings = Settings { channels_last: true, ..Settings::default() };
    let path = write(&frozen, folder.path(), &settings, flatbuffer::INLINE_LIMIT)?;
    let turned = |tensors: &NamedTensors| -> Result<NamedTensors, Failed> {
        tensors.iter().map(|(name, tensor)| Ok((name.clone(), turn(tensor)?))).collect()
    };
    let found = litert()?.run(&path, "plain", &[&turned(&inputs)?])?;
    require("plain", deviation(&found[0], &turned(&expected)?)?, ALLOWED)?;
    // What has its channels first inside cannot be handed over otherwise.
    let graph = parsed(
        "graph @main(%x: f32[1, 2, 3, 4]) {\n  %y = relu(%x) : f32[1, 2, 3, 4]\n  return \"y\" = %y\n}",
    )?;
    match lower(graph.main().ok_or("a graph")?, &settings) {
        Err(error) if error.to_string().contains("input `x` cannot have channels last") => Ok(()),
        other => Err(format!("not refused: {other:?}").into()),
    }
}

/// Sines as polynomials, and those of timesteps in a table, are as good as the runtime's own, at every timestep.
fn sines() -> Result<(), Failed> {
    let model = named("unet2_base.legacy17")?;
    let imported = model.import()?;
    let folder = tempfile::tempdir()?;
    let frozen = after(model.import()?, PREPARATION)?;
    for passes in [finishing(true), format!("tabulate-timesteps{{steps=1000}},{}", finishing(false))] {
        let module = after(frozen.clone(), &passes)?;
        let lowered = lower(module.main().ok_or("one graph")?, &Settings::default())?;
        let sines = |op: &Builtin| [Builtin::Sin, Builtin::Cos].contains(op);
        if lowered.subgraphs[0].operators.iter().any(|operator| sines(&operator.op)) {
            return Err(format!("{passes}: there are sines left").into());
        }
        let path = folder.path().join("model.tflite");
        flatbuffer::write_file(&lowered, &path)?;
        for step in [0i64, 1, 37, 500, 981, 999] {
            let mut inputs = model.inputs(&imported, &model.cases[0])?;
            inputs.insert("timestep".to_owned(), Tensor::from_vec(&[1], vec![step])?);
            let expected = interpreted(&imported, &inputs)?;
            for resolver in RESOLVERS {
                let found = litert()?.run(&path, resolver, &[&inputs])?;
                require(
                    &format!("{passes}, {resolver}, step {step}"),
                    deviation(&found[0], &expected)?,
                    ALLOWED,
                )?;
            }
        }
    }
    Ok(())
}

/// A file has the names of the source in its signature, in their order, and says which model, profile and version it is of.
fn about() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let place = |name: &str| folder.path().join(name).display().to_string();
    let (ranges, stats, profile, typed, out) =
        (place("ranges.json"), place("stats"), place("profile"), place("unet.quad"), place("unet.tflite"));
    std::fs::write(&ranges, r#"{"*": [-4.0, 4.0], "*softmax*": [0.0, 1.0]}"#)?;
    let model = named("unet2_base.legacy17")?;
    let source = paths::fixtures().join("tiny/models").join(&model.file).display().to_string();
    quantized::quad(&["calibrate", &source, "--ranges", &ranges, "-o", &stats])?;
    let make = ["profile", "make", &stats, "--anchor", "base", "--rules", "litert", "-o", &profile];
    quantized::quad(&make)?;
    quantized::quad(&["quantize", &source, "--profile", &profile, "-o", &typed])?;
    quantized::quad(&["convert", &typed, "--target", "litert", "-o", &out])?;
    let about = litert()?.about(Path::new(&out))?;
    let imported = model.import()?;
    let graph = imported.main().ok_or("a model has one graph")?;
    let inputs: Vec<String> =
        graph.inputs().filter_map(|input| input.name().map(ToString::to_string)).collect();
    let outputs: Vec<String> = graph.outputs().iter().map(|output| output.name.to_string()).collect();
    let lines = std::fs::read_to_string(&profile)?;
    let hash = lines.split("\"blake3\": \"").nth(1).and_then(|rest| rest.split('"').next());
    let metadata: BTreeMap<&str, &str> =
        about.metadata.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let expected = [("quad.profile", hash), ("quad.version", Some(env!("CARGO_PKG_VERSION")))];
    let is_digest = |text: &&str| text.len() == 32 && text.chars().all(|digit| digit.is_ascii_hexdigit());
    let says_so = expected.iter().all(|(name, text)| metadata.get(name).copied() == *text)
        && metadata.get("quad.model").is_some_and(is_digest);
    if about.inputs == inputs && about.outputs == outputs && says_so {
        Ok(())
    } else {
        Err(format!("{about:?}; expected {inputs:?}, {outputs:?}, {expected:?}").into())
    }
}

/// `[n, c, h, w]` as `[n, h, w, c]`.
fn turn(tensor: &Tensor) -> Result<Tensor, Failed> {
    let [n, c, h, w] = *tensor.sizes() else { return Err("four axes".into()) };
    let elements = tensor.to_f32()?;
    let at = |index: usize| {
        let (channel, place) = (index % c, index / c);
        elements[(place / (h * w) * c + channel) * h * w + place % (h * w)]
    };
    Ok(Tensor::from_f32(tensor.dtype(), &[n, h, w, c], &(0..n * c * h * w).map(at).collect::<Vec<f32>>())?)
}

fn parsed(graph: &str) -> Result<Module, Failed> {
    let text = format!("quad 1\n\n{graph}\n");
    Ok(quad_ir::text::parse(&text, &NoWeights).map_err(|error| error.show().to_string())?)
}

/// Callers may hand over stored integers, and get such.
fn stored_border() -> Result<(), Failed> {
    let quant = "quant(scale = [0.5], zero_point = [3], of = f32)";
    let module = parsed(&format!(
        "graph @main(%x: f32[4]) {{\n  %q = quantize(%x) : i8[4] {quant}\n  %r = relu(%q) : i8[4] {quant}\n  \
         %y = dequantize(%r) : f32[4]\n  return \"y\" = %y\n}}"
    ))?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("model.tflite");
    let settings = Settings { stored_border: true, ..Settings::default() };
    let model = lower(module.main().ok_or("a graph")?, &settings)?;
    flatbuffer::write_file(&model, &path)?;
    let x = Tensor::from_vec(&[4], vec![-128i8, 2, 3, 100])?;
    let found = litert()?.run(&path, "plain", &[&NamedTensors::from([("x".to_owned(), x)])])?;
    let expected = NamedTensors::from([("y".to_owned(), Tensor::from_vec(&[4], vec![3i8, 3, 3, 100])?)]);
    if found[0] == expected { Ok(()) } else { Err(format!("{:?}\n{model}", found[0]).into()) }
}
