//! `push` and `pull` against a real registry, Debian's docker-registry.
#![cfg(feature = "registry")]
#![allow(missing_docs)]

mod harness;
mod servers;

use harness::*;
use servers::client::*;
use servers::{Line, Registry, have, header, serve};
use std::io::Read;
use std::process::Command;

#[test]
fn there_and_back() {
    if !have(&["docker-registry"]) {
        return;
    }
    let (p, plain) = place(2);
    let registry = Registry::start();
    let to = registry.at("sims/heat");
    let pushed = json(&p, &["push", "heat@1", &to]);
    assert_eq!((&pushed["blobs"], &pushed["sent"]), (&3.into(), &3.into()));
    assert_eq!(pushed["reference"], format!("{to}:1"));
    assert_eq!(pushed["digest"], pushed["checkpoint"]["digest"]);

    // Once more: one question, and nothing is sent.
    let before = registry.requests().len();
    let again = json(&p, &["push", "heat@1", &to]);
    assert_eq!((&again["sent"], &again["sent_bytes"]), (&0.into(), &0.into()));
    assert!(registry.requests().len() - before <= 2, "{:?}", registry.requests());
    // Under another tag: only the manifest.
    let (posts, puts) = (registry.count("POST", ""), registry.count("PUT", ""));
    assert_eq!(json(&p, &["push", "heat@1", &format!("{to}:best")])["sent"], 0);
    assert_eq!((registry.count("POST", ""), registry.count("PUT", "")), (posts, puts + 1));
    // The next checkpoint, whose number is the tag: its module is there.
    let newest = ok(&p, &["push", "heat", &to]);
    assert!(newest.contains("sims/heat:2 is heat@2   2 of 3 blobs sent"), "{newest}");
    // A tag that was another's.
    let moved = dormouse(&p, &["push", "heat@2", &format!("{to}:best")]);
    assert!(
        moved.err.contains(&format!("was {} until now", pushed["digest"].as_str().unwrap())),
        "{}",
        moved.err
    );

    let pulled = json(&p, &["pull", &format!("{to}:1"), "--store", "there"]);
    assert_eq!((&pulled["already"], &pulled["fetched"]), (&false.into(), &3.into()));
    assert_eq!(pulled["digest"], pushed["digest"]);
    assert_eq!(pulled["checkpoint"], pushed["checkpoint"]);
    assert_eq!(ok(&p, &["verify", "--store", "there"]), "1 of 1 checkpoints are good\n");
    assert_eq!(ok(&p, &["resume", "heat", "--store", "there"]), plain);
    let again = ok(&p, &["pull", &format!("{to}:1"), "--store", "there"]);
    assert_eq!(again, "heat@1 is here already\n");
    // By digest, only what the store lacks.
    let digest = manifest_digest(&p, 2);
    let second = json(&p, &["pull", &format!("{to}@{digest}"), "--store", "there"]);
    assert_eq!((&second["fetched"], &second["checkpoint"]["name"]), (&2.into(), &"heat@2".into()));
    assert_eq!(ok(&p, &["resume", "heat@2", "--store", "there"]), plain);
    // What other tools show.
    let manifest = manifest(&p.path("there"), 1);
    let said = |key: &str| manifest["annotations"][key].as_str().unwrap().to_owned();
    assert_eq!(said("org.opencontainers.image.title"), "heat@1");
    assert_eq!(
        said("io.dormouse.host"),
        format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH)
    );
    assert!(said("io.dormouse.engine").starts_with("wasmtime 48 "));
    assert_eq!(said("io.dormouse.module"), manifest["layers"][0]["digest"].as_str().unwrap());
    assert!(said("org.opencontainers.image.created").ends_with('Z'));
    assert!(ok(&p, &["inspect", "heat@1"]).contains("taken on    "));
}

