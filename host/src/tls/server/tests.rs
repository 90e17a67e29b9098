//! What is kept from one server to the next, and when certificates are too old.
#![allow(clippy::unwrap_used)]

use rcgen::{CertificateParams, KeyPair};
use tempfile::TempDir;

use super::*;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

struct Folder(TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a certificate that is valid from `start` to `end`.
    fn issue(&self, start: SystemTime, end: SystemTime) {
        let mut params = CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
        (params.not_before, params.not_after) = (start.into(), end.into());
        let key = KeyPair::generate().unwrap();
        std::fs::write(self.path("a.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        std::fs::write(self.path("a.key"), key.serialize_pem()).unwrap();
    }

    fn settings(&self) -> Settings {
        Settings {
            certificates: Certificates::Files(vec![Pair { cert: self.path("a.pem"), key: self.path("a.key") }]),
            tls12: true,
            clients: None,
            protocols: vec![Alpn::Http2, Alpn::Http1],
        }
    }
}

fn complaint(result: Result<Arc<Server>, Vec<(Part, Mistake)>>) -> String {
    result.err().into_iter().flatten().map(|(part, mistake)| format!("{part:?}: {mistake}")).collect()
}

#[test]
fn what_ends_in_use_holds_up_nothing_else() {
    let (folder, now) = (Folder::new(), SystemTime::now());
    folder.issue(now - DAY, now + DAY);
    let first = Server::load(folder.settings(), None, now).unwrap();
    let later = now + 2 * DAY;
    assert!(complaint(Server::load(folder.settings(), None, later)).contains("Certificate(0): the certificate in"));
    // The same settings, or others with the same certificate.
    assert!(Arc::ptr_eq(&Server::load(folder.settings(), Some(&first), later).unwrap(), &first));
    let stricter = Settings { tls12: false, ..folder.settings() };
    let second = Server::load(stricter, Some(&first), later).unwrap();
    // Another expired certificate is a mistake; so is one that begins tomorrow.
    folder.issue(now - DAY, now + DAY);
    assert!(complaint(Server::load(folder.settings(), Some(&second), later)).contains("expired on"));
    folder.issue(later + DAY, later + 2 * DAY);
    assert!(complaint(Server::load(folder.settings(), Some(&second), later)).contains("is valid from"));
}

#[test]
fn tickets_outlive_certificates_but_no_rule_about_clients() {
    let (folder, now) = (Folder::new(), SystemTime::now());
    folder.issue(now - DAY, now + DAY);
    let first = Server::load(folder.settings(), None, now).unwrap();
    folder.issue(now - DAY, now + DAY);
    let renewed = Server::load(folder.settings(), Some(&first), now).unwrap();
    let same_tickets = |one: &Server, other: &Server| Arc::ptr_eq(&one.config.ticketer, &other.config.ticketer);
    assert!(!Arc::ptr_eq(&first, &renewed) && same_tickets(&first, &renewed));
    let clients =
        |required| Settings { clients: Some(Clients { ca: folder.path("a.pem"), required }), ..folder.settings() };
    let asking = Server::load(clients(false), Some(&renewed), now).unwrap();
    assert!(!same_tickets(&renewed, &asking));
    let demanding = Server::load(clients(true), Some(&asking), now).unwrap();
    assert!(!same_tickets(&asking, &demanding));
    // The authorities changed, but not their path.
    folder.issue(now - DAY, now + DAY);
    let others = Server::load(clients(true), Some(&demanding), now).unwrap();
    assert!(!same_tickets(&demanding, &others));
}

#[test]
fn the_development_certificate_stays_until_it_ends() {
    let (folder, now) = (Folder::new(), SystemTime::now());
    let settings = || Settings { certificates: Certificates::SelfSigned, ..folder.settings() };
    let leaf = |server: &Server| server.shown.all.first().unwrap().key.cert.clone();
    let first = Server::load(settings(), None, now).unwrap();
    let second = Server::load(Settings { tls12: false, ..settings() }, Some(&first), now + DAY).unwrap();
    assert_eq!(leaf(&first), leaf(&second));
    let later = Server::load(Settings { tls12: true, ..settings() }, Some(&second), now + 400 * DAY).unwrap();
    assert_ne!(leaf(&second), leaf(&later));
}

#[test]
fn renewal_is_due_in_the_last_third_of_a_life_or_the_last_month() {
    let start = SystemTime::UNIX_EPOCH;
    for (life, left, is_near) in
        [(90, 31, false), (90, 29, true), (398, 31, false), (398, 29, true), (6, 3, false), (6, 1, true)]
    {
        let (not_before, not_after) = (start, start + life * DAY);
        let expiry = Expiry { certificate: String::new(), not_before, not_after };
        assert_eq!(expiry.is_near(not_after - left * DAY), is_near, "{life} {left}");
    }
}
