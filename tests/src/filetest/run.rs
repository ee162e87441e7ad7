//! `run: canonicalize, fuse-gelu`: runs a pipeline, shows the graph before, what each pass did, what a rule left and why,
//! the graph after all of them, and how far the outputs are from those before.
//!
//! `compare: allowed = 1e-5, seed = 3, batch = 4` says how far outputs may be off, relative to their largest magnitude,
//! from which seed the inputs are drawn, and what symbolic sizes are. Without it 1e-5, 1 and 2. `run: nothing, ..` expects
//! that no pass changes anything.

use std::collections::BTreeMap;

use libtest_mimic::Failed;
use quad_ir::module::Module;
use quad_ir::text;
use quad_passes::check::{Checker, draw_inputs};
use quad_passes::context::Event;
use quad_passes::pipeline::Pipeline;
use quad_passes::runner::{self, Observer, PassReport, RunOptions};

use super::story::Story;
use super::{FileTest, Test};

/// See the [module](self).
pub(super) struct Run;

/// The command that only says how outputs are compared.
pub(super) struct Compare;

impl FileTest for Compare {
    fn name(&self) -> &'static str {
        "compare"
    }

    fn run(&self, test: &mut Test<'_>, _arguments: &[String]) -> Result<(), Failed> {
        let settings = Settings::of(test)?;
        let has_run = test.case.commands.iter().any(|command| command.name == "run");
        if has_run && settings.allowed >= 0.0 { Ok(()) } else { Err("`compare` belongs to a `run`".into()) }
    }
}

impl FileTest for Run {
    fn name(&self) -> &'static str {
        "run"
    }

    fn run(&self, test: &mut Test<'_>, arguments: &[String]) -> Result<(), Failed> {
        let settings = Settings::of(test)?;
        let (nothing, passes) = match arguments {
            [first, rest @ ..] if first == "nothing" => (true, rest),
            all => (false, all),
        };
        let pipeline = Pipeline::parse(&passes.join(","), &crate::registry())?;
        let mut module = test.module()?.clone();
        let inputs = draw_inputs(&module, settings.seed, &settings.sizes)?;
        let mut checker = Checker::new(&module, inputs, settings.allowed)?;
        // What was imported is shown already.
        if !test.case.commands.iter().any(|command| command.name == "import") {
            test.story.tell("before", "", [body(&module)?]);
        }
        let options = RunOptions { explain: true, ..RunOptions::default() };
        let mut teller = Teller { story: &mut test.story };
        let report = runner::run(&pipeline, &mut module, &options, &mut [&mut checker, &mut teller])?;
        if report.changes() > 0 {
            test.story.tell("after", "", [body(&module)?]);
        }
        match (nothing, report.changes()) {
            (true, 0) => test.story.tell("after", "nothing changed", []),
            (false, 0) => return Err("no pass changed anything: say so with `run: nothing, ..`".into()),
            (true, _) => return Err("nothing was to change".into()),
            (false, _) => test.story.tell("numeric", &settings.verdict(&checker)?, []),
        }
        test.set_module(module);
        Ok(())
    }
}

/// What `compare` says.
struct Settings {
    allowed: f64,
    seed: u64,
    sizes: BTreeMap<String, u64>,
}

impl Settings {
    fn of(test: &Test<'_>) -> Result<Self, Failed> {
        let mut settings = Self { allowed: 1e-5, seed: 1, sizes: BTreeMap::new() };
        let command = test.case.commands.iter().find(|command| command.name == "compare");
        for argument in command.map_or(&[][..], |command| &command.arguments) {
            let (name, value) =
                argument.split_once('=').ok_or("`compare` takes arguments of the form `name = value`")?;
            match (name.trim(), value.trim()) {
                ("allowed", value) => settings.allowed = value.parse()?,
                ("seed", value) => settings.seed = value.parse()?,
                (size, value) => {
                    settings.sizes.insert(size.to_owned(), value.parse()?);
                }
            }
        }
        Ok(settings)
    }

    /// The largest deviation, to a power of ten: the last digits depend on the processor.
    fn verdict(&self, checker: &Checker) -> Result<String, Failed> {
        let worst = checker.worst().ok_or("nothing was compared")?.relative();
        let found = match worst {
            0.0 => "equal bit for bit".to_owned(),
            _ if worst <= 1e-6 => "off by at most 1e-6".to_owned(),
            _ => format!("off by at most {:e}", 10f64.powi(worst.log10().ceil() as i32)),
        };
        Ok(format!("{found} (allowed {:e}), seed {}", self.allowed, self.seed))
    }
}

/// Tells what passes do.
struct Teller<'s> {
    story: &'s mut Story,
}

impl Observer for Teller<'_> {
    fn after(
        &mut self,
        report: &PassReport,
        _module: &Module,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let mut lines: Vec<String> = Vec::new();
        for event in &report.events {
            lines.push(match event {
                // The title says it already.
                Event::Rewrote { rule, .. } if *rule == report.pass => continue,
                Event::Rewrote { rule, place, .. } => format!("rewrote {place}: {rule}"),
                Event::Left { rule, place, why } => format!("left {place}: {rule}: {why}"),
                Event::Noted { what, .. } => what.clone(),
            });
        }
        if report.changes == 0 && lines.is_empty() {
            return Ok(());
        }
        let changes = counted(report.changes, "change");
        let summary = format!("+{} -{} nodes, {changes}", report.added, report.erased);
        self.story.tell(&report.pass, if report.changes > 0 { &summary } else { "nothing" }, lines);
        Ok(())
    }
}

fn counted(count: usize, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}

/// The module as text, without the line that says what kind of text it is.
fn body(module: &Module) -> Result<String, Failed> {
    let text = text::print(module)?;
    Ok(text
        .lines()
        .skip_while(|line| line.starts_with("quad ") || line.is_empty())
        .collect::<Vec<_>>()
        .join("\n"))
}
