//! Configuration: which keys there are, where their values come from, and what each room is told.
//!
//! 1. [`keys`] holds the table of sections and keys; [`kinds`] says what values mean.
//! 2. [`file`] reads TOML, [`outside`] the environment and flags: each value with its place, each mistake with a hint.
//! 3. [`layers`] puts them upon each other into [`crate::model::settings::Settings`].
//! 4. [`rooms`] reads the settings in their kinds and converts them into each room's own configuration.
//! 5. [`secret`] reads passwords out of files of their own.
//! 6. [`template`] prints the template and the reference.
//!
//! Only this folder knows files and the environment. Nothing here starts anything.

pub(crate) mod file;
pub(crate) mod keys;
pub(crate) mod kinds;
pub(crate) mod layers;
pub(crate) mod outside;
pub(crate) mod rooms;
pub(crate) mod secret;
pub(crate) mod template;
