//! Release files: fetched, verified, compared with the one that was seen before, and stored.

use super::{Acquire, Refresh, verified};
use crate::archive::checksum::Sha256;
use crate::archive::date;
use crate::archive::deb822;
use crate::archive::release::Release;
use crate::archive::signature::{Keys, keyring_identity, unsigned};
use crate::archive::state::{Lists, Seen, SignedFile, suite_url};
use crate::archive::transport::{Small, Validators, read_small};
use crate::archive::uri;
use crate::config::ArchiveSource;
use crate::error::{Error, ErrorKind, Result};
use std::cell::OnceCell;
use std::sync::Arc;

/// Largest Release file that is accepted, in bytes. Debian's have 200 kB.
const RELEASE: u64 = 16 * 1024 * 1024;

impl Acquire<'_> {
    /// The verified Release file of a source.
    ///
    /// # Errors
    /// Of whatever does not hold, unless nothing says that the source is the distribution's.
    pub(super) fn release(&self, source: &ArchiveSource, refresh: Refresh) -> Result<Found> {
        let mut claims = false;
        let error = match self.verified(source, refresh, &mut claims) {
            Ok(found) => return Ok(found),
            Err(error) => error,
        };
        // Others, such as a full disk or cancelling, have nothing to do with the source.
        let of_source =
            matches!(error.kind(), ErrorKind::Archive | ErrorKind::Signature | ErrorKind::Config);
        match source.presumed && of_source && !claims && !self.was_of_the_distribution(source) {
            true => Ok(Found::Unknown(error)),
            false => Err(error),
        }
    }

    /// Whether the newest Release file that was accepted from a source names the Origin that is
    /// asked for.
    fn was_of_the_distribution(&self, source: &ArchiveSource) -> bool {
        let seen = self.lists.seen(source);
        seen.is_some_and(|seen| match Fetched::load(&seen, self.lists) {
            Ok(fetched) => fetched.claims(source),
            Err(_) => true,
        })
    }

    /// As [`Acquire::release`]; `claims` tells whether a file came that calls itself the
    /// distribution's, verified or not.
    fn verified(
        &self,
        source: &ArchiveSource,
        refresh: Refresh,
        claims: &mut bool,
    ) -> Result<Found> {
        let url = suite_url(source);
        let shown = uri::redacted(&url);
        let seen = self.lists.seen(source);
        let now = date::now();
        let ask = match (&seen, refresh) {
            (_, Refresh::Always) | (None, Refresh::OlderThan(_)) => true,
            (Some(seen), Refresh::OlderThan(age)) => !(0..=i64::try_from(age.as_secs())
                .unwrap_or(i64::MAX))
                .contains(&(now - seen.asked)),
            (Some(_), Refresh::Never) => false,
            (None, Refresh::Never) => {
                let error = Error::new(
                    ErrorKind::Archive,
                    format!("there is no index of {shown} in the store, and none may be fetched"),
                );
                return Err(error.with_hint(
                    "run `debmock update`, or set `refresh` to something else than `never`",
                ));
            }
        };
        let trust = Trust::of(source, self.builtin_keys);
        let mut fresh = None;
        if ask {
            // Before anything is fetched in vain.
            trust.keys()?;
            let known =
                seen.as_ref().filter(|seen| !matches!(seen.signed, SignedFile::Unsigned(_)));
            fresh = self.fetch_release(&url, source, known.map(|seen| &seen.validators))?;
        }
        let mut kept = None;
        if fresh.is_none()
            && let Some(seen) = &seen
        {
            let stored = self.stored(seen, &url, &trust, ask);
            let usable =
                stored.as_ref().is_ok_and(|(release, ..)| release.check(source, now).is_ok());
            if ask && !usable {
                // Something on the way may hold an old file for the newest, or ours is damaged.
                fresh = self.fetch_release(&url, source, None)?;
            }
            kept = Some(stored);
        }
        let taken = match (fresh, seen) {
            (None, Some(seen)) => kept.unwrap_or_else(|| self.stored(&seen, &url, &trust, ask))?,
            (Some(fetched), seen) => {
                *claims = fetched.claims(source);
                let release = fetched.verified(&url, &trust)?;
                match seen {
                    Some(seen) if seen.date > release.date() => {
                        self.scope.warn(
                            format!("{} is older than the one that was seen before; the newer one is used", fetched.name(&url)),
                            Some("the mirror is behind or its servers are not in step".into()),
                        );
                        self.stored(&seen, &url, &trust, true)?
                    }
                    _ => {
                        let signed = fetched.store(self.lists)?;
                        trust.remember(&url, signed, &release);
                        (release, signed, Some(fetched.validators))
                    }
                }
            }
            (None, None) => {
                return Err(Error::new(ErrorKind::Archive, format!("{shown} has no Release file")));
            }
        };
        let (release, signed, validators) = taken;
        let foreign = source.origin.as_ref().is_some_and(|origin| release.origin() != origin);
        if !foreign {
            for warning in release.check(source, now)? {
                self.scope.warn(warning, None);
            }
        }
        if let Some(validators) = validators {
            self.lists
                .set_seen(source, &Seen { signed, validators, date: release.date(), asked: now })?;
        }
        Ok(match foreign {
            true => Found::Foreign(release.origin().to_owned()),
            false => Found::Verified(release, signed),
        })
    }

    /// The Release file that the store has. It is verified again, unless this process did that with the
    /// same keys.
    fn stored(
        &self,
        seen: &Seen,
        url: &str,
        trust: &Trust<'_>,
        asked: bool,
    ) -> Result<(Arc<Release>, SignedFile, Option<Validators>)> {
        let release = match verified::recall(trust.question(url, seen.signed)) {
            Some(release) => release,
            None => {
                let release = Fetched::load(seen, self.lists)?.verified(url, trust)?;
                trust.remember(url, seen.signed, &release);
                release
            }
        };
        Ok((release, seen.signed, asked.then(|| seen.validators.clone())))
    }

    /// Gets `InRelease`, else `Release` and `Release.gpg`; `None` if nothing has changed.
    fn fetch_release(
        &self,
        url: &str,
        source: &ArchiveSource,
        known: Option<&Validators>,
    ) -> Result<Option<Fetched>> {
        let get = |name: &str, known| {
            let url = format!("{url}{name}");
            read_small(self.transport, self.scope, &url, RELEASE, known)
        };
        let missing = match get("InRelease", known)? {
            Small::Unchanged => return Ok(None),
            Small::Bytes(text, validators) => {
                return Ok(Some(Fetched { text, proof: Proof::Inline, validators }));
            }
            Small::Missing(how) => how,
        };
        let (text, validators) = match get("Release", None)? {
            Small::Bytes(text, validators) => (text, validators),
            _ => {
                let shown = uri::redacted(url);
                return Err(Error::new(
                    ErrorKind::Archive,
                    format!("{shown} has neither InRelease nor Release: {missing}"),
                )
                .with_hint(format!(
                    "check the archive's URI and whether it has the suite {:?}",
                    source.suite
                )));
            }
        };
        let proof = match get("Release.gpg", None)? {
            Small::Bytes(signature, _) => Proof::Detached(signature),
            _ => Proof::None,
        };
        Ok(Some(Fetched { text, proof, validators }))
    }
}

