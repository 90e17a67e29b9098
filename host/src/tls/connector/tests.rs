//! What is kept from one connector to the next, and what is said of one. What it trusts is tested end to end.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

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

    /// Writes a certificate that is valid until `end`, with its key.
    fn issue(&self, stem: &str, end: SystemTime) {
        let mut params = CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
        params.not_after = end.into();
        let key = KeyPair::generate().unwrap();
        std::fs::write(self.path(&format!("{stem}.pem")), params.self_signed(&key).unwrap().pem()).unwrap();
        std::fs::write(self.path(&format!("{stem}.key")), key.serialize_pem()).unwrap();
    }

    fn settings(&self) -> Outgoing {
        Outgoing {
            ca: Some(self.path("ca.pem")),
            certificate: Some(Pair { cert: self.path("own.pem"), key: self.path("own.key") }),
            tls12: true,
            ..Outgoing::default()
        }
    }
}

fn load(settings: Outgoing, previous: Option<&Arc<Connector>>, now: SystemTime) -> Result<Arc<Connector>, String> {
    let told = |found: Vec<(OutgoingPart, Mistake)>| {
        found.iter().map(|(part, mistake)| format!("{part:?}: {mistake}")).collect::<Vec<_>>().join("; ")
    };
    Connector::load(settings, &Trust::default(), previous, now).map_err(told)
}

#[test]
fn only_what_changed_is_made_anew() {
    let (folder, now) = (Folder::new(), SystemTime::now());
    folder.issue("ca", now + DAY);
    folder.issue("own", now + DAY);
    let first = load(folder.settings(), None, now).unwrap();
    assert!(Arc::ptr_eq(&first, &load(folder.settings(), Some(&first), now).unwrap()));
    // If only the files differ, the result is a new one.
    let mut last = first.clone();
    for stem in ["ca", "own"] {
        folder.issue(stem, now + DAY);
        let next = load(folder.settings(), Some(&last), now).unwrap();
        assert!(!Arc::ptr_eq(&next, &last) && next != last, "{stem}");
        last = next;
    }
    let stricter = Outgoing { tls12: false, ..folder.settings() };
    assert!(load(stricter, Some(&last), now).unwrap() != last);
}

#[test]
fn what_ends_in_use_holds_up_nothing_else() {
    let (folder, now) = (Folder::new(), SystemTime::now());
    folder.issue("ca", now + DAY);
    folder.issue("own", now + DAY);
    let first = load(folder.settings(), None, now).unwrap();
    let later = now + 2 * DAY;
    assert!(load(folder.settings(), Some(&first), later).is_ok());
    assert!(load(folder.settings(), None, later).unwrap_err().starts_with("Certificate: the certificate in "));
}

#[test]
fn all_mistakes_are_told_at_once() {
    let folder = Folder::new();
    let settings = Outgoing { server_name: Some("a b".to_owned()), names: vec!["".to_owned()], ..folder.settings() };
    let told = load(settings, None, SystemTime::now()).unwrap_err();
    for part in ["Authorities: ", "ServerName: ", "Name(0): ", "Certificate: ", "Key: "] {
        assert!(told.contains(part), "{part} is not in {told}");
    }
}

#[test]
fn names_that_certificates_can_be_for() {
    for (host, expected) in [
        ("orders.internal", Some("orders.internal")),
        ("orders.internal.", Some("orders.internal")),
        ("my_service", Some("my_service")),
        ("10.0.0.1", Some("10.0.0.1")),
        ("2001:db8::1", Some("2001:db8::1")),
        ("a b", None),
        ("a:443", None),
        ("", None),
    ] {
        let name = server_name(host).map(|name| name.to_str().into_owned());
        assert_eq!(name.as_deref(), expected, "{host}");
    }
}

#[test]
fn reasons_say_what_to_look_at() {
    let failed = |error: Error| Failed::Handshake(io::Error::new(io::ErrorKind::InvalidData, error)).to_string();
    for (error, expected) in [
        (CertificateError::UnknownIssuer.into(), "no trusted authority has signed the server's certificate"),
        (CertificateError::Revoked.into(), "the server's certificate is refused: Revoked"),
        (Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType), "the server does not speak TLS"),
    ] {
        assert_eq!(failed(error), expected);
    }
    let eof = Failed::Handshake(io::ErrorKind::UnexpectedEof.into());
    assert_eq!(eof.to_string(), "the server closed the connection within the handshake");
}

#[test]
fn settings_in_the_words_of_the_configuration() {
    let pair = Pair { cert: "own.pem".into(), key: "own.key".into() };
    let all = Outgoing {
        ca: Some("ca.pem".into()),
        server_name: Some("orders.internal".into()),
        names: vec!["a.test".into(), "spiffe://a/b".into()],
        certificate: Some(pair),
        tls12: false,
    };
    assert_eq!(
        all.to_string(),
        "TLS as orders.internal, trusting ca.pem, certificate for a.test or spiffe://a/b, showing own.pem, TLS 1.3 only"
    );
    let usual = Outgoing { tls12: true, ..Outgoing::default() };
    assert_eq!(usual.to_string(), "TLS, trusting the system's authorities");
}
