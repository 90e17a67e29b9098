//! The stock plugins in the gateway, a file for each.

mod acl;
mod basic_auth;
mod concurrency;
mod consumers;
mod forward_auth;
mod hmac;
mod ip;
mod jwt;
mod mtls;
mod oauth2;
mod oidc;
mod quota;
mod request_size;
