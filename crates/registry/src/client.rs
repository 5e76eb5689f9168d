//! Requests to one registry: who we are is shown when asked, what fails in passing is tried again.
//!
//! ```text
//!   Request ──try──> 2xx, 404, ..   the caller's business
//!              │ 401                 auth.rs, then once more
//!              │ 403                 Error::Unauthorised
//!              └ no answer, 429, 5xx a Fault that may pass: Patience waits, and says when it is enough
//! ```
//!
//! The `Authorization` header goes to the registry alone, never to where it sends us on to.

use crate::auth::Auth;
use crate::error::quoted;
use crate::{Error, Reference};
use serde::Deserialize;
use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use ureq::config::RedirectAuthHeaders;
use ureq::http::{HeaderMap, Method, Response, header};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body, Proxy, SendBody};

const CONNECT: Duration = Duration::from_secs(20);
/// A registry may take its time over a large blob before it answers.
const SILENCE: Duration = Duration::from_secs(120);
/// How often the same thing may fail in a row, with a registry that has answered before: for about a minute.
const TRIES: u32 = 7;
/// The same, with one that may not exist: for some seconds.
const FIRST_TRIES: u32 = 4;
const FIRST_WAIT: Duration = Duration::from_millis(300);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
const MAX_ERROR_LEN: u64 = 64 << 10;

/// One registry, for one reference.
pub(crate) struct Client {
    agent: Agent,
    pub(crate) reference: Reference,
    /// `https://host:port`
    base: String,
    auth: Auth,
    /// It has, once.
    answered: AtomicBool,
}

/// What to ask.
pub(crate) struct Request<'a> {
    pub(crate) method: Method,
    pub(crate) url: String,
    pub(crate) headers: Vec<(header::HeaderName, String)>,
    pub(crate) body: Content<'a>,
    /// For messages: "the registry cannot ...".
    pub(crate) action: &'a str,
}

/// What to send.
#[derive(Clone, Copy)]
pub(crate) enum Content<'a> {
    /// GET and HEAD.
    None,
    Bytes(&'a [u8]),
    /// A part of a file; `sent` hears of every byte that is read for sending.
    Part {
        file: &'a File,
        from: u64,
        len: u64,
        sent: &'a dyn Fn(u64),
    },
}

/// What went wrong with one try.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) error: Box<Error>,
    /// It may be better next time.
    passing: bool,
    /// When the registry wants to hear from us again.
    after: Option<Duration>,
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        Fault { error: error.into(), passing: false, after: None }
    }
}

impl Fault {
    pub(crate) fn passing(error: Error) -> Fault {
        Fault { error: error.into(), passing: true, after: None }
    }
}

/// Counts what fails in a row.
#[derive(Default)]
pub(crate) struct Patience {
    failures: u32,
}

impl Patience {
    /// Something worked.
    pub(crate) fn renew(&mut self) {
        self.failures = 0;
    }

    /// Waits before the next try, or gives the error back.
    pub(crate) fn wait(&mut self, client: &Client, fault: Fault) -> Result<(), Error> {
        self.failures += 1;
        let tries = if client.answered.load(Relaxed) { TRIES } else { FIRST_TRIES };
        if !fault.passing || self.failures >= tries {
            return Err(*fault.error);
        }
        let wait = FIRST_WAIT * 3u32.pow(self.failures - 1);
        let wait = wait.max(fault.after.unwrap_or_default()).min(LONGEST_WAIT);
        tracing::debug!("{}; again in {wait:?}", fault.error);
        std::thread::sleep(wait);
        Ok(())
    }
}

impl Client {
    pub(crate) fn new(reference: &Reference, plain_http: bool, push: bool) -> Client {
        let registry = reference.host();
        let plain = plain_http || (reference.is_local() && !wants_tls(registry));
        Client {
            agent: agent(!plain, reference.is_local()),
            reference: reference.clone(),
            base: format!("{}://{registry}", if plain { "http" } else { "https" }),
            auth: Auth::new(reference, push),
            answered: AtomicBool::new(false),
        }
    }

    /// `https://host/v2/NAME/rest`
    pub(crate) fn url(&self, rest: &str) -> String {
        format!("{}/v2/{}/{rest}", self.base, self.reference.name())
    }

