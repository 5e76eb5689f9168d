//! What WASI objects were, made again through WASI itself.
//!
//! ```text
//!   start            directories are those, in that order? else: says so, exit status 125
//!                    closes what the program had closed
//!                    opens files and directories, by ascending descriptor; what is free below is opened too, and closed in the end
//!                    cuts files back to their length, goes to the position
//!                    how much later is it than the clock showed?
//!   clock_time_get   the monotonic clock goes on where it stood
//!   poll_oneoff      so do deadlines on it; the wait that was interrupted is only for the rest
//!   args_get, ...    as they were
//! ```
//!
//! Calls want what they are given in the program's memory. A few hundred bytes of it serve for that, and then get what was there.

use super::asm::{Asm, Code};
use crate::{Error, Result};
use dormouse_state::State;
use dormouse_transform::{BlockType, Glue, Instruction as I, Program, ValType};
use dormouse_wasi::{DIRECTED_MODULE, MODULE, Opened, Outline};
use std::collections::BTreeSet;

/// The memory that calls use, as it is when the program goes on.
pub struct Memory<'m> {
    index: u32,
    bytes: u64,
    contents: &'m [(u64, Vec<u8>)],
}

impl<'m> Memory<'m> {
    pub fn of(p: &Program, memories: &'m [Vec<(u64, Vec<u8>)>], state: &State) -> Memory<'m> {
        let index = p.exported_memory("memory").unwrap_or(0);
        let place = state.memories.iter().position(|m| m.index == index);
        Memory {
            index,
            bytes: place.map_or(0, |place| state.memories[place].pages.saturating_mul(65536)),
            contents: place.map_or(&[], |place| &memories[place]),
        }
    }

    /// What is there now.
    fn read(&self, at: u64, length: usize) -> Vec<u8> {
        let byte = |at: u64| {
            let before = self.contents.partition_point(|(start, _)| *start <= at);
            let (start, bytes) = self.contents.get(before.checked_sub(1)?)?;
            bytes.get(usize::try_from(at - start).ok()?).copied()
        };
        (at..).take(length).map(|at| byte(at).unwrap_or(0)).collect()
    }

    fn u64(&self, at: u64) -> u64 {
        u64::from_le_bytes(self.read(at, 8).try_into().unwrap_or_default())
    }
}

fn unfit(what: impl Into<String>) -> Error {
    Error::Standalone { what: what.into() }
}

/// Records that calls use begin here.
const SCRATCH: i32 = 64;
/// A path, or a message, is at the scratch's beginning and this much.
const TEXT: u64 = 128;
/// The longest path.
const LONGEST: usize = 4096;

/// In the function that is called first: the scratch's address, and a descriptor.
const AT: u32 = 0;
const FD: u32 = 1;

pub fn glue(p: &Program, o: &Outline, memory: &Memory<'_>, state: &State) -> Result<Glue> {
    let mut asm = Asm::new(memory.index);
    let uses = |name: &str| p.imports().iter().any(|i| i.module == MODULE && i.name == name);
    let clock = (uses("clock_time_get") || uses("poll_oneoff")).then(|| asm.global());
    let pending = o.pending.map(|_| asm.global());

    let mut code = asm.code();
    let text = longest(o).max(512);
    let scratch = TEXT as usize + text;
    let needed = clock.is_some() || !o.preopens.is_empty() || !standard(o);
    if needed && (memory.bytes as usize) < SCRATCH as usize + scratch {
        return Err(unfit("its memory is too small for the calls that make open files again"));
    }
    if needed {
        code.all([I::I32Const(SCRATCH), I::LocalSet(AT)]);
        preopens(&mut asm, &mut code, o)?;
        files(&mut asm, &mut code, o)?;
        if let Some(clock) = clock {
            let time = asm.import("clock_time_get");
            let arg = code.at(0);
            code.i(I::I32Const(1)).i(I::I64Const(1)).i(I::LocalGet(AT)).call(time).i(I::Drop);
            code.i(I::I64Const(o.monotonic_ns as i64));
            code.i(I::LocalGet(AT)).i(I::I64Load(arg)).i(I::I64Sub).set(clock);
        }
        code.poke(AT, 0, &memory.read(SCRATCH as u64, scratch));
    }
    if let Some(pending) = pending {
        code.i(I::I64Const(1)).set(pending);
    }
    asm.start(vec![ValType::I32; 2], code);

    if let Some(clock) = clock.filter(|_| uses("clock_time_get")) {
        clock_time_get(&mut asm, clock);
    }
    if let Some(clock) = clock.filter(|_| uses("poll_oneoff")) {
        poll_oneoff(&mut asm, clock, pending, o, memory);
    }
    if uses("args_get") || uses("args_sizes_get") {
        strings(&mut asm, ["args_sizes_get", "args_get"], &o.args);
    }
    if uses("environ_get") || uses("environ_sizes_get") {
        let pair = |(k, v): &(Vec<u8>, Vec<u8>)| [k, &b"="[..], v].concat();
        let env: Vec<Vec<u8>> = o.env.iter().map(pair).collect();
        strings(&mut asm, ["environ_sizes_get", "environ_get"], &env);
    }
    directed(&mut asm, p, o, state);
    Ok(asm.glue)
}

/// Whether nothing is open but standard streams, each where it was at the beginning.
fn standard(o: &Outline) -> bool {
    o.fds.len() == 3 && o.fds.iter().all(|(fd, what)| *what == Opened::Stdio(*fd as usize))
}

fn longest(o: &Outline) -> usize {
    let paths = o.fds.iter().map(|(_, what)| match what {
        Opened::File { path, .. } | Opened::Directory { path, .. } => path.len(),
        _ => 0,
    });
    paths.chain(o.preopens.iter().map(String::len)).max().unwrap_or(0)
}

/// Says something to standard error and ends the program.
fn fail(asm: &mut Asm, code: &mut Code, message: &str) {
    let (write, exit) = (asm.import("fd_write"), asm.import("proc_exit"));
    let message = format!("dormouse: {message:.380}\n");
    code.poke(AT, TEXT, message.as_bytes());
    let [buffer, length, written] = [code.at(0), code.at(4), code.at(8)];
    code.all([I::LocalGet(AT), I::LocalGet(AT), I::I32Const(TEXT as i32), I::I32Add]);
    code.i(I::I32Store(buffer));
    code.all([I::LocalGet(AT), I::I32Const(message.len() as i32), I::I32Store(length)]);
    code.all([I::I32Const(2), I::LocalGet(AT), I::I32Const(1)]);
    code.all([I::LocalGet(AT), I::I32Const(written.offset as i32), I::I32Add]);
    code.call(write).i(I::Drop);
    code.i(I::I32Const(125)).call(exit).i(I::Unreachable);
}

/// The directories are there, in their order.
fn preopens(asm: &mut Asm, code: &mut Code, o: &Outline) -> Result<()> {
    if o.preopens.is_empty() {
        return Ok(());
    }
    let (get, name) = (asm.import("fd_prestat_get"), asm.import("fd_prestat_dir_name"));
    let list: Vec<String> = o.preopens.iter().map(|p| format!("`{p}`")).collect();
    let message = format!(
        "this program goes on with {} director{} given to it, in this order: {}",
        list.len(),
        if list.len() == 1 { "y" } else { "ies" },
        list.join(", ")
    );
    code.i(I::Block(BlockType::Empty)).i(I::Block(BlockType::Empty));
    for (fd, guest) in (3..).zip(&o.preopens) {
        if guest.len() > LONGEST {
            return Err(unfit("the name of a directory is too long"));
        }
        let length = code.at(4);
        code.all([I::I32Const(fd), I::LocalGet(AT)]).call(get).i(I::BrIf(0));
        code.all([I::LocalGet(AT), I::I32Load(length), I::I32Const(guest.len() as i32)]);
        code.all([I::I32Ne, I::BrIf(0)]);
        code.i(I::I32Const(fd));
        code.all([I::LocalGet(AT), I::I32Const(TEXT as i32), I::I32Add]);
        code.i(I::I32Const(guest.len() as i32)).call(name).i(I::BrIf(0));
        for (n, byte) in guest.bytes().enumerate() {
            let at = code.at(TEXT + n as u64);
            code.all([I::LocalGet(AT), I::I32Load8U(at), I::I32Const(byte.into())]);
            code.all([I::I32Ne, I::BrIf(0)]);
        }
    }
    code.i(I::Br(1)).i(I::End);
    fail(asm, code, &message);
    code.i(I::End);
    Ok(())
}

/// Descriptors as they were.
fn files(asm: &mut Asm, code: &mut Code, o: &Outline) -> Result<()> {
    let given = 3 + o.preopens.len() as u32;
    let mut there: BTreeSet<u32> = (0..given).collect();
    let mut open = vec![];
    for (fd, what) in &o.fds {
        let stays = match what {
            Opened::Stdio(which) => *which as u32 == *fd,
            Opened::Preopen(place) => 3 + *place as u32 == *fd,
            _ => {
                open.push((*fd, what));
                continue;
            }
        };
        if !stays {
            return Err(unfit(format!(
                "the program has renumbered a standard stream or a given directory (descriptor {fd})"
            )));
        }
        there.remove(fd);
    }
    let close = asm.import("fd_close");
    // Those that are needed to open others are closed after that, unless their number is taken.
    if let Some((fd, _)) = open.iter().find(|(fd, _)| *fd < given) {
        return Err(unfit(format!(
            "the program closed a descriptor it was given and opened another file in its place ({fd})"
        )));
    }
    let most = open.last().map_or(0, |(fd, _)| *fd);
    for (fd, what) in &open {
        reopen(asm, code, o, *fd, what)?;
    }
    // What is cut may be open for reading, too.
    for wanted in [true, false] {
        for (fd, what) in &open {
            if let Opened::File { writable, preopen, path, size: Some(size), .. } = what
                && *writable == wanted
            {
                length(asm, code, *fd, *size, *writable, &shown(o, *preopen, path));
            }
        }
    }
    for (fd, what) in &open {
        if let Opened::File { offset, size: Some(_), .. } = what {
            let seek = asm.import("fd_seek");
            code.all([I::I32Const(*fd as i32), I::I64Const(*offset as i64), I::I32Const(0)]);
            code.i(I::LocalGet(AT)).call(seek).i(I::Drop);
        }
    }
    let taken: BTreeSet<u32> = open.iter().map(|(fd, _)| *fd).collect();
    let free = (given..most).filter(|fd| !taken.contains(fd));
    for fd in there.into_iter().chain(free) {
        code.i(I::I32Const(fd as i32)).call(close).i(I::Drop);
    }
    Ok(())
}

/// Opens one file again under its number, where it was.
fn reopen(asm: &mut Asm, code: &mut Code, o: &Outline, fd: u32, what: &Opened) -> Result<()> {
    let (path_open, renumber) = (asm.import("path_open"), asm.import("fd_renumber"));
    let (preopen, path, oflags, flags, rights) = match what {
        Opened::Directory { preopen, path } => (preopen, path, 2, 0, DIRECTORY),
        Opened::File { preopen, path, readable, writable, append, nonblock, .. } => {
            let flags = i32::from(*append) | i32::from(*nonblock) << 2;
            let read = if *readable { READ } else { 0 };
            let write = if *writable { WRITE } else { 0 };
            (preopen, path, 0, flags, FILE | read | write)
        }
        _ => return Ok(()),
    };
    let shown = shown(o, *preopen, path);
    if path.len() > LONGEST {
        return Err(unfit(format!("the path {shown:.80} is too long")));
    }
    let path = if path.is_empty() { "." } else { path };
    code.i(I::Block(BlockType::Empty)).i(I::Block(BlockType::Empty));
    code.i(I::Loop(BlockType::Empty));
    let answer = code.at(0);
    code.poke(AT, TEXT, path.as_bytes());
    code.all([I::I32Const(3 + *preopen as i32), I::I32Const(0)]);
    code.all([I::LocalGet(AT), I::I32Const(TEXT as i32), I::I32Add]);
    code.all([I::I32Const(path.len() as i32), I::I32Const(oflags)]);
    let inherited = if oflags == 2 { DIRECTORY | FILE | READ | WRITE } else { 0 };
    code.all([I::I64Const(rights), I::I64Const(inherited), I::I32Const(flags), I::LocalGet(AT)]);
    code.call(path_open).i(I::BrIf(1));
    code.all([I::LocalGet(AT), I::I32Load(answer), I::LocalTee(FD)]);
    code.all([I::I32Const(fd as i32), I::I32Eq, I::BrIf(2)]);
    // A smaller number: it is closed in the end, and until then leaves the next one.
    code.all([I::LocalGet(FD), I::I32Const(fd as i32), I::I32LtU, I::BrIf(0)]);
    code.all([I::LocalGet(FD), I::I32Const(fd as i32)]).call(renumber).i(I::I32Eqz);
    code.i(I::BrIf(2)).i(I::End).i(I::End);
    fail(asm, code, &format!("{shown:.200} is open in this program, and cannot be opened here"));
    code.i(I::End);
    Ok(())
}

/// A path as the program knows it.
fn shown(o: &Outline, preopen: usize, path: &str) -> String {
    let guest = o.preopens.get(preopen).map_or("", String::as_str);
    format!("{}/{path}", guest.trim_end_matches('/'))
}

/// What was written after the checkpoint is cut off; a file that is shorter than it was is another.
fn length(asm: &mut Asm, code: &mut Code, fd: u32, size: u64, writable: bool, shown: &str) {
    let (stat, cut) = (asm.import("fd_filestat_get"), asm.import("fd_filestat_set_size"));
    let found = code.at(32);
    code.i(I::Block(BlockType::Empty)).i(I::Block(BlockType::Empty));
    code.all([I::I32Const(fd as i32), I::LocalGet(AT)]).call(stat).i(I::BrIf(0));
    code.all([I::LocalGet(AT), I::I64Load(found), I::I64Const(size as i64)]);
    code.all([I::I64Eq, I::BrIf(1)]);
    if writable {
        code.all([I::LocalGet(AT), I::I64Load(found), I::I64Const(size as i64)]);
        code.all([I::I64LtU, I::BrIf(0)]);
        code.all([I::I32Const(fd as i32), I::I64Const(size as i64)]).call(cut);
        code.all([I::I32Eqz, I::BrIf(1)]);
    }
    code.i(I::End);
    fail(asm, code, &format!("{shown:.200} is not as it was: it had {size} bytes"));
    code.i(I::End);
}

/// Rights of preview 1: of a file however it is open, for reading, for writing, and of a directory.
const FILE: i64 = 1 << 2 | 1 << 3 | 1 << 5 | 1 << 7 | 1 << 21 | 1 << 27;
const READ: i64 = 1 << 1;
const WRITE: i64 = 1 | 1 << 4 | 1 << 6 | 1 << 8 | 1 << 22 | 1 << 23;
const DIRECTORY: i64 = 0x0fbffe98;

/// The monotonic clock goes on where it stood.
fn clock_time_get(asm: &mut Asm, clock: usize) {
    let import = asm.import("clock_time_get");
    let mut code = asm.code();
    let (time, answer) = (code.at(0), 3);
    code.all([I::LocalGet(0), I::LocalGet(1), I::LocalGet(2)]).call(import);
    code.all([I::LocalTee(answer), I::I32Eqz, I::LocalGet(0), I::I32Const(1), I::I32Eq, I::I32And]);
    code.all([I::If(BlockType::Empty), I::LocalGet(2), I::LocalGet(2), I::I64Load(time)]);
    code.get(clock).all([I::I64Add, I::I64Store(time), I::End, I::LocalGet(answer)]);
    asm.instead(MODULE, "clock_time_get", vec![ValType::I32], code);
}

/// Deadlines on the monotonic clock are meant as the program sees it. They are changed for the call, and back.
fn poll_oneoff(
    asm: &mut Asm,
    clock: usize,
    pending: Option<usize>,
    o: &Outline,
    memory: &Memory<'_>,
) {
    let import = asm.import("poll_oneoff");
    let mut code = asm.code();
    // Parameters: subscriptions, events, number, and where to write how many.
    let (subscription, left, answer) = (4, 5, 6);
    let shift = |code: &mut Code, by: I<'static>| {
        let [tag, id, flags] = [8, 16, 40].map(|at| code.at(at));
        let timeout = code.at(24);
        code.all([I::LocalGet(0), I::LocalSet(subscription), I::LocalGet(2), I::LocalSet(left)]);
        code.all([I::Block(BlockType::Empty), I::Loop(BlockType::Empty)]);
        code.all([I::LocalGet(left), I::I32Eqz, I::BrIf(1)]);
        code.all([I::LocalGet(subscription), I::I32Load8U(tag), I::I32Eqz]);
        code.all([I::LocalGet(subscription), I::I32Load(id), I::I32Const(1), I::I32Eq, I::I32And]);
        code.all([I::LocalGet(subscription), I::I32Load16U(flags), I::I32Const(1), I::I32And]);
        code.all([I::I32And, I::If(BlockType::Empty)]);
        code.all([I::LocalGet(subscription), I::LocalGet(subscription), I::I64Load(timeout)]);
        code.get(clock).all([by, I::I64Store(timeout), I::End]);
        code.all([
            I::LocalGet(subscription),
            I::I32Const(48),
            I::I32Add,
            I::LocalSet(subscription),
        ]);
        code.all([I::LocalGet(left), I::I32Const(1), I::I32Sub, I::LocalSet(left), I::Br(0)]);
        code.all([I::End, I::End]);
    };
    // Of the call that was interrupted, relative timeouts are those that are left; each as it was, and as it is to be.
    let rests: Vec<(u64, u64, u64)> = o
        .pending
        .iter()
        .flat_map(|(begin, [subscriptions, _, n, _])| {
            let waited = o.monotonic_ns.saturating_sub(*begin);
            (0..u64::from(*n).min(1024)).filter_map(move |nth| {
                let at = u64::from(*subscriptions) + 48 * nth;
                let is_clock = memory.read(at + 8, 1) == [0];
                let is_relative = memory.read(at + 40, 1)[0] & 1 == 0;
                let timeout = memory.u64(at + 24);
                (is_clock && is_relative)
                    .then(|| (at + 24, timeout, timeout.saturating_sub(waited)))
            })
        })
        .collect();
    let put = |code: &mut Code, pending: usize, left: bool| {
        let arg = code.at(0);
        code.get(pending).all([I::I64Eqz, I::I32Eqz, I::If(BlockType::Empty)]);
        for &(at, was, rest) in &rests {
            let value = if left { rest } else { was };
            code.all([I::I32Const(at as i32), I::I64Const(value as i64), I::I64Store(arg)]);
        }
        if !left {
            code.i(I::I64Const(0)).set(pending);
        }
        code.i(I::End);
    };
    if let Some(pending) = pending {
        put(&mut code, pending, true);
    }
    shift(&mut code, I::I64Sub);
    code.all([I::LocalGet(0), I::LocalGet(1), I::LocalGet(2), I::LocalGet(3)]).call(import);
    code.i(I::LocalSet(answer));
    shift(&mut code, I::I64Add);
    if let Some(pending) = pending {
        put(&mut code, pending, false);
    }
    code.i(I::LocalGet(answer));
    asm.instead(MODULE, "poll_oneoff", vec![ValType::I32; 3], code);
}

