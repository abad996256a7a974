//! Which registry is asked: mirrors before their origin, blocked ones not at all, bare names where no file is meant.

use super::{Home, image, layout, oci};
use crate::support::e2e::run;
use crate::support::http::{Server, answer};
use crate::support::images::Pack;
use crate::support::registry::Registry;
use std::io::Write;
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

#[test]
fn a_mirror_is_asked_first_and_its_origin_when_it_fails() {
    let (mut mirror, origin) = (Registry::open(), Registry::open());
    let home = Home::new();
    let (of_mirror, of_origin) = (image("mirror", &[Pack::Gzip]), image("origin", &[Pack::Gzip]));
    let (of_mirror, of_origin) = (layout(&home, "mirror", &of_mirror), layout(&home, "origin", &of_origin));
    mirror.push(&oci(&of_mirror), "copy/team/app:1", &[]);
    origin.push(&oci(&of_origin), "team/app:1", &[]);
    origin.push(&oci(&of_origin), "team/app:2", &[]);
    home.write(
        "registries.conf",
        &format!(
            "[[registry]]\nprefix = \"images.example\"\nlocation = \"127.0.0.1:{}\"\n[[registry.mirror]]\nlocation = \"127.0.0.1:{}/copy\"\n\
             [[registry]]\nprefix = \"images.example/secret\"\nblocked = true\n",
            origin.port, mirror.port
        ),
    );
    let files = |name: &str| home.files(format!("docker://images.example/{name}"), &["--no-cache"]);
    assert_eq!(files("team/app:1").expect_status(0).text(), home.files_of(&of_mirror, &[]));
    assert_eq!(
        files("team/app:2").expect_status(0).text(),
        home.files_of(&of_origin, &[]),
        "the mirror has no such tag"
    );
    mirror.stop();
    assert_eq!(files("team/app:1").expect_status(0).text(), home.files_of(&of_origin, &[]), "the mirror is gone");
    let blocked = files("secret/app").expect_status(1).stderr;
    assert!(blocked.contains("images.example/secret is blocked in") && blocked.contains("hint: "), "{blocked}");
    home.write("registries.conf", "[[registry]\n");
    let damaged = files("team/app:1").expect_status(1).stderr;
    assert!(damaged.contains("cannot read ") && damaged.contains("registries.conf"), "{damaged}");
}

#[test]
fn the_mirrors_of_dockers_daemon_are_asked_for_its_registry_where_registries_conf_says_nothing_of_it() {
    let mut mirror = Registry::open();
    let other = Registry::open();
    let home = Home::new();
    let (of_mirror, of_other) = (image("mirror", &[Pack::Gzip]), image("other", &[Pack::Gzip]));
    let (of_mirror, of_other) = (layout(&home, "mirror", &of_mirror), layout(&home, "other", &of_other));
    mirror.push(&oci(&of_mirror), "library/app:1", &[]);
    other.push(&oci(&of_other), "library/app:1", &[]);
    let daemon = |ports: &[u16]| {
        let mirrors: Vec<String> = ports.iter().map(|port| format!("\"http://127.0.0.1:{port}/\"")).collect();
        home.write("user/config/docker/daemon.json", &format!("{{\"registry-mirrors\": [{}]}}", mirrors.join(",")));
    };
    let files = |name: &str| home.files(format!("docker://{name}"), &["--no-cache"]);
    daemon(&[mirror.port, other.port]);
    for name in ["app:1", "docker.io/app:1", "index.docker.io/library/app:1"] {
        let ran = files(name).expect_status(0);
        assert_eq!(ran.text(), home.files_of(&of_mirror, &[]), "{name}");
        assert!(ran.stderr.starts_with("docker.io/library/app:1\n"), "{}", ran.stderr);
    }
    mirror.stop();
    assert_eq!(files("app:1").expect_status(0).text(), home.files_of(&of_other, &[]), "the next mirror");
    // Another registry has no mirrors by this file.
    let unknown = files(&format!("127.0.0.1:{}/library/app:1", mirror.port)).expect_status(1).stderr;
    assert!(unknown.contains("no answer from 127.0.0.1"), "{unknown}");
    daemon(&[mirror.port]);
    let blocked = |prefix: &str| format!("[[registry]]\nprefix = \"{prefix}\"\nblocked = true\n");
    home.write("registries.conf", &blocked("docker.io/library"));
    assert!(files("app:1").expect_status(1).stderr.contains("docker.io/library is blocked in"));
    home.write(
        "registries.conf",
        &format!(
            "[[registry]]\nlocation = \"docker.io\"\n[[registry.mirror]]\nlocation = \"127.0.0.1:{}\"\n",
            other.port
        ),
    );
    assert_eq!(files("app:1").expect_status(0).text(), home.files_of(&of_other, &[]), "registries.conf comes first");
    home.write("registries.conf", &blocked("elsewhere.example"));
    home.write("user/config/docker/daemon.json", "{\"registry-mirrors\": [\"http://me:canary@127.0.0.1\"]}");
    let wrong = files("app:1").expect_status(1).stderr;
    assert!(
        wrong.contains("daemon.json: entry 1 of registry-mirrors is not http") && !wrong.contains("canary"),
        "{wrong}"
    );
}

/// A proxy that leads every host to one port, and notes what it was asked.
fn proxy(port: u16) -> (Server, Arc<Mutex<Vec<String>>>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&asked);
    let server = Server::with(move |request, stream| {
        noted.lock().unwrap().push(format!(
            "{} {} {}",
            request.method,
            request.path,
            request.header("proxy-authorization")
        ));
        if request.path.starts_with("refused") {
            return stream.write_all(&answer(407, &[], b"canary")).unwrap();
        }
        stream.write_all(b"HTTP/1.1 200 -\r\n\r\n").unwrap();
        let mut upstream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let (mut from, mut to) = (upstream.try_clone().unwrap(), stream.try_clone().unwrap());
        let back = std::thread::spawn(move || {
            _ = std::io::copy(&mut from, &mut to);
            _ = to.shutdown(std::net::Shutdown::Both);
        });
        _ = std::io::copy(stream, &mut upstream);
        _ = upstream.shutdown(std::net::Shutdown::Both);
        back.join().unwrap();
    });
    (server, asked)
}

