//! The saved form of the WASI objects, version 2. All numbers are little-endian; `bytes` is a `u32` length and that
//! many bytes; `list` is a `u32` count and that many items.
//!
//! ```text
//! magic      4 bytes  "DMWS"
//! version    u16      2
//! reserved   u16      0
//! monotonic  u64      what the monotonic clock shows, ns
//! args       list of  bytes
//! env        list of  bytes key, bytes value
//! preopens   list of  bytes guest name (UTF-8), bytes host path (as the host spells it)
//! streams    3 times, for standard input, output, error:
//!   kind     u8       0 other | 1 terminal | 2 regular file | 3 bytes given by the caller
//!     2:  dev u64, ino u64, position u64      which file on that host, and where in it
//!     3:  position u64                        how many bytes were read
//! pending    u8       0 none | 1 a poll_oneoff that was interrupted:
//!     1:  begin u64, deadline u64 (monotonic, ns; deadline 2^64-1: none),
//!         4 times u32                         its arguments
//! end        u32      one more than the highest fd ever used; the free ones are those below that are not listed
//! fds        list of  fd u32 (ascending), kind u8, then
//!     0:  which u8                            standard stream 0, 1 or 2
//!     1:  place, preopen u8 (0 | 1), ino u64, listing    directory
//!     2:  place, flags u8, offset u64, ino u64, size u64, mtime u64    regular file
//!     3:  place, flags u8, offset u64, ino u64                        character device
//! restored   u32      how often the program was resumed       (this and what follows: not in version 1)
//! inside     u8       1: it stands in a `dormouse_checkpoint`, which is to answer that it was resumed; else 0
//! excluded   list of  u64 start, u64 end: addresses that need not be kept, ascending, with something between
//! place      u32 index of a preopen, bytes path beneath it (UTF-8, parts joined by "/", no ".", "..", empty part)
//! flags      bit 0 read, 1 write, 2 append, 3 nonblock
//! size       length of the file; mtime: ns since 1970 if it is open for reading only, else 0
//! ino        the number the guest sees
//! listing    u8       0 none | 1 a directory that is being read:
//!     1:  list of  bytes name (UTF-8), filetype u8, ino u64
//! ```
//!
//! Nothing follows. A decoder allocates no more than a small multiple of the bytes it is given, and answers
//! [`WasiError::Damaged`] with the offset for anything else than this.

use crate::directed::{MAX_ADDRESS, MAX_EXCLUDED, SavedDirected};
use crate::dirs::{Entry, Listing, MAX_ENTRIES};
use crate::errors::WasiError;
use crate::fds::{MAX_FD, Place};
use crate::os::Identity;
use crate::poll::Pending;
use crate::types::Filetype;

const MAGIC: &[u8; 4] = b"DMWS";
pub(crate) const VERSION: u16 = 2;

