//! The signing side: keys made for the test, and tokens signed with them.

use std::sync::{Arc, LazyLock};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::{self, SystemRandom};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    self, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RsaEncoding, RsaKeyPair,
};
use aws_lc_rs::{digest, hmac};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

/// One algorithm with one key.
pub(super) struct Signer {
    pub(super) algorithm: &'static str,
    /// Without `kid`.
    pub(super) jwk: Value,
    pub(super) pem: Option<String>,
    /// The secret, or the private key in PKCS#8 (RSA: in PKCS#1).
    pub(super) private: Vec<u8>,
    sign: Sign,
}

type Sign = Box<dyn Fn(&[u8]) -> Vec<u8> + Send + Sync>;

impl Signer {
    pub(super) fn sign(&self, message: &[u8]) -> Vec<u8> {
        (self.sign)(message)
    }

    pub(super) fn thumbprint(&self) -> Vec<u8> {
        digest::digest(&digest::SHA256, self.jwk.to_string().as_bytes()).as_ref().to_vec()
    }

    pub(super) fn hmac(algorithm: &'static str) -> Signer {
        let (hash, length) = match algorithm {
            "HS256" => (hmac::HMAC_SHA256, 32),
            "HS384" => (hmac::HMAC_SHA384, 48),
            _ => (hmac::HMAC_SHA512, 64),
        };
        let mut secret = vec![0; length];
        rand::fill(&mut secret).unwrap();
        let key = hmac::Key::new(hash, &secret);
        Signer {
            algorithm,
            jwk: json!({ "kty": "oct", "k": base64(&secret) }),
            pem: None,
            private: secret,
            sign: Box::new(move |message| hmac::sign(&key, message).as_ref().to_vec()),
        }
    }

    pub(super) fn elliptic(algorithm: &'static str) -> Signer {
        let (parameters, curve): (&'static EcdsaSigningAlgorithm, _) = match algorithm {
            "ES256" => (&signature::ECDSA_P256_SHA256_FIXED_SIGNING, "P-256"),
            "ES384" => (&signature::ECDSA_P384_SHA384_FIXED_SIGNING, "P-384"),
            _ => (&signature::ECDSA_P521_SHA512_FIXED_SIGNING, "P-521"),
        };
        let private = EcdsaKeyPair::generate_pkcs8(parameters, &SystemRandom::new()).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(parameters, private.as_ref()).unwrap();
        let (x, y) = pair.public_key().as_ref()[1..].split_at(pair.public_key().as_ref().len() / 2);
        let public: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
        Signer {
            algorithm,
            jwk: json!({ "kty": "EC", "crv": curve, "x": base64(x), "y": base64(y) }),
            pem: Some(pem("PUBLIC KEY", public.as_ref())),
            private: private.as_ref().to_vec(),
            sign: Box::new(move |message| pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()),
        }
    }

    pub(super) fn ed25519() -> Signer {
        let private = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(private.as_ref()).unwrap();
        let public: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
        Signer {
            algorithm: "EdDSA",
            jwk: json!({ "kty": "OKP", "crv": "Ed25519", "x": base64(pair.public_key().as_ref()) }),
            pem: Some(pem("PUBLIC KEY", public.as_ref())),
            private: private.as_ref().to_vec(),
            sign: Box::new(move |message| pair.sign(message).as_ref().to_vec()),
        }
    }

    fn rsa(algorithm: &'static str, encoding: &'static dyn RsaEncoding, pair: &Arc<RsaKeyPair>, pem: String) -> Signer {
        let (n, e) = rsa_numbers(pair.public_key().as_ref());
        let private: Pkcs8V1Der<'_> = pair.as_der().unwrap();
        // A PKCS#8 of a 2,048 bit key holds its PKCS#1 after 26 bytes.
        let private = private.as_ref()[26..].to_vec();
        let pair = Arc::clone(pair);
        let sign = move |message: &[u8]| {
            let mut signature = vec![0; pair.public_modulus_len()];
            pair.sign(encoding, &SystemRandom::new(), message, &mut signature).unwrap();
            signature
        };
        Signer {
            algorithm,
            jwk: json!({ "kty": "RSA", "n": base64(n), "e": base64(e) }),
            pem: Some(pem),
            private,
            sign: Box::new(sign),
        }
    }
}

/// One signer for each algorithm. The RSA ones share one key.
pub(super) fn signers() -> &'static [Signer] {
    static SIGNERS: LazyLock<Vec<Signer>> = LazyLock::new(|| {
        let pair = Arc::new(RsaKeyPair::generate(KeySize::Rsa2048).unwrap());
        let wrapped: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
        let rsa = |algorithm, encoding, is_wrapped: bool| {
            let pem = match is_wrapped {
                true => pem("PUBLIC KEY", wrapped.as_ref()),
                false => pem("RSA PUBLIC KEY", pair.public_key().as_ref()),
            };
            Signer::rsa(algorithm, encoding, &pair, pem)
        };
        vec![
            Signer::hmac("HS256"),
            Signer::hmac("HS384"),
            Signer::hmac("HS512"),
            rsa("RS256", &signature::RSA_PKCS1_SHA256, true),
            rsa("RS384", &signature::RSA_PKCS1_SHA384, false),
            rsa("RS512", &signature::RSA_PKCS1_SHA512, true),
            rsa("PS256", &signature::RSA_PSS_SHA256, false),
            rsa("PS384", &signature::RSA_PSS_SHA384, true),
            rsa("PS512", &signature::RSA_PSS_SHA512, true),
            Signer::elliptic("ES256"),
            Signer::elliptic("ES384"),
            Signer::elliptic("ES512"),
            Signer::ed25519(),
        ]
    });
    &SIGNERS
}

pub(super) fn signer(algorithm: &str) -> &'static Signer {
    signers().iter().find(|signer| signer.algorithm == algorithm).unwrap()
}

/// A token in compact form, whatever the header says.
pub(super) fn token(header: &Value, claims: &str, signer: &Signer) -> String {
    raw_token(&header.to_string(), claims, |message| signer.sign(message))
}

pub(super) fn raw_token(header: &str, claims: &str, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let message = format!("{}.{}", base64(header.as_bytes()), base64(claims.as_bytes()));
    let signature = base64(&sign(message.as_bytes()));
    format!("{message}.{signature}")
}

pub(super) fn base64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Modulus and exponent in an RSAPublicKey of 2,048 bits.
pub(super) fn rsa_numbers(der: &[u8]) -> (&[u8], &[u8]) {
    (&der[9..265], &der[267..])
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}
