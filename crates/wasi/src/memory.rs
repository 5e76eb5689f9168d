//! Reading and writing the guest's memory. Every access is checked. One that is out of bounds, or not aligned as its type
//! asks, ends the program, as it does under stock wasmtime; so does an argument that is no value of its type. Nothing is
//! asked of an address that is not used.

use crate::errors::Fail;
use crate::types::{Errno, Stop, size};
use std::hint::black_box;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

/// No larger than any host's pages.
const PAGE: usize = 4096;

static TOUCH: AtomicBool = AtomicBool::new(false);

/// From now on, buffers of programs are touched, page by page, before they are given to the system. To be called in a process
/// whose programs have memory that is made writable, or filled, when it is touched: system calls do not touch it in that way.
pub fn touch_buffers() {
    TOUCH.store(true, Ordering::Relaxed);
}

/// How many bytes of vectors and of text one call may make the host copy or walk through; more is `nomem`. It is stock
/// wasmtime's number. What lies in a buffer is not copied, and not limited.
const AT_ONCE: u32 = 128 << 20;

/// Ends the program with this cause.
pub(crate) fn end(why: impl Into<String>) -> Fail {
    Fail::Stop(Stop::Trap(why.into()))
}

fn outside(mem: &[u8], ptr: u32, len: u32) -> Fail {
    end(format!(
        "{len} bytes at address {ptr} are outside of the memory, which ends at {}",
        mem.len()
    ))
}

fn range(mem: &[u8], ptr: u32, len: u32) -> Result<Range<usize>, Fail> {
    let start = ptr as usize;
    match start.checked_add(len as usize) {
        Some(end) if end <= mem.len() => Ok(start..end),
        _ => Err(outside(mem, ptr, len)),
    }
}

/// Address `at` bytes after `ptr`.
pub(crate) fn offset(ptr: u32, at: u32) -> Result<u32, Fail> {
    ptr.checked_add(at)
        .ok_or_else(|| end(format!("{at} bytes after address {ptr} there is no address")))
}

/// Address of element `index` of an array.
pub(crate) fn element(ptr: u32, index: u32, size: u32) -> Result<u32, Fail> {
    offset(ptr, index.saturating_mul(size))
}

/// Refuses an array that is longer than one call may make the host walk through.
pub(crate) fn count(count: u32, size: u32) -> Result<(), Errno> {
    match count.checked_mul(size) {
        Some(len) if len <= AT_ONCE => Ok(()),
        _ => Err(Errno::Nomem),
    }
}

pub(crate) fn bytes(mem: &[u8], ptr: u32, len: u32) -> Result<&[u8], Fail> {
    let bytes = &mem[range(mem, ptr, len)?];
    if TOUCH.load(Ordering::Relaxed) {
        bytes.chunks(PAGE).chain(bytes.last_chunk::<1>().map(|last| &last[..])).for_each(|page| {
            black_box(page[0]);
        });
    }
    Ok(bytes)
}

pub(crate) fn bytes_mut(mem: &mut [u8], ptr: u32, len: u32) -> Result<&mut [u8], Fail> {
    let range = range(mem, ptr, len)?;
    Ok(touched(&mut mem[range]))
}

/// Writes what is there already: one byte of each page.
fn touched(bytes: &mut [u8]) -> &mut [u8] {
    if TOUCH.load(Ordering::Relaxed) {
        bytes.chunks_mut(PAGE).for_each(|page| page[0] = black_box(page[0]));
        if let Some(last) = bytes.last_mut() {
            *last = black_box(*last);
        }
    }
    bytes
}

/// The bytes, unless they do not all lie in memory.
pub(crate) fn bytes_if_there(mem: &mut [u8], ptr: u32, len: u32) -> Option<&mut [u8]> {
    let range = range(mem, ptr, len).ok()?;
    Some(touched(&mut mem[range]))
}

