//! Registries that do not let everybody in: TLS, passwords, tokens. What is secret is nowhere to be seen.

use super::{Home, image, layout, oci};
use crate::support::e2e::{Ran, run};
use crate::support::http::{Server, answer};
use crate::support::images::Pack;
use crate::support::registry::{Guards, Registry};
use crate::support::tools::{self, program};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

const PASSWORD: &str = "canary-password";
/// Of that password, by bcrypt.
const HTPASSWD: &str = "me:$2b$05$abcdefghijklmnopqrstuuTvmw3qcMpAvEgQGhbFMhqjD3R/evDDW\n";
/// `me:` and the password, and `me:` and a wrong one.
const RIGHT: &str = "bWU6Y2FuYXJ5LXBhc3N3b3Jk";
const WRONG: &str = "bWU6Y2FuYXJ5LXdyb25n";

/// Nothing secret is said.
#[track_caller]
fn keeps_secrets(ran: &Ran) {
    for secret in ["canary", RIGHT, WRONG] {
        assert!(!ran.stderr.contains(secret) && !ran.text().contains(secret), "{secret}: {}", ran.stderr);
    }
}

fn config(registry: &str, auth: &str) -> String {
    format!(r#"{{"auths":{{"{registry}":{{"auth":"{auth}"}}}}}}"#)
}

#[test]
fn a_password_is_taken_from_where_docker_and_podman_leave_it_and_told_to_nobody() {
    let home = Home::new();
    home.write("htpasswd", HTPASSWD);
    let auth = format!("  htpasswd: {{realm: x, path: {}}}", home.path("htpasswd").display());
    let registry = Registry::start(&Guards { auth, tls: None });
    let from = layout(&home, "app", &image("app", &[Pack::Gzip, Pack::Zstd]));
    registry.push(&oci(&from), "team/app", &["--dest-creds", &format!("me:{PASSWORD}")]);
    let (host, name) = (registry.name(""), registry.name("team/app"));
    let host = host.trim_end_matches('/');
    let expected = home.files_of(&from, &[]);
    let files = |file: &str, text: &str| {
        home.write(file, text);
        let ran = home.files(format!("docker://{name}"), &["--no-cache"]);
        std::fs::remove_file(home.path(file)).unwrap();
        keeps_secrets(&ran);
        ran
    };
    for (file, text) in [
        ("user/docker/config.json", config(host, RIGHT)),
        ("user/docker/config.json", config(&format!("http://{host}/v2/"), RIGHT)),
        ("user/config/containers/auth.json", config(host, RIGHT)),
        ("user/config/containers/auth.json", config(&format!("{host}/team"), RIGHT)),
        ("user/config/containers/auth.json", config(&format!("{host}/team/app"), RIGHT)),
    ] {
        assert_eq!(files(file, &text).expect_status(0).text(), expected, "{file} {text}");
    }
    for (text, words) in [
        (
            config("elsewhere.example", RIGHT),
            &["no user is logged in to 127.0.0.1", "user/docker/config.json", "hint: docker login 127.0.0.1"][..],
        ),
        (config(&format!("{host}/other"), RIGHT), &["no user is logged in"]),
        (config(host, WRONG), &["refuses", "to the logged-in user"]),
        (config(host, "Y2FuYXJ5"), &["are not base64 of NAME:PASSWORD"]),
        ("{canary".into(), &["line 1, column 2 is not as docker login writes it"]),
        (r#"{"credsStore":"../canary"}"#.replace("canary", "x"), &["not the name of a helper"]),
        (
            r#"{"credsStore":"not-there-at-all"}"#.into(),
            &["cannot start docker-credential-not-there-at-all", "hint: install"],
        ),
    ] {
        let said = files("user/docker/config.json", &text).expect_status(1).stderr;
        assert!(words.iter().all(|word| said.contains(word)), "{text}: {said}");
    }
    reports(&home, &name, [&config(host, RIGHT), &config(host, WRONG)]);
    helpers(&home, host, &name, &expected);
}

/// What `run --debug` writes for somebody else to read: with the right password, as far as the missing kernel, and with a
/// wrong one.
fn reports(home: &Home, name: &str, configs: [&str; 2]) {
    let report = home.path("report.txt");
    for (config, end) in configs.into_iter().zip(["no such kernel", "refuses"]) {
        home.write("user/docker/config.json", config);
        let mut command = home.bootdisk();
        command.args(["run", "--no-cache", "--kernel", "./none", "--debug"]).arg(&report);
        let ran = crate::support::e2e::run(command.arg(format!("docker://{name}")));
        keeps_secrets(&ran);
        let text = std::fs::read_to_string(&report).unwrap();
        assert!(text.contains(end) && text.contains(name), "{text}");
        assert!(["canary", RIGHT, WRONG].iter().all(|secret| !text.contains(secret)), "{text}");
    }
}

/// Programs that know the password, or do not.
fn helpers(home: &Home, host: &str, name: &str, expected: &str) {
    let right = format!(r#"echo '{{"Username":"me","Secret":"{PASSWORD}"}}'"#);
    let unseen = "! grep -qs canary /proc/$PPID/cmdline /proc/$PPID/environ /proc/$$/cmdline /proc/$$/environ";
    let registry =
        format!(r#"read -r server; [ "$server" = {host} ] && [ "$*" = get ] && {unseen} || exit 3; {right}"#);
    for (script, words) in [
        (registry.as_str(), ""),
        ("echo 'credentials not found in native keychain'; exit 1", "no user is logged in"),
        ("echo canary; exit 1", "docker-credential-own has failed"),
        ("echo canary", "has not answered as a helper does"),
        ("head -c 3000000 /dev/zero; exit 0", "has not answered as a helper does"),
    ] {
        program(&home.path("docker-credential-own"), format!("#!/bin/sh\n{script}\n").as_bytes(), 0o755);
        for keys in [r#"{"credsStore":"own"}"#.to_owned(), format!(r#"{{"credHelpers":{{"{host}":"own"}}}}"#)] {
            home.write("user/docker/config.json", &keys);
            let path = format!("{}:{}", home.path("").display(), std::env::var("PATH").unwrap());
            let mut command = home.bootdisk();
            command
                .env("PATH", path)
                .args(["inspect", "--files", "jsonl", "--no-cache"])
                .arg(format!("docker://{name}"));
            let ran = crate::support::e2e::run(&mut command);
            keeps_secrets(&ran);
            match words {
                "" => assert_eq!(ran.expect_status(0).text(), expected),
                words => assert!(ran.stderr.contains(words), "{script}: {}", ran.stderr),
            }
        }
    }
}

/// An authority, and a certificate of it for this machine: files `ca.crt`, `host.crt`, `host.key`.
fn certificates(folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    let openssl = |words: &str| {
        tools::stdout(
            Command::new("openssl").args(words.split(' ')).current_dir(folder).stderr(std::process::Stdio::null()),
        );
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(&format!("req -x509 {key} -keyout ca.key -out ca.crt -days 2 -subj /CN=test-authority"));
    openssl(&format!("req {key} -keyout host.key -out host.csr -subj /CN=localhost"));
    std::fs::write(folder.join("ext"), "subjectAltName=IP:127.0.0.1,DNS:localhost").unwrap();
    openssl("x509 -req -in host.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out host.crt -days 2 -extfile ext");
}

#[test]
fn a_certificate_counts_when_the_system_or_certs_d_trusts_its_authority() {
    let home = Home::new();
    let pki = home.path("pki");
    certificates(&pki);
    let registry =
        Registry::start(&Guards { tls: Some((pki.join("host.crt"), pki.join("host.key"))), auth: String::new() });
    let from = layout(&home, "app", &image("app", &[Pack::Gzip]));
    registry.push(&oci(&from), "app", &[]);
    let expected = home.files_of(&from, &[]);
    let name = format!("docker://{}", registry.name("app"));
    let files = |authority: Option<PathBuf>, options: &[&str]| {
        let mut command = home.bootdisk();
        command.args(["inspect", "--files", "jsonl", "--no-cache", &name]).args(options);
        authority.map(|file| command.env("SSL_CERT_FILE", file));
        crate::support::e2e::run(&mut command)
    };
    // On this machine anybody's certificate will do, unless it is asked for.
    assert_eq!(files(None, &[]).expect_status(0).text(), expected);
    assert_eq!(files(None, &["--tls-verify=false"]).expect_status(0).text(), expected);
    assert_eq!(files(Some(pki.join("ca.crt")), &["--tls-verify"]).expect_status(0).text(), expected);
    let refused = files(None, &["--tls-verify"]).expect_status(1).stderr;
    let port = registry.port;
    assert!(
        refused.contains(&format!(
            "no answer from 127.0.0.1:{port}: its certificate is not signed by an authority that this machine trusts"
        )),
        "{refused}"
    );
    assert!(refused.contains(&format!("/etc/containers/certs.d/127.0.0.1:{port}/ca.crt")), "{refused}");
    let own = home.path(&format!("user/config/containers/certs.d/127.0.0.1:{port}"));
    std::fs::create_dir_all(&own).unwrap();
    std::fs::copy(pki.join("ca.crt"), own.join("ca.crt")).unwrap();
    assert_eq!(files(None, &["--tls-verify"]).expect_status(0).text(), expected);
    std::fs::copy(pki.join("host.crt"), own.join("me.cert")).unwrap();
    assert!(files(None, &["--tls-verify"]).expect_status(1).stderr.contains("no key next to the certificate"));
    std::fs::copy(pki.join("ca.key"), own.join("me.key")).unwrap();
    let wrong_key = files(None, &["--tls-verify"]).expect_status(1).stderr;
    assert!(wrong_key.contains("no usable certificate or key in PEM"), "{wrong_key}");
    std::fs::copy(pki.join("host.key"), own.join("me.key")).unwrap();
    assert_eq!(files(None, &["--tls-verify"]).expect_status(0).text(), expected);
}

/// Base64 as tokens have it.
fn encoded(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

/// A token for one repository that Debian's registry believes, signed with the key of the folder.
fn token(pki: &Path, scope: &str) -> String {
    use base64::Engine;
    let pem = std::fs::read_to_string(pki.join("host.crt")).unwrap();
    let der: String = pem.lines().filter(|line| !line.starts_with("--")).collect();
    assert!(base64::engine::general_purpose::STANDARD.decode(&der).is_ok());
    let header = serde_json::json!({ "typ": "JWT", "alg": "RS256", "x5c": [der] });
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let mut parts = scope.split(':');
    let access = serde_json::json!([{ "type": parts.next(), "name": parts.next(), "actions": parts.next().unwrap().split(',').collect::<Vec<_>>() }]);
    let claims = serde_json::json!({
        "iss": "tokens", "aud": "registry", "sub": "me", "exp": now + 3600, "nbf": now - 60, "iat": now - 60, "jti": "1", "access": access,
    });
    let text = format!("{}.{}", encoded(header.to_string().as_bytes()), encoded(claims.to_string().as_bytes()));
    std::fs::write(pki.join("text"), &text).unwrap();
    let mut openssl = Command::new("openssl");
    openssl.args(["dgst", "-sha256", "-sign", "host.key", "-out", "signature", "text"]).current_dir(pki);
    tools::stdout(&mut openssl);
    format!("{text}.{}", encoded(&std::fs::read(pki.join("signature")).unwrap()))
}

#[test]
fn a_token_server_is_asked_with_a_password_an_identity_or_nothing() {
    let home = Home::new();
    let pki = home.path("pki");
    std::fs::create_dir_all(&pki).unwrap();
    let mut openssl = Command::new("openssl");
    openssl
        .args("req -x509 -newkey rsa:2048 -nodes -keyout host.key -out host.crt -days 2 -subj /CN=tokens".split(' '));
    tools::stdout(openssl.current_dir(&pki).stderr(std::process::Stdio::null()));
    // Whoever is somebody may push and pull, and nobody may pull what is public.
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (noted, keys, turn) = (Arc::clone(&asked), pki.clone(), Mutex::new(()));
    let tokens = Server::start(move |request| {
        let _alone = turn.lock().unwrap();
        let body = String::from_utf8_lossy(&request.body).into_owned();
        noted.lock().unwrap().push(format!("{} {} {}", request.method, request.header("authorization"), body));
        let text = format!("{}&{body}", request.path.split_once('?').map_or("", |(_, query)| query))
            .replace("%3A", ":")
            .replace("%2F", "/")
            .replace("%2C", ",");
        let scope = text.split('&').find_map(|part| part.strip_prefix("scope=")).unwrap_or_default().to_owned();
        let is_me = request.header("authorization") == format!("Basic {RIGHT}")
            || body.contains("refresh_token=canary-identity");
        match is_me || scope == "repository:public:pull" {
            true => answer(200, &[], serde_json::json!({ "token": token(&keys, &scope) }).to_string().as_bytes()),
            false => answer(401, &[], b"{\"errors\":[{\"code\":\"UNAUTHORIZED\"}]}"),
        }
    });
    let auth = format!(
        "  token: {{realm: \"http://127.0.0.1:{}/token\", service: registry, issuer: tokens, rootcertbundle: {}}}",
        tokens.port,
        pki.join("host.crt").display()
    );
    let registry = Registry::start(&Guards { auth, tls: None });
    let from = layout(&home, "app", &image("app", &[Pack::Gzip]));
    let expected = home.files_of(&from, &[]);
    for name in ["public", "private"] {
        registry.push(&oci(&from), name, &["--dest-creds", &format!("me:{PASSWORD}")]);
    }
    let host = format!("127.0.0.1:{}", registry.port);
    let identity = format!(r#"{{"auths":{{"{host}":{{"auth":"bWU6","identitytoken":"canary-identity"}}}}}}"#);
    for (repository, text, first, ok) in [
        ("public", "{}".to_owned(), "GET  ", true),
        ("private", config(&host, RIGHT), &format!("GET Basic {RIGHT} "), true),
        (
            "private",
            identity,
            "POST  grant_type=refresh_token&service=registry&client_id=bootdisk&scope=repository%3Aprivate%3Apull&refresh_token=canary-identity",
            true,
        ),
        ("private", "{}".to_owned(), "GET  ", false),
        ("private", config(&host, WRONG), &format!("GET Basic {WRONG} "), false),
    ] {
        home.write("user/docker/config.json", &text);
        asked.lock().unwrap().clear();
        let ran = home.files(format!("docker://{}", registry.name(repository)), &["--no-cache"]);
        keeps_secrets(&ran);
        assert_eq!(asked.lock().unwrap().first().map(String::as_str), Some(first), "{repository} {text}");
        match ok {
            true => assert_eq!(ran.expect_status(0).text(), expected, "{repository} {text}"),
            false => assert!(ran.expect_status(1).stderr.contains("logged"), "{repository} {text}"),
        }
    }

    // A disk is let in by the same servers, who are asked for the right to push.
    let disk = home.path("disk.img");
    let mut sgdisk = Command::new("sgdisk");
    std::fs::File::create(&disk).unwrap().set_len(4 << 20).unwrap();
    tools::stdout(sgdisk.args(["-n", "1", "-t", "1:4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709"]).arg(&disk));
    let name = format!("docker://{}", registry.name("mine:1"));
    for (auth, ok) in [(WRONG, false), (RIGHT, true)] {
        home.write("user/docker/config.json", &config(&host, auth));
        asked.lock().unwrap().clear();
        let ran = run(home.bootdisk().arg("convert").arg(&disk).arg("-o").arg(&name));
        keeps_secrets(&ran);
        assert_eq!(asked.lock().unwrap().first().map(String::as_str), Some(&*format!("GET Basic {auth} ")));
        match ok {
            true => assert_eq!(ran.expect_status(0).text(), ""),
            false => assert!(ran.expect_status(1).stderr.contains("logged")),
        }
    }
    let mut skopeo = Command::new("skopeo");
    let creds = format!("--creds=me:{PASSWORD}");
    let pushed = tools::stdout(skopeo.args(["inspect", "--config", "--tls-verify=false", &creds, &name]));
    assert!(pushed.contains("\"architecture\": \"amd64\""), "{pushed}");
}
