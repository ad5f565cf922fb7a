//! Making the data path what the plan says: only what is new is touched.

use super::Gateway;
use crate::attach::{self, Attached};
use crate::plan::{self, Plan, XdpMode};
use crate::{devices, sys};
use anyhow::{Context, Result};
use log::{info, warn};
use std::collections::btree_map::Entry;

impl Gateway {
    /// Makes the data path what the plan says. Until the gateway has started, what can't be attached is
    /// an error; later it is logged.
    pub(super) async fn carry_out(&mut self) -> Result<()> {
        let new = plan::plan(&self.config, self.mode, &self.observed);
        self.follow_next_hops(&new).await;
        for (&ifindex, &mtu) in &new.mtus {
            // Only when the path's MTU is news: an administrator may have set another since.
            let is = self.observed.links.get(&ifindex).map(|link| link.mtu);
            if self.plan.mtus.get(&ifindex) != Some(&mtu) && is != Some(mtu) {
                devices::set_mtu(&self.netlink, ifindex, mtu).await?;
            }
        }
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

    async fn follow_next_hops(&mut self, new: &Plan) {
        for &(ifindex, address) in &new.next_hops {
            let known = self.observed.neighbours.get(&(ifindex, address));
            // The kernel forgets the neighbours of a device that goes down, managed ones too, and asks one that has
            // not answered again only every few seconds.
            let asked = known.is_some_and(|neighbour| !neighbour.failed);
            let managed = asked && self.next_hops.contains(&(ifindex, address));
            if managed || known.is_some_and(|neighbour| neighbour.permanent) {
                continue;
            }
            match devices::manage_neighbour(&self.netlink, ifindex, address).await {
                Ok(()) => _ = self.next_hops.insert((ifindex, address)),
                Err(error) => self.say(format!("{error:#}")),
            }
        }
        let old: Vec<_> = self.next_hops.difference(&new.next_hops).copied().collect();
        for (ifindex, address) in old {
            self.next_hops.remove(&(ifindex, address));
            // It may have gone with its device.
            let _ = devices::forget_neighbour(&self.netlink, ifindex, address).await;
        }
    }

    fn fill_maps(&mut self, new: &Plan) -> Result<()> {
        // First what goes: there may be no room for both.
        for key in self.plan.tx.keys().filter(|key| !new.tx.contains_key(key)) {
            self.datapath.remove_tx(key)?;
        }
        for &id in self.plan.rx.keys().filter(|id| !new.rx.contains_key(id)) {
            self.datapath.remove_rx(id)?;
        }
        for (key, session) in new.tx.iter().filter(|(key, session)| self.plan.tx.get(key) != Some(session)) {
            self.datapath.set_tx(key, session)?;
        }
        for (&id, session) in new.rx.iter().filter(|(id, session)| self.plan.rx.get(id) != Some(session)) {
            self.datapath.set_rx(id, session)?;
        }
        Ok(())
    }

    fn attach(&mut self, new: &Plan) -> Result<()> {
        self.hooks.retain(|hook, _| new.hooks.contains(hook));
        self.promiscuous.retain(|ifindex, _| new.promiscuous.contains(ifindex));
        for &ifindex in &new.promiscuous {
            if let Entry::Vacant(entry) = self.promiscuous.entry(ifindex) {
                let socket = sys::promiscuous(ifindex);
                entry.insert(
                    socket.with_context(|| format!("interface {ifindex}: can't make it promiscuous"))?,
                );
            }
        }
        for hook in &new.hooks {
            if self.hooks.contains_key(hook) {
                continue;
            }
            let Some(link) = self.observed.links.get(&hook.ifindex).cloned() else { continue };
            let attached = match attach::attach(&mut self.datapath, hook, &link) {
                Ok(attached) => Some(attached),
                Err(refused) if refused.unsupported && self.mode == XdpMode::Auto => {
                    info!("{:#}; TC does its work", refused.error);
                    None
                }
                Err(refused) if !self.started => return Err(refused.error),
                Err(refused) => {
                    self.say(format!("{:#}", refused.error));
                    continue;
                }
            };
            if let Some(Attached::Tc { clsact_added: true, .. }) = attached {
                self.clsact.insert(hook.ifindex);
            }
            self.hooks.insert(*hook, attached);
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
