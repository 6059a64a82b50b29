//! HTTP as a client. The only user of reqwest and rustls.
//!
//! It owns the transport: trust, proxies, redirects, deadlines and size limits. The meaning of an answer is defined
//! elsewhere.
//!
//! Plain HTTP on loopback has a client of its own, without proxies and certificates: a machine without a certificate
//! store can still query its own servers. Everything else trusts the system's store (`SSL_CERT_FILE` and
//! `SSL_CERT_DIR` are honoured) and, off loopback, uses the proxies named in the environment.

mod client;
mod error;
mod incoming;

pub use client::{Answer, Client, Command, Method};
pub use error::Error;
pub use incoming::{Incoming, shown};
