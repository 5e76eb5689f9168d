//! What safepoints cost where it matters: the innermost loops of kernels are the same instructions with them and without.
//!
//! The stock wasmtime compiles both modules and takes them apart (`compile`, `objdump`); mnemonics are compared, since registers may
//! differ. So:
//!
//! ```text
//!   plain:  movsd  mulsd  addsd  addq  cmpl  jne         with safepoints: the same
//! ```
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

mod harness;

use dormouse_transform::{Options, Program};
use dormouse_wasi::Call;
use harness::root;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The stock engine that `cargo xtask guests` fetched, whatever its version.
fn wasmtime() -> PathBuf {
    let cache = std::env::var_os("DORMOUSE_GUESTS_CACHE").map(PathBuf::from);
    let pypi = cache.unwrap_or_else(|| root().join("target/guests-cache")).join("pypi");
    let found = std::fs::read_dir(&pypi).into_iter().flatten().flatten().map(|e| e.path());
    let found = found.map(|p| p.join("wasmtime_cli/wasmtime")).find(|p| p.exists());
    found.unwrap_or_else(|| panic!("no wasmtime in {}; run `cargo xtask guests`", pypi.display()))
}

fn run(command: &mut Command) -> String {
    let done = command.output().unwrap();
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

struct Instruction {
    address: u64,
    mnemonic: String,
    operands: String,
}

/// The functions of a module, compiled and taken apart: name and instructions.
fn functions(wasm: &Path) -> Vec<(String, Vec<Instruction>)> {
    let compiled = wasm.with_extension("cwasm");
    let features = "exceptions,multi-memory,threads,tail-call,function-references,gc";
    let compile = ["compile", "-W", features, "-O", "opt-level=2", "-o"];
    run(Command::new(wasmtime()).args(compile).arg(&compiled).arg(wasm));
    let objdump = ["objdump", "--addresses", "--traps=false", "--color", "never"];
    let text = run(Command::new(wasmtime()).args(objdump).arg(&compiled));
    let mut functions: Vec<(String, Vec<Instruction>)> = vec![];
    for line in text.lines() {
        if let Some((_, name)) = line.split_once(" wasm[0]::") {
            functions.push((name.to_owned(), vec![]));
        } else if let Some((address, rest)) = line.trim().split_once(": ")
            && let Ok(address) = u64::from_str_radix(address, 16)
            && let Some((_, code)) = functions.last_mut()
        {
            let (mnemonic, operands) = rest.trim().split_once(' ').unwrap_or((rest.trim(), ""));
            let (mnemonic, operands) = (mnemonic.to_owned(), operands.trim().to_owned());
            code.push(Instruction { address, mnemonic, operands });
        }
    }
    functions
}

/// The loops without loops in them that compute with floating-point numbers: from where a jump leads back, to the jump.
fn hot_loops(code: &[Instruction]) -> Vec<Vec<&str>> {
    let target = |i: &Instruction| {
        let to = i.mnemonic.starts_with('j').then(|| i.operands.strip_prefix("0x"))??;
        let to = u64::from_str_radix(to, 16).ok().filter(|&to| to <= i.address)?;
        code.binary_search_by_key(&to, |i| i.address).ok()
    };
    let loops: Vec<(usize, usize)> =
        code.iter().enumerate().filter_map(|(end, i)| Some((target(i)?, end))).collect();
    let holds = |a: &(usize, usize), b: &(usize, usize)| a != b && a.0 <= b.0 && b.1 <= a.1;
    let innermost = loops.iter().filter(|l| !loops.iter().any(|other| holds(l, other)));
    let mnemonics = innermost
        .map(|&(start, end)| code[start..=end].iter().map(|i| &*i.mnemonic).collect::<Vec<_>>());
    mnemonics.filter(|l| l.iter().any(|m| m.contains("mulsd") || m.contains("addsd"))).collect()
}

#[test]
fn kernels_compute_as_without_safepoints() {
    let dir = tempfile::tempdir().unwrap();
    for (name, least) in [("gemm", 2), ("2mm", 2), ("jacobi-2d", 2), ("seidel-2d", 1), ("lu", 1)] {
        let bytes = std::fs::read(root().join(format!("target/guests/{name}.wasm")));
        let bytes = bytes.unwrap_or_else(|e| panic!("{name}: {e}; run `cargo xtask guests`"));
        let restartable = |m: &str, n: &str| Call::imported(m, n).is_some_and(|c| c.blocking);
        let options = Options { restartable, ..Options::default() };
        let ours = Program::new((&*bytes).into(), &options).unwrap().instrument().unwrap();
        let [plain, ours] = [("plain", bytes), ("ours", ours)].map(|(what, bytes)| {
            let path = dir.path().join(format!("{name}-{what}.wasm"));
            std::fs::write(&path, bytes).unwrap();
            functions(&path)
        });
        let mut found = 0;
        for (function, code) in &plain {
            let with = &ours.iter().find(|f| f.0 == *function).unwrap().1;
            let (plain, with) = (hot_loops(code), hot_loops(with));
            assert_eq!(plain, with, "{name}, {function}");
            found += plain.len();
        }
        assert!(found >= least, "{name}: {found} loops that compute");
    }
}
