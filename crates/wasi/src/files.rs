//! Calls on open files and on the standard streams: read, write, seek, size, times, sync.

use crate::directed;
use crate::errors::Fail;
use crate::fds::{Descriptor, Host};
use crate::memory as mem;
use crate::os;
use crate::types::{Advice, Errno, Whence, fstflags, known, no_such};
use cap_fs_ext::SystemTimeSpec;
use cap_std::time::SystemTime;
use std::time::{Duration, UNIX_EPOCH};

/// The most that one `fd_pread` reads.
const LONGEST_PREAD: u32 = 64 << 10;

/// Where a read or write takes place.
#[derive(Clone, Copy)]
enum At {
    /// At the descriptor's position, which moves on.
    Cursor,
    /// At an offset of its own.
    Offset(u64),
}

/// The two times of a `set_times` call: `None` leaves one as it is.
pub(crate) fn times(atim: u64, mtim: u64, flags: u32) -> Result<[Option<SystemTimeSpec>; 2], Fail> {
    use fstflags::{ALL, ATIM, ATIM_NOW, MTIM, MTIM_NOW};
    let flags = known(flags, ALL)?;
    let one = |given: bool, now: bool, time: u64| match (given, now) {
        (true, true) => Err(Errno::Inval),
        (true, false) => {
            let time = UNIX_EPOCH.checked_add(Duration::from_nanos(time)).ok_or(Errno::Overflow)?;
            Ok(Some(SystemTimeSpec::Absolute(SystemTime::from_std(time))))
        }
        // The time is read here, not by the kernel, so that both are the same instant.
        (false, true) => {
            Ok(Some(SystemTimeSpec::Absolute(SystemTime::from_std(std::time::SystemTime::now()))))
        }
        (false, false) => Ok(None),
    };
    Ok([
        one(flags & ATIM != 0, flags & ATIM_NOW != 0, atim)?,
        one(flags & MTIM != 0, flags & MTIM_NOW != 0, mtim)?,
    ])
}

fn std_time(spec: SystemTimeSpec) -> std::time::SystemTime {
    match spec {
        SystemTimeSpec::SymbolicNow => std::time::SystemTime::now(),
        SystemTimeSpec::Absolute(time) => time.into_std(),
    }
}

impl Host {
    fn read(
        &mut self,
        memory: &mut [u8],
        fd: u32,
        iovs: (u32, u32),
        at: At,
        nread: u32,
    ) -> Result<(), Fail> {
        let (ptr, len) = mem::first_buffer(memory, iovs.0, iovs.1)?;
        let n = match (self.fds.get(fd)?, at) {
            (Descriptor::File(_), At::Cursor) => {
                let file = self.fds.file_mut(fd)?;
                let n = os::read_at(&file.file, mem::bytes_mut(memory, ptr, len)?, file.offset)?;
                file.offset = file.offset.checked_add(n as u64).ok_or(Errno::Overflow)?;
                n
            }
            (Descriptor::File(file), At::Offset(offset)) => {
                // Stock wasmtime has a buffer of its own for this, of this size: what is not filled need not be there.
                let len = len.min(LONGEST_PREAD);
                match mem::bytes_if_there(memory, ptr, len) {
                    Some(buf) => os::read_at(&file.file, buf, offset)?,
                    None => {
                        let mut buf = vec![0; len as usize];
                        let n = os::read_at(&file.file, &mut buf, offset)?;
                        mem::put(memory, ptr, &buf[..n])?;
                        n
                    }
                }
            }
            (Descriptor::Stdio(0), At::Cursor) => {
                self.stdio[0].read(mem::bytes_mut(memory, ptr, len)?, &self.signal)?
            }
            (Descriptor::Stdio(0), At::Offset(_)) => return Err(Errno::Spipe.into()),
            _ => return Err(Errno::Badf.into()),
        };
        mem::put_u32(memory, nread, u32::try_from(n).map_err(|_| Errno::Overflow)?)
    }

    fn write(
        &mut self,
        memory: &mut [u8],
        fd: u32,
        iovs: (u32, u32),
        at: At,
        nwritten: u32,
    ) -> Result<(), Fail> {
        let (ptr, len) = mem::first_buffer(memory, iovs.0, iovs.1)?;
        let n = match (self.fds.get(fd)?, at) {
            (Descriptor::File(file), _) => {
                let data = mem::bytes(memory, ptr, len)?;
                if !file.append {
                    let from = match at {
                        At::Cursor => file.offset,
                        At::Offset(offset) => offset,
                    };
                    self.before_change(fd, from, from.saturating_add(data.len() as u64));
                } else {
                    self.before_change(fd, u64::MAX, u64::MAX);
                }
                let file = self.fds.file_mut(fd)?;
                // As Linux does: a file in append mode is written at its end, whatever the offset asked for.
                let (from, done) = match (file.append, at) {
                    (true, _) => (u64::MAX, os::append(&file.file, data)),
                    (false, At::Cursor) => {
                        (file.offset, os::write_at(&file.file, data, file.offset))
                    }
                    (false, At::Offset(offset)) => (offset, os::write_at(&file.file, data, offset)),
                };
                file.written(from, from.saturating_add(data.len() as u64));
                let n = done?;
                match (at, file.append) {
                    (At::Cursor, true) => file.offset = file.file.metadata()?.len(),
                    (At::Cursor, false) => {
                        file.offset = file.offset.checked_add(n as u64).ok_or(Errno::Overflow)?;
                    }
                    (At::Offset(_), _) => {}
                }
                n
            }
            (Descriptor::Stdio(which @ (1 | 2)), At::Cursor) => {
                self.stdio[*which].write(mem::bytes(memory, ptr, len)?, &self.signal)?
            }
            (Descriptor::Stdio(1 | 2), At::Offset(_)) => return Err(Errno::Spipe.into()),
            _ => return Err(Errno::Badf.into()),
        };
        mem::put_u32(memory, nwritten, u32::try_from(n).map_err(|_| Errno::Overflow)?)
    }

