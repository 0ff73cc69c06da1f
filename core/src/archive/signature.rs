//! OpenPGP signatures of Release files and source packages, verified in process.
//!
//! One valid signature by a key of the keyring is enough, as for apt: archives sign with several
//! keys while they change them. Only text that the signature covers is ever given out.

use super::checksum::{Hasher, Sha256};
use super::date;
use super::deb822;
use crate::config::Keyring;
use crate::error::{Error, ErrorKind, Result};
use openpgp::cert::amalgamation::ValidAmalgamation;
use openpgp::cert::{Cert, CertParser};
use openpgp::parse::Parse;
use openpgp::parse::stream::{
    DetachedVerifierBuilder, MessageLayer, MessageStructure, VerificationError, VerificationHelper,
    VerifierBuilder,
};
use openpgp::policy::StandardPolicy;
use openpgp::types::RevocationStatus;
use openpgp::{Fingerprint, KeyHandle};
use sequoia_openpgp as openpgp;
use std::cell::RefCell;
use std::io::Read;
use std::time::SystemTime;

/// Names what a keyring says now: it changes when a file of it does. That one cannot be read is
/// told by [`Keys::load`].
pub fn keyring_identity(keyring: &Keyring) -> Sha256 {
    fn add_files(keyring: &Keyring, hasher: &mut Hasher) {
        match keyring {
            Keyring::Files { files, .. } => {
                for file in files {
                    match std::fs::read(file) {
                        Ok(bytes) => hasher.add_part(&bytes),
                        Err(_) => hasher.update(&u64::MAX.to_le_bytes()),
                    }
                }
            }
            Keyring::Any(keyrings) => keyrings.iter().for_each(|k| add_files(k, hasher)),
            Keyring::Only { keyring, .. } => add_files(keyring, hasher),
            // What is to be said of these stands in the value.
            Keyring::Inline(_) | Keyring::BuiltIn(_) => {}
        }
    }
    let mut hasher = Hasher::new();
    hasher.add_part(format!("{keyring:?}").as_bytes());
    add_files(keyring, &mut hasher);
    hasher.finish()
}

/// The keys that may sign, read and ready.
pub struct Keys {
    certs: Vec<Cert>,
    /// Empty: every key. Else only these keys and subkeys of them.
    allowed: Vec<Fingerprint>,
    /// Where the keys are from, for messages.
    origin: String,
}

impl Keys {
    /// Reads a keyring. `builtin` gives the keys that the library carries under a name.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if a file cannot be read, has no certificate, or a fingerprint is
    /// none.
    pub fn load(
        keyring: &Keyring,
        builtin: impl Fn(&str) -> Option<&'static [u8]>,
    ) -> Result<Self> {
        let mut keys = Keys { certs: Vec::new(), allowed: Vec::new(), origin: String::new() };
        let mut whole = Vec::new();
        keys.collect(keyring, &builtin, &mut whole)?;
        // Fingerprints restrict the keyring that they stand with, not those beside it.
        if !keys.allowed.is_empty() {
            keys.allowed.extend(whole);
        }
        Ok(keys)
    }

    fn collect(
        &mut self,
        keyring: &Keyring,
        builtin: &dyn Fn(&str) -> Option<&'static [u8]>,
        whole: &mut Vec<Fingerprint>,
    ) -> Result<()> {
        let before = self.certs.len();
        let mut restricted = false;
        let name = match keyring {
            Keyring::Files { files, fingerprints } => {
                for file in files {
                    let bytes = std::fs::read(file).map_err(|error| {
                        Error::new(ErrorKind::Config, format!("cannot read the keyring {}", file.display()))
                            .with_source(error)
                            .with_hint("install the package that carries it, or name another keyring in the config")
                    })?;
                    self.add(&bytes, &file.display().to_string())?;
                }
                self.allow(fingerprints)?;
                restricted = !fingerprints.is_empty();
                let names: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
                names.join(", ")
            }
            Keyring::Inline(text) => {
                self.add(text.as_bytes(), "the key in the config")?;
                "the key in the config".into()
            }
            Keyring::BuiltIn(name) => {
                let origin = format!("the built-in keys of {name}");
                let bytes = builtin(name).ok_or_else(|| {
                    Error::new(
                        ErrorKind::Config,
                        format!("there are no built-in archive keys for {name}"),
                    )
                    .with_hint("name a keyring file in the config")
                })?;
                self.add(bytes, &origin)?;
                origin
            }
            Keyring::Any(keyrings) => {
                let mut failure = None;
                for keyring in keyrings {
                    if let Err(error) = self.collect(keyring, builtin, whole) {
                        failure.get_or_insert(error);
                    }
                }
                return match failure {
                    Some(error) if self.certs.len() == before => Err(error),
                    _ => Ok(()),
                };
            }
            Keyring::Only { keyring, fingerprints } => {
                // Whatever the keyring allows by itself does not count.
                let allowed = self.allowed.len();
                self.collect(keyring, builtin, &mut Vec::new())?;
                self.allowed.truncate(allowed);
                return self.allow(fingerprints);
            }
        };
        if !self.origin.is_empty() {
            self.origin.push_str(", ");
        }
        self.origin.push_str(&name);
        if !restricted {
            whole.extend(self.certs[before..].iter().map(Cert::fingerprint));
        }
        Ok(())
    }

