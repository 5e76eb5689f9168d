//! Other tools and our images: skopeo inspects and copies them, from store to store and to registries.
#![cfg(feature = "registry")]
#![allow(missing_docs)]

mod harness;
mod servers;

use harness::*;
use serde_json::Value;
use servers::client::*;
use servers::{Registry, have};
use std::process::Command;

/// `skopeo ...`, or what it said.
fn skopeo(p: &Place, args: &[&str]) -> Result<String, String> {
    let mut command = Command::new("skopeo");
    command.args(args).current_dir(p.dir.path()).env("HOME", p.path("home"));
    let output = Ended::of(command.output().unwrap());
    if output.code == Some(0) { Ok(output.out) } else { Err(output.err) }
}

#[test]
fn other_tools_copy_checkpoints() {
    if !have(&["skopeo"]) {
        return;
    }
    let (p, plain) = place(2);
    let raw = skopeo(&p, &["inspect", "--raw", "oci:store:heat@1"]).unwrap();
    let raw: Value = serde_json::from_str(&raw).unwrap();
    assert_eq!(raw, manifest(&p.store(), 1));
    assert_eq!(raw["annotations"]["org.opencontainers.image.title"], "heat@1");
    // Elsewhere, under two names, and from there to a third place.
    skopeo(&p, &["copy", "oci:store:heat@1", "oci:other:heat@1"]).unwrap();
    skopeo(&p, &["copy", "oci:store:heat@1", "oci:other:best"]).unwrap();
    skopeo(&p, &["copy", "oci:other:best", "oci:back:best"]).unwrap();
    for store in ["other", "back"] {
        let list = ok(&p, &["list", "heat", "--store", store, "--json"]);
        let list: Value = serde_json::from_str(&list).unwrap();
        // But for what it shares with others, which there are not here, and for what it cost elsewhere.
        let first = |mut list: Value| {
            let first = list[0].as_object_mut().unwrap();
            first.retain(|key, _| !["own", "shared", "pause_us"].contains(&key.as_str()));
            std::mem::take(first)
        };
        assert_eq!(list.as_array().unwrap().len(), 1);
        assert_eq!(first(list), first(p.json(&["list", "heat", "--json"])));
        assert_eq!(ok(&p, &["verify", "--store", store]), "1 of 1 checkpoints are good\n");
        assert_eq!(ok(&p, &["resume", "heat", "--store", store]), plain);
    }
    // Dormouse goes on there, and the other tool still finds what it had named.
    let stopped = dormouse(&p, &["resume", "heat", "--stop-at", "10", "--store", "back"]);
    assert_eq!(stopped.code, Some(85), "{}", stopped.err);
    assert_eq!(ok(&p, &["verify", "--store", "back"]), "2 of 2 checkpoints are good\n");
    skopeo(&p, &["inspect", "--raw", "oci:back:best"]).unwrap();
    skopeo(&p, &["inspect", "--raw", "oci:back:heat@2"]).unwrap();
    // Into a store that is in use: the list is not what we left, and that is told; nothing is lost.
    skopeo(&p, &["copy", "oci:store:heat@2", "oci:other:heat@2"]).unwrap();
    assert_eq!(ok(&p, &["resume", "heat@2", "--store", "other"]), plain);
    assert_eq!(ok(&p, &["resume", "heat@1", "--store", "other"]), plain);
}

#[test]
fn other_tools_and_a_registry() {
    if !have(&["docker-registry", "skopeo"]) {
        return;
    }
    let (p, plain) = place(1);
    let registry = Registry::start();
    let docker = |name: &str| format!("docker://{}", registry.at(name));
    skopeo(&p, &["copy", "--dest-tls-verify=false", "oci:store:heat@1", &docker("heat:x")])
        .unwrap();
    ok(&p, &["pull", &registry.at("heat:x"), "--store", "there"]);
    assert_eq!(ok(&p, &["resume", "heat", "--store", "there"]), plain);
    // It is the same image, byte for byte: nothing to push.
    assert_eq!(json(&p, &["push", "heat", &registry.at("heat:x")])["sent"], 0);
    ok(&p, &["push", "heat", &registry.at("ours")]);
    skopeo(&p, &["copy", "--src-tls-verify=false", &docker("ours:1"), "oci:fetched:one"]).unwrap();
    assert_eq!(ok(&p, &["resume", "heat", "--store", "fetched"]), plain);

    // Other images, and those of a dormouse to come.
    let digest = manifest_digest(&p, 1);
    for (name, from, to, said) in [
        ("cake", "vnd.dormouse.checkpoint.v1", "x-cake", "is not a checkpoint of dormouse"),
        (
            "newer",
            "vnd.dormouse.checkpoint.v1",
            "vnd.dormouse.checkpoint.v9",
            "use a newer dormouse",
        ),
        ("part", "vnd.dormouse.memory.v1+zstd", "vnd.dormouse.memory.v9", "use a newer dormouse"),
    ] {
        let text = std::fs::read_to_string(blob(&p.store(), &digest)).unwrap().replace(from, to);
        skopeo(&p, &["copy", "oci:store:heat@1", &format!("oci:{name}:x")]).unwrap();
        let hex: String =
            dormouse_store::sha256(text.as_bytes()).iter().map(|b| format!("{b:02x}")).collect();
        std::fs::write(p.path(name).join("blobs/sha256").join(&hex), &text).unwrap();
        let index = std::fs::read_to_string(p.path(name).join("index.json")).unwrap();
        let size = std::fs::metadata(blob(&p.store(), &digest)).unwrap().len();
        let index = index
            .replace(&digest, &format!("sha256:{hex}"))
            .replace(&format!("\"size\":{size}"), &format!("\"size\":{}", text.len()));
        std::fs::write(p.path(name).join("index.json"), index).unwrap();
        skopeo(
            &p,
            &[
                "copy",
                "--dest-tls-verify=false",
                &format!("oci:{name}:x"),
                &docker(&format!("{name}:1")),
            ],
        )
        .unwrap();
        refused(&p, &["pull", &registry.at(&format!("{name}:1")), "--store", "there2"], &[said]);
        assert_eq!(
            registry.count("GET", &format!("{name}/blobs")),
            0,
            "nothing was fetched for it"
        );
    }
}
