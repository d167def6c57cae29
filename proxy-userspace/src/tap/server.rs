//! The agent's end: taps over a socket.

use std::{fmt, io, path::Path, pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use nix::unistd::Uid;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{
        UnixListener, UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    hub::{Hub, Subscription},
    message::{Ask, Message, VERSION},
    socket::{Socket, SocketError},
};

/// How long a client may take to say what it asks for, and bytes that it may take.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);
const ASK_BYTES: u64 = 4_096;
/// Lines that are taken from the queue at a time.
const BATCH: usize = 256;
/// How long a slow client may take over an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a slow tap may take to be told that the agent ends.
const FAREWELL: Duration = Duration::from_millis(500);
/// How long to wait before the next accept when descriptors or memory ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A socket that does not answer yet.
#[derive(Debug)]
pub struct Server {
    socket: Socket,
    answers: Answers,
}

/// Where answers come from.
#[derive(Clone)]
pub struct Answers {
    hub: Hub,
    pods: Arc<dyn Fn() -> Option<serde_json::Value> + Send + Sync>,
}

impl Answers {
    /// Exchanges come from the hub; how the pods fare, from `pods`, which says nothing where none are followed.
    pub fn new(hub: Hub, pods: impl Fn() -> Option<serde_json::Value> + Send + Sync + 'static) -> Self {
        Self { hub, pods: Arc::new(pods) }
    }
}

impl fmt::Debug for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answers").finish_non_exhaustive()
    }
}

impl From<Hub> for Answers {
    fn from(hub: Hub) -> Self {
        Self::new(hub, || None)
    }
}

impl Server {
    /// Makes the socket at `path`, for root alone; its file goes with the server.
    ///
    /// # Errors
    /// When another process answers there, or it cannot be made.
    pub fn bind(path: &Path, answers: impl Into<Answers>) -> Result<Self, SocketError> {
        Socket::bind(path).map(|socket| Self { socket, answers: answers.into() })
    }

    /// Serves taps until `shutdown` is ready, then tells them so.
    ///
    /// # Errors
    /// When the runtime does not take the socket.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) -> io::Result<()> {
        let listener = self.socket.listener()?;
        let (stop, stopped) = watch::channel(());
        let mut taps = JoinSet::new();
        {
            let mut shutdown = pin!(shutdown);
            let mut accept = pin!(accept(&listener, &self.answers, &stopped, &mut taps));
            tokio::select! {
                () = &mut shutdown => {}
                () = &mut accept => {}
            }
        }
        drop((listener, stop));
        while taps.join_next().await.is_some() {}
        Ok(())
    }
}

