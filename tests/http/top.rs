//! `longshore top`: in a real terminal, and without one.

use std::{
    fs::File,
    io::{Read, Write},
    os::fd::OwnedFd,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use nix::{
    pty::{Winsize, openpty},
    sys::termios::{LocalFlags, tcgetattr},
};
use serde_json::Value;

use crate::{
    api::{Api, SOON},
    both_ways::Way,
    support::{
        eventually::eventually,
        postgres::server,
        proxy::{Proxy, Target},
    },
};

/// Leaves the alternate screen, where the terminal shows again what it showed before.
const LEAVES: &str = "\x1b[?1049l";

/// A terminal of 80 columns and 24 lines with `longshore top` in it.
struct Terminal {
    keyboard: File,
    /// The side of the program, held open so that its settings can be looked at.
    slave: OwnedFd,
    shown: Arc<Mutex<Vec<u8>>>,
    child: Child,
}

impl Terminal {
    fn start(env: &[(&str, &str)]) -> Self {
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(&size, None).expect("a terminal");
        let stdio = || Stdio::from(pty.slave.try_clone().expect("a descriptor"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_longshore"));
        command.arg("top").current_dir(std::env::temp_dir()).stdin(stdio()).stdout(stdio()).stderr(stdio()).env("TERM", "xterm-256color");
        std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"LONGSHORE_")).for_each(|(name, _)| {
            command.env_remove(name);
        });
        let child = command.envs(env.iter().copied()).spawn().expect("starts");
        let shown = Arc::new(Mutex::new(Vec::new()));
        let (mut screen, kept) = (File::from(pty.master.try_clone().expect("a descriptor")), Arc::clone(&shown));
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(n @ 1..) = screen.read(&mut bytes) {
                kept.lock().expect("no panic while held").extend_from_slice(&bytes[..n]);
            }
        });
        Self { keyboard: pty.master.into(), slave: pty.slave, shown, child }
    }

    fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("the terminal is open");
    }

    /// All that was written to it.
    fn written(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().expect("no panic while held")).into_owned()
    }

    /// The lines of the screen, as somebody sees them: a program writes what has changed, here and there.
    fn screen(&self) -> String {
        let mut cells = vec![[' '; 80]; 24];
        let (mut row, mut column) = (0, 0);
        let written = self.written();
        let mut rest = written.chars();
        while let Some(char) = rest.next() {
            if char != '\x1b' {
                if let Some(cell) = cells.get_mut(row).and_then(|line: &mut [char; 80]| line.get_mut(column)) {
                    *cell = char;
                }
                column += 1;
                continue;
            }
            // such as [5;17H, which goes there, and [1m, which is not seen here
            let mut sequence = String::new();
            for part in rest.by_ref().skip(1) {
                sequence.push(part);
                if part.is_ascii_alphabetic() {
                    break;
                }
            }
            if let Some((at, to)) = sequence.strip_suffix('H').and_then(|place| place.split_once(';')) {
                (row, column) = (at.parse::<usize>().unwrap_or(1) - 1, to.parse::<usize>().unwrap_or(1) - 1);
            }
        }
        cells.iter().map(|line| line.iter().collect::<String>() + "\n").collect()
    }

    async fn shows(&self, text: &str) {
        eventually(text, SOON, async || if self.screen().contains(text) { Ok(()) } else { Err(self.screen()) }).await;
    }

    /// Waits for its end; the terminal must be as it was.
    async fn ends(mut self) -> Option<i32> {
        let status = eventually("it ends", SOON, async || self.child.try_wait().expect("a child of ours")).await;
        eventually("the screen is given back", SOON, async || self.written().contains(LEAVES)).await;
        let flags = tcgetattr(&self.slave).expect("a terminal").local_flags;
        assert!(flags.contains(LocalFlags::ICANON | LocalFlags::ECHO), "lines are read and shown again");
        status.code()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_are_seen_and_paused_in_a_terminal() {
    let api = Api::start().await;
    api.enqueue(r#"{"kind": "echo", "queue": "harbour"}"#).await;
    let url = format!("http://{}", api.address);
    for env in [("LONGSHORE_DATABASE__URL", api.database.url()), ("LONGSHORE_CLIENT__URL", &url)] {
        let mut terminal = Terminal::start(&[env]);
        terminal.shows("harbour").await;
        terminal.press("p");
        terminal.shows("take jobs and start none?").await;
        assert_eq!(api.read("/v1/queues/harbour").await["paused"], false, "it asks first");
        terminal.press("y");
        eventually("it is paused", SOON, async || api.read("/v1/queues/harbour").await["paused"] == true).await;
        terminal.shows("(paused)").await;
        terminal.press("p");
        terminal.shows("start jobs again?").await;
        terminal.press("y");
        eventually("it is resumed", SOON, async || api.read("/v1/queues/harbour").await["paused"] == false).await;
        terminal.press("q");
        assert_eq!(terminal.ends().await, Some(0));
    }
    let worker = api.worker("w:7", &["*=50"]).await;
    assert_eq!(api.claim(worker, "harbour", 1).await.jobs.len(), 1);
    let mut terminal = Terminal::start(&[("LONGSHORE_CLIENT__URL", &url), ("NO_COLOR", "1")]);
    terminal.shows("harbour").await;
    terminal.press("\t\t\r");
    terminal.shows("it runs since").await;
    terminal.press("x\x03");
    let written = terminal.written();
    assert!(!written.contains("\x1b[38;5;") && !written.contains("\x1b[31m"), "no colour: {written:?}");
    assert_eq!(terminal.ends().await, Some(0), "Ctrl-C");
    api.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_goes_is_said_and_it_goes_on() {
    let api = Api::start().await;
    let proxy = Proxy::start(Target::Unix(server().socket())).await;
    let terminal = Terminal::start(&[("LONGSHORE_DATABASE__URL", &api.database.url_through(proxy.address()))]);
    terminal.shows("available").await;
    proxy.refuse(true);
    proxy.cut_all();
    terminal.shows("AWAY").await;
    proxy.resume();
    api.enqueue(r#"{"kind": "echo", "queue": "later"}"#).await;
    terminal.shows("later").await;
    let pid = nix::unistd::Pid::from_raw(terminal.child.id().cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("it runs");
    assert_eq!(terminal.ends().await, Some(0), "SIGTERM");
    api.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_terminal_it_prints_one_frame() {
    let api = Api::start().await;
    for n in 0..30 {
        api.enqueue(format!(r#"{{"kind": "echo", "queue": "q{n}"}}"#)).await;
    }
    for way in Way::BOTH {
        let (code, once) = way.run(&api, &["top", "--once"]).await;
        assert!(code == 0 && (0..30).all(|n| once.contains(&format!(" q{n} "))), "{way:?}: {once}");
        assert!(!once.contains('\x1b') && !once.contains("this is no terminal"), "{once}");
        let (code, piped) = way.run(&api, &["top"]).await;
        assert!(code == 0 && piped.contains("this is no terminal") && piped.contains(" q29 "), "{piped}");
        let (code, text) = way.run(&api, &["top", "--json"]).await;
        let sample: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!((code, sample["queues"].as_array().map(Vec::len), &sample["stats"]["totals"]["counts"]["available"]), (0, Some(30), &30.into()));
        let fields: Vec<&String> = sample.as_object().expect("an object").keys().collect();
        assert_eq!(fields, ["at", "failing", "queues", "running", "server", "stats", "version", "workers"], "{way:?}");
    }
    // the figures of an API are a second old at most
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let [database, http] = [Way::Database, Way::Http].map(|way| way.run(&api, &["top", "--json"]));
    let counts = |text: &str| serde_json::from_str::<Value>(text).expect("JSON")["stats"]["totals"]["counts"].clone();
    assert_eq!(counts(&database.await.1), counts(&http.await.1));
    api.finish().await;
}
