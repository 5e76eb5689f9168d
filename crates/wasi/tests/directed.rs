//! What a program says about its checkpoints, as messages to `fd_read`, and what becomes of it when it sleeps.

mod guest;

use dormouse_wasi::{Errno, RestoreOptions, Stop, Wasi, WasiConfig};
use guest::*;
use proptest::prelude::*;
use tempfile::tempdir;

const DORMOUSE: u32 = 0x444f_524d;
const CHECKPOINT: u32 = 1;
const EXCLUDE: u32 = 2;
const INCLUDE: u32 = 3;
const DISABLE: u32 = 4;
const ENABLE: u32 = 5;
const COUNT: u32 = 6;

fn ask(g: &mut Guest, op: u32, ptr: u32, len: u32) -> Result<Result<i32, Errno>, Stop> {
    for (i, word) in [op, ptr, len, 77].into_iter().enumerate() {
        g.put(DATA + 4 * i as u32, &word.to_le_bytes());
    }
    let iov = g.iovec(DATA, 16);
    let errno = g.wasi.fd_read(&mut g.mem, DORMOUSE, iov, 1, RESULT)?;
    let answer = g.u32(DATA + 12) as i32;
    Ok(match errno {
        Errno::Success => Ok(answer),
        errno => {
            assert_eq!(answer, 77, "nothing is written without an answer");
            Err(errno)
        }
    })
}

fn said(g: &mut Guest, op: u32, ptr: u32, len: u32) -> i32 {
    ask(g, op, ptr, len).unwrap().unwrap()
}

/// The pages, as text.
fn excluded(g: &Guest) -> String {
    let pages: Vec<String> = g.wasi.exclusions().pages().iter().map(|r| format!("{r:?}")).collect();
    pages.join(", ")
}

fn new() -> Guest {
    let config = WasiConfig { stdio: quiet(b""), ..WasiConfig::default() };
    let mut wasi = Wasi::new(config).unwrap();
    wasi.serve_checkpoints();
    Guest::of(wasi)
}

#[test]
fn a_checkpoint_answers_who_goes_on() {
    let mut g = new();
    assert_eq!(ask(&mut g, CHECKPOINT, 0, 0), Err(Stop::Interrupted));
    assert!(g.wasi.asks_for_checkpoint());
    let saved = g.wasi.save().unwrap();
    assert!(Wasi::describe(&saved).unwrap().in_checkpoint);
    g.wasi.answer_checkpoint(true);
    assert!(!g.wasi.asks_for_checkpoint());
    // Somebody else's checkpoint before the call is made again.
    let twice = g.wasi.save().unwrap();
    assert_eq!(said(&mut g, CHECKPOINT, 0, 0), 0);
    assert!(!Wasi::describe(&g.wasi.save().unwrap()).unwrap().in_checkpoint);
    // A refusal is told once.
    assert_eq!(ask(&mut g, CHECKPOINT, 0, 0), Err(Stop::Interrupted));
    g.wasi.answer_checkpoint(false);
    assert_eq!(said(&mut g, CHECKPOINT, 0, 0), -2);
    // Nobody answers: whoever runs it takes none.
    assert_eq!(ask(&mut g, CHECKPOINT, 0, 0), Err(Stop::Interrupted));
    assert_eq!(said(&mut g, CHECKPOINT, 0, 0), 0);

    for saved in [saved, twice] {
        let mut g = Guest::of(Wasi::restore(&saved, options()).unwrap());
        g.wasi.serve_checkpoints();
        assert!(!g.wasi.asks_for_checkpoint());
        assert_eq!(g.wasi.save().unwrap(), saved, "saved where it stands, it is the same");
        g.wasi.goes_on();
        assert_eq!(said(&mut g, CHECKPOINT, 0, 0), 1);
        assert_eq!(
            ask(&mut g, CHECKPOINT, 0, 0),
            Err(Stop::Interrupted),
            "the next one is a new one"
        );
        let unnoticed = RestoreOptions { unnoticed: true, ..options() };
        let mut g = Guest::of(Wasi::restore(&saved, unnoticed).unwrap());
        g.wasi.goes_on();
        assert_eq!((said(&mut g, CHECKPOINT, 0, 0), said(&mut g, COUNT, 0, 0)), (0, 0));
    }
}

#[test]
fn nobody_takes_any() {
    let mut g = new();
    g.wasi = Wasi::new(WasiConfig { stdio: quiet(b""), ..WasiConfig::default() }).unwrap();
    assert_eq!(said(&mut g, CHECKPOINT, 0, 0), 0);
}

#[test]
fn sections_lie_in_each_other() {
    let mut g = new();
    assert_eq!(said(&mut g, ENABLE, 0, 0), -5);
    assert_eq!((said(&mut g, DISABLE, 0, 0), said(&mut g, DISABLE, 0, 0)), (0, 0));
    assert_eq!(said(&mut g, ENABLE, 0, 0), 0);
    assert!(g.wasi.is_disabled());
    assert_eq!(said(&mut g, CHECKPOINT, 0, 0), -1);
    assert_eq!(said(&mut g, ENABLE, 0, 0), 0);
    assert!(!g.wasi.is_disabled());
    assert_eq!(ask(&mut g, CHECKPOINT, 0, 0), Err(Stop::Interrupted));
}

