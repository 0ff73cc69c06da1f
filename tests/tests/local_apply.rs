//! Packages that come new into a root, on the tiny distribution: unpacked natively where the
//! result is that of apt and dpkg, and left to them where it might not be.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use debmock::ErrorKind;
use debmock::buildroot::{Access, Run};
use debmock::event::What;
use debmock::operation::{self, CancelToken, Scope};
use debmock_tests::area::nothing_within;
use debmock_tests::deb::{Deb, Hostile};
use debmock_tests::install::{LEFT, NATIVE, assert_same_as_apt};
use debmock_tests::machine::{Skip, run};
use debmock_tests::or_skip;
use debmock_tests::rig::{Rig, said, tiny_archive};

/// Says what dpkg knows while a script runs.
fn witness(script: &str) -> String {
    format!(
        "#!/bin/sh\necho \"$DPKG_MAINTSCRIPT_PACKAGE {script} $*\" >> /var/lib/witness\n\
         dpkg-query -W -f '${{Package}} ${{Status}}\\n' >> /var/lib/witness\n"
    )
}

fn deb(name: &str) -> Deb {
    Deb::new(name, "1", "all")
}

fn rig() -> Result<Rig, Skip> {
    let debs = [
        deb("conf").conffile("/etc/conf.d/a", "a\n").conffile("/etc/conf.d/b", "b\n"),
        deb("index")
            .control_file("triggers", "interest /usr/share/index\ninterest-noawait built\n")
            .dir("/usr/share/index", 0o755)
            .script("postinst", &witness("postinst")),
        deb("indexed")
            .field("Depends", "index, links")
            .control_file("triggers", "activate built\n")
            .file("/usr/share/index/indexed", 0o644, "x")
            .script("preinst", &witness("preinst"))
            .script("postinst", &witness("postinst")),
        deb("early")
            .script("preinst", &witness("preinst"))
            .script("postinst", &witness("postinst")),
        deb("late")
            .field("Pre-Depends", "early")
            .file("/usr/share/late/x", 0o640, "late")
            .script("preinst", &witness("preinst")),
        deb("links")
            .dir("/usr/share/late", 0o755)
            .file("/usr/share/links/one", 0o644, "one")
            .hardlink("/usr/share/links/two", "/usr/share/links/one")
            .symlink("/usr/share/links/three", "one"),
        deb("uneven")
            .file("/usr/share/uneven/one", 0o4755, "one")
            .hardlink("/usr/share/uneven/two", "/usr/share/uneven/one"),
        deb("first").file("/opt/same", 0o644, "first").file("/opt/first", 0o644, "first"),
        deb("second").field("Replaces", "first").file("/opt/same", 0o644, "second"),
        deb("stray").file("/opt/stray", 0o644, "packaged"),
        // dpkg has no place for `.dpkg-new` behind it
        deb("endless").file(&format!("/opt/{}", "n".repeat(247)), 0o644, "x"),
        deb("diverts").script(
            "preinst",
            "#!/bin/sh\ndpkg-divert --package diverts --divert /opt/other --rename --add /opt/d\n",
        ),
    ];
    let archive = debs
        .iter()
        .try_fold(tiny_archive()?, |archive, deb| Ok::<_, Skip>(archive.deb(deb.build())))?;
    Rig::new(&archive)
}

fn call(rig: &Rig, name: &str) -> Command {
    rig.program(&["--uniqueext", name])
}

/// What scripts wrote in a root.
fn witnessed(rig: &Rig, root: &str) -> String {
    let words = ["--uniqueext", root, "-q", "chroot", "--", "cat", "/var/lib/witness"];
    said(rig.program(&words)).text
}

#[test]
fn what_comes_new_is_as_apt_installs_it() {
    let rig = or_skip!(rig());
    let same = |name: &str, packages: &[&str]| {
        assert_same_as_apt(&rig.area.work(), &|root: &str| call(&rig, root), name, packages)
    };
    let log = same("a", &["conf", "indexed", "late"]);
    assert!(log.contains(NATIVE) && !log.contains(LEFT), "{log}");
    // again, into a root that has them
    let log = same("a", &["first", "second", "conf"]);
    assert!(!log.contains(NATIVE), "a mark may change, which only apt knows: {log}");
    rig.assert_nothing_lost();
}

