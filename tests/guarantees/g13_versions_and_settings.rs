//! Guarantee 13: a program that meets a newer major schema exits with 3 and touches nothing. A wrong setting exits with 2
//! and a line that names it.

use crate::{
    support::process::Program,
    system::{SOON, System},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_major_schema_stops_every_program() {
    let system = System::start().await;
    system.sql.batch_execute("update longshore.schema_version set major = 99, routines = 'of the future'").await.expect("a newer schema");
    for role in ["api", "worker", "migrate"] {
        let mut program = Program::longshore([role]).env("LONGSHORE_DATABASE__URL", system.database.url()).env("LONGSHORE_API__LISTEN", "127.0.0.1:0").start();
        assert_eq!(program.wait_exit(SOON).await.code(), Some(3), "{role}");
        let lines = program.all_lines(SOON).await;
        assert!(lines.last().is_some_and(|line| line.contains("99")), "{role}: {lines:?}");
    }
    assert_eq!(system.count("longshore.schema_version where major = 99 and routines = 'of the future'").await, 1);
    assert_eq!(system.count("longshore.workers").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_settings_are_named() {
    let url = "postgres://u:secret@127.0.0.1:1/n";
    for (role, name, value, said) in [
        ("api", "LONGSHORE_API__LISTEN", "localhost", "LONGSHORE_API__LISTEN"),
        ("api", "LONGSHORE_API__TIMEOUT", "1 month", "LONGSHORE_API__TIMEOUT"),
        ("worker", "LONGSHORE_WORKER__QUEUES", "default", "LONGSHORE_WORKER__QUEUES"),
        ("worker", "LONGSHORE_WORKER__BUILTINS", "echo,juggle", "juggle"),
        ("worker", "LONGSHORE_WORKER__QUEUE", "default=1", "did you mean LONGSHORE_WORKER__QUEUES"),
        ("worker", "LONGSHORE_LOG", "loud=very", "LONGSHORE_LOG"),
        ("api", "LONGSHORE_DATABASE__URL", "mysql://u:secret@h/n", "LONGSHORE_DATABASE__URL"),
    ] {
        let mut program = Program::longshore([role]).env("LONGSHORE_DATABASE__URL", url).env(name, value).start();
        assert_eq!(program.wait_exit(SOON).await.code(), Some(2), "{role} {name}={value}");
        let lines = program.all_lines(SOON).await.join("\n");
        assert!(lines.contains(said), "{name}={value}: {lines}");
        assert!(!lines.contains("secret"), "a password is not shown: {lines}");
    }
    let mut without = Program::longshore(["worker"]).start();
    assert_eq!(without.wait_exit(SOON).await.code(), Some(2));
    assert!(without.all_lines(SOON).await.join("\n").contains("LONGSHORE_DATABASE__URL is not set"));
}
