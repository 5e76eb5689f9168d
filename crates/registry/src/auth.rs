//! Showing who we are, when the registry asks.
//!
//! ```text
//!   GET /v2/... ──> 401  WWW-Authenticate: Basic ..             Authorization: Basic user:password
//!                                        : Bearer realm=R,..    R?service=..&scope=.. ──> token ──> Bearer token
//! ```
//!
//! One answer serves all requests until the registry asks again. A token is asked for with
//! the name and password, the refresh token of single sign-on, or, where there is neither, with nothing: public
//! images take a token too.

use crate::client::{self, Fault};
use crate::credentials::{self, Credentials};
use crate::{Error, Reference};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use std::sync::{Mutex, PoisonError};
use ureq::Agent;
use ureq::http::{HeaderMap, header};

const MAX_TOKEN_LEN: u64 = 1 << 20;

pub(crate) struct Auth {
    reference: Reference,
    push: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    credentials: Option<Credentials>,
    /// Value of the `Authorization` header.
    header: Option<String>,
}

impl Auth {
    pub(crate) fn new(reference: &Reference, push: bool) -> Auth {
        Auth { reference: reference.clone(), push, state: Mutex::default() }
    }

    /// What to send along.
    pub(crate) fn header(&self) -> Option<String> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).header.clone()
    }

    /// Makes another header, after `used` was not enough.
    pub(crate) fn answer(
        &self,
        agent: &Agent,
        asked: &HeaderMap,
        used: Option<&str>,
    ) -> Result<(), Fault> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.header.as_deref() != used {
            // Another thread has answered meanwhile.
            return Ok(());
        }
        let credentials = match &state.credentials {
            Some(known) => known.clone(),
            None => credentials::find(&self.reference)?,
        };
        state.credentials = Some(credentials.clone());
        let challenges: Vec<Challenge> = asked
            .get_all(header::WWW_AUTHENTICATE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(challenges)
            .collect();
        let find = |scheme: &str| challenges.iter().find(|c| c.scheme.eq_ignore_ascii_case(scheme));
        let known = credentials != Credentials::Anonymous;
        let header = match (find("bearer"), find("basic"), &credentials) {
            (Some(bearer), _, _) => self.token(agent, bearer, &credentials)?,
            (None, Some(_), Credentials::Password { user, password }) => basic(user, password),
            (None, Some(_), _) => {
                return Err(self.refused("it wants a name and a password", known).into());
            }
            (None, None, _) => {
                return Err(self.refused("it does not say how to log in", known).into());
            }
        };
        if used == Some(header.as_str()) {
            return Err(self.refused("it does not take the name and password", known).into());
        }
        state.header = Some(header);
        Ok(())
    }

    /// Why a request failed for good.
    pub(crate) fn denied(&self, why: &str) -> Error {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let known = state.credentials.as_ref().is_some_and(|c| *c != Credentials::Anonymous);
        drop(state);
        self.refused(if why.is_empty() { "it is not allowed" } else { why }, known)
    }

    fn refused(&self, why: &str, known: bool) -> Error {
        Error::Unauthorised {
            registry: self.reference.registry().to_owned(),
            action: if self.push { "push to" } else { "pull from" },
            name: self.reference.name().to_owned(),
            why: why.to_owned(),
            known,
        }
    }

    fn token(&self, agent: &Agent, asked: &Challenge, who: &Credentials) -> Result<String, Fault> {
        #[derive(Deserialize)]
        struct Token {
            token: Option<String>,
            access_token: Option<String>,
        }
        let registry = self.reference.registry();
        let strange =
            |why: &str| Error::Strange { registry: registry.to_owned(), why: why.to_owned() };
        let realm =
            asked.get("realm").ok_or_else(|| strange("it does not say where tokens are"))?;
        let what = if self.push { "pull,push" } else { "pull" };
        let mut query =
            format!("scope={}", encoded(&format!("repository:{}:{what}", self.reference.name())));
        if let Some(service) = asked.get("service") {
            query += &format!("&service={}", encoded(service));
        }
        let response = match who {
            Credentials::Refresh(token) => {
                let form = format!(
                    "{query}&grant_type=refresh_token&client_id=dormouse&refresh_token={}",
                    encoded(token)
                );
                let kind = "application/x-www-form-urlencoded";
                agent.post(realm).header(header::CONTENT_TYPE, kind).send(&form)
            }
            _ => {
                let separator = if realm.contains('?') { '&' } else { '?' };
                let mut request = agent.get(format!("{realm}{separator}{query}"));
                if let Credentials::Password { user, password } = who {
                    request = request.header(header::AUTHORIZATION, basic(user, password));
                }
                request.call()
            }
        };
        let mut response = response.map_err(|error| client::fault(registry, error))?;
        let status = response.status().as_u16();
        let body = response.body_mut().with_config().limit(MAX_TOKEN_LEN).read_to_vec();
        let body = body.map_err(|error| client::fault(registry, error))?;
        if matches!(status, 400 | 401 | 403) {
            let said = client::said(&body).1;
            let known = *who != Credentials::Anonymous;
            let why =
                if said.is_empty() { "it does not take the name and password" } else { &said };
            return Err(self.refused(why, known).into());
        }
        if status != 200 {
            return Err(client::refused(registry, "give a token", status, &body));
        }
        let token: Option<Token> = serde_json::from_slice(&body).ok();
        let token = token.and_then(|t| t.token.or(t.access_token)).filter(|t| !t.is_empty());
        Ok(format!("Bearer {}", token.ok_or_else(|| strange("it gives no token"))?))
    }
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// For a query.
fn encoded(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    text.bytes()
        .map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}

