//! Builds a bundle from a program: `cargo run --example embed quad.toml bundle`.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::path::Path;
use std::time::Duration;

use quad_build::prelude::*;

struct Stages;

impl Observer for Stages {
    fn ended(&self, stage: &StageName, time: Option<Duration>) {
        match time {
            Some(time) => println!("{stage}: {:.2} s", time.as_secs_f64()),
            None => println!("{stage}: was there"),
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, file, output] = arguments.as_slice() else { return Err("expected JOB.toml BUNDLE".into()) };
    let job = job::read(Path::new(file))?;
    let built = build(&job, &Options::new(output), &Stages)?;
    for (target, page) in &built.manifest.targets {
        for (adapter, page) in &page.adapters {
            let psnr = page.figures.as_ref().map_or(f64::NAN, |figures| figures.psnr);
            println!("{adapter} on {target}: {psnr:.2} dB, {}", page.file);
        }
    }
    Ok(())
}
