#![allow(clippy::unwrap_used)]

use std::path::Path;

use oci_assemble::image::Digest;
use proptest::prelude::*;

use super::*;
use crate::builder::{ImageId, Mount, PodmanArgument};

fn settings(arguments: &[&str]) -> PodmanSettings {
    let arguments = arguments.iter().map(|argument| argument.parse().unwrap()).collect();
    PodmanSettings { runtime: Some("runc".into()), arguments, ..PodmanSettings::default() }
}

fn spec(network: Network) -> ContainerSpec {
    let environment = [("TZ", "UTC"), ("A", "b=c")];
    ContainerSpec {
        name: ContainerName::new("zfs", "1").unwrap(),
        image: ImageId::of_config(Digest::of(b"")).unwrap(),
        network,
        environment: environment.map(|(name, value)| (name.into(), value.into())).into(),
        mounts: vec![Mount::new(Path::new("/srv/patches"), "/run/patches").unwrap()],
        workdir: "/".into(),
        command: vec!["/bin/sh".into(), "-c".into(), "dkms build".into()],
        timeout: Duration::from_hours(1),
    }
}

fn proxy() -> Network {
    Network::Fetch { environment: [("https_proxy".into(), "http://user:secret@proxy:3128".into())].into() }
}

const ARGUMENTS: &[&str] = &["--ulimit=nofile=1024:1024", "--network=host", "--dns=9.9.9.9", "--add-host=a:10.0.0.1"];

#[test]
fn a_build_has_no_network_whatever_the_settings_say() {
    let words = create_arguments(&settings(ARGUMENTS), &spec(Network::None));
    let expected = "\
--runtime=runc
create
--name=assemble-zfs-1
--label=io.assemble.builder=1
--pull=never
--hostname=builder
--user=0:0
--read-only=false
--security-opt=label=disable
--entrypoint=
--systemd=false
--no-healthcheck
--image-volume=ignore
--log-driver=none
--timeout=3660
--unsetenv-all
--http-proxy=false
--env=A=b=c
--env=TZ=UTC
--network=none
--no-hosts
--ulimit=nofile=1024:1024
--mount=type=bind,src=/srv/patches,dst=/run/patches,ro=true
--workdir=/
e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
/bin/sh
-c
dkms build";
    assert_eq!(words.join("\n"), expected);
}

#[test]
fn what_fetches_has_the_network_of_the_settings_and_the_proxies() {
    let words = create_arguments(&settings(ARGUMENTS), &spec(proxy()));
    let end = words.iter().skip_while(|word| *word != "--env=TZ=UTC").take(6).map(String::as_str);
    assert_eq!(
        end.collect::<Vec<_>>(),
        [
            "--env=TZ=UTC",
            "--env=https_proxy=http://user:secret@proxy:3128",
            "--ulimit=nofile=1024:1024",
            "--network=host",
            "--dns=9.9.9.9",
            "--add-host=a:10.0.0.1",
        ]
    );
}

#[test]
fn an_image_of_a_container_keeps_neither_command_nor_proxies() {
    let image = LocalImage::toolchain(Digest::of(b""));
    let words = commit_arguments(&PodmanSettings::default(), &spec(proxy()), &image);
    assert_eq!(
        words,
        [
            "commit",
            "--quiet",
            "--format=oci",
            "--change=ENTRYPOINT []",
            "--change=CMD []",
            "--change=ENV https_proxy=",
            "assemble-zfs-1",
            "localhost/assemble-toolchain:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        ]
    );
}

const OPTIONS: &str = "--(net|network|dns|dns-search|add-host|ip|ulimit|cpus)=[a-z0-9]{0,8}";

proptest! {
    #[test]
    fn no_setting_gives_a_build_a_network(arguments in prop::collection::vec(OPTIONS, 0..6)) {
        let arguments: Vec<PodmanArgument> = arguments.iter().map(|text| text.parse().unwrap()).collect();
        let settings = PodmanSettings { arguments, ..PodmanSettings::default() };
        let words = create_arguments(&settings, &spec(Network::None));
        let network = |word: &&String| ["--net", "--dns", "--add", "--ip="].iter().any(|start| word.starts_with(start));
        let about: Vec<_> = words.iter().filter(network).collect();
        prop_assert_eq!(about, ["--network=none"]);
        prop_assert_eq!(&words, &create_arguments(&settings, &spec(Network::None)));
    }
}
