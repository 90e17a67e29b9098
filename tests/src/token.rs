//! Signed tokens (RFC 7519), as an identity provider makes them.

use std::time::SystemTime;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde_json::{Value, json};

/// A key pair with a name.
pub struct Signer {
    id: String,
    key: Ed25519KeyPair,
}

impl Signer {
    pub fn new(id: &str) -> Signer {
        Signer { id: id.to_owned(), key: Ed25519KeyPair::generate().unwrap() }
    }

    /// The public key (RFC 8037).
    pub fn jwk(&self) -> Value {
        json!({ "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "kid": self.id, "x": BASE64.encode(self.key.public_key()) })
    }

    /// A key set with this key in it.
    pub fn jwks(&self) -> Value {
        json!({ "keys": [self.jwk()] })
    }

    /// The signature of a message.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.key.sign(message).as_ref().to_vec()
    }

    /// A token with these claims, and an `exp` in five minutes unless there is one.
    pub fn token(&self, mut claims: Value) -> String {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        claims.as_object_mut().unwrap().entry("exp").or_insert(json!(now + 300));
        let header = json!({ "alg": "EdDSA", "kid": self.id });
        let message = format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(claims.to_string()));
        let signature = BASE64.encode(self.key.sign(message.as_bytes()));
        format!("{message}.{signature}")
    }

    /// The value of `authorization` for a token with these claims.
    pub fn bearer(&self, claims: Value) -> String {
        format!("Bearer {}", self.token(claims))
    }
}
