//! The arrays of sessions that XDP looks into before it asks a hash table.
//!
//! The kernel writes a row in place, and a program could read half of the old one and half of the new. So a row that a
//! program may have found is first made nobody's, of which only the key is another; and it is written once no program that
//! found it can still be running. Meanwhile the hash table has the session.

use crate::datapath::Plain;
use crate::sys;
use anyhow::{Context, Result};
use aya::maps::{Array, MapData};
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

/// An array of rows. Of several sessions with the same row, the first has it, and the others do without.
pub struct Rows<T: Row> {
    array: Array<MapData, Plain<T>>,
    written: BTreeMap<u32, T>,
    /// To be written by [`publish`](Self::publish).
    next: BTreeMap<u32, T>,
}

impl<T: Row> Rows<T> {
    pub fn new(mut array: Array<MapData, Plain<T>>) -> Result<Self> {
        let mut first = T::zeroed();
        *first.key() = nobody(0);
        array.set(0, Plain(first), 0).context("the first row of sessions")?;
        Ok(Self { array, written: BTreeMap::new(), next: BTreeMap::new() })
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
        let safe = !self.next.keys().any(was_found) || sys::wait_for_programs();
        for (index, mut row) in std::mem::take(&mut self.next) {
            if !safe && self.written.contains_key(&index) {
                continue; // the hash table has it
            }
            let key = std::mem::replace(row.key(), nobody(index));
            self.write(index, row)?;
            *row.key() = key;
            self.write(index, row)?;
        }
        Ok(())
    }

    fn owner(&mut self, index: u32) -> Option<u32> {
        let row = self.next.get_mut(&index).or_else(|| self.written.get_mut(&index))?;
        Some(*row.key()).filter(|key| *key != nobody(index))
    }

    fn withdraw(&mut self, index: u32) -> Result<()> {
        let Some(mut row) = self.written.get(&index).copied() else { return Ok(()) };
        if std::mem::replace(row.key(), nobody(index)) != nobody(index) {
            self.write(index, row)?;
        }
        Ok(())
    }

    fn write(&mut self, index: u32, row: T) -> Result<()> {
        self.array.set(index, Plain(row), 0).with_context(|| format!("row {index} of sessions"))?;
        self.written.insert(index, row);
        Ok(())
    }
}

/// A key whose row is another.
const fn nobody(index: u32) -> u32 {
    index ^ 1
}
