//! Which functions of a BPF object call which, and how they compare.

use object::{
    Object as _, ObjectSection as _, ObjectSymbol as _, RelocationTarget, SectionIndex, SectionKind,
};
use std::collections::BTreeSet;

/// All calls from one function of the object to another: (caller, callee).
pub fn calls(object: &[u8]) -> object::Result<BTreeSet<(String, String)>> {
    let object = object::File::parse(object)?;
    let mut calls = BTreeSet::new();
    for section in object.sections().filter(|section| section.kind() == SectionKind::Text) {
        for (at, instruction) in section.data()?.chunks_exact(INSTRUCTION).enumerate() {
            let Some(offset) = called(instruction) else { continue };
            let at = (at * INSTRUCTION) as u64;
            let (to_section, to) = match relocated(&object, &section, at)? {
                // In front of the symbol's address by an instruction, so that -1 is the symbol itself.
                Some((index, address)) => (index, address.wrapping_add_signed(offset + INSTRUCTION as i64)),
                None => (section.index(), at.wrapping_add_signed(offset + INSTRUCTION as i64)),
            };
            calls.insert((function(&object, section.index(), at), function(&object, to_section, to)));
        }
    }
    Ok(calls)
}

/// The functions of the object that compare a register of 64 bits with a constant that was negative, or looked so in 32
/// bits.
pub fn negative_comparisons(object: &[u8]) -> object::Result<BTreeSet<String>> {
    let object = object::File::parse(object)?;
    let mut functions = BTreeSet::new();
    for section in object.sections().filter(|section| section.kind() == SectionKind::Text) {
        let instructions = section.data()?.chunks_exact(INSTRUCTION).enumerate();
        for (at, _) in instructions.filter(|(_, instruction)| compares_with_negative(instruction)) {
            functions.insert(function(&object, section.index(), (at * INSTRUCTION) as u64));
        }
    }
    Ok(functions)
}

/// An unsigned comparison, in 64 bits, with such a constant.
fn compares_with_negative(instruction: &[u8]) -> bool {
    const JUMP: u8 = 0x05;
    /// `==`, `>`, `>=`, `!=`, `<`, `<=`.
    const UNSIGNED: [u8; 6] = [0x10, 0x20, 0x30, 0x50, 0xa0, 0xb0];
    let &[opcode, _, _, _, .., highest] = instruction else { return false };
    opcode & 0x0f == JUMP && UNSIGNED.contains(&(opcode & 0xf0)) && highest & 0x80 != 0
}

/// In bytes.
const INSTRUCTION: usize = 8;

/// How far a call of a function of the object goes, in bytes; a helper of the kernel's is called otherwise.
fn called(instruction: &[u8]) -> Option<i64> {
    const CALL: u8 = 0x85;
    const PSEUDO_CALL: u8 = 1;
    let &[opcode, registers, _, _, ref immediate @ ..] = instruction else { return None };
    let words = i64::from(i32::from_le_bytes(immediate.try_into().ok()?));
    (opcode == CALL && registers >> 4 == PSEUDO_CALL).then_some(words * INSTRUCTION as i64)
}

fn relocated<'data>(
    object: &object::File<'data>,
    section: &object::Section<'data, '_>,
    at: u64,
) -> object::Result<Option<(SectionIndex, u64)>> {
    let Some((_, relocation)) = section.relocations().find(|(offset, _)| *offset == at) else {
        return Ok(None);
    };
    let RelocationTarget::Symbol(index) = relocation.target() else { return Ok(None) };
    let symbol = object.symbol_by_index(index)?;
    Ok(symbol.section_index().map(|section| (section, symbol.address())))
}

/// The name of the function at an address.
fn function(object: &object::File<'_>, section: SectionIndex, address: u64) -> String {
    let symbol = object.symbols().find(|symbol| {
        let inside = symbol.address()..symbol.address() + symbol.size();
        symbol.section_index() == Some(section) && inside.contains(&address)
    });
    let name = symbol.and_then(|symbol| symbol.name().ok().map(str::to_owned));
    name.unwrap_or_else(|| format!("section {} at {address:#x}", section.0))
}
