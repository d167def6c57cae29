use std::path::Path;

use super::*;

/// The lines at which a file breaks the rule, and how.
fn violations(file: &str, text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    check_file(Path::new(file), &module_path(Path::new(file)), text, &mut found).unwrap();
    found.into_iter().map(|violation| (violation.line, violation.what)).collect()
}

fn lines(file: &str, text: &str) -> Vec<usize> {
    violations(file, text).into_iter().map(|(line, _)| line).collect()
}

#[test]
fn a_room_may_import_what_is_below_it_and_itself() {
    let text = "use crate::policy::Ports;\nuse crate::{metrics, report::Line};\nuse crate::connection::pump;\n\
                use proxy_common::Workload;\nuse super::pump;\n";
    assert!(violations("connection/account.rs", text).is_empty());
    assert!(violations("main.rs", "use sluice::agent;\nuse clap::Parser;\nfn a() { crate::x() }").is_empty());
    assert!(violations("cli/ports.rs", "use clap::Args;\nuse crate::agent::Agent;").is_empty());
}

#[test]
fn imports_upwards_and_sideways_are_named_with_their_line() {
    let found = violations("connection/mod.rs", "use std::io;\nuse crate::kernel::Maps;\n");
    assert_eq!(found, [(2, "`connection` imports `kernel`, its neighbour".to_owned())]);
    let found = violations("policy.rs", "\n\nuse crate::cli::Args;");
    assert_eq!(found, [(3, "`policy` imports `cli`, which is above it".to_owned())]);
}

#[test]
fn a_path_is_found_wherever_it_stands() {
    assert_eq!(lines("connection/pump.rs", "fn a() {\n    crate::agent::run();\n}"), [2]);
    assert_eq!(lines("connection/pump.rs", "fn a() {\n  info!(\"{}\",\n    crate::agent::name());\n}"), [3]);
    assert_eq!(lines("connection/pump.rs", "use crate::{\n  policy,\n  admin::{self, Page},\n};"), [3]);
    assert_eq!(lines("connection/pump.rs", "pub(in crate::agent) fn a() {}"), [1]);
    assert_eq!(lines("connection/pump.rs", "fn a(x: &crate::exec::Exec) {}"), [1]);
}

#[test]
fn super_leads_out_of_a_room_when_there_are_enough_of_them() {
    assert_eq!(lines("connection/pump.rs", "use super::super::kernel::Maps;"), [1]);
    assert!(violations("connection/pump.rs", "use super::kernel::Maps;").is_empty());
    assert_eq!(lines("connection/mod.rs", "use super::kernel::Maps;"), [1]);
    assert!(violations("connection/mod.rs", "mod tests {\n use super::kernel;\n}").is_empty());
    assert_eq!(lines("connection/mod.rs", "mod tests {\n use super::super::kernel;\n}"), [2]);
}

#[test]
fn comments_strings_and_names_that_begin_alike_are_not_imports() {
    let text = "// use crate::kernel::Maps\n/// [`crate::kernel`]\nconst A: &str = \"crate::kernel::x\";\n\
                use aya_like::x;\nuse proxy_common::clap::x;\nfn aya() {}\n";
    assert!(violations("connection/mod.rs", text).is_empty());
}

#[test]
fn crates_belong_to_their_rooms() {
    assert!(violations("kernel/load.rs", "use aya::Ebpf;\nuse aya_log::EbpfLogger;").is_empty());
    assert_eq!(
        lines("agent.rs", "use aya::Ebpf;\nfn a(x: ::aya_log::X) {}\n#[derive(clap::Args)]\nstruct X;"),
        [1, 2, 3]
    );
    assert!(
        violations("spans/span.rs", "use opentelemetry::Value;\nuse opentelemetry_sdk::Resource;").is_empty()
    );
    assert_eq!(
        lines("tap/event.rs", "use opentelemetry::Value;\nuse opentelemetry_otlp::SpanExporter;"),
        [1, 2]
    );
    assert_eq!(lines("agent.rs", "use aya as a;\nuse {std::io, clap::Parser};"), [1, 2]);
}

#[test]
fn a_room_without_a_layer_must_be_given_one() {
    assert!(violations("novel/mod.rs", "")[0].1.contains("has no layer"));
    assert!(violations("connection/mod.rs", "use crate::novel::X;")[0].1.contains("is no room"));
}