#[test]
fn what_may_differ_is_left_to_apt_and_dpkg() {
    let rig = or_skip!(rig());
    let same = |name: &str, packages: &[&str]| {
        assert_same_as_apt(&rig.area.work(), &|root: &str| call(&rig, root), name, packages)
    };
    let prepare = |name: &str, script: &str| {
        for root in ["ours", "apt"] {
            let root = format!("{name}-{root}");
            run(call(&rig, &root).args(["chroot", "--", "sh", "-c", script]));
        }
    };
    prepare("stray", "mkdir -p /opt && echo mine > /opt/stray");
    assert!(same("stray", &["stray", "links"]).contains(LEFT));
    assert!(same("uneven", &["uneven"]).contains(LEFT));
    assert!(same("diverts", &["diverts"]).contains(LEFT));
    prepare("moved", "dpkg-divert --local --divert /opt/x --add /opt/stray");
    assert!(same("moved", &["stray"]).contains(LEFT));
    prepare("mode", "dpkg-statoverride --add root root 0600 /opt/stray");
    assert!(same("mode", &["stray"]).contains(LEFT));
    prepare(
        "config",
        "mkdir -p /etc/dpkg/dpkg.cfg.d && echo path-exclude=/opt/* > /etc/dpkg/dpkg.cfg.d/x",
    );
    assert!(same("config", &["stray"]).contains(LEFT));
    prepare("own", "echo path-exclude=/opt/* > /root/.dpkg.cfg");
    assert!(same("own", &["stray"]).contains(LEFT));
    prepare("folder", "dpkg-statoverride --add root root 0700 /usr/share/late");
    assert!(same("folder", &["links"]).contains(LEFT));
    prepare("link", "mkdir -p /usr/share/links && ln -s one /usr/share/links/three");
    assert!(same("link", &["links"]).contains(LEFT));
    assert!(same("replaced", &["first", "second"]).contains(LEFT));
    // what belongs to a package that is there, and which the new one replaces
    for root in ["owned-ours", "owned-apt"] {
        run(call(&rig, root).args(["install", "first"]));
    }
    assert!(same("owned", &["second"]).contains(LEFT));
    let refused = said(rig.program(&["--uniqueext", "endless", "-v", "install", "endless"]));
    assert!(refused.code != Some(0) && refused.text.contains(LEFT), "{}", refused.text);
    rig.assert_nothing_lost();
}

/// What dpkg tells a script, and what it inherits.
/// The version of the tiny distribution's dpkg is not that of its program.
const INHERITED: &str = "{ echo \"$0 $*\"; umask; pwd; \
    tr '\\0' '\\n' < /proc/$$/environ | grep -v ^DPKG_RUNNING_VERSION | sort; \
    ls /proc/$$/fd; ls -l /var/lib/dpkg/tmp.ci | tail -n +2; } >> /var/lib/witness\n";

#[test]
fn scripts_run_as_dpkg_runs_them() {
    let script = format!("#!/bin/sh\n{INHERITED}");
    let ahead = format!("#!/bin/sh\n: /var/lib/ahead\n{INHERITED}");
    let rig = or_skip!(Rig::new(
        &or_skip!(tiny_archive())
            .deb(deb("plain").script("preinst", &script).script("postinst", &script).build())
            .deb(
                deb("ahead")
                    .field("Multi-Arch", "foreign")
                    .conffile("/etc/ahead", "x")
                    .control_file("templates", "")
                    .script("preinst", &ahead)
                    .build()
            )
    ));
    for root in ["env-ours", "env-apt"] {
        run(call(&rig, root).args(["chroot", "--", "touch", "/var/lib/witness"]));
    }
    let call = |root: &str| call(&rig, root);
    let log = assert_same_as_apt(&rig.area.work(), &call, "env", &["plain", "ahead"]);
    assert!(log.contains(NATIVE) && !log.contains(LEFT), "{log}");
    let text = witnessed(&rig, "env-ours");
    assert!(text.contains("preinst install\n") && text.contains("DPKG_MAINTSCRIPT_NAME=preinst"));
}

