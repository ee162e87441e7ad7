//! The page `docs/generated/passes.md`: the manuals of all passes, by area, and the pipelines that have a name.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use quad_ir::text;
use quad_passes::pass::{Pass, PassInfo};
use quad_passes::pipeline::options_of;
use quad_passes::registry::Registry;

const HEAD: &str = "\
# Passes

Written by the test `generated_docs` of `quad-tests`, from the manuals in the sources; it fails when this page is out of
date. `QUAD_BLESS=1 ./test.sh --package quad-tests --test generated_docs` writes it again. Every example below is run by the
tests, and what it computes is compared before and after.
";

/// A pass as the registry hands it out.
type Entry = (&'static PassInfo, Box<dyn Pass>);

/// The page.
pub fn page(registry: &Registry) -> String {
    let mut page = HEAD.to_owned();
    page.push_str("\n## Pipelines\n\n");
    for pipeline in registry.pipelines() {
        let _ = writeln!(
            page,
            "`{}`: {}\n\n```text\n{}\n```\n",
            pipeline.name,
            pipeline.summary,
            pipeline.text.trim()
        );
    }
    let mut areas: BTreeMap<&str, Vec<Entry>> = BTreeMap::new();
    for (area, info, pass) in registry.passes() {
        areas.entry(area).or_default().push((info, pass));
    }
    page.push_str("## All passes\n\n| pass | area | does |\n|---|---|---|\n");
    for (area, entries) in &areas {
        for (info, _) in entries {
            let _ = writeln!(page, "| [`{0}`](#{0}) | {area} | {1} |", info.name, info.summary());
        }
    }
    for (info, mut pass) in areas.into_values().flatten() {
        let _ = write!(page, "\n## {}\n\n{}\n", info.name, info.manual().trim_end());
        let options = options_of(&mut *pass);
        if !options.is_empty() {
            page.push_str("\nOptions, with their defaults:\n\n");
        }
        for (name, value) in options {
            let _ = writeln!(page, "- `{name}={}`", text::spell_attr(&value));
        }
    }
    page
}
