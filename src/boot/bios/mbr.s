# The first 440 bytes of LBA 0: loads the second stage and jumps to it.
#
#   offset  0    jump over the place where a FAT would have its parameters (some firmware writes there)
#          90    code and messages
#         422    sectors of the second stage, 0 when the disk was built without BIOS boot   (patched)
#         424    disk address packet of INT 13h AH=42h; its LBA at 432                      (patched)
#
# Memory: this code at 0:7c00, the stack below it, the second stage at 0:8000. DL is the boot drive throughout.
# Every address is written as a distance from the start of this file, so there is nothing to relocate.

    .pushsection .rodata.bootdisk_mbr, "a", @progbits
    .globl bootdisk_mbr
    .globl bootdisk_mbr_end
    .set bd_mbr, 0x7c00                 # where the firmware loads LBA 0
    .set bd_mbr_sectors, bd_mbr + 422
    .set bd_mbr_packet, bd_mbr + 424
    .set bd_mbr_stage, 0x8000           # where the second stage goes
    .set bd_mbr_entry, 0x8050           # its first instruction, behind its table
    .set bd_mbr_magic, 0x32534442       # "BDS2"

    .code16
bootdisk_mbr:
    jmp bd_mbr_start

    .org 90
bd_mbr_start:
    cli
    xorw %ax, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movw $bd_mbr, %sp
    sti
    cld
    # Some firmware comes as 07c0:0000.
    ljmp $0, $(bd_mbr_normal - bootdisk_mbr + bd_mbr)
bd_mbr_normal:
    movw $(bd_mbr_text_none - bootdisk_mbr + bd_mbr), %si
    cmpw $0, bd_mbr_sectors
    je bd_mbr_fail

    # INT 13h extensions: their presence, and that of packet access.
    movb $0x41, %ah
    movw $0x55aa, %bx
    pushw %dx
    int $0x13
    popw %dx
    movw $(bd_mbr_text_lba - bootdisk_mbr + bd_mbr), %si
    jc bd_mbr_fail
    cmpw $0xaa55, %bx
    jne bd_mbr_fail
    testb $1, %cl
    jz bd_mbr_fail

    movw $5, %bp
bd_mbr_read:
    # A failed read leaves in the packet how many sectors it did.
    movw bd_mbr_sectors, %ax
    movw %ax, bd_mbr_packet + 2
    movw $bd_mbr_packet, %si
    movb $0x42, %ah
    pushw %dx
    pushw %bp
    int $0x13
    popw %bp
    popw %dx
    jnc bd_mbr_check
    xorb %ah, %ah
    pushw %dx
    int $0x13
    popw %dx
    decw %bp
    jnz bd_mbr_read
    movw $(bd_mbr_text_read - bootdisk_mbr + bd_mbr), %si
    jmp bd_mbr_fail

bd_mbr_check:
    # The right first word, and all words together give zero.
    cld
    movw $bd_mbr_stage, %si
    cmpl $bd_mbr_magic, (%si)
    jne bd_mbr_missing
    movw bd_mbr_sectors, %cx
    shlw $7, %cx
    xorl %ebx, %ebx
bd_mbr_sum:
    lodsl
    addl %eax, %ebx
    loop bd_mbr_sum
    testl %ebx, %ebx
    jnz bd_mbr_missing
    ljmp $0, $bd_mbr_entry

bd_mbr_missing:
    movw $(bd_mbr_text_missing - bootdisk_mbr + bd_mbr), %si
bd_mbr_fail:
    pushw %si
    movw $(bd_mbr_text_name - bootdisk_mbr + bd_mbr), %si
    call bd_mbr_print
    popw %si
    call bd_mbr_print
bd_mbr_halt:
    hlt
    jmp bd_mbr_halt

# Prints the string at SI on the screen, then on COM1 at 115200 8N1.
bd_mbr_print:
    pushw %si
bd_mbr_screen:
    lodsb
    movb $0x0e, %ah
    movw $7, %bx
    int $0x10
    cmpb $0, (%si)
    jne bd_mbr_screen
    popw %si
    movw $0x3fb, %dx
    movb $0x80, %al
    outb %al, %dx
    movb $0x3f8 - 0x300, %dl
    movw $1, %ax
    outw %ax, %dx                       # divisor 1, low byte and high byte
    movb $0x3fb - 0x300, %dl
    movb $3, %al
    outb %al, %dx
bd_mbr_serial:
    xorw %cx, %cx                       # at most 65,536 looks at the line status
    movb $0x3fd - 0x300, %dl
bd_mbr_wait:
    inb %dx, %al
    testb $0x20, %al
    loopz bd_mbr_wait
    movb $0x3f8 - 0x300, %dl
    lodsb
    outb %al, %dx
    cmpb $0, (%si)
    jne bd_mbr_serial
    ret

bd_mbr_text_name:
    .asciz "bootdisk: "
bd_mbr_text_none:
    .asciz "no BIOS boot on this disk\r\n"
bd_mbr_text_lba:
    .asciz "no LBA access\r\n"
bd_mbr_text_read:
    .asciz "disk read error\r\n"
bd_mbr_text_missing:
    .asciz "second boot stage missing\r\n"

    # An assembly error here means that the code above has grown beyond its place.
    .org 422
    .word 0
    .byte 16, 0
    .word 0
    .word bd_mbr_stage, 0
    .quad 0
bootdisk_mbr_end:
    .code64
    .popsection
