//! That processes are heard, signalled and never left behind.

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::process::Program;

const SOON: Duration = Duration::from_secs(10);

fn shell(script: &str) -> Program {
    Program::new("/bin/sh", ["-c", script])
}

#[tokio::test]
async fn hears_both_streams_and_the_exit() {
    let mut process = shell("echo \"listening on $PORT\"; echo oops >&2; exit 3").env("PORT", "80").start();
    assert_eq!(process.wait_for_line("listening", SOON).await, "listening on 80");
    assert_eq!(process.wait_for_line("oops", SOON).await, "oops");
    assert_eq!(process.wait_exit(SOON).await.code(), Some(3));
    assert_eq!(process.lines().len(), 2);
}

#[tokio::test]
async fn hears_a_last_line_without_an_end() {
    let mut process = shell("printf 'no newline'").start();
    assert_eq!(process.wait_for_line("no new", SOON).await, "no newline");
}

#[tokio::test]
#[should_panic(expected = "ended without saying \"ready\"")]
async fn does_not_wait_for_the_words_of_the_dead() {
    shell("echo starting").start().wait_for_line("ready", SOON).await;
}

#[tokio::test]
#[should_panic(expected = "did not say \"ready\" within 50ms")]
async fn does_not_wait_for_ever() {
    shell("exec sleep 60").start().wait_for_line("ready", Duration::from_millis(50)).await;
}

#[tokio::test]
async fn signals_reach_the_process() {
    let mut process = shell("trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.01; done").start();
    process.wait_for_line("up", SOON).await;
    process.signal(Signal::SIGSTOP);
    process.signal(Signal::SIGTERM);
    tokio::time::timeout(Duration::from_millis(200), process.wait_for_line("bye", SOON)).await.expect_err("it is frozen");
    process.signal(Signal::SIGCONT);
    assert!(process.wait_exit(SOON).await.success());

    let mut process = shell("exec sleep 60").start();
    process.signal(Signal::SIGKILL);
    assert_eq!(process.wait_exit(SOON).await.signal(), Some(9));
}

#[tokio::test]
async fn nothing_is_left_behind() {
    let process = shell("exec sleep 60").start();
    let pid = nix::unistd::Pid::from_raw(process.pid().cast_signed());
    drop(process);
    assert_eq!(nix::sys::signal::kill(pid, None), Err(nix::errno::Errno::ESRCH));
}
