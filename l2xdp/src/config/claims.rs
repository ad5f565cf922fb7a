//! What two tunnels or sessions of a file cannot both have.

use super::error::Place;
use super::section::Section;
use std::collections::HashMap;
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    interfaces: HashMap<String, Vec<(Use, Owner)>>,
}

/// Who has it.
struct Owner {
    key: String,
    line: usize,
}

impl Claims {
    /// Takes something for a key of a section, or reports who has it.
    pub fn take(&mut self, claim: Claim, section: &Section, key: &str) {
        match self.taken.get(&claim) {
            Some(owner) => _ = section.report(key, claim.conflict(owner)),
            None => _ = self.taken.insert(claim, Owner::new(section, section.place(key))),
        }
    }

    /// Takes an interface for a key of a section, or reports who has it for a use that excludes this one.
    pub fn take_interface(&mut self, name: &str, purpose: Use, section: &Section, key: &str) {
        let uses = self.interfaces.entry(name.into()).or_default();
        match uses.iter().find(|(other, _)| !purpose.goes_with(*other)) {
            Some((other, owner)) => _ = section.report(key, purpose.conflict(name, *other, owner)),
            None => uses.push((purpose, Owner::new(section, section.place(key)))),
        }
    }
}

impl Owner {
    fn new(section: &Section, place: Place) -> Self {
        Self { line: section.problems().line(&place), key: place.key }
    }
}

impl Claim {
    fn conflict(self, Owner { key, line }: &Owner) -> String {
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

    fn conflict(self, name: &str, other: Self, Owner { key, line }: &Owner) -> String {
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
