//! The daemon's ear: an abstract UNIX socket. It belongs to the network namespace, so there is one daemon in each, and
//! it is gone with the process, however that ends.

use crate::show::Status;
use anyhow::{Context, Result, bail};
use std::io;
use std::io::Read;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener as StdListener, UnixStream as StdStream};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{UnixListener, UnixStream};

const NAME: &str = "l2xdp";

/// How long to wait for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

fn address() -> io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(NAME)
}

/// Becomes the daemon of this network namespace.
///
/// # Errors
/// If there is one already.
pub fn listen() -> Result<UnixListener> {
    let listener = StdListener::bind_addr(&address()?).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => anyhow::anyhow!(
            "another l2xdp runs in this network namespace: stop it first, or look at it with l2xdp show"
        ),
        _ => anyhow::Error::new(error).context(format!("can't open the control socket @{NAME}")),
    })?;
    listener.set_nonblocking(true)?;
    Ok(UnixListener::from_std(listener)?)
}

/// Answers a client with the daemon's status. Only root's: it holds cookies.
///
/// # Errors
/// The client's; nothing the daemon need care for.
pub async fn answer(mut client: UnixStream, status: &Status) -> Result<()> {
    if client.peer_cred()?.uid() != 0 {
        bail!("control socket: refused a client that is not root");
    }
    client.write_all(&serde_json::to_vec(status)?).await?;
    Ok(client.shutdown().await?)
}

/// Asks the daemon of this network namespace for its status.
///
/// # Errors
/// If none runs here, or it does not answer to this user.
pub fn ask() -> Result<Status> {
    let mut stream = StdStream::connect_addr(&address()?)
        .context("no l2xdp runs in this network namespace: start it with l2xdp run --config FILE")?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).context("the l2xdp of this network namespace does not answer")?;
    if answer.is_empty() {
        bail!("the l2xdp of this network namespace answers to root only");
    }
    serde_json::from_slice(&answer).context("the l2xdp that runs here speaks another version")
}
