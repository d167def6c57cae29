//! `sluice ports learned` and `sluice ports forget`: the destinations that are learned to be opaque.

use std::{
    collections::BTreeMap,
    io::Write,
    net::{IpAddr, SocketAddr},
    path::Path,
    time::Duration,
};

use serde_json::json;

use super::{
    args::{ForgetArgs, OutputFormat},
    asked::Asked,
};
use crate::kernel::{Control, Learned};

/// A destination that is learned, and the workload that has.
type Row = (String, Learned);

/// Shows them.
pub(super) fn list(
    workload: Option<&str>,
    output: OutputFormat,
    pin_dir: &Path,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let Asked { control, .. } = Asked::to_look(pin_dir)?;
    let rows = rows(&control, workload)?;
    match output {
        OutputFormat::Text => text(&rows, out)?,
        OutputFormat::Json => writeln!(out, "{}", json(&rows))?,
    }
    Ok(())
}

/// Forgets them; tells which.
pub(super) fn forget(args: &ForgetArgs, out: &mut impl Write) -> anyhow::Result<()> {
    let Asked { pins, mut control } = Asked::to_change(&args.pins.pin_dir)?;
    let _changing = pins.lock_for_writing()?;
    let rows = rows(&control, args.workload.as_deref())?;
    let is_meant =
        |learned: &Learned| args.destination.is_none_or(|it| canonical(it) == learned.destination());
    let mut forgotten = 0;
    for (name, learned) in rows.iter().filter(|(_, learned)| is_meant(learned)) {
        control.forget_learned(learned.key)?;
        writeln!(out, "{name}: {} {} is forgotten", learned.direction().label(), learned.destination())?;
        forgotten += 1;
    }
    match args.destination {
        Some(destination) => {
            anyhow::ensure!(forgotten > 0, "{destination} is not learned: see `sluice ports learned`")
        }
        None if forgotten == 0 => writeln!(out, "nothing is learned")?,
        None => {}
    }
    Ok(())
}

/// By workload and destination. Of a workload that has left there may be some for a moment.
fn rows(control: &Control, workload: Option<&str>) -> anyhow::Result<Vec<Row>> {
    let views = control.workloads_named(workload)?;
    let names: BTreeMap<u64, String> = views.into_iter().map(|view| (view.id, view.name)).collect();
    let learned = control.learned()?.into_iter();
    let mut rows: Vec<Row> =
        learned.filter_map(|one| Some((names.get(&one.key.workload)?.clone(), one))).collect();
    rows.sort_by(|(name, one), (other_name, other)| (name, one.key).cmp(&(other_name, other.key)));
    Ok(rows)
}

/// A mapped IPv4 address is IPv4.
fn canonical(destination: SocketAddr) -> SocketAddr {
    let ip: IpAddr = destination.ip().to_canonical();
    SocketAddr::new(ip, destination.port())
}

fn text(rows: &[Row], out: &mut impl Write) -> std::io::Result<()> {
    let width = |column: &dyn Fn(&Row) -> usize, title: &str| {
        rows.iter().map(column).max().unwrap_or_default().max(title.len())
    };
    let workload = width(&|(name, _)| name.len(), "WORKLOAD");
    let destination = width(&|(_, learned)| learned.destination().to_string().len(), "DESTINATION");
    writeln!(out, "{:workload$}  DIRECTION  {:destination$}  SAMPLED AGAIN", "WORKLOAD", "DESTINATION")?;
    for (name, learned) in rows {
        let (direction, to) = (learned.direction().label(), learned.destination().to_string());
        writeln!(out, "{name:workload$}  {direction:9}  {to:destination$}  {}", when(learned.left))?;
    }
    Ok(())
}

/// When connections are looked at again.
fn when(left: Duration) -> String {
    if left.is_zero() {
        "with the next connection".to_owned()
    } else {
        format!("in {} s", left.as_secs().max(1))
    }
}

fn json(rows: &[Row]) -> serde_json::Value {
    rows.iter()
        .map(|(name, learned)| {
            json!({
                "workload": name,
                "direction": learned.direction().label(),
                "destination": learned.destination().to_string(),
                "sampled_again_seconds": learned.left.as_secs(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proxy_common::{Direction, LearnedKey, mapped};

    use super::*;

    fn row(name: &str, destination: &str, left: u64) -> Row {
        let destination: SocketAddr = destination.parse().unwrap();
        let (addr_be, port_be) = (mapped(destination.ip()), destination.port().to_be());
        let key = LearnedKey::new(7, Direction::Outbound, addr_be, port_be);
        (name.to_owned(), Learned { key, left: Duration::from_secs(left) })
    }

    #[test]
    fn the_text_says_when_a_destination_is_sampled_again() {
        let mut out = Vec::new();
        text(&[row("shop/web-0", "10.0.0.7:7000", 42), row("db", "[fd00::1]:7001", 0)], &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "WORKLOAD    DIRECTION  DESTINATION     SAMPLED AGAIN\n\
             shop/web-0  outbound   10.0.0.7:7000   in 42 s\n\
             db          outbound   [fd00::1]:7001  with the next connection\n"
        );
    }

    #[test]
    fn json_has_an_object_for_each() {
        assert_eq!(
            json(&[row("db", "10.0.0.7:7000", 42)]),
            json!([{
                "workload": "db", "direction": "outbound", "destination": "10.0.0.7:7000",
                "sampled_again_seconds": 42,
            }])
        );
    }
}
