//! One file for each verb.

pub(super) mod apply;
pub(super) mod diff;
pub(super) mod down;
pub(super) mod history;
pub(super) mod observe;
pub(super) mod plan;
pub(super) mod rollback;
pub(super) mod show;
pub(super) mod status;
pub(super) mod validate;
