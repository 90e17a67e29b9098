//! How the core modules of a plain component are put together, so that they can be run without the component.
//!
//! A compiler that makes a component puts its core module inside, lowers what that imports and lifts what it exports.
//! Most of the rest is there for types alone. The plan is what remains without them: which core module is instantiated
//! after which, what each import is, and which core functions stand behind the exported ones.
//!
//! Only a component of that plain kind has a plan: no resources of its own, nothing async, strings in UTF-8, one
//! memory. Every other shape, also one that could be understood with more work, has none: the component machinery
//! runs it. The component is taken to be valid; a plan says nothing of types.

mod shim;
mod spaces;
#[cfg(test)]
mod tests;

pub(super) use self::shim::signatures_of;

/// How a component's core modules are put together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// In order of instantiation.
    pub instances: Vec<CoreInstance>,
    /// The one memory that all lowered and lifted functions use.
    pub memory: Place,
    /// Functions that the component exports, in its exported instances.
    pub exports: Vec<Lifted>,
}

/// A core module to instantiate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CoreInstance {
    /// Index among the component's core modules, in the order in which they are defined.
    pub module: u32,
    /// In the order of the module's own import section.
    pub imports: Vec<Imported>,
}

/// An import of a core module, and its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Imported {
    /// The first part of the import's name, as in the core module.
    pub module: String,
    /// The second part.
    pub name: String,
    /// What satisfies the import.
    pub source: Source,
}

/// The source of a core module's import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// A function of an imported interface, lowered.
    Function {
        /// The name under which the component imports the interface, with its version.
        interface: String,
        /// The function's name in the interface.
        function: String,
        /// Allocates memory in the guest for the function's answer. It may belong to a later instance, usually the very
        /// one that imports the function.
        realloc: Option<Place>,
    },
    /// `resource.drop` of an imported resource.
    Drop,
    /// An export of an earlier instance.
    Export(Place),
}

/// An export of a core instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Index in [`Plan::instances`].
    pub instance: usize,
    /// The export's name.
    pub name: String,
}

/// A function that the component exports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lifted {
    /// The name under which the component exports the interface, with its version.
    pub interface: String,
    /// The function's name in the interface.
    pub function: String,
    /// The core function behind it.
    pub core: Place,
    /// Allocates memory in the guest for the arguments.
    pub realloc: Option<Place>,
    /// Called with the core function's result once that has been read.
    pub post_return: Option<Place>,
}

impl Plan {
    /// The guest's functions that allocate memory for what it is given. Their places here are their numbers.
    pub fn allocators(&self) -> Vec<&Place> {
        let imports = self.instances.iter().flat_map(|instance| &instance.imports);
        let lowered = imports.filter_map(|import| match &import.source {
            Source::Function { realloc, .. } => realloc.as_ref(),
            Source::Drop | Source::Export(_) => None,
        });
        let mut places = Vec::new();
        for place in lowered.chain(self.exports.iter().filter_map(|export| export.realloc.as_ref())) {
            if !places.contains(&place) {
                places.push(place);
            }
        }
        places
    }
}

/// The plan of a valid component, and its core modules. `None` if the component is not of the plain kind.
pub(super) fn read(component: &[u8]) -> Option<(Plan, Vec<&[u8]>)> {
    let (plan, modules) = spaces::read(component)?;
    Some((shim::without(&plan, &modules).unwrap_or(plan), modules))
}

/// The component with one more core module, which is the last.
pub(super) fn with_module(component: &[u8], module: &[u8]) -> Vec<u8> {
    [component, &[CORE_MODULE_SECTION], &leb_length(module), module].concat()
}

/// The component, changed to export each of its `count` core modules under its [`module_name`], so that wasmtime hands
/// out the compiled modules.
pub(super) fn exporting_modules(component: &[u8], count: u32) -> Vec<u8> {
    let mut exports = leb(count);
    for index in 0..count {
        let name = module_name(index);
        exports.push(PLAIN_NAME);
        exports.extend(leb_length(&name));
        exports.extend(name.as_bytes());
        exports.extend(CORE_MODULE);
        exports.extend(leb(index));
        exports.push(NO_TYPE);
    }
    [component, &[EXPORT_SECTION], &leb_length(&exports), &exports].concat()
}

/// The name under which [`exporting_modules`] exports a core module.
pub(super) fn module_name(index: u32) -> String {
    format!("{NAME_PREFIX}-{index}")
}

/// Whether an export could be mistaken for such a name. The component model ignores case and hyphens.
pub(super) fn is_module_name(export: &str) -> bool {
    let letters = |name: &str| name.replace('-', "").to_ascii_lowercase();
    letters(export).starts_with(&letters(NAME_PREFIX))
}

/// The part before the index in a [`module_name`]. A component that exports such a name itself has no plan.
const NAME_PREFIX: &str = "gatewright-core-module";

// From the component model's binary format.
const CORE_MODULE_SECTION: u8 = 1;
const EXPORT_SECTION: u8 = 11;
const PLAIN_NAME: u8 = 0x00;
const CORE_MODULE: [u8; 2] = [0x00, 0x11];
const NO_TYPE: u8 = 0x00;

/// A length as LEB128. Real lengths are far below 4 GiB; wasmtime would reject a component with a longer one.
fn leb_length(of: impl AsRef<[u8]>) -> Vec<u8> {
    leb(u32::try_from(of.as_ref().len()).unwrap_or(u32::MAX))
}

/// A number as LEB128: seven bits per byte, lowest first, with the eighth bit set on all bytes but the last.
fn leb(mut number: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number > 0x7f {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}
