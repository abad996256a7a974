//! Which registry is asked: mirrors before their origin, blocked ones not at all, bare names where no file is meant.

use super::{Home, image, layout, oci};
use crate::support::e2e::run;
use crate::support::http::{Server, answer};
use crate::support::images::Pack;
use crate::support::registry::Registry;
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
