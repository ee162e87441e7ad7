//! The library that reads files: what is in a context binary, and graphs out of a DLC.

use std::ffi::{CString, c_char, c_void};
use std::path::Path;
use std::ptr::{null, null_mut};

use super::api::{ApiError, is_exactly_known, provider, text};
use super::layout::{CBinaryInfo, CGraphInfo, CSystemInterface, CTensor, Handle};
use super::session::{Failure, Loaded, Session};
use crate::version::Version;

/// The system library, loaded.
pub(crate) struct System {
    interface: *const CSystemInterface,
}

/// What a context binary says of itself.
pub(crate) struct BinaryInfo {
    /// The chip that it is for.
    pub(crate) soc_model: u32,
    /// The release of the libraries that wrote it.
    pub(crate) build: String,
    /// The API that it was written with.
    pub(crate) core: Version,
    graph: GraphInfo,
}

/// Name and tensors of a graph in a file.
struct GraphInfo {
    name: String,
    inputs: Vec<CTensor>,
    outputs: Vec<CTensor>,
}

/// Places in the table of functions.
const CONTEXT_CREATE: usize = 0;
const BINARY_INFO: usize = 1;
const DLC_FROM_FILE: usize = 8;
const DLC_COMPOSE: usize = 10;

/// The version of [`CBinaryInfo`] that is read here.
const INFO_VERSION: u32 = 3;

impl System {
    /// Loads the library at `path`.
    pub(crate) fn load(path: &Path) -> Result<Self, Failure> {
        let interface: *const CSystemInterface = provider(path, c"QnnSystemInterface_getProviders")?.cast();
        // SAFETY: the library gives interfaces of this form, for as long as it is loaded.
        let found = Version::from(unsafe { &*interface }.version);
        if found.major != 1 || found.minor < 11 {
            return Err(ApiError::Version { path: path.display().to_string(), found }.into());
        }
        Ok(Self { interface })
    }

    fn function(&self, index: usize) -> *const c_void {
        // SAFETY: the interface lives as long as the library.
        unsafe { (*self.interface).functions[index] }
    }

    /// What `binary` says of itself.
    pub(crate) fn inspect(&self, binary: &mut [u8]) -> Result<BinaryInfo, Failure> {
        type Create = unsafe extern "C" fn(*mut Handle) -> u64;
        type Info = unsafe extern "C" fn(Handle, *mut c_void, u64, *mut *const CBinaryInfo, *mut u64) -> u64;
        // SAFETY: the functions at these places have these types.
        let (create, info) = unsafe {
            (
                std::mem::transmute::<*const c_void, Create>(self.function(CONTEXT_CREATE)),
                std::mem::transmute::<*const c_void, Info>(self.function(BINARY_INFO)),
            )
        };
        let (mut handle, mut found, mut size) = (null_mut(), null(), 0);
        // SAFETY: places for what is asked; the binary is as long as is said.
        let code = unsafe {
            match create(&raw mut handle) {
                0 => info(
                    handle,
                    binary.as_mut_ptr().cast(),
                    binary.len() as u64,
                    &raw mut found,
                    &raw mut size,
                ),
                code => code,
            }
        };
        checked(code, "systemContextGetBinaryInfo")?;
        // SAFETY: the call succeeded, so that there is an answer; it begins with its version.
        let version = unsafe { (*found).version };
        if version != INFO_VERSION {
            let why =
                format!("the context binary describes itself in version {version}; {INFO_VERSION} is read");
            return Err(Failure::Tensor(why));
        }
        // SAFETY: of this version.
        let body = unsafe { &(*found).body };
        if body.n_graphs != 1 {
            return Err(Failure::Tensor(format!("the context has {} graphs, not one", body.n_graphs)));
        }
        Ok(BinaryInfo {
            soc_model: body.soc_model,
            build: text(body.build),
            core: body.core.into(),
            // SAFETY: there is one graph.
            graph: graph_info(unsafe { &*body.graphs }),
        })
    }

