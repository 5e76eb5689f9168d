//! The memory layer format: round trips, arbitrary and flipped bytes, fixtures, speed.

use dormouse_store::{
    LayerError, MemoryLayer, Overlay, PAGE_SIZE, WASM_PAGE_SIZE, write_memory_layer,
};
use proptest::prelude::*;
use std::path::PathBuf;

fn layer(index: u32, memory: &[u8]) -> Vec<u8> {
    let mut layer = vec![];
    write_memory_layer(index, memory, &mut layer).unwrap();
    layer
}

/// Reads a layer, whatever it is, without allocating what it only claims to need.
fn read(bytes: &[u8]) -> Result<Vec<u8>, LayerError> {
    let layer = MemoryLayer::open(bytes)?;
    let mut memory = vec![0; (layer.wasm_pages().min(64) as usize) * WASM_PAGE_SIZE];
    Overlay::new(vec![layer])?.read_into(&mut memory).map_err(|bad| bad.error)?;
    Ok(memory)
}

fn example() -> Vec<u8> {
    let mut memory = vec![0; 2 * WASM_PAGE_SIZE];
    memory[PAGE_SIZE..2 * PAGE_SIZE].fill(0x11);
    memory[2 * PAGE_SIZE] = 0x22;
    memory[20 * PAGE_SIZE + 4095] = 0x33;
    memory
}

fn noise(len: usize, mut x: u64) -> Vec<u8> {
    (0..len)
        .map(|_| {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (x >> 56) as u8
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn round_trip(
        pages in 0usize..40,
        writes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..300),
    ) {
        let mut memory = vec![0; pages * WASM_PAGE_SIZE];
        for (at, byte) in writes.iter().filter(|_| pages > 0) {
            let at = at.index(memory.len());
            memory[at] = *byte;
        }
        let bytes = layer(3, &memory);
        prop_assert_eq!(MemoryLayer::open(&bytes[..]).unwrap().memory_index(), 3);
        prop_assert!(read(&bytes).unwrap() == memory);
    }

    #[test]
    fn arbitrary_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(&bytes);
        let mut whole = layer(0, &example());
        let at = bytes.len() % whole.len();
        let end = (at + bytes.len()).min(whole.len());
        whole[at..end].copy_from_slice(&bytes[..end - at]);
        let _ = read(&whole);
    }
}

#[test]
fn edges() {
    for memory in [
        vec![],
        vec![0; WASM_PAGE_SIZE],
        vec![1; WASM_PAGE_SIZE],
        noise(17 * WASM_PAGE_SIZE, 1), // more than one frame, and not to be compressed
        noise(16 * WASM_PAGE_SIZE, 2), // exactly one frame
    ] {
        assert!(read(&layer(0, &memory)).unwrap() == memory);
    }
    assert_eq!(layer(0, &[]).len(), 48);
    assert_eq!(layer(0, &vec![0; 100 * WASM_PAGE_SIZE]).len(), 48, "zero pages are not stored");
    write_memory_layer(0, &[0; 100], std::io::sink()).unwrap_err();
}

#[test]
fn every_flipped_bit_and_every_truncation_is_noticed() {
    let memory = example();
    let bytes = layer(0, &memory);
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        if let Ok(read) = read(&flipped) {
            // A bit that zstd does not look at: then the pages are the right ones.
            assert!(read == memory, "bit {bit}");
        }
    }
    for len in 0..bytes.len() {
        read(&bytes[..len]).unwrap_err();
    }
    read(&[&bytes[..], b"x"].concat()).unwrap_err();
}

/// A layer put together by hand, with an index that has a good checksum.
fn forged(pages: u64, frames: &[u8], index: &[u8], frame_count: u32) -> Vec<u8> {
    let mut header = b"DMPAGES\0\x01\0\0\0\0\0\0\0".to_vec();
    header.extend_from_slice(&pages.to_le_bytes());
    let mut trailer = (24 + frames.len() as u64).to_le_bytes().to_vec();
    trailer.extend_from_slice(&frame_count.to_le_bytes());
    let checksum = crc32c::crc32c(&[&header[..], index, &trailer].concat());
    trailer.extend_from_slice(&checksum.to_le_bytes());
    trailer.extend_from_slice(b"DMINDEX\0");
    [&header[..], frames, index, &trailer].concat()
}

