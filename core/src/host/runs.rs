//! Whether programs of an architecture run on this machine.
//!
//! `binfmt_misc` is not mounted in every container, and not every processor that could run
//! 32-bit programs does. So the kernel is asked: it gets a program to execute that is nothing but
//! the head of one.

use crate::config::Architecture;
use crate::error::{Error, ErrorKind, Result};
use rustix::fs::MemfdFlags;
use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};

/// The head of an ELF program (`elf(5)`).
#[derive(Debug, Clone, Copy)]
struct Head {
    wide: bool,
    big: bool,
    machine: u16,
    flags: u32,
    /// What exits, where the kernel may run it itself.
    code: &'static [u8],
}

/// Linux architectures of Debian and its ports; others are not known.
fn head(architecture: &str) -> Option<Head> {
    // mov eax,1; xor ebx,ebx; int 0x80, and mov r7,#1; mov r0,#0; svc 0
    const I386: &[u8] = &[0xb8, 1, 0, 0, 0, 0x31, 0xdb, 0xcd, 0x80];
    const ARM: &[u8] = &[1, 0x70, 0xa0, 0xe3, 0, 0, 0xa0, 0xe3, 0, 0, 0, 0xef];
    let (wide, big, machine, flags, code): (_, _, _, _, &[u8]) = match architecture {
        "amd64" => (true, false, 62, 0, &[]),
        "i386" => (false, false, 3, 0, I386),
        "arm64" => (true, false, 183, 0, &[]),
        "armhf" => (false, false, 40, 0x0500_0400, ARM),
        "armel" => (false, false, 40, 0x0500_0200, ARM),
        "ppc64el" => (true, false, 21, 2, &[]),
        "ppc64" => (true, true, 21, 1, &[]),
        "powerpc" => (false, true, 20, 0, &[]),
        "riscv64" => (true, false, 243, 5, &[]),
        "s390x" => (true, true, 22, 0, &[]),
        "mips64el" => (true, false, 8, 0x8000_0007, &[]),
        "mipsel" => (false, false, 8, 0x7000_1007, &[]),
        "loong64" => (true, false, 258, 0x43, &[]),
        "alpha" => (true, false, 0x9026, 0, &[]),
        "hppa" => (false, true, 15, 0, &[]),
        "m68k" => (false, true, 4, 0, &[]),
        "sh4" => (false, false, 42, 0, &[]),
        "sparc64" => (true, true, 43, 0, &[]),
        _ => return None,
    };
    Some(Head { wide, big, machine, flags, code })
}

impl Head {
    /// The program: one segment with the code, or none.
    fn bytes(self) -> Vec<u8> {
        const AT: u64 = 0x10000;
        let mut text =
            vec![0x7f, b'E', b'L', b'F', 1 + u8::from(self.wide), 1 + u8::from(self.big), 1];
        text.resize(16, 0);
        let mut put = |number: u64, size: usize| {
            let bytes = number.to_be_bytes();
            let bytes = &bytes[8 - size..];
            match self.big {
                true => text.extend_from_slice(bytes),
                false => text.extend(bytes.iter().rev()),
            }
        };
        let word = if self.wide { 8 } else { 4 };
        let (header, segment) = if self.wide { (64, 56) } else { (52, 32) };
        let segments = u64::from(!self.code.is_empty());
        let start = header + segments * segment;
        let size = start + self.code.len() as u64;
        // e_type, e_machine, e_version, e_entry, e_phoff, e_shoff, e_flags
        for (number, size) in [(2, 2), (self.machine.into(), 2), (1, 4)] {
            put(number, size);
        }
        for number in [AT + start, header, 0] {
            put(number, word);
        }
        put(self.flags.into(), 4);
        for number in [header, segment, segments, 0, 0, 0] {
            put(number, 2);
        }
        if segments == 1 {
            // p_type; only 32-bit programs bring code: p_offset, addresses, sizes, r-x, alignment
            for number in [1, 0, AT, AT, size, size, 5, 0x10000] {
                put(number, 4);
            }
        }
        text.extend_from_slice(self.code);
        text
    }

    /// Whether the kernel knows what to do with it. If it cannot be tried, it is taken to.
    fn runs(self) -> bool {
        let Ok(memory) = rustix::fs::memfd_create("debmock-probe", MemfdFlags::CLOEXEC) else {
            return true;
        };
        let mut file = File::from(memory);
        if file.write_all(&self.bytes()).is_err() {
            return true;
        }
        let started = Command::new(format!("/proc/self/fd/{}", file.as_raw_fd()))
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        match started {
            Ok(mut child) => {
                // However it ends: there was something that ran it.
                let _ = child.wait();
                true
            }
            // Linux's ENOEXEC has this number everywhere.
            Err(error) => error.raw_os_error() != Some(8),
        }
    }
}

/// Fails if programs of `architecture` cannot run on this machine, neither by themselves nor
/// with an emulator that `binfmt_misc` knows.
///
/// # Errors
/// [`ErrorKind::Isolation`], with what to install.
pub fn check_architecture(architecture: &Architecture) -> Result<()> {
    let name = architecture.as_str();
    if *architecture == Architecture::host() {
        return Ok(());
    }
    let (hint, runs) = match head(name) {
        Some(head) => (
            "install an emulator for it, for example with `apt install qemu-user-static`, on the \
             host itself if this is a container; or set `architecture` in the config",
            head.runs(),
        ),
        // Ports to other kernels have them in their names.
        None => (
            "its programs need another kernel: set `architecture` in the config",
            !name.contains('-'),
        ),
    };
    match runs {
        true => Ok(()),
        false => {
            let message = format!("this machine cannot run programs of {name}");
            Err(Error::new(ErrorKind::Isolation, message).with_hint(hint))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_kernel_knows_does_not_run() {
        let head = head("arm64").unwrap();
        assert!(!Head { machine: 0xfeed, ..head }.runs());
        assert_eq!(head.bytes().len(), 64);
    }

    #[test]
    fn what_the_host_has_runs() {
        let host = Architecture::host();
        assert!(check_architecture(&host).is_ok());
    }

    #[test]
    fn other_kernels_are_told_from_other_processors() {
        for name in ["hurd-i386", "hurd-amd64", "kfreebsd-amd64"] {
            let error = check_architecture(&name.parse().unwrap()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Isolation);
            assert!(error.hint().unwrap().contains("another kernel"), "{error:?}");
        }
        // What is not known is left to the archive.
        assert!(check_architecture(&"newport".parse().unwrap()).is_ok());
    }

    #[test]
    fn programs_with_code_are_whole() {
        let bytes = head("i386").unwrap().bytes();
        assert_eq!(bytes.len(), 52 + 32 + 9);
        assert_eq!(&bytes[24..28], &0x10054_u32.to_le_bytes());
    }
}
