//! A destination as people name it: an address, or a Service or a pod.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use anyhow::{anyhow, bail};

use crate::agent::{PodView, PodsView, ServicePortView, ServiceView};

/// How many names an error tells.
const NAMES: usize = 10;

/// Where a connection would go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Destination {
    Address(SocketAddr),
    Named(Named),
}

/// A Service's or a pod's port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    /// Whichever has the name, where it is not said.
    namespace: Option<String>,
    name: String,
    port: Port,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Port {
    Number(u16),
    Name(String),
}

/// An address that a name stands for, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Resolved {
    pub(super) address: SocketAddr,
    pub(super) owner: String,
}

impl FromStr for Destination {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            if address.port() == 0 {
                return Err(no_port_zero(text));
            }
            return Ok(Self::Address(address));
        }
        Named::parse(text)?.map(Self::Named).ok_or_else(|| {
            format!(
                "expected an IP address and a port, such as 10.0.0.5:3306 or [fd00::1]:80, or a Service or a \
                 pod and a port, such as shop/db:3306 or shop/db:mysql, got '{text}'"
            )
        })
    }
}

fn no_port_zero(text: &str) -> String {
    format!("expected a port (1-65535), got '{text}': port 0 cannot be connected to")
}

impl Named {
    /// Reads `[NAMESPACE/]NAME:PORT`; `None` where it is nothing of the sort.
    fn parse(text: &str) -> Result<Option<Self>, String> {
        let Some((of, port)) = text.rsplit_once(':') else { return Ok(None) };
        let (namespace, name) = match of.split_once('/') {
            Some((namespace, name)) => (Some(namespace), name),
            // What begins with a digit is an address with a mistake.
            None if of.starts_with(|first: char| first.is_ascii_lowercase()) => (None, of),
            None => return Ok(None),
        };
        if !namespace.is_none_or(is_name) || !is_name(name) {
            return Ok(None);
        }
        let port = match port.parse() {
            Ok(0) => return Err(no_port_zero(text)),
            Ok(number) => Port::Number(number),
            Err(_no_facts) if is_port_name(port) => Port::Name(port.to_owned()),
            Err(_no_facts) => return Ok(None),
        };
        Ok(Some(Self { namespace: namespace.map(str::to_owned), name: name.to_owned(), port }))
    }

    /// The addresses that are meant, of either family: a Service's, or else a pod's of this node.
    ///
    /// # Errors
    /// Where there is no such name or port, or more than one.
    pub(super) fn resolve(&self, view: &PodsView) -> anyhow::Result<Vec<Resolved>> {
        let services: Vec<_> = view.services.iter().filter(|service| self.is_of(&service.name)).collect();
        match services[..] {
            [] => {}
            [service] => return self.of_service(service),
            _ => bail!(self.ambiguous("Services", services.iter().map(|service| &*service.name))),
        }
        let pods: Vec<_> = view.pods.iter().filter(|pod| self.is_of(&pod.name)).collect();
        match pods[..] {
            [] => Err(self.unknown(view)),
            [pod] => self.of_pod(pod),
            _ => bail!(self.ambiguous("pods", pods.iter().map(|pod| &*pod.name))),
        }
    }

    /// Whether `full`, `NAMESPACE/NAME`, is meant.
    fn is_of(&self, full: &str) -> bool {
        full.split_once('/').is_some_and(|(namespace, name)| {
            name == self.name && self.namespace.as_deref().is_none_or(|meant| meant == namespace)
        })
    }

    fn of_service(&self, service: &ServiceView) -> anyhow::Result<Vec<Resolved>> {
        let is_meant = |port: &&ServicePortView| match &self.port {
            Port::Number(number) => port.port == *number,
            Port::Name(name) => port.name == *name,
        };
        let port = service.ports.iter().find(is_meant).ok_or_else(|| {
            let ports = service.ports.iter().map(|port| match &*port.name {
                "" => port.port.to_string(),
                name => format!("{} ({name})", port.port),
            });
            anyhow!("Service {} has no TCP port {}; it has: {}", service.name, self.port, some_of(ports))
        })?;
        if service.addresses.is_empty() {
            bail!(
                "Service {} has no ClusterIP, so connections go to its pods: name one of them",
                service.name
            );
        }
        let owner = format!("Service {}", service.name);
        Ok(resolved(&service.addresses, port.port, &owner))
    }

    fn of_pod(&self, pod: &PodView) -> anyhow::Result<Vec<Resolved>> {
        let Port::Number(port) = self.port else {
            bail!(
                "expected the number of a port of pod {}, got '{}': Services' have names here",
                pod.name,
                self.port
            );
        };
        if pod.addresses.is_empty() {
            let why = pod.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
            bail!("the address of pod {} is not known ({}{why})", pod.name, pod.state.label());
        }
        Ok(resolved(&pod.addresses, port, &format!("pod {}", pod.name)))
    }

    fn ambiguous<'a>(&self, kind: &str, names: impl Iterator<Item = &'a str>) -> String {
        format!("several {kind} are named {}: {}", self.name, some_of(names.map(str::to_owned)))
    }

    /// Tells what there is: in that namespace, if there is anything.
    fn unknown(&self, view: &PodsView) -> anyhow::Error {
        let services = view.services.iter().map(|service| &*service.name);
        let all: Vec<_> = services.chain(view.pods.iter().map(|pod| &*pod.name)).collect();
        let namespace = self.namespace.as_deref();
        let is_beside = |full: &&&str| namespace.is_some_and(|meant| full.split('/').next() == Some(meant));
        let beside: Vec<_> = all.iter().filter(is_beside).copied().collect();
        let shown = if beside.is_empty() { all } else { beside };
        let full =
            namespace.map_or_else(|| self.name.clone(), |namespace| format!("{namespace}/{}", self.name));
        anyhow!(
            "no Service, and no pod of node {}, is named {full}; there are: {}",
            view.node,
            some_of(shown.into_iter().map(str::to_owned))
        )
    }
}

