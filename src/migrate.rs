//! `longshore migrate`

use std::process::ExitCode;

use longshore_common::store::migrate::{MAJOR, MINOR};
use serde_json::json;

use crate::{command::SchemaTooNew, database, output};

/// Brings the schema `longshore` up to this program's version. The API does so when it starts; this is for those whose
/// programs may not change the schema. Any number may run at once.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print {"changed": …, "version": …}
    #[arg(long)]
    json: bool,
}

pub async fn run(args: &Args) -> anyhow::Result<ExitCode> {
    use longshore_common::store::migrate::MigrateError;
    let store = database::connect()?;
    let changed = match store.migrate().await {
        Err(MigrateError::TooNew(major)) => return Err(SchemaTooNew(major).into()),
        result => result?,
    };
    let version = format!("{MAJOR}.{MINOR}");
    if args.json {
        output::print_json(&json!({"changed": changed, "version": version}))?;
    } else if changed {
        output::print(&format!("The schema in {} is now of version {version}.", store.shown()))?;
    } else {
        output::print(&format!(
            "Nothing to do: the schema in {} is of version {version} already, or a newer one that works with this program.",
            store.shown()
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}
