//! Writes the seeds: `seeds DIRECTORY` fills `DIRECTORY/TARGET` for every target.
//!
//! They are made of what the tests have: the exchanges of `tests/corpus`, and the first flights of real clients
//! in `proxy-userspace/src/observe/testdata`, and the manifests in `proxy-userspace/src/inject/testdata`. So they cannot grow old.

use std::{env, fs, path::PathBuf};

use sluice::observe::End;
use sluice_fuzz::conversation::{Conversation, Turn};
use sluice_tests::corpus::{self, Script, Step};

/// The length of HTTP/2's preface.
const PREFACE: usize = 24;
/// Where a file of `testdata` becomes a seed, beside `observe`.
const FLIGHTS: [(&str, &str, &[u8]); 9] = [
    ("http1", "http1_curl", include_bytes!("../../proxy-userspace/src/observe/testdata/http1_curl.bin")),
    ("http2", "http2_curl", include_bytes!("../../proxy-userspace/src/observe/testdata/http2_curl.bin")),
    ("http2", "http2_nghttp", include_bytes!("../../proxy-userspace/src/observe/testdata/http2_nghttp.bin")),
    ("http2", "grpc_python", include_bytes!("../../proxy-userspace/src/observe/testdata/grpc_python.bin")),
    ("tls", "tls_curl", include_bytes!("../../proxy-userspace/src/observe/testdata/tls_curl.bin")),
    ("tls", "tls_openssl", include_bytes!("../../proxy-userspace/src/observe/testdata/tls_openssl.bin")),
    (
        "tls",
        "tls_no_sni",
        include_bytes!("../../proxy-userspace/src/observe/testdata/tls_openssl_no_sni.bin"),
    ),
    (
        "tls",
        "tls_pq",
        include_bytes!("../../proxy-userspace/src/observe/testdata/tls_rustls_post_quantum.bin"),
    ),
    (
        "tls",
        "tls_cut",
        include_bytes!("../../proxy-userspace/src/observe/testdata/tls_rustls_fragmented.bin"),
    ),
];
/// Bytes in the headers of a record and of the handshake message in it.
const TLS_HEADERS: usize = 9;

/// Seeds of `inject`.
const MANIFESTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../proxy-userspace/src/inject/testdata/before");

