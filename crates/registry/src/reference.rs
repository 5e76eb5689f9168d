//! Names of images.
//!
//! ```text
//!   registry.example:5000/sims/heat:12@sha256:9f0c..
//!   └─── registry ──────┘└─ name ─┘└tag┘└─ digest ─┘
//! ```
//!
//! Docker Hub has its API at another host than its images' names say, and names of one word are in `library/` there:
//! `docker.io/heat` is `library/heat` at `registry-1.docker.io`.

use crate::Error;
use std::fmt;
use std::str::FromStr;

/// Where Docker Hub answers.
const DOCKER_HUB: &str = "registry-1.docker.io";

/// Where an image lies in a registry.
///
/// ```
/// use dormouse_registry::Reference;
///
/// let r: Reference = "registry.example/sims/heat:12".parse()?;
/// assert_eq!((r.registry(), r.name(), r.tag()), ("registry.example", "sims/heat", Some("12")));
/// assert!("heat:12".parse::<Reference>().is_err()); // of which registry?
/// # Ok::<(), dormouse_registry::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    registry: String,
    name: String,
    tag: Option<String>,
    digest: Option<String>,
}

impl Reference {
    /// Host, and port if there is one.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Name of the repository within the registry.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The tag.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The manifest's digest, as `sha256:...`.
    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }

    /// The same with this tag, if it has neither tag nor digest.
    pub fn or_tag(mut self, tag: impl ToString) -> Reference {
        if self.tag.is_none() && self.digest.is_none() {
            self.tag = Some(tag.to_string());
        }
        self
    }

    /// What a manifest is asked for by: the digest if there is one, else the tag.
    pub(crate) fn manifest(&self) -> &str {
        self.digest().or(self.tag()).unwrap_or("latest")
    }

    /// Whether the registry is Docker Hub, which has several names.
    pub(crate) fn is_docker_hub(&self) -> bool {
        is_docker_hub(&self.registry)
    }

    /// Host, and port if there is one, to be asked.
    pub(crate) fn host(&self) -> &str {
        if self.is_docker_hub() { DOCKER_HUB } else { &self.registry }
    }

    /// Whether the registry is this very machine, with which plain HTTP is as good.
    pub(crate) fn is_local(&self) -> bool {
        let host = match self.registry.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or_default(),
            None => self.registry.split(':').next().unwrap_or_default(),
        };
        let address = host.parse::<std::net::IpAddr>();
        host == "localhost" || address.is_ok_and(|a| a.is_loopback())
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.name)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Reference, Error> {
        let bad = |why| Error::BadReference { text: text.to_owned(), why };
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.to_owned())),
            None => (text, None),
        };
        if digest.as_deref().is_some_and(|d| !is_digest(d)) {
            return Err(bad("a digest is sha256: and 64 digits of 0-9 and a-f"));
        }
        let (registry, rest) = rest.split_once('/').ok_or_else(|| bad("it names no registry"))?;
        if !registry.contains(['.', ':']) && registry != "localhost" {
            return Err(bad("it does not begin with the registry's host"));
        }
        if !is_host(registry) {
            return Err(bad("its host is not one"));
        }
        let (name, tag) = match rest.split_once(':') {
            Some((name, tag)) => (name, Some(tag.to_owned())),
            None => (rest, None),
        };
        let name = match is_docker_hub(registry) && !name.contains('/') {
            true => format!("library/{name}"),
            false => name.to_owned(),
        };
        if !name.split('/').all(is_component) || name.len() > 255 {
            return Err(bad(
                "names have small letters, digits, and single '.', '_', '-' and '/' between them",
            ));
        }
        if tag.as_deref().is_some_and(|tag| !is_tag(tag)) {
            return Err(bad("tags have up to 128 letters, digits, '.', '_' and '-'"));
        }
        Ok(Reference { registry: registry.to_owned(), name, tag, digest })
    }
}

