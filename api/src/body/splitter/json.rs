//! JSON: the elements of the array `jobs` of one object. A small machine: where it is in the outer object, and how deep
//! inside a value.

use serde::de::IgnoredAny;

use super::{Pending, Piece, Place};

/// What is handed out.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// A job.
    Job(Piece<'a>),
    /// The outer object has a field that it may not have, or `jobs` where it may not be: a key, and what is wrong.
    Fault(&'a str, &'static str),
}

/// The body is not JSON.
#[derive(Debug, PartialEq, Eq)]
pub struct NotJson(pub String);

/// Cuts `{"jobs": [ … ]}` into the elements of the array.
#[derive(Debug)]
pub struct JsonSplitter {
    at: At,
    value: Value,
    pending: Pending,
    /// Bytes before the chunk that is being looked at.
    before: usize,
    /// Where the value or key that is being read begins.
    start: usize,
    seen_jobs: bool,
}

/// Where in the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Start,
    /// In an array or a text, where an object should be.
    InSomethingElse,
    /// After `{`: a key or `}`.
    FirstKey,
    /// After a comma: a key.
    NextKey,
    Key,
    /// After a key.
    Colon(Field),
    /// After a colon.
    BeforeField(Field),
    InField,
    /// After a value: `,` or `}`.
    AfterField,
    /// After `[`: a job or `]`.
    FirstJob,
    /// After a comma: a job.
    NextJob,
    InJob,
    /// After a job: `,` or `]`.
    AfterJob,
    End,
}

/// Which field of the outer object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Jobs,
    /// One whose value does not matter: it was noted as a fault.
    Other,
}

/// How far inside a value.
#[derive(Debug, Default)]
struct Value {
    depth: usize,
    in_string: bool,
    escaped: bool,
}

/// Whether a value ends at a byte.
enum Ends {
    No,
    /// The byte is its last.
    With,
    /// The byte comes after it.
    Before,
}

impl Value {
    fn step(&mut self, byte: u8) -> Ends {
        if self.in_string {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_string = false,
                _ => return Ends::No,
            }
            return if self.in_string || self.depth > 0 { Ends::No } else { Ends::With };
        }
        match byte {
            b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r' if self.depth == 0 => return Ends::Before,
            b'"' => self.in_string = true,
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => {
                self.depth -= 1;
                return if self.depth == 0 { Ends::With } else { Ends::No };
            }
            _ => {}
        }
        Ends::No
    }
}

impl Default for JsonSplitter {
    fn default() -> Self {
        Self { at: At::Start, value: Value::default(), pending: Pending::default(), before: 0, start: 0, seen_jobs: false }
    }
}

