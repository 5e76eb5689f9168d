//! The tar of a layer: POSIX `ustar` headers, with `pax` records for what does not fit.
//!
//! ```text
//!   x header, "30 mtime=1700000000.000000007\n"..     only where name, link, size or time do not fit
//!   header   name 100 | mode 8 | uid 8 | gid 8 | size 12 | mtime 12 | sum 8 | kind 1 | link 100 | "ustar\0" "00" | 0 ...
//!   the file's bytes, filled up to 512
//!   ...
//!   1024 zeros
//! ```
//!
//! The reader takes what this writer writes, and not the rest of what tars have: it need not, and who made the image may
//! be a stranger. It keeps no more than a header and [`MAX_PAX`] bytes of records.

use super::FileKind;
use std::io::{self, Read, Write};

const BLOCK: usize = 512;
/// Bytes of a name or a link that the header holds.
const SHORT: usize = 100;
/// The largest number in 11 octal digits.
const MAX_OCTAL: u64 = (1 << 33) - 1;
/// Bytes of pax records before one header: two paths of the longest, and numbers.
const MAX_PAX: u64 = 16 << 10;
/// Bytes of a name.
const MAX_NAME: usize = 4200;

const FILE: u8 = b'0';
const LINK: u8 = b'2';
const DIR: u8 = b'5';
const PAX: u8 = b'x';

/// What begins a whiteout's last part.
pub(super) const WHITEOUT: &str = ".wh.";

