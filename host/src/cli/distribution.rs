//! `gatewright plugin push`, `pull`, `sign`, `verify`, `lock` and `prune`: plugins in OCI registries.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};

use super::print;
use crate::author::distribution::{self as registry, Options};
use crate::author::{Error, Stage};
use crate::config::OciReference;
use crate::{gateway, regular_file};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Pushes a component to an OCI registry, and prints the source for gateway.json.
    Push {
        /// The component.
        file: PathBuf,
        /// Where to: HOST/NAME:TAG, with or without "oci://".
        #[arg(value_parser = reference)]
        reference: OciReference,
        #[command(flatten)]
        registry: Registry,
    },
    /// Pulls a component from an OCI registry, with its digests checked.
    Pull {
        /// HOST/NAME with a tag or a digest.
        #[arg(value_parser = reference)]
        reference: OciReference,
        /// The file to write. Default: the last part of the name, with ".wasm".
        #[arg(short, long)]
        output: Option<PathBuf>,
        /// A public key, one of which has to have signed it. May be repeated.
        #[arg(long = "key")]
        keys: Vec<PathBuf>,
        #[command(flatten)]
        registry: Registry,
    },
    /// Signs what is in an OCI registry, in cosign's format.
    Sign {
        /// HOST/NAME with a tag or a digest.
        #[arg(value_parser = reference)]
        reference: OciReference,
        /// A private key in PEM for ECDSA on P-256, not encrypted.
        #[arg(long)]
        key: PathBuf,
        #[command(flatten)]
        registry: Registry,
    },
    /// Checks that a plugin in an OCI registry is signed by one of the keys, is whole, and would load here. With a file,
    /// that the file is that plugin.
    Verify {
        /// HOST/NAME with a tag or a digest; or a file, together with --of.
        subject: String,
        /// What the file has to be: HOST/NAME with a tag or a digest.
        #[arg(long, value_parser = reference)]
        of: Option<OciReference>,
        /// A public key, one of which has to have signed it. May be repeated.
        #[arg(long = "key", required = true)]
        keys: Vec<PathBuf>,
        #[command(flatten)]
        registry: Registry,
    },
    /// Writes which digests the tags in a configuration stand for into the lock file beside it, gateway.lock.
    Lock {
        /// The configuration.
        #[arg(default_value = "gateway.json")]
        config: PathBuf,
        /// Asks again for tags that are locked already.
        #[arg(long)]
        update: bool,
    },
    /// Takes out of the store what neither a configuration nor its lock file names and nobody has written for a day.
    Prune {
        /// The configurations. Where several gateways share a store, all of theirs.
        #[arg(default_value = "gateway.json")]
        configs: Vec<PathBuf>,
    },
}

#[derive(Args)]
pub(super) struct Registry {
    /// Speaks with the registry without TLS. On loopback addresses that is always so.
    #[arg(long)]
    plain_http: bool,
    /// Seconds for everything that is asked of the registry.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,
    /// A file with credentials as `docker login` writes it. Default: where docker looks.
    #[arg(long, value_name = "FILE")]
    credentials: Option<PathBuf>,
    /// A PEM file with authorities that are trusted beside the system's. May be repeated.
    #[arg(long = "ca", value_name = "FILE")]
    authorities: Vec<PathBuf>,
}

impl Command {
    pub(super) fn run(self) -> Result<(), Error> {
        match self {
            Command::Push { file, reference, registry } => {
                let digest = registry::push(&file, &reference, &registry.options())?;
                say(&format!("oci://{reference}@{digest}\n"))
            }
            Command::Pull { reference, output, keys, registry } => {
                let pulled = registry::pull(&reference, &keys, &registry.options())?;
                let name = reference.name.rsplit('/').next().unwrap_or_default();
                let output = output.unwrap_or_else(|| PathBuf::from(format!("{name}.wasm")));
                write(&output, &pulled.component)?;
                say(&format!("{} is oci://{}@{}\n", output.display(), without_digest(&reference), pulled.digest))
            }
            Command::Sign { reference, key, registry } => {
                let digest = registry::sign(&reference, &key, &registry.options())?;
                say(&format!("{}@{digest} is signed\n", without_digest(&reference)))
            }
            Command::Verify { subject, of, keys, registry } => verify(&subject, of, &keys, &registry.options()),
            Command::Lock { config, update } => lock(&config, update),
            Command::Prune { configs } => {
                let pruned = gateway::prune(&configs).map_err(Error::Gateway)?;
                say(&format!("{} files with {} bytes are gone\n", pruned.files, pruned.bytes))
            }
        }
    }
}

fn verify(subject: &str, of: Option<OciReference>, keys: &[PathBuf], options: &Options) -> Result<(), Error> {
    let file = Path::new(subject);
    let (reference, digest) = match of {
        Some(reference) => {
            let digest = registry::verify_file(file, &reference, keys, options)?;
            (reference, digest)
        }
        None if file.is_file() => {
            Stage::load(file)?;
            let text =
                format!("{subject} is a file, which has no signatures of its own; say what it has to be with --of");
            return Err(Error::Told(text));
        }
        None => {
            let reference = reference_of(subject)?;
            let digest = registry::pull(&reference, keys, options)?.digest;
            (reference, digest)
        }
    };
    say(&format!("{subject}: good, signed as {}@{digest}\n", without_digest(&reference)))
}

fn lock(config: &Path, update: bool) -> Result<(), Error> {
    let (all, file) = gateway::lock(config, update).map_err(Error::Gateway)?;
    for locked in &all {
        let before = match &locked.before {
            Some(before) if *before == locked.digest => String::new(),
            Some(before) => format!(" (it was {before})"),
            None => " (new)".to_owned(),
        };
        say(&format!("{} is {}{before}\n", locked.reference, locked.digest))?;
    }
    say(&format!("{}: {} plugins\n", file.display(), all.len()))
}

impl Registry {
    fn options(&self) -> Options {
        Options {
            plain_http: self.plain_http,
            timeout: Duration::from_secs(self.timeout),
            credentials: self.credentials.clone(),
            authorities: self.authorities.clone(),
        }
    }
}

fn reference(text: &str) -> Result<OciReference, String> {
    text.strip_prefix("oci://").unwrap_or(text).parse()
}

fn reference_of(text: &str) -> Result<OciReference, Error> {
    reference(text).map_err(|reason| Error::Told(format!("{text:?} is neither a file nor a reference: {reason}")))
}

fn without_digest(reference: &OciReference) -> OciReference {
    OciReference { digest: None, ..reference.clone() }
}

/// Writes a file, completely or not at all.
fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let written = regular_file::replace(path, bytes);
    written.map_err(|error| Error::Told(format!("{} cannot be written: {error}", path.display())))
}

fn say(text: &str) -> Result<(), Error> {
    print(text).map_err(Error::Gateway)
}
