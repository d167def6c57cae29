//! A small API server for what a healthy one won't do when it is told to: forget its history, be busy,
//! stop in the middle of a line, go away.
//!
//! Plain HTTP/1.1 on loopback, in this process. It serves discovery, and get, list (in pages), watch,
//! create, merge-patch and delete of the resources in [`resources`]; no validation, no admission, no
//! authorisation. What clients do with objects, and the tests' own [`Api`](super::Api), works with either.

mod connection;
mod faults;
mod resources;
mod state;
mod watch;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use socket2::{Domain, SockRef, Socket, Type};

pub use self::faults::{Fault, On, WatchEnd};
use self::state::State;
use super::api::Api;
use crate::http;
use crate::tempdir::TempDir;

/// The server; gone on drop.
#[derive(Debug)]
pub struct StandIn {
    shared: Arc<Shared>,
    /// Bound for as long as this lives, so that nobody else answers while it is away.
    socket: Socket,
    accepting: Option<JoinHandle<()>>,
    addr: SocketAddr,
    directory: TempDir,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// Somebody changed the state.
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("not poisoned")
    }

    /// Changes the state, and wakes the watches.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let changed = change(&mut self.lock());
        self.changed.notify_all();
        changed
    }
}

impl StandIn {
    /// A server without objects.
    ///
    /// # Panics
    /// When there is no port.
    #[must_use]
    pub fn start() -> Self {
        let (socket, addr) = bind();
        let directory = TempDir::new();
        let kubeconfig = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{ "name": "stand-in", "cluster": { "server": format!("http://{addr}") } }],
            "users": [{ "name": "test", "user": { "token": "test" } }],
            "contexts": [{ "name": "test", "context": { "cluster": "stand-in", "user": "test" } }],
            "current-context": "test",
        });
        // The directory goes when this does, the file with it.
        let _path = directory.write("kubeconfig", kubeconfig.to_string());
        let mut stand_in = Self { shared: Arc::default(), socket, accepting: None, addr, directory };
        stand_in.come_back();
        stand_in
    }

    /// What clients are told to find it by.
    #[must_use]
    pub fn kubeconfig_path(&self) -> std::path::PathBuf {
        self.directory.join("kubeconfig")
    }

    /// Where it is.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The tests' own client of it.
    #[must_use]
    pub fn api(&self) -> Api {
        Api::at(self.addr, Path::new(&self.kubeconfig_path()))
    }

    /// Puts an object in place, new or in another's: it needs `apiVersion`, `kind` and a name. What a
    /// server adds (UID, versions) is added where it is missing.
    ///
    /// # Panics
    /// When it is of no kind that is served.
    pub fn set(&self, object: Value) {
        let resource = resources::of(&object).unwrap_or_else(|| panic!("no kind that is served: {object}"));
        self.shared.change(|state| state.put(resource, object));
    }

    /// Removes an object; `false` where there is none.
    ///
    /// # Panics
    /// When the kind is none that is served.
    pub fn delete(&self, kind: &str, namespace: &str, name: &str) -> bool {
        let resource = resources::named(kind).unwrap_or_else(|| panic!("no kind that is served: {kind}"));
        self.shared.change(|state| state.remove(resource, namespace, name).is_some())
    }

    /// Fails the next request of this sort.
    pub fn fail_with(&self, on: On, fault: Fault) {
        self.fail_times(on, fault, 1);
    }

    /// Fails the next requests of this sort.
    pub fn fail_times(&self, on: On, fault: Fault, times: u32) {
        self.shared.change(|state| state.faults.add(on, fault, Some(times)));
    }

    /// Fails all requests of this sort, until [`StandIn::heal`].
    pub fn fail_always(&self, on: On, fault: Fault) {
        self.shared.change(|state| state.faults.add(on, fault, None));
    }

    /// Takes back every fault that was planned.
    pub fn heal(&self) {
        self.shared.change(|state| state.faults.clear());
    }

    /// Ends the watches that are open; those that are opened after go on.
    pub fn end_watches(&self, end: WatchEnd) {
        self.shared.change(|state| state.end_watches(end));
    }

    /// Sends a bookmark to the watches that asked for bookmarks.
    pub fn bookmark(&self) {
        self.shared.change(State::bookmark);
    }

    /// Forgets all changes up to now: who watches from an older version is told 410.
    pub fn compact(&self) {
        self.shared.change(State::compact);
    }

    /// Serves EndpointSlices in these versions alone: none, `v1beta1` as before 1.21, or more.
    pub fn serve_endpoint_slices(&self, versions: &[&'static str]) {
        self.shared.change(|state| state.endpoint_slices = versions.to_vec());
    }

    /// Refuses connections, and cuts those that are open, until [`StandIn::come_back`].
    pub fn go_away(&mut self) {
        let Some(accepting) = self.accepting.take() else { return };
        // Wakes the thread that accepts; the port stays ours.
        SockRef::from(&self.socket).shutdown(std::net::Shutdown::Both).ok();
        accepting.join().ok();
        self.shared.change(State::cut_connections);
    }

    /// Accepts connections again.
    ///
    /// # Panics
    /// When the socket cannot listen.
    pub fn come_back(&mut self) {
        if self.accepting.is_some() {
            return;
        }
        self.socket.listen(128).expect("listen");
        let listener: TcpListener = self.socket.try_clone().expect("clone a socket").into();
        let shared = Arc::clone(&self.shared);
        self.accepting = Some(std::thread::spawn(move || accept(&listener, &shared)));
    }

    /// The requests up to now, each as `GET /api/v1/pods?watch=1`.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        self.shared.lock().requests.clone()
    }

    /// The watches that are open.
    #[must_use]
    pub fn open_watches(&self) -> usize {
        self.shared.lock().open_watches
    }

    /// Pods of a node, and changes to them, one after the other, until it is dropped.
    #[must_use]
    pub fn churn(&self, node: &str, pods: usize, changes_per_second: u32) -> Churn {
        for number in 0..pods {
            self.set(churning_pod(node, number, 0));
        }
        let stop = Arc::new(AtomicBool::new(false));
        let (shared, stopped, node) = (Arc::clone(&self.shared), Arc::clone(&stop), node.to_owned());
        let thread = std::thread::spawn(move || {
            let began = Instant::now();
            let mut changes = 0;
            while !stopped.load(Ordering::Relaxed) {
                let number = changes as usize % pods;
                let pod = churning_pod(&node, number, changes + 1);
                shared.change(|state| state.put(&resources::PODS, pod));
                changes += 1;
                let next = began + Duration::from_secs(1) * changes / changes_per_second;
                std::thread::sleep(next.saturating_duration_since(Instant::now()));
            }
            changes
        });
        Churn { stop, thread: Some(thread) }
    }
}

