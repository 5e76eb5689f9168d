//! As much of HTTP/1.1 as one browser on this host needs: a request that fits into a few kilobytes, an answer, and the connection
//! is closed.
//!
//! ```text
//!   GET /api/jobs/heat HTTP/1.1     -> Request { method, path: ["api","jobs","heat"], query, headers }
//!   HTTP/1.1 200 OK ...             <- Response, with the headers that keep the page to itself
//! ```
//!
//! Everything the page does waits for files and processes, so a thread a connection is all it takes; there is no runtime, and
//! nothing that the rest of the program does not link already. The parser is that of hyper.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

/// A request's line and headers.
const MAX_HEAD: usize = 16 << 10;
/// What is posted is a few names.
const MAX_BODY: usize = 64 << 10;
const MAX_HEADERS: usize = 64;
/// A request's head has come after so long, or it will not;
const PATIENCE: Duration = Duration::from_secs(2);
/// its body after so long.
const BODY: Duration = Duration::from_secs(10);
/// Who sends too much is listened to for so long.
const LINGER: Duration = Duration::from_secs(1);
/// The reader of an answer may rest for so long.
const WRITING: Duration = Duration::from_secs(60);

/// Only what is ours runs, and nothing of it talks to anybody else. Trusted types: text from a store can never become markup.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// What was asked.
#[derive(Debug, Default)]
pub struct Request {
    pub method: String,
    /// Between slashes, decoded; nothing is ever opened by these names.
    pub path: Vec<String>,
    pub query: Vec<(String, String)>,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// Why there is no request.
#[derive(Debug)]
pub enum Bad {
    /// Nobody is there any more, or says nothing.
    Gone,
    /// What is answered.
    Refused(Response),
}

impl Request {
    /// Reads one.
    pub fn read(from: &mut TcpStream) -> Result<Request, Bad> {
        let until = Instant::now() + PATIENCE;
        let mut bytes = vec![];
        let (mut request, head, length) = loop {
            if let Some(found) = parse(&bytes)? {
                break found;
            }
            if bytes.len() >= MAX_HEAD {
                return Err(Bad::Refused(Response::error(431, "the request is too long")));
            }
            more(from, until, &mut bytes, MAX_HEAD)?;
        };
        let until = Instant::now() + BODY;
        while bytes.len() < head + length {
            more(from, until, &mut bytes, head + length)?;
        }
        request.body = bytes[head..head + length].to_vec();
        Ok(request)
    }

    /// The one header of this name; none if there are two.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        found.next().filter(|_| found.next().is_none()).map(|(_, value)| value.as_str())
    }

    pub fn has_header(&self, name: &str) -> bool {
        self.headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name))
    }

    /// What the query says of this name.
    pub fn asked(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// Reads what there is, at most up to `limit` bytes in all.
fn more(
    from: &mut TcpStream,
    until: Instant,
    bytes: &mut Vec<u8>,
    limit: usize,
) -> Result<(), Bad> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() || from.set_read_timeout(Some(left)).is_err() {
        return Err(Bad::Gone);
    }
    let mut part = [0; 4096];
    let room = part.len().min(limit - bytes.len());
    match from.read(&mut part[..room]) {
        Ok(0) | Err(_) => Err(Bad::Gone),
        Ok(n) => {
            bytes.extend_from_slice(&part[..n]);
            Ok(())
        }
    }
}

/// The request without its body, how many bytes that took, and how many are to follow; none if it is not whole.
fn parse(bytes: &[u8]) -> Result<Option<(Request, usize, usize)>, Bad> {
    let refused = |status, why: &str| Err(Bad::Refused(Response::error(status, why)));
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    let head = match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(head)) => head,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return refused(400, "this is not HTTP"),
    };
    let target = parsed.path.unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let (Some(path), Some(query)) = (path_of(path), query_of(query)) else {
        return refused(400, "this is not an address of this page");
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let request = Request {
        method: parsed.method.unwrap_or_default().to_owned(),
        path,
        query,
        headers: parsed.headers.iter().map(|h| (h.name.to_owned(), text(h.value))).collect(),
        body: vec![],
    };
    if request.has_header("transfer-encoding") {
        return refused(411, "say how long the body is");
    }
    let length = match request.header("content-length") {
        None if request.has_header("content-length") => return refused(400, "two lengths"),
        None => 0,
        Some(length) => match length.trim().parse::<usize>() {
            Ok(length) if length <= MAX_BODY => length,
            _ => return refused(413, "the body is too long"),
        },
    };
    Ok(Some((request, head, length)))
}

fn path_of(path: &str) -> Option<Vec<String>> {
    let path = path.strip_prefix('/')?;
    path.split('/').filter(|part| !part.is_empty()).map(decoded).collect()
}

