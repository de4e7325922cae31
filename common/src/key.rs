//! API keys: what they look like, what they are found by, what they allow. Pure: the database and the chance that a new
//! key is made of are the store's.
//!
//! A key is `ls_<prefix>_<secret>`, in lower-case hexadecimal digits. The prefix is public and names the row; of the whole
//! only the SHA-256 is stored, which is enough for 256 random bits: there is nothing to guess faster.

use std::{collections::BTreeSet, fmt};

use secrecy::{ExposeSecret, SecretString};
use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::job::QueueName;
pub use crate::job::name::KeyName;

/// Bytes of chance in the public part.
const PREFIX_BYTES: usize = 6;
/// Bytes of chance in the secret part.
const SECRET_BYTES: usize = 32;
/// What a key begins with, for people and for scanners that look for secrets in the wrong places.
const MARK: &str = "ls_";

/// Bytes of chance that a key is made of.
pub const ENTROPY: usize = PREFIX_BYTES + SECRET_BYTES;

/// What a key may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Enqueue jobs.
    Enqueue,
    /// Look at jobs, queues and workers.
    Read,
    /// Lease jobs, and report what became of them.
    Work,
    /// All of it.
    Admin,
}

impl Scope {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::Enqueue, Self::Read, Self::Work, Self::Admin];

    /// As it is written everywhere.
    pub fn word(self) -> &'static str {
        match self {
            Self::Enqueue => "enqueue",
            Self::Read => "read",
            Self::Work => "work",
            Self::Admin => "admin",
        }
    }

    /// The scope that is written so.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.word() == word)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl Serialize for Scope {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

/// The text of a new key: whoever knows it may do what the key may. It is shown to the person who asked for it, once.
#[derive(Debug)]
pub struct KeyText(SecretString);

impl KeyText {
    /// A key of this chance.
    pub fn of(entropy: &[u8; ENTROPY]) -> Self {
        let (prefix, secret) = entropy.split_at(PREFIX_BYTES);
        Self(format!("{MARK}{}_{}", hexadecimal(prefix), hexadecimal(secret)).into())
    }

    /// The text itself.
    pub fn reveal(&self) -> &str {
        self.0.expose_secret()
    }

    /// What the key is stored as.
    pub fn credential(&self) -> Credential<'_> {
        Credential::of(self.reveal()).expect("it has the form of a key")
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |text, byte| text + &format!("{byte:02x}"))
}

/// A text that has the form of a key: which key it says it is, and the hash that proves or disproves it.
#[derive(Debug)]
pub struct Credential<'a> {
    /// The public part.
    pub prefix: &'a str,
    /// SHA-256 of the whole.
    pub hash: [u8; 32],
}

impl<'a> Credential<'a> {
    /// Looks at a text that came from anywhere; `None`: no key looks like that. Nothing is hashed that is too long.
    pub fn of(text: &'a str) -> Option<Self> {
        let (prefix, secret) = text.strip_prefix(MARK)?.split_once('_')?;
        let digits = |part: &str, bytes: usize| part.len() == 2 * bytes && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        (digits(prefix, PREFIX_BYTES) && digits(secret, SECRET_BYTES)).then(|| Self { prefix, hash: Sha256::digest(text).into() })
    }
}

/// A key that is to be created.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// What people and logs call it.
    pub name: KeyName,
    /// What it is for.
    pub scopes: BTreeSet<Scope>,
    /// The queues it is limited to; none: all.
    pub queues: BTreeSet<QueueName>,
}

/// A key as those know it who let requests in. What a row has beyond the rules makes it allow less, never more.
#[derive(Debug, Clone)]
pub struct ApiKey {
    /// What people and logs call it.
    pub name: String,
    /// The public part.
    pub prefix: String,
    /// SHA-256 of the whole.
    pub hash: Vec<u8>,
    /// What it is for, as far as this program knows the words.
    pub scopes: Vec<Scope>,
    /// The queues it is limited to; `None`: all.
    pub queues: Option<Vec<String>>,
}

impl ApiKey {
    /// Whether it is the key that was presented. Takes the same time however much of the hash fits.
    pub fn is(&self, credential: &Credential<'_>) -> bool {
        self.prefix == credential.prefix && bool::from(self.hash.ct_eq(&credential.hash))
    }

