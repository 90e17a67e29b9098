//! The stock plugins in the gateway, a file for each.

mod acl;
mod basic_auth;
mod compress;
mod concurrency;
mod decompress;
mod ip;
mod quota;
mod request_size;
mod validate;
