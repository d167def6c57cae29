//! The other end: whoever asks the agent.

use std::{
    io,
    path::{Path, PathBuf},
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::UnixStream,
};

use super::{
    filter::Filter,
    message::{Ask, Message, VERSION},
};

/// Why there is no tap, or no more.
#[derive(Debug, thiserror::Error)]
pub enum TapError {
    /// Nobody answers at the socket.
    #[error("no agent answers at {}; is `sluice run` running?", path.display())]
    NoAgent {
        /// The socket.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The agent says no.
    #[error("the agent refuses: {reason}")]
    Refused {
        /// Why.
        reason: String,
    },
    /// The agent was gone without saying so.
    #[error("the agent is gone")]
    Gone,
    /// The socket fails.
    #[error("cannot read from the agent")]
    Read(#[source] io::Error),
    /// Not what an agent says.
    #[error("expected a message of an agent, got {got:?}")]
    Unexpected {
        /// The start of what came.
        got: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// An open tap.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
    line: Vec<u8>,
}

impl Client {
    /// Asks the agent at the socket for the exchanges that the filter admits.
    ///
    /// # Errors
    /// When no agent answers there, or it refuses.
    pub async fn connect(path: &Path, filter: Filter) -> Result<Self, TapError> {
        let mut client = Self::ask(path, Ask { version: VERSION, tap: filter, pods: false }).await?;
        client.next().await?;
        Ok(client)
    }

    /// Asks the agent at the socket how the pods of its node fare.
    ///
    /// # Errors
    /// When no agent answers there, or it does not follow pods.
    pub async fn pods(path: &Path) -> Result<serde_json::Value, TapError> {
        let ask = Ask { version: VERSION, tap: Filter::default(), pods: true };
        let mut client = Self::ask(path, ask).await?;
        match client.next().await? {
            Message::Pods(pods) => Ok(pods),
            // What an agent says that knows of taps only.
            Message::Open { .. } | Message::Exchange(_) | Message::Lost(_) | Message::End {} => {
                Err(TapError::Refused { reason: "it knows nothing of pods".to_owned() })
            }
            Message::Refused(reason) => Err(TapError::Refused { reason }),
        }
    }

    async fn ask(path: &Path, ask: Ask) -> Result<Self, TapError> {
        let no_agent = |source| TapError::NoAgent { path: path.to_owned(), source };
        let mut stream = UnixStream::connect(path).await.map_err(no_agent)?;
        let mut line = serde_json::to_vec(&ask).map_err(|error| no_agent(error.into()))?;
        line.push(b'\n');
        stream.write_all(&line).await.map_err(no_agent)?;
        Ok(Self { stream: BufReader::new(stream), line })
    }

    /// Waits for the next message. [`Message::End`] is the last; nothing is to be read after it.
    ///
    /// # Errors
    /// When the agent refuses, or was gone without saying so.
    pub async fn next(&mut self) -> Result<Message<'static>, TapError> {
        self.line.clear();
        let len = match self.stream.read_until(b'\n', &mut self.line).await {
            // It had not read everything when it went.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => 0,
            read => read.map_err(TapError::Read)?,
        };
        if len == 0 || !self.line.ends_with(b"\n") {
            return Err(TapError::Gone);
        }
        match serde_json::from_slice(&self.line) {
            Ok(Message::Refused(reason)) => Err(TapError::Refused { reason }),
            Ok(message) => Ok(message),
            Err(source) => {
                let got = String::from_utf8_lossy(&self.line).chars().take(80).collect();
                Err(TapError::Unexpected { got, source })
            }
        }
    }
}
