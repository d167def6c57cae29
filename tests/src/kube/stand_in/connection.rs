//! One client's connection: requests, one after the other.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use super::faults::{Fault, On};
use super::resources::{self, Place, Resource};
use super::state::{State, text};
use super::{Shared, watch};

/// A request.
#[derive(Debug)]
struct Request {
    /// Method and target.
    line: String,
    method: String,
    path: String,
    query: Query,
    body: Value,
    close: bool,
}

/// What is after the question mark.
#[derive(Debug, Default)]
pub(super) struct Query(BTreeMap<String, String>);

impl Query {
    fn parse(query: &str) -> Self {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        Self(pairs.map(|(name, value)| (name.to_owned(), decode(value))).collect())
    }

    pub(super) fn of(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    pub(super) fn is_set(&self, name: &str) -> bool {
        matches!(self.of(name), "1" | "true")
    }
}

/// Which objects a list or a watch is about.
#[derive(Debug)]
pub(super) struct Selection {
    pub(super) resource: &'static Resource,
    pub(super) api_version: String,
    namespace: String,
    fields: Vec<(String, String)>,
    labels: Vec<(String, String)>,
}

impl Selection {
    pub(super) fn has(&self, object: &Value) -> bool {
        let namespace = text(&object["metadata"]["namespace"]);
        let field = |path: &str| text(path.split('.').fold(object, |value, name| &value[name]));
        (self.namespace.is_empty() || self.namespace == namespace)
            && self.fields.iter().all(|(path, value)| field(path) == *value)
            && self.labels.iter().all(|(name, value)| text(&object["metadata"]["labels"][name]) == *value)
    }

    /// An object as this version has it.
    pub(super) fn shown(&self, object: &Value) -> Value {
        let mut object = object.clone();
        object["apiVersion"] = self.api_version.as_str().into();
        object["kind"] = self.resource.kind.into();
        object
    }
}

/// An answer with a body that is all there.
#[derive(Debug)]
struct Reply {
    status: u16,
    fields: String,
    body: Value,
}

impl Reply {
    fn ok(body: Value) -> Self {
        Self { status: 200, fields: String::new(), body }
    }

    fn busy(retry_after: u32) -> Self {
        let mut body = failure(429, "TooManyRequests", "the server is busy, please try again later");
        body["details"] = json!({ "retryAfterSeconds": retry_after });
        Self { status: 429, fields: format!("Retry-After: {retry_after}\r\n"), body }
    }

    fn failure(status: u16, reason: &str, message: &str) -> Self {
        Self { status, fields: String::new(), body: failure(status, reason, message) }
    }
}

/// A `Status` object, as every failure is told.
pub(super) fn failure(code: u16, reason: &str, message: &str) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "code": code, "reason": reason, "message": message,
    })
}

pub(super) fn serve(stream: &TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    while let Some(request) = read(&mut reader)? {
        let selection = select(&request, &shared.lock());
        let is_watch = request.method == "GET" && request.query.is_set("watch") && selection.is_some();
        let on = match request.method.as_str() {
            _ if is_watch => On::Watch,
            "GET" if selection.is_some() => On::List,
            "GET" => On::Any,
            _ => On::Write,
        };
        let fault = shared.change(|state| {
            state.requests.push(request.line.clone());
            state.faults.take(on)
        });
        let reply = match (fault, selection) {
            (Some(Fault::Disconnect), _) => return Ok(()),
            (Some(Fault::Silence(time)), _) => {
                std::thread::sleep(time);
                return Ok(());
            }
            (Some(Fault::Gone), _) => Reply::failure(410, "Expired", "too old resource version"),
            (Some(Fault::TooManyRequests { retry_after }), _) => Reply::busy(retry_after),
            (Some(Fault::Overloaded { retry_after }), _) => Reply {
                body: "Too many requests, please try again later.\n".into(),
                ..Reply::busy(retry_after)
            },
            (Some(Fault::ServerError), _) => Reply::failure(500, "InternalError", "out of order"),
            (Some(Fault::Forbidden), _) => Reply::failure(403, "Forbidden", "no role allows it"),
            (None | Some(Fault::Half | Fault::Slow(_)), Some(selection)) if is_watch => {
                // The connection is of no other use after.
                return watch::serve(stream, shared, &selection, &request.query);
            }
            (None | Some(Fault::Half | Fault::Slow(_)), selection) => {
                shared.change(|state| answer(&request, selection, state))
            }
        };
        write(stream, &reply, fault)?;
        if request.close || fault == Some(Fault::Half) {
            return Ok(());
        }
    }
    Ok(())
}

