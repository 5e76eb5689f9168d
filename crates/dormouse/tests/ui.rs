//! `dormouse ui`: who is let in, what is answered, and the page itself in a real browser.
#![cfg(feature = "ui")]
#![allow(missing_docs)]

mod harness;

use harness::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

/// A page that is served.
struct Ui {
    process: Child,
    address: String,
    host: String,
    token: String,
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{}{}", self.head, self.body))
    }
}

impl Ui {
    fn start(p: &Place, args: &[&str]) -> Ui {
        Ui::spawn(p.command(&[&["ui", "--no-open"], args].concat()))
    }

    /// In a process group of its own, as a shell has it.
    fn spawn(mut command: Command) -> Ui {
        let mut process = command.process_group(0).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().to_owned();
        let (host, token) = address
            .strip_prefix("http://")
            .and_then(|rest| rest.split_once("/#token="))
            .unwrap_or_else(|| panic!("{address:?}"));
        Ui { host: host.to_owned(), token: token.to_owned(), address: address.clone(), process }
    }

    /// Sends just this.
    fn send(&self, request: &str) -> Answer {
        let mut stream = TcpStream::connect(&self.host).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut bytes = vec![];
        stream.read_to_end(&mut bytes).unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{text:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head: head.to_owned(), body: body.to_owned() }
    }

    /// With the host and the token, and these lines of a head.
    fn ask(&self, method: &str, path: &str, lines: &str, body: &str) -> Answer {
        self.send(&format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Length: {}\r\n{lines}\r\n{body}",
            self.host, self.token, body.len()
        ))
    }

    fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, "", "")
    }

    fn order(&self, order: &Value) -> Answer {
        self.ask("POST", "/api/do", "Content-Type: application/json\r\n", &order.to_string())
    }

    fn deeds(&self) -> Vec<Value> {
        self.get("/api/state").json()["deeds"].as_array().unwrap().clone()
    }

    /// Ctrl-C, which all of the group hear.
    fn end(mut self) {
        let group = format!("-{}", self.process.id());
        assert!(Command::new("kill").args(["-s", "INT", "--", &group]).status().unwrap().success());
        assert_eq!(self.process.wait().unwrap().code(), Some(0));
    }
}

impl Drop for Ui {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A job with three checkpoints that is asleep, and what its program prints.
fn place() -> (Place, String) {
    let p = Place::new();
    let program = p.guest("spin", &spin());
    let plain = p.ok(&["run", &program]);
    assert_eq!(p.dormouse(&["run", "--name", "nap", "--stop-at", "200", &program]).code, Some(85));
    for _ in 2..=3 {
        assert_eq!(p.dormouse(&["resume", "nap", "--stop-at", "50000"]).code, Some(85));
    }
    (p, plain)
}

/// A job that never ends.
fn endless(p: &Place, name: &str) -> Child {
    let program = p.guest("endless", &spin_with("(i64.const 9000000000000000000)", ""));
    p.start(name, &[&program])
}

/// All files below, with what is in them.
fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => dirs.push(path),
                false => drop(all.insert(path.clone(), fs::read(path).unwrap_or_default())),
            }
        }
    }
    all
}

