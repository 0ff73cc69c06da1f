//! The keys themselves.

use super::{Key, Kind};

const fn key(path: &'static str, kind: Kind, default: &'static str, about: &'static str) -> Key {
    Key { path, kind, default, about }
}

const COUNT: Kind = Kind::Integer(0, i64::MAX);

/// Every key, in the order in which people read them.
pub(crate) const KEYS: &[Key] = &[
    key(
        "extends",
        Kind::Text,
        "",
        "Name of the config that this one builds on; without it, the defaults.",
    ),
    key(
        "distribution",
        Kind::Text,
        "",
        "`debian`, `ubuntu` or another name. Default: the one that has the suite, else the host's own.",
    ),
    key(
        "suite",
        Kind::Text,
        "",
        "Codename of the suite, such as `trixie`; `stable`, `testing` and the like become the codename that they mean. Default: the host's own.",
    ),
    key(
        "architecture",
        Kind::Text,
        "",
        "Debian's name of the architecture, such as `arm64`. Default: the host's own.",
    ),
    key(
        "components",
        Kind::List,
        "",
        "Components of the default archives. Default: `main`, for Ubuntu `main` and `universe`.",
    ),
    key(
        "archives",
        Kind::Tables(ARCHIVE_KEYS),
        "",
        "Where packages and sources come from, instead of the default archives.",
    ),
    key(
        "mirror",
        Kind::Text,
        "",
        "URI that replaces the one of the suite and of `-updates` in the default archives.",
    ),
    key(
        "security_mirror",
        Kind::Text,
        "",
        "URI that replaces the one of `-security` in the default archives.",
    ),
    key(
        "use_host_apt",
        Kind::Bool,
        "true",
        "Take archives, keyrings, proxies and logins from the host's own apt configuration.",
    ),
    key(
        "keyring",
        Kind::Words,
        "",
        "Keys that may sign archives that name none: key files, fingerprints, an armored key, or `builtin:debian`. Default: what the host's apt trusts, or the keys that the library carries.",
    ),
    key(
        "check_valid_until",
        Kind::Bool,
        "",
        "Refuse Release files whose Valid-Until has passed. Default: as the host's apt does, else true. An archive's own setting wins.",
    ),
    key(
        "check_date",
        Kind::Bool,
        "",
        "Refuse Release files from the future; false also turns `check_valid_until` off. Default: as the host's apt does, else true.",
    ),
    key(
        "refresh",
        Kind::Refresh,
        "3600",
        "How old indexes may be before the archive is asked again, with a conditional request: `always`, `never`, or a duration.",
    ),
    key(
        "bootstrap",
        Kind::Choice(&["native", "dpkg"]),
        "\"native\"",
        "How the first layer is made: `native` unpacks in parallel. `dpkg`, which is to let dpkg do everything, does not work yet and is refused.",
    ),
    key(
        "source_date_epoch",
        COUNT,
        "",
        "Time for files that bootstrap makes, in seconds since 1970. Default: the environment's SOURCE_DATE_EPOCH, else the newest file of the package set.",
    ),
    key(
        "lock_timeout",
        Kind::Duration,
        "0",
        "How long to wait for another debmock that uses the same buildroot or makes the same layer; 0 waits for ever.",
    ),
    key(
        "packages.variant",
        Kind::Choice(&["essential", "apt", "buildd"]),
        "\"buildd\"",
        "What a new root contains: the essential set, with apt, or with apt and build-essential.",
    ),
    key("packages.include", Kind::List, "[]", "Further packages in a new root."),
    key(
        "build.path",
        Kind::Text,
        "\"/build/reproducible-path\"",
        "Directory inside the root that the source is unpacked in: one that builds have for themselves, such as `/build`, or below `/home`, `/media`, `/mnt`, `/opt`, `/srv`, `/tmp`, `/usr/src` or `/var/tmp`.",
    ),
    key("build.user", Kind::Text, "\"sbuild\"", "User inside the root that builds."),
    key(
        "build.jobs",
        Kind::Integer(0, 4096),
        "0",
        "Parallel jobs (`parallel=N`); 0 means as many as there are processors.",
    ),
    key(
        "build.profiles",
        Kind::List,
        "[]",
        "Build profiles, such as `nocheck`; that one and `nodoc` set the word of `build.options` with their name, too.",
    ),
    key("build.options", Kind::List, "[]", "Words of DEB_BUILD_OPTIONS, besides `parallel`."),
    key("build.environment", Kind::Map, "{}", "Environment variables of the build."),
    key(
        "build.silence_timeout",
        Kind::Duration,
        "\"150min\"",
        "A build that prints nothing for this long is stopped; 0 never stops it.",
    ),
    key(
        "build.timeout",
        Kind::Duration,
        "0",
        "A build that takes this long is stopped; 0 never stops it.",
    ),
    key(
        "build.cleanup_after",
        Kind::Choice(&["always", "success", "never"]),
        "\"success\"",
        "When the build directory and the dependencies are removed from the root.",
    ),
    key(
        "build.in_memory",
        Kind::Size,
        "0",
        "Memory for what a build changes in its root, such as `4G`; 0 keeps it on the disk. A build that needs more is repeated on the disk; what is to stay after the build is moved there.",
    ),
    key(
        "isolation.mode",
        Kind::Choice(&["auto", "userns", "simple"]),
        "\"auto\"",
        "`userns` works in a user namespace, `simple` is real root in the other namespaces and never chosen by itself; `auto` is `userns`.",
    ),
    key(
        "isolation.root_id_base",
        Kind::Integer(1, 4294967294),
        "1879048192",
        "First id of the range that root's user namespaces use where /etc/subuid has no entry for root.",
    ),
    key(
        "isolation.root_id_count",
        Kind::Integer(65536, 4294967294),
        "65536",
        "Length of that range.",
    ),
    key("isolation.hostname", Kind::Text, "\"debmock\"", "Host name inside the root."),
    key(
        "isolation.binds",
        Kind::Tables(BIND_KEYS),
        "[]",
        "Directories and files of the host that are visible inside the root.",
    ),
    key(
        "isolation.accept_weak",
        Kind::Bool,
        "false",
        "Go on, with a warning, where a surrounding container forbids a new `/proc` or `/sys` or the host name: roots then see the container's `/proc` and host name, and an empty `/sys`.",
    ),
    key(
        "limits.memory",
        Kind::Size,
        "0",
        "Memory of all processes of a session together; 0 means no limit.",
    ),
    key("limits.processes", COUNT, "0", "Processes and threads of a session; 0 means no limit."),
    key(
        "limits.cpus",
        Kind::Number,
        "0",
        "Processors' worth of time, such as 1.5; 0 means no limit.",
    ),
    key("limits.disk", Kind::Size, "0", "What a session may write; 0 means no limit."),
    key(
        "limits.required",
        Kind::Bool,
        "true",
        "Whether a limit that this host cannot enforce is an error; false makes it a warning.",
    ),
    key(
        "store.layers_max",
        Kind::Size,
        "0",
        "Size of all layers above which those are removed that nobody uses, the least recently used first; 0 means no limit.",
    ),
    key("store.debs_max", Kind::Size, "0", "The same for downloaded packages and sources."),
    key(
        "network.http_proxy",
        Kind::Text,
        "",
        "Proxy for http, or `DIRECT`. Default: as the host's apt, then the environment's http_proxy.",
    ),
    key(
        "network.https_proxy",
        Kind::Text,
        "",
        "Proxy for https, or `DIRECT`. Default: as the host's apt, then the environment's https_proxy.",
    ),
    key(
        "network.host_proxies",
        Kind::Map,
        "",
        "Proxies by host name; `DIRECT` means none. Default: as the host's apt.",
    ),
    key(
        "network.no_proxy",
        Kind::List,
        "",
        "Hosts that are reached directly; a name that begins with a dot stands for a domain. Default: the environment's no_proxy.",
    ),
    key(
        "network.retries",
        Kind::Integer(0, 100),
        "",
        "How often a transfer is tried again. Default: as the host's apt, else 3.",
    ),
    key(
        "network.timeout",
        Kind::Duration,
        "",
        "Longest silence of a server. One that brings less than 1 kB a second over a minute (over this time, if it is longer) counts as silent, too. Default: as the host's apt, else 30 seconds.",
    ),
    key(
        "network.ca_info",
        Kind::Text,
        "",
        "File of certificate authorities instead of the host's own. Default: as the host's apt.",
    ),
    key(
        "network.verify_peer",
        Kind::Bool,
        "",
        "Check certificates of https servers. Default: as the host's apt, else true.",
    ),
    key("network.parallel", Kind::Integer(1, 64), "8", "Transfers at once."),
];

