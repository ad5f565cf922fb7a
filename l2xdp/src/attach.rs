//! Attaching programs to devices, in the best way the kernel has.

use crate::datapath::Datapath;
use crate::observe::Link;
use crate::plan::{Hook, Place};
use anyhow::{Context, Result, anyhow};
use aya::programs::tc::{self, NlOptions, SchedClassifierLink, TcAttachOptions, TcError};
use aya::programs::xdp::{XdpLink, XdpMode};
use aya::programs::{LinkOrder, TcAttachType, loaded_programs};
use futures_util::TryStreamExt;
use netlink_packet_route::tc::TcHandle;
use rtnetlink::Handle;
use std::error::Error;
use std::io;

/// An attached program; dropping it detaches.
pub enum Attached {
    /// By an XDP link.
    Xdp(XdpLink),
    /// By a TCX link.
    Tcx(SchedClassifierLink),
    /// By a filter of the clsact qdisc.
    Clsact {
        /// The filter.
        link: SchedClassifierLink,
        /// The qdisc was not there before.
        added: bool,
    },
}

/// What went wrong with an attachment.
#[derive(Debug)]
pub struct AttachError {
    /// The device can't do this, and nothing is wrong with that: TC is there instead.
    pub unsupported: bool,
    /// What to tell.
    pub error: anyhow::Error,
}

/// Attaches the program of a hook to its device.
///
/// # Errors
/// The kernel's, with the mend where there is one.
pub fn attach(datapath: &mut Datapath, hook: &Hook, link: &Link) -> Result<Attached, AttachError> {
    match hook.place {
        Place::Xdp => attach_xdp(datapath, hook, link),
        Place::Ingress => attach_tc(datapath, hook, link, TcAttachType::Ingress).map_err(AttachError::fatal),
        Place::Egress => attach_tc(datapath, hook, link, TcAttachType::Egress).map_err(AttachError::fatal),
    }
}

impl AttachError {
    fn fatal(error: anyhow::Error) -> Self {
        Self { unsupported: false, error }
    }
}

fn attach_xdp(datapath: &mut Datapath, hook: &Hook, link: &Link) -> Result<Attached, AttachError> {
    let xdp = datapath.xdp(hook.program).map_err(AttachError::fatal)?;
    let error = match xdp.attach_to_if_index(hook.ifindex, XdpMode::Driver) {
        Ok(id) => {
            let link = xdp.take_link(id).map_err(|error| AttachError::fatal(error.into()))?;
            return Ok(Attached::Xdp(link));
        }
        Err(error) => error,
    };
    let errno = errno(&error);
    if matches!(errno, Some(libc::EBUSY | libc::EEXIST)) {
        return Err(AttachError::fatal(anyhow!(
            "{}: already runs {}; stop what attached it (bpftool net tells), or detach it (ip link set dev {} xdp off), or \
             use --xdp-mode tc",
            link.name,
            program_name(link.xdp),
            link.name,
        )));
    }
    let why =
        errno.map_or_else(|| error.to_string(), |errno| io::Error::from_raw_os_error(errno).to_string());
    Err(AttachError {
        unsupported: matches!(
            errno,
            Some(libc::EOPNOTSUPP | libc::EINVAL | libc::ERANGE | libc::ENOSPC | libc::ENOMEM)
        ),
        error: anyhow!("{}: no native XDP: {why}", link.name),
    })
}

fn program_name(id: Option<u32>) -> String {
    let Some(id) = id else { return "another XDP program".to_owned() };
    let name = loaded_programs()
        .flatten()
        .find(|program| program.id() == id)
        .and_then(|program| program.name_as_str().map(str::to_owned));
    format!("XDP program {} (id {id})", name.unwrap_or_default())
}

/// TCX where the kernel has it (Linux 6.6), clsact elsewhere.
fn attach_tc(
    datapath: &mut Datapath,
    hook: &Hook,
    link: &Link,
    attach_type: TcAttachType,
) -> Result<Attached> {
    let name = hook.program;
    let program = datapath.tc(name)?;
    let context = || format!("{}: can't attach {} to TC", link.name, name.as_str());
    let tcx = TcAttachOptions::TcxOrder(LinkOrder::default());
    match program.attach_with_options(&link.name, attach_type, tcx) {
        Err(error) if errno(&error) == Some(libc::EINVAL) => {}
        result => return Ok(Attached::Tcx(program.take_link(result.with_context(context)?)?)),
    }
    let added = add_clsact(&link.name).with_context(context)?;
    // Filters, unlike links, outlive a process that was killed.
    let left_behind = match tc::qdisc_detach_program(&link.name, attach_type, name.as_str()) {
        Ok(()) => true,
        Err(error) if not_found(&error) => false,
        Err(error) => return Err(error).with_context(context),
    };
    let filter = TcAttachOptions::Netlink(NlOptions::default());
    let id = program.attach_with_options(&link.name, attach_type, filter).with_context(context)?;
    // What held a filter of ours was, as far as one can tell, added for it.
    Ok(Attached::Clsact { link: program.take_link(id)?, added: added || left_behind })
}

/// Adds the qdisc; `false`: it was there.
fn add_clsact(name: &str) -> Result<bool, TcError> {
    match tc::qdisc_add_clsact(name) {
        Ok(()) => Ok(true),
        Err(error) if errno(&error) == Some(libc::EEXIST) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Removes the clsact qdisc of a device, unless somebody has filters there.
///
/// # Errors
/// What rtnetlink answers.
pub async fn remove_clsact(netlink: &Handle, ifindex: u32) -> Result<()> {
    let index = ifindex as i32;
    for request in
        [netlink.traffic_filter(index).get().ingress(), netlink.traffic_filter(index).get().egress()]
    {
        let filters: Vec<_> = request.execute().try_collect().await?;
        if !filters.is_empty() {
            return Ok(());
        }
    }
    let mut request = netlink.qdisc().del(index);
    request.message_mut().header.parent = TcHandle::CLSACT;
    Ok(request.execute().await?)
}

fn not_found(error: &TcError) -> bool {
    errno(error) == Some(libc::ENOENT)
        || matches!(error, TcError::IoError(error) if error.kind() == io::ErrorKind::NotFound)
}

/// The errno somewhere down an error's chain.
fn errno(error: &(dyn Error + 'static)) -> Option<i32> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(errno) = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
            return Some(errno);
        }
        next = error.source();
    }
    None
}
