//! `password`: argon2 and bcrypt, checked natively and off the data path.
//!
//! A slow hash is meant to be slow: some 20 ms of a core and megabytes of memory. A data core that did it would serve
//! nobody meanwhile, so it is done on separate threads, on at most half of the machine's cores at once; requests wait
//! in a bounded queue. A correct pair is remembered for a few minutes, so a client that sends its password with each
//! request pays once. A wrong pair never is: guessing stays as slow as the hash.
//!
//! What is remembered is a keyed digest of hash and password together, under a key that is generated when the process
//! starts. So no password is kept in memory, and nothing is remembered for a hash that was changed or removed.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordVerifier};
use aws_lc_rs::hmac;
use tokio::sync::Semaphore;

/// Checks the passwords of all plugins of a gateway.
pub struct Passwords {
    key: hmac::Key,
    running: Arc<Semaphore>,
    waiting: AtomicUsize,
    verified: Mutex<Verified>,
}

/// Why a password was not checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VerifyError {
    /// The hash is not one that can be checked here.
    Unsupported(String),
    /// Too many passwords are waiting already.
    Busy,
}

impl Passwords {
    /// Runs on at most `concurrency` threads at once.
    pub fn new(concurrency: usize) -> Passwords {
        let mut secret = [0; 32];
        // Without random bytes the key is guessable, but not the passwords: a match still needs the right one.
        let _ = aws_lc_rs::rand::fill(&mut secret);
        Passwords {
            key: hmac::Key::new(hmac::HMAC_SHA256, &secret),
            running: Arc::new(Semaphore::new(concurrency.max(1))),
            waiting: AtomicUsize::new(0),
            verified: Mutex::default(),
        }
    }

    /// Whether `hash` was made from `password`. `now` returns the milliseconds of a clock that does not go back; it is
    /// called again after a wait.
    ///
    /// # Errors
    /// See [`VerifyError`].
    pub async fn verify(&self, hash: &str, password: &str, now: fn() -> u64) -> Result<bool, VerifyError> {
        let hash = Hash::parse(hash).map_err(VerifyError::Unsupported)?;
        if !hash.can_be(password) {
            return Ok(false);
        }
        let print = self.print(hash.text(), password);
        if self.verified().has(&print, now()) {
            return Ok(true);
        }
        let turn = {
            let _place = self.place().ok_or(VerifyError::Busy)?;
            self.running.clone().acquire_owned().await.map_err(|_| VerifyError::Busy)?
        };
        // An earlier request in the queue may have verified the same pair.
        if self.verified().has(&print, now()) {
            return Ok(true);
        }
        let (hash, password) = (hash.owned(), password.to_owned());
        // The thread goes on even if the client has left, so the thread owns the turn.
        let check = tokio::task::spawn_blocking(move || {
            let right = Hash::parse(&hash).is_ok_and(|hash| hash.verify(&password));
            drop(turn);
            right
        });
        let right = check.await.map_err(|_| VerifyError::Busy)?;
        if right {
            self.verified().add(print, now());
        }
        Ok(right)
    }

    fn print(&self, hash: &str, password: &str) -> Print {
        let mut context = hmac::Context::with_key(&self.key);
        // A NUL cannot move the border between them: a hash has none, and comes first.
        context.update(hash.as_bytes());
        context.update(&[0]);
        context.update(password.as_bytes());
        let mut print = [0; 32];
        print.copy_from_slice(context.sign().as_ref());
        print
    }

    fn place(&self) -> Option<Place<'_>> {
        let place = Place(&self.waiting);
        (self.waiting.fetch_add(1, Ordering::Relaxed) < MOST_WAITING).then_some(place)
    }

    fn verified(&self) -> MutexGuard<'_, Verified> {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Passwords {
    /// Half of the machine's cores: the other half continues to serve.
    fn default() -> Passwords {
        Passwords::new(std::thread::available_parallelism().map_or(1, |cores| cores.get() / 2))
    }
}

/// Whether [`Passwords::verify`] accepts this hash.
///
/// # Errors
/// Why not, for the operator. The text does not contain the hash.
pub fn check(hash: &str) -> Result<(), String> {
    Hash::parse(hash).map(drop)
}

