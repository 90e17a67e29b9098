//! A browser as far as signing in needs one: it keeps cookies and follows redirects when it is told to.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::client::{Answer, send};

/// One person's browser.
#[derive(Clone, Default)]
pub struct Browser {
    /// Hosts that are not addresses.
    hosts: BTreeMap<String, SocketAddr>,
    /// By host and name; paths are not looked at.
    cookies: BTreeMap<(String, String), String>,
}

impl Browser {
    pub fn new(hosts: &[(&str, SocketAddr)]) -> Browser {
        let hosts = hosts.iter().map(|(host, address)| ((*host).to_owned(), *address)).collect();
        Browser { hosts, ..Browser::default() }
    }

    /// One request, as if somebody opened a page or sent a form.
    pub async fn request(&mut self, method: &str, url: &str, form: &str) -> Answer {
        let rest = url.strip_prefix("http://").unwrap_or_else(|| panic!("{url} is not http"));
        let (host, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
        let address = self.hosts.get(host).copied().unwrap_or_else(|| host.parse().unwrap());
        let cookies: Vec<String> = self.cookies_of(host).map(|(name, value)| format!("{name}={value}")).collect();
        let cookies = cookies.join("; ");
        let mut headers = vec![("host", host), ("accept", "text/html"), ("sec-fetch-mode", "navigate")];
        if !cookies.is_empty() {
            headers.push(("cookie", &cookies));
        }
        if !form.is_empty() {
            headers.push(("content-type", "application/x-www-form-urlencoded"));
        }
        let answer = send(address, method, path, &headers, form.to_owned()).await;
        let host = host.to_owned();
        for set in answer.headers.get_all("set-cookie") {
            self.keep(&host, set.to_str().unwrap());
        }
        answer
    }

    /// Opens a page and follows redirects for as long as `goes_on` says of an address; gives the last address and answer.
    pub async fn open_while(&mut self, url: &str, goes_on: impl Fn(&str) -> bool) -> (String, Answer) {
        let mut url = url.to_owned();
        for _ in 0..20 {
            let answer = self.request("GET", &url, "").await;
            let Some(next) = answer.header("location").map(|next| absolute(&url, next)) else { return (url, answer) };
            if !goes_on(&next) {
                return (next, answer);
            }
            url = next;
        }
        panic!("redirects without an end, the last to {url}");
    }

    pub async fn open(&mut self, url: &str) -> (String, Answer) {
        self.open_while(url, |_| true).await
    }

    pub fn cookie(&self, host: &str, name: &str) -> Option<&str> {
        self.cookies.get(&(host.to_owned(), name.to_owned())).map(String::as_str)
    }

    pub fn set_cookie(&mut self, host: &str, name: &str, value: &str) {
        self.cookies.insert((host.to_owned(), name.to_owned()), value.to_owned());
    }

    fn cookies_of(&self, host: &str) -> impl Iterator<Item = (&str, &str)> {
        self.cookies.iter().filter(move |((of, _), _)| of == host).map(|((_, name), value)| (&**name, &**value))
    }

    fn keep(&mut self, host: &str, set: &str) {
        let (pair, attributes) = set.split_once(';').unwrap_or((set, ""));
        let (name, value) = pair.split_once('=').unwrap();
        let attributes = attributes.to_ascii_lowercase();
        let is_over = value.is_empty() || attributes.contains("max-age=0") || attributes.contains("01 jan 1970");
        let key = (host.to_owned(), name.to_owned());
        match is_over {
            true => drop(self.cookies.remove(&key)),
            false => drop(self.cookies.insert(key, value.to_owned())),
        }
    }
}

fn absolute(url: &str, next: &str) -> String {
    if next.starts_with("http") {
        return next.to_owned();
    }
    let host = url.strip_prefix("http://").unwrap().split('/').next().unwrap();
    format!("http://{host}{next}")
}