/// Accepts for ever.
async fn accept(
    listener: &UnixListener,
    answers: &Answers,
    stopped: &watch::Receiver<()>,
    taps: &mut JoinSet<()>,
) {
    loop {
        match listener.accept().await {
            Ok((stream, _unnamed)) if may_ask(&stream) => {
                let (answers, stopped) = (answers.clone(), stopped.clone());
                taps.spawn(async move {
                    if let Err(error) = answer(stream, &answers, stopped).await {
                        tracing::debug!(%error, "a client of the control socket ends");
                    }
                });
            }
            Ok(_stranger) => {
                tracing::warn!("a process of another user was turned away from the control socket")
            }
            Err(error) => {
                tracing::warn!(%error, "tap not accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
        // Forget those that have ended.
        while taps.try_join_next().is_some() {}
    }
}

/// Root may, and the user that this process runs as: also where somebody opened up the file's mode.
fn may_ask(stream: &UnixStream) -> bool {
    let uid = stream.peer_cred().map(|peer| peer.uid());
    uid.is_ok_and(|uid| uid == 0 || uid == Uid::effective().as_raw())
}

/// One client, until it goes or the agent ends.
async fn answer(stream: UnixStream, answers: &Answers, mut stopped: watch::Receiver<()>) -> io::Result<()> {
    let (read, write) = stream.into_split();
    let mut read = BufReader::new(read);
    let mut out = Out { stream: write, waiting: Vec::new(), written: 0 };
    let opened = tokio::select! {
        opened = open(&mut read, answers) => opened,
        _ = stopped.changed() => return Ok(()),
    };
    let mut subscription = match opened {
        Ok(subscription) => subscription,
        Err(only_line) => {
            out.add(&only_line.to_line());
            return timeout(ANSWER_TIMEOUT, out.flush()).await?;
        }
    };
    out.add(&Message::Open { version: VERSION }.to_line());
    tokio::select! {
        ended = pass_on(&mut subscription, &mut out) => return ended,
        () = hung_up(&mut read) => return Ok(()),
        _ = stopped.changed() => {}
    }
    out.add_lost(&subscription);
    out.add(&Message::End {}.to_line());
    timeout(FAREWELL, out.flush()).await?
}

/// Reads what the client asks for, and opens the tap; or the only line that there is to say.
async fn open(
    read: &mut BufReader<OwnedReadHalf>,
    answers: &Answers,
) -> Result<Subscription, Message<'static>> {
    let ask = asked(read).await.map_err(Message::Refused)?;
    if ask.pods {
        let none = || Message::Refused("it follows no pods: its config has no [kubernetes]".to_owned());
        return Err((answers.pods)().map_or_else(none, Message::Pods));
    }
    answers.hub.subscribe(ask.tap).map_err(|too_many| Message::Refused(too_many.to_string()))
}

async fn asked(read: &mut BufReader<OwnedReadHalf>) -> Result<Ask, String> {
    let mut line = Vec::new();
    let asked = timeout(ASK_TIMEOUT, read.take(ASK_BYTES).read_until(b'\n', &mut line)).await;
    match asked {
        Ok(Ok(_len)) => {}
        Ok(Err(error)) => return Err(format!("cannot read what is asked for: {error}")),
        Err(_elapsed) => return Err("nothing was asked for in time".to_owned()),
    }
    /// What every version has.
    #[derive(serde::Deserialize)]
    struct Versioned {
        version: u32,
    }
    let expected = |error| format!("expected a line of JSON that asks for a tap: {error}");
    let Versioned { version } = serde_json::from_slice(&line).map_err(expected)?;
    if version != VERSION {
        return Err(format!("this agent speaks version {VERSION}, and was asked in version {version}"));
    }
    serde_json::from_slice(&line).map_err(expected)
}

/// Writes what the tap learns; ends when that fails.
async fn pass_on(subscription: &mut Subscription, out: &mut Out) -> io::Result<()> {
    let mut lines: Vec<Bytes> = Vec::new();
    loop {
        out.flush().await?;
        lines.clear();
        subscription.next(&mut lines, BATCH).await;
        lines.iter().for_each(|line| out.add(line));
        out.add_lost(subscription);
    }
}

/// Waits for the client's end, whatever else it says.
async fn hung_up(read: &mut BufReader<OwnedReadHalf>) {
    let mut ignored = [0; 64];
    while read.read(&mut ignored).await.is_ok_and(|len| len > 0) {}
}

/// What is written to a client. A line that was begun is known to be, whenever the writing stops.
struct Out {
    stream: OwnedWriteHalf,
    waiting: Vec<u8>,
    written: usize,
}

impl Out {
    fn add(&mut self, line: &[u8]) {
        self.waiting.extend_from_slice(line);
    }

    fn add_lost(&mut self, subscription: &Subscription) {
        let lost = subscription.take_lost();
        if lost > 0 {
            self.add(&Message::Lost(lost).to_line());
        }
    }

    async fn flush(&mut self) -> io::Result<()> {
        while let Some(rest) = self.waiting.get(self.written..).filter(|rest| !rest.is_empty()) {
            match self.stream.write(rest).await? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                len => self.written += len,
            }
        }
        self.waiting.clear();
        self.written = 0;
        Ok(())
    }
}
