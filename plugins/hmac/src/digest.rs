//! `Content-Digest` (RFC 9530): the digests that the body must have.

use gatewright_sdk::serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256, Sha512};

use crate::structured::{self, Member, Value};

/// The digests of a body that are known here; at least one.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(crate = "gatewright_sdk::serde")]
pub(crate) struct Digests {
    sha256: Option<Vec<u8>>,
    sha512: Option<Vec<u8>>,
}

impl Digests {
    /// From the values of the field. Unknown and insecure algorithms are ignored; `None` if none is left.
    pub(crate) fn read(values: &[Vec<u8>]) -> Option<Self> {
        let texts: Vec<&str> = values.iter().map(|value| str::from_utf8(value).ok()).collect::<Option<_>>()?;
        let members = structured::dictionary(&texts.join(", "))?;
        let digest = |wanted: &str| {
            members.iter().find(|(name, _)| name == wanted).map(|(_, member)| match member {
                Member::Item(item) => match &item.value {
                    Value::Bytes(bytes) => Some(bytes.clone()),
                    _ => None,
                },
                Member::List(_) => None,
            })
        };
        // A known digest that is malformed invalidates the field.
        let (sha256, sha512) = (
            digest("sha-256").map_or(Some(None), |it| it.map(Some))?,
            digest("sha-512").map_or(Some(None), |it| it.map(Some))?,
        );
        (sha256.is_some() || sha512.is_some()).then_some(Self { sha256, sha512 })
    }

    /// Whether every digest is the body's. Nothing secret is compared here.
    pub(crate) fn fit(&self, body: &[u8]) -> bool {
        self.sha256.as_deref().is_none_or(|digest| digest == Sha256::digest(body).as_slice())
            && self.sha512.as_deref().is_none_or(|digest| digest == Sha512::digest(body).as_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The body and the digests of RFC 9530, appendix A and B; without the line feed, of RFC 9421.
    const BODY: &[u8] = b"{\"hello\": \"world\"}";

    #[test]
    fn bodies_and_their_digests() {
        let sha256 = "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:";
        let sha512 =
            "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:";
        for (field, body, fits) in [
            (sha256.to_owned(), BODY, Some(true)),
            (sha512.to_owned(), BODY, Some(true)),
            (format!("{sha256}, {sha512}"), BODY, Some(true)),
            (format!("md5=:AAAA:, unixsum=1, {sha512}"), BODY, Some(true)),
            (
                "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:".to_owned(),
                b"{\"hello\": \"world\"}\n",
                Some(true),
            ),
            ("sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:".to_owned(), b"", Some(true)),
            (sha256.to_owned(), b"{\"hello\": \"World\"}", Some(false)),
            (format!("{sha256}, sha-512=:AAAA:"), BODY, Some(false)),
            ("sha-256=::".to_owned(), BODY, Some(false)),
            ("sha-256=1".to_owned(), BODY, None),
            (format!("{sha512}, sha-256=(1)"), BODY, None),
            (format!("{sha256}, {sha256}"), BODY, None),
            ("md5=:AAAA:".to_owned(), BODY, None),
            ("sha-256=X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=".to_owned(), BODY, None),
            (String::new(), BODY, None),
        ] {
            let read = Digests::read(&[field.clone().into_bytes()]);
            assert_eq!(read.map(|digests| digests.fit(body)), fits, "{field}");
        }
    }
}
