//! Seccomp filters, hand-assembled, `seccomp(2)`.
//!
//! A filter is installed while `CAP_SYS_ADMIN` of the user namespace is still held, never with
//! `no_new_privs`, which would break setuid programs in builds. A kernel has several entries: 32-bit
//! programs in a 64-bit root are refused the same calls under their numbers there; only the syncs
//! are left to them. Entries without numbers here, such as x32, are closed.
//!
//! Sockets are of the families that network namespaces confine and Debian's builds use. Others
//! lead past every namespace: `AF_VSOCK` reaches the machine around a virtual one. `io_uring`, whose
//! operations no filter sees, is missing.

use super::check;
use rustix::io::Errno;

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;
#[cfg(target_arch = "riscv64")]
const ARCHITECTURE: u32 = 0xc000_00f3;
#[cfg(target_arch = "powerpc64")]
const ARCHITECTURE: u32 = if cfg!(target_endian = "little") { 0xc000_0015 } else { 0x8000_0015 };
#[cfg(target_arch = "s390x")]
const ARCHITECTURE: u32 = 0x8000_0016;

/// The 32-bit entry of the same kernel, with its numbers of the forbidden calls.
#[cfg(target_arch = "x86_64")]
const FOREIGN: Option<(u32, Numbers)> = Some((
    0x4000_0003, // AUDIT_ARCH_I386
    Numbers {
        refused: &[286, 287, 288, 357, 283, 128, 350, 129, 342, 336, 374, 131, 87, 115],
        log: 103,
        clone: 120,
        unshare: 310,
        socket: 359,
        socketpair: 360,
        multiplexer: Some(102),
    },
));
#[cfg(target_arch = "aarch64")]
const FOREIGN: Option<(u32, Numbers)> = Some((
    0x4000_0028, // AUDIT_ARCH_ARM
    Numbers {
        refused: &[309, 310, 311, 386, 347, 128, 379, 129, 371, 364, 388, 131, 87, 115],
        log: 103,
        clone: 120,
        unshare: 337,
        socket: 281,
        socketpair: 288,
        multiplexer: None, // of the old ABI, which 64-bit kernels lack
    },
));
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const FOREIGN: Option<(u32, Numbers)> = None;

const NATIVE: Numbers = Numbers {
    refused: &[
        libc::SYS_add_key as u32,
        libc::SYS_request_key as u32,
        libc::SYS_keyctl as u32,
        libc::SYS_bpf as u32,
        libc::SYS_kexec_load as u32,
        libc::SYS_kexec_file_load as u32,
        libc::SYS_init_module as u32,
        libc::SYS_finit_module as u32,
        libc::SYS_delete_module as u32,
        libc::SYS_open_by_handle_at as u32,
        libc::SYS_perf_event_open as u32,
        libc::SYS_userfaultfd as u32,
        libc::SYS_quotactl as u32,
        libc::SYS_swapon as u32,
        libc::SYS_swapoff as u32,
    ],
    log: libc::SYS_syslog as u32,
    clone: libc::SYS_clone as u32,
    unshare: libc::SYS_unshare as u32,
    socket: libc::SYS_socket as u32,
    socketpair: libc::SYS_socketpair as u32,
    #[cfg(any(target_arch = "powerpc64", target_arch = "s390x"))]
    multiplexer: Some(libc::SYS_socketcall as u32),
    #[cfg(not(any(target_arch = "powerpc64", target_arch = "s390x")))]
    multiplexer: None,
};

/// Numbers of system calls at one entry of the kernel.
#[derive(Clone, Copy)]
struct Numbers {
    /// Those that act on the whole machine.
    refused: &'static [u32],
    /// `syslog(2)`.
    log: u32,
    clone: u32,
    unshare: u32,
    socket: u32,
    socketpair: u32,
    /// `socketcall(2)`, whose arguments lie in memory, out of a filter's sight.
    multiplexer: Option<u32>,
}

/// The same everywhere.
const CLONE3: u32 = 435;
/// `io_uring_setup`, `io_uring_enter`, `io_uring_register`; the same everywhere.
const RINGS: [u32; 3] = [425, 426, 427];
/// What sockets may be of.
const FAMILIES: [u32; 4] =
    [libc::AF_UNIX as u32, libc::AF_INET as u32, libc::AF_INET6 as u32, libc::AF_NETLINK as u32];
/// The numbers of `socket` and `socketpair` for `socketcall` (`linux/net.h`).
const MAKING: [u32; 2] = [1, 8];
/// The entry for x32 programs has the architecture of the 64-bit one.
#[cfg(target_arch = "x86_64")]
const X32_BIT: Option<u32> = Some(0x4000_0000);
#[cfg(not(target_arch = "x86_64"))]
const X32_BIT: Option<u32> = None;
/// Which argument of `clone(2)` holds the flags.
const CLONE_FLAGS: u32 = if cfg!(target_arch = "s390x") { 1 } else { 0 };

const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
const EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const AT_LEAST: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
const ANY_BIT: u16 = 0x45; // BPF_JMP | BPF_JSET | BPF_K
const RETURN: u16 = 0x06; // BPF_RET | BPF_K
const ALLOW: u32 = 0x7fff_0000;
const ERRNO: u32 = 0x0005_0000;
const REFUSE: u32 = ERRNO | libc::EPERM as u32;
const MISSING: u32 = ERRNO | libc::ENOSYS as u32;
const NO_FAMILY: u32 = ERRNO | libc::EAFNOSUPPORT as u32;

