//! Signatures in cosign's format, by key pairs: ECDSA on P-256 over SHA-256, as in its SIGNATURE_SPEC.
//!
//! The signed text is a payload in JSON that names the digest of an artifact's manifest. The payloads are the layers of
//! an artifact of their own, at the tag `sha256-HEX.sig` beside the signed one; the signature of each is an annotation
//! on its layer. Certificates and transparency logs may be there as well, but are ignored: only the operator's keys
//! count.

use std::path::Path;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair, ParsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::manifest::Layer;
use crate::config::{OciDigest, OciReference};
use crate::regular_file;

/// The public keys of a rule. One of them must have signed.
pub struct Keys {
    keys: Vec<ParsedPublicKey>,
}

/// A signature with its payload.
#[derive(Clone, Debug)]
pub struct Signature {
    pub payload: Vec<u8>,
    /// In DER.
    pub signature: Vec<u8>,
}

impl Keys {
    /// Parses the texts of key files. An error comes with its position in the list.
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a [u8]>) -> Result<Keys, (usize, String)> {
        let key = |(at, text)| public_key(text).map_err(|reason| (at, reason));
        Ok(Keys { keys: texts.into_iter().enumerate().map(key).collect::<Result<_, _>>()? })
    }

    /// Whether one of the signatures is by one of the keys, and for this artifact.
    ///
    /// # Errors
    /// Why none is.
    pub fn accept(&self, signatures: &[Signature], artifact: &OciDigest) -> Result<(), String> {
        if signatures.is_empty() {
            return Err(format!("there is no signature of {artifact}"));
        }
        let by_a_key: Vec<&Signature> = signatures.iter().filter(|signature| self.signed(signature)).collect();
        if by_a_key.is_empty() {
            let count = signatures.len();
            return Err(format!("none of the keys has made a signature of {artifact} (there are {count} by others)"));
        }
        // Only now is it known that the payload comes from the signer.
        let mut reason = String::new();
        for signature in by_a_key {
            match signature.is_of(artifact) {
                Ok(()) => return Ok(()),
                Err(found) => reason = found,
            }
        }
        Err(reason)
    }

    fn signed(&self, signature: &Signature) -> bool {
        self.keys.iter().any(|key| key.verify_sig(&signature.payload, &signature.signature).is_ok())
    }
}

impl Signature {
    /// The signature in a layer and its payload; `None` if the layer contains something else.
    pub fn of(layer: &Layer, payload: Vec<u8>) -> Option<Signature> {
        let signature = layer.signature.as_ref().filter(|_| layer.media_type == PAYLOAD)?;
        Some(Signature { payload, signature: STANDARD.decode(signature).ok()? })
    }

    fn is_of(&self, artifact: &OciDigest) -> Result<(), String> {
        let payload: Value = serde_json::from_slice(&self.payload)
            .map_err(|error| format!("the payload of its signature is no JSON: {error}"))?;
        let text = |at: &str| payload.pointer(at).and_then(Value::as_str).unwrap_or_default();
        if text("/critical/type") != TYPE {
            return Err(format!("its signature is of the type {:?}", text("/critical/type")));
        }
        match text("/critical/image/docker-manifest-digest") {
            signed if signed == artifact.to_string() => Ok(()),
            other => Err(format!("its signature is of another artifact, {other:?}")),
        }
    }
}

/// A private key for signing artifacts.
pub struct SigningKey {
    pair: EcdsaKeyPair,
}

