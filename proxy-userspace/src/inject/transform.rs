//! A text in, the changed text and what is told of it out.

use super::{
    DISABLED, ENABLED, INJECT, OPAQUE_PORTS, SAME_NODE_BYPASS, SKIP_INBOUND_PORTS, SKIP_OUTBOUND_PORTS,
    SKIP_PORTS, SKIP_SUBNETS,
    annotate::{self, Annotation},
    error::{InjectError, Problem},
    object::{Object, Owner, Place, objects},
    overrides::Overrides,
    report::{Outcome, Reason, ReportLine},
    source::Source,
    strip,
    text::Edits,
    tree::{self, Document},
    verify::{self, Change},
};
use crate::policy::PortSpec;

/// A changed text, and what became of each object in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transformed {
    /// The text; where nothing had to be changed, byte by byte as it was.
    pub text: String,
    /// A line for each object, in their order.
    pub report: Vec<ReportLine>,
}

/// Annotates what is in a text of YAML or JSON so that sluice enrols it.
///
/// # Errors
/// The text is neither, or an object cannot be annotated. Then nothing is.
pub fn inject(text: &str, overrides: &Overrides) -> Result<Transformed, InjectError> {
    transform(text, |object, edits| {
        let source = &object.source;
        let (owner, wanted, outcome) = match &object.place {
            Place::Nowhere(reason) => return Ok((Outcome::Skipped(reason.clone()), None)),
            Place::Service(owner) => (owner, for_service(overrides), Outcome::Annotated),
            Place::Pods(owner) => (owner, for_pods(overrides), Outcome::Injected),
        };
        let reason = if is_disabled(source, owner) {
            Some(Reason::Disabled)
        } else if owner.is_host_network(source) {
            Some(Reason::HostNetwork)
        } else {
            wanted.is_empty().then_some(Reason::NoOpaquePorts)
        };
        if let Some(reason) = reason {
            return Ok((Outcome::Skipped(reason), None));
        }
        check_names(object, owner, overrides)?;
        annotate::set(source, owner, &wanted, edits)?;
        Ok((outcome, Some(Change { start: owner.node.span.start, wanted })))
    })
}

/// Removes the annotations that [`inject`] writes, whoever wrote them.
///
/// # Errors
/// The text is neither YAML nor JSON, or an object's annotations cannot be removed. Then nothing is.
pub fn uninject(text: &str) -> Result<Transformed, InjectError> {
    transform(text, |object, edits| {
        let owner = match &object.place {
            Place::Nowhere(reason) => return Ok((Outcome::Skipped(reason.clone()), None)),
            Place::Service(owner) | Place::Pods(owner) => owner,
        };
        if is_disabled(&object.source, owner) {
            return Ok((Outcome::Skipped(Reason::Disabled), None));
        }
        if !strip::unset(&object.source, owner, edits)? {
            return Ok((Outcome::Skipped(Reason::NothingToRemove), None));
        }
        Ok((Outcome::Uninjected, Some(Change { start: owner.node.span.start, wanted: Vec::new() })))
    })
}

/// What one object's changes are, and what is told.
type Decided = (Outcome, Option<Change>);

fn transform(
    text: &str,
    decide: impl Fn(&Object<'_, '_>, &mut Edits) -> Result<Decided, InjectError>,
) -> Result<Transformed, InjectError> {
    let documents = tree::parse(text)?;
    let mut report = Vec::new();
    let mut changes = Vec::new();
    for (at, document) in documents.iter().enumerate() {
        let source = Source { text, number: at + 1, root: &document.root };
        for object in objects(source)? {
            let mut edits = Edits::default();
            let (outcome, change) = decide(&object, &mut edits)?;
            report.push(ReportLine { object: object.named, outcome });
            if let Some(change) = change.filter(|_| !edits.is_empty()) {
                changes.push((change, edits, source.number));
            }
        }
    }
    if changes.is_empty() {
        return Ok(Transformed { text: text.to_owned(), report });
    }
    if let Some(text) = applied(text, &documents, &changes) {
        return Ok(Transformed { text, report });
    }
    // Whose is it? That of one alone, or else nobody's in particular.
    let is_bad = |change: &&Pending| applied(text, &documents, std::slice::from_ref(*change)).is_none();
    let (change, _, number) = changes.iter().find(is_bad).unwrap_or(&changes[0]);
    let problem = Problem::Uneditable { key: "metadata".to_owned() };
    Err(InjectError::at(text, *number, change.start, problem))
}

