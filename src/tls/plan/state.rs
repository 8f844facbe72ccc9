//! What is known of registers and stack while a function's code is followed.
//!
//! A stack slot is remembered as long as nothing can have changed it: an
//! address of the stack that goes where it is not followed makes every later
//! call and every store to an unknown place one that can.

use std::collections::BTreeMap;

use iced_x86::{Instruction, InstructionInfoFactory, Mnemonic, OpAccess, OpKind, Register};

/// What a register or a stack slot holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Value {
    /// Nothing is known.
    #[default]
    Unknown,
    /// An argument of the function, from 0.
    Argument(u8),
    /// The low 32 bits of an argument, and above them anything.
    LowHalf(u8),
    /// An address on the stack, relative to the return address.
    Stack(i64),
}

impl Value {
    /// What holds of the one and of the other.
    fn both(self, other: Self) -> Self {
        use Value::{Argument, LowHalf};
        match (self, other) {
            _ if self == other => self,
            (Argument(one), LowHalf(two)) | (LowHalf(one), Argument(two)) if one == two => {
                LowHalf(one)
            }
            _ => Self::Unknown,
        }
    }

    /// What is left of it when 32 bits are moved.
    fn half(self) -> Self {
        match self {
            Self::Argument(number) | Self::LowHalf(number) => Self::LowHalf(number),
            Self::Unknown | Self::Stack(_) => Self::Unknown,
        }
    }
}

/// What is known at one instruction, before it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    registers: [Value; 16],
    /// Known stack slots: where they begin, their size in bytes (4 or 8) and
    /// what they hold.
    slots: BTreeMap<i64, (i64, Value)>,
    /// Whether an address of the stack has been put where it is not followed,
    /// so that any store may change any slot.
    escaped: bool,
}

impl State {
    /// At a function's first instruction (System V ABI).
    pub(super) fn at_entry() -> Self {
        let mut state = Self {
            registers: [Value::Unknown; 16],
            slots: BTreeMap::new(),
            escaped: false,
        };
        let arguments = [
            Register::RDI,
            Register::RSI,
            Register::RDX,
            Register::RCX,
            Register::R8,
        ];
        for (number, register) in (0..).zip(arguments) {
            state.set(register, Value::Argument(number));
        }
        state.set(Register::RSP, Value::Stack(0));
        state
    }

    /// What a general register holds, by the name of its 64 bits.
    pub(super) fn get(&self, register: Register) -> Value {
        if !register.is_gpr() {
            return Value::Unknown;
        }
        let full = register.full_register().number();
        self.registers.get(full).copied().unwrap_or_default()
    }

    fn set(&mut self, register: Register, value: Value) {
        if register.is_gpr()
            && let Some(slot) = self.registers.get_mut(register.full_register().number())
        {
            *slot = value;
        }
    }

    /// Forgets what `other` does not know as well; whether that was anything.
    pub(super) fn join(&mut self, other: &Self) -> bool {
        let before = self.clone();
        for (own, other) in self.registers.iter_mut().zip(other.registers) {
            *own = own.both(other);
        }
        self.slots
            .retain(|at, slot| other.slots.get(at) == Some(slot));
        self.escaped |= other.escaped;
        *self != before
    }

    /// An instruction that goes on to the next one.
    pub(super) fn step(&mut self, instruction: &Instruction, factory: &mut InstructionInfoFactory) {
        // An aligned stack: then a store by the stack pointer goes anywhere.
        if !matches!(self.get(Register::RSP), Value::Stack(_)) {
            self.escaped = true;
        }
        if !self.step_known(instruction) {
            self.step_any(instruction, factory);
        }
    }

    /// Instructions that move values; whether this was one of them.
    fn step_known(&mut self, instruction: &Instruction) -> bool {
        let to = instruction.op0_register();
        match instruction.mnemonic() {
            Mnemonic::Mov | Mnemonic::Movsxd => self.step_move(instruction),
            Mnemonic::Lea if to.is_gpr64() => {
                let value = self.place(instruction).map_or(Value::Unknown, Value::Stack);
                self.set(to, value);
                true
            }
            Mnemonic::Add | Mnemonic::Sub if to.is_gpr64() => {
                let (Value::Stack(at), Some(amount)) = (self.get(to), immediate(instruction))
                else {
                    return false;
                };
                let moved = if instruction.mnemonic() == Mnemonic::Add {
                    at.checked_add(amount)
                } else {
                    at.checked_sub(amount)
                };
                self.set(to, moved.map_or(Value::Unknown, Value::Stack));
                true
            }
            Mnemonic::Push if instruction.op0_kind() == OpKind::Register && to.is_gpr64() => {
                let value = self.get(to);
                let top = self.offset(Register::RSP, -8);
                self.set(Register::RSP, top.map_or(Value::Unknown, Value::Stack));
                self.store(top, 8, value);
                true
            }
            Mnemonic::Pop if instruction.op0_kind() == OpKind::Register && to.is_gpr64() => {
                let value = self.load(self.offset(Register::RSP, 0), 8);
                let top = self.offset(Register::RSP, 8);
                self.set(Register::RSP, top.map_or(Value::Unknown, Value::Stack));
                self.set(to, value);
                true
            }
            _ => false,
        }
    }