impl SigningKey {
    /// Parses a private key in PEM: PKCS #8, or SEC 1.
    pub fn parse(text: &[u8]) -> Result<SigningKey, String> {
        let (label, der) = pem(text)?;
        let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
        let pair = match label {
            "PRIVATE KEY" => EcdsaKeyPair::from_pkcs8(algorithm, &der),
            "EC PRIVATE KEY" => EcdsaKeyPair::from_private_key_der(algorithm, &der),
            "ENCRYPTED PRIVATE KEY" | "ENCRYPTED SIGSTORE PRIVATE KEY" | "ENCRYPTED COSIGN PRIVATE KEY" => {
                return Err("the key is encrypted; sign with `cosign sign --key`, or give one that is not".to_owned());
            }
            label => return Err(format!("it holds {label:?} and no private key")),
        };
        let pair = pair.map_err(|_| "it is no private key for ECDSA on P-256".to_owned())?;
        Ok(SigningKey { pair })
    }

    /// Signs an artifact: the payload, and its signature.
    pub fn sign(&self, reference: &OciReference, artifact: &OciDigest) -> Result<Signature, String> {
        let payload = json!({
            "critical": {
                "identity": { "docker-reference": reference.repository() },
                "image": { "docker-manifest-digest": artifact.to_string() },
                "type": TYPE,
            },
            "optional": null,
        });
        let payload = payload.to_string().into_bytes();
        let signature = self.pair.sign(&SystemRandom::new(), &payload).map_err(|_| "the key cannot sign")?;
        Ok(Signature { payload, signature: signature.as_ref().to_vec() })
    }

    /// The keys that accept this key's signatures.
    pub fn public(&self) -> Result<Keys, String> {
        let key = ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, self.pair.public_key().as_ref());
        Ok(Keys { keys: vec![key.map_err(|_| "the key has no public half")?] })
    }
}

/// The tag of the artifact with the signatures of this one.
pub fn tag_of(artifact: &OciDigest) -> String {
    format!("sha256-{}.sig", artifact.hex())
}

/// Reads the key files of a rule.
///
/// # Errors
/// What is wrong with one of them, with its position in the list.
pub fn read_keys<'a>(files: impl IntoIterator<Item = &'a Path>) -> Result<Keys, (usize, String)> {
    let mut texts = Vec::new();
    for (at, file) in files.into_iter().enumerate() {
        let text = regular_file::read(file, KEY_BYTES);
        let text = text.map_err(|error| (at, format!("{} cannot be read: {error}", file.display())))?;
        public_key(&text).map_err(|reason| (at, format!("{}: {reason}", file.display())))?;
        texts.push(text);
    }
    Keys::parse(texts.iter().map(Vec::as_slice))
}

fn public_key(text: &[u8]) -> Result<ParsedPublicKey, String> {
    let (label, der) = pem(text)?;
    if label.ends_with("PRIVATE KEY") {
        return Err("it is a private key; the gateway needs only the public one".to_owned());
    }
    if label != "PUBLIC KEY" {
        return Err(format!("it holds {label:?} and no public key"));
    }
    ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &der).map_err(|_| "it is no public key for ECDSA on P-256".to_owned())
}

/// The first block of a PEM text: its label and its bytes (RFC 7468).
fn pem(text: &[u8]) -> Result<(&str, Vec<u8>), String> {
    let block = || {
        let (_, rest) = std::str::from_utf8(text).ok()?.split_once("-----BEGIN ")?;
        let (label, rest) = rest.split_once("-----")?;
        let (body, _) = rest.split_once(&format!("-----END {label}-----"))?;
        let body: String = body.split_ascii_whitespace().collect();
        Some((label, STANDARD.decode(body).ok()?))
    };
    block().ok_or_else(|| "it is not in PEM".to_owned())
}

/// A key has some 200 bytes, and there may be text around it.
const KEY_BYTES: u64 = 64 << 10;

