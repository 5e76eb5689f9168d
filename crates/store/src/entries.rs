//! A tar in a stream: headers by the crate `tar`, bounds of our own, since who made it may be a stranger.
//!
//! ```text
//!   x header, "30 mtime=1700000000.000000007\n"..     pax: only where a name, a link or a time does not fit
//!   header   name | mode | uid | gid | size | mtime | sum | kind | link | "ustar" ..
//!   the entry's bytes, filled up to 512
//!   ...
//!   1024 zeros
//! ```
//!
//! The reader keeps no more than a header and [`MAX_PAX`] bytes of records, gives each entry as it comes, and takes no byte
//! that follows the end. What kinds of entries there may be is for who reads to say.

use std::io::{self, Read, Write};
use tar::{EntryType, Header};

const BLOCK: usize = 512;
/// Bytes of a name or a link that the header holds.
const SHORT: usize = 100;
/// Bytes of pax records before one header: two paths of the longest, and numbers.
pub(crate) const MAX_PAX: u64 = 16 << 10;

/// What the header of an entry of a tar says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub(crate) kind: EntryType,
    /// Its name, as it stands there: whatever somebody wrote.
    pub name: String,
    /// Where a symbolic link leads; else empty.
    pub link: String,
    /// Permissions.
    pub mode: u32,
    /// Nanoseconds since 1970.
    pub mtime: u64,
    /// Bytes that follow it.
    pub size: u64,
}

impl Entry {
    /// Whether it is a regular file.
    pub fn is_file(&self) -> bool {
        self.kind == EntryType::Regular
    }

    /// A file for its owner, of no time.
    pub(crate) fn file(name: &str, size: u64) -> Entry {
        let (name, link) = (name.to_owned(), String::new());
        Entry { kind: EntryType::Regular, name, link, mode: 0o600, mtime: 0, size }
    }

