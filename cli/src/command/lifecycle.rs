//! Making, emptying and removing buildroots; archives and files of them.

use crate::Call;
use crate::arguments::{ExportForm, ScrubWhat};
use debmock::buildroot::{Access, Compression, ExportOptions, Form, Scrub};
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

pub fn export(
    call: &mut Call<'_>,
    file: &Path,
    form: Option<ExportForm>,
    compression: Option<Compression>,
    flatten: bool,
) -> Result<u8> {
    let form = form.map(|form| match form {
        ExportForm::Tar => Form::Tar,
        ExportForm::Oci => Form::Oci,
        ExportForm::OciArchive => Form::OciArchive,
        ExportForm::Directory => Form::Directory,
    });
    let options = ExportOptions { flatten, ..ExportOptions::choose(file, form, compression)? };
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

pub fn import_layers(call: &mut Call<'_>, file: &Path) -> Result<u8> {
    let root = call.buildroot()?;
    let keys = call.watch(|scope| root.import_layers(file, scope))?;
    for key in keys {
        call.screen.say(&format!("the store has the layer {key}"));
    }
    Ok(0)
}

pub fn copy_in(call: &mut Call<'_>, paths: &[PathBuf]) -> Result<u8> {
    let Some((target, sources)) = paths.split_last() else { return Ok(0) };
    let mut target = text(target)?.to_owned();
    if sources.len() > 1 && !target.ends_with('/') {
        target.push('/');
    }
    let root = call.buildroot()?;
    call.watch(|scope| {
        let session = root.session(Access::default(), scope)?;
        sources.iter().try_for_each(|source| session.copy_in(source, &target, scope))
    })?;
    Ok(0)
}

pub fn copy_out(call: &mut Call<'_>, paths: &[PathBuf]) -> Result<u8> {
    let Some((target, sources)) = paths.split_last() else { return Ok(0) };
    if sources.len() > 1 && !target.is_dir() {
        return Err(Error::new(
            ErrorKind::Usage,
            format!("several things cannot go to {}, which is no directory", target.display()),
        ));
    }
    let sources = sources.iter().map(|source| text(source)).collect::<Result<Vec<_>>>()?;
    let root = call.buildroot()?;
    call.watch(|scope| {
        let session = root.session(Access::default(), scope)?;
        sources.iter().try_for_each(|source| session.copy_out(source, target, scope))
    })?;
    Ok(0)
}

/// A path inside.
fn text(path: &Path) -> Result<&str> {
    path.to_str()
        .ok_or_else(|| Error::new(ErrorKind::Usage, format!("{} is not UTF-8", path.display())))
}
