//! Changes of an image's configuration and annotations.
//!
//! Setting what is set already changes nothing, not even the bytes.

use serde_json::Value;

use super::append::Image;
use super::config::Config;
use super::epoch::Epoch;
use super::manifest::Manifest;

impl Image {
    /// Sets a label.
    pub fn with_label(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let (name, value) = (name.into(), value.into());
        self.edit_config(|config| {
            config.labels.insert(name, value);
        })
    }

    /// Removes a label.
    pub fn without_label(self, name: &str) -> Self {
        self.edit_config(|config| {
            config.labels.remove(name);
        })
    }

    /// Sets an annotation of the manifest.
    pub fn with_annotation(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let (name, value) = (name.into(), value.into());
        self.edit_manifest(|manifest| {
            manifest.annotations.insert(name, value);
        })
    }

    /// Removes an annotation of the manifest.
    pub fn without_annotation(self, name: &str) -> Self {
        self.edit_manifest(|manifest| {
            manifest.annotations.remove(name);
        })
    }

    /// Sets the time the image was made, in the configuration. bootc also looks at the manifest annotation
    /// `org.opencontainers.image.created`, and there first.
    pub fn with_created(self, created: Epoch) -> Self {
        self.edit_config(|config| config.created = Some(created.to_string()))
    }

    /// Sets a field of `config`, such as `Cmd`, `Env` or `StopSignal`; labels have [`Image::with_label`].
    pub fn with_exec(self, name: impl Into<String>, value: Value) -> Self {
        let name = name.into();
        self.edit_config(|config| {
            if name != "Labels" {
                config.exec.insert(name, value);
            }
        })
    }

    /// The same image without layers and history: where flattening and rechunking begin. What says which layer is
    /// what to ostree (see [`super::ostree`]) is dropped with them.
    pub fn without_layers(self) -> Self {
        let edited = self.edit_config(|config| {
            config.diff_ids.clear();
            config.history.clear();
        });
        let emptied = edited.edit_manifest(|manifest| manifest.layers.clear());
        super::ostree::LAYER_LABELS
            .iter()
            .fold(emptied, |image, label| image.without_label(label).without_annotation(label))
    }

    fn edit_config(mut self, edit: impl FnOnce(&mut Config)) -> Self {
        let before = self.config.clone();
        edit(&mut self.config);
        if self.config == before { self } else { self.resealed() }
    }

    fn edit_manifest(mut self, edit: impl FnOnce(&mut Manifest)) -> Self {
        let before = self.manifest.clone();
        edit(&mut self.manifest);
        if self.manifest == before { self } else { self.resealed_manifest() }
    }
}
