//! dm-verity's hash trees beside veritysetup's: the same bytes, the same root hash, and its judgement of damaged ones.

use bootdisk::formats::verity::{BLOCK, Superblock};
use bootdisk::output::Output;
use bootdisk::verity::{Fault, Geometry, RootHash, check, write};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Output as Ran};
use tempfile::TempDir;

fn veritysetup(words: &[&str]) -> Ran {
    // On the PATH of root alone in some places.
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    Command::new("/usr/bin/env").arg("veritysetup").args(words).env("PATH", path).env("LC_ALL", "C").output().unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A file of so many blocks, of which some are not empty, and a byte of each is its number.
fn data(folder: &Path, blocks: u64) -> File {
    let file = File::options().read(true).write(true).create(true).truncate(true).open(folder.join("data")).unwrap();
    file.set_len(blocks * BLOCK).unwrap();
    for number in (0..blocks).filter(|number| *number < 300 || number % 97 == 0 || number + 130 > blocks) {
        FileExt::write_all_at(&file, &[&number.to_le_bytes()[..], &[number as u8; 100]].concat(), number * BLOCK)
            .unwrap();
    }
    file
}

fn tree(folder: &Path, data: &File, superblock: &Superblock) -> (File, RootHash) {
    let hashes = File::options().read(true).write(true).create(true).truncate(true).open(folder.join("ours")).unwrap();
    hashes.set_len(Geometry::of(superblock.blocks).bytes()).unwrap();
    let root = write(data, superblock, &hashes as &dyn Output, 2).unwrap();
    (hashes, root)
}

fn judge(folder: &Path, root: &RootHash) -> bool {
    let [data, ours] = ["data", "ours"].map(|name| folder.join(name).display().to_string());
    veritysetup(&["verify", &data, &ours, &hex(root)]).status.success()
}

#[test]
fn trees_of_every_number_of_levels_are_veritysetups() {
    let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let folder = folder.path();
    for (number, blocks) in [1, 2, 127, 128, 129, 128 * 128 - 1, 128 * 128, 128 * 128 + 1].into_iter().enumerate() {
        let salt: Vec<u8> = (0..[0u8, 1, 32, 64, 255, 32, 32, 32][number]).collect();
        let superblock = Superblock { uuid: [number as u8 + 1; 16], blocks, salt };
        let data = data(folder, blocks);
        let (_hashes, root) = tree(folder, &data, &superblock);
        let [from, theirs] = ["data", "theirs"].map(|name| folder.join(name).display().to_string());
        _ = std::fs::remove_file(&theirs);
        let salt = if superblock.salt.is_empty() { "-".to_owned() } else { hex(&superblock.salt) };
        let uuid = uuid::Uuid::from_bytes(superblock.uuid).to_string();
        let made = veritysetup(&["format", "--hash=sha256", "--salt", &salt, "--uuid", &uuid, &from, &theirs]);
        let said = String::from_utf8_lossy(&made.stdout).into_owned();
        assert!(made.status.success(), "{said}{}", String::from_utf8_lossy(&made.stderr));
        let found = said.lines().find_map(|line| line.strip_prefix("Root hash:")).unwrap().trim();
        assert_eq!(found, hex(&root), "{blocks} blocks");
        assert!(std::fs::read(&theirs).unwrap() == std::fs::read(folder.join("ours")).unwrap(), "{blocks} blocks");
        assert!(judge(folder, &root), "{blocks} blocks");
    }
}

#[test]
fn every_changed_block_is_found_and_named() {
    let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let folder = folder.path();
    let superblock = Superblock { uuid: [9; 16], blocks: 300, salt: vec![7; 32] };
    let data = data(folder, 300);
    let (hashes, root) = tree(folder, &data, &superblock);
    let look = || check((&data, 0), (&hashes, 0), &superblock, &root);
    look().unwrap();
    // Top, then three blocks of hashes: 300 blocks are two whole groups and a part.
    let flips: [(&File, u64, &str); 8] = [
        (&data, 0, "data block 0 is corrupted"),
        (&data, 127 * BLOCK + 4095, "data block 127 is corrupted"),
        (&data, 299 * BLOCK + 1, "data block 299 is corrupted"),
        (&hashes, BLOCK, "the root hash is another"),
        (&hashes, BLOCK + 3 * 32, "the root hash is another"),
        (&hashes, 2 * BLOCK, "block 2 of the hash tree is corrupted"),
        (&hashes, 4 * BLOCK + 31, "block 4 of the hash tree is corrupted"),
        (&hashes, 4 * BLOCK + 4000, "block 4 of the hash tree is corrupted"),
    ];
    for (file, at, says) in flips {
        let mut byte = [0];
        FileExt::read_exact_at(file, &mut byte, at).unwrap();
        FileExt::write_all_at(file, &[byte[0] ^ 0x40], at).unwrap();
        assert_eq!(look().unwrap_err().to_string(), says);
        assert!(!judge(folder, &root), "veritysetup: {says}");
        FileExt::write_all_at(file, &byte, at).unwrap();
    }
    assert!(matches!(check((&data, 0), (&hashes, 0), &superblock, &[0; 32]), Err(Fault::Root)));
    let short = Superblock { blocks: 301, ..superblock.clone() };
    assert!(check((&data, 0), (&hashes, 0), &short, &root).is_err());
    look().unwrap();
    assert!(judge(folder, &root));
}
