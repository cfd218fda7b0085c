//! The buffer protocol under the stable ABI of Python 3.9.
//!
//! `Py_buffer` entered the stable ABI in 3.11 and pyo3 offers it only from
//! there on, but the symbols and the structure are the same in every CPython from 3.9 to
//! 3.14 (`Include/cpython/object.h`, `Include/pybuffer.h`). And the processor's own clock. This
//! file is the only place of the project that holds `unsafe` code.
#![allow(unsafe_code)]

use std::ffi::{c_char, c_int, c_void};

use pyo3::ffi::{Py_ssize_t, PyObject};
use pyo3::prelude::*;

/// What the processor's clock shows, as `runtime.cputicks` of amd64 reads it.
pub(crate) fn ticks() -> Option<i64> {
    #[cfg(target_arch = "x86_64")]
    {
        // Safety: the instruction is part of the architecture and reads no memory.
        #[allow(unused_unsafe, reason = "it is a safe function in later releases")]
        let now = unsafe { std::arch::x86_64::_rdtsc() };
        i64::try_from(now).ok()
    }
    #[cfg(not(target_arch = "x86_64"))]
    None
}

#[repr(C)]
struct PyBuffer {
    buf: *mut c_void,
    obj: *mut PyObject,
    len: Py_ssize_t,
    itemsize: Py_ssize_t,
    readonly: c_int,
    ndim: c_int,
    format: *mut c_char,
    shape: *mut Py_ssize_t,
    strides: *mut Py_ssize_t,
    suboffsets: *mut Py_ssize_t,
    internal: *mut c_void,
}

/// A contiguous buffer of bytes, read only.
const PYBUF_SIMPLE: c_int = 0;

unsafe extern "C" {
    fn PyObject_GetBuffer(object: *mut PyObject, view: *mut PyBuffer, flags: c_int) -> c_int;
    fn PyBuffer_Release(view: *mut PyBuffer);
}

struct Held(PyBuffer);

impl Drop for Held {
    fn drop(&mut self) {
        // Safety: `self.0` was filled by a successful PyObject_GetBuffer, is
        // released once, here, and the interpreter is attached: `Held` lives only
        // inside `copy_bytes`, which holds a `Bound`.
        unsafe { PyBuffer_Release(&mut self.0) }
    }
}

/// Lends the bytes of an object that has a contiguous buffer to `visit`.
///
/// # Errors
/// What Python raised when the object has no such buffer.
pub(crate) fn with_bytes<T>(
    object: &Bound<'_, PyAny>,
    visit: impl FnOnce(&[u8]) -> T,
) -> PyResult<T> {
    let mut view = PyBuffer {
        buf: std::ptr::null_mut(),
        obj: std::ptr::null_mut(),
        len: 0,
        itemsize: 0,
        readonly: 0,
        ndim: 0,
        format: std::ptr::null_mut(),
        shape: std::ptr::null_mut(),
        strides: std::ptr::null_mut(),
        suboffsets: std::ptr::null_mut(),
        internal: std::ptr::null_mut(),
    };
    // Safety: `object` is a live object of an attached interpreter, `view` is a valid
    // place for the structure, and PYBUF_SIMPLE is a valid request.
    let failed = unsafe { PyObject_GetBuffer(object.as_ptr(), &mut view, PYBUF_SIMPLE) };
    if failed != 0 {
        return Err(PyErr::fetch(object.py()));
    }
    let held = Held(view);
    let len = usize::try_from(held.0.len).unwrap_or(0);
    let bytes = if len == 0 || held.0.buf.is_null() {
        &[]
    } else {
        // Safety: with PYBUF_SIMPLE `buf` points to `len` contiguous bytes that stay
        // valid while the view is held, which is longer than `bytes` lives. Nobody
        // writes to them: gdb hands out a fresh buffer with each read and only this
        // function has the view.
        unsafe { std::slice::from_raw_parts(held.0.buf.cast::<u8>(), len) }
    };
    Ok(visit(bytes))
}
