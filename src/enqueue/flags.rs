//! A job's fields as flags.

use std::io::Read;

use anyhow::Context;
use longshore_common::{
    job::{NewJob, parse::MAX_ARGS_BYTES},
    json::RawJson,
};
use serde_json::{Value, json};

use super::parse;
use crate::command::WrongUse;

/// Every field of `POST /v1/jobs`. Values are checked by its rules, not here.
#[derive(Debug, clap::Args)]
#[group(id = "flags", multiple = true)]
pub struct Flags {
    /// What to do, such as `send_email`: names the handler that runs the job
    kind: Option<String>,
    /// What the handler gets: JSON; - reads it from the input, @FILE from a file [default: {}]
    #[arg(requires = "kind", allow_hyphen_values = true)]
    args: Option<String>,
    /// Where it waits [default: default]
    #[arg(long, short)]
    queue: Option<String>,
    /// Lower runs first, -32768 to 32767 [default: 0]
    #[arg(long, short, allow_negative_numbers = true)]
    priority: Option<i64>,
    /// Not before this time, such as 2030-01-31T12:00:00Z
    #[arg(long, value_name = "TIME")]
    run_at: Option<String>,
    /// Not before so long from now
    #[arg(long, value_name = "DURATION")]
    delay: Option<String>,
    /// Cancelled if it has not started by then
    #[arg(long, value_name = "DURATION")]
    expires_in: Option<String>,
    /// How often it is tried, 1 to 1000 [default: 25]
    #[arg(long, value_name = "N")]
    max_attempts: Option<i64>,
    /// How long one attempt may run, 1s to 7d; `none`: for ever [default: 5m]
    #[arg(long, value_name = "DURATION")]
    timeout: Option<String>,
    /// For searching; may be repeated
    #[arg(long)]
    tag: Vec<String>,
    /// For searching and your own notes: a JSON object
    #[arg(long, value_name = "JSON")]
    meta: Option<String>,
    /// Jobs of one key share a limit of their queue
    #[arg(long, value_name = "KEY")]
    concurrency_key: Option<String>,
    /// exponential, linear or fixed, or JSON such as '{"backoff": "fixed", "base": "10s"}'
    #[arg(long, value_name = "RETRY")]
    retry: Option<String>,
    /// At most one job of its kind has this key
    #[arg(long, value_name = "KEY")]
    unique_key: Option<String>,
    /// While the other one is waiting, active (waits or runs) or kept [default: active]
    #[arg(long, value_name = "WHILE", requires = "unique_key")]
    unique_while: Option<String>,
    /// For so long after the other one was enqueued
    #[arg(long, value_name = "DURATION", requires = "unique_key")]
    unique_for: Option<String>,
    /// What happens then: return the other one, reject this one, or replace the other one [default: return]
    #[arg(long, value_name = "WHAT", requires = "unique_key")]
    on_conflict: Option<String>,
}

impl Flags {
    /// The job, and the text that says it.
    pub fn read(&self) -> anyhow::Result<(NewJob, String)> {
        if self.kind.is_none() {
            return Err(WrongUse("what is to be enqueued? `longshore enqueue KIND [ARGS]`, or --file FILE; --help has examples".to_owned()).into());
        }
        let args = self.args.as_deref().map(args_text).transpose()?;
        let text = self.json(args)?;
        Ok((parse(text.as_bytes(), flag_of)?, text))
    }

    /// The job as `POST /v1/jobs` wants it; args and meta as they were typed.
    fn json(&self, args: Option<String>) -> Result<String, WrongUse> {
        let mut fields: Vec<(&str, String)> = Vec::new();
        let mut field = |name, value: Option<Value>| {
            if let Some(value) = value {
                fields.push((name, value.to_string()));
            }
        };
        let text = |value: &Option<String>| value.as_ref().map(|value| json!(value));
        field("kind", text(&self.kind));
        field("queue", text(&self.queue));
        field("priority", self.priority.map(|n| json!(n)));
        field("run_at", text(&self.run_at));
        field("delay", text(&self.delay));
        field("expires_in", text(&self.expires_in));
        field("max_attempts", self.max_attempts.map(|n| json!(n)));
        field("timeout", self.timeout.as_ref().map(|timeout| if timeout == "none" { Value::Null } else { json!(timeout) }));
        field("tags", Some(json!(self.tag)).filter(|_| !self.tag.is_empty()));
        field("concurrency_key", text(&self.concurrency_key));
        field("unique", self.unique());
        for (name, flag, value) in [("args", "ARGS", args), ("meta", "--meta", self.meta.clone())] {
            if let Some(value) = value {
                fields.push((name, checked(flag, value)?));
            }
        }
        if let Some(retry) = &self.retry {
            let object = if retry.trim_start().starts_with('{') { checked("--retry", retry.clone())? } else { json!({ "backoff": retry }).to_string() };
            fields.push(("retry", object));
        }
        Ok(format!("{{{}}}", fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect::<Vec<_>>().join(",")))
    }

