//! The words podman is called with.
//!
//! Options: podman-create(1) and its neighbours, 4.0 to 5.x.

use std::time::Duration;

use super::{ContainerName, ContainerSpec, LocalImage, Network, PodmanSettings};

/// The host name inside every builder.
pub const HOSTNAME: &str = "builder";

/// The label of every container of this program, and of images made of one: `podman ps --all --filter label=` finds
/// what a killed program left.
pub const LABEL: &str = "io.assemble.builder";

/// How long past its time a container is left to itself before conmon ends it: only when this program was killed and
/// cannot do so.
const GRACE: Duration = Duration::from_mins(1);

/// The words of the call that creates the container of `spec`, the program left out.
pub fn create_arguments(settings: &PodmanSettings, spec: &ContainerSpec) -> Vec<String> {
    let mut words = vec![
        "create".to_owned(),
        format!("--name={}", spec.name),
        format!("--label={LABEL}=1"),
        // The image is named by its ID, so there is nothing to ask a registry for.
        "--pull=never".into(),
        format!("--hostname={HOSTNAME}"),
        "--user=0:0".into(),
        "--read-only=false".into(),
        // Relabelling what is mounted would change the user's files; without a label they could not be read.
        "--security-opt=label=disable".into(),
        // Only the command of the specification runs; podman would start an init or health checks by itself.
        "--entrypoint=".into(),
        "--systemd=false".into(),
        "--no-healthcheck".into(),
        // Volumes of the image would hide what is written there from export.
        "--image-volume=ignore".into(),
        // The attached call reads the output; a second copy would grow without limit.
        "--log-driver=none".into(),
        format!("--timeout={}", (spec.timeout + GRACE).as_secs()),
        // Neither the image nor this machine adds to the environment.
        "--unsetenv-all".into(),
        "--http-proxy=false".into(),
    ];
    words.extend(spec.environment.iter().map(|(name, value)| format!("--env={name}={value}")));
    match &spec.network {
        Network::None => {
            words.extend(["--network=none".into(), "--no-hosts".into()]);
            let others = settings.arguments.iter().filter(|argument| !argument.is_about_network());
            words.extend(others.map(ToString::to_string));
        }
        Network::Fetch { environment } => {
            words.extend(environment.iter().map(|(name, value)| format!("--env={name}={value}")));
            words.extend(settings.arguments.iter().map(ToString::to_string));
        }
    }
    words.extend(spec.mounts.iter().map(|mount| format!("--mount={}", mount.option())));
    words.push(format!("--workdir={}", spec.workdir));
    words.push(spec.image.to_string());
    words.extend(spec.command.iter().cloned());
    settings.command(words)
}

/// Runs a created container and passes on its output.
pub(crate) fn start_arguments(settings: &PodmanSettings, name: &ContainerName) -> Vec<String> {
    settings.command(["start".into(), "--attach".into(), "--sig-proxy=false".into(), name.to_string()])
}

/// Asks how a container is: status, exit code, and whether it ran out of memory.
pub(crate) fn state_arguments(settings: &PodmanSettings, name: &ContainerName) -> Vec<String> {
    let format = "--format={{.State.Status}} {{.State.ExitCode}} {{.State.OOMKilled}}";
    settings.command(["inspect".into(), "--type=container".into(), format.into(), name.to_string()])
}

/// Removes a container and its volumes, running or not, or none.
pub(crate) fn remove_arguments(settings: &PodmanSettings, name: &ContainerName) -> Vec<String> {
    let words = ["rm", "--force", "--time=0", "--ignore", "--volumes", name.as_str()];
    settings.command(words.map(str::to_owned))
}

/// Writes the whole file system of a container to stdout as a tar.
pub(crate) fn export_arguments(settings: &PodmanSettings, name: &ContainerName) -> Vec<String> {
    settings.command(["export".into(), name.to_string()])
}

/// Writes what is at `path` in a container to stdout as a tar.
pub(crate) fn copy_arguments(settings: &PodmanSettings, name: &ContainerName, path: &str) -> Vec<String> {
    settings.command(["cp".into(), format!("{name}:{path}"), "-".into()])
}

/// Makes an image of a container.
pub(crate) fn commit_arguments(settings: &PodmanSettings, spec: &ContainerSpec, image: &LocalImage) -> Vec<String> {
    let mut words = vec!["commit".to_owned(), "--quiet".into(), "--format=oci".into()];
    // The command that made the image is not what runs in it.
    words.extend(["--change=ENTRYPOINT []".into(), "--change=CMD []".into()]);
    if let Network::Fetch { environment } = &spec.network {
        // The address of a proxy may hold a password.
        words.extend(environment.keys().map(|name| format!("--change=ENV {name}=")));
    }
    words.extend([spec.name.to_string(), image.to_string()]);
    settings.command(words)
}

#[cfg(test)]
mod tests;