/// What became of the Release file of a source.
pub(super) enum Found {
    /// It is verified.
    Verified(Arc<Release>, SignedFile),
    /// It is verified and names this Origin instead of the one that is asked for.
    Foreign(String),
    /// There is none that holds, and nothing says that the source is the distribution's.
    Unknown(Error),
}

/// Whose signature counts for a source.
struct Trust<'a> {
    source: &'a ArchiveSource,
    builtin: fn(&str) -> Option<&'static [u8]>,
    keys: OnceCell<Option<Keys>>,
    /// Names the keyring as it was before the keys were read; nothing for a source that is trusted
    /// without a signature.
    identity: Option<Sha256>,
}

impl<'a> Trust<'a> {
    fn of(source: &'a ArchiveSource, builtin: fn(&str) -> Option<&'static [u8]>) -> Self {
        Trust { source, builtin, keys: OnceCell::new(), identity: identity_of(source) }
    }

    /// The keys; nothing for a source that is trusted without a signature.
    fn keys(&self) -> Result<Option<&Keys>> {
        if let Some(keys) = self.keys.get() {
            return Ok(keys.as_ref());
        }
        let keys = match self.source.trusted {
            true => None,
            false => Some(Keys::load(&self.source.keyring, self.builtin)?),
        };
        Ok(self.keys.get_or_init(|| keys).as_ref())
    }

