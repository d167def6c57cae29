//! Where the running kernel has a member of one of its structs: read from its own description (BTF).

use std::{fs, io, sync::OnceLock};

/// The kernel's description of its types.
const VMLINUX: &str = "/sys/kernel/btf/vmlinux";
const MAGIC: u16 = 0xeb9f;
const KIND_STRUCT: u32 = 4;
/// A type's own words before what its kind adds: name, info, size.
const TYPE_LEN: usize = 12;
const MEMBER_LEN: usize = 12;

/// Where the hooks find what they read of a socket; bytes from the start of its `tcp_sock`, which begins
/// with an `inet_connection_sock`, and that in turn with a `sock` and a `sock_common`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TcpSockOffsets {
    pub(super) write_seq: u32,
    pub(super) ulp_ops: u32,
    /// The byte with `skc_ipv6only`.
    pub(super) ipv6_only: u32,
    /// Its bit in that byte.
    pub(super) ipv6_only_bit: u32,
    /// `sk_err`.
    pub(super) error: u32,
    pub(super) copied_seq: u32,
    /// `sk_backlog.rmem_alloc`, which that struct without a name begins with.
    pub(super) rmem_alloc: u32,
    pub(super) rcvbuf: u32,
    /// Where the kernel has MPTCP.
    pub(super) is_mptcp: Option<u32>,
}

/// Why an offset is not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BtfError {
    /// The kernel was built without it, or it may not be read.
    #[error("cannot read {VMLINUX}: {kind}")]
    Read { kind: io::ErrorKind },
    /// It is not what its format says.
    #[error("malformed BTF: {reason}")]
    Malformed { reason: &'static str },
    /// It does not have the struct, or the struct not the member.
    #[error("no {member} in struct {name}")]
    Missing { name: &'static str, member: &'static str },
}

/// The running kernel's. Read once.
pub(super) fn tcp_sock_offsets() -> Result<TcpSockOffsets, BtfError> {
    static OFFSETS: OnceLock<Result<TcpSockOffsets, BtfError>> = OnceLock::new();
    OFFSETS
        .get_or_init(|| {
            let btf = fs::read(VMLINUX).map_err(|error| BtfError::Read { kind: error.kind() })?;
            TcpSockOffsets::read(&btf)
        })
        .clone()
}

impl TcpSockOffsets {
    fn read(btf: &[u8]) -> Result<Self, BtfError> {
        let [ipv6_only, error, ulp_ops, write_seq, copied_seq, backlog, rcvbuf] = members(
            btf,
            [
                ("sock_common", "skc_ipv6only"),
                ("sock", "sk_err"),
                ("inet_connection_sock", "icsk_ulp_ops"),
                ("tcp_sock", "write_seq"),
                ("tcp_sock", "copied_seq"),
                ("sock", "sk_backlog"),
                ("sock", "sk_rcvbuf"),
            ],
        )?;
        let is_mptcp = match members(btf, [("tcp_sock", "is_mptcp")]) {
            Ok([found]) => Some(found.byte()?),
            Err(BtfError::Missing { .. }) => None,
            Err(error) => return Err(error),
        };
        Ok(Self {
            write_seq: write_seq.byte()?,
            ulp_ops: ulp_ops.byte()?,
            ipv6_only: ipv6_only.bits / 8,
            ipv6_only_bit: ipv6_only.bits % 8,
            error: error.byte()?,
            copied_seq: copied_seq.byte()?,
            rmem_alloc: backlog.byte()?,
            rcvbuf: rcvbuf.byte()?,
            is_mptcp,
        })
    }
}

/// Where a member of a struct is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Member {
    /// From the start of the struct.
    bits: u32,
    /// How many bits it has, if it is a bit field; else 0.
    bitfield_bits: u32,
}

impl Member {
    /// Its offset in bytes.
    fn byte(self) -> Result<u32, BtfError> {
        if self.bitfield_bits == 0 && self.bits.is_multiple_of(8) {
            Ok(self.bits / 8)
        } else {
            Err(BtfError::Malformed { reason: "the member is a bit field" })
        }
    }
}