fn entry(length: u32, data: &[u8], runs: &[(u64, u32)]) -> Vec<u8> {
    let mut entry = length.to_le_bytes().to_vec();
    entry.extend_from_slice(&crc32c::crc32c(data).to_le_bytes());
    entry.extend_from_slice(&(runs.len() as u32).to_le_bytes());
    for (first, count) in runs {
        entry.extend_from_slice(&first.to_le_bytes());
        entry.extend_from_slice(&count.to_le_bytes());
    }
    entry
}

#[test]
fn forgeries() {
    let data = vec![7; PAGE_SIZE];
    let frame = zstd::bulk::compress(&data, 1).unwrap();
    let len = frame.len() as u32;
    let good = forged(1, &frame, &entry(len, &data, &[(15, 1)]), 1);
    assert_eq!(read(&good).unwrap()[15 * PAGE_SIZE..], data);

    let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 1).unwrap();
    // Two pages, so that only their numbers are wrong.
    let two = vec![7; 2 * PAGE_SIZE];
    let frame2 = zstd::bulk::compress(&two, 1).unwrap();
    let pair = |runs: &[(u64, u32)]| {
        let entry = entry(frame2.len() as u32, &two, runs);
        forged(1, &frame2, &entry, 1)
    };
    read(&pair(&[(2, 1), (3, 1)])).unwrap();
    let twice_over = |page: u64| {
        let index = [entry(len, &data, &[(5, 1)]), entry(len, &data, &[(page, 1)])].concat();
        forged(1, &[&frame[..], &frame].concat(), &index, 2)
    };
    read(&twice_over(6)).unwrap();
    let cases = [
        ("out of range", forged(1, &frame, &entry(len, &data, &[(16, 1)]), 1)),
        ("out of range", forged(1, &frame, &entry(len, &data, &[(u64::MAX, 1)]), 1)),
        ("empty run", forged(1, &frame, &entry(len, &data, &[(0, 1), (3, 0)]), 1)),
        ("no runs", forged(1, &frame, &entry(len, &data, &[]), 1)),
        (
            "bytes after the frames",
            forged(1, &[&frame[..], b"xx"].concat(), &entry(len, &data, &[(0, 1)]), 1),
        ),
        ("descending", pair(&[(3, 1), (2, 1)])),
        ("descending frames", twice_over(4)),
        ("the same page in two frames", twice_over(5)),
        ("past the end", pair(&[(15, 2)])),
        ("twice", pair(&[(3, 1), (3, 1)])),
        ("overlap", forged(1, &frame, &entry(len, &data, &[(3, 2), (4, 1)]), 1)),
        ("too many pages", forged(64, &frame, &entry(len, &data, &[(0, 257)]), 1)),
        ("too many pages", forged(64, &frame, &entry(len, &data, &[(0, 1), (1, u32::MAX)]), 1)),
        ("more than the frame holds", forged(1, &frame, &entry(len, &data, &[(0, 2)]), 1)),
        ("frame too long", forged(1, &frame, &entry(len + 1, &data, &[(0, 1)]), 1)),
        ("bytes between", forged(1, &frame, &entry(len - 1, &data, &[(0, 1)]), 1)),
        ("frame count", forged(1, &frame, &entry(len, &data, &[(0, 1)]), u32::MAX)),
        ("frame count", forged(1, &frame, &entry(len, &data, &[(0, 1)]), 0)),
        ("bomb", forged(1, &bomb, &entry(bomb.len() as u32, &data, &[(0, 1)]), 1)),
        ("huge", forged(u64::MAX, &[], &[], 0)),
        ("not zstd", forged(1, b"hello", &entry(5, &data, &[(0, 1)]), 1)),
    ];
    for (what, bytes) in cases {
        assert!(read(&bytes).is_err(), "{what}");
    }
    // A memory of the largest size is no problem until someone wants all of it.
    let largest = forged(1 << 48, &[], &[], 0);
    assert_eq!(MemoryLayer::open(&largest[..]).unwrap().wasm_pages(), 1 << 48);
    assert!(matches!(read(&largest), Err(LayerError::BufferLength { .. })));
}

