//! A guest program played by a test: it has a memory and makes calls. The allocation is as simple as can be: paths at
//! 1024, data at 4096, results at 0.
#![allow(dead_code)]

use dormouse_wasi::{Errno, RestoreOptions, Stdio, StdioConfig, Stop, Wasi, WasiConfig, WasiError};
use std::path::Path;

pub const RESULT: u32 = 0;
pub const IOVEC: u32 = 512;
pub const PATH: u32 = 1024;
pub const PATH2: u32 = 2048;
pub const DATA: u32 = 4096;
pub const MEMORY: usize = 1 << 20;

pub const READ: u64 = 1 << 1;
pub const WRITE: u64 = 1 << 6;
pub const CREAT: u32 = 1;
pub const DIRECTORY: u32 = 2;
pub const EXCL: u32 = 4;
pub const TRUNC: u32 = 8;
pub const APPEND: u32 = 1;
pub const NONBLOCK: u32 = 4;
/// The first preopened directory.
pub const DIR: u32 = 3;

/// An entry of a directory: cookie of the next one, name, file type.
pub type Dirent = (u64, String, u8);

pub struct Guest {
    pub wasi: Wasi,
    pub mem: Vec<u8>,
}

pub fn quiet(stdin: &[u8]) -> StdioConfig {
    StdioConfig { stdin: Stdio::Bytes(stdin.to_vec()), ..StdioConfig::null() }
}

/// Restore options of a test: nothing inherited.
pub fn options() -> RestoreOptions {
    RestoreOptions { stdio: quiet(b""), ..RestoreOptions::default() }
}

fn ok(answer: Result<Errno, Stop>) -> Result<(), Errno> {
    match answer.expect("the call was stopped") {
        Errno::Success => Ok(()),
        errno => Err(errno),
    }
}

impl Guest {
    pub fn of(wasi: Wasi) -> Guest {
        Guest { wasi, mem: vec![0; MEMORY] }
    }

    pub fn with(dir: &Path, stdio: StdioConfig) -> Guest {
        let cfg = WasiConfig {
            args: vec![b"prog".to_vec(), b"arg".to_vec()],
            env: vec![(b"KEY".to_vec(), b"value".to_vec())],
            dirs: vec![(dir.to_path_buf(), "/work".to_owned())],
            stdio,
            ..WasiConfig::default()
        };
        Guest::of(Wasi::new(cfg).unwrap())
    }

    pub fn new(dir: &Path) -> Guest {
        Guest::with(dir, quiet(b""))
    }

    /// Saves and restores, as a resume on the same host would; the guest's memory goes along.
    pub fn sleep(self) -> Result<Guest, WasiError> {
        let bytes = self.wasi.save()?;
        let mem = self.mem;
        drop(self.wasi);
        Ok(Guest { wasi: Wasi::restore(&bytes, options())?, mem })
    }

    pub fn put(&mut self, at: u32, bytes: &[u8]) -> (u32, u32) {
        self.mem[at as usize..at as usize + bytes.len()].copy_from_slice(bytes);
        (at, bytes.len() as u32)
    }

    pub fn u32(&self, at: u32) -> u32 {
        u32::from_le_bytes(self.mem[at as usize..at as usize + 4].try_into().unwrap())
    }

    pub fn u64(&self, at: u32) -> u64 {
        u64::from_le_bytes(self.mem[at as usize..at as usize + 8].try_into().unwrap())
    }

    pub fn open(
        &mut self,
        path: &str,
        oflags: u32,
        rights: u64,
        fdflags: u32,
    ) -> Result<u32, Errno> {
        self.open_at(DIR, 1, path, oflags, rights, fdflags)
    }

    pub fn open_at(
        &mut self,
        dir: u32,
        lookup: u32,
        path: &str,
        oflags: u32,
        rights: u64,
        fdflags: u32,
    ) -> Result<u32, Errno> {
        let (p, l) = self.put(PATH, path.as_bytes());
        ok(self.wasi.path_open(
            &mut self.mem,
            dir,
            lookup,
            p,
            l,
            oflags,
            rights,
            0,
            fdflags,
            RESULT,
        ))?;
        Ok(self.u32(RESULT))
    }

