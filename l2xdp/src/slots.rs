//! Which counters of the map `COUNTERS` are whose: a session keeps its slot while others come and go.

use std::collections::{BTreeSet, HashMap};

/// Which counters are whose.
#[derive(Debug, Default)]
pub struct Slots {
    of_sessions: HashMap<u32, u32>,
    free: Vec<u32>,
}

impl Slots {
    /// So many.
    pub fn new(count: u32) -> Self {
        Self { of_sessions: HashMap::new(), free: (0..count).rev().collect() }
    }

    /// Gives these sessions slots, as far as there are any, and takes those of all others back. Returns the new ones.
    pub fn follow(&mut self, sessions: &BTreeSet<u32>) -> Vec<u32> {
        let gone = self.of_sessions.extract_if(|id, _| !sessions.contains(id));
        self.free.extend(gone.map(|(_, slot)| slot));
        let mut given = Vec::new();
        for &id in sessions {
            if !self.of_sessions.contains_key(&id)
                && let Some(slot) = self.free.pop()
            {
                self.of_sessions.insert(id, slot);
                given.push(slot);
            }
        }
        given
    }

    /// A session's slot.
    pub fn of(&self, session_id: u32) -> Option<u32> {
        self.of_sessions.get(&session_id).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follow(slots: &mut Slots, sessions: &[u32]) -> Vec<u32> {
        slots.follow(&sessions.iter().copied().collect())
    }

    #[test]
    fn a_session_keeps_its_slot_and_what_it_leaves_is_given_again() {
        let mut slots = Slots::new(2);
        assert_eq!(follow(&mut slots, &[7, 8]), [0, 1]);
        assert_eq!(follow(&mut slots, &[8]), [0_u32; 0]);
        assert_eq!((slots.of(7), slots.of(8)), (None, Some(1)));
        assert_eq!(follow(&mut slots, &[8, 9]), [0]);
        assert_eq!(follow(&mut slots, &[8, 9, 10]), [0_u32; 0], "there are two");
        assert_eq!((slots.of(9), slots.of(10)), (Some(0), None));
    }
}
