//! What the guest told: the other end of `check.sh`, and the judgement.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use super::machine::Accelerator;
use crate::kernel::KernelRelease;

/// How a boot went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootReport {
    /// The image's kernel.
    pub kernel: KernelRelease,
    /// What computed.
    pub accelerator: Accelerator,
    /// How the guest ended.
    pub end: End,
    /// What the guest told.
    pub told: Told,
    /// The last lines of the console.
    pub console: Vec<String>,
}

/// How a guest ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It switched itself off.
    Off,
    /// It was ended after this time.
    TimedOut(Duration),
    /// It was ended because it told more than this many bytes.
    Flooded(u64),
}

/// What a guest told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// The release that the running kernel names.
    pub release: Option<String>,
    /// What systemd said of the whole system, and the units that failed; only where it was started.
    pub system: Option<(String, Vec<String>)>,
    /// One for each module asked for, as far as the guest got.
    pub modules: Vec<ModuleResult>,
    /// The command, when the guest got there.
    pub command: Option<CommandResult>,
    /// Whether it came to its end.
    pub complete: bool,
}

/// What became of one module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModuleResult {
    /// As it was asked for.
    pub name: String,
    /// The exit code of modprobe; none when it did not end.
    pub exit: Option<i32>,
    /// What modprobe said.
    pub said: Vec<String>,
    /// The modules that this loaded, by name.
    pub loaded: BTreeSet<String>,
    /// The modules that should be loaded by the image's own index, and are not.
    pub missing: BTreeSet<String>,
    /// What the kernel said meanwhile.
    pub log: Vec<String>,
}

/// What became of the command.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommandResult {
    /// Its exit code; none when it did not end.
    pub exit: Option<i32>,
    /// What it wrote, standard output and error together.
    pub output: Vec<String>,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Too late.
    TimedOut {
        /// The limit.
        limit: Duration,
        /// What the guest was at.
        during: String,
    },
    /// It told too much.
    Flooded {
        /// The limit, bytes.
        limit: u64,
    },
    /// It ended before the check was over.
    Ended {
        /// What it was at.
        during: String,
        /// Why, as far as the console tells.
        reason: Option<String>,
    },
    /// The kernel that runs is not the image's.
    Kernel {
        /// What it says.
        running: String,
        /// The image's.
        expected: KernelRelease,
    },
    /// modprobe failed.
    Module {
        /// The module.
        name: String,
        /// modprobe's exit code.
        exit: i32,
        /// The last that modprobe or the kernel said.
        reason: Option<String>,
    },
    /// modprobe was content, but modules are not there.
    NotLoaded {
        /// The module.
        name: String,
        /// What is not loaded.
        missing: Vec<String>,
    },
    /// The command failed.
    Command {
        /// Its exit code.
        exit: i32,
    },
    /// systemd is not content.
    System {
        /// What it says.
        state: String,
        /// Failed units.
        failed: Vec<String>,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let because = |reason: &Option<String>| reason.as_ref().map_or(String::new(), |reason| format!(": {reason}"));
        match self {
            Self::TimedOut { limit, during } => write!(f, "{during} did not end within {} s", limit.as_secs()),
            Self::Flooded { limit } => write!(f, "the command wrote more than {} KiB", limit / 1024),
            Self::Ended { during, reason } => write!(f, "the guest ended during {during}{}", because(reason)),
            Self::Kernel { running, expected } => write!(f, "kernel {running} runs instead of {expected}"),
            Self::Module { name, exit, reason } => {
                write!(f, "module {name} cannot be loaded (modprobe exited with {exit}){}", because(reason))
            }
            Self::NotLoaded { name, missing } => {
                write!(f, "modprobe {name} succeeded, but {} not loaded", list(missing))
            }
            Self::Command { exit } => write!(f, "the command exited with {exit}"),
            Self::System { state, failed } if failed.is_empty() => write!(f, "systemd says {state:?}"),
            Self::System { state, failed } => write!(f, "systemd says {state:?}: {} failed", failed.join(", ")),
        }
    }
}