/// What a filter does, besides refusing the kernel's log, rings, and foreign families of sockets.
#[derive(Debug, Clone, Copy, Default)]
pub struct Filter {
    /// `fsync` and its relatives succeed without doing anything: nobody needs the durability of a
    /// tree that is made again after a crash.
    pub suppress_sync: bool,
    /// Kernel interfaces that are not confined by namespaces fail with EPERM: keyrings of the
    /// host's uid 0, kexec, modules, eBPF, `open_by_handle_at`, … So do new user namespaces: in
    /// one of its own the host's root would have `CAP_SYS_ADMIN` again, and mount control groups
    /// that its id owns.
    pub forbid_global: bool,
    /// Sockets may be made through `socketcall(2)`, as the C library of i386 does. Their family
    /// cannot be seen there: only for roots that cannot do without.
    pub allow_multiplexer: bool,
}

/// Where the lower half of an argument of the call lies in `seccomp_data`.
fn argument(number: u32) -> u32 {
    16 + 8 * number + if cfg!(target_endian = "big") { 4 } else { 0 }
}

fn step(code: u16, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter { code, jt, jf, k }
}

/// Answers `call` with `listed` if its first argument is one of `values`, else with `other`.
fn only(call: u32, values: &[u32], listed: u32, other: u32) -> Vec<libc::sock_filter> {
    let count = values.len() as u8;
    let mut program = vec![step(EQUAL, 0, count + 3, call), step(LOAD, 0, 0, argument(0))];
    // Over the values that follow, and over `other`.
    program.extend((1..).zip(values).map(|(n, value)| step(EQUAL, count - n + 1, 0, *value)));
    program.push(step(RETURN, 0, 0, other));
    program.push(step(RETURN, 0, 0, listed));
    program
}

/// The rules for one entry of the kernel; ends in a return.
fn rules(numbers: Numbers, filter: Filter, native: bool) -> Vec<libc::sock_filter> {
    let mut program = vec![step(LOAD, 0, 0, 0)]; // seccomp_data.nr
    let mut answer = |call: u32, action: u32| {
        program.push(step(EQUAL, 0, 1, call));
        program.push(step(RETURN, 0, 0, action));
    };
    answer(numbers.log, REFUSE);
    for call in RINGS {
        answer(call, MISSING);
    }
    if filter.suppress_sync && native {
        for call in [
            libc::SYS_fsync,
            libc::SYS_fdatasync,
            libc::SYS_sync,
            libc::SYS_syncfs,
            libc::SYS_msync,
            libc::SYS_sync_file_range,
        ] {
            answer(call as u32, ERRNO);
        }
    }
    if filter.forbid_global {
        for call in numbers.refused {
            answer(*call, REFUSE);
        }
        // Its flags lie in memory, out of a filter's sight; C libraries fall back to clone.
        answer(CLONE3, MISSING);
    }
    if let (Some(bit), true) = (X32_BIT, native) {
        program.push(step(AT_LEAST, 0, 1, bit));
        program.push(step(RETURN, 0, 0, MISSING));
    }
    for call in [numbers.socket, numbers.socketpair] {
        program.extend(only(call, &FAMILIES, ALLOW, NO_FAMILY));
    }
    if let (Some(call), false) = (numbers.multiplexer, filter.allow_multiplexer) {
        program.extend(only(call, &MAKING, NO_FAMILY, ALLOW));
    }
    if filter.forbid_global {
        for (call, flags) in [(numbers.clone, CLONE_FLAGS), (numbers.unshare, 0)] {
            program.push(step(EQUAL, 0, 4, call));
            program.push(step(LOAD, 0, 0, argument(flags)));
            program.push(step(ANY_BIT, 0, 1, libc::CLONE_NEWUSER as u32));
            program.push(step(RETURN, 0, 0, REFUSE));
            program.push(step(RETURN, 0, 0, ALLOW));
        }
    }
    program.push(step(RETURN, 0, 0, ALLOW));
    program
}

/// Installs `filter` for this process and all that it starts.
pub fn install(filter: Filter) -> Result<(), Errno> {
    let native = rules(NATIVE, filter, true);
    let mut program = vec![step(LOAD, 0, 0, 4)]; // seccomp_data.arch
    // Fewer than 256 steps: a jump's distance is a byte.
    program.push(step(EQUAL, 0, native.len() as u8, ARCHITECTURE));
    program.extend(native);
    if let Some((architecture, numbers)) = FOREIGN {
        let foreign = rules(numbers, filter, false);
        program.push(step(EQUAL, 0, foreign.len() as u8, architecture));
        program.extend(foreign);
    }
    // An entry that nobody described.
    program.push(step(RETURN, 0, 0, MISSING));
    let header =
        libc::sock_fprog { len: program.len() as libc::c_ushort, filter: program.as_mut_ptr() };
    const SET_MODE_FILTER: libc::c_uint = 1;
    // SAFETY: the program outlives the call, its length is its own.
    check(unsafe { libc::syscall(libc::SYS_seccomp, SET_MODE_FILTER, 0, &raw const header) })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jumps_reach_over_every_section() {
        let all = Filter { suppress_sync: true, forbid_global: true, allow_multiplexer: false };
        assert!(rules(NATIVE, all, true).len() < 256);
        if let Some((_, numbers)) = FOREIGN {
            assert!(rules(numbers, all, false).len() < 256);
        }
    }
}
