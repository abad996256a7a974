//! Registries that send us elsewhere, say odd things, or want what is not theirs.

use super::{Home, image};
use crate::support::http::{Request, Server, answer};
use crate::support::images::{ImageBuilder, Pack, sha256};
use std::sync::{Arc, Mutex};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const RIGHT: &str = "bWU6Y2FuYXJ5LXBhc3N3b3Jk";

/// What a registry of one image says without a fault.
fn honest(image: &ImageBuilder, request: &Request) -> Vec<u8> {
    let manifest = serde_json::to_vec(&image.manifest()).unwrap();
    let last = request.path.rsplit('/').next().unwrap_or_default();
    if request.path.contains("/manifests/") {
        return answer(200, &[("content-type", MANIFEST)], &manifest);
    }
    match image.oci_blobs().into_iter().find(|(_, bytes)| sha256(bytes) == last) {
        Some((_, bytes)) => answer(200, &[], &bytes),
        None => answer(404, &[], b"{}"),
    }
}

fn password(home: &Home, port: u16) {
    home.write("user/docker/config.json", &format!(r#"{{"auths":{{"127.0.0.1:{port}":{{"auth":"{RIGHT}"}}}}}}"#));
}

#[test]
fn a_blob_store_that_a_registry_leads_to_learns_nobodys_password() {
    let home = Home::new();
    let image = Arc::new(image("app", &[Pack::Gzip]));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (noted, content) = (Arc::clone(&seen), Arc::clone(&image));
    let store = Server::start(move |request| {
        noted.lock().unwrap().push(request.header("authorization").to_owned());
        // It asks as well, and gets nothing.
        match request.path.starts_with("/ask") {
            true => answer(401, &[("www-authenticate", "Basic realm=\"store\"")], b"canary"),
            false => honest(&content, &request),
        }
    });
    let (port, content) = (store.port, Arc::clone(&image));
    let (ask, host) = (Arc::new(Mutex::new(false)), Arc::new(Mutex::new("localhost")));
    let (asks, to) = (Arc::clone(&ask), Arc::clone(&host));
    let registry = Server::start(move |request| match request.header("authorization") {
        "" => answer(401, &[("www-authenticate", "Basic realm=\"x\"")], b"{}"),
        _ if request.path.contains("/blobs/") => {
            let folder = if *asks.lock().unwrap() { "/ask" } else { "" };
            let host = to.lock().unwrap();
            answer(307, &[("location", &format!("http://{host}:{port}{folder}{}", request.path))], b"")
        }
        authorization => {
            assert_eq!(authorization, format!("Basic {RIGHT}"));
            honest(&content, &request)
        }
    });
    password(&home, registry.port);
    let name = format!("docker://127.0.0.1:{}/app", registry.port);
    home.files(&name, &["--no-cache"]).expect_status(0);
    // The same host is another server where it has another port.
    *host.lock().unwrap() = "127.0.0.1";
    home.files(&name, &["--no-cache"]).expect_status(0);
    *ask.lock().unwrap() = true;
    let refused = home.files(&name, &["--no-cache"]).expect_status(1).stderr;
    assert!(refused.contains(&format!("127.0.0.1:{port} has answered with status 401")), "{refused}");
    let seen = seen.lock().unwrap();
    assert!(seen.len() >= 5 && seen.iter().all(String::is_empty), "{seen:?}");
}

/// What a registry answers to everything, and what is said of it.
#[test]
fn odd_answers_are_one_sentence_each() {
    let long = "\u{1b}[2J".repeat(1 << 20);
    let quote = format!("Bearer realm=\"{}", "x".repeat(60_000));
    let huge = format!("Bearer realm=\"{}\"", "x".repeat(1 << 20));
    let realm = |realm: &str| format!("Bearer realm=\"{realm}\",service=\"x\"");
    let (metadata, elsewhere, no_url) =
        (realm("http://169.254.169.254/token"), realm("https://evil.example/token"), realm("canary"));
    let echo = |request: &Request| {
        format!(r#"{{"errors":[{{"code":"DENIED","message":"{} \u001b[2J"}}]}}"#, request.header("authorization"))
    };
    type Answer<'a> = Box<dyn Fn(&Request) -> Vec<u8> + Send + Sync + 'a>;
    let challenge = |value: &str| -> Answer<'static> {
        let value = value.to_owned();
        Box::new(move |_| answer(401, &[("www-authenticate", &value)], b"{}"))
    };
    let rows: Vec<(&str, Answer<'static>, &str)> = vec![
        ("no status", Box::new(|_| b"nonsense\r\n\r\n".to_vec()), "no answer from"),
        ("nothing", Box::new(|_| vec![]), "no answer from"),
        (
            "a long error",
            Box::new(move |_| answer(500, &[], long.as_bytes())),
            "has answered with status 500: \\x1b[2J",
        ),
        (
            "a teapot",
            Box::new(|_| answer(418, &[], b"short and stout")),
            "has answered with status 418: short and stout",
        ),
        (
            "an echo",
            Box::new(move |request| match request.header("authorization") {
                "" => answer(401, &[("www-authenticate", "Basic realm=x")], b"{}"),
                _ => answer(403, &[], echo(request).as_bytes()),
            }),
            "to the logged-in user: DENIED: *** \\x1b[2J",
        ),
        (
            "a loop",
            Box::new(|request| answer(302, &[("location", &request.path)], b"")),
            "which bootdisk does not follow: there were ten before it",
        ),
        (
            "to the next network",
            Box::new(|_| answer(302, &[("location", "http://169.254.169.254/keys")], b"")),
            "redirects to 169.254.169.254, which bootdisk does not follow",
        ),
        ("to nowhere", Box::new(|_| answer(302, &[("location", "ftp://x/y")], b"")), "does not follow"),
        ("to nobody", Box::new(|_| answer(302, &[], b"")), "that is no address of HTTP"),
        ("a quotation mark", challenge(&quote), "which bootdisk does not ask: that is no address of HTTP"),
        ("a header of a mebibyte", challenge(&huge), "no answer from"),
        ("a realm of the next network", challenge(&metadata), "169.254.169.254/token, which bootdisk does not ask"),
        (
            "a realm of somebody else",
            challenge(&elsewhere),
            "evil.example/token, which bootdisk does not ask: that is not where this password belongs",
        ),
        ("a realm that is none", challenge(&no_url), "which bootdisk does not ask: that is no address of HTTP"),
        ("another scheme", challenge("Negotiate"), "an unsupported kind of credentials: negotiate"),
        (
            "no scheme",
            Box::new(|_| answer(401, &[], b"")),
            "answers only who is logged in (status 401), and does not say how",
        ),
        ("nothing to complain of", Box::new(|_| answer(400, &[], b"{}")), "has answered with status 400\n"),
        (
            "for ever busy",
            Box::new(|_| answer(429, &[("retry-after", "1000000000")], b"")),
            "takes no more requests for 1000000000 s",
        ),
        (
            "another digest",
            Box::new(|_| answer(200, &[("docker-content-digest", &sha256(b"x"))], b"{}")),
            "has sent something else than was asked for",
        ),
        (
            "no manifest",
            Box::new(|_| answer(200, &[("content-type", MANIFEST)], b"canary")),
            "expected value at line 1 column 1",
        ),
        (
            "a page",
            Box::new(|_| answer(200, &[("content-type", "text/html")], b"<html>")),
            "expected value at line 1 column 1",
        ),
        (
            "too much",
            Box::new(|_| answer(200, &[], &vec![b' '; 5 << 20])),
            "has sent a document of more than 4194304 bytes",
        ),
        (
            "an old manifest",
            Box::new(|_| {
                answer(
                    200,
                    &[("content-type", "application/vnd.docker.distribution.manifest.v1+prettyjws")],
                    br#"{"schemaVersion":1}"#,
                )
            }),
            "the obsolete image manifest schema 1",
        ),
    ];
    for (name, say, words) in rows {
        let home = Home::new();
        let server = Server::start(move |request| say(&request));
        password(&home, server.port);
        let ran = home.files(format!("docker://127.0.0.1:{}/app", server.port), &[]).expect_status(1);
        assert!(ran.stderr.contains(words), "{name}: {}", ran.stderr);
        let lines: Vec<&str> = ran.stderr.lines().filter(|line| line.starts_with("error: ")).collect();
        assert!(lines.len() == 1 && ran.stderr.len() < 3000, "{name}: {}", ran.stderr);
        assert!(
            !ran.stderr.contains('\u{1b}') && !ran.stderr.contains(RIGHT) && !ran.stderr.contains("panicked"),
            "{name}: {}",
            ran.stderr
        );
        assert!(
            home.blobs().is_empty() || name == "no manifest" || name == "a page" || name == "an old manifest",
            "{name}"
        );
    }
}

/// A registry that asks who we are, and has all of an image but its layer, which is at these addresses.
fn without_layer(image: ImageBuilder, urls: Arc<Mutex<Vec<String>>>) -> Server {
    let layer = sha256(&image.layers[0].blob);
    Server::start(move |request| {
        let mut manifest = image.manifest();
        manifest["layers"][0]["mediaType"] = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip".into();
        manifest["layers"][0]["urls"] = urls.lock().unwrap().clone().into();
        match request.header("authorization") {
            "" => answer(401, &[("www-authenticate", "Basic realm=\"x\"")], b"{}"),
            _ if request.path.ends_with(&layer) => answer(404, &[], b"{}"),
            _ if request.path.contains("/manifests/") => {
                answer(200, &[("content-type", MANIFEST)], &serde_json::to_vec(&manifest).unwrap())
            }
            _ => honest(&image, &request),
        }
    })
}

#[test]
fn a_layer_that_is_elsewhere_is_fetched_from_there_when_somebody_says_so() {
    let home = Home::new();
    let image = image("app", &[Pack::Gzip]);
    let expected = home.files_of(&super::layout(&home, "layout", &image), &[]);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (noted, content) = (Arc::clone(&seen), image.layers[0].blob.clone());
    let elsewhere = Server::start(move |request| {
        noted.lock().unwrap().push(request.header("authorization").to_owned());
        let mut wrong = content.clone();
        wrong[20] ^= 1;
        match request.path.as_str() {
            "/right" => answer(200, &[], &content),
            "/moved" => answer(302, &[("location", "/right")], b""),
            "/wrong" => answer(200, &[], &wrong),
            "/longer" => answer(200, &[], &[&content[..], b"x"].concat()),
            "/asks" => answer(401, &[("www-authenticate", "Basic realm=\"x\"")], b"canary"),
            "/inside" => answer(302, &[("location", "http://169.254.169.254/x")], b""),
            _ => answer(404, &[], b""),
        }
    });
    let at = |path: &str| format!("http://localhost:{}{path}", elsewhere.port);
    let urls = Arc::new(Mutex::new(Vec::new()));
    let registry = without_layer(image, Arc::clone(&urls));
    password(&home, registry.port);
    let name = format!("docker://127.0.0.1:{}/app", registry.port);
    let allowed = ["--no-cache", "--allow-foreign-layers"];
    for (places, options, said) in [
        (vec![at("/right")], &allowed[..], ""),
        (vec![at("/gone"), at("/moved")], &allowed, ""),
        (vec![at("/right")], &allowed[..1], "is not asked: nobody has asked for that"),
        (vec![at("/right")], &allowed[..1], "hint: fetch it from there: --allow-foreign-layers"),
        (vec![], &allowed, "does not have sha256:"),
        (vec!["ftp://localhost/right".into()], &allowed, "is not asked: that is no address of HTTP"),
        (vec!["http://169.254.169.254/x".into()], &allowed, "is not asked: that is this machine's own"),
        (vec![at("/inside")], &allowed, "redirects to 169.254.169.254, which bootdisk does not follow"),
        (vec![at("/wrong")], &allowed, "has sent something else than was asked for"),
        (vec![at("/longer")], &allowed, "bytes of sha256:"),
        (vec![at("/asks")], &allowed, "has answered with status 401"),
        (vec![at("/gone")], &allowed, "has answered with status 404"),
        (vec!["\u{1b}[2J".repeat(1000)], &allowed, "is not asked: that is no address of HTTP"),
    ] {
        (*urls.lock().unwrap()).clone_from(&places);
        let ran = home.files(&name, options);
        assert!(
            !ran.stderr.contains(RIGHT) && !ran.stderr.contains('\u{1b}') && ran.stderr.len() < 3000,
            "{}",
            ran.stderr
        );
        match said {
            "" => assert_eq!(ran.expect_status(0).text(), expected, "{places:?}"),
            said => assert!(ran.expect_status(1).stderr.contains(said), "{places:?} {said}"),
        }
    }
    let seen = seen.lock().unwrap();
    assert!(seen.len() >= 8 && seen.iter().all(String::is_empty), "{seen:?}");
}

#[test]
fn a_tag_that_is_not_there_is_told_with_those_that_are_like_it() {
    let home = Home::new();
    let server = Server::start(|request| match request.path.ends_with("/app/tags/list") {
        true => answer(200, &[], br#"{"name":"app","tags":["1.27","1.26","latest","1.2","x\u001b"]}"#),
        false => answer(404, &[], br#"{"errors":[{"code":"MANIFEST_UNKNOWN"}]}"#),
    });
    let files = |name: &str| home.files(format!("127.0.0.1:{}/{name}", server.port), &[]).expect_status(1).stderr;
    let said = files("app:1.25");
    assert!(said.contains("(it has 1.2, 1.26, 1.27)"), "{said}");
    assert!(said.contains(&format!("hint: did you mean docker://127.0.0.1:{}/app:1.2\n", server.port)), "{said}");
    let said = files("lost");
    assert!(said.contains("no such image in") && said.contains("hint: look up the repository's name"), "{said}");
}