/// Texts for the targets that read some.
const TEXTS: [(&str, &str); 19] = [
    ("config", include_str!("../../docs/sluice.toml")),
    (
        "config",
        "admin = \"[::1]:0\"\nskip-outbound-ports = 80\n[tracing]\notlp-endpoint = \"http://a:1/b\"\n",
    ),
    ("policy", ""),
    ("policy", "80, 8000 - 8100,81\n25,443\n1-65535\n\n5432\n9100-9199"),
    ("policy", "65535,65536,+1,0x1f,1-2-3,9-8, -1,1-"),
    ("policy", "http://127.0.0.1:4318/in/"),
    ("policy", "http://[::1]:4318"),
    ("policy", "http, admin-2,8000-8100,a--b,80O0"),
    ("policy", "10.0.0.0/8, fd00::/8,192.0.2.7,::ffff:10.0.0.0/104,::/0"),
    ("policy", "strict"),
    ("policy", "auto"),
    ("tap", r#"{"version":1,"tap":{"workload":"shop","protocol":"grpc","port":50051}}"#),
    ("tap", r#"{"lost":3}"#),
    (
        "tap",
        r#"{"exchange":{"time":"2026-01-01T00:00:00.000Z","direction":"outbound","workload":"w","client":"127.0.0.1:1","dst":"[::1]:2","protocol":"grpc","version":"HTTP/2","method":"POST","authority":"a\u001b","path":"/s/m","status":200,"grpc":{"service":"s","method":"m","status":0},"latency_ms":1.5,"duration_ms":2.25,"response_bytes":7,"trace_id":"4b","end":"complete"}}"#,
    ),
    ("trace", "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ("trace", "traceparent: cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-the-future-is"),
    ("trace", "b3: 4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1-00f067aa0ba902b8"),
    ("trace", "b3: a3ce929d0e0e4736-00f067aa0ba902b7-d"),
    (
        "trace",
        "x-b3-traceid: a3ce929d0e0e4736\nx-b3-spanid: 00f067aa0ba902b7\nx-b3-sampled: true\nx-b3-flags: 1",
    ),
];

fn main() -> std::io::Result<()> {
    let Some(directory) = env::args_os().nth(1).map(PathBuf::from) else {
        return Err(std::io::Error::other("expected a directory"));
    };
    let write = |target: &str, name: &str, input: &[u8]| {
        let directory = directory.join(target);
        fs::create_dir_all(&directory)?;
        fs::write(directory.join(name), input)
    };
    for script in corpus::all() {
        let conversation = conversation(&script);
        write("observe", &script.name, &conversation.to_input())?;
        if script.name.starts_with("http1") {
            write("http1", &script.name, &conversation.to_input())?;
        }
        if let Some(conversation) = without_preface(conversation) {
            write("http2", &script.name, &conversation.to_framed_input(0))?;
            write("hpack", &script.name, &blocks(&conversation))?;
        }
    }
    for (target, name, flight) in FLIGHTS {
        let whole = alone(flight);
        write("observe", name, &whole.to_input())?;
        match without_preface(alone(flight)) {
            Some(conversation) => {
                write(target, name, &conversation.to_framed_input(0))?;
                write("hpack", name, &blocks(&conversation))?;
            }
            None => write(target, name, &whole.to_input())?,
        }
        if target == "tls" {
            // The body of the ClientHello, for the target to put into records.
            let body = flight.get(TLS_HEADERS..).unwrap_or_default();
            write(target, &format!("{name}_body"), &alone(body).to_input())?;
        }
    }
    for entry in fs::read_dir(MANIFESTS)? {
        let entry = entry?;
        write("inject", &entry.file_name().to_string_lossy(), &fs::read(entry.path())?)?;
    }
    for (at, (target, text)) in TEXTS.iter().enumerate() {
        write(target, &format!("text_{at:02}"), text.as_bytes())?;
    }
    Ok(())
}

/// The exchange, each byte a read of its own.
fn conversation(script: &Script) -> Conversation {
    let turn = |step: &Step| match step {
        Step::Client(bytes) => Some(Turn::Client(bytes.clone())),
        Step::Server(bytes) => Some(Turn::Server(bytes.clone())),
        Step::ServerFin => Some(Turn::Finish),
        // Observers are not told.
        Step::ClientFin => None,
    };
    let turns = script.steps.iter().filter_map(turn).collect();
    Conversation { cut: 0, wants_details: true, end: End::Cut, turns }
}

/// A client that sends this.
fn alone(flight: &[u8]) -> Conversation {
    Conversation {
        cut: 3,
        wants_details: true,
        end: End::ClientReset,
        turns: vec![Turn::Client(flight.to_vec())],
    }
}

/// What follows HTTP/2's preface, if the client opens with it.
fn without_preface(mut conversation: Conversation) -> Option<Conversation> {
    let first = conversation.turns.iter_mut().find_map(|turn| match turn {
        Turn::Client(bytes) => Some(bytes),
        Turn::Server(_) | Turn::Finish => None,
    })?;
    if !first.starts_with(sluice_fuzz::PREFACE) {
        return None;
    }
    first.drain(..PREFACE);
    Some(conversation)
}

/// The payloads of HEADERS without flags that put something before the fragment, as blocks of one direction.
fn blocks(conversation: &Conversation) -> Vec<u8> {
    let mut blocks = Vec::new();
    for turn in &conversation.turns {
        let Turn::Client(bytes) = turn else { continue };
        let mut rest = &bytes[..];
        while let Some((&[a, b, c, kind, flags, ..], behind)) = rest.split_first_chunk::<9>()
            && let Some((payload, behind)) =
                behind.split_at_checked(u32::from_be_bytes([0, a, b, c]) as usize)
        {
            if kind == 1 && flags & 0x28 == 0 {
                blocks.extend_from_slice(payload);
                blocks.extend_from_slice(sluice_fuzz::BLOCK_MARK);
            }
            rest = behind;
        }
    }
    blocks
}
