//! The API's objects as they are written, as far as they are read: what is not named here is skipped while it
//! is parsed, the fields' managers included.
//!
//! Nothing is required: what one object lacks must not make a whole list unreadable.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use serde::{Deserialize, Deserializer, de::DeserializeOwned};

use super::{
    annotation::Annotation,
    objects::{self, AppProtocol, EndpointGroup, Key, Labels, Object, QosClass, ServicePort, TargetPort},
};

/// The annotation that names a static pod's own uid, and the one that tells its mirror.
const STATIC_UID: &str = "kubernetes.io/config.hash";
const MIRROR: &str = "kubernetes.io/config.mirror";
/// The label that names an `EndpointSlice`'s Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// A kind of object on the wire.
pub(super) trait Wire: Clone + DeserializeOwned + Send + 'static {
    /// What it becomes.
    type Object: Object + Send;

    /// The API server's version of it.
    fn metadata(&self) -> &Metadata;

    /// What is needed of it.
    fn into_object(self) -> Self::Object;
}

/// A value, or its default where it is absent or null.
fn lenient<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Option::deserialize(from).map(Option::unwrap_or_default)
}

/// An object's metadata.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Metadata {
    #[serde(default)]
    name: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    uid: String,
    #[serde(default)]
    pub(super) resource_version: String,
    #[serde(default, deserialize_with = "lenient")]
    annotations: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "lenient")]
    labels: BTreeMap<String, String>,
}

impl Metadata {
    fn meta(&self) -> objects::Meta {
        let all = self.annotations.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        objects::Meta {
            key: Key::new(&self.namespace, &self.name),
            uid: self.uid.as_str().into(),
            version: self.resource_version.parse().ok(),
            annotations: all.collect(),
        }
    }
}

/// Labels with their words shared.
fn labels(written: BTreeMap<String, String>) -> Labels {
    written.into_iter().map(|(key, value)| (key.into(), value.into())).collect()
}

