//! Nodes, pods and Services that are there twice: as the kernel has them, and in the API.

use std::net::IpAddr;

use serde_json::{Map, Value, json};

use super::api::Api;
use super::cluster::Cluster;
use super::layout::{Layout, Qos};
use super::node::Node;
use super::pod::{Pod, PodSpec};
use super::services::{Backend, ServiceRule};
use crate::tempdir;

/// A cluster that an API server knows, and a namespace of the test's own in it.
#[derive(Debug)]
pub struct World {
    api: Api,
    cluster: Cluster,
    namespace: String,
}

/// What a Service is to be.
#[derive(Clone, Debug, Default)]
pub struct ServiceSpec {
    name: String,
    annotations: Map<String, Value>,
    ports: Vec<Value>,
}

impl ServiceSpec {
    /// A Service without ports.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// Adds an annotation.
    #[must_use]
    pub fn annotation(mut self, name: &str, value: &str) -> Self {
        self.annotations.insert(name.to_owned(), value.into());
        self
    }

    /// Adds a port, by the name that the pods have for it.
    #[must_use]
    pub fn port_to_name(mut self, port: u16, target: &str) -> Self {
        self.ports.push(json!({ "name": format!("p{port}"), "port": port, "targetPort": target }));
        self
    }

    /// Adds a port.
    #[must_use]
    pub fn port(mut self, port: u16, target: u16) -> Self {
        self.ports.push(json!({ "name": format!("p{port}"), "port": port, "targetPort": target }));
        self
    }

    /// What the last port speaks, by its `appProtocol`.
    ///
    /// # Panics
    /// When there is no port.
    #[must_use]
    pub fn app_protocol(mut self, protocol: &str) -> Self {
        self.ports.last_mut().expect("a port")["appProtocol"] = protocol.into();
        self
    }
}

/// A Service that nodes know.
#[derive(Clone, Debug)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// Its ClusterIPs, of both families.
    pub addresses: Vec<IpAddr>,
}

impl Service {
    /// Its IPv4 address.
    ///
    /// # Panics
    /// When it has none.
    #[must_use]
    pub fn v4(&self) -> IpAddr {
        *self.addresses.iter().find(|address| address.is_ipv4()).expect("an IPv4 ClusterIP")
    }

    /// Its IPv6 address.
    ///
    /// # Panics
    /// When it has none.
    #[must_use]
    pub fn v6(&self) -> IpAddr {
        *self.addresses.iter().find(|address| address.is_ipv6()).expect("an IPv6 ClusterIP")
    }
}

impl World {
    /// An empty one.
    ///
    /// # Panics
    /// When the API server refuses.
    #[must_use]
    pub fn new(api: &Api) -> Self {
        let namespace = tempdir::unique_name();
        api.create("/api/v1/namespaces", &json!({ "metadata": { "name": namespace } }));
        Self { api: api.clone(), cluster: Cluster::new(), namespace }
    }

    /// The API server.
    #[must_use]
    pub fn api(&self) -> &Api {
        &self.api
    }

    /// The network.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The namespace of its pods and Services.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The path of an object in the namespace: `pods`, `services`, `events`.
    #[must_use]
    pub fn path(&self, resource: &str, name: &str) -> String {
        format!("/api/v1/namespaces/{}/{resource}/{name}", self.namespace)
    }

    fn path_of(&self, resource: &str) -> String {
        format!("/api/v1/namespaces/{}/{resource}", self.namespace)
    }

