//! Kernel keyrings, `keyrings(7)`.

use super::check;
use rustix::io::Errno;

/// Gives this process a fresh, anonymous session keyring, so that it sees none of the caller's
/// keys. A kernel without keyrings has nothing to hide.
pub fn join_fresh_session() -> Result<(), Errno> {
    const JOIN_SESSION_KEYRING: libc::c_int = 1;
    // SAFETY: a null name asks for an anonymous keyring.
    let result = check(unsafe {
        libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, std::ptr::null::<libc::c_char>())
    });
    match result {
        Ok(_) | Err(Errno::NOSYS | Errno::PERM) => Ok(()),
        Err(error) => Err(error),
    }
}
