//! A Kubernetes Event for an annotation that cannot be read, on the object that has it.
//!
//! Every node's agent sees the same Services and Namespaces. An Event's name is made of what it says, so that
//! the API server keeps one of them, whoever is first.

use std::{
    collections::{BTreeMap, HashMap},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Arc,
    time::{Duration, SystemTime},
};

use k8s_openapi::{
    api::{core::v1::ObjectReference, events::v1::Event},
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use kube::{
    Client,
    api::{Api, ObjectMeta, PostParams},
};
use tokio::{sync::watch, time::timeout};
use tracing::{debug, instrument::WithSubscriber as _, subscriber::NoSubscriber};

use super::{
    annotation::Annotation,
    index::{Desired, Kind, Problem, ProblemKey},
};

/// Why there is an Event, as `kubectl describe` shows it.
const REASON: &str = "InvalidAnnotation";
/// What was attempted.
const ACTION: &str = "ReadAnnotation";
/// Who tells.
const CONTROLLER: &str = "sluice";
/// The same is told no more often than this.
const AGAIN_AFTER: Duration = Duration::from_secs(600);
/// How long a post may take: the next one waits for it.
const POST_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of a message: the API allows 1024.
const NOTE_LEN: usize = 1000;
/// How many posts are remembered; beyond that the oldest is forgotten, and may be told again.
const REMEMBERED: usize = 4096;

/// What has been told, and when.
#[derive(Debug, Default)]
struct Posted {
    at: HashMap<(ProblemKey, Arc<str>), SystemTime>,
}

impl Posted {
    /// The problems that are to be told now; they count as told.
    fn due<'a>(
        &mut self,
        problems: &'a BTreeMap<ProblemKey, Problem>,
        now: SystemTime,
    ) -> Vec<(&'a ProblemKey, &'a Problem)> {
        let is_recent = |at: &SystemTime| now.duration_since(*at).is_ok_and(|since| since < AGAIN_AFTER);
        self.at.retain(|(key, message), at| {
            is_recent(at) || problems.get(key).is_some_and(|problem| problem.message == *message)
        });
        let mut due = Vec::new();
        for (key, problem) in problems {
            if self.at.len() >= REMEMBERED {
                break;
            }
            let told = (key.clone(), Arc::clone(&problem.message));
            // One that stays is told once: it is in the status all the time.
            if let std::collections::hash_map::Entry::Vacant(entry) = self.at.entry(told) {
                entry.insert(now);
                due.push((key, problem));
            }
        }
        due
    }
}

/// Posts an Event for each new problem, until nobody keeps the index.
pub(super) async fn post(client: Client, node_name: String, mut desired: watch::Receiver<Arc<Desired>>) {
    let mut posted = Posted::default();
    loop {
        let problems = Arc::clone(&desired.borrow_and_update().problems);
        for (key, problem) in posted.due(&problems, SystemTime::now()) {
            let event = event(key, problem, &node_name);
            let api: Api<Event> = Api::namespaced(client.clone(), namespace(key));
            let post = async { api.create(&PostParams::default(), &event).await };
            match timeout(POST_TIMEOUT, post.with_subscriber(NoSubscriber::default())).await {
                Ok(Ok(_event)) => {}
                // Another node's agent was first.
                Ok(Err(kube::Error::Api(status))) if status.code == 409 => {}
                Ok(Err(error)) => debug!("kubernetes: no Event for {}: {error}", key.object),
                Err(_elapsed) => debug!("kubernetes: no Event for {}: no answer", key.object),
            }
        }
        if desired.changed().await.is_err() {
            return;
        }
    }
}

/// Where the Event of an object is. One about a Namespace is in that: an API server wants the Event and what
/// it is about to name the same one, and 1.20 refuses such an Event in `default` (seen on 1.20.2).
fn namespace(key: &ProblemKey) -> &str {
    match key.kind {
        Kind::Namespace => &key.object.name,
        Kind::Service | Kind::Pod => &key.object.namespace,
    }
}