fn list(names: &[String]) -> String {
    format!("{} {}", names.join(", "), if names.len() == 1 { "is" } else { "are" })
}

impl BootReport {
    /// What is wrong, in the order in which it happened; nothing when the image passed.
    pub fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let told = &self.told;
        if let Some(running) = told.release.as_ref().filter(|running| **running != self.kernel.as_str()) {
            faults.push(Fault::Kernel { running: running.clone(), expected: self.kernel.clone() });
        }
        if let Some((state, failed)) = told.system.as_ref().filter(|(state, _)| state != "running") {
            faults.push(Fault::System { state: state.clone(), failed: failed.clone() });
        }
        for module in &told.modules {
            match module.exit {
                Some(0) if !module.missing.is_empty() => faults.push(Fault::NotLoaded {
                    name: module.name.clone(),
                    missing: module.missing.iter().cloned().collect(),
                }),
                Some(exit) if exit != 0 => {
                    let reason = module.said.last().or(module.log.last()).cloned();
                    faults.push(Fault::Module { name: module.name.clone(), exit, reason });
                }
                _ => {}
            }
        }
        if let Some(exit) = told.command.as_ref().and_then(|command| command.exit).filter(|exit| *exit != 0) {
            faults.push(Fault::Command { exit });
        }
        match self.end {
            // Whoever told everything may be ended: nothing more was to come.
            _ if told.complete => {}
            End::TimedOut(limit) => faults.push(Fault::TimedOut { limit, during: told.during() }),
            End::Flooded(limit) => faults.push(Fault::Flooded { limit }),
            End::Off => faults.push(Fault::Ended { during: told.during(), reason: reason(&self.console) }),
        }
        faults
    }
}

/// What the console says of an early end: our own words, or the kernel's last.
fn reason(console: &[String]) -> Option<String> {
    let said = |mark: &str| console.iter().rev().find_map(|line| Some(line[line.find(mark)?..].to_owned()));
    let own = said("assemble: ").map(|line| line.trim_start_matches("assemble: ").to_owned());
    own.filter(|line| !line.starts_with("modprobe ") && line != "command").or_else(|| said("Kernel panic"))
}

impl Told {
    /// Reads what the guest wrote. `brings` says which modules a module's load should bring. The guest may be at any point,
    /// and may write anything: an unknown line is passed over.
    pub fn parse(text: &str, brings: impl Fn(&str) -> BTreeSet<String>) -> Self {
        let mut told = Self::default();
        let mut present: BTreeSet<String> = BTreeSet::new();
        for line in text.lines() {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            let rest = rest.to_owned();
            match (word, told.modules.last_mut(), &mut told.command) {
                ("out", _, Some(command)) => command.output.push(rest),
                ("exit", _, Some(command)) => command.exit = rest.parse().ok(),
                ("end", ..) => told.complete = true,
                ("kernel", None, None) => told.release = Some(rest),
                ("state", None, None) => told.system = Some((rest, Vec::new())),
                ("failed", None, None) => told.system.get_or_insert_default().1.push(rest),
                ("loaded", None, None) => drop(present.insert(rest)),
                ("module", _, None) => told.modules.push(ModuleResult { name: rest, ..ModuleResult::default() }),
                ("command", _, None) => told.command = Some(CommandResult::default()),
                ("said", Some(module), None) => module.said.push(rest),
                ("log", Some(module), None) => module.log.push(rest),
                ("loaded", Some(module), None) if present.insert(rest.clone()) => drop(module.loaded.insert(rest)),
                ("modprobe", Some(module), None) => {
                    module.exit = rest.parse().ok();
                    if module.exit == Some(0) {
                        module.missing = brings(&module.name).difference(&present).cloned().collect();
                    }
                }
                _ => {}
            }
        }
        told
    }

    /// What the guest is at.
    fn during(&self) -> String {
        match (&self.command, self.modules.last()) {
            (Some(_), _) => "the command".to_owned(),
            (None, Some(module)) => format!("modprobe {}", module.name),
            (None, None) => "the boot".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests;
