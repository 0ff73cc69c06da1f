//! Snapshots of a buildroot.

use super::inspect::table;
use crate::Call;
use debmock::Result;
use debmock::buildroot::Snapshot;
use serde_json::json;

pub fn take(call: &mut Call<'_>, name: &str) -> Result<u8> {
    let root = call.buildroot()?;
    call.watch(|scope| root.snapshot(name, scope))?;
    call.screen.say(&format!("the snapshot {name} holds the buildroot {}", root.name()));
    Ok(0)
}

pub fn roll_back(call: &mut Call<'_>, name: &str) -> Result<u8> {
    let root = call.buildroot()?;
    call.watch(|scope| root.rollback(name, scope))?;
    call.screen.say(&format!("the buildroot {} is as in the snapshot {name}", root.name()));
    Ok(0)
}

pub fn remove(call: &mut Call<'_>, name: &str) -> Result<u8> {
    let root = call.buildroot()?;
    call.watch(|scope| root.remove_snapshot(name, scope))?;
    Ok(0)
}

pub fn list(call: &mut Call<'_>) -> Result<u8> {
    let root = call.buildroot()?;
    let snapshots = call.watch(|_| root.snapshots())?;
    if call.screen.is_json() {
        let all: Vec<_> = snapshots.iter().map(Snapshot::to_json).collect();
        let value = json!({"schema": debmock::event::SCHEMA, "snapshots": all});
        call.screen.json(&value);
        return Ok(0);
    }
    let rows: Vec<_> = snapshots
        .iter()
        .map(|one| vec![one.name.clone(), debmock::archive::date::format(one.created as i64)])
        .collect();
    let mut lines = vec![format!("Snapshots of {}", root.name())];
    lines.extend(table(&rows));
    call.screen.data(&lines.join("\n"));
    Ok(0)
}
