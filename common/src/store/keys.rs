//! API keys: created, listed, revoked, and known to those who let requests in.

use jiff::Timestamp;
use serde::Serialize;
use tokio_postgres::Row;

use super::{Away, Cause, Statement, Store, StoreError, statement};
use crate::{
    job::QueueName,
    key::{ApiKey, ENTROPY, KeyName, KeyText, NewKey, Scope},
};

const KNOWN: Statement = statement!("read the API keys", "keys/known.sql");
const LIST: Statement = statement!("list the API keys", "keys/list.sql");
const CREATE: Statement = statement!("create the API key", "keys/create.sql");
const REVOKE: Statement = statement!("revoke the API key", "keys/revoke.sql");

/// A key, as it is shown.
#[derive(Debug, Clone, Serialize)]
pub struct KeyView {
    /// What people and logs call it.
    pub name: String,
    /// The public part of it: it begins with `ls_` and this.
    pub prefix: String,
    /// What it is for.
    pub scopes: Vec<String>,
    /// The queues it is limited to; null: all.
    pub queues: Option<Vec<String>>,
    /// When it was created.
    pub created_at: Timestamp,
    /// The database user who created it.
    pub created_by: String,
}

impl Store {
    /// All keys, for letting requests in.
    ///
    /// # Errors
    /// Where the database is away, or this user may not read them.
    pub async fn api_keys(&self) -> Result<Vec<ApiKey>, StoreError> {
        Ok(self.query(KNOWN, &[]).await?.iter().map(api_key).collect())
    }

    /// All keys by name, for people.
    ///
    /// # Errors
    /// Where the database is away.
    pub async fn list_keys(&self) -> Result<Vec<KeyView>, StoreError> {
        let view = |row: &Row| KeyView {
            name: row.get(0),
            prefix: row.get(1),
            scopes: row.get(2),
            queues: row.get(3),
            created_at: row.get(4),
            created_by: row.get(5),
        };
        Ok(self.query(LIST, &[]).await?.iter().map(view).collect())
    }

    /// Creates a key. Its text is returned and kept nowhere. `None`: there is one of that name, which stays as it is.
    ///
    /// # Errors
    /// Where the database is away, or this user may not write keys.
    pub async fn create_key(&self, key: &NewKey) -> Result<Option<(KeyText, KeyView)>, StoreError> {
        let mut entropy = [0; ENTROPY];
        getrandom::fill(&mut entropy).map_err(|error| StoreError::Unavailable { what: "make a secret", source: Away::new(Cause::Other, error.to_string()) })?;
        let text = KeyText::of(&entropy);
        let credential = text.credential();
        let scopes: Vec<String> = key.scopes.iter().map(Scope::to_string).collect();
        let queues: Option<Vec<String>> = (!key.queues.is_empty()).then(|| key.queues.iter().map(QueueName::to_string).collect());
        let rows = self.query(CREATE, &[&&*key.name, &credential.prefix, &&credential.hash[..], &scopes, &queues]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let (created_at, created_by) = (row.get(0), row.get(1));
        let view = KeyView { name: key.name.to_string(), prefix: credential.prefix.to_owned(), scopes, queues, created_at, created_by };
        Ok(Some((text, view)))
    }

    /// Revokes a key: no API takes it five seconds later. False: there is none of that name.
    ///
    /// # Errors
    /// Where the database is away, or this user may not write keys.
    pub async fn revoke_key(&self, name: &KeyName) -> Result<bool, StoreError> {
        Ok(!self.query(REVOKE, &[&&**name]).await?.is_empty())
    }
}

fn api_key(row: &Row) -> ApiKey {
    let words: Vec<String> = row.get(3);
    // a word of a newer version is none of ours: the key allows what is left
    let scopes = words.iter().filter_map(|word| Scope::from_word(word)).collect();
    ApiKey { name: row.get(0), prefix: row.get(1), hash: row.get(2), scopes, queues: row.get(4) }
}
