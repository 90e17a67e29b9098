//! What a client's certificate says, in forms that a policy can compare.
//!
//! The texts are unambiguous: what stands in a certificate cannot look like more than it is. A common name of
//! `x,OU=admins` does not become an organizational unit, and a URI with a comma does not become two names.

use std::fmt::Write;

use aws_lc_rs::digest::{SHA256, digest};
use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

/// A client's certificate, signed by an authority of the listener, whose key the client has proved to own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The distinguished name as in RFC 4514: `CN=orders,OU=backend,O=Example`.
    pub subject: String,
    pub issuer: String,
    /// In hexadecimal digits.
    pub serial: String,
    /// The subject alternative names: `DNS:a.example,URI:spiffe://example/orders,email:x@example,IP:10.0.0.1`. Commas,
    /// percent signs and anything that is not printable ASCII are percent-encoded.
    pub names: String,
    /// SHA-256 of the certificate, as 64 hexadecimal digits.
    pub fingerprint: String,
}

impl ClientCertificate {
    /// Parts that cannot be read are empty; the fingerprint is always present.
    pub(super) fn read(der: &CertificateDer<'_>) -> ClientCertificate {
        let fingerprint = hex(digest(&SHA256, der).as_ref());
        let Ok((_, certificate)) = X509Certificate::from_der(der) else {
            let nothing = String::new;
            return ClientCertificate {
                subject: nothing(),
                issuer: nothing(),
                serial: nothing(),
                names: nothing(),
                fingerprint,
            };
        };
        let alternative = certificate.subject_alternative_name().ok().flatten();
        let names = alternative.iter().flat_map(|extension| &extension.value.general_names).filter_map(name);
        ClientCertificate {
            subject: distinguished_name(certificate.subject()),
            issuer: distinguished_name(certificate.issuer()),
            serial: hex(certificate.raw_serial()),
            names: names.collect::<Vec<_>>().join(","),
            fingerprint,
        }
    }

    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        match name {
            "subject" => Some(&self.subject),
            "issuer" => Some(&self.issuer),
            "serial" => Some(&self.serial),
            "names" => Some(&self.names),
            "fingerprint" => Some(&self.fingerprint),
            _ => None,
        }
    }
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    let (kind, value) = match name {
        GeneralName::DNSName(name) => ("DNS", name.to_ascii_lowercase()),
        GeneralName::URI(uri) => ("URI", (*uri).to_owned()),
        GeneralName::RFC822Name(address) => ("email", (*address).to_owned()),
        GeneralName::IPAddress(octets) => ("IP", address(octets)?),
        _ => return None,
    };
    let mut text = format!("{kind}:");
    for byte in value.bytes() {
        match byte {
            b',' | b'%' | 0..=0x20 | 0x7f.. => drop(write!(text, "%{byte:02X}")),
            _ => text.push(byte.into()),
        }
    }
    Some(text)
}

fn address(octets: &[u8]) -> Option<String> {
    let v4 = <[u8; 4]>::try_from(octets).map(|octets| std::net::Ipv4Addr::from(octets).to_string());
    let v6 = || <[u8; 16]>::try_from(octets).map(|octets| std::net::Ipv6Addr::from(octets).to_string());
    v4.or_else(|_| v6()).ok()
}

/// The last part comes first (RFC 4514, section 2.1).
fn distinguished_name(name: &X509Name<'_>) -> String {
    let mut parts: Vec<String> =
        name.iter_rdn().map(|part| part.iter().map(attribute).collect::<Vec<_>>().join("+")).collect();
    parts.reverse();
    parts.join(",")
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let oid = attribute.attr_type().to_id_string();
    let short = SHORT_NAMES.iter().find(|(id, _)| *id == oid).map(|(_, name)| *name);
    match (short, attribute.as_str()) {
        (Some(name), Ok(value)) => format!("{name}={}", escaped(value)),
        // An attribute without a short name, or whose value is not text, in hexadecimal (RFC 4514, section 2.4).
        (name, _) => format!("{}=#{}", name.unwrap_or(&oid), hex(attribute.attr_value().data)),
    }
}