/// The Event.
fn event(key: &ProblemKey, problem: &Problem, node_name: &str) -> Event {
    let consequence = if problem.is_earlier_kept {
        "the last good value holds"
    } else {
        "it is as if the annotation were not there"
    };
    let mut note = format!("{}; {consequence}", problem.message);
    let mut end = note.len().min(NOTE_LEN);
    while !note.is_char_boundary(end) {
        end -= 1;
    }
    note.truncate(end);
    let ProblemKey { kind, object, annotation } = key;
    Event {
        metadata: ObjectMeta {
            name: Some(name(key, problem, *annotation)),
            namespace: Some(namespace(key).to_owned()),
            ..ObjectMeta::default()
        },
        action: Some(ACTION.to_owned()),
        event_time: Some(MicroTime(Timestamp::now())),
        note: Some(note),
        reason: Some(REASON.to_owned()),
        regarding: Some(ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some(kind.label().to_owned()),
            name: Some(object.name.to_string()),
            namespace: Some(namespace(key).to_owned()),
            uid: Some(problem.uid.to_string()),
            ..ObjectReference::default()
        }),
        reporting_controller: Some(CONTROLLER.to_owned()),
        reporting_instance: Some(format!("{CONTROLLER}-{node_name}")),
        type_: Some("Warning".to_owned()),
        ..Event::default()
    }
}

/// The Event's name: the same for the same object, annotation and message, on every node.
fn name(key: &ProblemKey, problem: &Problem, annotation: Annotation) -> String {
    // Its keys are fixed, which is what is wanted here.
    let mut hasher = DefaultHasher::new();
    (&problem.uid, annotation, &problem.message).hash(&mut hasher);
    // 253 characters at most, of which an object's name may have all.
    let object: String = key.object.name.chars().take(200).collect();
    format!("{object}.{CONTROLLER}-{:016x}", hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::objects::Key;

    fn problem(message: &str) -> (ProblemKey, Problem) {
        let key = ProblemKey {
            kind: Kind::Service,
            object: Key::new("shop", "db"),
            annotation: Annotation::OpaquePorts,
        };
        let since = SystemTime::UNIX_EPOCH;
        (key, Problem { uid: "u".into(), message: message.into(), is_earlier_kept: true, since })
    }

    #[test]
    fn the_same_is_told_once_and_again_only_after_ten_minutes() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let (one, other) = (BTreeMap::from([problem("one")]), BTreeMap::from([problem("other")]));
        let mut posted = Posted::default();
        let mut due = |problems: &BTreeMap<_, _>, seconds| posted.due(problems, at(seconds)).len();
        assert_eq!(due(&one, 0), 1);
        assert_eq!(due(&one, 5), 0);
        assert_eq!(due(&other, 6), 1);
        // Back and forth between two mistakes.
        assert_eq!(due(&one, 7), 0);
        assert_eq!(due(&BTreeMap::new(), 8), 0);
        assert_eq!(due(&one, 599), 0);
        // One that stays is not told anew.
        assert_eq!(due(&one, 5000), 0);
        assert_eq!(due(&BTreeMap::new(), 5001), 0);
        assert_eq!(due(&one, 5002), 1);
        assert_eq!(posted.at.len(), 1);
    }

    #[test]
    fn an_event_says_what_is_wrong_with_which_object() {
        let (key, problem) = problem("config.linkerd.io/opaque-ports: …");
        let event = event(&key, &problem, "node-1");
        let json = serde_json::to_value(&event).unwrap();
        assert_eq!(json["type"], "Warning");
        assert_eq!(json["reason"], "InvalidAnnotation");
        assert_eq!(json["note"], "config.linkerd.io/opaque-ports: …; the last good value holds");
        assert_eq!(json["metadata"]["namespace"], "shop");
        let regarding = &json["regarding"];
        assert_eq!(
            (&regarding["kind"], &regarding["name"], &regarding["uid"]),
            (&"Service".into(), &"db".into(), &"u".into())
        );
        assert_eq!(json["reportingInstance"], "sluice-node-1");
        assert!(json["eventTime"].is_string());
    }

    #[test]
    fn the_events_of_a_namespace_are_in_it_and_long_messages_are_cut() {
        let (mut key, problem) = problem(&"ä".repeat(2000));
        key.kind = Kind::Namespace;
        let event = event(&key, &problem, "node-1");
        assert_eq!(event.metadata.namespace.as_deref(), Some("db"));
        assert_eq!(event.regarding.unwrap().namespace.as_deref(), Some("db"));
        let len = event.note.unwrap().len();
        assert!((NOTE_LEN - 1..=NOTE_LEN).contains(&len), "{len}");
    }

    #[test]
    fn events_of_the_same_have_the_same_name_and_others_another() {
        let names = ["one", "one", "other"].map(|message| {
            let (key, problem) = problem(message);
            name(&key, &problem, key.annotation)
        });
        assert_eq!(names[0], names[1]);
        assert_ne!(names[0], names[2]);
        assert!(names[0].starts_with("db.sluice-"), "{}", names[0]);
    }
}
