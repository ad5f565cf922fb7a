//! All network devices, to be found by what they are asked for: among as many as there are sessions nobody searches.

use crate::devices;
use crate::observe::Link;
use std::collections::HashMap;
use std::ops::{Deref, DerefMut};
use std::sync::OnceLock;

/// All network devices, by index.
#[derive(Clone, Debug, Default)]
pub struct Links {
    by_index: HashMap<u32, Link>,
    /// Made when it is first asked, and again after a change.
    found: OnceLock<Found>,
}

/// Indices of devices, by other things.
#[derive(Clone, Debug, Default)]
struct Found {
    by_name: HashMap<String, u32>,
    /// See [`devices::netdev_of`].
    by_session: HashMap<u32, u32>,
    /// By the device that they are ports of.
    ports: HashMap<u32, Vec<u32>>,
}

impl Links {
    /// The device of a name.
    pub fn named(&self, name: &str) -> Option<&Link> {
        self.get(self.found().by_name.get(name)?)
    }

    /// The device of a standalone session that users see, whatever it is called by now.
    pub fn netdev_of(&self, session_id: u32) -> Option<&Link> {
        self.get(self.found().by_session.get(&session_id)?)
    }

    /// The ports of a bridge or bond.
    pub fn ports(&self, controller: u32) -> impl Iterator<Item = &Link> {
        self.found().ports.get(&controller).into_iter().flatten().filter_map(|index| self.get(index))
    }

    fn found(&self) -> &Found {
        self.found.get_or_init(|| Found::of(&self.by_index))
    }
}

impl Found {
    fn of(links: &HashMap<u32, Link>) -> Self {
        let mut found = Self::default();
        for (&index, link) in links {
            found.by_name.insert(link.name.clone(), index);
            found.by_session.extend(devices::netdev_of(link).map(|session_id| (session_id, index)));
            if let Some(controller) = link.controller {
                found.ports.entry(controller).or_default().push(index);
            }
        }
        found
    }
}

impl Deref for Links {
    type Target = HashMap<u32, Link>;

    fn deref(&self) -> &Self::Target {
        &self.by_index
    }
}

impl DerefMut for Links {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.found.take();
        &mut self.by_index
    }
}

impl FromIterator<(u32, Link)> for Links {
    fn from_iter<T: IntoIterator<Item = (u32, Link)>>(links: T) -> Self {
        Self { by_index: links.into_iter().collect(), found: OnceLock::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(ifindex: u32, name: &str) -> (u32, Link) {
        (ifindex, Link { ifindex, name: name.to_owned(), controller: Some(1), ..Link::default() })
    }

    #[test]
    fn what_has_changed_is_found_as_it_is() {
        let mut links: Links = [link(2, "old")].into_iter().collect();
        assert_eq!(links.named("old").map(|link| link.ifindex), Some(2));
        let renamed = links.get_mut(&2).unwrap();
        (renamed.name, renamed.controller) = ("new".to_owned(), None);
        links.extend([link(3, "old")]);
        assert_eq!(["old", "new"].map(|name| links.named(name).map(|link| link.ifindex)), [Some(3), Some(2)]);
        assert_eq!(links.ports(1).map(|link| link.ifindex).collect::<Vec<_>>(), [3]);
    }
}
