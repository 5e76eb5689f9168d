//! Arguments, environment, exit, random bytes, and the calls on sockets, which preview 1 of stock wasmtime does not
//! have either.

use crate::errors::Fail;
use crate::fds::Host;
use crate::memory as mem;
use crate::types::{Errno, LAST_SIGNAL, RIFLAGS, SDFLAGS, Stop, fdflags, known, no_such};

/// Writes strings that end in NUL one after another at `buf`, and their addresses at `pointers`.
fn put_strings<'a>(
    memory: &mut [u8],
    pointers: u32,
    buf: u32,
    strings: impl Iterator<Item = [&'a [u8]; 4]>,
) -> Result<(), Fail> {
    let (mut pointer, mut at) = (pointers, buf);
    for parts in strings {
        mem::put_u32(memory, pointer, at)?;
        pointer = mem::offset(pointer, 4)?;
        for part in parts {
            mem::put(memory, at, part)?;
            at = mem::offset(at, u32::try_from(part.len()).map_err(|_| Errno::Overflow)?)?;
        }
    }
    Ok(())
}

fn put_sizes(memory: &mut [u8], count: (u32, usize), size: (u32, usize)) -> Result<(), Fail> {
    let fit = |n: usize| u32::try_from(n).map_err(|_| Errno::Overflow);
    mem::put_u32(memory, count.0, fit(count.1)?)?;
    mem::put_u32(memory, size.0, fit(size.1)?)
}

impl Host {
    pub fn args_get(&mut self, memory: &mut [u8], argv: u32, argv_buf: u32) -> Result<(), Fail> {
        let args = self.args.iter().map(|arg| [&arg[..], b"\0", b"", b""]);
        put_strings(memory, argv, argv_buf, args)
    }

    pub fn args_sizes_get(
        &mut self,
        memory: &mut [u8],
        argc: u32,
        argv_buf_size: u32,
    ) -> Result<(), Fail> {
        let size = self.args.iter().map(|arg| arg.len() + 1).sum();
        put_sizes(memory, (argc, self.args.len()), (argv_buf_size, size))
    }

    pub fn environ_get(
        &mut self,
        memory: &mut [u8],
        environ: u32,
        environ_buf: u32,
    ) -> Result<(), Fail> {
        let env = self.env.iter().map(|(k, v)| [&k[..], b"=", &v[..], b"\0"]);
        put_strings(memory, environ, environ_buf, env)
    }

    pub fn environ_sizes_get(
        &mut self,
        memory: &mut [u8],
        environc: u32,
        environ_buf_size: u32,
    ) -> Result<(), Fail> {
        let size = self.env.iter().map(|(k, v)| k.len() + 1 + v.len() + 1).sum();
        put_sizes(memory, (environc, self.env.len()), (environ_buf_size, size))
    }

    pub fn proc_exit(&mut self, _memory: &mut [u8], code: u32) -> Result<(), Fail> {
        Err(match code {
            0..126 => Fail::Stop(Stop::Exit(code)),
            _ => mem::end(format!("exit status {code} is not below 126")),
        })
    }

    pub fn proc_raise(&mut self, _memory: &mut [u8], signal: u32) -> Result<(), Fail> {
        match signal {
            0..=LAST_SIGNAL => Err(Errno::Notsup.into()),
            _ => Err(no_such("signal", signal)()),
        }
    }

    pub fn sched_yield(&mut self, _memory: &mut [u8]) -> Result<(), Fail> {
        std::thread::yield_now();
        Ok(())
    }

    /// Fresh from the operating system, also after a resume: two copies of a program must not draw the same numbers.
    pub fn random_get(&mut self, memory: &mut [u8], buf: u32, buf_len: u32) -> Result<(), Fail> {
        if buf_len > 0 {
            let buf = mem::bytes_mut(memory, buf, buf_len)?;
            if self.tape.as_ref().is_some_and(|tape| tape.says_random(buf)) {
                return Ok(());
            }
            getrandom::fill(buf).map_err(|_| Errno::Io)?;
            if let Some(tape) = &self.tape {
                tape.drew(buf);
            }
        }
        Ok(())
    }

    pub fn sock_accept(
        &mut self,
        _memory: &mut [u8],
        fd: u32,
        flags: u32,
        _accepted: u32,
    ) -> Result<(), Fail> {
        known(flags, fdflags::ALL)?;
        self.no_socket(fd)
    }

    #[allow(clippy::too_many_arguments)]
    pub fn sock_recv(
        &mut self,
        _memory: &mut [u8],
        fd: u32,
        _ri_data: u32,
        _ri_data_len: u32,
        ri_flags: u32,
        _ro_datalen: u32,
        _ro_flags: u32,
    ) -> Result<(), Fail> {
        known(ri_flags, RIFLAGS)?;
        self.no_socket(fd)
    }

    pub fn sock_send(
        &mut self,
        _memory: &mut [u8],
        fd: u32,
        _si_data: u32,
        _si_data_len: u32,
        si_flags: u32,
        _so_datalen: u32,
    ) -> Result<(), Fail> {
        // None are defined, and none are refused that fit the type.
        known(si_flags, 0xffff)?;
        self.no_socket(fd)
    }

    pub fn sock_shutdown(&mut self, _memory: &mut [u8], fd: u32, how: u32) -> Result<(), Fail> {
        known(how, SDFLAGS)?;
        self.no_socket(fd)
    }

    fn no_socket(&self, fd: u32) -> Result<(), Fail> {
        self.fds.get(fd)?;
        Err(Errno::Notsock.into())
    }
}
