//! A library, loaded, and its functions by their place in its table.

use std::ffi::{CStr, c_char, c_void};
use std::path::Path;

use libloading::os::unix::Library;

use super::layout::{CConfig, CInterface, COp, CTensor, CVersion, Handle};
use crate::version::Version;

/// The version that the libraries of the newest release tested have.
const NEWEST_TESTED: u32 = 40;
/// The oldest whose public pages describe the structures used here.
const OLDEST: u32 = 32;
/// The major version that the structures are of.
const MAJOR: u32 = 2;
/// "Not supported", which is also said of a function that the table does not have.
pub(super) const NOT_SUPPORTED: u64 = 1000;

/// A library could not be loaded or is not one that this crate speaks with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// The dynamic linker refuses.
    #[error("{path}: {error}")]
    Load {
        /// The library.
        path: String,
        /// What the linker says.
        error: libloading::Error,
    },
    /// It has no provider of the interface.
    #[error("{0}: it offers no interface")]
    NoProvider(String),
    /// Another version.
    #[error(
        "{path}: its core API is {found}; this program speaks {MAJOR}.{OLDEST} and newer ones of {MAJOR}, tested to \
         {MAJOR}.{NEWEST_TESTED}"
    )]
    Version {
        /// The library.
        path: String,
        /// Its version.
        found: Version,
    },
}

/// A loaded library. It is never unloaded: the process that loaded it ends instead.
pub(crate) struct Api {
    interface: *const CInterface,
    functions: usize,
    pub(crate) core: Version,
    pub(crate) backend: Version,
    pub(crate) name: String,
}

/// How many functions the table of a version has. Tables only grow.
pub(super) const fn functions_of(minor: u32) -> usize {
    match minor {
        40.. => 75,
        36.. => 72,
        _ => 71,
    }
}

/// Whether the size of the whole interface is known for sure, which passing it by value needs.
pub(super) const fn is_exactly_known(minor: u32) -> bool {
    matches!(minor, 32 | 36 | 40)
}

type Providers = unsafe extern "C" fn(*mut *const *const c_void, *mut u32) -> u64;

/// The interface that `symbol` of the library at `path` gives; both live as long as the process.
pub(super) fn provider(path: &Path, symbol: &CStr) -> Result<*const c_void, ApiError> {
    let text = path.display().to_string();
    let load = |error| ApiError::Load { path: text.clone(), error };
    // SAFETY: loading runs the library's initializers; this process was made for that, see `crate::native`.
    let library = unsafe { Library::new(path.as_os_str()) }.map_err(load)?;
    // SAFETY: the public reference declares the symbol with this type.
    let providers = *unsafe { library.get::<Providers>(symbol.to_bytes_with_nul()) }.map_err(load)?;
    std::mem::forget(library);
    let (mut list, mut count) = (std::ptr::null(), 0);
    // SAFETY: both are places for what the function says.
    let code = unsafe { providers(&raw mut list, &raw mut count) };
    if code != 0 || count == 0 || list.is_null() {
        return Err(ApiError::NoProvider(text));
    }
    // SAFETY: the list has `count` entries, so a first one.
    Ok(unsafe { *list })
}

impl Api {
    /// Loads the library at `path`.
    pub(crate) fn load(path: &Path) -> Result<Self, ApiError> {
        let interface: *const CInterface = provider(path, c"QnnInterface_getProviders")?.cast();
        // SAFETY: the library gives interfaces of this form, for as long as it is loaded.
        let head = unsafe { &*interface };
        let core = Version::from(head.core);
        if core.major != MAJOR || core.minor < OLDEST {
            return Err(ApiError::Version { path: path.display().to_string(), found: core });
        }
        Ok(Self {
            interface,
            functions: functions_of(core.minor),
            core,
            backend: head.version.into(),
            name: text(head.name),
        })
    }

    /// What to tell the user of a library that is newer than any tested.
    pub(crate) fn warning(&self) -> Option<String> {
        (self.core.minor > NEWEST_TESTED).then(|| {
            format!("core API {} is newer than {MAJOR}.{NEWEST_TESTED}, the newest tested", self.core)
        })
    }