/// The WASI objects without their connections to a host.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Saved {
    pub monotonic: u64,
    pub args: Vec<Vec<u8>>,
    pub env: Vec<(Vec<u8>, Vec<u8>)>,
    pub preopens: Vec<SavedPreopen>,
    pub streams: [SavedStream; 3],
    pub pending: Option<Pending>,
    pub end: u32,
    pub fds: Vec<(u32, SavedFd)>,
    pub directed: SavedDirected,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SavedPreopen {
    pub guest: String,
    pub host: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SavedStream {
    Other,
    Terminal,
    File { id: Identity, position: u64 },
    Bytes { position: u64 },
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum SavedFd {
    Stdio(usize),
    Dir { place: Place, preopen: bool, ino: u64, listing: Option<Listing> },
    File(SavedFile),
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SavedFile {
    pub place: Place,
    pub readable: bool,
    pub writable: bool,
    pub append: bool,
    pub nonblock: bool,
    pub offset: u64,
    pub ino: u64,
    /// Length and, for files that are only read, time of the last change; `None` for a device.
    pub contents: Option<Contents>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Contents {
    pub size: u64,
    pub mtime: u64,
}

impl Saved {
    pub fn encode(&self) -> Result<Vec<u8>, WasiError> {
        let mut w = Writer(Vec::new());
        w.0.extend_from_slice(MAGIC);
        w.u16(VERSION);
        w.u16(0);
        w.u64(self.monotonic);
        w.count(self.args.len())?;
        for arg in &self.args {
            w.bytes(arg)?;
        }
        w.count(self.env.len())?;
        for (key, value) in &self.env {
            w.bytes(key)?;
            w.bytes(value)?;
        }
        w.count(self.preopens.len())?;
        for preopen in &self.preopens {
            w.bytes(preopen.guest.as_bytes())?;
            w.bytes(&preopen.host)?;
        }
        for stream in &self.streams {
            match *stream {
                SavedStream::Other => w.u8(0),
                SavedStream::Terminal => w.u8(1),
                SavedStream::File { id, position } => {
                    w.u8(2);
                    w.u64(id.dev);
                    w.u64(id.ino);
                    w.u64(position);
                }
                SavedStream::Bytes { position } => {
                    w.u8(3);
                    w.u64(position);
                }
            }
        }
        match &self.pending {
            None => w.u8(0),
            Some(pending) => {
                w.u8(1);
                w.u64(pending.begin);
                w.u64(pending.deadline);
                for arg in pending.args {
                    w.u32(arg);
                }
            }
        }
        w.u32(self.end);
        w.count(self.fds.len())?;
        for (fd, saved) in &self.fds {
            w.u32(*fd);
            w.fd(saved)?;
        }
        w.u32(self.directed.restored);
        w.u8(u8::from(self.directed.inside));
        w.count(self.directed.excluded.len())?;
        for range in &self.directed.excluded {
            w.u64(range.start);
            w.u64(range.end);
        }
        Ok(w.0)
    }

    pub fn decode(bytes: &[u8]) -> Result<Saved, WasiError> {
        let mut r = Reader { bytes, at: 0 };
        if r.take(4)? != MAGIC {
            return Err(r.damaged("this is not a record of WASI objects"));
        }
        let version = r.u16()?;
        if !(1..=VERSION).contains(&version) {
            return Err(WasiError::Version(version));
        }
        if r.u16()? != 0 {
            return Err(r.damaged("the reserved field is not 0"));
        }
        let monotonic = r.u64()?;
        let args = r.list(4, Reader::bytes)?;
        let env = r.list(8, |r| Ok((r.bytes()?, r.bytes()?)))?;
        let preopens = r.list(8, |r| Ok(SavedPreopen { guest: r.text()?, host: r.bytes()? }))?;
        let streams = [r.stream()?, r.stream()?, r.stream()?];
        let pending = match r.flag()? {
            false => None,
            true => Some(Pending {
                begin: r.u64()?,
                deadline: r.u64()?,
                args: [r.u32()?, r.u32()?, r.u32()?, r.u32()?],
            }),
        };
        let end = r.u32()?;
        if end > MAX_FD {
            return Err(r.damaged("a file descriptor is too large"));
        }
        let mut next = 0;
        let fds = r.list(6, |r| {
            let fd = r.u32()?;
            if fd < next || fd >= end {
                return Err(r.damaged("a file descriptor is out of order"));
            }
            next = fd + 1;
            Ok((fd, r.fd(preopens.len())?))
        })?;
        let directed = match version {
            1 => SavedDirected::default(),
            _ => r.directed()?,
        };
        if r.at != bytes.len() {
            return Err(r.damaged("bytes follow the end"));
        }
        Ok(Saved { monotonic, args, env, preopens, streams, pending, end, fds, directed })
    }
}

struct Writer(Vec<u8>);

impl Writer {
    fn u8(&mut self, n: u8) {
        self.0.push(n);
    }

    fn u16(&mut self, n: u16) {
        self.0.extend_from_slice(&n.to_le_bytes());
    }

    fn u32(&mut self, n: u32) {
        self.0.extend_from_slice(&n.to_le_bytes());
    }

    fn u64(&mut self, n: u64) {
        self.0.extend_from_slice(&n.to_le_bytes());
    }

    fn count(&mut self, n: usize) -> Result<(), WasiError> {
        self.u32(
            u32::try_from(n).map_err(|_| WasiError::TooMuch("a list has more than 2^32 items"))?,
        );
        Ok(())
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<(), WasiError> {
        self.count(bytes.len())?;
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn place(&mut self, place: &Place) -> Result<(), WasiError> {
        self.count(place.preopen)?;
        self.bytes(place.path.as_bytes())
    }

    fn fd(&mut self, saved: &SavedFd) -> Result<(), WasiError> {
        match saved {
            SavedFd::Stdio(which) => {
                self.u8(0);
                // 0, 1 or 2.
                self.u8(*which as u8);
            }
            SavedFd::Dir { place, preopen, ino, listing } => {
                self.u8(1);
                self.place(place)?;
                self.u8(u8::from(*preopen));
                self.u64(*ino);
                self.u8(u8::from(listing.is_some()));
                if let Some(listing) = listing {
                    self.count(listing.entries.len())?;
                    for entry in &listing.entries {
                        self.bytes(entry.name.as_bytes())?;
                        self.u8(entry.filetype.raw());
                        self.u64(entry.ino);
                    }
                }
            }
            SavedFd::File(file) => {
                self.u8(if file.contents.is_some() { 2 } else { 3 });
                self.place(&file.place)?;
                let flags = [file.readable, file.writable, file.append, file.nonblock];
                self.u8(flags.iter().rev().fold(0, |bits, flag| bits << 1 | u8::from(*flag)));
                self.u64(file.offset);
                self.u64(file.ino);
                if let Some(contents) = file.contents {
                    self.u64(contents.size);
                    self.u64(contents.mtime);
                }
            }
        }
        Ok(())
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn damaged(&self, what: &'static str) -> WasiError {
        WasiError::Damaged { at: self.at, what }
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8], WasiError> {
        let end = self.at.checked_add(n).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or_else(|| self.damaged("the end comes too early"))?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], WasiError> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }

    fn u8(&mut self) -> Result<u8, WasiError> {
        Ok(self.array::<1>()?[0])
    }

    fn u16(&mut self) -> Result<u16, WasiError> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, WasiError> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, WasiError> {
        self.array().map(u64::from_le_bytes)
    }

    fn flag(&mut self) -> Result<bool, WasiError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.damaged("a flag is neither 0 nor 1")),
        }
    }

    fn bytes(&mut self) -> Result<Vec<u8>, WasiError> {
        let len = self.u32()? as usize;
        Ok(self.take(len)?.to_vec())
    }

    fn text(&mut self) -> Result<String, WasiError> {
        String::from_utf8(self.bytes()?).map_err(|_| self.damaged("a name is not UTF-8"))
    }

    /// Reads a list whose items are at least `least` bytes long: a count that cannot be true is refused before anything
    /// is allocated for it.
    fn list<T>(
        &mut self,
        least: usize,
        mut item: impl FnMut(&mut Self) -> Result<T, WasiError>,
    ) -> Result<Vec<T>, WasiError> {
        let count = self.u32()? as usize;
        if count > (self.bytes.len() - self.at) / least {
            return Err(self.damaged("a list is longer than the record"));
        }
        (0..count).map(|_| item(self)).collect()
    }

    fn stream(&mut self) -> Result<SavedStream, WasiError> {
        Ok(match self.u8()? {
            0 => SavedStream::Other,
            1 => SavedStream::Terminal,
            2 => {
                let id = Identity { dev: self.u64()?, ino: self.u64()? };
                SavedStream::File { id, position: self.u64()? }
            }
            3 => SavedStream::Bytes { position: self.u64()? },
            _ => return Err(self.damaged("a standard stream of an unknown kind")),
        })
    }

    fn place(&mut self, preopens: usize) -> Result<Place, WasiError> {
        let preopen = self.u32()? as usize;
        if preopen >= preopens {
            return Err(self.damaged("a path beneath a directory that is not there"));
        }
        let path = self.text()?;
        // cap-std would refuse to leave the directory anyway; but such a path was never written.
        let plain =
            |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains('\0');
        if !path.is_empty() && !path.split('/').all(plain) {
            return Err(self.damaged("a path that is not plain"));
        }
        Ok(Place { preopen, path })
    }

    fn directed(&mut self) -> Result<SavedDirected, WasiError> {
        let (restored, inside) = (self.u32()?, self.flag()?);
        let mut least = 0;
        let excluded = self.list(16, |r| {
            let range = r.u64()?..r.u64()?;
            if range.start < least || range.is_empty() || range.end > MAX_ADDRESS {
                return Err(r.damaged("a range of memory is out of order"));
            }
            least = range.end + 1;
            Ok(range)
        })?;
        if excluded.len() > MAX_EXCLUDED {
            return Err(self.damaged("there are too many ranges of memory"));
        }
        Ok(SavedDirected { restored, inside, excluded })
    }

    fn fd(&mut self, preopens: usize) -> Result<SavedFd, WasiError> {
        let kind = self.u8()?;
        match kind {
            0 => match self.u8()? {
                which @ 0..=2 => Ok(SavedFd::Stdio(which.into())),
                _ => Err(self.damaged("an unknown standard stream")),
            },
            1 => {
                let place = self.place(preopens)?;
                let preopen = self.flag()?;
                if preopen && !place.path.is_empty() {
                    return Err(self.damaged("a preopened directory that is not one"));
                }
                let ino = self.u64()?;
                let listing = match self.flag()? {
                    false => None,
                    true => Some(Listing { entries: self.list(13, Self::entry)? }),
                };
                if listing.as_ref().is_some_and(|listing| listing.entries.len() > MAX_ENTRIES) {
                    return Err(self.damaged("a directory listing is too long"));
                }
                Ok(SavedFd::Dir { place, preopen, ino, listing })
            }
            2 | 3 => {
                let place = self.place(preopens)?;
                let flags = self.u8()?;
                if flags > 15 || flags & 3 == 0 {
                    return Err(self.damaged("unknown file flags"));
                }
                let (offset, ino) = (self.u64()?, self.u64()?);
                let contents = match kind {
                    2 => Some(Contents { size: self.u64()?, mtime: self.u64()? }),
                    _ => None,
                };
                Ok(SavedFd::File(SavedFile {
                    place,
                    readable: flags & 1 != 0,
                    writable: flags & 2 != 0,
                    append: flags & 4 != 0,
                    nonblock: flags & 8 != 0,
                    offset,
                    ino,
                    contents,
                }))
            }
            _ => Err(self.damaged("a file descriptor of an unknown kind")),
        }
    }

    fn entry(&mut self) -> Result<Entry, WasiError> {
        let name = self.text()?;
        let filetype = Filetype::from_raw(self.u8()?.into())
            .ok_or_else(|| self.damaged("an unknown file type"))?;
        Ok(Entry { name, filetype, ino: self.u64()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::examples;

    /// The worked example of `docs/format.md`.
    fn example() -> Saved {
        let place = |path: &str| Place { preopen: 0, path: path.to_owned() };
        let entry = |name: &str, filetype, ino| Entry { name: name.to_owned(), filetype, ino };
        let entries = vec![
            entry(".", Filetype::Directory, 9),
            entry("..", Filetype::Directory, 9),
            entry("b", Filetype::RegularFile, 11),
        ];
        let listing = Some(Listing { entries });
        let file = SavedFile {
            place: place("a/b"),
            readable: true,
            writable: true,
            append: true,
            nonblock: false,
            offset: 10,
            ino: 11,
            contents: Some(Contents { size: 12, mtime: 0 }),
        };
        let device = SavedFile {
            place: place("null"),
            readable: true,
            writable: false,
            append: false,
            nonblock: false,
            offset: 0,
            ino: 13,
            contents: None,
        };
        Saved {
            monotonic: 7,
            args: vec![b"prog".to_vec()],
            env: vec![(b"K".to_vec(), b"V".to_vec())],
            preopens: vec![SavedPreopen { guest: "/work".to_owned(), host: b"/tmp".to_vec() }],
            streams: [
                SavedStream::File { id: Identity { dev: 3, ino: 5 }, position: 10 },
                SavedStream::Terminal,
                SavedStream::Other,
            ],
            pending: Some(Pending { begin: 5, deadline: 9, args: [0x1000, 0x2000, 1, 0x3000] }),
            end: 9,
            fds: vec![
                (0, SavedFd::Stdio(0)),
                (1, SavedFd::Stdio(1)),
                (3, SavedFd::Dir { place: place(""), preopen: true, ino: 8, listing: None }),
                (5, SavedFd::Dir { place: place("a"), preopen: false, ino: 9, listing }),
                (6, SavedFd::File(file)),
                (8, SavedFd::File(device)),
            ],
            directed: SavedDirected {
                restored: 3,
                inside: true,
                excluded: vec![0x10000..0x20000, 0x30000..0x30010],
            },
        }
    }

    #[test]
    fn the_documented_example() {
        let bytes = examples::bytes("wasi-example");
        assert_eq!(Saved::decode(&bytes).unwrap(), example());
        assert_eq!(example().encode().unwrap(), bytes);
    }

    /// What version 1 lacks is as in a program that never said anything.
    #[test]
    fn version_1_is_read() {
        let with = Saved { directed: SavedDirected::default(), ..example() };
        let mut bytes = with.encode().unwrap();
        bytes.truncate(bytes.len() - 9);
        assert!(matches!(Saved::decode(&bytes), Err(WasiError::Damaged { .. })));
        bytes[4] = 1;
        assert_eq!(Saved::decode(&bytes).unwrap(), with);
    }

    #[test]
    fn ranges_that_make_no_sense() {
        let many: Vec<_> = (0..4097).map(|i| (i * 2, i * 2 + 1)).collect();
        let bad: [&[(u64, u64)]; 6] = [
            &[(5, 5)],
            &[(6, 5)],
            &[(0, 4), (4, 8)],
            &[(8, 9), (0, 4)],
            &[(0, (1 << 32) + 1)],
            &many,
        ];
        for ranges in bad {
            let excluded = ranges.iter().map(|(start, end)| *start..*end).collect();
            let directed = SavedDirected { excluded, ..SavedDirected::default() };
            let bytes = Saved { directed, ..example() }.encode().unwrap();
            assert!(matches!(Saved::decode(&bytes), Err(WasiError::Damaged { .. })));
        }
        let excluded = vec![0..4, 5..1 << 32];
        let saved =
            Saved { directed: SavedDirected { restored: 1, inside: false, excluded }, ..example() };
        assert_eq!(Saved::decode(&saved.encode().unwrap()).unwrap(), saved);
    }
}
