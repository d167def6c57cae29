//! Where a collector of traces is, in flags and in the config file alike.

use std::{fmt, net::Ipv6Addr, num::NonZeroU16, str::FromStr};

/// The base URL of a collector that takes OTLP over HTTP: `http://HOST:PORT`, with a path where it has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtlpEndpoint {
    /// A name or an address; an IPv6 address without brackets.
    host: String,
    port: NonZeroU16,
    /// Empty, or with a slash in front and none at the end.
    path: String,
}

/// Not the URL of a collector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected http://HOST:PORT, such as http://127.0.0.1:4318, got '{}'", got.escape_debug())]
pub struct OtlpEndpointError {
    /// What came.
    pub got: String,
}

impl OtlpEndpoint {
    /// The host to connect to: a name or an address, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port to connect to.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port.get()
    }

    /// The URL that spans are sent to.
    #[must_use]
    pub fn traces_url(&self) -> String {
        format!("{self}/v1/traces")
    }

    fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("http://")?;
        let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
        let (host, port) = authority.rsplit_once(':')?;
        // Not `parse` alone, which takes a sign.
        let port = port.bytes().all(|byte| byte.is_ascii_digit()).then(|| port.parse().ok())??;
        let host = match host.strip_prefix('[') {
            Some(bracketed) => bracketed.strip_suffix(']').filter(|host| host.parse::<Ipv6Addr>().is_ok())?,
            None => host,
        };
        let is_of_a_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        let is_host = !host.is_empty() && (host.contains(':') || host.bytes().all(is_of_a_name));
        let is_bare_ipv6 = host.contains(':') && !authority.starts_with('[');
        let is_path = path.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#%\\".contains(&byte));
        (is_host && !is_bare_ipv6 && is_path).then(|| Self {
            host: host.to_owned(),
            port,
            path: path.trim_end_matches('/').to_owned(),
        })
    }
}

impl FromStr for OtlpEndpoint {
    type Err = OtlpEndpointError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text).ok_or_else(|| OtlpEndpointError { got: text.to_owned() })
    }
}

impl fmt::Display for OtlpEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "http://[{}]:{}{}", self.host, self.port, self.path)
        } else {
            write!(f, "http://{}:{}{}", self.host, self.port, self.path)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_host_a_port_and_perhaps_a_path() {
        for (text, host, port, url) in [
            ("http://127.0.0.1:4318", "127.0.0.1", 4318, "http://127.0.0.1:4318/v1/traces"),
            ("http://127.0.0.1:4318/", "127.0.0.1", 4318, "http://127.0.0.1:4318/v1/traces"),
            ("http://otel.svc:80/in/", "otel.svc", 80, "http://otel.svc:80/in/v1/traces"),
            ("http://[::1]:4318", "::1", 4318, "http://[::1]:4318/v1/traces"),
        ] {
            let endpoint: OtlpEndpoint = text.parse().unwrap();
            assert_eq!((endpoint.host(), endpoint.port(), &*endpoint.traces_url()), (host, port, url));
            assert_eq!(endpoint.to_string().parse::<OtlpEndpoint>().unwrap(), endpoint);
        }
    }

    #[test]
    fn anything_else_is_answered_with_an_example() {
        for text in [
            "",
            "127.0.0.1:4318",
            "https://collector:4318",
            "http://collector",
            "http://collector:0",
            "http://collector:+1",
            "http://collector:65536",
            "http://:4318",
            "http://::1:4318",
            "http://[collector]:4318",
            "http://user@collector:4318",
            "http://collector:4318/?a=b",
            "http://collector:4318/a b",
        ] {
            let error = text.parse::<OtlpEndpoint>().unwrap_err();
            let message = format!("expected http://HOST:PORT, such as http://127.0.0.1:4318, got '{text}'");
            assert_eq!(error.to_string(), message);
        }
    }
}
