//! Plans of the project's recipes, without a network: stand-ins of their bases in a registry of this machine, under the
//! names that the recipes have, and repositories on disk.
//!
//! The files in `golden/plans` are what is printed; `UPDATE_GOLDEN=1 cargo test -p assemble plans` writes them anew.

use std::fmt::Write as _;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use oci_assemble::image::Digest;
use oci_assemble::testing::memory::{add, add_file};
use oci_assemble::tree::{FileTree, Inode, Meta};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::base;
use crate::scene::{Run, Scene};

const CENTOS: &str = "6.12.0-155.el10.x86_64";
const FEDORA: &str = "6.17.12-300.fc43.x86_64";
const DEBIAN: &str = "6.1.0-56-amd64";

/// Bases of recipes, with the kernel of the stand-in and what it says of its repositories.
const BASES: [(&str, &str, &str); 4] = [
    ("quay.io/centos-bootc/centos-bootc:stream10", CENTOS, CENTOS_REPOSITORIES),
    ("quay.io/fedora/fedora-bootc:43", FEDORA, FEDORA_REPOSITORIES),
    ("quay.io/fedora/fedora-kinoite:43", FEDORA, FEDORA_REPOSITORIES),
    ("registry.example.com/host-images/base-zfs-nvidia:latest", CENTOS, CENTOS_REPOSITORIES),
];
/// As Stream 10 has it: `$stream` is a variable of the image.
const CENTOS_REPOSITORIES: &str = "[baseos]\nname=CentOS Stream $releasever - BaseOS\n\
    metalink=https://mirrors.centos.org/metalink?repo=centos-baseos-$stream&arch=$basearch\nenabled=1\n";
const FEDORA_REPOSITORIES: &str = "[fedora]\nname=Fedora $releasever - $basearch\n\
    metalink=https://mirrors.fedoraproject.org/metalink?repo=fedora-$releasever&arch=$basearch\nenabled=1\n";

/// Whether a program that a test needs is there; in continuous integration it must be.
fn has(program: &str) -> bool {
    let found = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    assert!(found || std::env::var_os("CI").is_none_or(|ci| ci != "true"), "skipped in CI: no {program}");
    if !found {
        eprintln!("skipped: no {program}");
    }
    found
}

