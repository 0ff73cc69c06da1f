//! The border between C and Rust.
//!
//! Each entry point is one `border!`. Inside it the functions of this room turn what C passed into
//! values: they refuse NULL where something must be, and text that is not UTF-8. What they cannot
//! know, that pointers are valid and strings end, is the promise of the caller.

use crate::error::Error;
use debmock::{ErrorKind, Result};
use std::ffi::{CStr, OsStr, c_char};
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

/// Runs the body of an entry point. `border!(error, { … })` is for calls that can fail: its body is
/// a `Result<()>`, which becomes the status and the error handle. `border!(value; { … })` is for
/// the others: a panic gives `value`.
macro_rules! border {
    ($error:ident, $body:block) => {
        // SAFETY: the head of the header says which pointers callers may pass; the body does
        // nothing else unsafe than to follow them.
        unsafe { $crate::border::fallible($error, || $body) }
    };
    ($value:expr; $body:block) => {
        // SAFETY: as above.
        unsafe { $crate::border::infallible($value, || $body) }
    };
}

/// Runs the body of a call that can fail; its status.
pub unsafe fn fallible(error: *mut *mut Error, body: impl FnOnce() -> Result<()>) -> i32 {
    if !error.is_null() {
        // SAFETY: the caller promises that it points to a handle; it need not hold one yet.
        unsafe { error.write(std::ptr::null_mut()) };
    }
    let failure = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => return crate::DEBMOCK_OK,
        Ok(Err(failure)) => failure,
        Err(payload) => {
            // Dropping what somebody panicked with may panic, too.
            std::mem::forget(payload);
            let sentence = "debmock panicked; this is a bug of debmock";
            debmock::Error::new(ErrorKind::Unexpected, sentence)
        }
    };
    let status = failure.kind() as i32;
    if !error.is_null() {
        // SAFETY: as above.
        unsafe { error.write(Box::into_raw(Box::new(Error::new(&failure)))) };
    }
    status
}

/// Runs the body of a call that cannot fail.
///
/// It is unsafe because what it runs follows pointers of C.
pub unsafe fn infallible<T>(value: T, body: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|payload| {
        std::mem::forget(payload);
        value
    })
}

fn usage(message: String) -> debmock::Error {
    debmock::Error::new(ErrorKind::Usage, message)
}

/// What an argument points to, which must not be NULL.
pub unsafe fn handle<'a, T>(pointer: *const T, name: &str) -> Result<&'a T> {
    // SAFETY: the caller promises that it is NULL or a live handle.
    unsafe { pointer.as_ref() }.ok_or_else(|| usage(format!("the argument {name} is NULL")))
}

/// Where a new handle goes. It becomes NULL now, so that it holds one only after success.
pub unsafe fn out<'a, T>(slot: *mut T, empty: T, name: &str) -> Result<&'a mut T> {
    if slot.is_null() {
        return Err(usage(format!("the argument {name} is NULL")));
    }
    // SAFETY: the caller promises that it points to a variable of this type, of any content.
    unsafe {
        slot.write(empty);
        Ok(&mut *slot)
    }
}

/// Where a new handle goes if the caller wants it.
pub unsafe fn wanted<'a, T>(slot: *mut *mut T) -> Option<&'a mut *mut T> {
    // SAFETY: as for `out`.
    unsafe { out(slot, std::ptr::null_mut(), "") }.ok()
}

/// A new handle.
pub fn boxed<T>(value: T) -> *mut T {
    Box::into_raw(Box::new(value))
}

/// Frees a handle and forgets it.
pub unsafe fn free<T>(slot: *mut *mut T) {
    if slot.is_null() {
        return;
    }
    // SAFETY: the caller promises that it points to NULL or to a handle that `boxed` made and that
    // nobody else uses or frees.
    unsafe {
        let pointer = slot.replace(std::ptr::null_mut());
        if !pointer.is_null() {
            drop(Box::from_raw(pointer));
        }
    }
}

/// A text, which must not be NULL.
pub unsafe fn text<'a>(pointer: *const c_char, name: &str) -> Result<&'a str> {
    // SAFETY: the caller promises that it is NULL or a string.
    match unsafe { optional_text(pointer, name) }? {
        Some(text) => Ok(text),
        None => Err(usage(format!("{name} is NULL"))),
    }
}

/// A text, or nothing for NULL.
pub unsafe fn optional_text<'a>(pointer: *const c_char, name: &str) -> Result<Option<&'a str>> {
    if pointer.is_null() {
        return Ok(None);
    }
    // SAFETY: it is not NULL, and the caller promises that it ends.
    let text = unsafe { CStr::from_ptr(pointer) };
    text.to_str().map(Some).map_err(|_| usage(format!("{name} is not UTF-8")))
}

/// A path, or nothing for NULL. Paths are bytes.
pub unsafe fn optional_path(pointer: *const c_char) -> Option<PathBuf> {
    if pointer.is_null() {
        return None;
    }
    // SAFETY: it is not NULL, and the caller promises that it ends.
    let bytes = unsafe { CStr::from_ptr(pointer) }.to_bytes();
    Some(PathBuf::from(OsStr::from_bytes(bytes)))
}

/// A path, which must not be NULL.
pub unsafe fn path(pointer: *const c_char, name: &str) -> Result<PathBuf> {
    // SAFETY: as for `optional_path`.
    unsafe { optional_path(pointer) }.ok_or_else(|| usage(format!("{name} is NULL")))
}

/// The strings of a list that NULL ends; none for NULL.
pub unsafe fn words<'a>(list: *const *const c_char) -> Vec<&'a [u8]> {
    let mut words = Vec::new();
    if list.is_null() {
        return words;
    }
    for index in 0.. {
        // SAFETY: the caller promises that the list ends with NULL; nothing behind that is read.
        let word = unsafe { *list.add(index) };
        if word.is_null() {
            break;
        }
        // SAFETY: the caller promises that every entry is a string.
        words.push(unsafe { CStr::from_ptr(word) }.to_bytes());
    }
    words
}

/// As [`words`], of text.
pub unsafe fn texts(list: *const *const c_char, name: &str) -> Result<Vec<String>> {
    // SAFETY: as for `words`.
    let words = unsafe { words(list) };
    let texts = words.iter().map(|word| std::str::from_utf8(word).map(str::to_owned));
    texts
        .collect::<std::result::Result<_, _>>()
        .map_err(|_| usage(format!("an entry of {name} is not UTF-8")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_does_not_cross_and_is_an_error() {
        let mut error = std::ptr::dangling_mut();
        let slot = &raw mut error;
        let status = border!(slot, { panic!("on purpose") });
        assert_eq!(status, crate::DEBMOCK_ERR_UNEXPECTED);
        // SAFETY: it holds the error that the call made.
        unsafe { free(slot) };
        assert!(error.is_null());
        assert_eq!(border!(7; { panic!("on purpose") }), 7);
    }
}