/// The next request; `None` where the client is done.
fn read(reader: &mut BufReader<TcpStream>) -> io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut request = Request {
        line: format!("{method} {target}"),
        method: method.to_owned(),
        path: path.to_owned(),
        query: Query::parse(query),
        body: Value::Null,
        close: false,
    };
    let mut length = 0;
    loop {
        let mut field = String::new();
        reader.read_line(&mut field)?;
        let field = field.trim_end().to_ascii_lowercase();
        if field.is_empty() {
            break;
        }
        if let Some(value) = field.strip_prefix("content-length:") {
            length =
                value.trim().parse().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        }
        request.close |= field == "connection: close";
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    request.body = serde_json::from_slice(&body).unwrap_or_default();
    Ok(Some(request))
}

/// What a list or a watch is about; `None` for anything else.
fn select(request: &Request, state: &State) -> Option<Selection> {
    let place = Place::parse(&request.path)?;
    let resource = place.resource(&state.endpoint_slices)?;
    if request.method != "GET" || place.name.is_some() {
        return None;
    }
    let pairs = |name: &str| -> Vec<(String, String)> {
        let terms = request.query.of(name).split(',').filter_map(|term| term.split_once('='));
        terms.map(|(name, value)| (name.to_owned(), value.trim_start_matches('=').to_owned())).collect()
    };
    Some(Selection {
        resource,
        namespace: place.namespace.to_owned(),
        fields: pairs("fieldSelector"),
        labels: pairs("labelSelector"),
        api_version: place.api_version,
    })
}

fn answer(request: &Request, selection: Option<Selection>, state: &mut State) -> Reply {
    let Request { method, path, query, body, .. } = request;
    if let Some(selection) = selection {
        return list(&selection, query, state);
    }
    if ["/healthz", "/livez", "/readyz"].contains(&path.as_str()) {
        return Reply::ok("ok".into());
    }
    if let Some(description) = resources::discovery(path, &state.endpoint_slices) {
        return Reply::ok(description);
    }
    if method == "POST" && path.starts_with("/apis/authorization.k8s.io/") {
        let mut review = body.clone();
        review["status"] = json!({ "allowed": true });
        return Reply { status: 201, ..Reply::ok(review) };
    }
    let not_found = || Reply::failure(404, "NotFound", &format!("{path} not found"));
    let Some(place) = Place::parse(path) else { return not_found() };
    let Some(resource) = place.resource(&state.endpoint_slices) else { return not_found() };
    match (method.as_str(), place.name) {
        ("GET", Some(name)) => state
            .get(resource, place.namespace, name)
            .map_or_else(not_found, |object| Reply::ok(object.clone())),
        ("POST", None) => create(resource, &place, body, state),
        ("PATCH", Some(name)) => {
            let Some(object) = state.get(resource, place.namespace, name) else { return not_found() };
            let mut object = object.clone();
            merge(&mut object, body);
            Reply::ok(state.put(resource, object))
        }
        ("PUT", Some(_)) => Reply::ok(state.put(resource, body.clone())),
        ("DELETE", Some(name)) => {
            state.remove(resource, place.namespace, name).map_or_else(not_found, Reply::ok)
        }
        _ => Reply::failure(405, "MethodNotAllowed", "not allowed here"),
    }
}