/// The bytes of a value whose size is its alignment.
fn value<const N: usize>(mem: &[u8], ptr: u32) -> Result<[u8; N], Fail> {
    let mut raw = [0; N];
    raw.copy_from_slice(bytes(mem, ptr, N as u32)?);
    aligned(ptr, N as u32)?;
    Ok(raw)
}

fn aligned(ptr: u32, align: u32) -> Result<(), Fail> {
    match ptr % align {
        0 => Ok(()),
        _ => Err(end(format!("address {ptr} is not a multiple of {align}"))),
    }
}

pub(crate) fn get_u8(mem: &[u8], ptr: u32) -> Result<u8, Fail> {
    Ok(value::<1>(mem, ptr)?[0])
}

pub(crate) fn get_u16(mem: &[u8], ptr: u32) -> Result<u16, Fail> {
    value(mem, ptr).map(u16::from_le_bytes)
}

pub(crate) fn get_u32(mem: &[u8], ptr: u32) -> Result<u32, Fail> {
    value(mem, ptr).map(u32::from_le_bytes)
}

pub(crate) fn get_u64(mem: &[u8], ptr: u32) -> Result<u64, Fail> {
    value(mem, ptr).map(u64::from_le_bytes)
}

/// Writes bytes; none can be written anywhere.
pub(crate) fn put(mem: &mut [u8], ptr: u32, value: &[u8]) -> Result<(), Fail> {
    if !value.is_empty() {
        let len = u32::try_from(value.len()).map_err(|_| Errno::Overflow)?;
        bytes_mut(mem, ptr, len)?.copy_from_slice(value);
    }
    Ok(())
}

/// Writes a record whose largest field is aligned to `align`. What lies between its fields is left as it is.
pub(crate) fn put_record(
    mem: &mut [u8],
    ptr: u32,
    value: &[u8],
    align: u32,
    fields: &[Range<usize>],
) -> Result<(), Fail> {
    let len = u32::try_from(value.len()).map_err(|_| Errno::Overflow)?;
    let to = bytes_mut(mem, ptr, len)?;
    for field in fields {
        to[field.clone()].copy_from_slice(&value[field.clone()]);
    }
    aligned(ptr, align)
}

pub(crate) fn put_u32(mem: &mut [u8], ptr: u32, value: u32) -> Result<(), Fail> {
    put(mem, ptr, &value.to_le_bytes())?;
    aligned(ptr, 4)
}

pub(crate) fn put_u64(mem: &mut [u8], ptr: u32, value: u64) -> Result<(), Fail> {
    put(mem, ptr, &value.to_le_bytes())?;
    aligned(ptr, 8)
}

/// A path. Paths are UTF-8 in preview 1; others are `ilseq`.
pub(crate) fn path(mem: &[u8], ptr: u32, len: u32) -> Result<&str, Fail> {
    count(len, 1)?;
    text(mem, ptr, len)
}

/// The same, however long it is said to be.
pub(crate) fn text(mem: &[u8], ptr: u32, len: u32) -> Result<&str, Fail> {
    Ok(std::str::from_utf8(bytes(mem, ptr, len)?).map_err(|_| Errno::Ilseq)?)
}

/// The first buffer of a vector that is not empty, as (address, length). Whether it lies in memory is not known yet.
///
/// Stock wasmtime reads and writes only this one and leaves the rest to the next call. A program that prints how much
/// was transferred must see the same numbers here.
pub(crate) fn first_buffer(mem: &[u8], iovs: u32, iovs_len: u32) -> Result<(u32, u32), Fail> {
    count(iovs_len, size::IOVEC)?;
    for i in 0..iovs_len {
        let at = element(iovs, i, size::IOVEC)?;
        let ptr = get_u32(mem, at)?;
        let len = get_u32(mem, offset(at, 4)?)?;
        if len != 0 {
            // One that lies in memory may be as long as it likes.
            if range(mem, ptr, len).is_err() {
                count(len, 1)?;
            }
            return Ok((ptr, len));
        }
    }
    Ok((0, 0))
}
