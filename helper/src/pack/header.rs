//! Headers of tar entries as GNU tar writes them with `--format=pax --numeric-owner`.

/// The block size of tar, in bytes.
pub(super) const BLOCK: usize = 512;

/// Name and value of an extended attribute.
pub(super) type Xattr = (Vec<u8>, Vec<u8>);

/// One entry of the archive.
#[derive(Clone, Debug)]
pub(super) struct Entry<'a> {
    /// With the leading `./`, and a slash at the end for a directory.
    pub name: &'a [u8],
    pub kind: u8,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub size: u64,
    /// Seconds and nanoseconds.
    pub mtime: (i64, u32),
    pub link: &'a [u8],
    pub device: (u32, u32),
    /// Name and value, sorted by name.
    pub xattrs: Vec<Xattr>,
}

/// Types of entries in ustar.
pub(super) const FILE: u8 = b'0';
pub(super) const HARD_LINK: u8 = b'1';
pub(super) const SYMLINK: u8 = b'2';
pub(super) const CHAR_DEVICE: u8 = b'3';
pub(super) const BLOCK_DEVICE: u8 = b'4';
pub(super) const DIRECTORY: u8 = b'5';
pub(super) const FIFO: u8 = b'6';
const EXTENDED: u8 = b'x';

/// The largest numbers that fit into fields of 7 and 11 octal digits.
const MAX_ID: u32 = 0o7_777_777;
const MAX_SIZE: u64 = 0o77_777_777_777;

impl Entry<'_> {
    /// The blocks of the header, preceded by those of an extended header where it needs one;
    /// the extended header itself carries the time `epoch`, as with `tar --mtime`.
    pub(super) fn encode(&self, epoch: i64) -> Vec<u8> {
        let records = self.records();
        let mut bytes = Vec::with_capacity(3 * BLOCK);
        if !records.is_empty() {
            let name = extended_name(self.name);
            bytes.extend_from_slice(&block(
                &Entry {
                    name: &name,
                    kind: EXTENDED,
                    mode: 0o644,
                    uid: 0,
                    gid: 0,
                    size: records.len() as u64,
                    mtime: (epoch, 0),
                    link: b"",
                    device: (0, 0),
                    xattrs: Vec::new(),
                },
                Style::Posix,
            ));
            bytes.extend_from_slice(&records);
            bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
        }
        bytes.extend_from_slice(&block(self, Style::Posix));
        bytes
    }

    /// The block of a node in `/dev`, in the older form that `mmdebstrap` uses for these. Names
    /// and links must be short.
    pub(super) fn encode_node(&self) -> [u8; BLOCK] {
        block(self, Style::Gnu)
    }

    /// The pax records for what the fixed fields cannot hold, in GNU tar's order.
    fn records(&self) -> Vec<u8> {
        let mut records = Vec::new();
        if self.name.len() > 100 || !self.name.is_ascii() {
            record(&mut records, b"path", self.name);
        }
        if self.link.len() > 100 || !self.link.is_ascii() {
            record(&mut records, b"linkpath", self.link);
        }
        if self.uid > MAX_ID {
            record(&mut records, b"uid", self.uid.to_string().as_bytes());
        }
        if self.gid > MAX_ID {
            record(&mut records, b"gid", self.gid.to_string().as_bytes());
        }
        if self.size > MAX_SIZE {
            record(&mut records, b"size", self.size.to_string().as_bytes());
        }
        if self.mtime.1 != 0 || self.mtime.0 < 0 || self.mtime.0 as u64 > MAX_SIZE {
            record(&mut records, b"mtime", pax_time(self.mtime).as_bytes());
        }
        for (name, value) in &self.xattrs {
            record(&mut records, &[b"SCHILY.xattr.", &name[..]].concat(), value);
        }
        records
    }
}

fn record(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    // " key=value\n", and before it the length of the whole, its own digits included.
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length.to_string().len() + rest != length {
        length = length.to_string().len() + rest;
    }
    records.extend_from_slice(length.to_string().as_bytes());
    records.push(b' ');
    records.extend_from_slice(key);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}

fn pax_time((seconds, nanoseconds): (i64, u32)) -> String {
    if nanoseconds == 0 {
        return seconds.to_string();
    }
    let (sign, seconds, nanoseconds) = if seconds < 0 {
        ("-", -(seconds + 1), 1_000_000_000 - nanoseconds)
    } else {
        ("", seconds, nanoseconds)
    };
    let fraction = format!("{nanoseconds:09}");
    format!("{sign}{seconds}.{}", fraction.trim_end_matches('0'))
}

/// `%d/PaxHeaders/%f`.
fn extended_name(name: &[u8]) -> Vec<u8> {
    let name = name.strip_suffix(b"/").unwrap_or(name);
    let at = name.iter().rposition(|&b| b == b'/');
    let (directory, file) = match at {
        Some(at) => (&name[..at], &name[at + 1..]),
        None => (&b"."[..], name),
    };
    [directory, b"/PaxHeaders/", file].concat()
}

/// The two forms of a header that differ in the mark and in unused fields.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    Posix,
    Gnu,
}

fn block(entry: &Entry<'_>, style: Style) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, most: usize, bytes: &[u8]| {
        let count = bytes.len().min(most);
        block[at..at + count].copy_from_slice(&bytes[..count]);
    };
    put(0, 100, entry.name);
    put(100, 8, format!("{:07o}", entry.mode & 0o7777).as_bytes());
    put(108, 8, format!("{:07o}", field(entry.uid, MAX_ID)).as_bytes());
    put(116, 8, format!("{:07o}", field(entry.gid, MAX_ID)).as_bytes());
    let size = if entry.size > MAX_SIZE { 0 } else { entry.size };
    put(124, 12, format!("{size:011o}").as_bytes());
    let mtime = u64::try_from(entry.mtime.0).ok().filter(|&time| time <= MAX_SIZE).unwrap_or(0);
    put(136, 12, format!("{mtime:011o}").as_bytes());
    put(148, 8, b"        ");
    put(156, 1, &[entry.kind]);
    put(157, 100, entry.link);
    put(257, 8, if style == Style::Posix { b"ustar\x0000" } else { b"ustar  \0" });
    if (style == Style::Posix && entry.kind != EXTENDED) || entry.kind == CHAR_DEVICE {
        put(329, 8, format!("{:07o}", entry.device.0).as_bytes());
        put(337, 8, format!("{:07o}", entry.device.1).as_bytes());
    }
    let sum: u32 = block.iter().map(|&b| u32::from(b)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

/// Numbers that do not fit are zero here and right in the extended header.
fn field(id: u32, most: u32) -> u32 {
    if id > most { 0 } else { id }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_length_of_a_record_counts_itself(key in "[a-z]{1,20}", value in prop::collection::vec(any::<u8>(), 0..1200)) {
            let mut records = Vec::new();
            record(&mut records, key.as_bytes(), &value);
            let digits: String = records.iter().take_while(|b| b.is_ascii_digit()).map(|&b| char::from(b)).collect();
            prop_assert_eq!(digits.parse::<usize>().unwrap(), records.len());
        }
    }

    #[test]
    fn times_before_1970_keep_their_fraction() {
        assert_eq!(pax_time((5, 250_000_000)), "5.25");
        assert_eq!(pax_time((-2, 750_000_000)), "-1.25");
    }
}