#[test]
fn only_with_the_token() {
    let (p, _) = place();
    let ui = Ui::start(&p, &[]);
    assert_eq!(ui.token.len(), 64, "256 bits");
    let with = |token: &str, path: &str| {
        ui.send(&format!("GET {path} HTTP/1.1\r\nHost: {}\r\n{token}\r\n", ui.host))
    };
    let right = format!("Authorization: Bearer {}\r\n", ui.token);
    let wrong = [
        ("", 401),
        ("Authorization: Bearer \r\n", 401),
        ("Authorization: Basic YTpi\r\n", 401),
        (&format!("Authorization: Bearer {}\r\n", &ui.token[..63]), 403),
        (&format!("Authorization: Bearer {}\r\n", "0".repeat(64)), 403),
        // Two are none.
        (&format!("{right}{right}"), 401),
        (&format!("Cookie: token={}\r\n", ui.token), 401),
    ];
    let secret = [
        "/api/state",
        "/api/jobs/nap",
        "/api/checkpoints/nap/1",
        "/api/heat/nap?of=1",
        "/api/export/nap/1?as=wasm",
        "/api/log/1",
        "/api/do",
        "/api/nothing",
    ];
    for path in secret {
        for (token, status) in wrong {
            assert_eq!(with(token, path).status, status, "{path} {token}");
        }
    }
    assert_eq!(with("", &format!("/api/state?token={}", ui.token)).status, 401);
    assert_eq!(with(&right, "/api/state").json()["store"]["jobs"][0]["job"], "nap");
    // What anybody may see says nothing.
    let store = p.store().display().to_string();
    for path in ["/", "/style.css", "/app.js", "/icon.svg"] {
        let answer = with("", path);
        assert_eq!(answer.status, 200);
        assert!(!answer.body.contains(&ui.token) && !answer.body.contains(&store), "{path}");
    }
    let order = json!({ "do": "remove", "job": "nap", "number": 1 }).to_string();
    let unasked = ui.send(&format!(
        "POST /api/do HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{order}",
        ui.host, order.len()
    ));
    assert_eq!(unasked.status, 401);
    assert_eq!(p.checkpoints("nap"), 3);
    // Another page has another token.
    let other = Ui::start(&p, &[]);
    assert_ne!(other.token, ui.token);
    ui.end();
}

