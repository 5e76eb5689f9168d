//! Who may come in: the page that was opened with the address this command printed.
//!
//! ```text
//!   http://127.0.0.1:40123/#token=9f..      the token is behind the #: no browser sends that anywhere
//!        |
//!        v  the page keeps it (sessionStorage, which is this origin's, port included), and sends it itself:
//!   Authorization: Bearer 9f..
//! ```
//!
//! A cookie would be sent by the browser with requests that other pages make, and to whatever listens on other ports of this host.
//! A header that only our own script adds is neither. Besides, `Host` must be a name of this host's loopback, so that no
//! stranger's name that was made to lead here (DNS rebinding) is served; and an `Origin` must be this page's.

use super::http::{Request, Response};
use subtle::ConstantTimeEq as _;

/// 256 bits, as hex digits.
pub struct Guard {
    token: String,
}

impl Guard {
    /// With a token of its own. An error where the system has no random numbers.
    pub fn new() -> Result<Guard, getrandom::Error> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)?;
        Ok(Guard { token: dormouse_store::hex(&bytes) })
    }

    pub fn token(&self) -> &str {
        &self.token
    }

    /// Of every request, also for what anybody may see.
    pub fn check_host(&self, request: &Request) -> Result<(), Response> {
        let host = request.header("host").unwrap_or_default();
        if !is_loopback(host) {
            return Err(Response::error(421, "this page is only at 127.0.0.1 and localhost"));
        }
        match request.header("origin") {
            None if !request.has_header("origin") => Ok(()),
            Some(origin) if origin.strip_prefix("http://") == Some(host) => Ok(()),
            _ => Err(Response::error(403, "another page asked for this")),
        }
    }

    /// Of every request for what a store holds, or that does something.
    pub fn check_token(&self, request: &Request) -> Result<(), Response> {
        let given = request.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
        match given {
            None => Err(Response::error(401, "open the address that `dormouse ui` printed")),
            Some(given) if given.as_bytes().ct_eq(self.token.as_bytes()).into() => Ok(()),
            Some(_) => Err(Response::error(
                403,
                "this is not the token of this `dormouse ui`; open the address that it printed",
            )),
        }
    }
}

/// Any port: it may have been forwarded (`ssh -L`).
fn is_loopback(host: &str) -> bool {
    ["127.0.0.1", "localhost", "[::1]"].iter().any(|name| {
        host.strip_prefix(name).is_some_and(|rest| match rest.strip_prefix(':') {
            Some(port) => port.parse::<u16>().is_ok() && !port.starts_with('+'),
            None => rest.is_empty(),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::is_loopback;

    #[test]
    fn names_of_this_host() {
        for good in ["127.0.0.1:8080", "localhost:1", "localhost", "[::1]:99", "127.0.0.1"] {
            assert!(is_loopback(good), "{good}");
        }
        for bad in [
            "",
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil.example:80",
            "127.0.0.1:",
            "127.0.0.1:80:80",
            "127.0.0.1:+80",
            "127.0.0.1:80@evil",
            "0.0.0.0:80",
            "127.0.0.1:99999",
        ] {
            assert!(!is_loopback(bad), "{bad}");
        }
    }
}
