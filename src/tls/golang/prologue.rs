//! How a Go function begins, and where in that its entry probe goes.
//!
//! It compares the stack pointer with the end of its stack, a field of the
//! running goroutine, and if there is too little room calls the runtime and
//! then begins anew (`cmd/internal/obj/x86`):
//!
//! ```text
//! cmp 0x10(%r14),%rsp        lea -0x48(%rsp),%r12
//! jbe grow                   cmp 0x10(%r14),%r12
//! push %rbp                  jbe grow
//! ```
//!
//! Then it makes its frame, and where it needs its arguments later it puts them
//! where its caller has left room for them, behind the return address.

use iced_x86::{Decoder, DecoderOptions, Mnemonic, OpKind, Register};

use crate::tls::elf::{Elf, Function, ReadAt};
use crate::tls::plan::decode;

/// The field of the goroutine that holds the end of its stack, for Go's code:
/// behind the stack's two ends (`runtime.g.stackguard0`).
const STACK_GUARD: u64 = 16;
/// How many instructions the comparison takes at most: of a function with a
/// large frame `mov`, `sub`, `jb` come before it.
const MAX_CHECK: usize = 6;

/// The file offset of an instruction that the kernel emulates (`push`, a
/// conditional jump) instead of single-stepping it, at which the arguments are
/// still in their registers and the stack pointer as at the entry.
///
/// `None` when the function does not begin by comparing with a field of the
/// goroutine in R14: then this is no function, or one of a Go that takes
/// arguments elsewhere.
///
/// Behind the comparison if there is a `push` (Go 1.21): reached once. Else it
/// is the jump, reached again after the stack has grown: then the call is
/// noted a second time in place of the first, as it is as deep in the stack.
pub(super) fn entry<R: ReadAt + ?Sized>(elf: &Elf<'_, R>, function: &Function) -> Option<u64> {
    let mut at = function.address;
    let mut compared = false;
    for _ in 0..MAX_CHECK {
        let instruction = decode(elf, at)?;
        at = instruction.next_ip();
        match instruction.mnemonic() {
            Mnemonic::Cmp => {
                compared = matches!(
                    (instruction.op0_kind(), instruction.op1_kind()),
                    (OpKind::Memory, OpKind::Register) | (OpKind::Register, OpKind::Memory)
                ) && instruction.memory_base() == Register::R14
                    && instruction.memory_index() == Register::None
                    && instruction.memory_displacement64() == STACK_GUARD;
                if !compared {
                    return None;
                }
            }
            // Only the scratch register is written.
            Mnemonic::Lea | Mnemonic::Mov | Mnemonic::Sub
                if instruction.op0_kind() == OpKind::Register
                    && instruction.op0_register() == Register::R12 => {}
            Mnemonic::Jbe if compared => {
                let next = decode(elf, at)?;
                let push =
                    next.mnemonic() == Mnemonic::Push && next.op0_register() == Register::RBP;
                return elf.code_offset(if push { at } else { instruction.ip() });
            }
            Mnemonic::Jb if !compared => {}
            _ => return None,
        }
    }
    None
}

/// Whether a function with three words of arguments still has all of them
/// behind its return address when it returns: it puts them there and nothing
/// else. (The runtime keeps them right when the stack moves, as long as the
/// function needs them.)
pub(super) fn keeps_arguments<R: ReadAt + ?Sized>(elf: &Elf<'_, R>, function: &Function) -> bool {
    keeps(elf, function).unwrap_or(false)
}

fn keeps<R: ReadAt + ?Sized>(elf: &Elf<'_, R>, function: &Function) -> Option<bool> {
    const MAX_SIZE: u64 = 64 << 10;
    let size = usize::try_from(function.size.min(MAX_SIZE)).ok()?;
    let code = elf.bytes_at(function.offset, size).ok()?;
    let mut frame = 0;
    let mut kept = [false; 3];
    for instruction in Decoder::with_ip(64, &code, function.address, DecoderOptions::NONE) {
        let to_register = instruction.op0_kind() == OpKind::Register;
        match instruction.mnemonic() {
            Mnemonic::Push => frame += 8,
            Mnemonic::Sub if to_register && instruction.op0_register() == Register::RSP => {
                frame = instruction.try_immediate(1).ok()?.checked_add(frame)?;
                break;
            }
            _ => {}
        }
    }
    // Once the frame is made the stack pointer stays: Go pushes nothing.
    for instruction in Decoder::with_ip(64, &code, function.address, DecoderOptions::NONE) {
        if instruction.op0_kind() != OpKind::Memory
            || instruction.memory_base() != Register::RSP
            || instruction.memory_index() != Register::None
        {
            continue;
        }
        let place = instruction.memory_displacement64().wrapping_sub(frame);
        let length = u64::try_from(instruction.memory_size().size()).ok()?;
        if instruction.mnemonic() == Mnemonic::Cmp || place >= 32 || place.wrapping_add(length) <= 8
        {
            continue;
        }
        let (index, register) = match place {
            8 => (0, Register::RAX),
            16 => (1, Register::RBX),
            24 => (2, Register::RCX),
            _ => return Some(false),
        };
        let first = kept.get_mut(index)?;
        let plain = instruction.mnemonic() == Mnemonic::Mov
            && instruction.op1_kind() == OpKind::Register
            && instruction.op1_register() == register;
        if !plain || *first {
            return Some(false);
        }
        *first = true;
    }
    Some(kept.iter().all(|kept| *kept))
}