#[test]
fn only_from_here() {
    let (p, _) = place();
    let ui = Ui::start(&p, &[]);
    let port = ui.host.rsplit_once(':').unwrap().1.to_owned();
    let host = |lines: &str| {
        ui.send(&format!(
            "GET /api/state HTTP/1.1\r\n{lines}Authorization: Bearer {}\r\n\r\n",
            ui.token
        ))
        .status
    };
    for good in [format!("127.0.0.1:{port}"), format!("localhost:{port}"), "localhost:9".into()] {
        assert_eq!(host(&format!("Host: {good}\r\n")), 200, "{good}");
    }
    for bad in ["evil.example", "127.0.0.1.evil.example", "", "192.168.0.1"] {
        assert_eq!(host(&format!("Host: {bad}:{port}\r\n")), 421, "{bad}");
    }
    assert_eq!(host(""), 421);
    assert_eq!(host(&format!("Host: localhost:{port}\r\nHost: evil.example\r\n")), 421);
    // The page that anybody may see, too.
    assert_eq!(ui.send("GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n").status, 421);

    let order = json!({ "do": "remove", "job": "nap", "number": 1 }).to_string();
    for origin in
        ["http://evil.example", "null", "http://127.0.0.1:1", &format!("https://{}", ui.host)]
    {
        let lines = format!("Content-Type: application/json\r\nOrigin: {origin}\r\n");
        assert_eq!(ui.ask("POST", "/api/do", &lines, &order).status, 403, "{origin}");
        assert_eq!(ui.ask("OPTIONS", "/api/do", &lines, "").status, 403, "{origin}");
    }
    assert_eq!(p.checkpoints("nap"), 3);
    let own = format!("Content-Type: application/json\r\nOrigin: http://{}\r\n", ui.host);
    assert_eq!(ui.ask("POST", "/api/do", &own, &order).json()["state"], "done");
    assert_eq!(p.checkpoints("nap"), 2);

    // Of all sockets that listen at this port, there is one, at 127.0.0.1.
    if cfg!(target_os = "linux") {
        let port = format!(":{:04X} ", port.parse::<u16>().unwrap());
        let listening = |file: &str| {
            let table = fs::read_to_string(file).unwrap_or_default();
            let ours = table.lines().filter(|l| l.contains(&port) && l.contains(" 0A "));
            ours.map(|l| l.split_whitespace().nth(1).unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(listening("/proc/net/tcp"), [format!("0100007F{}", port.trim())]);
        assert!(listening("/proc/net/tcp6").is_empty());
    }
}

#[test]
fn headers_keep_the_page_to_itself() {
    let (p, _) = place();
    let ui = Ui::start(&p, &[]);
    for path in ["/", "/app.js", "/api/state", "/api/export/nap/1?as=wasm", "/nothing", "/%"] {
        let head = ui.get(path).head.to_lowercase();
        for line in [
            "content-security-policy: default-src 'none'; script-src 'self'; style-src 'self';",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "x-content-type-options: nosniff",
            "referrer-policy: no-referrer",
            "cache-control: no-store",
            "cross-origin-resource-policy: same-origin",
        ] {
            assert!(head.contains(line), "{path}: {line} {head}");
        }
        for never in ["access-control", "unsafe", "set-cookie"] {
            assert!(!head.contains(never), "{path}: {never}");
        }
    }
    // Nothing of the page is elsewhere, nor stands in the markup itself.
    let page = ui.get("/").body;
    for never in ["http:", "https:", "//", "<style", "onclick", "javascript:"] {
        assert!(!page.contains(never), "{never}");
    }
}

#[test]
fn looking_changes_nothing() {
    let (p, _) = place();
    let ui = Ui::start(&p, &[]);
    let before = contents(&p.store());
    for path in [
        "/",
        "/app.js",
        "/api/state",
        "/api/jobs/nap",
        "/api/checkpoints/nap/2",
        "/api/heat/nap?of=1,2,3&cells=16",
        "/api/export/nap/3?as=wasm",
        "/api/export/nap/3?as=coredump",
    ] {
        assert_eq!(ui.get(path).status, 200, "{path}");
        assert_eq!(ui.ask("POST", path, "", "").status, 405, "{path}");
        assert_eq!(ui.ask("DELETE", path, "", "").status, 405, "{path}");
    }
    for path in ["/api/do", "/api/rehearse", "/api/command"] {
        let order = json!({ "do": "remove", "job": "nap", "number": 1 }).to_string();
        let lines = "Content-Type: application/json\r\n";
        assert_eq!(ui.ask("GET", path, lines, &order).status, 405);
    }
    let order = json!({ "do": "resume", "job": "nap", "number": 2 }).to_string();
    let post = |path| ui.ask("POST", path, "Content-Type: application/json\r\n", &order).json();
    assert_eq!(post("/api/rehearse")["can_resume"], true);
    assert_eq!(post("/api/command")["command"], "dormouse resume nap@2");
    assert_eq!(contents(&p.store()), before);
    assert!(ui.deeds().is_empty());
}

#[test]
fn strange_names_lead_nowhere() {
    let (p, _) = place();
    fs::write(p.path("secret.js"), "secret").unwrap();
    let ui = Ui::start(&p, &[]);
    for path in [
        "/../secret.js",
        "/..%2fsecret.js",
        "/%2e%2e/secret.js",
        "//secret.js",
        "/assets/app.js",
        "/app.js%00",
        "/api/jobs/..%2f..%2fsecret.js",
        "/api/jobs/%2e%2e",
        "/api/jobs/",
        "/api/jobs/a%20b",
        "/api/jobs/--help",
        "/api/jobs/none",
        "/api/checkpoints/nap/x",
        "/api/checkpoints/nap/0",
        "/api/checkpoints/nap/9",
        "/api/checkpoints/nap/1@2",
        "/api/checkpoints/..%2fnap/1",
        "/api/export/nap/1",
        "/api/export/nap/1?as=../x",
        "/api/export/%3Cscript%3E/1?as=wasm",
        "/api/log/0",
        "/api/log/..%2f1",
        "/api/heat/a%2fb?of=1",
    ] {
        let answer = ui.get(path);
        assert!([400, 404].contains(&answer.status), "{path}: {}{}", answer.head, answer.body);
        assert!(
            answer.head.contains("application/json") && !answer.body.contains("secret\""),
            "{path}"
        );
    }
    let number = u64::MAX;
    for order in [
        json!({ "do": "checkpoint", "job": "--help" }),
        json!({ "do": "checkpoint", "job": "nap --stop" }),
        json!({ "do": "remove", "job": "nap" }),
        json!({ "do": "remove", "job": "--all", "number": 1 }),
        json!({ "do": "remove", "job": "nap@1 nap", "number": 2 }),
        json!({ "do": "remove", "job": "nap", "number": 0 }),
        json!({ "do": "remove", "job": "nap", "number": 1, "all": true }),
        json!({ "do": "resume", "job": "../nap", "number": 1 }),
        json!({ "do": "resume", "job": "nap", "number": 1, "clone": "--on=post-resume=true" }),
        json!({ "do": "resume", "job": "nap", "number": 1, "clone": "a/../../b" }),
        json!({ "do": "resume", "job": "nap", "number": 1, "dirs": [{ "host": "a::b", "guest": "/" }] }),
        json!({ "do": "resume", "job": "nap", "number": 1, "dirs": [{ "host": "", "guest": "/" }] }),
        // The command line would take that for `/tmp` as `:/w`.
        json!({ "do": "resume", "job": "nap", "number": 1, "dirs": [{ "host": "/tmp:", "guest": "/w" }] }),
        json!({ "do": "kill", "job": "nap" }),
        json!("nonsense"),
    ] {
        assert_eq!(ui.order(&order).status, 400, "{order}");
    }
    assert_eq!(ui.ask("POST", "/api/do", "Content-Type: text/plain\r\n", "{}").status, 415);
    // What the command refuses is told.
    let gone = ui.order(&json!({ "do": "remove", "job": "nap", "number": number })).json();
    assert_eq!(gone["state"], "failed");
    assert!(gone["says"].as_str().unwrap().contains("no checkpoint nap@"), "{gone}");
    let asleep = ui.order(&json!({ "do": "checkpoint", "job": "nap" })).json();
    assert!(asleep["says"].as_str().unwrap().contains("is not running"), "{asleep}");
    assert_eq!(p.checkpoints("nap"), 3);
}

#[test]
fn what_is_not_http() {
    let p = Place::new();
    let ui = Ui::start(&p, &[]);
    assert_eq!(ui.send("hello\r\n\r\n").status, 400);
    assert_eq!(
        ui.send(&format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "x".repeat(20_000))).status,
        431
    );
    assert_eq!(
        ui.send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999\r\n\r\n").status,
        413
    );
    // Who comes and goes, or says nothing, keeps nobody else waiting.
    let silent: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect(&ui.host).unwrap()).collect();
    let state = ui.get("/api/state").json();
    assert!(state["store"]["problem"].as_str().unwrap().contains("there is no store"), "{state}");
    drop(silent);
    assert_eq!(ui.get("/api/jobs/none").status, 409);
}