/// Writes an item; `data` gives a file's bytes.
pub(super) fn write(
    out: &mut impl Write,
    name: &str,
    kind: &FileKind,
    data: &mut impl Read,
) -> io::Result<()> {
    match kind {
        FileKind::Gone => {
            let (above, last) = name.rsplit_once('/').unwrap_or(("", name));
            write_head(out, &format!("{above}/{WHITEOUT}{last}"), 0o600, 0, 0, FILE, "")
        }
        FileKind::Dir { mode } => write_head(out, &format!("{name}/"), *mode, 0, 0, DIR, ""),
        FileKind::Link { target } => write_head(out, name, 0o777, 0, 0, LINK, target),
        FileKind::File { mode, mtime, size } => {
            write_head(out, name, *mode, *size, *mtime, FILE, "")?;
            if io::copy(&mut data.take(*size), out)? != *size {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            pad(out, *size)
        }
    }
}

/// What ends it.
pub(super) fn finish(out: &mut impl Write) -> io::Result<()> {
    out.write_all(&[0; 2 * BLOCK])
}

fn pad(out: &mut impl Write, size: u64) -> io::Result<()> {
    out.write_all(&[0; BLOCK][..padding(size)])
}

fn padding(size: u64) -> usize {
    (BLOCK - (size % BLOCK as u64) as usize) % BLOCK
}

fn write_head(
    out: &mut impl Write,
    name: &str,
    mode: u32,
    size: u64,
    mtime: u64,
    kind: u8,
    link: &str,
) -> io::Result<()> {
    let mut records = String::new();
    let fits = |text: &str| text.len() <= SHORT && text.is_ascii();
    if !fits(name) {
        records += &record("path", name);
    }
    if !fits(link) {
        records += &record("linkpath", link);
    }
    if size > MAX_OCTAL {
        records += &record("size", &size.to_string());
    }
    let (seconds, nanos) = (mtime / 1_000_000_000, mtime % 1_000_000_000);
    if nanos > 0 || seconds > MAX_OCTAL {
        records += &record("mtime", &format!("{seconds}.{nanos:09}"));
    }
    if !records.is_empty() {
        let size = records.len() as u64;
        out.write_all(&header("pax", 0o600, size, 0, PAX, ""))?;
        out.write_all(records.as_bytes())?;
        pad(out, size)?;
    }
    out.write_all(&header(name, mode, size, seconds, kind, link))
}

fn header(name: &str, mode: u32, size: u64, seconds: u64, kind: u8, link: &str) -> [u8; BLOCK] {
    let mut head = [0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| head[at..at + bytes.len()].copy_from_slice(bytes);
    let short = |text: &str| text.as_bytes()[..text.len().min(SHORT)].to_vec();
    put(0, &short(name));
    put(100, format!("{:07o}", mode & 0o1777).as_bytes());
    put(108, b"0000000");
    put(116, b"0000000");
    put(124, format!("{:011o}", size.min(MAX_OCTAL)).as_bytes());
    put(136, format!("{:011o}", seconds.min(MAX_OCTAL)).as_bytes());
    put(148, b"        ");
    put(156, &[kind]);
    put(157, &short(link));
    put(257, b"ustar\x0000");
    put(329, b"0000000");
    put(337, b"0000000");
    let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
    head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    head
}

/// `LENGTH KEY=VALUE\n`, whose length counts itself.
fn record(key: &str, value: &str) -> String {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    format!("{length} {key}={value}\n")
}

/// Reads a tar, item by item.
pub(super) struct Reader<R> {
    from: R,
    /// Bytes of the item's file that were not read yet, and what fills it up.
    left: u64,
    padding: usize,
}

fn bad(why: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.into())
}

impl<R: Read> Reader<R> {
    pub fn new(from: R) -> Reader<R> {
        Reader { from, left: 0, padding: 0 }
    }

    /// The next item; what was not read of the one before is passed over. None at the end.
    pub fn next(&mut self) -> io::Result<Option<(String, FileKind)>> {
        let skipped = io::copy(&mut (&mut self.from).take(self.left), &mut io::sink())?;
        if skipped != self.left {
            return Err(bad("it ends in the middle of a file"));
        }
        self.left = 0;
        self.skip_padding()?;
        let mut records = Records::default();
        let mut head = self.block()?;
        if head.iter().all(|byte| *byte == 0) {
            let rest = self.block()?;
            let mut more = [0];
            if rest.iter().any(|byte| *byte != 0) || self.from.read(&mut more)? != 0 {
                return Err(bad("something follows its end"));
            }
            return Ok(None);
        }
        if check(&head)? == PAX {
            records = self.records(&head)?;
            head = self.block()?;
        }
        let kind = check(&head)?;
        let name = match records.path {
            Some(path) => path,
            None => text(&head[..SHORT])?,
        };
        let size = records.size.unwrap_or(octal(&head[124..136])?);
        let mode = (octal(&head[100..108])? & if kind == FILE { 0o1777 } else { 0o777 }) as u32;
        if kind != FILE && size != 0 {
            return Err(bad(format!("{name:?} has contents, and is no file")));
        }
        let what = match kind {
            FILE => {
                let seconds = octal(&head[136..148])?.checked_mul(1_000_000_000);
                let mtime = records.mtime.or(seconds).unwrap_or(u64::MAX);
                FileKind::File { mode, mtime, size }
            }
            DIR => FileKind::Dir { mode },
            LINK => {
                let target = match records.link {
                    Some(link) => link,
                    None => text(&head[157..257])?,
                };
                if target.is_empty() || target.starts_with('/') || target.contains('\0') {
                    return Err(bad(format!("{name:?} is a link to {target:?}")));
                }
                FileKind::Link { target }
            }
            b'1' => return Err(bad(format!("{name:?} is a hard link"))),
            b'3' | b'4' => return Err(bad(format!("{name:?} is a device"))),
            other => {
                let kind = char::from(other).escape_default();
                return Err(bad(format!("{name:?} is of the kind '{kind}', which is not known")));
            }
        };
        (self.left, self.padding) = (size, padding(size));
        let name = if kind == DIR { name.strip_suffix('/').unwrap_or(&name) } else { &name };
        let (name, gone) = plain(name)?;
        match (gone, what) {
            (false, what) => Ok(Some((name, what))),
            (true, FileKind::File { size: 0, .. }) => Ok(Some((name, FileKind::Gone))),
            (true, _) => Err(bad(format!("the whiteout of {name:?} is no empty file"))),
        }
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

    fn records(&mut self, head: &[u8; BLOCK]) -> io::Result<Records> {
        let size = octal(&head[124..136])?;
        if size > MAX_PAX {
            return Err(bad("names that are too long"));
        }
        let mut bytes = vec![0; size as usize];
        self.from.read_exact(&mut bytes)?;
        self.padding = padding(size);
        self.skip_padding()?;
        Records::parse(&bytes)
    }
}

/// The bytes of the item's file.
impl<R: Read> Read for Reader<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let most = into.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let n = self.from.read(&mut into[..most])?;
        if n == 0 && most > 0 {
            return Err(bad("it ends in the middle of a file"));
        }
        self.left -= n as u64;
        Ok(n)
    }
}