    /// Adds a node.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn node(&self, layout: Layout) -> Node {
        let node = self.cluster.node(layout);
        self.api.create("/api/v1/nodes", &json!({ "metadata": { "name": node.name() } }));
        node
    }

    /// The config of an agent on a node, with more settings of the table that speaks of Kubernetes. Nothing is
    /// learned: the tests look at one decision again and again, with what is opaque.
    #[must_use]
    pub fn config(&self, node: &Node, more: &str) -> String {
        format!(
            "learn-opaque = \"off\"\n[kubernetes]\nnode-name = \"{}\"\nkubeconfig = \"{}\"\n{more}\n",
            node.name(),
            self.api.kubeconfig().display()
        )
    }

    /// What the agent calls a pod.
    #[must_use]
    pub fn workload(&self, pod: &Pod) -> String {
        format!("{}/{}", self.namespace, pod.name())
    }

    /// Runs a pod: the API has it first, then the node, and then the API knows its addresses.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn run(&self, node: &Node, spec: &PodSpec) -> Pod {
        let made = self.announce(node, spec);
        let uid = made["metadata"]["uid"].as_str().expect("the server gives UIDs");
        let pod = node.pod_with_uid(spec, uid);
        self.tell_status(node, &pod);
        pod
    }

    /// The first step of [`World::run`]: a pod that is scheduled, and not there yet.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn announce(&self, node: &Node, spec: &PodSpec) -> Value {
        self.api.create(&self.path_of("pods"), &pod_object(node, spec))
    }

    /// The last step of [`World::run`]: what a kubelet says of a pod that runs, or whose containers were
    /// restarted or stopped.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn tell_status(&self, node: &Node, pod: &Pod) {
        let addresses: Vec<_> = match pod.spec().host_network {
            true => vec![json!({ "ip": node.v4().to_string() })],
            false => pod.addresses().map(|ip| json!({ "ip": ip.to_string() })).into(),
        };
        let containers: Vec<_> = pod
            .spec()
            .containers()
            .map(|name| {
                let id = pod.container_id(name);
                let state = match id {
                    Some(_) => json!({ "running": {} }),
                    None => json!({ "terminated": { "exitCode": 0, "reason": "Completed" } }),
                };
                json!({ "name": name, "image": "none", "imageID": "", "containerID": id.unwrap_or_default(),
                        "ready": id.is_some(), "started": id.is_some(), "state": state,
                        "restartCount": pod.restarts() })
            })
            .collect();
        let is_done = pod.spec().containers().all(|name| pod.container_id(name).is_none());
        let status = json!({ "status": {
            "phase": if is_done { "Succeeded" } else { "Running" },
            "qosClass": pod.spec().qos.name(),
            "hostIP": node.v4().to_string(),
            "podIP": addresses[0]["ip"],
            "podIPs": addresses,
            "conditions": [{ "type": "Ready", "status": if is_done { "False" } else { "True" } }],
            "containerStatuses": containers,
        }});
        self.api.merge(&format!("{}/status", self.path("pods", pod.name())), &status);
    }

    /// Ends a pod, and then removes it from the API.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn remove(&self, pod: Pod) {
        let path = self.path("pods", pod.name());
        drop(pod);
        self.api.delete(&path);
    }

    /// Gives an object of the namespace an annotation, or takes it away: `pods`, `services`.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn annotate(&self, resource: &str, name: &str, annotation: &str, value: Option<&str>) {
        self.api.merge(&self.path(resource, name), &annotated(annotation, value));
    }

    /// Gives the namespace an annotation, or takes it away.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn annotate_namespace(&self, annotation: &str, value: Option<&str>) {
        let path = format!("/api/v1/namespaces/{}", self.namespace);
        self.api.merge(&path, &annotated(annotation, value));
    }

    /// Makes a Service of pods, with what controllers say of it, and tells the nodes.
    ///
    /// # Panics
    /// When the server or a node refuses, or a pod has no port of a name.
    #[must_use]
    pub fn service(&self, spec: &ServiceSpec, nodes: &[&Node], pods: &[&Pod]) -> Service {
        let app = pods.first().map_or(spec.name.as_str(), |pod| pod.name());
        let made = self.api.create(
            &self.path_of("services"),
            &json!({
                "metadata": { "name": spec.name, "annotations": spec.annotations },
                "spec": {
                    "selector": { "app": app },
                    "ports": spec.ports,
                    "ipFamilyPolicy": "RequireDualStack",
                    "ipFamilies": ["IPv4", "IPv6"],
                },
            }),
        );
        let given = made["spec"]["clusterIPs"].as_array().cloned().unwrap_or_default();
        let addresses: Vec<IpAddr> =
            given.iter().map(|ip| ip.as_str().and_then(|ip| ip.parse().ok()).expect("an address")).collect();
        assert_eq!(addresses.len(), 2, "a ClusterIP of each family: {made}");
        for address in &addresses {
            let pods_of_family = pods.iter().map(|pod| {
                let mut own = pod.addresses().into_iter();
                (*pod, own.find(|own| own.is_ipv4() == address.is_ipv4()).expect("both families"))
            });
            let pods_of_family: Vec<_> = pods_of_family.collect();
            self.tell_slice(&made, &pods_of_family, address.is_ipv4());
            for port in &spec.ports {
                let backends = pods_of_family
                    .iter()
                    .map(|(pod, own)| Backend { address: *own, port: target(port, pod) })
                    .collect();
                let number = port["port"].as_u64().and_then(|port| u16::try_from(port).ok());
                let rule = ServiceRule { address: *address, port: number.expect("a port"), backends };
                nodes.iter().for_each(|node| node.add_service(rule.clone()));
            }
        }
        Service { name: spec.name.clone(), addresses }
    }

    /// What the controller of EndpointSlices says of a Service, in the version that is served.
    fn tell_slice(&self, service: &Value, pods: &[(&Pod, IpAddr)], is_v4: bool) {
        let Some((pod, _)) = pods.first() else { return };
        let group = self.api.get("/apis/discovery.k8s.io");
        let version = group["preferredVersion"]["groupVersion"].as_str().expect("a version");
        let name = service["metadata"]["name"].as_str().expect("a name");
        let ports = service["spec"]["ports"].as_array().cloned().unwrap_or_default();
        let ports: Vec<_> = ports
            .iter()
            .map(|port| json!({ "name": port["name"], "port": target(port, pod), "protocol": "TCP" }))
            .collect();
        let endpoints: Vec<_> = pods
            .iter()
            .map(|(pod, address)| {
                json!({
                    "addresses": [address.to_string()],
                    "conditions": { "ready": true },
                    "targetRef": {
                        "kind": "Pod",
                        "namespace": self.namespace,
                        "name": pod.name(),
                        "uid": pod.uid(),
                    },
                })
            })
            .collect();
        let family = if is_v4 { "IPv4" } else { "IPv6" };
        self.api.create(
            &format!("/apis/{version}/namespaces/{}/endpointslices", self.namespace),
            &json!({
                "metadata": {
                    "name": format!("{name}-{}", family.to_lowercase()),
                    "labels": { "kubernetes.io/service-name": name },
                },
                "addressType": family,
                "endpoints": endpoints,
                "ports": ports,
            }),
        );
    }
}