/// Who connects and says nothing can be any user of this host.
#[test]
fn many_who_say_nothing_keep_nobody_out() {
    let (p, _) = place();
    let ui = Ui::start(&p, &[]);
    let silent: Vec<TcpStream> = (0..150)
        .map(|n| {
            let mut stream = TcpStream::connect(&ui.host).unwrap();
            if n % 2 == 0 {
                stream.write_all(b"POST /api/do HTTP/1.1\r\nContent-Length: 9\r\n\r\n").unwrap();
            }
            stream
        })
        .collect();
    for _ in 0..3 {
        assert_eq!(ui.get("/api/state").status, 200);
    }
    drop(silent);
}

/// Processes that stand still accept connections, and answer nothing.
#[test]
fn jobs_that_do_not_answer_are_not_waited_for() {
    let (p, _) = place();
    let mut jobs = ["still", "stiller", "live"].map(|name| endless(&p, name));
    let ui = Ui::start(&p, &[]);
    let states = || {
        let store = ui.get("/api/state").json()["store"].clone();
        let rows = store["jobs"].as_array().unwrap().clone();
        let of =
            |name: &str| rows.iter().find(|row| row["job"] == name).unwrap()["running"].clone();
        ["still", "stiller", "live"].map(|name| of(name)["state"].as_str().unwrap().to_owned())
    };
    p.wait_for("all to answer", || states() == ["running"; 3]);
    jobs[..2].iter().for_each(|job| signal(job, "STOP"));
    p.wait_for("silence", || states() == ["no answer", "no answer", "running"]);
    // `ps` waits for five seconds for each of them, each time.
    let begun = std::time::Instant::now();
    for _ in 0..4 {
        assert_eq!(states(), ["no answer", "no answer", "running"]);
        std::thread::sleep(std::time::Duration::from_millis(800));
    }
    assert!(begun.elapsed().as_secs() < 30, "{:?}", begun.elapsed());
    jobs[..2].iter().for_each(|job| signal(job, "CONT"));
    p.wait_for("all to answer again", || states() == ["running"; 3]);
    for (name, job) in ["still", "stiller", "live"].iter().zip(&mut jobs) {
        p.ok(&["kill", name]);
        job.wait().unwrap();
    }
}