    pub fn fd_read(
        &mut self,
        memory: &mut [u8],
        fd: u32,
        iovs: u32,
        iovs_len: u32,
        nread: u32,
    ) -> Result<(), Fail> {
        if fd == directed::DOOR {
            return self.message(memory, iovs, iovs_len, nread);
        }
        self.read(memory, fd, (iovs, iovs_len), At::Cursor, nread)
    }

    pub fn fd_pread(
        &mut self,
        memory: &mut [u8],
        fd: u32,
        iovs: u32,
        iovs_len: u32,
        offset: u64,
        nread: u32,
    ) -> Result<(), Fail> {
        self.read(memory, fd, (iovs, iovs_len), At::Offset(offset), nread)
    }

    pub fn fd_write(
        &mut self,
        memory: &mut [u8],
        fd: u32,
        iovs: u32,
        iovs_len: u32,
        nwritten: u32,
    ) -> Result<(), Fail> {
        self.write(memory, fd, (iovs, iovs_len), At::Cursor, nwritten)
    }

    pub fn fd_pwrite(
        &mut self,
        memory: &mut [u8],
        fd: u32,
        iovs: u32,
        iovs_len: u32,
        offset: u64,
        nwritten: u32,
    ) -> Result<(), Fail> {
        self.write(memory, fd, (iovs, iovs_len), At::Offset(offset), nwritten)
    }

    pub fn fd_seek(
        &mut self,
        memory: &mut [u8],
        fd: u32,
        offset: u64,
        whence: u32,
        new: u32,
    ) -> Result<(), Fail> {
        let whence = Whence::from_raw(whence).ok_or_else(no_such("whence", whence))?;
        let file = self.fds.seekable(fd)?;
        // The guest's offset is signed.
        let offset = offset as i64;
        let from = match whence {
            Whence::Set => 0,
            Whence::Cur => file.offset,
            Whence::End => file.file.metadata()?.len(),
        };
        file.offset = from.checked_add_signed(offset).ok_or(Errno::Inval)?;
        let now = file.offset;
        mem::put_u64(memory, new, now)
    }

    pub fn fd_tell(&mut self, memory: &mut [u8], fd: u32, offset: u32) -> Result<(), Fail> {
        let at = self.fds.seekable(fd)?.offset;
        mem::put_u64(memory, offset, at)
    }

    pub fn fd_advise(
        &mut self,
        _memory: &mut [u8],
        fd: u32,
        offset: u64,
        len: u64,
        advice: u32,
    ) -> Result<(), Fail> {
        let advice = Advice::from_raw(advice).ok_or_else(no_such("advice", advice))?;
        Ok(os::advise(&self.fds.file(fd)?.file, offset, len, advice)?)
    }

    pub fn fd_allocate(
        &mut self,
        _memory: &mut [u8],
        fd: u32,
        _offset: u64,
        _len: u64,
    ) -> Result<(), Fail> {
        self.fds.file(fd)?;
        Err(Errno::Notsup.into())
    }

    /// Never answers "interrupted": a sync cannot be stopped half-way, and it ends by itself.
    pub fn fd_sync(&mut self, _memory: &mut [u8], fd: u32) -> Result<(), Fail> {
        self.sync_undo();
        Ok(self.fds.file(fd)?.file.sync_all()?)
    }

    pub fn fd_datasync(&mut self, _memory: &mut [u8], fd: u32) -> Result<(), Fail> {
        self.sync_undo();
        Ok(self.fds.file(fd)?.file.sync_data()?)
    }

    pub fn fd_filestat_set_size(
        &mut self,
        _memory: &mut [u8],
        fd: u32,
        size: u64,
    ) -> Result<(), Fail> {
        self.before_change(fd, size, u64::MAX);
        let file = self.fds.file(fd)?;
        let done = file.file.set_len(size);
        file.written(size, u64::MAX);
        Ok(done?)
    }

    pub fn fd_filestat_set_times(
        &mut self,
        _memory: &mut [u8],
        fd: u32,
        atim: u64,
        mtim: u64,
        flags: u32,
    ) -> Result<(), Fail> {
        let [atim, mtim] = times(atim, mtim, flags)?;
        self.before_change(fd, u64::MAX, u64::MAX);
        match self.fds.get(fd)? {
            Descriptor::Stdio(_) => Err(Errno::Badf.into()),
            Descriptor::Dir(dir) => Ok(cap_fs_ext::DirExt::set_times(&*dir.dir, ".", atim, mtim)?),
            Descriptor::File(file) => {
                let mut set = std::fs::FileTimes::new();
                if let Some(atim) = atim {
                    set = set.set_accessed(std_time(atim));
                }
                if let Some(mtim) = mtim {
                    set = set.set_modified(std_time(mtim));
                }
                Ok(file.file.set_times(set)?)
            }
        }
    }
}
