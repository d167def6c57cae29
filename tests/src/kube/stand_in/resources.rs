//! What is served, and how it is described.

use serde_json::{Value, json};

/// A kind of objects.
#[derive(Debug)]
pub(super) struct Resource {
    /// In paths.
    pub(super) plural: &'static str,
    pub(super) kind: &'static str,
    /// Empty is the core group.
    pub(super) group: &'static str,
    pub(super) namespaced: bool,
}

const fn core(plural: &'static str, kind: &'static str, namespaced: bool) -> Resource {
    Resource { plural, kind, group: "", namespaced }
}

pub(super) const PODS: Resource = core("pods", "Pod", true);
pub(super) const ENDPOINT_SLICES: Resource =
    Resource { plural: "endpointslices", kind: "EndpointSlice", group: "discovery.k8s.io", namespaced: true };

static ALL: [Resource; 8] = [
    PODS,
    core("services", "Service", true),
    core("endpoints", "Endpoints", true),
    core("events", "Event", true),
    core("namespaces", "Namespace", false),
    core("nodes", "Node", false),
    ENDPOINT_SLICES,
    Resource { plural: "events", kind: "Event", group: "events.k8s.io", namespaced: true },
];

/// The versions of a group.
pub(super) fn versions(group: &str, endpoint_slices: &[&'static str]) -> Vec<&'static str> {
    if group == ENDPOINT_SLICES.group { endpoint_slices.to_vec() } else { vec!["v1"] }
}

/// The resource of an object.
pub(super) fn of(object: &Value) -> Option<&'static Resource> {
    let (api_version, kind) = (object["apiVersion"].as_str()?, object["kind"].as_str()?);
    let group = api_version.rsplit_once('/').map_or("", |(group, _)| group);
    ALL.iter().find(|resource| resource.kind == kind && resource.group == group)
}

/// The resource of a kind, or of its name in paths.
pub(super) fn named(kind: &str) -> Option<&'static Resource> {
    ALL.iter().find(|resource| resource.kind == kind || resource.plural == kind)
}

/// What a path names.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place<'a> {
    /// `v1`, `discovery.k8s.io/v1`
    pub(super) api_version: String,
    pub(super) group: &'a str,
    pub(super) plural: &'a str,
    /// Empty: all, or none.
    pub(super) namespace: &'a str,
    pub(super) name: Option<&'a str>,
}

impl<'a> Place<'a> {
    /// `/api/v1/…`, `/apis/GROUP/VERSION/…`, with or without `namespaces/NAMESPACE/`, `NAME` and `status`.
    pub(super) fn parse(path: &'a str) -> Option<Self> {
        let mut parts = path.trim_matches('/').split('/');
        let (group, api_version) = match parts.next()? {
            "api" => ("", parts.next()?.to_owned()),
            "apis" => {
                let (group, version) = (parts.next()?, parts.next()?);
                (group, format!("{group}/{version}"))
            }
            _ => return None,
        };
        let rest: Vec<_> = parts.collect();
        let (namespace, plural, name) = match rest[..] {
            ["namespaces", name] | ["namespaces", name, "status"] if group.is_empty() => {
                ("", "namespaces", Some(name))
            }
            ["namespaces", namespace, plural] => (namespace, plural, None),
            ["namespaces", namespace, plural, name] | ["namespaces", namespace, plural, name, "status"] => {
                (namespace, plural, Some(name))
            }
            [plural] => ("", plural, None),
            [plural, name] | [plural, name, "status"] => ("", plural, Some(name)),
            _ => return None,
        };
        Some(Self { api_version, group, plural, namespace, name })
    }

    /// What is served there.
    pub(super) fn resource(&self, endpoint_slices: &[&'static str]) -> Option<&'static Resource> {
        let version = self.api_version.rsplit('/').next()?;
        if !versions(self.group, endpoint_slices).contains(&version) {
            return None;
        }
        ALL.iter().find(|resource| resource.plural == self.plural && resource.group == self.group)
    }
}

/// The answers to what clients ask of a server before they ask for objects.
pub(super) fn discovery(path: &str, endpoint_slices: &[&'static str]) -> Option<Value> {
    let groups = || {
        let served = ["discovery.k8s.io", "events.k8s.io"].into_iter();
        served.filter_map(|name| group(name, endpoint_slices)).collect::<Vec<_>>()
    };
    let parts: Vec<_> = path.trim_matches('/').split('/').collect();
    Some(match parts[..] {
        ["version"] => {
            json!({ "major": "1", "minor": "34", "gitVersion": "v1.34.0", "platform": "stand-in" })
        }
        ["api"] => json!({ "kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": [] }),
        ["apis"] => json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups() }),
        ["api", "v1"] => resource_list("", "v1"),
        ["apis", name] => group(name, endpoint_slices)?,
        ["apis", name, version] => {
            let is_served = versions(name, endpoint_slices).contains(&version);
            (is_served && group(name, endpoint_slices).is_some())
                .then(|| resource_list(name, &format!("{name}/{version}")))?
        }
        _ => return None,
    })
}

fn group(name: &str, endpoint_slices: &[&'static str]) -> Option<Value> {
    if name.is_empty() || !ALL.iter().any(|resource| resource.group == name) {
        return None;
    }
    let versions: Vec<_> = versions(name, endpoint_slices)
        .into_iter()
        .map(|version| json!({ "groupVersion": format!("{name}/{version}"), "version": version }))
        .collect();
    let preferred = versions.first()?.clone();
    Some(json!({
        "kind": "APIGroup", "apiVersion": "v1", "name": name, "versions": versions,
        "preferredVersion": preferred,
    }))
}

fn resource_list(group: &str, api_version: &str) -> Value {
    let resources: Vec<_> = ALL
        .iter()
        .filter(|resource| resource.group == group)
        .map(|resource| {
            json!({
                "name": resource.plural, "singularName": "", "kind": resource.kind,
                "namespaced": resource.namespaced,
                "verbs": ["create", "delete", "get", "list", "patch", "watch"],
            })
        })
        .collect();
    json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version, "resources": resources,
    })
}
