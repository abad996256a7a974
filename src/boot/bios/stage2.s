# The second boot stage, in the BIOS boot partition: loads kernel and initramfs by extents and starts the kernel
# (Documentation/arch/x86/boot.rst, "The Real-Mode Kernel Header" and "Running the Kernel").
#
# Everything that can be known at build time is in the table that encode() fills in (see mod.rs): where the pieces lie
# on the disk, their checksums, the lowest and highest address for the initramfs, the command line. So nothing here
# parses a file format, and a kernel that was exchanged is noticed before it is started.
#
# What only the firmware knows is where the disk hangs that was booted. Its answer (INT 13h AH=48h) goes to the kernel as
# setup data of a type of our own, so that PID 1 finds it in /sys/kernel/boot_params and the command line stays the same
# under every firmware.
#
#   memory   0:7c00 down     stack
#            0:8000-ffff     this stage with its table, extents and command line
#            10000-17fff     the kernel's setup sectors; their heap and stack up to 1dfff
#            1e000-1e7ff     command line
#            20000-2fdff     bounce buffer, 127 sectors
#            100000-         the kernel's protected-mode part
#            highest page    initramfs
#
# Real mode with DS = ES = SS = 0. Interrupt table, BIOS data and extended BIOS data are left alone: the kernel's
# setup code calls the firmware itself.

    .pushsection .rodata.bootdisk_stage2, "a", @progbits
    .globl bootdisk_stage2
    .globl bootdisk_stage2_end
    .set bd_base, 0x8000
    # The table. A part is: destination u32, checksum u32, address of its extents u16, number of extents u16.
    # An extent is: LBA u64, sectors u32.
    .set bd_floor, bd_base + 0x08       # lowest address of the initramfs
    .set bd_limit, bd_base + 0x0c       # where it ends at the latest
    .set bd_span, bd_base + 0x10        # its length in whole sectors, in bytes
    .set bd_initrd_bytes, bd_base + 0x14
    .set bd_cmdline, bd_base + 0x18     # address u16
    .set bd_cmdline_bytes, bd_base + 0x1a
    .set bd_memory_text, bd_base + 0x1c # address u16 of the message for too little memory
    .set bd_setup, bd_base + 0x20
    .set bd_kernel, bd_base + 0x2c
    .set bd_initrd, bd_base + 0x38

    .set bd_bounce, 0x20000
    .set bd_chunk, 127                  # sectors a call: more and the packet call is not defined
    .set bd_smap, 0x534d4150            # "SMAP"

    .code16
bootdisk_stage2:
    .long 0x32534442                    # "BDS2"
    .org 0x50
    movb %dl, bd_drive - bootdisk_stage2 + bd_base
    call bd_place_initrd
    movw $bd_setup, %bx
    call bd_load
    movw $bd_kernel, %bx
    call bd_load
    movw $bd_initrd, %bx
    call bd_load
    call bd_ask_drive

    movw $0x1e00, %ax
    movw %ax, %es
    movw bd_cmdline, %si
    movw bd_cmdline_bytes, %cx
    xorw %di, %di
    rep movsb

    movw $0x1000, %ax
    movw %ax, %es
    movw $0xffff, %es:0x1fa             # vid_mode: normal
    movb $0xff, %es:0x210               # type_of_loader: none of the registered ones
    orb $0x80, %es:0x211                # loadflags: CAN_USE_HEAP
    movl bd_initrd, %eax
    movl %eax, %es:0x218                # ramdisk_image
    movl bd_initrd_bytes, %eax
    movl %eax, %es:0x21c                # ramdisk_size
    movw $0xde00, %es:0x224             # heap_end_ptr
    movl $0x1e000, %es:0x228            # cmd_line_ptr
    movl bd_node_at - bootdisk_stage2 + bd_base, %eax
    movl %eax, %es:0x250                # setup_data: the list's first node, or none
    movl $0, %es:0x254

    cli
    movw %es, %ax
    movw %ax, %ds
    movw %ax, %fs
    movw %ax, %gs
    movw %ax, %ss
    movw $0xe000, %sp
    ljmp $0x1020, $0