/// Says what is there of packages.
const LOOK: &str = "ls -d /opt/* >> /var/lib/witness 2>&1 || true";

#[test]
fn a_script_finds_what_dpkg_has_unpacked_and_no_more() {
    let named = format!("#!/bin/sh\n{LOOK}\n");
    let debs = [
        deb("acts").script("postinst", &named).file("/opt/acts", 0o644, "x"),
        deb("with-acts").field("Depends", "acts").file("/opt/with-acts", 0o644, "x"),
        deb("after-acts").field("Pre-Depends", "acts").file("/opt/after-acts", 0o644, "x"),
        deb("looks").script("preinst", &named).file("/opt/looks", 0o644, "x"),
        deb("mine").script("preinst", "#!/bin/sh\nmkdir -m 700 -p /opt/mine\n").file(
            "/opt/mine/x",
            0o644,
            "x",
        ),
        deb("last").field("Pre-Depends", "looks, after-acts").file("/opt/last", 0o644, "x"),
    ];
    let archive = or_skip!(tiny_archive());
    let rig =
        or_skip!(Rig::new(&debs.iter().fold(archive, |archive, deb| archive.deb(deb.build()))));
    let call = |root: &str| call(&rig, root);
    let names = ["acts", "with-acts", "after-acts", "looks", "mine", "last"];
    let log = assert_same_as_apt(&rig.area.work(), &call, "waves", &names);
    assert!(log.contains(NATIVE) && !log.contains(LEFT), "{log}");
    let text = witnessed(&rig, "waves-ours");
    assert!(text.contains("/opt/acts\n") && !text.contains("/opt/last\n"), "{text}");
    rig.assert_nothing_lost();
}

#[test]
fn what_scripts_made_meanwhile_is_for_apt_and_dpkg_from_there_on() {
    let debs = [
        deb("makes").script("postinst", "#!/bin/sh\necho made >> /opt/made\n").file(
            "/opt/makes",
            0o644,
            "x",
        ),
        deb("brings").field("Pre-Depends", "makes").file("/opt/brings", 0o644, "x").file(
            "/opt/made",
            0o644,
            "packaged",
        ),
        deb("self")
            .script("preinst", "#!/bin/sh\ntest -e /opt/own || echo made > /opt/own\n")
            .file("/opt/own", 0o644, "packaged"),
    ];
    let archive = or_skip!(tiny_archive());
    let rig =
        or_skip!(Rig::new(&debs.iter().fold(archive, |archive, deb| archive.deb(deb.build()))));
    let call = |root: &str| call(&rig, root);
    for names in [&["makes", "brings"][..], &["self"]] {
        let log = assert_same_as_apt(&rig.area.work(), &call, names[0], names);
        let (before, after) = log.split_once(LEFT).unwrap_or_else(|| panic!("not left: {log}"));
        assert!(before.contains(NATIVE) && after.contains("in the tree already"), "{log}");
    }
    rig.assert_nothing_lost();
}

#[test]
fn what_dpkg_takes_otherwise_is_left_to_it() {
    let debs = [
        deb("unnamed").file("/usr/share/unnamed", 0o644, "x").hostile(Hostile::NoDirectories),
        deb("folders").dir("/usr/share/doc", 0o755),
        deb("covers").file("/usr/share/doc/covers/x", 0o644, "x"),
        deb("missing").file("/opt/unnamed/x", 0o644, "x").hostile(Hostile::NoDirectories),
        deb("cut").control_file("conffiles", "/etc/cut").file("/etc/cut", 0o644, "x"),
        deb("doubled").control_file("conffiles", "/etc/doubled\n/etc/doubled\n").file(
            "/etc/doubled",
            0o644,
            "x",
        ),
        deb("absent").control_file("conffiles", "/etc/absent\n").file("/opt/absent", 0o644, "x"),
        deb("unknown").control_file("triggers", "interest-some x\n"),
        deb("unended").control_file("triggers", "interest x"),
    ];
    let archive = or_skip!(tiny_archive());
    let rig =
        or_skip!(Rig::new(&debs.iter().fold(archive, |archive, deb| archive.deb(deb.build()))));
    let call = |root: &str| call(&rig, root);
    let (mut taken, mut refused) = (Vec::new(), Vec::new());
    for name in ["unnamed", "missing", "cut", "doubled", "absent", "unknown", "unended"] {
        let log =
            said(rig.program(&["--uniqueext", &format!("try-{name}"), "--json", "install", name]));
        assert!(log.text.contains(LEFT), "{name} is not left to dpkg: {}", log.text);
        let list = if log.code == Some(0) { &mut taken } else { &mut refused };
        list.push(name);
        if log.code == Some(0) {
            assert_same_as_apt(&rig.area.work(), &call, name, &[name]);
        }
    }
    let log = said(rig.program(&["--json", "install", "folders", "covers"]));
    assert!(log.text.contains(LEFT), "{}", log.text);
    println!("dpkg takes {taken:?} and refuses {refused:?}");
    assert!(refused.contains(&"unknown") && taken.contains(&"unnamed"), "{taken:?} {refused:?}");
    rig.assert_nothing_lost();
}

