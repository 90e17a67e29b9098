//! One key for checking signatures, parsed once and ready for every algorithm that it fits.
//!
//! What a key can verify follows from the key alone: an EC key from its curve, an RSA key RS and PS, a secret the HMACs
//! whose hash is not longer than it, and `alg` narrows it to one. So "does this algorithm fit this key" is whether
//! there is a verifier for it, and a public key can never be used as an HMAC secret.

use std::fmt;

use aws_lc_rs::error::KeyRejected;
use aws_lc_rs::signature::{self, EcdsaVerificationAlgorithm, ParsedPublicKey, RsaParameters, RsaPublicKeyComponents};
use aws_lc_rs::{digest, hmac, rsa};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::algorithm::{Algorithm, Algorithms};

/// A public key or a shared secret.
pub struct Key {
    /// The name by which a token may refer to it.
    kid: Option<Box<str>>,
    verifiers: Vec<(Algorithm, Verifier)>,
    thumbprint: [u8; 32],
}

impl Key {
    /// A secret for HMAC. It fits the algorithms whose hash is not longer (RFC 7518 section 3.2), so it needs at least
    /// 32 bytes.
    pub fn secret(secret: &[u8]) -> Result<Key, String> {
        if secret.starts_with(b"-----BEGIN") {
            return Err("a key in PEM is no secret; give it as \"pem\"".to_owned());
        }
        let verifiers = HMACS
            .into_iter()
            .filter(|(_, algorithm)| secret.len() >= algorithm.digest_algorithm().output_len())
            .map(|(name, algorithm)| (name, Verifier::Hmac(Box::new(hmac::Key::new(algorithm, secret)))))
            .collect();
        let problem = format!("the secret has {} bytes, HS256 needs at least 32, HS384 48 and HS512 64", secret.len());
        Key::new(verifiers, &[b"oct", secret]).ok_or(problem)
    }

    /// An RSA key from its modulus and public exponent, big-endian. It must have 2,048 to 8,192 bits (RFC 7518 section
    /// 3.3), and must not come from the generator with the ROCA flaw.
    pub fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<Key, String> {
        // RFC 7518 section 2 forbids leading zeros, but some issuers write the sign byte of their big integers.
        let n = trim_zeros(modulus);
        let e = trim_zeros(exponent);
        let bits = n.len() * 8 - n.first().map_or(0, |byte| byte.leading_zeros() as usize);
        if !(2_048..=8_192).contains(&bits) {
            return Err(format!("the RSA key has {bits} bits, 2048 to 8192 are allowed"));
        }
        let is_odd = |number: &[u8]| number.last().is_some_and(|byte| byte % 2 == 1);
        if !is_odd(n) || !is_odd(e) || e == [1] || e.len() > 4 {
            return Err("the RSA key has an unusable modulus or exponent".to_owned());
        }
        if has_roca_flaw(n) {
            return Err("the RSA key is weak (ROCA, CVE-2017-15361) and has to be replaced".to_owned());
        }
        let parsed = RSA.into_iter().map(|(algorithm, parameters)| {
            let key = RsaPublicKeyComponents { n, e }.to_parsed_public_key(parameters)?;
            Ok((algorithm, Verifier::Public(key)))
        });
        let verifiers = parsed.collect::<Result<_, KeyRejected>>().map_err(|_| "no valid RSA key")?;
        Key::new(verifiers, &[b"RSA", n, e]).ok_or_else(|| "no valid RSA key".to_owned())
    }

    /// A point on the curve of this JWK name; both coordinates in full length (RFC 7518 section 6.2.1).
    pub fn elliptic(curve: &str, x: &[u8], y: &[u8]) -> Result<Key, String> {
        let (algorithm, parameters, length) = CURVES
            .into_iter()
            .find(|(name, ..)| *name == curve)
            .map(|(_, algorithm, parameters, length)| (algorithm, parameters, length))
            .ok_or_else(|| format!("curve {curve:?} is not one of P-256, P-384, P-521"))?;
        if x.len() != length || y.len() != length {
            return Err(format!("a coordinate on {curve} has {length} bytes"));
        }
        let point = [&[4], x, y].concat();
        Key::public(algorithm, parameters, &point).ok_or_else(|| format!("no point on {curve}"))
    }

