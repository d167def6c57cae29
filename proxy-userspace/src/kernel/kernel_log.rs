//! The programs' log messages.
#![expect(unsafe_code, reason = "tokio's promise that a watched descriptor stays open")]

use std::io;

use aya::Ebpf;
use aya_log::EbpfLogger;
use tokio::io::{Interest, unix::AsyncFd};

use super::{error::KernelError, maps::error};

/// The programs' log messages, on their way to this process's log.
pub(crate) struct KernelLog {
    logger: AsyncFd<EbpfLogger<&'static dyn log::Log>>,
}

impl KernelLog {
    pub(super) fn new(ebpf: &mut Ebpf) -> Result<Self, KernelError> {
        const MAP: &str = "AYA_LOGS";
        let missing = |_| KernelError::Missing { kind: "map", name: MAP };
        let logger = EbpfLogger::init(ebpf).map_err(missing)?;
        // SAFETY: the logger owns its ring's descriptor, and keeps it open.
        let logger = unsafe { AsyncFd::register_with_interest(logger, Interest::READABLE) }
            .map_err(|source| error("watch", MAP)(io::Error::from(source).into()))?;
        Ok(Self { logger })
    }

    /// Passes messages on until the ring cannot be watched any more.
    pub(crate) async fn run(mut self) -> io::Result<()> {
        loop {
            let mut ready = self.logger.readable_mut().await?;
            ready.get_inner_mut().flush();
            ready.clear_ready();
        }
    }
}