#[test]
fn whole_pages_and_what_stays_of_them() {
    let mut g = new();
    assert_eq!(said(&mut g, EXCLUDE, 4095, 4096 * 3), 0);
    assert_eq!(excluded(&g), "1..3");
    assert_eq!(said(&mut g, EXCLUDE, 4095 + 4096 * 3, 1), 0, "two ranges make a page whole");
    assert_eq!(excluded(&g), "1..4");
    assert_eq!(said(&mut g, INCLUDE, 4096 * 2 + 5, 1), 0);
    assert_eq!(excluded(&g), "1..2, 3..4");
    assert_eq!(said(&mut g, EXCLUDE, 0, MEMORY as u32), 0);
    assert_eq!(said(&mut g, INCLUDE, 0, MEMORY as u32 - 4095), 0);
    assert!(g.wasi.exclusions().pages().is_empty());
    for (ptr, len) in [(0, MEMORY as u32 + 1), (u32::MAX, u32::MAX), (MEMORY as u32, 1)] {
        assert_eq!(said(&mut g, EXCLUDE, ptr, len), -3);
        assert_eq!(said(&mut g, INCLUDE, ptr, len), -3);
    }
    assert_eq!(said(&mut g, EXCLUDE, MEMORY as u32, 0), 0);

    assert_eq!(said(&mut g, EXCLUDE, 8192, 8192), 0);
    let g = g.sleep().unwrap().sleep().unwrap();
    assert_eq!(excluded(&g), "2..4", "it holds after a resume");
}

#[test]
fn resumes_are_counted() {
    let mut g = new();
    for n in 0..4 {
        assert_eq!(said(&mut g, COUNT, 0, 0), n);
        g = g.sleep().unwrap();
        g.wasi.goes_on();
    }
    // Not gone on yet: the program would see it, but it is not in the state.
    let saved = g.wasi.save().unwrap();
    let mut g = g.sleep().unwrap();
    assert_eq!(said(&mut g, COUNT, 0, 0), 5);
    assert_eq!(Wasi::describe(&saved).unwrap().restored, 4);
    assert_eq!(Wasi::describe(&g.wasi.save().unwrap()).unwrap().restored, 4);
    g.wasi.goes_on();
    g.wasi.goes_on();
    assert_eq!(Wasi::describe(&g.wasi.save().unwrap()).unwrap().restored, 5);
}

/// As any descriptor that is not open, for every other call; and messages that are none.
#[test]
fn only_messages_are_understood() {
    let dir = tempdir().unwrap();
    let mut g = Guest::new(dir.path());
    assert_eq!(g.tell(DORMOUSE), Err(Errno::Badf));
    assert_eq!(g.write(DORMOUSE, b"0123456789abcdef"), Err(Errno::Badf));
    assert_eq!(g.close(DORMOUSE), Err(Errno::Badf));
    assert_eq!(g.read(DORMOUSE, 15), Err(Errno::Inval));
    assert_eq!(g.read(DORMOUSE, 0), Err(Errno::Inval));
    for op in [0, 7, u32::MAX] {
        assert_eq!(ask(&mut g, op, 0, 0), Ok(Err(Errno::Nosys)));
    }
    // An answer that could not be written: nothing happens.
    g.put(DATA, &DISABLE.to_le_bytes());
    let iov = g.iovec(DATA, 16);
    let nowhere = g.wasi.fd_read(&mut g.mem, DORMOUSE, iov, 1, MEMORY as u32);
    assert!(matches!(nowhere, Err(Stop::Trap(_))), "{nowhere:?}");
    assert!(!g.wasi.is_disabled());
}

proptest! {
    /// Any message anywhere is answered, or ends the program; and what was said can be saved and restored.
    #[test]
    fn arbitrary_messages(
        memory in proptest::collection::vec(any::<u8>(), 0..200),
        steps in proptest::collection::vec((0u32..9, any::<u32>(), 0u32..300, 0u32..210, 0u32..220, 0u32..3, 0u32..220), 1..20),
    ) {
        let mut g = new();
        g.mem = memory;
        for (op, ptr, len, at, iovs, n, nread) in steps {
            let words = [op, ptr % 300, len];
            for (i, word) in words.into_iter().enumerate() {
                let at = at as usize + 4 * i;
                if let Some(to) = g.mem.get_mut(at..at + 4) {
                    to.copy_from_slice(&word.to_le_bytes());
                }
            }
            for (i, word) in [at, 16].into_iter().enumerate() {
                let at = iovs as usize + 4 * i;
                if let Some(to) = g.mem.get_mut(at..at + 4) {
                    to.copy_from_slice(&word.to_le_bytes());
                }
            }
            let _ = g.wasi.fd_read(&mut g.mem, DORMOUSE, iovs, n, nread);
            let _ = g.wasi.exclude(&mut g.mem, ptr, len);
        }
        let saved = g.wasi.save().unwrap();
        prop_assert_eq!(Wasi::restore(&saved, options()).unwrap().save().unwrap(), saved);
    }
}
