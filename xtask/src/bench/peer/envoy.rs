//! Envoy as a proxy of TCP and of HTTP, with the defaults that it comes with.

use serde_json::{Value, json};

use super::Route;
use crate::bench::task::Protocol;

/// One thread for connections (Envoy has a main thread besides, which is counted as well), and
/// nothing shared with another Envoy.
pub(super) const ARGUMENTS: [&str; 5] =
    ["--concurrency", "1", "--disable-hot-restart", "--log-level", "error"];

/// Its configuration: a listener and a cluster for each route.
pub(super) fn config(routes: &[Route]) -> String {
    let each = |part: fn(String, &Route) -> Value| -> Value {
        routes.iter().enumerate().map(|(number, route)| part(format!("r{number}"), route)).collect()
    };
    let resources = json!({ "listeners": each(listener), "clusters": each(cluster) });
    json!({ "static_resources": resources }).to_string()
}

fn listener(name: String, route: &Route) -> Value {
    let filter = match route.protocol {
        Protocol::Tcp => json!({
            "name": "tcp",
            "typed_config": typed("filters.network.tcp_proxy.v3.TcpProxy", &json!({
                "stat_prefix": name, "cluster": name,
            })),
        }),
        Protocol::Http1 | Protocol::Http2 => json!({
            "name": "http",
            "typed_config": typed("filters.network.http_connection_manager.v3.HttpConnectionManager", &json!({
                "stat_prefix": name,
                "codec_type": if route.protocol == Protocol::Http1 { "HTTP1" } else { "HTTP2" },
                "route_config": { "virtual_hosts": [{
                    "name": name, "domains": ["*"],
                    "routes": [{ "match": { "prefix": "/" }, "route": { "cluster": name } }],
                }] },
                "http_filters": [
                    { "name": "router", "typed_config": typed("filters.http.router.v3.Router", &json!({})) },
                ],
            })),
        }),
    };
    json!({ "name": name, "address": address(route.listen), "filter_chains": [{ "filters": [filter] }] })
}

fn cluster(name: String, route: &Route) -> Value {
    let endpoint = json!({ "endpoint": { "address": address(route.server) } });
    let mut cluster = json!({
        "name": name,
        "load_assignment": { "cluster_name": name, "endpoints": [{ "lb_endpoints": [endpoint] }] },
    });
    if route.protocol == Protocol::Tcp {
        // Else it refuses what is beyond 1,024 connections.
        cluster["circuit_breakers"] =
            json!({ "thresholds": [{ "max_connections": 20_000, "max_pending_requests": 20_000 }] });
    }
    if route.protocol == Protocol::Http2 {
        cluster["typed_extension_protocol_options"] = json!({
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions":
                typed("upstreams.http.v3.HttpProtocolOptions", &json!({
                    "explicit_http_config": { "http2_protocol_options": {} },
                })),
        });
    }
    cluster
}

fn address(address: std::net::SocketAddr) -> Value {
    json!({ "socket_address": { "address": address.ip(), "port_value": address.port() } })
}

/// One of Envoy's extensions: the type stands among the fields.
fn typed(kind: &str, fields: &Value) -> Value {
    let mut value = json!({ "@type": format!("type.googleapis.com/envoy.extensions.{kind}") });
    for (name, field) in fields.as_object().into_iter().flatten() {
        value[name] = field.clone();
    }
    value
}
