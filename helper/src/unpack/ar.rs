//! The outer format of a `.deb`: an `ar` archive with plain member names (`deb(5)`).

use std::io::{self, Read};

use super::error::{Problem, shown};

const MAGIC: &[u8; 8] = b"!<arch>\n";
const HEADER: usize = 60;

/// Reads the members of an `ar` archive one after the other, from any stream.
pub(crate) struct ArReader<R> {
    stream: R,
    /// Bytes of the current member that nobody read yet, then its padding.
    left: u64,
    padding: u64,
}

/// The name and size of a member, from its header.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub name: String,
    /// Size in bytes, without padding.
    pub size: u64,
}

impl<R: Read> ArReader<R> {
    /// Checks the magic at the start of `stream`.
    pub(crate) fn new(mut stream: R) -> Result<Self, Problem> {
        let mut magic = [0; MAGIC.len()];
        stream.read_exact(&mut magic).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => Problem::malformed(
                "is not a Debian package: it is shorter than the first line of one",
            ),
            _ => Problem::reading(error),
        })?;
        if &magic != MAGIC {
            return Err(Problem::malformed(format!(
                "is not a Debian package: it starts with “{}” instead of “!<arch>”",
                shown(&magic)
            )));
        }
        Ok(Self { stream, left: 0, padding: 0 })
    }

    /// Goes to the next member; what is unread of the current one is skipped.
    /// `None` at the proper end of the archive.
    pub(crate) fn next(&mut self) -> Result<Option<Member>, Problem> {
        let skip = self.left + self.padding;
        let skipped = io::copy(&mut (&mut self.stream).take(skip), &mut io::sink())
            .map_err(Problem::reading)?;
        // The padding byte of the last member is missing in some archives; dpkg takes them.
        if skipped < self.left {
            return Err(Problem::Truncated("the archive ends inside a member".into()));
        }
        self.left = 0;
        self.padding = 0;
        let mut header = [0; HEADER];
        let mut have = 0;
        while have < HEADER {
            match self.stream.read(&mut header[have..]) {
                Ok(0) => break,
                Ok(count) => have += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Problem::reading(error)),
            }
        }
        if have == 0 {
            return Ok(None);
        }
        if have < HEADER {
            return Err(Problem::Truncated("the archive ends inside a member header".into()));
        }
        let member = parse_header(&header)?;
        self.left = member.size;
        self.padding = member.size % 2;
        Ok(Some(member))
    }

    /// The rest of the current member as a reader. Ends early if the archive does; then
    /// [`ArReader::finish_member`] reports it.
    pub(crate) fn data(&mut self) -> MemberData<'_, R> {
        MemberData { archive: self }
    }

    /// Whether all bytes of the current member were read; the error if it is cut off.
    pub(crate) fn unread(&self) -> u64 {
        self.left
    }
}

/// Reads the data of one member.
pub(crate) struct MemberData<'a, R> {
    archive: &'a mut ArReader<R>,
}

impl<R: Read> Read for MemberData<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.archive.left).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let count = self.archive.stream.read(&mut buffer[..most])?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.archive.left -= count as u64;
        Ok(count)
    }
}

fn parse_header(header: &[u8; HEADER]) -> Result<Member, Problem> {
    if &header[58..60] != b"`\n" {
        return Err(Problem::malformed(format!(
            "has garbage where a member header should be: “{}”",
            shown(header)
        )));
    }
    let name = trimmed(&header[..16]);
    // GNU ar ends names with a slash; its tables of long names have no place in a .deb.
    let name = name.strip_suffix(b"/").unwrap_or(name);
    let plain = |&b: &u8| b.is_ascii_alphanumeric() || b"._-+".contains(&b);
    if name.is_empty() || !name.iter().all(plain) {
        return Err(Problem::malformed(format!("has a member with the name “{}”", shown(name))));
    }
    let digits = trimmed(&header[48..58]);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Problem::malformed(format!(
            "has a member whose size is “{}”",
            shown(&header[48..58])
        )));
    }
    // Ten digits at most: no overflow.
    let size = digits.iter().fold(0u64, |sum, &digit| sum * 10 + u64::from(digit - b'0'));
    Ok(Member { name: name.iter().copied().map(char::from).collect(), size })
}

fn trimmed(field: &[u8]) -> &[u8] {
    let end = field.iter().rposition(|&b| b != b' ').map_or(0, |at| at + 1);
    &field[..end]
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// An `ar` archive with these members.
    pub(crate) fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        for (name, data) in members {
            bytes.extend_from_slice(
                format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 100644, data.len())
                    .as_bytes(),
            );
            bytes.extend_from_slice(data);
            if data.len() % 2 == 1 {
                bytes.push(b'\n');
            }
        }
        bytes
    }

    fn read_all(bytes: &[u8]) -> Result<Vec<(String, Vec<u8>)>, Problem> {
        let mut reader = ArReader::new(bytes)?;
        let mut found = Vec::new();
        while let Some(member) = reader.next()? {
            let mut data = Vec::new();
            reader.data().read_to_end(&mut data).map_err(Problem::reading)?;
            found.push((member.name, data));
        }
        Ok(found)
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(members in prop::collection::vec(("[a-z][a-z0-9.-]{0,14}", prop::collection::vec(any::<u8>(), 0..200)), 0..5)) {
            let borrowed: Vec<_> = members.iter().map(|(n, d)| (n.as_str(), d.as_slice())).collect();
            prop_assert_eq!(read_all(&archive(&borrowed)).unwrap(), members);
        }

        #[test]
        fn garbage_gives_an_error_and_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut with_magic = MAGIC.to_vec();
            with_magic.extend_from_slice(&bytes);
            let _ = read_all(&bytes);
            let _ = read_all(&with_magic);
        }

        #[test]
        fn every_cut_is_noticed(data in prop::collection::vec(any::<u8>(), 2..60), at in 9usize..60) {
            let whole = archive(&[("debian-binary", data.as_slice())]);
            let cut = whole.len() - data.len() + at.min(data.len() - 1) - 1;
            prop_assert!(read_all(&whole[..cut]).is_err());
        }
    }

    #[test]
    fn an_absurd_size_is_a_truncated_archive() {
        let mut bytes = archive(&[("debian-binary", b"2.0\n")]);
        bytes[8 + 48..8 + 58].copy_from_slice(b"9999999999");
        assert!(matches!(read_all(&bytes), Err(Problem::Truncated(_))));
        bytes[8 + 48..8 + 58].copy_from_slice(b"-1        ");
        assert!(matches!(read_all(&bytes), Err(Problem::Malformed(_))));
    }

    #[test]
    fn trailing_garbage_is_refused() {
        let mut bytes = archive(&[("debian-binary", b"2.0\n")]);
        bytes.extend_from_slice(b"garbage");
        assert!(read_all(&bytes).is_err());
    }
}
