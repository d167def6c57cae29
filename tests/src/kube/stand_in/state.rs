//! The objects, their history, and who is connected.

use std::collections::{BTreeMap, HashMap};
use std::net::TcpStream;

use serde_json::{Map, Value, json};

use super::faults::{Faults, WatchEnd};
use super::resources::Resource;
use crate::kube::node::unique_uid;

/// Group, plural, namespace, name.
type Key = (&'static str, &'static str, String, String);

/// A change, as watches tell it.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) version: u64,
    /// `ADDED`, `MODIFIED` or `DELETED`
    pub(super) kind: &'static str,
    pub(super) group: &'static str,
    pub(super) plural: &'static str,
    pub(super) object: Value,
}

#[derive(Debug)]
pub(super) struct State {
    /// Of the last change.
    pub(super) version: u64,
    objects: BTreeMap<Key, Value>,
    changes: Vec<Change>,
    /// The changes up to here are forgotten.
    pub(super) forgotten: u64,
    pub(super) faults: Faults,
    pub(super) requests: Vec<String>,
    /// How often watches were ended, and how the last time.
    pub(super) ends: (u64, WatchEnd),
    pub(super) bookmarks: u64,
    pub(super) open_watches: usize,
    pub(super) endpoint_slices: Vec<&'static str>,
    connections: HashMap<u64, TcpStream>,
    next_number: u64,
}

impl Default for State {
    fn default() -> Self {
        Self {
            // 0 has a meaning of its own.
            version: 1,
            objects: BTreeMap::new(),
            changes: Vec::new(),
            forgotten: 0,
            faults: Faults::default(),
            requests: Vec::new(),
            ends: (0, WatchEnd::Cleanly),
            bookmarks: 0,
            open_watches: 0,
            endpoint_slices: vec!["v1"],
            connections: HashMap::new(),
            next_number: 1,
        }
    }
}

impl State {
    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    /// Puts an object in place; gives it as clients see it.
    pub(super) fn put(&mut self, resource: &Resource, mut object: Value) -> Value {
        let key = key(resource, &text(&object["metadata"]["namespace"]), &text(&object["metadata"]["name"]));
        let before = self.objects.get(&key).cloned();
        self.version += 1;
        let number = self.number();
        if !object["metadata"].is_object() {
            object["metadata"] = Map::new().into();
        }
        let metadata = &mut object["metadata"];
        let kept = |name: &str| before.as_ref().map(|before| before["metadata"][name].clone());
        for (name, value) in
            [("uid", json!(unique_uid())), ("creationTimestamp", json!("2026-01-01T00:00:00Z"))]
        {
            if metadata[name].is_null() {
                metadata[name] = kept(name).unwrap_or(value);
            }
        }
        metadata["resourceVersion"] = self.version.to_string().into();
        if resource.kind == "Service" && object["spec"]["clusterIPs"].is_null() {
            let (high, low) = (number / 250 % 250, number % 250 + 1);
            let v4 = format!("10.96.{high}.{low}");
            if object["spec"]["clusterIP"].is_null() {
                object["spec"]["clusterIP"] = v4.into();
            }
            let second = format!("fd00:96::{high:x}:{low:x}");
            object["spec"]["clusterIPs"] = match object["spec"]["ipFamilies"].as_array().map(Vec::len) {
                Some(2) => json!([object["spec"]["clusterIP"], second]),
                _ => json!([object["spec"]["clusterIP"]]),
            };
        }
        let kind = if before.is_some() { "MODIFIED" } else { "ADDED" };
        self.objects.insert(key, object.clone());
        self.tell(kind, resource, object.clone());
        object
    }

    pub(super) fn remove(&mut self, resource: &Resource, namespace: &str, name: &str) -> Option<Value> {
        let mut object = self.objects.remove(&key(resource, namespace, name))?;
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.tell("DELETED", resource, object.clone());
        Some(object)
    }

    fn tell(&mut self, kind: &'static str, resource: &Resource, object: Value) {
        let (group, plural) = (resource.group, resource.plural);
        self.changes.push(Change { version: self.version, kind, group, plural, object });
    }

    pub(super) fn get(&self, resource: &Resource, namespace: &str, name: &str) -> Option<&Value> {
        self.objects.get(&key(resource, namespace, name))
    }

    /// Every object of a resource.
    pub(super) fn all<'a>(&'a self, resource: &'a Resource) -> impl Iterator<Item = &'a Value> {
        let of = |key: &Key| key.0 == resource.group && key.1 == resource.plural;
        self.objects.iter().filter(move |(key, _)| of(key)).map(|(_, object)| object)
    }

    /// The changes after a version.
    pub(super) fn after(&self, version: u64) -> &[Change] {
        let first = self.changes.partition_point(|change| change.version <= version);
        &self.changes[first..]
    }

    pub(super) fn compact(&mut self) {
        // So that who saw the last change is behind, too.
        self.version += 1;
        self.forgotten = self.version;
        self.changes.clear();
    }

    pub(super) fn bookmark(&mut self) {
        self.bookmarks += 1;
    }

    pub(super) fn end_watches(&mut self, end: WatchEnd) {
        self.ends = (self.ends.0 + 1, end);
    }

    pub(super) fn connected(&mut self, stream: TcpStream) -> u64 {
        let id = self.number();
        self.connections.insert(id, stream);
        id
    }

    pub(super) fn disconnected(&mut self, id: u64) {
        self.connections.remove(&id);
    }

    pub(super) fn cut_connections(&mut self) {
        for stream in self.connections.values() {
            // It may have gone by itself.
            stream.shutdown(std::net::Shutdown::Both).ok();
        }
        self.end_watches(WatchEnd::MidLine);
    }
}

fn key(resource: &Resource, namespace: &str, name: &str) -> Key {
    let namespace = if resource.namespaced { namespace } else { "" };
    (resource.group, resource.plural, namespace.to_owned(), name.to_owned())
}

pub(super) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
