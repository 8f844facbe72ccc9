use super::*;

/// Where the code is: address and offset in the file.
const START: u64 = 0x1000;

/// A program of this code and nothing else.
fn image(code: &[u8]) -> Vec<u8> {
    let length = code.len() as u64;
    let mut bytes = vec![0; START as usize];
    bytes.extend_from_slice(code);
    let mut put = |at: usize, part: &[u8]| bytes[at..at + part.len()].copy_from_slice(part);
    put(0, b"\x7fELF\x02\x01\x01");
    put(16, &[3, 0, 62, 0, 1]);
    put(32, &64_u64.to_le_bytes());
    put(52, &[64, 0, 56, 0, 1, 0, 64]);
    put(64, &[1, 0, 0, 0, 5]);
    for (at, value) in [(72, START), (80, START), (96, length), (104, length)] {
        put(at, &value.to_le_bytes());
    }
    bytes
}

/// How far into the code the exits are, of a function that begins it and is so
/// long (0: not known).
fn find(code: &[u8], size: u64, go: bool) -> Option<Vec<u64>> {
    let bytes = image(code);
    let elf = Elf::open(&bytes[..]).unwrap();
    let function = Function {
        offset: START,
        address: START,
        size,
    };
    let exits = if go {
        of_go(&elf, &function)
    } else {
        of(&elf, &function)
    };
    exits.map(|exits| {
        assert!(exits.iter().all(|exit| exit.stack == 0));
        exits.iter().map(|exit| exit.offset - START).collect()
    })
}

/// Of a function of any kind, with its size and without.
fn exits(code: &[u8]) -> Option<Vec<u64>> {
    let known = find(code, code.len() as u64, false);
    assert_eq!(find(code, 0, false), known, "without its size");
    known
}

#[test]
fn each_return_of_a_function_is_found() {
    // test %edi,%edi; je 1f; push %rbx; sub $0x10,%rsp; call .; add $0x10,%rsp;
    // pop %rbx; ret; 1: xor %eax,%eax; ret
    let code =
        b"\x85\xff\x74\x10\x53\x48\x83\xec\x10\xe8\0\0\0\0\x48\x83\xc4\x10\x5b\xc3\x31\xc0\xc3";
    assert_eq!(exits(code), Some(vec![19, 22]));
    // As it was written for processors of 2003.
    assert_eq!(exits(b"\xf3\xc3"), Some(vec![0]));
}

#[test]
fn a_frame_pointer_is_understood() {
    // push %rbp; mov %rsp,%rbp; and $-64,%rsp; sub %rax,%rsp; leave; ret
    let code = b"\x55\x48\x89\xe5\x48\x83\xe4\xc0\x48\x29\xc4\xc9\xc3";
    assert_eq!(exits(code), Some(vec![12]));
    // push %rbp; mov %rsp,%rbp; push %rbx; and $-64,%rsp; lea -8(%rbp),%rsp;
    // pop %rbx; pop %rbp; ret
    let code = b"\x55\x48\x89\xe5\x53\x48\x83\xe4\xc0\x48\x8d\x65\xf8\x5b\x5d\xc3";
    assert_eq!(exits(code), Some(vec![15]));
    // Without one the stack cannot be followed: and $-64,%rsp; ret
    assert_eq!(exits(b"\x48\x83\xe4\xc0\xc3"), None);
    // mov %rax,%rsp; ret
    assert_eq!(exits(b"\x48\x89\xc4\xc3"), None);
}