/// A Pod.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Pod {
    #[serde(default)]
    metadata: Metadata,
    #[serde(default, deserialize_with = "lenient")]
    spec: PodSpec,
    #[serde(default, deserialize_with = "lenient")]
    status: PodStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodSpec {
    #[serde(default, deserialize_with = "lenient")]
    node_name: String,
    #[serde(default, deserialize_with = "lenient")]
    host_network: bool,
    #[serde(default, deserialize_with = "lenient")]
    containers: Vec<Container>,
    #[serde(default, deserialize_with = "lenient")]
    init_containers: Vec<Container>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Container {
    #[serde(default, deserialize_with = "lenient")]
    ports: Vec<ContainerPort>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ContainerPort {
    #[serde(default, deserialize_with = "lenient")]
    name: String,
    #[serde(default, deserialize_with = "lenient")]
    container_port: i64,
    #[serde(default, deserialize_with = "lenient")]
    protocol: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodStatus {
    #[serde(default, deserialize_with = "lenient")]
    phase: String,
    #[serde(default, rename = "podIP", deserialize_with = "lenient")]
    pod_ip: String,
    #[serde(default, rename = "podIPs", deserialize_with = "lenient")]
    pod_ips: Vec<Ip>,
    #[serde(default, deserialize_with = "lenient")]
    qos_class: String,
    #[serde(default, deserialize_with = "lenient")]
    init_container_statuses: Vec<ContainerStatus>,
    #[serde(default, deserialize_with = "lenient")]
    container_statuses: Vec<ContainerStatus>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Ip {
    #[serde(default)]
    ip: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ContainerStatus {
    #[serde(default, rename = "containerID", deserialize_with = "lenient")]
    container_id: String,
}

/// TCP is what a port is where nothing is said.
fn is_tcp(protocol: &str) -> bool {
    protocol.is_empty() || protocol == "TCP"
}

/// A number as a port, where it is one.
fn port(number: i64) -> Option<u16> {
    u16::try_from(number).ok().filter(|port| *port > 0)
}

/// The addresses among these words, each once and in their order.
fn addresses<'a>(written: impl IntoIterator<Item = &'a str>) -> Vec<IpAddr> {
    let mut addresses: Vec<IpAddr> = Vec::new();
    for address in written.into_iter().filter_map(|written| written.parse().ok()) {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    addresses
}

impl Wire for Pod {
    type Object = objects::Pod;

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn into_object(self) -> objects::Pod {
        let Self { metadata, spec, status } = self;
        let meta = metadata.meta();
        let is_mirror = metadata.annotations.contains_key(MIRROR);
        let static_uid = metadata.annotations.get(STATIC_UID).filter(|_| is_mirror);
        let ports =
            spec.init_containers.iter().chain(&spec.containers).flat_map(|container| &container.ports);
        let named = ports
            .filter(|port| is_tcp(&port.protocol))
            .filter_map(|written| Some((written.name.as_str(), port(written.container_port)?)));
        let ids = status.init_container_statuses.iter().chain(&status.container_statuses);
        objects::Pod {
            cgroup_uid: static_uid.map_or_else(|| Arc::clone(&meta.uid), |uid| uid.as_str().into()),
            node: spec.node_name.as_str().into(),
            is_host_network: spec.host_network,
            is_finished: matches!(&*status.phase, "Succeeded" | "Failed"),
            ips: addresses(status.pod_ips.iter().map(|ip| ip.ip.as_str()).chain([status.pod_ip.as_str()])),
            qos: [QosClass::Guaranteed, QosClass::Burstable, QosClass::BestEffort]
                .into_iter()
                .find(|class| class.label() == status.qos_class),
            containers: ids
                .filter(|status| !status.container_id.is_empty())
                .map(|status| status.container_id.as_str().into())
                .collect(),
            port_names: named.collect(),
            labels: labels(metadata.labels),
            meta,
        }
    }
}

/// A Service.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Service {
    #[serde(default)]
    metadata: Metadata,
    #[serde(default, deserialize_with = "lenient")]
    spec: ServiceSpec,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ServiceSpec {
    #[serde(default, rename = "type", deserialize_with = "lenient")]
    kind: String,
    #[serde(default, rename = "clusterIP", deserialize_with = "lenient")]
    cluster_ip: String,
    #[serde(default, rename = "clusterIPs", deserialize_with = "lenient")]
    cluster_ips: Vec<String>,
    #[serde(default, deserialize_with = "lenient")]
    ports: Vec<WrittenPort>,
    #[serde(default, deserialize_with = "lenient")]
    selector: BTreeMap<String, String>,
}

/// A port of a Service, or of its endpoints.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WrittenPort {
    #[serde(default, deserialize_with = "lenient")]
    name: String,
    #[serde(default, deserialize_with = "lenient")]
    port: i64,
    #[serde(default)]
    target_port: Option<IntOrString>,
    #[serde(default, deserialize_with = "lenient")]
    protocol: String,
    #[serde(default, deserialize_with = "lenient")]
    app_protocol: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum IntOrString {
    Int(i64),
    String(String),
}

impl Wire for Service {
    type Object = objects::Service;

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn into_object(self) -> objects::Service {
        let Self { metadata, spec } = self;
        let mut meta = metadata.meta();
        meta.annotations = meta.annotations.only(Annotation::OpaquePorts);
        if spec.kind == "ExternalName" {
            return objects::Service {
                meta,
                cluster_ips: Vec::new(),
                ports: Vec::new(),
                selector: Labels::new(),
            };
        }
        let of = |written: WrittenPort| {
            let number = port(written.port).filter(|_| is_tcp(&written.protocol))?;
            let target = match written.target_port {
                None => TargetPort::Number(number),
                // 0 is how "not said" is written by some.
                Some(IntOrString::Int(target)) => TargetPort::Number(port(target).unwrap_or(number)),
                Some(IntOrString::String(name)) => match name.parse().ok().and_then(port) {
                    Some(target) => TargetPort::Number(target),
                    None if name.is_empty() => TargetPort::Number(number),
                    None => TargetPort::Name(name.into()),
                },
            };
            let protocol = AppProtocol::of(&written.app_protocol);
            Some(ServicePort { port: number, name: written.name.into(), target, protocol })
        };
        objects::Service {
            meta,
            // "None" is no address, and so is left out.
            cluster_ips: addresses(
                spec.cluster_ips.iter().map(String::as_str).chain([spec.cluster_ip.as_str()]),
            ),
            ports: spec.ports.into_iter().filter_map(of).collect(),
            selector: labels(spec.selector),
        }
    }
}

/// A Namespace.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Namespace {
    #[serde(default)]
    metadata: Metadata,
}

impl Wire for Namespace {
    type Object = objects::Namespace;

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn into_object(self) -> objects::Namespace {
        let mut meta = self.metadata.meta();
        meta.key.namespace = Arc::clone(&meta.key.name);
        objects::Namespace { meta }
    }
}

/// An `EndpointSlice`, of `discovery.k8s.io/v1` or `v1beta1`: what is read has the same shape in both.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct EndpointSlice {
    #[serde(default)]
    metadata: Metadata,
    #[serde(default, deserialize_with = "lenient")]
    endpoints: Vec<Endpoint>,
    #[serde(default, deserialize_with = "lenient")]
    ports: Vec<WrittenPort>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Endpoint {
    #[serde(default, deserialize_with = "lenient")]
    addresses: Vec<String>,
}

/// The TCP ports with their names.
fn endpoint_ports(written: Vec<WrittenPort>) -> Vec<(Box<str>, u16)> {
    let tcp = written.into_iter().filter(|written| is_tcp(&written.protocol));
    tcp.filter_map(|written| Some((written.name.into(), port(written.port)?))).collect()
}

impl Wire for EndpointSlice {
    type Object = objects::Endpoints;

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn into_object(self) -> objects::Endpoints {
        let written = self.endpoints.iter().flat_map(|endpoint| &endpoint.addresses);
        let group = EndpointGroup {
            addresses: written.filter_map(|address| address.parse().ok()).collect(),
            ports: endpoint_ports(self.ports),
        };
        let service = self.metadata.labels.get(SERVICE_NAME).map(|name| name.as_str().into());
        objects::Endpoints { meta: self.metadata.meta(), service, groups: vec![group] }
    }
}

/// The Endpoints of old, which have their Service's name.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Endpoints {
    #[serde(default)]
    metadata: Metadata,
    #[serde(default, deserialize_with = "lenient")]
    subsets: Vec<Subset>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Subset {
    #[serde(default, deserialize_with = "lenient")]
    addresses: Vec<Ip>,
    #[serde(default, deserialize_with = "lenient")]
    not_ready_addresses: Vec<Ip>,
    #[serde(default, deserialize_with = "lenient")]
    ports: Vec<WrittenPort>,
}

impl Wire for Endpoints {
    type Object = objects::Endpoints;

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn into_object(self) -> objects::Endpoints {
        let group = |subset: Subset| {
            let written = subset.addresses.iter().chain(&subset.not_ready_addresses);
            EndpointGroup {
                addresses: written.filter_map(|address| address.ip.parse().ok()).collect(),
                ports: endpoint_ports(subset.ports),
            }
        };
        let service = Some(self.metadata.name.as_str().into());
        let groups = self.subsets.into_iter().map(group).collect();
        objects::Endpoints { meta: self.metadata.meta(), service, groups }
    }
}

#[cfg(test)]
mod tests;
