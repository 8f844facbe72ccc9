//! All instructions at which a function returns.
//!
//! Probes on them take the place of a return probe where that does harm: on
//! Go's stacks, which move, and on kernels whose return probes make a system
//! call that a confined program may not make (6.11 to 6.13). An exit that is
//! overlooked would leave calls that never end, so the answer is all of them or
//! none.

use std::collections::{BTreeMap, BTreeSet};

use iced_x86::{
    Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpAccess,
    OpKind, Register,
};

use super::walk::{decode, target};
use crate::tls::elf::{Elf, Function, ReadAt};

/// The longest function of Go that is looked through, in bytes. crypto/tls has
/// none above 4 KiB.
const MAX_SIZE: u64 = 64 << 10;
/// How many instructions, each counted once for every state of the stack in
/// which it is reached, are followed.
const MAX_STEPS: usize = 4096;

/// An instruction at which a function returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Its offset in the file, in bytes.
    pub offset: u64,
    /// By how many bytes the stack pointer there is below what it is at the
    /// function's first instruction: 0 at a `ret`.
    pub stack: u32,
}

/// The exits of a function made by Go's compiler, whose size is known; `None`
/// when it is not certain that these are all.
///
/// Such code lies in one piece without data in it, and an indirect jump in it
/// is by a table of places in it, so that every instruction is looked at once.
pub fn of_go<R: ReadAt + ?Sized>(elf: &Elf<'_, R>, function: &Function) -> Option<Vec<Exit>> {
    if function.size == 0 || function.size > MAX_SIZE {
        return None;
    }
    let end = function.address.checked_add(function.size)?;
    let own = function.address..end;
    let code = elf
        .bytes_at(function.offset, usize::try_from(function.size).ok()?)
        .ok()
        .filter(|code| code.len() as u64 == function.size)?;
    let mut decoder = Decoder::with_ip(64, &code, function.address, DecoderOptions::NONE);
    let mut exits = Vec::new();
    while decoder.can_decode() {
        let instruction = decoder.decode();
        if instruction.is_invalid() {
            return None;
        }
        match instruction.flow_control() {
            FlowControl::Return => exits.push(exit(elf, &instruction)?),
            FlowControl::UnconditionalBranch | FlowControl::ConditionalBranch
                if !own.contains(&target(&instruction)?) =>
            {
                return None;
            }
            FlowControl::IndirectBranch if !by_table(&instruction) => return None,
            FlowControl::XbeginXabortXend => return None,
            _ => {}
        }
    }
    (!exits.is_empty()).then_some(exits)
}

/// Whether a jump is by a table of addresses.
fn by_table(instruction: &Instruction) -> bool {
    instruction.op0_kind() == OpKind::Memory
        && instruction.memory_index() != Register::None
        && instruction.memory_index_scale() == 8
}

/// The exits of any function; `None` when it is not certain that these are all:
/// an indirect jump, too much code, a stack that is not understood.
///
/// Every path from the first instruction is followed, direct jumps wherever
/// they lead: into a cold part of the function elsewhere, or into another
/// function that takes its place, whose exits then are its own. (Probes there
/// are reached by others too, who have no call to end.) Of a function without
/// a size it is not known where it ends. Behind a call that does not return the
/// path goes on into what follows; but it does so deeper in the stack, so that
/// returns which it reaches are told from the function's own.
pub fn of<R: ReadAt + ?Sized>(elf: &Elf<'_, R>, function: &Function) -> Option<Vec<Exit>> {
    let end = function.address.checked_add(function.size)?;
    let own = function.address..end;
    let mut code: BTreeMap<u64, Instruction> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    let mut waiting = vec![(function.address, Frame::AT_ENTRY)];
    let mut factory = InstructionInfoFactory::new();
    let mut exits = BTreeMap::new();
    // Returns of the function's own code at which the stack is not as it was.
    let mut doubtful = BTreeSet::new();
    while let Some((address, mut frame)) = waiting.pop() {
        if !seen.insert((address, frame)) {
            continue;
        }
        if seen.len() > MAX_STEPS {
            return None;
        }
        let instruction = match code.get(&address) {
            Some(known) => *known,
            None => *code.entry(address).or_insert(decode(elf, address)?),
        };
        let next = instruction.next_ip();
        // What stands before its end was a call that does not return.
        let goes_on = !own.contains(&address) || own.contains(&next);
        match instruction.flow_control() {
            FlowControl::Return => match frame.below? {
                0 => {
                    exits.insert(address, exit(elf, &instruction)?);
                }
                _ if own.contains(&address) => {
                    doubtful.insert(address);
                }
                _ => {}
            },
            FlowControl::UnconditionalBranch => waiting.push((target(&instruction)?, frame)),
            FlowControl::ConditionalBranch => {
                waiting.push((target(&instruction)?, frame));
                waiting.extend(goes_on.then_some((next, frame)));
            }
            FlowControl::Call | FlowControl::IndirectCall => {
                waiting.extend(goes_on.then_some((next, frame)));
            }
            FlowControl::Next => {
                frame.step(&instruction, &mut factory);
                waiting.push((next, frame));
            }
            FlowControl::Exception => {}
            FlowControl::Interrupt if instruction.mnemonic() == Mnemonic::Int3 => {}
            FlowControl::Interrupt
            | FlowControl::IndirectBranch
            | FlowControl::XbeginXabortXend => return None,
        }
    }
    let certain = doubtful.iter().all(|address| exits.contains_key(address));
    (certain && !exits.is_empty()).then(|| exits.into_values().collect())
}

