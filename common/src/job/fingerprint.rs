//! What errors of one cause have in common: `longshore.fingerprint` of the schema makes it, people and programs pass it on.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A fingerprint of an error; written as 16 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub i64);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for Fingerprint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
        let bits = if digits { u64::from_str_radix(text, 16).ok() } else { None };
        bits.map(|bits| Self(bits.cast_signed())).ok_or_else(|| format!("must be 16 hexadecimal digits, as GET /v1/failures shows them, is \"{text}\""))
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        for (number, text) in [(0, "0000000000000000"), (-1, "ffffffffffffffff"), (i64::MIN, "8000000000000000"), (0xabc, "0000000000000abc")] {
            assert_eq!(Fingerprint(number).to_string(), text);
            assert_eq!(text.parse(), Ok(Fingerprint(number)));
        }
        assert_eq!("FFFFFFFFFFFFFFFF".parse(), Ok(Fingerprint(-1)));
        for text in ["", "1", "fffffffffffffffff", "+fffffffffffffff", "ffffffffffffffzz", "ffffffffffffff\u{e9}"] {
            assert!(text.parse::<Fingerprint>().is_err(), "{text}");
        }
    }
}
