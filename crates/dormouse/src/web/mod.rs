//! `dormouse ui`: a page about a store, for a browser on this host.
//!
//! ```text
//!   browser ──127.0.0.1──> http ──> guard: Host, Origin, token ──> routes
//!                                                                   ├─ /, app.js, style.css   embedded; nothing secret
//!                                                                   ├─ GET  /api/...  shelf   what list, ps, stats say
//!                                                                   └─ POST /api/do   deeds   runs this same program
//! ```
//!
//! GET changes no checkpoint and no job. Whatever comes from a store is sent as JSON, and becomes text on the page, never markup.

mod asker;
mod deeds;
mod guard;
mod hall;
mod http;
mod inside;
mod shelf;

use deeds::{Hands, Order};
use dormouse::{Error, Result, Target, export, look};
use dormouse_store::{Store, StoreError};
use guard::Guard;
use hall::{Guest, Hall};
use http::{Bad, Request, Response};
use serde::Serialize;
use shelf::Shelf;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;

const INDEX: &str = include_str!("assets/index.html");
const ICON: &str = include_str!("assets/icon.svg");
const STYLE: &str = include_str!("assets/style.css");
const SCRIPTS: [(&str, &str); 6] = [
    ("app.js", include_str!("assets/app.js")),
    ("words.js", include_str!("assets/words.js")),
    ("server.js", include_str!("assets/server.js")),
    ("timeline.js", include_str!("assets/timeline.js")),
    ("checkpoint.js", include_str!("assets/checkpoint.js")),
    ("deeds.js", include_str!("assets/deeds.js")),
];

/// What the page is about.
pub struct Subject {
    pub dir: PathBuf,
    /// What to add to a command so that it finds the same store.
    pub hint: String,
    pub identities: Vec<PathBuf>,
    pub no_config: bool,
    /// Opens the store with the identities.
    pub open: Box<dyn Fn() -> Result<Store> + Send + Sync>,
}

/// A page that is served.
pub struct Page {
    listener: TcpListener,
    port: u16,
    site: Site,
}

struct Site {
    guard: Guard,
    shelf: Shelf,
    hands: Hands,
    open: Box<dyn Fn() -> Result<Store> + Send + Sync>,
}

impl Page {
    /// Listens on this host's loopback only; 0 is any free port.
    pub fn listen(subject: Subject, port: u16) -> Result<Page> {
        let failed = |source| Error::Io {
            action: "serve the page at",
            path: format!("127.0.0.1:{port}").into(),
            source,
        };
        let guard = Guard::new().map_err(|e| failed(std::io::Error::other(e.to_string())))?;
        let Subject { dir, hint, identities, no_config, open } = subject;
        let dir = std::path::absolute(dir).map_err(failed)?;
        let shelf = Shelf::new(&dir);
        let hands = Hands::new(dir, hint, identities, no_config).map_err(failed)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(failed)?;
        let port = listener.local_addr().map_err(failed)?.port();
        Ok(Page { listener, port, site: Site { guard, shelf, hands, open } })
    }

    /// Whoever has this may come in.
    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}/#token={}", self.port, self.site.guard.token())
    }

    /// Serves until the process ends.
    pub fn serve(self) {
        let site = Arc::new(self.site);
        let hall = Arc::new(Hall::default());
        for connection in self.listener.incoming() {
            // Too many open files, say: it is over when connections end.
            let Ok(mut connection) = connection else {
                std::thread::sleep(std::time::Duration::from_millis(100));
                continue;
            };
            // Without room it is closed; it may try again.
            let Some(guest) = hall.enter(&connection) else { continue };
            let site = site.clone();
            // Without a thread, too.
            let _ = std::thread::Builder::new().spawn(move || site.serve(&mut connection, &guest));
        }
    }
}

impl Site {
    fn serve(&self, connection: &mut TcpStream, guest: &Guest) {
        match Request::read(connection) {
            Ok(request) => {
                guest.has_asked();
                self.answer(&request).unwrap_or_else(|no| no).send(connection);
            }
            Err(Bad::Refused(response)) => response.send_early(connection),
            Err(Bad::Gone) => {}
        }
    }

