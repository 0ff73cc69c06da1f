//! Seccomp filters, hand-assembled, `seccomp(2)`.
//!
//! A filter is installed while `CAP_SYS_ADMIN` of the user namespace is still held, never with
//! `no_new_privs`, which would break setuid programs in builds. Foreign architectures (32-bit
//! programs in a 64-bit root) are not filtered for syncs, and refused the forbidden calls by the
//! capabilities that commands lack.

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

const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
const EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const RETURN: u16 = 0x06; // BPF_RET | BPF_K
const ALLOW: u32 = 0x7fff_0000;
const ERRNO: u32 = 0x0005_0000;

/// What a filter does.
#[derive(Debug, Clone, Copy, Default)]
pub struct Filter {
    /// `fsync` and its relatives succeed without doing anything: nobody needs the durability of a
    /// tree that is made again after a crash.
    pub suppress_sync: bool,
    /// Kernel interfaces that are not confined by namespaces fail with EPERM: keyrings of the
    /// host's uid 0, kexec, modules, eBPF, `open_by_handle_at`, …
    pub forbid_global: bool,
}

/// Installs `filter` for this process and all that it starts.
pub fn install(filter: Filter) -> Result<(), Errno> {
    let mut calls: Vec<(libc::c_long, u32)> = Vec::new();
    if filter.suppress_sync {
        let syncs = [
            libc::SYS_fsync,
            libc::SYS_fdatasync,
            libc::SYS_sync,
            libc::SYS_syncfs,
            libc::SYS_msync,
            libc::SYS_sync_file_range,
        ];
        calls.extend(syncs.map(|call| (call, ERRNO)));
    }
    if filter.forbid_global {
        let forbidden = [
            libc::SYS_add_key,
            libc::SYS_request_key,
            libc::SYS_keyctl,
            libc::SYS_bpf,
            libc::SYS_kexec_load,
            libc::SYS_kexec_file_load,
            libc::SYS_init_module,
            libc::SYS_finit_module,
            libc::SYS_delete_module,
            libc::SYS_open_by_handle_at,
            libc::SYS_perf_event_open,
            libc::SYS_userfaultfd,
            libc::SYS_quotactl,
            libc::SYS_swapon,
            libc::SYS_swapoff,
        ];
        calls.extend(forbidden.map(|call| (call, ERRNO | libc::EPERM as u32)));
    }
    if calls.is_empty() {
        return Ok(());
    }
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let mut program = vec![
        step(LOAD, 0, 0, 4), // seccomp_data.arch
        step(EQUAL, 1, 0, ARCHITECTURE),
        step(RETURN, 0, 0, ALLOW),
        step(LOAD, 0, 0, 0), // seccomp_data.nr
    ];
    for (call, action) in calls {
        program.push(step(EQUAL, 0, 1, call as u32));
        program.push(step(RETURN, 0, 0, action));
    }
    program.push(step(RETURN, 0, 0, ALLOW));
    let header =
        libc::sock_fprog { len: program.len() as libc::c_ushort, filter: program.as_mut_ptr() };
    const SET_MODE_FILTER: libc::c_uint = 1;
    // SAFETY: the program outlives the call, its length is its own.
    check(unsafe { libc::syscall(libc::SYS_seccomp, SET_MODE_FILTER, 0, &raw const header) })?;
    Ok(())
}
