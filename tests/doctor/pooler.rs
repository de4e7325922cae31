//! What a pooler in transaction mode does to LISTEN, in PostgreSQL's own protocol: everything is answered, and no notification
//! ever arrives.

use std::{io, net::SocketAddr, path::PathBuf};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpListener, TcpStream, UnixStream},
    task::JoinHandle,
};

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
