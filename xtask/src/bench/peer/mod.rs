//! The proxies that sluice is compared with, each with one thread and a configuration of ours.

mod envoy;
mod haproxy;
pub(super) mod nginx;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use clap::ValueEnum;

use super::program::{self, Ready};
use super::task::Protocol;
use crate::{setup, workspace};

/// A foreign proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Peer {
    /// HAProxy.
    Haproxy,
    /// HAProxy, moving bytes by splice(2).
    HaproxySplice,
    /// nginx; of TCP, by its stream module.
    Nginx,
    /// Envoy.
    Envoy,
}

/// Where a proxy listens, and whom it connects to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Route {
    pub(super) protocol: Protocol,
    pub(super) listen: SocketAddr,
    pub(super) server: SocketAddr,
}

impl Peer {
    /// Where it is installed, if it is.
    pub(super) fn program(self) -> Option<PathBuf> {
        match self {
            Self::Haproxy | Self::HaproxySplice => workspace::program("haproxy"),
            Self::Nginx => workspace::program("nginx"),
            Self::Envoy => Some(setup::envoy()).filter(|program| program.is_file()),
        }
    }

    /// The command that runs it. Its configuration is written to `directory`.
    pub(super) fn command(self, program: &Path, routes: &[Route], directory: &Path) -> Result<Command> {
        let listens: Vec<_> = routes.iter().map(|route| route.listen).collect();
        let mut command = program::command(program, &listens, Ready::Listens)?;
        let config = match self {
            Self::Haproxy => haproxy::config(routes, false)?,
            Self::HaproxySplice => haproxy::config(routes, true)?,
            Self::Nginx => nginx::proxy(routes, directory)?,
            Self::Envoy => envoy::config(routes),
        };
        // Envoy takes what ends in `.json` for JSON; the others do not look.
        let file = directory.join("proxy.json");
        fs::write(&file, config).with_context(|| format!("cannot write {}", file.display()))?;
        match self {
            Self::Haproxy | Self::HaproxySplice => command.arg("-db").arg("-f").arg(&file),
            Self::Nginx => nginx::arguments(&mut command, &file, directory),
            Self::Envoy => command.args(envoy::ARGUMENTS).arg("--config-path").arg(&file),
        };
        Ok(command)
    }
}