    /// Names a file of the store that comes from `url`, with the keys.
    fn question(&self, url: &str, signed: SignedFile) -> Sha256 {
        Sha256::of(format!("{url}\n{signed:?}\n{:?}", self.identity).as_bytes())
    }

    /// Keeps what was verified, unless somebody has changed the keyring meanwhile.
    fn remember(&self, url: &str, signed: SignedFile, release: &Arc<Release>) {
        if identity_of(self.source) == self.identity {
            verified::remember(self.question(url, signed), release);
        }
    }
}

fn identity_of(source: &ArchiveSource) -> Option<Sha256> {
    (!source.trusted).then(|| keyring_identity(&source.keyring))
}

/// A Release file as it was fetched.
struct Fetched {
    text: Vec<u8>,
    proof: Proof,
    validators: Validators,
}

enum Proof {
    Inline,
    Detached(Vec<u8>),
    None,
}

impl Fetched {
    fn load(seen: &Seen, lists: &Lists) -> Result<Self> {
        let (text, proof) = match seen.signed {
            SignedFile::Inline(object) => (lists.read(object)?, Proof::Inline),
            SignedFile::Unsigned(object) => (lists.read(object)?, Proof::None),
            SignedFile::Detached { release, signature } => {
                (lists.read(release)?, Proof::Detached(lists.read(signature)?))
            }
        };
        Ok(Fetched { text, proof, validators: seen.validators.clone() })
    }

    /// Whether the text calls itself what `source` asks for. Without a verified signature that
    /// proves nothing but who is meant.
    fn claims(&self, source: &ArchiveSource) -> bool {
        let Some(origin) = &source.origin else { return true };
        let text = String::from_utf8_lossy(&self.text);
        text.lines().any(|line| line.strip_prefix("Origin:").is_some_and(|o| o.trim() == origin))
    }

    fn name(&self, url: &str) -> String {
        let name = if matches!(self.proof, Proof::Inline) { "InRelease" } else { "Release" };
        format!("{}{name}", uri::redacted(url))
    }

    /// What it says, after its signature was verified.
    fn verified(&self, url: &str, trust: &Trust<'_>) -> Result<Arc<Release>> {
        let text = self.verify(url, trust.keys()?)?;
        Release::parse(&text, &self.name(url)).map(Arc::new)
    }

    /// The text that is covered by a signature; without keys (a trusted source) all of it.
    fn verify(&self, url: &str, keys: Option<&Keys>) -> Result<Vec<u8>> {
        let name = self.name(url);
        match (keys, &self.proof) {
            (None, _) => deb822::strip_signature(&self.text, &name),
            (Some(keys), Proof::Inline) => keys.verify_inline(&self.text, &name),
            (Some(keys), Proof::Detached(signature)) => {
                keys.verify_detached(&self.text, signature, &name).map(|()| self.text.clone())
            }
            (Some(_), Proof::None) => Err(unsigned(&name)),
        }
    }

    fn store(&self, lists: &Lists) -> Result<SignedFile> {
        let text = lists.put(&self.text)?;
        Ok(match &self.proof {
            Proof::Inline => SignedFile::Inline(text),
            Proof::Detached(signature) => {
                SignedFile::Detached { release: text, signature: lists.put(signature)? }
            }
            Proof::None => SignedFile::Unsigned(text),
        })
    }
}
