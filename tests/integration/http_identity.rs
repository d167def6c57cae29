//! What is HTTP arrives as it was sent, to the byte and at once: header case and order, whitespace,
//! framing, and what breaks every rule.
//!
//! The exchanges are those of `tests/corpus/http`; [`sluice_tests::dialogue`] compares what each end
//! gets with what the other sent, write by write.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

use sluice_tests::corpus::{self, Script, Step};
use sluice_tests::dialogue::Dialogue;
use sluice_tests::exec::Outcome;
use sluice_tests::report::Connection;
use sluice_tests::scale::Scale;
use sluice_tests::suite::{Env, Suite};
use sluice_tests::tests;

pub(crate) fn register(suite: &mut Suite) {
    let mut group = suite.group("http_identity");
    group.of_the_proxy_alone();
    group.both_lanes(tests![
        every_exchange_arrives_as_it_was_sent,
        every_exchange_arrives_byte_by_byte,
        a_lone_byte_is_not_held_back,
    ]);
    group.sluice(tests![
        what_is_told_of_every_exchange_is_right,
        what_is_told_does_not_depend_on_how_bytes_are_cut,
    ]);
}

/// Plays exchanges, each on a connection of its own; every step is over before the next begins.
fn play(env: &Env, scripts: &[Script]) -> Outcome {
    let mut dialogue = Dialogue::begin(env);
    for (index, script) in scripts.iter().enumerate() {
        let played = catch_unwind(AssertUnwindSafe(|| {
            if index > 0 {
                dialogue.again();
            }
            for step in &script.steps {
                match step {
                    Step::Client(bytes) => dialogue.client(bytes),
                    Step::Server(bytes) => dialogue.server(bytes),
                    Step::ClientFin => dialogue.client_fin(),
                    Step::ServerFin => dialogue.server_fin(),
                }
            }
        }));
        if let Err(panic) = played {
            eprintln!("in the exchange {}:", script.name);
            resume_unwind(panic);
        }
    }
    dialogue.finish()
}

/// The exchanges that can be sent byte by byte in little time.
fn short() -> Vec<Script> {
    let most = Scale::current().pick(2500, 300);
    corpus::all().into_iter().filter(|script| script.len() <= most).collect()
}

fn byte_by_byte(scripts: &[Script]) -> Vec<Script> {
    scripts.iter().map(Script::byte_by_byte).collect()
}

fn every_exchange_arrives_as_it_was_sent(env: &Env) {
    let _outcome = play(env, &corpus::all());
}

fn every_exchange_arrives_byte_by_byte(env: &Env) {
    let _outcome = play(env, &byte_by_byte(&short()));
}

fn a_lone_byte_is_not_held_back(env: &Env) {
    let mut dialogue = Dialogue::begin(env);
    let head = "POST / HTTP/1.1\r\nHost: shop.test\r\nX-Slow: one\r\nContent-Length: 40\r\n\r\n";
    let request = format!("{head}{}", "b".repeat(40));
    let mut took: Vec<_> = request
        .bytes()
        .map(|byte| {
            let began = Instant::now();
            dialogue.client([byte]);
            began.elapsed()
        })
        .collect();
    let response = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    took.extend(response.bytes().map(|byte| {
        let began = Instant::now();
        dialogue.server([byte]);
        began.elapsed()
    }));
    let _outcome = dialogue.finish();
    took.sort();
    // Less than the 40 ms of a delayed acknowledgement, and of any timer that waits for more.
    let median = took[took.len() / 2];
    let most = Scale::current().stretch(Duration::from_millis(20));
    assert!(median < most, "{median:?} from one end to the other, in the median");
}

/// What the report tells otherwise than the corpus.
fn wrong(script: &Script, connection: &Connection) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut compare = |word: &str, expected: String, got: String| {
        if expected != got {
            wrong.push(format!("{word}: expected {expected}, got {got}"));
        }
    };
    for (word, values) in &script.told {
        let values: Vec<_> = values.iter().map(String::as_str).collect();
        match &**word {
            "requests" => compare(word, values.join(" "), connection.number(word).to_string()),
            "protocol" => compare(word, values.join(" "), connection.text(word).unwrap_or("-").to_owned()),
            "statuses" => {
                let mut all = Vec::new();
                for (status, count) in connection.counts(word) {
                    all.extend(vec![status; usize::try_from(count).expect("a small count")]);
                }
                let mut expected = values.clone();
                expected.sort_unstable();
                compare(word, expected.join(" "), all.join(" "));
            }
            "grpc" => {
                let calls: Vec<_> = values.iter().filter_map(|value| value.split_once('=')).collect();
                for (method, codes) in calls {
                    let told = &connection.field(word)[method];
                    compare(word, codes.split(',').count().to_string(), told["calls"].to_string());
                    for code in codes.split(',') {
                        let expected = codes.split(',').filter(|other| *other == code).count();
                        compare(code, expected.to_string(), told["statuses"][code].to_string());
                    }
                }
            }
            "upgraded" | "lost" => {}
            other => panic!("unknown word '{other}' in {}", script.name),
        }
    }
    // What is not said to be so must not be.
    if script.told.contains_key("protocol") {
        for word in ["upgraded", "lost"] {
            let expected = script.told.get(word).map_or("-".to_owned(), |values| values.join(" "));
            compare(word, expected, connection.text(word).unwrap_or("-").to_owned());
        }
    }
    wrong
}

fn what_is_told_of_every_exchange_is_right(env: &Env) {
    let scripts = corpus::all();
    let outcome = play(env, &scripts);
    let wrong: Vec<_> = scripts
        .iter()
        .zip(outcome.connections_in_order())
        .map(|(script, connection)| (script, wrong(script, connection)))
        .filter(|(_, wrong)| !wrong.is_empty())
        .map(|(script, wrong)| format!("\n{}: {}", script.name, wrong.join("; ")))
        .collect();
    assert!(wrong.is_empty(), "{} of {} exchanges:{}", wrong.len(), scripts.len(), wrong.concat());
}

/// What a report tells but for times, ports, and who ended the connection.
fn lasting(outcome: &Outcome) -> Vec<String> {
    let fields = ["protocol", "detected_by", "requests", "statuses", "upgraded", "grpc", "lost"];
    let connections = outcome.connections_in_order();
    let told = connections.iter().map(|connection| {
        let fields = fields.map(|field| format!("{field}={}", connection.field(field)));
        format!("{} {:?}", fields.join(" "), connection.bytes())
    });
    told.collect()
}

fn what_is_told_does_not_depend_on_how_bytes_are_cut(env: &Env) {
    let scripts = short();
    let whole = lasting(&play(env, &scripts));
    let cut = lasting(&play(env, &byte_by_byte(&scripts)));
    for (script, (whole, cut)) in scripts.iter().zip(whole.into_iter().zip(cut)) {
        assert_eq!(whole, cut, "{}", script.name);
    }
}
