//! What a library logs, kept as text: the reasons why it refuses an operation are only said there.

use std::ffi::{c_char, c_int, c_void};
use std::sync::{Mutex, PoisonError};

/// Lines at or above "warning", since they were last taken.
static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Only errors and warnings are asked for.
pub(super) const LEVEL: u32 = 2;

unsafe extern "C" {
    /// The C library's formatting. A `va_list` that is passed on is a pointer on x86-64.
    fn vsnprintf(into: *mut c_char, size: usize, format: *const c_char, arguments: *mut c_void) -> c_int;
}

/// `QnnLog_Callback_t`.
pub(super) unsafe extern "C" fn callback(
    format: *const c_char,
    level: u32,
    _time: u64,
    arguments: *mut c_void,
) {
    let mut text = [0u8; 8192];
    // SAFETY: the library passes a format and the arguments that belong to it, once; the buffer has the size that is said.
    let length = unsafe { vsnprintf(text.as_mut_ptr().cast(), text.len(), format, arguments) };
    let length = usize::try_from(length).unwrap_or(0).min(text.len() - 1);
    if level > LEVEL {
        return;
    }
    let line = String::from_utf8_lossy(&text[..length]).trim().to_owned();
    if !line.is_empty() {
        LINES.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }
}

/// What was logged since the last call.
pub(super) fn take() -> Vec<String> {
    std::mem::take(&mut LINES.lock().unwrap_or_else(PoisonError::into_inner))
}
