//! Keeps the index: takes what the watches tell, and shows what follows.

use std::{sync::Arc, time::SystemTime};

use tokio::sync::{mpsc, watch};
use tracing::info;

use super::{
    Settings,
    health::SharedHealth,
    index::{Desired, Index},
    watch::Told,
};

/// How many events are taken before what follows is shown: many at once wake others once.
const BATCH: usize = 1024;

/// Keeps the index until nobody watches or listens.
pub(super) async fn keep(
    mut index: Index,
    mut told: mpsc::Receiver<Told>,
    mut settings: watch::Receiver<Settings>,
    desired: watch::Sender<Arc<Desired>>,
    health: SharedHealth,
) {
    let mut batch = Vec::with_capacity(BATCH);
    let mut was_synced = false;
    loop {
        tokio::select! {
            taken = told.recv_many(&mut batch, BATCH) => {
                if taken == 0 {
                    return;
                }
                let now = SystemTime::now();
                for Told { event, listed } in batch.drain(..) {
                    index.apply(event, now);
                    if let Some(resource) = listed {
                        health.listed(resource);
                    }
                }
            }
            changed = settings.changed() => {
                if changed.is_err() {
                    return;
                }
                let Settings { defaults, enrol } = settings.borrow_and_update().clone();
                index.configure(defaults, enrol);
            }
        }
        let objects = index.objects();
        let is_synced = health.edit(|health| {
            health.objects = objects;
            health.is_synced()
        });
        // Before that, a pod whose namespace is not known yet could be taken for one that is not annotated.
        if !is_synced {
            continue;
        }
        if !was_synced {
            was_synced = true;
            info!(
                "kubernetes: {} pods here, {} Services and {} Namespaces are known",
                objects.pods, objects.services, objects.namespaces
            );
            desired.send_replace(Arc::new(index.desired().clone()));
        }
        desired.send_if_modified(|shown| {
            let is_new = !index.desired().is_same(shown);
            if is_new {
                *shown = Arc::new(index.desired().clone());
            }
            is_new
        });
    }
}
