//! The label that is made of an authority.

use std::borrow::Cow;

/// The label of what is no authority, or not one that a name server or an address could answer for.
const INVALID: &str = "invalid";
/// Bytes of a host at most: a name in the DNS has no more.
const MAX_HOST: usize = 253;

/// The label: `host` or `host:port` in lower case, the port as it was sent; empty where there was no
/// authority, and [`INVALID`] where it is something else.
pub(super) fn label(authority: Option<&str>) -> Cow<'_, str> {
    let authority = authority.unwrap_or_default();
    if !authority.is_empty() && !is_plausible(authority) {
        return Cow::Borrowed(INVALID);
    }
    if authority.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(authority.to_ascii_lowercase())
    } else {
        Cow::Borrowed(authority)
    }
}

/// Whether this may be a name or an address, with a port or without.
fn is_plausible(authority: &str) -> bool {
    if let Some(rest) = authority.strip_prefix('[') {
        return rest.split_once(']').is_some_and(|(address, port)| {
            !address.is_empty()
                && address.len() <= MAX_HOST
                && address.bytes().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.'))
                && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
        });
    }
    let (host, port) = authority.split_once(':').unwrap_or((authority, "0"));
    !host.is_empty()
        && host.len() <= MAX_HOST
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
        && is_port(port)
}

fn is_port(port: &str) -> bool {
    (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_lower_case_and_keeps_the_port_that_was_sent() {
        for (sent, expected) in [
            ("Example.COM", "example.com"),
            ("web.shop.svc.cluster.local:80", "web.shop.svc.cluster.local:80"),
            ("my_service-1:65535", "my_service-1:65535"),
            ("10.0.0.1:8080", "10.0.0.1:8080"),
            ("[2001:DB8::1]", "[2001:db8::1]"),
            ("[::ffff:10.0.0.1]:443", "[::ffff:10.0.0.1]:443"),
        ] {
            assert_eq!(label(Some(sent)), expected);
        }
    }

    #[test]
    fn no_authority_is_the_empty_label() {
        assert_eq!(label(None), "");
        assert_eq!(label(Some("")), "");
    }

    #[test]
    fn what_is_no_authority_is_one_label() {
        let long = "a".repeat(254);
        for sent in [
            ":80",
            "a b",
            "a\nb",
            "a\"b",
            "user@host",
            "host/path",
            "host:",
            "host:http",
            "host:123456",
            "a:1:2",
            "::1",
            "[]",
            "[::1",
            "[::1]80",
            "[fe80::1%eth0]",
            "exämple",
            &long,
        ] {
            assert_eq!(label(Some(sent)), INVALID, "{sent}");
        }
    }
}
