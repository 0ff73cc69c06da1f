//! `dpkg-buildpackage`.

use super::prepare::Build;
use crate::apt::Installed;
use crate::buildroot::Exit;
use crate::error::Result;
use crate::operation::Scope;
use crate::state::LogFile;

impl Build<'_> {
    /// The command line.
    fn arguments(&self, installed: &Installed) -> Vec<String> {
        let mut arguments = vec!["dpkg-buildpackage".to_owned()];
        // dpkg 1.20 sets environment and umask to the distribution's own defaults.
        if !installed.is_before("dpkg-dev", "1.20.0") {
            arguments.push("--sanitize-env".into());
        }
        let profiles = self.options.profiles(self.workshop.config);
        if !profiles.is_empty() {
            arguments.push(format!("-P{}", profiles.join(",")));
        }
        arguments.extend(["-us", "-uc"].map(str::to_owned));
        arguments.extend(self.options.build_type.option().map(str::to_owned));
        if self.options.build_type.source {
            // Upstream's tarball, too, which only a first revision has otherwise.
            arguments.push("-sa".into());
        }
        if let Some(dist) = &self.options.dist {
            arguments.push(format!("--changes-option=-DDistribution={dist}"));
        }
        arguments
    }

    /// What the build directory needs on disk, KiB; 0 if that cannot be found out.
    pub(super) fn disk_kib(&self, scope: &Scope) -> u64 {
        let run = self.as_user(&["du", "-sk", &self.folder], "/");
        let output = self.workshop.session.output(&run, 4096, scope);
        let text = output.map(|(_, text)| text).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        text.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0)
    }

    /// Builds; what it prints goes to `log`.
    pub(super) fn run(&self, installed: &Installed, log: &LogFile, scope: &Scope) -> Result<Exit> {
        let config = self.workshop.config;
        let arguments = self.arguments(installed);
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut run = self
            .as_user(&words, &self.tree)
            .env("DEB_BUILD_OPTIONS", self.options.build_options(config));
        for (name, value) in &config.environment {
            run = run.env(name, value);
        }
        run.wall_limit = config.timeout;
        run.silence_limit = config.silence_timeout;
        log.line(scope, format!("Command: {}", run.words()))?;
        self.workshop.session.run(&run, scope, |line| {
            // A progress display rewrites its line; in a log each state of it is a line.
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            line.split(|byte| *byte == b'\r').try_for_each(|part| log.line(scope, part))
        })
    }
}