fn create(resource: &Resource, place: &Place<'_>, body: &Value, state: &mut State) -> Reply {
    let mut object = body.clone();
    object["apiVersion"] = place.api_version.as_str().into();
    object["kind"] = resource.kind.into();
    if resource.namespaced {
        object["metadata"]["namespace"] = place.namespace.into();
    }
    if object["metadata"]["name"].is_null() {
        let prefix = text(&object["metadata"]["generateName"]);
        object["metadata"]["name"] = format!("{prefix}{}", state.version).into();
    }
    let name = text(&object["metadata"]["name"]);
    if state.get(resource, place.namespace, &name).is_some() {
        return Reply::failure(409, "AlreadyExists", &format!("{name} already exists"));
    }
    Reply { status: 201, ..Reply::ok(state.put(resource, object)) }
}

/// A page: `limit` and `continue` as the API has them.
fn list(selection: &Selection, query: &Query, state: &State) -> Reply {
    let (version, from) = match query.of("continue") {
        "" => (state.version, 0),
        token => {
            let token = token.split_once('.').and_then(|(version, from)| {
                Some((version.parse::<u64>().ok()?, from.parse::<usize>().ok()?))
            });
            match token {
                None => return Reply::failure(400, "BadRequest", "continue key is not valid"),
                Some((version, _)) if version < state.forgotten => {
                    return Reply::failure(410, "Expired", "The provided continue parameter is too old");
                }
                Some(token) => token,
            }
        }
    };
    let all: Vec<_> = state.all(selection.resource).filter(|object| selection.has(object)).collect();
    let limit = query.of("limit").parse().ok().filter(|limit| *limit > 0).unwrap_or(usize::MAX);
    let to = from.saturating_add(limit).min(all.len());
    let items: Vec<_> =
        all.get(from..to).unwrap_or_default().iter().map(|object| selection.shown(object)).collect();
    let mut metadata = json!({ "resourceVersion": version.to_string() });
    if to < all.len() {
        metadata["continue"] = format!("{version}.{to}").into();
        metadata["remainingItemCount"] = (all.len() - to).into();
    }
    Reply::ok(json!({
        "kind": format!("{}List", selection.resource.kind),
        "apiVersion": selection.api_version,
        "metadata": metadata,
        "items": items,
    }))
}

/// RFC 7386.
fn merge(target: &mut Value, change: &Value) {
    let Value::Object(change) = change else {
        *target = change.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (name, value) in change {
        if value.is_null() {
            if let Some(target) = target.as_object_mut() {
                target.remove(name);
            }
        } else {
            merge(&mut target[name], value);
        }
    }
}

fn write(mut stream: &TcpStream, reply: &Reply, fault: Option<Fault>) -> io::Result<()> {
    let body = match &reply.body {
        Value::String(text) => text.clone(),
        body => body.to_string(),
    };
    let kind = if reply.body.is_string() { "text/plain; charset=utf-8" } else { "application/json" };
    let head = format!(
        "HTTP/1.1 {} Told\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n{}\r\n",
        reply.status,
        body.len(),
        reply.fields
    );
    match fault {
        Some(Fault::Half) => {
            stream.write_all(head.as_bytes())?;
            stream.write_all(&body.as_bytes()[..body.len() / 2])
        }
        Some(Fault::Slow(time)) => {
            const PIECES: usize = 20;
            let whole = [head.as_bytes(), body.as_bytes()].concat();
            for piece in whole.chunks(whole.len().div_ceil(PIECES)) {
                stream.write_all(piece)?;
                std::thread::sleep(time / u32::try_from(PIECES).unwrap_or(1));
            }
            Ok(())
        }
        _ => stream.write_all(&[head.as_bytes(), body.as_bytes()].concat()),
    }
}

/// Undoes percent-encoding.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::new();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let hex = text.get(at + 1..at + 3).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (byte, hex) {
            (b'%', Some(byte)) => {
                decoded.push(byte);
                at += 2;
            }
            (b'+', _) => decoded.push(b' '),
            (byte, _) => decoded.push(*byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// How often a watch looks around while nothing happens.
pub(super) const TICK: Duration = Duration::from_millis(50);
