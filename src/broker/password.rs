//! Password hashes: argon2id for passwords set here, RabbitMQ's salted SHA-256, SHA-512 and MD5 for
//! users that are imported with a hash. Pure computation; callers keep it off the async threads.

use std::hint::black_box;
use std::thread;

use argon2::password_hash::phc::{self, Output, ParamsString, Salt};
use argon2::password_hash::{Error, Result as HashResult};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use md5::Md5;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256, Sha512};

/// Argon2id memory in KiB: with three passes about 25 ms of one core per login.
const ARGON2_MEMORY_KIB: u32 = 12 * 1024;
/// Argon2id passes.
const ARGON2_PASSES: u32 = 3;
/// Argon2's blocks of 1 KiB for hashes that are made here.
const SCRATCH_BLOCKS: usize = ARGON2_MEMORY_KIB as usize;
/// Stack besides the blocks.
const SCRATCH_STACK_SPARE: usize = 512 * 1024;
/// RabbitMQ puts a salt of four bytes before its digests.
const RABBIT_SALT_LEN: usize = 4;

/// How a stored hash was made. The names are those of RabbitMQ's definitions files; `argon2id` is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HashingAlgorithm {
    /// A PHC string. This broker makes these.
    #[serde(rename = "argon2id")]
    Argon2id,
    /// base64(salt || SHA-256(salt || password)): RabbitMQ's default.
    #[serde(rename = "rabbit_password_hashing_sha256")]
    RabbitSha256,
    /// base64(salt || SHA-512(salt || password)).
    #[serde(rename = "rabbit_password_hashing_sha512")]
    RabbitSha512,
    /// base64(salt || MD5(salt || password)): users that date from RabbitMQ 3.5.
    #[serde(rename = "rabbit_password_hashing_md5")]
    RabbitMd5,
}

impl HashingAlgorithm {
    /// The algorithm of a hash in a definitions file: by its name, or by the version of the RabbitMQ that wrote the file
    /// without one. `None` for an algorithm that is not known here.
    pub fn of_definition(name: Option<&str>, version: Option<&str>) -> Option<HashingAlgorithm> {
        match name {
            Some("argon2id") => Some(HashingAlgorithm::Argon2id),
            Some("rabbit_password_hashing_sha256") => Some(HashingAlgorithm::RabbitSha256),
            Some("rabbit_password_hashing_sha512") => Some(HashingAlgorithm::RabbitSha512),
            Some("rabbit_password_hashing_md5") => Some(HashingAlgorithm::RabbitMd5),
            Some(_) => None,
            None => {
                let minor = version.and_then(|version| version.strip_prefix("3."));
                let minor = minor.and_then(|rest| rest.split('.').next()?.parse::<u32>().ok());
                match minor {
                    Some(0..=5) => Some(HashingAlgorithm::RabbitMd5),
                    Some(_) | None => Some(HashingAlgorithm::RabbitSha256),
                }
            }
        }
    }

    /// The name in definitions files.
    pub fn as_str(self) -> &'static str {
        match self {
            HashingAlgorithm::Argon2id => "argon2id",
            HashingAlgorithm::RabbitSha256 => "rabbit_password_hashing_sha256",
            HashingAlgorithm::RabbitSha512 => "rabbit_password_hashing_sha512",
            HashingAlgorithm::RabbitMd5 => "rabbit_password_hashing_md5",
        }
    }
}

/// How new passwords are hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewPasswords {
    Argon2id,
    /// As RabbitMQ does, which can then import the hash.
    RabbitSha256,
}

/// A stored hash with its algorithm.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PasswordHash {
    #[serde(rename = "password_hash")]
    text: String,
    #[serde(rename = "hashing_algorithm")]
    algorithm: HashingAlgorithm,
}

/// The text is no hash of this algorithm.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the password hash is not one of {0:?}")]
pub struct MalformedHash(pub HashingAlgorithm);

impl std::fmt::Debug for PasswordHash {
    // Hashes do not belong into logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PasswordHash({:?})", self.algorithm)
    }
}

impl PasswordHash {
    /// Hashes a new password with argon2id and a random salt. Takes tens of milliseconds.
    pub fn new(password: &[u8]) -> PasswordHash {
        let salt: [u8; 16] = rand::random();
        let text = new_argon2id(password, &salt).unwrap_or_else(|error| {
            unreachable!("fixed argon2id parameters and a salt of 16 bytes: {error}")
        });
        PasswordHash {
            text,
            algorithm: HashingAlgorithm::Argon2id,
        }
    }

    /// RabbitMQ's own salted SHA-256, as `hash_password` prints it and definitions carry it.
    pub fn rabbit_sha256(password: &[u8]) -> PasswordHash {
        let salt: [u8; RABBIT_SALT_LEN] = rand::random();
        let mut salted = salt.to_vec();
        salted.extend_from_slice(&digest::<Sha256>(&salt, password));
        PasswordHash {
            text: BASE64.encode(salted),
            algorithm: HashingAlgorithm::RabbitSha256,
        }
    }

