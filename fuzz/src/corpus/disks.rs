//! Disks, file systems, boot entries.

use super::image::images::TarBuilder;
use super::{Corpus, made_by, texts, with};
use crate::sectors::Sectors;
use bootdisk::arch::Architecture;
use bootdisk::boot::esp::{Volume, encode};
use bootdisk::disk::gpt::{BOOT_CODE, Guids, Layout};
use bootdisk::ext4::{Descriptors, Params, Writer};
use bootdisk::flatten::{Limits, apply};
use bootdisk::formats::verity::Superblock;
use bootdisk::layer::Warnings;
use bootdisk::output::{Memory, Output, Slice};
use bootdisk::rootfs::{Attrs, Time, Tree};
use bootdisk::verity::{self, Geometry};

const MIB: u64 = 1 << 20;

const ENTRY: &str = "# ours\ntitle Debian\nversion 6.1\nmachine-id 0123\nsort-key debian\narchitecture x64\n\
    linux /vmlinuz\ninitrd /a.img\ninitrd\t/b.img\noptions root=UUID=1 quiet\noptions  console=ttyS0\n";
const GRUB: &str =
    "menuentry 'Debian' --class debian {\n linux /vmlinuz root=/dev/vda1 \\\n  ro\n initrd /initrd.img\n}\n";
const SYSLINUX: &str = "DEFAULT linux\nLABEL linux\n  KERNEL /vmlinuz\n  INITRD /initrd\n  APPEND root=/dev/vda1\n";

/// See [`super::all`].
pub fn all() -> Corpus {
    let esp = described(&esp());
    let small = [12, 16].map(|bits| described(&small_fat(bits)));
    let ext4 = [described(&ours()), described(&theirs())];
    let whole = described(&whole());
    vec![
        ("ext4", ext4.to_vec()),
        ("fat", [&[esp.clone()], &small[..]].concat()),
        ("fat_edit", with(&[0, 1, 2, 7], std::slice::from_ref(&esp))),
        ("gpt", with(&[0, 1], &[described(&table()), described(&mbr())])),
        ("disk", vec![whole, esp, described(&mbr()), ext4[1].clone()]),
        ("forms", in_forms()),
        ("verity", trees()),
        ("boot_entry", texts(&[ENTRY, GRUB, SYSLINUX, "linux.conf\nefi /a.efi\r\nuki /b.efi\r"])),
    ]
}

/// Trees of no, one and two levels, and the data in the second half.
fn trees() -> Vec<Vec<u8>> {
    let tree = |blocks: u64, salt: usize| {
        let superblock = Superblock { uuid: [1; 16], blocks, salt: vec![2; salt] };
        let bytes = Geometry::of(blocks).bytes().max(blocks * 4096);
        let disk = Memory::default();
        disk.write_at(bytes, &vec![3; blocks as usize * 4096]).expect("memory takes it");
        disk.write_at(2 * bytes - 1, &[0]).expect("memory takes it");
        let data = Slice::new(&disk, bytes);
        verity::write(&data, &superblock, &disk, 1).expect("memory takes it");
        described(&disk.0.into_inner().expect("one thread"))
    };
    vec![tree(1, 0), tree(2, 32), tree(129, 256)]
}

/// Small disks as qemu-img writes them: with one body, and in small clusters where there are such.
fn in_forms() -> Vec<Vec<u8>> {
    let kinds = [
        "qcow2",
        "qcow2 -c",
        "qcow2 -c -o compression_type=zstd",
        "qcow2 -o cluster_size=512",
        "qcow2 -o compat=0.10",
        "vmdk",
        "vmdk -o subformat=streamOptimized",
        "vdi",
        "vpc",
        "vpc -o subformat=fixed",
        "vhdx -o block_size=1M",
    ];
    let script = |kind: &str| {
        format!(
            "truncate -s 1M raw; printf body | dd of=raw bs=1 seek=70000 conv=notrunc status=none; qemu-img convert -f raw -O {kind} raw out"
        )
    };
    kinds.iter().map(|kind| made_by(&[], &script(kind))).collect()
}

fn described(disk: &[u8]) -> Vec<u8> {
    Sectors::describe(disk)
}

/// Everything that was written to memory, with zeros behind it to `size`.
fn bytes(output: Memory, size: u64) -> Vec<u8> {
    let mut bytes = output.0.into_inner().expect("nobody panicked");
    bytes.resize(bytes.len().max(size as usize), 0);
    bytes
}

