//! Kernels, packages of them, programs.

use super::image::images::{Pack, TarBuilder, gzip};
use super::{Corpus, made_by, texts, with};
use crate::kernels::bzimage;
use bootdisk::boot::initramfs::{self, ModuleFile};
use bootdisk::boot::uki::{self, Parts, Unified};
use bootdisk::kernel::Packing;

const RELEASE: &str = "6.1.0-1-amd64";
const CONFIG: &str = "# Linux\nCONFIG_EXT4_FS=y\nCONFIG_VIRTIO_BLK=m\n# CONFIG_USB is not set\nCONFIG_HZ=\"250\"\n";
const PKGINFO: &str = "pkgname = linux-lts\npkgver = 6.1-r0\ndepend = mkinitfs\n";
/// A key of 1024 bits.
const KEY: &str = "openssl genrsa 1024 2>/dev/null | openssl rsa -pubout 2>/dev/null > out";

/// See [`super::all`].
pub fn all() -> Corpus {
    let module = module();
    let files = files(&module);
    let tar = tar(&files, "");
    let cpio = cpio(&files);
    vec![
        ("deb", vec![deb(&tar, None), deb(&tar, Some(Pack::Zstd))]),
        ("rpm", vec![rpm(&cpio), rpm(&Pack::Zstd.pack(&cpio))]),
        ("apk", vec![apk(&files)]),
        ("pkg", vec![Pack::Zstd.pack(&pkg(&files)), pkg(&files)]),
        ("kernel_tar", vec![tar.clone(), Pack::Gzip.pack(&tar)]),
        ("ar", vec![deb(&tar, None)]),
        ("cpio", initramfs()),
        ("boot_file", vec![bzimage(&gzip(&vmlinux())), arm64(), zboot()]),
        ("ikconfig", vec![vmlinux(), gzip(&vmlinux()), Pack::Zstd.pack(&vmlinux()), xz(&vmlinux())]),
        ("lz4", vec![lz4(&vmlinux()), lz4_match(), made_by(&[("a", &vmlinux())], "lz4 -q -B4 -BX a out")]),
        ("modinfo", vec![module]),
        ("fnmatch", texts(&["virtio:d0000000[0-9a-f]v*\0virtio:d00000001v00001AF4", "*-[!a]?\\*\0debian-6.1*"])),
        ("kernel_config", texts(&[CONFIG])),
        ("elf", vec![program("-O1"), program("-O1 -static-pie -nostdlib -fPIE")]),
        ("sqlite", vec![sqlite(), ndb()]),
        ("pe", vec![bzimage(&vmlinux()), pe(), stub(), unified(&stub())]),
        ("signatures", signatures()),
        ("keys", vec![made_by(&[], KEY), b"\x99\x01\x0d\x04".to_vec()]),
        ("recognise", with(&[0, 1], &[bzimage(b"x"), tar, cpio, CONFIG.into(), rpm(b""), apk(&files)])),
    ]
}

type Files = Vec<(String, Vec<u8>)>;

/// What a kernel's package has.
fn files(module: &[u8]) -> Files {
    vec![
        (format!("boot/vmlinuz-{RELEASE}"), bzimage(&gzip(&vmlinux()))),
        (format!("boot/config-{RELEASE}"), CONFIG.into()),
        (format!("lib/modules/{RELEASE}/kernel/fs/virtio_blk.ko"), module.to_vec()),
        (format!("lib/modules/{RELEASE}/modules.builtin"), b"kernel/fs/ext4/ext4.ko\n".to_vec()),
    ]
}

fn tar(files: &Files, before: &str) -> Vec<u8> {
    files.iter().fold(TarBuilder::new(), |tar, (name, body)| tar.file(&format!("{before}{name}"), 0o644, body)).build()
}

/// A kernel as it lies in memory, with its configuration and its banner.
fn vmlinux() -> Vec<u8> {
    let banner = format!("Linux version {RELEASE} (somebody@somewhere)\n");
    [banner.as_bytes(), &[0; 300], b"IKCFG_ST", &gzip(CONFIG.as_bytes()), b"IKCFG_ED", &[0; 100]].concat()
}

fn arm64() -> Vec<u8> {
    let mut image = vec![0; 64];
    image[..2].copy_from_slice(b"MZ");
    image[56..60].copy_from_slice(b"ARM\x64");
    [image, vmlinux()].concat()
}

