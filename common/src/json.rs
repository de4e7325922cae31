//! JSON that is passed on as it came: same digits, same key order. Longshore looks at args and results, but never
//! takes them apart.

use std::fmt;

use bytes::{BufMut, BytesMut};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
pub use serde_json::Error;
use serde_json::value::RawValue;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

/// Levels of arrays and objects inside one another that args and results may have.
pub const MAX_DEPTH: usize = 128;

/// One JSON value as text: valid, with everything as it was sent.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RawJson(Box<RawValue>);

impl RawJson {
    /// Takes text that is one JSON value.
    ///
    /// # Errors
    /// Where it is not.
    pub fn parse(text: String) -> Result<Self, Error> {
        RawValue::from_string(text).map(Self)
    }

    /// Writes a value as JSON.
    ///
    /// # Errors
    /// Where it cannot be written: a map whose keys are not strings.
    pub fn from_value(value: &impl Serialize) -> Result<Self, Error> {
        serde_json::value::to_raw_value(value).map(Self)
    }

    /// `{}`
    pub fn empty_object() -> Self {
        Self::parse("{}".to_owned()).expect("is JSON")
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        self.0.get()
    }

    /// Reads the value as `T`.
    ///
    /// # Errors
    /// Where it does not fit.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_str(self.as_str())
    }
}

impl From<&RawValue> for RawJson {
    fn from(value: &RawValue) -> Self {
        Self(value.to_owned())
    }
}

impl From<Box<RawValue>> for RawJson {
    fn from(value: Box<RawValue>) -> Self {
        Self(value)
    }
}

impl fmt::Debug for RawJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes of JSON", self.as_str().len()) // never the text: args may be private
    }
}

impl PartialEq for RawJson {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl ToSql for RawJson {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        out.put_slice(self.as_str().as_bytes());
        Ok(IsNull::No)
    }
    fn accepts(ty: &Type) -> bool {
        *ty == Type::JSON
    }
    to_sql_checked!();
}

impl<'a> FromSql<'a> for RawJson {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self::parse(std::str::from_utf8(raw)?.to_owned())?)
    }
    fn accepts(ty: &Type) -> bool {
        *ty == Type::JSON
    }
}

/// What PostgreSQL, or a language that reads the value later, could not take; `None` where all is well.
///
/// `text` is valid JSON. Refused are: more than `max_bytes`, more than [`MAX_DEPTH`] levels, a NUL, half of a surrogate
/// pair, a number too large for an f64 (too small a one is taken: its digits are kept).
pub fn fault(text: &str, max_bytes: usize) -> Option<String> {
    if text.len() > max_bytes {
        return Some(format!("is {} bytes long; at most {max_bytes} are allowed", text.len()));
    }
    let bytes = text.as_bytes();
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => match string_end(bytes, at + 1) {
                Ok(end) => at = end,
                Err(why) => return Some(why.to_owned()),
            },
            b'[' | b'{' => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Some(format!("is nested deeper than {MAX_DEPTH} levels"));
                }
                at += 1;
            }
            b']' | b'}' => {
                depth = depth.saturating_sub(1);
                at += 1;
            }
            b'0'..=b'9' => {
                let end = bytes[at..].iter().position(|b| !matches!(b, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-')).map_or(bytes.len(), |n| at + n);
                if text[at..end].parse::<f64>().is_ok_and(f64::is_infinite) {
                    return Some("has a number too large for a 64-bit float".to_owned());
                }
                at = end;
            }
            _ => at += 1,
        }
    }
    None
}

/// From behind the opening quote to behind the closing one; the escapes are looked at on the way.
fn string_end(bytes: &[u8], mut at: usize) -> Result<usize, &'static str> {
    const NUL: &str = "has a NUL character (\\u0000) in a string";
    const LONE: &str = "has half of a surrogate pair (\\ud800 to \\udfff) in a string";
    loop {
        match bytes.get(at) {
            Some(b'\\') if bytes.get(at + 1) == Some(&b'u') => match unit(bytes, at) {
                Some(0) => return Err(NUL),
                Some(0xD800..=0xDBFF) => match unit(bytes, at + 6) {
                    Some(0xDC00..=0xDFFF) => at += 12,
                    _ => return Err(LONE),
                },
                Some(0xDC00..=0xDFFF) => return Err(LONE),
                _ => at += 6,
            },
            Some(b'\\') => at += 2,
            Some(b'"') => return Ok(at + 1),
            Some(_) => at += 1,
            None => return Ok(at),
        }
    }
}

/// The UTF-16 code unit of an escape `\uXXXX` at this place.
fn unit(bytes: &[u8], at: usize) -> Option<u16> {
    let escape = bytes.get(at..at + 6)?;
    if !escape.starts_with(b"\\u") {
        return None;
    }
    u16::from_str_radix(std::str::from_utf8(&escape[2..]).ok()?, 16).ok()
}

