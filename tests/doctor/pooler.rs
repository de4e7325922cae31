//! What a pooler in transaction mode does to LISTEN: everything is answered, and no notification ever arrives. Once in
//! PostgreSQL's own protocol, for every machine, and once as `PgBouncer`, where it is installed.

use std::{fs, io, net::SocketAddr, path::PathBuf, process::Command};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpListener, TcpStream, UnixStream},
    task::JoinHandle,
};

use crate::{
    place::{Place, SOON},
    support::{
        eventually::eventually,
        process::{Process, Program},
    },
};

/// `PgBouncer` in transaction mode, before a server.
pub struct PgBouncer {
    pub address: SocketAddr,
    _process: Process,
}

impl PgBouncer {
    /// `None`: it is not installed.
    pub async fn start(place: &Place) -> Option<Self> {
        if Command::new("pgbouncer").arg("--version").output().is_err() {
            eprintln!("no PgBouncer is installed: only what stands in for it was tested");
            return None;
        }
        let address = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address"); // closed again here
        let socket = place.postgres.socket();
        let host = socket.parent().expect("a folder").display();
        // root may not run it: then it becomes somebody else
        let user = if nix::unistd::Uid::effective().is_root() { "user = postgres\n" } else { "" };
        let settings = format!(
            "[databases]\n* = host={host} port=5432 user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {}\nunix_socket_dir =\n\
             auth_type = any\npool_mode = transaction\nignore_startup_parameters = extra_float_digits\n{user}",
            address.port()
        );
        let file = std::env::temp_dir().join(format!("longshore-pgbouncer-{}-{}.ini", std::process::id(), address.port()));
        fs::write(&file, settings).expect("write");
        let process = Program::new("pgbouncer", [&file]).start();
        eventually("PgBouncer answers", SOON, async || TcpStream::connect(address).await.is_ok()).await;
        fs::remove_file(&file).expect("remove");
        Some(Self { address, _process: process })
    }
}

/// The type of the message `NotificationResponse`.
const NOTIFICATION: u8 = b'A';

pub struct Deaf {
    pub address: SocketAddr,
    listening: JoinHandle<()>,
}

impl Drop for Deaf {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// Forwards to the server behind this socket; for clients with `sslmode=disable`.
pub async fn deaf(socket: PathBuf) -> Deaf {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    let listening = tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(serve(client, socket.clone()));
        }
    });
    Deaf { address, listening }
}

async fn serve(client: TcpStream, socket: PathBuf) -> io::Result<()> {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = UnixStream::connect(socket).await?.into_split();
    let up = tokio::spawn(async move { copy(&mut from_client, &mut to_server).await });
    // a message is its type, its length with these four bytes, and the rest
    let mut message = vec![0; 5];
    while from_server.read_exact(&mut message[..5]).await.is_ok() {
        let length = u32::from_be_bytes([message[1], message[2], message[3], message[4]]) as usize + 1;
        message.resize(length, 0);
        from_server.read_exact(&mut message[5..]).await?;
        if message[0] != NOTIFICATION {
            to_client.write_all(&message).await?;
        }
        message.resize(5, 0);
    }
    up.abort();
    Ok(())
}
