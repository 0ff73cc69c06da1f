//! The commands: each is one call into the library.

mod enter;
mod inspect;
mod lifecycle;
mod packages;
mod snapshot;

use crate::Call;
use crate::arguments::{Command, ConfigAction};
use debmock::Result;
use debmock::buildroot::{Buildroot, BuildrootOptions};
use debmock::config::{Config, Loader};

/// Carries a command out; the exit status.
pub fn carry_out(command: Command, call: &mut Call<'_>) -> Result<u8> {
    match command {
        Command::Init => lifecycle::init(call),
        Command::Clean => lifecycle::clean(call),
        Command::Scrub { what } => lifecycle::scrub(call, &what),
        Command::Export { file, format, compression, flatten } => {
            lifecycle::export(call, &file, format, compression, flatten)
        }
        Command::Import { file, layers: false } => lifecycle::import(call, &file),
        Command::Import { file, layers: true } => lifecycle::import_layers(call, &file),
        Command::Shell { enter, words } => enter::shell(call, &enter, &words),
        Command::Chroot { enter, shell_word, words } => {
            enter::chroot(call, &enter, shell_word, &words)
        }
        Command::Rebuild { sources, what, go_on, how } => {
            packages::rebuild(call, &sources, &what, &how, go_on)
        }
        Command::Installdeps { source, what } => {
            packages::install_dependencies(call, &source, &what)
        }
        Command::Install { packages } => packages::install(call, &packages),
        Command::Remove { packages } => packages::remove(call, &packages),
        Command::Update => packages::update(call),
        Command::AptCmd { words } => packages::apt(call, &words),
        Command::Copyin { paths } => lifecycle::copy_in(call, &paths),
        Command::Copyout { paths } => lifecycle::copy_out(call, &paths),
        Command::Snapshot { name } => snapshot::take(call, &name),
        Command::Rollback { name } => snapshot::roll_back(call, &name),
        Command::RemoveSnapshot { name } => snapshot::remove(call, &name),
        Command::ListSnapshots => snapshot::list(call),
        Command::List => inspect::list(call),
        Command::Config { action: ConfigAction::Show } => inspect::config(call),
        Command::Doctor => inspect::doctor(call),
    }
}

impl Call<'_> {
    /// The config that the options name. Its warnings are shown.
    fn config(&mut self) -> Result<Config> {
        let loader = Loader::new().options(&self.global.options);
        let config = match &self.global.root {
            Some(name) => loader.load(name)?,
            None => loader.load_default()?,
        };
        for warning in &config.warnings {
            self.screen.warn(&warning.message, warning.hint.as_deref());
        }
        Ok(config)
    }

    /// The buildroot that the options name.
    fn buildroot(&mut self) -> Result<Buildroot> {
        let config = self.config()?;
        self.buildroot_of(config)
    }

    fn buildroot_of(&self, config: Config) -> Result<Buildroot> {
        let options = BuildrootOptions {
            uniqueext: self.global.uniqueext.clone(),
            helper: self.host.helper.clone(),
            places: None,
        };
        Buildroot::new(config, &options)
    }
}