#[test]
fn names() {
    if !have(&["docker-registry"]) {
        return;
    }
    let (p, plain) = place(1);
    let registry = Registry::start();
    let to = registry.at("sims/heat");
    ok(&p, &["push", "heat", &to]);
    // Another checkpoint has the name there.
    let other = p.guest("other", &spin_with("(i64.const 1000)", ""));
    assert_eq!(
        dormouse(&p, &["run", "--name", "heat", "--stop-at", "50", "--store", "there", &other])
            .code,
        Some(85)
    );
    let from = format!("{to}:1");
    let before = std::fs::read(p.path("there/index.json")).unwrap();
    refused(
        &p,
        &["pull", &from, "--store", "there"],
        &["another checkpoint heat@1 already", "--name OTHER"],
    );
    assert!(std::fs::read(p.path("there/index.json")).unwrap() == before);
    assert_eq!(registry.count("GET", "/blobs/"), 0, "nothing was fetched for it");
    let pulled = json(&p, &["pull", &from, "--store", "there", "--name", "warm"]);
    assert_eq!(pulled["checkpoint"]["name"], "warm@1");
    let pulled = json(&p, &["pull", &from, "--store", "there", "--name", "heat"]);
    assert_eq!((&pulled["checkpoint"]["name"], &pulled["fetched"]), (&"heat@2".into(), &0.into()));
    assert!(
        json(&p, &["pull", &from, "--store", "there", "--name", "warm"])["already"]
            .as_bool()
            .unwrap()
    );
    assert_eq!(ok(&p, &["resume", "warm", "--store", "there"]), plain);
    refused(&p, &["pull", &from, "--name", "a/b"], &["\"a/b\" cannot be the name of a job"]);

    refused(&p, &["pull", &format!("{to}:7")], &["sims/heat:7 is not there", "there are: 1"]);
    refused(&p, &["pull", &registry.at("sims/cold:1")], &["has no sims/cold"]);
    let digest = format!("sha256:{}", "0a".repeat(32));
    refused(&p, &["pull", &format!("{to}@{digest}")], &["is not there"]);
    refused(&p, &["push", "heat", &format!("{to}@{digest}")], &["pushed under a tag"]);
    refused(&p, &["push", "cold", &to], &["no checkpoint of job cold"]);
    refused(&p, &["push", "heat@9", &to], &["no checkpoint heat@9"]);
    for bad in ["heat:12", "sims/heat", "127.0.0.1:1/Heat", ""] {
        let ended = dormouse(&p, &["pull", bad]);
        assert_eq!(ended.code, Some(2), "{}", ended.err);
        assert!(ended.err.contains("does not name an image"), "{}", ended.err);
    }
    // Nobody listens there.
    refused(&p, &["pull", "127.0.0.1:1/heat:1"], &["cannot reach the registry 127.0.0.1:1"]);
}

#[test]
fn a_line_that_is_cut() {
    if !have(&["docker-registry"]) {
        return;
    }
    let (p, plain) = place(1);
    let registry = Registry::start();
    let to = registry.at("heat");
    ok(&p, &["push", "heat", &to]);
    let (digest, size) = memory(&p, 1);
    assert!(size > 900_000);

    // The line is cut: the same pull asks for the rest.
    let line = Line::to(registry.port, -1, 400_000, false);
    let pulled = json(&p, &["pull", &line.at("heat:1"), "--store", "cut"]);
    assert_eq!(registry.count("GET", &format!("/blobs/{digest} HTTP/1.1\" 206")), 1);
    let bytes = pulled["fetched_bytes"].as_u64().unwrap();
    let all = pulled["checkpoint"]["memory_size"].as_u64().unwrap()
        + pulled["checkpoint"]["state_size"].as_u64().unwrap()
        + pulled["checkpoint"]["module_size"].as_u64().unwrap();
    assert_eq!(bytes, all, "nothing came twice");
    assert_eq!(ok(&p, &["resume", "heat", "--store", "cut"]), plain);

    // The pull is killed in the middle: the next one asks for the rest, and saves in between leave that alone.
    let there = p.path("killed");
    let other = p.guest("other", &spin_with("(i64.const 1000)", ""));
    let save = ["run", "--name", "old", "--stop-at", "50", "--store", "killed", &other];
    assert_eq!(dormouse(&p, &save).code, Some(85));
    let line = Line::to(registry.port, -1, 700_000, true);
    let mut pull = command(&p, &["pull", &line.at("heat:1"), "--store", "killed"]).spawn().unwrap();
    let arrived = || std::fs::metadata(part(&there, &digest)).map_or(0, |m| m.len());
    p.wait_for("half of a blob", || arrived() > 300_000);
    p.wait_for("the line to stand still", || {
        let before = arrived();
        std::thread::sleep(std::time::Duration::from_millis(300));
        before == arrived()
    });
    pull.kill().unwrap();
    pull.wait().unwrap();
    assert!(ok(&p, &["list", "--store", "killed", "--json"]).contains("\"old\""));
    assert!(!ok(&p, &["list", "--store", "killed", "--json"]).contains("heat@"));
    assert_eq!(dormouse(&p, &save).code, Some(85));
    let had = arrived();
    assert!(had > 300_000, "{had}");
    // What nothing needs goes with a collection, but not what a pull may go on with.
    ok(&p, &["gc", "--store", "killed"]);
    assert_eq!(ok(&p, &["verify", "--store", "killed"]), "2 of 2 checkpoints are good\n");
    assert_eq!(arrived(), had);
    let pulled = json(&p, &["pull", &format!("{to}:1"), "--store", "killed"]);
    assert!(pulled["fetched_bytes"].as_u64().unwrap() <= all - had);
    assert!(!part(&there, &digest).exists());
    assert_eq!(ok(&p, &["verify", "--store", "killed"]), "3 of 3 checkpoints are good\n");
    assert_eq!(ok(&p, &["resume", "heat", "--store", "killed"]), plain);

    // What is left of an earlier try is wrong: noticed, and fetched as a whole.
    let there = p.path("wrong");
    json(&p, &["pull", &registry.at("heat:1"), "--store", "wrong"]);
    std::fs::remove_dir_all(&there).unwrap();
    dormouse_store::Store::create_or_open(&there).unwrap();
    std::fs::write(part(&there, &digest), vec![7; 5000]).unwrap();
    json(&p, &["pull", &registry.at("heat:1"), "--store", "wrong"]);
    assert_eq!(ok(&p, &["resume", "heat", "--store", "wrong"]), plain);
}