/// A database in which rpm has entered packages with names alone.
fn rpm_database(packages: &[(&str, &str)]) -> Vec<u8> {
    let work = tempfile::tempdir().unwrap();
    let tool = |program: &str, words: &[String]| {
        let output = Command::new(program).args(words).env("SOURCE_DATE_EPOCH", "0").output().unwrap();
        assert!(output.status.success(), "{program} {words:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    let at = work.path().display();
    let (main, version) = packages[0];
    let (version, release) = version.split_once('-').unwrap();
    let about = "Summary: x\nLicense: x\n";
    let mut spec = format!("Name: {main}\nVersion: {version}\nRelease: {release}\n{about}%description\nx\n%files\n");
    for (name, _) in &packages[1..] {
        let _ = write!(spec, "%package -n {name}\nSummary: x\n%description -n {name}\nx\n%files -n {name}\n");
    }
    fs::write(work.path().join("spec"), spec).unwrap();
    let define = |name: &str, value: &str| format!("--define={name} {value}");
    let (top, out) = (define("_topdir", &format!("{at}/build")), define("_rpmdir", &format!("{at}/rpms")));
    tool("rpmbuild", &["--quiet".into(), "-bb".into(), "--target=x86_64".into(), top, out, format!("{at}/spec")]);
    let files = fs::read_dir(work.path().join("rpms/x86_64")).unwrap().map(|entry| entry.unwrap().path());
    let database = define("_dbpath", &format!("{at}/database"));
    let files = files.map(|path| path.display().to_string());
    let how = ["--install", "--justdb", "--nodeps", "--noscripts", "--ignorearch", "--ignoreos", "--nosignature"];
    let backend = define("_db_backend", "sqlite");
    let words: Vec<String> = how.map(str::to_owned).into_iter().chain([database, backend]).chain(files).collect();
    tool("rpm", &words);
    let bytes = fs::read(work.path().join("database/rpmdb.sqlite")).unwrap();
    let log = fs::read(work.path().join("database/rpmdb.sqlite-wal")).unwrap_or_default();
    assert!(log.is_empty(), "rpm has closed its database");
    bytes
}

/// What every stand-in has: one kernel.
fn tree(kernel: &str, os: &str) -> FileTree {
    let mut tree = FileTree::new();
    for path in ["boot", "dev", "etc", "proc", "run", "sys", "sysroot", "tmp", "var"] {
        add(&mut tree, path, Inode::directory(Meta::root_owned(0o755, base::EPOCH)));
    }
    for (name, text) in [("vmlinuz", "kernel"), ("initramfs.img", "initramfs")] {
        add_file(&mut tree, &format!("usr/lib/modules/{kernel}/{name}"), 0o644, text);
    }
    add_file(&mut tree, "etc/os-release", 0o644, os);
    tree
}

fn rpm_tree(kernel: &str, repositories: &str) -> FileTree {
    let (os, version) = match kernel {
        CENTOS => ("ID=centos\nVERSION_ID=10\n", "6.12.0-155.el10"),
        _ => ("ID=fedora\nVERSION_ID=43\n", "6.17.12-300.fc43"),
    };
    let mut tree = tree(kernel, os);
    let names = ["kernel", "kernel-core", "kernel-modules", "kernel-modules-core"];
    let database = rpm_database(&names.map(|name| (name, version)));
    add_file(&mut tree, "usr/lib/sysimage/rpm/rpmdb.sqlite", 0o644, database);
    add_file(&mut tree, "etc/yum.repos.d/own.repo", 0o644, repositories);
    add_file(&mut tree, "etc/dnf/vars/stream", 0o644, "10-stream\n");
    tree
}

fn debian_tree(repositories: &str) -> FileTree {
    let mut tree = tree(DEBIAN, "ID=debian\nVERSION_ID=12\n");
    let status = format!(
        "Package: linux-image-{DEBIAN}\nStatus: install ok installed\nArchitecture: amd64\nVersion: 6.1.170-1\n\
         Description: x\n"
    );
    add_file(&mut tree, "usr/lib/dpkg/status", 0o644, status);
    add_file(&mut tree, "etc/debian_version", 0o644, "12\n");
    add_file(&mut tree, "etc/apt/sources.list.d/own.list", 0o644, repositories);
    tree
}

/// A registry with the bases of the recipes, ended when dropped.
struct Registry {
    process: Child,
    files: TempDir,
}

impl Registry {
    fn start() -> Self {
        let files = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = format!("127.0.0.1:{port}");
        let config = files.path().join("config.yml");
        let data = files.path().join("data");
        let text = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: \"{}\"}}}}\nhttp: {{addr: \"{address}\"}}\n",
            data.display()
        );
        fs::write(&config, text).unwrap();
        let mut command = Command::new("docker-registry");
        let process = command.arg("serve").arg(config).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let registry = Self { process, files };
        let answers = (0..400).any(|_| {
            std::thread::sleep(Duration::from_millis(50));
            TcpStream::connect(&address).is_ok()
        });
        assert!(answers, "no registry at {address}");
        let mut mapping = String::new();
        for (number, (name, kernel, repositories)) in BASES.iter().enumerate() {
            let layout = registry.files.path().join(format!("layout{number}"));
            fs::create_dir(&layout).unwrap();
            base::write(&layout, &rpm_tree(kernel, repositories), |image| image);
            let mut copy = Command::new("skopeo");
            copy.args(["copy", "--quiet", "--insecure-policy", "--dest-tls-verify=false"]);
            copy.arg(format!("oci:{}:latest", layout.display())).arg(format!("docker://{address}/{name}"));
            let output = copy.output().unwrap();
            assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
            let (repository, _) = name.rsplit_once(':').unwrap();
            let _ = write!(
                mapping,
                "[[registry]]\nprefix = \"{repository}\"\nlocation = \"{address}/{repository}\"\ninsecure = true\n"
            );
        }
        // Says where the names of the recipes lead (containers-registries.conf(5)), for who has this home.
        let config = registry.files.path().join(".config/containers");
        fs::create_dir_all(&config).unwrap();
        fs::write(config.join("registries.conf"), mapping).unwrap();
        registry
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

fn copied(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(|entry| entry.unwrap()) {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copied(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// What differs between machines: digests, which cover rpm's database, its size, and the number of processors.
fn hide(text: &str) -> String {
    let mut hidden = String::new();
    for line in text.lines() {
        let line = match line.strip_suffix(" bytes").and_then(|line| line.rsplit_once(", ")) {
            Some((rest, number)) if number.parse::<u64>().is_ok() => format!("{rest}, … bytes"),
            _ => line.to_owned(),
        };
        let words = line.split(' ').map(|word| {
            let hex = |word: &str| word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
            match word.split_once("sha256:") {
                _ if hex(word) => "…".to_owned(),
                Some((before, digits)) if hex(digits.get(..64).unwrap_or_default()) => {
                    format!("{before}sha256:…{}", &digits[64..])
                }
                _ if word.starts_with("--env=MAKEFLAGS=-j") => "--env=MAKEFLAGS=-j…".to_owned(),
                _ => word.to_owned(),
            }
        });
        hidden += &(words.collect::<Vec<_>>().join(" ") + "\n");
    }
    hidden
}

fn golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/e2e/golden/plans/{name}.txt"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, expected, "{}", path.display());
}

#[test]
fn every_recipe_of_the_project_has_a_plan() {
    if !["docker-registry", "skopeo", "rpmbuild"].into_iter().all(has) {
        return;
    }
    let registry = Registry::start();
    let scene = Scene::new();
    copied(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes"), &scene.path("recipes"));
    // Keys are the user's own.
    scene.file("recipes/keys/host.pub", "-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n");
    fs::create_dir_all(scene.path(".work/base")).unwrap();
    base::write(&scene.path(".work/base"), &debian_tree("deb http://deb.debian.org/debian bookworm main\n"), |image| {
        image
    });
    scene.file(".work/modules/probe.ko", oci_assemble::testing::elf::module_for("probe", DEBIAN));
    let mut names: Vec<String> = fs::read_dir(scene.path("recipes"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter_map(|name| name.strip_suffix(".toml").map(str::to_owned))
        .collect();
    names.sort();
    assert!(names.len() >= 10, "{names:?}");
    for name in &names {
        let mut command = scene.command(&["plan", "--recipe", &format!("recipes/{name}.toml")]);
        command.env("HOME", registry.files.path()).env_remove("ASSEMBLE_PODMAN");
        let run = Run::of(&mut command);
        assert_eq!(run.code, 0, "{name}: {}", run.stderr);
        golden(name, &hide(&run.stdout));
    }
}

/// The metadata of an rpm repository.
fn rpm_repository(scene: &Scene, id: &str, packages: &[&str], version: &str) {
    let mut primary =
        format!("<metadata xmlns=\"http://linux.duke.edu/metadata/common\" packages=\"{}\">", packages.len());
    let (version, release) = version.split_once('-').unwrap();
    for name in packages {
        let _ = write!(
            primary,
            "<package type=\"rpm\"><name>{name}</name><arch>x86_64</arch>\
             <version epoch=\"0\" ver=\"{version}\" rel=\"{release}\"/><checksum type=\"sha256\" pkgid=\"YES\">{}</checksum>\
             <size package=\"1\" installed=\"1\" archive=\"1\"/><location href=\"{name}.rpm\"/></package>",
            Digest::of(name.as_bytes()).hex()
        );
    }
    primary += "</metadata>";
    let repomd = format!(
        "<repomd xmlns=\"http://linux.duke.edu/metadata/repo\"><data type=\"primary\">\
         <checksum type=\"sha256\">{}</checksum><location href=\"repodata/primary.xml\"/></data></repomd>",
        Digest::of(primary.as_bytes()).hex()
    );
    scene.file(&format!("{id}/repodata/primary.xml"), primary);
    scene.file(&format!("{id}/repodata/repomd.xml"), repomd);
    let url = scene.path(id).display().to_string();
    scene.file(&format!("{id}.repo"), format!("[{id}]\nbaseurl=file://{url}\ngpgcheck=0\n"));
}

/// The metadata of a Debian repository.
fn debian_repository(scene: &Scene, id: &str, releases: &[(&str, &str)]) {
    let mut list = String::new();
    let names = |release: &str| [format!("linux-image-{release}"), format!("linux-headers-{release}")];
    let packages = releases.iter().flat_map(|(release, version)| names(release).map(|name| (name, version)));
    for (name, version) in packages {
        let _ = write!(
            list,
            "Package: {name}\nVersion: {version}\nArchitecture: amd64\nSize: 1\nSHA256: {}\nFilename: {name}.deb\n\n",
            Digest::of(name.as_bytes()).hex()
        );
    }
    let (digest, size) = (Digest::of(list.as_bytes()).hex(), list.len());
    scene.file(&format!("{id}/dists/{id}/Release"), format!("SHA256:\n {digest} {size} main/binary-amd64/Packages\n"));
    scene.file(&format!("{id}/dists/{id}/main/binary-amd64/Packages"), list);
    let url = scene.path(id).display().to_string();
    let text = format!("Types: deb\nURIs: file:{url}\nSuites: {id}\nComponents: main\nTrusted: yes\n");
    scene.file(&format!("{id}.sources"), text);
}

/// The lines of a plan about the kernel, or what it fails with.
fn kernel(scene: &Scene) -> String {
    let run = scene.run(&["plan", "--recipe", "recipe.toml"]);
    if run.code != 0 {
        return format!("exit {}\n{}", run.code, run.stderr);
    }
    let lines = run.stdout.lines().skip_while(|line| !line.starts_with("kernel "));
    let own = lines.take_while(|line| line.starts_with("kernel ") || line.starts_with("          "));
    own.collect::<Vec<_>>().join("\n") + "\n"
}

#[test]
fn a_plan_says_which_kernel_and_why() {
    if !has("rpmbuild") {
        return;
    }
    let scene = Scene::new();
    for (layout, tree) in [("centos", rpm_tree(CENTOS, "")), ("debian", debian_tree(""))] {
        fs::create_dir(scene.path(layout)).unwrap();
        base::write(&scene.path(layout), &tree, |image| image);
    }
    let whole = ["kernel", "kernel-core", "kernel-modules", "kernel-modules-core", "kernel-devel"];
    rpm_repository(&scene, "old", &whole, "6.12.0-150.el10");
    rpm_repository(&scene, "same", &["kernel-devel"], "6.12.0-155.el10");
    rpm_repository(&scene, "new", &whole, "6.12.0-160.el10");
    scene.file("away.repo", "[away]\nbaseurl=https://example.com/repo\n");
    debian_repository(&scene, "bookworm", &[("6.1.0-55-amd64", "6.1.169-1")]);
    debian_repository(&scene, "security", &[("6.1-amd64", "6.1.170-1"), (DEBIAN, "6.1.170-1")]);
    debian_repository(&scene, "backports", &[("6.12.12+bpo-amd64", "6.12.12-1~bpo12+1")]);
    scene.file("away.sources", "Types: deb\nURIs: http://deb.debian.org/debian\nSuites: sid\nComponents: main\n");
    let stage = "[[stage]]\nname = \"zfs\"\nkind = \"zfs\"\nbranch = \"2.3\"\n";
    let mut text = String::new();
    let mut documents = Vec::new();
    for (base, pin, repositories, more) in [
        ("centos", "base", "", ""),
        ("centos", "base", "same.repo", stage),
        ("centos", "base", "new.repo", stage),
        ("centos", "base", "new.repo away.repo", stage),
        ("centos", "devel", "old.repo", ""),
        ("centos", "devel", "same.repo", stage),
        ("centos", "devel", "old.repo new.repo", stage),
        ("centos", "devel", "old.repo away.repo", stage),
        ("centos", "devel", "away.repo", ""),
        ("centos", "devel", "", ""),
        ("centos", "=6.12.0-150.el10", "old.repo new.repo away.repo", ""),
        ("centos", "=6.12.0-170.el10", "old.repo away.repo", ""),
        ("centos", "=6.12.0-170.el10", "old.repo new.repo", ""),
        ("centos", "=6.12.0-155.el10", "", ""),
        ("centos", "=6.12.0-99.el10", "", ""),
        ("debian", "base", "bookworm.sources", stage),
        ("debian", "base", "bookworm.sources security.sources", stage),
        ("debian", "devel", "bookworm.sources", ""),
        ("debian", "devel", "bookworm.sources security.sources", ""),
        ("debian", "devel", "security.sources backports.sources", ""),
        ("debian", "devel", "bookworm.sources away.sources", ""),
        ("debian", "=6.1.0-55-amd64", "bookworm.sources", ""),
    ] {
        let list: Vec<String> = repositories.split_whitespace().map(|name| format!("{name:?}")).collect();
        let list = list.join(", ");
        let recipe = format!(
            "schema = 1\n[image]\nname = \"e2e\"\n[base]\nimage = \"oci:{base}:latest\"\n[output]\nimage = \"oci:out:latest\"\n\
             [kernel]\npin = \"{pin}\"\nrepositories = [{list}]\n{more}"
        );
        scene.file("recipe.toml", recipe);
        let built = if more.is_empty() { "" } else { ", modules to compile" };
        let _ = write!(text, "## {base}, pin {pin}, repositories [{repositories}]{built}\n{}\n", kernel(&scene));
        let run = scene.run(&["plan", "--recipe", "recipe.toml", "--json"]);
        documents.push(if run.code == 0 { run.json().1["kernel"].clone() } else { Value::Null });
    }
    golden("kernels", &text.replace(scene.root().to_str().unwrap(), "DIR"));
    let upgraded = json!({
        "pin": "devel",
        "base": CENTOS,
        "release": "6.12.0-160.el10.x86_64",
        "direction": "upgrade",
        "reason": format!("kernel {CENTOS} is upgraded to 6.12.0-160.el10.x86_64: it is the newest that kernel-devel is there for; kernel-devel comes from new"),
        "install": ["kernel=6.12.0-160.el10", "kernel-core=6.12.0-160.el10", "kernel-modules=6.12.0-160.el10", "kernel-modules-core=6.12.0-160.el10"],
        "remove": ["kernel=6.12.0-155.el10", "kernel-core=6.12.0-155.el10", "kernel-modules=6.12.0-155.el10", "kernel-modules-core=6.12.0-155.el10"],
    });
    assert_eq!(documents[6], upgraded);
    let open = json!({
        "pin": "devel",
        "base": CENTOS,
        "reason": "builders choose; of the repositories that were read, none has a kernel with kernel-devel",
        "unread": { "away": "https: is fetched by builder containers only" },
    });
    assert_eq!(documents[8], open);
}