    fn allow(&mut self, fingerprints: &[String]) -> Result<()> {
        for fingerprint in fingerprints {
            // apt marks an exact key, to the exclusion of its subkeys, with `!`.
            let parsed = fingerprint.trim_end_matches('!').parse::<Fingerprint>();
            let valid = parsed.ok().filter(|parsed| !matches!(parsed, Fingerprint::Unknown { .. }));
            self.allowed.push(valid.ok_or_else(|| {
                Error::new(
                    ErrorKind::Config,
                    format!("{fingerprint:?} is not the fingerprint of a key"),
                )
            })?);
        }
        Ok(())
    }

    fn add(&mut self, bytes: &[u8], origin: &str) -> Result<()> {
        const ARMOR: &[u8] = b"-----BEGIN PGP PUBLIC KEY BLOCK-----";
        let bad = |why: String| {
            Error::new(ErrorKind::Config, format!("the keyring {origin} cannot be used: {why}"))
                .with_hint(
                    "name a file with OpenPGP certificates: `signed_by` or `keyring` in the config",
                )
        };
        let before = self.certs.len();
        // A file may hold several armored blocks one after the other.
        let starts: Vec<usize> = memchr::memmem::find_iter(bytes, ARMOR).collect();
        let blocks: Vec<&[u8]> = match starts.len() {
            0 => vec![bytes],
            _ => {
                let ends = starts.iter().skip(1).copied().chain([bytes.len()]);
                starts.iter().zip(ends).map(|(start, end)| &bytes[*start..end]).collect()
            }
        };
        for block in blocks {
            let parser = CertParser::from_bytes(block).map_err(|error| bad(error.to_string()))?;
            // A certificate that this version cannot read must not spoil the others.
            self.certs.extend(parser.flatten());
        }
        if self.certs.len() == before {
            return Err(bad("there is no OpenPGP certificate in it".into()));
        }
        Ok(())
    }

    /// Verifies a clear-signed file (`InRelease`, `.dsc`) called `name` and gives the signed
    /// text.
    ///
    /// # Errors
    /// [`ErrorKind::Signature`]: no signature, text outside the signed block, a wrong signature,
    /// an unknown, expired or revoked key.
    pub fn verify_inline(&self, signed: &[u8], name: &str) -> Result<Vec<u8>> {
        if !signed.trim_ascii_start().starts_with(b"-----BEGIN PGP SIGNED MESSAGE-----") {
            return Err(unsigned(name));
        }
        // Refuses what stands outside the block, where other readers might find it.
        deb822::strip_signature(signed, name)
            .map_err(|error| error.with_kind(ErrorKind::Signature))?;
        let policy = StandardPolicy::new();
        let verdict = RefCell::new(None);
        let failed = |error: Cause| self.failed(name, &verdict, error);
        let mut verifier = VerifierBuilder::from_bytes(signed)
            .map_err(|error| failed(error.into()))?
            .with_policy(&policy, None, Helper { keys: self, name, verdict: &verdict })
            .map_err(|error| failed(error.into()))?;
        let mut text = Vec::with_capacity(signed.len());
        verifier.read_to_end(&mut text).map_err(|error| failed(error.into()))?;
        if !verifier.message_processed() {
            return Err(unsigned(name));
        }
        Ok(text)
    }

