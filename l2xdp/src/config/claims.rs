//! What two tunnels or sessions of a file cannot both have.

use super::section::Section;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::SocketAddr;

/// Something of which there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Claim {
    /// Our id of a tunnel.
    Tunnel(u32),
    /// Our id of a session, whatever its tunnel.
    Session(u32),
    /// The peer's id of a session, in the tunnel between these two; over IP, where the peer has nothing else to
    /// tell sessions by, in all tunnels between the two, with ports of 0.
    PeerSession(SocketAddr, SocketAddr, u32),
    /// The UDP tunnel from here to there.
    Endpoints(SocketAddr, SocketAddr),
}

/// What an interface is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Use {
    /// It is made for a session.
    Netdev,
    /// Sessions' devices become its ports.
    Bridge,
    /// It is cross-connected, as a whole or one VLAN of it.
    Port(Option<u16>),
}

/// All that the sections read so far have taken.
#[derive(Default)]
pub struct Claims {
    taken: HashMap<Claim, Owner>,
    interfaces: HashMap<String, Uses>,
}

/// What an interface is used for: something first, and by whom each use was first taken.
struct Uses {
    first: Use,
    owners: HashMap<Use, Owner>,
}

/// Who has it: a key, whose place is in bytes from the start of the file.
struct Owner {
    key: &'static str,
    offset: usize,
}

impl Claims {
    /// Takes something for a key of a section, or reports who has it.
    pub fn take(&mut self, claim: Claim, section: &Section, key: &'static str) {
        match self.taken.entry(claim) {
            Entry::Occupied(owner) => _ = section.report(key, claim.conflict(owner.get(), section)),
            Entry::Vacant(free) => _ = free.insert(Owner::new(section, key)),
        }
    }

    /// Takes an interface for a key of a section, or reports who has it for a use that excludes this one.
    pub fn take_interface(&mut self, name: &str, purpose: Use, section: &Section, key: &'static str) {
        let Some(uses) = self.interfaces.get_mut(name) else {
            let owners = [(purpose, Owner::new(section, key))].into();
            self.interfaces.insert(name.into(), Uses { first: purpose, owners });
            return;
        };
        match uses.excluding(purpose) {
            Some((other, owner)) => _ = section.report(key, purpose.conflict(name, other, owner, section)),
            None => _ = uses.owners.entry(purpose).or_insert_with(|| Owner::new(section, key)),
        }
    }
}

impl Uses {
    /// The use that another can't be beside. All that go together are of one kind, for which the first can speak.
    fn excluding(&self, purpose: Use) -> Option<(Use, &Owner)> {
        let other = if purpose.goes_with(self.first) { purpose } else { self.first };
        let owner = self.owners.get(&other)?;
        (!purpose.goes_with(other)).then_some((other, owner))
    }
}

impl Owner {
    fn new(section: &Section, key: &'static str) -> Self {
        Self { key, offset: section.offset(key) }
    }

    /// Its key and line, as another section's problems name them.
    fn place(&self, section: &Section) -> (String, usize) {
        (section.path(self.key), section.problems().position(self.offset).line)
    }
}

impl Claim {
    fn conflict(self, owner: &Owner, section: &Section) -> String {
        let (key, line) = owner.place(section);
        match self {
            Self::Tunnel(id) => format!("{id} is already the {key} of line {line}; choose another"),
            Self::Session(id) => {
                format!("{id} is already the {key} of line {line}; choose another, unique in all tunnels")
            }
            Self::PeerSession(_, _, id) => {
                format!("{id} is already the {key} of line {line}, to the same peer; choose another")
            }
            Self::Endpoints(local, remote) => format!(
                "the tunnel of line {line} has the same addresses and ports, {local} to {remote}; \
                 add the session there, or choose another port"
            ),
        }
    }
}

impl Use {
    /// May both be of one interface?
    fn goes_with(self, other: Self) -> bool {
        match (self, other) {
            (Self::Bridge, Self::Bridge) => true,
            (Self::Port(Some(vlan)), Self::Port(Some(other))) => vlan != other,
            _ => false,
        }
    }

    fn conflict(self, name: &str, other: Self, owner: &Owner, section: &Section) -> String {
        let (key, line) = owner.place(section);
        let mend = match (self, other) {
            (Self::Port(_), Self::Port(Some(vlan))) => {
                format!(" with VLAN {vlan}; choose another VLAN or interface")
            }
            (Self::Port(Some(_)), Self::Port(None)) => {
                " with all its VLANs; give that session a vlan too, or choose another interface".into()
            }
            _ => "; choose another interface".into(),
        };
        format!("{name:?} is already the {key} of line {line}{mend}")
    }
}
