//! What every command has in common: exit codes, and completions.

use std::process::Command;

use crate::{
    api::{Api, SOON},
    both_ways::{Way, ended},
    support::process::Program,
};

#[tokio::test]
async fn exit_codes_are_those_of_the_help() {
    let (code, help) = ended(Program::longshore(["--help"])).await;
    assert_eq!(code, 0);
    for line in ["  0  done", "  1  failed", "  2  wrong use", "  3  the schema is newer"] {
        assert!(help.lines().any(|said| said.starts_with(line)), "{line}: {help}");
    }
    let api = Api::start().await;
    for way in Way::BOTH {
        assert_eq!(way.run(&api, &["queues"]).await.0, 0, "{way:?}: done");
        assert_eq!(way.run(&api, &["jobs", "show", "4000000"]).await.0, 1, "{way:?}: it is not there");
        assert_eq!(way.run(&api, &["jobs", "--colour", "red"]).await.0, 2, "{way:?}: no such flag");
        assert_eq!(way.run(&api, &["jobs", "retry"]).await.0, 2, "{way:?}: which?");
        let wrong = way.program(&api, &["jobs"]).env("LONGSHORE_CLIENT__URI", "http://127.0.0.1:1");
        let (code, said) = ended(wrong).await;
        assert!(code == 2 && said.contains("did you mean LONGSHORE_CLIENT__URL?"), "{way:?}: no such setting: {code} {said}");
    }
    for away in [("LONGSHORE_DATABASE__URL", "postgres://u@127.0.0.1:1/n"), ("LONGSHORE_CLIENT__URL", "http://127.0.0.1:1")] {
        assert_eq!(ended(Program::longshore(["jobs"]).env(away.0, away.1)).await.0, 1, "{away:?}");
    }
    api.sql.batch_execute("update longshore.schema_version set major = 99").await.expect("a newer schema");
    for args in [&["jobs"][..], &["jobs", "tail"], &["top", "--once"], &["enqueue", "echo"], &["migrate"]] {
        let (code, said) = Way::Database.run(&api, args).await;
        assert!(code == 3 && said.contains("install a newer Longshore"), "{args:?}: {code} {said}");
    }
    api.stop.cancel();
    api.stopped().await;
}

#[tokio::test]
async fn bash_completes_commands_flags_and_values() {
    let script = r#"
        source <("$0" completions bash)
        complete_line() {
            COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_LINE="$*" COMP_POINT=${#COMP_LINE} COMPREPLY=()
            _longshore longshore "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
            echo "${COMPREPLY[@]}"
        }
        complete_line longshore comp
        complete_line longshore jobs ta
        complete_line longshore jobs list --fi
        complete_line longshore completions po
        compgen -F _longshore longshore >/dev/null 2>&1
        complete -p longshore
    "#;
    let output = Command::new("bash").args(["-c", script, env!("CARGO_BIN_EXE_longshore")]).output().expect("bash is there");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(
        lines[..4],
        ["completions", "tail", "--fingerprint --finished-after --finished-before", "powershell"],
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(lines[4].contains("-F _longshore"), "{said}");
    for shell in ["zsh", "fish", "elvish", "powershell"] {
        let (code, script) = ended(Program::longshore(["completions", shell])).await;
        assert!(code == 0 && script.contains("tail"), "{shell}: {code}");
    }
    let mut wrong = Program::longshore(["completions", "ksh"]).start();
    assert_eq!(wrong.wait_exit(SOON).await.code(), Some(2));
}
