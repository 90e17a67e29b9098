//! `registries`: where plugins whose source begins with "oci://" come from, and the signatures that they need.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::text::{Written, quoted, written_as_text};
use super::units::{Duration, Size};

/// How plugins are fetched from OCI registries. A fetched plugin is kept in the store and not fetched again, so the
/// gateway can start while all registries are down.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Registries {
    /// The directory that keeps fetched plugins, each under its digest; created if missing. Its contents are not
    /// trusted: digests and signatures are verified at every read. Relative to the directory of gateway.json.
    pub store: PathBuf,

    /// A file with credentials in the format of `docker login`. Relative to the directory of gateway.json. Default:
    /// `config.json` in `$DOCKER_CONFIG`, else in `~/.docker`, if it exists.
    pub credentials: Option<PathBuf>,

    /// Hosts that are contacted without TLS, on every port unless one is given: "registry.internal:5000".
    #[schemars(length(max = 100))]
    pub plain_http: Vec<RegistryHost>,

    /// How long connecting to a registry may take, including TLS, "1ms" to "60s".
    pub connect_timeout: Duration,

    /// How long fetching one plugin may take in all, "1ms" to "1h". It delays neither requests nor other configuration
    /// changes.
    pub timeout: Duration,

    /// The largest component that is fetched, "1KiB" to "64MiB".
    pub max_size: Size,

    /// The signatures that plugins need. For each plugin, the rule with the longest matching prefix applies; a plugin
    /// without a rule needs no signature. Default: none.
    #[schemars(length(max = 100))]
    pub verify: Vec<Verify>,
}

impl Default for Registries {
    fn default() -> Registries {
        let loopback = ["localhost", "127.0.0.1", "[::1]"];
        Registries {
            store: PathBuf::from(".gatewright/plugins"),
            credentials: None,
            plain_http: loopback.iter().map(|host| RegistryHost((*host).to_owned())).collect(),
            connect_timeout: Duration::seconds(5),
            timeout: Duration::seconds(60),
            max_size: Size::mebibytes(64),
            verify: Vec::new(),
        }
    }
}

/// The signatures that plugins under a prefix need, in cosign's format.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Verify {
    /// A registry, on every port unless one is given, or a path in it, by whole segments: "ghcr.io", "ghcr.io/acme".
    /// Default: all plugins of all registries.
    #[serde(default)]
    #[schemars(length(max = 512))]
    pub prefix: String,

    /// PEM files with public keys (ECDSA on P-256, as in the cosign.pub of `cosign generate-key-pair`). A signature by
    /// one of them is enough; a plugin without one is refused. Relative to the directory of gateway.json; the files are
    /// watched.
    #[schemars(length(min = 1, max = 100))]
    pub keys: Vec<PathBuf>,
}

impl Verify {
    /// The prefix in the letter case of references, without a trailing slash.
    pub fn segments(&self) -> String {
        self.prefix.strip_suffix('/').unwrap_or(&self.prefix).to_ascii_lowercase()
    }

    /// Whether this rule applies to a repository, as "host/name", under one of its names.
    pub fn is_for(&self, repository: &str) -> bool {
        let prefix = self.segments();
        let is_under = |name: &str| {
            name.strip_prefix(&*prefix)
                .is_some_and(|rest| prefix.is_empty() || rest.is_empty() || rest.starts_with('/'))
        };
        names_of(repository).iter().any(|name| is_under(name))
    }

    /// Why the rule can apply to no repository; `None` if it can.
    pub fn is_for_nothing(&self) -> Option<String> {
        if self.prefix.is_empty() {
            return None;
        }
        let prefix = self.segments();
        let (host, name) = prefix.split_once('/').map_or((&*prefix, None), |(host, name)| (host, Some(name)));
        let wrong = host.parse::<RegistryHost>().map(drop).and_then(|()| name.map_or(Ok(()), check_name));
        wrong.err()
    }
}

/// A plugin in a registry: `host/name`, with a tag, a digest, or both; then the digest decides.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OciReference {
    /// The registry, with its port if one is given.
    pub host: String,
    /// The name in the registry.
    pub name: String,
    pub tag: Option<String>,
    pub digest: Option<OciDigest>,
}

impl OciReference {
    /// Registry and name, without tag and digest.
    pub fn repository(&self) -> String {
        format!("{}/{}", self.host, self.name)
    }
}

impl FromStr for OciReference {
    type Err = String;

    /// As in a source, but without "oci://".
    fn from_str(text: &str) -> Result<OciReference, String> {
        let (text, digest) = match text.split_once('@') {
            Some((text, digest)) => (text, Some(digest.parse()?)),
            None => (text, None),
        };
        let (host, path) = text.split_once('/').ok_or("it has no name after the registry")?;
        let host = host.parse::<RegistryHost>()?.0;
        let (name, tag) = match path.split_once(':') {
            Some((name, tag)) => (name, Some(tag)),
            None => (path, None),
        };
        check_name(name)?;
        if let Some(tag) = tag.filter(|tag| !is_tag(tag)) {
            return Err(format!("{} is no tag", quoted(tag)));
        }
        if tag.is_none() && digest.is_none() {
            return Err("it has neither a tag nor a digest".to_owned());
        }
        Ok(OciReference { host, name: name.to_owned(), tag: tag.map(str::to_owned), digest })
    }
}