fn zboot() -> Vec<u8> {
    let packed = gzip(&arm64());
    let mut image = vec![0; 256];
    image[..8].copy_from_slice(b"MZ\0\0zimg");
    image[8..12].copy_from_slice(&256u32.to_le_bytes());
    image[12..16].copy_from_slice(&(packed.len() as u32).to_le_bytes());
    image[24..28].copy_from_slice(b"gzip");
    image[60] = 64;
    image[64..70].copy_from_slice(b"PE\0\0\x64\xaa");
    [image, packed].concat()
}

/// Blocks of literals, as a packer that finds no match makes them.
fn lz4(bytes: &[u8]) -> Vec<u8> {
    let blocks = bytes.chunks(14).map(|piece| [&[(piece.len() as u8) << 4], piece].concat());
    blocks.flat_map(|block| [(block.len() as u32).to_le_bytes().to_vec(), block].concat()).collect()
}

/// One block with a match that overlaps itself.
fn lz4_match() -> Vec<u8> {
    let block = b"\x1fx\x01\0\x80\x50IKCFG";
    [&(block.len() as u32).to_le_bytes()[..], block].concat()
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    made_by(&[("a", bytes)], "xz --check=crc32 -c a > out")
}

/// An object with what modules have.
fn module() -> Vec<u8> {
    let source = r#"#define INFO(n, t) __attribute__((section(".modinfo"), used)) static const char n[] = t
        INFO(a, "name=virtio_blk"); INFO(b, "depends=virtio,rng-core"); INFO(c, "alias=virtio:d00000002v*");
        INFO(d, "softdep=pre: crc32c post: x"); INFO(e, "vermagic=6.1.0-1-amd64 SMP");
        __attribute__((section("__ksymtab_strings"), used)) static const char f[] = "exported";"#;
    made_by(&[("a.c", source.as_bytes())], "gcc -c -o out a.c; strip --strip-debug out")
}

fn program(options: &str) -> Vec<u8> {
    let source = b"int main(void) { return 0; } void _start(void) { main(); }";
    let script = format!("gcc {} -Wl,--build-id -o out a.c; strip out", options);
    let source = if options.contains("nostdlib") { &source[..] } else { b"int main(void) { return 0; }" };
    made_by(&[("a.c", source)], &script)
}

fn stub() -> Vec<u8> {
    made_by(&[], "cat /usr/lib/systemd/boot/efi/linuxx64.efi.stub > out")
}

fn unified(stub: &[u8]) -> Vec<u8> {
    let unified = Unified { stub, os_release: "ID=linux\n" };
    let kernel = bzimage(&vmlinux());
    let parts = Parts { kernel: &kernel, release: RELEASE, initramfs: b"070701" };
    uki::encode(&unified, &parts, "quiet").expect("a stub of systemd's")
}

/// A certificate, a signed program, a signature by itself, keys, variables.
fn signatures() -> Vec<Vec<u8>> {
    let key = "openssl req -x509 -newkey rsa:2048 -nodes -keyout k -outform DER -out out -days 9 -subj /CN=x";
    let program = "openssl req -x509 -newkey rsa:2048 -nodes -keyout k -out c -days 9 -subj /CN=x; \
        sbsign --key k --cert c --output out /usr/lib/systemd/boot/efi/linuxx64.efi.stub";
    let list = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout k -out c -days 9 -subj /CN=x; \
        sbsiglist --owner 11111111-2222-3333-4444-123456789abc --type x509 --output out c || \
        openssl x509 -in c -outform DER -out out";
    let variables = "head -c 540672 /usr/share/OVMF/OVMF_VARS_4M.snakeoil.fd > out";
    [key, program, list, variables].map(|script| made_by(&[], script)).to_vec()
}

fn pe() -> Vec<u8> {
    made_by(&[], "head -c 4096 /usr/lib/systemd/boot/efi/systemd-bootx64.efi > out")
}

fn sqlite() -> Vec<u8> {
    let script = "import sqlite3; db = sqlite3.connect('out'); db.execute('PRAGMA page_size = 512'); \
        db.execute('CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB)'); \
        db.executemany('INSERT INTO Packages (blob) VALUES (?)', [(bytes(n * 9),) for n in range(60)]); db.commit()";
    made_by(&[("a.py", script.as_bytes())], "python3 a.py")
}

/// rpm's own database: a header, slots of 16 bytes.
fn ndb() -> Vec<u8> {
    let slot =
        |package: u32| [b"Slot".as_slice(), &package.to_le_bytes(), &16u32.to_le_bytes(), &2u32.to_le_bytes()].concat();
    let header = [
        b"RpmP".as_slice(),
        &0u32.to_le_bytes(),
        &1u32.to_le_bytes(),
        &1u32.to_le_bytes(),
        &4u32.to_le_bytes(),
        &[0; 12],
    ];
    let mut file = [header.concat(), slot(1), slot(2), slot(0)].concat();
    file.resize(8192, 0);
    file
}

