//! Making, emptying and removing buildroots; archives and files of them.

use crate::Call;
use crate::arguments::ScrubWhat;
use debmock::buildroot::{ExportOptions, Scrub};
use debmock::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};

pub fn init(call: &mut Call<'_>) -> Result<u8> {
    let root = call.buildroot()?;
    call.watch(|scope| root.init(scope))?;
    call.screen.say(&format!("the buildroot {} is ready", root.name()));
    Ok(0)
}

pub fn clean(call: &mut Call<'_>) -> Result<u8> {
    let root = call.buildroot()?;
    call.watch(|scope| root.clean(scope))?;
    Ok(0)
}

pub fn scrub(call: &mut Call<'_>, what: &[ScrubWhat]) -> Result<u8> {
    let parts: Vec<Scrub> = what
        .iter()
        .map(|part| match part {
            ScrubWhat::All => Scrub::All,
            ScrubWhat::Chroot => Scrub::Chroot,
            ScrubWhat::Layers => Scrub::Layers,
            ScrubWhat::Debs => Scrub::Debs,
            ScrubWhat::Lists => Scrub::Lists,
        })
        .collect();
    let root = call.buildroot()?;
    call.watch(|scope| root.scrub(&parts, scope))?;
    Ok(0)
}

pub fn export(call: &mut Call<'_>, file: &Path) -> Result<u8> {
    let options = ExportOptions::for_file(file)?;
    let root = call.buildroot()?;
    call.watch(|scope| root.export(file, &options, scope))?;
    call.screen.say(&format!("{} holds the buildroot {}", file.display(), root.name()));
    Ok(0)
}

pub fn import(call: &mut Call<'_>, file: &Path) -> Result<u8> {
    let root = call.buildroot()?;
    call.watch(|scope| root.import(file, scope))?;
    call.screen.say(&format!("the buildroot {} stands on {}", root.name(), file.display()));
    Ok(0)
}

pub fn copy_in(_call: &mut Call<'_>, _paths: &[PathBuf]) -> Result<u8> {
    Err(Error::new(ErrorKind::Usage, "copyin is not there yet"))
}

pub fn copy_out(_call: &mut Call<'_>, _paths: &[PathBuf]) -> Result<u8> {
    Err(Error::new(ErrorKind::Usage, "copyout is not there yet"))
}
