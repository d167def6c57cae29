//! The objects of a document, and where in each the annotations for sluice stand.

use super::{
    error::{InjectError, Problem},
    report::{Named, Reason},
    source::Source,
    tree::{Content, Entry, Node},
};

/// What sluice can do with a kind of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// It makes pods of the template at this path.
    Workload(&'static [&'static str], &'static str),
    Pod,
    Namespace,
    Service,
    /// Other objects, in `items`.
    List,
}

const TEMPLATE: Kind = Kind::Workload(&["spec", "template"], "spec.template");
const CRON_TEMPLATE: Kind =
    Kind::Workload(&["spec", "jobTemplate", "spec", "template"], "spec.jobTemplate.spec.template");
/// The groups of the API in which a kind is ours; the core group has no name.
const KINDS: [(&str, &[&str], Kind); 11] = [
    ("CronJob", &["batch"], CRON_TEMPLATE),
    ("DaemonSet", &["apps", "extensions"], TEMPLATE),
    ("Deployment", &["apps", "extensions"], TEMPLATE),
    ("Job", &["batch"], TEMPLATE),
    ("List", &[""], Kind::List),
    ("Namespace", &[""], Kind::Namespace),
    ("Pod", &[""], Kind::Pod),
    ("ReplicaSet", &["apps", "extensions"], TEMPLATE),
    ("ReplicationController", &[""], TEMPLATE),
    ("Service", &[""], Kind::Service),
    ("StatefulSet", &["apps"], TEMPLATE),
];

/// An object, or a document that is none.
#[derive(Debug)]
pub(super) struct Object<'a, 't> {
    pub(super) source: Source<'a, 't>,
    /// `None` where the document says no kind.
    pub(super) named: Option<Named>,
    pub(super) place: Place<'a, 't>,
}

/// Where an object's annotations stand.
#[derive(Debug)]
pub(super) enum Place<'a, 't> {
    /// In the metadata of its pods' template, or its own, for its pods; also a Namespace's.
    Pods(Owner<'a, 't>),
    /// In its own metadata, for those that connect to it.
    Service(Owner<'a, 't>),
    Nowhere(Reason),
}

/// What has the metadata.
#[derive(Debug)]
pub(super) struct Owner<'a, 't> {
    pub(super) node: &'a Node<'t>,
    /// The entry whose value it is; `None` for an object.
    pub(super) entry: Option<&'a Entry<'t>>,
    /// The entry that says the kind, for an object.
    pub(super) kind: Option<&'a Entry<'t>>,
    /// Where its ports' names are, from here.
    pub(super) ports: Ports,
}

/// Where the names of an object's ports are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ports {
    /// In the containers of `spec`.
    Containers,
    /// In `spec.ports`.
    Service,
    /// A Namespace's are its pods' and Services'.
    Unknown,
}

/// The objects of a document, in their order; a list's are its items.
///
/// # Errors
/// A list's items that are not written where they are listed.
pub(super) fn objects<'a, 't>(source: Source<'a, 't>) -> Result<Vec<Object<'a, 't>>, InjectError> {
    let mut found = Vec::new();
    if !source.root.is_null() {
        collect(source, source.root, &mut found)?;
    }
    Ok(found)
}

fn collect<'a, 't>(
    source: Source<'a, 't>,
    node: &'a Node<'t>,
    found: &mut Vec<Object<'a, 't>>,
) -> Result<(), InjectError> {
    let Some(written_kind) = source.scalar(node, &["kind"]).filter(|kind| !kind.is_empty()) else {
        found.push(Object { source, named: None, place: Place::Nowhere(Reason::NoKind) });
        return Ok(());
    };
    let name = source
        .scalar(node, &["metadata", "name"])
        .or_else(|| source.scalar(node, &["metadata", "generateName"]))
        .unwrap_or_default();
    let named = Named { kind: written_kind.to_owned(), name: name.to_owned() };
    let api_version = source.scalar(node, &["apiVersion"]);
    let place = match kind(written_kind, api_version) {
        Err(reason) => Place::Nowhere(reason),
        Ok(Kind::List) => {
            source.refuse_shared(node, || "items".to_owned())?;
            let Some(items) = source.path(node, &["items"]) else { return Ok(()) };
            source.refuse_shared(items, || "items".to_owned())?;
            for item in items.sequence().unwrap_or_default() {
                if matches!(item.content, Content::Alias(_)) {
                    return Err(source.error(item, Problem::Alias { key: "items".to_owned() }));
                }
                collect(source, item, found)?;
            }
            return Ok(());
        }
        Ok(Kind::Pod) => Place::Pods(itself(source, node, Ports::Containers)?),
        Ok(Kind::Namespace) => Place::Pods(itself(source, node, Ports::Unknown)?),
        Ok(Kind::Service) => Place::Service(itself(source, node, Ports::Service)?),
        Ok(Kind::Workload(path, shown)) => match template(source, node, path)? {
            Some(owner) => Place::Pods(owner),
            None => Place::Nowhere(Reason::NoTemplate { path: shown }),
        },
    };
    found.push(Object { source, named: Some(named), place });
    Ok(())
}