/// Of resumes that never began, and of programs that mean their status.
#[test]
fn only_what_went_well_is_done() {
    let (p, _) = place();
    let mut live = endless(&p, "live");
    p.ok(&["checkpoint", "live"]);
    let ui = Ui::start(&p, &[]);
    let ended = |order: Value| {
        let id = ui.order(&order).json()["id"].clone();
        let mut last = Value::Null;
        p.wait_for("its end", || {
            last = ui.deeds().into_iter().find(|deed| deed["id"] == id).unwrap();
            last["state"] != "running"
        });
        (last["state"].as_str().unwrap().to_owned(), last["says"].as_str().unwrap().to_owned())
    };
    let (state, says) = ended(json!({ "do": "resume", "job": "live", "number": 1 }));
    assert_eq!(state, "failed", "{says}");
    assert!(says.contains("live"), "{says}");
    // Its words are not said twice.
    let twin = json!({ "do": "resume", "job": "live", "number": 1, "clone": "twin" });
    let id = ui.order(&twin).json()["id"].clone();
    p.wait_answering("twin");
    p.ok(&["kill", "twin"]);
    let mut last = Value::Null;
    p.wait_for("its end", || {
        last = ui.deeds().into_iter().find(|deed| deed["id"] == id).unwrap();
        last["state"] != "running"
    });
    assert_eq!(last["says"], "was ended without a checkpoint");
    p.ok(&["kill", "live"]);
    live.wait().unwrap();
}

#[test]
fn a_store_that_has_vanished_is_not_made_anew() {
    let (p, _) = place();
    let ui = Ui::start(&p, &[]);
    fs::rename(p.store(), p.path("away")).unwrap();
    let deed = ui.order(&json!({ "do": "resume", "job": "nap", "number": 1 })).json();
    assert_eq!(deed["state"], "failed", "{deed}");
    assert!(!p.store().exists());
    // Nor is the empty directory where it was filled.
    fs::create_dir(p.store()).unwrap();
    assert_eq!(ui.order(&json!({ "do": "resume", "job": "nap" })).json()["state"], "failed");
    assert_eq!(fs::read_dir(p.store()).unwrap().count(), 0);
}

#[test]
fn jobs_outlive_the_page() {
    let (p, plain) = place();
    let mut live = endless(&p, "live");
    let ui = Ui::start(&p, &[]);
    let jobs = ui.get("/api/state").json()["store"]["jobs"].clone();
    assert_eq!(
        (&jobs[0]["job"], &jobs[0]["running"]["state"]),
        (&"live".into(), &"running".into())
    );
    let first = ui.order(&json!({ "do": "checkpoint", "job": "live" })).json();
    assert_eq!(
        (&first["state"], &first["command"]),
        (&"done".into(), &"dormouse checkpoint live".into())
    );
    let seen = ui.get("/api/checkpoints/live/1").json();
    assert_eq!(
        (&seen["frames"][0]["name"], &seen["frames_total"]),
        (&"spin".into(), &103.into()),
        "{seen}"
    );
    let timeline = ui.get("/api/jobs/live").json();
    assert_eq!(
        (&timeline["checkpoints"][0]["number"], &timeline["checkpoints"][0]["why"]),
        (&1.into(), &"asked".into())
    );
    // What runs is not removed by accident.
    let refused = ui.order(&json!({ "do": "remove", "job": "live", "number": 1 })).json();
    assert!(refused["says"].as_str().unwrap().contains("is running"), "{refused}");

    // One that comes to its end, and where it says what it prints.
    let resumed = ui.order(&json!({ "do": "resume", "job": "nap", "number": 2 })).json();
    assert_eq!(resumed["state"], "running", "{resumed}");
    let id = resumed["id"].clone();
    let mut last = Value::Null;
    p.wait_for("it to end", || {
        last = ui.deeds().into_iter().find(|deed| deed["id"] == id).unwrap();
        last["state"] != "running"
    });
    assert_eq!((&last["state"], &last["says"]), (&"done".into(), &"ended with status 0".into()));
    let log = last["log"].as_str().unwrap();
    assert!(log.starts_with(p.store().canonicalize().unwrap().to_str().unwrap()), "{log}");
    assert!(fs::read_to_string(log).unwrap().ends_with(&plain));
    assert!(ui.get(&format!("/api/log/{id}")).json()["text"].as_str().unwrap().ends_with(&plain));

    // A clone of what never ends, which Ctrl-C here does not reach.
    let clone = json!({ "do": "resume", "job": "live", "number": 1, "clone": "twin" });
    assert_eq!(ui.order(&clone).json()["what"], "clone");
    p.wait_answering("twin");
    ui.end();
    let rows = p.json(&["ps", "--json"]);
    let running: Vec<&str> =
        rows.as_array().unwrap().iter().map(|r| r["job"].as_str().unwrap()).collect();
    assert_eq!(running, ["live", "twin"]);
    p.ok(&["kill", "live"]);
    p.ok(&["kill", "twin"]);
    live.wait().unwrap();
}

