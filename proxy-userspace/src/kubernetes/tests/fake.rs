//! An API server of the tests' own, on loopback: lists, watches, and every way in which one can fail.
//!
//! One request a connection, written by hand, so that an answer can be cut anywhere.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::sleep,
};

pub(super) const PODS: &str = "/api/v1/pods";
pub(super) const SERVICES: &str = "/api/v1/services";
pub(super) const NAMESPACES: &str = "/api/v1/namespaces";
pub(super) const SLICES: &str = "/apis/discovery.k8s.io/v1/endpointslices";
pub(super) const OLD_SLICES: &str = "/apis/discovery.k8s.io/v1beta1/endpointslices";
pub(super) const ENDPOINTS: &str = "/api/v1/endpoints";
pub(super) const NODES: &str = "/api/v1/nodes";
pub(super) const REVIEWS: &str = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";

/// What goes wrong with a request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    /// It is answered with this status, with a header if there is one.
    Status(u16, &'static str),
    /// It is not answered: the connection is closed.
    Cut,
    /// The next event is cut in the middle, and the connection with it.
    HalfLine,
    /// Events come a few bytes at a time.
    Slow,
    /// The stream says 410.
    Gone,
    /// The next event is no event.
    Garbage,
    /// The stream ends in order, at once.
    End,
}

/// What a request wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    List,
    Watch,
}

/// A running server; it ends with the runtime.
pub(super) struct Fake {
    pub(super) addr: SocketAddr,
    world: Arc<Mutex<World>>,
    news: watch::Sender<()>,
}

#[derive(Default)]
struct World {
    version: u64,
    collections: BTreeMap<&'static str, BTreeMap<String, Value>>,
    events: Vec<Line>,
    /// Watches from before this count are told 410.
    forgotten: u64,
    /// The versions of `discovery.k8s.io`.
    discovery: Vec<&'static str>,
    faults: Vec<(Verb, &'static str, Fault)>,
    requests: Vec<String>,
    posts: Vec<Value>,
    /// What clients may not do: a verb and a resource.
    denied: Vec<(&'static str, &'static str)>,
    is_down: bool,
    /// Watches of an older one end.
    epoch: u64,
    /// Objects of a page, whatever is asked for.
    page: Option<usize>,
}

/// An event of a watch.
#[derive(Clone)]
struct Line {
    path: &'static str,
    version: u64,
    object: Value,
    kind: &'static str,
}

impl Fake {
    /// A server that has these versions of the group of `EndpointSlices`.
    pub(super) async fn start(discovery: &[&'static str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let world = World { version: 1, discovery: discovery.to_vec(), ..World::default() };
        let (news, _) = watch::channel(());
        let fake = Self { addr: listener.local_addr().unwrap(), world: Arc::new(Mutex::new(world)), news };
        let (world, news) = (Arc::clone(&fake.world), fake.news.subscribe());
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                // What breaks a connection is the client's affair.
                let (world, news) = (Arc::clone(&world), news.clone());
                tokio::spawn(async move { serve(stream, world, news).await.ok() });
            }
        });
        fake
    }

    fn edit<T>(&self, edit: impl FnOnce(&mut World) -> T) -> T {
        let done = edit(&mut self.world.lock().unwrap());
        self.news.send_replace(());
        done
    }

    /// An object is there, or has changed.
    pub(super) fn put(&self, path: &'static str, object: Value) {
        self.edit(|world| world.put(path, object, true));
    }

    /// An object is gone.
    pub(super) fn remove(&self, path: &'static str, name: &str) {
        self.edit(|world| world.remove(path, name, true));
    }

    /// The same without an event: what a watch misses while it is away.
    pub(super) fn remove_unseen(&self, path: &'static str, name: &str) {
        self.edit(|world| world.remove(path, name, false));
    }

    /// Watches get the server's count.
    pub(super) fn bookmark(&self, path: &'static str) -> u64 {
        self.edit(|world| {
            world.version += 1;
            let version = world.version;
            let object = json!({ "kind": "X", "apiVersion": "v1", "metadata": { "resourceVersion": version.to_string() } });
            world.events.push(Line { path, version, object, kind: "BOOKMARK" });
            version
        })
    }

    /// The server forgets its past.
    pub(super) fn forget(&self) {
        self.edit(|world| {
            world.events.clear();
            world.version += 1;
            world.forgotten = world.version;
        });
    }

    /// The next request of this kind goes wrong.
    pub(super) fn fault(&self, verb: Verb, path: &'static str, fault: Fault) {
        self.edit(|world| world.faults.push((verb, path, fault)));
    }

    /// Ends every watch, in order.
    pub(super) fn end_watches(&self) {
        self.edit(|world| world.epoch += 1);
    }

    /// Goes away, connections and all, or comes back.
    pub(super) fn set_down(&self, is_down: bool) {
        self.edit(|world| world.is_down = is_down);
    }

    /// Clients may not do that.
    pub(super) fn deny(&self, verb: &'static str, resource: &'static str) {
        self.edit(|world| world.denied.push((verb, resource)));
    }

    /// Cuts lists into pages.
    pub(super) fn set_page(&self, page: usize) {
        self.edit(|world| world.page = Some(page));
    }

    /// The paths of all requests up to now.
    pub(super) fn requests(&self, verb: Verb, path: &str) -> Vec<String> {
        let is_watch = |request: &&String| request.contains("watch=true") == (verb == Verb::Watch);
        let world = self.world.lock().unwrap();
        let of_path = world.requests.iter().filter(|request| request.split('?').next() == Some(path));
        of_path.filter(is_watch).cloned().collect()
    }

    /// Faults that have not come yet.
    pub(super) fn faults_left(&self) -> usize {
        self.world.lock().unwrap().faults.len()
    }

    /// What was posted.
    pub(super) fn posts(&self) -> Vec<Value> {
        self.world.lock().unwrap().posts.clone()
    }
}

