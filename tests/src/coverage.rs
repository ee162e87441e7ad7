//! Which tests that are files show which operations.

use std::collections::BTreeMap;
use std::fs;
use std::io;

use quad_ir::ops::all_ops;

use crate::paths;

/// For each operation that a test of `tests/filetests` computes with: the test's path in the workspace. A test of the
/// operation's name comes first, then those in the folder `ops`.
///
/// # Errors
/// Of the system, when a test cannot be read.
pub fn shown_in() -> io::Result<BTreeMap<String, String>> {
    let mut shown: BTreeMap<String, (u8, String)> = BTreeMap::new();
    for path in paths::files_below(&paths::root().join("tests/filetests"), "quad")? {
        let text = fs::read_to_string(&path)?;
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let is_about_ops = path.parent().is_some_and(|folder| folder.ends_with("ops"));
        let relative = path.strip_prefix(paths::root()).unwrap_or(&path);
        for op in
            all_ops().iter().map(|op| op.def().name()).filter(|name| text.contains(&format!("= {name}(")))
        {
            let rank = if stem == op { 0 } else { 2 - u8::from(is_about_ops) };
            let found = (rank, paths::with_slashes(relative));
            let entry = shown.entry(op.to_owned()).or_insert_with(|| found.clone());
            if found < *entry {
                *entry = found;
            }
        }
    }
    Ok(shown.into_iter().map(|(op, (_, path))| (op, path)).collect())
}
