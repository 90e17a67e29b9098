//! `plugin run` and `plugin dev`: the whole gateway with just this plugin.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::build::{self, Profile};
use super::toolchain::unusable;
use super::{Error, Project};
use crate::gateway::Gateway;
use crate::telemetry::{self, Level};
use crate::watch::{Changed, Watch};

/// Where a gateway for one plugin listens, and the upstream behind it.
#[derive(Clone)]
pub struct Settings {
    /// Such as "127.0.0.1:8080".
    pub listen: String,
    /// An address, or a URL with plain HTTP. Without one the stock plugin `echo` answers.
    pub upstream: Option<String>,
}

/// Serves until a signal ends it. The gateway watches the component, so it swaps in a new build by itself.
///
/// # Errors
/// The gateway does not start: the mistake is shown in its configuration, which is in the project's folder `build`.
pub fn run(project: &Project, settings: &Settings) -> Result<(), Error> {
    let path = configure(project, settings)?;
    let started = |gateway: &Gateway| {
        for (_, address) in gateway.addresses() {
            telemetry::log(Level::Info, "listening", &[("plugin", &project.name()), ("address", &address)]);
        }
    };
    Gateway::run(&path, started).map_err(Error::Gateway)
}

/// The same, and rebuilds whenever a source changes. If a build fails, the running plugin stays.
///
/// # Errors
/// As for [`run`].
pub fn dev(project: &Project, settings: &Settings) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Error::told(format!("no runtime: {error}")))?;
    let mut sources = Sources::watch(&runtime, project)?;
    while !rebuild(project) {
        if runtime.block_on(sources.changed()).is_none() {
            return Ok(());
        }
    }
    // It ends with the process, which is when the gateway ends.
    let (folder, of) = (project.folder.clone(), settings.clone());
    std::thread::spawn(move || {
        while let Some(changed) = runtime.block_on(sources.changed()) {
            let files = changed.iter().map(|file| shown(&folder, file)).collect::<Vec<_>>().join(", ");
            telemetry::log(Level::Info, "changed", &[("files", &files)]);
            match Project::open(&folder) {
                Ok(project) => {
                    if rebuild(&project)
                        && let Err(error) = configure(&project, &of)
                    {
                        refuse(&error);
                    }
                }
                Err(error) => refuse(&error),
            }
        }
    });
    run(project, settings)
}

/// The sources of a project, including those that do not exist yet.
struct Sources {
    project: Project,
    known: Vec<PathBuf>,
    watch: Watch,
    changes: mpsc::Receiver<Changed>,
}

impl Sources {
    fn watch(runtime: &Runtime, project: &Project) -> Result<Sources, Error> {
        let known = project.sources();
        let (watch, changes) = runtime
            .block_on(async { Watch::start(known.clone()) })
            .map_err(|error| Error::told(format!("the sources cannot be watched: {error}")))?;
        Ok(Sources { project: project.clone(), known, watch, changes })
    }

    /// Waits for files that change, appear or disappear. `None` at the end.
    async fn changed(&mut self) -> Option<Vec<PathBuf>> {
        loop {
            let changed = timeout(LOOK, self.changes.recv()).await;
            let now = self.project.sources();
            let came = now.iter().filter(|file| !self.known.contains(file));
            let went = self.known.iter().filter(|file| !now.contains(file));
            let moved = came.chain(went).cloned().collect::<Vec<_>>();
            if now != self.known {
                self.known.clone_from(&now);
                self.watch.set_files(now);
            }
            match changed {
                Ok(changed) => return changed.map(|changed| changed.files),
                Err(_) if !moved.is_empty() => return Some(moved),
                Err(_) => {}
            }
        }
    }
}

/// Builds, and reports the result. Returns whether there is a component.
fn rebuild(project: &Project) -> bool {
    match build::build(project, Profile::Debug) {
        Ok(built) => {
            let seconds = format!("{:.1}", built.time.as_secs_f64());
            telemetry::log(Level::Info, "built", &[("bytes", &built.size), ("seconds", &seconds)]);
            true
        }
        Err(error) => {
            refuse(&error);
            false
        }
    }
}

fn refuse(error: &Error) {
    telemetry::log_report(Level::Error, "not built; what runs is as it was", &error.to_string());
}

fn shown(folder: &Path, file: &Path) -> String {
    file.strip_prefix(folder).unwrap_or(file).display().to_string()
}

/// Writes the gateway's configuration, which the gateway watches too.
fn configure(project: &Project, settings: &Settings) -> Result<PathBuf, Error> {
    let path = project.output().join("gateway.json");
    let text = serde_json::to_string_pretty(&configuration(project, settings)?).unwrap_or_default();
    // Readable by the author only, because plugin.json may take secrets from the environment.
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|error| unusable(&path, &error))?;
    Ok(path)
}

fn configuration(project: &Project, settings: &Settings) -> Result<Value, Error> {
    let component: PathBuf = project.component(Profile::Debug);
    let name = project.name();
    let mut upstreams = Map::new();
    for (name, address) in &project.manifest.upstreams {
        upstreams.insert(name.clone(), json!([endpoint(address)?]));
    }
    let granted: Vec<&String> = project.manifest.upstreams.keys().collect();
    let mut chain = vec![json!({ name: project.manifest.config })];
    let mut route = json!({ "match": {} });
    match &settings.upstream {
        None => chain.push(json!("echo")),
        Some(upstream) => {
            upstreams.insert(BEHIND.to_owned(), json!([endpoint(upstream)?]));
            route["to"] = json!(BEHIND);
        }
    }
    route["plugins"] = json!(chain);
    Ok(literal(&json!({
        "listeners": [settings.listen],
        "workers": 1,
        "upstreams": upstreams,
        "plugins": { name: { "source": format!("file:{}", component.display()), "grants": { "upstreams": granted } } },
        "routes": [route],
    })))
}

/// Escapes a value for the expansion of `${..}`: in plugin.json that has been done, and must not be done again.
fn literal(value: &Value) -> Value {
    match value {
        Value::String(text) => text.replace("${", "$${").into(),
        Value::Array(items) => items.iter().map(literal).collect(),
        Value::Object(members) => members.iter().map(|(name, value)| (name.clone(), literal(value))).collect(),
        other => other.clone(),
    }
}

/// The address in what a person types for a server.
fn endpoint(text: &str) -> Result<&str, Error> {
    let address = match text.split_once("://") {
        Some(("http", rest)) => rest,
        Some((scheme, _)) => {
            return Err(Error::told(format!(
                "an upstream is reached over plain HTTP here, not over {scheme}: name its address, such as 127.0.0.1:3000"
            )));
        }
        None => text,
    };
    Ok(address.trim_end_matches('/'))
}

/// How often a project is searched for new files.
const LOOK: Duration = Duration::from_millis(500);
/// The name of the upstream behind the plugin.
const BEHIND: &str = "upstream";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Document, Process};

    #[test]
    fn what_came_from_outside_is_not_expanded_again() {
        let value = json!({ "a": ["${HOME}", "a${b", "$${c}", "$", "{}"], "${d}": { "e": "${file:f}" } });
        let environment = Process { directory: PathBuf::new() };
        let read = Document::parse("gateway.json", &literal(&value).to_string(), &environment);
        let read = read.unwrap_or_else(|report| panic!("{}", report.render(false)));
        assert_eq!(*read.value(), value);
    }
}
