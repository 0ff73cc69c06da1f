//! The manual page, made of the definition of the arguments. `DEBMOCK_WRITE_MANUAL=1` writes it.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use clap::{Command, CommandFactory};
use clap_mangen::Man;
use debmock_cli::Arguments;
use std::fmt::Write;
use std::path::Path;

type Section = fn(&Man, &mut dyn std::io::Write) -> std::io::Result<()>;

/// What is not in the arguments.
const REST: &str = r#".SH "EXIT STATUS"
.TP
.B 0
it worked
.TP
.B 1
something unexpected, or a file that cannot be read or written
.TP
.B 3
config
.TP
.B 5
usage
.TP
.B 10
the package does not build
.TP
.B 11
a time limit ran out
.TP
.B 20
the buildroot or the store cannot be used; the disk is full
.TP
.B 30
archive, signature, source package, apt or dpkg
.TP
.B 32
dependencies cannot be satisfied
.TP
.B 60
another process holds the buildroot
.TP
.B 70
results cannot be written
.TP
.B 80
this machine or user cannot have the isolation
.TP
.B 90
the first root could not be made
.TP
.B 128+n
ended by signal n
.PP
.B debmock chroot
gives the command's own status; 125 is a failure of debmock itself, 126 a command that cannot be run, 127 one that is not there.
.SH FILES
.TP
.I /etc/debmock, $XDG_CONFIG_HOME/debmock
configs
.TP
.I /var/cache/debmock, $XDG_CACHE_HOME/debmock
of root and of users: what can be made again
.TP
.I /var/lib/debmock, $XDG_STATE_HOME/debmock
of root and of users: buildroots
.SH ENVIRONMENT
.TP
.B DEBMOCK_CACHE_DIR, DEBMOCK_STATE_DIR
other places for these
.TP
.B DEBMOCK_HELPER
the helper program
.TP
.B SOURCE_DATE_EPOCH
the time of what exports and bootstraps make, seconds since 1970
.TP
.B NO_COLOR
no colours
.SH "SEE ALSO"
.BR apt-get (8),
.BR dpkg-buildpackage (1),
.BR mock (1),
.BR sbuild (1)
"#;

/// Sections of a command as text.
fn sections(man: &Man, wanted: &[Section]) -> String {
    let mut text = Vec::new();
    for section in wanted {
        section(man, &mut text).unwrap();
    }
    String::from_utf8(text).unwrap()
}

/// Whether a line defines the macros for quotes, which every section does.
fn is_preamble(line: &str) -> bool {
    line.starts_with(".ie ") || line.starts_with(".el ")
}

/// The commands, and those below them.
fn commands(parent: &str, command: &Command, page: &mut String) {
    for sub in command.get_subcommands() {
        let name = format!("{parent} {}", sub.get_name());
        writeln!(page, ".SS \"{name}\"").unwrap();
        let man = Man::new(sub.clone().bin_name(&name).disable_help_flag(true));
        let body = sections(
            &man,
            &[
                |man, mut out| man.render_synopsis_section(&mut out),
                |man, mut out| man.render_description_section(&mut out),
                |man, mut out| man.render_options_section(&mut out),
            ],
        );
        for line in body.lines().filter(|line| !is_preamble(line)) {
            let line = if line.starts_with(".SH ") { ".PP" } else { line };
            writeln!(page, "{line}").unwrap();
        }
        commands(&name, sub, page);
    }
}

fn page() -> String {
    let command = Arguments::command();
    let man = Man::new(command.clone()).date("").manual("User Commands");
    let mut page = sections(
        &man,
        &[
            |man, mut out| man.render_title(&mut out),
            |man, mut out| man.render_name_section(&mut out),
            |man, mut out| man.render_synopsis_section(&mut out),
            |man, mut out| man.render_description_section(&mut out),
            |man, mut out| man.render_options_section(&mut out),
        ],
    );
    page.push_str(".SH COMMANDS\n");
    commands("debmock", &command, &mut page);
    page + REST
}

#[test]
fn the_manual_page_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/debmock.1");
    let page = page();
    if std::env::var_os("DEBMOCK_WRITE_MANUAL").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        there == page,
        "docs/debmock.1 is not what the arguments give: run this test with DEBMOCK_WRITE_MANUAL=1"
    );
}

#[test]
fn the_manual_page_names_every_status_and_command() {
    let page = page();
    for kind in debmock::ErrorKind::ALL {
        let code = kind.exit_code();
        assert!(code == 130 || page.contains(&format!(".B {code}\n")), "{kind:?} {code}");
    }
    for sub in Arguments::command().get_subcommands() {
        assert!(
            page.contains(&format!(".SS \"debmock {}\"", sub.get_name())),
            "{}",
            sub.get_name()
        );
    }
}