/// Makes a value storable that may not be: NULs and lone surrogates become U+FFFD, numbers too large become null.
/// `None` where nothing had to be done, or where it cannot be mended (too long, too deep).
pub fn mended(text: &str) -> Option<RawJson> {
    let mut out = String::with_capacity(text.len());
    let bytes = text.as_bytes();
    let (mut at, mut copied) = (0, 0);
    let mut in_string = false;
    while at < bytes.len() {
        let mut replace = |from: usize, to: usize, with: &str| {
            out.push_str(&text[copied..from]);
            out.push_str(with);
            copied = to;
            to
        };
        at = match (in_string, bytes[at]) {
            (true, b'\\') => match unit(bytes, at) {
                Some(0 | 0xDC00..=0xDFFF) => replace(at, at + 6, "\\ufffd"),
                Some(0xD800..=0xDBFF) if !matches!(unit(bytes, at + 6), Some(0xDC00..=0xDFFF)) => replace(at, at + 6, "\\ufffd"),
                Some(0xD800..=0xDBFF) => at + 12,
                _ => at + 2,
            },
            (_, b'"') => {
                in_string = !in_string;
                at + 1
            }
            (false, b'0'..=b'9' | b'-') => {
                let end = bytes[at..].iter().position(|b| !matches!(b, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-')).map_or(bytes.len(), |n| at + n);
                if text[at..end].parse::<f64>().is_ok_and(f64::is_infinite) { replace(at, end, "null") } else { end }
            }
            _ => at + 1,
        };
    }
    if copied == 0 {
        return None;
    }
    out.push_str(&text[copied..]);
    RawJson::parse(out).ok()
}

/// A JSON text on one line: what ends lines elsewhere (lists for scripts, server-sent events) stands between its parts only, since
/// within strings it is escaped (RFC 8259, section 7).
pub fn on_one_line(json: &str) -> String {
    json.replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_what_is_fine() {
        let deep = format!("{}1{}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
        for text in ["{}", "null", "\"\\u00e4\\\\u0000 \\ud83d\\ude00\"", "1e-400", "1e308", "12345678901234567890123456789", "[[\"]]]]\"]]", deep.as_str()] {
            assert_eq!(fault(text, 1 << 20), None, "{text}");
        }
    }

    #[test]
    fn names_what_is_not() {
        let deep = format!("{}1{}", "[".repeat(MAX_DEPTH + 1), "]".repeat(MAX_DEPTH + 1));
        for (text, why) in [
            ("[1,2,3,4,5,6]", "13 bytes"),
            (deep.as_str(), "deeper"),
            (r#""\u0000""#, "NUL"),
            (r#"{"a\u0000":1}"#, "NUL"),
            (r#""\ud83d""#, "surrogate"),
            (r#""\ud83d\n\ude00""#, "surrogate"),
            (r#""\ude00""#, "surrogate"),
            ("[1e400]", "too large"),
            ("-1e400", "too large"),
        ] {
            let limit = if why == "13 bytes" { 12 } else { 1 << 20 };
            assert!(fault(text, limit).is_some_and(|f| f.contains(why)), "{text}: {:?}", fault(text, limit));
        }
    }

    #[test]
    fn mends_what_can_be_mended() {
        {
            let (text, mended_text) = (
                r#"["a\u0000b", 1e999, -1e999, "\ud83d", "\ude00x", "\ud83d\ude00", "\\u0000"]"#,
                r#"["a\ufffdb", null, null, "\ufffd", "\ufffdx", "\ud83d\ude00", "\\u0000"]"#,
            );
            assert_eq!(mended(text).map(|j| j.as_str().to_owned()).as_deref(), Some(mended_text));
            assert_eq!(fault(mended_text, 1 << 20), None);
        }
        assert_eq!(mended("{\"a\": [1.50, \"x\"]}"), None);
    }

    proptest::proptest! {
        /// Whatever escapes a text is made of: what is taken can be read by anybody, and what is mended is taken.
        #[test]
        fn what_is_taken_can_be_read_and_what_is_mended_is_taken(inside in r#"([a-zä]|\\u(0000|00e4|d83d|de00|dfff|ffff)|\\[n"\\])*"#, number in r"-?[1-9][0-9]{0,2}(e[+-]?[0-9]{1,4})?") {
            let text = format!("[\"{inside}\", {number}]");
            let taken = fault(&text, 1 << 20).is_none();
            let readable = serde_json::from_str::<serde_json::Value>(&text).is_ok_and(|value| !value.to_string().contains("\\u0000"));
            proptest::prop_assert_eq!(taken, readable, "{}", text);
            let kept = mended(&text).map_or(text, |mended| mended.as_str().to_owned());
            proptest::prop_assert_eq!(fault(&kept, 1 << 20), None, "{}", kept);
        }
    }
}
