//! OpenPGP keys and signatures that tests make in memory, sound and unsound. Never use one for
//! anything else: their secret halves are in the clear.

use std::fmt;
use std::io::Write;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use sequoia_openpgp as openpgp;

use openpgp::Cert;
use openpgp::armor;
use openpgp::cert::CertBuilder;
use openpgp::crypto::KeyPair;
use openpgp::parse::Parse;
use openpgp::policy::StandardPolicy;
use openpgp::serialize::Serialize;
use openpgp::serialize::stream::{Message, Signer};
use openpgp::types::{HashAlgorithm, ReasonForRevocation};

const DAY: Duration = Duration::from_secs(86_400);

/// What is special about a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// Nothing: a primary key that certifies and a subkey that signs, as Debian's automatic keys.
    Sound,
    /// The primary key signs by itself, as Debian's stable release keys.
    PrimaryOnly,
    /// Made two years ago, expired one year ago.
    Expired,
    /// The primary key is sound; the signing subkey expired one year ago.
    ExpiredSubkey,
    /// Revoked as compromised.
    Revoked,
    /// The signing subkey is revoked.
    RevokedSubkey,
}

/// A key with its secret half.
#[derive(Clone)]
pub struct TestKey {
    cert: Cert,
}

impl fmt::Debug for TestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TestKey({})", self.fingerprint())
    }
}

impl TestKey {
    /// The sound key of this process, made at the first call.
    pub fn shared() -> TestKey {
        static KEY: OnceLock<TestKey> = OnceLock::new();
        KEY.get_or_init(|| TestKey::new(Flavour::Sound)).clone()
    }

    /// Another sound key: signatures of it are by an unknown key to who trusts [`TestKey::shared`].
    pub fn fresh() -> TestKey {
        TestKey::new(Flavour::Sound)
    }

    /// A new key of that flavour (Ed25519).
    pub fn new(flavour: Flavour) -> TestKey {
        let cert = generate(flavour)
            .unwrap_or_else(|e| panic!("cannot make a test key ({flavour:?}): {e}"));
        TestKey { cert }
    }

    /// The public certificate, binary, as in `/usr/share/keyrings/*.gpg`.
    pub fn certificate(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.cert
            .export(&mut out)
            .unwrap_or_else(|e| panic!("cannot write a certificate to memory: {e}"));
        out
    }

    /// The public certificate in ASCII armour, as in `*.asc` and `Signed-By` in sources files.
    pub fn armoured(&self) -> String {
        armour(&self.certificate(), armor::Kind::PublicKey)
    }

    /// The fingerprint of the primary key, upper-case hexadecimal.
    pub fn fingerprint(&self) -> String {
        self.cert.fingerprint().to_hex()
    }

    fn pair(&self) -> KeyPair {
        // a subkey that signs, else the primary key; neither expiry nor revocation is asked
        let key = self
            .cert
            .keys()
            .secret()
            .last()
            .unwrap_or_else(|| panic!("test key {} has no secret half", self.fingerprint()));
        key.key()
            .clone()
            .into_keypair()
            .unwrap_or_else(|e| panic!("test key {} is locked: {e}", self.fingerprint()))
    }

    /// A text signed in the clear, as `InRelease` is.
    pub fn clear_sign(&self, text: &[u8]) -> Vec<u8> {
        clear_sign(&[self], text, None)
    }

    /// An armoured detached signature, as `Release.gpg` is.
    pub fn detached(&self, data: &[u8]) -> Vec<u8> {
        detached(&[self], data, None)
    }
}

fn generate(flavour: Flavour) -> openpgp::Result<Cert> {
    let now = SystemTime::now();
    let two_years_ago = now - 730 * DAY;
    let year = Some(365 * DAY);
    let flags = openpgp::types::KeyFlags::empty().set_signing();
    let builder = CertBuilder::new()
        .add_userid("Test Kit <kit@example.org>")
        .set_creation_time(now - 2 * DAY);
    let builder = match flavour {
        Flavour::Sound | Flavour::Revoked | Flavour::RevokedSubkey => builder.add_signing_subkey(),
        Flavour::PrimaryOnly => builder.set_primary_key_flags(
            openpgp::types::KeyFlags::empty().set_signing().set_certification(),
        ),
        Flavour::Expired => {
            builder.set_creation_time(two_years_ago).set_validity_period(year).add_signing_subkey()
        }
        Flavour::ExpiredSubkey => {
            builder.set_creation_time(two_years_ago).add_subkey(flags, year, None)
        }
    };
    let (cert, revocation) = builder.generate()?;
    match flavour {
        Flavour::Revoked => Ok(cert.insert_packets(revocation)?.0),
        Flavour::RevokedSubkey => {
            let policy = StandardPolicy::new();
            let mut primary =
                cert.primary_key().key().clone().parts_into_secret()?.into_keypair()?;
            let subkey = cert.with_policy(&policy, None)?.keys().subkeys().next();
            let subkey = subkey.ok_or_else(|| openpgp::anyhow::anyhow!("no subkey"))?;
            let signature = openpgp::cert::SubkeyRevocationBuilder::new()
                .set_reason_for_revocation(ReasonForRevocation::KeyCompromised, b"test")?
                .build(&mut primary, &cert, subkey.key(), None)?;
            Ok(cert.insert_packets(signature)?.0)
        }
        _ => Ok(cert),
    }
}