#[test]
fn what_cannot_be_followed_has_no_exits() {
    for code in [
        // test %edi,%edi; je 1f; ret; 1: jmp *%rax
        &b"\x85\xff\x74\x01\xc3\xff\xe0"[..],
        // jmp *(%rax,%rcx,8)
        b"\x85\xff\x74\x01\xc3\xff\x24\xc8",
        // An import: jmp *0(%rip)
        b"\x85\xff\x74\x01\xc3\xff\x25\0\0\0\0",
        // int $0x80, after which it may go on anywhere
        b"\x85\xff\x74\x01\xc3\xcd\x80",
        // No code.
        b"\x85\xff\x74\x01\xc3\x06",
        // ret $8
        b"\x85\xff\x74\x01\xc3\xc2\x08\0",
        // 1: jmp 1b
        b"\xeb\xfe",
        // 1: push %rax; jmp 1b
        b"\x50\xeb\xfd",
        // It goes on where nothing is.
        b"\x90",
        b"",
    ] {
        assert_eq!(exits(code), None, "{code:x?}");
    }
}

#[test]
fn jumps_out_are_followed() {
    // jmp 1f; int3; 1: ret: another function's return is this one's.
    assert_eq!(find(b"\xeb\x01\xcc\xc3", 2, false), Some(vec![3]));
    // push %rbx; test %edi,%edi; js 1f; 2: pop %rbx; ret; int3; 1: xor
    // %eax,%eax; jmp 2b: a cold part comes back.
    let code = b"\x53\x85\xff\x78\x03\x5b\xc3\xcc\x31\xc0\xeb\xf9";
    assert_eq!(find(code, 7, false), Some(vec![6]));
    assert_eq!(find(code, 0, false), Some(vec![6]));
}

#[test]
fn what_stands_behind_a_call_that_does_not_return_is_another_function() {
    // push %rbx; test %edi,%edi; js 1f; pop %rbx; ret; 1: call .; then
    // another: push %rax; pop %rax; ret
    let code = b"\x53\x85\xff\x78\x02\x5b\xc3\xe8\0\0\0\0\x50\x58\xc3";
    assert_eq!(find(code, 12, false), Some(vec![6]));
    assert_eq!(find(code, 0, false), Some(vec![6]));
    // In the function itself that is not certain.
    assert_eq!(find(code, code.len() as u64, false), None);
}

#[test]
fn functions_of_go_are_looked_through_whole() {
    // cmp 0x10(%r14),%rsp; jbe 1f; push %rbp; mov %rsp,%rbp; pop %rbp; ret;
    // 1: call .; jmp 0b; int3
    let code = b"\x49\x3b\x66\x10\x76\x06\x55\x48\x89\xe5\x5d\xc3\xe8\0\0\0\0\xeb\xed\xcc";
    assert_eq!(find(code, code.len() as u64, true), Some(vec![11]));
    assert_eq!(find(code, 0, true), None);
    // jmp *(%rcx,%rax,8): a table.
    let table = b"\xff\x24\xc1\xc3\x90\xc3";
    assert_eq!(find(table, 6, true), Some(vec![3, 5]));
    for code in [
        // jmp *%rcx
        &b"\xff\xe1\xc3"[..],
        // jmp out
        b"\xeb\x10\xc3",
        b"\xc3\x06",
        b"\xc2\x08\0",
        b"\x90\x90",
    ] {
        assert_eq!(find(code, code.len() as u64, true), None, "{code:x?}");
    }
    // The file ends before the function.
    assert_eq!(find(b"\x90\xc3", 3, true), None);
}

#[test]
fn exits_of_a_real_library_are_returns() {
    let path = "/usr/lib/x86_64-linux-gnu/libssl.so.3";
    let Ok(file) = std::fs::File::open(path) else {
        eprintln!("skipped: no {path} here");
        return;
    };
    let elf = Elf::open(&file).unwrap();
    let names = ["SSL_read", "SSL_write", "SSL_read_ex", "SSL_write_ex"];
    for (name, function) in names.iter().zip(elf.functions(&names).unwrap()) {
        let mut function = function.unwrap();
        let found = of(&elf, &function);
        function.size = 0;
        assert_eq!(of(&elf, &function), found, "{name} without its size");
        for exit in found.into_iter().flatten() {
            let code = elf.bytes_at(exit.offset, 2).unwrap();
            assert!(code[0] == 0xc3 || code == [0xf3, 0xc3], "{name}: {code:x?}");
        }
    }
}