impl JsonSplitter {
    /// Takes the next chunk and hands out what is complete with it.
    ///
    /// # Errors
    /// [`NotJson`], or whatever `each` says; nothing more is handed out then.
    pub fn feed<E: From<NotJson>>(&mut self, chunk: &[u8], mut each: impl FnMut(Event<'_>) -> Result<(), E>) -> Result<(), E> {
        let mut begun = 0; // where in this chunk the current piece begins, or goes on
        let mut at = 0;
        while let Some(&byte) = chunk.get(at) {
            match self.at {
                At::InSomethingElse | At::Key | At::InField | At::InJob => match self.value.step(byte) {
                    Ends::No => at += 1,
                    Ends::With => {
                        at += 1;
                        self.end_piece(&chunk[begun..at], &mut each)?;
                    }
                    Ends::Before => self.end_piece(&chunk[begun..at], &mut each)?,
                },
                _ if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') => at += 1,
                _ => {
                    let begins_piece = self.outside(byte, self.before + at, &mut each)?;
                    begun = at;
                    if !begins_piece {
                        at += 1;
                    }
                }
            }
        }
        if matches!(self.at, At::InSomethingElse | At::Key | At::InField | At::InJob) {
            self.pending.keep(&chunk[begun..]);
        }
        self.before += chunk.len();
        Ok(())
    }

    /// The body has ended.
    ///
    /// # Errors
    /// [`NotJson`] where it ended too early, or whatever `each` says.
    pub fn finish<E: From<NotJson>>(self, mut each: impl FnMut(Event<'_>) -> Result<(), E>) -> Result<(), E> {
        if self.at != At::End {
            return Err(NotJson(format!("the body ends at byte {}, within the JSON", self.before)).into());
        }
        if self.seen_jobs { Ok(()) } else { each(Event::Fault("jobs", "is missing")) }
    }

    /// A byte between pieces; true where a key or value begins with it.
    fn outside<E: From<NotJson>>(&mut self, byte: u8, offset: usize, each: &mut impl FnMut(Event<'_>) -> Result<(), E>) -> Result<bool, E> {
        self.at = match (self.at, byte) {
            (At::Start, b'{') => At::FirstKey,
            (At::Start, b'[' | b'"') => {
                each(Event::Fault("", "must be an object with the field jobs"))?;
                self.seen_jobs = true; // that it is missing need not be said as well
                return Ok(self.begin(At::InSomethingElse, offset));
            }
            (At::FirstKey | At::AfterField, b'}') => At::End,
            (At::FirstKey | At::NextKey, b'"') => return Ok(self.begin(At::Key, offset)),
            (At::Colon(field), b':') => At::BeforeField(field),
            (At::BeforeField(Field::Jobs), b'[') => At::FirstJob,
            (At::BeforeField(_), b',' | b'}' | b']' | b':') => return Err(unexpected(byte, offset, "a value").into()),
            (At::BeforeField(field), _) => {
                if field == Field::Jobs {
                    each(Event::Fault("jobs", "must be an array of jobs"))?;
                }
                return Ok(self.begin(At::InField, offset));
            }
            (At::AfterField, b',') => At::NextKey,
            (At::FirstJob | At::AfterJob, b']') => At::AfterField,
            (At::FirstJob | At::NextJob, b',' | b'}' | b']' | b':') => return Err(unexpected(byte, offset, "a job").into()),
            (At::FirstJob | At::NextJob, _) => return Ok(self.begin(At::InJob, offset)),
            (At::AfterJob, b',') => At::NextJob,
            (at, byte) => return Err(unexpected(byte, offset, at.expects()).into()),
        };
        Ok(false)
    }

    fn begin(&mut self, at: At, offset: usize) -> bool {
        (self.at, self.start, self.value) = (at, offset, Value::default());
        true
    }

    /// The piece that is being read ends with this part of the chunk.
    fn end_piece<E: From<NotJson>>(&mut self, part: &[u8], each: &mut impl FnMut(Event<'_>) -> Result<(), E>) -> Result<(), E> {
        let start = self.start;
        self.at = match self.at {
            At::Key => {
                let key: String = self.pending.complete(part, |text| serde_json::from_slice(text)).map_err(|error| not_json(start, &error))?;
                let fault = match key.as_str() {
                    "jobs" if !std::mem::replace(&mut self.seen_jobs, true) => None,
                    "jobs" => Some("is given more than once"),
                    _ => Some("is not a known field; allowed is jobs"),
                };
                At::Colon(match fault {
                    None => Field::Jobs,
                    Some(detail) => {
                        each(Event::Fault(&key, detail))?;
                        Field::Other
                    }
                })
            }
            At::InJob => {
                self.pending.complete(part, |text| each(Event::Job(Piece { text, place: Place::Byte(start) })))?;
                At::AfterJob
            }
            at => {
                self.pending.complete(part, |text| serde_json::from_slice::<IgnoredAny>(text)).map_err(|error| not_json(start, &error))?;
                if at == At::InSomethingElse { At::End } else { At::AfterField }
            }
        };
        Ok(())
    }
}

impl At {
    fn expects(self) -> &'static str {
        match self {
            Self::Start => "an object such as {\"jobs\": […]}",
            Self::FirstKey => "a key or }",
            Self::NextKey => "a key",
            Self::Colon(_) => "a colon",
            Self::AfterField => "a comma or }",
            Self::AfterJob => "a comma or ]",
            Self::End => "nothing more",
            Self::InSomethingElse | Self::Key | Self::BeforeField(_) | Self::InField | Self::FirstJob | Self::NextJob | Self::InJob => "a value",
        }
    }
}

fn unexpected(byte: u8, offset: usize, expected: &str) -> NotJson {
    NotJson(format!("not valid JSON: \"{}\" at byte {offset}, where {expected} should be", byte.escape_ascii()))
}

fn not_json(start: usize, error: &serde_json::Error) -> NotJson {
    NotJson(format!("not valid JSON, in the value that begins at byte {start}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(body: &[u8], chunk: usize) -> Result<(Vec<String>, Vec<String>), NotJson> {
        let (mut jobs, mut faults) = (Vec::new(), Vec::new());
        let mut each = |event: Event<'_>| {
            match event {
                Event::Job(piece) => jobs.push(format!("{} {}", piece.place, String::from_utf8_lossy(piece.text))),
                Event::Fault(key, detail) => faults.push(format!("{key} {detail}")),
            }
            Ok(())
        };
        let mut splitter = JsonSplitter::default();
        for chunk in body.chunks(chunk) {
            splitter.feed(chunk, &mut each)?;
        }
        splitter.finish(&mut each)?;
        Ok((jobs, faults))
    }

    fn everywhere(body: &str) -> Result<(Vec<String>, Vec<String>), NotJson> {
        let whole = split(body.as_bytes(), body.len().max(1));
        for chunk in 1..body.len() {
            assert_eq!(split(body.as_bytes(), chunk), whole, "{body} in chunks of {chunk}");
        }
        whole
    }

    #[test]
    fn elements_are_jobs_whatever_the_chunks() {
        let body = r#" { "jobs" : [ {"a":"]}\"\\", "b":[{}]} ,7,"x,\"",[1,[2]],{},null ] } "#;
        let (jobs, faults) = everywhere(body).expect("is JSON");
        assert_eq!(
            jobs,
            ["byte 14 {\"a\":\"]}\\\"\\\\\", \"b\":[{}]}", "byte 40 7", "byte 42 \"x,\\\"\"", "byte 49 [1,[2]]", "byte 57 {}", "byte 60 null"],
            "{jobs:#?}"
        );
        assert!(faults.is_empty());
        assert_eq!(everywhere(r#"{"jobs":[]}"#), Ok((vec![], vec![])));
        assert_eq!(everywhere(r#"{"\u006aobs":[1]}"#), Ok((vec!["byte 14 1".to_owned()], vec![])), "a key may be written with escapes");
    }

    #[test]
    fn the_outer_object_is_looked_at() {
        for (body, expected) in [
            ("{}", "jobs is missing"),
            (r#" [{"kind": "echo"}] "#, " must be an object with the field jobs"),
            (r#""jobs""#, " must be an object with the field jobs"),
            (r#"{"jobs":[1],"jobs":[2]}"#, "jobs is given more than once"),
            (r#"{"jobs":{"a":[1]}}"#, "jobs must be an array of jobs"),
            (r#"{"jobs":7}"#, "jobs must be an array of jobs"),
            (r#"{"x":{"jobs":[1,"]"]},"jobs":[1]}"#, "x is not a known field; allowed is jobs"),
            (r#"{"jobs":[1], "ä" : -1.5e3 }"#, "ä is not a known field; allowed is jobs"),
        ] {
            assert_eq!(everywhere(body).map(|(_, faults)| faults), Ok(vec![expected.to_owned()]), "{body}");
        }
    }

    #[test]
    fn what_is_not_json_is_named_with_its_place() {
        for (body, said) in [
            ("", "ends at byte 0"),
            ("7", "\"7\" at byte 0, where an object"),
            ("[1", "ends at byte 2"),
            ("[1,]", "begins at byte 0"),
            ("{\"jobs\":[1", "ends at byte 10"),
            ("{\"jobs\":[\"a", "ends at byte 11"),
            ("{\"jobs\":[1]", "ends at byte 11"),
            ("{\"jobs\":[1]}}", "\"}\" at byte 12, where nothing more"),
            ("{\"jobs\":[1]} x", "\"x\" at byte 13"),
            ("{\"jobs\":[1,]}", "\"]\" at byte 11, where a job"),
            ("{\"jobs\":[,1]}", "\",\" at byte 9"),
            ("{\"jobs\":[1 2]}", "\"2\" at byte 11, where a comma or ]"),
            ("{\"jobs\" [1]}", "\"[\" at byte 8, where a colon"),
            ("{\"jobs\":}", "\"}\" at byte 8, where a value"),
            ("{\"jobs\":[1],}", "\"}\" at byte 12, where a key"),
            ("{jobs:[1]}", "\"j\" at byte 1, where a key or }"),
            ("{\"x\":tru,\"jobs\":[1]}", "begins at byte 5"),
            ("{\"x\":[1,}],\"jobs\":[1]}", "byte"),
            ("{\"\\x\":1}", "begins at byte 1"),
            ("\u{feff}{}", "\"\\xef\" at byte 0"),
        ] {
            let error = everywhere(body).expect_err(body);
            assert!(error.0.contains(said), "{body}: {}", error.0);
        }
    }

    #[test]
    fn depth_is_a_number_not_a_stack() {
        let body = format!("{{\"jobs\":[{}{}]}}", "[".repeat(300_000), "]".repeat(300_000));
        assert_eq!(split(body.as_bytes(), 4096).expect("balanced").0.len(), 1);
    }
}
