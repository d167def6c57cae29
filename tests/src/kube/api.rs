//! Kubernetes' API as the tests use it: JSON over plain HTTP.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::http;

/// An API server.
#[derive(Clone, Debug)]
pub struct Api {
    addr: SocketAddr,
    kubeconfig: PathBuf,
}

/// What it answers.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP's.
    pub status: u16,
    /// Null where that is no JSON.
    pub body: Value,
}

impl Api {
    /// The one that `cargo xtask k8s-test` runs.
    ///
    /// # Panics
    /// When the address is none.
    #[must_use]
    pub fn from_env() -> Option<Self> {
        let addr = std::env::var("SLUICE_TEST_KUBE_API").ok()?;
        let addr = addr.parse().unwrap_or_else(|error| panic!("SLUICE_TEST_KUBE_API: \"{addr}\": {error}"));
        Some(Self { addr, kubeconfig: std::env::var_os("SLUICE_TEST_KUBECONFIG")?.into() })
    }

    /// One that answers there, and a file that tells clients of it.
    #[must_use]
    pub fn at(addr: SocketAddr, kubeconfig: &Path) -> Self {
        Self { addr, kubeconfig: kubeconfig.to_owned() }
    }

    /// What clients are told to find it by.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Any request: `POST /api/v1/nodes`, say.
    ///
    /// # Panics
    /// When there is no answer.
    pub fn request(&self, what: &str, content_type: &str, body: &Value) -> Answer {
        let (fields, body) = match body {
            Value::Null => (String::new(), String::new()),
            body => (format!("Content-Type: {content_type}\r\n"), body.to_string()),
        };
        let (status, body) = http::request(self.addr, what, &fields, &body)
            .unwrap_or_else(|error| panic!("{what} at {}: {error}", self.addr));
        Answer { status, body: serde_json::from_str(&body).unwrap_or_default() }
    }

    /// An object, or a list.
    ///
    /// # Panics
    /// When it is not there.
    #[must_use]
    pub fn get(&self, path: &str) -> Value {
        self.expect(&format!("GET {path}"), "", &Value::Null)
    }

    /// Makes an object; gives it as the server has it.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn create(&self, path: &str, object: &Value) -> Value {
        self.expect(&format!("POST {path}"), "application/json", object)
    }

    /// Changes some of an object; null removes (RFC 7386).
    ///
    /// # Panics
    /// When the server refuses.
    pub fn merge(&self, path: &str, change: &Value) -> Value {
        self.expect(&format!("PATCH {path}"), "application/merge-patch+json", change)
    }

    /// Removes an object at once.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn delete(&self, path: &str) {
        self.expect(&format!("DELETE {path}?gracePeriodSeconds=0"), "", &Value::Null);
    }

    fn expect(&self, what: &str, content_type: &str, body: &Value) -> Value {
        let answer = self.request(what, content_type, body);
        assert!(
            (200..300).contains(&answer.status),
            "{what}: {} {}\nwith {body}",
            answer.status,
            answer.body
        );
        answer.body
    }
}