    pub fn ed25519(key: &[u8]) -> Result<Key, String> {
        let key = (key.len() == 32).then(|| Key::public(Algorithm::EdDsa, &signature::ED25519, key)).flatten();
        key.ok_or_else(|| "no valid Ed25519 key".to_owned())
    }

    /// A public key in PEM: `PUBLIC KEY` (any type) or `RSA PUBLIC KEY`.
    pub fn pem(text: &str) -> Result<Key, String> {
        let (label, der) = pem_block(text).ok_or("no PEM block")?;
        match label {
            "PUBLIC KEY" => {
                Key::from_der(&der).ok_or_else(|| "no RSA, P-256, P-384, P-521 or Ed25519 key".to_owned())?
            }
            "RSA PUBLIC KEY" => Key::rsa_from_der(&der).ok_or_else(|| "no valid RSA key".to_owned())?,
            "CERTIFICATE" => {
                let hint = "take the key out of the certificate (openssl x509 -pubkey -noout) and give that";
                Err(hint.to_owned())
            }
            _ if label.ends_with("PRIVATE KEY") => Err("this is a private key; give the public one".to_owned()),
            _ => Err(format!("PEM block {label:?} is not PUBLIC KEY or RSA PUBLIC KEY")),
        }
    }

    #[must_use]
    pub fn with_kid(mut self, kid: &str) -> Key {
        self.kid = Some(kid.into());
        self
    }

    /// Restricts the key to this algorithm, as its `alg` demands.
    pub fn only_for(mut self, algorithm: Algorithm) -> Result<Key, String> {
        self.verifiers.retain(|(fits, _)| *fits == algorithm);
        let problem = || format!("the key does not fit its algorithm {}", algorithm.name());
        if self.verifiers.is_empty() { Err(problem()) } else { Ok(self) }
    }

    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    pub fn fits(&self, algorithm: Algorithm) -> bool {
        self.verifier(algorithm).is_some()
    }

    pub(super) fn fits_one_of(&self, algorithms: Algorithms) -> bool {
        self.verifiers.iter().any(|(algorithm, _)| algorithms.contains(*algorithm))
    }

    /// Whether `signature` is that of `message`. False if the algorithm does not fit.
    pub fn verify(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        match self.verifier(algorithm) {
            // Neither has early exits that depend on secrets.
            Some(Verifier::Hmac(key)) => hmac::verify(key, message, signature).is_ok(),
            Some(Verifier::Public(key)) => key.verify_sig(message, signature).is_ok(),
            None => false,
        }
    }

    /// Two different keys with one name for one algorithm: it is not clear which of them is meant.
    pub(super) fn is_ambiguous_with(&self, other: &Key) -> bool {
        self.kid.is_some()
            && self.kid == other.kid
            && self.thumbprint != other.thumbprint
            && self.verifiers.iter().any(|(algorithm, _)| other.fits(*algorithm))
    }

    fn verifier(&self, algorithm: Algorithm) -> Option<&Verifier> {
        self.verifiers.iter().find(|(fits, _)| *fits == algorithm).map(|(_, verifier)| verifier)
    }

