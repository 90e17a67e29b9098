//! The calls and their order: the configuration with its templates parsed and its dependencies checked.

use std::collections::{BTreeMap, BTreeSet};

use gatewright_sdk::{
    Method, StatusCode, http_client, json, rules,
    template::{Document, PathPattern, Place, Root, Scope, Target, Text},
};

use crate::config::{Answer, Config, Part, Read};

/// A checked composition.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) pattern: Option<PathPattern>,
    pub(crate) steps: Vec<Step>,
    pub(crate) answer: Reply,
    /// The values of the request that the templates need, each once.
    pub(crate) roots: BTreeSet<Root>,
}

/// One part.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) name: String,
    /// The request without what an exchange adds to it.
    pub(crate) question: http_client::Request,
    pub(crate) target: Target,
    pub(crate) headers: Vec<(String, Text)>,
    /// In lower case, as in the gateway.
    pub(crate) forward: Vec<String>,
    pub(crate) body: Option<Document>,
    pub(crate) read: Read,
    pub(crate) optional: bool,
    pub(crate) default: json::Value,
    pub(crate) pass: Vec<StatusCode>,
    /// The steps that this one depends on.
    pub(crate) needs: Vec<usize>,
}

/// The response to the client.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: Vec<(String, Text)>,
    pub(crate) body: Document,
}

/// The header that tells each part how deeply it is nested.
pub(crate) const DEPTH: &str = "x-compose-depth";

impl Plan {
    /// # Errors
    /// What is wrong, with its key.
    pub(crate) fn new(config: &Config) -> Result<Self, String> {
        let pattern = config.path.as_deref().map(PathPattern::parse).transpose();
        let pattern = pattern.map_err(|why| format!("path: {why}"))?;
        if config.parts.is_empty() || config.parts.len() > MOST_PARTS {
            return Err(format!("parts: there are {}, and there can be 1 to {MOST_PARTS}", config.parts.len()));
        }
        if config.deadline.0.is_zero() {
            return Err("deadline: it has to be more than nothing".to_owned());
        }
        let names: Vec<String> = config.parts.keys().cloned().collect();
        let path = pattern.as_ref().map_or(&[][..], PathPattern::names);
        let scope = Scope { path, body: true, parts: &names };
        let steps = config.parts.iter().map(|(name, part)| {
            check_part_name(name)?;
            Step::new(name, part, &names, &scope).map_err(|why| format!("parts.{name}.{why}"))
        });
        let steps = steps.collect::<Result<Vec<_>, String>>()?;
        check_order(&steps)?;
        let answer = Reply::new(&config.answer, &names, &scope).map_err(|why| format!("answer.{why}"))?;
        let mut roots = BTreeSet::new();
        let mut note = |place: &Place| {
            roots.insert(place.root().clone());
        };
        steps.iter().for_each(|step| step.each_place(&mut note));
        answer.each_place(&mut note);
        Ok(Self { pattern, steps, answer, roots })
    }

    pub(crate) fn reads_body(&self) -> bool {
        self.roots.contains(&Root::Body)
    }
}

impl Step {
    fn new(name: &str, part: &Part, names: &[String], scope: &Scope<'_>) -> Result<Self, String> {
        let method = match Method::from_bytes(part.method.as_bytes()) {
            Ok(method) if method != Method::CONNECT => method,
            _ => return Err(format!("method: {:?} is not a method that can be asked with", part.method)),
        };
        if part.timeout.0.is_zero() {
            return Err("timeout: it has to be more than nothing".to_owned());
        }
        if !part.optional && part.default != json::Value::Null {
            return Err("default: only an optional part has one".to_owned());
        }
        let pass = part.pass.iter().map(|status| match StatusCode::from_u16(*status) {
            Ok(status) if status.is_client_error() => Ok(status),
            _ => Err(format!("pass: {status} is not from 400 to 499")),
        });
        for forwarded in &part.forward {
            rules::check_name(forwarded).map_err(|why| format!("forward: {forwarded:?} {why}"))?;
            not_ours(forwarded).map_err(|why| format!("forward: {why}"))?;
        }
        let body = part.body.as_ref().map(|body| Document::parse(body, scope)).transpose();
        let mut step = Self {
            name: name.to_owned(),
            question: http_client::Request::new(method, part.upstream.as_str(), "/").with_timeout(part.timeout.0),
            target: Target::parse(&part.path, scope).map_err(|why| format!("path: {why}"))?,
            headers: headers(&part.headers, scope)?,
            forward: part.forward.iter().map(|name| name.to_ascii_lowercase()).collect(),
            body: body.map_err(|why| format!("body: {why}"))?,
            read: part.read,
            optional: part.optional,
            default: part.default.clone(),
            pass: pass.collect::<Result<_, _>>()?,
            needs: Vec::new(),
        };
        step.needs = step.needs(part, names)?;
        Ok(step)
    }

