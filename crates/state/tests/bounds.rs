//! Decoding never allocates more than `MAX_EXPANSION` times its input.

use dormouse_state::{
    Exception, Frame, HostState, MAGIC, MAX_EXPANSION, Site, State, Table, VERSION,
    VERSION_WITHOUT_HOST, Value,
};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

struct Counting;
static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: passes everything on to the system allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        PEAK.fetch_max(LIVE.fetch_add(layout.size(), Relaxed) + layout.size(), Relaxed);
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn peak_of_decoding(bytes: &[u8]) -> usize {
    let before = LIVE.load(Relaxed);
    PEAK.store(before, Relaxed);
    let _ = std::hint::black_box(State::decode(bytes));
    PEAK.load(Relaxed) - before
}

#[test]
fn allocation_is_bounded_by_the_input() {
    let mut inputs = vec![];
    let empty = State {
        module_digest: [0; 32],
        frames: vec![],
        globals: vec![],
        tables: vec![],
        exceptions: vec![],
        memories: vec![],
        dropped_data: vec![],
        dropped_elems: vec![],
        wasi: vec![],
        host: vec![],
    };
    let frame = Frame { site: Site { func: 0, offset: 0 }, locals: vec![], operands: vec![] };
    let null = Value::FuncRef(None);
    inputs.push(State { frames: vec![frame.clone(); 50_000], ..empty.clone() }.encode());
    let full = Frame {
        locals: (0..4).map(|i| (i, null)).collect(),
        operands: vec![null; 9],
        ..frame.clone()
    };
    inputs.push(State { frames: vec![full; 20_000], ..empty.clone() }.encode());
    let table = Table { index: 0, entries: vec![null; 300_000] };
    inputs
        .push(State { frames: vec![frame.clone()], tables: vec![table], ..empty.clone() }.encode());
    let exception = Exception { tag: 0, fields: vec![null; 2] };
    let exceptions = vec![exception; 50_000];
    inputs.push(State { frames: vec![frame.clone()], exceptions, ..empty.clone() }.encode());
    let nameless = HostState { name: String::new(), bytes: vec![] };
    inputs.push(State { frames: vec![frame], host: vec![nameless; 50_000], ..empty }.encode());

    // Counts that lie, at every depth, with filler that parses as long as possible.
    for filler in [0x00u8, 0x72, 0x73, 0x01, 0x7f] {
        for (counts, version) in (1..6).flat_map(|n| [(n, VERSION_WITHOUT_HOST), (n, VERSION)]) {
            let mut bytes = MAGIC.to_vec();
            bytes.extend_from_slice(&version.to_le_bytes());
            bytes.extend_from_slice(&[0; 32]);
            for _ in 0..counts {
                bytes.extend_from_slice(&[0x90, 0x4e]); // 10,000
            }
            bytes.resize(60_000, filler);
            inputs.push(bytes);
        }
    }
    for bytes in &inputs {
        let peak = peak_of_decoding(bytes);
        assert!(peak <= MAX_EXPANSION * bytes.len(), "{peak} bytes for {}", bytes.len());
    }
}
