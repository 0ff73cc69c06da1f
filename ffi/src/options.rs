//! Structs of options whose first field says how long they are.
//!
//! A program that was compiled against an older header passes a shorter struct: what it does not
//! know is zero, and zero always means "as if it were not there". A newer program passes a longer
//! one: what this library does not know must be zero, or the call is refused, as `openat2(2)` does.

use debmock::{Error, ErrorKind, Result};
use std::mem::MaybeUninit;

/// Longer structs than this are mistakes.
const LONGEST: usize = 4096;

/// A struct of options.
///
/// # Safety
/// It is `repr(C)`, begins with its size as `usize`, has no padding, and every pattern of bytes is
/// a value of it: integers, floating-point numbers, pointers, nullable functions.
pub unsafe trait Options: Copy {}

/// Reads options; NULL are none: all zero.
pub unsafe fn read<T: Options>(pointer: *const T, name: &str) -> Result<T> {
    let mut value = MaybeUninit::<T>::zeroed();
    if pointer.is_null() {
        // SAFETY: every pattern of bytes is a value.
        return Ok(unsafe { value.assume_init() });
    }
    // SAFETY: the caller promises that at least the size is there.
    let size = unsafe { pointer.cast::<usize>().read_unaligned() };
    let refuse = |what: &str| {
        Err(Error::new(ErrorKind::Usage, format!("{name}: {what}"))
            .with_hint(format!("set {name}.size to sizeof of its type")))
    };
    if size < size_of::<usize>() || size > LONGEST || !size.is_multiple_of(align_of::<usize>()) {
        return refuse(&format!("its size cannot be {size}"));
    }
    let known = size.min(size_of::<T>());
    // SAFETY: the caller promises that `size` bytes are there; `known` is not more than that, nor
    // more than the value has room for.
    unsafe {
        pointer.cast::<u8>().copy_to_nonoverlapping(value.as_mut_ptr().cast(), known);
    }
    for index in known..size {
        // SAFETY: it is within the `size` bytes.
        if unsafe { pointer.cast::<u8>().add(index).read() } != 0 {
            return refuse("it has options that this version of debmock does not know");
        }
    }
    // SAFETY: every pattern of bytes is a value.
    Ok(unsafe { value.assume_init() })
}

/// Refuses flags that this version does not know.
pub fn check_flags(flags: u64, known: u64, name: &str) -> Result<u64> {
    match flags & !known {
        0 => Ok(flags),
        unknown => Err(Error::new(
            ErrorKind::Usage,
            format!("{name}: this version of debmock does not know the flags {unknown:#x}"),
        )),
    }
}

/// Seconds as a duration; 0 is none.
pub fn seconds(value: f64, name: &str) -> Result<Option<std::time::Duration>> {
    if value == 0.0 {
        return Ok(None);
    }
    std::time::Duration::try_from_secs_f64(value).map(Some).map_err(|_| {
        Error::new(ErrorKind::Usage, format!("{name} is {value}, which is no number of seconds"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone, Copy)]
    #[repr(C)]
    struct Two {
        size: usize,
        one: u64,
        two: u64,
    }
    // SAFETY: it is as the trait wants it.
    unsafe impl Options for Two {}

    fn parse(bytes: &[u64]) -> Result<Two> {
        // SAFETY: the tests say no size that is longer than the slice.
        unsafe { read(bytes.as_ptr().cast(), "options") }
    }

    #[test]
    fn shorter_structs_are_filled_with_zeros() {
        assert_eq!(parse(&[16, 5, 77]).map(|two| (two.one, two.two)).unwrap(), (5, 0));
        assert_eq!(parse(&[8, 5]).unwrap().one, 0);
        // SAFETY: NULL is allowed.
        assert_eq!(unsafe { read::<Two>(std::ptr::null(), "options") }.unwrap().size, 0);
    }

    #[test]
    fn longer_structs_must_be_zero_where_they_are_unknown() {
        assert_eq!(parse(&[32, 1, 2, 0]).unwrap().two, 2);
        for behind in [1, 1 << 56] {
            let error = parse(&[32, 1, 2, behind]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Usage);
        }
    }

    #[test]
    fn sizes_that_cannot_be_are_refused() {
        for size in [0, 1, 7, 9, 4104, u64::MAX] {
            assert_eq!(parse(&[size, 0, 0]).unwrap_err().kind(), ErrorKind::Usage, "{size}");
        }
    }

    #[test]
    fn times_are_checked() {
        assert_eq!(seconds(0.0, "x").unwrap(), None);
        assert_eq!(seconds(1.5, "x").unwrap().unwrap().as_millis(), 1500);
        for bad in [-1.0, f64::NAN, f64::INFINITY, 1e300] {
            assert_eq!(seconds(bad, "x").unwrap_err().kind(), ErrorKind::Usage);
        }
    }
}
