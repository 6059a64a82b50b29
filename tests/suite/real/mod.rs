//! Tests against the real parts; each needs what its `ignore` says.

mod systemd;