    /// Verifies that `signature` (`Release.gpg`) covers `text`, a file called `name`.
    ///
    /// # Errors
    /// As [`Keys::verify_inline`].
    pub fn verify_detached(&self, text: &[u8], signature: &[u8], name: &str) -> Result<()> {
        let policy = StandardPolicy::new();
        let verdict = RefCell::new(None);
        let failed = |error: Cause| self.failed(name, &verdict, error);
        let mut verifier = DetachedVerifierBuilder::from_bytes(signature)
            .map_err(|error| failed(error.into()))?
            .with_policy(&policy, None, Helper { keys: self, name, verdict: &verdict })
            .map_err(|error| failed(error.into()))?;
        verifier.verify_bytes(text).map_err(|error| failed(error.into()))
    }

    /// The verdict of [`Helper`], if it came that far, else an error about `cause`.
    fn failed(&self, name: &str, verdict: &RefCell<Option<Error>>, cause: Cause) -> Error {
        verdict.take().unwrap_or_else(|| {
            let why = format!("the signature of {name} cannot be verified");
            Error::new(ErrorKind::Signature, why).with_source(cause).with_hint(
                "the file is damaged or was not signed by this archive; try another mirror",
            )
        })
    }
}

type Cause = Box<dyn std::error::Error + Send + Sync>;

pub(super) fn unsigned(name: &str) -> Error {
    Error::new(ErrorKind::Signature, format!("{name} has no signature"))
        .with_hint("take a signed archive; for a local one of your own set `trusted = true` for it in the config")
}

fn expired(at: Option<SystemTime>, cause: impl std::fmt::Display) -> openpgp::Error {
    let since = at.and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
    let seconds = since.map_or(0, |since| since.as_secs() as i64);
    openpgp::Error::InvalidKey(match seconds > 0 && seconds <= date::now() {
        true => format!("it expired on {}", date::format(seconds)),
        false => cause.to_string(),
    })
}

/// Whether a key is neither expired nor revoked today. sequoia takes a signature from the days
/// when its key was valid; for an archive, whose keys sign every day, gpgv and apt do not.
fn usable_now(cert: &Cert, key: &Fingerprint) -> openpgp::Result<()> {
    let policy = StandardPolicy::new();
    let cert = cert.with_policy(&policy, None)?;
    cert.alive().map_err(|error| expired(cert.primary_key().key_expiration_time(), error))?;
    let own = cert.keys().find(|own| own.key().fingerprint() == *key);
    let own =
        own.ok_or_else(|| openpgp::Error::InvalidOperation("it is not bound any more".into()))?;
    own.alive().map_err(|error| expired(own.key_expiration_time(), error))?;
    let revoked = |status| matches!(status, RevocationStatus::Revoked(_));
    if revoked(cert.revocation_status()) || revoked(own.revocation_status()) {
        return Err(openpgp::Error::InvalidKey("it is revoked".into()).into());
    }
    Ok(())
}

/// Why a signature that may be right is not accepted: it is made with something that can be
/// forged, such as SHA-1.
fn too_weak(error: &openpgp::anyhow::Error) -> Option<String> {
    error.chain().find_map(|cause| match cause.downcast_ref::<openpgp::Error>() {
        Some(weak @ openpgp::Error::PolicyViolation(..)) => Some(weak.to_string()),
        _ => None,
    })
}

struct Helper<'a> {
    keys: &'a Keys,
    name: &'a str,
    /// Why [`VerificationHelper::check`] failed, past sequoia's own error type.
    verdict: &'a RefCell<Option<Error>>,
}

impl Helper<'_> {
    fn is_allowed(&self, cert: &Cert, key: &Fingerprint) -> bool {
        let allowed = &self.keys.allowed;
        allowed.is_empty() || allowed.contains(key) || allowed.contains(&cert.fingerprint())
    }
}