    /// `mov` and `movsxd` between registers, and between them and the stack.
    fn step_move(&mut self, instruction: &Instruction) -> bool {
        let (to, from) = (instruction.op0_register(), instruction.op1_register());
        let width = |register: Register| match register.size() {
            8 if register.is_gpr64() => Some(8),
            4 if register.is_gpr32() => Some(4),
            _ => None,
        };
        match (instruction.op0_kind(), instruction.op1_kind()) {
            (OpKind::Register, OpKind::Register) => match (width(to), width(from)) {
                (Some(8), Some(8)) => self.set(to, self.get(from)),
                (Some(_), Some(4)) => self.set(to, self.get(from).half()),
                _ => return false,
            },
            (OpKind::Register, OpKind::Memory) => {
                let size = instruction.memory_size().size() as i64;
                if width(to).is_none() || !matches!(size, 4 | 8) {
                    return false;
                }
                let value = self.load(self.place(instruction), size);
                self.set(to, if size == 4 { value.half() } else { value });
            }
            (OpKind::Memory, OpKind::Register) => {
                let (Some(size), Some(place)) = (width(from), self.place(instruction)) else {
                    return false;
                };
                let value = self.get(from);
                self.store(
                    Some(place),
                    size,
                    if size == 4 { value.half() } else { value },
                );
            }
            _ => return false,
        }
        true
    }

    /// Any other instruction: what it writes is not known afterwards.
    fn step_any(&mut self, instruction: &Instruction, factory: &mut InstructionInfoFactory) {
        let info = factory.info(instruction);
        let addressing = [instruction.memory_base(), instruction.memory_index()];
        for used in info.used_registers() {
            let register = used.register();
            if reads(used.access())
                && matches!(self.get(register), Value::Stack(_))
                && register.full_register() != Register::RSP
                && !addressing.contains(&register)
            {
                self.escaped = true;
            }
        }
        for used in info.used_memory() {
            if !writes(used.access()) {
                continue;
            }
            let place = (used.index() == Register::None && plain_segment(used.segment()))
                .then(|| self.offset(used.base(), used.displacement() as i64))
                .flatten();
            let size = used.memory_size().size() as i64;
            // On the stack, but where?
            let astray = place.is_none()
                && [used.base(), used.index()]
                    .iter()
                    .any(|register| matches!(self.get(*register), Value::Stack(_)));
            if astray || size == 0 {
                self.slots.clear();
            }
            self.store(place, size, Value::Unknown);
        }
        for used in info.used_registers() {
            if writes(used.access()) {
                self.set(used.register(), Value::Unknown);
            }
        }
    }

    /// What a call leaves (System V ABI): the registers that are the caller's
    /// to keep are lost, and so is what the called function has the address of.
    pub(super) fn called(&mut self) {
        let arguments = [
            Register::RDI,
            Register::RSI,
            Register::RDX,
            Register::RCX,
            Register::R8,
            Register::R9,
        ];
        let lowest = arguments
            .iter()
            .filter_map(|register| match self.get(*register) {
                Value::Stack(at) => Some(at),
                _ => None,
            })
            .min();
        if self.escaped {
            self.slots.clear();
        } else if let Some(lowest) = lowest {
            self.slots.retain(|at, (size, _)| at + *size <= lowest);
            // It may have kept the address.
            self.escaped = true;
        }
        for register in arguments
            .into_iter()
            .chain([Register::RAX, Register::R10, Register::R11])
        {
            self.set(register, Value::Unknown);
        }
    }

    /// Where on the stack an operand in memory is, if it is there.
    fn place(&self, instruction: &Instruction) -> Option<i64> {
        if instruction.memory_index() != Register::None
            || !plain_segment(instruction.memory_segment())
        {
            return None;
        }
        self.offset(
            instruction.memory_base(),
            instruction.memory_displacement64() as i64,
        )
    }

    fn offset(&self, base: Register, distance: i64) -> Option<i64> {
        match self.get(base) {
            Value::Stack(at) if base.is_gpr64() => at.checked_add(distance),
            _ => None,
        }
    }

    fn load(&self, place: Option<i64>, size: i64) -> Value {
        let slot = place.and_then(|place| self.slots.get(&place));
        match slot {
            Some((stored, value)) if *stored == size => *value,
            _ => Value::Unknown,
        }
    }

    /// A store to a place on the stack, or to one that is not known.
    fn store(&mut self, place: Option<i64>, size: i64, value: Value) {
        if matches!(value, Value::Stack(_)) {
            self.escaped = true;
        }
        match place {
            Some(place) => {
                let end = place.saturating_add(size);
                self.slots
                    .retain(|at, (size, _)| at.saturating_add(*size) <= place || *at >= end);
                if value != Value::Unknown {
                    self.slots.insert(place, (size, value));
                }
            }
            None if self.escaped => self.slots.clear(),
            // Nobody has an address of the stack but the stack pointer.
            None => {}
        }
    }
}

fn immediate(instruction: &Instruction) -> Option<i64> {
    match instruction.op1_kind() {
        OpKind::Immediate8to64 | OpKind::Immediate32to64 => {
            Some(instruction.immediate(1).cast_signed())
        }
        _ => None,
    }
}

/// Whether a segment register leaves an address what it is.
fn plain_segment(segment: Register) -> bool {
    !matches!(segment, Register::FS | Register::GS)
}

fn reads(access: OpAccess) -> bool {
    !matches!(
        access,
        OpAccess::None | OpAccess::Write | OpAccess::CondWrite | OpAccess::NoMemAccess
    )
}

fn writes(access: OpAccess) -> bool {
    matches!(
        access,
        OpAccess::Write | OpAccess::CondWrite | OpAccess::ReadWrite | OpAccess::ReadCondWrite
    )
}