#[test]
fn a_proxy_of_the_environment_leads_to_a_registry_and_its_password_stays_secret() {
    let registry = Registry::open();
    let home = Home::new();
    let from = layout(&home, "app", &image("app", &[Pack::Gzip]));
    registry.push(&oci(&from), "app", &[]);
    let (proxy, asked) = proxy(registry.port);
    let address = format!("http://me:canary@127.0.0.1:{}", proxy.port);
    home.write("registries.conf", "[[registry]]\nlocation = \"registry.example:5000\"\ninsecure = true\n");
    let files = |name: &str, variables: &[(&str, &str)]| {
        let mut command = home.bootdisk();
        command.args(["inspect", "--files", "jsonl", "--no-cache"]).arg(format!("docker://{name}"));
        variables.iter().for_each(|(name, value)| _ = command.env(name, value));
        let ran = run(&mut command);
        assert!(!ran.stderr.contains("canary"), "{}", ran.stderr);
        ran
    };
    let both = [("HTTPS_PROXY", address.as_str()), ("http_proxy", &address)];
    let ran = files("registry.example:5000/app", &both).expect_status(0);
    assert_eq!(ran.text(), home.files_of(&from, &[]));
    let seen = asked.lock().unwrap().clone();
    assert!(seen.iter().all(|line| line.starts_with("CONNECT registry.example:5000 Basic ")), "{seen:?}");
    // This machine is reached without it, and so is what NO_PROXY names.
    asked.lock().unwrap().clear();
    files(&registry.name("app"), &both).expect_status(0);
    let direct = [both[0], both[1], ("NO_PROXY", ".example")];
    let unknown = files("registry.example:5000/app", &direct).expect_status(1).stderr;
    assert!(unknown.contains("no answer from registry.example:5000: its name cannot be resolved"), "{unknown}");
    assert!(asked.lock().unwrap().is_empty());
    let refused = files("refused.example:5000/app", &both).expect_status(1).stderr;
    assert!(
        refused.contains("the proxy does not lead there") && refused.contains("hint: see HTTPS_PROXY"),
        "{refused}"
    );
    let none = files("registry.example:5000/app", &[("HTTPS_PROXY", "canary://x"), ("HTTP_PROXY", "canary://x")]);
    assert!(none.expect_status(1).stderr.contains("HTTPS_PROXY is not the address of a proxy"));
}

#[test]
fn a_bare_name_is_asked_for_where_commands_take_one_and_a_missing_file_never_is() {
    let asked = Arc::new(Mutex::new(0));
    let count = Arc::clone(&asked);
    let nothing = Server::start(move |_| {
        *count.lock().unwrap() += 1;
        answer(404, &[], b"{}")
    });
    let home = Home::new();
    home.write(
        "registries.conf",
        &format!("[[registry]]\nprefix = \"docker.io\"\nlocation = \"127.0.0.1:{}\"\ninsecure = true\n", nothing.port),
    );
    std::fs::create_dir_all(home.path("out")).unwrap();
    let disk = home.path("x.img");
    let disk = disk.to_str().unwrap();
    for (words, asks, said) in [
        (vec!["build", "nginx", "-o", disk], true, "no such file here, and no such image in docker.io"),
        (vec!["run", "nginx"], true, "no such file here, and no such image in docker.io"),
        (vec!["inspect", "nginx:1"], true, "no such file here, and no such image in docker.io"),
        (
            vec!["inspect", "127.0.0.1:1/x"],
            false,
            "no such file here, and no answer from 127.0.0.1:1: connection refused",
        ),
        (
            vec!["inspect", "127.0.0.1:1/x"],
            false,
            "hint: see whether somebody answers there: curl --head http://127.0.0.1:1/v2/",
        ),
        (vec!["inspect", "docker://x/y", "--diff", "docker://x/y", "--no-cache"], true, "no such image in docker.io"),
        (
            vec!["build", "nginx", "--pull", "never", "-o", disk],
            false,
            "is not kept here, and with --pull never no registry is asked",
        ),
        (vec!["inspect", "docker://nginx"], true, "no such image in 127.0.0.1"),
        (vec!["test", "nginx"], false, "docker://nginx"),
        (vec!["inspect", "out", "--diff", "nginx"], false, ""),
        (vec!["build", "nginx.tar", "-o", disk], false, "no such file"),
        (vec!["build", "./nginx", "-o", disk], false, "no such file"),
        (vec!["build", "out/nginx", "-o", disk], false, "no such file"),
        (vec!["run", "app.img"], false, "no such file"),
        (vec!["build", "docker:nginx", "-o", disk], false, "hint: docker://"),
        (vec!["build", "docker://Nginx", "-o", disk], false, "has no capital letters"),
    ] {
        *asked.lock().unwrap() = 0;
        let ran = run(home.bootdisk().args(&words).current_dir(home.path("")));
        assert_ne!(ran.status, Some(0), "{words:?}");
        assert_eq!(*asked.lock().unwrap() > 0, asks, "{words:?}: {}", ran.stderr);
        let said = said.replace("docker.io", &format!("127.0.0.1:{}", nothing.port));
        assert!((ran.stderr.clone() + &ran.text()).contains(&said), "{words:?}: {}{}", ran.stderr, ran.text());
    }
}
