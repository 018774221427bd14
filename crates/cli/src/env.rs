//! The only reader of the environment and of the machine's settings.

use std::collections::BTreeMap;
use std::env;
use std::io::IsTerminal;
use std::num::NonZero;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::builders::PodmanHere;

/// `SOURCE_DATE_EPOCH`, when it is set and not empty (reproducible-builds.org, specification).
pub(crate) fn source_date_epoch() -> Option<String> {
    env::var("SOURCE_DATE_EPOCH").ok().filter(|text| !text.is_empty())
}

/// Where caches go when nothing is said: `$XDG_CACHE_HOME/assemble`, else `~/.cache/assemble`; none without a home.
pub(crate) fn cache_dir() -> Option<PathBuf> {
    let absolute = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")))?;
    Some(base.join("assemble"))
}

/// Where temporary trees go.
pub(crate) fn temp_dir() -> PathBuf {
    env::temp_dir()
}

/// The program of this name in the directories of `PATH`, which `name` may also be a path to.
pub(crate) fn program(name: &Path) -> Option<PathBuf> {
    let executable = |path: &Path| {
        let metadata = path.metadata().ok()?;
        (metadata.is_file() && metadata.permissions().mode() & 0o111 != 0).then(|| path.canonicalize().ok())?
    };
    if name.components().count() > 1 {
        return executable(name);
    }
    env::split_paths(&env::var_os("PATH")?).find_map(|directory| executable(&directory.join(name)))
}

/// Processors this process may use.
pub(crate) fn processors() -> NonZero<usize> {
    std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN)
}

/// A quarter of the memory that this process may use, in bytes: the machine's, or its control group's where that is less.
pub(crate) fn memory_share() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next());
    let machine = total.and_then(|kib| kib.parse::<u64>().ok()).map_or(MEMORY_UNKNOWN, |kib| kib * 1024);
    let group = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let limit = group.iter().find_map(|path| std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok());
    machine.min(limit.unwrap_or(u64::MAX)) / 4
}

/// What is taken for the machine's memory where nothing says it.
const MEMORY_UNKNOWN: u64 = 4 << 30;

/// Whether colour is wanted on standard error: a terminal, and no `NO_COLOR` (no-color.org).
pub(crate) fn colour() -> bool {
    std::io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Whether somebody watches standard error.
pub(crate) fn watched() -> bool {
    std::io::stderr().is_terminal()
}

/// This machine as a platform.
pub(crate) fn platform() -> &'static str {
    match env::consts::ARCH {
        "x86_64" => "linux/amd64",
        "aarch64" => "linux/arm64",
        "powerpc64" => "linux/ppc64le",
        "s390x" => "linux/s390x",
        "riscv64" => "linux/riscv64",
        _ => "linux/unknown",
    }
}

/// Nanoseconds since 1970, to judge how fresh the state of a file is.
pub(crate) fn now() -> i128 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| i128::try_from(since.as_nanos()).unwrap_or(i128::MAX))
}

/// The current directory.
pub(crate) fn current_dir() -> std::io::Result<PathBuf> {
    env::current_dir()
}

/// What this machine wants of podman: `ASSEMBLE_PODMAN` (program), `ASSEMBLE_PODMAN_RUNTIME`, and words separated by
/// spaces in `ASSEMBLE_PODMAN_ARGUMENTS` (for podman-create) and `ASSEMBLE_PODMAN_OPTIONS` (for every call).
pub(crate) fn podman() -> PodmanHere {
    let text = |name: &str| env::var(name).ok().filter(|text| !text.is_empty());
    let words = |name: &str| text(name).unwrap_or_default().split_whitespace().map(str::to_owned).collect();
    PodmanHere {
        program: text("ASSEMBLE_PODMAN").map(PathBuf::from),
        runtime: text("ASSEMBLE_PODMAN_RUNTIME"),
        arguments: words("ASSEMBLE_PODMAN_ARGUMENTS"),
        global: words("ASSEMBLE_PODMAN_OPTIONS"),
    }
}

