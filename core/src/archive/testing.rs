//! Keys and signed files for tests.

use openpgp::cert::{Cert, CertBuilder};
use openpgp::policy::StandardPolicy;
use openpgp::serialize::SerializeInto;
use openpgp::serialize::stream::{Armorer, Message, Signer as StreamSigner};
use openpgp::types::SignatureType;
use sequoia_openpgp as openpgp;
use std::io::Write;
use std::time::{Duration, SystemTime};

pub(crate) struct Signer {
    cert: Cert,
    /// When it signs.
    at: SystemTime,
}

impl Signer {
    pub(crate) fn new() -> Self {
        let at = SystemTime::now() - Duration::from_secs(60);
        let (cert, _) = CertBuilder::new()
            .add_userid("test archive")
            .set_creation_time(at - Duration::from_secs(60))
            .add_signing_subkey()
            .generate()
            .unwrap();
        Signer { cert, at }
    }

    /// A key that was valid for a day, two days ago.
    pub(crate) fn expired() -> Self {
        let day = Duration::from_secs(86400);
        let at = SystemTime::now() - 2 * day;
        let (cert, _) = CertBuilder::new()
            .add_userid("old test archive")
            .set_creation_time(at - Duration::from_secs(60))
            .set_validity_period(day)
            .add_signing_subkey()
            .generate()
            .unwrap();
        Signer { cert, at }
    }

    pub(crate) fn certificate(&self) -> String {
        String::from_utf8(self.cert.armored().to_vec().unwrap()).unwrap()
    }

    pub(crate) fn certificate_binary(&self) -> Vec<u8> {
        self.cert.to_vec().unwrap()
    }

    pub(crate) fn fingerprint(&self) -> String {
        self.cert.fingerprint().to_hex()
    }

    fn sign(&self, text: &str, inline: bool) -> Vec<u8> {
        let policy = StandardPolicy::new();
        let key =
            self.cert.keys().secret().with_policy(&policy, self.at).for_signing().next().unwrap();
        let pair = key.key().clone().into_keypair().unwrap();
        let mut sink = Vec::new();
        let message = Message::new(&mut sink);
        let message = if inline {
            message
        } else {
            Armorer::new(message).kind(openpgp::armor::Kind::Signature).build().unwrap()
        };
        let template = openpgp::packet::signature::SignatureBuilder::new(SignatureType::Text);
        let signer =
            StreamSigner::with_template(message, pair, template).unwrap().creation_time(self.at);
        let signer = if inline { signer.cleartext() } else { signer.detached() };
        let mut message = signer.build().unwrap();
        message.write_all(text.as_bytes()).unwrap();
        message.finalize().unwrap();
        sink
    }

    pub(crate) fn sign_inline(&self, text: &str) -> String {
        String::from_utf8(self.sign(text, true)).unwrap()
    }

    pub(crate) fn sign_detached(&self, text: &str) -> Vec<u8> {
        self.sign(text, false)
    }
}
