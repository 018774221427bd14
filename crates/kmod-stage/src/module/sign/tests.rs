#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stderr)]
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use flate2::write::GzEncoder;
use oci_assemble::testing::elf::module_for;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

/// Keys and certificates, made once by openssl.
struct Keys(TempDir);

impl Keys {
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    /// Runs openssl; its words are separated by spaces.
    fn openssl(&self, words: &str) -> Output {
        let output = Command::new("openssl").args(words.split(' ')).current_dir(self.0.path()).output().unwrap();
        assert!(output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stderr));
        output
    }
}

/// None without openssl, which is an error in continuous integration.
fn keys() -> Option<&'static Keys> {
    static KEYS: OnceLock<Option<Keys>> = OnceLock::new();
    KEYS.get_or_init(|| {
        if let Err(error) = Command::new("openssl").arg("version").output() {
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "openssl: {error}");
            eprintln!("skipped: openssl: {error}");
            return None;
        }
        let keys = Keys(tempfile::tempdir().unwrap());
        // A name of several parts and encodings: it must come out byte for byte.
        let name = "-subj /C=DE/O=Example\\ Org/OU=a+UID=b/CN=Münster/emailAddress=kmod@example.com -utf8";
        let request = |name: &str, new: &str, subject: &str| {
            let out = format!("-keyout {name}.key -out {name}.pem -days 36500");
            let words = format!("req -x509 -newkey {new} -noenc {out}");
            let words: Vec<&str> = words.split(' ').collect();
            let subject: Vec<String> = subject.split(' ').map(|word| word.replace('~', " ")).collect();
            let run = Command::new("openssl").args(words).args(subject).current_dir(keys.0.path()).output().unwrap();
            assert!(run.status.success(), "{name}: {}", String::from_utf8_lossy(&run.stderr));
        };
        request("good", "rsa:2048", &name.replace("\\ ", "~"));
        request("large", "rsa:4096", "-subj /CN=large -set_serial 0x80ff00112233445566778899aabbccddeeff0011");
        request("other", "rsa:2048", "-subj /CN=other");
        request("short", "rsa:1024", "-subj /CN=short");
        request("odd", "rsa:2304", "-subj /CN=odd");
        request("ec", "ec -pkeyopt ec_paramgen_curve:P-256", "-subj /CN=ec");
        keys.openssl("x509 -in good.pem -outform DER -out good.der");
        keys.openssl("rsa -in good.key -traditional -out traditional.key");
        keys.openssl("pkcs8 -topk8 -in good.key -passout pass:secret -out encrypted.key");
        keys.openssl("rsa -in good.key -traditional -aes128 -passout pass:secret -out encrypted-traditional.key");
        keys.openssl("ecparam -name prime256v1 -genkey -out traditional-ec.key");
        keys.openssl("genpkey -algorithm ed25519 -out ed25519.key");
        Some(keys)
    })
    .as_ref()
}

fn signer(keys: &Keys, certificate: &str, key: &str) -> Result<ModuleSigner, PairError> {
    ModuleSigner::new(ModuleCertificate::parse(&keys.read(certificate))?, &keys.read(key))
}

/// The message that a signed file ends with.
fn message<'a>(module: &[u8], signed: &'a [u8]) -> &'a [u8] {
    &signed[module.len()..signed.len() - 28 - 12]
}

#[test]
fn the_message_is_the_one_of_openssl() {
    let Some(keys) = keys() else { return };
    let module = module_for("probe", "6.1");
    fs::write(keys.path("module"), &module).unwrap();
    for pair in ["good", "large"] {
        let signed = signer(keys, &format!("{pair}.pem"), &format!("{pair}.key")).unwrap().sign(&module).unwrap();
        assert!(signed.starts_with(&module) && signed.ends_with(b"~Module signature appended~\n"));
        let pair_words = format!("-signer {pair}.pem -inkey {pair}.key");
        let form = "-binary -nocerts -noattr -nosmimecap -md sha256 -outform DER";
        let judge = keys.openssl(&format!("cms -sign -in module {form} {pair_words}")).stdout;
        assert!(message(&module, &signed) == judge, "{pair}: {judge:?}");
        let message_file = format!("{pair}.p7s");
        fs::write(keys.path(&message_file), message(&module, &signed)).unwrap();
        keys.openssl(&format!(
            "cms -verify -binary -inform DER -in {message_file} -content module -certfile {pair}.pem -noverify -out back"
        ));
        assert_eq!(keys.read("back"), module);
    }
}

/// The kernel's own program, where a distribution's package put it: `linux-kbuild-*` on Debian, `kernel-devel` on Fedora. Their
/// names change with the kernel, so nothing installs them; openssl, which is never missing, judges the same bytes.
fn sign_file() -> Option<PathBuf> {
    let below = |parent: &str| fs::read_dir(parent).into_iter().flatten().flatten().map(|entry| entry.path());
    let found = below("/usr/lib").chain(below("/usr/src/kernels")).chain(below("/usr/src"));
    let mut found = found.map(|path| path.join("scripts/sign-file")).filter(|path| path.is_file());
    let found = found.next();
    if found.is_none() {
        eprintln!("skipped: there is no scripts/sign-file");
    }
    found
}

#[test]
fn the_file_is_the_one_of_sign_file() {
    let (Some(keys), Some(program)) = (keys(), sign_file()) else { return };
    let module = module_for("probe", "6.1");
    for (certificate, key) in [
        ("good.pem", "good.key"),
        ("good.der", "good.key"),
        ("good.pem", "traditional.key"),
        ("large.pem", "large.key"),
    ] {
        let ours = signer(keys, certificate, key).unwrap().sign(&module).unwrap();
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("probe.ko");
        fs::write(&file, &module).unwrap();
        let mut sign = Command::new(&program);
        let run = sign.arg("sha256").args([keys.path(key), keys.path(certificate), file.clone()]).output().unwrap();
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        assert!(fs::read(&file).unwrap() == ours, "{certificate} {key}");
    }
}