impl fmt::Display for Port {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(out, "{number}"),
            Self::Name(name) => write!(out, "{name}"),
        }
    }
}

fn resolved(addresses: &[String], port: u16, owner: &str) -> Vec<Resolved> {
    let addresses = addresses.iter().filter_map(|address| address.parse::<IpAddr>().ok());
    addresses
        .map(|address| Resolved { address: SocketAddr::new(address, port), owner: owner.to_owned() })
        .collect()
}

/// Names with commas, of which there may be too many.
pub(super) fn some_of(names: impl Iterator<Item = String>) -> String {
    let all: Vec<_> = names.collect();
    match all.get(..NAMES) {
        _ if all.is_empty() => "none".to_owned(),
        Some(first) if all.len() > NAMES => format!("{} and {} more", first.join(", "), all.len() - NAMES),
        _ => all.join(", "),
    }
}

/// What Kubernetes calls a DNS subdomain, roughly: what cannot be part of one is no name of anything.
fn is_name(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
    (1..=253).contains(&text.len()) && text.bytes().all(fits)
}

/// A Service's port name: lower case, digits and dashes, and at least one letter.
fn is_port_name(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len())
        && text.bytes().all(fits)
        && text.bytes().any(|byte| byte.is_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::{super::pods::tests::view, *};

    fn found(text: &str) -> Vec<String> {
        let Ok(Destination::Named(named)) = text.parse() else { panic!("{text} is no name") };
        let found = named.resolve(&view()).unwrap();
        found.into_iter().map(|found| format!("{} {}", found.address, found.owner)).collect()
    }

    fn refused(text: &str) -> String {
        let Ok(Destination::Named(named)) = text.parse() else { panic!("{text} is no name") };
        named.resolve(&view()).unwrap_err().to_string()
    }

    #[test]
    fn an_address_is_an_address_and_its_mistakes_are_told() {
        let address = Destination::Address("[fd00::1]:80".parse().unwrap());
        assert_eq!("[fd00::1]:80".parse(), Ok(address));
        let error = |text: &str| text.parse::<Destination>().unwrap_err();
        for text in
            ["10.0.0.1", "10.0.0:80", "fd00::1:80x", "Shop/db:80", "shop/:80", "a/b/c:80", "shop/db:", ""]
        {
            assert!(error(text).starts_with("expected an IP address and a port"), "{text}");
        }
        for text in ["10.0.0.1:0", "shop/db:0"] {
            assert_eq!(
                error(text),
                format!("expected a port (1-65535), got '{text}': port 0 cannot be connected to")
            );
        }
        // A port beyond the last one has no letter, so it is no name either.
        assert!(error("shop/db:65536").contains("got 'shop/db:65536'"));
    }

    #[test]
    fn a_service_is_found_by_its_port_s_number_or_name_on_every_address() {
        let both = ["10.96.0.10:4406 Service shop/db", "[fd00:96::a]:4406 Service shop/db"];
        assert_eq!(found("shop/db:4406"), both);
        assert_eq!(found("shop/db:mysql"), both);
        // In one namespace only.
        assert_eq!(found("web:80"), ["10.96.0.11:80 Service shop/web"]);
    }

    #[test]
    fn a_pod_is_found_where_no_service_has_the_name() {
        assert_eq!(
            found("shop/web-0:1234"),
            ["10.0.0.1:1234 pod shop/web-0", "[fd00::1]:1234 pod shop/web-0"]
        );
        assert_eq!(
            refused("shop/web-0:http"),
            "expected the number of a port of pod shop/web-0, got 'http': Services' have names here"
        );
        assert_eq!(
            refused("kube-system/cni-x:80"),
            "the address of pod kube-system/cni-x is not known (left alone: host-network)"
        );
    }

    #[test]
    fn what_is_not_there_or_there_twice_is_answered_with_what_there_is() {
        assert_eq!(
            refused("shop/dbx:1"),
            "no Service, and no pod of node node-1, is named shop/dbx; there are: shop/db, shop/web, shop/headless, \
             shop/db-0, shop/web-0"
        );
        assert!(refused("nowhere/db:1").ends_with(
            "there are: shop/db, shop/web, shop/headless, test/db, \
            kube-system/cni-x, shop/db-0, shop/web-0"
        ));
        assert_eq!(refused("db:4406"), "several Services are named db: shop/db, test/db");
        assert_eq!(refused("shop/db:80"), "Service shop/db has no TCP port 80; it has: 4406 (mysql), 9000");
        assert_eq!(
            refused("shop/headless:80"),
            "Service shop/headless has no ClusterIP, so connections go to its pods: name one of them"
        );
    }

    #[test]
    fn at_most_ten_names_are_told() {
        let names = |count: usize| some_of((0..count).map(|number| number.to_string()));
        assert_eq!(names(0), "none");
        assert_eq!(names(10), "0, 1, 2, 3, 4, 5, 6, 7, 8, 9");
        assert_eq!(names(12), "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more");
    }
}
