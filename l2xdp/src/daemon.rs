//! `l2xdp run` and `l2xdp accelerate`: from start to signal.

use crate::config::Config;
use crate::control::{self, Answer, Client, Question};
use crate::gateway::{Gateway, Options, Source};
use crate::l2tp::L2tp;
use crate::observe::Observer;
use crate::status::status;
use crate::{netlink, privileges, xfrm};
use anyhow::{Context, Result};
use futures_util::{FutureExt, Stream, StreamExt, stream};
use log::{error, info};
use rtnetlink::MulticastGroup;
use std::path::PathBuf;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::yield_now;
use tokio::time::{MissedTickBehavior, interval, sleep};

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

/// Not everything is announced (a veth's other end, an MTU in a route exception): this often we look anyway.
const LOOK: Duration = Duration::from_millis(500);

/// Runs until SIGTERM or SIGINT, or until it is told to [detach](Question::Detach). At SIGHUP it reads the configuration
/// anew, if it came from a `file`.
///
/// # Errors
/// What kept it from starting; everything is undone then.
pub async fn run(source: Source, file: Option<PathBuf>, options: Options) -> Result<()> {
    privileges::check()?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut clients = control::listen()?;
    let (_, mut changes) = netlink::open_rtnetlink(&GROUPS)?;
    let observer = Observer::open(source.wants_l2tp()).await?;
    let mut policies = xfrm::changes().context("can't follow IPsec policies")?;
    let mut l2tp_changes = l2tp_changes(observer.l2tp.as_ref()).await?;

    let mut gateway = Gateway::start(source, options, observer).await?;
    info!("ready");
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut detached = None;
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => match &file {
                Some(file) => {
                    let before = gateway.l2tp().is_some();
                    reload(&mut gateway, file).await;
                    if gateway.l2tp().is_some() != before {
                        l2tp_changes = self::l2tp_changes(gateway.l2tp()).await?;
                    }
                }
                None => info!("nothing to read anew"),
            },
            _ = look.tick() => gateway.follow().await,
            Some(_) = changes.next() => {
                sleep(SETTLE).await;
                while changes.try_recv().is_ok() {}
                gateway.follow().await;
            }
            Some(()) = l2tp_changes.next() => {
                sleep(SETTLE).await;
                while let Some(Some(())) = l2tp_changes.next().now_or_never() {}
                gateway.follow().await;
            }
            // At once: what a policy is to protect leaves in the clear until then.
            Some(()) = policies.next() => gateway.follow().await,
            Some(client) = clients.recv() => {
                if let Some(done) = answer(&mut gateway, client).await {
                    detached = Some(done);
                    break;
                }
            }
        }
    }
    info!("stopping");
    gateway.stop().await;
    // Who has the answer may start the next daemon at once.
    drop(clients);
    yield_now().await;
    if let Some((client, done)) = detached {
        client.answer(Answer::Detached(done)).await;
    }
    Ok(())
}

async fn l2tp_changes(l2tp: Option<&L2tp>) -> Result<impl Stream<Item = ()> + Unpin + use<>> {
    Ok(match l2tp {
        Some(l2tp) => l2tp.changes().await?.left_stream(),
        None => stream::pending().right_stream(),
    })
}

/// Answers a client, unless it is to wait for the end, with these words.
async fn answer(gateway: &mut Gateway, client: Client) -> Option<(Client, String)> {
    let answer = match client.question {
        Question::Show => {
            gateway.follow().await;
            status(gateway).map(Answer::Status)
        }
        Question::Detach => match gateway.give_back().await {
            Ok(done) => return Some((client, done)),
            Err(refused) => Err(refused),
        },
    };
    let answer = answer.unwrap_or_else(|error| Answer::Refused(format!("{error:#}")));
    // Beside the loop, which a client that does not listen must not hold up.
    tokio::spawn(client.answer(answer));
    None
}

async fn reload(gateway: &mut Gateway, file: &std::path::Path) {
    let result = match Config::load(file) {
        Ok(config) => gateway.reload(config).await,
        Err(problems) => Err(problems.into()),
    };
    match result {
        Ok(()) => info!("reloaded {}", file.display()),
        Err(error) => error!("{error:#}; the configuration as it was runs on"),
    }
}