/// The private key in a variable that the recipe names, when it is set and not empty.
pub(crate) fn secret(name: &str) -> Option<Vec<u8>> {
    let value = env::var_os(name).map(std::os::unix::ffi::OsStringExt::into_vec);
    value.filter(|value| !value.is_empty())
}

/// The password in a variable, when that is set: it may be empty, as that of a key may.
pub(crate) fn password(name: &str) -> Option<Vec<u8>> {
    env::var_os(name).map(std::os::unix::ffi::OsStringExt::into_vec)
}

/// Files with credentials for registries, in the order in which they are looked through (containers-auth.json(5)).
pub(crate) fn auth_files() -> Vec<PathBuf> {
    let path = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = path("HOME");
    let runtime = path("XDG_RUNTIME_DIR").map(|directory| directory.join("containers"));
    let runtime = runtime.or_else(|| {
        // The directory of a process belongs to who runs it.
        let user = std::fs::metadata("/proc/self").ok()?;
        Some(format!("/run/containers/{}", std::os::unix::fs::MetadataExt::uid(&user)).into())
    });
    let config = path("XDG_CONFIG_HOME").or_else(|| home.as_ref().map(|home| home.join(".config")));
    let docker = path("DOCKER_CONFIG").or_else(|| home.map(|home| home.join(".docker")));
    let containers = [runtime, config.map(|directory| directory.join("containers"))];
    let files = containers.into_iter().flatten().map(|directory| directory.join("auth.json"));
    files.chain(docker.map(|directory| directory.join("config.json"))).collect()
}

/// What a job of GitLab's pipelines may use its registry with.
pub(crate) struct GitlabJob {
    pub(crate) registry: String,
    pub(crate) user: String,
    pub(crate) password: String,
    /// The host of the GitLab.
    pub(crate) server: Option<String>,
}

/// The job that this process runs in, if it has a registry.
pub(crate) fn gitlab_job() -> Option<GitlabJob> {
    let text = |name: &str| env::var(name).ok().filter(|text| !text.is_empty());
    text("GITLAB_CI").filter(|value| value == "true")?;
    let (registry, user, password) = (text("CI_REGISTRY")?, text("CI_REGISTRY_USER")?, text("CI_REGISTRY_PASSWORD")?);
    Some(GitlabJob { registry, user, password, server: text("CI_SERVER_HOST") })
}

/// Directories with certificates for registries, below which each has one of its own.
pub(crate) fn certificate_dirs() -> Vec<PathBuf> {
    let home = env::var_os("HOME").map(|home| Path::new(&home).join(".config/containers/certs.d"));
    home.into_iter().chain(["/etc/containers/certs.d", "/etc/docker/certs.d"].map(PathBuf::from)).collect()
}

/// Signature policies of this machine; the first that there is decides (containers-policy.json(5)).
pub(crate) fn policy_files() -> Vec<PathBuf> {
    let home = env::var_os("HOME").map(|home| Path::new(&home).join(".config/containers/policy.json"));
    home.into_iter().chain([PathBuf::from("/etc/containers/policy.json")]).collect()
}

/// Where this machine says how names of registries are looked up, the one that counts first (containers-registries.conf(5)).
pub(crate) fn registries_files() -> Vec<PathBuf> {
    let explicit = env::var_os("CONTAINERS_REGISTRIES_CONF").filter(|path| !path.is_empty()).map(PathBuf::from);
    let home = env::var_os("HOME").map(|home| Path::new(&home).join(".config/containers/registries.conf"));
    explicit.into_iter().chain(home).chain([PathBuf::from("/etc/containers/registries.conf")]).collect()
}

/// A number that no other process has now: for waiting times, not for secrets.
pub(crate) fn seed() -> u64 {
    let time = u64::try_from(now() & i128::from(u64::MAX)).unwrap_or(0);
    time ^ (u64::from(std::process::id()) << 32)
}

/// A variable with some text in it.
pub(crate) fn text(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// Proxies for containers with a network.
pub(crate) fn proxies() -> BTreeMap<String, String> {
    let names = ["http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"];
    names.iter().filter_map(|name| Some(((*name).to_owned(), env::var(name).ok()?))).collect()
}