# Has the firmware describe the boot drive. Where it does not, the kernel gets no node.
bd_ask_drive:
    pushal
    movw $(bd_node_drive - bootdisk_stage2 + bd_base), %si
    movb bd_drive - bootdisk_stage2 + bd_base, %dl
    movb $0x48, %ah
    int $0x13
    sti                                 # some firmware comes back without
    cld
    jc bd_ask_end
    movl $(bd_node - bootdisk_stage2 + bd_base), bd_node_at - bootdisk_stage2 + bd_base
bd_ask_end:
    popal
    ret

# Chooses where the initramfs goes: the highest page of the RAM that begins at or below 1 MiB and reaches over what
# the kernel needs, below 4 GiB and below the kernel's own limit.
bd_place_initrd:
    xorl %ebx, %ebx
    movw $256, bd_left - bootdisk_stage2 + bd_base
bd_map_next:
    movl $0xe820, %eax
    movl $bd_smap, %edx
    movl $20, %ecx
    movw $(bd_entry - bootdisk_stage2 + bd_base), %di
    int $0x15
    jc bd_map_end
    cmpl $bd_smap, %eax
    jne bd_map_end
    movw $(bd_entry - bootdisk_stage2 + bd_base), %di
    cmpl $1, 16(%di)                    # usable RAM
    jne bd_map_more
    cmpl $0, 4(%di)
    jne bd_map_more
    movl (%di), %eax
    cmpl $0x100000, %eax
    ja bd_map_more
    movl 12(%di), %edx
    addl 8(%di), %eax
    adcl $0, %edx
    jz bd_map_end_low
    movl $0xfffff000, %eax              # beyond 4 GiB: as far as an address of 32 bits goes
bd_map_end_low:
    cmpl bd_top - bootdisk_stage2 + bd_base, %eax
    jbe bd_map_more
    movl %eax, bd_top - bootdisk_stage2 + bd_base
bd_map_more:
    decw bd_left - bootdisk_stage2 + bd_base
    jz bd_map_end
    testl %ebx, %ebx
    jnz bd_map_next
bd_map_end:
    cld
    movl bd_top - bootdisk_stage2 + bd_base, %eax
    movw $(bd_text_map - bootdisk_stage2 + bd_base), %si
    testl %eax, %eax
    jz bd_fail
    movw bd_memory_text, %si
    cmpl bd_limit, %eax
    jbe bd_below_limit
    movl bd_limit, %eax
bd_below_limit:
    subl bd_span, %eax
    jb bd_fail
    andl $0xfffff000, %eax
    cmpl bd_floor, %eax
    jb bd_fail
    movl %eax, bd_initrd
    ret

# Loads the part at BX to its destination and compares its checksum.
bd_load:
    movl (%bx), %edi
    xorl %ebp, %ebp
    movw 8(%bx), %si
    movw 10(%bx), %cx
    jcxz bd_load_done
bd_load_extent:
    pushw %cx
    movl (%si), %eax
    movl %eax, bd_packet_lba - bootdisk_stage2 + bd_base
    movl 4(%si), %eax
    movl %eax, bd_packet_lba - bootdisk_stage2 + bd_base + 4
    movl 8(%si), %edx
bd_load_chunk:
    movl $bd_chunk, %ecx
    cmpl %ecx, %edx
    jae bd_load_full
    movl %edx, %ecx
bd_load_full:
    call bd_read
    pushl %ecx
    call bd_copy
    popl %ecx
    addl %ecx, bd_packet_lba - bootdisk_stage2 + bd_base
    adcl $0, bd_packet_lba - bootdisk_stage2 + bd_base + 4
    subl %ecx, %edx
    jnz bd_load_chunk
    addw $12, %si
    popw %cx
    loop bd_load_extent
bd_load_done:
    movw $(bd_text_stale - bootdisk_stage2 + bd_base), %si
    cmpl 4(%bx), %ebp
    jne bd_fail
    ret

# Reads CX sectors at the packet's LBA into the bounce buffer; five tries with a reset between them.
bd_read:
    movw $5, bd_left - bootdisk_stage2 + bd_base
