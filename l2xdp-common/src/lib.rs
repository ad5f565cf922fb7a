//! shared
#![no_std]
