//! The account of a connection.

use std::hint::black_box;

use anyhow::Result;
use sluice::connection::counting::Accounts;

use crate::{
    classify::{ANSWER, REQUEST},
    repeat,
};

/// A message that nobody looks at.
pub(crate) const MESSAGE: &[u8] = &[b'x'; 64];

pub(crate) fn open() -> Result<()> {
    let accounts = Accounts::new(true);
    repeat(|turn| {
        drop(turn.count(|| accounts.open()));
        Ok(())
    })
}

/// Of a connection that is not inspected: what counting alone takes.
pub(crate) fn messages() -> Result<()> {
    let mut account = Accounts::new(false).open();
    repeat(|turn| {
        turn.count(|| {
            account.client_sends(black_box(MESSAGE));
            account.server_sends(black_box(MESSAGE));
        });
        Ok(())
    })
}

pub(crate) fn close() -> Result<()> {
    let accounts = Accounts::new(true);
    repeat(|turn| {
        let mut account = accounts.open();
        account.client_sends(MESSAGE);
        account.server_sends(MESSAGE);
        turn.count(|| account.close());
        Ok(())
    })
}

/// From its beginning to its end, but for the sockets.
pub(crate) fn http1_connection() -> Result<()> {
    let accounts = Accounts::new(true);
    repeat(|turn| {
        turn.count(|| {
            let mut account = accounts.open();
            account.client_sends(black_box(REQUEST));
            account.server_sends(black_box(ANSWER));
            account.close();
        });
        Ok(())
    })
}