#[derive(Default)]
struct Records {
    path: Option<String>,
    link: Option<String>,
    size: Option<u64>,
    mtime: Option<u64>,
}

impl Records {
    fn parse(mut bytes: &[u8]) -> io::Result<Records> {
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
                "size" => records.size = Some(value.parse().map_err(|_| wrong())?),
                "mtime" => records.mtime = Some(time(value).ok_or_else(wrong)?),
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

/// The kind of a header that is one.
fn check(head: &[u8; BLOCK]) -> io::Result<u8> {
    let mut blank = *head;
    blank[148..156].fill(b' ');
    let sum: u64 = blank.iter().map(|byte| u64::from(*byte)).sum();
    if &head[257..265] != b"ustar\x0000" || octal(&head[148..156])? != sum {
        return Err(bad("a header that is not one of a tar"));
    }
    Ok(head[156])
}

fn octal(field: &[u8]) -> io::Result<u64> {
    let digits: Vec<u8> = field.iter().copied().take_while(|b| !matches!(b, 0 | b' ')).collect();
    let text = std::str::from_utf8(&digits).ok().filter(|t| t.bytes().all(|b| b.is_ascii_digit()));
    let number = text.and_then(|text| u64::from_str_radix(text, 8).ok());
    number.ok_or_else(|| bad("a number in a header that cannot be read"))
}

fn text(field: &[u8]) -> io::Result<String> {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    let text = std::str::from_utf8(&field[..end]);
    text.map(str::to_owned).map_err(|_| bad("a name that is not UTF-8"))
}

/// A name that leads beneath a numbered directory and nowhere else; without `.wh.` if it is a whiteout.
fn plain(name: &str) -> io::Result<(String, bool)> {
    let shown: String = name.chars().take(100).collect();
    let wrong = || bad(format!("the name {shown:?} is not plain"));
    let mut parts = name.split('/');
    let number = parts.next().unwrap_or_default();
    let decimal = number.parse::<u32>().is_ok_and(|n| n.to_string() == number);
    let mut parts: Vec<&str> = parts.collect();
    let good = |part: &&str| !matches!(*part, "" | "." | "..") && !part.contains('\0');
    let Some(last) = parts.pop() else { return Err(wrong()) };
    if name.len() > MAX_NAME || !decimal || !parts.iter().all(good) || !good(&last) {
        return Err(wrong());
    }
    // One inside a name, or another kind of whiteout, means something that is not meant here.
    let gone = last.strip_prefix(WHITEOUT);
    let of = gone.unwrap_or(last);
    if parts.iter().any(|p| p.starts_with(WHITEOUT)) || of.starts_with(WHITEOUT) || !good(&of) {
        return Err(wrong());
    }
    parts.push(of);
    Ok((format!("{number}/{}", parts.join("/")), gone.is_some()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(size: u64, mtime: u64) -> FileKind {
        FileKind::File { mode: 0o640, mtime, size }
    }

    fn written(items: &[(&str, FileKind, &[u8])]) -> Vec<u8> {
        let mut out = vec![];
        for (name, kind, bytes) in items {
            write(&mut out, name, kind, &mut &bytes[..]).unwrap();
        }
        finish(&mut out).unwrap();
        out
    }

    #[test]
    fn what_is_written_is_read() {
        let long = format!("3/{}/ä", "d".repeat(200));
        let items = [
            ("0/old", FileKind::Gone, &b""[..]),
            ("0/dir", FileKind::Dir { mode: 0o750 }, b""),
            ("0/link", FileKind::Link { target: "dir/ö".to_owned() }, b""),
            ("0/a", file(5, 1_700_000_000_000_000_007), b"hello"),
            ("0/empty", file(0, 0), b""),
            (&long, file(512, u64::MAX), &[7; 512]),
        ];
        let bytes = written(&items);
        assert_eq!(bytes.len() % 512, 0);
        let mut tar = Reader::new(&bytes[..]);
        for (name, kind, data) in &items {
            assert_eq!(tar.next().unwrap(), Some(((*name).to_owned(), kind.clone())));
            let mut found = vec![];
            if name.len() % 2 == 1 {
                tar.read_to_end(&mut found).unwrap();
                assert_eq!(found, *data);
            }
        }
        assert_eq!(tar.next().unwrap(), None);
        for cut in [0, 100, 511, 512, 1000, bytes.len() - 512, bytes.len() - 1] {
            let mut tar = Reader::new(&bytes[..cut]);
            while let Ok(next) = tar.next() {
                assert!(next.is_some(), "cut at {cut}");
            }
        }
    }

    #[test]
    fn what_leads_elsewhere_is_refused() {
        let refused = |head: &[u8], why: &str| {
            let mut bytes = head.to_vec();
            bytes.extend([0; 1024]);
            let error = Reader::new(&bytes[..]).next().unwrap_err().to_string();
            assert!(error.contains(why), "{error}, not {why}");
        };
        for name in [
            "0/../../etc/passwd",
            "/etc/passwd",
            "0",
            "0/",
            "",
            "a/b",
            "00/b",
            "-1/b",
            "0//b",
            "0/./b",
            "0/b/.wh.c/d",
            "0/.wh.",
            "0/.wh...",
            "0/.wh..wh..opq",
            "4294967296/a",
            "0/.wh..",
        ] {
            refused(&header(name, 0o644, 0, 0, FILE, ""), "is not plain");
        }
        refused(&header("0/a", 0o644, 0, 0, b'1', "0/b"), "hard link");
        refused(&header("0/a", 0o644, 0, 0, b'3', ""), "device");
        refused(&header("0/a", 0o644, 0, 0, b'6', ""), "kind '6'");
        refused(&header("0/a", 0o644, 0, 0, b'L', ""), "kind 'L'");
        refused(&header("0/a", 0o644, 0, 0, LINK, "/etc"), "is a link to");
        refused(&header("0/a", 0o644, 0, 0, LINK, ""), "is a link to");
        refused(&header("0/a", 0o644, 1, 0, DIR, ""), "is no file");
        refused(&header("0/.wh.a", 0o644, 1, 0, FILE, ""), "is no empty file");
        refused(&header("pax", 0o644, MAX_PAX + 1, 0, PAX, ""), "too long");
        refused(&[1; 512], "not one of a tar");
        let mut torn = header("0/a", 0o644, 0, 0, FILE, "");
        torn[5] ^= 1;
        refused(&torn, "not one of a tar");
    }

    #[test]
    fn permissions_are_all_that_a_mode_gives() {
        let mut bytes = header("0/a", 0, 0, 0, FILE, "").to_vec();
        bytes[100..107].copy_from_slice(b"0006755");
        bytes[148..156].fill(b' ');
        let sum: u32 = bytes.iter().map(|byte| u32::from(*byte)).sum();
        bytes[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let found = Reader::new(&bytes[..]).next().unwrap();
        assert_eq!(
            found,
            Some(("0/a".to_owned(), FileKind::File { mode: 0o755, mtime: 0, size: 0 }))
        );
    }
}