/// A job `heat` of 40 MiB that cannot be compressed: two chunks. What it prints in the end.
fn large_place() -> (Place, String) {
    let p = Place::new();
    let program = bulky().replace("(i64.const 600000000)", STEPS);
    let program = program.replace("\"memory\") 32)", "\"memory\") 700)");
    let program = p.guest("heat", &program.replace("(i32.const 1048576)", "(i32.const 41943040)"));
    let plain = p.ok(&["run", &program]);
    let stopped = p.dormouse(&["run", "--name", "heat", "--stop-at", "5300000", &program]);
    assert_eq!(stopped.code, Some(85), "{}", stopped.err);
    assert!(memory(&p, 1).1 > 40 << 20);
    (p, plain)
}

#[test]
fn a_push_that_is_cut() {
    if !have(&["docker-registry"]) {
        return;
    }
    let (p, plain) = large_place();
    let (digest, size) = memory(&p, 1);
    // In the second chunk. This registry forgets about the blob then, but takes it once more.
    let registry = Registry::start();
    let line = Line::to(registry.port, 36 << 20, -1, false);
    let pushed = json(&p, &["push", "heat", &line.at("heat")]);
    assert_eq!(pushed["sent"], 3);
    assert!(registry.count("PATCH", "\" 202") >= 3, "{:#?}", registry.requests());
    assert_eq!(registry.count("PUT", "/blobs/uploads/"), 3, "{:#?}", registry.requests());
    assert_eq!(std::fs::metadata(registry.blob(&digest)).unwrap().len(), size);
    json(&p, &["pull", &registry.at("heat:1"), "--store", "there"]);
    assert_eq!(ok(&p, &["resume", "heat", "--store", "there"]), plain);

    // Killed and begun again: what was sent stays sent.
    let registry = Registry::start();
    let line = Line::to(registry.port, 20 << 20, -1, true);
    let mut push = command(&p, &["push", "heat", &line.at("heat")]).spawn().unwrap();
    p.wait_for("the small blobs", || {
        registry.count("PUT", "/blobs/uploads/") == 2 && line.up() > 20 << 20
    });
    push.kill().unwrap();
    push.wait().unwrap();
    assert_eq!(registry.count("PUT", "/manifests/"), 0);
    let pushed = json(&p, &["push", "heat", &registry.at("heat")]);
    assert_eq!((&pushed["sent"], &pushed["blobs"]), (&1.into(), &3.into()));
}

