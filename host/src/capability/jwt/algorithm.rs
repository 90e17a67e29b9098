//! Signature algorithms by their registered names (RFC 7518 section 3.1, RFC 8037), and the list a key set allows.

/// A JWS algorithm. `none` is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    Hs256,
    Hs384,
    Hs512,
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    Es512,
    EdDsa,
}

impl Algorithm {
    /// By its exact name: "rs256" and "none" are unknown.
    pub fn named(name: &str) -> Option<Algorithm> {
        NAMES.into_iter().find(|(_, known)| *known == name).map(|(algorithm, _)| algorithm)
    }

    pub fn name(self) -> &'static str {
        NAMES.into_iter().find(|(known, _)| *known == self).map_or("", |(_, name)| name)
    }

    /// Whether a key that verifies can also sign.
    pub fn is_symmetric(self) -> bool {
        matches!(self, Algorithm::Hs256 | Algorithm::Hs384 | Algorithm::Hs512)
    }
}

/// The algorithms that a key set allows: at least one, and all symmetric or none. If a set allowed both, one careless
/// key would enable the attack that signs with a public key as the secret (RFC 8725 section 2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Algorithms(u16);

impl Algorithms {
    pub fn allow<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Algorithms, String> {
        let mut allowed = Algorithms(0);
        for name in names {
            let algorithm = Algorithm::named(name).ok_or_else(|| {
                let known: Vec<_> = NAMES.iter().map(|(_, name)| *name).collect();
                format!("algorithms: {name:?} is not one of {}", known.join(", "))
            })?;
            allowed.0 |= bit(algorithm);
        }
        let (symmetric, other): (Vec<_>, Vec<_>) =
            NAMES.iter().filter(|(algorithm, _)| allowed.contains(*algorithm)).partition(|(a, _)| a.is_symmetric());
        match (symmetric.first(), other.first()) {
            (None, None) => Err("algorithms: at least one is needed".to_owned()),
            (Some((_, one)), Some((_, other))) => {
                Err(format!("algorithms: {one} uses a shared secret and {other} does not; declare a key set for each"))
            }
            _ => Ok(allowed),
        }
    }

    pub fn contains(self, algorithm: Algorithm) -> bool {
        self.0 & bit(algorithm) != 0
    }
}

fn bit(algorithm: Algorithm) -> u16 {
    1 << algorithm as u16
}

const NAMES: [(Algorithm, &str); 13] = [
    (Algorithm::Hs256, "HS256"),
    (Algorithm::Hs384, "HS384"),
    (Algorithm::Hs512, "HS512"),
    (Algorithm::Rs256, "RS256"),
    (Algorithm::Rs384, "RS384"),
    (Algorithm::Rs512, "RS512"),
    (Algorithm::Ps256, "PS256"),
    (Algorithm::Ps384, "PS384"),
    (Algorithm::Ps512, "PS512"),
    (Algorithm::Es256, "ES256"),
    (Algorithm::Es384, "ES384"),
    (Algorithm::Es512, "ES512"),
    (Algorithm::EdDsa, "EdDSA"),
];

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_exact_and_never_mix() {
        for (algorithm, name) in NAMES {
            let allowed = Algorithms::allow([name]).unwrap();
            for (other, _) in NAMES {
                assert_eq!(allowed.contains(other), other == algorithm);
            }
        }
        assert!(Algorithms::allow(["HS256", "HS512"]).is_ok());
        assert!(Algorithms::allow(["RS256", "ES512", "EdDSA"]).is_ok());
        for odd in [&[][..], &["none"], &["None"], &["rs256"], &["RS256 "], &[""], &["HS256", "RS256"]] {
            assert!(Algorithms::allow(odd.iter().copied()).is_err(), "{odd:?}");
        }
    }
}
