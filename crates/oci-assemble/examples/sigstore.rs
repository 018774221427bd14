//! Sigstore on loopback, for peers that are to sign and verify: `sigstore DIR` writes trusted roots, configurations and
//! tokens into DIR, prints its URL, and serves until its standard input ends.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stdout)]

use std::io::Read;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use oci_assemble::publish::sigstore::RekorVersion;
use oci_assemble::testing::sigstore::Sigstore;
use serde_json::json;

fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

fn main() {
    let directory = std::env::args().nth(1).expect("usage: sigstore DIR");
    let services = Sigstore::start(now).unwrap();
    let put = |name: &str, text: String| std::fs::write(Path::new(&directory).join(name), text).unwrap();
    put("trusted_root.json", services.trusted_root());
    put("signing_config_v1.json", services.signing_config(RekorVersion::V1));
    put("signing_config_v2.json", services.signing_config(RekorVersion::V2));
    for (name, text) in services.pem_files() {
        put(name, text);
    }
    let hour = now() + 3600;
    let email = "signer@example.com";
    let issuer = "https://accounts.example.com";
    put(
        "email.jwt",
        services.token(&json!({
            "iss": issuer, "sub": email, "email": email, "email_verified": true, "aud": "sigstore", "exp": hour,
        })),
    );
    put(
        "gitlab.jwt",
        services.token(&json!({
            "iss": "https://gitlab.com",
            "sub": "project_path:group/images:ref_type:branch:ref:main",
            "aud": "sigstore",
            "exp": hour,
            "ci_config_ref_uri": "gitlab.com/group/images//.gitlab-ci.yml@refs/heads/main",
        })),
    );
    println!("{}", services.url());
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}
