//! A machine with a screen and no serial port: what somebody before it could read, out of the guest's memory or off the
//! picture.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// How long anything may take on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(240);
/// The letter A as every VGA has it, by which a font is found in its ROM.
const LETTER_A: [u8; 16] = [0, 0, 0x10, 0x38, 0x6c, 0xc6, 0xc6, 0xfe, 0xc6, 0xc6, 0xc6, 0xc6, 0, 0, 0, 0];

/// Letters that the kernel's font draws in another way than the VGA's, which it is a copy of otherwise.
const DIFFERENT: &str = "fmvwxMTVWXZ0";

/// A QEMU, and its monitor on its standard streams.
pub struct Screen {
    qemu: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    folder: tempfile::TempDir,
    uefi: bool,
}

impl Screen {
    /// Boots a disk that hangs on a controller of QEMU's: these are its arguments.
    pub fn boot(disk: &Path, uefi: bool, mebibytes: u32, controller: &[&str]) -> Screen {
        let folder = tempfile::tempdir().unwrap();
        let mut machine = "q35,accel=tcg".to_owned();
        let mut qemu = Command::new("qemu-system-x86_64");
        let node = |name: &str, file: &Path, read_only: bool| {
            let file = json!({ "driver": "file", "filename": file, "read-only": read_only });
            json!({ "driver": "raw", "node-name": name, "read-only": read_only, "file": file }).to_string()
        };
        if uefi {
            let variables = folder.path().join("variables.fd");
            std::fs::copy("/usr/share/OVMF/OVMF_VARS_4M.fd", &variables).unwrap();
            qemu.args(["-blockdev", &node("code", Path::new("/usr/share/OVMF/OVMF_CODE_4M.fd"), true)]);
            qemu.args(["-blockdev", &node("variables", &variables, false)]);
            machine += ",pflash0=code,pflash1=variables";
        }
        qemu.args(["-machine", &machine, "-m", &mebibytes.to_string(), "-nodefaults", "-no-reboot"]);
        qemu.args(["-vga", "std", "-display", "none", "-serial", "none", "-qmp", "stdio"]);
        qemu.args(["-blockdev", &node("disk", disk, false)]).args(controller);
        let mut qemu = qemu.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("qemu-system-x86_64");
        let (to, from) = (qemu.stdin.take().unwrap(), BufReader::new(qemu.stdout.take().unwrap()));
        let mut screen = Screen { qemu, to, from, folder, uefi };
        screen.ask("qmp_capabilities", json!({}));
        screen
    }

    /// Gives a command; its answer, whatever is told in between. `None` when QEMU has gone.
    fn ask(&mut self, command: &str, arguments: Value) -> Option<Value> {
        let line = json!({ "execute": command, "arguments": arguments });
        self.to.write_all(format!("{line}\n").as_bytes()).ok()?;
        loop {
            let mut line = String::new();
            self.from.read_line(&mut line).ok().filter(|&length| length > 0)?;
            let said: Value = serde_json::from_str(&line).unwrap();
            assert!(said.get("error").is_none(), "{command}: {said}");
            if let Some(answer) = said.get("return") {
                return Some(answer.clone());
            }
        }
    }

    /// Everything on the screen as one text: a line that is too long goes on in the next.
    fn read(&mut self) -> Option<String> {
        let path = self.folder.path().join("picture");
        if self.uefi {
            self.ask("screendump", json!({ "filename": path }))?;
            return Some(read_picture(&std::fs::read(&path).unwrap()));
        }
        // All of the text memory: the kernel scrolls by moving the place that is shown.
        let command = format!("pmemsave 0xb8000 32768 \"{}\"", path.display());
        self.ask("human-monitor-command", json!({ "command-line": command }))?;
        let bytes = std::fs::read(&path).unwrap();
        Some(bytes.chunks(2).map(|cell| if cell[0].is_ascii_graphic() { cell[0] as char } else { ' ' }).collect())
    }

    /// Waits until all of these can be read at once; what else can.
    #[track_caller]
    pub fn wait_for(&mut self, words: &[&str]) -> String {
        let known = |words: &&str| if self.uefi { as_read(words) } else { (*words).to_owned() };
        let words: Vec<String> = words.iter().map(known).collect();
        let started = Instant::now();
        let mut text = String::new();
        while let Some(read) = self.read() {
            text = read;
            if words.iter().all(|words| text.contains(words.as_str())) {
                return text;
            }
            if started.elapsed() > PATIENCE {
                break;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        panic!("not all of {words:?} can be read; last there was:\n{}", shown(&text));
    }

    /// Presses Enter, and waits for the machine's end.
    #[track_caller]
    pub fn enter_ends_it(&mut self) {
        self.ask("send-key", json!({ "keys": [{ "type": "qcode", "data": "ret" }] }));
        let started = Instant::now();
        while self.qemu.try_wait().unwrap().is_none() {
            assert!(started.elapsed() < PATIENCE, "the machine does not end");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        _ = self.qemu.kill();
        _ = self.qemu.wait();
    }
}

/// The text without its empty parts.
fn shown(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Reads a picture (PPM) whose letters are 8 pixels wide and 16 high.
fn read_picture(picture: &[u8]) -> String {
    let mut fields = picture.splitn(4, |byte| byte.is_ascii_whitespace());
    let mut number = || std::str::from_utf8(fields.next().unwrap()).unwrap().parse::<usize>().ok();
    assert_eq!(number(), None, "P6");
    let (width, height) = (number().unwrap(), number().unwrap());
    let pixels = &picture[picture.len() - width * height * 3..];
    let font = font();
    let bit = |x: usize, y: usize| u8::from(pixels[(y * width + x) * 3..][..3].iter().any(|&colour| colour > 0x40));
    let glyph = |left: usize, top: usize| -> [u8; 16] {
        std::array::from_fn(|row| (0..8).fold(0, |line, column| line << 1 | bit(left + column, top + row)))
    };
    let letter = |glyph: [u8; 16]| (0x20..0x7f).find(|&letter| font[letter * 16..][..16] == glyph);
    let cells = (0..height / 16).flat_map(|row| (0..width / 8).map(move |column| (column * 8, row * 16)));
    as_read(
        &cells
            .map(|(left, top)| letter(glyph(left, top)).map_or('?', |letter| letter as u8 as char))
            .collect::<String>(),
    )
}

/// A text as it is read off a picture.
fn as_read(text: &str) -> String {
    text.chars().map(|letter| if DIFFERENT.contains(letter) { '?' } else { letter }).collect()
}

/// The font of QEMU's VGA.
fn font() -> Vec<u8> {
    let places = ["/usr/share/seabios/vgabios-stdvga.bin", "/usr/share/qemu/vgabios-stdvga.bin"];
    let rom = places.iter().map(PathBuf::from).find(|path| path.exists()).expect("the ROM of QEMU's VGA");
    let rom = std::fs::read(rom).unwrap();
    let at = rom.windows(16).position(|window| window == LETTER_A).expect("a font in it");
    rom[at - 16 * usize::from(b'A')..].to_vec()
}
