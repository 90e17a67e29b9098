//! The stock plugins in the gateway, a file for each.

mod acl;
mod basic_auth;
mod compose;
mod compress;
mod concurrency;
mod consumers;
mod cors;
mod decompress;
mod forward_auth;
mod graphql_guard;
mod grpc_json;
mod grpc_peers;
mod hmac;
mod ip;
mod json;
mod jwt;
mod mtls;
mod oauth2;
mod oidc;
mod quota;
mod redact;
mod request_size;
mod rest_graphql;
mod rewrite;
mod validate;
mod xml_json;