#[test]
fn modinfo_names_the_signer() {
    let Some(keys) = keys() else { return };
    let temp = tempfile::tempdir().unwrap();
    let file = temp.path().join("probe.ko");
    fs::write(&file, signer(keys, "good.pem", "good.key").unwrap().sign(&module_for("probe", "6.1")).unwrap()).unwrap();
    let field = |name: &str| {
        let run = Command::new("/usr/sbin/modinfo").args(["-F", name]).arg(&file).output().unwrap();
        String::from_utf8(run.stdout).unwrap().trim().to_owned()
    };
    if !Path::new("/usr/sbin/modinfo").exists() {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "there is no modinfo");
        eprintln!("skipped: there is no modinfo");
        return;
    }
    assert_eq!((field("sig_id"), field("sig_hashalgo")), ("PKCS#7".into(), "sha256".into()));
    assert_eq!(field("signer"), "Münster");
    let serial = String::from_utf8(keys.openssl("x509 -in good.pem -noout -serial").stdout).unwrap();
    let serial = serial.trim().trim_start_matches("serial=").to_owned();
    assert_eq!(field("sig_key").replace(':', ""), serial);
}

#[test]
fn a_compressed_or_signed_module_is_signed_like_the_plain_one() {
    let Some(keys) = keys() else { return };
    let good = signer(keys, "good.pem", "good.key").unwrap();
    let module = module_for("probe", "6.1");
    let signed = good.sign(&module).unwrap();
    let mut gz = GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut gz, &module).unwrap();
    let other = signer(keys, "other.pem", "other.key").unwrap().sign(&module).unwrap();
    for input in [gz.finish().unwrap(), signed.clone(), other] {
        assert!(good.sign(&input).unwrap() == signed);
    }
    let damaged = good.sign(b"~Module signature appended~\n").unwrap_err();
    assert_eq!(damaged.to_string(), "the signature is longer than the file");
}

static GOOD: OnceLock<ModuleSigner> = OnceLock::new();

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn what_was_signed_comes_back(module in proptest::collection::vec(any::<u8>(), 1..3000)) {
        let Some(keys) = keys() else { return Ok(()) };
        prop_assume!(oci_assemble::elf::Compression::of(&module).is_none());
        let good = GOOD.get_or_init(|| signer(keys, "good.pem", "good.key").unwrap());
        let signed = good.sign(&module).unwrap();
        prop_assert_eq!(unsigned(&signed).unwrap(), (&module[..], 1));
        prop_assert!(good.sign(&module).unwrap() == signed);
        prop_assert!(good.sign(&signed).unwrap() == signed);
    }
}

#[test]
fn a_pair_is_a_pair() {
    let Some(keys) = keys() else { return };
    fs::write(keys.path("both.pem"), [keys.read("good.pem"), keys.read("good.key")].concat()).unwrap();
    fs::write(keys.path("text.pem"), [&b"subject: x\n"[..], &keys.read("good.pem")].concat()).unwrap();
    fs::write(keys.path("empty"), "").unwrap();
    let key = String::from_utf8(keys.read("good.key")).unwrap();
    fs::write(keys.path("cut.key"), format!("{}\n-----END PRIVATE KEY-----\n", &key[..500])).unwrap();
    fs::write(keys.path("crlf.key"), key.replace('\n', "\r\n")).unwrap();
    let crl = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    fs::write(keys.path("bad.pem"), crl).unwrap();
    for (certificate, key, expected) in [
        ("good.pem", "good.key", ""),
        ("good.der", "traditional.key", ""),
        ("both.pem", "both.pem", ""),
        ("text.pem", "crlf.key", ""),
        ("good.pem", "other.key", "the private key is not that of the certificate"),
        ("good.pem", "large.key", "the private key is not that of the certificate"),
        ("good.pem", "encrypted.key", "the private key is encrypted"),
        ("good.pem", "encrypted-traditional.key", "the private key is encrypted"),
        ("good.pem", "ec.key", "the private key is for EC;"),
        ("good.pem", "traditional-ec.key", "the private key is for EC;"),
        ("good.pem", "ed25519.key", "the private key is for Ed25519;"),
        ("good.pem", "cut.key", "the private key is damaged"),
        ("good.pem", "good.pem", "there is no private key in it"),
        ("good.pem", "empty", "there is no private key in it"),
        ("ec.pem", "ec.key", "the certificate is for EC;"),
        ("short.pem", "short.key", "the RSA key has 1024 bits;"),
        ("odd.pem", "odd.key", "the RSA key has 2304 bits;"),
        ("good.key", "good.key", "it is no X.509 certificate"),
        ("bad.pem", "good.key", "it is no X.509 certificate"),
        ("empty", "good.key", "it is no X.509 certificate"),
    ] {
        let found = signer(keys, certificate, key).map_or_else(|error| error.to_string(), |_| String::new());
        assert!(found.starts_with(expected) && found.is_empty() == expected.is_empty(), "{certificate} {key}: {found}");
    }
    let shown = format!("{:?}", signer(keys, "good.pem", "good.key").unwrap());
    assert!(
        shown.starts_with("ModuleSigner { certificate: ModuleCertificate { subject:") && shown.len() < 300,
        "{shown}"
    );
}
