//! `assemble boot`: does the image boot, load its modules, and do its work?

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use kmod_stage::boot::{self, BootError, BootOptions, BootPlan, BootReport, Machine, ModuleResult};
use oci_assemble::layer::Gate;
use oci_assemble::store::KeptContents;
use serde_json::{Value, json};

use super::plan::layers;
use crate::args::{BootArgs, Kvm};
use crate::env;
use crate::exit::{Class, Context, Failure};
use crate::ui::{Ui, bytes};
use crate::wire::{self, BlobCache};

pub(crate) fn run(args: &BootArgs, ui: Ui, cache: Option<&Path>) -> Result<(), Failure> {
    let options = options(args)?;
    let blobs = BlobCache::new(cache, ui);
    let cache = wire::cache(cache)?;
    let platform = args.platform.as_deref().map(wire::platform).transpose()?;
    let image = wire::image(&wire::reference(&args.image)?, platform.as_ref(), &args.source, cache.as_ref(), &blobs)?;
    let architecture = &image.image.config().platform.architecture;
    let qemu = qemu(args, architecture)?;
    let layers = layers(&image, cache.as_ref(), env::processors(), Gate::Record, ui)?;
    let tree = layers.tree().context(Class::Data, "merging the layers")?;
    let kept = KeptContents::new(&layers, cache.as_deref());
    let plan = BootPlan::new(&tree, &kept, architecture, options).map_err(|error| failure(&args.image, error))?;
    let (root, initramfs) = plan.sizes();
    ui.detail(&format!("root disk {}, initramfs {}", bytes(root), bytes(initramfs)));
    let mut console = Console { ui, log: args.log.as_deref().map(log).transpose()? };
    let bar = ui.bar(None, "booting");
    let begin = env::now();
    let report = plan.boot(&layers, &qemu, &env::temp_dir(), &mut console);
    bar.finish_and_clear();
    let report = report.map_err(|error| failure(&args.image, error))?;
    ui.say(&format!("took {} s", (env::now() - begin) / 1_000_000_000));
    if ui.json {
        ui.document("boot", document(&report))?;
    } else {
        ui.data(&text(&report))?;
    }
    verdict(&report, args, ui)
}

/// The program that boots images of this architecture.
fn qemu(args: &BootArgs, architecture: &str) -> Result<PathBuf, Failure> {
    let machine = Machine::for_architecture(architecture).map_err(|error| failure(&args.image, error))?;
    let name = args.qemu.as_deref().unwrap_or(Path::new(machine.program));
    let found = env::program(name);
    found.ok_or_else(|| {
        Failure::new(Class::Unavailable, format!("there is no program {}", name.display()))
            .hint(format!("install {}, or name it with --qemu", machine.packages))
    })
}

fn options(args: &BootArgs) -> Result<BootOptions, Failure> {
    let script = |path: &Path| std::fs::read(path).context(Class::Usage, format!("reading {}", path.display()));
    let command = match (&args.run, &args.script) {
        (Some(command), _) => Some(format!("{command}\n").into_bytes()),
        (None, Some(path)) => Some(script(path)?),
        (None, None) => None,
    };
    Ok(BootOptions {
        modules: args.modules.clone(),
        command,
        systemd: args.systemd,
        memory: args.memory,
        processors: args.cpus,
        disks: args.disks.clone(),
        kvm: match args.kvm {
            Kvm::Off => boot::Kvm::Off,
            Kvm::Auto => boot::Kvm::Auto,
            Kvm::Require => boot::Kvm::Require,
        },
        timeout: Duration::from_secs(args.timeout.get().into()),
    })
}

fn log(path: &Path) -> Result<File, Failure> {
    File::create(path).context(Class::Io, format!("writing {}", path.display()))
}

