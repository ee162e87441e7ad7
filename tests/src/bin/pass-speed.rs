//! How long a pipeline takes, and how that grows with the graph.
//!
//! `cargo run --release -p quad-tests --bin pass-speed -- [PIPELINE] [MODEL.onnx]`
//!
//! Runs the pipeline, `npu` without an argument, on chains of copies of an exported diffusion model, of about 1,000,
//! 10,000 and 100,000 nodes, and on the model that is given. Weights are not read by passes, and nothing is computed.

use std::error::Error;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use quad_frontends::onnx;
use quad_ir::module::Module;
use quad_passes::pipeline::Pipeline;
use quad_passes::registry::Registry;
use quad_passes::runner::{self, RunOptions};
use quad_tests::chain::chain;
use quad_tests::paths;

/// Copies of the model in each chain.
const COPIES: [usize; 3] = [1, 12, 122];

/// Times each graph is transformed; the fastest counts.
const RUNS: usize = 3;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let pipeline = arguments.next().unwrap_or_else(|| "npu".to_owned());
    let model = onnx::import(&paths::fixtures().join("tiny/models/unet2_base.legacy17.onnx"))?;
    let graph = model.main().ok_or("a model has one graph")?;
    let mut out = io::stdout().lock();
    writeln!(out, "{:<28} {:>8} {:>8} {:>9} {:>9}", "graph", "nodes", "after", "seconds", "us/node")?;
    let mut costs = Vec::new();
    for copies in COPIES {
        let module = Module { graphs: vec![chain(graph, "sample", copies)?] };
        costs.push(measure(&mut out, &format!("{copies} copies"), &module, &pipeline)?);
    }
    let growth = costs[costs.len() - 1] / costs[1];
    writeln!(out, "cost per node of the largest over that of the middle one: {growth:.2}")?;
    for path in arguments {
        measure(&mut out, &path, &onnx::import(Path::new(&path))?, &pipeline)?;
    }
    Ok(())
}

/// Writes a line, and returns the microseconds per node.
fn measure(
    out: &mut impl io::Write,
    name: &str,
    module: &Module,
    pipeline: &str,
) -> Result<f64, Box<dyn Error>> {
    let pipeline = Pipeline::parse(pipeline, &Registry::standard())?;
    let options = RunOptions { verify: false, ..RunOptions::default() };
    let mut best = Duration::MAX;
    let mut after = 0;
    for _ in 0..RUNS {
        let mut module = module.clone();
        let report = runner::run(&pipeline, &mut module, &options, &mut [])?;
        best = best.min(report.time());
        after = count(&module);
    }
    let nodes = count(module);
    let cost = best.as_secs_f64() * 1e6 / nodes as f64;
    writeln!(out, "{name:<28} {nodes:>8} {after:>8} {:>9.3} {cost:>9.2}", best.as_secs_f64())?;
    Ok(cost)
}

fn count(module: &Module) -> usize {
    module.graphs.iter().map(|graph| graph.nodes().count()).sum()
}
