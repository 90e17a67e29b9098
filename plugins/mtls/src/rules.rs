//! Rules, and which certificates match them.

use std::collections::BTreeMap;

use gatewright_sdk::{
    Exchange,
    serde_json::{Map, Value},
};

use crate::{
    config::{Name, OneOrMany, Rule},
    names,
};

/// The gateway's facts about a client's certificate.
pub(crate) struct Certificate {
    pub(crate) subject: String,
    issuer: String,
    serial: String,
    pub(crate) fingerprint: String,
    pub(crate) dns: Vec<String>,
    pub(crate) uri: Vec<String>,
    pub(crate) email: Vec<String>,
    pub(crate) ip: Vec<String>,
}

impl Certificate {
    /// `None` if the client has presented none, or the connection has no TLS.
    pub(crate) fn of(exchange: &Exchange) -> Option<Self> {
        let known = |name: &str| exchange.attribute(&format!("connection.tls.client.{name}"));
        let fingerprint = known("fingerprint")?;
        let names = known("names").unwrap_or_default();
        let alternative = |kind: &str| names::alternative(&names, kind);
        Some(Self {
            subject: known("subject").unwrap_or_default(),
            issuer: known("issuer").unwrap_or_default(),
            serial: known("serial").unwrap_or_default(),
            fingerprint,
            dns: alternative("DNS"),
            uri: alternative("URI"),
            email: alternative("email"),
            ip: alternative("IP"),
        })
    }

    /// The only common name of the subject.
    pub(crate) fn common_name(&self) -> Option<String> {
        let attributes = names::attributes(&self.subject)?;
        let mut named = attributes.into_iter().filter(|(name, _)| name == "CN").map(|(_, value)| value);
        let only = named.next();
        only.filter(|_| named.next().is_none())
    }

    /// The claims for later plugins.
    pub(crate) fn claims(&self) -> Map<String, Value> {
        let mut claims = Map::new();
        for (name, text) in [
            ("subject", &self.subject),
            ("issuer", &self.issuer),
            ("serial", &self.serial),
            ("fingerprint", &self.fingerprint),
        ] {
            claims.insert(name.to_owned(), text.as_str().into());
        }
        for (name, list) in [("dns", &self.dns), ("uri", &self.uri), ("email", &self.email), ("ip", &self.ip)] {
            claims.insert(name.to_owned(), list.clone().into());
        }
        claims
    }
}

/// A parsed rule.
#[derive(Debug)]
pub(crate) struct Conditions {
    subject: Option<Wanted>,
    issuer: Option<Wanted>,
    dns: Option<Vec<Pattern>>,
    uri: Option<Vec<Pattern>>,
    email: Option<Vec<Pattern>>,
    ip: Option<Vec<String>>,
    fingerprint: Option<Vec<String>>,
    serial: Option<Vec<String>>,
    pub(crate) claims: BTreeMap<String, Value>,
}

/// The required distinguished name.
#[derive(Debug)]
enum Wanted {
    /// One of these as a whole.
    Whole(Vec<String>),
    /// Each of these attributes, with one of its values.
    Parts(Vec<(String, Vec<String>)>),
}

/// A name in which one `*` may stand for a part.
#[derive(Debug)]
enum Pattern {
    Exactly(String),
    /// `*.shop.test`: one more label.
    Below(String),
    /// `spiffe://shop/ns/*`: any non-empty rest.
    Begins(String),
    /// `*@shop.test`: any mailbox.
    AnyAt(String),
}

impl Conditions {
    /// # Errors
    /// What is wrong, as a clause that follows the place of the rule.
    pub(crate) fn new(rule: Rule) -> Result<Self, String> {
        let Rule { subject, issuer, dns, uri, email, ip, fingerprint, serial, claims } = rule;
        let given = [
            subject.is_some(),
            issuer.is_some(),
            dns.is_some(),
            uri.is_some(),
            email.is_some(),
            ip.is_some(),
            fingerprint.is_some(),
            serial.is_some(),
        ];
        if !given.contains(&true) {
            return Err(": at least one condition is needed".to_owned());
        }
        let wanted = |key: &str, name: Option<Name>| {
            name.map(|name| Wanted::new(name).map_err(|why| format!(".{key}: {why}"))).transpose()
        };
        let patterns = |key: &str, names: Option<OneOrMany>, read: fn(&str) -> Result<Pattern, String>| {
            let names = list(key, names)?;
            let read = |name: &String| read(name).map_err(|why| format!(".{key}: {name:?} {why}"));
            names.map(|names| names.iter().map(read).collect::<Result<Vec<_>, _>>()).transpose()
        };
        let digits_of = |key: &str, texts: Option<OneOrMany>, digits: Option<usize>| {
            let texts = list(key, texts)?;
            texts
                .map(|texts| texts.iter().map(|text| hexadecimal(text, digits)).collect::<Option<Vec<_>>>())
                .map_or(Ok(None), |texts| {
                    texts.map(Some).ok_or_else(|| format!(".{key}: it is written in hexadecimal digits"))
                })
        };
        Ok(Self {
            subject: wanted("subject", subject)?,
            issuer: wanted("issuer", issuer)?,
            dns: patterns("dns", dns, Pattern::dns)?,
            uri: patterns("uri", uri, Pattern::uri)?,
            email: patterns("email", email, Pattern::email)?,
            ip: list("ip", ip)?.map(|ips| ips.iter().map(|ip| address(ip)).collect::<Result<_, _>>()).transpose()?,
            fingerprint: digits_of("fingerprint", fingerprint, Some(64))?,
            serial: digits_of("serial", serial, None)?,
            claims,
        })
    }