    /// The positions of the parts that its templates and `after` name.
    fn needs(&self, part: &Part, names: &[String]) -> Result<Vec<usize>, String> {
        let mut named = BTreeSet::new();
        let mut asks_who_failed = false;
        self.each_place(&mut |place| match place.root() {
            Root::Part(name) => {
                named.insert(name.as_str());
            }
            Root::Failed => asks_who_failed = true,
            _ => {}
        });
        if asks_who_failed {
            return Err("it has $(failed), which is for the answer: it is known when all parts are done".to_owned());
        }
        named.extend(part.after.iter().map(String::as_str));
        let place = |name: &&str| {
            let at = names.iter().position(|have| have == name);
            at.ok_or_else(|| format!("after: there is no part {name:?}; there is {}", names.join(", ")))
        };
        named.iter().map(place).collect()
    }

    fn each_place<'a>(&'a self, visit: &mut dyn FnMut(&'a Place)) {
        self.target.places().for_each(&mut *visit);
        self.headers.iter().flat_map(|(_, text)| text.places()).for_each(&mut *visit);
        self.body.iter().for_each(|body| body.each_place(visit));
    }
}

impl Reply {
    fn new(answer: &Answer, names: &[String], scope: &Scope<'_>) -> Result<Self, String> {
        let body = match &answer.body {
            Some(body) => Document::parse(body, scope),
            None => {
                let all = names.iter().map(|name| (name.clone(), json::Value::String(format!("$(parts.{name})"))));
                Document::parse(&json::Value::Object(all.collect()), scope)
            }
        };
        let status = StatusCode::from_u16(answer.status).ok().filter(|status| (200..600).contains(&status.as_u16()));
        Ok(Self {
            status: status.ok_or_else(|| format!("status: {} is not from 200 to 599", answer.status))?,
            headers: headers(&answer.headers, scope)?,
            body: body.map_err(|why| format!("body: {why}"))?,
        })
    }

    fn each_place<'a>(&'a self, visit: &mut dyn FnMut(&'a Place)) {
        self.headers.iter().flat_map(|(_, text)| text.places()).for_each(&mut *visit);
        self.body.each_place(visit);
    }
}

fn headers(written: &BTreeMap<String, String>, scope: &Scope<'_>) -> Result<Vec<(String, Text)>, String> {
    let read = |(name, value): (&String, &String)| {
        let wrong = |why: &str| format!("headers.{name}: {why}");
        rules::check_name(name).map_err(wrong)?;
        not_ours(name).map_err(|why| wrong(&why))?;
        rules::check_value(value).map_err(wrong)?;
        Ok((name.to_ascii_lowercase(), Text::parse(value, scope).map_err(|why| wrong(&why))?))
    };
    written.iter().map(read).collect()
}

fn not_ours(name: &str) -> Result<(), String> {
    if name.eq_ignore_ascii_case(DEPTH) {
        return Err(format!("{name:?} is what ends compositions that call themselves"));
    }
    Ok(())
}

/// A part's name must be usable in a template.
fn check_part_name(name: &str) -> Result<(), String> {
    if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte)) {
        return Ok(());
    }
    Err(format!("parts: {name:?} is not a name of letters, digits, \"_\" and \"-\""))
}

/// Every part must be reachable: there are no circular dependencies.
fn check_order(steps: &[Step]) -> Result<(), String> {
    let mut done = vec![false; steps.len()];
    let is_done = |done: &[bool], at: usize| done.get(at).copied().unwrap_or(false);
    // Each round completes at least one part, or no further round will.
    for _ in steps {
        for (at, step) in steps.iter().enumerate() {
            if step.needs.iter().all(|need| is_done(&done, *need))
                && let Some(done) = done.get_mut(at)
            {
                *done = true;
            }
        }
    }
    let Some(mut at) = done.iter().position(|done| !done) else { return Ok(()) };
    // A part that is stuck always depends on another one that is, so this leads into the circle.
    let mut way: Vec<usize> = Vec::new();
    while !way.contains(&at) {
        way.push(at);
        let stuck = steps.get(at).and_then(|step| step.needs.iter().find(|need| !is_done(&done, **need)));
        at = stuck.copied().unwrap_or(at);
    }
    let circle = way.iter().skip_while(|step| **step != at).chain([&at]);
    let names: Vec<&str> = circle.filter_map(|at| steps.get(*at)).map(|step| step.name.as_str()).collect();
    Err(format!("parts: each of these waits for the next one: {}", names.join(", ")))
}

/// Bounds a plan and the calls it makes.
const MOST_PARTS: usize = 32;
