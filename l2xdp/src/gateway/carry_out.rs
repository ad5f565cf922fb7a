//! Making the data path what the plan says: only what is new is touched.

use super::{Gateway, UNDER_WAY};
use crate::attach::{self, Attached};
use crate::observe::Neighbour;
use crate::plan::{self, Plan, XdpMode};
use crate::{devices, sys};
use anyhow::{Context, Result};
use log::{info, warn};
use tokio::time::sleep;

impl Gateway {
    /// Makes the data path what the plan says. Until the gateway has started, what can't be done is an error; later it
    /// is logged, and the rest goes on.
    pub(super) async fn carry_out(&mut self) -> Result<()> {
        let sessions = self.config.tunnels.iter().flat_map(|tunnel| &tunnel.sessions);
        let sessions = sessions.map(|session| session.session_id).collect();
        for slot in self.slots.follow(&sessions) {
            let result = self.datapath.clear_counters(slot);
            self.attempt(result)?;
        }
        let new = plan::plan(&self.wish(), &self.observed);
        self.follow_next_hops(&new).await?;
        for (&ifindex, &mtu) in &new.mtus {
            // Only when the path's MTU is news: an administrator may have set another since.
            let is = self.observed.links.get(&ifindex).map(|link| link.mtu);
            if self.plan.mtus.get(&ifindex) != Some(&mtu) && is != Some(mtu) {
                let result = devices::set_mtu(&self.observer.netlink, ifindex, mtu).await;
                self.attempt(result)?;
            }
        }
        // A program without a session's entry leaves its frames to the slow path; an entry without the programs behind
        // it would lose them.
        self.attach(&new)?;
        self.fill_maps(&new)?;
        self.end_deliveries(&new).await?;
        self.detach(&new);
        if self.plan.slow != new.slow {
            self.slow_path.serve(new.slow.clone());
        }
        for (id, trouble) in &new.trouble {
            if self.started && self.plan.trouble.get(id) != Some(trouble) {
                tell(*id, trouble.as_deref());
            }
        }
        self.plan = new;
        Ok(())
    }

    /// Notes a failure, and goes on; at the start, ends it.
    pub(super) fn attempt<T>(&mut self, result: Result<T>) -> Result<Option<T>> {
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
                let result = devices::manage_neighbour(&self.observer.netlink, ifindex, address).await;
                if self.attempt(result)?.is_some() {
                    self.next_hops.insert((ifindex, address));
                }
            }
        }
        let old: Vec<_> = self.next_hops.difference(&new.next_hops).copied().collect();
        for (ifindex, address) in old {
            self.next_hops.remove(&(ifindex, address));
            // It may have gone with its device.
            let _ = devices::release_neighbour(&self.observer.netlink, ifindex, address).await;
        }
        Ok(())
    }

    fn fill_maps(&mut self, new: &Plan) -> Result<()> {
        let old = std::mem::take(&mut self.plan);
        let result = self.replace(&old, new);
        self.plan = old;
        result
    }

    fn replace(&mut self, old: &Plan, new: &Plan) -> Result<()> {
        // First what goes: there may be no room for both.
        for key in old.tx.keys().filter(|key| !new.tx.contains_key(key)) {
            let result = self.datapath.remove_tx(key);
            self.attempt(result)?;
        }
        for &id in old.rx.keys().filter(|id| !new.rx.contains_key(id)) {
            let result = self.datapath.remove_rx(id);
            self.attempt(result)?;
        }
        for &port in old.ports.difference(&new.ports) {
            let result = self.datapath.remove_port(port);
            self.attempt(result)?;
        }
        for &port in new.ports.difference(&old.ports) {
            let result = self.datapath.add_port(port);
            self.attempt(result)?;
        }
        for (&ifindex, delivery) in
            new.deliveries.iter().filter(|(key, new)| old.deliveries.get(key) != Some(new))
        {
            let result = self.datapath.set_delivery(ifindex, delivery);
            self.attempt(result)?;
        }
        for (key, session) in new.tx.iter().filter(|(key, new)| old.tx.get(key) != Some(new)) {
            let result = self.datapath.set_tx(key, session);
            self.attempt(result)?;
        }
        for (&id, session) in new.rx.iter().filter(|(id, new)| old.rx.get(id) != Some(new)) {
            let result = self.datapath.set_rx(id, session);
            self.attempt(result)?;
        }
        let result = self.datapath.publish();
        self.attempt(result)?;
        Ok(())
    }

    /// What was sent by these devices before still gets through.
    async fn end_deliveries(&mut self, new: &Plan) -> Result<()> {
        let old = self.plan.deliveries.keys().filter(|key| !new.deliveries.contains_key(key));
        let old: Vec<_> = old.copied().collect();
        if !old.is_empty() {
            sleep(UNDER_WAY).await;
        }
        for ifindex in old {
            let result = self.datapath.remove_delivery(ifindex);
            self.attempt(result)?;
        }
        Ok(())
    }

    /// Receiving goes on without a route: a device that was on the way to the peer stays hooked while it exists.
    fn detach(&mut self, new: &Plan) {
        let links = &self.observed.links;
        let sessions = !self.config.tunnels.is_empty();
        self.hooks.retain(|hook, _| {
            new.hooks.contains(hook)
                || sessions && hook.program.decapsulates() && links.contains_key(&hook.ifindex)
        });
        self.promiscuous.retain(|ifindex, _| new.promiscuous.contains(ifindex));
    }

    fn attach(&mut self, new: &Plan) -> Result<()> {
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
