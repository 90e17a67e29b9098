//! The stock plugins in the gateway, a file for each.

mod acl;
mod basic_auth;
mod compress;
mod concurrency;
mod decompress;
mod graphql_guard;
mod ip;
mod json;
mod quota;
mod redact;
mod request_size;
mod rewrite;
mod validate;