bd_read_try:
    # The packet's count after a failure is what was read, so it is written anew.
    movw %cx, bd_packet - bootdisk_stage2 + bd_base + 2
    pushal
    movw $(bd_packet - bootdisk_stage2 + bd_base), %si
    movb bd_drive - bootdisk_stage2 + bd_base, %dl
    movb $0x42, %ah
    int $0x13
    jc bd_read_failed
    popal
    cld
    ret
bd_read_failed:
    movb %ah, bd_status - bootdisk_stage2 + bd_base
    movb bd_drive - bootdisk_stage2 + bd_base, %dl
    xorb %ah, %ah
    int $0x13
    popal
    cld
    decw bd_left - bootdisk_stage2 + bd_base
    jnz bd_read_try

    movb bd_status - bootdisk_stage2 + bd_base, %al
    movw $(bd_text_code - bootdisk_stage2 + bd_base), %di
    call bd_hex
    movw $(bd_text_lba - bootdisk_stage2 + bd_base), %di
    movw $(bd_packet_lba - bootdisk_stage2 + bd_base + 7), %si
    movw $8, %cx
bd_read_digits:
    movb (%si), %al
    decw %si
    call bd_hex
    loop bd_read_digits
    movw $(bd_text_read - bootdisk_stage2 + bd_base), %si
    jmp bd_fail

# Writes AL as two hexadecimal digits at DI.
bd_hex:
    movb %al, %ah
    shrb $4, %al
    call bd_hex_digit
    movb %ah, %al
    andb $15, %al
bd_hex_digit:
    addb $'0', %al
    cmpb $'9', %al
    jbe bd_hex_store
    addb $'a' - '9' - 1, %al
bd_hex_store:
    stosb
    ret

# Copies CX sectors from the bounce buffer to EDI, which it advances, and adds them to the checksum in EBP: for each
# word of 32 bits, rotate left by one and add. One visit to protected mode: nothing of it outlives this call.
bd_copy:
    call bd_a20
    movzwl %cx, %ecx
    shll $5, %ecx                       # groups of four words
    pushl %esi
    movl $bd_bounce, %esi
    cli
    lgdtl bd_gdt_register - bootdisk_stage2 + bd_base
    movl %cr0, %eax
    orb $1, %al
    movl %eax, %cr0
    ljmp $8, $(bd_copy_protected - bootdisk_stage2 + bd_base)
bd_copy_protected:
    movw $16, %ax
    movw %ax, %ds
    movw %ax, %es
bd_copy_group:
    .irp bd_at, 0, 4, 8, 12
    movl \bd_at(%esi), %eax
    roll $1, %ebp
    movl %eax, \bd_at(%edi)
    addl %eax, %ebp
    .endr
    addl $16, %esi
    addl $16, %edi
    decl %ecx
    jnz bd_copy_group
    # Limits of 64 KiB again, as real mode expects them.
    movw $24, %ax
    movw %ax, %ds
    movw %ax, %es
    movl %cr0, %eax
    andb $0xfe, %al
    movl %eax, %cr0
    ljmp $0, $(bd_copy_real - bootdisk_stage2 + bd_base)
bd_copy_real:
    xorw %ax, %ax
    movw %ax, %ds
    movw %ax, %es
    sti
    popl %esi
    ret

# Makes sure that address line 20 is on. Firmware may put it off at any disk read, and a copy would then overwrite the
# interrupt table.
bd_a20:
    pushal
    call bd_a20_test
    jne bd_a20_on
    movw $0x2401, %ax
    int $0x15
    call bd_a20_test
    jne bd_a20_on
    # Keyboard controller: write its output port with bit 1 set.
    call bd_keyboard_wait
    movb $0xd1, %al
    outb %al, $0x64
    call bd_keyboard_wait
    movb $0xdf, %al
    outb %al, $0x60
    call bd_keyboard_wait
    call bd_a20_test
    jne bd_a20_on
    # System control port A; bit 0 would reset the machine.
    inb $0x92, %al
    orb $2, %al
    andb $0xfe, %al
    outb %al, $0x92
    call bd_a20_test
    jne bd_a20_on
    movw $(bd_text_a20 - bootdisk_stage2 + bd_base), %si
    jmp bd_fail
