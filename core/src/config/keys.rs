//! The archive keys that the library carries; `keys/README.md` says where they come from.

/// The certificates, binary and concatenated, with which the distribution of this name
/// (`debian`, `ubuntu`) signs its archive; `None` for any other. [`Keyring::BuiltIn`] holds such a
/// name.
///
/// [`Keyring::BuiltIn`]: super::Keyring::BuiltIn
pub fn builtin_keys(distribution: &str) -> Option<&'static [u8]> {
    match distribution {
        "debian" => Some(include_bytes!("keys/debian-archive-keyring.pgp")),
        "ubuntu" => Some(include_bytes!("keys/ubuntu-archive-keyring.pgp")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sequoia_openpgp::cert::CertParser;
    use sequoia_openpgp::parse::Parse;

    fn fingerprints(distribution: &str) -> Vec<String> {
        CertParser::from_bytes(builtin_keys(distribution).unwrap())
            .unwrap()
            .map(|cert| cert.unwrap().fingerprint().to_hex())
            .collect()
    }

    #[test]
    fn debian_keys_of_three_releases_are_there() {
        assert_eq!(fingerprints("debian").len(), 9);
    }

    #[test]
    fn the_key_of_current_ubuntu_releases_is_there() {
        let key = "F6ECB3762474EDA9D21B7022871920D1991BC93C".to_owned();
        assert!(fingerprints("ubuntu").contains(&key));
    }

    #[test]
    fn an_unknown_distribution_has_no_keys() {
        assert!(builtin_keys("../debian").is_none());
    }
}
