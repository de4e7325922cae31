//! `docs/reference/sql.md`, from what the schema says of itself in a database that was just migrated.

use std::time::Duration;

use longshore_common::{settings::DatabaseSettings, store::Store};
use tokio_postgres::{Client, Row};

use crate::{
    cell, page_ends_with,
    support::postgres::{Database, connect},
};

/// What people and programs may call; everything else is how Longshore does it, and may change with any version.
const FUNCTIONS: &[&str] = &["enqueue", "cancel", "retry", "explain", "pause", "resume", "failure_groups", "fingerprint"];

/// Name, arguments, what it gives, comment.
const FUNCTION: &str = "select p.proname, pg_get_function_arguments(p.oid), pg_get_function_result(p.oid), obj_description(p.oid, 'pg_proc')
      from pg_proc p where p.pronamespace = 'longshore'::regnamespace and p.proname = $1";

/// Name and comment, of views or tables.
const RELATIONS: &str = "select c.relname, obj_description(c.oid, 'pg_class')
      from pg_class c where c.relnamespace = 'longshore'::regnamespace and c.relkind::text = $1 order by c.relname";

/// Name, type and comment of each column.
const COLUMNS: &str = "select a.attname, format_type(a.atttypid, a.atttypmod), col_description(a.attrelid, a.attnum)
      from pg_attribute a where a.attrelid = $1::text::regclass and a.attnum > 0 and not a.attisdropped order by a.attnum";

#[tokio::test]
async fn sql() {
    let database = Database::empty().await;
    let settings = DatabaseSettings { url: Some(database.url().to_owned().into()), direct_url: None, pool: 2 };
    Store::new(&settings, "test", Duration::from_secs(10)).expect("the URL is fine").migrate().await.expect("migrate");
    let client = connect(database.url()).await;

    let mut text = "\n## Functions to call\n".to_owned();
    for name in FUNCTIONS {
        let row = client.query_one(FUNCTION, &[name]).await.unwrap_or_else(|error| panic!("longshore.{name}: {error}"));
        text += &function(&row);
    }
    text += "\n## Views to look at\n";
    for row in relations(&client, "v").await {
        text += &relation(&client, &row).await;
    }
    text += "\n## Tables\n\nHow Longshore keeps it. Read them as you like; write to none of them, and expect columns to come with new versions.\n";
    for row in relations(&client, "r").await {
        text += &relation(&client, &row).await;
    }
    page_ends_with("docs/reference/sql.md", &text);
}

fn function(row: &Row) -> String {
    let (name, arguments, result, comment): (String, String, String, Option<String>) = (row.get(0), row.get(1), row.get(2), row.get(3));
    // one a line, its default without the cast that PostgreSQL adds
    let lines: Vec<String> = arguments
        .split(", ")
        .map(|argument| match short(argument).split_once(" DEFAULT ") {
            Some((argument, default)) => format!("{argument} default {}", default.split("::").next().unwrap_or_default().to_lowercase()),
            None => short(argument),
        })
        .collect();
    let arguments = if lines.len() > 1 { format!("\n  {}\n", lines.join(",\n  ")) } else { lines.concat() };
    let result = short(&result).replacen("TABLE(", "table (", 1);
    format!("\n### {name}\n\n{}.\n\n```sql\nlongshore.{name}({arguments}) → {result}\n```\n", sentence(&comment.unwrap_or_default()))
}

async fn relations(client: &Client, kind: &str) -> Vec<Row> {
    client.query(RELATIONS, &[&kind]).await.expect("look for views or tables")
}

async fn relation(client: &Client, row: &Row) -> String {
    let (name, comment): (String, Option<String>) = (row.get(0), row.get(1));
    let mut text = format!("\n### {name}\n\n{}\n", comment.map_or_else(String::new, |c| sentence(&c) + ".\n"));
    let columns = client.query(COLUMNS, &[&format!("longshore.{name}")]).await.expect("look for columns");
    // those of views need no comment: they are called what they are in the API
    let explained = columns.iter().any(|column| column.get::<_, Option<String>>(2).is_some());
    text += if explained { "| column | type | meaning |\n|---|---|---|\n" } else { "| column | type |\n|---|---|\n" };
    for column in columns {
        let (name, sort, comment): (String, String, Option<String>) = (column.get(0), column.get(1), column.get(2));
        let meaning = if explained { format!(" {} |", cell(&comment.unwrap_or_default())) } else { String::new() };
        text += &format!("| `{name}` | {} |{meaning}\n", cell(&short(&sort)));
    }
    text
}

/// A type by its short name.
fn short(sort: &str) -> String {
    sort.replace("timestamp with time zone", "timestamptz").replace("timestamp(0) with time zone", "timestamptz").replace("longshore.job_state", "job_state")
}

/// With a capital, as the page has it.
fn sentence(comment: &str) -> String {
    let mut letters = comment.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect::<String>().replace('<', "&lt;"))
}