    pub fn iovec(&mut self, ptr: u32, len: u32) -> u32 {
        self.put(IOVEC, &ptr.to_le_bytes());
        self.put(IOVEC + 4, &len.to_le_bytes());
        IOVEC
    }

    pub fn write(&mut self, fd: u32, bytes: &[u8]) -> Result<u32, Errno> {
        let (p, l) = self.put(DATA, bytes);
        let iov = self.iovec(p, l);
        ok(self.wasi.fd_write(&mut self.mem, fd, iov, 1, RESULT))?;
        Ok(self.u32(RESULT))
    }

    pub fn read(&mut self, fd: u32, len: u32) -> Result<Vec<u8>, Errno> {
        let iov = self.iovec(DATA, len);
        ok(self.wasi.fd_read(&mut self.mem, fd, iov, 1, RESULT))?;
        Ok(self.data(self.u32(RESULT)))
    }

    pub fn data(&self, len: u32) -> Vec<u8> {
        self.mem[DATA as usize..(DATA + len) as usize].to_vec()
    }

    pub fn seek(&mut self, fd: u32, offset: i64, whence: u32) -> Result<u64, Errno> {
        ok(self.wasi.fd_seek(&mut self.mem, fd, offset as u64, whence, RESULT))?;
        Ok(self.u64(RESULT))
    }

    pub fn tell(&mut self, fd: u32) -> Result<u64, Errno> {
        ok(self.wasi.fd_tell(&mut self.mem, fd, RESULT))?;
        Ok(self.u64(RESULT))
    }

    pub fn close(&mut self, fd: u32) -> Result<(), Errno> {
        ok(self.wasi.fd_close(&mut self.mem, fd))
    }

    pub fn set_size(&mut self, fd: u32, size: u64) -> Result<(), Errno> {
        ok(self.wasi.fd_filestat_set_size(&mut self.mem, fd, size))
    }

    pub fn rename(&mut self, from: &str, to: &str) -> Result<(), Errno> {
        let (p, l) = self.put(PATH, from.as_bytes());
        let (p2, l2) = self.put(PATH2, to.as_bytes());
        ok(self.wasi.path_rename(&mut self.mem, DIR, p, l, DIR, p2, l2))
    }

    pub fn symlink(&mut self, target: &str, path: &str) -> Result<(), Errno> {
        let (p, l) = self.put(PATH, target.as_bytes());
        let (p2, l2) = self.put(PATH2, path.as_bytes());
        ok(self.wasi.path_symlink(&mut self.mem, p, l, DIR, p2, l2))
    }

    pub fn link(&mut self, from: &str, to: &str) -> Result<(), Errno> {
        let (p, l) = self.put(PATH, from.as_bytes());
        let (p2, l2) = self.put(PATH2, to.as_bytes());
        ok(self.wasi.path_link(&mut self.mem, DIR, 0, p, l, DIR, p2, l2))
    }

    pub fn unlink(&mut self, path: &str) -> Result<(), Errno> {
        let (p, l) = self.put(PATH, path.as_bytes());
        ok(self.wasi.path_unlink_file(&mut self.mem, DIR, p, l))
    }

    pub fn set_times(&mut self, path: &str, mtim: u64) -> Result<(), Errno> {
        let (p, l) = self.put(PATH, path.as_bytes());
        ok(self.wasi.path_filestat_set_times(&mut self.mem, DIR, 1, p, l, 0, mtim, 4))
    }

    pub fn mkdir(&mut self, path: &str) -> Result<(), Errno> {
        let (p, l) = self.put(PATH, path.as_bytes());
        ok(self.wasi.path_create_directory(&mut self.mem, DIR, p, l))
    }

    pub fn rmdir(&mut self, path: &str) -> Result<(), Errno> {
        let (p, l) = self.put(PATH, path.as_bytes());
        ok(self.wasi.path_remove_directory(&mut self.mem, DIR, p, l))
    }

    pub fn readlink(&mut self, path: &str, len: u32) -> Result<String, Errno> {
        let (p, l) = self.put(PATH, path.as_bytes());
        ok(self.wasi.path_readlink(&mut self.mem, DIR, p, l, DATA, len, RESULT))?;
        Ok(String::from_utf8(self.data(self.u32(RESULT))).unwrap())
    }