    /// Writes it, with its bytes.
    pub(crate) fn write<W: Write>(
        &self,
        out: &mut tar::Builder<W>,
        bytes: &mut dyn Read,
    ) -> io::Result<()> {
        let (seconds, nanos) = (self.mtime / 1_000_000_000, self.mtime % 1_000_000_000);
        let time = format!("{seconds}.{nanos:09}");
        let fits = |text: &str| text.len() <= SHORT && text.is_ascii();
        let records = [
            ("path", &self.name, fits(&self.name)),
            ("linkpath", &self.link, fits(&self.link)),
            ("mtime", &time, nanos == 0),
        ];
        let records = records.iter().filter(|(.., fits)| !fits);
        out.append_pax_extensions(records.map(|(key, value, _)| (*key, value.as_bytes())))?;
        let mut counted = bytes.take(self.size);
        out.append(&self.header(), &mut counted)?;
        match counted.limit() {
            0 => Ok(()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    pub(crate) fn header(&self) -> Header {
        let mut header = Header::new_ustar();
        let short = |text: &str| text.as_bytes()[..text.len().min(SHORT)].to_vec();
        let (name, link) = (short(&self.name), short(&self.link));
        let old = header.as_old_mut();
        old.name[..name.len()].copy_from_slice(&name);
        old.linkname[..link.len()].copy_from_slice(&link);
        header.set_entry_type(self.kind);
        header.set_mode(self.mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(self.size);
        header.set_mtime(self.mtime / 1_000_000_000);
        header.set_cksum();
        header
    }
}

/// Reads a tar in a stream, entry by entry, in bounded memory; as [`Read`], the bytes of the entry. Who made the tar may be a stranger.
pub struct Reader<R> {
    from: R,
    /// Whether it is to be as ours are, and not just one that can be read.
    strict: bool,
    /// Bytes of the entry that were not read yet, and what fills it up.
    left: u64,
    padding: usize,
}

pub(crate) fn bad(why: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.into())
}

impl<R: Read> Reader<R> {
    /// A tar in the form of POSIX or GNU, whatever tool wrote it.
    pub fn new(from: R) -> Reader<R> {
        Reader { from, strict: false, left: 0, padding: 0 }
    }

    /// One in which nothing is passed over.
    pub(crate) fn strict(from: R) -> Reader<R> {
        Reader { strict: true, ..Reader::new(from) }
    }

    /// The next entry; what was not read of the one before is passed over. None at the end, both blocks of which are read.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] for what is no tar, or has names that are too long; [`io::ErrorKind::UnexpectedEof`] if it ends
    /// early; those of the stream.
    pub fn next_entry(&mut self) -> io::Result<Option<Entry>> {
        let left = self.left;
        if io::copy(&mut self.by_ref().take(left), &mut io::sink())? != left {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.skip_padding()?;
        let strict = self.strict;
        let mut block = self.block()?;
        if block == [0; BLOCK] {
            return match self.block()? == [0; BLOCK] {
                true => Ok(None),
                false => Err(bad("something follows its end")),
            };
        }
        let mut records = Records::default();
        if checked(&block, strict)?.entry_type() == EntryType::XHeader {
            let size = checked(&block, strict)?.entry_size()?;
            if size > MAX_PAX {
                return Err(bad("names that are too long"));
            }
            let mut bytes = vec![0; size as usize];
            self.from.read_exact(&mut bytes)?;
            self.padding = padding(size);
            self.skip_padding()?;
            records = Records::parse(&bytes, strict)?;
            block = self.block()?;
        }
        let header = checked(&block, strict)?;
        let text = |bytes: &[u8]| {
            String::from_utf8(bytes.to_vec()).map_err(|_| bad("a name that is not UTF-8"))
        };
        let number = |n: io::Result<u64>| n.map_err(|_| bad("a number that cannot be read"));
        let name = records.path.map_or_else(|| text(&header.path_bytes()), Ok)?;
        let link = header.link_name_bytes().unwrap_or_default();
        let link = records.link.map_or_else(|| text(&link), Ok)?;
        let seconds = number(header.mtime())?;
        let entry = Entry {
            kind: header.entry_type(),
            name,
            link,
            mode: header.mode().map_err(|_| bad("a mode that cannot be read"))?,
            mtime: records.mtime.unwrap_or(seconds.saturating_mul(1_000_000_000)),
            size: records.size.map_or_else(|| number(header.entry_size()), Ok)?,
        };
        (self.left, self.padding) = (entry.size, padding(entry.size));
        Ok(Some(entry))
    }

    /// What follows the end.
    pub fn into_rest(self) -> R {
        self.from
    }

    fn skip_padding(&mut self) -> io::Result<()> {
        let mut rest = [0; BLOCK];
        self.from.read_exact(&mut rest[..std::mem::take(&mut self.padding)])
    }

    fn block(&mut self) -> io::Result<[u8; BLOCK]> {
        let mut block = [0; BLOCK];
        self.from.read_exact(&mut block)?;
        Ok(block)
    }
}

impl<R: Read> Read for Reader<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let most = into.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let n = self.from.read(&mut into[..most])?;
        if n == 0 && most > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= n as u64;
        Ok(n)
    }
}

fn padding(size: u64) -> usize {
    (BLOCK - (size % BLOCK as u64) as usize) % BLOCK
}

/// A header that is one.
fn checked(block: &[u8; BLOCK], strict: bool) -> io::Result<&Header> {
    let header = Header::from_byte_slice(block);
    let mut again = header.clone();
    again.set_cksum();
    let sums = [header.cksum().ok(), again.cksum().ok()];
    let known = header.as_ustar().is_some() || (!strict && header.as_gnu().is_some());
    match sums[0].is_some() && sums[0] == sums[1] && known {
        true => Ok(header),
        false => Err(bad("it is not a tar archive, or a damaged one")),
    }
}

/// Not the crate's: it takes no line feed in a name.
#[derive(Default)]
struct Records {
    path: Option<String>,
    link: Option<String>,
    mtime: Option<u64>,
    /// As older versions wrote it, from 8 GiB on.
    size: Option<u64>,
}

impl Records {
    fn parse(mut bytes: &[u8], strict: bool) -> io::Result<Records> {
        let mut records = Records::default();
        while !bytes.is_empty() {
            let wrong = || bad("a pax record that cannot be read");
            let space = bytes.iter().take(6).position(|byte| *byte == b' ').ok_or_else(wrong)?;
            let length = std::str::from_utf8(&bytes[..space]).map_err(|_| wrong())?;
            let length: usize = length.parse().map_err(|_| wrong())?;
            let (record, rest) = bytes.split_at_checked(length).ok_or_else(wrong)?;
            let record = record.get(space + 1..).ok_or_else(wrong)?;
            let record = std::str::from_utf8(record).ok().and_then(|r| r.strip_suffix('\n'));
            let (key, value) = record.and_then(|r| r.split_once('=')).ok_or_else(wrong)?;
            match key {
                "path" => records.path = Some(value.to_owned()),
                "linkpath" => records.link = Some(value.to_owned()),
                "mtime" if strict => records.mtime = Some(time(value).ok_or_else(wrong)?),
                "mtime" => records.mtime = time(value),
                "size" => records.size = Some(value.parse().map_err(|_| wrong())?),
                _ if !strict => {}
                _ => return Err(bad(format!("a pax record {key:?}, which is not known"))),
            }
            bytes = rest;
        }
        Ok(records)
    }
}

/// `SECONDS.NANOSECONDS`
fn time(text: &str) -> Option<u64> {
    let (seconds, nanos) = text.split_once('.')?;
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if nanos.len() != 9 || !digits(nanos) || !digits(seconds) {
        return None;
    }
    seconds.parse::<u64>().ok()?.checked_mul(1_000_000_000)?.checked_add(nanos.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(entries: &[(Entry, &[u8])]) -> Vec<u8> {
        let mut out = tar::Builder::new(vec![]);
        for (entry, bytes) in entries {
            entry.write(&mut out, &mut &bytes[..]).unwrap();
        }
        out.into_inner().unwrap()
    }

    #[test]
    fn what_is_written_is_read_and_no_more() {
        let long = Entry::file(&format!("{}/\n\u{e4}", "d".repeat(200)), 512);
        let times = [0, 1_700_000_000_000_000_007, (1 << 34) * 1_000_000_000, u64::MAX];
        let mut entries: Vec<(Entry, &[u8])> =
            times.map(|mtime| (Entry { mtime, ..Entry::file("a", 5) }, &b"hello"[..])).to_vec();
        let link = Entry { kind: EntryType::Symlink, link: "\u{f6}".into(), ..Entry::file("l", 0) };
        entries.extend([(link, &b""[..]), (long, &[7; 512])]);
        let mut bytes = written(&entries);
        let length = bytes.len();
        bytes.extend(b"more");
        let mut tar = Reader::new(&bytes[..]);
        for (n, (entry, data)) in entries.iter().enumerate() {
            assert_eq!(tar.next_entry().unwrap().as_ref(), Some(entry));
            let mut found = vec![];
            if n % 2 == 1 {
                tar.read_to_end(&mut found).unwrap();
                assert_eq!(found, *data);
            }
        }
        assert_eq!(tar.next_entry().unwrap(), None);
        assert_eq!(tar.into_rest(), b"more");
        for cut in [0, 100, 511, 512, 1000, length - 512, length - 1] {
            let mut tar = Reader::new(&bytes[..cut]);
            while let Ok(next) = tar.next_entry() {
                assert!(next.is_some(), "cut at {cut}");
            }
        }
        assert!(written(&[]) == [0; 2 * BLOCK]);
        let short = Entry::file("a", 5).write(&mut tar::Builder::new(vec![]), &mut &b"hell"[..]);
        assert!(short.is_err());
    }

    #[test]
    fn sizes_of_all_lengths() {
        for size in [0, 1, 511, 512, (1 << 33) - 1, 1 << 33, u64::MAX] {
            let entry = Entry::file("a", size);
            let header = entry.header();
            assert_eq!(Reader::new(&header.as_bytes()[..]).next_entry().unwrap(), Some(entry));
        }
        assert_eq!([0, 1, 511, 512, 513].map(padding), [0, 511, 1, 0, 511]);
    }

    /// Older versions wrote sizes that do not fit into records; other tools write more of them, and other headers.
    #[test]
    fn others_tars_are_read() {
        let mut old = tar::Builder::new(vec![]);
        let large = (1u64 << 33) + 1;
        old.append_pax_extensions([("size", large.to_string().as_bytes())]).unwrap();
        let mut old = old.into_inner().unwrap();
        old.truncate(old.len() - 2 * BLOCK);
        old.extend(Entry::file("large", 0).header().as_bytes());
        for mut reader in [Reader::strict(&old[..]), Reader::new(&old[..])] {
            assert_eq!(reader.next_entry().unwrap().unwrap().size, large);
        }
        let mut gnu = Header::new_gnu();
        gnu.set_path("a").unwrap();
        gnu.set_mode(0o644);
        gnu.set_uid(1000);
        gnu.set_gid(1000);
        gnu.set_mtime(7);
        gnu.set_size(0);
        gnu.set_cksum();
        assert_eq!(Reader::new(&gnu.as_bytes()[..]).next_entry().unwrap().unwrap().name, "a");
        assert!(Reader::strict(&gnu.as_bytes()[..]).next_entry().is_err());
        let mut posix = tar::Builder::new(vec![]);
        posix.append_pax_extensions([("atime", &b"7.5"[..]), ("mtime", b"7.5")]).unwrap();
        let mut posix = posix.into_inner().unwrap();
        posix.truncate(posix.len() - 2 * BLOCK);
        posix.extend(Entry::file("a", 0).header().as_bytes());
        assert_eq!(Reader::new(&posix[..]).next_entry().unwrap().unwrap().name, "a");
        assert!(Reader::strict(&posix[..]).next_entry().is_err());
    }

    #[test]
    fn a_torn_header_is_refused() {
        let good = *Entry::file("x", 5).header().as_bytes();
        for at in 0..BLOCK {
            let mut bad = good;
            bad[at] ^= 1;
            assert!(Reader::new(&bad[..]).next_entry().is_err(), "byte {at}");
        }
        let pax = Entry { kind: EntryType::XHeader, ..Entry::file("pax", MAX_PAX + 1) };
        let error = Reader::new(&pax.header().as_bytes()[..]).next_entry().unwrap_err();
        assert!(error.to_string().contains("too long"), "{error}");
    }
}