    /// Puts the graph of the DLC at `path` into the session's context.
    pub(crate) fn compose(&self, session: &Session, path: &Path) -> Result<Loaded, Failure> {
        type FromFile = unsafe extern "C" fn(Handle, *const c_char, *mut Handle) -> u64;
        // SAFETY: the function at this place has this type.
        let from_file =
            unsafe { std::mem::transmute::<*const c_void, FromFile>(self.function(DLC_FROM_FILE)) };
        let name = CString::new(path.display().to_string())
            .map_err(|_| Failure::Tensor("a path with a zero character in it".to_owned()))?;
        let mut dlc = null_mut();
        // SAFETY: the path lives until the call returns.
        checked(unsafe { from_file(null_mut(), name.as_ptr(), &raw mut dlc) }, "dlcCreateFromFile")?;
        let minor = session.api.core.minor;
        let unknown = || {
            let version = session.api.core;
            Failure::Tensor(format!("the size of the interface of core API {version} is not known"))
        };
        if !is_exactly_known(minor) {
            return Err(unknown());
        }
        let (mut graphs, mut count) = (null(), 0);
        let function = self.function(DLC_COMPOSE);
        // SAFETY: the interface has as many functions as its version says.
        let code = unsafe {
            match super::api::functions_of(minor) {
                71 => compose_by_value::<71>(function, dlc, session, &raw mut graphs, &raw mut count),
                72 => compose_by_value::<72>(function, dlc, session, &raw mut graphs, &raw mut count),
                _ => compose_by_value::<75>(function, dlc, session, &raw mut graphs, &raw mut count),
            }
        };
        session.check(code, || "dlcComposeGraphs".to_owned())?;
        if count != 1 {
            return Err(Failure::Tensor(format!("the DLC has {count} graphs, not one")));
        }
        // SAFETY: there is one graph.
        let graph = graph_info(unsafe { &*graphs });
        let loaded = graph.loaded(session)?;
        session.finalize_handle(loaded.handle, &graph.name)?;
        Ok(loaded)
    }
}

impl BinaryInfo {
    /// The name of the graph.
    pub(crate) fn graph_name(&self) -> &str {
        &self.graph.name
    }

    /// The graph in a session whose context is of the same binary.
    pub(crate) fn loaded(&self, session: &Session) -> Result<Loaded, Failure> {
        self.graph.loaded(session)
    }
}

impl GraphInfo {
    fn loaded(&self, session: &Session) -> Result<Loaded, Failure> {
        let handle = session.retrieve(&self.name)?;
        Ok(Loaded { handle, inputs: self.inputs.clone(), outputs: self.outputs.clone(), _arena: None })
    }
}

/// `QnnInterface_t` with its functions, which this one call takes by value.
#[repr(C)]
#[derive(Clone, Copy)]
struct WholeInterface<const N: usize> {
    head: [u64; 5],
    functions: [*const c_void; N],
}

/// Calls `function`, which takes the interface by value: on x86-64 the size of that says where later arguments are.
///
/// # Safety
/// `function` must be `dlcComposeGraphs`, and the session's interface must have `N` functions.
unsafe fn compose_by_value<const N: usize>(
    function: *const c_void,
    dlc: Handle,
    session: &Session,
    graphs: *mut *const CGraphInfo,
    count: *mut u32,
) -> u64 {
    type Compose<const N: usize> = unsafe extern "C" fn(
        Handle,
        *const *const c_void,
        u32,
        Handle,
        Handle,
        WholeInterface<N>,
        u32,
        *mut *const CGraphInfo,
        *mut u32,
    ) -> u64;
    // SAFETY: as the caller promises.
    let compose = unsafe { std::mem::transmute::<*const c_void, Compose<N>>(function) };
    // SAFETY: as the caller promises; head and functions lie behind one another.
    let interface = unsafe { *session.api.interface().cast::<WholeInterface<N>>() };
    // SAFETY: the handles are the library's own, and the places take what is asked.
    unsafe { compose(dlc, null(), 0, session.backend, session.context, interface, 1, graphs, count) }
}

fn graph_info(info: &CGraphInfo) -> GraphInfo {
    let list = |tensors: *const CTensor, count: u32| {
        if count == 0 {
            return Vec::new();
        }
        // SAFETY: there are as many tensors as is said.
        unsafe { std::slice::from_raw_parts(tensors, count as usize) }.to_vec()
    };
    GraphInfo {
        name: text(info.name),
        inputs: list(info.inputs, info.n_inputs),
        outputs: list(info.outputs, info.n_outputs),
    }
}

fn checked(code: u64, call: &str) -> Result<(), Failure> {
    if code == 0 {
        return Ok(());
    }
    let log = super::log::take();
    Err(Failure::Call {
        call: call.to_owned(),
        code,
        message: "the system library gives no text".to_owned(),
        log,
    })
}