    /// `filestat` of a path as (inode, file type, size).
    pub fn stat(&mut self, path: &str, lookup: u32) -> Result<(u64, u8, u64), Errno> {
        let (p, l) = self.put(PATH, path.as_bytes());
        ok(self.wasi.path_filestat_get(&mut self.mem, DIR, lookup, p, l, DATA))?;
        Ok((self.u64(DATA + 8), self.mem[DATA as usize + 16], self.u64(DATA + 32)))
    }

    pub fn fstat(&mut self, fd: u32) -> Result<(u64, u8, u64), Errno> {
        ok(self.wasi.fd_filestat_get(&mut self.mem, fd, DATA))?;
        Ok((self.u64(DATA + 8), self.mem[DATA as usize + 16], self.u64(DATA + 32)))
    }

    /// `fdstat` as (file type, flags, base rights).
    pub fn fdstat(&mut self, fd: u32) -> Result<(u8, u16, u64), Errno> {
        ok(self.wasi.fd_fdstat_get(&mut self.mem, fd, DATA))?;
        let at = DATA as usize;
        Ok((
            self.mem[at],
            u16::from_le_bytes([self.mem[at + 2], self.mem[at + 3]]),
            self.u64(DATA + 8),
        ))
    }

    /// One `fd_readdir`: whole entries as (next cookie, name, file type), and whether the buffer was filled.
    pub fn readdir(
        &mut self,
        fd: u32,
        len: u32,
        cookie: u64,
    ) -> Result<(Vec<Dirent>, bool), Errno> {
        ok(self.wasi.fd_readdir(&mut self.mem, fd, DATA, len, cookie, RESULT))?;
        let used = self.u32(RESULT);
        let (mut at, mut entries) = (DATA, Vec::new());
        while at + 24 <= DATA + used {
            let name = (at + 24) as usize..(at + 24 + self.u32(at + 16)) as usize;
            if name.end > (DATA + used) as usize {
                break;
            }
            let text = String::from_utf8(self.mem[name.clone()].to_vec()).unwrap();
            entries.push((self.u64(at), text, self.mem[at as usize + 20]));
            at = name.end as u32;
        }
        Ok((entries, used == len))
    }

    /// All names of a directory, read with a buffer of `len` bytes.
    pub fn names(&mut self, fd: u32, len: u32) -> Result<Vec<String>, Errno> {
        let (mut names, mut cookie) = (Vec::new(), 0);
        loop {
            let (entries, more) = self.readdir(fd, len, cookie)?;
            for (next, name, _) in entries {
                cookie = next;
                names.push(name);
            }
            if !more {
                return Ok(names);
            }
        }
    }

    /// Writes a clock subscription.
    pub fn subscribe_clock(
        &mut self,
        at: u32,
        userdata: u64,
        clock: u32,
        timeout: u64,
        absolute: bool,
    ) {
        self.mem[at as usize..at as usize + 48].fill(0);
        self.put(at, &userdata.to_le_bytes());
        self.put(at + 16, &clock.to_le_bytes());
        self.put(at + 24, &timeout.to_le_bytes());
        self.put(at + 40, &u16::from(absolute).to_le_bytes());
    }

    /// Writes a subscription to a descriptor.
    pub fn subscribe_fd(&mut self, at: u32, userdata: u64, fd: u32, write: bool) {
        self.mem[at as usize..at as usize + 48].fill(0);
        self.put(at, &userdata.to_le_bytes());
        self.mem[at as usize + 8] = if write { 2 } else { 1 };
        self.put(at + 16, &fd.to_le_bytes());
    }

    /// Polls the `n` subscriptions at `DATA`; the user data of what is ready.
    pub fn poll(&mut self, n: u32) -> Result<Result<Vec<u64>, Errno>, Stop> {
        let events = DATA + n * 48;
        let errno = self.wasi.poll_oneoff(&mut self.mem, DATA, events, n, RESULT)?;
        if errno != Errno::Success {
            return Ok(Err(errno));
        }
        Ok(Ok((0..self.u32(RESULT)).map(|i| self.u64(events + 32 * i)).collect()))
    }

    pub fn monotonic(&mut self) -> u64 {
        ok(self.wasi.clock_time_get(&mut self.mem, 1, 0, RESULT)).unwrap();
        self.u64(RESULT)
    }
}