    /// Whether it may be used for this.
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.iter().any(|known| [scope, Scope::Admin].contains(known))
    }

    /// Whether it may see and use this queue.
    pub fn reaches(&self, queue: &str) -> bool {
        self.queues.as_ref().is_none_or(|queues| queues.iter().any(|known| known == queue))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(scopes: &[Scope], queues: Option<&[&str]>) -> (KeyText, ApiKey) {
        let text = KeyText::of(&[0xa5; ENTROPY]);
        let (prefix, hash) = (text.credential().prefix.to_owned(), text.credential().hash.to_vec());
        let queues = queues.map(|queues| queues.iter().map(|queue| (*queue).to_owned()).collect());
        (text, ApiKey { name: "k".to_owned(), prefix, hash, scopes: scopes.to_vec(), queues })
    }

    #[test]
    fn a_key_has_a_public_part_and_256_bits() {
        let mut entropy = [0; ENTROPY];
        for (n, byte) in (0..).zip(&mut entropy) {
            *byte = n;
        }
        let text = KeyText::of(&entropy);
        assert_eq!(text.reveal(), "ls_000102030405_060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425");
        let credential = text.credential();
        assert_eq!(credential.prefix, "000102030405");
        // printf %s ls_0001… | sha256sum
        assert_eq!(hexadecimal(&credential.hash), "c513204112ca57e7172ff7e01b783eff562528e49a05fdaee1686fbc4240c061");
    }

    #[test]
    fn a_secret_does_not_show_in_messages() {
        let (text, key) = key(&[Scope::Read], None);
        let secret = text.reveal().rsplit('_').next().expect("a secret part");
        assert!(!format!("{text:?} {key:?}").contains(secret));
    }

    #[test]
    fn what_does_not_look_like_a_key_is_none() {
        let (text, _) = key(&[], None);
        let good = text.reveal();
        assert!(Credential::of(good).is_some());
        for bad in [
            "",
            "ls_",
            "ls__",
            &good[..good.len() - 1],
            &format!("{good}0"),
            &format!("{good} "),
            &format!(" {good}"),
            &format!("{good}\n"),
            &good.to_uppercase(),
            &good.replacen("ls_", "LS_", 1),
            &good.replacen("a5", "A5", 1),
            &good.replacen("a5", "g5", 1),
            &good.replacen("a5", "é", 1),
            &good.replace('_', "-"),
            &"ls_a5".repeat(100_000),
        ] {
            assert!(Credential::of(bad).is_none(), "{bad:.100}");
        }
    }

    #[test]
    fn a_key_is_known_by_all_of_it() {
        let (text, mut key) = key(&[], None);
        assert!(key.is(&text.credential()));
        let last = |text: &str, digit: &str| format!("{}{digit}", &text[..text.len() - 1]);
        assert!(!key.is(&Credential::of(&last(text.reveal(), "6")).expect("its form is right")), "one digit of the secret");
        let other_prefix = text.reveal().replacen("a5", "a6", 1);
        assert!(!key.is(&Credential::of(&other_prefix).expect("its form is right")), "one digit of the prefix");
        for damaged in [vec![], key.hash[..31].to_vec(), [&key.hash[..], &[0]].concat()] {
            key.hash = damaged;
            assert!(!key.is(&text.credential()), "a hash of another length fits nothing");
        }
    }

    #[test]
    fn admin_includes_all_scopes_and_no_other_does() {
        for had in Scope::ALL {
            for wanted in Scope::ALL {
                assert_eq!(key(&[had], None).1.may(wanted), had == wanted || had == Scope::Admin, "{had} {wanted}");
            }
        }
        let several = key(&[Scope::Enqueue, Scope::Read], None).1;
        assert!(several.may(Scope::Enqueue) && several.may(Scope::Read) && !several.may(Scope::Work) && !several.may(Scope::Admin));
        assert!(Scope::ALL.into_iter().all(|wanted| !key(&[], None).1.may(wanted)), "a key of unknown words allows nothing");
    }

    #[test]
    fn a_limit_is_exact() {
        let limited = key(&[Scope::Admin], Some(&["emails", "a.b"])).1;
        assert!(limited.reaches("emails") && limited.reaches("a.b"));
        for other in ["", "email", "emails2", "Emails", "default", "*", "a_b"] {
            assert!(!limited.reaches(other), "{other}: admin is limited as any other");
        }
        assert!(key(&[], None).1.reaches("anything") && !key(&[], Some(&[])).1.reaches("anything"));
    }

    #[test]
    fn words_come_back() {
        assert!(Scope::ALL.into_iter().all(|scope| Scope::from_word(scope.word()) == Some(scope)));
        assert_eq!((Scope::from_word("root"), Scope::from_word("Read")), (None, None));
    }
}