/// Direct members, each of a struct by name. The kernel's types are gone through once: there are a hundred
/// thousand. On little-endian machines bit *n* of a bit field is bit *n* of memory.
fn members<const N: usize>(
    btf: &[u8],
    wanted: [(&'static str, &'static str); N],
) -> Result<[Member; N], BtfError> {
    let (types, strings) = sections(btf)?;
    let mut found = wanted.map(|_| None);
    let mut at = 0;
    while at < types.len() && found.contains(&None) {
        let (name_off, info) = (word(types, at)?, word(types, at + 4)?);
        let (kind, count) = ((info >> 24) & 0x1f, (info & 0xffff) as usize);
        if kind == KIND_STRUCT {
            for ((name, member), found) in wanted.iter().zip(&mut found) {
                if found.is_none() && is_named(strings, name_off, name) {
                    *found = Some(member_of(types, strings, at, member)?);
                }
            }
        }
        at += TYPE_LEN + extra_len(kind, count)?;
    }
    let mut places = [Member { bits: 0, bitfield_bits: 0 }; N];
    for ((place, found), (name, member)) in places.iter_mut().zip(found).zip(wanted) {
        *place = found.flatten().ok_or(BtfError::Missing { name, member })?;
    }
    Ok(places)
}

/// A member of the struct at `at`, if it has it.
fn member_of(types: &[u8], strings: &[u8], at: usize, member: &str) -> Result<Option<Member>, BtfError> {
    let info = word(types, at + 4)?;
    let has_bitfields = info >> 31 != 0;
    let members = at + TYPE_LEN;
    for member_at in (0..(info & 0xffff) as usize).map(|index| members + index * MEMBER_LEN) {
        if is_named(strings, word(types, member_at)?, member) {
            let offset = word(types, member_at + 8)?;
            let (bits, bitfield_bits) =
                if has_bitfields { (offset & 0xff_ffff, offset >> 24) } else { (offset, 0) };
            return Ok(Some(Member { bits, bitfield_bits }));
        }
    }
    Ok(None)
}

/// The types and the strings.
fn sections(btf: &[u8]) -> Result<(&[u8], &[u8]), BtfError> {
    let truncated = || BtfError::Malformed { reason: "too short" };
    let magic = btf.first_chunk().map(|bytes| u16::from_ne_bytes(*bytes));
    if magic != Some(MAGIC) {
        return Err(BtfError::Malformed { reason: "not BTF in this machine's byte order" });
    }
    let field = |at| word(btf, at).map(|word| word as usize);
    let header_len = field(4)?;
    let section = |offset: usize, len: usize| {
        let start = header_len.checked_add(offset)?;
        btf.get(start..start.checked_add(len)?)
    };
    let types = section(field(8)?, field(12)?).ok_or_else(truncated)?;
    let strings = section(field(16)?, field(20)?).ok_or_else(truncated)?;
    Ok((types, strings))
}

/// How many bytes a kind adds to a type (include/uapi/linux/btf.h, Linux 6.18).
fn extra_len(kind: u32, count: usize) -> Result<usize, BtfError> {
    Ok(match kind {
        // INT, VAR, DECL_TAG
        1 | 14 | 17 => 4,
        // ARRAY
        3 => 12,
        // STRUCT, UNION, DATASEC, ENUM64
        KIND_STRUCT | 5 | 15 | 19 => count * 12,
        // ENUM, FUNC_PROTO
        6 | 13 => count * 8,
        // PTR, FWD, TYPEDEF, VOLATILE, CONST, RESTRICT, FUNC, FLOAT, TYPE_TAG
        2 | 7..=12 | 16 | 18 => 0,
        _ => return Err(BtfError::Malformed { reason: "a kind of type that is not known" }),
    })
}

fn word(bytes: &[u8], at: usize) -> Result<u32, BtfError> {
    bytes
        .get(at..)
        .and_then(<[u8]>::first_chunk)
        .map(|bytes| u32::from_ne_bytes(*bytes))
        .ok_or(BtfError::Malformed { reason: "too short" })
}

