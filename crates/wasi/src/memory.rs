//! Reading and writing the guest's memory. Every access is checked; one that is out of bounds is `fault` (stock
//! wasmtime ends the program there instead; no program that works can tell). Alignment is not asked for.

use crate::types::{Errno, size};

fn range(mem: &[u8], ptr: u32, len: u32) -> Result<std::ops::Range<usize>, Errno> {
    let start = usize::try_from(ptr).map_err(|_| Errno::Fault)?;
    let len = usize::try_from(len).map_err(|_| Errno::Fault)?;
    let end = start.checked_add(len).ok_or(Errno::Fault)?;
    if end <= mem.len() { Ok(start..end) } else { Err(Errno::Fault) }
}

/// Address `at` bytes after `ptr`.
pub(crate) fn offset(ptr: u32, at: u32) -> Result<u32, Errno> {
    ptr.checked_add(at).ok_or(Errno::Fault)
}

/// Address of element `index` of an array.
pub(crate) fn element(ptr: u32, index: u32, size: u32) -> Result<u32, Errno> {
    offset(ptr, index.checked_mul(size).ok_or(Errno::Fault)?)
}

/// Checks a place for a result before anything happens that could not be taken back.
pub(crate) fn check(mem: &[u8], ptr: u32, len: u32) -> Result<(), Errno> {
    range(mem, ptr, len).map(drop)
}

pub(crate) fn bytes(mem: &[u8], ptr: u32, len: u32) -> Result<&[u8], Errno> {
    Ok(&mem[range(mem, ptr, len)?])
}

pub(crate) fn bytes_mut(mem: &mut [u8], ptr: u32, len: u32) -> Result<&mut [u8], Errno> {
    let range = range(mem, ptr, len)?;
    Ok(&mut mem[range])
}

fn array<const N: usize>(mem: &[u8], ptr: u32) -> Result<[u8; N], Errno> {
    let slice = bytes(mem, ptr, N as u32)?;
    slice.try_into().map_err(|_| Errno::Fault)
}

pub(crate) fn get_u8(mem: &[u8], ptr: u32) -> Result<u8, Errno> {
    Ok(array::<1>(mem, ptr)?[0])
}

pub(crate) fn get_u16(mem: &[u8], ptr: u32) -> Result<u16, Errno> {
    array(mem, ptr).map(u16::from_le_bytes)
}

pub(crate) fn get_u32(mem: &[u8], ptr: u32) -> Result<u32, Errno> {
    array(mem, ptr).map(u32::from_le_bytes)
}

pub(crate) fn get_u64(mem: &[u8], ptr: u32) -> Result<u64, Errno> {
    array(mem, ptr).map(u64::from_le_bytes)
}

pub(crate) fn put(mem: &mut [u8], ptr: u32, value: &[u8]) -> Result<(), Errno> {
    let len = u32::try_from(value.len()).map_err(|_| Errno::Overflow)?;
    bytes_mut(mem, ptr, len)?.copy_from_slice(value);
    Ok(())
}

pub(crate) fn put_u32(mem: &mut [u8], ptr: u32, value: u32) -> Result<(), Errno> {
    put(mem, ptr, &value.to_le_bytes())
}

pub(crate) fn put_u64(mem: &mut [u8], ptr: u32, value: u64) -> Result<(), Errno> {
    put(mem, ptr, &value.to_le_bytes())
}

/// A path, copied out of the guest's memory. Paths are UTF-8 in preview 1; others are `ilseq`.
pub(crate) fn path(mem: &[u8], ptr: u32, len: u32) -> Result<String, Errno> {
    // No operating system takes a path this long, so there is no need to copy it to find out.
    const LONGEST: u32 = 1 << 16;
    let raw = bytes(mem, ptr, len)?;
    let text = std::str::from_utf8(raw).map_err(|_| Errno::Ilseq)?;
    if len > LONGEST { Err(Errno::Nametoolong) } else { Ok(text.to_owned()) }
}

/// The first buffer of a vector that is not empty, as (address, length).
///
/// Stock wasmtime reads and writes only this one and leaves the rest to the next call. A program that prints how much
/// was transferred must see the same numbers here.
pub(crate) fn first_buffer(mem: &[u8], iovs: u32, count: u32) -> Result<(u32, u32), Errno> {
    check(mem, iovs, count.checked_mul(size::IOVEC).ok_or(Errno::Fault)?)?;
    for i in 0..count {
        let at = element(iovs, i, size::IOVEC)?;
        let ptr = get_u32(mem, at)?;
        let len = get_u32(mem, offset(at, 4)?)?;
        if len != 0 {
            check(mem, ptr, len)?;
            return Ok((ptr, len));
        }
    }
    Ok((0, 0))
}
