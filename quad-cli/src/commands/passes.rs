//! `quad passes`: the catalogue of passes and pipelines, and their manuals.

use std::collections::BTreeMap;
use std::io::{self, Write};

use quad_ir::text::spell_attr;
use quad_passes::pass::{Pass, PassInfo};
use quad_passes::pipeline::options_of;
use quad_passes::registry::Registry;
use serde::Serialize;

use crate::exit::{Failure, Outcome};
use crate::output;
use crate::table::{Align, Table};

/// List passes and pipelines, or print the manual of one.
///
/// Passes are listed by area, with the options that they have and the values of those that are not given.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  quad passes
  quad passes dce
  quad passes --json")]
pub(crate) struct Arguments {
    /// The pass or pipeline whose manual is printed.
    name: Option<String>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// A pass as JSON tells of it.
#[derive(Debug, Serialize)]
struct PassLine {
    name: &'static str,
    area: &'static str,
    summary: String,
    options: BTreeMap<&'static str, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    manual: Option<String>,
}

/// A pipeline as JSON tells of it.
#[derive(Debug, Serialize)]
struct PipelineLine {
    name: &'static str,
    summary: &'static str,
    passes: &'static str,
}

/// Everything that there is.
#[derive(Debug, Serialize)]
struct Catalogue {
    passes: Vec<PassLine>,
    pipelines: Vec<PipelineLine>,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments, registry: &Registry) -> Result<Outcome, Failure> {
    let out = &mut output::stdout();
    let mut catalogue = Catalogue::of(registry, arguments.name.is_some());
    if let Some(name) = &arguments.name {
        catalogue.passes.retain(|pass| pass.name == name);
        catalogue.pipelines.retain(|pipeline| pipeline.name == name);
        if catalogue.passes.is_empty() && catalogue.pipelines.is_empty() {
            return Err(Failure::message(format!(
                "there is no pass or pipeline `{name}`; `quad passes` lists all"
            )));
        }
    }
    if arguments.json {
        output::json(out, &catalogue)?;
    } else if arguments.name.is_some() {
        catalogue.print_manual(out)?;
    } else {
        catalogue.print(out)?;
    }
    Ok(Outcome::Done)
}

impl Catalogue {
    fn of(registry: &Registry, with_manuals: bool) -> Self {
        let line = |(area, info, mut pass): (&'static str, &'static PassInfo, Box<dyn Pass>)| PassLine {
            name: info.name,
            area,
            summary: info.summary(),
            options: options_of(&mut *pass)
                .into_iter()
                .map(|(name, value)| (name, spell_attr(&value)))
                .collect(),
            manual: with_manuals.then(|| info.manual()),
        };
        let pipelines = registry.pipelines().map(|pipeline| PipelineLine {
            name: pipeline.name,
            summary: pipeline.summary,
            passes: pipeline.text.trim(),
        });
        Self { passes: registry.passes().map(line).collect(), pipelines: pipelines.collect() }
    }

    fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut areas: BTreeMap<&str, Vec<&PassLine>> = BTreeMap::new();
        for pass in &self.passes {
            areas.entry(pass.area).or_default().push(pass);
        }
        for (area, passes) in areas {
            writeln!(out, "{area}")?;
            let mut table = Table::new(&[Align::Left, Align::Left]);
            for pass in passes {
                table.row([pass.spelling(), pass.summary.clone()]);
            }
            table.print("  ", out)?;
            writeln!(out)?;
        }
        if !self.pipelines.is_empty() {
            writeln!(out, "pipelines")?;
            let mut table = Table::new(&[Align::Left, Align::Left]);
            self.pipelines.iter().for_each(|pipeline| table.row([pipeline.name, pipeline.summary]));
            table.print("  ", out)?;
            writeln!(out)?;
        }
        writeln!(out, "`quad passes NAME` prints the manual of one")
    }

    fn print_manual(&self, out: &mut dyn Write) -> io::Result<()> {
        for pass in &self.passes {
            writeln!(
                out,
                "{} ({})\n\n{}",
                pass.spelling(),
                pass.area,
                pass.manual.as_deref().unwrap_or_default().trim()
            )?;
        }
        for pipeline in &self.pipelines {
            writeln!(out, "{}: {}\n\n{}", pipeline.name, pipeline.summary, pipeline.passes)?;
        }
        Ok(())
    }
}

impl PassLine {
    /// The name, with all options.
    fn spelling(&self) -> String {
        if self.options.is_empty() {
            return self.name.to_owned();
        }
        let options: Vec<String> =
            self.options.iter().map(|(name, value)| format!("{name}={value}")).collect();
        format!("{}{{{}}}", self.name, options.join(","))
    }
}
