//! What passes between a worker and a process that runs one attempt for it: JSON, each piece behind its length. (Not lines: what
//! users have written may contain line ends.)

use std::{
    io::{self, Read, Write},
    time::Duration,
};

use longshore_common::{json::RawJson, notes::Notes, outcome::Outcome, settings::DatabaseSettings, store::claim::LeasedJob};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::handler::{Handled, HandlerError};

/// Bytes of a frame at most: args, results and notes are a MiB each at most, escapes aside.
const MAX_FRAME: usize = 16 * 1024 * 1024;

/// To the process.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ToChild {
    /// The first one.
    Start(Box<Start>),
    /// The job is to be cancelled.
    Cancel,
    /// What was told is written.
    Written,
}

/// What it has to do.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Start {
    pub job: LeasedJob,
    /// How long it may take; it is killed after that.
    pub left: Option<Duration>,
    pub checkpoint: Option<RawJson>,
    pub database: Database,
}

/// The worker's settings as they are, which need not be those that its environment says.
#[derive(Serialize, Deserialize)]
pub(super) struct Database {
    url: Option<String>,
    direct_url: Option<String>,
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Database") // URLs have passwords
    }
}

impl From<&DatabaseSettings> for Database {
    fn from(settings: &DatabaseSettings) -> Self {
        let text = |url: &Option<secrecy::SecretString>| url.as_ref().map(|url| url.expose_secret().to_owned());
        Self { url: text(&settings.url), direct_url: text(&settings.direct_url) }
    }
}

impl Database {
    pub fn into_settings(self, pool: usize) -> DatabaseSettings {
        DatabaseSettings { url: self.url.map(Into::into), direct_url: self.direct_url.map(Into::into), pool }
    }
}

/// From the process.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum FromChild {
    /// The handler told something.
    Notes(Notes),
    /// Write what was told, and say so.
    Write,
    /// The handler has completed the attempt in a transaction.
    Completed(Option<RawJson>),
    /// The last one.
    End(End),
}

/// How the handler ended.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum End {
    Done(Option<RawJson>),
    Failed { error: String, retry_in: Option<Duration> },
    Discard { error: String },
    Snooze { delay: Duration },
}

impl End {
    /// Results and errors are cut here to what is kept of them, so that a frame holds them.
    pub fn of(ended: Result<Handled, HandlerError>) -> Self {
        match ended {
            Ok(Handled::Done(result)) => Self::Done(Outcome::Succeeded { result }.result()),
            Ok(Handled::GivenAway) => Self::Failed { error: "a job that runs in a process of its own cannot be given away".to_owned(), retry_in: None },
            Ok(Handled::Lost { error }) => Self::Failed { error: cut(error), retry_in: None },
            Err(HandlerError::Failed { error, retry_in }) => Self::Failed { error: cut(error), retry_in },
            Err(HandlerError::Discard { error }) => Self::Discard { error: cut(error) },
            Err(HandlerError::Snooze { delay }) => Self::Snooze { delay },
        }
    }

    pub fn into_result(self) -> Result<Handled, HandlerError> {
        match self {
            Self::Done(result) => Ok(Handled::Done(result)),
            Self::Failed { error, retry_in } => Err(HandlerError::Failed { error, retry_in }),
            Self::Discard { error } => Err(HandlerError::Discard { error }),
            Self::Snooze { delay } => Err(HandlerError::Snooze { delay }),
        }
    }
}

fn cut(error: String) -> String {
    Outcome::Discarded { error }.error().unwrap_or_default()
}

fn encode(frame: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; 4];
    serde_json::to_writer(&mut bytes, frame)?;
    let length = bytes.len() - 4;
    let length = u32::try_from(length).ok().filter(|_| length <= MAX_FRAME).ok_or_else(|| io::Error::other(format!("a frame of {length} bytes")))?;
    bytes[..4].copy_from_slice(&length.to_be_bytes());
    Ok(bytes)
}

fn checked_length(length: [u8; 4]) -> io::Result<usize> {
    let length = u32::from_be_bytes(length) as usize;
    if length <= MAX_FRAME { Ok(length) } else { Err(io::Error::other(format!("a frame of {length} bytes"))) }
}

pub(super) fn write(to: &mut impl Write, frame: &impl Serialize) -> io::Result<()> {
    to.write_all(&encode(frame)?)
}

pub(super) fn read<T: DeserializeOwned>(from: &mut impl Read) -> io::Result<T> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let mut bytes = vec![0; checked_length(length)?];
    from.read_exact(&mut bytes)?;
    Ok(serde_json::from_slice(&bytes)?)
}

pub(super) async fn send(to: &mut (impl AsyncWrite + Unpin), frame: &impl Serialize) -> io::Result<()> {
    to.write_all(&encode(frame)?).await
}

pub(super) async fn receive<T: DeserializeOwned>(from: &mut (impl AsyncRead + Unpin)) -> io::Result<T> {
    let mut length = [0; 4];
    from.read_exact(&mut length).await?;
    let mut bytes = vec![0; checked_length(length)?];
    from.read_exact(&mut bytes).await?;
    Ok(serde_json::from_slice(&bytes)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_of_users_passes_as_it_is() {
        let raw = RawJson::parse("{\"a\": 1.50,\n \"a\": 12345678901234567890123}".to_owned()).expect("JSON");
        let mut bytes = Vec::new();
        write(&mut bytes, &FromChild::End(End::Done(Some(raw.clone())))).expect("fits");
        write(&mut bytes, &FromChild::Notes(Notes { progress: Some(raw.clone()), checkpoint: None, log: "x\n".to_owned() })).expect("fits");
        let mut from = &bytes[..];
        assert!(matches!(read(&mut from), Ok(FromChild::End(End::Done(Some(read)))) if read == raw));
        assert!(matches!(read(&mut from), Ok(FromChild::Notes(Notes { progress: Some(read), .. })) if read == raw));
        assert!(read::<FromChild>(&mut from).is_err(), "no more");
    }

    #[test]
    fn a_length_beyond_all_bounds_is_refused() {
        assert!(read::<FromChild>(&mut &[0xff_u8; 8][..]).is_err_and(|error| error.to_string().contains("4294967295 bytes")));
    }
}
