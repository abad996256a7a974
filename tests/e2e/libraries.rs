//! `inspect` finds libraries where the dynamic loader finds them: each case is compiled, shown to the host's loader, and
//! put into an image at the same paths.

use crate::{e2e, images};
use e2e::{Bench, Kernel, run};
use images::{ImageBuilder, TarBuilder};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

const LOADER: &str = "/lib64/ld-linux-x86-64.so.2";

/// A program that needs `liba.so`, which needs `libb.so`. In texts `@` is the folder of the case.
struct Case {
    name: &'static str,
    /// The option that makes the program's run path `DT_RPATH` or `DT_RUNPATH`, and the path.
    program: (Tag, &'static str),
    liba: (Tag, &'static str),
    environment: &'static str,
    /// Copies of `libb.so`, in these folders.
    libb: &'static [&'static str],
}

#[derive(Clone, Copy)]
enum Tag {
    Rpath,
    Runpath,
}

use Tag::{Rpath, Runpath};

const CASES: &[Case] = &[
    Case {
        name: "an RPATH is inherited",
        program: (Rpath, "@/a:@/b"),
        liba: (Runpath, ""),
        environment: "",
        libb: &["b"],
    },
    Case {
        name: "a RUNPATH is not",
        program: (Runpath, "@/a:@/b"),
        liba: (Runpath, ""),
        environment: "",
        libb: &["b"],
    },
    Case {
        name: "a RUNPATH shuts inherited ones out",
        program: (Rpath, "@/a:@/b"),
        liba: (Runpath, "@/c"),
        environment: "",
        libb: &["b"],
    },
    Case {
        name: "an RPATH of a library is its own",
        program: (Runpath, "@/a"),
        liba: (Rpath, "@/b"),
        environment: "",
        libb: &["b"],
    },
    Case {
        name: "the RPATH of who needs it comes first",
        program: (Rpath, "@/a:@/c"),
        liba: (Rpath, "@/b"),
        environment: "",
        libb: &["b", "c"],
    },
    Case {
        name: "the environment comes before a RUNPATH",
        program: (Runpath, "@/a"),
        liba: (Runpath, "@/b"),
        environment: "@/c",
        libb: &["b", "c"],
    },
    Case {
        name: "the environment comes behind an RPATH",
        program: (Rpath, "@/a:@/b"),
        liba: (Runpath, ""),
        environment: "@/c",
        libb: &["b", "c"],
    },
    Case {
        name: "the environment is for everybody",
        program: (Runpath, "@/a"),
        liba: (Runpath, ""),
        environment: "@/x:@/c",
        libb: &["c"],
    },
    Case {
        name: "the origin is the folder",
        program: (Runpath, "$ORIGIN/a"),
        liba: (Runpath, "${ORIGIN}/../b"),
        environment: "",
        libb: &["b"],
    },
    Case {
        name: "the origin may stand in the middle",
        program: (Rpath, "/.$ORIGIN/a:/.$ORIGIN/b"),
        liba: (Runpath, ""),
        environment: "",
        libb: &["b"],
    },
    Case {
        name: "the origin of a library that is a link is where the link is",
        program: (Runpath, "@/link"),
        liba: (Runpath, "$ORIGIN"),
        environment: "",
        libb: &["link", "a"],
    },
    Case {
        name: "the origin of a library that is a link is not where it leads",
        program: (Runpath, "@/link"),
        liba: (Runpath, "$ORIGIN"),
        environment: "",
        libb: &["a"],
    },
];

#[test]
fn libraries_are_found_where_the_loader_finds_them() {
    let bench = Bench::new(Kernel::Cloud);
    let base = fs::canonicalize(bench.path("")).unwrap();
    let answers: Vec<_> = CASES
        .iter()
        .enumerate()
        .map(|(number, case)| {
            let folder = base.join(number.to_string());
            compile(case, &folder);
            let loader = ask_loader(case, &folder);
            let image = base.join(format!("{number}.oci"));
            image_of(case, &folder).write_oci(&image);
            let report = run(bench.bootdisk().arg("inspect").arg(&image).arg("--json")).expect_status(0);
            let report: Value = serde_json::from_slice(&report.stdout).unwrap();
            (case.name, loader, found_in(&report, &folder))
        })
        .collect();
    for (name, loader, report) in &answers {
        assert_eq!(report, loader, "{name}");
    }
    // The cases tell something apart: libb is nowhere in some and somewhere in others.
    let missing = answers.iter().filter(|(_, loader, _)| loader["libb.so"].is_none()).count();
    assert_eq!(missing, 3, "{answers:?}");
}

fn compile(case: &Case, folder: &Path) {
    for name in ["a", "b", "c", "link"] {
        fs::create_dir_all(folder.join(name)).unwrap();
    }
    for name in case.libb {
        gcc(
            folder,
            "int b(void) { return 0; }",
            &["-shared", "-Wl,-soname,libb.so", "-o", &format!("{name}/libb.so")],
            (Runpath, ""),
        );
    }
    let libb = format!("{}/libb.so", case.libb[0]);
    gcc(
        folder,
        "int b(void); int a(void) { return b(); }",
        &["-shared", "-Wl,-soname,liba.so", "-o", "a/liba.so", &libb],
        case.liba,
    );
    symlink("../a/liba.so", folder.join("link/liba.so")).unwrap();
    let start = "int a(void); void _start(void) { a(); }";
    let loader = format!("-Wl,--dynamic-linker={LOADER}");
    gcc(folder, start, &["-pie", &loader, "-Wl,--allow-shlib-undefined", "-o", "program", "a/liba.so"], case.program);
}

fn gcc(folder: &Path, text: &str, options: &[&str], (tag, path): (Tag, &str)) {
    fs::write(folder.join("x.c"), text).unwrap();
    let mut command = Command::new("gcc");
    command.current_dir(folder).args(["-nostdlib", "-fPIC", "-Wl,--no-as-needed", "x.c"]).args(options);
    command.arg(match tag {
        Rpath => "-Wl,--disable-new-dtags",
        Runpath => "-Wl,--enable-new-dtags",
    });
    if !path.is_empty() {
        command.arg(format!("-Wl,-rpath,{}", at(path, folder)));
    }
    run(&mut command).expect(0, "");
}

fn at(text: &str, folder: &Path) -> String {
    text.replace('@', folder.to_str().unwrap())
}

/// Where each library is, without the links; `None` when it is nowhere.
type Places = BTreeMap<String, Option<String>>;

/// ld.so(8), `LD_TRACE_LOADED_OBJECTS`: a line `NAME => PATH (ADDRESS)` or `NAME => not found` for each.
fn ask_loader(case: &Case, folder: &Path) -> Places {
    let mut command = Command::new(folder.join("program"));
    command.env("LD_TRACE_LOADED_OBJECTS", "1").env("LD_LIBRARY_PATH", at(case.environment, folder));
    let text = run(&mut command).expect_status(0).text();
    let of_line = |line: &str| {
        let (name, place) = line.trim().split_once(" => ")?;
        let place = place.split(" (").next().unwrap();
        Some((name.to_owned(), (place != "not found").then(|| relative(Path::new(place), folder))))
    };
    let places: Places = text.lines().filter_map(of_line).collect();
    assert!(places.contains_key("liba.so"), "{}: {text}", case.name);
    places
}

fn relative(place: &Path, folder: &Path) -> String {
    let place = fs::canonicalize(place).unwrap();
    place.strip_prefix(folder).unwrap_or(&place).to_str().unwrap().to_owned()
}

fn image_of(case: &Case, folder: &Path) -> ImageBuilder {
    let inside = |name: &str| folder.join(name).to_str().unwrap()[1..].to_owned();
    let mut tar = TarBuilder::new().file(&LOADER[1..], 0o755, &fs::read(LOADER).unwrap());
    let files = case.libb.iter().map(|name| format!("{name}/libb.so")).chain(["a/liba.so".into(), "program".into()]);
    for name in files {
        tar = tar.file(&inside(&name), 0o755, &fs::read(folder.join(&name)).unwrap());
    }
    let tar = tar.symlink(&inside("link/liba.so"), "../a/liba.so");
    let image = ImageBuilder::new().layer(tar.build()).cmd(&[folder.join("program").to_str().unwrap()]);
    image.set("Env", json!([format!("LD_LIBRARY_PATH={}", at(case.environment, folder))]))
}

fn found_in(report: &Value, folder: &Path) -> Places {
    let libraries = report["command"]["libraries"].as_array().unwrap_or_else(|| panic!("{report}"));
    let of_library = |library: &Value| {
        let place = library["path"].as_str().map(|place| relative(Path::new(place), folder));
        (library["name"].as_str().unwrap().to_owned(), place)
    };
    libraries.iter().map(of_library).collect()
}
