//! Roots that are copies of their base: a place where overlays cannot be mounted.

use crate::drive::{self, Drive};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A mount namespace in which the state of a drive lies on an overlay, which cannot be the upper of
/// another one.
#[derive(Debug)]
pub struct WithoutOverlays {
    holder: std::process::Child,
}

impl WithoutOverlays {
    /// For this drive, whose state is on it from now on, for what is started with
    /// [`WithoutOverlays::start`]. Needs root.
    pub fn of(drive: &Drive) -> Self {
        let lower = drive.area().path().join("lower");
        let memory = drive.area().path().join("memory");
        for folder in [&lower, &memory] {
            fs::create_dir(folder).unwrap();
        }
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--propagation", "private", "sh", "-ec"])
            .arg("mount -t tmpfs none \"$1\"; mkdir \"$1/u\" \"$1/w\"; mount -t overlay -o lowerdir=\"$0\",upperdir=\"$1/u\",workdir=\"$1/w\" none \"$2\"; echo ready; exec cat")
            .arg(&lower)
            .arg(&memory)
            .arg(drive.area().state())
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped());
        let mut holder = command.spawn().unwrap();
        let mut line = String::new();
        let mut output = std::io::BufReader::new(holder.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut output, &mut line).unwrap();
        assert_eq!(line, "ready\n");
        WithoutOverlays { holder }
    }

    /// These steps, in there.
    pub fn start(&self, drive: &Drive, steps: &[&str], epoch: &str) -> drive::Running {
        let inner = drive.command(steps);
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--mount=/proc/{}/ns/mnt", self.holder.id()))
            .arg(inner.get_program())
            .args(inner.get_args())
            .current_dir("/")
            .env_clear()
            .env("SOURCE_DATE_EPOCH", epoch);
        for (name, value) in inner.get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        drive::start(command)
    }
}

impl WithoutOverlays {
    /// Where a path of it is seen from outside.
    pub fn seen(&self, path: &Path) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{}", self.holder.id(), path.display()))
    }
}

impl Drop for WithoutOverlays {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