/// The port of a pod that a Service's port leads to.
fn target(port: &Value, pod: &Pod) -> u16 {
    match &port["targetPort"] {
        Value::String(name) => {
            let ports = &pod.spec().ports;
            let named = ports.iter().find(|port| port.name == *name);
            named.unwrap_or_else(|| panic!("{} has no port {name}: {ports:?}", pod.name())).port
        }
        number => number.as_u64().and_then(|port| u16::try_from(port).ok()).expect("a port"),
    }
}

fn annotated(annotation: &str, value: Option<&str>) -> Value {
    json!({ "metadata": { "annotations": { annotation: value } } })
}

fn pod_object(node: &Node, spec: &PodSpec) -> Value {
    let pairs = |pairs: &[(String, String)]| -> Map<String, Value> {
        pairs.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect()
    };
    let mut annotations = pairs(&spec.annotations);
    if let Some(hash) = &spec.config_hash {
        for name in ["kubernetes.io/config.hash", "kubernetes.io/config.mirror"] {
            annotations.insert(name.to_owned(), hash.as_str().into());
        }
    }
    let ports: Vec<_> = spec
        .ports
        .iter()
        .map(|port| match spec.host_network {
            false => json!({ "name": port.name, "containerPort": port.port }),
            true => json!({ "name": port.name, "containerPort": port.port, "hostPort": port.port }),
        })
        .collect();
    let containers: Vec<_> = spec
        .containers()
        .enumerate()
        .map(|(index, name)| {
            let ports = if index == 0 { ports.as_slice() } else { &[] };
            json!({ "name": name, "image": "none", "ports": ports, "resources": resources(spec.qos) })
        })
        .collect();
    json!({
        "metadata": { "name": spec.name, "labels": pairs(&spec.labels), "annotations": annotations },
        "spec": { "nodeName": node.name(), "hostNetwork": spec.host_network, "containers": containers },
    })
}

/// What makes a container of this class.
fn resources(qos: Qos) -> Value {
    let some = json!({ "cpu": "1m", "memory": "1Mi" });
    match qos {
        Qos::Guaranteed => json!({ "requests": some, "limits": some }),
        Qos::Burstable => json!({ "requests": some }),
        Qos::BestEffort => json!({}),
    }
}