/// A change, how it is done, and in which document.
type Pending = (Change, Edits, usize);

/// The changed text, if it says what it should.
fn applied(text: &str, documents: &[Document<'_>], changes: &[Pending]) -> Option<String> {
    let mut all = Edits::default();
    changes.iter().for_each(|(_, edits, _)| all.extend(edits));
    let changed = all.apply(text)?;
    let wanted: Vec<_> = changes.iter().map(|(change, ..)| change.clone()).collect();
    let after = tree::parse(&changed).ok()?;
    verify::is_as_wanted(documents, &changed, &after, &wanted).then_some(changed)
}

fn is_disabled<'a>(source: &Source<'a, '_>, owner: &Owner<'a, '_>) -> bool {
    source.scalar(owner.node, &["metadata", "annotations", INJECT]) == Some(DISABLED)
}

/// In the order in which they are written.
fn for_pods(overrides: &Overrides) -> Vec<Annotation> {
    let mut annotations = vec![Annotation { key: INJECT, value: ENABLED.to_owned() }];
    let lists = port_lists(overrides).into_iter().map(|(key, _, list)| (key, list.map(ToString::to_string)));
    let subnets = overrides.skip_subnets.as_ref().map(ToString::to_string);
    let bypass = overrides.same_node_bypass.map(|mode| mode.to_string());
    for (key, value) in lists.chain([(SKIP_SUBNETS, subnets), (SAME_NODE_BYPASS, bypass)]) {
        annotations.extend(value.map(|value| Annotation { key, value }));
    }
    annotations
}

fn for_service(overrides: &Overrides) -> Vec<Annotation> {
    let annotation = |ports: &PortSpec| Annotation { key: OPAQUE_PORTS, value: ports.to_string() };
    overrides.opaque_ports.iter().map(annotation).collect()
}

/// Annotations that are lists of ports, with the flags that give them.
fn port_lists(overrides: &Overrides) -> [(&'static str, &'static str, Option<&PortSpec>); 4] {
    [
        (OPAQUE_PORTS, "opaque-ports", overrides.opaque_ports.as_ref()),
        (SKIP_INBOUND_PORTS, "skip-inbound-ports", overrides.skip_inbound_ports.as_ref()),
        (SKIP_OUTBOUND_PORTS, "skip-outbound-ports", overrides.skip_outbound_ports.as_ref()),
        (SKIP_PORTS, "skip-ports", overrides.skip_ports.as_ref()),
    ]
}

/// # Errors
/// A name among the ports that the object gives none of its ports.
fn check_names(
    object: &Object<'_, '_>,
    owner: &Owner<'_, '_>,
    overrides: &Overrides,
) -> Result<(), InjectError> {
    let Some(known) = owner.port_names(&object.source) else { return Ok(()) };
    let is_service = matches!(object.place, Place::Service(_));
    for (key, flag, list) in port_lists(overrides) {
        if is_service && key != OPAQUE_PORTS {
            continue;
        }
        let unknown = list.into_iter().flat_map(PortSpec::names).find(|name| !known.contains(name));
        if let (Some(name), Some(named)) = (unknown, &object.named) {
            let known = known.iter().map(ToString::to_string).collect();
            let problem = Problem::UnknownPort { flag, entry: name.to_owned(), object: named.clone(), known };
            return Err(object.source.error(owner.node, problem));
        }
    }
    Ok(())
}
