//! Downloads of large files: resumed after an interruption, verified before they become visible.
//!
//! The bytes go to `NAME.part` beside the target; `NAME.part.json` records the file's version. A file gets its name
//! only when its digest matches. The caller decides what to download and from where.

mod alone;
mod body;
mod download;
mod error;
mod fetch;
mod make;
mod offer;
mod part;

pub use download::{Download, Fetched, OnProgress, Patience, Progress, Token};
pub use error::Error;
pub use fetch::{digest_file, discard, fetch, is_unfinished};
pub use make::{Recipe, make};
pub use offer::{Offer, hub_offer, offer, read, repository_offer};
pub use part::check_room;
