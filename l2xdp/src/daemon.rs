//! `l2xdp run`: from start to signal.

use crate::config::Config;
use crate::gateway::{Gateway, Options};
use crate::status::status;
use crate::{control, privileges};
use anyhow::{Context, Result};
use futures_util::StreamExt;
use log::{debug, info, warn};
use rtnetlink::MulticastGroup;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

/// Changes to follow.
const GROUPS: [MulticastGroup; 8] = [
    MulticastGroup::Link,
    MulticastGroup::Neigh,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv6Ifaddr,
    MulticastGroup::Ipv4Route,
    MulticastGroup::Ipv6Route,
    MulticastGroup::Ipv4Rule,
    MulticastGroup::Ipv6Rule,
];

/// Changes come in bursts: this long we gather them.
const SETTLE: Duration = Duration::from_millis(50);

/// How long a client of the control socket may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Not everything is announced (a veth's other end, an MTU in a route exception): this often we look anyway.
const LOOK: Duration = Duration::from_millis(500);

/// Runs a configuration until SIGTERM, SIGINT or SIGHUP.
///
/// # Errors
/// What kept it from starting; everything is undone then.
pub async fn run(config: Config, options: Options) -> Result<()> {
    privileges::check()?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let listener = control::listen()?;
    let (connection, netlink, mut changes) =
        rtnetlink::new_multicast_connection(&GROUPS).context("can't open rtnetlink")?;
    tokio::spawn(connection);
    let (connection, netdev, _) = genetlink::new_connection().context("can't open generic netlink")?;
    tokio::spawn(connection);

    let mut gateway = Gateway::start(config, options, netlink, netdev).await?;
    info!("ready");
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => break,
            _ = look.tick() => gateway.follow().await,
            Some(_) = changes.next() => {
                sleep(SETTLE).await;
                while changes.try_recv().is_ok() {}
                gateway.follow().await;
            }
            Ok((client, _)) = listener.accept() => {
                match status(&gateway) {
                    // Beside the loop, which a client that does not listen must not hold up.
                    Ok(status) => _ = tokio::spawn(async move {
                        if let Ok(Err(error)) = timeout(PATIENCE, control::answer(client, &status)).await {
                            debug!("{error:#}");
                        }
                    }),
                    Err(error) => warn!("{error:#}"),
                }
            }
        }
    }
    info!("stopping");
    gateway.stop().await;
    Ok(())
}
