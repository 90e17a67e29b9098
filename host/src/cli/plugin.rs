//! `gatewright plugin`: the commands for plugin authors.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::{distribution, print};
use crate::author::build::build;
use crate::author::serve::{self, Settings};
use crate::author::trial::Verdict;
use crate::author::{Cases, Error, Language, Profile, Project, Stage, bench, inspect, template, trial};
use crate::gateway;
use crate::telemetry::log::{self, Format};
use crate::telemetry::{self, Level};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Begins a plugin: a project that builds and passes its tests, with the SDK inside.
    New {
        /// Its name in gateway.json: lower-case letters, digits and hyphens.
        name: String,
        /// What it is written in.
        #[arg(long, value_enum)]
        lang: Language,
        /// An empty or a new folder. Default: one of the plugin's name.
        #[arg(long)]
        path: Option<PathBuf>,
    },
    /// Writes the SDK of this gateway into the project, in place of the one that is there.
    Sdk {
        /// The project.
        #[arg(default_value = ".")]
        folder: PathBuf,
    },
    /// Builds the component, with the tools of the plugin's language.
    Build {
        /// The project.
        #[arg(default_value = ".")]
        folder: PathBuf,
        /// With names and lines for traps, as `test`, `run` and `dev` build it.
        #[arg(long)]
        debug: bool,
    },
    /// Runs test cases against the component, in the real engine, without a network.
    Test {
        #[command(flatten)]
        subject: Subject,
    },
    /// Measures how the component starts, and what its hooks cost for each test case.
    Bench {
        #[command(flatten)]
        subject: Subject,
        /// As one JSON object.
        #[arg(long)]
        json: bool,
        /// Milliseconds for each figure.
        #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..=60_000))]
        time: u64,
    },
    /// Starts a gateway with just this plugin.
    Run {
        #[command(flatten)]
        serving: Serving,
    },
    /// The same, and builds and swaps the plugin whenever a source changes.
    Dev {
        #[command(flatten)]
        serving: Serving,
    },
    /// Prints what a component exports, imports and accepts.
    Inspect {
        /// A component. Default: the one of the project in this folder, built first.
        component: Option<PathBuf>,
        /// As one JSON object.
        #[arg(long)]
        json: bool,
    },
    #[command(flatten)]
    Distribution(distribution::Command),
}

/// A component and its cases.
#[derive(Args)]
pub(super) struct Subject {
    /// Files of cases. Default: tests/*.json of the project.
    cases: Vec<PathBuf>,
    /// The project, which is built first.
    #[arg(long, default_value = ".")]
    project: PathBuf,
    /// A component in place of a project.
    #[arg(long, requires = "cases")]
    component: Option<PathBuf>,
    /// Only the cases whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
}

#[derive(Args)]
pub(super) struct Serving {
    /// The project.
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// Where clients connect.
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: String,
    /// The server behind the plugin, such as 127.0.0.1:3000. Default: the stock plugin echo answers.
    #[arg(long)]
    upstream: Option<String>,
}

impl Command {
    pub(super) fn run(self) -> ExitCode {
        // An author wants to read what the plugin logs.
        log::init(log::Settings { level: Level::Debug, format: Format::Text });
        let done = match self {
            Command::New { name, lang, path } => new(lang, &name, path),
            Command::Sdk { folder } => sdk(&folder),
            Command::Build { folder, debug } => build_project(&folder, debug),
            Command::Test { subject } => test(&subject),
            Command::Bench { subject, json, time } => bench_cases(&subject, json, Duration::from_millis(time)),
            Command::Run { serving } => run(&serving),
            Command::Dev { serving } => Project::open(&serving.folder)
                .and_then(|project| serve::dev(&project, &serving.settings()))
                .map(|()| ExitCode::SUCCESS),
            Command::Inspect { component, json } => inspect_component(component, json),
            Command::Distribution(command) => command.run().map(|()| ExitCode::SUCCESS),
        };
        telemetry::log::close(Duration::from_secs(1));
        done.unwrap_or_else(|error| {
            let text = match &error {
                // A report already says that it contains errors.
                Error::File(_) | Error::Gateway(gateway::Error::Config(_)) => format!("{error}\n"),
                other => format!("error: {other}\n"),
            };
            let _ = std::io::stderr().write_all(text.as_bytes());
            ExitCode::FAILURE
        })
    }
}

fn new(language: Language, name: &str, path: Option<PathBuf>) -> Result<ExitCode, Error> {
    let folder = path.unwrap_or_else(|| PathBuf::from(name));
    let written = template::write(language, name, &folder)?;
    for file in written {
        say(&format!("  {}\n", folder.join(file).display()));
    }
    say(&format!(
        "\n{name} is ready. Next:\n\n    cd {}\n    gatewright plugin test\n    gatewright plugin dev\n",
        folder.display()
    ));
    Ok(ExitCode::SUCCESS)
}

fn sdk(folder: &Path) -> Result<ExitCode, Error> {
    let project = Project::open(folder)?;
    template::write_sdk(project.manifest.language, &project.folder)?;
    say(&format!("{} is the SDK of gatewright {}\n", project.folder.join("sdk").display(), env!("CARGO_PKG_VERSION")));
    Ok(ExitCode::SUCCESS)
}

fn build_project(folder: &Path, debug: bool) -> Result<ExitCode, Error> {
    let project = Project::open(folder)?;
    let built = build(&project, if debug { Profile::Debug } else { Profile::Release })?;
    // A component that no gateway would load is not a success.
    let stage = Stage::load(&built.component)?;
    say(&format!(
        "{} ({}, {}) in {:.1} s\n",
        built.component.strip_prefix(&project.folder).unwrap_or(&built.component).display(),
        inspect::size(stage.size()),
        stage.artifact().hooks().join(", "),
        built.time.as_secs_f64(),
    ));
    Ok(ExitCode::SUCCESS)
}