/// A hash within the bounds.
enum Hash<'a> {
    Argon2(&'a str, Box<PasswordHash>),
    Bcrypt(&'a str),
}

impl Hash<'_> {
    fn parse(text: &str) -> Result<Hash<'_>, String> {
        if text.starts_with("$argon2") {
            return argon2(text);
        }
        if ["$2a$", "$2b$", "$2y$"].iter().any(|prefix| text.starts_with(prefix)) {
            let parts: bcrypt::HashParts = text.parse().map_err(|_| "it is not a whole bcrypt hash".to_owned())?;
            return match parts.get_cost() {
                4..=BCRYPT_COST => Ok(Hash::Bcrypt(text)),
                cost => Err(format!("its bcrypt cost is {cost}; from 4 to {BCRYPT_COST} is checked here")),
            };
        }
        Err("it is neither argon2 ($argon2id$...) nor bcrypt ($2y$...)".to_owned())
    }

    fn text(&self) -> &str {
        match self {
            Hash::Argon2(text, _) | Hash::Bcrypt(text) => text,
        }
    }

    fn owned(&self) -> String {
        self.text().to_owned()
    }

    /// Bcrypt only uses 72 bytes, so two longer passwords with the same beginning would match each other's hash.
    fn can_be(&self, password: &str) -> bool {
        match self {
            Hash::Argon2(..) => password.len() <= PASSWORD_BYTES,
            Hash::Bcrypt(_) => password.len() <= 72 && !password.contains('\0'),
        }
    }

    /// The slow part. Compares in constant time.
    fn verify(&self, password: &str) -> bool {
        match self {
            Hash::Argon2(_, hash) => Argon2::default().verify_password(password.as_bytes(), &**hash).is_ok(),
            Hash::Bcrypt(hash) => bcrypt::verify(password, hash).unwrap_or(false),
        }
    }
}

fn argon2(text: &str) -> Result<Hash<'_>, String> {
    let hash = PasswordHash::new(text).map_err(|_| "it is not an argon2 hash as a PHC string".to_owned())?;
    let known = Algorithm::try_from(hash.algorithm.as_str()).is_ok();
    if !known || hash.hash.is_none() || hash.salt.is_none() {
        return Err("it is not a whole argon2 hash".to_owned());
    }
    let params = Params::try_from(&hash).map_err(|_| "its argon2 parameters are not valid".to_owned())?;
    let (memory, passes, lanes) = (params.m_cost(), params.t_cost(), params.p_cost());
    if memory > ARGON2_KIBIBYTES || passes > ARGON2_PASSES || lanes > ARGON2_LANES {
        let most = format!("m={ARGON2_KIBIBYTES},t={ARGON2_PASSES},p={ARGON2_LANES}");
        return Err(format!("it costs m={memory},t={passes},p={lanes}; at most {most} is checked here"));
    }
    Ok(Hash::Argon2(text, Box::new(hash)))
}

/// The correct pairs, in two generations: the older one is dropped as a whole, so nothing is ever searched.
#[derive(Default)]
struct Verified {
    young: HashMap<Print, u64>,
    old: HashMap<Print, u64>,
}

impl Verified {
    fn has(&self, print: &Print, now_ms: u64) -> bool {
        let until = self.young.get(print).or_else(|| self.old.get(print));
        until.is_some_and(|until| now_ms < *until)
    }

    fn add(&mut self, print: Print, now_ms: u64) {
        if self.young.len() >= REMEMBERED / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        let lifetime = u64::try_from(REMEMBERED_FOR.as_millis()).unwrap_or(u64::MAX);
        self.young.insert(print, now_ms.saturating_add(lifetime));
    }
}

/// A keyed digest of a hash and its correct password.
type Print = [u8; 32];

/// A place in the queue.
struct Place<'a>(&'a AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for Passwords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passwords").finish_non_exhaustive()
    }
}