#[test]
fn an_upload_goes_on_where_the_registry_says() {
    let (p, _) = large_place();
    let (digest, size) = memory(&p, 1);
    // What has come of the large blob, and whether the line was cut.
    let state = std::sync::Arc::new(std::sync::Mutex::new((vec![], false)));
    let shared = state.clone();
    let hex = digest.clone();
    let port = serve(move |head, client| {
        let line = head.lines().next().unwrap();
        let len: usize = header(head, "content-length").map_or(0, |n| n.parse().unwrap());
        let mut read = |len: usize| {
            let mut body = vec![0; len];
            client.read_exact(&mut body).map(|()| body).ok()
        };
        let answer = |status, headers: &str| Some((status, headers.to_owned(), String::new()));
        let mut state = shared.lock().unwrap();
        if line.starts_with("PATCH /large") {
            let (from, to) = header(head, "content-range").unwrap().split_once('-').unwrap();
            assert_eq!(from.parse::<usize>().unwrap(), state.0.len(), "in order");
            assert_eq!(to.parse::<usize>().unwrap() + 1, state.0.len() + len);
            if !state.0.is_empty() && !state.1 {
                let some = read(3 << 20)?;
                state.0.extend(some);
                state.1 = true;
                return None;
            }
            state.0.extend(read(len)?);
            return answer(202, "location: /large?x=1\r\n");
        }
        if line.starts_with("GET /large") {
            let range = format!("location: /large?x=2\r\nrange: 0-{}\r\n", state.0.len() - 1);
            return answer(204, &range);
        }
        let large = len == 0 && line.starts_with("POST ");
        read(len)?;
        match line.split(' ').next().unwrap() {
            "HEAD" => answer(404, ""),
            // Which blob it will be, nobody knows yet; the small ones are PUT in one piece.
            "POST" if large => answer(202, "location: /large?x=0\r\n"),
            "PUT" if line.contains("/large") && line.contains(&hex) => answer(201, ""),
            "PUT" => answer(201, ""),
            _ => answer(200, ""),
        }
    });
    ok(&p, &["push", "heat", &format!("127.0.0.1:{port}/heat")]);
    let state = state.lock().unwrap();
    assert!(state.1, "it was cut");
    assert_eq!(state.0.len() as u64, size);
    assert!(state.0 == std::fs::read(blob(&p.store(), &digest)).unwrap());
}

#[test]
fn a_blob_that_is_never_finished() {
    let (p, _) = large_place();
    let (digest, size) = memory(&p, 1);
    let hex = digest.replace("sha256:", "");
    let chunks = std::sync::Arc::new(std::sync::Mutex::new(0u64));
    let taken = chunks.clone();
    let port = serve(move |head, client| {
        let line = head.lines().next().unwrap();
        let len: usize = header(head, "content-length").map_or(0, |n| n.parse().unwrap());
        let mut body = vec![0; len];
        client.read_exact(&mut body).ok()?;
        let answer = |status, headers: &str| Some((status, headers.to_owned(), String::new()));
        match line.split(' ').next().unwrap() {
            "HEAD" => answer(404, ""),
            "POST" => answer(202, "location: /upload\r\n"),
            "PATCH" => {
                *taken.lock().unwrap() += 1;
                answer(202, "location: /upload\r\n")
            }
            "PUT" if line.contains(&hex) => answer(500, ""),
            "PUT" => answer(201, ""),
            _ => answer(200, ""),
        }
    });
    let to = format!("127.0.0.1:{port}/heat");
    refused(&p, &["push", "heat", &to], &["cannot take a blob", "500"]);
    let each = size.div_ceil(32 << 20);
    assert_eq!(*chunks.lock().unwrap(), 3 * each, "three times, then enough");
}

