//! Files of the machine: written completely or not at all, read within a limit, and removed durably.
//!
//! Every failure names the path and the operation. The meaning of a file is defined elsewhere.

mod error;
mod folder;
mod read;
mod write;

pub use error::Error;
pub use folder::{clear_folder, create_folder, holds_only, remove_empty_folder, remove_folder};
pub use read::{free, link_target, mode, names, random, read, read_text, stamp};
pub use write::{PRIVATE, create, link, open_existing, open_lock, remove, set_aside, touch, write};

pub(super) use read::{is_written_by_this_user_alone, owner};
pub(super) use write::check_replaceable;