/// What could not be tried.
fn failure(image: &str, error: BootError) -> Failure {
    let class = match &error {
        BootError::ModuleName { .. } | BootError::Disks { .. } => Class::Usage,
        BootError::Kernels { .. }
        | BootError::NoProgram { .. }
        | BootError::NoLibrary { .. }
        | BootError::NoDriver { .. } => Class::Negative,
        BootError::Architecture { .. } | BootError::Start { .. } | BootError::Qemu { .. } => Class::Unavailable,
        BootError::Workspace { .. } | BootError::Watch(_) | BootError::Log(_) => Class::Io,
        _ => Class::Data,
    };
    Failure::of(class, format!("booting {image}"), error)
}

/// What the machine writes goes to the log, and to whoever asked for detail.
struct Console {
    ui: Ui,
    log: Option<File>,
}

impl Write for Console {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.ui.guest(bytes);
        if let Some(log) = &mut self.log {
            log.write_all(bytes)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.log.as_mut().map_or(Ok(()), File::flush)
    }
}

fn document(report: &BootReport) -> Value {
    let told = &report.told;
    let module = |module: &ModuleResult| {
        json!({
            "name": module.name,
            "exit": module.exit,
            "said": module.said,
            "loaded": module.loaded,
            "missing": module.missing,
            "log": module.log,
        })
    };
    let faults: Vec<String> = report.faults().iter().map(ToString::to_string).collect();
    json!({
        "passed": faults.is_empty(),
        "kernel": report.kernel.as_str(),
        "accelerator": report.accelerator.name(),
        "modules": told.modules.iter().map(module).collect::<Vec<_>>(),
        "command": told.command.as_ref().map(|command| json!({ "exit": command.exit, "output": command.output })),
        "system": told.system.as_ref().map(|(state, failed)| json!({ "state": state, "failed": failed })),
        "faults": faults,
        "console": report.console,
    })
}

fn text(report: &BootReport) -> String {
    let mut lines = Vec::new();
    if let Some(release) = &report.told.release {
        lines.push(format!("kernel {release} runs ({})", report.accelerator.name()));
    }
    if let Some((state, failed)) = &report.told.system {
        lines.push(format!("system {state}"));
        lines.extend(failed.iter().map(|unit| format!("  failed {unit}")));
    }
    for module in &report.told.modules {
        let loaded: Vec<&str> = module.loaded.iter().map(String::as_str).collect();
        let exit = module.exit.map_or("did not end".to_owned(), |exit| format!("exited with {exit}"));
        let what = if loaded.is_empty() { String::new() } else { format!(", loaded {}", loaded.join(" ")) };
        lines.push(format!("modprobe {} {exit}{what}", module.name));
        lines.extend(module.said.iter().chain(&module.log).map(|line| format!("  {line}")));
    }
    if let Some(command) = &report.told.command {
        let exit = command.exit.map_or("did not end".to_owned(), |exit| format!("exited with {exit}"));
        lines.push(format!("command {exit}"));
        lines.extend(command.output.iter().map(|line| format!("  {line}")));
    }
    lines.iter().map(|line| plain(line) + "\n").collect()
}

/// Without what would steer a terminal.
fn plain(line: &str) -> String {
    line.chars().filter(|character| !character.is_control() || *character == '\t').collect()
}

/// A failure when the image does not pass, with the end of the console when that may tell why.
fn verdict(report: &BootReport, args: &BootArgs, ui: Ui) -> Result<(), Failure> {
    let faults = report.faults();
    if faults.is_empty() {
        return Ok(());
    }
    if !report.told.complete && !ui.json && ui.verbose == 0 {
        ui.complain("the console's last lines:");
        report.console.iter().for_each(|line| ui.complain(&format!("  {}", plain(line))));
    }
    let mut what = format!("{} does not pass the boot check", args.image);
    for fault in &faults {
        what.push_str(&format!("\n  {}", plain(&fault.to_string())));
    }
    let failure = Failure::new(Class::Negative, what);
    Err(match &args.log {
        None => failure.hint("--log FILE keeps all that the machine writes"),
        Some(_) => failure,
    })
}
