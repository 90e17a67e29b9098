//! The attribute macros of `gatewright-sdk`. They are documented here and used through that crate.

use proc_macro::TokenStream;
use proc_macro2::TokenStream as Tokens;
use quote::{format_ident, quote};
use syn::{Error, ImplItem, Item, ItemImpl, LitStr, Path, Result, Type, meta, parse_macro_input, spanned::Spanned};

/// Makes a component from an `impl Plugin for X`.
///
/// The component exports `lifecycle` and exactly the hooks that the `impl` has; a hook left to its default costs
/// nothing, because it is not exported. On targets other than Wasm nothing is exported, so the same crate runs its
/// tests natively.
///
/// The plugin's name is the package's, without the prefix `gatewright-plugin-`, or the one in `#[plugin(name =
/// "...")]`. Its version is the package's.
#[proc_macro_attribute]
pub fn plugin(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let mut name = None;
    let parser = meta::parser(|meta| {
        if !meta.path.is_ident("name") {
            return Err(meta.error("only `name = \"...\"` is known here"));
        }
        name = Some(meta.value()?.parse::<LitStr>()?);
        Ok(())
    });
    parse_macro_input!(arguments with parser);
    let item = parse_macro_input!(item as ItemImpl);
    expand_plugin(name, &item).unwrap_or_else(Error::into_compile_error).into()
}

/// Makes a struct or an enum a configuration: `Deserialize` and `JsonSchema`, with keys in snake_case, enumerated
/// values in kebab-case, and unknown keys refused, as everywhere in the gateway's configuration.
///
/// Doc comments become the schema's descriptions. The attributes of serde (`default`, `rename`, ...) and of schemars
/// may be added as usual.
#[proc_macro_attribute]
pub fn config(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let arguments = Tokens::from(arguments);
    let item = parse_macro_input!(item as Item);
    expand_config(&arguments, &item).unwrap_or_else(Error::into_compile_error).into()
}

fn expand_plugin(name: Option<LitStr>, item: &ItemImpl) -> Result<Tokens> {
    check_impl(item)?;
    let plugin = &*item.self_ty;
    let hooks: Vec<&Hook> = HOOKS.iter().filter(|hook| defines(item, hook.function)).collect();
    if hooks.is_empty() {
        return Err(Error::new_spanned(plugin, "a plugin without a hook does nothing: add one, such as `on_request`"));
    }
    let name = match name {
        Some(name) => name.value(),
        None => {
            let package = std::env::var("CARGO_PKG_NAME").unwrap_or_default();
            package.strip_prefix("gatewright-plugin-").unwrap_or(&package).to_owned()
        }
    };
    let hook_names = hooks.iter().map(|hook| hook.function.replace('_', "-"));
    let exports = hooks.iter().map(|hook| hook.export(plugin));
    Ok(quote! {
        #item

        impl ::gatewright_sdk::Exported for #plugin {
            const NAME: &'static str = #name;
            const VERSION: &'static str = ::core::env!("CARGO_PKG_VERSION");
            const HOOKS: &'static [&'static str] = &[#(#hook_names),*];
        }

        #[cfg(target_family = "wasm")]
        #[allow(unsafe_code)]
        const _: () = {
            ::std::thread_local! {
                static PLUGIN: ::std::cell::OnceCell<#plugin> = const { ::std::cell::OnceCell::new() };
            }
            struct Component;
            impl ::gatewright_sdk::export::lifecycle::Guest for Component {
                fn describe() -> ::std::string::String {
                    ::gatewright_sdk::export::describe::<#plugin>()
                }
                fn configure(
                    config: ::std::string::String,
                ) -> ::core::result::Result<(), ::std::string::String> {
                    ::gatewright_sdk::export::configure(&PLUGIN, &config)
                }
            }
            ::gatewright_sdk::export::lifecycle::export!(Component with_types_in ::gatewright_sdk::export::lifecycle);
            #(#exports)*
        };
    })
}

/// Mistakes are reported here, at their place, and not by an error inside generated code.
fn check_impl(item: &ItemImpl) -> Result<()> {
    let of_trait = item.trait_.as_ref().and_then(|(path, _)| path.segments.last());
    if of_trait.is_none_or(|last| last.ident != "Plugin") {
        return Err(Error::new(item.span(), "#[plugin] stands on an `impl Plugin for ...`"));
    }
    if !item.generics.params.is_empty() {
        return Err(Error::new_spanned(&item.generics, "a plugin is one type: it has no parameters"));
    }
    Ok(())
}

fn defines(item: &ItemImpl, function: &str) -> bool {
    item.items.iter().any(|item| matches!(item, ImplItem::Fn(method) if method.sig.ident == function))
}

struct Hook {
    /// The name in the trait.
    function: &'static str,
    /// The module of the SDK's `export`.
    module: &'static str,
    shape: Shape,
}

enum Shape {
    Header,
    Body,
    Completion,
    Tick,
}

const HOOKS: [Hook; 6] = [
    Hook { function: "on_request", module: "request_hook", shape: Shape::Header },
    Hook { function: "on_request_body", module: "request_body_hook", shape: Shape::Body },
    Hook { function: "on_response", module: "response_hook", shape: Shape::Header },
    Hook { function: "on_response_body", module: "response_body_hook", shape: Shape::Body },
    Hook { function: "on_complete", module: "completion_hook", shape: Shape::Completion },
    Hook { function: "on_tick", module: "background", shape: Shape::Tick },
];

impl Hook {
    fn export(&self, plugin: &Type) -> Tokens {
        let module = format_ident!("{}", self.module);
        let function = format_ident!("{}", self.function);
        let sdk: Path = syn::parse_quote!(::gatewright_sdk::export);
        let hook = quote!(<#plugin as ::gatewright_sdk::Plugin>::#function);
        let method = match self.shape {
            Shape::Header => quote! {
                fn #function(end_of_stream: bool) -> #sdk::types::Decision {
                    #sdk::decide(&PLUGIN, end_of_stream, #hook)
                }
            },
            Shape::Body => quote! {
                fn #function(chunk: ::std::vec::Vec<u8>, end_of_stream: bool) -> #sdk::types::BodyDecision {
                    #sdk::decide_body(&PLUGIN, chunk, end_of_stream, #hook)
                }
            },
            Shape::Completion => quote! {
                fn #function() {
                    #sdk::complete(&PLUGIN);
                }
            },
            Shape::Tick => quote! {
                fn #function() -> ::core::option::Option<u32> {
                    #sdk::tick(&PLUGIN)
                }
            },
        };
        quote! {
            impl #sdk::#module::Guest for Component {
                #method
            }
            #sdk::#module::export!(Component with_types_in #sdk::#module);
        }
    }
}

fn expand_config(arguments: &Tokens, item: &Item) -> Result<Tokens> {
    if !arguments.is_empty() {
        return Err(Error::new_spanned(arguments, "#[config] takes no arguments"));
    }
    // Variants are values, fields are keys: serde's `rename_all` means one or the other.
    let case = match item {
        Item::Struct(_) => quote!(rename_all = "snake_case", deny_unknown_fields),
        Item::Enum(_) => quote!(rename_all = "kebab-case", rename_all_fields = "snake_case", deny_unknown_fields),
        _ => return Err(Error::new(item.span(), "#[config] stands on a struct or an enum")),
    };
    Ok(quote! {
        #[derive(::gatewright_sdk::serde::Deserialize, ::gatewright_sdk::schemars::JsonSchema)]
        #[serde(crate = "::gatewright_sdk::serde", #case)]
        #[schemars(crate = "::gatewright_sdk::schemars")]
        #item
    })
}