impl VerificationHelper for Helper<'_> {
    fn get_certs(&mut self, wanted: &[KeyHandle]) -> openpgp::Result<Vec<Cert>> {
        let has = |cert: &&Cert| {
            cert.keys().any(|key| wanted.iter().any(|id| id.aliases(key.key().key_handle())))
        };
        Ok(self.keys.certs.iter().filter(has).cloned().collect())
    }

    fn check(&mut self, structure: MessageStructure<'_>) -> openpgp::Result<()> {
        let mut unknown = Vec::new();
        let mut reasons = Vec::new();
        let (mut bad, mut weak, mut seen) = (false, false, false);
        for layer in structure {
            let MessageLayer::SignatureGroup { results } = layer else { continue };
            for result in results {
                seen = true;
                match result {
                    Ok(good) => {
                        let key = good.ka.key().fingerprint();
                        if !self.is_allowed(good.ka.cert(), &key) {
                            unknown.push(key.to_hex());
                            continue;
                        }
                        match usable_now(good.ka.cert(), &key) {
                            Ok(()) => return Ok(()),
                            Err(why) => {
                                reasons.push(format!("key {} is not valid: {why}", key.to_hex()))
                            }
                        }
                    }
                    Err(VerificationError::MissingKey { sig }) => {
                        let issuer = sig.get_issuers().first().map(KeyHandle::to_hex);
                        unknown.push(issuer.unwrap_or_else(|| "of unknown id".into()));
                    }
                    Err(VerificationError::BadSignature { ka, error, .. }) => {
                        let key = ka.key().fingerprint().to_hex();
                        if let Some(why) = too_weak(&error) {
                            weak = true;
                            reasons
                                .push(format!("the signature by key {key} is not accepted: {why}"));
                        } else {
                            bad = true;
                            reasons.push(format!("the signature by key {key} is wrong"));
                        }
                    }
                    Err(VerificationError::BadKey { ka, error, .. }) => {
                        let key = ka.key().fingerprint().to_hex();
                        reasons.push(format!("key {key} is not valid: {error:#}"));
                    }
                    Err(VerificationError::UnboundKey { cert, error, .. }) => {
                        let key = cert.fingerprint().to_hex();
                        reasons.push(format!("key {key} is not valid: {error:#}"));
                    }
                    Err(other) => reasons.push(other.to_string()),
                }
            }
        }
        let name = self.name;
        let error = if !seen {
            unsigned(name)
        } else if reasons.is_empty() {
            let ids = unknown.join(", ");
            Error::new(
                ErrorKind::Signature,
                format!("{name} is signed by a key that is not trusted: {ids}, which is not in {}", self.keys.origin),
            )
            .with_hint("if the key is the archive's, name the keyring that has it: `signed_by` of the archive in the config, or [signed-by=FILE] in a line of sources.list(5)")
        } else {
            let hint = if bad {
                "the file was changed after it was signed: the mirror or something on the way to it is damaged or hostile"
            } else if weak {
                "the archive must be signed again with a stronger digest, such as SHA-256: take another one"
            } else {
                "update the keyring (the package debian-archive-keyring, or the archive's own)"
            };
            let why = reasons.join("; ");
            Error::new(ErrorKind::Signature, format!("{name} has no good signature: {why}"))
                .with_hint(hint)
        };
        let refused = openpgp::Error::InvalidOperation(error.message().to_owned());
        self.verdict.replace(Some(error));
        Err(refused.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::testing::Signer;
    use std::process::{Command, Stdio};

    fn keys(signer: &Signer) -> Keys {
        Keys::load(&Keyring::Inline(signer.certificate()), |_| None).unwrap()
    }

    #[test]
    fn a_good_signature_gives_the_signed_text() {
        let signer = Signer::new();
        let text = "Origin: Test\n- dash\n-- more\nSHA256:\n";
        let signed = signer.sign_inline(text);
        let got = keys(&signer).verify_inline(signed.as_bytes(), "x").unwrap();
        assert_eq!(String::from_utf8(got).unwrap().trim_end(), text.trim_end());
        keys(&signer).verify_detached(text.as_bytes(), &signer.sign_detached(text), "x").unwrap();
    }

    #[test]
    fn each_way_to_fail_says_which() {
        let (signer, other) = (Signer::new(), Signer::new());
        let signed = signer.sign_inline("A: 1\n");
        let fails = |keys: &Keys, text: &str| {
            let error = keys.verify_inline(text.as_bytes(), "InRelease").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Signature);
            assert!(
                error.to_string().contains("InRelease") && error.hint().is_some()
                    || text.contains("Evil"),
                "{error:?}"
            );
            error.to_string()
        };
        let wrong = fails(&keys(&signer), &signed.replace("A: 1", "A: 2"));
        assert!(wrong.contains("is wrong"), "{wrong}");
        let unknown = fails(&keys(&other), &signed);
        assert!(
            unknown.contains("not trusted") && unknown.contains("the key in the config"),
            "{unknown}"
        );
        assert!(fails(&keys(&signer), "A: 1\n").contains("has no signature"));
        assert!(fails(&keys(&signer), &format!("Evil: 1\n{signed}")).contains("no signature"));
        assert!(
            fails(&keys(&signer), &format!("{signed}Evil: 1\n")).contains("after the signature")
        );
        let expired = Signer::expired();
        let error = fails(&keys(&expired), &expired.sign_inline("A: 1\n"));
        assert!(error.contains("expired"), "{error}");
        let error = keys(&signer)
            .verify_detached(b"A: 2\n", &signer.sign_detached("A: 1\n"), "Release")
            .unwrap_err();
        assert!(error.to_string().contains("is wrong"), "{error}");
        assert!(keys(&signer).verify_detached(b"A", b"garbage", "Release").is_err());
    }

    #[test]
    fn only_named_keys_of_a_keyring_count() {
        let signer = Signer::new();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("k.asc");
        // Two armored blocks in one file.
        std::fs::write(&file, Signer::new().certificate() + &signer.certificate()).unwrap();
        let load = |fingerprints: Vec<String>| {
            Keys::load(&Keyring::Files { files: vec![file.clone()], fingerprints }, |_| None)
        };
        let signed = signer.sign_inline("A: 1\n");
        load(vec![]).unwrap().verify_inline(signed.as_bytes(), "x").unwrap();
        load(vec![signer.fingerprint()]).unwrap().verify_inline(signed.as_bytes(), "x").unwrap();
        let keys = load(vec![Signer::new().fingerprint()]).unwrap();
        assert!(
            keys.verify_inline(signed.as_bytes(), "x")
                .unwrap_err()
                .to_string()
                .contains("not trusted")
        );
        assert!(load(vec!["zz".into()]).is_err());
        // Of any keyring, and whatever that allows by itself.
        let named =
            Keyring::Files { files: vec![file.clone()], fingerprints: vec![signer.fingerprint()] };
        for keyring in [Keyring::Inline(signer.certificate()), named] {
            let only = |key: &Signer| {
                Keys::load(&keyring.clone().only(&[key.fingerprint()]), |_| None).unwrap()
            };
            only(&signer).verify_inline(signed.as_bytes(), "x").unwrap();
            assert!(only(&Signer::new()).verify_inline(signed.as_bytes(), "x").is_err());
        }
        std::fs::write(&file, "nothing").unwrap();
        assert_eq!(load(vec![]).err().unwrap().kind(), ErrorKind::Config);
    }

    /// Needs the host's gpgv.
    #[test]
    fn gpgv_agrees() {
        let signer = Signer::new();
        let folder = tempfile::tempdir().unwrap();
        let ring = folder.path().join("ring.gpg");
        std::fs::write(&ring, signer.certificate_binary()).unwrap();
        let signed = signer.sign_inline("Origin: Test\nLabel: x  \n- y\n");
        let keys = keys(&signer);
        let mut cases = vec![signed.clone(), Signer::new().sign_inline("A: 1\n"), "A: 1\n".into()];
        // Only text: in the signature's armor gpgv checks a CRC that protects nothing, and that
        // RFC 9580 section 6.1 tells readers to ignore.
        let start = signed.find("Origin").unwrap();
        let end = signed.find("-----BEGIN PGP SIGNATURE").unwrap();
        for at in (start..end).step_by(3).filter(|at| signed.as_bytes()[*at].is_ascii_lowercase()) {
            let mut bytes = signed.clone().into_bytes();
            bytes[at] ^= 0x20;
            cases.push(String::from_utf8(bytes).unwrap());
        }
        for case in cases {
            let file = folder.path().join("x");
            std::fs::write(&file, &case).unwrap();
            let status = Command::new("gpgv")
                .arg("--keyring")
                .args([&ring, &file])
                .stderr(Stdio::null())
                .stdout(Stdio::null())
                .status()
                .expect("this test compares with gpgv, which must be installed");
            assert_eq!(
                keys.verify_inline(case.as_bytes(), "x").is_ok(),
                status.success(),
                "{case}"
            );
        }
    }
}