#[test]
fn later_versions_and_kinds_are_named() {
    let mut bytes = layer(0, &example());
    bytes[8] = 9;
    assert!(matches!(read(&bytes), Err(LayerError::UnsupportedVersion { version: 9 })));
    bytes[8] = 1;
    bytes[10] = 2;
    assert!(matches!(read(&bytes), Err(LayerError::UnsupportedKind { kind: 2 })));
}

/// Layers written by released versions, kept forever. (What zstd writes may change with its
/// version, so only reading is compared.)
#[test]
fn v1() {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1");
    let mut sparse = vec![0; 48 * WASM_PAGE_SIZE];
    for at in (0..sparse.len()).step_by(3 * PAGE_SIZE) {
        sparse[at + at / PAGE_SIZE % 100] = 1 + (at / PAGE_SIZE % 250) as u8;
    }
    let fixtures = [("empty", vec![]), ("example", example()), ("sparse", sparse)];
    for (name, memory) in &fixtures {
        let path = dir.join(name).with_extension("pages");
        if std::env::var_os("BLESS").is_some() && !path.exists() {
            std::fs::write(&path, layer(0, memory)).unwrap();
        }
        assert!(read(&std::fs::read(&path).unwrap()).unwrap() == *memory, "{name}");
    }
    assert_eq!(std::fs::read_dir(dir).unwrap().count(), fixtures.len(), "unread fixtures");
}

/// The bytes of an example in the docs.
fn documented(marker: &str) -> Vec<u8> {
    let docs = include_str!("../../../docs/format.md");
    let block = docs.split(&format!("<!-- {marker} -->")).nth(1).expect("the marker");
    let block = block.split("```").nth(1).expect("a code block");
    let mut bytes = vec![];
    for line in block.lines().skip(1) {
        for byte in line.split(';').next().unwrap_or("").split_whitespace() {
            bytes.push(u8::from_str_radix(byte, 16).unwrap());
        }
    }
    bytes
}

#[test]
fn the_documented_examples() {
    let base = documented("memory-example");
    assert!(read(&base).unwrap() == example());
    let changes = documented("changes-example");
    let layers = [&base, &changes].map(|bytes| MemoryLayer::open(&bytes[..]).unwrap());
    let mut expected = example();
    expected.resize(3 * WASM_PAGE_SIZE, 0);
    expected[PAGE_SIZE + 8..PAGE_SIZE + 12].fill(0x44);
    expected[2 * PAGE_SIZE..3 * PAGE_SIZE].fill(0);
    expected[21 * PAGE_SIZE..22 * PAGE_SIZE].fill(0x55);
    let mut memory = vec![0; expected.len()];
    Overlay::new(layers.into()).unwrap().read_into(&mut memory).unwrap();
    assert!(memory == expected);
}

/// Prints how fast it is. The only claim: not much slower than zstd alone.
#[test]
fn speed() {
    // Something like a heap: text-like words, pointers, and some holes.
    let mut memory = vec![0u8; 64 << 20];
    let words = noise(1 << 16, 7);
    for (i, chunk) in memory.chunks_exact_mut(16).enumerate() {
        if i / 4096 % 8 != 7 {
            chunk[..4].copy_from_slice(&(i as u32 / 3).to_le_bytes());
            chunk[8..12].copy_from_slice(&words[i * 7 % 60_000..][..4]);
        }
    }
    let time = |work: &mut dyn FnMut()| {
        let start = std::time::Instant::now();
        work();
        start.elapsed()
    };
    let zstd = time(&mut || drop(zstd::bulk::compress(&memory, 1).unwrap()));
    let mut bytes = vec![];
    let write = time(&mut || bytes = layer(0, &memory));
    let mut again = vec![0; memory.len()];
    let read = time(&mut || {
        let layer = MemoryLayer::open(&bytes[..]).unwrap();
        Overlay::new(vec![layer]).unwrap().read_into(&mut again).unwrap();
    });
    assert!(again == memory);
    let zeros = vec![0; 64 << 20];
    let zero = time(&mut || drop(layer(0, &zeros)));
    println!(
        "64 MiB: zstd -1 {zstd:?}; write {write:?} ({} bytes), read {read:?}; all zero {zero:?}",
        bytes.len()
    );
    if !cfg!(debug_assertions) {
        assert!(write < zstd * 4 && zero.as_millis() < 500);
    }
}
