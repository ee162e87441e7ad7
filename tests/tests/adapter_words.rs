//! Passes that transform what a model computes know nothing of adapters: to them, factors are values like any other.
//! The proof that this is enough is that no file of theirs has the words.

use std::fs;

use quad_tests::paths;

/// Areas of passes that work on any graph.
const AREAS: &[&str] = &["attention", "clean", "fold", "fuse", "layout", "lower"];

/// Words that only `lora` and the bench of checks may know.
const WORDS: &[&str] = &["lora", "adapter"];

#[test]
fn general_passes_do_not_mention_adapters() {
    let mut found = Vec::new();
    let mut read = 0;
    for area in AREAS {
        let folder = paths::root().join("passes/src").join(area);
        for path in paths::files_below(&folder, "rs").expect("an area of passes") {
            let text = fs::read_to_string(&path).expect("a source file").to_lowercase();
            read += 1;
            for (number, line) in (1..).zip(text.lines()) {
                if WORDS.iter().any(|word| line.contains(word)) {
                    found.push(format!("{}:{number}: {}", path.display(), line.trim()));
                }
            }
        }
    }
    assert!(read >= AREAS.len(), "only {read} files were read");
    assert!(found.is_empty(), "adapters are mentioned in\n{}", found.join("\n"));
}