#[derive(Debug, PartialEq, Eq)]
struct Challenge {
    scheme: String,
    parameters: Vec<(String, String)>,
}

impl Challenge {
    fn get(&self, key: &str) -> Option<&str> {
        self.parameters.iter().find(|(k, _)| k.eq_ignore_ascii_case(key)).map(|(_, v)| v.as_str())
    }
}

/// `Bearer realm="..",service="..", Basic realm=x`
fn challenges(text: &str) -> Vec<Challenge> {
    let mut all: Vec<Challenge> = vec![];
    let mut rest = text.trim_start_matches([' ', ',']);
    while !rest.is_empty() {
        let end = rest.find([' ', '=', ',']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        rest = match (after.strip_prefix('='), all.last_mut()) {
            (Some(value), Some(challenge)) => {
                let (value, after) = value_of(value);
                challenge.parameters.push((word.to_owned(), value));
                after
            }
            // A parameter of nothing.
            (Some(value), None) => value_of(value).1,
            (None, _) => {
                all.push(Challenge { scheme: word.to_owned(), parameters: vec![] });
                after
            }
        };
        rest = rest.trim_start_matches([' ', ',']);
    }
    all
}

/// A word or a quoted string, and what follows it.
fn value_of(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, rest) = text.split_at(text.find([' ', ',']).unwrap_or(text.len()));
        return (value.to_owned(), rest);
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(chars.next().map(|(_, c)| c)),
            c => value.push(c),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_registries_ask() {
        let one = challenges(
            r#"Bearer realm="https://a/t?x=1,2",service="s \"q\"", scope="a:b:pull,push",Basic realm=x"#,
        );
        assert_eq!(one.len(), 2);
        assert_eq!(one[0].get("realm"), Some("https://a/t?x=1,2"));
        assert_eq!(one[0].get("Service"), Some("s \"q\""));
        assert_eq!(one[0].get("scope"), Some("a:b:pull,push"));
        assert_eq!((one[1].scheme.as_str(), one[1].get("realm")), ("Basic", Some("x")));
        assert_eq!(challenges("Negotiate")[0].scheme, "Negotiate");
        for junk in [
            "",
            ",",
            "=",
            "=\"",
            "Bearer realm=\"",
            "a=b=c",
            "Bearer realm=\"é\\",
            "\"\"",
            "Bearer ,,, =x",
        ] {
            challenges(junk);
        }
    }

    #[test]
    fn queries() {
        assert_eq!(
            encoded("repository:a/b:pull,push é"),
            "repository%3Aa%2Fb%3Apull%2Cpush%20%C3%A9"
        );
    }
}
