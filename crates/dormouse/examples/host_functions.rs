//! A game of dice that is put to sleep and goes on, though its dice are not in the program but in the host.
//!
//! ```text
//!   guest (WebAssembly)            host (this file)
//!     dice.roll(sides) ──────────> Dice { seed }        takes part in checkpoints: trait HostState
//!     table.show(ptr, len) ──────> Table                reads the guest's memory
//!     dormouse.checkpoint() ─────> game@1 in the store
//! ```
//!
//! The first run plays to its end, and takes a checkpoint in the middle. The second goes on from there, as another process
//! on another machine would: with new dice, which have rolled nothing. Because their state is in the checkpoint, it rolls
//! what the first run rolled after it.
//!
//! `cargo run --release --example host_functions`

use dormouse::{Error, HostFunctions, HostState, Job, Outcome, StdioConfig, Type::I32};
use std::sync::{Arc, Mutex};

const GAME: &str = r#"(module
  (import "dice" "roll" (func $roll (param i32) (result i32)))
  (import "table" "show" (func $show (param i32 i32)))
  (import "dormouse" "checkpoint" (func $checkpoint (result i32)))
  (memory (export "memory") 1)
  (func $turns (param $from i32) (param $to i32)
    (loop $next
      (i32.store8 (local.get $from) (i32.add (i32.const 48) (call $roll (i32.const 6))))
      (local.set $from (i32.add (local.get $from) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $from) (local.get $to)))))
  (func (export "_start")
    (call $turns (i32.const 0) (i32.const 10))
    (drop (call $checkpoint))
    (call $turns (i32.const 10) (i32.const 20))
    (call $show (i32.const 0) (i32.const 20))))"#;

/// Pseudo-random dice: each roll depends on all before it.
struct Dice {
    seed: u64,
}

impl Dice {
    fn roll(&mut self, sides: u32) -> Result<u32, String> {
        // An error ends the program, as a trap with these words.
        let sides = u64::from(sides);
        if sides == 0 {
            return Err("dice without sides".into());
        }
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        Ok(((self.seed >> 33) % sides) as u32 + 1)
    }
}

impl HostState for Dice {
    fn name(&self) -> String {
        "dice".into()
    }

    fn save(&mut self) -> Result<Vec<u8>, String> {
        Ok(self.seed.to_le_bytes().into())
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<(), String> {
        let bytes = bytes.try_into().map_err(|_| "a seed has 8 bytes".to_owned())?;
        self.seed = u64::from_le_bytes(bytes);
        Ok(())
    }
}

/// What the game says at its end.
type Table = Arc<Mutex<String>>;

/// The functions that the game imports.
fn functions(dice: Dice, table: &Table) -> HostFunctions {
    let dice = Arc::new(Mutex::new(dice));
    let (rolls, table) = (dice.clone(), table.clone());
    HostFunctions::new()
        .with("dice", "roll", &[I32], &[I32], move |_, args| {
            let mut dice = rolls.lock().map_err(|e| e.to_string())?;
            Ok(vec![dice.roll(args[0].try_into()?)?.into()])
        })
        .with("table", "show", &[I32, I32], &[], move |caller, args| {
            let (at, len) = (u32::try_from(args[0])?, u32::try_from(args[1])?);
            let text = String::from_utf8_lossy(caller.bytes(at, len)?).into_owned();
            *table.lock().map_err(|e| e.to_string())? = text;
            Ok(vec![])
        })
        .state(dice)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let store = dir.path().join("store");
    let game = wat::parse_str(GAME)?;

    let table = Table::default();
    let host = functions(Dice { seed: 2026 }, &table);
    // The program's streams are not this process's, which a resume would cut back if it is a file.
    let job = Job::new(&store).stdio(StdioConfig::null());
    let outcome = job.name("game").host(host).run("game", game.into(), vec![])?;
    assert_eq!(outcome, Outcome::Exited(0));
    let whole = table.lock().unwrap().clone();
    println!("from its beginning to its end: {whole}");

    let table = Table::default();
    let host = functions(Dice { seed: 1 }, &table);
    let job = Job::new(&store).stdio(StdioConfig::null());
    let outcome = job.host(host).resume(&"game@1".parse()?)?;
    assert_eq!(outcome, Outcome::Exited(0));
    let resumed = table.lock().unwrap().clone();
    println!("from the checkpoint to its end: {resumed}");
    assert_eq!(whole, resumed, "the dice were in the checkpoint");

    // Whoever does not have these functions is told which they are; `dormouse resume game@1` says the same.
    let refused = Job::new(&store).resume(&"game@1".parse()?).unwrap_err();
    assert!(matches!(refused, Error::NeedsHost { .. }));
    println!("without them: {refused}");
    Ok(())
}