    /// Imports a hash.
    pub fn import(text: &str, algorithm: HashingAlgorithm) -> Result<PasswordHash, MalformedHash> {
        let well_formed = match algorithm {
            HashingAlgorithm::Argon2id => phc::PasswordHash::new(text).is_ok(),
            HashingAlgorithm::RabbitSha256 => rabbit_parts(text, 32).is_some(),
            HashingAlgorithm::RabbitSha512 => rabbit_parts(text, 64).is_some(),
            HashingAlgorithm::RabbitMd5 => rabbit_parts(text, 16).is_some(),
        };
        if well_formed {
            Ok(PasswordHash {
                text: text.to_owned(),
                algorithm,
            })
        } else {
            Err(MalformedHash(algorithm))
        }
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn algorithm(&self) -> HashingAlgorithm {
        self.algorithm
    }

    /// Whether `hash` is the hash of `password`. A wrong password takes as long as [`PasswordHash::new`], also for a fast
    /// algorithm and without a hash, so that the time does not tell which users exist.
    pub fn verify_slowly(hash: Option<&PasswordHash>, password: &[u8]) -> bool {
        let right = hash.is_some_and(|hash| hash.verify(password));
        let was_slow = hash.is_some_and(|hash| hash.algorithm == HashingAlgorithm::Argon2id);
        if !right && !was_slow {
            spend_a_hash(password);
        }
        right
    }

    /// Whether this is the hash of `password`. As slow as [`PasswordHash::new`] for argon2id.
    pub fn verify(&self, password: &[u8]) -> bool {
        match self.algorithm {
            HashingAlgorithm::Argon2id => phc::PasswordHash::new(&self.text)
                .is_ok_and(|hash| verify_argon2(&hash, password).unwrap_or(false)),
            HashingAlgorithm::RabbitSha256 => verify_rabbit::<Sha256>(&self.text, password),
            HashingAlgorithm::RabbitSha512 => verify_rabbit::<Sha512>(&self.text, password),
            HashingAlgorithm::RabbitMd5 => verify_rabbit::<Md5>(&self.text, password),
        }
    }
}

/// Takes as long as a hash that is made here.
fn spend_a_hash(password: &[u8]) {
    let hashed = new_argon2id(password, &[0; 16]);
    drop(black_box(hashed));
}

/// The PHC string of a password.
fn new_argon2id(password: &[u8], salt: &[u8]) -> HashResult<String> {
    let params = Params::new(ARGON2_MEMORY_KIB, ARGON2_PASSES, 1, None)?;
    let hash = phc::PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(&params)?,
        salt: Some(Salt::new(salt)?),
        hash: None,
    };
    let output = argon2_output(&hash, password, Params::DEFAULT_OUTPUT_LEN)?;
    let hash = phc::PasswordHash {
        hash: Some(output),
        ..hash
    };
    Ok(hash.to_string())
}

fn verify_argon2(hash: &phc::PasswordHash, password: &[u8]) -> HashResult<bool> {
    let Some(expected) = hash.hash else {
        return Ok(false);
    };
    // Outputs compare in constant time.
    Ok(argon2_output(hash, password, expected.len())? == expected)
}

/// Hashes the password with the algorithm, version, parameters and salt of `hash`.
fn argon2_output(hash: &phc::PasswordHash, password: &[u8], len: usize) -> HashResult<Output> {
    let version = hash.version.map(Version::try_from).transpose()?;
    let argon2 = Argon2::new(
        Algorithm::try_from(hash.algorithm.as_str())?,
        version.unwrap_or_default(),
        Params::try_from(hash)?,
    );
    let salt = hash.salt.ok_or(Error::SaltInvalid)?;
    let mut bytes = vec![0; len];
    fill(&argon2, password, &salt, &mut bytes)?;
    Ok(Output::new(&bytes)?)
}

/// Computes a hash. Its blocks lie on the stack of a thread of its own: the system has them back when the thread ends,
/// whereas the allocator would keep them while the broker is idle.
fn fill(argon2: &Argon2<'_>, password: &[u8], salt: &[u8], out: &mut [u8]) -> argon2::Result<()> {
    if argon2.params().block_count() > SCRATCH_BLOCKS {
        return argon2.hash_password_into(password, salt, out); // made elsewhere
    }
    let hashed = thread::scope(|scope| {
        let out = &mut *out;
        let scratch = thread::Builder::new()
            .name("leveret-hash".to_owned())
            .stack_size(SCRATCH_BLOCKS * Block::SIZE + SCRATCH_STACK_SPARE)
            .spawn_scoped(scope, move || {
                let mut blocks = [Block::new(); SCRATCH_BLOCKS];
                argon2.hash_password_into_with_memory(password, salt, out, &mut blocks)
            });
        scratch.ok().and_then(|thread| thread.join().ok())
    });
    // Without another thread the memory goes back later; the hash is the same.
    hashed.unwrap_or_else(|| argon2.hash_password_into(password, salt, out))
}