/// The name of an object among those of its kind.
fn key(object: &Value) -> String {
    let word = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
    format!("{}/{}", word("namespace"), word("name"))
}

impl World {
    fn put(&mut self, path: &'static str, mut object: Value, is_seen: bool) {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        let old = self.collections.entry(path).or_default().insert(key(&object), object.clone());
        let kind = if old.is_some() { "MODIFIED" } else { "ADDED" };
        if is_seen {
            self.events.push(Line { path, version: self.version, object, kind });
        }
    }

    fn remove(&mut self, path: &'static str, name: &str, is_seen: bool) {
        self.version += 1;
        let mut object = self.collections.get_mut(path).unwrap().remove(name).unwrap();
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        if is_seen {
            self.events.push(Line { path, version: self.version, object, kind: "DELETED" });
        }
    }

    fn take_fault(&mut self, verb: Verb, path: &str) -> Option<Fault> {
        let at = self.faults.iter().position(|(of, at, _)| *of == verb && *at == path)?;
        Some(self.faults.remove(at).2)
    }

    /// A page of a list.
    fn list(&self, path: &str, query: &BTreeMap<String, String>) -> Value {
        let objects =
            self.collections.get(path).map(|objects| objects.values().cloned()).into_iter().flatten();
        let mut items: Vec<Value> = objects.filter(|object| is_selected(object, query)).collect();
        let from = query.get("continue").and_then(|from| from.parse().ok()).unwrap_or(0);
        items.drain(..from);
        let mut metadata = json!({ "resourceVersion": self.version.to_string() });
        if let Some(page) = self.page.filter(|page| *page < items.len()) {
            items.truncate(page);
            metadata["continue"] = (from + page).to_string().into();
        }
        json!({ "kind": "List", "apiVersion": "v1", "metadata": metadata, "items": items })
    }
}

/// Whether the request's field selector has the object.
fn is_selected(object: &Value, query: &BTreeMap<String, String>) -> bool {
    let node = query.get("fieldSelector").and_then(|selector| selector.strip_prefix("spec.nodeName="));
    node.is_none_or(|node| object["spec"]["nodeName"] == *node)
}

fn status(code: u16) -> Value {
    let message = format!("the test's {code}");
    json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "reason": "Test", "code": code })
}

/// Reads a request: its method, its target, its body.
async fn request(stream: &mut TcpStream) -> std::io::Result<(String, String, Vec<u8>)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8(head).unwrap();
    let mut words = head.split(' ').map(str::to_owned);
    let (method, target) = (words.next().unwrap(), words.next().unwrap());
    let len = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().unwrap())
    });
    let mut body = vec![0; len.unwrap_or(0)];
    stream.read_exact(&mut body).await?;
    Ok((method, target, body))
}