/// What the kind is to sluice. Where the document says no version of the API, its kind alone counts.
fn kind(kind: &str, api_version: Option<&str>) -> Result<Kind, Reason> {
    let Some((_, groups, known)) = KINDS.iter().find(|(name, ..)| *name == kind) else {
        return Err(Reason::Kind);
    };
    let Some(api_version) = api_version else { return Ok(*known) };
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    if groups.contains(&group) {
        return Ok(*known);
    }
    // A list of another API is no list of objects that is known here.
    Err(Reason::OtherApi { api_version: api_version.to_owned() })
}

fn itself<'a, 't>(
    source: Source<'a, 't>,
    node: &'a Node<'t>,
    ports: Ports,
) -> Result<Owner<'a, 't>, InjectError> {
    source.refuse_shared(node, || "metadata".to_owned())?;
    let kind = node.mapping().and_then(|mapping| mapping.entry("kind"));
    Ok(Owner { node, entry: None, kind, ports })
}

/// The pods' template; `None` where the object has none.
fn template<'a, 't>(
    source: Source<'a, 't>,
    object: &'a Node<'t>,
    path: &[&'static str],
) -> Result<Option<Owner<'a, 't>>, InjectError> {
    if source.path(object, path).is_none_or(Node::is_null) {
        return Ok(None);
    }
    source.refuse_shared(object, || "spec".to_owned())?;
    let (mut node, mut entry) = (object, None);
    for key in path {
        let Some(mapping) = node.mapping() else { return Ok(None) };
        let Some(found) = source.own(node, mapping, key)? else { return Ok(None) };
        // To change what is in it, it must be a mapping of its own.
        if source.mapping_of(found)?.is_none() {
            return Ok(None);
        }
        (node, entry) = (&found.value, Some(found));
    }
    Ok(Some(Owner { node, entry, kind: None, ports: Ports::Containers }))
}

impl<'a, 't> Owner<'a, 't> {
    /// The value of an annotation as it counts, wherever it is written.
    pub(super) fn annotation(&self, source: &Source<'a, 't>, key: &str) -> Option<&'a Node<'t>> {
        source.path(self.node, &["metadata", "annotations", key])
    }

    /// Whether its pods are in the node's network namespace.
    pub(super) fn is_host_network(&self, source: &Source<'a, 't>) -> bool {
        // As kubectl reads YAML: its booleans are those of YAML 1.1.
        const TRUE: [&str; 3] = ["true", "yes", "on"];
        let set = source.path(self.node, &["spec", "hostNetwork"]);
        self.ports == Ports::Containers
            && set.is_some_and(|set| {
                let is_true = |text: &str| TRUE.iter().any(|word| text.eq_ignore_ascii_case(word));
                set.is_plain() && set.scalar().is_some_and(is_true)
            })
    }

    /// The names of its ports; `None` where they are not known here.
    pub(super) fn port_names(&self, source: &Source<'a, 't>) -> Option<Vec<&'a str>> {
        let lists: Vec<_> = match self.ports {
            Ports::Unknown => return None,
            Ports::Service => source.path(self.node, &["spec", "ports"]).into_iter().collect(),
            Ports::Containers => ["containers", "initContainers"]
                .into_iter()
                .filter_map(|key| source.path(self.node, &["spec", key])?.sequence())
                .flatten()
                .filter_map(|container| source.path(container, &["ports"]))
                .collect(),
        };
        let ports = lists.into_iter().filter_map(Node::sequence).flatten();
        Some(ports.filter_map(|port| source.scalar(port, &["name"])).collect())
    }
}