fn test(subject: &Subject) -> Result<ExitCode, Error> {
    let (stage, files) = subject.load(Profile::Debug)?;
    let (mut good, mut bad) = (0, 0);
    for file in &files {
        let cases = Cases::read(file)?;
        for verdict in trial::run(&stage, &cases, &subject.only)? {
            if verdict.is_good() {
                good += 1
            } else {
                bad += 1
            }
            say(&shown(file, &verdict));
        }
    }
    if good + bad == 0 {
        return Err(Error::Told(format!("no case has {:?} in its name, so nothing was tested", subject.only)));
    }
    say(&format!("\n{good} good, {bad} bad\n"));
    Ok(if bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn shown(file: &Path, verdict: &Verdict) -> String {
    if verdict.is_good() {
        return format!("good  {}\n", verdict.name);
    }
    let mut text = format!("BAD   {} ({}:{})\n", verdict.name, file.display(), verdict.line);
    for (step, difference) in &verdict.differences {
        if let Some(step) = step {
            text.push_str(&format!("      step {step}\n"));
        }
        difference.lines().for_each(|line| text.push_str(&format!("      {line}\n")));
    }
    text
}

fn bench_cases(subject: &Subject, json: bool, time: Duration) -> Result<ExitCode, Error> {
    let (component, files) = subject.built(Profile::Release)?;
    let (start, stage) = bench::start(&component)?;
    let files = files.iter().map(|file| Cases::read(file)).collect::<Result<Vec<Cases>, Error>>()?;
    let memory = files.first().map_or(Ok(0), |cases| bench::memory(&stage, cases))?;
    let mut costs = Vec::new();
    for cases in &files {
        costs.extend(bench::run(&stage, cases, &subject.only, time)?);
    }
    if costs.is_empty() {
        return Err(Error::Told(format!(
            "no case with {:?} in its name has an exchange, so nothing was measured",
            subject.only
        )));
    }
    if json {
        say(&(serde_json::to_string_pretty(&bench::value(&start, memory, &costs)).unwrap_or_default() + "\n"));
        return Ok(ExitCode::SUCCESS);
    }
    say(&format!(
        "component {}, compiled in {:.0} ms, from the cache in {:.1} ms; {} for each instance\n\n",
        inspect::size(start.size),
        start.compiled.as_secs_f64() * 1e3,
        start.cached.as_secs_f64() * 1e3,
        inspect::size(usize::try_from(memory).unwrap_or(usize::MAX)),
    ));
    let row = |cells: [&str; 4], name: &str| {
        let cells = cells.map(|cell| format!("{cell:>12} ")).concat();
        say(&format!("{cells} {name}\n"));
    };
    row(["on-request", "on-response", "bodies", "all, fresh"], "");
    row(["ns", "ns", "ns", "µs"], "case");
    for cost in &costs {
        let nanoseconds = |time: Duration| time.as_nanos().to_string();
        let if_there = |time: Option<Duration>| time.map_or("-".to_owned(), nanoseconds);
        let (request, response, bodies) = (nanoseconds(cost.request), if_there(cost.response), if_there(cost.bodies));
        let name = match cost.answered {
            0.0 | 1.0 => cost.name.clone(),
            some => format!("{} (a mean: it answers {:.0} % of them itself)", cost.name, some * 100.0),
        };
        row([&request, &response, &bodies, &format!("{:.1}", cost.fresh.as_secs_f64() * 1e6)], &name);
    }
    Ok(ExitCode::SUCCESS)
}

fn run(serving: &Serving) -> Result<ExitCode, Error> {
    let project = Project::open(&serving.folder)?;
    build(&project, Profile::Debug)?;
    serve::run(&project, &serving.settings())?;
    Ok(ExitCode::SUCCESS)
}

fn inspect_component(component: Option<PathBuf>, json: bool) -> Result<ExitCode, Error> {
    let component = match component {
        Some(component) => component,
        None => build(&Project::open(Path::new("."))?, Profile::Release)?.component,
    };
    let stage = Stage::load(&component)?;
    let value = || serde_json::to_string_pretty(&inspect::value(&stage)).unwrap_or_default() + "\n";
    say(&if json { value() } else { inspect::text(&stage) });
    Ok(ExitCode::SUCCESS)
}

impl Subject {
    /// The component on stage, and the files of its cases.
    fn load(&self, profile: Profile) -> Result<(Stage, Vec<PathBuf>), Error> {
        let (component, files) = self.built(profile)?;
        Ok((Stage::load(&component)?, files))
    }

    /// The component, built first if it belongs to a project, and the files of its cases.
    fn built(&self, profile: Profile) -> Result<(PathBuf, Vec<PathBuf>), Error> {
        if let Some(component) = &self.component {
            return Ok((component.clone(), self.cases.clone()));
        }
        let project = Project::open(&self.project)?;
        let files = if self.cases.is_empty() { project.case_files()? } else { self.cases.clone() };
        if files.is_empty() {
            let folder = project.folder.join("tests");
            return Err(Error::Told(format!("there are no cases: {} has no .json file", folder.display())));
        }
        Ok((build(&project, profile)?.component, files))
    }
}

impl Serving {
    fn settings(&self) -> Settings {
        Settings { listen: self.listen.clone(), upstream: self.upstream.clone() }
    }
}

/// A reader that closes early is not a failure, and any other error cannot be reported.
fn say(text: &str) {
    let _ = print(text);
}