/// Escapes as in RFC 4514, section 2.4.
fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let last = value.chars().count().saturating_sub(1);
    for (at, character) in value.chars().enumerate() {
        match character {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' | '=' => {
                text.push('\\');
                text.push(character);
            }
            '#' | ' ' if at == 0 => {
                text.push('\\');
                text.push(character);
            }
            ' ' if at == last => text.push_str("\\ "),
            character if character.is_control() => {
                let mut bytes = [0; 4];
                for byte in character.encode_utf8(&mut bytes).bytes() {
                    let _ = write!(text, "\\{byte:02x}");
                }
            }
            character => text.push(character),
        }
    }
    text
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// From RFC 4514, section 3, and a few other common ones.
const SHORT_NAMES: [(&str, &str); 12] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "STREET"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.4", "SN"),
];

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, CustomExtension, DistinguishedName, DnType, KeyPair, SanType, SerialNumber};

    fn read(arrange: impl FnOnce(&mut CertificateParams)) -> ClientCertificate {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = DistinguishedName::new();
        arrange(&mut params);
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        ClientCertificate::read(certificate.der())
    }

    #[test]
    fn what_a_certificate_says() {
        let certificate = read(|params| {
            let name = &mut params.distinguished_name;
            name.push(DnType::CountryName, "DE");
            name.push(DnType::OrganizationName, "Example");
            name.push(DnType::OrganizationalUnitName, "backend");
            name.push(DnType::CommonName, "orders");
            name.push(DnType::CustomDnType(vec![1, 2, 3]), "x");
            params.serial_number = Some(SerialNumber::from_slice(&[0x0a, 0xff]));
            params.subject_alt_names = vec![
                SanType::DnsName("A.example".try_into().unwrap()),
                SanType::URI("spiffe://example/orders".try_into().unwrap()),
                SanType::Rfc822Name("x@example".try_into().unwrap()),
                SanType::IpAddress("10.0.0.1".parse().unwrap()),
                SanType::IpAddress("2001:db8::1".parse().unwrap()),
            ];
        });
        assert_eq!(certificate.subject, "1.2.3=#78,CN=orders,OU=backend,O=Example,C=DE");
        assert_eq!(certificate.issuer, certificate.subject);
        assert_eq!(certificate.serial, "0aff");
        let names = "DNS:a.example,URI:spiffe://example/orders,email:x@example,IP:10.0.0.1,IP:2001:db8::1";
        assert_eq!(certificate.names, names);
        assert_eq!(certificate.fingerprint.len(), 64);
    }

    #[test]
    fn no_value_looks_like_another_part() {
        let certificate = read(|params| {
            params.distinguished_name.push(DnType::OrganizationName, " a#b\\ ");
            params.distinguished_name.push(DnType::CommonName, "#x,OU=admins+O=y;\"<>\u{7f}\n");
            params.subject_alt_names = vec![
                SanType::URI("urn:a,DNS:admin.example".try_into().unwrap()),
                SanType::URI("a b%".try_into().unwrap()),
            ];
        });
        let subject = r#"CN=\#x\,OU\=admins\+O\=y\;\"\<\>\7f\0a,O=\ a#b\\\ "#;
        assert_eq!(certificate.subject, subject);
        assert_eq!(certificate.names, "URI:urn:a%2CDNS:admin.example,URI:a%20b%25");
    }

    #[test]
    fn what_cannot_be_read_has_a_fingerprint() {
        let certificate = ClientCertificate::read(&CertificateDer::from(vec![1, 2, 3]));
        assert_eq!((certificate.subject.as_str(), certificate.fingerprint.len()), ("", 64));
        // An extension that is not a list of names.
        let certificate = read(|params| {
            params.custom_extensions = vec![CustomExtension::from_oid_content(&[2, 5, 29, 17], vec![0xff])];
            params.distinguished_name.push(DnType::CommonName, "n");
        });
        assert_eq!((certificate.subject.as_str(), certificate.names.as_str()), ("CN=n", ""));
    }
}
