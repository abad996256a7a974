//! The guest that enters long mode, and says so with QEMU's exit status.
//!
//! An accelerator can run real mode and still never reach the first 64-bit instruction.
//!
//! ```text
//! f000:fff0  reset vector: far jump to f000:ff00
//! f000:ff00  page tables at 1000 (PML4), 2000 (PDPT), 3000 (PD: one page of 2 MiB), all mapped to themselves
//!            CR4.PAE, CR3, EFER.LME, CR0.PE and PG in one step, far jump into a 64-bit segment
//! 000fff5b   64-bit code: writes 42 to port f4, isa-debug-exit, and QEMU ends with 42 * 2 + 1
//! ```
//!
//! Source: Intel SDM volume 3, 9.8.5 "Initializing IA-32e Mode"; QEMU, hw/misc/debugexit.c.

use super::Guest;
use std::process::ExitStatus;

const ROM: usize = 65_536;
const CODE_AT: usize = 0xff00;
const RESET_AT: usize = 0xfff0;
/// isa-debug-exit ends QEMU with twice the value and one.
const EXIT: i32 = 42 * 2 + 1;

#[rustfmt::skip]
const CODE: [u8; 0x7e] = [
    0xfa,                                           // cli
    0xfc,                                           // cld
    0x31, 0xc0,                                     // xor  ax, ax
    0x8e, 0xc0,                                     // mov  es, ax
    0x8e, 0xd8,                                     // mov  ds, ax
    0xbf, 0x00, 0x10,                               // mov  di, 0x1000
    0xb9, 0x00, 0x18,                               // mov  cx, 0x1800        three tables of 4 KiB, in words
    0xf3, 0xab,                                     // rep stosw
    0xc7, 0x06, 0x00, 0x10, 0x03, 0x20,             // mov  word [0x1000], 0x2003   present, writable
    0xc7, 0x06, 0x00, 0x20, 0x03, 0x30,             // mov  word [0x2000], 0x3003
    0xc7, 0x06, 0x00, 0x30, 0x83, 0x00,             // mov  word [0x3000], 0x0083   and a 2 MiB page
    0x2e, 0x66, 0x0f, 0x01, 0x16, 0x78, 0xff,       // lgdt cs:[0xff78]
    0x0f, 0x20, 0xe0,                               // mov  eax, cr4
    0x0c, 0x20,                                     // or   al, 0x20          PAE
    0x0f, 0x22, 0xe0,                               // mov  cr4, eax
    0x66, 0xb8, 0x00, 0x10, 0x00, 0x00,             // mov  eax, 0x1000
    0x0f, 0x22, 0xd8,                               // mov  cr3, eax
    0x66, 0xb9, 0x80, 0x00, 0x00, 0xc0,             // mov  ecx, 0xc0000080   EFER
    0x0f, 0x32,                                     // rdmsr
    0x80, 0xcc, 0x01,                               // or   ah, 1             LME
    0x0f, 0x30,                                     // wrmsr
    0x0f, 0x20, 0xc0,                               // mov  eax, cr0
    0x66, 0x0d, 0x01, 0x00, 0x00, 0x80,             // or   eax, 0x80000001   PG, PE
    0x0f, 0x22, 0xc0,                               // mov  cr0, eax
    0x66, 0xea, 0x5b, 0xff, 0x0f, 0x00, 0x08, 0x00, // jmp  8:0x000fff5b
    0xb0, 0x2a,                                     // mov  al, 42            64-bit from here
    0xe6, 0xf4,                                     // out  0xf4, al
    0xf4,                                           // hlt
    0xeb, 0xfd,                                     // jmp  back to hlt
    0, 0, 0, 0, 0, 0,                               // to a multiple of 8
    0, 0, 0, 0, 0, 0, 0, 0,                         // ff68: null descriptor
    0, 0, 0, 0, 0, 0x9a, 0x20, 0,                   // ff70: code, present, ring 0, L
    0x0f, 0x00, 0x68, 0xff, 0x0f, 0x00,             // ff78: limit 15, base 0x000fff68
];

/// jmp f000:ff00. Far, because the code segment of a reset has its base below 4 GiB, outside the mapped page.
const RESET: [u8; 5] = [0xea, 0x00, 0xff, 0x00, 0xf0];

pub(super) const GUEST: Guest = Guest {
    machine: &["-machine", "pc", "-m", "16M", "-device", "isa-debug-exit,iobase=0xf4,iosize=1"],
    rom,
    proven,
    goal: "enter long mode",
};

fn rom() -> Vec<u8> {
    let mut rom = vec![0; ROM];
    rom[CODE_AT..CODE_AT + CODE.len()].copy_from_slice(&CODE);
    rom[RESET_AT..RESET_AT + RESET.len()].copy_from_slice(&RESET);
    rom
}

fn proven(status: ExitStatus, _said: &[u8]) -> bool {
    status.code() == Some(EXIT)
}
