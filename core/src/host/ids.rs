//! Which ids of the host stand behind the ids of a root, `subuid(5)`.

use crate::error::{Error, ErrorKind, Result};
use debmock_helper::protocol::IdMap;
use std::fs;

/// Ids that a root needs: Debian's own go up to 65535 (`nobody` is 65534).
const NEEDED: u32 = 65536;

/// What root uses where neither `/etc/subuid` nor the config names a range: the first id and how
/// many. systemd-nspawn's automatic ranges end below it.
pub const ROOT_RANGE: (u32, u32) = (1_879_048_192, NEEDED);

/// Where a range came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RangeChoice {
    /// Entries in `/etc/subuid` and `/etc/subgid`.
    SubIds(IdMap),
    /// Root's own range.
    Root(IdMap),
}

impl RangeChoice {
    /// The map itself.
    pub fn ids(&self) -> IdMap {
        match self {
            RangeChoice::SubIds(ids) | RangeChoice::Root(ids) => *ids,
        }
    }
}

/// Chooses the range of the calling user; `root_range` is root's where it has no entry.
pub fn choose_range(root_range: (u32, u32)) -> Result<RangeChoice> {
    let uid = rustix::process::getuid().as_raw();
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let (subuid, subgid) = (read("/etc/subuid"), read("/etc/subgid"));
    // The user database, not a file: users may be kept in a directory service.
    let user = nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(uid));
    let name = user.ok().flatten().map(|user| user.name);
    choose(uid, name.as_deref(), &subuid, &subgid, root_range)
}

fn choose(
    uid: u32,
    name: Option<&str>,
    subuid: &str,
    subgid: &str,
    root_range: (u32, u32),
) -> Result<RangeChoice> {
    let own = |file| ranges(file).find(|r| r.is_of(uid, name) && r.count >= NEEDED);
    if let (Some(uids), Some(gids)) = (own(subuid), own(subgid)) {
        let ids = IdMap { uid: uids.first, gid: gids.first, count: NEEDED };
        return Ok(RangeChoice::SubIds(ids));
    }
    if uid != 0 {
        let who = name.map_or_else(|| uid.to_string(), str::to_owned);
        let first = free_range(subuid, subgid);
        let last = first + NEEDED - 1;
        return Err(Error::new(
            ErrorKind::Isolation,
            format!("the user {who} has no range of {NEEDED} ids in /etc/subuid and /etc/subgid"),
        )
        .with_hint(format!(
            "install the package uidmap and, as root, run: usermod --add-subuids {first}-{last} --add-subgids {first}-{last} {who}"
        )));
    }
    let (first, count) = root_range;
    let end = u64::from(first) + u64::from(count);
    if count < NEEDED || first == 0 || end > u64::from(u32::MAX) {
        return Err(Error::new(
            ErrorKind::Config,
            format!("the range of ids {first}:{count} is too small or out of bounds"),
        )
        .with_hint(format!(
            "give at least {NEEDED} ids, for example isolation.root_id_base = {} and \
             isolation.root_id_count = {NEEDED}",
            ROOT_RANGE.0
        )));
    }
    for (path, file) in [("/etc/subuid", subuid), ("/etc/subgid", subgid)] {
        if let Some(other) = ranges(file).find(|r| r.overlaps(first, count)) {
            return Err(Error::new(
                ErrorKind::Isolation,
                format!(
                    "root's range of ids {first}:{count} overlaps that of {} in {path} ({}:{})",
                    other.owner, other.first, other.count
                ),
            )
            .with_hint("set another range in the config: isolation.root_id_base and isolation.root_id_count"));
        }
    }
    Ok(RangeChoice::Root(IdMap { uid: first, gid: first, count: NEEDED }))
}

/// The first id of a range that nobody has in either file; `useradd` begins at 100000 too.
fn free_range(subuid: &str, subgid: &str) -> u32 {
    let ends = ranges(subuid).chain(ranges(subgid)).map(|r| r.first.saturating_add(r.count));
    let first = ends.max().unwrap_or(0).max(100_000);
    if first > u32::MAX - NEEDED { 100_000 } else { first }
}

struct Range<'a> {
    owner: &'a str,
    first: u32,
    count: u32,
}

impl Range<'_> {
    /// Owners stand there by name or by number.
    fn is_of(&self, uid: u32, name: Option<&str>) -> bool {
        Some(self.owner) == name || self.owner.parse() == Ok(uid)
    }

    fn overlaps(&self, first: u32, count: u32) -> bool {
        let (a, b) = (u64::from(self.first), u64::from(first));
        a < b + u64::from(count) && b < a + u64::from(self.count)
    }
}

fn ranges(file: &str) -> impl Iterator<Item = Range<'_>> {
    file.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let (owner, first, count) = (fields.next()?, fields.next()?, fields.next()?);
        Some(Range { owner, first: first.parse().ok()?, count: count.parse().ok()? })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUBUID: &str = "ann:100000:65536\n1001:165536:65536\nshort:300000:10\n";

    #[test]
    fn entries_by_name_and_by_number_are_found() {
        let ids = |uid, name| choose(uid, name, SUBUID, SUBUID, ROOT_RANGE).unwrap().ids().uid;
        assert_eq!(ids(1000, Some("ann")), 100_000);
        assert_eq!(ids(1001, Some("bob")), 165_536);
    }

    #[test]
    fn a_user_without_a_large_enough_range_is_told_the_command() {
        let error = choose(1002, Some("short"), SUBUID, SUBUID, ROOT_RANGE).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Isolation);
        assert!(error.hint().unwrap().contains("--add-subuids 300010-365545"), "{error:?}");
    }

    #[test]
    fn roots_own_range_must_not_overlap_a_users() {
        assert!(choose(0, Some("root"), SUBUID, SUBUID, ROOT_RANGE).is_ok());
        let error = choose(0, Some("root"), SUBUID, SUBUID, (130_000, 65536)).unwrap_err();
        assert!(error.to_string().contains("ann"), "{error}");
        assert!(error.hint().unwrap().contains("isolation.root_id_base"), "{error:?}");
    }
}
