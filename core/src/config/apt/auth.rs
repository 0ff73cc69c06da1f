//! Logins: the netrc-like format of `apt_auth.conf(5)`.

use super::files;
use crate::config::{Credential, Warning};
use std::path::Path;

/// Every login of `auth.conf` and `auth.conf.d`, in the order in which apt looks them up. Files
/// that this user may not read become warnings: they are often for root alone.
pub(crate) fn of_host(apt: &Path, warnings: &mut Vec<Warning>) -> Vec<Credential> {
    let main = apt.join("auth.conf");
    let mut paths = files::parts(&apt.join("auth.conf.d"), &["conf"], warnings);
    if main.exists() {
        paths.insert(0, main);
    }
    let mut credentials = Vec::new();
    for path in paths {
        match files::read(&path) {
            Ok(text) => credentials.extend(parse(&text)),
            Err(message) => warnings.push(Warning {
                message,
                hint: Some("archives that need its logins will answer 401; make it readable or put the login into the URI".into()),
            }),
        }
    }
    credentials
}

/// The logins of one file. An entry without a login or without a password says nothing.
pub(crate) fn parse(text: &str) -> Vec<Credential> {
    let mut credentials: Vec<Credential> = Vec::new();
    let uncommented = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let mut words = uncommented.flat_map(str::split_whitespace);
    let mut open = false;
    while let Some(word) = words.next() {
        match (word, credentials.last_mut()) {
            ("machine", _) => {
                let Some(machine) = words.next() else { break };
                open = true;
                credentials.push(Credential {
                    machine: machine.to_owned(),
                    login: String::new(),
                    password: String::new(),
                });
            }
            // The entry for every machine that netrc knows and apt does not.
            ("default", _) => open = false,
            ("login", Some(last)) if open => last.login = words.next().unwrap_or("").to_owned(),
            ("password", Some(last)) if open => {
                last.password = words.next().unwrap_or("").to_owned();
            }
            _ => {}
        }
    }
    credentials
        .retain(|credential| !credential.login.is_empty() || !credential.password.is_empty());
    credentials
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn entries_may_stand_on_one_line_or_on_several() {
        let text = "machine mirror.example.org login apt password debian\n\
            # machine old.example.org login x password y\n\
            machine http://b.example.org:8080/path\n\tlogin u\n\taccount ignored\n\tpassword p\n\
            default login anonymous password nobody\n\
            machine incomplete.example.org\n";
        let found: Vec<_> =
            parse(text).into_iter().map(|c| (c.machine, c.login, c.password)).collect();
        let expect = |machine: &str, login: &str, password: &str| {
            (machine.to_owned(), login.to_owned(), password.to_owned())
        };
        assert_eq!(
            found,
            [
                expect("mirror.example.org", "apt", "debian"),
                expect("http://b.example.org:8080/path", "u", "p"),
            ]
        );
    }

    #[test]
    fn a_file_that_this_user_may_not_read_is_a_warning() {
        let dir = tempfile::tempdir().unwrap();
        // A directory by that name cannot be read by root either.
        std::fs::create_dir(dir.path().join("auth.conf")).unwrap();
        let mut warnings = Vec::new();
        assert!(of_host(dir.path(), &mut warnings).is_empty());
        assert_eq!(warnings.len(), 1);
    }

    #[test]
    fn passwords_are_never_shown() {
        let shown = format!("{:?}", parse("machine m login l password secret"));
        assert!(!shown.contains("secret"), "{shown}");
    }

    proptest! {
        #[test]
        fn garbage_never_panics(text in "(machine|login|password|default|[ -~\n]{0,5}| ){0,20}") {
            let _ = parse(&text);
        }
    }
}
