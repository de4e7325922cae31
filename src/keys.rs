//! `longshore keys`: API keys, which say who may call the HTTP API and what for.

use std::{collections::BTreeSet, process::ExitCode};

use anyhow::{Context, anyhow};
use clap::{Subcommand, builder::PossibleValuesParser, builder::TypedValueParser};
use longshore_common::{
    job::QueueName,
    key::{KeyName, NewKey, Scope},
    store::{keys::KeyView, migrate::MigrateError},
};
use serde::Serialize;
use serde_json::json;

use crate::{
    command::SchemaTooNew,
    database,
    output::{self, List},
};

/// Creates, lists and revokes API keys. While there is one, every request to the HTTP API needs one.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, after_help = AFTER_HELP)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    list: ListArgs,
}

const AFTER_HELP: &str = "\
Examples:
  longshore keys create --name shop --scope enqueue --queue emails --queue invoices
  longshore keys create --name dashboard --scope read
  longshore keys create --name ops --scope admin        admin includes all scopes
  longshore keys revoke shop

What a key may do, once created, stays: to change it, create another and revoke the first.
Creating and revoking take effect everywhere within 5 seconds.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Create a key and print it: it is shown this once and kept nowhere
    Create(CreateArgs),
    /// List the keys, which is what happens without a word too
    List(ListArgs),
    /// Revoke a key
    Revoke(RevokeArgs),
}

#[derive(Debug, clap::Args)]
struct CreateArgs {
    /// What people and logs call it, such as the program that will use it
    #[arg(long, value_parser = KeyName::new)]
    name: KeyName,
    /// What it may do; several by repeating it or with commas
    #[arg(long = "scope", value_name = "SCOPE", required = true, value_delimiter = ',', value_parser = scope())]
    scopes: Vec<Scope>,
    /// Limit it to a queue; several by repeating it or with commas [default: all queues]
    #[arg(long = "queue", value_name = "QUEUE", value_delimiter = ',', value_parser = QueueName::new)]
    queues: Vec<QueueName>,
    /// Print {"name": …, "key": …, …}
    #[arg(long)]
    json: bool,
}

fn scope() -> impl TypedValueParser<Value = Scope> {
    PossibleValuesParser::new(Scope::ALL.map(Scope::word)).map(|word| Scope::from_word(&word).expect("one of the words"))
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    /// Print {"items": […], …}
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct RevokeArgs {
    /// Its name
    #[arg(value_parser = KeyName::new)]
    name: KeyName,
    /// Print {"name": …, "revoked": true}
    #[arg(long)]
    json: bool,
}

pub async fn run(args: &Args) -> anyhow::Result<ExitCode> {
    match &args.command {
        Some(Command::Create(args)) => create(args).await?,
        Some(Command::Revoke(args)) => revoke(args).await?,
        Some(Command::List(args)) => list(args).await?,
        None => list(&args.list).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The one time that the key is shown.
#[derive(Debug, Serialize)]
struct Created<'a> {
    key: &'a str,
    #[serde(flatten)]
    view: &'a KeyView,
}

async fn create(args: &CreateArgs) -> anyhow::Result<()> {
    let store = database::connect()?;
    // an API on an address for others does not start without a key, and so would never make the schema
    match store.migrate().await {
        Err(MigrateError::TooNew(major)) => return Err(SchemaTooNew(major).into()),
        result => result?,
    };
    let new = NewKey {
        name: args.name.clone(),
        scopes: args.scopes.iter().copied().collect::<BTreeSet<_>>(),
        queues: args.queues.iter().cloned().collect::<BTreeSet<_>>(),
    };
    let created = store.create_key(&new).await.context("no key was created")?;
    let (text, view) = created.ok_or_else(|| {
        anyhow!(
            "there is an API key \"{name}\" already, and it stays as it is: choose another name, or revoke that one first (longshore keys revoke {name})",
            name = args.name
        )
    })?;
    if args.json {
        return output::print_json(&Created { key: text.reveal(), view: &view });
    }
    output::print(text.reveal())?;
    // beside the output, which is the key alone: KEY=$(longshore keys create …)
    let first = store.list_keys().await.is_ok_and(|keys| keys.len() == 1);
    let closes = if first { "\nIt is the first: in a few seconds the API refuses whoever sends none, also on this machine." } else { "" };
    let to = reach(view.queues.as_deref());
    eprintln!(
        "\nThis is API key \"{}\", for {} in {to}. It is not shown again.\nSend it with every request, as the header Authorization: Bearer ls_…{closes}",
        view.name,
        view.scopes.join(", ")
    );
    Ok(())
}

fn reach(queues: Option<&[String]>) -> String {
    match queues {
        None => "all queues".to_owned(),
        Some([one]) => format!("queue {one}"),
        Some(several) => format!("queues {}", several.join(", ")),
    }
}

async fn list(args: &ListArgs) -> anyhow::Result<()> {
    let store = database::connect_to_schema().await?;
    let keys = store.list_keys().await?;
    if args.json {
        output::print_json(&List::whole(keys))
    } else if keys.is_empty() {
        output::print("No API keys: the API is open to whoever reaches it. Create one with: longshore keys create --name ops --scope admin")
    } else {
        output::print(&for_people(&keys))
    }
}

fn for_people(keys: &[KeyView]) -> String {
    let mut table = output::table(&["NAME", "BEGINS WITH", "SCOPES", "QUEUES", "CREATED", "BY"]);
    for key in keys {
        table.add_row([
            key.name.clone(),
            format!("ls_{}_", key.prefix),
            key.scopes.join(","),
            key.queues.as_ref().map_or_else(|| "all".to_owned(), |queues| output::shortened(&queues.join(","), 60)),
            output::time(key.created_at),
            key.created_by.clone(),
        ]);
    }
    output::lines(&table)
}

async fn revoke(args: &RevokeArgs) -> anyhow::Result<()> {
    let store = database::connect_to_schema().await?;
    if !store.revoke_key(&args.name).await? {
        return Err(anyhow!("there is no API key \"{}\"; `longshore keys` lists those that there are", args.name));
    }
    if args.json {
        return output::print_json(&json!({"name": args.name, "revoked": true}));
    }
    output::print(&format!("API key \"{}\" is revoked; in a few seconds nothing takes it any more.", args.name))?;
    if store.list_keys().await.is_ok_and(|keys| keys.is_empty()) {
        eprintln!("It was the last: an API on a loopback address, or with LONGSHORE_API__OPEN=true, is open to whoever reaches it now.");
    }
    Ok(())
}
