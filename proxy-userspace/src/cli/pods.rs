//! `sluice status --pods`: what the agent knows of the pods of its node.

use std::{
    fmt::Write as _,
    io::Write,
    time::{Duration, UNIX_EPOCH},
};

use anyhow::Context as _;

use super::args::{PinArgs, SocketArgs};
use crate::{
    agent::{ListView, PodState, PodsView, WatchView},
    tap,
};

/// What the agent says, as it came and as it is meant.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) json: serde_json::Value,
    pub(super) view: PodsView,
}

/// Asks the agent of these pins, or at this socket.
pub(super) fn ask(pins: &PinArgs, socket: &SocketArgs) -> anyhow::Result<Answer> {
    let path = socket.control_socket.clone().unwrap_or_else(|| tap::default_path(&pins.pin_dir));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let json = runtime.block_on(tap::Client::pods(&path))?;
    let view = serde_json::from_value(json.clone()).with_context(|| {
        format!("expected what an agent of this version says of pods at {}", path.display())
    })?;
    Ok(Answer { json, view })
}

/// Everything, for people.
pub(super) fn text(view: &PodsView, out: &mut impl Write) -> anyhow::Result<()> {
    writeln!(out, "node        {}", view.node)?;
    writeln!(
        out,
        "endpoints   {}\n",
        view.endpoints_api.as_deref().unwrap_or("the API server has not been asked yet")
    )?;
    let watches = view.watches.iter().map(|watch| [watch.resource.clone(), watch_text(watch)]);
    table(["WATCH", "STATE"], watches, out)?;

    writeln!(out)?;
    let pods = view.pods.iter().map(|pod| {
        let addresses = if pod.addresses.is_empty() { "-".to_owned() } else { pod.addresses.join(",") };
        let why = pod.why.as_deref().map_or_else(|| "-".to_owned(), plain);
        [pod.name.clone(), pod.state.label().to_owned(), addresses, why]
    });
    table(["POD", "STATE", "ADDRESSES", "WHY"], pods, out)?;

    let enrolled = view.pods.iter().filter(|pod| pod.state == PodState::Enrolled);
    let lists = enrolled.flat_map(|pod| {
        pod.lists.iter().filter(|list| says_something(list)).map(move |list| {
            let value = if list.value.is_empty() { "none" } else { &list.value };
            [pod.name.clone(), list.name.clone(), list.source.clone(), value.to_owned()]
        })
    });
    let lists: Vec<_> = lists.collect();
    if !lists.is_empty() {
        writeln!(out)?;
        table(["POD", "LIST", "WRITTEN", "VALUE"], lists.into_iter(), out)?;
    }

    if !view.problems.is_empty() {
        writeln!(out, "\nANNOTATIONS THAT CANNOT BE USED")?;
    }
    for problem in &view.problems {
        let since = tap::rfc3339(UNIX_EPOCH + Duration::from_secs(problem.since));
        writeln!(out, "{}: {}", problem.object, plain(&problem.message))?;
        writeln!(out, "  since {since}; {}", consequence(problem.is_earlier_kept))?;
    }
    if !view.disagreements.is_empty() {
        writeln!(out, "\nSERVICES AND PODS THAT DISAGREE")?;
    }
    for disagreement in &view.disagreements {
        writeln!(out, "{}", plain(disagreement))?;
    }
    Ok(())
}

/// What holds in place of a value that cannot be used.
pub(super) const fn consequence(is_earlier_kept: bool) -> &'static str {
    if is_earlier_kept { "the last good value holds" } else { "it is as if the annotation were not there" }
}

/// An empty list that nobody has written is not worth a line.
fn says_something(list: &ListView) -> bool {
    !list.value.is_empty() || list.source != "default"
}

pub(super) fn watch_text(watch: &WatchView) -> String {
    let state = if watch.is_synced { "listed" } else { "not listed yet" };
    match &watch.error {
        None => state.to_owned(),
        Some((error, seconds)) => format!("{state}; failing for {seconds} s: {}", plain(error)),
    }
}

/// What came from elsewhere, on one line.
pub(super) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for char in text.chars() {
        if char.is_control() {
            // Writing to memory does not fail.
            write!(plain, "{}", char.escape_default()).ok();
        } else {
            plain.push(char);
        }
    }
    plain
}

/// Columns as wide as their widest word; the last one is as long as it is.
fn table<const N: usize>(
    heads: [&str; N],
    rows: impl Iterator<Item = [String; N]>,
    out: &mut impl Write,
) -> std::io::Result<()> {
    let rows: Vec<_> = std::iter::once(heads.map(str::to_owned)).chain(rows).collect();
    let widths: [usize; N] =
        std::array::from_fn(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0));
    for row in &rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A node with one of everything, as an agent says it.
    const SAID: &str = include_str!("pods/said.json");
    /// The same as people are shown it.
    const SHOWN: &str = include_str!("pods/shown.txt");

    pub(in super::super) fn view() -> PodsView {
        serde_json::from_str(SAID).unwrap()
    }

    #[test]
    fn what_is_shown_is_what_was_said() {
        let mut shown = Vec::new();
        text(&view(), &mut shown).unwrap();
        assert_eq!(String::from_utf8(shown).unwrap(), SHOWN);
    }

    #[test]
    fn what_is_said_is_read_without_loss() {
        let said: serde_json::Value = serde_json::from_str(SAID).unwrap();
        assert_eq!(serde_json::to_value(view()).unwrap(), said);
    }

    #[test]
    fn what_comes_from_elsewhere_stays_on_its_line() {
        assert_eq!(plain("a\nb\u{1b}[1mü"), "a\\nb\\u{1b}[1mü");
    }
}
