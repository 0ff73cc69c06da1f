//! Capabilities: what root inside a session may do, `capabilities(7)`.

use super::check;
use rustix::io::Errno;

/// A capability number of `linux/capability.h`.
pub type Capability = u32;

/// Capabilities that commands keep in a session of their own user namespace. `CAP_SYS_ADMIN` is
/// not among them: it would allow to unmount or remount what hides and protects, while nothing
/// that a package does at build or installation time needs it (a process can still make user
/// namespaces of its own, in which these mounts are locked). Neither is `CAP_SYS_BOOT`: in a
/// process namespace `reboot(2)` ends process 1, and with it the session.
pub const IN_USER_NAMESPACE: &[Capability] = &[
    0,  // CHOWN
    1,  // DAC_OVERRIDE
    2,  // DAC_READ_SEARCH
    3,  // FOWNER
    4,  // FSETID
    5,  // KILL
    6,  // SETGID
    7,  // SETUID
    8,  // SETPCAP
    9,  // LINUX_IMMUTABLE
    10, // NET_BIND_SERVICE
    11, // NET_BROADCAST
    12, // NET_ADMIN
    13, // NET_RAW
    14, // IPC_LOCK
    15, // IPC_OWNER
    18, // SYS_CHROOT
    19, // SYS_PTRACE
    23, // SYS_NICE
    26, // SYS_TTY_CONFIG
    27, // MKNOD
    28, // LEASE
    29, // AUDIT_WRITE
    31, // SETFCAP
];

/// Capabilities that commands keep where uid 0 inside is the host's uid 0: without
/// `DAC_READ_SEARCH` (`open_by_handle_at` reaches every file of a file system), `SYS_PTRACE`
/// (it overrides the keeper's undumpable state), `NET_ADMIN`, `SYS_NICE`, `SYS_RESOURCE`,
/// `LINUX_IMMUTABLE`.
pub const AS_REAL_ROOT: &[Capability] =
    &[0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 14, 15, 18, 27, 28, 29, 31];

/// What it takes to make files with owners, modes and file capabilities.
pub const MAKING_FILES: &[Capability] = &[
    0,  // CHOWN
    1,  // DAC_OVERRIDE
    3,  // FOWNER
    4,  // FSETID
    31, // SETFCAP
];

/// Removes every capability but `keep` from the bounding set: no program that is executed from now
/// on, setuid or not, gets another one. What this process itself may do stays.
pub fn bound(keep: &[Capability]) -> Result<(), Errno> {
    let last = last_capability();
    for capability in 0..=last {
        if !keep.contains(&capability) {
            // SAFETY: PR_CAPBSET_DROP takes one integer.
            let result =
                check(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) }.into());
            // A kernel with fewer capabilities says EINVAL. A process that has lost SETPCAP to its
            // container says EPERM: that is an error, since a program that runs as uid 0 would
            // get back what is only missing in the sets below.
            match result {
                Ok(_) | Err(Errno::INVAL) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

/// Removes every capability but `keep` from the current sets. Programs that are executed get them
/// back as far as [`bound`] left them.
pub fn limit(keep: &[Capability]) -> Result<(), Errno> {
    let mut mask = 0u64;
    for capability in keep {
        mask |= 1 << capability;
    }
    let (permitted, _) = get()?;
    let wanted = permitted & mask;
    set(wanted, wanted, 0)
}

fn last_capability() -> u32 {
    (0..64)
        // SAFETY: PR_CAPBSET_READ takes one integer and changes nothing.
        .take_while(|&n| unsafe { libc::prctl(libc::PR_CAPBSET_READ, n, 0, 0, 0) } >= 0)
        .last()
        .unwrap_or(40)
}

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Data {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

const VERSION_3: u32 = 0x2008_0522;

/// The permitted and effective sets of this process.
pub fn get() -> Result<(u64, u64), Errno> {
    let header = Header { version: VERSION_3, pid: 0 };
    let mut data = [Data::default(); 2];
    // SAFETY: header and data have the layout that version 3 asks for and outlive the call.
    check(unsafe { libc::syscall(libc::SYS_capget, &raw const header, data.as_mut_ptr()) })?;
    let join = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
    Ok((join(data[0].permitted, data[1].permitted), join(data[0].effective, data[1].effective)))
}

fn set(permitted: u64, effective: u64, inheritable: u64) -> Result<(), Errno> {
    let header = Header { version: VERSION_3, pid: 0 };
    let half = |shift: u32| Data {
        effective: (effective >> shift) as u32,
        permitted: (permitted >> shift) as u32,
        inheritable: (inheritable >> shift) as u32,
    };
    let data = [half(0), half(32)];
    // SAFETY: as in `get`.
    check(unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) })?;
    Ok(())
}
