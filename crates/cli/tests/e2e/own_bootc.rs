//! The bootc that an image carries, asked in a container of the image.
//!
//! No distribution of this machine has bootc: a shell script stands in its place, which speaks as bootc 1.16 does and
//! looks at two places of the tree.

use crate::bed::{Bed, bed};
use crate::rpm::{failed, recipe};
use crate::scene::{Run, Scene, image};

const STAND_IN: &str = r#"#!/bin/sh
[ "$container" = oci ] || { echo "error: This command must be executed within a container" >&2; exit 1; }
fatal=0
case "$*" in
  --version) echo "bootc 1.16.9" ;;
  "container lint --list") printf -- '- name: nonempty-boot\n  type: warning\n- name: var-run\n  type: fatal\n' ;;
  "container lint"*)
    passed=2
    case " $* " in *" --skip nonempty-boot "*) passed=1 ;; *)
      if [ -e /usr/share/e2e/warned ]; then printf 'Lint warning: nonempty-boot: Found non-empty /boot:\n  kernel\n\n'; passed=1; fi ;;
    esac
    if [ -e /usr/share/e2e/refused ]; then echo "Failed lint: var-run: Not a symlink: var/run"; fatal=1; passed=1; fi
    echo "Checks passed: $passed"
    [ $fatal = 0 ] || { echo "error: Linting: Checks failed: 1" >&2; exit 1; } ;;
  *) exit 2 ;;
esac
"#;

/// A recipe that puts the stand-in and other files into the image.
fn with_bootc(scene: &Scene, files: &[&str], tables: &str) {
    scene.file("bootc", STAND_IN);
    let file = |path: &str| format!("[[file]]\npath = \"/usr/share/e2e/{path}\"\ncontent = \"x\"\n");
    let files: String = files.iter().map(|path| file(path)).collect();
    let bootc = "[[file]]\npath = \"/usr/bin/bootc\"\nsource = \"bootc\"\nmode = 0o755\n";
    recipe(scene, "base", &format!("{bootc}{files}{tables}"));
}

fn lint(bed: &Bed, scene: &Scene, more: &[&str]) -> Run {
    bed.run(scene, &[&["lint", "oci:out:latest"], more].concat())
}

#[test]
fn an_image_is_judged_by_its_own_bootc() {
    let Some(bed) = bed() else { return };
    let scene = bed.scene();
    with_bootc(&scene, &["warned"], "");
    let run = bed.build(&scene, "out", &["--json"]);
    let (_, value) = run.json();
    let ran = &value["bootc"]["ran"];
    assert_eq!((ran["report"]["version"].as_str(), ran["report"]["passed"].as_bool()), (Some("1.16.9"), Some(true)));
    let differing = "bootc 1.16.9 and the native lints disagree: nonempty-boot: bootc finds what the native lint does \
                     not: Found non-empty /boot: kernel";
    assert!(run.stderr.contains(differing), "{run:?}");

    let run = lint(&bed, &scene, &["--bootc=require"]);
    assert_eq!(run.code, 0, "{run:?}");
    let lines = "warning bootc: nonempty-boot: Found non-empty /boot: kernel\n\
                 differs nonempty-boot: bootc finds what the native lint does not: Found non-empty /boot: kernel\n\
                 bootc 1.16.9 passes the image\n";
    assert!(run.stdout.ends_with(lines), "{run:?}");
    let skipped = lint(&bed, &scene, &["--bootc=auto", "--skip=nonempty-boot"]);
    assert!(skipped.stdout.ends_with("skipped\nbootc 1.16.9 passes the image\n"), "{skipped:?}");
    let native = lint(&bed, &scene, &[]);
    assert!(!native.stdout.contains("bootc 1.16.9"), "not asked: {native:?}");

    // An archive has no blobs that podman could be shown.
    let archive = bed.run(&scene, &["-r", "recipe.toml", "-o", "oci-archive:out.tar:latest", "--json"]);
    assert_eq!(archive.json().1["bootc"]["ran"]["report"]["passed"], true, "{archive:?}");
    assert!(!bed.has_image(&image(&scene.path("out")).digest().hex()), "no image is left in podman's storage");
}

#[test]
fn what_bootc_refuses_is_not_written() {
    let Some(bed) = bed() else { return };
    let scene = bed.scene();
    with_bootc(&scene, &["refused"], "");
    let run = bed.build(&scene, "out", &[]);
    assert_eq!(run.code, 1, "{run:?}");
    failed(
        &run,
        &["fatal   bootc: var-run: Not a symlink: var/run\n", "error: bootc 1.16.9, which e2e carries, refuses it"],
    );
    assert!(!scene.path("out/index.json").exists(), "the image is not listed");

    with_bootc(&scene, &["refused"], "[lint]\nbootc = \"off\"\n");
    let digest = bed.build(&scene, "out", &[]).digest();
    let run = lint(&bed, &scene, &["--bootc=auto"]);
    assert_eq!((run.code, image(&scene.path("out")).digest()), (1, digest), "{run:?}");
    assert!(run.stderr.contains("error: oci:out:latest is refused by its own bootc"), "{run:?}");
}

#[test]
fn where_bootc_cannot_be_asked() {
    let Some(bed) = bed() else { return };
    let scene = bed.scene();
    // Without podman.
    with_bootc(&scene, &[], "");
    let run = scene.run(&["-r", "recipe.toml", "-o", "oci:out:latest"]);
    run.digest();
    assert!(run.stderr.contains("note: bootc's own lint was not run: running the image's bootc: "), "{run:?}");
    with_bootc(&scene, &[], "[lint]\nbootc = \"require\"\n");
    let run = scene.run(&["-r", "recipe.toml", "-o", "oci:required:latest"]);
    assert_eq!(run.code, 69, "{run:?}");
    failed(&run, &["error: running the image's bootc: ", "hint: install podman 4.0 or newer"]);
    // Without bootc.
    recipe(&scene, "base", "[lint]\nbootc = \"require\"\n");
    let run = bed.build(&scene, "required", &[]);
    assert_eq!(run.code, 1, "{run:?}");
    failed(&run, &["error: e2e has no /usr/bin/bootc to be asked"]);
    assert!(!scene.path("required/index.json").exists());
    // With one that does not speak.
    scene.file("mute", "#!/bin/sh\nexit 1\n");
    let mute = "[[file]]\npath = \"/usr/bin/bootc\"\nsource = \"mute\"\nmode = 0o755\n";
    recipe(&scene, "base", &format!("{mute}[lint]\nbootc = \"require\"\n"));
    let run = bed.build(&scene, "required", &[]);
    assert_eq!(run.code, 65, "{run:?}");
    failed(&run, &["error: asking the bootc of e2e\n", "the image's bootc gives no verdict"]);
}
