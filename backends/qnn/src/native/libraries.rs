//! Where Qualcomm's libraries are.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::library;

/// A folder with `libQnnHtp.so` in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Libraries {
    folder: PathBuf,
}

/// Where libraries are looked for, in this order. A place that is named and does not have them is an error, so that
/// nobody uses others than they believe.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// The folder given with `--qnn-libs`.
    pub option: Option<PathBuf>,
    /// `QNN_LIB_DIR`, a folder with the libraries.
    pub folder: Option<PathBuf>,
    /// `QNN_SDK_ROOT`, where the SDK was unpacked.
    pub sdk: Option<PathBuf>,
    /// The Python whose package `onnxruntime_qnn` has them.
    pub python: Option<PathBuf>,
}

/// The libraries are in none of the places.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "Qualcomm's libraries for QNN were not found: {tried}.\n\
     To have them on x86-64 Linux, run `pip install onnxruntime-qnn`, or unpack the AI Engine Direct SDK and set \
     QNN_SDK_ROOT to its folder; `--qnn-libs FOLDER` and QNN_LIB_DIR name the folder of libQnnHtp.so itself"
)]
pub struct NotFound {
    /// What was tried, with what was missing.
    pub tried: String,
}

/// Asks Python for the folder of the package without importing it, which would load the libraries.
const FIND_PACKAGE: &str = "import importlib.util as u; s = u.find_spec('onnxruntime_qnn'); \
                            print(s.submodule_search_locations[0] if s else '')";

impl Places {
    /// What the environment names, and the folder given with `--qnn-libs`. The Python is the one of `QUAD_PYTHON`, or
    /// `python3`.
    pub fn from_environment(option: Option<PathBuf>) -> Self {
        let path = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        Self {
            option,
            folder: path("QNN_LIB_DIR"),
            sdk: path("QNN_SDK_ROOT"),
            python: Some(path("QUAD_PYTHON").unwrap_or_else(|| PathBuf::from("python3"))),
        }
    }

    /// The first place that has the libraries.
    pub fn find(&self) -> Result<Libraries, NotFound> {
        let sdk = self.sdk.as_ref().map(|root| root.join("lib/x86_64-linux-clang"));
        let named = [("--qnn-libs", &self.option), ("QNN_LIB_DIR", &self.folder), ("QNN_SDK_ROOT", &sdk)];
        if let Some((what, folder)) =
            named.iter().find_map(|(what, folder)| Some((what, (*folder).as_ref()?)))
        {
            let missing =
                || NotFound { tried: format!("{what}: {} is not there", library(folder, HTP).display()) };
            return Libraries::of(folder).ok_or_else(missing);
        }
        let unnamed = "QNN_LIB_DIR and QNN_SDK_ROOT are not set";
        let Some(python) = &self.python else {
            return Err(NotFound { tried: unnamed.to_owned() });
        };
        let package = package(python).and_then(|folder| Libraries::of(&folder));
        package.ok_or_else(|| NotFound {
            tried: format!("{unnamed}, and {} has no package onnxruntime_qnn with them", python.display()),
        })
    }
}

/// The library for the tensor processor.
const HTP: &str = "QnnHtp";

impl Libraries {
    /// The libraries in `folder`, if they are there.
    pub fn of(folder: &Path) -> Option<Self> {
        library(folder, HTP).is_file().then(|| Self { folder: folder.to_owned() })
    }

    /// Where they are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

/// The folder of the package of `python`, if it has it.
fn package(python: &Path) -> Option<PathBuf> {
    let output = Command::new(python).args(["-c", FIND_PACKAGE]).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let folder = text.trim();
    (output.status.success() && !folder.is_empty()).then(|| PathBuf::from(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_place_without_libraries_is_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let places = Places { folder: Some(folder.path().to_owned()), ..Places::default() };
        let error = places.find().expect_err("nothing is there").to_string();
        assert!(error.contains("QNN_LIB_DIR:") && error.contains("libQnnHtp.so is not there"), "{error}");
        assert!(error.contains("pip install onnxruntime-qnn"), "{error}");
        std::fs::write(folder.path().join("libQnnHtp.so"), b"").expect("a file");
        assert_eq!(places.find().expect("it is there").folder(), folder.path());
    }

    #[test]
    fn no_place_at_all_says_how_to_install() {
        let error = Places::default().find().expect_err("nowhere to look").to_string();
        assert!(error.contains("QNN_LIB_DIR and QNN_SDK_ROOT are not set"), "{error}");
        let python = Some(PathBuf::from("/no/such/python"));
        let error = Places { python, ..Places::default() }.find().expect_err("no Python").to_string();
        assert!(error.contains("/no/such/python has no package onnxruntime_qnn"), "{error}");
    }
}