    /// Where a `Location` header points to.
    pub(crate) fn resolve(&self, location: &str) -> Result<String, Error> {
        if location.starts_with('/') && !location.starts_with("//") {
            return Ok(format!("{}{location}", self.base));
        }
        // A registry behind a proxy that does TLS for it may not know that.
        let plain = format!("http://{}/", self.reference.host());
        match location.strip_prefix(&plain) {
            Some(rest) => Ok(format!("{}/{rest}", self.base)),
            None if location.starts_with("https://") || location.starts_with("http://") => {
                Ok(location.to_owned())
            }
            None => Err(self.strange("a Location of it is no address")),
        }
    }

    pub(crate) fn strange(&self, why: impl ToString) -> Error {
        let registry = self.reference.registry().to_owned();
        Error::Strange { registry, why: quoted(&why.to_string()) }
    }

    /// Asks until there is an answer.
    pub(crate) fn ask(&self, request: &Request<'_>) -> Result<Response<Body>, Error> {
        let mut patience = Patience::default();
        loop {
            match self.once(request) {
                Ok(response) => return Ok(response),
                Err(fault) => patience.wait(self, fault)?,
            }
        }
    }

    /// Asks once (again, if the registry wants to know who we are). A status below 500 is an answer, but for 401, 403,
    /// 408 and 429.
    pub(crate) fn once(&self, request: &Request<'_>) -> Result<Response<Body>, Fault> {
        let ours = request.url.strip_prefix(&self.base).is_some_and(|rest| rest.starts_with('/'));
        let mut asked = 0;
        loop {
            let shown = if ours { self.auth.header() } else { None };
            let mut response = self.send(request, shown.as_deref())?;
            self.answered.store(true, Relaxed);
            let status = response.status().as_u16();
            tracing::debug!("{} {}: {status}", request.method, without_query(&request.url));
            // Once for a token that has run out, once for a thread that was faster.
            if status == 401 && ours && asked < 3 {
                asked += 1;
                self.auth.answer(&self.agent, response.headers(), shown.as_deref())?;
                continue;
            }
            match status {
                401 | 403 => return Err(self.auth.denied(&said(&body(&mut response)).1).into()),
                408 | 429 | 500.. => {
                    let after = retry_after(response.headers());
                    let body = body(&mut response);
                    let fault = refused(self.reference.registry(), request.action, status, &body);
                    return Err(Fault { after, ..fault });
                }
                _ => return Ok(response),
            }
        }
    }

    fn send(&self, request: &Request<'_>, shown: Option<&str>) -> Result<Response<Body>, Fault> {
        let mut builder = ureq::http::Request::builder().method(&request.method).uri(&request.url);
        for (name, value) in &request.headers {
            builder = builder.header(name, value);
        }
        if let Some(shown) = shown {
            builder = builder.header(header::AUTHORIZATION, shown);
        }
        let failed = Cell::new(None);
        let mut reader = match request.body {
            Content::None => {
                let request = builder.body(()).map_err(|error| self.strange(error))?;
                let answer = self.agent.run(request);
                return answer.map_err(|error| fault(self.reference.registry(), error));
            }
            Content::Bytes(bytes) => {
                builder = builder.header(header::CONTENT_LENGTH, bytes.len());
                Sending::Bytes(bytes)
            }
            Content::Part { mut file, from, len, sent } => {
                builder = builder.header(header::CONTENT_LENGTH, len);
                file.seek(SeekFrom::Start(from)).map_err(|source| self.read_error(source))?;
                Sending::File { file: file.take(len), sent, failed: &failed }
            }
        };
        let request = builder.body(SendBody::from_reader(&mut reader));
        let answer = self.agent.run(request.map_err(|error| self.strange(error))?);
        if let Some(source) = failed.take() {
            return Err(self.read_error(source).into());
        }
        answer.map_err(|error| fault(self.reference.registry(), error))
    }

    fn read_error(&self, source: io::Error) -> Error {
        Error::Read { digest: "a blob".to_owned(), source }
    }

    /// An answer that nobody expected.
    pub(crate) fn unexpected(&self, action: &str, response: &mut Response<Body>) -> Error {
        let status = response.status().as_u16();
        let body = body(response);
        *refused(self.reference.registry(), action, status, &body).error
    }
}

