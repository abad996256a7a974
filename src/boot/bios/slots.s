# The chooser, at the start of the BIOS boot partition: of two slots it starts the whole one with the higher generation.
#
# It never changes after a disk was built. A new kernel's boot stage is written to the slot that is not in use, with a
# higher generation; until its last sector is there its sum is wrong, and the other slot is started.
#
#   offset  0    magic, balance: the first stage checks both, as it does for any second stage
#           8    LBA of slot A, LBA of slot B                                                 (patched)
#          80    code
#
# Memory: loaded at 0:8000 by the first stage, it moves to 0:1000, out of the way of the stage it loads to 0:8000; the
# first sectors of both slots go to 0:2000 and 0:2200. DL is the boot drive.

    .pushsection .rodata.bootdisk_slots, "a", @progbits
    .globl bootdisk_slots
    .globl bootdisk_slots_end
    .set bs_home, 0x1000                # where it runs
    .set bs_stage, 0x8000               # where it is loaded, and where a slot goes
    .set bs_entry, 0x8050
    .set bs_magic, 0x32534442           # "BDS2"
    .set bs_lba_a, bs_home + 8
    .set bs_lba_b, bs_home + 16
    .set bs_head_a, 0x2000
    .set bs_head_b, 0x2200
    .set bs_generation, 0x44            # in a slot's table: u32
    .set bs_sectors, 0x48               # u16, 1 to 63

    .code16
bootdisk_slots:
    .long bs_magic
    .org 0x50
    cld
    movw $bs_stage, %si
    movw $bs_home, %di
    movw $512, %cx
    rep movsw
    ljmp $0, $(bs_start - bootdisk_slots + bs_home)
bs_start:
    movb %dl, bs_drive - bootdisk_slots + bs_home
    movw $bs_lba_a, %bx
    movw $bs_head_a, %di
    call bs_head
    movw $bs_lba_b, %bx
    movw $bs_head_b, %di
    call bs_head

    # The newer one first; a slot without a head counts as generation 0.
    movl bs_head_a + bs_generation, %eax
    cmpl bs_head_b + bs_generation, %eax
    jb bs_b_first
    call bs_try_a
    call bs_try_b
    jmp bs_none
bs_b_first:
    call bs_try_b
    call bs_try_a
bs_none:
    movw $(bs_text - bootdisk_slots + bs_home), %si
    call bs_print
bs_halt:
    hlt
    jmp bs_halt

# Reads the first sector of the slot at (BX) to DI. What is no head gets generation 0 and no sectors.
bs_head:
    movw $1, %cx
    call bs_read
    jc bs_head_bad
    cmpl $bs_magic, (%di)
    jne bs_head_bad
    cmpw $63, bs_sectors(%di)
    jbe bs_head_done
bs_head_bad:
    movl $0, bs_generation(%di)
    movw $0, bs_sectors(%di)
bs_head_done:
    ret

bs_try_a:
    movw $bs_lba_a, %bx
    movw bs_head_a + bs_sectors, %cx
    jmp bs_try
bs_try_b:
    movw $bs_lba_b, %bx
    movw bs_head_b + bs_sectors, %cx

# Loads CX sectors of the slot at (BX) and starts them; returns when the slot is not whole.
bs_try:
    jcxz bs_try_end
    movw $bs_stage, %di
    call bs_read
    jc bs_try_end
    # The right first word, and all words together give zero.
    movw $bs_stage, %si
    cmpl $bs_magic, (%si)
    jne bs_try_end
    shlw $7, %cx
    xorl %edx, %edx
bs_sum:
    lodsl
    addl %eax, %edx
    loop bs_sum
    testl %edx, %edx
    jnz bs_try_end
    movb bs_drive - bootdisk_slots + bs_home, %dl
    ljmp $0, $bs_entry
bs_try_end:
    ret

# Reads CX sectors of the slot at (BX) to 0:DI; five tries with a reset between them. Carry when all failed.
bs_read:
    movb $5, bs_left - bootdisk_slots + bs_home
bs_read_try:
    # A failed read leaves in the packet how many sectors it did.
    movw %cx, bs_packet - bootdisk_slots + bs_home + 2
    movw %di, bs_packet - bootdisk_slots + bs_home + 4
    movl (%bx), %eax
    movl %eax, bs_packet - bootdisk_slots + bs_home + 8
    movl 4(%bx), %eax
    movl %eax, bs_packet - bootdisk_slots + bs_home + 12
    pushal
    movw $(bs_packet - bootdisk_slots + bs_home), %si
    movb bs_drive - bootdisk_slots + bs_home, %dl
    movb $0x42, %ah
    int $0x13
    popal
    cld
    jnc bs_read_done
    pushal
    movb bs_drive - bootdisk_slots + bs_home, %dl
    xorb %ah, %ah
    int $0x13
    popal
    cld
    decb bs_left - bootdisk_slots + bs_home
    jnz bs_read_try
    stc
bs_read_done:
    ret

# Prints the string at SI on the screen, then on COM1 at 115200 8N1.
bs_print:
    pushw %si
bs_screen:
    lodsb
    testb %al, %al
    jz bs_serial
    movb $0x0e, %ah
    movw $7, %bx
    int $0x10
    jmp bs_screen
bs_serial:
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
bs_serial_next:
    movw $0x3fd, %dx
    xorw %cx, %cx
bs_serial_wait:
    inb %dx, %al
    testb $0x20, %al
    loopz bs_serial_wait
    lodsb
    testb %al, %al
    jz bs_serial_done
    movw $0x3f8, %dx
    outb %al, %dx
    jmp bs_serial_next
bs_serial_done:
    ret

    .balign 4
bs_packet:
    .byte 16, 0
    .word 0
    .word 0, 0
    .quad 0
bs_drive:
    .byte 0
bs_left:
    .byte 0
bs_text:
    .asciz "bootdisk: neither boot slot is whole; rebuild the disk\r\n"
    # An assembly error here means that the code above has grown beyond its two sectors.
    .org 1024
bootdisk_slots_end:
    .code64
    .popsection
