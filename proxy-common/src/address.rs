//! Addresses as the maps hold them: 16 bytes, IPv4 mapped into IPv6, network byte order.

/// The first 12 bytes of an IPv4 address mapped into IPv6 (`::ffff:a.b.c.d`).
pub const V4_MAPPED_PREFIX: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];
/// `::ffff:127.0.0.1`.
pub const LOOPBACK_V4_MAPPED: [u8; 16] = map_v4([127, 0, 0, 1]);
/// `::1`.
pub const LOOPBACK_V6: [u8; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
/// `::ffff:0.0.0.0`.
pub const UNSPECIFIED_V4_MAPPED: [u8; 16] = map_v4([0, 0, 0, 0]);
/// `::`.
pub const UNSPECIFIED_V6: [u8; 16] = [0; 16];

/// Maps an IPv4 address (network byte order) into IPv6.
#[must_use]
pub const fn map_v4(addr_be: [u8; 4]) -> [u8; 16] {
    let [a, b, c, d] = addr_be;
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]
}

/// The 16 bytes of an address of either family.
#[must_use]
pub const fn mapped(address: core::net::IpAddr) -> [u8; 16] {
    match address {
        core::net::IpAddr::V4(ip) => map_v4(ip.octets()),
        core::net::IpAddr::V6(ip) => ip.octets(),
    }
}

/// Whether the address is an IPv4 address mapped into IPv6.
#[inline(always)]
#[must_use]
pub fn is_v4_mapped(addr_be: &[u8; 16]) -> bool {
    addr_be.starts_with(&V4_MAPPED_PREFIX)
}

/// Whether the address is in `127.0.0.0/8` (mapped) or is `::1`.
#[inline(always)]
#[must_use]
pub fn is_loopback(addr_be: &[u8; 16]) -> bool {
    *addr_be == LOOPBACK_V6 || (is_v4_mapped(addr_be) && addr_be[12] == 127)
}

/// Whether the address is in `fe80::/10`: it means nothing without an interface, which a
/// connect hook is not shown.
#[inline(always)]
#[must_use]
pub fn is_link_local_v6(addr_be: &[u8; 16]) -> bool {
    addr_be[0] == 0xfe && addr_be[1] & 0xc0 == 0x80
}

/// What Linux connects to when asked for the unspecified address: the loopback address.
#[inline(always)]
#[must_use]
pub fn normalise_unspecified(addr_be: [u8; 16]) -> [u8; 16] {
    if addr_be == UNSPECIFIED_V4_MAPPED {
        LOOPBACK_V4_MAPPED
    } else if addr_be == UNSPECIFIED_V6 {
        LOOPBACK_V6
    } else {
        addr_be
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unspecified_address_is_the_loopback_address_of_its_family() {
        assert_eq!(normalise_unspecified(map_v4([0; 4])), LOOPBACK_V4_MAPPED);
        assert_eq!(normalise_unspecified([0; 16]), LOOPBACK_V6);
        assert_eq!(normalise_unspecified(map_v4([10, 0, 0, 1])), map_v4([10, 0, 0, 1]));
    }

    #[test]
    fn loopback_is_the_whole_of_127_and_exactly_one_ipv6_address() {
        assert!(is_loopback(&map_v4([127, 255, 0, 3])));
        assert!(is_loopback(&LOOPBACK_V6));
        assert!(!is_loopback(&map_v4([128, 0, 0, 1])));
        assert!(!is_loopback(&[0; 16]));
    }

    #[test]
    fn link_local_is_fe80_slash_10() {
        let mut addr_be = [0; 16];
        addr_be[0] = 0xfe;
        addr_be[1] = 0xbf;
        assert!(is_link_local_v6(&addr_be));
        addr_be[1] = 0xc0;
        assert!(!is_link_local_v6(&addr_be));
    }
}