/// Keys of one entry of `archives`.
pub(crate) const ARCHIVE_KEYS: &[Key] = &[
    key("uri", Kind::Text, "", "Root of the archive: `http`, `https`, `file` or `copy`. Required."),
    key(
        "suites",
        Kind::Words,
        "",
        "Suites below `dists/`; a name that ends in `/` is a flat repository's directory. Required.",
    ),
    key("components", Kind::List, "", "Components. Default: those of the config."),
    key("architectures", Kind::List, "", "Architectures to take. Default: that of the config."),
    key("signed_by", Kind::Words, "", "Keys that may sign, as in `keyring`."),
    key("trusted", Kind::Bool, "", "Take it without any signature. Default: false."),
    key("check_valid_until", Kind::Bool, "", "As the key of the config, for this archive."),
    key("check_date", Kind::Bool, "", "As the key of the config, for this archive."),
    key("valid_until_max", Kind::Duration, "", "Refuse a Release file older than this."),
    key(
        "by_hash",
        Kind::Choice(&["auto", "no", "force"]),
        "",
        "Fetch indexes under their hash: as the archive says, never, always. Default: `auto`.",
    ),
    key(
        "origin",
        Kind::Text,
        "",
        "Leave the archive out, with a warning, if its verified Release file names another Origin.",
    ),
];

/// Keys of one entry of `isolation.binds`.
pub(crate) const BIND_KEYS: &[Key] = &[
    key("host", Kind::Text, "", "Path on the host. Required."),
    key("inside", Kind::Text, "", "Path inside the root. Default: the same."),
    key("read_only", Kind::Bool, "", "Whether the root may only read it. Default: true."),
];