#[test]
fn damage_is_refused() {
    if !have(&["docker-registry"]) {
        return;
    }
    let (p, plain) = place(2);
    let registry = Registry::start();
    ok(&p, &["push", "heat@1", &registry.at("heat")]);
    ok(&p, &["push", "heat@2", &registry.at("heat")]);
    ok(&p, &["pull", &registry.at("heat:1"), "--store", "there"]);
    let before = std::fs::read(p.path("there/index.json")).unwrap();
    let (digest, _) = memory(&p, 2);
    let good = std::fs::read(registry.blob(&digest)).unwrap();
    flip_a_bit(&registry.blob(&digest));
    refused(
        &p,
        &["pull", &registry.at("heat:2"), "--store", "there"],
        &["sent other bytes than those of", &digest, "nothing of them was kept"],
    );
    assert!(std::fs::read(p.path("there/index.json")).unwrap() == before);
    assert!(!blob(&p.path("there"), &digest).exists());
    assert_eq!(ok(&p, &["resume", "heat", "--store", "there"]), plain);
    // Longer than its descriptor says, and shorter.
    std::fs::write(registry.blob(&digest), [&good[..], b"more"].concat()).unwrap();
    refused(&p, &["pull", &registry.at("heat:2"), "--store", "there"], &[&digest]);
    std::fs::remove_file(registry.blob(&digest)).unwrap();
    refused(
        &p,
        &["pull", &registry.at("heat:2"), "--store", "there"],
        &["is not whole", &digest, "push it again"],
    );
    std::fs::write(registry.blob(&digest), good).unwrap();
    ok(&p, &["pull", &registry.at("heat:2"), "--store", "there"]);
    assert_eq!(ok(&p, &["resume", "heat@2", "--store", "there"]), plain);

    // A damaged checkpoint is not sent.
    flip_a_bit(&blob(&p.store(), &digest));
    refused(
        &p,
        &["push", "heat@2", &registry.at("other")],
        &["checkpoint heat@2: memory 0", "is damaged"],
    );
    let fallen_back = dormouse(&p, &["push", "heat", &registry.at("other")]);
    assert!(
        fallen_back.err.contains("warning: checkpoint heat@2: memory 0"),
        "{}",
        fallen_back.err
    );
    assert!(fallen_back.out.contains("other:1 is heat@1"), "{}", fallen_back.out);
    // The registry's copy mends it.
    ok(&p, &["pull", &registry.at("heat:2")]);
    assert_eq!(ok(&p, &["verify"]), "2 of 2 checkpoints are good\n");
}

