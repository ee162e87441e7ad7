//! Who prints graphs, and who writes them into a folder, while a pipeline runs.

use std::collections::BTreeSet;
use std::error::Error;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use quad_ir::module::Module;
use quad_ir::text;
use quad_passes::runner::{Observer, PassReport};

use crate::output;
use crate::table::counted;

/// After which passes graphs are printed.
#[derive(Debug, clap::Args)]
pub(super) struct Printing {
    /// Print the graphs after the pass PASS, or without PASS after the last one; may be given more than once.
    #[arg(long = "print-after", id = "print_after", value_name = "PASS", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub(super) after: Vec<String>,
    /// Print the graphs after every pass.
    #[arg(long = "print-after-all", id = "print_after_all")]
    every: bool,
    /// Print the graphs after every pass that changed something.
    #[arg(long = "print-after-changed", id = "print_after_changed")]
    changed: bool,
}

/// Prints graphs after the passes that it was told.
#[derive(Debug)]
pub(super) struct Printer<'a> {
    printing: &'a Printing,
    /// The passes after which graphs are printed.
    names: BTreeSet<&'a str>,
}

impl<'a> Printer<'a> {
    pub(super) fn new(printing: &'a Printing) -> Self {
        Self { printing, names: printing.after.iter().map(String::as_str).collect() }
    }

    /// Prints the graphs at the end of the pipeline, when that was asked for.
    pub(super) fn at_the_end(&self, module: &Module) -> io::Result<()> {
        if self.names.contains("") { print("the last pass", module) } else { Ok(()) }
    }
}

impl Observer for Printer<'_> {
    fn after(&mut self, report: &PassReport, module: &Module) -> Result<(), Box<dyn Error + Send + Sync>> {
        let name = report.pass.split('{').next().unwrap_or_default();
        let wanted =
            self.printing.every || (self.printing.changed && report.changes > 0) || self.names.contains(name);
        if wanted {
            let title = format!(
                "{} (number {}, {})",
                report.pass,
                report.index + 1,
                counted(report.changes, "change")
            );
            print(&title, module)?;
        }
        Ok(())
    }
}

fn print(title: &str, module: &Module) -> io::Result<()> {
    let printed = text::print(module).map_err(io::Error::other)?;
    let out = &mut output::stdout();
    writeln!(out, "// after {title}\n{printed}")
}

/// Writes graphs into a folder: `000-before.quad`, and one file for each pass that changed something.
#[derive(Debug)]
pub(super) struct Dumper {
    folder: PathBuf,
    begun: bool,
}

impl Dumper {
    pub(super) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), begun: false }
    }

    fn write(&self, number: usize, name: &str, module: &Module) -> Result<(), Box<dyn Error + Send + Sync>> {
        let name: String =
            name.chars().map(|c| if c.is_alphanumeric() || c == '-' { c } else { '_' }).collect();
        text::write_files(&self.folder.join(format!("{number:03}-{name}.quad")), module)?;
        Ok(())
    }
}

impl Observer for Dumper {
    fn before(&mut self, _pass: &str, module: &Module) -> Result<(), Box<dyn Error + Send + Sync>> {
        if self.begun {
            return Ok(());
        }
        self.begun = true;
        std::fs::create_dir_all(&self.folder)?;
        self.write(0, "before", module)
    }

    fn after(&mut self, report: &PassReport, module: &Module) -> Result<(), Box<dyn Error + Send + Sync>> {
        if report.changes == 0 { Ok(()) } else { self.write(report.index + 1, &report.pass, module) }
    }
}
