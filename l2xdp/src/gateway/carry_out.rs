//! Making the data path what the plan says: only what is new is touched.

use super::Gateway;
use crate::attach::{self, Attached};
use crate::observe::Neighbour;
use crate::plan::{self, Plan, XdpMode};
use crate::slow_path::SlowSession;
use crate::{devices, sys, underlay};
use anyhow::{Context, Result};
use log::{info, warn};

impl Gateway {
    /// Makes the data path what the plan says. Until the gateway has started, what can't be done is an error; later it
    /// is logged, and the rest goes on.
    pub(super) async fn carry_out(&mut self) -> Result<()> {
        let new = plan::plan(&self.config, self.mode, &self.observed);
        self.follow_next_hops(&new).await?;
        for (&ifindex, &mtu) in &new.mtus {
            // Only when the path's MTU is news: an administrator may have set another since.
            let is = self.observed.links.get(&ifindex).map(|link| link.mtu);
            if self.plan.mtus.get(&ifindex) != Some(&mtu) && is != Some(mtu) {
                let result = devices::set_mtu(&self.netlink, ifindex, mtu).await;
                self.attempt(result)?;
            }
        }
        self.slow_path.serve(self.slow_sessions(&new));
        self.fill_maps(&new)?;
        self.attach(&new)?;
        for (id, trouble) in &new.trouble {
            if self.started && self.plan.trouble.get(id) != Some(trouble) {
                tell(*id, trouble.as_deref());
            }
        }
        self.plan = new;
        Ok(())
    }

    /// What the slow path is to serve: the sessions that receive.
    fn slow_sessions(&self, new: &Plan) -> Vec<SlowSession> {
        let mut sessions = Vec::new();
        for tunnel in &self.config.tunnels {
            let underlay = underlay::resolve(&self.observed, &plan::query(tunnel));
            let path_mtu = underlay.map_or(plan::DEFAULT_PATH_MTU, |underlay| underlay.mtu);
            for session in &tunnel.sessions {
                let Some(rx) = new.rx.get(&session.session_id) else { continue };
                sessions.push(SlowSession {
                    session_id: session.session_id,
                    slot: rx.slot,
                    pseudowire: session.pseudowire,
                    output: rx.xdp_ifindex,
                    path_mtu,
                });
            }
        }
        sessions
    }

    /// Notes a failure, and goes on; at the start, ends it.
    fn attempt<T>(&mut self, result: Result<T>) -> Result<Option<T>> {
        match result {
            Ok(done) => Ok(Some(done)),
            Err(error) if !self.started => Err(error),
            Err(error) => {
                self.say(format!("{error:#}"));
                Ok(None)
            }
        }
    }

    async fn follow_next_hops(&mut self, new: &Plan) -> Result<()> {
        for &(ifindex, address) in &new.next_hops {
            // The kernel forgets managed neighbours too: with a device that goes down, or at an administrator's word.
            // And it asks one that has not answered again only every few seconds.
            let known = self.observed.neighbours.get(&(ifindex, address));
            let kept = |neighbour: &Neighbour| neighbour.permanent || neighbour.managed && !neighbour.failed;
            if !known.is_some_and(kept) {
                let result = devices::manage_neighbour(&self.netlink, ifindex, address).await;
                if self.attempt(result)?.is_some() {
                    self.next_hops.insert((ifindex, address));
                }
            }
        }
        let old: Vec<_> = self.next_hops.difference(&new.next_hops).copied().collect();
        for (ifindex, address) in old {
            self.next_hops.remove(&(ifindex, address));
            // It may have gone with its device.
            let _ = devices::forget_neighbour(&self.netlink, ifindex, address).await;
        }
        Ok(())
    }

    fn fill_maps(&mut self, new: &Plan) -> Result<()> {
        // First what goes: there may be no room for both.
        let gone_tx: Vec<_> = self.plan.tx.keys().filter(|key| !new.tx.contains_key(key)).copied().collect();
        for key in gone_tx {
            let result = self.datapath.remove_tx(&key);
            self.attempt(result)?;
        }
        let gone_rx: Vec<_> = self.plan.rx.keys().filter(|id| !new.rx.contains_key(id)).copied().collect();
        for id in gone_rx {
            let result = self.datapath.remove_rx(id);
            self.attempt(result)?;
        }
        for (key, session) in &new.tx {
            if self.plan.tx.get(key) != Some(session) {
                let result = self.datapath.set_tx(key, session);
                self.attempt(result)?;
            }
        }
        for (&id, session) in &new.rx {
            if self.plan.rx.get(&id) != Some(session) {
                let result = self.datapath.set_rx(id, session);
                self.attempt(result)?;
            }
        }
        Ok(())
    }

    fn attach(&mut self, new: &Plan) -> Result<()> {
        // Receiving goes on without a route: a device that was on the way to the peer stays hooked while it exists.
        let links = &self.observed.links;
        self.hooks.retain(|hook, _| {
            new.hooks.contains(hook) || hook.program.decapsulates() && links.contains_key(&hook.ifindex)
        });
        self.promiscuous.retain(|ifindex, _| new.promiscuous.contains(ifindex));
        for &ifindex in &new.promiscuous {
            if self.promiscuous.contains_key(&ifindex) {
                continue;
            }
            let socket = sys::promiscuous(ifindex)
                .with_context(|| format!("{}: can't make it promiscuous", sys::interface_name(ifindex)));
            if let Some(socket) = self.attempt(socket)? {
                self.promiscuous.insert(ifindex, socket);
            }
        }
        for hook in &new.hooks {
            if self.hooks.contains_key(hook) {
                continue;
            }
            let Some(link) = self.observed.links.get(&hook.ifindex).cloned() else { continue };
            match attach::attach(&mut self.datapath, hook, &link) {
                Ok(attached) => {
                    if let Attached::Clsact { added: true, .. } = attached {
                        self.clsact.insert(hook.ifindex);
                    }
                    self.hooks.insert(*hook, Some(attached));
                }
                Err(refused) if refused.unsupported && self.mode == XdpMode::Auto => {
                    info!("{:#}; TC does its work", refused.error);
                    self.hooks.insert(*hook, None);
                }
                Err(refused) => _ = self.attempt::<()>(Err(refused.error))?,
            }
        }
        Ok(())
    }
}

pub(super) fn tell(session_id: u32, trouble: Option<&str>) {
    match trouble {
        Some(trouble) => warn!("session {session_id}: {trouble}"),
        None => info!("session {session_id}: up"),
    }
}
