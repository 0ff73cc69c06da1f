//! Layers: immutable trees, addressed by a key that says what went into them.
//!
//! A layer is made aside and renamed into place: it appears complete or not at all. Its lock sees
//! to it that the same key is never made twice at the same time; who waits finds it made.

use super::zone::LAYER_LOCK;
use super::{Held, Zone};
use crate::error::Result;
use crate::operation::Scope;
use debmock_helper::protocol::Place;
use debmock_helper::store::{MAKING, boot_id};
use debmock_helper::unpack::hex;
use sha2::{Digest, Sha256};
use std::time::{Duration, SystemTime};

/// Says what went into a layer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LayerKey(String);

impl LayerKey {
    /// The key of a layer of `kind` from the parts that decide what is in it.
    pub fn of(kind: &str, parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        for part in std::iter::once(kind.as_bytes()).chain(parts.iter().copied()) {
            // The length keeps parts apart.
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        LayerKey(format!("{kind}-{}", hex(&hash.finalize()[..16])))
    }

    /// A key that somebody else's store had; nothing if it cannot be one. Whether what they give
    /// is what the key stands for, nobody can tell.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (kind, digits) = text.rsplit_once('-')?;
        let hexadecimal = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let fine = ["base", "packages", "import"].contains(&kind)
            && digits.len() == 32
            && digits.bytes().all(hexadecimal);
        fine.then(|| LayerKey(text.to_owned()))
    }

    /// The key as text: the layer's name in the store.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A layer that exists and will not be removed as long as the value lives.
#[derive(Debug)]
pub struct Layer {
    key: LayerKey,
    _lock: Held,
}

impl Layer {
    /// Its key.
    pub fn key(&self) -> &str {
        self.key.as_str()
    }
}

/// Notes that the layer is used now, unless that was noted in the last minute. That it cannot be
/// noted harms nobody.
pub(crate) fn note_use(zone: &Zone, key: &str) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    // A clock that was set back is no reason to believe what is noted.
    let recent = now.as_secs().saturating_sub(60)..=now.as_secs();
    if last_use(zone, key).is_ok_and(|last| recent.contains(&last)) {
        return;
    }
    let _ = zone.write(Place::layer(format!("{key}/used")), now.as_secs().to_string().as_bytes());
}

/// When the layer was used last, in seconds since 1970.
pub(crate) fn last_use(zone: &Zone, key: &str) -> Result<u64> {
    let noted = zone.read(Place::layer(format!("{key}/used")))?.unwrap_or_default();
    Ok(std::str::from_utf8(&noted).ok().and_then(|text| text.parse().ok()).unwrap_or(0))
}

/// What is called `name` in the directory `home`.
pub(crate) fn below(home: &Place, name: &str) -> Place {
    Place { area: home.area, path: format!("{}/{name}", home.path) }
}

/// Keeps the layer of this key from being removed as long as the value lives.
///
/// # Errors
/// [`ErrorKind::Locked`](crate::ErrorKind::Locked) if somebody makes or removes it just now.
pub(crate) fn hold(zone: &Zone, key: &str, scope: &Scope) -> Result<Held> {
    zone.lock(&format!("{LAYER_LOCK}{key}"), false, Some(Duration::ZERO), scope)
}

/// File of a layer that an archive was unpacked into: how many bytes the archive has.
const SIZE: &str = "size";

/// Notes that the layer that is made in `home` is of an archive of so many bytes.
pub(crate) fn note_size(zone: &Zone, home: &Place, size: u64) -> Result<()> {
    zone.write(below(home, SIZE), size.to_string().as_bytes())
}