    fn answer(&self, request: &Request) -> std::result::Result<Response, Response> {
        self.guard.check_host(request)?;
        let path: Vec<&str> = request.path.iter().map(String::as_str).collect();
        let Some((&"api", path)) = path.split_first() else {
            return asset(&request.method, &path);
        };
        self.guard.check_token(request)?;
        match (request.method.as_str(), path) {
            ("GET", ["state"]) => Ok(Response::json(&serde_json::json!({
                "now": format!("{:.3}", jiff::Timestamp::now()),
                "version": env!("CARGO_PKG_VERSION"),
                "hint": self.hands.hint(),
                "keys": self.hands.keys(),
                "store": self.shelf.overview(),
                "deeds": self.hands.deeds(),
            }))),
            ("GET", ["jobs", job]) => {
                let timeline = self.shelf.timeline(job).map_err(|e| refused(&e))?;
                Ok(unless_known(request, Response::json(&timeline)))
            }
            ("GET", ["checkpoints", job, number]) => {
                let seen = self.named(job, number, inside::inside);
                Ok(Response::json(&seen.map_err(|e| refused(&e))?))
            }
            ("GET", ["heat", job]) => {
                let of = |name| request.asked(name).unwrap_or_default();
                let numbers: Vec<u64> =
                    of("of").split(',').filter_map(|n| n.parse().ok()).collect();
                let cells = of("cells").parse().unwrap_or(look::CELLS);
                let store = (self.open)().map_err(|e| refused(&e))?;
                let seen = inside::warmth(&store, job, &numbers, cells);
                Ok(Response::json(&seen.map_err(|e| refused(&e))?))
            }
            ("GET", ["export", job, number]) => self.export(request, job, number),
            ("GET", ["log", id]) => Ok(self.hands.log(id.parse().unwrap_or(0))),
            // These have a body, but change nothing.
            ("POST", ["command"]) => Ok(self.hands.command_for(&order(request)?)),
            ("POST", ["rehearse"]) => Ok(self.hands.rehearse(&order(request)?)),
            ("POST", ["do"]) => Ok(self.hands.obey(&order(request)?)),
            (_, ["command" | "do" | "rehearse" | "state"] | ["jobs" | "heat" | "log", _])
            | (_, ["checkpoints" | "export", _, _]) => Err(wrong_method()),
            _ => Err(nothing_here()),
        }
    }

    /// Does this with a checkpoint that is named in an address.
    fn named<T>(
        &self,
        job: &str,
        number: &str,
        with: impl FnOnce(&Store, &Target) -> Result<T>,
    ) -> Result<T> {
        with(&(self.open)()?, &format!("{job}@{number}").parse()?)
    }

    fn export(
        &self,
        request: &Request,
        job: &str,
        number: &str,
    ) -> std::result::Result<Response, Response> {
        let wasm = match request.asked("as") {
            Some("wasm") => true,
            Some("coredump") => false,
            _ => {
                return Err(Response::error(
                    400,
                    "as a module (as=wasm), or a core dump (as=coredump)",
                ));
            }
        };
        let made = self.named(job, number, |store, target| {
            let checkpoint = store.load(&target.job, target.number)?;
            if wasm { export::wasm(&checkpoint) } else { export::core_dump(&checkpoint) }
        });
        Ok(Response::new(200, "application/wasm", made.map_err(|e| refused(&e))?))
    }
}

/// What is embedded. It says nothing of the store, so anybody may have it.
fn asset(method: &str, path: &[&str]) -> std::result::Result<Response, Response> {
    let found = match path {
        [] => Some(("text/html; charset=utf-8", INDEX)),
        ["icon.svg"] => Some(("image/svg+xml", ICON)),
        ["style.css"] => Some(("text/css; charset=utf-8", STYLE)),
        [name] => SCRIPTS
            .iter()
            .find(|(script, _)| script == name)
            .map(|(_, text)| ("text/javascript; charset=utf-8", *text)),
        _ => None,
    };
    let (kind, text) = found.ok_or_else(nothing_here)?;
    if method != "GET" {
        return Err(wrong_method());
    }
    Ok(Response::new(200, kind, text))
}

fn order(request: &Request) -> std::result::Result<Order, Response> {
    // A form of another page could not say this.
    let kind = request.header("content-type").unwrap_or_default();
    if kind.split(';').next().map(str::trim) != Some("application/json") {
        return Err(Response::error(415, "say it in JSON"));
    }
    serde_json::from_slice(&request.body)
        .map_err(|e| Response::error(400, &format!("this cannot be done: {e}")))
}

/// 304 if the page has just this.
fn unless_known(request: &Request, response: Response) -> Response {
    let digest = dormouse_store::sha256(&response.body);
    let tag = format!("\"{}\"", dormouse_store::hex(&digest[..16]));
    if request.header("if-none-match") == Some(&tag) {
        return Response::new(304, "application/json", "").with("ETag", tag);
    }
    response.with("ETag", tag)
}

/// What the library says, and of which kind that is, for the page.
#[derive(Serialize)]
struct Refusal {
    error: String,
    kind: &'static str,
}

impl Refusal {
    fn of(error: &Error) -> Refusal {
        let kind = match error {
            Error::Store(StoreError::NoKey { .. } | StoreError::BadKey { .. }) => "encrypted",
            Error::Store(StoreError::Damaged(_) | StoreError::AllDamaged { .. }) => "damaged",
            Error::Store(StoreError::NoJob { .. } | StoreError::NoCheckpoint { .. }) => "gone",
            Error::Store(StoreError::BadJobName { .. }) | Error::BadTarget { .. } => "name",
            _ => "other",
        };
        Refusal { error: dormouse::one_line(&error.to_string()), kind }
    }
}

fn refused(error: &Error) -> Response {
    let refusal = Refusal::of(error);
    let status = match refusal.kind {
        "gone" => 404,
        "name" => 400,
        _ => 409,
    };
    Response::json(&refusal).status(status)
}

fn nothing_here() -> Response {
    Response::error(404, "there is nothing here")
}

fn wrong_method() -> Response {
    Response::error(405, "not in this way")
}
