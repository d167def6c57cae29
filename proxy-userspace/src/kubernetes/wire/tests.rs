//! What is read of the API's objects, as they are written in JSON.

use serde_json::{Value, from_value, json};

use super::*;

/// An object out of its JSON.
fn read<W: Wire>(json: Value) -> W::Object {
    from_value::<W>(json).unwrap().into_object()
}

fn ips(written: &[&str]) -> Vec<IpAddr> {
    written.iter().map(|ip| ip.parse().unwrap()).collect()
}

#[test]
fn a_pod_is_read_with_its_containers_ports_and_addresses() {
    let pod = read::<Pod>(json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "web-0",
            "namespace": "shop",
            "uid": "u-1",
            "resourceVersion": "42",
            "labels": { "app": "web" },
            "annotations": { "linkerd.io/inject": "enabled", "example.com/other": "x" },
            "managedFields": [{ "manager": "kubectl", "fieldsV1": { "f:metadata": {} } }],
        },
        "spec": {
            "nodeName": "node-1",
            "initContainers": [{ "name": "sidecar", "ports": [{ "name": "admin", "containerPort": 9990 }] }],
            "containers": [
                { "name": "web", "ports": [
                    { "name": "http", "containerPort": 8080, "protocol": "TCP" },
                    { "name": "dns", "containerPort": 53, "protocol": "UDP" },
                    { "containerPort": 1234 },
                ] },
                { "name": "other", "ports": [{ "name": "http", "containerPort": 8081 }] },
                { "name": "none", "ports": null },
            ],
        },
        "status": {
            "phase": "Running",
            "qosClass": "Burstable",
            "podIP": "10.0.0.1",
            "podIPs": [{ "ip": "10.0.0.1" }, { "ip": "fd00::1" }],
            "initContainerStatuses": [{ "name": "sidecar", "containerID": "containerd://aa" }],
            "containerStatuses": [{ "name": "web", "containerID": "containerd://bb" }, { "name": "other" }],
        },
    }));
    assert_eq!(pod.meta.key, Key::new("shop", "web-0"));
    assert_eq!((&*pod.meta.uid, &*pod.cgroup_uid, pod.meta.version), ("u-1", "u-1", Some(42)));
    assert_eq!(pod.meta.annotations.written(Annotation::Inject), Some("enabled"));
    assert_eq!(pod.meta.annotations.written(Annotation::OpaquePorts), None);
    assert_eq!((&*pod.node, pod.is_host_network, pod.is_finished), ("node-1", false, false));
    assert_eq!((pod.ips, pod.qos), (ips(&["10.0.0.1", "fd00::1"]), Some(QosClass::Burstable)));
    assert_eq!(pod.containers, ["containerd://aa".into(), "containerd://bb".into()]);
    assert_eq!(pod.port_names, [("http", 8080), ("http", 8081), ("admin", 9990)].into_iter().collect());
    assert_eq!(pod.labels.get("app").map(|value| &**value), Some("web"));
}

#[test]
fn a_pod_that_has_hardly_begun_is_read_as_well() {
    for status in
        [json!(null), json!({}), json!({ "phase": "Pending", "podIPs": null, "containerStatuses": null })]
    {
        let pod = read::<Pod>(json!({ "metadata": { "name": "web-0" }, "spec": {}, "status": status }));
        assert!(pod.ips.is_empty() && pod.containers.is_empty() && pod.qos.is_none() && !pod.is_finished);
    }
    for phase in ["Succeeded", "Failed"] {
        assert!(read::<Pod>(json!({ "metadata": {}, "status": { "phase": phase } })).is_finished);
    }
    let pod = read::<Pod>(json!({ "metadata": {}, "spec": { "hostNetwork": true } }));
    assert!(pod.is_host_network);
}

#[test]
fn a_static_pods_cgroup_has_the_uid_that_its_mirror_tells() {
    let of = |annotations: Value| {
        let pod = json!({ "metadata": { "uid": "mirrors", "annotations": annotations } });
        read::<Pod>(pod).cgroup_uid.to_string()
    };
    assert_eq!(
        of(json!({ "kubernetes.io/config.hash": "statics", "kubernetes.io/config.mirror": "statics" })),
        "statics"
    );
    assert_eq!(of(json!({ "kubernetes.io/config.hash": "others" })), "mirrors");
    assert_eq!(of(json!(null)), "mirrors");
}

