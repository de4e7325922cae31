//! Cursors: where a list goes on. Opaque to callers, so that what is inside may change; versioned, so that a foreign or
//! older one is refused rather than misread.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

/// Version and list: the jobs before an id.
const JOBS: &str = "1:jobs:";

/// The cursor of the jobs before this one.
pub fn encode(id: i64) -> String {
    URL_SAFE_NO_PAD.encode(format!("{JOBS}{id}"))
}

/// The id that a cursor names; `None`: it is not one of ours.
pub fn decode(cursor: &str) -> Option<i64> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
    text.strip_prefix(JOBS)?.parse().ok().filter(|id| *id >= 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        for id in [0, 1, i64::MAX] {
            assert_eq!(decode(&encode(id)), Some(id));
        }
    }

    #[test]
    fn refuses_what_is_not_its_own() {
        for text in ["", "42", "!", "MQ", &URL_SAFE_NO_PAD.encode("2:jobs:1"), &URL_SAFE_NO_PAD.encode("1:jobs:-1"), &URL_SAFE_NO_PAD.encode("1:jobs:x")] {
            assert_eq!(decode(text), None, "{text}");
        }
    }
}