/// Whether the store has a layer of an archive of so many bytes, which may be any.
pub(crate) fn has_size(zone: &Zone, size: u64) -> Result<bool> {
    let text = size.to_string();
    for known in zone.list(Place::layer("."))? {
        if known.starts_with("import-")
            && zone.read(Place::layer(format!("{known}/{SIZE}")))?.as_deref()
                == Some(text.as_bytes())
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The layer of an archive of `size` bytes whose content, and with it the key, is known only when
/// it has been read: `make` makes the tree `root` in the directory that it is given, and tells the
/// key. If it turns out that there is such a layer, that one is taken.
///
/// Nothing if the store has a layer of an archive of the same size: then it may be the same one,
/// and is to be read first. Only one process makes a layer of this size at a time; others wait and
/// then find it.
///
/// # Errors
/// As [`provide`].
pub(crate) fn provide_unread(
    zone: &Zone,
    size: u64,
    limit: Option<Duration>,
    scope: &Scope,
    make: impl FnOnce(&Place) -> Result<LayerKey>,
) -> Result<Option<Layer>> {
    let name = format!("import-of-{size}");
    let alone = zone.lock(&format!("{LAYER_LOCK}{name}"), true, limit, scope)?;
    if has_size(zone, size)? {
        return Ok(None);
    }
    let home = Place::layer(format!("{MAKING}{name}"));
    // What a killed process left. The lock says that nobody is at it.
    zone.discard(home.clone(), scope)?;
    zone.make_directory(home.clone())?;
    let provided = make(&home).and_then(|key| {
        let layer = provide(zone, &key, limit, scope, |place| {
            zone.rename(below(&home, "root"), below(place, "root"))?;
            note_size(zone, place, size)
        })?;
        Ok(Some(layer))
    });
    let emptied = zone.discard(home, &Scope::quiet());
    drop(alone);
    // The first failure counts.
    provided.and_then(|layer| emptied.map(|()| layer))
}

/// The layer of `key`, if the store has it; waits for whoever makes it, as [`provide`].
///
/// # Errors
/// As [`provide`].
pub(crate) fn find(
    zone: &Zone,
    key: &LayerKey,
    limit: Option<Duration>,
    scope: &Scope,
) -> Result<Option<Layer>> {
    let shared = zone.lock(&lock_name(key), false, limit, scope)?;
    if !exists(zone, key)? {
        return Ok(None);
    }
    note_use(zone, key.as_str());
    Ok(Some(Layer { key: key.clone(), _lock: shared }))
}

fn lock_name(key: &LayerKey) -> String {
    format!("{LAYER_LOCK}{}", key.as_str())
}

/// Whether the layer is there, complete; its lock is held.
fn exists(zone: &Zone, key: &LayerKey) -> Result<bool> {
    let read = |file| zone.read(Place::layer(format!("{}/{file}", key.as_str())));
    // A mark of another boot: it never reached the disk for certain.
    let sound = |mark: Option<Vec<u8>>| mark.is_none_or(|mark| mark == boot_id().as_bytes());
    Ok(read("layer.json")?.is_some() && sound(read("boot")?))
}

/// The layer of `key`; if it is missing, `make` makes the tree `root` in the directory that it is
/// given.
///
/// # Errors
/// [`ErrorKind::Locked`](crate::ErrorKind::Locked) if another process is still making the same
/// layer after `limit`; `None` waits as long as it takes. Errors of `make`.
pub fn provide(
    zone: &Zone,
    key: &LayerKey,
    limit: Option<Duration>,
    scope: &Scope,
    make: impl FnOnce(&Place) -> Result<()>,
) -> Result<Layer> {
    if let Some(layer) = find(zone, key, limit, scope)? {
        return Ok(layer);
    }
    let alone = zone.lock(&lock_name(key), true, limit, scope)?;
    if !exists(zone, key)? {
        let aside = format!("{MAKING}{}", key.as_str());
        // What a killed process left. The lock says that nobody is at it.
        zone.discard(Place::layer(aside.clone()), scope)?;
        zone.discard(Place::layer(key.as_str()), scope)?;
        let home = Place::layer(aside.clone());
        zone.make_directory(home.clone())?;
        let made = make(&home).and_then(|()| {
            let about = serde_json::json!({ "schema": 1, "key": key.as_str() });
            zone.write(Place::layer(format!("{aside}/layer.json")), about.to_string().as_bytes())?;
            zone.write(Place::layer(format!("{aside}/boot")), boot_id().as_bytes())?;
            note_use(zone, &aside);
            zone.rename(Place::layer(aside.clone()), Place::layer(key.as_str()))
        });
        if let Err(error) = made {
            // The first failure counts.
            let _ = zone.discard(Place::layer(aside), &Scope::quiet());
            return Err(error);
        }
    }
    Ok(Layer { key: key.clone(), _lock: alone })
}
