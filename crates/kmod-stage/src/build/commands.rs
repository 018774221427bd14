//! How the containers of a build are called, for plans.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::path::Path;
use std::time::Duration;

use oci_assemble::image::Epoch;

use super::{INPUT, script};
use crate::builder::{ContainerName, ContainerSpec, ImageId, Mount, Network, PodmanSettings, SpecError};
use crate::builder::{create_arguments, environment};

/// The containers of the stage `name`, each as a shell would be told: the one with a network, and the one without; where
/// the kernel is still to be chosen, first the one that asks repositories. `RUN` stands for what makes a container's name
/// unique, `/INPUTS` for the directory with scripts and repositories; the last starts from what the one before it left.
pub fn commands(
    name: &str,
    chooses: bool,
    settings: &PodmanSettings,
    image: ImageId,
    epoch: Epoch,
    jobs: NonZero<usize>,
    timeout: Duration,
) -> Result<Vec<String>, SpecError> {
    let mut commands = Vec::new();
    let fetch = || Network::Fetch { environment: BTreeMap::new() };
    let choose = chooses.then(|| ("metadata", fetch()));
    for (step, network) in choose.into_iter().chain([("fetch", fetch()), ("build", Network::None)]) {
        let spec = ContainerSpec {
            name: ContainerName::new(&format!("{name}-{step}"), "RUN")?,
            image,
            network,
            environment: environment(epoch, jobs),
            mounts: vec![Mount::new(Path::new("/INPUTS"), INPUT)?],
            workdir: "/".into(),
            command: vec!["/bin/sh".into(), format!("{INPUT}/{step}.sh")],
            timeout,
        };
        let words = create_arguments(settings, &spec);
        commands.push(format!("{}{}", settings.program.display(), script::words(words.iter().map(String::as_str))));
    }
    Ok(commands)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use oci_assemble::image::Digest;

    use super::*;

    #[test]
    fn only_the_first_has_a_network() {
        let settings =
            PodmanSettings { arguments: vec!["--network=host".parse().unwrap()], ..PodmanSettings::default() };
        let image = ImageId::of_config(Digest::of(b"config")).unwrap();
        let jobs = NonZero::new(2).unwrap();
        let made =
            |chooses| commands("zfs", chooses, &settings, image, Epoch::new(7).unwrap(), jobs, Duration::from_mins(1));
        let commands = made(false).unwrap();
        assert_eq!(made(true).unwrap()[1..], commands);
        assert!(made(true).unwrap()[0].contains("--name=assemble-zfs-metadata-RUN"));
        let has = |number: usize, word: &str| commands[number].split(' ').any(|found| found == word);
        assert_eq!(commands.len(), 2);
        assert!(has(0, "--network=host") && !has(0, "--network=none"));
        assert!(has(1, "--network=none") && !has(1, "--network=host"));
        assert!(has(0, "--name=assemble-zfs-fetch-RUN") && has(1, "/run/assemble/build.sh"));
        assert!(commands.iter().all(|command| command.starts_with("podman create ")));
    }
}