/// `sha256:` and 64 hexadecimal digits.
pub(crate) fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:")
        .is_some_and(|d| d.len() == 64 && d.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
}

fn is_docker_hub(registry: &str) -> bool {
    let names = ["docker.io", "index.docker.io", DOCKER_HUB];
    names.iter().any(|name| registry.eq_ignore_ascii_case(name))
}

/// `host`, `host:port`, `[address]:port`.
fn is_host(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, port)) if address.parse::<std::net::Ipv6Addr>().is_ok() => ("v6", port),
            _ => return false,
        },
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let good_port = match port.strip_prefix(':') {
        Some(port) => port.parse::<u16>().is_ok(),
        None => port.is_empty(),
    };
    let good = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    good_port && !host.is_empty() && host.chars().all(good)
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(text: &str) -> bool {
    let plain = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let bytes = text.as_bytes();
    let inner = |b: &u8| plain(Some(b)) || b"._-".contains(b);
    plain(bytes.first())
        && plain(bytes.last())
        && bytes.iter().all(inner)
        && !["..", "._", "_.", ".-", "-.", "_-", "-_", "___"].iter().any(|bad| text.contains(bad))
}

fn is_tag(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    text.len() <= 128
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|b| word(b) || b == b'.' || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        for good in [
            "localhost/a",
            "localhost:5000/a/b_c/d--e:x",
            "127.0.0.1:5000/heat:12",
            "[::1]:5000/heat",
            "registry.example/sims/heat:v1.0_x-y",
            &format!("registry.example/heat@{digest}"),
            &format!("registry.example/heat:1@{digest}"),
        ] {
            let parsed: Reference = good.parse().unwrap();
            assert_eq!(parsed.to_string(), good);
        }
        for bad in [
            "",
            "heat",
            "heat:12",
            "sims/heat",
            "registry.example",
            "registry.example/",
            "registry.example/Heat",
            "registry.example/a//b",
            "registry.example/../x",
            "registry.example/a..b",
            "registry.example/heat:",
            "registry.example/heat:-x",
            "registry.example/heat@sha256:12",
            "registry.example/heat@md5:12",
            "registry.example:x/heat",
            "http://registry.example/heat",
            "user@registry.example/heat",
            "registry.example/heat?x=1",
            "registry.example/heat 1",
            "[::1/heat",
            ":5000/heat",
        ] {
            assert!(bad.parse::<Reference>().is_err(), "{bad}");
        }
    }

    #[test]
    fn docker_hub() {
        let hub = "registry-1.docker.io";
        for (text, host, name) in [
            ("docker.io/me/heat:1", hub, "me/heat"),
            ("docker.io/heat", hub, "library/heat"),
            ("Docker.io/heat", hub, "library/heat"),
            ("index.docker.io/heat:1", hub, "library/heat"),
            ("registry-1.docker.io/me/heat", hub, "me/heat"),
            ("docker.io.example/heat", "docker.io.example", "heat"),
            ("docker.io:5000/heat", "docker.io:5000", "heat"),
        ] {
            let parsed: Reference = text.parse().unwrap();
            assert_eq!((parsed.host(), parsed.name()), (host, name), "{text}");
        }
        let parsed: Reference = "docker.io/heat:1".parse().unwrap();
        assert_eq!(parsed.to_string(), "docker.io/library/heat:1");
        assert!("docker.io/".parse::<Reference>().is_err());
        assert!("docker.io/:1".parse::<Reference>().is_err());
    }

    #[test]
    fn local() {
        for (text, local) in [
            ("localhost/a", true),
            ("localhost:80/a", true),
            ("127.0.0.1:80/a", true),
            ("[::1]:80/a", true),
            ("127.0.0.1.example/a", false),
            ("localhost.example/a", false),
            ("10.0.0.1/a", false),
        ] {
            assert_eq!(text.parse::<Reference>().unwrap().is_local(), local, "{text}");
        }
    }
}
