use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;

use super::*;
use crate::wait;

fn pod(name: &str, node: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "namespace": "default", "name": name },
        "spec": { "nodeName": node },
    })
}

/// The lines of a watch, without the framing; `None` is a broken end.
struct Watching(BufReader<TcpStream>);

impl Watching {
    fn start(stand_in: &StandIn, query: &str) -> Self {
        let mut stream = TcpStream::connect(stand_in.addr()).unwrap();
        stream.set_read_timeout(Some(wait::patience())).unwrap();
        write!(stream, "GET /api/v1/pods?watch=1&{query} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            reader.read_line(&mut line).unwrap();
        }
        Self(reader)
    }

    /// The next line; empty at a clean end.
    fn line(&mut self) -> Option<String> {
        let mut read = || -> Option<String> {
            let mut line = String::new();
            self.0.read_line(&mut line).ok()?;
            line.ends_with('\n').then_some(line)
        };
        if read()?.trim() == "0" {
            return Some(String::new());
        }
        let line = read()?;
        read()?;
        Some(line)
    }

    /// Type, name and version of the next event.
    fn event(&mut self) -> (String, String, String) {
        let event: Value = serde_json::from_str(&self.line().unwrap()).unwrap();
        let metadata = &event["object"]["metadata"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (text(&event["type"]), text(&metadata["name"]), text(&metadata["resourceVersion"]))
    }
}

fn version(stand_in: &StandIn) -> String {
    let list = stand_in.api().get("/api/v1/pods?limit=1");
    list["metadata"]["resourceVersion"].as_str().unwrap().to_owned()
}

#[test]
fn a_list_and_the_watch_after_it_tell_everything_once() {
    let stand_in = StandIn::start();
    stand_in.set(pod("a", "one"));
    stand_in.set(pod("elsewhere", "two"));
    let list = stand_in.api().get("/api/v1/pods?fieldSelector=spec.nodeName%3Done");
    assert_eq!(list["items"].as_array().unwrap().len(), 1, "{list}");
    let from = list["metadata"]["resourceVersion"].as_str().unwrap();
    let query = format!("fieldSelector=spec.nodeName%3Done&resourceVersion={from}&allowWatchBookmarks=true");
    let mut watching = Watching::start(&stand_in, &query);
    stand_in.set(pod("b", "one"));
    stand_in.set(pod("c", "two"));
    stand_in.set(pod("a", "one"));
    assert!(stand_in.delete("Pod", "default", "b"));
    let told: Vec<_> = (0..3).map(|_| watching.event()).map(|(kind, name, _)| (kind, name)).collect();
    let told: Vec<_> = told.iter().map(|(kind, name)| (kind.as_str(), name.as_str())).collect();
    assert_eq!(told, [("ADDED", "b"), ("MODIFIED", "a"), ("DELETED", "b")]);
    stand_in.bookmark();
    assert_eq!(watching.event(), ("BOOKMARK".into(), String::new(), version(&stand_in)));
}

#[test]
fn pages_join_to_the_whole_list_and_expire() {
    let stand_in = StandIn::start();
    (0..5).for_each(|number| stand_in.set(pod(&format!("pod-{number}"), "one")));
    let page = |token: &str| stand_in.api().get(&format!("/api/v1/pods?limit=2&continue={token}"));
    let (mut names, mut token) = (Vec::new(), String::new());
    loop {
        let page = page(&token);
        names.extend(page["items"].as_array().unwrap().iter().map(|pod| pod["metadata"]["name"].clone()));
        match page["metadata"]["continue"].as_str() {
            Some(next) => token = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(names, ["pod-0", "pod-1", "pod-2", "pod-3", "pod-4"]);
    let token = page("")["metadata"]["continue"].as_str().unwrap().to_owned();
    stand_in.compact();
    let request = format!("GET /api/v1/pods?limit=2&continue={token}");
    assert_eq!(stand_in.api().request(&request, "", &Value::Null).status, 410);
}

#[test]
fn a_watch_ends_in_every_way() {
    let stand_in = StandIn::start();
    let watch = |end| {
        let mut watching = Watching::start(&stand_in, "resourceVersion=1");
        wait::eventually("the watch", || (stand_in.open_watches() == 1).then_some(()));
        stand_in.end_watches(end);
        let line = watching.line();
        wait::eventually("its end", || (stand_in.open_watches() == 0).then_some(()));
        line
    };
    assert_eq!(watch(WatchEnd::Cleanly).as_deref(), Some(""));
    assert_eq!(watch(WatchEnd::MidLine), None);
    let gone: Value = serde_json::from_str(&watch(WatchEnd::Gone).unwrap()).unwrap();
    assert_eq!((&gone["type"], &gone["object"]["code"]), (&json!("ERROR"), &json!(410)));
    stand_in.compact();
    let late = Watching::start(&stand_in, "resourceVersion=1").line().unwrap();
    assert!(late.contains("\"code\":410"), "{late}");
}

#[test]
fn requests_fail_as_planned_and_then_no_more() {
    let stand_in = StandIn::start();
    let list = || stand_in.api().request("GET /api/v1/pods", "", &Value::Null).status;
    stand_in.fail_times(On::List, Fault::TooManyRequests { retry_after: 1 }, 2);
    stand_in.fail_with(On::List, Fault::Gone);
    stand_in.fail_with(On::List, Fault::Overloaded { retry_after: 1 });
    stand_in.fail_with(On::Watch, Fault::ServerError);
    assert_eq!([list(), list(), list(), list(), list()], [429, 429, 410, 429, 200]);
    assert_eq!(stand_in.requests(), ["GET /api/v1/pods"; 5]);
    stand_in.fail_always(On::Any, Fault::Forbidden);
    stand_in.heal();
    assert_eq!(list(), 200);
    stand_in.fail_with(On::List, Fault::Half);
    stand_in.set(pod("a", "one"));
    assert!(stand_in.api().request("GET /api/v1/pods", "", &Value::Null).body.is_null(), "half a document");
    stand_in.fail_with(On::List, Fault::Slow(Duration::from_millis(40)));
    assert_eq!(list(), 200);
    stand_in.fail_with(On::List, Fault::Disconnect);
    assert!(http::get(stand_in.addr(), "/api/v1/pods").is_err());
}

#[test]
fn away_it_refuses_and_back_it_has_everything() {
    let mut stand_in = StandIn::start();
    stand_in.set(pod("a", "one"));
    let mut watching = Watching::start(&stand_in, "resourceVersion=1");
    assert_eq!(watching.event().1, "a");
    stand_in.go_away();
    assert_eq!(watching.line(), None);
    let refused = TcpStream::connect(stand_in.addr()).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    stand_in.set(pod("b", "one"));
    stand_in.come_back();
    assert_eq!(stand_in.api().get("/api/v1/pods")["items"].as_array().unwrap().len(), 2);
}

#[test]
fn what_clients_make_is_there() {
    let stand_in = StandIn::start();
    let api = stand_in.api();
    let namespaced = "/api/v1/namespaces/default/pods";
    let made = api.create(namespaced, &json!({ "metadata": { "name": "a", "annotations": { "x": "1" } } }));
    assert!(made["metadata"]["uid"].is_string(), "{made}");
    assert_eq!(api.request(&format!("POST {namespaced}"), "", &made).status, 409);
    let changed = json!({ "metadata": { "annotations": { "x": null, "y": "2" } } });
    let merged = api.merge(&format!("{namespaced}/a"), &changed);
    assert_eq!(merged["metadata"]["annotations"], json!({ "y": "2" }));
    assert_eq!(merged["metadata"]["uid"], made["metadata"]["uid"]);
    api.merge(&format!("{namespaced}/a/status"), &json!({ "status": { "podIP": "10.0.0.1" } }));
    assert_eq!(api.get(&format!("{namespaced}/a"))["status"]["podIP"], "10.0.0.1");
    api.delete(&format!("{namespaced}/a"));
    assert_eq!(api.request(&format!("GET {namespaced}/a"), "", &Value::Null).status, 404);
}

#[test]
fn endpoint_slices_are_served_in_the_versions_that_the_test_wants() {
    let stand_in = StandIn::start();
    stand_in.serve_endpoint_slices(&["v1beta1"]);
    let api = stand_in.api();
    let status = |version: &str| {
        api.request(&format!("GET /apis/discovery.k8s.io/{version}/endpointslices"), "", &Value::Null).status
    };
    assert_eq!([status("v1"), status("v1beta1")], [404, 200]);
    let group = api.get("/apis/discovery.k8s.io");
    assert_eq!(group["preferredVersion"]["version"], "v1beta1");
    stand_in.serve_endpoint_slices(&[]);
    assert_eq!(api.request("GET /apis/discovery.k8s.io", "", &Value::Null).status, 404);
}

#[test]
fn pods_churn_and_every_change_is_told() {
    let stand_in = StandIn::start();
    let churn = stand_in.churn("node", 250, 500);
    let mut watching = Watching::start(&stand_in, "resourceVersion=1");
    for _ in 0..350 {
        watching.event();
    }
    let changes = churn.stop();
    assert!(changes >= 100, "{changes}");
    assert_eq!(stand_in.api().get("/api/v1/pods")["items"].as_array().unwrap().len(), 250);
}
