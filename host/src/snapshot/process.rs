//! Settings of the process rather than of requests.

use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use crate::capability::secrets::Secrets;
use crate::config::{self, Diagnostic, Loaded};

/// The token that clients of the admin API must present.
pub(super) fn admin_token(loaded: &Loaded, secrets: &Secrets, mistakes: &mut Vec<Diagnostic>) -> Option<Arc<str>> {
    let name = loaded.config.admin.as_ref()?.token.as_deref()?;
    match secrets.grant([name]) {
        Ok(granted) => {
            let token: Option<Arc<str>> = granted.get(name).map(Arc::from);
            let at_token = |message| loaded.document.at_value("/admin/token", message);
            match token.as_deref().map(str::trim) {
                Some("") => mistakes.push(at_token(format!("the secret {name:?} is empty"))),
                Some(text) if !text.bytes().all(|byte| matches!(byte, b' '..=b'~')) => {
                    let message = format!("the secret {name:?} has characters that no request can carry as a token");
                    let help = "a token is one line of ASCII without control characters";
                    mistakes.push(at_token(message).with_help(help));
                }
                _ => {}
            }
            token
        }
        Err(_) => {
            let names = loaded.config.secrets.keys().map(String::as_str);
            let unknown = loaded.document.at_value("/admin/token", format!("there is no secret {name:?}"));
            mistakes.push(unknown.with_suggestion(name, names));
            None
        }
    }
}

/// Checks that the access log can be written to its file, which the log itself creates.
pub(super) fn access_log(loaded: &Loaded, directory: &Path, mistakes: &mut Vec<Diagnostic>) {
    let config::AccessLog::File(file) = &loaded.config.access_log else { return };
    let path = directory.join(file);
    // A path that ends in a slash names no file.
    let is_name = path.file_name().is_some() && !path.as_os_str().as_encoded_bytes().ends_with(b"/");
    // Opening a pipe would wait for a reader, which may not be there yet.
    let opened = match std::fs::OpenOptions::new().append(true).custom_flags(libc::O_NONBLOCK).open(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && is_name => {
            path.parent().map_or(Ok(()), |folder| std::fs::metadata(folder.join(".")).map(drop))
        }
        Err(error) if error.raw_os_error() == Some(libc::ENXIO) => Ok(()),
        opened => opened.map(drop),
    };
    if let Err(error) = opened {
        let message = format!("the access log cannot be written to {}: {error}", path.display());
        mistakes.push(loaded.document.at_value("/access_log/file", message));
    }
}
