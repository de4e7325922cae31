//! What a program or a service gives back, taken as it comes: it becomes the result, up to what a result may have.

use longshore_common::{
    json::RawJson,
    outcome::{MAX_RESULT_BYTES, omitted},
};

/// What came until now. Beyond the limit, it is counted and forgotten.
#[derive(Debug, Default)]
pub(super) struct Output {
    kept: Vec<u8>,
    bytes: usize,
}

impl Output {
    /// Takes what came next.
    pub fn take(&mut self, chunk: &[u8]) {
        self.bytes += chunk.len();
        let room = (MAX_RESULT_BYTES + 1).saturating_sub(self.kept.len());
        self.kept.extend_from_slice(&chunk[..chunk.len().min(room)]);
    }

    /// Whether it is more than a result may have.
    pub fn is_too_long(&self) -> bool {
        self.bytes > MAX_RESULT_BYTES
    }

    /// The beginning of it, for an error to quote: at most so many bytes.
    pub fn beginning(&self, bytes: usize) -> String {
        String::from_utf8_lossy(&self.kept[..self.kept.len().min(bytes)]).trim().to_owned()
    }

    /// JSON, or else a text without its last line end; nothing for nothing. `what` it is, for the words that stand for what
    /// cannot be kept.
    pub fn into_result(self, what: &str) -> Option<RawJson> {
        if self.is_too_long() {
            return Some(omitted(&format!("the {what} is longer than the {MAX_RESULT_BYTES} bytes that are allowed"), self.bytes));
        }
        let Ok(text) = String::from_utf8(self.kept) else { return Some(omitted(&format!("the {what} is not UTF-8"), self.bytes)) };
        if text.trim().is_empty() {
            return None;
        }
        if let Ok(json) = RawJson::parse(text.trim().to_owned()) {
            return Some(json);
        }
        let line = text.strip_suffix('\n').unwrap_or(&text);
        RawJson::from_value(&line).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_becomes_a_result() {
        let long = vec![b'x'; MAX_RESULT_BYTES + 5];
        for (output, expected) in [
            (&b""[..], None),
            (b" \n", None),
            (b" {\"b\": 1.10, \"a\": 2}\n", Some("{\"b\": 1.10, \"a\": 2}")),
            (b"7\n", Some("7")),
            (b"hello\nworld\n", Some("\"hello\\nworld\"")),
            (b"{\"a\": 1}\n{\"a\": 2}\n", Some("\"{\\\"a\\\": 1}\\n{\\\"a\\\": 2}\"")),
            (b"a\xff", Some("{\"omitted\":\"the output is not UTF-8\",\"bytes\":2}")),
            (&long, Some("{\"omitted\":\"the output is longer than the 1048576 bytes that are allowed\",\"bytes\":1048581}")),
        ] {
            let mut taken = Output::default();
            for chunk in output.chunks(1000) {
                taken.take(chunk);
            }
            assert_eq!(taken.into_result("output").as_ref().map(RawJson::as_str), expected);
        }
    }
}
