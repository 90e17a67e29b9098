//! The stock plugins in the gateway, a file for each.

mod acl;
mod basic_auth;
mod concurrency;
mod cors;
mod ip;
mod quota;
mod request_size;