/// A bound socket. A port of the kernel's choice would be free for others as soon as it does not listen.
fn bind() -> (Socket, SocketAddr) {
    let mut tries = (0..10).map(|_| {
        let addr = SocketAddr::from(([127, 0, 0, 1], http::free_port()));
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.bind(&addr.into())?;
        std::io::Result::Ok((socket, addr))
    });
    // Another run of the tests may have taken a port since.
    tries.find_map(Result::ok).expect("a port")
}

/// A pod whose annotation `test/change` counts its changes.
fn churning_pod(node: &str, number: usize, change: u32) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "namespace": "default",
            "name": format!("pod-{number}"),
            "uid": format!("{number:08x}-0000-4000-8000-000000000000"),
            "annotations": { "linkerd.io/inject": "enabled", "test/change": change.to_string() },
        },
        "spec": { "nodeName": node, "containers": [{ "name": "main", "image": "none" }] },
        "status": { "phase": "Running" },
    })
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.go_away();
    }
}

/// Pods that change; see [`StandIn::churn`].
#[derive(Debug)]
pub struct Churn {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<u32>>,
}

impl Churn {
    /// Stops, and says how many changes there were.
    ///
    /// # Panics
    /// When the thread did.
    #[must_use]
    pub fn stop(mut self) -> u32 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().expect("it runs").join().expect("the thread of changes")
    }
}

impl Drop for Churn {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    // Ends when the listener is shut down.
    while let Ok((stream, _)) = listener.accept() {
        let Ok(to_cut) = stream.try_clone() else { continue };
        let id = shared.change(|state| state.connected(to_cut));
        let shared = Arc::clone(shared);
        std::thread::spawn(move || {
            serve(&stream, &shared);
            shared.change(|state| state.disconnected(id));
        });
    }
}

fn serve(stream: &TcpStream, shared: &Shared) {
    // The client may go at any time; that is no failure of the test's.
    connection::serve(stream, shared).ok();
    stream.shutdown(std::net::Shutdown::Both).ok();
}

#[cfg(test)]
mod tests;