fn digest<D: Digest>(salt: &[u8], password: &[u8]) -> Vec<u8> {
    D::new()
        .chain_update(salt)
        .chain_update(password)
        .finalize()
        .to_vec()
}

/// Salt and digest of a RabbitMQ hash, if the digest has the algorithm's length.
fn rabbit_parts(text: &str, digest_len: usize) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut salt = BASE64.decode(text).ok()?;
    if salt.len() != RABBIT_SALT_LEN + digest_len {
        return None;
    }
    let digest = salt.split_off(RABBIT_SALT_LEN);
    Some((salt, digest))
}

fn verify_rabbit<D: Digest>(text: &str, password: &[u8]) -> bool {
    rabbit_parts(text, <D as Digest>::output_size())
        .is_some_and(|(salt, expected)| same_bytes(&digest::<D>(&salt, password), &expected))
}

/// Compares in constant time, so that the time tells nothing about the hash.
fn same_bytes(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len()
        && a.iter()
            .zip(b)
            .fold(0, |difference, (x, y)| difference | (x ^ y))
            == 0
}

#[cfg(test)]
mod tests {
    use argon2::password_hash::PasswordHasher;

    use super::*;

    #[test]
    fn a_new_hash_verifies_its_password_only() {
        let hash = PasswordHash::new(b"secret");
        assert!(
            hash.text().starts_with("$argon2id$v=19$m=12288,t=3,p=1$"),
            "{}",
            hash.text()
        );
        assert!(hash.verify(b"secret"));
        assert!(!hash.verify(b"Secret"));
        assert!(!hash.verify(b""));
        assert_ne!(hash, PasswordHash::new(b"secret"), "salts differ");
    }

    #[test]
    fn argon2_hashes_with_parameters_of_their_own_verify() {
        // Little memory, and more than a hash made here takes.
        for memory_kib in [64, ARGON2_MEMORY_KIB + 64] {
            let params = Params::new(memory_kib, 1, 2, Some(24)).unwrap();
            let text = Argon2::new(Algorithm::Argon2d, Version::V0x10, params)
                .hash_password_with_salt(b"pw", b"salted salt")
                .unwrap()
                .to_string();
            let hash = PasswordHash::import(&text, HashingAlgorithm::Argon2id).unwrap();
            assert!(hash.verify(b"pw"), "{text}");
            assert!(!hash.verify(b"pW"), "{text}");
        }
        let unfinished = "$argon2id$v=19$m=64,t=1,p=1$c2FsdGVkIHNhbHQ";
        let hash = PasswordHash::import(unfinished, HashingAlgorithm::Argon2id).unwrap();
        assert!(!hash.verify(b""));
    }

    #[test]
    fn rabbitmq_hashes_verify() {
        // Made with RabbitMQ's documented recipe: salt 908D C60A, password "test12".
        let known = "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR";
        let check = |text: &str, algorithm, password: &[u8], expected: bool| {
            let hash = PasswordHash::import(text, algorithm).unwrap();
            assert_eq!(hash.verify(password), expected, "{algorithm:?} {text}");
        };
        check(known, HashingAlgorithm::RabbitSha256, b"test12", true);
        check(known, HashingAlgorithm::RabbitSha256, b"test13", false);
        for (algorithm, digest) in [
            (
                HashingAlgorithm::RabbitSha512,
                digest::<Sha512>(b"salt", b"pw"),
            ),
            (HashingAlgorithm::RabbitMd5, digest::<Md5>(b"salt", b"pw")),
        ] {
            let text = BASE64.encode([b"salt".to_vec(), digest].concat());
            check(&text, algorithm, b"pw", true);
            check(&text, algorithm, b"pW", false);
        }
        assert!(PasswordHash::rabbit_sha256(b"x").verify(b"x"));
    }

    /// Compares the fastest of a few tries, which other load disturbs least.
    #[test]
    fn every_wrong_password_takes_equally_long() {
        let known = PasswordHash::new(b"secret");
        let fast = PasswordHash::rabbit_sha256(b"secret");
        let best = |hash: Option<&PasswordHash>| {
            let tries = (0..5).map(|_| {
                let began = std::time::Instant::now();
                assert!(!PasswordHash::verify_slowly(hash, b"guess"));
                began.elapsed()
            });
            tries.min().unwrap()
        };
        let wrong = best(Some(&known));
        for other in [best(None), best(Some(&fast))] {
            assert!(other * 3 > wrong, "{other:?} against {wrong:?}");
        }
        assert!(PasswordHash::verify_slowly(Some(&fast), b"secret"));
    }

    #[test]
    fn a_hash_of_another_shape_is_refused() {
        for (text, algorithm) in [
            ("", HashingAlgorithm::RabbitSha256),
            ("not base64!", HashingAlgorithm::RabbitSha256),
            ("c2FsdA==", HashingAlgorithm::RabbitMd5),
            ("$argon2id$", HashingAlgorithm::Argon2id),
        ] {
            assert_eq!(
                PasswordHash::import(text, algorithm),
                Err(MalformedHash(algorithm)),
                "{text}"
            );
        }
    }
}
