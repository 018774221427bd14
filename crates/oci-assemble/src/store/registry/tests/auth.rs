//! Passwords and tokens: used where they belong, and nowhere else.

use super::*;

fn as_me(registry: &TestRegistry) -> Client {
    Client::new(options(), Me::at(registry))
}

fn registry(auth: AuthSettings) -> TestRegistry {
    TestRegistry::start(Settings { auth, ..Settings::default() }).unwrap()
}

/// Every `Authorization` a registry was sent.
fn secrets(registry: &TestRegistry) -> Vec<String> {
    registry.log().iter().filter_map(|one| one.header("authorization").map(str::to_owned)).collect()
}

#[test]
fn who_has_no_password_is_told_so() {
    for auth in [AuthSettings::Basic("me".into(), "secret".into()), bearer(9, None)] {
        let registry = registry(auth);
        let client = client();
        let bytes = noise(10);
        let error = repository(&client, &registry, "a").upload_blob(&layer(&bytes), &Bytes(&bytes)).unwrap_err();
        assert!(matches!(error, RegistryError::Unauthorized { with: false, .. }), "{error:?}");
    }
}

#[test]
fn a_password_that_is_wrong_is_tried_once() {
    for auth in [AuthSettings::Basic("me".into(), "other".into()), bearer(9, None)] {
        let auth = match auth {
            AuthSettings::Bearer { name, uses, realm, .. } => {
                AuthSettings::Bearer { name, password: "other".into(), uses, realm }
            }
            other => other,
        };
        let registry = registry(auth);
        let client = as_me(&registry);
        let error = repository(&client, &registry, "a").has_blob(&layer(b"x")).unwrap_err();
        assert!(matches!(error, RegistryError::Unauthorized { with: true, .. }), "{error:?}");
        assert!(registry.log().len() <= 3, "{:?}", asked(&registry));
    }
}

#[test]
fn a_password_does_for_everything() {
    let registry = registry(AuthSettings::Basic("me".into(), "secret".into()));
    let client = as_me(&registry);
    let there = repository(&client, &registry, "a");
    let bytes = noise(100_000);
    there.put_blob(&layer(&bytes), &[], &Bytes(&bytes)).unwrap();
    assert_eq!(there.blob(&layer(&bytes)).unwrap().read_whole().unwrap(), bytes);
    let refused = registry.log().iter().filter(|one| one.header("authorization").is_none()).count();
    assert_eq!(refused, 1, "only the first request asks who is asked");
}

#[test]
fn a_token_that_runs_out_is_renewed_in_the_middle() {
    for uses in [3, 4, 5, 100] {
        let registry = registry(bearer(uses, None));
        let me = Me::at(&registry);
        let client = Client::new(options(), me.clone());
        let there = repository(&client, &registry, "a/b");
        for size in [10, 20, 300_000] {
            let bytes = noise(size);
            let blob = layer(&bytes);
            assert_eq!(there.put_blob(&blob, &[], &Bytes(&bytes)).unwrap(), Arrival::Uploaded, "{uses} uses");
            assert_eq!(there.blob(&blob).unwrap().read_whole().unwrap(), bytes);
        }
        assert_eq!(me.0.lock().unwrap().len(), 1, "the keychain is asked once");
        assert_eq!(registry.open_uploads(), 0);
        if uses == 100 {
            assert_eq!(registry.log().iter().filter(|one| one.path == "/token").count(), 1);
        }
    }
}

#[test]
fn a_mount_asks_for_both_repositories() {
    let registry = registry(bearer(100, None));
    let client = as_me(&registry);
    let bytes = noise(10);
    repository(&client, &registry, "base").upload_blob(&layer(&bytes), &Bytes(&bytes)).unwrap();
    registry.forget();
    let there = repository(&client, &registry, "ours");
    assert_eq!(there.put_blob(&layer(&bytes), &["base".into()], &Bytes(&bytes)).unwrap(), Arrival::Mounted);
    let scopes: Vec<_> = registry.log().iter().filter_map(|one| one.query.get("scope").cloned()).collect();
    assert!(scopes.contains(&"repository:ours:pull,push repository:base:pull".to_owned()), "{scopes:?}");
}

#[test]
fn no_password_goes_to_a_foreign_token_server() {
    let thief = open();
    let registry = registry(bearer(9, Some(format!("http://{}/token", thief.host()))));
    let client = as_me(&registry);
    let error = repository(&client, &registry, "a").has_blob(&layer(b"x")).unwrap_err();
    assert!(matches!(error, RegistryError::Origin { fault: OriginFault::Foreign, .. }), "{error:?}");
    assert_eq!(thief.log(), []);
    // Allowed by name, it is asked.
    let hosts = thief.host().split(':').next().map(str::to_owned).into_iter().collect();
    let client = Client::new(ClientOptions { token_hosts: hosts, ..options() }, Me::at(&registry));
    let _ = repository(&client, &registry, "a").has_blob(&layer(b"x"));
    assert_eq!(secrets(&thief).len(), 1);
}