    fn new(verifiers: Vec<(Algorithm, Verifier)>, material: &[&[u8]]) -> Option<Key> {
        let mut hash = digest::Context::new(&digest::SHA256);
        for part in material {
            hash.update(&(part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let thumbprint = hash.finish().as_ref().try_into().ok()?;
        (!verifiers.is_empty()).then_some(Key { kid: None, verifiers, thumbprint })
    }

    fn public(
        algorithm: Algorithm,
        parameters: &'static dyn signature::VerificationAlgorithm,
        bytes: &[u8],
    ) -> Option<Key> {
        let key = ParsedPublicKey::new(parameters, bytes).ok()?;
        Key::new(vec![(algorithm, Verifier::Public(key))], &[b"public", bytes])
    }

    /// A SubjectPublicKeyInfo (RFC 5280), of the one type that parses.
    fn from_der(der: &[u8]) -> Option<Result<Key, String>> {
        // A bare point or a bare Ed25519 key would parse too, but is not a SubjectPublicKeyInfo.
        der_element(der, DER_SEQUENCE)?.0.first().filter(|tag| **tag == DER_SEQUENCE)?;
        let on_a_curve = CURVES.into_iter().find_map(|(_, name, parameters, _)| Key::public(name, parameters, der));
        let key = on_a_curve.or_else(|| Key::public(Algorithm::EdDsa, &signature::ED25519, der));
        key.map(Ok).or_else(|| Key::rsa_from_der(der))
    }

    /// An RSA key as a SubjectPublicKeyInfo or an RSAPublicKey (RFC 8017 appendix A.1.1).
    fn rsa_from_der(der: &[u8]) -> Option<Result<Key, String>> {
        let key = rsa::PublicKey::from_der(der).ok()?;
        let (integers, _) = der_element(key.as_ref(), DER_SEQUENCE)?;
        let (modulus, rest) = der_element(integers, DER_INTEGER)?;
        let (exponent, _) = der_element(rest, DER_INTEGER)?;
        Some(Key::rsa(modulus, exponent))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits: Vec<_> = self.verifiers.iter().map(|(algorithm, _)| algorithm).collect();
        out.debug_struct("Key").field("kid", &self.kid).field("fits", &fits).finish_non_exhaustive()
    }
}

enum Verifier {
    /// Boxed: it holds the hash states of both pads, more than a kilobyte.
    Hmac(Box<hmac::Key>),
    Public(ParsedPublicKey),
}

/// The label and the content of the first PEM block (RFC 7468). Text around it is ignored.
fn pem_block(text: &str) -> Option<(&str, Vec<u8>)> {
    let (_, block) = text.split_once("-----BEGIN ")?;
    let (label, rest) = block.split_once("-----")?;
    let (content, _) = rest.split_once(&format!("-----END {label}-----"))?;
    let content: String = content.split_ascii_whitespace().collect();
    Some((label, STANDARD.decode(content).ok()?))
}

/// The content of the DER element at the start, and the rest.
fn der_element(input: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&first, rest) = input.split_first()?;
    let (&length, rest) = rest.split_first()?;
    let (length, rest) = match length {
        0x81 | 0x82 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => (usize::from(length), rest),
    };
    (first == tag).then(|| rest.split_at_checked(length)).flatten()
}

/// The fingerprint of the keys that Infineon's generator made: the modulus lies in the group that 65537 makes, modulo
/// each of the first small primes (Nemec and others, "The Return of Coppersmith's Attack", 2017, section 2.1). A good
/// key does so with a probability of 2^-27.
fn has_roca_flaw(modulus: &[u8]) -> bool {
    ROCA_PRIMES.iter().all(|&prime| {
        let rest = modulus.iter().fold(0u32, |rest, byte| (rest << 8 | u32::from(*byte)) % prime);
        let mut power = 1;
        for _ in 0..prime {
            if power == rest {
                return true;
            }
            power = power * (65_537 % prime) % prime;
        }
        false
    })
}

fn trim_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

const HMACS: [(Algorithm, hmac::Algorithm); 3] = [
    (Algorithm::Hs256, hmac::HMAC_SHA256),
    (Algorithm::Hs384, hmac::HMAC_SHA384),
    (Algorithm::Hs512, hmac::HMAC_SHA512),
];

const RSA: [(Algorithm, &RsaParameters); 6] = [
    (Algorithm::Rs256, &signature::RSA_PKCS1_2048_8192_SHA256),
    (Algorithm::Rs384, &signature::RSA_PKCS1_2048_8192_SHA384),
    (Algorithm::Rs512, &signature::RSA_PKCS1_2048_8192_SHA512),
    (Algorithm::Ps256, &signature::RSA_PSS_2048_8192_SHA256),
    (Algorithm::Ps384, &signature::RSA_PSS_2048_8192_SHA384),
    (Algorithm::Ps512, &signature::RSA_PSS_2048_8192_SHA512),
];

/// Curve, its algorithm, signatures as two numbers of fixed length (RFC 7518 section 3.4), bytes of a coordinate.
const CURVES: [(&str, Algorithm, &EcdsaVerificationAlgorithm, usize); 3] = [
    ("P-256", Algorithm::Es256, &signature::ECDSA_P256_SHA256_FIXED, 32),
    ("P-384", Algorithm::Es384, &signature::ECDSA_P384_SHA384_FIXED, 48),
    ("P-521", Algorithm::Es512, &signature::ECDSA_P521_SHA512_FIXED, 66),
];

const DER_SEQUENCE: u8 = 0x30;
const DER_INTEGER: u8 = 0x02;

const ROCA_PRIMES: [u32; 38] = [
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107, 109,
    113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
];
