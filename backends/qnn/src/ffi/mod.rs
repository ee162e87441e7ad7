//! What Qualcomm's libraries and this crate agree on in memory: the only `unsafe` code of the crate.
//!
//! Everything here is written by hand from the public API reference of the AI Engine Direct SDK (pages `QnnTypes.h`,
//! `QnnInterface.h`, `QnnHtpDevice.h`, `QnnSystemContext.h`, `QnnSystemDlc.h`), with sizes and offsets as observed on the
//! libraries with core API 2.36 and 2.40 on x86-64 Linux; the compiler checks them. Structures and the table of functions
//! only ever grow at their ends. A library of another major version is refused.
//!
//! Nothing here is called but in a process that does nothing else: see [`crate::native`].

#![expect(unsafe_code, reason = "a C library is loaded at run time and called through pointers")]

mod api;
mod arena;
mod layout;
mod log;
mod session;
mod system;

pub(crate) use session::{Failure, Loaded, Session};
pub(crate) use system::System;
