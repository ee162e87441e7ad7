//! Small files that commands write beside what they print: scores, pictures, pages.

use std::io::Write;
use std::path::Path;

use quad_ir::whole_file::WholeFile;

use crate::exit::Failure;

/// Whether what is at `path` is a page, which has figures beside pictures.
pub(crate) fn is_page(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "html")
}

/// Writes `bytes` to `path`, whole or not at all.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let write = || {
        let mut file = WholeFile::create(path)?;
        file.write_all(bytes)?;
        file.publish()
    };
    write().map_err(|error| Failure::message(format!("`{}` cannot be written: {error}", path.display())))
}