#[test]
#[cfg(feature = "encryption")]
fn what_is_encrypted_needs_its_identity() {
    use age::secrecy::ExposeSecret;
    let p = Place::new();
    let identity = age::x25519::Identity::generate();
    fs::write(p.path("key"), identity.to_string().expose_secret()).unwrap();
    let program = p.guest("spin", &spin());
    let recipient = identity.to_public().to_string();
    let run = ["run", "--name", "secret", "--stop-at", "200", "--encrypt-to", &recipient, &program];
    assert_eq!(p.dormouse(&run).code, Some(85));
    let resume = json!({ "do": "resume", "job": "secret", "number": 1 });
    let post = |ui: &Ui, path| {
        let lines = "Content-Type: application/json\r\n";
        ui.ask("POST", path, lines, &resume.to_string()).json()
    };

    let ui = Ui::start(&p, &[]);
    assert_eq!(ui.get("/api/jobs/secret").json()["checkpoints"][0]["encrypted"], true);
    for path in ["/api/checkpoints/secret/1", "/api/export/secret/1?as=wasm"] {
        let refused = ui.get(path);
        assert_eq!((refused.status, &refused.json()["kind"]), (409, &"encrypted".into()), "{path}");
    }
    assert_eq!(ui.get("/api/heat/secret?of=1").json()[0]["kind"], "encrypted");
    assert_eq!(post(&ui, "/api/rehearse")["can_resume"], false);

    let ui = Ui::start(&p, &["--identity", "key"]);
    assert_eq!(ui.get("/api/checkpoints/secret/1").json()["frames"][0]["name"], "spin");
    assert_eq!(ui.get("/api/heat/secret?of=1").json()[0]["number"], 1);
    assert_eq!(post(&ui, "/api/rehearse")["can_resume"], true);
    let same = &post(&ui, "/api/command")["command"];
    assert_eq!(same, "dormouse resume secret@1 --identity key");
    // Wrong ones are told before anything is served.
    let wrong = p.dormouse(&["ui", "--no-open", "--identity", "none"]);
    assert!(wrong.error().contains("cannot read the identities in none"), "{}", wrong.err);
}

/// Everybody on this host sees with which words a process was started.
#[test]
fn the_browser_is_not_told_the_token_in_its_words() {
    let p = Place::new();
    fs::create_dir(p.path("bin")).unwrap();
    let opener = p.path("bin").join(if cfg!(target_os = "macos") { "open" } else { "xdg-open" });
    let script = "#!/bin/sh\necho \"$@\" > words.tmp; cp \"$1\" lead; ls -l \"$1\" > mode; mv words.tmp words\n";
    fs::write(&opener, script).unwrap();
    fs::set_permissions(&opener, fs::Permissions::from_mode(0o700)).unwrap();
    let path = std::env::var("PATH").unwrap();
    let mut command = p.command(&["ui"]);
    command.env("DISPLAY", ":9").env("PATH", format!("{}:{path}", p.path("bin").display()));
    let ui = Ui::spawn(command);
    p.wait_for("the browser", || p.path("words").exists());
    let words = fs::read_to_string(p.path("words")).unwrap();
    assert!(!words.contains(&ui.token), "{words}");
    assert!(fs::read_to_string(p.path("lead")).unwrap().contains(&ui.address));
    assert!(fs::read_to_string(p.path("mode")).unwrap().starts_with("-rw-------"));
    let lead = PathBuf::from(words.trim());
    assert!(lead.exists());
    ui.end();
    assert!(!lead.exists(), "it is of no use any more");
}

