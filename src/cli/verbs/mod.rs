//! One file for each verb.

pub(super) mod apply;
pub(super) mod confirm;
pub(super) mod deadman;
pub(super) mod diff;
pub(super) mod doctor;
pub(super) mod down;
pub(super) mod history;
pub(super) mod lock;
pub(super) mod observe;
pub(super) mod outdated;
pub(super) mod plan;
pub(super) mod retry;
pub(super) mod rollback;
pub(super) mod show;
pub(super) mod status;
pub(super) mod suspend;
pub(super) mod update;
pub(super) mod validate;
