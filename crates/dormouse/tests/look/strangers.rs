//! What others made: debugging information that is damaged, or has no end, and images of a dormouse to come.

use crate::harness::*;
use crate::{looked_at, named};
use dormouse::look::{Dwarf, Inspection};
use dormouse_store::{Checkpoint, Store, hex, sha256};
use serde_json::Value;

/// The checkpoint of a program of tests/look, as the library has it.
fn loaded(p: &Place, name: &str) -> Checkpoint {
    looked_at(p, name);
    Store::open(&p.store()).unwrap().load("job", None).unwrap()
}

/// Where the contents of the sections with debugging information are.
fn debug_sections(module: &[u8]) -> Vec<std::ops::Range<usize>> {
    let payloads = wasmparser::Parser::new(0).parse_all(module);
    let sections = payloads.filter_map(|payload| match payload.unwrap() {
        wasmparser::Payload::CustomSection(c) if c.name().starts_with(".debug") => {
            Some(c.data_offset()..c.data_offset() + c.data().len())
        }
        _ => None,
    });
    sections.collect()
}

/// Debugging information may hold anything: the rest is shown all the same.
#[test]
fn damaged_debug_information() {
    let mut random = 88172645463325252u64;
    let mut next = move |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % below as u64) as usize
    };
    for name in ["heat-O0", "heat-O2", "heat-rust"] {
        let p = Place::new();
        let mut checkpoint = loaded(&p, name);
        let whole = checkpoint.module.clone();
        let good = Inspection::of(&checkpoint, None).unwrap();
        let sections = debug_sections(&whole);
        assert!(sections.len() >= 4, "{sections:?}");
        let mut damaged = 0;
        let mut try_it = |checkpoint: &mut Checkpoint, module: Vec<u8>| {
            checkpoint.module = module;
            let seen = Inspection::of(checkpoint, None).unwrap();
            assert_eq!(seen.frames.len(), good.frames.len());
            for (frame, good) in seen.frames.iter().zip(&good.frames) {
                assert_eq!((&frame.name, &frame.locals), (&good.name, &good.locals));
            }
            damaged += usize::from(seen.dwarf == Dwarf::Damaged);
        };
        for section in &sections {
            for _ in 0..300 {
                let mut module = whole.clone();
                for _ in 0..=next(4) {
                    let at = section.start + next(section.len());
                    module[at] = match next(3) {
                        0 => module[at] ^ (1 << next(8)),
                        1 => 0xff,
                        _ => next(256) as u8,
                    };
                }
                try_it(&mut checkpoint, module);
            }
            // Ends early, from somewhere on.
            for _ in 0..40 {
                let mut module = whole.clone();
                let from = section.start + next(section.len());
                module[from..section.end].fill([0, 0xff][next(2)]);
                try_it(&mut checkpoint, module);
            }
        }
        assert!(damaged > 100, "{damaged} were seen to be damaged");
    }
}

/// A small module whose debugging information would take forever: each of many units has the same long list of ranges.
#[test]
fn debug_information_that_has_no_end() {
    let p = Place::new();
    let mut checkpoint = loaded(&p, "heat-O0");
    let mut module = checkpoint.module.clone();
    // All sections of debugging information get other names.
    for section in debug_sections(&module) {
        module[section.start - 2] = b'_';
    }
    let mut custom = |name: &str, data: &[u8]| {
        let leb = |mut n: usize| {
            let mut out = vec![];
            while n > 0x7f {
                out.push(n as u8 | 0x80);
                n >>= 7;
            }
            out.push(n as u8);
            out
        };
        let named = [leb(name.len()), name.into(), data.to_vec()].concat();
        module.push(0);
        module.extend(leb(named.len()));
        module.extend(named);
    };
    // 1: DW_TAG_compile_unit, no children, DW_AT_ranges as DW_FORM_sec_offset.
    custom(".debug_abbrev", &[1, 0x11, 0, 0x55, 0x17, 0, 0, 0]);
    let unit = [12u32.to_le_bytes().as_slice(), &[4, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0]].concat();
    custom(".debug_info", &unit.repeat(100_000));
    // No address of the program is in them.
    let range = [0xfff0_0000u32.to_le_bytes(), 0xfff0_0001u32.to_le_bytes()].concat();
    custom(".debug_ranges", &range.repeat(100_000));
    checkpoint.module = module;
    let seen = Inspection::of(&checkpoint, None).unwrap();
    assert_eq!(seen.dwarf, Dwarf::Large);
    assert_eq!(seen.frames.len(), 4);
}

