//! What is told of each object, in Linkerd's words.

use std::fmt;

/// What became of one object, or of a document that is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportLine {
    /// The object; `None` for a document without a kind.
    pub object: Option<Named>,
    /// What became of it.
    pub outcome: Outcome,
}

/// An object as it is told of: `deployment "web"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Its kind, as written.
    pub kind: String,
    /// Its name, or the beginning of the name that it will be given; empty where it has neither.
    pub name: String,
}

/// What became of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Its pods are enrolled.
    Injected,
    /// It has annotations for those that connect to it.
    Annotated,
    /// Its annotations are gone.
    Uninjected,
    /// It stays as it is.
    Skipped(Reason),
}

/// Why an object stays as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Not a kind of object that has annotations of ours.
    Kind,
    /// A document that says no kind.
    NoKind,
    /// Another API's kind of the same name.
    OtherApi {
        /// Its `apiVersion`.
        api_version: String,
    },
    /// A Service, and no list of opaque ports was given.
    NoOpaquePorts,
    /// A workload without the pods' template, such as a patch.
    NoTemplate {
        /// Where the template would be.
        path: &'static str,
    },
    /// Its pods use the node's network namespace.
    HostNetwork,
    /// It says `linkerd.io/inject: disabled`.
    Disabled,
    /// `uninject` found nothing to remove.
    NothingToRemove,
}

impl fmt::Display for ReportLine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(object) = &self.object else {
            return out.write_str("document missing \"kind\" field, skipped");
        };
        match &self.outcome {
            Outcome::Injected => write!(out, "{object} injected"),
            Outcome::Annotated => write!(out, "{object} annotated"),
            Outcome::Uninjected => write!(out, "{object} uninjected"),
            Outcome::Skipped(reason) => write!(out, "{object} skipped{reason}"),
        }
    }
}

impl fmt::Display for Named {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {:?}", self.kind.to_lowercase(), self.name)
    }
}

/// With the space and the brackets; empty where the kind says enough.
impl fmt::Display for Reason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind | Self::NoKind | Self::NothingToRemove => Ok(()),
            Self::OtherApi { api_version } => write!(out, " ({api_version} is another API)"),
            Self::NoOpaquePorts => out.write_str(" (a Service takes --opaque-ports only)"),
            Self::NoTemplate { path } => write!(out, " (no {path})"),
            Self::HostNetwork => out.write_str(" (hostNetwork: its pods use the node's network)"),
            Self::Disabled => out.write_str(" (linkerd.io/inject: disabled)"),
        }
    }
}
