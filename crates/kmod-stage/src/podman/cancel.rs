//! Ending from outside what runs.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::call::Call;
use crate::builder::{ContainerName, PodmanSettings, remove_arguments};

/// A program and its words.
type Removal = (PathBuf, Vec<String>);

/// A switch that ends what runs. Copies share it, and once set it stays set.
#[derive(Clone, Debug, Default)]
pub struct Cancel {
    set: Arc<AtomicBool>,
    /// How each container that is there is removed.
    left: Arc<Mutex<BTreeMap<ContainerName, Removal>>>,
}

impl Cancel {
    /// A switch that is not set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets it; fit for a signal handler.
    pub fn cancel(&self) {
        self.set.store(true, Ordering::Relaxed);
    }

    /// Whether it is set.
    pub fn is_cancelled(&self) -> bool {
        self.set.load(Ordering::Relaxed)
    }

    /// Removes the containers that are there, each within `limit`, from outside of what watches them: for a process that
    /// cannot wait for the order of things.
    pub fn abandon(&self, limit: Duration) {
        let left = std::mem::take(&mut *self.left.lock().unwrap_or_else(PoisonError::into_inner));
        for (program, words) in left.into_values() {
            // Nobody is left to be told.
            let _ = Call::new(&program, words).within_time(limit).output();
        }
    }

    /// Knows that there may be a container.
    pub(super) fn watch(&self, settings: &PodmanSettings, name: &ContainerName) {
        let removal = (settings.program.clone(), remove_arguments(settings, name));
        self.left.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone(), removal);
    }

    /// Knows that there is none any more.
    pub(super) fn forget(&self, name: &ContainerName) {
        self.left.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }
}

impl From<Arc<AtomicBool>> for Cancel {
    fn from(set: Arc<AtomicBool>) -> Self {
        Self { set, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::disallowed_methods)]
    use std::process::Command;

    use super::*;

    #[test]
    fn what_is_left_is_removed_once() {
        let temp = tempfile::tempdir().unwrap();
        let (program, log) = (temp.path().join("podman"), temp.path().join("log"));
        // Not by this process: what it has open for writing, a process that another test starts has too, for a moment in
        // which nobody can run it.
        let text = temp.path().join("text");
        std::fs::write(&text, format!("#!/bin/sh\necho \"$*\" >>{}\n", log.display())).unwrap();
        assert!(Command::new("install").args([&text, &program]).status().unwrap().success());
        let settings = PodmanSettings { program, ..PodmanSettings::default() };
        let [first, second] = ["one", "two"].map(|stage| ContainerName::new(stage, "7").unwrap());
        let cancel = Cancel::new();
        cancel.watch(&settings, &first);
        cancel.watch(&settings, &second);
        cancel.forget(&first);
        cancel.abandon(Duration::from_secs(20));
        cancel.abandon(Duration::from_secs(20));
        let removed = std::fs::read_to_string(log).unwrap();
        assert_eq!(removed, "rm --force --time=0 --ignore --volumes assemble-two-7\n");
    }
}
