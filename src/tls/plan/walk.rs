//! Follows a small function's code to what it calls, and with which of its own
//! arguments.
//!
//! Every path from the first instruction is followed at once: each register
//! and each stack slot is known to hold one of the function's arguments, an
//! address on its stack, or nothing known, and where paths meet only what they
//! agree on stays known. What is not understood makes the answer `None`, never
//! a guess.

use std::collections::BTreeMap;

use iced_x86::{
    Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpKind,
};

use super::state::State;
use crate::tls::elf::{Elf, Function, ReadAt};

/// How many different instructions are followed. The functions of interest
/// have 10 to 100.
const MAX_INSTRUCTIONS: usize = 400;
/// How often an instruction is followed again, on average, with less known.
const MAX_ROUNDS: usize = 8;
/// The longest instruction, in bytes.
const LONGEST: usize = 15;

/// What a function calls.
#[derive(Debug, Default)]
pub(super) struct Walk {
    /// Direct calls: the address called, and what is known there.
    pub(super) calls: Vec<(u64, State)>,
    /// Jumps out through the table of imports.
    pub(super) imports: Vec<State>,
}

/// Follows a function; `None` when its code is not understood: an indirect
/// call or jump (but for imports), too much of it, an unknown length, or bytes
/// that are no code.
pub(super) fn walk<R: ReadAt + ?Sized>(elf: &Elf<'_, R>, function: &Function) -> Option<Walk> {
    let end = function.address.checked_add(function.size)?;
    let own = function.address..end;
    if own.is_empty() {
        return None;
    }
    let mut code: BTreeMap<u64, (Instruction, State)> = BTreeMap::new();
    let mut waiting = vec![(function.address, State::at_entry())];
    let mut factory = InstructionInfoFactory::new();
    let mut rounds = MAX_INSTRUCTIONS * MAX_ROUNDS;
    while let Some((address, state)) = waiting.pop() {
        rounds = rounds.checked_sub(1)?;
        let (instruction, mut state) = match code.get_mut(&address) {
            Some((instruction, known)) => {
                if !known.join(&state) {
                    continue;
                }
                (*instruction, known.clone())
            }
            None => {
                let instruction = decode(elf, address)?;
                code.insert(address, (instruction, state.clone()));
                (instruction, state)
            }
        };
        if code.len() > MAX_INSTRUCTIONS {
            return None;
        }
        let next = instruction.next_ip();
        // Past the end of the function is another one: what stands before it
        // was a call that does not return.
        let goes_on = !own.contains(&address) || own.contains(&next);
        match instruction.flow_control() {
            FlowControl::Next => {
                state.step(&instruction, &mut factory);
                waiting.extend(goes_on.then_some((next, state)));
            }
            FlowControl::UnconditionalBranch => waiting.push((target(&instruction)?, state)),
            FlowControl::ConditionalBranch => {
                waiting.push((target(&instruction)?, state.clone()));
                waiting.extend(goes_on.then_some((next, state)));
            }
            FlowControl::Call | FlowControl::IndirectCall => {
                if !instruction.is_ip_rel_memory_operand() {
                    target(&instruction)?;
                }
                state.called();
                waiting.extend(goes_on.then_some((next, state)));
            }
            FlowControl::IndirectBranch if instruction.is_ip_rel_memory_operand() => {}
            FlowControl::Return | FlowControl::Interrupt | FlowControl::Exception => {}
            FlowControl::IndirectBranch | FlowControl::XbeginXabortXend => return None,
        }
    }
    let mut found = Walk::default();
    for (instruction, state) in code.into_values() {
        match instruction.flow_control() {
            FlowControl::Call => found.calls.push((target(&instruction)?, state)),
            FlowControl::IndirectBranch => found.imports.push(state),
            _ => {}
        }
    }
    Some(found)
}

/// Whether the code at an address is an entry of the table of imports.
pub(super) fn is_import<R: ReadAt + ?Sized>(elf: &Elf<'_, R>, address: u64) -> bool {
    let mut at = decode(elf, address);
    if let Some(instruction) = at.filter(|i| i.mnemonic() == Mnemonic::Endbr64) {
        at = decode(elf, instruction.next_ip());
    }
    at.is_none_or(|i| i.flow_control() == FlowControl::IndirectBranch)
}

/// The address of the word that the stub of an import at `address` jumps by.
pub(super) fn import_slot<R: ReadAt + ?Sized>(elf: &Elf<'_, R>, address: u64) -> Option<u64> {
    let mut at = decode(elf, address)?;
    if at.mnemonic() == Mnemonic::Endbr64 {
        at = decode(elf, at.next_ip())?;
    }
    (at.flow_control() == FlowControl::IndirectBranch && at.is_ip_rel_memory_operand())
        .then(|| at.ip_rel_memory_address())
}

/// The instruction at an address.
pub(in crate::tls) fn decode<R: ReadAt + ?Sized>(
    elf: &Elf<'_, R>,
    address: u64,
) -> Option<Instruction> {
    let bytes = elf.bytes_at(elf.code_offset(address)?, LONGEST).ok()?;
    let mut decoder = Decoder::with_ip(64, &bytes, address, DecoderOptions::NONE);
    let instruction = decoder.decode();
    (!instruction.is_invalid()).then_some(instruction)
}

/// Where a direct call or jump goes.
pub(super) fn target(instruction: &Instruction) -> Option<u64> {
    matches!(instruction.op0_kind(), OpKind::NearBranch64).then(|| instruction.near_branch_target())
}