/// Images of a dormouse to come are refused, and it is said what is too new.
#[test]
fn newer_formats() {
    let p = Place::new();
    named(&p);
    let newest = || {
        let listed = p.json(&["list", "job", "--json"]);
        listed.as_array().unwrap().last().unwrap()["digest"].as_str().unwrap().to_owned()
    };
    let digest = newest();
    let blob = |digest: &str| p.store().join("blobs/sha256").join(&digest["sha256:".len()..]);
    let manifest: Value = serde_json::from_slice(&std::fs::read(blob(&digest)).unwrap()).unwrap();
    let write = |bytes: &[u8]| {
        let digest = format!("sha256:{}", hex(&sha256(bytes)));
        std::fs::write(blob(&digest), bytes).unwrap();
        (digest, bytes.len())
    };
    let patched = |part: &Value, at: usize, byte: u8| {
        let mut bytes = std::fs::read(blob(part["digest"].as_str().unwrap())).unwrap();
        bytes[at] = byte;
        let (digest, size) = write(&bytes);
        let mut part = part.clone();
        part["digest"] = digest.into();
        part["size"] = size.into();
        part
    };
    let wasi_version = {
        let state = std::fs::read(blob(manifest["config"]["digest"].as_str().unwrap())).unwrap();
        state.windows(4).position(|w| w == b"DMWS").unwrap() + 4
    };
    let mut cases: Vec<(Value, &str)> = vec![];
    let mut case = |change: &dyn Fn(&mut Value), said| {
        let mut changed = manifest.clone();
        change(&mut changed);
        cases.push((changed, said));
    };
    case(
        &|m| m["config"] = patched(&m["config"], 8, 9),
        "holds a state of format version 9, where this dormouse reads up to version 2; use a newer dormouse",
    );
    case(
        &|m| m["config"] = patched(&m["config"], wasi_version, 7),
        "saved in format version 7, where this dormouse reads up to version 3; use a newer dormouse",
    );
    case(
        &|m| m["layers"][1] = patched(&m["layers"][1], 8, 5),
        "holds a memory layer of format version 5, where this dormouse reads version 1; use a newer dormouse",
    );
    case(
        &|m| m["artifactType"] = "application/vnd.dormouse.checkpoint.v2".into(),
        "holds an image of type application/vnd.dormouse.checkpoint.v2, where this dormouse reads application/vnd.dormouse.checkpoint.v1; use a newer dormouse",
    );
    case(
        &|m| m["layers"][1]["mediaType"] = "application/vnd.dormouse.memory.v3+zstd".into(),
        "holds a part of type application/vnd.dormouse.memory.v3+zstd, where this dormouse reads application/vnd.dormouse.memory.v1+zstd; use a newer dormouse",
    );
    case(
        &|m| m["config"]["mediaType"] = "application/vnd.dormouse.state.v2".into(),
        "holds a part of type application/vnd.dormouse.state.v2, where this dormouse reads application/vnd.dormouse.state.v1; use a newer dormouse",
    );
    let index = std::fs::read_to_string(p.path("store/index.json")).unwrap();
    let size = std::fs::metadata(blob(&digest)).unwrap().len();
    for (manifest, said) in cases {
        let (changed, length) = write(&serde_json::to_vec(&manifest).unwrap());
        let index = index
            .replace(&digest, &changed)
            .replace(&format!("\"size\":{size}"), &format!("\"size\":{length}"));
        // The list has a digest of its own, which stands for zeros in it.
        let mark = "\"io.dormouse.index\":\"sha256:";
        let at = index.find(mark).unwrap() + mark.len();
        let zeros = [&index[..at], &"0".repeat(64), &index[at + 64..]].concat();
        let index = [&index[..at], &hex(&sha256(zeros.as_bytes())), &index[at + 64..]].concat();
        std::fs::write(p.path("store/index.json"), index).unwrap();
        for command in
            [&["inspect", "job"][..], &["diff", "job", "job"], &["inspect", "job@3", "--json"]]
        {
            let refused = p.dormouse(command);
            assert_eq!(refused.code, Some(125), "{said}");
            assert!(refused.error().ends_with(said), "{command:?}: {}\n{said}", refused.err);
        }
    }
}

/// A checkpoint is shown though the one before it is damaged.
#[test]
fn damage_before() {
    let p = Place::new();
    let wasm = p.guest("named", crate::NAMED);
    p.ok(&["run", "--name", "job", "--max-layers", "0", &wasm]);
    assert_eq!(p.json(&["inspect", "job@2", "--json"])["compared_with"], "job@1");
    let listed = p.json(&["list", "job", "--json"]);
    let blob = |digest: &Value| {
        p.store().join("blobs/sha256").join(&digest.as_str().unwrap()["sha256:".len()..])
    };
    let manifest = std::fs::read(blob(&listed[0]["digest"])).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let layer = blob(&manifest["layers"][1]["digest"]);
    // The first frame, which comes after a header.
    let mut bytes = std::fs::read(&layer).unwrap();
    bytes[30] ^= 1;
    std::fs::write(&layer, bytes).unwrap();
    let seen = p.json(&["inspect", "job@2", "--json"]);
    assert_eq!(seen["compared_with"], Value::Null);
    assert_eq!(seen["memories"][0]["heat"]["total"]["changed"], 0);
    assert!(p.dormouse(&["diff", "job@1", "job@2"]).error().contains("job@1: memory 0"));
}
