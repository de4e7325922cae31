//! A batch: its body is read as a stream and becomes jobs while it comes. All faults are found, the first hundred are told.

use futures_util::StreamExt;
use longshore_common::{
    fault::{Fault, token},
    job::{InvalidJob, NewJob},
};
use poem::Body;

use super::{
    Format, MAX_BATCH_BODY,
    splitter::{
        JsonSplitter, LineSplitter, Piece, Place,
        json::{Event, NotJson},
    },
};
use crate::problem::ApiError;

/// Jobs of a batch at most.
pub const MAX_JOBS: usize = 10_000;
/// Faults that are told; of further ones only the number.
const MAX_FAULTS: usize = 100;

/// Reads the jobs of a batch; `seen` is shown every part of the body as it comes.
///
/// # Errors
/// [`ApiError::Malformed`], [`ApiError::Invalid`] with the faults of all jobs, [`ApiError::TooLarge`],
/// [`ApiError::BodyUnread`].
pub async fn read(body: Body, format: Format, mut seen: impl FnMut(&[u8])) -> Result<Vec<NewJob>, ApiError> {
    let mut chunks = body.into_bytes_stream();
    let mut batch = Batch::default();
    let mut bytes = 0;
    let mut splitter = match format {
        Format::Json => Splitter::Json(JsonSplitter::default()),
        Format::Ndjson => Splitter::Lines(LineSplitter::default()),
    };
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(ApiError::BodyUnread)?;
        bytes += chunk.len();
        seen(&chunk);
        if bytes > MAX_BATCH_BODY {
            return Err(ApiError::TooLarge(MAX_BATCH_BODY));
        }
        match &mut splitter {
            Splitter::Json(splitter) => splitter.feed(&chunk, |event| batch.take_event(event))?,
            Splitter::Lines(splitter) => splitter.feed(&chunk, |piece| batch.take(piece))?,
        }
    }
    match splitter {
        Splitter::Json(splitter) => splitter.finish(|event| batch.take_event(event))?,
        Splitter::Lines(splitter) => splitter.finish(|piece| batch.take(piece))?,
    }
    batch.finish()
}

enum Splitter {
    Json(JsonSplitter),
    Lines(LineSplitter),
}

/// The jobs so far, or what is wrong with them.
#[derive(Debug, Default)]
struct Batch {
    jobs: Vec<NewJob>,
    /// How many have come, with faults or without.
    count: usize,
    faults: Vec<Fault>,
    /// How many more there were.
    untold: usize,
}

impl Batch {
    fn take_event(&mut self, event: Event<'_>) -> Result<(), ApiError> {
        match event {
            Event::Job(piece) => self.take(piece),
            Event::Fault(key, detail) => {
                let pointer = if key.is_empty() { String::new() } else { token(key) };
                self.note([Fault { pointer, detail: detail.into() }]);
                Ok(())
            }
        }
    }

    fn take(&mut self, piece: Piece<'_>) -> Result<(), ApiError> {
        if self.count == MAX_JOBS {
            // no more is read, however much more there is
            return Err(ApiError::Invalid(vec![Fault { pointer: "/jobs".to_owned(), detail: format!("has more than {MAX_JOBS} jobs").into() }]));
        }
        let index = self.count;
        self.count += 1;
        match NewJob::parse(piece.text, &format!("/jobs/{index}")) {
            Ok(job) if self.faults.is_empty() => self.jobs.push(job),
            Ok(_) => {} // none will be stored
            Err(InvalidJob::Malformed(error)) => return Err(ApiError::Malformed(format!("job {index}, at {}: {}", piece.place, error.detail))),
            Err(InvalidJob::Faults(faults)) => {
                self.jobs = Vec::new();
                self.note(faults.into_iter().map(|fault| told_at(fault, piece.place)));
            }
        }
        Ok(())
    }

    fn note(&mut self, faults: impl IntoIterator<Item = Fault>) {
        for fault in faults {
            if self.faults.len() < MAX_FAULTS {
                self.faults.push(fault);
            } else {
                self.untold += 1;
            }
        }
    }

    fn finish(mut self) -> Result<Vec<NewJob>, ApiError> {
        if self.count == 0 && self.faults.is_empty() {
            self.note([Fault { pointer: "/jobs".to_owned(), detail: format!("must have 1 to {MAX_JOBS} jobs, has none").into() }]);
        }
        if self.untold > 0 {
            self.faults.push(Fault { pointer: "/jobs".to_owned(), detail: format!("has {} more faults", self.untold).into() });
        }
        if self.faults.is_empty() { Ok(self.jobs) } else { Err(ApiError::Invalid(self.faults)) }
    }
}

/// A line is easier to find than an index.
fn told_at(fault: Fault, place: Place) -> Fault {
    match place {
        Place::Line(_) => Fault { detail: format!("{} ({place})", fault.detail).into(), ..fault },
        Place::Byte(_) => fault,
    }
}

impl From<NotJson> for ApiError {
    fn from(error: NotJson) -> Self {
        Self::Malformed(error.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read_text(text: String, format: Format) -> Result<usize, ApiError> {
        read(Body::from(text), format, |_| ()).await.map(|jobs| jobs.len())
    }

    async fn faults(text: &str, format: Format) -> Vec<String> {
        match read_text(text.to_owned(), format).await {
            Err(ApiError::Invalid(faults)) => faults.into_iter().map(|f| format!("{} {}", f.pointer, f.detail)).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn all_faults_of_all_jobs() {
        assert_eq!(
            faults(r#"{"jobs":[{"kind":"a"},{"kind":"b","priority":"x"},{}],"y":1}"#, Format::Json).await,
            [
                "/jobs/1/priority must be an integer from -32768 to 32767, is the text \"x\"",
                "/jobs/2/kind is missing",
                "/y is not a known field; allowed is jobs"
            ]
        );
        assert_eq!(faults("{\"kind\":\"a\"}\n\n{}\n", Format::Ndjson).await, ["/jobs/1/kind is missing (line 3)"]);
        assert_eq!(faults("[]", Format::Json).await, [" must be an object with the field jobs"]);
    }

    #[tokio::test]
    async fn of_many_faults_the_first_are_told() {
        let found = faults(&format!("{{\"jobs\":[{}{{}}]}}", "{},".repeat(249)), Format::Json).await;
        assert_eq!((found.len(), found[100].as_str()), (101, "/jobs has 150 more faults"));
    }

    #[tokio::test]
    async fn one_to_ten_thousand() {
        let lines = |n| "{\"kind\":\"a\"}\n".repeat(n);
        assert_eq!(read_text(lines(MAX_JOBS), Format::Ndjson).await.expect("as many as may be"), MAX_JOBS);
        assert_eq!(faults(&lines(MAX_JOBS + 1), Format::Ndjson).await, ["/jobs has more than 10000 jobs"]);
        for (text, format) in [("", Format::Ndjson), ("{\"jobs\":[]}", Format::Json)] {
            assert_eq!(faults(text, format).await, ["/jobs must have 1 to 10000 jobs, has none"]);
        }
    }

    #[tokio::test]
    async fn malformed_jobs_are_named() {
        for (text, format, said) in [
            ("{\"kind\":\"a\"}\n{\"kind\":}\n", Format::Ndjson, "job 1, at line 2: not valid JSON: expected value at line 1 column 9"),
            ("{\"jobs\":[{\"kind\":\"a\"},tru]}", Format::Json, "job 1, at byte 22: not valid JSON"),
        ] {
            assert!(matches!(read_text(text.to_owned(), format).await, Err(ApiError::Malformed(detail)) if detail.contains(said)), "{text}");
        }
    }
}
