//! Every key of a recipe.

mod origin;
mod release;
mod stage;
mod system;

use super::schema::Table;

/// All tables, in the order of a well-written recipe.
pub(super) fn all() -> impl Iterator<Item = &'static Table> {
    [origin::TABLES, stage::TABLES, system::TABLES, release::TABLES].into_iter().flatten()
}