#[test]
fn a_script_that_fails_is_a_failed_package() {
    let rig = or_skip!(Rig::new(
        &or_skip!(tiny_archive())
            .deb(deb("fails").script("postinst", "#!/bin/sh\necho no way\nexit 3\n").build())
    ));
    let went = said(rig.program(&["install", "fails"]));
    assert_eq!(went.code, Some(ErrorKind::Package.exit_code().into()), "{}", went.text);
    for words in ["no way", "dpkg: error", "status 3"] {
        assert!(went.text.contains(words), "{words:?} is missing:\n{}", went.text);
    }
}

#[test]
fn nothing_stays_of_packages_that_dpkg_does_not_know() {
    let rig = or_skip!(Rig::new(
        &or_skip!(tiny_archive())
            .deb(
                deb("fails")
                    .file("/opt/fails/there", 0o644, "x")
                    .conffile("/etc/fails/conf", "x\n")
                    .script("preinst", "#!/bin/sh\necho no way\nexit 4\n")
                    .build()
            )
            .deb(deb("needs").field("Pre-Depends", "fails").file("/opt/needs", 0o644, "x").build())
            .deb(
                deb("good")
                    .file("/opt/good", 0o644, "x")
                    .script("preinst", "#!/bin/sh\nexit 0\n")
                    .build()
            )
    ));
    let went = said(rig.program(&["install", "needs"]));
    assert_eq!(went.code, Some(ErrorKind::Package.exit_code().into()), "{}", went.text);
    for words in ["no way", "preinst install", "fails", "status 4"] {
        assert!(went.text.contains(words), "{words:?} is missing:\n{}", went.text);
    }
    let look = "ls -d /opt/fails /opt/needs /etc/fails /var/lib/dpkg/info/fails.* \
                /var/lib/dpkg/info/needs.* 2>/dev/null; dpkg --audit";
    let left = said(rig.program(&["chroot", "--", "sh", "-c", look]));
    assert_eq!(left.text, "", "something is left");
    let log = said(rig.program(&["--json", "install", "good"])).text;
    assert!(log.contains(NATIVE) && !log.contains(LEFT), "{log}");
    run(&mut rig.program(&["chroot", "--", "cat", "/opt/good"]));
    rig.assert_nothing_lost();
}

/// One whose script never ends, after one that is configured, and before one whose turn never comes.
/// The script also has this line.
fn endless(line: &str) -> Result<Rig, Skip> {
    let archive = tiny_archive()?
        .deb(deb("first").file("/opt/first", 0o644, "x").build())
        .deb(
            deb("before")
                .field("Pre-Depends", "first")
                .file("/opt/before", 0o644, "x")
                .script("postinst", "#!/bin/sh\nexit 0\n")
                .build(),
        )
        .deb(
            deb("endless")
                .field("Pre-Depends", "before")
                .file("/opt/endless/there", 0o644, "x")
                .conffile("/etc/endless/conf", "x\n")
                .script("preinst", &format!("#!/bin/sh\n{line}\necho endless begins\nsleep 4711\n"))
                .build(),
        )
        .deb(deb("after").field("Pre-Depends", "endless").file("/opt/after", 0o644, "x").build());
    Rig::new(&archive)
}