pub const PAYLOAD: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const TYPE: &str = "cosign container image signature";

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};

    use super::super::digest_of;
    use super::*;

    /// A new pair of keys in PEM.
    fn pair() -> (String, String) {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        let public = AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()).unwrap();
        (block("PRIVATE KEY", pair.to_pkcs8v1().unwrap().as_ref()), block("PUBLIC KEY", public.as_ref()))
    }

    fn block(label: &str, der: &[u8]) -> String {
        format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
    }

    fn keys(texts: &[&str]) -> Keys {
        Keys::parse(texts.iter().map(|text| text.as_bytes())).unwrap()
    }

    #[test]
    fn a_signature_is_accepted_from_one_of_the_keys_and_for_its_artifact_alone() {
        let (artifact, another) = (digest_of(b"artifact"), digest_of(b"another"));
        let ((private, public), (_, other)) = (pair(), pair());
        let key = SigningKey::parse(private.as_bytes()).unwrap();
        let good = key.sign(&"a.test/b:1".parse().unwrap(), &artifact).unwrap();
        let mut altered = good.clone();
        altered.payload.push(b' ');
        let mut cut = good.clone();
        cut.signature.pop();
        let of_another = key.sign(&"a.test/b:1".parse().unwrap(), &another).unwrap();
        for (signatures, accepted, expected) in [
            (vec![&good], vec![&*public], None),
            (vec![&altered, &cut, &good], vec![&*other, &public], None),
            (vec![&of_another, &good], vec![&public], None),
            (vec![], vec![&public], Some("no signature")),
            (vec![&good], vec![&other], Some("none of the keys")),
            (vec![&altered], vec![&public], Some("none of the keys")),
            (vec![&cut], vec![&public], Some("none of the keys")),
            (vec![&of_another], vec![&public], Some("another artifact")),
        ] {
            let signatures: Vec<Signature> = signatures.into_iter().cloned().collect();
            let found = keys(&accepted).accept(&signatures, &artifact).err();
            assert_eq!(found.is_some(), expected.is_some(), "{found:?}");
            assert!(found.is_none_or(|found| found.contains(expected.unwrap())));
        }
    }

    #[test]
    fn a_payload_of_another_type_is_not_a_signature_of_an_artifact() {
        let artifact = digest_of(b"artifact");
        let key = SigningKey::parse(pair().0.as_bytes()).unwrap();
        for payload in [
            json!({ "critical": { "type": "atomic container signature",
                "image": { "docker-manifest-digest": artifact.to_string() } } })
            .to_string(),
            json!({ "critical": { "type": TYPE } }).to_string(),
            artifact.to_string(),
        ] {
            let signature = key.pair.sign(&SystemRandom::new(), payload.as_bytes()).unwrap().as_ref().to_vec();
            let signature = Signature { payload: payload.into_bytes(), signature };
            assert!(key.public().unwrap().accept(&[signature], &artifact).is_err());
        }
    }

    #[test]
    fn keys_that_cannot_be_used_say_why() {
        let (private, public) = pair();
        let rsa = "-----BEGIN PUBLIC KEY-----\nMFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAKj34GkxFhD90vcNLYLInFEX6Ppy1tPf\n9Cnzj4p4WGeKLs1Pt8QuKUpRKfFLfRYC9AIKjbJTWit+CqvjWYzvQwECAwEAAQ==\n-----END PUBLIC KEY-----\n";
        for (text, words) in [
            ("", "not in PEM"),
            ("key", "not in PEM"),
            ("-----BEGIN PUBLIC KEY-----\n!\n-----END PUBLIC KEY-----\n", "not in PEM"),
            ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "no public key for ECDSA on P-256"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "CERTIFICATE"),
            (&*private, "private key"),
            (rsa, "no public key for ECDSA on P-256"),
        ] {
            let (at, reason) = Keys::parse([public.as_bytes(), text.as_bytes()]).err().unwrap();
            assert_eq!(at, 1);
            assert!(reason.contains(words), "{text}: {reason}");
        }
        for (text, words) in [
            (&*public, "no private key"),
            (
                "-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n",
                "encrypted",
            ),
            ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "P-256"),
        ] {
            let reason = SigningKey::parse(text.as_bytes()).err().unwrap();
            assert!(reason.contains(words), "{text}: {reason}");
        }
    }
}