fn initramfs() -> Vec<Vec<u8>> {
    let path = format!("/lib/modules/{RELEASE}/virtio-blk.ko");
    let module = ModuleFile { path: &path, bytes: b"x" };
    [Packing::None, Packing::Gzip, Packing::Zstd]
        .map(|packing| initramfs::write(b"#!init", b"{\"version\":1}", &[module], packing).expect("clean paths"))
        .to_vec()
}

/// The files in a cpio archive (newc).
fn cpio(files: &Files) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, body) in files.iter().chain([&("TRAILER!!!".to_owned(), Vec::new())]) {
        let fields = [1, 0o100_644, 0, 0, 1, 0, body.len(), 0, 0, 0, 0, name.len() + 1, 0];
        out.extend(b"070701");
        fields.iter().for_each(|field| out.extend(format!("{field:08x}").bytes()));
        out.extend(name.bytes().chain([0]));
        out.resize(out.len().next_multiple_of(4), 0);
        out.extend(body);
        out.resize(out.len().next_multiple_of(4), 0);
    }
    out
}

fn deb(tar: &[u8], pack: Option<Pack>) -> Vec<u8> {
    let control = TarBuilder::new().file(
        "./control",
        0o644,
        b"Package: linux-image\nVersion: 6.1-1\nDepends: kmod | x, y (>= 2)\n",
    );
    let (name, data) = match pack {
        None => ("data.tar", tar.to_vec()),
        Some(pack) => ("data.tar.zst", pack.pack(tar)),
    };
    let members = [("debian-binary", b"2.0\n".to_vec()), ("control.tar.gz", gzip(&control.build())), (name, data)];
    let mut out = b"!<arch>\n".to_vec();
    for (name, body) in members {
        out.extend(format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 100_644, body.len()).bytes());
        out.extend(&body);
        out.resize(out.len().next_multiple_of(2), b'\n');
    }
    out
}

/// Without digests, so that a change is not found at once.
fn rpm(payload: &[u8]) -> Vec<u8> {
    let mut lead = vec![0; 96];
    lead[..4].copy_from_slice(&[0xed, 0xab, 0xee, 0xdb]);
    let signature = rpm_header(&[]);
    let text = |tag, text: &str| (tag, 6, 1, [text.as_bytes(), b"\0"].concat());
    let header = rpm_header(&[
        text(1000, "kernel-core"),
        text(1001, "6.1"),
        text(1002, "1.fc39"),
        (1049, 8, 2, b"kmod\0/bin/sh\0".to_vec()),
        text(1124, "cpio"),
    ]);
    [&lead, &signature[..], &header, payload].concat()
}

/// Entries: tag, type, count, value.
fn rpm_header(entries: &[(u32, u32, u32, Vec<u8>)]) -> Vec<u8> {
    let (mut index, mut store) = (Vec::new(), Vec::new());
    for (tag, kind, count, value) in entries {
        [*tag, *kind, store.len() as u32, *count].iter().for_each(|field| index.extend(field.to_be_bytes()));
        store.extend(value);
    }
    let numbers = [entries.len() as u32, store.len() as u32].map(u32::to_be_bytes).concat();
    let magic = [0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0];
    [&magic[..], &numbers, &index, &store].concat()
}

/// Three gzip streams that are one tar.
fn apk(files: &Files) -> Vec<u8> {
    let open = |tar: Vec<u8>| gzip(&tar[..tar.len() - 1024]);
    let signature = TarBuilder::new().file(".SIGN.RSA.somebody.rsa.pub", 0o644, &[7; 128]).build();
    let control = TarBuilder::new().file(".PKGINFO", 0o644, PKGINFO.as_bytes()).build();
    [open(signature), open(control), gzip(&tar(files, ""))].concat()
}

fn pkg(files: &Files) -> Vec<u8> {
    let mtree = gzip(b"#mtree\n/set type=file uid=0 gid=0 mode=644\n./.PKGINFO time=1.0 size=9 sha256digest=00\n");
    let own = TarBuilder::new().file(".MTREE", 0o644, &mtree).file(".PKGINFO", 0o644, PKGINFO.as_bytes());
    let place = |name: &str| match name.strip_prefix("boot/vmlinuz-") {
        Some(release) => format!("usr/lib/modules/{release}/vmlinuz"),
        None => format!("usr/{name}"),
    };
    files.iter().fold(own, |tar, (name, body)| tar.file(&place(name), 0o644, body)).build()
}