/// What an installation left that was ended in the middle, or runs still.
const LEFT_OVER: &str = "ls -d /opt/endless /opt/after /etc/endless /var/lib/dpkg/tmp.ci \
    /var/lib/dpkg/debmock-* /var/lib/dpkg/info/endless.* /var/lib/dpkg/info/after.* 2>/dev/null; \
    dpkg-query -W -f '${Package} ${Status}\\n' endless after 2>/dev/null; \
    grep -l -z '[4]711' /proc/[1-9]*/cmdline";

/// Lines of a script that runs when its package is unpacked, and of one that runs ahead of it.
const LINES: [&str; 2] = [":", ": /var/lib/ahead"];

#[test]
fn who_is_killed_while_packages_come_leaves_nothing_of_them() {
    for line in LINES {
        killed_while_packages_come(&or_skip!(endless(line)));
    }
}

fn killed_while_packages_come(rig: &Rig) {
    said(rig.program(&["install", "before"])).assert_success();
    let mut child = rig.program(&["-v", "install", "after"]);
    let mut child = child.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("endless begins")));
    child.kill().unwrap();
    child.wait().unwrap();
    nothing_within(Duration::from_secs(5), || rig.area.leftovers());
    // which changes nothing of the root but this
    let tar = rig.area.work().join("exported.tar");
    run(rig.program(&["-q", "export"]).arg(&tar));
    let listed = run(Command::new("tar").arg("-tf").arg(&tar));
    assert!(listed.contains("/opt/before\n") && !listed.contains("opt/endless"), "{listed}");
    assert!(!listed.contains("debmock-unpacking"), "{listed}");
    assert_eq!(said(rig.program(&["-q", "chroot", "--", "sh", "-c", LEFT_OVER])).text, "");
    let seen = "cat /opt/before; dpkg --audit";
    assert_eq!(said(rig.program(&["-q", "chroot", "--", "sh", "-c", seen])).text, "x");
    rig.assert_nothing_lost();
}

#[test]
fn an_installation_that_is_cancelled_leaves_the_session_as_it_was() {
    for line in LINES {
        cancelled_while_packages_come(&or_skip!(endless(line)));
    }
}

fn cancelled_while_packages_come(rig: &Rig) {
    rig.init().result.unwrap();
    let root = rig.buildroot().unwrap();
    let session = root.session(Access::default(), &Scope::quiet()).unwrap();
    let token = CancelToken::new();
    let cancel = token.clone();
    let error = operation::run(
        token,
        |event| {
            if let What::LogLine { text, .. } = &event.what
                && text.contains("endless begins")
            {
                cancel.cancel();
            }
        },
        |scope| root.install(&["after".to_owned()], scope),
    )
    .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}");
    let look = Run::new(["sh", "-c", LEFT_OVER]);
    let (_, output) = session.output(&look, 1000, &Scope::quiet()).unwrap();
    assert_eq!(String::from_utf8_lossy(&output), "");
    // and the next one works
    root.install(&["before".to_owned()], &Scope::quiet()).unwrap();
    let audit = Run::new(["sh", "-c", "cat /opt/before; dpkg --audit"]);
    let (_, output) = session.output(&audit, 1000, &Scope::quiet()).unwrap();
    assert_eq!(String::from_utf8_lossy(&output), "x");
}

#[test]
fn threads_of_one_session_install_one_after_the_other() {
    let rig = or_skip!(rig());
    rig.init().result.unwrap();
    let root = rig.buildroot().unwrap();
    let session = root.session(Access::default(), &Scope::quiet()).unwrap();
    let names = ["conf", "links", "early", "uneven", "first", "stray"];
    std::thread::scope(|threads| {
        let all = names.map(|name| {
            let root = &root;
            threads.spawn(move || root.install(&[name.to_owned()], &Scope::quiet()))
        });
        for one in all {
            one.join().unwrap().unwrap();
        }
    });
    let query = [&["dpkg-query", "-W", "-f", "${Package} ${Status}\\n"][..], &names].concat();
    let (_, output) = session.output(&Run::new(query), 4000, &Scope::quiet()).unwrap();
    let text = String::from_utf8_lossy(&output);
    assert_eq!(text.matches("install ok installed").count(), names.len(), "{text}");
}
