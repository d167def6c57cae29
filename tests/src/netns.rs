//! Network namespaces of the tests' own, and the wires between them.

use std::fs::File;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};

use nix::sched::{CloneFlags, setns};

use crate::tempdir;

/// A named network namespace with loopback up, deleted on drop.
#[derive(Debug)]
pub struct Netns {
    name: String,
}

impl Netns {
    /// A namespace with nothing but loopback.
    ///
    /// # Panics
    /// When it cannot be made, above all when not root.
    #[must_use]
    pub fn new() -> Self {
        let name = tempdir::unique_name();
        ip(&["netns", "add", &name]);
        let netns = Self { name };
        netns.ip(&["link", "set", "lo", "up"]);
        netns
    }

    /// Puts another namespace in its place, with loopback up from the start.
    ///
    /// # Panics
    /// When that cannot be made.
    pub fn make_anew(&self) {
        let other = Self::new();
        nix::mount::umount2(&self.path(), nix::mount::MntFlags::MNT_DETACH).expect("take the namespace away");
        let none: Option<&str> = None;
        nix::mount::mount(Some(&other.path()), &self.path(), none, nix::mount::MsFlags::MS_BIND, none)
            .expect("put another in its place");
    }

    /// The file that stands for it.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        PathBuf::from("/run/netns").join(&self.name)
    }

    /// Runs `ip` in it.
    ///
    /// # Panics
    /// When `ip` fails.
    pub fn ip(&self, arguments: &[&str]) {
        let mut all = vec!["-n", &self.name];
        all.extend(arguments);
        ip(&all);
    }

    /// Runs something in it, on a thread that ends with it: sockets that are opened and processes
    /// that are started belong to the namespace.
    pub fn enter<T: Send>(&self, run: impl FnOnce() -> T + Send) -> T {
        let file = File::open(self.path()).expect("open the namespace");
        std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    setns(&file, CloneFlags::CLONE_NEWNET).expect("enter the namespace");
                    run()
                })
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

impl Default for Netns {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        let deleted = Command::new("ip").args(["netns", "delete", &self.name]).status();
        if !deleted.is_ok_and(|status| status.success()) {
            eprintln!("left behind: network namespace {}", self.name);
        }
    }
}

/// Two namespaces with a wire between them, addressed in both families.
#[derive(Debug)]
pub struct Wire {
    /// The client's end.
    pub near: Netns,
    /// The server's end.
    pub far: Netns,
    /// Which of the 256 networks this is.
    net: u8,
}

impl Wire {
    /// A new pair.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn new() -> Self {
        static NEXT: AtomicU8 = AtomicU8::new(1);
        let wire = Self { near: Netns::new(), far: Netns::new(), net: NEXT.fetch_add(1, Ordering::Relaxed) };
        wire.near.ip(&[
            "link",
            "add",
            "eth0",
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "netns",
            &wire.far.name,
        ]);
        for (netns, host) in [(&wire.near, 1), (&wire.far, 2)] {
            netns.ip(&["address", "add", &format!("{}/24", wire.v4(host)), "dev", "eth0"]);
            netns.ip(&["address", "add", &format!("{}/64", wire.v6(host)), "dev", "eth0", "nodad"]);
            netns.ip(&["link", "set", "eth0", "up"]);
        }
        wire
    }

    /// The IPv4 address of a host on the wire: 1 is near, 2 is far.
    #[must_use]
    pub fn v4(&self, host: u8) -> String {
        format!("10.211.{}.{host}", self.net)
    }

    /// The IPv6 address of a host on the wire: 1 is near, 2 is far.
    #[must_use]
    pub fn v6(&self, host: u8) -> String {
        format!("fd00:51:{:x}::{host}", self.net)
    }
}

impl Default for Wire {
    fn default() -> Self {
        Self::new()
    }
}

fn ip(arguments: &[&str]) {
    let output = Command::new("ip").args(arguments).output().expect("run ip");
    assert!(
        output.status.success(),
        "ip {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    );
}
