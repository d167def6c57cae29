//! What a connection carries is found out in passing, however its bytes are cut, and the finding
//! holds nothing back.

use std::time::Duration;

use sluice_tests::exec::Outcome;
use sluice_tests::netns::Netns;
use sluice_tests::peer::steps::hex;
use sluice_tests::scale::Scale;
use sluice_tests::server::{Server, behaviour};
use sluice_tests::suite::{Env, Suite};
use sluice_tests::tests;

use crate::client_hello::ClientHello;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// An empty SETTINGS frame, which every HTTP/2 client sends after the preface.
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
const REQUEST: &[u8] = b"GET /x HTTP/1.1\r\nHost: example.test\r\n\r\n";

pub(crate) fn register(suite: &mut Suite) {
    let mut group = suite.group("detect");
    group.of_the_proxy_alone();
    group.both_lanes_of_sluice(tests![
        http1_in_one_piece_is_http1,
        http1_one_byte_at_a_time_is_http1,
        a_long_token_without_a_newline_is_opaque,
        the_http2_preface_is_http2_however_it_is_split,
        half_an_http2_preface_is_not_http2,
        a_client_hello_tells_its_names,
        a_client_hello_cut_in_pieces_is_tls,
        a_client_hello_over_two_records_is_tls,
        binary_bytes_are_opaque,
        a_server_that_speaks_first_is_server_first,
    ]);
    group.both_lanes(tests![a_banner_arrives_at_once]);
    group.sluice(tests![
        a_connection_without_bytes_is_silent,
        the_default_opaque_ports_are_not_inspected,
        configured_opaque_ports_are_not_inspected,
        a_configured_list_replaces_the_default_one,
        a_kept_alive_http1_connection_is_http1,
    ]);
}

/// Opens a connection for each case and sends its pieces, each in a write of its own and a moment
/// apart, then FIN; the server takes it all.
fn sent_in_pieces(env: &Env, cases: &[Vec<&[u8]>]) -> Outcome {
    let server = Server::start(behaviour::sink);
    let mut steps = Vec::new();
    for pieces in cases {
        steps.push(format!("connect={}", server.addr()));
        for piece in pieces {
            steps.push(format!("hex={}", hex(piece)));
            // Long enough for the piece to arrive alone.
            steps.push("quiet=20".to_owned());
        }
        steps.extend(["fin".to_owned(), "recv-line".to_owned()]);
    }
    let outcome = env.client(&steps).run().success();
    let mut sent: Vec<Vec<u8>> = cases.iter().map(|pieces| pieces.concat()).collect();
    let mut arrived: Vec<Vec<u8>> = cases.iter().map(|_| server.record().first).collect();
    sent.sort();
    arrived.sort();
    assert!(sent == arrived, "other bytes arrived than were sent");
    outcome
}

fn verdict_of(env: &Env, bytes: &[u8]) -> String {
    sent_in_pieces(env, &[vec![bytes]]).only_connection().verdict()
}

/// The bytes, cut in two at each of these places; in one piece at 0.
fn cut_at<'a>(bytes: &'a [u8], places: &[usize]) -> Vec<Vec<&'a [u8]>> {
    let cut = |&place: &usize| {
        let (before, after) = bytes.split_at(place);
        if before.is_empty() { vec![after] } else { vec![before, after] }
    };
    places.iter().map(cut).collect()
}

fn http1_in_one_piece_is_http1(env: &Env) {
    assert_eq!(verdict_of(env, REQUEST), "detect http/1 client-bytes");
}

fn http1_one_byte_at_a_time_is_http1(env: &Env) {
    let server = Server::start(behaviour::http("hello"));
    let steps = [
        format!("connect={}", server.addr()),
        format!("pieces={}/3", hex(REQUEST)),
        "recv-line".into(),
        "close".into(),
    ];
    let outcome = env.client(&steps).run().success();
    assert_eq!(outcome.line("line"), "HTTP/1.1 200 OK");
    assert_eq!(outcome.only_connection().verdict(), "detect http/1 client-bytes");
}

fn a_long_token_without_a_newline_is_opaque(env: &Env) {
    assert_eq!(verdict_of(env, b"ABCDEFGHIJKLMNOP"), "detect opaque client-bytes");
}

fn the_http2_preface_is_http2_however_it_is_split(env: &Env) {
    let places = [0, 1, 3, 4, 14, 16, 18, 23, 24];
    let start = [PREFACE, SETTINGS].concat();
    let outcome = sent_in_pieces(env, &cut_at(&start, &places));
    for (place, connection) in places.iter().zip(outcome.connections_in_order()) {
        assert_eq!(connection.verdict(), "detect http/2 client-bytes", "cut at {place}");
    }
}

