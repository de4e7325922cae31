//! What a first-time user wants to know.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use longshore_common::{program::VERSION, settings::Settings};

use crate::{output, private_postgres, private_postgres::PrivatePostgres};

/// Says where everything is. That nobody reads it is no reason to stop.
pub fn print(settings: &Settings, postgres: Option<&PrivatePostgres>) {
    let _ = output::print(&text(settings, postgres));
}

fn text(settings: &Settings, postgres: Option<&PrivatePostgres>) -> String {
    let url = url(settings.api.listen);
    let us = std::env::args().next().unwrap_or_else(|| "longshore".to_owned());
    let data = postgres.map_or_else(
        || "  data     in the database that LONGSHORE_DATABASE__URL names".to_owned(),
        |postgres| {
            let (folder, version, psql) = (postgres.data_dir().display(), postgres.version(), postgres.psql_command());
            let here = if is_default(postgres) { String::new() } else { format!(" --data {folder}") };
            format!("  data     {folder} (PostgreSQL {version}; {us} dev{here} --reset --yes forgets it)\n  psql     {psql}")
        },
    );
    let configured = settings.worker.handlers.keys().map(ToString::to_string).filter(|kind| !settings.worker.builtins.contains(kind));
    let kinds: Vec<String> = settings.worker.builtins.iter().cloned().chain(configured).collect();
    let queues = settings.worker.queues.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    // commands find the database in the default folder by themselves
    let elsewhere = postgres.filter(|postgres| !is_default(postgres));
    let set = elsewhere.map_or_else(String::new, |postgres| format!("LONGSHORE_DATABASE__URL='{}' ", postgres.url(private_postgres::DATABASE)));
    format!(
        "
Longshore {VERSION} is ready.

  API      {url} (in a browser: the dashboard; {url}/docs lets each call be tried)
{data}
  worker   {queues} jobs at once, for the kinds {kinds}

Try it in another terminal:

  curl -s {url}/v1/jobs -H 'content-type: application/json' -d '{{\"kind\": \"echo\", \"args\": {{\"hello\": \"world\"}}}}'
  {set}{us} jobs

Ctrl-C stops everything; the data stay for the next time.
",
        kinds = kinds.join(", "),
    )
}

fn is_default(postgres: &PrivatePostgres) -> bool {
    private_postgres::running_dev_url() == Some(postgres.url(private_postgres::DATABASE))
}

/// Where a browser or curl on this machine finds it.
fn url(listen: SocketAddr) -> String {
    let host = if listen.ip().is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { listen.ip() };
    format!("http://{}", SocketAddr::new(host, listen.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_for_all_is_reached_at_this_machine() {
        assert_eq!(url("0.0.0.0:8000".parse().expect("an address")), "http://127.0.0.1:8000");
        assert_eq!(url("[::1]:80".parse().expect("an address")), "http://[::1]:80");
    }
}