    fn unique(&self) -> Option<Value> {
        let parts = [("key", &self.unique_key), ("while", &self.unique_while), ("for", &self.unique_for), ("on_conflict", &self.on_conflict)];
        self.unique_key.as_ref().map(|_| parts.into_iter().filter_map(|(name, value)| Some((name.to_owned(), json!(value.as_ref()?)))).collect::<Value>())
    }
}

/// The text of ARGS, from where it is.
fn args_text(args: &str) -> anyhow::Result<String> {
    let most = u64::try_from(MAX_ARGS_BYTES).unwrap_or(u64::MAX) + 1; // one more, so that it is refused rather than cut
    let mut text = String::new();
    if args == "-" {
        std::io::stdin().take(most).read_to_string(&mut text).context("could not read ARGS from the input")?;
    } else if let Some(path) = args.strip_prefix('@') {
        let file = std::fs::File::open(path).with_context(|| format!("could not open {path} to read ARGS"))?;
        file.take(most).read_to_string(&mut text).with_context(|| format!("could not read ARGS from {path}"))?;
    } else {
        args.clone_into(&mut text);
    }
    if text.len() > MAX_ARGS_BYTES {
        return Err(WrongUse(format!("ARGS is longer than {MAX_ARGS_BYTES} bytes, which is the most that is allowed")).into());
    }
    Ok(text)
}

/// One JSON value, else its own complaint: in the job as a whole it would be at a column that nobody has typed.
fn checked(flag: &str, text: String) -> Result<String, WrongUse> {
    let json = RawJson::parse(text)
        .map_err(|error| WrongUse(format!("{flag} is not valid JSON: {error}; in a shell, put it in single quotes: '{{\"hello\": \"world\"}}'")))?;
    Ok(json.as_str().to_owned())
}

/// What was typed for the field at a pointer.
fn flag_of(pointer: &str) -> String {
    match pointer {
        "/kind" => "KIND".to_owned(),
        "/args" => "ARGS".to_owned(),
        "/unique/on_conflict" => "--on-conflict".to_owned(),
        _ if pointer.starts_with("/tags") => "--tag".to_owned(),
        _ if pointer.starts_with("/retry/") => pointer.replacen("/retry/", "--retry: ", 1),
        _ => format!("--{}", pointer.trim_start_matches('/').replace(['/', '_'], "-")),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        flags: Flags,
    }

    fn read(words: &[&str]) -> Result<NewJob, String> {
        let line = Line::try_parse_from([&["enqueue"], words].concat()).map_err(|error| error.to_string())?;
        line.flags.read().map(|(job, _)| job).map_err(|error| error.to_string())
    }

    #[test]
    fn flags_are_the_fields_of_the_api() {
        let typed = read(&[
            "mail",
            r#"{"z": 1.50}"#,
            "--queue",
            "emails",
            "--priority",
            "-5",
            "--delay",
            "5m",
            "--expires-in",
            "1h",
            "--max-attempts",
            "3",
            "--timeout",
            "none",
            "--tag",
            "a",
            "--tag",
            "b",
            "--meta",
            r#"{"k": 1}"#,
            "--concurrency-key",
            "c",
            "--retry",
            "fixed",
            "--unique-key",
            "u",
            "--unique-while",
            "kept",
            "--unique-for",
            "1d",
            "--on-conflict",
            "reject",
        ]);
        let posted = r#"{"kind": "mail", "args": {"z": 1.50}, "queue": "emails", "priority": -5, "delay": "5m", "expires_in": "1h", "max_attempts": 3,
            "timeout": null, "tags": ["a", "b"], "meta": {"k": 1}, "concurrency_key": "c", "retry": {"backoff": "fixed"},
            "unique": {"key": "u", "while": "kept", "for": "1d", "on_conflict": "reject"}}"#;
        assert_eq!(typed, Ok(NewJob::parse(posted.as_bytes(), "").expect("fine")));
        assert_eq!(read(&["mail"]), Ok(NewJob::parse(br#"{"kind": "mail"}"#, "").expect("fine")));
    }

    #[test]
    fn faults_name_the_flag() {
        for (words, said) in [
            (&["no spaces"][..], "KIND must be 1 to 128"),
            (&["echo", "{a: 1}"], "ARGS is not valid JSON"),
            (&["echo", "--priority", "40000", "--tag", "", "--timeout", "1ms"], "--priority must be an integer from -32768 to 32767, is 40000; --timeout"),
            (&["echo", "--unique-key", "k", "--unique-while", "never"], "--unique-while must be one of"),
            (&["echo", "--unique-key", "k", "--on-conflict", "x"], "--on-conflict must be one of"),
            (&["echo", "--retry", "wild"], "--retry: backoff must be"),
            (&["echo", "--unique-for", "1d"], "--unique-key"),
            (&["echo", "@/nowhere"], "could not open /nowhere to read ARGS"),
        ] {
            let error = read(words).expect_err(said);
            assert!(error.contains(said), "{error}");
        }
    }
}
