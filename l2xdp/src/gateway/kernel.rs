//! The steps of [`reconcile`](crate::reconcile), taken in this kernel.

use crate::l2tp::{KernelSession, L2tp};
use crate::observe::Observer;
use crate::reconcile::{Settings, Step, World};
use crate::{devices, observe};
use anyhow::{Context, Result};

/// This kernel.
pub(super) struct Kernel<'a>(pub(super) &'a Observer);

impl Kernel<'_> {
    fn l2tp(&self) -> Result<&L2tp> {
        self.0.l2tp.as_ref().context("this kernel has no L2TP")
    }

    async fn create_session(&self, session: &KernelSession, settings: &Settings) -> Result<()> {
        let l2tp = self.l2tp()?;
        l2tp.create_session(session).await?;
        let result = self.set_up_new(session, settings).await;
        if result.is_err() {
            // The first error is the one to report.
            let _ = l2tp.delete_session(session.tunnel_id, session.session_id).await;
        }
        result
    }

    async fn set_up_new(&self, session: &KernelSession, settings: &Settings) -> Result<()> {
        let name = match &session.ifname {
            Some(name) => name.clone(),
            None => self.name_given(session).await?,
        };
        devices::set_up(&self.0.netlink, session.session_id, &name, settings).await
    }

    /// What the kernel called the device of a session without a wish.
    async fn name_given(&self, session: &KernelSession) -> Result<String> {
        let state = self.l2tp()?.state().await?;
        let made = state.sessions.get(&session.key()).and_then(|session| session.ifname.clone());
        made.with_context(|| format!("session {}: the kernel made no device", session.session_id))
    }

    async fn set_up_anew(&self, session_id: u32, from: &Settings, to: &Settings) -> Result<()> {
        let links = observe::links(&self.0.netlink).await?;
        let hidden = devices::wire_name(session_id);
        let mut of_session = links.values().filter(|link| devices::session_of(link) == Some(session_id));
        let device = of_session.find(|link| link.name != hidden);
        let device = device.with_context(|| format!("session {session_id}: its device is gone"))?;
        devices::set_up_anew(&self.0.netlink, session_id, &device.name, from, to).await
    }
}

impl World for Kernel<'_> {
    async fn take(&mut self, step: &Step) -> Result<()> {
        match step {
            Step::CreateTunnel(tunnel) => self.l2tp()?.create_tunnel(tunnel).await,
            Step::DeleteTunnel(tunnel) => self.l2tp()?.delete_tunnel(tunnel.tunnel_id).await,
            Step::CreateSession(session, settings) => self.create_session(session, settings).await,
            Step::DeleteSession(session, _) => {
                self.l2tp()?.delete_session(session.tunnel_id, session.session_id).await
            }
            Step::ModifySession { key: (tunnel, session), to, .. } => {
                self.l2tp()?.modify_session(*tunnel, *session, *to).await
            }
            Step::CreateDevice(device) => devices::create_netdev(&self.0.netlink, device).await,
            Step::DeleteDevice(device) => {
                devices::delete(&self.0.netlink, &devices::wire_name(device.session_id)).await
            }
            Step::SetUp { session_id, from, to } => self.set_up_anew(*session_id, from, to).await,
            Step::CreateDelivery(id) => devices::create_delivery(&self.0.netlink, *id).await,
            Step::DeleteDelivery(id) => devices::delete(&self.0.netlink, &devices::wire_name(*id)).await,
        }
    }
}