fn half_an_http2_preface_is_not_http2(env: &Env) {
    let verdict = verdict_of(env, b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n");
    assert_eq!(verdict, "detect opaque client-bytes");
}

fn a_client_hello_tells_its_names(env: &Env) {
    let hello = ClientHello { sni: "shop.example.test", alpn: &["h2", "http/1.1"], padding: 0 }.bytes();
    let outcome = sent_in_pieces(env, &[vec![&hello]]);
    let connection = outcome.only_connection();
    assert_eq!(connection.verdict(), "detect tls client-bytes");
    assert_eq!(connection.text("sni"), Some("shop.example.test"));
    // A list or its names with commas: either way both names are there, in the client's order.
    let alpn = connection.0["alpn"].to_string();
    let places = ["h2", "http/1.1"].map(|name| alpn.find(name));
    assert!(places[0].is_some() && places[0] < places[1], "{alpn}");
}

fn a_client_hello_cut_in_pieces_is_tls(env: &Env) {
    // Above 512 bytes and above one segment of a small MTU.
    let hello = ClientHello { sni: "cut.example.test", alpn: &["h2"], padding: 1800 }.bytes();
    assert!(hello.len() > 1800);
    let places = [0, 1, 4, 5, 6, 43, 511, 513, 1500];
    let outcome = sent_in_pieces(env, &cut_at(&hello, &places));
    for (place, connection) in places.iter().zip(outcome.connections_in_order()) {
        assert_eq!(connection.verdict(), "detect tls client-bytes", "cut at {place}");
        assert_eq!(connection.text("sni"), Some("cut.example.test"), "cut at {place}");
    }
}

fn a_client_hello_over_two_records_is_tls(env: &Env) {
    let hello = ClientHello { sni: "two.example.test", alpn: &["h2"], padding: 300 };
    let outcome = sent_in_pieces(env, &[vec![&hello.in_two_records(100)]]);
    let connection = outcome.only_connection();
    assert_eq!(connection.verdict(), "detect tls client-bytes");
    assert_eq!(connection.text("sni"), Some("two.example.test"));
}

fn binary_bytes_are_opaque(env: &Env) {
    assert_eq!(verdict_of(env, &[0, 1, 2, 3, 0xff, 0xfe]), "detect opaque client-bytes");
}

fn a_server_that_speaks_first_is_server_first(env: &Env) {
    let server = Server::start(behaviour::banner("220 ready\r\n"));
    let steps =
        [format!("connect={}", server.addr()), "recv-line".into(), "text=GET / HTTP/1.1\\r\\n\\r\\n".into()];
    let outcome = env.client(&steps).run().success();
    assert_eq!(outcome.line("line"), "220 ready");
    assert_eq!(outcome.only_connection().verdict(), "detect opaque server-first");
}

fn a_banner_arrives_at_once(env: &Env) {
    let server = Server::start(behaviour::banner("220 ready\r\n"));
    let steps: Vec<String> =
        (0..5).flat_map(|_| [format!("connect={}", server.addr()), "recv-line".to_owned()]).collect();
    let outcome = env.client(&steps).run().success();
    let fastest: u64 = outcome.lines("took").iter().map(|ms| ms.parse().expect("ms")).min().expect("five");
    let limit = Scale::current().stretch(Duration::from_millis(250));
    assert!(Duration::from_millis(fastest) < limit, "the banner took {fastest} ms");
}

fn a_connection_without_bytes_is_silent(env: &Env) {
    let server = Server::start(behaviour::silent);
    let steps = [format!("connect={}", server.addr()), "quiet=300".into(), "close".into()];
    let outcome = env.client(&steps).run().success();
    let connection = outcome.only_connection();
    assert_eq!(connection.verdict(), "detect opaque silent");
    assert_eq!(connection.bytes(), (0, 0));
}

/// One HTTP request to each port, in a namespace of their own; what became of each.
fn requests_to_ports(env: &Env, ports: &[u16], flags: &[(&str, &str)]) -> Vec<String> {
    let netns = Netns::new();
    let serve = |port| Server::bind_in(&netns, &format!("127.0.0.1:{port}"), behaviour::http("hello"));
    let servers: Vec<Server> = ports.iter().map(serve).collect();
    let request = |server: &Server| {
        [
            format!("connect={}", server.addr()),
            format!("hex={}", hex(REQUEST)),
            "recv-line".to_owned(),
            "close".to_owned(),
        ]
    };
    let steps: Vec<String> = servers.iter().flat_map(request).collect();
    let exec = flags.iter().fold(env.client(&steps), |exec, (name, value)| exec.flag(name, *value));
    let outcome = exec.run_in(&netns).success();
    assert_eq!(outcome.lines("line"), vec!["HTTP/1.1 200 OK"; ports.len()]);
    outcome.connections_in_order().iter().map(|connection| connection.verdict()).collect()
}

const OPAQUE: &str = "opaque opaque config";
const HTTP1: &str = "detect http/1 client-bytes";

fn the_default_opaque_ports_are_not_inspected(env: &Env) {
    let ports = [25, 443, 587, 3306, 4444, 5432, 6379, 9300, 11211];
    assert_eq!(requests_to_ports(env, &ports, &[]), [OPAQUE; 9]);
}

fn configured_opaque_ports_are_not_inspected(env: &Env) {
    let flags = [("--opaque-ports", "80, 8000-8100")];
    let verdicts = requests_to_ports(env, &[80, 81, 7999, 8000, 8050, 8100, 8101], &flags);
    assert_eq!(verdicts, [OPAQUE, HTTP1, HTTP1, OPAQUE, OPAQUE, OPAQUE, HTTP1]);
}

fn a_configured_list_replaces_the_default_one(env: &Env) {
    assert_eq!(requests_to_ports(env, &[3306, 443], &[("--opaque-ports", "1")]), [HTTP1; 2]);
    assert_eq!(requests_to_ports(env, &[3306, 443], &[("--opaque-ports", "")]), [HTTP1; 2]);
}

fn a_kept_alive_http1_connection_is_http1(env: &Env) {
    let server = Server::start(behaviour::http("hello"));
    let mut steps = vec![format!("connect={}", server.addr())];
    for _ in 0..10 {
        steps.push(format!("hex={}", hex(REQUEST)));
        steps.push(format!("recv={}", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello".len()));
    }
    let outcome = env.client(&steps).run().success();
    assert_eq!(outcome.only_connection().verdict(), "detect http/1 client-bytes");
}
