//! The daemon's ear: an abstract UNIX socket. It belongs to the network namespace, so there is one daemon in each, and
//! it is gone with the process, however that ends.
//!
//! A client writes one word and closes its half; the daemon answers with JSON.

use crate::show::Status;
use anyhow::{Context, Result, anyhow, bail};
use log::debug;
use serde::{Deserialize, Serialize};
use std::io;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener as StdListener, UnixStream as StdStream};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

const NAME: &str = "l2xdp";

/// How long to wait for an answer, and for a question.
const PATIENCE: Duration = Duration::from_secs(30);

/// The longest question, in bytes.
const MAX_QUESTION: u64 = 64;

/// What a client wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Its [`Status`].
    Show,
    /// To give the kernel's sessions back and end.
    Detach,
}

impl Question {
    const ALL: [Self; 2] = [Self::Show, Self::Detach];

    const fn word(self) -> &'static str {
        match self {
            Self::Show => "show",
            Self::Detach => "detach",
        }
    }
}

/// An answer; of text, what was wrong.
#[derive(Debug, Serialize, Deserialize)]
pub enum Answer {
    /// To [`Question::Show`].
    Status(Status),
    /// To [`Question::Detach`]: done, and this is what became of it.
    Detached(String),
    /// The question can't be answered.
    Refused(String),
}

/// A client that waits for an answer.
pub struct Client {
    stream: UnixStream,
    /// What it wants.
    pub question: Question,
}

fn address() -> io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(NAME)
}

/// Becomes the daemon of this network namespace, until the channel is dropped, out of which questions come.
///
/// # Errors
/// If there is one already.
pub fn listen() -> Result<mpsc::Receiver<Client>> {
    let listener = StdListener::bind_addr(&address()?).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => anyhow!(
            "another l2xdp runs in this network namespace: stop it first (l2xdp detach), or look at it with l2xdp show"
        ),
        _ => anyhow::Error::new(error).context(format!("can't open the control socket @{NAME}")),
    })?;
    listener.set_nonblocking(true)?;
    let listener = UnixListener::from_std(listener)?;
    let (questions, clients) = mpsc::channel(1);
    tokio::spawn(async move {
        loop {
            let stream = tokio::select! {
                () = questions.closed() => break,
                Ok((stream, _)) = listener.accept() => stream,
                else => break,
            };
            let questions = questions.clone();
            // A client that says nothing must not keep others waiting.
            tokio::spawn(async move {
                match timeout(PATIENCE, hear(stream)).await {
                    Ok(Ok(client)) => _ = questions.send(client).await,
                    Ok(Err(error)) => debug!("control socket: {error:#}"),
                    Err(_) => {}
                }
            });
        }
    });
    Ok(clients)
}

/// Reads the question. Only root's: the answer holds cookies.
async fn hear(mut stream: UnixStream) -> Result<Client> {
    if stream.peer_cred()?.uid() != 0 {
        bail!("refused a client that is not root");
    }
    let mut word = String::new();
    (&mut stream).take(MAX_QUESTION).read_to_string(&mut word).await?;
    let question = Question::ALL.into_iter().find(|question| question.word() == word);
    Ok(Client { question: question.with_context(|| format!("unknown question {word:?}"))?, stream })
}

impl Client {
    /// Answers. What the client makes of it is its own business.
    pub async fn answer(mut self, answer: Answer) {
        let result = async {
            self.stream.write_all(&serde_json::to_vec(&answer)?).await?;
            anyhow::Ok(self.stream.shutdown().await?)
        };
        if let Ok(Err(error)) = timeout(PATIENCE, result).await {
            debug!("control socket: {error:#}");
        }
    }
}

/// Asks the daemon of this network namespace.
///
/// # Errors
/// If none runs here, it does not answer to this user, or refuses.
pub fn ask(question: Question) -> Result<Answer> {
    let mut stream = StdStream::connect_addr(&address()?).context(
        "no l2xdp runs in this network namespace: start it with l2xdp run --config FILE, or l2xdp accelerate --all",
    )?;
    stream.set_read_timeout(Some(PATIENCE))?;
    // Where this fails the answer is missing too.
    let _ = stream.write_all(question.word().as_bytes());
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        // It has hung up without reading the question.
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
        read => _ = read.context("the l2xdp of this network namespace does not answer")?,
    }
    if answer.is_empty() {
        bail!("the l2xdp of this network namespace answers to root only");
    }
    match serde_json::from_slice(&answer).context("the l2xdp that runs here speaks another version")? {
        Answer::Refused(why) => bail!(why),
        answer => Ok(answer),
    }
}