/// The page in a real browser: see `ui.mjs`, which does what a person would.
#[test]
fn in_a_browser() {
    let Some((node, playwright)) = browser() else { return };
    let (p, plain) = place();
    // A name that would be markup if it were taken for it.
    let odd = p.guest("odd", &spin());
    fs::rename(&odd, p.path("<img src=x onerror=alert(1)>.wasm")).unwrap();
    let odd = p.path("<img src=x onerror=alert(1)>.wasm");
    let run = ["run", "--name", "odd", "--stop-at", "200", odd.to_str().unwrap()];
    assert_eq!(p.dormouse(&run).code, Some(85));
    // The state of the older of two checkpoints is damaged.
    let program = p.guest("spin", &spin());
    assert_eq!(p.dormouse(&["run", "--name", "torn", "--stop-at", "200", &program]).code, Some(85));
    assert_eq!(p.dormouse(&["resume", "torn", "--stop-at", "100"]).code, Some(85));
    let digest = p.json(&["inspect", "torn@1", "--json"])["digest"].as_str().unwrap().to_owned();
    let blobs = p.store().join("blobs/sha256");
    let manifest = fs::read(blobs.join(&digest["sha256:".len()..])).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let state = manifest["config"]["digest"].as_str().unwrap();
    flip_a_bit(&blobs.join(&state["sha256:".len()..]));
    let mut live = endless(&p, "live");
    p.ok(&["checkpoint", "live"]);

    let ui = Ui::start(&p, &[]);
    let saved = p.path("saved");
    fs::create_dir(&saved).unwrap();
    let script = root().join("crates/dormouse/tests/ui.mjs");
    let mut command = Command::new(node);
    command
        .arg(script)
        .arg(playwright)
        .arg(CHROMIUM)
        .arg(&ui.address)
        .arg(&saved)
        .arg(plain.trim());
    command.arg(ui.process.id().to_string()).current_dir(p.dir.path());
    let ended = Ended::of(command.output().unwrap());
    print!("{}", ended.out);
    assert_eq!(ended.code, Some(0), "{}{}", ended.out, ended.err);

    // What it downloaded goes on here, from where it was.
    assert_eq!(p.ok(&["run", saved.join("nap-2.wasm").to_str().unwrap()]), plain);
    assert!(fs::read(saved.join("nap-2.core")).unwrap().starts_with(b"\0asm"));
    let rows = p.json(&["ps", "--json"]);
    assert_eq!(rows.as_array().unwrap().len(), 1, "only what was running: {rows}");
    p.ok(&["kill", "live"]);
    live.wait().unwrap();
}

const CHROMIUM: &str = "/usr/bin/chromium-headless-shell";

/// Node and playwright-core, as `cargo xtask setup` fetches them, if the browser is there, too.
fn browser() -> Option<(PathBuf, PathBuf)> {
    let cache = std::env::var_os("DORMOUSE_GUESTS_CACHE").filter(|c| !c.is_empty());
    let npm = cache.map_or(root().join("target/guests-cache"), PathBuf::from).join("npm");
    let found = |prefix: &str| {
        let packages = fs::read_dir(&npm).into_iter().flatten().flatten();
        packages
            .map(|p| p.path())
            .find(|p| p.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix)))
    };
    let node = found("node-linux-").map(|dir| dir.join("bin/node")).filter(|path| path.exists());
    let all = node.zip(found("playwright-core-")).filter(|_| Path::new(CHROMIUM).exists());
    if all.is_none() {
        let line = "#".repeat(80);
        eprintln!("{line}\nWARNING: no browser, or nothing that drives it: this test is LEFT OUT");
        eprintln!(
            "WARNING: `cargo xtask setup` brings {CHROMIUM}, Node and playwright-core\n{line}"
        );
    }
    all
}
