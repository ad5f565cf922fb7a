//! The arrays of sessions that XDP looks into before it asks a hash table.
//!
//! The kernel writes rows in place, and a program could read half of the old one and half of the new. So a row that a
//! program may have found is first made nobody's, of which only the key is another; and it is written once no program that
//! found it can still be running. Meanwhile the hash table has the session.

use crate::datapath::Plain;
use crate::sys;
use anyhow::{Context, Result};
use aya::maps::{Array, MapData};
use l2xdp_common::session::ROWS;
use l2xdp_common::{RxRow, TxRow};
use std::collections::BTreeMap;

/// A row, which belongs to the session of one key. With a key whose row is another it is nobody's, as with 0 in all rows
/// but the first.
pub trait Row: bytemuck::Pod {
    /// Whose it is.
    fn key(&mut self) -> &mut u32;
    /// Where the row of a key is, if it has one.
    fn index(key: u32) -> u32;
}

impl Row for TxRow {
    fn key(&mut self) -> &mut u32 {
        &mut self.ifindex
    }
    fn index(key: u32) -> u32 {
        Self::index(key)
    }
}

impl Row for RxRow {
    fn key(&mut self) -> &mut u32 {
        &mut self.session_id
    }
    fn index(key: u32) -> u32 {
        Self::index(key)
    }
}

/// All rows. Of several sessions with the same row, the first has it, and the others do without.
pub struct Rows<T: Row> {
    /// One value, which the kernel writes as a whole: most rows with what they are.
    map: Array<MapData, Plain<[T; ROWS as usize]>>,
    written: BTreeMap<u32, T>,
    /// To be written by [`publish`](Self::publish).
    next: BTreeMap<u32, T>,
}

impl<T: Row> Rows<T> {
    pub fn new(map: Array<MapData, Plain<[T; ROWS as usize]>>) -> Result<Self> {
        let mut rows = Self { map, written: BTreeMap::new(), next: BTreeMap::new() };
        let mut first = T::zeroed();
        *first.key() = nobody(0);
        rows.written.insert(0, first);
        rows.write()?;
        Ok(rows)
    }

    /// Sets a session's row, if it can have one.
    pub fn set(&mut self, mut row: T) -> Result<()> {
        let key = *row.key();
        let index = T::index(key);
        if self.owner(index).is_none_or(|owner| owner == key) {
            self.withdraw(index)?;
            self.next.insert(index, row);
        }
        Ok(())
    }

    /// Makes a session's row nobody's.
    pub fn remove(&mut self, key: u32) -> Result<()> {
        let index = T::index(key);
        if self.owner(index) == Some(key) {
            self.next.remove(&index);
            self.withdraw(index)?;
        }
        Ok(())
    }

    /// Lets programs find what has been set.
    pub fn publish(&mut self) -> Result<()> {
        let was_found = |index: &u32| self.written.contains_key(index);
        if self.next.keys().any(was_found) && !sys::wait_for_programs() {
            self.next.retain(|index, _| !self.written.contains_key(index)); // the hash table has the others
        }
        if self.next.is_empty() {
            return Ok(());
        }
        for (&index, row) in &self.next {
            let mut row = *row;
            *row.key() = nobody(index);
            self.written.insert(index, row);
        }
        self.write()?;
        self.written.append(&mut self.next);
        self.write()
    }

    fn owner(&mut self, index: u32) -> Option<u32> {
        let row = self.next.get_mut(&index).or_else(|| self.written.get_mut(&index))?;
        Some(*row.key()).filter(|key| *key != nobody(index))
    }

    fn withdraw(&mut self, index: u32) -> Result<()> {
        let Some(row) = self.written.get_mut(&index) else { return Ok(()) };
        if std::mem::replace(row.key(), nobody(index)) != nobody(index) {
            self.write()?;
        }
        Ok(())
    }

    fn write(&mut self) -> Result<()> {
        let mut rows = Plain([T::zeroed(); ROWS as usize]);
        for (&index, row) in &self.written {
            if let Some(place) = rows.0.get_mut(index as usize) {
                *place = *row;
            }
        }
        self.map.set(0, rows, 0).context("the rows of sessions")
    }
}

/// A key whose row is another.
const fn nobody(index: u32) -> u32 {
    index ^ 1
}
