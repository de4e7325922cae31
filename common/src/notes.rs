//! What a job's holder tells of it while it runs: progress, checkpoint, log; and what each may be.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::json::{self, RawJson};

/// Bytes of JSON that a progress has at most.
pub const MAX_PROGRESS_BYTES: usize = 4 * 1024;
/// Bytes of JSON that a checkpoint has at most.
pub const MAX_CHECKPOINT_BYTES: usize = 64 * 1024;
/// Bytes of an attempt's log that are kept: the last ones.
pub const MAX_LOG_BYTES: usize = 64 * 1024;

/// What a log begins with that has lost its beginning; it counts among the bytes that are kept.
const CUT: &str = "… (cut: of each attempt the last 64 KiB are kept)\n";

/// What is to be kept of one attempt; what is empty leaves what was kept before.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Notes {
    /// How far it is: one that [`progress_fault`] finds nothing wrong with.
    pub progress: Option<RawJson>,
    /// What the next attempt wants to find again: one that [`checkpoint_fault`] finds nothing wrong with.
    pub checkpoint: Option<RawJson>,
    /// What comes behind the log that is there.
    pub log: String,
}

impl Notes {
    /// Whether there is nothing to keep.
    pub fn is_empty(&self) -> bool {
        self.progress.is_none() && self.checkpoint.is_none() && self.log.is_empty()
    }

    /// Bytes that they are about.
    pub fn size(&self) -> usize {
        let json = |value: &Option<RawJson>| value.as_ref().map_or(0, |value| value.as_str().len());
        json(&self.progress) + json(&self.checkpoint) + self.log.len()
    }

    /// Adds what was told later: the newest progress and checkpoint win, the logs follow each other.
    pub fn add(&mut self, later: Self) {
        self.progress = later.progress.or_else(|| self.progress.take());
        self.checkpoint = later.checkpoint.or_else(|| self.checkpoint.take());
        self.log(&later.log);
    }

    /// Adds to the log. What it holds is bounded, whatever is added: at most twice [`MAX_LOG_BYTES`], so that a handler that
    /// logs much has its log cut once in a while, and not at each line.
    pub fn log(&mut self, text: &str) {
        self.log += &tail(text);
        if self.log.len() > 2 * MAX_LOG_BYTES {
            self.log = tail(&self.log).into_owned();
        }
    }

    /// The log in a form that PostgreSQL can take: no NUL, at most [`MAX_LOG_BYTES`]; `None`: there is none.
    pub fn storable_log(&self) -> Option<String> {
        let clean = if self.log.contains('\0') { Cow::Owned(self.log.replace('\0', "\u{fffd}")) } else { Cow::Borrowed(&*self.log) };
        (!clean.is_empty()).then(|| tail(&clean).into_owned())
    }
}

/// The end of a log that is kept, cut between characters, and saying so. `longshore.log_tail` is the same in SQL.
fn tail(text: &str) -> Cow<'_, str> {
    if text.len() <= MAX_LOG_BYTES {
        return Cow::Borrowed(text);
    }
    let mut from = text.len() - (MAX_LOG_BYTES - CUT.len());
    while !text.is_char_boundary(from) {
        from += 1;
    }
    Cow::Owned(format!("{CUT}{}", &text[from..]))
}

/// Why a value cannot be a progress; `None`: it can.
pub fn progress_fault(progress: &RawJson) -> Option<String> {
    let text = progress.as_str();
    if !text.starts_with('{') && !text.parse::<f64>().is_ok_and(|share| (0.0..=1.0).contains(&share)) {
        return Some("must be a number from 0 to 1, or an object".to_owned());
    }
    json::fault(text, MAX_PROGRESS_BYTES)
}

/// Why a value cannot be a checkpoint; `None`: it can.
pub fn checkpoint_fault(checkpoint: &RawJson) -> Option<String> {
    json::fault(checkpoint.as_str(), MAX_CHECKPOINT_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> RawJson {
        RawJson::parse(text.to_owned()).expect("JSON")
    }

    #[test]
    fn a_progress_is_a_share_or_an_object() {
        let object = |length: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(length - 8));
        for good in ["0", "1", "0.5", "1e-400", "1.0", "-0", "{}", r#"{"done": 3, "of": 1e300}"#, &object(MAX_PROGRESS_BYTES)] {
            assert_eq!(progress_fault(&json(good)), None, "{good}");
        }
        for bad in ["1.0001", "-0.1", "2", "1e999", "null", "true", "\"0.5\"", "[0.5]", "\"x\""] {
            assert_eq!(progress_fault(&json(bad)).as_deref(), Some("must be a number from 0 to 1, or an object"), "{bad}");
        }
        assert_eq!(progress_fault(&json(&object(MAX_PROGRESS_BYTES + 1))).as_deref(), Some("is 4097 bytes long; at most 4096 are allowed"));
        assert_eq!(progress_fault(&json(&format!("0.{}", "1".repeat(5000)))).as_deref(), Some("is 5002 bytes long; at most 4096 are allowed"));
        assert!(progress_fault(&json(r#"{"a": "\u0000"}"#)).is_some_and(|why| why.contains("NUL")));
    }

    #[test]
    fn a_checkpoint_is_any_json_that_can_be_stored() {
        for good in ["null", "7", "[1]", &format!("\"{}\"", "x".repeat(MAX_CHECKPOINT_BYTES - 2))] {
            assert_eq!(checkpoint_fault(&json(good)), None);
        }
        let long = json(&format!("\"{}\"", "x".repeat(MAX_CHECKPOINT_BYTES - 1)));
        assert_eq!(checkpoint_fault(&long).as_deref(), Some("is 65537 bytes long; at most 65536 are allowed"));
        assert!(checkpoint_fault(&json("[1e999]")).is_some_and(|why| why.contains("too large")));
    }

    #[test]
    fn the_newest_wins_and_logs_follow_each_other() {
        let mut notes = Notes { progress: Some(json("0.1")), checkpoint: Some(json("1")), log: "a\n".to_owned() };
        notes.add(Notes { progress: Some(json("0.2")), checkpoint: None, log: "b\n".to_owned() });
        assert_eq!(notes, Notes { progress: Some(json("0.2")), checkpoint: Some(json("1")), log: "a\nb\n".to_owned() });
        assert!(!notes.is_empty() && Notes::default().is_empty());
    }

    #[test]
    fn a_log_keeps_its_end_whatever_is_added() {
        let mut notes = Notes::default();
        let mut most = 0;
        for n in 0..40_000 {
            notes.log(&format!("line {n} ä\n"));
            most = most.max(notes.log.len());
        }
        notes.log(&"ü".repeat(1_000_000));
        notes.log("\0 the end");
        assert!(most <= 2 * MAX_LOG_BYTES && notes.log.len() <= 2 * MAX_LOG_BYTES);
        let kept = notes.storable_log().expect("there is one");
        assert!(kept.len() <= MAX_LOG_BYTES && kept.len() > MAX_LOG_BYTES - 4, "{}", kept.len());
        assert!(kept.starts_with(&format!("{CUT}üü")) && kept.ends_with("üü\u{fffd} the end"));
        assert_eq!(kept.matches("(cut").count(), 1);
        assert_eq!(Notes::default().storable_log(), None);
    }
}