/// How many may wait for a thread. At 20 ms each, the last of them has waited some seconds.
const MOST_WAITING: usize = 256;
/// How many correct pairs are remembered, about 1 MiB.
const REMEMBERED: usize = 10_000;
/// How long they are remembered.
const REMEMBERED_FOR: Duration = Duration::from_secs(300);
/// Longer passwords never match.
const PASSWORD_BYTES: usize = 1024;
/// About a second of a core.
const BCRYPT_COST: u32 = 14;
/// 256 MiB: more would let one hash take the machine's memory.
const ARGON2_KIBIBYTES: u32 = 256 << 10;
const ARGON2_PASSES: u32 = 16;
const ARGON2_LANES: u32 = 16;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn now() -> u64 {
        1000
    }

    /// Cheap hashes, made by the crates themselves; the hashes of other tools are below.
    fn argon2id(password: &str) -> String {
        use argon2::CustomizedPasswordHasher;
        let params = Params::new(64, 1, 1, None).unwrap();
        let hash: PasswordHash = Argon2::default()
            .hash_password_customized(password.as_bytes(), b"some salt here", Some("argon2id"), None, params)
            .unwrap();
        hash.to_string()
    }

    fn bcrypt(password: &str) -> String {
        bcrypt::hash(password, 4).unwrap()
    }

    #[tokio::test]
    async fn the_right_password_and_no_other() {
        let passwords = Passwords::default();
        for hash in [argon2id("sesame"), bcrypt("sesame"), bcrypt("sesame").replace("$2b$", "$2y$")] {
            // The second time comes from memory.
            for _ in 0..2 {
                assert_eq!(passwords.verify(&hash, "sesame", now).await, Ok(true), "{hash}");
                for wrong in ["", "Sesame", "sesame ", "sesam", "sesame\0", "\0sesame"] {
                    assert_eq!(passwords.verify(&hash, wrong, now).await, Ok(false), "{hash} {wrong:?}");
                }
            }
        }
    }

    /// From the test vectors of the argon2 reference implementation and of bcrypt's own.
    #[tokio::test]
    async fn hashes_of_other_tools() {
        let passwords = Passwords::default();
        for (hash, password) in [
            ("$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4", "password"),
            ("$argon2i$v=19$m=256,t=2,p=1$c29tZXNhbHQ$iekCn0Y3spW+sCcFanM2xBT63UP2sghkUoHLIUpWRS8", "password"),
            ("$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "U*U"),
            ("$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "U*U"),
        ] {
            assert_eq!(passwords.verify(hash, password, now).await, Ok(true), "{hash}");
            assert_eq!(passwords.verify(hash, "other", now).await, Ok(false), "{hash}");
        }
    }

    #[tokio::test]
    async fn bcrypt_does_not_take_the_beginning_of_a_long_password_for_the_whole() {
        let (long, longer) = ("a".repeat(72), "a".repeat(73));
        let passwords = Passwords::default();
        let hash = bcrypt(&long);
        assert_eq!(passwords.verify(&hash, &long, now).await, Ok(true));
        assert_eq!(passwords.verify(&hash, &longer, now).await, Ok(false));
    }

    #[test]
    fn what_is_no_hash_or_too_dear_is_refused_and_not_told() {
        let salted =
            |costs: &str| format!("$argon2id$v=19${costs}$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4");
        for hash in [
            String::new(),
            "sesame".to_owned(),
            "$apr1$zdYDGqHh$XkZ1oxCE7X/8Kq4ZO5yhM1".to_owned(),
            "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=".to_owned(),
            "$5$salt$hash".to_owned(),
            "$2x$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW".to_owned(),
            "$2y$31$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW".to_owned(),
            "$2y$05$CCCC".to_owned(),
            "$argon2id$".to_owned(),
            salted("m=4194304,t=2,p=1"),
            salted("m=256,t=1000000,p=1"),
            salted("m=256,t=2,p=1000"),
            salted("m=1,t=2,p=1"),
        ] {
            let refused = check(&hash).unwrap_err();
            assert!(hash.is_empty() || !refused.contains(&hash), "{refused}");
        }
        check(&salted("m=19456,t=2,p=1")).unwrap();
    }

    #[test]
    fn what_is_remembered_ends_and_is_bounded() {
        let mut verified = Verified::default();
        let print = |number: usize| {
            let mut print = [0; 32];
            print[..8].copy_from_slice(&number.to_le_bytes());
            print
        };
        verified.add(print(0), 0);
        assert!(verified.has(&print(0), 299_999) && !verified.has(&print(0), 300_000) && !verified.has(&print(1), 0));
        for number in 0..3 * REMEMBERED {
            verified.add(print(number), 0);
            assert!(verified.young.len() + verified.old.len() <= REMEMBERED);
        }
        assert!(verified.has(&print(3 * REMEMBERED - 1), 0) && !verified.has(&print(0), 0));
    }

    #[tokio::test]
    async fn more_than_may_wait_are_told_so_at_once() {
        let passwords = Passwords::new(1);
        let turn = passwords.running.clone().acquire_owned().await.unwrap();
        let hash = bcrypt("sesame");
        let mut waiting: Vec<_> = (0..MOST_WAITING).map(|_| Box::pin(passwords.verify(&hash, "other", now))).collect();
        for waits in &mut waiting {
            assert!(poll(waits).is_none());
        }
        assert_eq!(passwords.verify(&hash, "other", now).await, Err(VerifyError::Busy));
        // A client that leaves frees its place.
        waiting.pop();
        assert!(poll(&mut Box::pin(passwords.verify(&hash, "other", now))).is_none());
        drop((waiting, turn));
        assert_eq!(passwords.waiting.load(Ordering::Relaxed), 0);
        assert_eq!(passwords.verify(&hash, "sesame", now).await, Ok(true));
    }

    fn poll<T>(future: &mut std::pin::Pin<Box<impl Future<Output = T>>>) -> Option<T> {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match future.as_mut().poll(&mut context) {
            std::task::Poll::Ready(answer) => Some(answer),
            std::task::Poll::Pending => None,
        }
    }
}
