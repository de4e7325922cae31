//! Counts the words of texts: a worker of one's own, with a handler in Rust.
//!
//! ```sh
//! LONGSHORE_DATABASE__URL=postgres://… TEXTS=docs cargo run
//! ```

use std::{
    collections::HashMap,
    io::ErrorKind,
    path::{Path, PathBuf},
    process::ExitCode,
};

use longshore_common::{job::Kind, program::Program};
use longshore_worker::{Context, Handler, HandlerError, Handlers};
use serde::{Deserialize, Serialize};

/// Counts the words of the texts in a folder.
struct CountWords {
    texts: PathBuf,
}

#[derive(Deserialize)]
struct Args {
    file: String,
}

#[derive(Serialize)]
struct Counted {
    file: String,
    bytes: usize,
    lines: usize,
    words: usize,
    distinct: usize,
    top: Vec<(String, usize)>,
}

impl Handler for CountWords {
    type Args = Args;
    type Output = Counted;

    async fn handle(&self, Args { file }: Args, context: Context) -> Result<Counted, HandlerError> {
        context.log(format!("counting {file}, attempt {}", context.attempt()));
        let missing = || HandlerError::discard(format!("there is no such text: {file}"));
        let path = match tokio::fs::canonicalize(self.texts.join(&file)).await {
            Ok(path) if path.starts_with(&self.texts) && path.is_file() => path,
            Ok(_) => return Err(missing()),
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(missing()),
            Err(error) => return Err(error.into()), // it may be better at the next attempt
        };
        let text = tokio::fs::read(path).await?;
        Ok(count(file, &text))
    }
}

fn count(file: String, text: &[u8]) -> Counted {
    let mut counts: HashMap<Vec<u8>, usize> = HashMap::new();
    for word in text.split(|byte| !byte.is_ascii_alphabetic()).filter(|word| !word.is_empty()) {
        *counts.entry(word.to_ascii_lowercase()).or_default() += 1;
    }
    let (words, distinct) = (counts.values().sum(), counts.len());
    let mut top: Vec<(String, usize)> = counts.into_iter().map(|(word, n)| (String::from_utf8_lossy(&word).into_owned(), n)).collect();
    top.sort_unstable_by(|(a, n), (b, m)| m.cmp(n).then_with(|| a.cmp(b)));
    top.truncate(5);
    Counted { file, bytes: text.len(), lines: text.split(|byte| *byte == b'\n').count() - 1, words, distinct, top }
}

fn main() -> ExitCode {
    let program = Program { name: "count-words", about: "Counts the words of the texts in the folder that TEXTS names, for Longshore." };
    let texts = std::env::var_os("TEXTS").unwrap_or_else(|| ".".into());
    let texts = match Path::new(&texts).canonicalize() {
        Ok(texts) => texts,
        Err(error) => {
            eprintln!("count-words: the folder {} in TEXTS: {error}", texts.display());
            return ExitCode::from(2);
        }
    };
    let kind = Kind::new("count_words").expect("a valid kind");
    let handlers = Handlers::new().with(kind, CountWords { texts });
    program.main(async |settings, stop| longshore_worker::run(settings, handlers, stop).await, async |settings| longshore_worker::health(settings).await)
}