    pub(crate) fn are_met(&self, certificate: &Certificate) -> bool {
        let name = |wanted: &Option<Wanted>, name: &str| wanted.as_ref().is_none_or(|wanted| wanted.is(name));
        let any = |patterns: &Option<Vec<Pattern>>, names: &[String]| {
            patterns.as_ref().is_none_or(|wanted| names.iter().any(|name| wanted.iter().any(|one| one.fits(name))))
        };
        let one_of = |wanted: &Option<Vec<String>>, have: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted.iter().any(|one| one == have))
        };
        name(&self.subject, &certificate.subject)
            && name(&self.issuer, &certificate.issuer)
            && any(&self.dns, &certificate.dns)
            && any(&self.uri, &certificate.uri)
            && any(&self.email, &certificate.email)
            && self.ip.as_ref().is_none_or(|wanted| certificate.ip.iter().any(|ip| wanted.contains(ip)))
            && one_of(&self.fingerprint, &certificate.fingerprint)
            && one_of(&self.serial, &certificate.serial)
    }
}

impl Wanted {
    fn new(name: Name) -> Result<Self, String> {
        match name {
            Name::Whole(names) => {
                let names = names.into_list();
                match names.iter().find(|name| name.is_empty() || names::attributes(name).is_none()) {
                    Some(name) => Err(format!("{name:?} is no distinguished name such as \"CN=orders,O=Example\"")),
                    None if names.is_empty() => Err("at least one is needed".to_owned()),
                    None => Ok(Self::Whole(names)),
                }
            }
            Name::Parts(parts) if parts.is_empty() => Err("at least one attribute is needed".to_owned()),
            Name::Parts(parts) => {
                let parts: Vec<_> = parts.into_iter().map(|(name, values)| (name, values.into_list())).collect();
                match parts.iter().find(|(_, values)| values.is_empty()) {
                    Some((name, _)) => Err(format!("{name:?} needs at least one value")),
                    None => Ok(Self::Parts(parts)),
                }
            }
        }
    }

    fn is(&self, name: &str) -> bool {
        match self {
            Self::Whole(names) => names.iter().any(|wanted| wanted == name),
            Self::Parts(parts) => names::attributes(name).is_some_and(|have| {
                let has = |(name, values): &(String, Vec<String>)| {
                    have.iter().any(|(attribute, value)| attribute == name && values.contains(value))
                };
                parts.iter().all(has)
            }),
        }
    }
}

impl Pattern {
    fn dns(text: &str) -> Result<Self, String> {
        let name = text.to_ascii_lowercase();
        match name.strip_prefix("*.") {
            Some(parent) if is_plain(parent) => Ok(Self::Below(format!(".{parent}"))),
            None if is_plain(&name) => Ok(Self::Exactly(name)),
            _ => Err("is neither a name nor one that begins with \"*.\"".to_owned()),
        }
    }

    fn uri(text: &str) -> Result<Self, String> {
        match text.strip_suffix("/*") {
            Some(start) if is_plain(start) && start.contains("://") => Ok(Self::Begins(format!("{start}/"))),
            None if is_plain(text) => Ok(Self::Exactly(text.to_owned())),
            _ => Err("is neither a URI nor one that ends with \"/*\"".to_owned()),
        }
    }

    fn email(text: &str) -> Result<Self, String> {
        match text.strip_prefix("*@") {
            Some(host) if is_plain(host) => Ok(Self::AnyAt(format!("@{host}"))),
            None if is_plain(text) && text.contains('@') => Ok(Self::Exactly(text.to_owned())),
            _ => Err("is neither an address nor \"*@\" and a host".to_owned()),
        }
    }

    fn fits(&self, name: &str) -> bool {
        match self {
            Self::Exactly(wanted) => name == wanted,
            Self::Below(parent) => {
                name.strip_suffix(parent.as_str()).is_some_and(|label| is_plain(label) && !label.contains('.'))
            }
            Self::Begins(start) => name.strip_prefix(start.as_str()).is_some_and(|rest| !rest.is_empty()),
            Self::AnyAt(host) => {
                name.strip_suffix(host.as_str()).is_some_and(|name| !name.is_empty() && !name.contains('@'))
            }
        }
    }
}

fn is_plain(text: &str) -> bool {
    !text.is_empty() && !text.contains('*')
}

fn list(key: &str, texts: Option<OneOrMany>) -> Result<Option<Vec<String>>, String> {
    match texts.map(OneOrMany::into_list) {
        Some(texts) if texts.is_empty() => Err(format!(".{key}: at least one is needed")),
        texts => Ok(texts),
    }
}

/// In the gateway's form of digests and serial numbers; colons, which other tools insert, are removed.
fn hexadecimal(text: &str, digits: Option<usize>) -> Option<String> {
    let text: String = text.chars().filter(|&char| char != ':').map(|char| char.to_ascii_lowercase()).collect();
    let length = digits.unwrap_or(text.len());
    (text.len() == length && !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(text)
}

fn address(text: &str) -> Result<String, String> {
    text.parse()
        .map(|address: std::net::IpAddr| address.to_string())
        .map_err(|_| format!(".ip: {text:?} is no address"))
}
