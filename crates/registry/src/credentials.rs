//! Who we are, as Docker, Podman and Skopeo keep it.
//!
//! ```text
//!   $REGISTRY_AUTH_FILE                        if it is set, nothing else
//!   $DOCKER_CONFIG/config.json                 else ~/.docker/config.json
//!   $XDG_RUNTIME_DIR/containers/auth.json      what `podman login` and `skopeo login` write
//!   ~/.config/containers/auth.json
//! ```
//!
//! The first that knows the registry is used. A file may name a program to ask (`docker-credential-NAME`).
//! Podman's may have entries for parts of a registry (`registry.example/sims`), which go before the whole.

use crate::{Error, Reference};
use docker_credential::{
    CredentialRetrievalError as Failure, DockerCredential, get_credential_from_reader,
};
use std::env::var_os;
use std::path::{Path, PathBuf};

/// What `docker login` files Docker Hub under.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// Larger ones are not what they seem.
const MAX_FILE_LEN: u64 = 16 << 20;

/// What the registry is told.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Credentials {
    /// Nothing is known.
    Anonymous,
    Password {
        user: String,
        password: String,
    },
    /// What single sign-on left, to be changed for a token.
    Refresh(String),
}

/// Looks for it.
pub(crate) fn find(reference: &Reference) -> Result<Credentials, Error> {
    for path in files() {
        if let Some(found) = look(&path, reference)? {
            return Ok(found);
        }
    }
    Ok(Credentials::Anonymous)
}

fn files() -> Vec<PathBuf> {
    let set = |variable| var_os(variable).filter(|v| !v.is_empty()).map(PathBuf::from);
    if let Some(file) = set("REGISTRY_AUTH_FILE") {
        return vec![file];
    }
    let docker = set("DOCKER_CONFIG").or_else(|| Some(set("HOME")?.join(".docker")));
    let config = set("XDG_CONFIG_HOME").or_else(|| Some(set("HOME")?.join(".config")));
    let podman = [set("XDG_RUNTIME_DIR"), config].into_iter().flatten();
    docker
        .into_iter()
        .map(|dir| dir.join("config.json"))
        .chain(podman.map(|dir| dir.join("containers/auth.json")))
        .collect()
}

fn look(path: &Path, reference: &Reference) -> Result<Option<Credentials>, Error> {
    let failed = |why: String| Error::Credentials {
        registry: reference.registry().to_owned(),
        path: path.to_owned(),
        why: crate::error::quoted(&why),
    };
    match std::fs::metadata(path) {
        Ok(found) if found.is_file() && found.len() <= MAX_FILE_LEN => {}
        Ok(_) => return Err(failed("it is not a file, or too large".to_owned())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error.to_string())),
    }
    let bytes = std::fs::read(path).map_err(|e| failed(e.to_string()))?;
    for key in keys(reference) {
        match get_credential_from_reader(&bytes[..], &key) {
            // So `docker login` without a password leaves it.
            Ok(DockerCredential::UsernamePassword(user, _)) if user.is_empty() => {}
            Ok(DockerCredential::UsernamePassword(user, password)) => {
                return Ok(Some(Credentials::Password { user, password }));
            }
            Ok(DockerCredential::IdentityToken(token)) => {
                return Ok(Some(Credentials::Refresh(token)));
            }
            Err(Failure::NoCredentialConfigured) => {}
            Err(Failure::HelperFailure { helper, stdout, stderr }) => {
                // The words that every helper has for "I do not know it".
                let said = format!("{stdout}{stderr}");
                if !said.contains("credentials not found") {
                    return Err(failed(format!("{helper} failed: {said}")));
                }
            }
            Err(Failure::ConfigReadError) => {
                return Err(failed("it is not JSON as Docker writes it".to_owned()));
            }
            Err(other) => return Err(failed(other.to_string())),
        }
    }
    Ok(None)
}

/// The most special first: `r.example/a/b`, `r.example/a`, `r.example`. Docker Hub, however it was called, is
/// `docker.io` to Podman, and has an address of its own with Docker.
fn keys(reference: &Reference) -> Vec<String> {
    let hub = reference.is_docker_hub();
    let registry = if hub { "docker.io" } else { reference.registry() };
    let whole = format!("{registry}/{}", reference.name());
    let ends = whole.match_indices('/').map(|(at, _)| at).chain([whole.len()]);
    let mut keys: Vec<String> = ends.map(|end| whole[..end].to_owned()).collect();
    keys.reverse();
    if hub {
        keys.push(DOCKER_HUB.to_owned());
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_hub() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        let hub = [DOCKER_HUB, "index.docker.io", "docker.io", "docker.io/me"];
        for name in ["docker.io/me/heat", "index.docker.io/me/heat", "registry-1.docker.io/me/heat"]
        {
            let reference: Reference = name.parse().unwrap();
            let all = ["docker.io/me/heat", "docker.io/me", "docker.io", DOCKER_HUB];
            assert_eq!(keys(&reference), all);
            for key in hub {
                let json = format!(r#"{{"auths":{{"{key}":{{"auth":"dXNlcjpwYXNz"}}}}}}"#);
                std::fs::write(&path, json).unwrap();
                let found = look(&path, &reference).unwrap();
                let good =
                    matches!(found, Some(Credentials::Password { user, .. }) if user == "user");
                assert!(good, "{name}: {key}");
            }
        }
        // Nobody else gets them.
        let other: Reference = "docker.io.example/me/heat".parse().unwrap();
        assert!(look(&path, &other).unwrap().is_none());
    }

    #[test]
    fn entries() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        let reference: Reference = "r.example:5000/a/b:1".parse().unwrap();
        let password = |user: &str, password: &str| {
            Some(Credentials::Password { user: user.to_owned(), password: password.to_owned() })
        };
        assert!(look(&path, &reference).unwrap().is_none());
        for (json, expected) in [
            ("{}", None),
            // user:pass
            (r#"{"auths":{"r.example:5000":{"auth":"dXNlcjpwYXNz"}}}"#, password("user", "pass")),
            (
                r#"{"auths":{"https://r.example:5000":{"auth":"dXNlcjpwYXNz"}}}"#,
                password("user", "pass"),
            ),
            (r#"{"auths":{"r.example:5000":{"username":"u","password":"p"}}}"#, password("u", "p")),
            (
                r#"{"auths":{"r.example:5000":{"username":"u","password":"p"},"r.example:5000/a":{"auth":"dXNlcjpwYXNz"}}}"#,
                password("user", "pass"),
            ),
            (
                r#"{"auths":{"r.example:5000":{"identitytoken":"t"}}}"#,
                Some(Credentials::Refresh("t".into())),
            ),
            (r#"{"auths":{"r.example":{"auth":"dXNlcjpwYXNz"}}}"#, None),
        ] {
            std::fs::write(&path, json).unwrap();
            assert!(look(&path, &reference).unwrap() == expected, "{json}");
        }
        for bad in [
            "",
            "nonsense",
            r#"{"auths":{"r.example:5000":{"auth":"%%"}}}"#,
            r#"{"credsStore":"no-such-helper"}"#,
        ] {
            std::fs::write(&path, bad).unwrap();
            let error = look(&path, &reference).err().unwrap().to_string();
            assert!(error.contains("config.json"), "{error}");
        }
    }
}
