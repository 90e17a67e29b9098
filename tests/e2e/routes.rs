//! What a route does with a request besides sending it on. Each test is named after the feature that it shows.

mod grpc_matches;
mod header_changes;
mod mirrors;
mod redirects;
mod rewrites;
mod versions;