fn query_of(query: &str) -> Option<Vec<(String, String)>> {
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        Some((decoded(name)?, decoded(value)?))
    };
    query.split('&').filter(|part| !part.is_empty()).map(pair).collect()
}

/// `%2F` and the like; none if that is not text.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = vec![];
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with('+'))?);
        rest = &rest[2..];
    }
    String::from_utf8(bytes).ok()
}

/// What is answered.
#[derive(Debug)]
pub struct Response {
    status: u16,
    kind: &'static str,
    headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

impl Response {
    pub fn new(status: u16, kind: &'static str, body: impl Into<Vec<u8>>) -> Response {
        Response { status, kind, headers: vec![], body: body.into() }
    }

    pub fn json(value: &impl serde::Serialize) -> Response {
        let body = serde_json::to_vec(value).unwrap_or_default();
        Response::new(200, "application/json", body)
    }

    /// `{"error": "..."}`
    pub fn error(status: u16, why: &str) -> Response {
        Response::json(&serde_json::json!({ "error": why })).status(status)
    }

    pub fn status(self, status: u16) -> Response {
        Response { status, ..self }
    }

    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Response {
        self.headers.push((name, value.into()));
        self
    }

    /// Sends it. Who has gone away is no error.
    pub fn send(&self, to: &mut TcpStream) {
        let _ = self.write(to);
    }

    /// The same where not all of the request was read: if the connection were closed at once, what is sent would be lost.
    pub fn send_early(&self, to: &mut TcpStream) {
        self.send(to);
        let until = Instant::now() + LINGER;
        let _ = to.shutdown(Shutdown::Write);
        while more(to, until, &mut vec![], MAX_BODY).is_ok() {}
    }

    fn write(&self, to: &mut TcpStream) -> io::Result<()> {
        to.set_write_timeout(Some(WRITING))?;
        let mut head = format!("HTTP/1.1 {} {}\r\n", self.status, reason(self.status));
        let length = self.body.len().to_string();
        let always = [
            ("Content-Type", self.kind),
            ("Content-Length", &length),
            ("Connection", "close"),
            ("Cache-Control", "no-store"),
            ("Content-Security-Policy", POLICY),
            ("X-Content-Type-Options", "nosniff"),
            ("X-Frame-Options", "DENY"),
            ("Referrer-Policy", "no-referrer"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
            ("Cross-Origin-Opener-Policy", "same-origin"),
        ];
        let own = self.headers.iter().map(|(name, value)| (*name, value.as_str()));
        for (name, value) in always.into_iter().chain(own) {
            head += &format!("{name}: {value}\r\n");
        }
        head += "\r\n";
        to.write_all(head.as_bytes())?;
        to.write_all(&self.body)?;
        to.flush()
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        409 => "Conflict",
        411 => "Length Required",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        421 => "Misdirected Request",
        431 => "Request Header Fields Too Large",
        _ => "Error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good(text: &str) -> Request {
        parse(text.as_bytes()).unwrap().unwrap().0
    }

    fn status(text: &str) -> u16 {
        match parse(text.as_bytes()) {
            Err(Bad::Refused(response)) => response.status,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn requests() {
        let request = good(
            "GET /api//jobs/a%2e%2E%2fb?as=wasm&x&y=%c3%a4 HTTP/1.1\r\nHost: h\r\nA: 1\r\na: 2\r\n\r\n",
        );
        assert_eq!(request.path, ["api", "jobs", "a../b"]);
        assert_eq!((request.asked("as"), request.asked("x")), (Some("wasm"), Some("")));
        assert_eq!((request.asked("y"), request.asked("z")), (Some("ä"), None));
        assert_eq!((request.header("HOST"), request.header("a")), (Some("h"), None));
        assert!(parse(b"GET / HTTP/1.1\r\nHost: h\r\n").unwrap().is_none());
        let body = parse(b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nab").unwrap().unwrap();
        assert_eq!((body.1, body.2), (38, 3));
    }

    #[test]
    fn what_is_refused() {
        assert_eq!(status("nonsense\r\n\r\n"), 400);
        assert_eq!(status("GET http://elsewhere/ HTTP/1.1\r\n\r\n"), 400);
        for path in ["/%", "/%f", "/%gg", "/%+1", "/%ff", "/?a=%"] {
            assert_eq!(status(&format!("GET {path} HTTP/1.1\r\n\r\n")), 400, "{path}");
        }
        assert_eq!(status("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"), 411);
        for length in ["65537", "-1", "99999999999999999999", "x"] {
            let text = format!("POST / HTTP/1.1\r\nContent-Length: {length}\r\n\r\n");
            assert_eq!(status(&text), 413, "{length}");
        }
        assert_eq!(
            status("POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"),
            400
        );
    }
}