#[test]
fn a_service_is_read_with_its_tcp_ports_and_where_they_lead() {
    let service = read::<Service>(json!({
        "metadata": {
            "name": "db",
            "namespace": "shop",
            "annotations": { "config.linkerd.io/opaque-ports": "sql", "linkerd.io/inject": "enabled" },
        },
        "spec": {
            "type": "ClusterIP",
            "clusterIP": "10.96.0.1",
            "clusterIPs": ["10.96.0.1", "fd00::1"],
            "selector": { "app": "db" },
            "ports": [
                { "name": "sql", "port": 4406, "targetPort": "mysql", "protocol": "TCP" },
                { "name": "web", "port": 80, "targetPort": 8080, "appProtocol": "http" },
                { "name": "dns", "port": 53, "protocol": "UDP" },
                { "port": 9000, "appProtocol": "linkerd.io/opaque" },
                { "port": 0 },
            ],
        },
    }));
    assert_eq!(service.cluster_ips, ips(&["10.96.0.1", "fd00::1"]));
    // Services are not enrolled: what else they have says nothing.
    assert_eq!(service.meta.annotations.written(Annotation::OpaquePorts), Some("sql"));
    assert_eq!(service.meta.annotations.written(Annotation::Inject), None);
    let port = |port, name: &str, target, protocol| ServicePort { port, name: name.into(), target, protocol };
    assert_eq!(
        service.ports,
        [
            port(4406, "sql", TargetPort::Name("mysql".into()), AppProtocol::Unsaid),
            port(80, "web", TargetPort::Number(8080), AppProtocol::Http),
            port(9000, "", TargetPort::Number(9000), AppProtocol::Opaque),
        ]
    );
}

#[test]
fn a_headless_service_has_no_address_and_a_name_for_something_else_has_nothing() {
    let headless = read::<Service>(json!({
        "metadata": {},
        "spec": { "clusterIP": "None", "clusterIPs": ["None"], "ports": [{ "port": 80 }] },
    }));
    assert_eq!((headless.cluster_ips.len(), headless.ports.len()), (0, 1));
    let external = read::<Service>(json!({
        "metadata": {},
        "spec": { "type": "ExternalName", "externalName": "example.com", "ports": [{ "port": 80 }] },
    }));
    assert_eq!((external.cluster_ips.len(), external.ports.len()), (0, 0));
}

#[test]
fn a_namespace_is_in_itself() {
    let namespace = read::<Namespace>(json!({ "metadata": { "name": "shop", "resourceVersion": "x" } }));
    assert_eq!(namespace.meta.key, Key::new("shop", "shop"));
    assert_eq!(namespace.meta.version, None);
}

#[test]
fn slices_and_the_endpoints_of_old_say_the_same() {
    let slice = read::<EndpointSlice>(json!({
        "metadata": { "name": "db-abc", "namespace": "shop", "labels": { "kubernetes.io/service-name": "db" } },
        "addressType": "IPv4",
        "endpoints": [
            { "addresses": ["10.0.0.1"], "conditions": { "ready": true } },
            { "addresses": ["10.0.0.2"], "conditions": { "ready": false } },
        ],
        "ports": [
            { "name": "sql", "port": 3306, "protocol": "TCP" },
            { "name": "any", "port": null },
            { "name": "dns", "port": 53, "protocol": "UDP" },
        ],
    }));
    let old = read::<Endpoints>(json!({
        "metadata": { "name": "db", "namespace": "shop" },
        "subsets": [{
            "addresses": [{ "ip": "10.0.0.1" }],
            "notReadyAddresses": [{ "ip": "10.0.0.2" }],
            "ports": [{ "name": "sql", "port": 3306, "protocol": "TCP" }],
        }],
    }));
    let group =
        EndpointGroup { addresses: ips(&["10.0.0.1", "10.0.0.2"]), ports: vec![("sql".into(), 3306)] };
    for endpoints in [slice, old] {
        assert_eq!(endpoints.service.as_deref(), Some("db"));
        assert_eq!(endpoints.groups, std::slice::from_ref(&group));
    }
}

#[test]
fn endpoints_that_are_names_or_nothing_are_left_out() {
    let slice = read::<EndpointSlice>(json!({
        "metadata": { "name": "x" },
        "addressType": "FQDN",
        "endpoints": [{ "addresses": ["example.com"] }],
        "ports": null,
    }));
    assert_eq!((slice.service, slice.groups), (None, vec![EndpointGroup::default()]));
    let old = read::<Endpoints>(json!({ "metadata": { "name": "x" }, "subsets": null }));
    assert!(old.groups.is_empty());
}