    /// The interface as it is in memory.
    pub(super) fn interface(&self) -> *const CInterface {
        self.interface
    }

    /// The function at `index`, if the version has it.
    fn function(&self, index: usize) -> Option<*const c_void> {
        if index >= self.functions {
            return None;
        }
        // SAFETY: the table follows the interface, and has as many functions as the version says.
        let function =
            unsafe { *(&raw const (*self.interface).functions).cast::<*const c_void>().add(index) };
        (!function.is_null()).then_some(function)
    }
}

/// Declares functions of the table: name, place, arguments. All give an error code, 0 for success.
macro_rules! functions {
    ($($(#[$doc:meta])* $name:ident = $index:literal ($($argument:ident: $ty:ty),*);)*) => {
        #[expect(clippy::too_many_arguments, reason = "the arguments are those of the C functions")]
        impl Api {
            $(
                $(#[$doc])*
                ///
                /// # Safety
                /// Pointers and handles must be what the public reference of the function asks for.
                pub(super) unsafe fn $name(&self, $($argument: $ty),*) -> u64 {
                    type Function = unsafe extern "C" fn($($ty),*) -> u64;
                    let Some(function) = self.function($index) else { return NOT_SUPPORTED };
                    // SAFETY: the function at this place of the table has this type.
                    let function = unsafe { std::mem::transmute::<*const c_void, Function>(function) };
                    // SAFETY: as the caller promises.
                    unsafe { function($($argument),*) }
                }
            )*
        }
    };
}

/// Null-terminated array of configurations.
pub(super) type Configs = *const *const CConfig;

functions! {
    /// `backendCreate`.
    backend_create = 1 (log: Handle, configs: Configs, backend: *mut Handle);
    /// `backendGetBuildId`.
    build_id = 4 (id: *mut *const c_char);
    /// `backendValidateOpConfig`.
    validate = 7 (backend: Handle, op: COp);
    /// `contextCreate`.
    context_create = 9 (backend: Handle, device: Handle, configs: Configs, context: *mut Handle);
    /// `contextGetBinarySize`.
    binary_size = 11 (context: Handle, size: *mut u64);
    /// `contextGetBinary`.
    binary = 12 (context: Handle, into: *mut c_void, size: u64, written: *mut u64);
    /// `contextCreateFromBinary`.
    context_from_binary = 13 (
        backend: Handle,
        device: Handle,
        configs: Configs,
        binary: *const c_void,
        size: u64,
        context: *mut Handle,
        profile: Handle
    );
    /// `graphCreate`.
    graph_create = 15 (context: Handle, name: *const c_char, configs: Configs, graph: *mut Handle);
    /// `graphAddNode`.
    add_node = 18 (graph: Handle, op: COp);
    /// `graphFinalize`.
    finalize = 19 (graph: Handle, profile: Handle, signal: Handle);
    /// `graphRetrieve`.
    graph_retrieve = 20 (context: Handle, name: *const c_char, graph: *mut Handle);
    /// `graphExecute`.
    execute = 21 (
        graph: Handle,
        inputs: *const CTensor,
        n_inputs: u32,
        outputs: *mut CTensor,
        n_outputs: u32,
        profile: Handle,
        signal: Handle
    );
    /// `tensorCreateGraphTensor`: gives the tensor its id.
    create_tensor = 24 (graph: Handle, tensor: *mut CTensor);
    /// `logCreate`.
    log_create = 25 (callback: *const c_void, level: u32, log: *mut Handle);
    /// `deviceCreate`.
    device_create = 40 (log: Handle, configs: Configs, device: *mut Handle);
    /// `errorGetMessage`.
    error_message = 48 (code: u64, message: *mut *const c_char);
}

/// A C string of a library, or nothing.
pub(super) fn text(string: *const c_char) -> String {
    if string.is_null() {
        return String::new();
    }
    // SAFETY: libraries give strings that end in a zero.
    unsafe { CStr::from_ptr(string) }.to_string_lossy().into_owned()
}

impl From<CVersion> for Version {
    fn from(CVersion { major, minor, patch }: CVersion) -> Self {
        Self { major, minor, patch }
    }
}