#[test]
fn no_password_goes_along_a_redirect() {
    let thief = open();
    let bytes = noise(1000);
    let blob = layer(&bytes);
    repository(&client(), &thief, "a").upload_blob(&blob, &Bytes(&bytes)).unwrap();
    thief.forget();
    let to = format!("http://{}/v2/a/blobs/{}", thief.host(), blob.digest);
    let script = move |one: &Asked| {
        if one.is("GET", "/blobs/") && one.header("authorization").is_some() {
            Act::Answer(307, vec![("location".into(), to.clone())], Vec::new())
        } else {
            Act::Serve
        }
    };
    let auth = AuthSettings::Basic("me".into(), "secret".into());
    let registry =
        TestRegistry::start(Settings { auth, script: Some(Arc::new(script)), ..Settings::default() }).unwrap();
    let client = as_me(&registry);
    let there = repository(&client, &registry, "a");
    assert_eq!(there.blob(&blob).unwrap().read_whole().unwrap(), bytes);
    assert_eq!((thief.log().len(), secrets(&thief).len()), (1, 0));
}

#[test]
fn no_password_goes_along_an_upload() {
    let bytes = noise(1000);
    let blob = layer(&bytes);
    let thief = open();
    let to = format!("http://{}/v2/a/blobs/uploads/1", thief.host());
    let script = move |one: &Asked| {
        if one.method == "POST" && one.header("authorization").is_some() {
            Act::With("location", to.clone())
        } else {
            Act::Serve
        }
    };
    let auth = AuthSettings::Basic("me".into(), "secret".into());
    let registry =
        TestRegistry::start(Settings { auth, script: Some(Arc::new(script)), ..Settings::default() }).unwrap();
    let client = as_me(&registry);
    let error = repository(&client, &registry, "a").upload_blob(&blob, &Bytes(&bytes)).unwrap_err();
    assert!(matches!(error, RegistryError::Session { .. }), "{error:?}");
    assert!(!thief.log().is_empty());
    assert_eq!(secrets(&thief), Vec::<String>::new());
}

#[test]
fn tokens_are_not_fetched_along_redirects() {
    let thief = open();
    let to = format!("http://{}/token", thief.host());
    let script = move |one: &Asked| {
        if one.path == "/token" {
            Act::Answer(307, vec![("location".into(), to.clone())], Vec::new())
        } else {
            Act::Serve
        }
    };
    let registry =
        TestRegistry::start(Settings { auth: bearer(9, None), script: Some(Arc::new(script)), ..Settings::default() })
            .unwrap();
    let client = as_me(&registry);
    let error = repository(&client, &registry, "a").has_blob(&layer(b"x")).unwrap_err();
    assert_eq!(error.status(), Some(307), "{error:?}");
    assert_eq!(thief.log(), []);
}

#[test]
fn endless_tokens_and_documents_are_cut_off() {
    let script =
        |one: &Asked| if one.path == "/token" { Act::Answer(200, Vec::new(), vec![b' '; 70_000]) } else { Act::Serve };
    let settings = Settings { auth: bearer(9, None), script: Some(Arc::new(script)), ..Settings::default() };
    let registry = TestRegistry::start(settings).unwrap();
    let client = as_me(&registry);
    let error = repository(&client, &registry, "a").has_blob(&layer(b"x")).unwrap_err();
    assert!(matches!(error, RegistryError::TooLarge { limit: 65_536, .. }), "{error:?}");
    let registry = scripted(|_| Act::Answer(200, Vec::new(), vec![b' '; 5 << 20]));
    let error = repository(&client, &registry, "a").manifest(Name::Tag("x")).unwrap_err();
    assert!(matches!(error, RegistryError::TooLarge { limit: 4_194_304, .. }), "{error:?}");
}

#[test]
fn errors_show_no_secret() {
    let registry = registry(AuthSettings::Basic("me".into(), "other".into()));
    let client = as_me(&registry);
    let there = repository(&client, &registry, "a");
    let error = there.has_blob(&layer(b"x")).unwrap_err();
    let shown = format!("{error:?} {error} {client:?} {there:?}");
    assert!(!shown.contains("secret") && !shown.contains("bWU6"), "{shown}");
}
