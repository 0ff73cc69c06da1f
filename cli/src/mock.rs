//! Mock's spelling of the command line, turned into ours.
//!
//! Mock has one mode per call, which is an option (`--rebuild`) that may stand anywhere and that
//! takes the words that are no options. Here a mode becomes the command and comes first; the other
//! words keep their order. A command line without a mode of Mock's passes through untouched.

use crate::arguments::Arguments;
use clap::CommandFactory;
use std::ffi::{OsStr, OsString};

/// Mock's modes, and what they are here.
const MODES: &[(&str, &[&str])] = &[
    ("--init", &["init"]),
    ("--clean", &["clean"]),
    ("--scrub", &["scrub"]),
    ("--shell", &["shell"]),
    ("--chroot", &["chroot", "--shell-word"]),
    ("--rebuild", &["rebuild"]),
    ("--installdeps", &["installdeps"]),
    ("--install", &["install"]),
    ("-i", &["install"]),
    ("--remove", &["remove"]),
    ("--update", &["update"]),
    ("--pm-cmd", &["apt-cmd"]),
    ("--apt-cmd", &["apt-cmd"]),
    ("--copyin", &["copyin"]),
    ("--copyout", &["copyout"]),
    ("--snapshot", &["snapshot"]),
    ("--rollback-to", &["rollback"]),
    ("--remove-snapshot", &["remove-snapshot"]),
    ("--list-snapshots", &["list-snapshots"]),
    ("-l", &["list-snapshots"]),
    ("--list-chroots", &["list"]),
    ("--debug-config", &["config", "show"]),
    ("--debug-config-expanded", &["config", "show"]),
];

/// The command line in our spelling; `words` has no program name.
///
/// # Errors
/// A sentence, for two modes at once.
pub fn translate(words: Vec<OsString>) -> Result<Vec<OsString>, String> {
    if !words.iter().any(|word| mode(word).is_some() || is_dsc(word)) {
        return Ok(words);
    }
    let grammar = Grammar::new();
    let mut found: Option<(&str, Vec<OsString>)> = None;
    let mut rest = Vec::new();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        if let Some((name, ours, value)) = mode(&word) {
            let mut command = match found.take() {
                Some((known, _)) if known != name => {
                    return Err(format!("{known} and {name} cannot be combined in one call"));
                }
                Some((_, command)) => command,
                None => ours.iter().map(OsString::from).collect(),
            };
            command.extend(value);
            let takes_command = matches!(name, "--chroot" | "--shell" | "--pm-cmd" | "--apt-cmd");
            found = Some((name, command));
            if takes_command {
                // The words of the command are its own, whatever they look like.
                rest.extend(words);
                break;
            }
            continue;
        }
        if is_dsc(&word) && found.is_none() {
            // Mock's mode where none is named.
            found = Some(("--rebuild", vec!["rebuild".into()]));
            rest.push(word);
            continue;
        }
        if word == "--" || (found.is_none() && grammar.is_command(&word)) {
            rest.push(word);
            rest.extend(words);
            break;
        }
        let takes_value = grammar.takes_value(&word);
        rest.push(word);
        if takes_value {
            rest.extend(words.next());
        }
    }
    let Some((_, mut command)) = found else { return Ok(rest) };
    command.extend(rest);
    Ok(command)
}

fn is_dsc(word: &OsStr) -> bool {
    word.as_encoded_bytes().ends_with(b".dsc")
}

/// A mode, what it is here, and the value in `--mode=value`.
fn mode(word: &OsStr) -> Option<(&'static str, &'static [&'static str], Option<OsString>)> {
    let text = word.to_str()?;
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(OsString::from(value))),
        None => (text, None),
    };
    let (name, ours) = MODES.iter().find(|(known, _)| *known == name)?;
    Some((name, ours, value))
}

/// Which of our words are commands, and which options take the word after them.
struct Grammar {
    commands: Vec<String>,
    valued: Vec<String>,
}

impl Grammar {
    fn new() -> Self {
        let top = Arguments::command();
        let mut valued = Vec::new();
        for command in std::iter::once(&top).chain(top.get_subcommands()) {
            for argument in command.get_arguments() {
                if !argument.get_action().takes_values() || argument.is_require_equals_set() {
                    continue;
                }
                let longs = argument.get_long_and_visible_aliases().unwrap_or_default();
                valued.extend(longs.iter().map(|name| format!("--{name}")));
                valued.extend(argument.get_short().map(|letter| format!("-{letter}")));
            }
        }
        let commands = top.get_subcommands().map(|command| command.get_name().to_owned());
        Grammar { commands: commands.collect(), valued }
    }

    fn is_command(&self, word: &OsStr) -> bool {
        self.commands.iter().any(|command| command.as_str() == word)
    }

    fn takes_value(&self, word: &OsStr) -> bool {
        self.valued.iter().any(|option| option.as_str() == word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translated(line: &str) -> String {
        let words = line.split_whitespace().map(OsString::from).collect();
        match translate(words) {
            Ok(words) => {
                let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
                words.join(" ")
            }
            Err(error) => error,
        }
    }

    #[test]
    fn modes_become_commands() {
        for (mocks, ours) in [
            ("-r x --init", "init -r x"),
            ("--clean", "clean"),
            ("-r x --scrub=all", "scrub all -r x"),
            ("--scrub chroot", "scrub chroot"),
            ("--scrub=layers --scrub=debs", "scrub layers debs"),
            ("-r x --shell", "shell -r x"),
            ("--copyin a b", "copyin a b"),
            ("--list-chroots", "list"),
            ("-r init --debug-config", "config show -r init"),
            ("-r x --rebuild f.dsc", "rebuild -r x f.dsc"),
            (
                "--nocheck --resultdir init --rebuild f.dsc",
                "rebuild --nocheck --resultdir init f.dsc",
            ),
            ("--rebuild --cleanup-after f.dsc", "rebuild --cleanup-after f.dsc"),
            ("-r x -i a b", "install -r x a b"),
            ("--pm-cmd install --clean", "apt-cmd install --clean"),
            ("-r x ./f_1.dsc --nocheck", "rebuild -r x ./f_1.dsc --nocheck"),
        ] {
            assert_eq!(translated(mocks), ours, "{mocks}");
        }
    }

    #[test]
    fn words_of_a_command_are_not_modes() {
        assert_eq!(translated("-r x --chroot ls --init"), "chroot --shell-word -r x ls --init");
        for line in ["chroot -- apt --clean", "-r x chroot ls --init", "shell -- x --scrub=all"] {
            assert_eq!(translated(line), line);
        }
    }

    #[test]
    fn a_value_is_no_command() {
        assert_eq!(translated("--uniqueext clean --init"), "init --uniqueext clean");
    }

    #[test]
    fn two_modes_are_refused() {
        assert_eq!(
            translated("--init --clean"),
            "--init and --clean cannot be combined in one call"
        );
    }
}
