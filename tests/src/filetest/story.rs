//! What a test shows: sections of a few lines, as they go into its snapshot.

use std::fmt;

/// Lines of a section beyond which the rest is only counted: a snapshot is there to be read.
const MAX_LINES: usize = 30;

/// Columns that titles take.
const TITLE: usize = 11;

/// The sections written so far.
#[derive(Clone, Debug, Default)]
pub struct Story {
    sections: Vec<Section>,
}

#[derive(Clone, Debug)]
struct Section {
    title: String,
    summary: String,
    lines: Vec<String>,
}

impl Story {
    /// Adds a section: a title, a summary beside it, and lines below.
    pub fn tell(&mut self, title: &str, summary: &str, lines: impl IntoIterator<Item = String>) {
        let lines = lines.into_iter().flat_map(|line| line.lines().map(str::to_owned).collect::<Vec<_>>());
        self.sections.push(Section {
            title: title.to_owned(),
            summary: summary.to_owned(),
            lines: lines.collect(),
        });
    }
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Section { title, summary, lines }) in self.sections.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            writeln!(f, "{}", format!("{title:<TITLE$} {summary}").trim_end())?;
            for line in lines.iter().take(MAX_LINES) {
                writeln!(f, "{}", format!("  {line}").trim_end())?;
            }
            if lines.len() > MAX_LINES {
                writeln!(f, "  .. {} more lines", lines.len() - MAX_LINES)?;
            }
        }
        Ok(())
    }
}
