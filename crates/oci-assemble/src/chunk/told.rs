//! The components that an image says it was cut by.
//!
//! A record names the components of each layer, but not their paths: those are found by rules, of which an image may have
//! had others (a map, tags of files that were taken away).

use std::collections::{BTreeMap, BTreeSet};

use super::component::Components;
use super::recorded::Recorded;
use crate::layer::LayerIndex;
use crate::tree::{FileTree, TreePath};

impl Components {
    /// The components of `tree` under the names that `recorded` has for them: `layers` are those of its image, lowest first.
    /// What a layer has by a name that its record does not know is of the component that nothing else accounts for; where
    /// several could be, it has the names of all.
    #[must_use]
    pub fn as_recorded(&self, tree: &FileTree, recorded: &Recorded, layers: &[&LayerIndex]) -> Self {
        let mut layer_of: BTreeMap<&TreePath, usize> = BTreeMap::new();
        for (number, index) in layers.iter().enumerate() {
            let files = index.delta.entries().iter().filter(|(_, inode)| !inode.is_directory());
            layer_of.extend(files.map(|(path, _)| (path, number)));
        }
        let found: BTreeSet<&str> = self.list().iter().map(|component| component.name.as_str()).collect();
        let other: Vec<String> = recorded
            .layers
            .iter()
            .map(|layer| {
                let names = layer.components.keys().map(String::as_str).filter(|name| !found.contains(name));
                names.collect::<Vec<_>>().join(" or ")
            })
            .collect();
        self.renamed(tree, |path, name| {
            let layer =
                layer_of.get(path).and_then(|number| Some((recorded.layers.get(*number)?, other.get(*number)?)));
            match layer {
                Some((layer, other)) if !layer.components.contains_key(name) && !other.is_empty() => other.clone(),
                _ => name.to_owned(),
            }
        })
    }
}
