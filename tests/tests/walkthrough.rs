//! Pages that quote files quote what is there, and adding an operation takes what its page says.

use std::fs;

use quad_tests::paths;

/// A block of a page that quotes a file.
struct Quotation {
    file: String,
    lines: Vec<String>,
}

/// The blocks of `page` whose first line names a file after the language, as in ```` ```rust ir/src/lib.rs ````.
fn quotations(page: &str) -> Vec<Quotation> {
    let mut found = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some(info) = line.strip_prefix("```") else { continue };
        let quoted = lines.by_ref().take_while(|line| !line.starts_with("```")).map(str::to_owned).collect();
        if let Some((_, file)) = info.split_once(' ') {
            found.push(Quotation { file: file.to_owned(), lines: quoted });
        }
    }
    found
}

/// The first quoted line that is not in `text` after those before it. `// ..` stands for what is left out.
fn misquoted<'q>(quotation: &'q Quotation, text: &str) -> Option<&'q str> {
    let mut rest = text.lines();
    let quoted = quotation.lines.iter().filter(|line| !line.trim().is_empty() && line.trim() != "// ..");
    quoted.map(String::as_str).find(|line| !rest.by_ref().any(|found| found == *line))
}

#[test]
fn quoted_lines_are_in_the_files() {
    let mut checked = 0;
    for page in paths::files_below(&paths::root().join("docs"), "md").expect("the documentation") {
        for quotation in quotations(&fs::read_to_string(&page).expect("a page")) {
            let text = fs::read_to_string(paths::root().join(&quotation.file))
                .unwrap_or_else(|error| panic!("{} quotes {}: {error}", page.display(), quotation.file));
            if let Some(line) = misquoted(&quotation, &text) {
                panic!("{} quotes {}, which has no line {line:?} there", page.display(), quotation.file);
            }
            checked += 1;
        }
    }
    assert!(checked >= 9, "only {checked} quotations were found");
}

#[test]
fn an_operation_is_mentioned_where_the_walkthrough_says() {
    let page = fs::read_to_string(paths::root().join("docs/add-an-op.md")).expect("the page");
    let mentions = ["frontends/src", "ir/src", "ir/tests", "quad-cli/src", "tests/src"].map(|folder| {
        let files = paths::files_below(&paths::root().join(folder), "rs").expect("the sources");
        files.into_iter().filter(|file| fs::read_to_string(file).expect("a source").contains("Trilu"))
    });
    let mentions: Vec<String> = mentions
        .into_iter()
        .flatten()
        .map(|file| paths::with_slashes(file.strip_prefix(paths::root()).expect("below the root")))
        .collect();
    assert_eq!(
        mentions,
        ["frontends/src/onnx/table/movement.rs", "ir/src/ops/mod.rs", "ir/src/ops/trilu.rs"]
    );
    assert!(mentions.iter().all(|file| page.contains(&format!("`{file}`"))), "the page names them all");
    for file in &mentions[..2] {
        let text = fs::read_to_string(paths::root().join(file)).expect("a source");
        let lines = text.lines().filter(|line| line.contains("Trilu") && !is_import(line)).count();
        assert_eq!(lines, 1, "{file} has one line for the operation");
    }
}

/// Whether a line is part of a list of imported names.
fn is_import(line: &str) -> bool {
    line.trim_end().ends_with(',') && !line.contains('(')
}

#[test]
fn misquotations_are_found() {
    let page = "```rust a.rs\nfirst\n// ..\nthird\n```\n```sh\nls\n```\n";
    let quotations = quotations(page);
    assert_eq!(quotations.len(), 1);
    assert_eq!(misquoted(&quotations[0], "first\nsecond\nthird\n"), None);
    assert_eq!(misquoted(&quotations[0], "third\nfirst\n"), Some("third"));
}
