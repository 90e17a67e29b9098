//! The table of users.

use std::collections::BTreeMap;

use gatewright_sdk::{consumers::Consumer, password, secrets, serde_json};

use crate::{Credential, User};

/// Hashes and callers by name.
pub(crate) struct Users {
    by_name: BTreeMap<String, (String, Caller)>,
    /// Every hash, for [`Users::decoy`].
    hashes: Vec<String>,
}

/// The caller of a name.
pub(crate) struct Caller {
    pub(crate) subject: String,
    /// The text of a JSON object.
    pub(crate) claims: String,
}

impl Users {
    /// # Errors
    /// Names the user by place and name, never by hash.
    pub(crate) fn new(
        users: Option<Vec<User>>,
        htpasswd: Option<&str>,
        consumers: Vec<(Credential, Consumer)>,
    ) -> Result<Self, String> {
        let mut by_name = BTreeMap::new();
        for (index, user) in users.into_iter().flatten().enumerate() {
            let (name, entry) = entry(user).map_err(|why| format!("users[{index}]: {why}"))?;
            insert(&mut by_name, name, entry).map_err(|why| format!("users[{index}]: {why}"))?;
        }
        for (index, line) in htpasswd.unwrap_or_default().lines().enumerate() {
            let line = line.trim_end();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let at = |why| format!("htpasswd, line {}: {why}", index + 1);
            let (name, entry) = from_line(line).map_err(at)?;
            insert(&mut by_name, name, entry).map_err(at)?;
        }
        for (Credential { name, hash, secret }, Consumer { name: consumer, claims }) in consumers {
            let at = |why| format!("the consumer {consumer:?}: {why}");
            let hash = one_hash(hash, secret).map_err(at)?;
            let name = name.unwrap_or_else(|| consumer.clone());
            insert(&mut by_name, name, (hash, Caller { subject: consumer.clone(), claims })).map_err(at)?;
        }
        if by_name.is_empty() {
            return Err("at least one user is needed, in users, in htpasswd or of a consumer".to_owned());
        }
        let hashes = by_name.values().map(|(hash, _)| hash.clone()).collect();
        Ok(Self { by_name, hashes })
    }

    pub(crate) fn get(&self, name: &str) -> Option<(&str, &Caller)> {
        self.by_name.get(name).map(|(hash, caller)| (hash.as_str(), caller))
    }

    /// A hash to check for an unknown name. It is the same each time for a name, as a user's own would be, and chosen
    /// among all the hashes, so that all their kinds occur.
    pub(crate) fn decoy(&self, name: &str) -> &str {
        let number = name
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        let place = number.checked_rem(self.hashes.len() as u64).and_then(|place| usize::try_from(place).ok());
        place.and_then(|place| self.hashes.get(place)).map_or("", String::as_str)
    }
}

type Entry = (String, Caller);

fn insert(by_name: &mut BTreeMap<String, Entry>, name: String, entry: Entry) -> Result<(), String> {
    if name.is_empty() || name.contains(':') || name.chars().any(char::is_control) {
        return Err(format!("{name:?} is no name: it is empty, or has a colon or a control character"));
    }
    password::check(&entry.0).map_err(|why| {
        format!("the hash of {name:?} cannot be used: {why}; `htpasswd -nBC 10 NAME` makes one with bcrypt")
    })?;
    match by_name.insert(name.clone(), entry) {
        None => Ok(()),
        Some(_) => Err(format!("{name:?} is there twice")),
    }
}

fn entry(user: User) -> Result<(String, Entry), String> {
    let hash = one_hash(user.hash, user.secret)?;
    let claims = serde_json::to_string(&user.claims).map_err(|error| error.to_string())?;
    let subject = match user.subject {
        Some(subject) if subject.is_empty() => return Err("subject is empty".to_owned()),
        Some(subject) => subject,
        None => user.name.clone(),
    };
    Ok((user.name, (hash, Caller { subject, claims })))
}

fn one_hash(hash: Option<String>, secret: Option<String>) -> Result<String, String> {
    match (hash, secret) {
        (Some(hash), None) => Ok(hash),
        (None, Some(secret)) => match secrets::get(&secret) {
            Some(hash) => Ok(hash.trim_end().to_owned()),
            None => Err(format!("the secret {secret:?} is not granted to this plugin")),
        },
        _ => Err("exactly one of hash and secret is needed".to_owned()),
    }
}

fn from_line(line: &str) -> Result<(String, Entry), String> {
    let (name, hash) = line.split_once(':').ok_or("there is no colon in it")?;
    // Apache allows further fields; none of them is supported here.
    let caller = Caller { subject: name.to_owned(), claims: "{}".to_owned() };
    Ok((name.to_owned(), (hash.to_owned(), caller)))
}
