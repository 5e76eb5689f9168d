//! A real registry on this machine, and a line to it that can be cut.
#![allow(dead_code, missing_docs)]

pub mod client;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// `mouse`, `cheese`: `htpasswd -nbB mouse cheese`.
const HTPASSWD: &str = "mouse:$2y$05$5I37zdA28jLlvEAVDPpnlu.kXGRI7/kUOH.mahfkM8NzFxgymBrn2\n";

/// Whether these programs are there; says so, loudly, if not.
pub fn have(programs: &[&str]) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs: Vec<PathBuf> = std::env::split_paths(&path).chain(["/usr/bin".into()]).collect();
    let missing = programs.iter().find(|p| !dirs.iter().any(|dir| dir.join(p).is_file()));
    if let Some(missing) = missing {
        let line = "#".repeat(80);
        eprintln!("{line}\nWARNING: {missing} is not installed: this test is LEFT OUT");
        eprintln!("WARNING: `apt-get install docker-registry skopeo` brings what it needs\n{line}");
    }
    missing.is_none()
}

/// Debian's docker-registry, with its data in a directory of its own.
pub struct Registry {
    dir: tempfile::TempDir,
    process: Child,
    pub port: u16,
}

impl Registry {
    pub fn start() -> Registry {
        Registry::with("")
    }

    /// One that wants `mouse` and `cheese`.
    pub fn with_password() -> Registry {
        Registry::with("auth: {htpasswd: {realm: mice, path: PATH/htpasswd}}\n")
    }

    /// One with a certificate that nobody trusts, and the certificate.
    pub fn with_tls() -> (Registry, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
            .args(["-nodes", "-keyout", "key.pem", "-out", "cert.pem", "-days", "30"])
            .args(["-subj", "/CN=mice", "-addext", "basicConstraints=critical,CA:FALSE"])
            .args(["-addext", "subjectAltName=IP:127.0.0.1,IP:0.0.0.0"])
            .current_dir(dir.path())
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let certificate = dir.path().join("cert.pem");
        (
            Registry::in_dir(dir, "", "tls: {certificate: PATH/cert.pem, key: PATH/key.pem}"),
            certificate,
        )
    }

    fn with(more: &str) -> Registry {
        Registry::in_dir(tempfile::tempdir().unwrap(), more, "")
    }

    fn in_dir(dir: tempfile::TempDir, more: &str, tls: &str) -> Registry {
        let path = dir.path().display().to_string();
        std::fs::write(dir.path().join("htpasswd"), HTPASSWD).unwrap();
        // Another process may take the port before the registry does.
        for _ in 0..20 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let config = format!(
                "version: 0.1\nlog: {{level: info}}\n\
                 storage: {{filesystem: {{rootdirectory: PATH/data}}, delete: {{enabled: true}}}}\n\
                 http: {{addr: \"127.0.0.1:{port}\", {tls}}}\n{more}"
            );
            std::fs::write(dir.path().join("config.yml"), config.replace("PATH", &path)).unwrap();
            let log = std::fs::File::create(dir.path().join("log")).unwrap();
            let mut process = Command::new("docker-registry")
                .arg("serve")
                .arg(dir.path().join("config.yml"))
                .stdin(Stdio::null())
                .stdout(log.try_clone().unwrap())
                .stderr(log)
                .spawn()
                .unwrap();
            let started = Instant::now();
            while process.try_wait().unwrap().is_none() {
                assert!(
                    started.elapsed() < Duration::from_secs(60),
                    "the registry does not listen"
                );
                if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    return Registry { dir, process, port };
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        panic!("{}", std::fs::read_to_string(dir.path().join("log")).unwrap());
    }

    /// `127.0.0.1:PORT/name`
    pub fn at(&self, name: &str) -> String {
        format!("127.0.0.1:{}/{name}", self.port)
    }

    /// Requests so far, as `GET /v2/... HTTP/1.1" 200`.
    pub fn requests(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.dir.path().join("log")).unwrap();
        let requests = log.lines().filter_map(|line| Some(line.split_once("] \"")?.1.to_owned()));
        requests.collect()
    }

    pub fn count(&self, method: &str, part: &str) -> usize {
        let requests = self.requests();
        requests.iter().filter(|r| r.starts_with(method) && r.contains(part)).count()
    }

    /// The file with a blob's bytes.
    pub fn blob(&self, digest: &str) -> PathBuf {
        let hex = digest.strip_prefix("sha256:").unwrap();
        let blobs = self.dir.path().join("data/docker/registry/v2/blobs/sha256");
        blobs.join(&hex[..2]).join(hex).join("data")
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Between a client and a registry; counts bytes, and cuts the line after so many.
pub struct Line {
    pub port: u16,
    state: Arc<State>,
}

struct State {
    up: AtomicU64,
    down: AtomicU64,
    /// Bytes until the next cut; negative: never.
    cut_up: AtomicI64,
    cut_down: AtomicI64,
    /// Instead of cutting, nothing goes through any more.
    stall: bool,
}

impl Line {
    pub fn to(port: u16, cut_up: i64, cut_down: i64, stall: bool) -> Line {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let own = listener.local_addr().unwrap().port();
        let state = Arc::new(State {
            up: AtomicU64::new(0),
            down: AtomicU64::new(0),
            cut_up: AtomicI64::new(cut_up),
            cut_down: AtomicI64::new(cut_down),
            stall,
        });
        let shared = state.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { continue };
                let (client2, server2) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                let (up, down) = (shared.clone(), shared.clone());
                std::thread::spawn(move || pass(client, server, &up.up, &up.cut_up, up.stall));
                std::thread::spawn(move || {
                    pass(server2, client2, &down.down, &down.cut_down, down.stall)
                });
            }
        });
        Line { port: own, state }
    }

    pub fn at(&self, name: &str) -> String {
        format!("127.0.0.1:{}/{name}", self.port)
    }

    /// Bytes to the registry.
    pub fn up(&self) -> u64 {
        self.state.up.load(SeqCst)
    }

    /// Bytes from the registry.
    pub fn down(&self) -> u64 {
        self.state.down.load(SeqCst)
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, count: &AtomicU64, cut: &AtomicI64, stall: bool) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        count.fetch_add(n as u64, SeqCst);
        let before = cut.load(SeqCst);
        if before >= 0 && cut.fetch_sub(n as i64, SeqCst) < n as i64 {
            if stall {
                // Until the process ends.
                cut.store(0, SeqCst);
                std::thread::sleep(Duration::from_secs(3600));
            }
            cut.store(-1, SeqCst);
            break;
        }
        if to.write_all(&buffer[..n]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

/// Status, headers and body of an answer.
pub type Answer = (u16, String, String);

/// A server that answers each request as `answer` says, from the request's head and what follows it; `None` hangs up.
pub fn serve(
    answer: impl Fn(&str, &mut TcpStream) -> Option<Answer> + Send + Sync + 'static,
) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let answer = answer.clone();
            std::thread::spawn(move || {
                let mut head = vec![];
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && client.read(&mut byte).is_ok_and(|n| n == 1) {
                    head.push(byte[0]);
                }
                let head = String::from_utf8_lossy(&head);
                let Some((status, headers, body)) = answer(&head, &mut client) else { return };
                let head = format!("HTTP/1.1 {status} X\r\n{headers}connection: close\r\n");
                let _ = write!(client, "{head}content-length: {}\r\n\r\n{body}", body.len());
            });
        }
    });
    port
}

/// The value of a header.
pub fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.lines().filter_map(|line| line.split_once(':'));
    lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}
