use crate::archive::index::Packages;
use crate::error::{ErrorKind, Result};
use crate::operation::Scope;
use crate::solve::{PackageSet, Request, solve, solve_counting};

/// Packages from lines `name version | Field: value | …`.
fn packages(lines: &str) -> Packages {
    let mut text = String::new();
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let mut parts = line.split(" ; ");
        let (name, version) = parts.next().unwrap().split_once(' ').unwrap();
        text += &format!(
            "Package: {name}\nVersion: {version}\nArchitecture: amd64\nFilename: pool/{name}.deb\nSize: 1\nSHA256: {}\n",
            "0".repeat(64)
        );
        for field in parts {
            text += &format!("{field}\n");
        }
        text += "\n";
    }
    Packages::from_text(text.into_bytes(), "http://mirror.example.org", "test main").unwrap()
}

fn ask(lines: &str, names: &str) -> Result<PackageSet> {
    let packages = names.split(' ').map(str::to_owned).collect();
    let request = Request { packages, ..Request::default() };
    solve(&self::packages(lines), "amd64", &request, &Scope::quiet())
}

/// The names that are chosen, and how many comparisons that takes.
fn count(lines: &str, names: &str) -> (usize, u64) {
    let packages = names.split(' ').map(str::to_owned).collect();
    let request = Request { essential: true, required: true, packages };
    let lines = format!("{lines}\ne 1 ; Essential: yes");
    let scope = Scope::quiet();
    let (set, work) = solve_counting(&self::packages(&lines), "amd64", &request, &scope).unwrap();
    (set.packages.len(), work)
}

fn names(set: Result<PackageSet>) -> String {
    let names: Vec<String> = set.unwrap().packages.into_iter().map(|entry| entry.name).collect();
    names.join(" ")
}

#[test]
fn the_first_alternative_is_taken_unless_another_is_there() {
    let lines = "a 1 ; Depends: b | c\nb 1\nc 1";
    assert_eq!(names(ask(lines, "a")), "a b");
    assert_eq!(names(ask(lines, "a c")), "a c");
    assert_eq!(names(ask("a 1 ; Depends: x | c\nc 1", "a")), "a c");
}

#[test]
fn real_packages_come_before_providers_and_priorities_decide_among_those() {
    let lines = "a 1 ; Depends: v\nv 1\nb 1 ; Provides: v";
    assert_eq!(names(ask(lines, "a")), "a v");
    let lines = "a 1 ; Depends: v\nb 1 ; Provides: v ; Priority: optional\nc 1 ; Provides: w, v ; Priority: required";
    assert_eq!(names(ask(lines, "a")), "a c");
}

#[test]
fn provided_versions_count_and_their_absence_too() {
    let lines = "a 1 ; Depends: v (>= 2)\nb 1 ; Provides: v\nc 1 ; Provides: v (= 1)\nd 1 ; Provides: v (= 3)";
    assert_eq!(names(ask(lines, "a")), "a d");
    let error = ask("a 1 ; Depends: v (>= 2)\nb 1 ; Provides: v", "a").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Dependency);
}

#[test]
fn the_highest_version_is_the_candidate_and_others_do_not_count() {
    let set = ask("a 1\na 2\na 1.5", "a").unwrap();
    assert_eq!(set.packages[0].version, "2");
    assert!(
        ask("a 1 ; Depends: b (= 1)\nb 1\nb 2", "a")
            .unwrap_err()
            .to_string()
            .contains("only has 1, 2")
    );
    assert_eq!(ask("a 1\na 2", "a=1").unwrap().packages[0].version, "1");
}

#[test]
fn conflicts_lead_to_the_next_alternative() {
    let lines = "a 1 ; Depends: b | c\nb 1 ; Conflicts: d\nc 1\nd 1";
    assert_eq!(names(ask(lines, "d a")), "a c d");
    // The choice of b shows to be wrong only later.
    let lines = "a 1 ; Depends: b | c, d\nb 1 ; Breaks: d (<< 2)\nc 1\nd 1";
    assert_eq!(names(ask(lines, "a")), "a c d");
    // What provides and conflicts with the same name does not refuse itself.
    assert_eq!(names(ask("a 1 ; Provides: v ; Conflicts: v", "a")), "a");
    let error = ask("a 1 ; Depends: b\nb 1 ; Conflicts: c\nc 1", "c a").unwrap_err();
    assert!(error.to_string().contains("b 1 conflicts with c, which is c 1"), "{error}");
}

#[test]
fn what_is_missing_is_told_with_its_chain() {
    let error =
        ask("a 1 ; Depends: b\nb 1 ; Depends: c\nc 1 ; Depends: x (>= 1)", "a").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Dependency);
    assert_eq!(error.to_string(), "a → b → c depends on x (>= 1), which is not in test main");
    assert!(
        ask("a 1", "b")
            .unwrap_err()
            .to_string()
            .contains("b is asked for, which is not in test main")
    );
}