/// The smallest FAT32 there is, with a boot menu.
fn esp() -> Vec<u8> {
    let output = Memory::default();
    write_esp(&output, 34 * MIB, 2048);
    bytes(output, 34 * MIB)
}

fn write_esp(output: &dyn Output, size: u64, first_lba: u64) {
    let volume = Volume { first_lba, size, id: 0x1234_5678, label: *b"ESP        ", time: 1_700_000_000 };
    let files = [("loader/entries/linux.conf", ENTRY), ("EFI/BOOT/BOOTX64.EFI", "MZ"), ("vmlinuz", "x")];
    let files = files.map(|(name, body)| (name.to_owned(), body.as_bytes())).into();
    encode(&files, &volume).expect("it fits").write(output).expect("memory");
}

fn small_fat(bits: u32) -> Vec<u8> {
    let (sectors, folder) = if bits == 12 { (256, "::d") } else { (9000, "::folder with a long name") };
    let script = format!(
        "mkfs.fat -F {bits} -s 1 -C out {} >/dev/null; export MTOOLS_SKIP_CHECK=1; mmd -i out '{folder}'; mcopy -i out a '{folder}/a long name.txt'",
        sectors / 2
    );
    made_by(&[("a", b"body")], &script)
}

/// As bootdisk writes it, with checksums of everything.
fn ours() -> Vec<u8> {
    let output = Memory::default();
    write_root(&output);
    bytes(output, 0)
}

fn write_root(output: &dyn Output) {
    let params = Params {
        uuid: [1; 16],
        hash_seed: [2; 16],
        label: b"root".to_vec(),
        size: Some(8 * MIB),
        free: bootdisk::ext4::Free::Usual,
        limit: 64 * MIB,
        made_at: Time { secs: 1_700_000_000, nanos: 0 },
        descriptors: Descriptors::Wide,
    };
    let mut layer = TarBuilder::new().dir("etc", 0o755).file("etc/file", 0o644, &[b'x'; 5000]);
    for n in 0..40 {
        layer = layer.symlink(&format!("etc/link {n}"), &format!("target of link {n}"));
    }
    let mut writer = Writer::new(output, params);
    let mut tree = Tree::new(Attrs { mode: 0o755, ..Attrs::default() });
    let layer = layer.build();
    apply(&mut tree, 0, &mut &layer[..], &mut writer, &Limits::default(), &mut Warnings::default()).expect("a layer");
    writer.seal(&tree).expect("it fits");
}

/// As `mke2fs` writes it, without checksums, so that a change is not found at once.
fn theirs() -> Vec<u8> {
    let script = "mkdir d d/folder; cp a d/folder/b; ln -s folder/b d/link; ln -s $(printf 'x%.0s' {1..90}) d/long; \
        mke2fs -q -t ext4 -O ^metadata_csum,^has_journal,^resize_inode -b 1024 -N 32 -d d out 600k";
    made_by(&[("a", &[b'y'; 3000])], script)
}

/// A table alone.
fn table() -> Vec<u8> {
    let layout = Layout::around_root(Architecture::X86_64, 40 * MIB, MIB).expect("a disk");
    let output = Memory::default();
    layout.write(&guids(), &[0; BOOT_CODE], &output).expect("memory");
    bytes(output, layout.disk_size())
}

fn guids() -> Guids {
    let guid = uuid::Uuid::from_u128;
    Guids { disk: guid(1), bios_boot: guid(2), esp: guid(3), modules: guid(4), root: guid(5), verity: guid(6) }
}

/// A whole disk: table, ESP, root.
fn whole() -> Vec<u8> {
    let layout = Layout::around_root(Architecture::X86_64, 40 * MIB, 8 * MIB).expect("a disk");
    let output = Memory::default();
    layout.write(&guids(), &[0; BOOT_CODE], &output).expect("memory");
    let [.., esp, root] = layout.partitions() else { panic!("a disk has an ESP and a root") };
    write_esp(&Slice::new(&output, esp.offset()), esp.bytes(), esp.first_lba);
    write_root(&Slice::new(&output, root.offset()));
    bytes(output, layout.disk_size())
}

/// Four partitions in an MBR, of which one is a chain of two.
fn mbr() -> Vec<u8> {
    let script = "truncate -s 8M out; printf 'label: dos\\n2048,2048,L,*\\n,2048,c\\n,4096,E\\n,1024,L\\n,1024,82\\n' | sfdisk -q out";
    made_by(&[], script)
}
