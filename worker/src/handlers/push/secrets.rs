//! The secrets that sign calls: from the settings, and from files that may change while the worker runs.

use std::{fmt, sync::Arc, time::Duration};

use longshore_common::{
    job::Kind,
    settings::{HttpSettings, SettingError},
};
use secrecy::{ExposeSecret, SecretString};
use standardwebhooks::Webhook;
use tokio::{sync::Mutex, time::Instant};

/// Bytes that a secret must have (Standard Webhooks: 24 to 64).
const LEAST: usize = 24;
const MOST: usize = 64;
/// How often files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What signs the calls of one kind.
pub(super) struct Secrets {
    kind: Kind,
    given: Vec<SecretString>,
    files: Vec<String>,
    read: Mutex<Read>,
}

/// All secrets as they were when the files were last looked at.
struct Read {
    signers: Arc<Vec<Webhook>>,
    at: Instant,
    /// What was wrong then; said once.
    fault: Option<String>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets").field("kind", &self.kind).field("files", &self.files).finish_non_exhaustive()
    }
}

impl Secrets {
    /// # Errors
    /// Where one of them cannot be read, or is none.
    pub fn new(kind: &Kind, settings: &HttpSettings) -> Result<Self, SettingError> {
        let texts = settings.secret_file.iter().map(|file| (file.clone(), std::fs::read_to_string(file)));
        let signers = signers(kind, &settings.secret, texts.collect()).map_err(SettingError)?;
        Ok(Self {
            kind: kind.clone(),
            given: settings.secret.clone(),
            files: settings.secret_file.clone(),
            read: Mutex::new(Read { signers: signers.into(), at: Instant::now(), fault: None }),
        })
    }

    /// Whether nothing is signed.
    pub fn is_empty(&self) -> bool {
        self.given.is_empty() && self.files.is_empty()
    }

    /// The value of `webhook-signature`: a signature by each secret, so that both are good while they are exchanged. `None`:
    /// there is no secret.
    pub async fn sign(&self, id: &str, timestamp: i64, body: &str) -> Option<String> {
        let signatures: Vec<String> = self.signers().await.iter().filter_map(|signer| signer.sign(id, timestamp, body.as_bytes()).ok()).collect();
        (!signatures.is_empty()).then(|| signatures.join(" "))
    }

    async fn signers(&self) -> Arc<Vec<Webhook>> {
        let mut read = self.read.lock().await;
        if !self.files.is_empty() && read.at.elapsed() >= LOOK_EVERY {
            read.at = Instant::now();
            let mut texts = Vec::with_capacity(self.files.len());
            for file in &self.files {
                texts.push((file.clone(), tokio::fs::read_to_string(file).await));
            }
            let fault = match signers(&self.kind, &self.given, texts) {
                Ok(signers) => {
                    read.signers = signers.into();
                    None
                }
                Err(fault) => Some(fault),
            };
            if fault != read.fault {
                if let Some(fault) = &fault {
                    tracing::error!(kind = %self.kind, "{fault}; calls are signed with what was there before");
                } else {
                    tracing::info!(kind = %self.kind, "the secrets of handlers.{} can be read again", self.kind);
                }
                read.fault = fault;
            }
        }
        read.signers.clone()
    }
}

/// Makes signers; each file has one secret or several, on lines of their own.
fn signers(kind: &Kind, given: &[SecretString], files: Vec<(String, std::io::Result<String>)>) -> Result<Vec<Webhook>, String> {
    let mut signers = Vec::new();
    for secret in given {
        signers.push(signer(secret.expose_secret()).map_err(|why| format!("handlers.{kind}.secret: {why}"))?);
    }
    for (file, text) in files {
        let wrong = |why: String| format!("handlers.{kind}.secret_file: {file}: {why}");
        let text = SecretString::from(text.map_err(|error| wrong(format!("cannot be read: {error}")))?);
        let mut in_file = text.expose_secret().split_whitespace().peekable();
        if in_file.peek().is_none() {
            return Err(wrong("there is no secret in it".to_owned()));
        }
        for secret in in_file {
            signers.push(signer(secret).map_err(|why| wrong(why.to_owned()))?);
        }
    }
    Ok(signers)
}

fn signer(secret: &str) -> Result<Webhook, &'static str> {
    const FORM: &str = "a secret must be whsec_ and then 24 to 64 random bytes in base64, such as: echo whsec_$(openssl rand -base64 32)";
    let key = secret.trim().strip_prefix("whsec_").ok_or(FORM)?;
    let bytes = key.trim_end_matches('=').len() * 3 / 4;
    if !(LEAST..=MOST).contains(&bytes) {
        return Err(FORM);
    }
    Webhook::new(key).map_err(|_| FORM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_long_enough_and_in_base64() {
        for (secret, good) in [
            ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", true),
            (" whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n", true),
            ("whsec_Zm9yIHRyeWluZyBvbmx5OiBtYWtlIHlvdXIgb3du", true),
            ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", false),
            ("whsec_", false),
            ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLQ==", false),
            ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLa!w", false),
        ] {
            assert_eq!(signer(secret).is_ok(), good, "{secret}");
        }
    }

    #[tokio::test]
    async fn a_file_that_changes_is_read_again() {
        let path = std::env::temp_dir().join(format!("longshore-secret-{}", std::process::id()));
        let (old, new) = ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_Zm9yIHRyeWluZyBvbmx5OiBtYWtlIHlvdXIgb3du");
        std::fs::write(&path, old).expect("written");
        let settings = HttpSettings {
            url: String::new(),
            secret: Vec::new(),
            secret_file: vec![path.to_str().expect("text").to_owned()],
            concurrency: None,
            timeout: Duration::from_secs(1),
        };
        let secrets = Secrets::new(&Kind::new("k").expect("a kind"), &settings).expect("readable");
        let by = |secret: &str| Webhook::new(secret).expect("a secret").sign("job_1", 5, b"{}").expect("UTF-8");
        let time_passes = async || {
            let mut read = secrets.read.lock().await;
            read.at = read.at.checked_sub(LOOK_EVERY).expect("this machine runs for longer");
        };
        let signed = async || secrets.sign("job_1", 5, "{}").await.expect("signed");
        assert_eq!(signed().await, by(old));
        std::fs::write(&path, format!("{old}\n{new}\n")).expect("written");
        assert_eq!(signed().await, by(old), "it is not looked at all the time");
        time_passes().await;
        assert_eq!(signed().await, format!("{} {}", by(old), by(new)));
        std::fs::write(&path, "").expect("written");
        time_passes().await;
        assert_eq!(signed().await, format!("{} {}", by(old), by(new)), "half a change is none");
        std::fs::write(&path, new).expect("written");
        time_passes().await;
        assert_eq!(signed().await, by(new));
        std::fs::remove_file(&path).expect("was there");
    }
}