/// Arguments or the environment: how many and how long, and the strings themselves.
fn strings(asm: &mut Asm, [sizes, get]: [&str; 2], strings: &[Vec<u8>]) {
    let all: Vec<u8> = strings.iter().flat_map(|s| [s, &b"\0"[..]].concat()).collect();
    let mut code = asm.code();
    let arg = code.at(0);
    code.all([I::LocalGet(0), I::I32Const(strings.len() as i32), I::I32Store(arg)]);
    code.all([I::LocalGet(1), I::I32Const(all.len() as i32), I::I32Store(arg), I::I32Const(0)]);
    asm.instead(MODULE, sizes, vec![], code);

    let mut code = asm.code();
    let mut offset = 0;
    for (n, s) in (0..).zip(strings) {
        let arg = code.at(4 * n);
        code.all([I::LocalGet(0), I::LocalGet(1), I::I32Const(offset), I::I32Add]);
        code.i(I::I32Store(arg));
        offset += s.len() as i32 + 1;
    }
    code.poke(1, 0, &all).i(I::I32Const(0));
    asm.instead(MODULE, get, vec![], code);
}

/// The calls of the module `dormouse`, which nobody provides elsewhere.
fn directed(asm: &mut Asm, p: &Program, o: &Outline, state: &State) {
    for import in p.imports().iter().filter(|i| i.module == DIRECTED_MODULE) {
        let mut code = asm.code();
        match import.name.as_str() {
            "restored_count" => {
                code.i(I::I32Const(o.restored.saturating_add(1) as i32));
            }
            // The one in which it was taken tells that the program was resumed.
            "checkpoint" if stands_in(p, state, &import.name) => {
                let first = asm.global();
                code.get(first).i(I::I64Eqz).i(I::I64Const(1)).set(first);
            }
            _ => {
                code.i(I::I32Const(0));
            }
        }
        asm.instead(DIRECTED_MODULE, &import.name, vec![], code);
    }
}

/// Whether the program stands in a call of this name.
fn stands_in(p: &Program, state: &State, name: &str) -> bool {
    let innermost = state.frames.last().map(|f| f.site.func as usize);
    let import = innermost.and_then(|f| p.imports().get(f));
    import.is_some_and(|i| i.module == DIRECTED_MODULE && i.name == name)
}
