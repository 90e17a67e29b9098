//! The world of a project in C or Go: its bindings, and the component around the compiled module, are made from it.

use std::path::Path;

use wit_bindgen_core::{Files, WorldGenerator};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{Resolve, WorldId, WorldItem, WorldKey};

use crate::author::toolchain::unusable;
use crate::author::{Error, Project};

/// A world, with the contract that it refers to.
pub struct World {
    resolve: Resolve,
    world: WorldId,
}

impl World {
    /// The world `plugin` in a project's folder `wit`.
    ///
    /// # Errors
    /// It does not exist, or it is not valid.
    pub fn of(project: &Project) -> Result<World, Error> {
        let folder = project.folder.join("wit");
        let wrong = |error: anyhow::Error| Error::told(format!("{}: {error:#}", folder.display()));
        let mut resolve = Resolve::default();
        let (package, _) = resolve.push_dir(&folder).map_err(wrong)?;
        let world = resolve.select_world(&[package], Some("plugin")).map_err(wrong)?;
        Ok(World { resolve, world })
    }

    /// A world of the contract itself, given as text.
    ///
    /// # Errors
    /// The text is not valid, or has no such world.
    pub fn of_contract(text: &str, name: &str) -> Result<World, Error> {
        let wrong = |error: anyhow::Error| Error::told(format!("the contract: {error:#}"));
        let mut resolve = Resolve::default();
        let package = resolve.push_str("plugin.wit", text).map_err(wrong)?;
        let world = resolve.select_world(&[package], Some(name)).map_err(wrong)?;
        Ok(World { resolve, world })
    }

    /// The interfaces of the contract that the plugin exports, such as "request-hook".
    pub fn exports(&self) -> Vec<String> {
        let names = self.resolve.worlds[self.world].exports.iter().filter_map(|(key, item)| match (key, item) {
            (WorldKey::Interface(id), WorldItem::Interface { .. }) => self.resolve.interfaces[*id].name.clone(),
            _ => None,
        });
        names.collect()
    }

    /// Generates the bindings.
    ///
    /// # Errors
    /// The generator refuses the world.
    pub fn bindings(&mut self, mut generator: Box<dyn WorldGenerator>) -> Result<Files, Error> {
        let mut files = Files::default();
        let made = generator.generate(&mut self.resolve, self.world, &mut files);
        made.map_err(|error| Error::told(format!("no bindings can be made of wit/world.wit: {error:#}")))?;
        Ok(files)
    }

    /// Embeds the world into a module, for compilers that do not do so.
    ///
    /// # Errors
    /// The module is not valid.
    pub fn embed(&self, module: &mut Vec<u8>) -> Result<(), Error> {
        embed_component_metadata(module, &self.resolve, self.world, StringEncoding::UTF8, false)
            .map_err(|error| Error::told(format!("the module: {error:#}")))
    }
}

/// Makes the component around a module with an embedded world. `adapter` replaces the system for modules that need one;
/// it is a module too.
///
/// # Errors
/// The module does not fit its world.
pub fn component(module: &[u8], adapter: Option<&[u8]>) -> Result<Vec<u8>, Error> {
    let encode = || {
        let mut encoder = ComponentEncoder::default();
        encoder.validate(true).module(module)?;
        if let Some(adapter) = adapter {
            encoder.adapter(SYSTEM, adapter)?;
        }
        encoder.encode()
    };
    encode().map_err(|error: anyhow::Error| {
        let text = format!("{error:#}");
        let reason = if adapter.is_none() && text.contains(SYSTEM) {
            "the code calls the operating system (printf, fopen, time, ...), which a plugin has none of\n"
        } else {
            ""
        };
        Error::told(format!("{reason}{text}"))
    })
}

/// Writes generated files below a folder. Unchanged files stay untouched, for compilers that compare modification
/// times.
///
/// # Errors
/// The folder cannot be written to.
pub fn write<'a>(files: impl Iterator<Item = (&'a str, &'a [u8])>, folder: &Path) -> Result<(), Error> {
    for (name, bytes) in files {
        let path = folder.join(name);
        if std::fs::read(&path).is_ok_and(|known| known == bytes) {
            continue;
        }
        let parent = path.parent().unwrap_or(folder);
        std::fs::create_dir_all(parent).map_err(|error| unusable(parent, &error))?;
        std::fs::write(&path, bytes).map_err(|error| unusable(&path, &error))?;
    }
    Ok(())
}

/// The import name of the first version of WASI.
const SYSTEM: &str = "wasi_snapshot_preview1";
