//! The stock plugins in the gateway, a file for each.

mod acl;
mod basic_auth;
mod ip;
mod request_size;
