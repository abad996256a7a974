use super::*;
use crate::formats::pe;
use std::process::Command;

/// A folder with keys of openssl's, each with its certificate: `NAME.key` and `NAME.pem`.
struct Keys(tempfile::TempDir);

impl Keys {
    fn new() -> Keys {
        Keys(tempfile::tempdir().unwrap())
    }

    fn openssl(&self, arguments: &str) -> &Keys {
        let words = arguments.split(' ').map(|word| word.replace('+', " "));
        let out = Command::new("openssl").args(words).current_dir(self.0.path()).output().unwrap();
        assert!(out.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&out.stderr));
        self
    }

    fn make(&self, name: &str, kind: &str) -> &Keys {
        self.openssl(&format!(
            "req -x509 -newkey {kind} -nodes -keyout {name}.key -out {name}.pem -days 30 -subj /CN={name}/O=An+Org"
        ))
    }

    fn path(&self, file: &str) -> std::path::PathBuf {
        self.0.path().join(file)
    }

    fn signing(&self, key: &str, certificate: &str) -> Result<Signing, SigningError> {
        Signing::with_key(&self.path(key), &self.path(certificate))
    }
}

fn program() -> Vec<u8> {
    pe::tests::program(0x8664, &[pe::tests::Made { name: b".text", body: &[0x90; 512] }])
}

#[test]
fn every_kind_of_key_signs_and_its_certificate_confirms_it() {
    let keys = Keys::new();
    keys.make("rsa", "rsa:2048").make("p256", "ec -pkeyopt ec_paramgen_curve:P-256");
    keys.make("p384", "ec -pkeyopt ec_paramgen_curve:P-384");
    keys.openssl("rsa -in rsa.key -traditional -out rsa1.key").openssl("ec -in p256.key -out sec1.key");
    for (key, certificate) in [
        ("rsa.key", "rsa.pem"),
        ("rsa1.key", "rsa.pem"),
        ("p256.key", "p256.pem"),
        ("sec1.key", "p256.pem"),
        ("p384.key", "p384.pem"),
    ] {
        let signing = keys.signing(key, certificate).unwrap();
        let signed = signing.program("a", &program()).unwrap();
        let found = verify::signatures(&signed).unwrap();
        assert_eq!(found.len(), 1, "{key}");
        assert!(signed.len() <= program().len() + signing.longest(), "{key}");
        assert!(found[0].digest_matches && found[0].is_genuine, "{key}");
        assert_eq!(found[0].by.as_ref(), Some(signing.certificate()));
        assert_eq!(
            signed,
            keys.signing(key, certificate).unwrap().program("a", &signed).unwrap(),
            "{key}: the same again"
        );
        // A byte of the program, of the digest, of the signature.
        let mut changed = signed.clone();
        changed[0x300] ^= 1;
        let one = &verify::signatures(&changed).unwrap()[0];
        assert!(!one.digest_matches && one.is_genuine, "{key}");
        let mut changed = signed.clone();
        let end = changed.iter().rposition(|byte| *byte != 0).unwrap();
        changed[end] ^= 1;
        assert!(!verify::signatures(&changed).unwrap()[0].is_genuine, "{key}");
    }
    let subject = keys.signing("rsa.key", "rsa.pem").unwrap().certificate().subject.clone();
    assert_eq!(subject, "CN=rsa, O=An Org");
    assert!(verify::signatures(&program()).unwrap().is_empty());

    // openssl is the judge of a variable's signature: content, certificate and SignedData are handed to it apart.
    let signing = keys.signing("rsa.key", "rsa.pem").unwrap();
    let auth = signing.variable(Variable::Db).unwrap();
    let (list, time) = signing.list();
    let length = u32::from_le_bytes(auth[16..20].try_into().unwrap()) as usize;
    std::fs::write(keys.path("p7"), cms::content_info(&auth[40..16 + length])).unwrap();
    std::fs::write(keys.path("content"), signature_list::signed_bytes(Variable::Db, &time, &list)).unwrap();
    let smime = "smime -verify -inform DER -in p7 -binary -content content -CAfile rsa.pem -purpose any -out out";
    keys.openssl(smime);
    std::fs::write(keys.path("content"), signature_list::signed_bytes(Variable::Kek, &time, &list)).unwrap();
    let status = Command::new("openssl").args(smime.split(' ')).current_dir(keys.0.path()).output().unwrap().status;
    assert!(!status.success(), "a signature for db is none for KEK");
    assert_eq!(
        signature_list::lists_of(&auth).and_then(signature_list::certificates).unwrap(),
        [signing.certificate().clone()]
    );

    // A program of another's that signs gives the same bytes, and what is no signature is refused.
    let command = format!("openssl pkeyutl -sign -inkey {} -pkeyopt digest:sha256", keys.path("rsa.key").display());
    let by_program = |command: &str| {
        let words = command.split(' ').map(str::to_owned).collect();
        Signing::with_program(words, &keys.path("rsa.pem")).unwrap().program("a", &program())
    };
    assert_eq!(by_program(&command).unwrap(), signing.program("a", &program()).unwrap());
    let other = command.replace("rsa.key", "p256.key");
    let wrong = by_program(&other).unwrap_err();
    assert_eq!(wrong.to_string(), "what the signing command printed is no signature by the certificate's key: openssl");
    assert!(wrong.hint().unwrap().contains("32 bytes"));

    // What cannot be used is one sentence.
    keys.openssl("rsa -in rsa.key -aes128 -passout pass:x -out locked.key");
    keys.openssl("rsa -in rsa.key -traditional -aes128 -passout pass:x -out locked1.key");
    keys.openssl("genpkey -algorithm ed25519 -out ed.key").openssl("genrsa -out small.key 1024");
    std::fs::write(keys.path("text"), "no key\n").unwrap();
    std::fs::write(keys.path("bytes"), [0xff; 64]).unwrap();
    let long = vec![b'x'; (LONGEST + 1) as usize];
    std::fs::write(keys.path("long"), long).unwrap();
    for (key, certificate, expected) in [
        ("p256.key", "rsa.pem", "certificate does not belong to the signing key: CN=rsa, O=An Org"),
        ("locked.key", "rsa.pem", "signing key is encrypted, and nobody is asked for a passphrase: "),
        ("locked1.key", "rsa.pem", "signing key is encrypted, and nobody is asked for a passphrase: "),
        ("ed.key", "rsa.pem", "signing key cannot be used, it is of another algorithm: "),
        (
            "small.key",
            "rsa.pem",
            "signing key cannot be used, it is damaged, or has fewer than 2048 or more than 4096 bits: ",
        ),
        ("rsa.pem", "rsa.pem", "signing key is a certificate or a public key: "),
        ("text", "rsa.pem", "signing key has no private key in PEM: "),
        ("bytes", "rsa.pem", "signing key has no private key in PEM: "),
        ("long", "rsa.pem", "cannot read the signing key "),
        ("missing", "rsa.pem", "cannot read the signing key "),
        ("rsa.key", "rsa.key", "certificate is a private key: "),
        ("rsa.key", "text", "certificate is no certificate in PEM: "),
        ("rsa.key", ".", "certificate is a folder: "),
    ] {
        let error = keys.signing(key, certificate).unwrap_err();
        assert!(error.to_string().starts_with(expected), "{key} {certificate}: {error}");
    }
    let error = signing.program("bootdisk/linux", b"\x7fELF").unwrap_err();
    assert_eq!(error.to_string(), "cannot sign bootdisk/linux: it is no EFI program");
}
