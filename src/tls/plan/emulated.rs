//! The first instruction of a function that the kernel emulates.
//!
//! A probe on any other instruction is single-stepped, which costs several
//! times as much. One that stands a few instructions into the function will do
//! as well, as long as every call comes by and the arguments are still where
//! they were.

use goblin::elf::header::EM_X86_64;
use iced_x86::{FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpKind, Register};

use super::state::{State, Value};
use super::walk::decode;
use crate::tls::elf::{Elf, Function, ReadAt};

/// How many instructions are looked at.
const MAX_INSTRUCTIONS: usize = 24;

/// Offset in the file of the first such instruction on the straight line from
/// a function's entry where its first three arguments are in their registers,
/// of the third at least the low half.
pub(super) fn find<R: ReadAt + ?Sized>(elf: &Elf<'_, R>, function: &Function) -> Option<u64> {
    if elf.machine() != EM_X86_64 {
        return None;
    }
    let mut factory = InstructionInfoFactory::new();
    let mut state = State::at_entry();
    let mut address = function.address;
    for _ in 0..MAX_INSTRUCTIONS {
        let instruction = decode(elf, address)?;
        let third = state.get(Register::RDX);
        if state.get(Register::RDI) != Value::Argument(0)
            || state.get(Register::RSI) != Value::Argument(1)
            || !matches!(third, Value::Argument(2) | Value::LowHalf(2))
        {
            return None;
        }
        if is_emulated(&instruction) {
            return elf.code_offset(address);
        }
        if instruction.flow_control() != FlowControl::Next {
            return None;
        }
        state.step(&instruction, &mut factory);
        address = instruction.next_ip();
    }
    None
}

/// Whether the kernel emulates it: `push` of a register, and relative jumps and
/// calls (arch/x86/kernel/uprobes.c, 5.10 to 7.2).
fn is_emulated(instruction: &Instruction) -> bool {
    match instruction.flow_control() {
        FlowControl::ConditionalBranch | FlowControl::UnconditionalBranch | FlowControl::Call => {
            // Not `loop` and `jrcxz`, and no prefixes.
            instruction.op0_kind() == OpKind::NearBranch64
                && !instruction.is_jcx_short()
                && !instruction.is_loop()
                && !instruction.is_loopcc()
                && matches!(instruction.len(), 2 | 5 | 6)
        }
        FlowControl::Next => {
            instruction.mnemonic() == Mnemonic::Push && instruction.op0_kind() == OpKind::Register
        }
        _ => false,
    }
}