/// A request's body while it is sent.
enum Sending<'a> {
    Bytes(&'a [u8]),
    File { file: io::Take<&'a File>, sent: &'a dyn Fn(u64), failed: &'a Cell<Option<io::Error>> },
}

impl Read for Sending<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Sending::Bytes(bytes) => bytes.read(into),
            Sending::File { file, sent, failed } => match file.read(into) {
                Ok(n) => {
                    sent(n as u64);
                    Ok(n)
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
                Err(error) => {
                    failed.set(Some(error));
                    Err(io::ErrorKind::Other.into())
                }
            },
        }
    }
}

fn agent(tls_only: bool, local: bool) -> Agent {
    let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build();
    // $HTTPS_PROXY and the like; it cannot reach this machine's own addresses.
    let proxy = if local { None } else { Proxy::try_from_env() };
    Agent::config_builder()
        .proxy(proxy)
        .http_status_as_error(false)
        .https_only(tls_only)
        .tls_config(tls)
        .redirect_auth_headers(RedirectAuthHeaders::SameHost)
        .user_agent(concat!("dormouse/", env!("CARGO_PKG_VERSION")))
        .timeout_connect(Some(CONNECT))
        .timeout_recv_response(Some(SILENCE))
        .timeout_per_read(Some(SILENCE))
        .timeout_per_write(Some(SILENCE))
        .build()
        .into()
}

/// Whether the registry on this machine does not want plain HTTP.
fn wants_tls(registry: &str) -> bool {
    let answer = agent(false, true).get(format!("http://{registry}/v2/")).call();
    answer.is_ok_and(|mut response| {
        response.status() == 400 && String::from_utf8_lossy(&body(&mut response)).contains("HTTPS")
    })
}

/// What an error of the HTTP client means.
pub(crate) fn fault(registry: &str, error: ureq::Error) -> Fault {
    let registry = registry.to_owned();
    let why = quoted(&error.to_string());
    match error {
        ureq::Error::RequireHttpsOnly(to) => {
            Error::Downgrade { registry, to: quoted(&without_query(&to)) }.into()
        }
        ureq::Error::Tls(_) | ureq::Error::Rustls(_) | ureq::Error::Pem(_) => {
            Error::Tls { registry, why }.into()
        }
        ureq::Error::Io(error) if is_tls(&error) => {
            Error::Tls { registry, why: quoted(&error.to_string()) }.into()
        }
        ureq::Error::HostNotFound => Error::Unreachable { registry, why }.into(),
        ureq::Error::Io(_)
        | ureq::Error::Timeout(_)
        | ureq::Error::ConnectionFailed
        | ureq::Error::Protocol(_) => Fault::passing(Error::Unreachable { registry, why }),
        _ => Error::Strange { registry, why }.into(),
    }
}

fn is_tls(error: &io::Error) -> bool {
    // What rustls makes of a bad certificate, and of an answer that is not TLS.
    error.kind() == io::ErrorKind::InvalidData
}

/// A status that is an error; 5xx and the like may pass.
pub(crate) fn refused(registry: &str, action: &str, status: u16, body: &[u8]) -> Fault {
    let error = Error::Refused {
        registry: registry.to_owned(),
        action: action.to_owned(),
        status,
        message: said(body).1,
    };
    Fault {
        error: error.into(),
        passing: matches!(status, 408 | 429 | 500 | 502 | 503 | 504),
        after: None,
    }
}

/// The body of an error, as much of it as is worth reading.
pub(crate) fn body(response: &mut Response<Body>) -> Vec<u8> {
    let mut bytes = vec![];
    let _ = response.body_mut().as_reader().take(MAX_ERROR_LEN).read_to_end(&mut bytes);
    bytes
}

/// `{"errors":[{"code":"NAME_UNKNOWN","message":"..."}]}`: code and message of the first.
pub(crate) fn said(body: &[u8]) -> (String, String) {
    #[derive(Deserialize)]
    struct Said {
        #[serde(alias = "errors")]
        errors: Vec<One>,
    }
    #[derive(Deserialize)]
    #[serde(default)]
    #[derive(Default)]
    struct One {
        code: String,
        message: String,
    }
    let parsed: Option<Said> = serde_json::from_slice(body).ok();
    match parsed.and_then(|said| said.errors.into_iter().next()) {
        Some(One { code, message }) if message.is_empty() => (quoted(&code), quoted(&code)),
        Some(One { code, message }) => (quoted(&code), quoted(&message)),
        None => Default::default(),
    }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// Queries of upload addresses may hold secrets.
fn without_query(url: &str) -> String {
    url.split('?').next().unwrap_or_default().to_owned()
}