bd_a20_on:
    popal
    ret

# ZF clear when the line is on: a word of ours and the word 1 MiB above it differ.
bd_a20_test:
    movw $0xffff, %ax
    movw %ax, %fs
    movw $1000, %cx
bd_a20_look:
    incw bd_probe - bootdisk_stage2 + bd_base
    movw bd_probe - bootdisk_stage2 + bd_base, %ax
    outb %al, $0x80                     # a short wait
    cmpw %fs:(bd_probe - bootdisk_stage2 + bd_base + 0x10), %ax
    loope bd_a20_look
    ret

# Waits until the keyboard controller takes a command, at most 65,536 looks.
bd_keyboard_wait:
    xorw %cx, %cx
bd_keyboard_look:
    inb $0x64, %al
    testb $2, %al
    loopnz bd_keyboard_look
    ret

# Prints the message at SI and stops the machine.
bd_fail:
    movw $0x7c00, %sp
    pushw %si
    movw $(bd_text_name - bootdisk_stage2 + bd_base), %si
    call bd_print
    popw %si
    call bd_print
    movw $(bd_text_end - bootdisk_stage2 + bd_base), %si
    call bd_print
bd_halt:
    hlt
    jmp bd_halt

# Prints the string at SI on the screen, then on COM1 at 115200 8N1.
bd_print:
    pushw %si
bd_screen:
    lodsb
    testb %al, %al
    jz bd_serial
    movb $0x0e, %ah
    movw $7, %bx
    int $0x10
    jmp bd_screen
bd_serial:
    popw %si
    movw $0x3fb, %dx
    movb $0x80, %al
    outb %al, %dx
    movw $0x3f8, %dx
    movw $1, %ax
    outw %ax, %dx                       # divisor 1, low byte and high byte
    movw $0x3fb, %dx
    movb $3, %al
    outb %al, %dx
bd_serial_next:
    movw $0x3fd, %dx
    xorw %cx, %cx
bd_serial_wait:
    inb %dx, %al
    testb $0x20, %al
    loopz bd_serial_wait
    lodsb
    testb %al, %al
    jz bd_serial_done
    movw $0x3f8, %dx
    outb %al, %dx
    jmp bd_serial_next
bd_serial_done:
    ret

    .balign 8
bd_gdt:
    .quad 0
    .quad 0x00009a000000ffff            # 8: code, 16 bits, 64 KiB
    .quad 0x00cf92000000ffff            # 16: data, 4 GiB
    .quad 0x000092000000ffff            # 24: data, 64 KiB
bd_gdt_register:
    .word 31
    .long bd_gdt - bootdisk_stage2 + bd_base

    .balign 8
# struct setup_data. It stays where it is: the kernel keeps the first 64 KiB and every node to itself.
bd_node:
    .quad 0                             # there is no next one
    .long 0x6b736462                    # "bdsk"
    .long 74
bd_node_drive:
    .word 74                            # the size of the largest answer there is
    .skip 72
    .balign 4
bd_node_at:
    .long 0
bd_packet:
    .byte 16, 0
    .word 0
    .word 0, bd_bounce / 16
bd_packet_lba:
    .quad 0
bd_top:
    .long 0
bd_left:
    .word 0
bd_probe:
    .word 0
bd_entry:
    .skip 24
bd_drive:
    .byte 0
bd_status:
    .byte 0

bd_text_name:
    .asciz "bootdisk: "
bd_text_read:
    .ascii "disk read error 0x"
bd_text_code:
    .ascii "00 at sector 0x"
bd_text_lba:
    .asciz "0000000000000000"
bd_text_stale:
    .asciz "the boot files were changed after this disk was built; rebuild the disk"
bd_text_map:
    .asciz "the firmware gives no memory map"
bd_text_a20:
    .asciz "address line 20 cannot be enabled"
bd_text_end:
    .asciz "\r\n"
    .balign 4
bootdisk_stage2_end:
    .code64
    .popsection