fn is_named(strings: &[u8], offset: u32, name: &str) -> bool {
    strings
        .get(offset as usize..)
        .and_then(|rest| rest.strip_prefix(name.as_bytes()))
        .is_some_and(|rest| rest.first() == Some(&0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRINGS: &[u8] = b"\0tcp_sock\0write_seq\0flag\0tcp_sock_x\0";
    const TCP_SOCK: u32 = 1;
    const WRITE_SEQ: u32 = 10;
    const FLAG: u32 = 20;
    const TCP_SOCK_X: u32 = 25;

    fn btf(types: &[u32]) -> Vec<u8> {
        let types_len = u32::try_from(types.len() * 4).unwrap_or_default();
        let strings_len = u32::try_from(STRINGS.len()).unwrap_or_default();
        let mut bytes = MAGIC.to_ne_bytes().to_vec();
        bytes.extend([1, 0]);
        let words = [24, 0, types_len, types_len, strings_len];
        bytes.extend(words.iter().chain(types).flat_map(|word| word.to_ne_bytes()));
        bytes.extend(STRINGS);
        bytes
    }

    fn member(btf: &[u8], name: &'static str, member: &'static str) -> Result<Member, BtfError> {
        members(btf, [(name, member)]).map(|[found]| found)
    }

    fn member_offset(btf: &[u8], name: &'static str) -> Result<u32, BtfError> {
        member(btf, "tcp_sock", name)?.byte()
    }

    fn info(kind: u32, count: u32) -> u32 {
        kind << 24 | count
    }

    /// An int, a pointer, an array, a function's type, a longer name, and then the struct.
    fn kernel(flags: u32, write_seq: u32) -> Vec<u8> {
        let before = [
            &[0, info(1, 0), 4, 32][..],
            &[0, info(2, 0), 1],
            &[0, info(3, 0), 0, 1, 1, 5],
            &[0, info(13, 2), 1, 0, 1, 0, 1],
            &[TCP_SOCK_X, info(KIND_STRUCT, 1), 4, WRITE_SEQ, 1, 64],
        ]
        .concat();
        let tcp_sock = [
            TCP_SOCK,
            info(KIND_STRUCT, 2) | flags,
            16,
            FLAG,
            1,
            1 << 24 & flags >> 7,
            WRITE_SEQ,
            1,
            write_seq,
        ];
        btf(&[before, tcp_sock.to_vec()].concat())
    }

    #[test]
    fn a_member_is_found_behind_types_of_every_length() {
        assert_eq!(member_offset(&kernel(0, 96), "write_seq"), Ok(12));
    }

    #[test]
    fn a_struct_with_bit_fields_is_read() {
        assert_eq!(member_offset(&kernel(1 << 31, 96), "write_seq"), Ok(12));
    }

    #[test]
    fn a_bit_field_has_no_offset() {
        let found = member(&kernel(1 << 31, 3 << 24 | 96), "tcp_sock", "write_seq").unwrap();
        assert_eq!(found, Member { bits: 96, bitfield_bits: 3 });
        assert!(matches!(found.byte(), Err(BtfError::Malformed { .. })), "{found:?}");
    }

    #[test]
    fn what_is_not_there_is_missing() {
        for (name, member) in [("udp_sock", "write_seq"), ("tcp_sock", "read_seq"), ("tcp", "write_seq")] {
            assert_eq!(self::member(&kernel(0, 96), name, member), Err(BtfError::Missing { name, member }));
        }
    }

    #[test]
    fn every_prefix_is_refused() {
        let whole = kernel(0, 96);
        for len in 0..whole.len() {
            let found = member(&whole[..len], "tcp_sock", "write_seq");
            assert!(matches!(found, Err(BtfError::Malformed { .. })), "{len}: {found:?}");
        }
    }

    #[test]
    fn an_unknown_kind_is_refused() {
        let found = member(&btf(&[0, info(30, 0), 0]), "tcp_sock", "write_seq");
        assert!(matches!(found, Err(BtfError::Malformed { .. })), "{found:?}");
    }
}