/// The exit at a `ret`; `None` if it takes arguments off the stack.
fn exit<R: ReadAt + ?Sized>(elf: &Elf<'_, R>, instruction: &Instruction) -> Option<Exit> {
    if instruction.mnemonic() != Mnemonic::Ret || instruction.op_count() > 0 {
        return None;
    }
    Some(Exit {
        offset: elf.code_offset(instruction.ip())?,
        stack: 0,
    })
}

/// How far below their place at the function's entry the stack and the frame
/// pointer are, in bytes; `None` when that is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Frame {
    below: Option<i64>,
    base: Option<i64>,
}

impl Frame {
    const AT_ENTRY: Self = Self {
        below: Some(0),
        base: None,
    };

    /// An instruction that goes on to the next one.
    fn step(&mut self, instruction: &Instruction, factory: &mut InstructionInfoFactory) {
        use Register::{RBP, RSP};
        if instruction.mnemonic() == Mnemonic::Leave {
            self.below = self.base.and_then(|base| base.checked_sub(8));
            self.base = None;
            return;
        }
        let mut stack = false;
        let mut base = false;
        for used in factory.info(instruction).used_registers() {
            let written = !matches!(
                used.access(),
                OpAccess::None | OpAccess::Read | OpAccess::CondRead | OpAccess::NoMemAccess
            );
            if written && used.register().is_gpr() {
                stack |= used.register().full_register() == RSP;
                base |= used.register().full_register() == RBP;
            }
        }
        if !stack && !base {
            return;
        }
        let before = *self;
        if base {
            self.base = match instruction.op0_register() {
                RBP => before.address(instruction),
                _ => None,
            };
        }
        if stack {
            let moved = match instruction.mnemonic() {
                Mnemonic::Push | Mnemonic::Pop | Mnemonic::Pushfq | Mnemonic::Popfq
                    if instruction.op0_register() != RSP =>
                {
                    let by = i64::from(instruction.stack_pointer_increment());
                    before.below.and_then(|below| below.checked_sub(by))
                }
                _ if instruction.op0_register() == RSP => before.address(instruction),
                _ => None,
            };
            self.below = moved;
        }
    }

    /// What an instruction puts into its first operand, if that is a place in
    /// the stack at a known distance.
    fn address(&self, instruction: &Instruction) -> Option<i64> {
        let of = |register| match register {
            Register::RSP => self.below,
            Register::RBP => self.base,
            _ => None,
        };
        match instruction.mnemonic() {
            Mnemonic::Mov if instruction.op1_kind() == OpKind::Register => {
                of(instruction.op1_register())
            }
            Mnemonic::Lea if instruction.memory_index() == Register::None => {
                let by = instruction.memory_displacement64().cast_signed();
                of(instruction.memory_base())?.checked_sub(by)
            }
            Mnemonic::Add | Mnemonic::Sub => {
                let by = instruction
                    .try_immediate(1)
                    .ok()
                    .map(u64::cast_signed)
                    .filter(|by| by.unsigned_abs() < 1 << 32)?;
                let below = of(instruction.op0_register())?;
                match instruction.mnemonic() {
                    Mnemonic::Add => below.checked_sub(by),
                    _ => below.checked_add(by),
                }
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