impl fmt::Display for OciReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.name)?;
        self.tag.iter().try_for_each(|tag| write!(f, ":{tag}"))?;
        self.digest.iter().try_for_each(|digest| write!(f, "@{digest}"))
    }
}

/// A digest of bytes: `sha256:` and 64 hexadecimal digits in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OciDigest(String);

impl OciDigest {
    /// The digits.
    pub fn hex(&self) -> &str {
        self.0.split_once(':').map_or("", |(_, hex)| hex)
    }
}

impl FromStr for OciDigest {
    type Err = String;

    fn from_str(text: &str) -> Result<OciDigest, String> {
        let hex = text.strip_prefix("sha256:").filter(|hex| hex.len() == 64);
        match hex.is_some_and(|hex| hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))) {
            true => Ok(OciDigest(text.to_owned())),
            false => Err(format!("{} is not \"sha256:\" and 64 hexadecimal digits in lower case", quoted(text))),
        }
    }
}

impl fmt::Display for OciDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The host of a registry, with or without a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RegistryHost(pub String);

impl RegistryHost {
    /// Whether a host, with or without a port, is this one. Without a port here, all ports match.
    pub fn is(&self, host: &str) -> bool {
        host.strip_prefix(&*self.0).is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
    }
}

impl FromStr for RegistryHost {
    type Err = String;

    fn from_str(text: &str) -> Result<RegistryHost, String> {
        let is_wrong = || format!("{} is no registry's host", quoted(text));
        let authority: http::uri::Authority = text.parse().map_err(|_| is_wrong())?;
        let has_port = authority.as_str() != authority.host();
        // An authority may contain more: a user, "*", percent-encoding.
        let is_letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | ':' | '[' | ']' | '-' | '_');
        if !text.chars().all(is_letter) || (has_port && authority.port_u16().is_none()) {
            return Err(is_wrong());
        }
        // Otherwise a name of two segments would be taken for a registry, which nobody means.
        let is_host = text == "localhost" || has_port || text.contains(['.', '[']);
        if !is_host {
            return Err(format!("{} is no registry's host: it has neither a dot nor a port", quoted(text)));
        }
        Ok(RegistryHost(text.to_ascii_lowercase()))
    }
}

impl Serialize for RegistryHost {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl Written for RegistryHost {
    const FORMAT: &'static str = "gateway-registry-host";
    const NOUN: &'static str = "the host of a registry";
    const HINT: &'static str = "a host, with or without a port: \"registry.internal:5000\"";
    const PATTERN: Option<&'static str> = Some("^[A-Za-z0-9.:\\[\\]-]+$");
    const EXAMPLES: &'static [&'static str] = &["registry.internal:5000", "10.0.0.5"];
}
written_as_text!(RegistryHost);

/// The names that lead to the same repository: also without the port, and Docker's own images with and without the owner
/// that Docker Hub lets people leave out.
fn names_of(repository: &str) -> Vec<String> {
    let (host, name) = repository.split_once('/').unwrap_or((repository, ""));
    let without_port = host.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()).map(|(host, _)| host);
    let mut names = vec![repository.to_owned()];
    names.extend(without_port.map(|host| format!("{host}/{name}")));
    if DOCKER_HUB_HOSTS.contains(&without_port.unwrap_or(host)) {
        let short = name.strip_prefix("library/").unwrap_or(name);
        names.extend([format!("docker.io/{short}"), format!("docker.io/{name}")]);
        if !short.contains('/') {
            names.push(format!("docker.io/library/{short}"));
        }
    }
    names
}

/// The name of Docker Hub in references, and the hosts behind it.
const DOCKER_HUB_HOSTS: [&str; 3] = ["docker.io", "index.docker.io", "registry-1.docker.io"];

