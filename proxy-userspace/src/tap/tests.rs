//! A tap over a socket, from both ends.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    os::unix::net::UnixStream as StdStream,
    time::Duration,
};

use tokio::{sync::oneshot, task::JoinHandle, time::timeout};

use super::{
    event::tests::{call, exchange, parties, request},
    socket::tests::Scratch,
    *,
};

/// A server, and what ends it.
struct Served {
    scratch: Scratch,
    hub: Hub,
    stop: oneshot::Sender<()>,
    task: JoinHandle<std::io::Result<()>>,
}

impl Served {
    fn start(name: &str) -> Self {
        let (scratch, hub) = (Scratch::new(name), Hub::default());
        let server = Server::bind(&scratch.path("s"), hub.clone()).unwrap();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(server.serve(async {
            stopped.await.unwrap();
        }));
        Self { scratch, hub, stop, task }
    }

    async fn tap(&self, filter: Filter) -> Result<Client, TapError> {
        Client::connect(&self.scratch.path("s"), filter).await
    }

    /// A client of no particular kind that has sent this line.
    fn raw(&self, line: &str) -> BufReader<StdStream> {
        let mut stream = StdStream::connect(self.scratch.path("s")).unwrap();
        stream.write_all(line.as_bytes()).unwrap();
        BufReader::new(stream)
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        timeout(Duration::from_secs(5), self.task).await.unwrap().unwrap().unwrap();
    }
}

async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + Duration::from_secs(5);
    while !condition() {
        assert!(std::time::Instant::now() < deadline, "{what}");
        tokio::task::yield_now().await;
    }
}

fn exchange_of(message: Message<'static>) -> Event<'static> {
    let Message::Exchange(event) = message else { panic!("{message:?}") };
    *event
}

#[tokio::test]
async fn a_tap_is_told_of_requests_and_of_the_agents_end() {
    let served = Served::start("told");
    let filter = Filter { workload: Some("shop".into()), port: Some(8080), ..Filter::default() };
    let mut tap = served.tap(filter).await.unwrap();
    served.hub.tell(&parties(), &exchange(&request()));
    served.hub.tell(&parties(), &exchange(&call()));
    assert_eq!(exchange_of(tap.next().await.unwrap()).path.unwrap(), "/items");
    assert_eq!(exchange_of(tap.next().await.unwrap()).protocol, HttpProtocol::Grpc);
    served.stop().await;
    assert_eq!(tap.next().await.unwrap(), Message::End {});
    assert!(matches!(tap.next().await.unwrap_err(), TapError::Gone));
}

#[tokio::test]
async fn nobody_listens_any_more_when_the_client_has_gone() {
    let served = Served::start("gone");
    let tap = served.tap(Filter::default()).await.unwrap();
    assert!(served.hub.is_tapped());
    drop(tap);
    eventually("the tap to end", || !served.hub.is_tapped()).await;
    served.stop().await;
}

#[tokio::test]
async fn a_tap_that_reads_nothing_holds_nobody_up_and_learns_what_it_lost() {
    let served = Served::start("stuck");
    let mut tap = served.tap(Filter::default()).await.unwrap();
    let request = request();
    // More than the socket and the queue hold.
    let told = 50 * QUEUE;
    for _ in 0..told {
        served.hub.tell(&parties(), &exchange(&request));
        tokio::task::yield_now().await;
    }
    let (mut exchanges, mut lost) = (0, 0);
    while exchanges + lost < told {
        match tap.next().await.unwrap() {
            Message::Exchange(_) => exchanges += 1,
            Message::Lost(count) => lost += usize::try_from(count).unwrap(),
            other @ (Message::Open { .. } | Message::Refused(_) | Message::Pods(_) | Message::End {}) => {
                panic!("{other:?}")
            }
        }
    }
    assert!(lost > 0 && exchanges >= QUEUE, "{exchanges} told, {lost} lost");
    served.stop().await;
}

#[tokio::test]
async fn the_agents_end_does_not_wait_for_a_tap_that_reads_nothing() {
    let served = Served::start("end");
    let _stuck = served.tap(Filter::default()).await.unwrap();
    let _silent = served.raw("");
    for _ in 0..20 * QUEUE {
        served.hub.tell(&parties(), &exchange(&call()));
        tokio::task::yield_now().await;
    }
    served.stop().await;
}

#[tokio::test]
async fn what_is_asked_wrongly_is_refused_with_the_reason() {
    let served = Served::start("refused");
    for (line, reason) in [
        ("{\"version\":2,\"tap\":{}}\n", "this agent speaks version 1, and was asked in version 2"),
        ("GET / HTTP/1.1\r\n", "expected a line of JSON that asks for a tap: expected value"),
        ("{\"version\":1,\"tap\":{\"ports\":1}}\n", "unknown field `ports`"),
        (&"x".repeat(5_000), "expected a line of JSON"),
    ] {
        let mut client = served.raw(line);
        let answer = tokio::task::spawn_blocking(move || {
            let mut answer = String::new();
            client.read_line(&mut answer).unwrap();
            answer
        });
        let answer = answer.await.unwrap();
        assert!(answer.starts_with("{\"refused\":\"") && answer.contains(reason), "{answer}");
    }
    served.stop().await;
}

#[tokio::test]
async fn a_client_learns_why_it_is_refused_and_that_there_is_no_agent() {
    let served = Served::start("full");
    let mut taps = Vec::new();
    for _ in 0..MAX_TAPS {
        taps.push(served.tap(Filter::default()).await.unwrap());
    }
    let error = served.tap(Filter::default()).await.unwrap_err();
    assert_eq!(error.to_string(), "the agent refuses: 16 taps are open, and there may be no more");
    let path = served.scratch.path("nobody");
    let error = Client::connect(&path, Filter::default()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("no agent answers at {}; is `sluice run` running?", path.display())
    );
    served.stop().await;
}

#[tokio::test]
async fn an_agent_that_is_killed_is_known_from_one_that_ends() {
    let scratch = Scratch::new("killed");
    let listener = tokio::net::UnixListener::bind(scratch.path("s")).unwrap();
    let agent = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, b"{\"open\":{\"version\":1}}\n{\"lost\"")
            .await
            .unwrap();
    });
    let mut tap = Client::connect(&scratch.path("s"), Filter::default()).await.unwrap();
    agent.await.unwrap();
    assert!(matches!(tap.next().await.unwrap_err(), TapError::Gone | TapError::Read(_)));
}

#[test]
fn a_newer_agent_may_say_more_in_an_exchange() {
    let mut line = String::from_utf8(
        Message::Exchange(Box::new(Event::of(&parties(), &exchange(&request())))).to_line().to_vec(),
    )
    .unwrap();
    line = line.replacen("{\"time\"", "{\"novel\":[1],\"time\"", 1);
    let message: Message<'_> = serde_json::from_str(&line).unwrap();
    assert!(matches!(message, Message::Exchange(_)));
}