#[test]
fn circles_and_qualifiers_are_no_trouble() {
    assert_eq!(names(ask("a 1 ; Depends: b\nb 1 ; Pre-Depends: a", "a")), "a b");
    assert_eq!(names(ask("a 1 ; Depends: b:any\nb 1 ; Multi-Arch: allowed", "a")), "a b");
    assert!(ask("a 1 ; Depends: b:any\nb 1", "a").is_err());
    assert!(ask("a 1 ; Depends: b:i386\nb 1", "a").is_err());
    assert_eq!(names(ask("a 1 ; Depends: b:amd64\nb 1", "a")), "a b");
}

#[test]
fn marks_are_those_of_apt() {
    let lines =
        "e 1 ; Essential: yes ; Depends: l\nl 1\na 1 ; Depends: m\nm 1\nr 1 ; Priority: required";
    let request = Request { essential: true, required: true, packages: vec!["a".into()] };
    let set = solve(&packages(lines), "amd64", &request, &Scope::quiet()).unwrap();
    let marks: Vec<_> = set
        .packages
        .iter()
        .map(|entry| (entry.name.as_str(), entry.phase, entry.automatic))
        .collect();
    assert_eq!(
        marks,
        [("a", 1, false), ("e", 0, false), ("l", 0, false), ("m", 1, true), ("r", 1, false)]
    );
    let error = solve(&packages("a 1"), "amd64", &request, &Scope::quiet()).unwrap_err();
    assert!(error.to_string().contains("no essential package"));
}

#[test]
fn a_tangle_ends() {
    // Thirty free choices, then something impossible.
    let mut lines = String::from("a 1 ; Depends: ");
    lines += &(0..30).map(|n| format!("b{n} | c{n}, ")).collect::<String>();
    lines += "nothing\n";
    for n in 0..30 {
        lines += &format!("b{n} 1\nc{n} 1\n");
    }
    let error = ask(&lines, "a").unwrap_err();
    assert!(error.to_string().contains("depends on nothing"), "{error}");
}

#[test]
fn a_long_chain_of_choices_takes_steps_in_proportion_to_its_length() {
    let chain = |length: usize| {
        let mut lines = String::new();
        for n in 0..length {
            lines += &format!("p{n} 1 ; Depends: p{} | q{n}, e ; Conflicts: x\nq{n} 1\n", n + 1);
        }
        count(&(lines + &format!("p{length} 1")), "p0")
    };
    let (few, many) = (chain(1000), chain(100_000));
    assert_eq!((few.0, many.0), (1002, 100_002));
    // With room for what Debian may become.
    assert!(many.1 < 200 * few.1 && many.1 < 2_000_000, "{few:?} {many:?}");
}

#[test]
fn many_versions_of_one_package_are_compared_once() {
    let of = |copies: usize| {
        let mut lines = String::from("a 1 ; Depends: b, b, b | c\nc 1\n");
        for n in 0..copies {
            lines += &format!("b {n} ; Priority: required ; Provides: v\n");
        }
        count(&lines, "a v")
    };
    let (few, many) = (of(100), of(10_000));
    assert_eq!((few.0, many.0), (3, 3));
    assert!(many.1 < 200 * few.1, "{few:?} {many:?}");
}

#[test]
fn many_providers_of_one_name_are_compared_once_for_each_relation() {
    let of = |count: usize| {
        let mut lines = String::from("a 1 ; Depends: v, v (= 7)\n");
        for n in 0..count {
            lines += &format!("b{n} 1 ; Provides: v (= {n}), w ; Conflicts: w ; Breaks: u{n}\n");
        }
        self::count(&lines, "a b7").1
    };
    let (few, many) = (of(100), of(10_000));
    assert!(many < 200 * few, "{few} {many}");
}

#[test]
fn an_index_that_would_keep_the_search_busy_is_refused() {
    // Each name is looked for among all that provide it, and none has the version.
    let mut lines = String::from("a 1 ; Depends: ");
    lines += &(0..3000).map(|n| format!("v (= {n}.1) | z{n}, ")).collect::<String>();
    lines += "b0\n";
    for n in 0..3000 {
        lines += &format!("b{n} 1 ; Provides: v (= {n})\nz{n} 1\n");
    }
    let error = ask(&lines, "a").unwrap_err();
    assert!(error.to_string().contains("too entangled"), "{error}");
    assert!(error.hint().is_some());
}

#[test]
fn a_search_stops_when_it_is_asked_to() {
    let scope = Scope::quiet();
    scope.cancel_token().cancel();
    let mut lines = String::new();
    for n in 0..20_000 {
        lines += &format!("a {n}\n");
    }
    let request = Request { packages: vec!["a".into()], ..Request::default() };
    let error = solve(&packages(&lines), "amd64", &request, &scope).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
}

#[test]
fn long_ways_and_lists_are_told_shortly() {
    let mut lines = String::new();
    for n in 0..300 {
        lines += &format!("a{n} 1 ; Depends: a{}\n", n + 1);
    }
    let words = (0..300).map(|n| format!("x{n} (>= 1)")).collect::<Vec<_>>().join(" | ");
    let error = ask(&format!("{lines}a300 1 ; Depends: {words}"), "a0").unwrap_err().to_string();
    assert_eq!(
        error,
        "295 others → a295 → a296 → a297 → a298 → a299 → a300 depends on x0 (>= 1) | x1 (>= 1) | \
         x2 (>= 1) | x3 (>= 1) | x4 (>= 1) | 295 more, none of which is in test main"
    );
}
