//! `sluice tap`: the requests of a running agent as they finish.

use std::io::Write;

use tokio::signal::ctrl_c;

use super::{
    args::{OutputFormat, TapArgs},
    say,
};
use crate::tap::{self, Client, Filter, Message};

pub(super) fn run(args: TapArgs, out: &mut impl Write) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        tokio::select! {
            biased;
            interrupted = ctrl_c() => Ok(interrupted?),
            tapped = show(args, out) => tapped,
        }
    })
}

/// Shows requests until there were as many as were asked for, or the agent ends.
async fn show(args: TapArgs, out: &mut impl Write) -> anyhow::Result<()> {
    let socket = args.socket.control_socket.unwrap_or_else(|| tap::default_path(&args.pins.pin_dir));
    let filter = Filter { workload: args.workload, protocol: args.protocol.map(Into::into), port: args.port };
    let mut client = Client::connect(&socket, filter).await?;
    say(format_args!("the tap is open at {}", socket.display()));
    let mut shown = 0;
    loop {
        match client.next().await? {
            Message::Exchange(event) => {
                match args.output {
                    OutputFormat::Text => writeln!(out, "{}", tap::text(&event))?,
                    OutputFormat::Json => writeln!(out, "{}", tap::json(&event))?,
                }
                shown += 1;
                if args.count.is_some_and(|count| shown >= count.get()) {
                    return Ok(());
                }
            }
            Message::Lost(lost) => say(format_args!("{lost} requests were lost: this tap is too slow")),
            Message::End {} => {
                say(format_args!("the agent has ended"));
                return Ok(());
            }
            // The client has dealt with them.
            Message::Open { .. } | Message::Refused(_) | Message::Pods(_) => {}
        }
    }
}
