//! Standard input, output and error: what they are connected to on the host, and reads and writes that can be
//! interrupted while they wait.

use crate::errors::Fail;
use crate::os::{self, AsFd, BorrowedFd, HostFd, InheritedFd, Signal, StreamKind, Waited};
use crate::types::{Errno, Stop};
use std::sync::{Arc, Mutex, PoisonError};

/// What a standard stream of the guest is connected to.
#[derive(Debug, Default)]
pub enum Stdio {
    /// The same stream of this process.
    #[default]
    Inherit,
    /// Nothing: reads are at the end, writes vanish.
    Null,
    /// Reads take these bytes, writes vanish. How many have been read is state: on restore give the same bytes again.
    Bytes(Vec<u8>),
    /// Writes go here, reads are at the end.
    Buffer(Arc<Mutex<Vec<u8>>>),
    /// A descriptor of the host: a file, a pipe, a terminal.
    Fd(HostFd),
}

/// The three standard streams; by default those of this process.
#[derive(Debug, Default)]
pub struct StdioConfig {
    /// fd 0
    pub stdin: Stdio,
    /// fd 1
    pub stdout: Stdio,
    /// fd 2
    pub stderr: Stdio,
}

impl StdioConfig {
    /// All three connected to nothing.
    pub fn null() -> StdioConfig {
        StdioConfig { stdin: Stdio::Null, stdout: Stdio::Null, stderr: Stdio::Null }
    }

    pub(crate) fn into_streams(self) -> [Stream; 3] {
        [Stream::new(self.stdin, 0), Stream::new(self.stdout, 1), Stream::new(self.stderr, 2)]
    }
}

/// A standard stream in use.
#[derive(Debug)]
pub(crate) struct Stream {
    end: End,
    kind: StreamKind,
}

#[derive(Debug)]
enum End {
    Inherited(InheritedFd),
    Owned(HostFd),
    Null,
    Bytes { data: Vec<u8>, at: usize },
    Buffer(Arc<Mutex<Vec<u8>>>),
}

impl Stream {
    fn new(stdio: Stdio, which: usize) -> Stream {
        let end = match stdio {
            Stdio::Inherit => End::Inherited(os::inherited(which)),
            Stdio::Null => End::Null,
            Stdio::Bytes(data) => End::Bytes { data, at: 0 },
            Stdio::Buffer(buffer) => End::Buffer(buffer),
            Stdio::Fd(fd) => End::Owned(fd),
        };
        let mut stream = Stream { end, kind: StreamKind::Other };
        if let Some(fd) = stream.fd() {
            stream.kind = os::stream_kind(fd);
        }
        stream
    }

    /// The host's descriptor, if there is one.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        match &self.end {
            End::Inherited(fd) => Some(*fd),
            End::Owned(fd) => Some(fd.as_fd()),
            _ => None,
        }
    }

    /// The host's descriptor, if using it may have to wait.
    pub fn may_block(&self) -> Option<BorrowedFd<'_>> {
        match self.kind {
            StreamKind::File(_) => None,
            _ => self.fd(),
        }
    }

    pub fn kind(&self) -> StreamKind {
        self.kind
    }

    /// How many bytes of [`Stdio::Bytes`] have been read, where that is what this is.
    pub fn bytes_read(&self) -> Option<u64> {
        match &self.end {
            End::Bytes { at, .. } => Some(*at as u64),
            _ => None,
        }
    }

    /// Skips what had been read of [`Stdio::Bytes`].
    pub fn skip_bytes(&mut self, read: u64) {
        if let End::Bytes { data, at } = &mut self.end {
            *at = usize::try_from(read).unwrap_or(usize::MAX).min(data.len());
        }
    }

    pub fn read(&mut self, buf: &mut [u8], signal: &Signal) -> Result<usize, Fail> {
        if let End::Bytes { data, at } = &mut self.end {
            let rest = data.get(*at..).unwrap_or_default();
            let n = rest.len().min(buf.len());
            buf[..n].copy_from_slice(&rest[..n]);
            *at += n;
            return Ok(n);
        }
        let Some(fd) = self.fd() else { return Ok(0) };
        if buf.is_empty() {
            return Ok(0);
        }
        loop {
            if self.may_block().is_some() && os::wait(fd, false, signal)? == Waited::Interrupted {
                return Err(Fail::Stop(Stop::Interrupted));
            }
            if let Some(n) = os::read_stream(fd, buf)? {
                return Ok(n);
            }
        }
    }

    /// Writes all of `buf`; less only if interrupted after some of it was written (then that part is the answer: what is
    /// written cannot be taken back) or if the stream breaks half-way.
    pub fn write(&mut self, buf: &[u8], signal: &Signal) -> Result<usize, Fail> {
        let fd = match &self.end {
            End::Buffer(buffer) => {
                buffer.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(buf);
                return Ok(buf.len());
            }
            _ => match self.fd() {
                Some(fd) => fd,
                None => return Ok(buf.len()),
            },
        };
        let mut done = 0;
        while done < buf.len() {
            let step = self.write_step(fd, &buf[done..], signal);
            match step {
                Ok(n) => done += n,
                Err(_) if done > 0 => break,
                Err(fail) => return Err(fail),
            }
        }
        Ok(done)
    }

    fn write_step(&self, fd: BorrowedFd<'_>, buf: &[u8], signal: &Signal) -> Result<usize, Fail> {
        let buf = &buf[..buf.len().min(os::safe_write(self.kind))];
        loop {
            if self.may_block().is_some() && os::wait(fd, true, signal)? == Waited::Interrupted {
                return Err(Fail::Stop(Stop::Interrupted));
            }
            match os::write_stream(fd, buf)? {
                // A write of nothing would be tried for ever.
                Some(0) => return Err(Errno::Io.into()),
                Some(n) => return Ok(n),
                None => {}
            }
        }
    }
}