#[test]
fn passwords() {
    if !have(&["docker-registry"]) {
        return;
    }
    let (p, plain) = place(1);
    let registry = Registry::with_password();
    let to = registry.at("heat");
    let host = format!("127.0.0.1:{}", registry.port);
    refused(
        &p,
        &["push", "heat", &to],
        &["does not let us push to heat", &format!("docker login {host}")],
    );
    refused(&p, &["pull", &format!("{to}:1")], &["does not let us pull from heat"]);
    let config = |auth: &str| {
        std::fs::create_dir_all(p.path("docker")).unwrap();
        let config = serde_json::json!({"auths": {&host: {"auth": auth}}});
        std::fs::write(p.path("docker/config.json"), config.to_string()).unwrap();
    };
    config("bW91c2U6d3Jvbmc="); // mouse:wrong
    refused(&p, &["push", "heat", &to], &["does not take the name and password", "log in again"]);
    config("bW91c2U6Y2hlZXNl"); // mouse:cheese
    ok(&p, &["push", "heat", &to]);
    ok(&p, &["pull", &format!("{to}:1"), "--store", "there"]);
    assert_eq!(ok(&p, &["resume", "heat", "--store", "there"]), plain);
    std::fs::write(p.path("docker/config.json"), "{").unwrap();
    refused(&p, &["push", "heat", &to], &["cannot get the credentials", "config.json"]);

    // A program that is asked for them.
    let helper = p.path("bin/docker-credential-mice");
    std::fs::create_dir_all(helper.parent().unwrap()).unwrap();
    std::fs::write(
        &helper,
        format!("#!/bin/sh\nread server\n[ \"$server\" = {host} ] || {{ echo credentials not found in native keychain; exit 1; }}\necho '{{\"ServerURL\":\"x\",\"Username\":\"mouse\",\"Secret\":\"cheese\"}}'\n"),
    )
    .unwrap();
    Command::new("chmod").arg("+x").arg(&helper).status().unwrap();
    std::fs::write(p.path("docker/config.json"), r#"{"credsStore":"mice"}"#).unwrap();
    let path = format!("{}:{}", p.path("bin").display(), std::env::var("PATH").unwrap());
    let helped =
        command(&p, &["push", "heat", &registry.at("helped")]).env("PATH", path).output().unwrap();
    assert!(helped.status.success(), "{}", Ended::of(helped).err);
    // What podman and skopeo write.
    let auth = p.path("auth.json");
    let entry = serde_json::json!({"auths": {registry.at("podman"): {"auth": "bW91c2U6Y2hlZXNl"}}});
    std::fs::write(&auth, entry.to_string()).unwrap();
    let with = |to: &str| {
        let output =
            command(&p, &["push", "heat", to]).env("REGISTRY_AUTH_FILE", &auth).output().unwrap();
        output.status.success()
    };
    assert!(with(&registry.at("podman/heat")));
    assert!(!with(&registry.at("docker/heat")));
}

#[test]
fn tokens() {
    let p = Place::new();
    std::fs::create_dir_all(p.path("docker")).unwrap();
    let asked = std::sync::Arc::new(std::sync::Mutex::new(vec![]));
    let seen = asked.clone();
    let port = serve(move |head, _| {
        let line = head.lines().next().unwrap_or_default().to_owned();
        let host = header(head, "host").unwrap_or_default();
        seen.lock().unwrap().push(line.clone());
        if line.starts_with("GET /token?") {
            return Some(match head.contains("Basic bW91c2U6Y2hlZXNl") {
                true => (200, String::new(), r#"{"token":"abc.def"}"#.to_owned()),
                false => (
                    401,
                    String::new(),
                    r#"{"errors":[{"code":"UNAUTHORIZED","message":"who?"}]}"#.to_owned(),
                ),
            });
        }
        if line.starts_with("GET /v2/ ") {
            return Some((200, String::new(), "{}".to_owned()));
        }
        if !head.contains("Bearer abc.def") {
            let ask = format!(
                "www-authenticate: Bearer realm=\"http://{host}/token\",service=\"here\"\r\n"
            );
            return Some((401, ask, String::new()));
        }
        Some((200, String::new(), "{\"schemaVersion\":2}".to_owned()))
    });
    let from = format!("127.0.0.1:{port}/sims/heat:1");
    refused(&p, &["pull", &from], &["does not let us pull from sims/heat: who?", "docker login"]);
    let config = format!(r#"{{"auths":{{"127.0.0.1:{port}":{{"auth":"bW91c2U6Y2hlZXNl"}}}}}}"#);
    std::fs::write(p.path("docker/config.json"), config).unwrap();
    // So far the token brings us.
    refused(&p, &["pull", &from], &["is not a checkpoint of dormouse"]);
    let asked = asked.lock().unwrap();
    let token = asked.iter().rfind(|line| line.starts_with("GET /token?")).unwrap();
    assert!(
        token.contains("scope=repository%3Asims%2Fheat%3Apull") && token.contains("service=here"),
        "{token}"
    );
}

#[test]
fn plain_http_is_for_this_machine() {
    if !have(&["docker-registry"]) {
        return;
    }
    let (p, _) = place(1);
    let registry = Registry::start();
    ok(&p, &["push", "heat", &format!("localhost:{}/heat", registry.port)]);
    // The same machine, but nobody can tell from the name.
    let elsewhere = format!("0.0.0.0:{}/heat:1", registry.port);
    refused(&p, &["pull", &elsewhere], &["cannot speak TLS", "add --plain-http"]);
    refused(&p, &["push", "heat", &elsewhere], &["cannot speak TLS", "add --plain-http"]);
    ok(&p, &["pull", &elsewhere, "--plain-http", "--store", "there"]);
}

#[test]
fn certificates() {
    if !have(&["docker-registry", "openssl"]) {
        return;
    }
    let (p, plain) = place(1);
    let (registry, certificate) = Registry::with_tls();
    let to = registry.at("heat");
    // On this machine too: it says that it wants TLS.
    refused(&p, &["push", "heat", &to], &["cannot speak TLS", "let the system trust it"]);
    let trusting = |args: &[&str]| {
        let ended =
            Ended::of(command(&p, args).env("SSL_CERT_FILE", &certificate).output().unwrap());
        assert_eq!(ended.code, Some(0), "{args:?}: {}", ended.err);
    };
    trusting(&["push", "heat", &to]);
    trusting(&["pull", &format!("0.0.0.0:{}/heat:1", registry.port), "--store", "there"]);
    assert_eq!(ok(&p, &["resume", "heat", "--store", "there"]), plain);
}
