//! What the unpacking of a package made, so that nobody has to decode it again.
//!
//! A [`Record`] holds all that a `.deb` says but the content of its files, which lie in a tree, and of
//! these the SHA-256 if scripts have run in that tree. [`Records`] is a file of several, each under the
//! SHA-256 of its `.deb`. Whoever takes a file compares it with what is recorded of it; a record that
//! the disk has damaged is none.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::deb::{Control, ControlFile};
use super::error::Problem;
use super::package::Unpacked;
use super::tarstream::Entry;

/// The first bytes of a file of records. The number counts up when their form changes: stores
/// outlive programs.
const MAGIC: &[u8; 18] = b"debmock records 4\n";
/// The magic, the length of the list, and its SHA-256.
const HEAD: usize = MAGIC.len() + 8 + 32;
/// Bytes of the list of records, and of one record, at most.
const LONGEST_LIST: u64 = 16 << 20;
const LONGEST_RECORD: u64 = 256 << 20;

/// A package that was unpacked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    control_file: ControlFile,
    files: Vec<ControlFile>,
    /// When the package was built, in seconds since 1970; zero if it does not say.
    pub(crate) built: u64,
    /// The file `md5sums` that was made for it.
    pub(super) generated_md5sums: Option<serde_bytes::ByteBuf>,
    /// Its content, in the order of the archive.
    pub(super) entries: Vec<Entry>,
    /// Clean paths of directories that lie elsewhere in the tree, and where: a link of a tree below
    /// led there.
    pub(super) leads: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Record {
    /// Of a package that has just been unpacked, which gives its entries away.
    pub(crate) fn of(unpacked: &mut Unpacked, built: u64) -> Self {
        Self {
            control_file: unpacked.control.control_file.clone(),
            files: unpacked.control.files.clone(),
            built,
            generated_md5sums: unpacked.generated_md5sums.clone().map(serde_bytes::ByteBuf::from),
            entries: std::mem::take(&mut unpacked.entries),
            leads: BTreeMap::new(),
        }
    }

    /// As bytes for [`Records::write`].
    pub(crate) fn encode(&self) -> io::Result<Vec<u8>> {
        postcard::to_stdvec(self).map_err(io::Error::other)
    }

    /// What the package says about itself.
    pub(crate) fn control(&self) -> Result<Control, Problem> {
        Control::new(self.control_file.clone(), self.files.clone())
    }
}

/// Records in a file.
#[derive(Debug)]
pub struct Records {
    file: File,
    places: Vec<Listed>,
}

/// Where a record is.
#[derive(Debug)]
struct Listed {
    /// SHA-256 of the `.deb`.
    name: String,
    /// Place and length in the file.
    at: u64,
    length: u64,
    /// SHA-256 of the record.
    sha256: [u8; 32],
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

impl Records {
    /// Writes encoded records, each under the SHA-256 of its package.
    ///
    /// # Errors
    /// Those of `file`.
    pub(crate) fn write(mut file: impl Write, records: &[(String, Vec<u8>)]) -> io::Result<()> {
        let list: Vec<(&str, u64, [u8; 32])> = records
            .iter()
            .map(|(name, bytes)| (name.as_str(), bytes.len() as u64, sha256(bytes)))
            .collect();
        let list = postcard::to_stdvec(&list).map_err(io::Error::other)?;
        file.write_all(MAGIC)?;
        file.write_all(&(list.len() as u64).to_le_bytes())?;
        file.write_all(&sha256(&list))?;
        file.write_all(&list)?;
        records.iter().try_for_each(|(_, bytes)| file.write_all(bytes))
    }

    /// Reads which records are in `file`.
    ///
    /// # Errors
    /// Those of `file`, and [`io::ErrorKind::InvalidData`] if there is something else in it.
    pub fn open(file: File) -> io::Result<Self> {
        let invalid = || io::Error::from(io::ErrorKind::InvalidData);
        let mut head = [0; HEAD];
        file.read_exact_at(&mut head, 0)?;
        let (magic, rest) = head.split_at(MAGIC.len());
        let (length, hash) = rest.split_at(8);
        let length = u64::from_le_bytes(length.try_into().map_err(|_| invalid())?);
        if magic != MAGIC || length > LONGEST_LIST {
            return Err(invalid());
        }
        let mut list = vec![0; length as usize];
        file.read_exact_at(&mut list, head.len() as u64)?;
        if sha256(&list) != hash {
            return Err(invalid());
        }
        let list: Vec<(String, u64, [u8; 32])> =
            postcard::from_bytes(&list).map_err(|_| invalid())?;
        let mut at = HEAD as u64 + length;
        let mut places = Vec::with_capacity(list.len());
        for (name, length, sha256) in list {
            if length > LONGEST_RECORD {
                return Err(invalid());
            }
            places.push(Listed { name, at, length, sha256 });
            at += length;
        }
        Ok(Self { file, places })
    }

    /// The file.
    pub(crate) fn into_file(self) -> OwnedFd {
        self.file.into()
    }

    /// The SHA-256 of each package, in the order of the numbers of records.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.places.iter().map(|place| place.name.as_str())
    }

    /// The record of this number, as bytes.
    ///
    /// # Errors
    /// Those of the file; there is no such record; [`io::ErrorKind::InvalidData`] if it is damaged.
    pub(crate) fn bytes(&self, number: usize) -> io::Result<Vec<u8>> {
        let place = self.places.get(number).ok_or(io::ErrorKind::NotFound)?;
        let mut bytes = vec![0; place.length as usize];
        self.file.read_exact_at(&mut bytes, place.at)?;
        match sha256(&bytes) == place.sha256 {
            true => Ok(bytes),
            false => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// The record that [`Records::bytes`] gave.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`].
    pub(crate) fn decode(bytes: &[u8]) -> io::Result<Record> {
        postcard::from_bytes(bytes).map_err(|_| io::ErrorKind::InvalidData.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    #[test]
    fn what_is_written_is_read_and_every_damage_is_noticed() {
        let records = [("aa".to_owned(), vec![1; 5]), ("bb".to_owned(), vec![2; 300])];
        let mut bytes = Vec::new();
        Records::write(&mut bytes, &records).unwrap();
        let read = Records::open(file(&bytes)).unwrap();
        assert_eq!(read.names().collect::<Vec<_>>(), ["aa", "bb"]);
        assert_eq!((read.bytes(0).unwrap(), read.bytes(1).unwrap()), (vec![1; 5], vec![2; 300]));
        assert!(read.bytes(2).is_err());
        for cut in 0..bytes.len() {
            let whole = Records::open(file(&bytes[..cut])).and_then(|read| read.bytes(1));
            assert!(whole.is_err(), "{cut}");
            let mut flipped = bytes.clone();
            flipped[cut] ^= 4;
            let read = Records::open(file(&flipped));
            let both = read.and_then(|read| read.bytes(0).and_then(|_| read.bytes(1)));
            assert!(both.is_err(), "{cut}");
        }
    }

    proptest! {
        #[test]
        fn garbage_gives_an_error_and_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let mut with_magic = MAGIC.to_vec();
            with_magic.extend_from_slice(&bytes);
            for bytes in [&bytes, &with_magic] {
                if let Ok(records) = Records::open(file(bytes)) {
                    let _ = records.bytes(0);
                }
            }
            let _ = Records::decode(&bytes);
        }
    }
}