fn armour(bytes: &[u8], kind: armor::Kind) -> String {
    let run = || -> openpgp::Result<String> {
        let mut writer = armor::Writer::new(Vec::new(), kind)?;
        writer.write_all(bytes)?;
        Ok(String::from_utf8_lossy(&writer.finalize()?).into_owned())
    };
    run().unwrap_or_else(|e| panic!("cannot armour bytes in memory: {e}"))
}

/// One clear-signed text with a signature of each key; `hash` replaces the default digest.
pub fn clear_sign(keys: &[&TestKey], text: &[u8], hash: Option<HashAlgorithm>) -> Vec<u8> {
    sign(keys, text, hash, true).unwrap_or_else(|e| panic!("cannot sign a text with {keys:?}: {e}"))
}

/// One armoured block with a detached signature of each key.
pub fn detached(keys: &[&TestKey], data: &[u8], hash: Option<HashAlgorithm>) -> Vec<u8> {
    let raw = sign(keys, data, hash, false)
        .unwrap_or_else(|e| panic!("cannot sign data with {keys:?}: {e}"));
    armour(&raw, armor::Kind::Signature).into_bytes()
}

fn sign(
    keys: &[&TestKey],
    data: &[u8],
    hash: Option<HashAlgorithm>,
    clear: bool,
) -> openpgp::Result<Vec<u8>> {
    let mut out = Vec::new();
    let (first, others) =
        keys.split_first().ok_or_else(|| openpgp::anyhow::anyhow!("no key was given"))?;
    let mut signer = Signer::new(Message::new(&mut out), first.pair())?;
    for key in others {
        signer = signer.add_signer(key.pair())?;
    }
    if let Some(hash) = hash {
        signer = signer.hash_algo(hash)?;
    }
    let signer = if clear { signer.cleartext() } else { signer.detached() };
    let mut message = signer.build()?;
    message.write_all(data)?;
    message.finalize()?;
    Ok(out)
}

/// The signature block of a clear-signed text or a detached signature: its raw packets.
fn packets_of(signed: &[u8]) -> Vec<u8> {
    let begin = b"-----BEGIN PGP SIGNATURE-----";
    let at = signed
        .windows(begin.len())
        .position(|w| w == begin)
        .unwrap_or_else(|| panic!("there is no signature block in what was just signed"));
    let mut raw = Vec::new();
    let mode = armor::ReaderMode::Tolerant(Some(armor::Kind::Signature));
    std::io::Read::read_to_end(&mut armor::Reader::from_bytes(&signed[at..], mode), &mut raw)
        .unwrap_or_else(|e| panic!("cannot read back a signature: {e}"));
    raw
}

/// The same signed text or detached signature with one bit of the signature's number wrong.
pub fn corrupt(signed: &[u8]) -> Vec<u8> {
    let mut raw = packets_of(signed);
    // the last byte belongs to the last number of the last signature packet
    if let Some(last) = raw.last_mut() {
        *last ^= 1;
    }
    with_signature(signed, &raw)
}

/// `signed` with its signatures exchanged for those of `donor`.
pub fn transplant(signed: &[u8], donor: &[u8]) -> Vec<u8> {
    with_signature(signed, &packets_of(donor))
}

fn with_signature(signed: &[u8], raw: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(signed);
    let head = text.split("-----BEGIN PGP SIGNATURE-----").next().unwrap_or("");
    let mut out = head.as_bytes().to_vec();
    out.extend_from_slice(armour(raw, armor::Kind::Signature).as_bytes());
    out
}

/// Whether the bytes are a certificate: used to check what the kit wrote.
pub fn is_certificate(bytes: &[u8]) -> bool {
    Cert::from_bytes(bytes).is_ok()
}