fn check_name(name: &str) -> Result<(), String> {
    match name.len() <= 255 && name.split('/').all(is_segment) {
        true => Ok(()),
        false => Err(format!("{} is no name in a registry: segments of lower-case letters and digits", quoted(name))),
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`, from the OCI distribution specification.
fn is_segment(segment: &str) -> bool {
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let joints_are_good = segment
        .split(is_word)
        .all(|joint| matches!(joint, "" | "." | "_" | "__") || joint.bytes().all(|byte| byte == b'-'));
    joints_are_good && segment.starts_with(is_word) && segment.ends_with(is_word)
}

fn is_tag(tag: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    tag.len() <= 128 && tag.starts_with(is_word) && tag.chars().all(|c| is_word(c) || matches!(c, '.' | '-'))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const HEX: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn references_that_are_good_are_written_as_they_were_read() {
        let digest = format!("sha256:{HEX}");
        for text in [
            "ghcr.io/acme/geo:1.4",
            "localhost/a:b",
            "localhost:5000/a/b_c/d-e.f__g:V1.0-rc_2",
            "[::1]:5000/geo:1",
            "10.0.0.1/geo:1",
            &format!("ghcr.io/geo@{digest}"),
            &format!("ghcr.io/geo:1@{digest}"),
        ] {
            assert_eq!(text.parse::<OciReference>().unwrap().to_string(), *text);
        }
    }

    #[test]
    fn references_that_are_not() {
        for (text, words) in [
            ("", "no name"),
            ("geo", "no name"),
            ("acme/geo:1", "neither a dot nor a port"),
            ("ghcr.io/", "no name in a registry"),
            ("ghcr.io/geo", "neither a tag nor a digest"),
            ("ghcr.io/geo:", "no tag"),
            ("ghcr.io/geo:a/b", "no tag"),
            ("ghcr.io/geo:.a", "no tag"),
            ("ghcr.io/Geo:1", "no name in a registry"),
            ("ghcr.io/a//b:1", "no name in a registry"),
            ("ghcr.io/a/../b:1", "no name in a registry"),
            ("ghcr.io/-a:1", "no name in a registry"),
            ("ghcr.io/a..b:1", "no name in a registry"),
            ("user@ghcr.io/geo:1", "64 hexadecimal"),
            ("ghcr.io:99999/geo:1", "no registry's host"),
            ("*.ghcr.io/geo:1", "no registry's host"),
            ("ghcr.io/geo@sha256:12", "64 hexadecimal"),
            ("ghcr.io/geo@md5:12", "64 hexadecimal"),
            ("ghcr.io/geo:1?x", "no tag"),
        ] {
            let error = text.parse::<OciReference>().unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn a_rule_is_for_whole_segments() {
        for (prefix, repository, expected) in [
            ("", "ghcr.io/acme/geo", true),
            ("ghcr.io", "ghcr.io/acme/geo", true),
            ("GHCR.io/", "ghcr.io/acme/geo", true),
            ("ghcr.io/acme", "ghcr.io/acme/geo", true),
            ("ghcr.io/acme/geo", "ghcr.io/acme/geo", true),
            ("ghcr.io/acme", "ghcr.io/acme-evil/geo", false),
            ("ghcr.io", "ghcr.io.evil.example/acme/geo", false),
            ("ghcr.io/acme", "ghcr.io:443/acme/geo", true),
            ("ghcr.io:5000", "ghcr.io:443/acme/geo", false),
            ("ghcr.io:5000", "ghcr.io/acme/geo", false),
            ("[::1]", "[::1]:5000/geo", true),
            ("docker.io/library", "docker.io/geo", true),
            ("docker.io/geo", "docker.io/library/geo", true),
            ("docker.io", "registry-1.docker.io/library/geo", true),
            ("docker.io/acme", "index.docker.io:443/acme/geo", true),
            ("docker.io/library", "docker.io/acme/geo", false),
        ] {
            let rule = Verify { prefix: prefix.to_owned(), keys: Vec::new() };
            assert_eq!(rule.is_for(repository), expected, "{prefix} {repository}");
        }
    }

    #[test]
    fn a_rule_that_no_repository_is_under_is_found() {
        for (prefix, words) in [
            ("", None),
            ("ghcr.io", None),
            ("GHCR.io/Acme/", None),
            ("localhost:5000/a/b_c/d-e.f__g", None),
            ("[::1]:5000", None),
            ("/", Some("no registry's host")),
            ("acme/plugins", Some("neither a dot nor a port")),
            ("oci://ghcr.io/acme", Some("no registry's host")),
            ("*.ghcr.io", Some("no registry's host")),
            ("ghcr.io/*", Some("\"*\" is no name")),
            ("ghcr.io/acme/*", Some("\"acme/*\" is no name")),
            ("ghcr.io/acme//", Some("\"acme/\" is no name")),
            ("ghcr.io//", Some("\"\" is no name")),
            ("ghcr.io/acme:1.4", Some("\"acme:1.4\" is no name")),
            ("ghcr.io/acme-", Some("\"acme-\" is no name")),
        ] {
            let reason = Verify { prefix: prefix.to_owned(), keys: Vec::new() }.is_for_nothing();
            assert_eq!(reason.is_some(), words.is_some(), "{prefix}: {reason:?}");
            assert!(reason.is_none_or(|reason| reason.contains(words.unwrap())), "{prefix}");
        }
    }

    #[test]
    fn a_host_without_a_port_is_meant_with_every_port() {
        for (host, other, expected) in [
            ("localhost", "localhost:5000", true),
            ("localhost", "localhost", true),
            ("localhost", "localhost.evil.example", false),
            ("127.0.0.1:5000", "127.0.0.1:5000", true),
            ("127.0.0.1:5000", "127.0.0.1:50001", false),
            ("[::1]", "[::1]:5000", true),
        ] {
            assert_eq!(host.parse::<RegistryHost>().unwrap().is(other), expected, "{host} {other}");
        }
    }
}
