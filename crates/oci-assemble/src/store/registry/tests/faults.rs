//! What breaks on the way: nothing is lost, nothing is left open, and it ends.

use std::io::Read;
use std::time::Instant;

use super::*;

fn answer(status: u16) -> Act {
    Act::Answer(status, Vec::new(), Vec::new())
}

/// Uploads a blob to a registry that fails as told, and says how.
fn upload(script: impl Fn(&Asked) -> Act + Send + Sync + 'static) -> (Result<Arrival, RegistryError>, TestRegistry) {
    let registry = scripted(script);
    let bytes = noise(700_000);
    let blob = layer(&bytes);
    let client = client();
    let outcome = repository(&client, &registry, "a").put_blob(&blob, &[], &Bytes(&bytes));
    if outcome.is_ok() {
        assert_eq!(registry.blobs("a"), [blob.digest.to_string()]);
    }
    (outcome, registry)
}

#[test]
fn an_upload_survives_what_passes() {
    type Fault = (&'static str, fn(&Asked) -> Act);
    let faults: [Fault; 13] = [
        ("session lost", |one| match one.method.as_str() {
            "PUT" if one.path.ends_with("/1") => answer(404),
            _ => Act::Serve,
        }),
        ("session at another byte", |one| match one.method.as_str() {
            "PUT" if one.path.ends_with("/1") || one.path.ends_with("/2") => answer(416),
            _ => Act::Serve,
        }),
        ("reset in the body", |one| match one.method.as_str() {
            "PUT" if !one.path.contains("/2") => Act::Reset(100_000),
            _ => Act::Serve,
        }),
        ("reset before the session", |one| match (one.method.as_str(), one.before) {
            ("POST", 0 | 1) => Act::Reset(0),
            _ => Act::Serve,
        }),
        ("answer swallowed", |one| match (one.method.as_str(), one.before) {
            ("PUT", 0) => Act::Swallow,
            _ => Act::Serve,
        }),
        ("503 to the session", |one| match (one.method.as_str(), one.before) {
            ("POST", 0 | 1) => answer(503),
            _ => Act::Serve,
        }),
        ("429 with Retry-After", |one| match (one.method.as_str(), one.before) {
            ("POST", 0) => Act::Answer(429, vec![("retry-after".into(), "1".into())], Vec::new()),
            _ => Act::Serve,
        }),
        ("500 to the body", |one| match one.method.as_str() {
            "PUT" if one.path.ends_with("/1") => answer(500),
            _ => Act::Serve,
        }),
        ("no Location", |one| match (one.method.as_str(), one.before) {
            ("POST", 0) => Act::Without("location"),
            _ => Act::Serve,
        }),
        ("502 to the question", |one| match (one.method.as_str(), one.before) {
            ("HEAD", 0) => answer(502),
            _ => Act::Serve,
        }),
        ("no digest header", |one| match one.method.as_str() {
            "PUT" => Act::Without("docker-content-digest"),
            _ => Act::Serve,
        }),
        ("no Location of the blob", |one| match one.method.as_str() {
            "PUT" => Act::Without("location"),
            _ => Act::Serve,
        }),
        ("silence", |one| match (one.method.as_str(), one.before) {
            ("POST", 0) => {
                std::thread::sleep(Duration::from_millis(600));
                Act::Serve
            }
            _ => Act::Serve,
        }),
    ];
    for (name, fault) in faults {
        let (outcome, _registry) = upload(fault);
        assert_eq!(outcome.unwrap(), Arrival::Uploaded, "{name}");
    }
}

#[test]
fn an_upload_ends_where_nothing_helps() {
    type Check = fn(&RegistryError) -> bool;
    type Fault = (&'static str, fn(&Asked) -> Act, usize, Check);
    let faults: [Fault; 8] = [
        (
            "sessions lost for ever",
            |one| if one.method == "PUT" { answer(404) } else { Act::Serve },
            4,
            |error| error.is_transient() && !error.is_missing(),
        ),
        ("403", |one| if one.method == "POST" { answer(403) } else { Act::Serve }, 1, RegistryError::is_denied),
        (
            "400",
            |one| if one.method == "PUT" { answer(400) } else { Act::Serve },
            1,
            |error| error.status() == Some(400),
        ),
        (
            "503 for ever",
            |one| if one.method == "POST" { answer(503) } else { Act::Serve },
            4,
            RegistryError::is_transient,
        ),
        (
            "no Location for ever",
            |one| if one.method == "POST" { Act::Without("location") } else { Act::Serve },
            4,
            |error| matches!(error, RegistryError::Protocol { .. }),
        ),
        (
            "another digest",
            |one| match one.method.as_str() {
                "PUT" => Act::With("docker-content-digest", format!("sha256:{}", "0".repeat(64))),
                _ => Act::Serve,
            },
            1,
            |error| matches!(error, RegistryError::Digest { .. }),
        ),
        (
            "to the metadata of a cloud",
            |one| match one.method.as_str() {
                "POST" => Act::With("location", "http://169.254.169.254/latest/".into()),
                _ => Act::Serve,
            },
            1,
            |error| matches!(error, RegistryError::Origin { fault: OriginFault::Private, .. }),
        ),
        (
            "a redirect",
            |one| if one.method == "POST" { answer(307) } else { Act::Serve },
            1,
            |error| error.status() == Some(307),
        ),
    ];
    for (name, fault, tries, check) in faults {
        let (outcome, registry) = upload(fault);
        let error = outcome.unwrap_err();
        assert!(check(&error), "{name}: {error:?}");
        let posts = registry.log().iter().filter(|one| one.method == "POST").count();
        assert_eq!(posts, tries, "{name}: {:?}", asked(&registry));
    }
}

#[test]
fn sessions_that_fail_are_given_up() {
    let (outcome, registry) = upload(|one| match one.method.as_str() {
        "PUT" if one.path.ends_with("/1") || one.path.ends_with("/2") => answer(500),
        _ => Act::Serve,
    });
    outcome.unwrap();
    assert_eq!(registry.open_uploads(), 0);
}

#[test]
fn a_blob_that_is_refused_whole_goes_in_pieces() {
    let registry = scripted(|one| {
        let size: usize = one.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
        if size > 300_000 { answer(413) } else { Act::Serve }
    });
    let client = Client::new(ClientOptions { chunk: 250_000, ..options() }, Anonymous);
    let there = repository(&client, &registry, "a");
    for size in [700_000, 750_000] {
        let bytes = noise(size);
        let blob = layer(&bytes);
        assert_eq!(there.put_blob(&blob, &[], &Bytes(&bytes)).unwrap(), Arrival::Uploaded);
        assert_eq!(there.blob(&blob).unwrap().read_whole().unwrap(), bytes);
    }
    assert_eq!(registry.log().iter().filter(|one| one.method == "PATCH").count(), 4);
}

#[test]
fn a_registry_that_lost_count_of_pieces_gets_them_again() {
    let registry = scripted(|one| match one.method.as_str() {
        "PUT" if one.header("content-length").is_some_and(|size| size.len() > 5) && one.path.ends_with("/1") => {
            answer(413)
        }
        "PATCH" if one.path.ends_with("/2") => Act::With("range", "0-17".into()),
        _ => Act::Serve,
    });
    let client = Client::new(ClientOptions { chunk: 250_000, ..options() }, Anonymous);
    let bytes = noise(700_000);
    let (there, blob) = (repository(&client, &registry, "a"), layer(&bytes));
    assert_eq!(there.put_blob(&blob, &[], &Bytes(&bytes)).unwrap(), Arrival::Uploaded);
    assert_eq!(there.blob(&blob).unwrap().read_whole().unwrap(), bytes, "nothing wrong was put together");
    assert_eq!(registry.open_uploads(), 0);
}

#[test]
fn a_download_goes_on_where_it_broke_off() {
    type Fault = (&'static str, fn(&Asked) -> Act);
    let bytes = noise(4_000_000);
    let blob = layer(&bytes);
    let faults: [Fault; 4] = [
        ("cut again and again", |one| if one.before < 6 { Act::Cut(1_100_000) } else { Act::Serve }),
        ("reset twice", |one| if one.before < 2 { Act::Reset(0) } else { Act::Serve }),
        ("503 twice", |one| if one.before < 2 { answer(503) } else { Act::Serve }),
        ("slow at first", |one| match one.before {
            0 => Act::Drip(1_500_000, Duration::from_millis(500)),
            _ => Act::Serve,
        }),
    ];
    for (name, fault) in faults {
        let registry = scripted(move |one| if one.method == "GET" { fault(one) } else { Act::Serve });
        let client = client();
        let there = repository(&client, &registry, "a");
        there.upload_blob(&blob, &Bytes(&bytes)).unwrap();
        assert_eq!(there.blob(&blob).unwrap().read_whole().unwrap(), bytes, "{name}");
        let ranges = registry.log().iter().filter(|one| one.header("range").is_some()).count();
        assert_eq!(ranges > 0, name == "cut again and again", "{name}");
    }
}

#[test]
fn a_download_ends_where_nothing_comes() {
    let bytes = noise(100_000);
    let blob = layer(&bytes);
    for cut in [0, 1, 20_000] {
        let registry = scripted(move |one| if one.method == "GET" { Act::Cut(cut) } else { Act::Serve });
        let client = client();
        let there = repository(&client, &registry, "a");
        there.upload_blob(&blob, &Bytes(&bytes)).unwrap();
        let begun = Instant::now();
        let outcome =
            there.blob(&blob).map_err(std::io::Error::other).and_then(|mut reader| reader.read_to_end(&mut Vec::new()));
        assert!(outcome.is_err(), "cut after {cut}");
        assert!(begun.elapsed() < Duration::from_secs(10));
    }
}

#[test]
fn a_part_that_was_not_asked_for_is_refused() {
    let bytes = noise(3_000_000);
    let blob = layer(&bytes);
    let registry = scripted(|one| match (one.method.as_str(), one.header("range")) {
        ("GET", None) => Act::Cut(1_500_000),
        ("GET", Some(_)) => Act::With("content-range", "bytes 2999999-2999999/3000000".into()),
        _ => Act::Serve,
    });
    let client = client();
    let there = repository(&client, &registry, "a");
    there.upload_blob(&blob, &Bytes(&bytes)).unwrap();
    assert!(there.blob(&blob).unwrap().read_to_end(&mut Vec::new()).is_err());
}

#[test]
fn redirects_end() {
    let registry = scripted(|one| Act::Answer(302, vec![("location".into(), format!("{}x", one.path))], Vec::new()));
    let client = client();
    let error = repository(&client, &registry, "a").manifest(Name::Tag("x")).unwrap_err();
    assert!(matches!(error, RegistryError::Protocol { missing: "an end to its redirects", .. }), "{error:?}");
}

#[test]
fn nobody_there_is_said_after_all_tries() {
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let events = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&events);
    let listener: Arc<dyn Fn(&Event) + Send + Sync> =
        Arc::new(move |event: &Event| heard.lock().unwrap().push(event.clone()));
    let client = Client::new(ClientOptions { listener: Some(listener), ..options() }, Anonymous);
    let reference = RegistryReference { host: address.to_string(), repository: "a".into(), tag: None, digest: None };
    let error = Repository::new(&client, &reference, Access::Pull).unwrap().tags().unwrap_err();
    assert!(matches!(error, RegistryError::Network { transient: true, .. }), "{error:?}");
    assert_eq!(events.lock().unwrap().len(), 2);
}
