//! The hashes that passwords of clients are kept as: argon2 (RFC 9106) in PHC strings, so that a configuration that is
//! read by somebody gives none of them away.

use std::fmt;

use argon2::password_hash::phc;
use argon2::{Algorithm, Argon2, Block, Params, PasswordHasher, Version};

/// The most that a hash may ask for: a check takes so much memory and time, and anybody may cause one.
const MEMORY_KIB_MAX: u32 = 256 * 1024;
const PASSES_MAX: u32 = 16;
const LANES_MAX: u32 = 16;

/// A password that only its owner knows.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash {
    hash: phc::PasswordHash,
}

/// A hash may be guessed at, so it is not shown either.
impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash")
    }
}

impl PasswordHash {
    /// Reads a PHC string.
    ///
    /// # Errors
    /// What is wrong with it, in words that do not show it.
    pub fn parse(text: &str) -> Result<PasswordHash, &'static str> {
        const EXPECTED: &str = "expected what `smarthost hash-password` prints, \"$argon2id$…\"";
        let hash = phc::PasswordHash::new(text).map_err(|_| EXPECTED)?;
        if !hash.algorithm.as_str().starts_with("argon2") || hash.salt.is_none() || hash.hash.is_none() {
            return Err(EXPECTED);
        }
        let params = Params::try_from(&hash).map_err(|_| EXPECTED)?;
        let is_bearable =
            params.m_cost() <= MEMORY_KIB_MAX && params.t_cost() <= PASSES_MAX && params.p_cost() <= LANES_MAX;
        if is_bearable { Ok(PasswordHash { hash }) } else { Err("this hash takes more than 256 MiB or 16 passes") }
    }

    /// Hashes a password, with a salt of its own: 19 MiB and two passes (OWASP's choice for argon2id).
    ///
    /// # Errors
    /// Where the system has no random numbers.
    pub fn of(password: &[u8]) -> Result<String, String> {
        let hash = Argon2::default().hash_password(password).map_err(|error| error.to_string())?;
        Ok(hash.to_string())
    }

    /// Whether it is the password's. Takes as long for a wrong one as for the right one, and that is long.
    pub fn is_of(&self, password: &[u8], memory: &mut Memory) -> bool {
        let (Some(salt), Some(expected)) = (&self.hash.salt, &self.hash.hash) else { return false };
        // Two outputs are compared in constant time.
        self.compute(password, salt, expected.len(), memory).is_some_and(|computed| computed == *expected)
    }

    fn compute(&self, password: &[u8], salt: &[u8], output_bytes: usize, memory: &mut Memory) -> Option<phc::Output> {
        let algorithm = Algorithm::try_from(self.hash.algorithm.as_str()).ok()?;
        let version = self.hash.version.map(Version::try_from).transpose().ok()?.unwrap_or_default();
        let params = Params::try_from(&self.hash).ok()?;
        let blocks = params.block_count();
        if memory.blocks.len() < blocks {
            memory.blocks = vec![Block::new(); blocks];
        }
        let mut output = vec![0; output_bytes];
        let argon2 = Argon2::new(algorithm, version, params);
        argon2.hash_password_into_with_memory(password, salt, &mut output, memory.blocks.get_mut(..blocks)?).ok()?;
        phc::Output::new(&output).ok()
    }
}

/// What a check works in. It is kept between checks: given back to the system from one thread after another, 19 MiB a
/// time, most of it would stay with the process.
#[derive(Default)]
pub struct Memory {
    blocks: Vec<Block>,
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Memory({} KiB)", self.blocks.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_knows_its_password_and_shows_nothing() {
        let text = PasswordHash::of(b"hunter2").unwrap();
        assert!(text.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{text}");
        assert_ne!(PasswordHash::of(b"hunter2").unwrap(), text, "every hash has a salt of its own");
        let hash = PasswordHash::parse(&text).unwrap();
        let mut memory = Memory::default();
        let known = ["hunter2", "hunter3", "", "hunter2"].map(|password| hash.is_of(password.as_bytes(), &mut memory));
        assert_eq!(known, [true, false, false, true]);
        assert_eq!(format!("{hash:?}"), "PasswordHash");
    }

    #[test]
    fn only_hashes_that_can_be_borne() {
        let of =
            |params: &str| format!("$argon2id$v=19${params}$c29tZXNhbHRzb21lc2FsdA$RdescudvJCsgt3ub+b0dWRWJTmaaJObG");
        assert!(PasswordHash::parse(&of("m=65536,t=3,p=4")).is_ok());
        for bad in [
            of("m=4194304,t=3,p=1"),
            of("m=65536,t=1000,p=1"),
            of("m=1,t=1,p=1"),
            "hunter2".to_owned(),
            "$6$salt$hash".to_owned(),
            "$argon2id$v=19$m=65536,t=3,p=4".to_owned(),
            String::new(),
        ] {
            let why = PasswordHash::parse(&bad).unwrap_err();
            assert!(bad.is_empty() || !why.contains(&bad), "{bad}");
        }
    }
}
