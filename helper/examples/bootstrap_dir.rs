//! Development harness: fills a directory from a directory of `.deb` files, as root.
//!
//! `unshare -m bootstrap_dir ROOT DEBS SOURCE_DATE_EPOCH ARCH [EXTENDED_STATES [ORDER [SOURCES_LIST]]]`
//!
//! Programs of the root run by chroot in the mount namespace that the caller made; the
//! extended states give the automatic marks, ORDER lists package names in apt's order.
#![allow(clippy::print_stderr, clippy::print_stdout, clippy::unwrap_used, clippy::expect_used)]

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use debmock_helper::bootstrap::{
    Bootstrap, Command, Event, Outcome, Plan, PlannedFile, PlannedPackage, RunInRoot,
};
use debmock_helper::dpkgdb::{ExtendedState, Identity};
use debmock_helper::unpack::Arrival;

struct Chroot {
    root: PathBuf,
    mounted: bool,
}

impl RunInRoot for Chroot {
    fn run(&mut self, command: &Command) -> std::io::Result<Outcome> {
        if std::env::var_os("UNPACK_ONLY").is_some() {
            return Err(std::io::Error::other("only unpacking was asked for"));
        }
        if !self.mounted {
            self.mounted = true;
            let root = self.root.display();
            let script = format!(
                "set -e; mount -t proc proc {root}/proc; mount -t tmpfs -o mode=755 dev {root}/dev; \
                 cd {root}/dev; for n in 'null 3' 'zero 5' 'full 7' 'random 8' 'urandom 9'; do \
                 set -- $n; mknod -m 666 $1 c 1 $2; done; mknod -m 666 tty c 5 0; \
                 ln -s /proc/self/fd fd; mkdir pts shm; ln -s /proc/self/fd/0 stdin; \
                 ln -s /proc/self/fd/1 stdout; ln -s /proc/self/fd/2 stderr"
            );
            assert!(std::process::Command::new("sh").arg("-c").arg(script).status()?.success());
        }
        let start = Instant::now();
        let mut child = std::process::Command::new("chroot");
        child.arg(&self.root).args(&command.argv).env_clear();
        child.envs(command.env.iter().map(|(name, value)| (name, value)));
        child.current_dir("/").arg0("chroot");
        let status = child.stdin(std::process::Stdio::null()).status()?;
        eprintln!("{:?} {:.2?}", command.argv, start.elapsed());
        Ok(match status.code() {
            Some(code) => Outcome::Exited(code),
            None => Outcome::Signalled(status.signal().unwrap_or(0)),
        })
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, root, debs, epoch, architecture, rest @ ..] = arguments.as_slice() else {
        panic!("see the head of the source for the arguments")
    };
    std::fs::create_dir_all(root).unwrap();
    let mut arrivals = Vec::new();
    for entry in std::fs::read_dir(debs).unwrap() {
        let path = entry.unwrap().path();
        let Some(name) = path.file_name().and_then(|n| n.to_str()) else { continue };
        let Some(stem) = name.strip_suffix(".deb") else { continue };
        let mut parts = stem.split('_');
        let mut part = || parts.next().unwrap().replace("%3a", ":");
        let identity = Identity { name: part(), version: part(), architecture: part() };
        arrivals.push(Arrival { file: File::open(&path).unwrap(), identity });
    }
    let read = |path: &String| std::fs::read(path).unwrap();
    let states = rest.first().map(|path| ExtendedState::parse(&read(path)).unwrap());
    let states = states.unwrap_or_default();
    let order: Vec<String> = rest
        .get(1)
        .map(|path| String::from_utf8(read(path)).unwrap().lines().map(Into::into).collect())
        .unwrap_or_default();
    let mut packages: Vec<_> = arrivals
        .iter()
        .map(|arrival| PlannedPackage {
            identity: arrival.identity.clone(),
            auto: states.iter().any(|state| state.auto && state.name == arrival.identity.name),
        })
        .collect();
    packages.sort_by_key(|package| {
        let name = &package.identity.name;
        (order.iter().position(|one| one == name).unwrap_or(usize::MAX), name.clone())
    });
    let host = |path: &str| PlannedFile {
        path: path.into(),
        mode: 0o755,
        data: std::fs::read(Path::new("/").join(path)).unwrap(),
    };
    let plan = Plan {
        architecture: architecture.clone(),
        packages,
        source_date_epoch: epoch.parse().unwrap(),
        files: vec![
            host("etc/hostname"),
            host("etc/resolv.conf"),
            PlannedFile {
                path: "etc/apt/sources.list".into(),
                mode: 0o644,
                data: rest.get(2).map(read).unwrap_or_default(),
            },
        ],
        ..Plan::default()
    };
    let directory = File::open(root).unwrap();
    let cancel = AtomicBool::new(false);
    let (sender, receiver) = std::sync::mpsc::channel();
    for arrival in arrivals {
        sender.send(arrival).unwrap();
    }
    drop(sender);
    let start = Instant::now();
    let mut runner = Chroot { root: root.into(), mounted: false };
    let result = Bootstrap::new(directory.as_fd(), &plan, 2, &cancel).run(
        &receiver,
        &mut runner,
        &mut |event| {
            if let Event::Stage(stage) = event {
                eprintln!("{:8.2?} {stage:?}", start.elapsed());
            }
        },
    );
    eprintln!("{:8.2?} done", start.elapsed());
    if let Err(error) = result {
        eprintln!("error: {error}");
        std::process::exit(1);
    }
}