async fn answer(stream: &mut TcpStream, code: u16, header: &str, body: &Value) -> std::io::Result<()> {
    let body = body.to_string();
    let head = format!(
        "HTTP/1.1 {code} Test\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n{header}\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).await
}

async fn serve(
    mut stream: TcpStream,
    world: Arc<Mutex<World>>,
    news: watch::Receiver<()>,
) -> std::io::Result<()> {
    if world.lock().unwrap().is_down {
        return Ok(());
    }
    let (method, target, body) = request(&mut stream).await?;
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let query: BTreeMap<_, _> =
        pairs.map(|(key, value)| (key.to_owned(), value.replace("%3D", "="))).collect();
    let verb = if query.contains_key("watch") { Verb::Watch } else { Verb::List };
    let fault = {
        let mut world = world.lock().unwrap();
        world.requests.push(target.clone());
        world.take_fault(verb, path)
    };
    match fault {
        Some(Fault::Cut) => return Ok(()),
        Some(Fault::Status(code, header)) => return answer(&mut stream, code, header, &status(code)).await,
        Some(_) | None => {}
    }
    if method == "POST" {
        let mut object: Value = serde_json::from_slice(&body).unwrap();
        if path == REVIEWS {
            let asked = object["spec"]["resourceAttributes"].clone();
            let is_asked =
                |(verb, resource): &(&str, &str)| asked["verb"] == *verb && asked["resource"] == *resource;
            let is_denied = world.lock().unwrap().denied.iter().any(is_asked);
            object["status"] = json!({ "allowed": !is_denied, "reason": "the test's word" });
        }
        world.lock().unwrap().posts.push(object.clone());
        return answer(&mut stream, 201, "", &object).await;
    }
    if path == "/version" {
        let version = json!({
            "major": "1", "minor": "33", "gitVersion": "v1.33.1", "gitCommit": "", "gitTreeState": "",
            "buildDate": "", "goVersion": "", "compiler": "", "platform": "",
        });
        return answer(&mut stream, 200, "", &version).await;
    }
    if let Some(name) = path.strip_prefix(NODES).and_then(|rest| rest.strip_prefix('/')) {
        let nodes = world.lock().unwrap().collections.get(NODES).cloned().unwrap_or_default();
        return match nodes.get(&format!("/{name}")) {
            Some(node) => answer(&mut stream, 200, "", node).await,
            None => answer(&mut stream, 404, "", &status(404)).await,
        };
    }
    if path == "/apis" {
        let versions = world.lock().unwrap().discovery.clone();
        let version = |version: &&str| json!({ "groupVersion": format!("discovery.k8s.io/{version}"), "version": version });
        let versions: Vec<_> = versions.iter().map(version).collect();
        let group = json!({ "name": "discovery.k8s.io", "versions": versions });
        let groups = if versions.is_empty() { json!([]) } else { json!([group]) };
        return answer(
            &mut stream,
            200,
            "",
            &json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups }),
        )
        .await;
    }
    if verb == Verb::List {
        let known = [PODS, SERVICES, NAMESPACES, ENDPOINTS, SLICES, OLD_SLICES];
        let list = known.contains(&path).then(|| world.lock().unwrap().list(path, &query));
        return match list {
            Some(list) => answer(&mut stream, 200, "", &list).await,
            None => answer(&mut stream, 404, "", &status(404)).await,
        };
    }
    watch(stream, path, &query, fault, world, news).await
}

async fn watch(
    mut stream: TcpStream,
    path: &str,
    query: &BTreeMap<String, String>,
    fault: Option<Fault>,
    world: Arc<Mutex<World>>,
    mut news: watch::Receiver<()>,
) -> std::io::Result<()> {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).await?;
    let mut from: u64 = query["resourceVersion"].parse().unwrap();
    let (epoch, forgotten) = {
        let world = world.lock().unwrap();
        (world.epoch, world.forgotten)
    };
    let gone = format!("{}\n", json!({ "type": "ERROR", "object": status(410) }));
    if from < forgotten || matches!(fault, Some(Fault::Gone)) {
        return chunk(&mut stream, &gone).await;
    }
    if matches!(fault, Some(Fault::End)) {
        return stream.write_all(b"0\r\n\r\n").await;
    }
    loop {
        news.borrow_and_update();
        let (lines, is_over, is_down) = {
            let world = world.lock().unwrap();
            let new = world.events.iter().filter(|line| line.path == path && line.version > from);
            let lines: Vec<Line> = new.cloned().collect();
            (lines, world.epoch != epoch, world.is_down)
        };
        if is_down {
            return Ok(());
        }
        for Line { version, object, kind, .. } in lines {
            from = version;
            if kind != "BOOKMARK" && !is_selected(&object, query) {
                continue;
            }
            let line = format!("{}\n", json!({ "type": kind, "object": object }));
            match fault {
                Some(Fault::HalfLine) => return chunk(&mut stream, &line[..line.len() / 2]).await,
                Some(Fault::Garbage) => {
                    return chunk(&mut stream, "{\"type\":\"ADDED\",\"object\":7}\n").await;
                }
                Some(Fault::Slow) => {
                    for piece in line.as_bytes().chunks(60) {
                        chunk(&mut stream, std::str::from_utf8(piece).unwrap()).await?;
                        sleep(Duration::from_millis(2)).await;
                    }
                }
                Some(_) | None => chunk(&mut stream, &line).await?,
            }
        }
        if is_over {
            return stream.write_all(b"0\r\n\r\n").await;
        }
        if news.changed().await.is_err() {
            return Ok(());
        }
    }
}

async fn chunk(stream: &mut TcpStream, text: &str) -> std::io::Result<()> {
    stream.write_all(format!("{:x}\r\n{text}\r\n", text.len()).as_bytes()).await
}
