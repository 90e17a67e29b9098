//! SOAP 1.1 and 1.2: the envelope and what a fault means.

use std::collections::BTreeMap;

use gatewright_sdk::{StatusCode, json::Value, template::Document};

use crate::{
    config::SoapVersion,
    names::{Names, SOAP_1_1, SOAP_1_2},
    write::{WriteError, Writer},
};

/// The envelope of a route.
#[derive(Debug)]
pub(crate) struct Envelope {
    pub(crate) version: SoapVersion,
    pub(crate) action: String,
    pub(crate) header: Option<Document>,
    pub(crate) faults: BTreeMap<String, StatusCode>,
    pub(crate) messages: bool,
}

/// What a response says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// What is in the envelope's body.
    Body(Value),
    Fault {
        status: StatusCode,
        /// For the client, where it may be told.
        message: Option<String>,
        /// For the operator's log.
        why: String,
    },
    /// It is no envelope; why.
    Nothing(&'static str),
}

impl Envelope {
    /// An envelope around an element with its content and, where there is one, a header's content.
    pub(crate) fn around(
        &self,
        names: &Names,
        limit: usize,
        header: Option<&Value>,
        (name, content): (&str, &Value),
    ) -> Result<Vec<u8>, WriteError> {
        let address = match self.version {
            SoapVersion::One => SOAP_1_1,
            SoapVersion::Two => SOAP_1_2,
        };
        let mut writer = Writer::new(names, limit);
        writer.open(&format!("<soap:Envelope xmlns:soap=\"{address}\">"));
        if let Some(Value::Object(blocks)) = header {
            writer.open("<soap:Header>");
            blocks.iter().try_for_each(|(name, block)| writer.element(name, block, true))?;
            writer.open("</soap:Header>");
        }
        writer.open("<soap:Body>");
        writer.element(name, content, true)?;
        writer.open("</soap:Body></soap:Envelope>");
        writer.finish()
    }

    /// The headers of a request: media type, and the action in 1.1.
    pub(crate) fn headers(&self) -> Vec<(&'static str, String)> {
        match self.version {
            SoapVersion::One => vec![
                ("content-type", "text/xml; charset=utf-8".to_owned()),
                ("accept", "text/xml".to_owned()),
                ("soapaction", format!("\"{}\"", self.action)),
            ],
            SoapVersion::Two => {
                let action =
                    if self.action.is_empty() { String::new() } else { format!("; action=\"{}\"", self.action) };
                vec![
                    ("content-type", format!("application/soap+xml; charset=utf-8{action}")),
                    ("accept", "application/soap+xml".to_owned()),
                ]
            }
        }
    }

    /// Reads what the upstream answered, as [`crate::read`] gives it.
    pub(crate) fn open(&self, document: &Value) -> Said {
        let Some(envelope) = document.get("soap:Envelope") else { return Said::Nothing("it is no SOAP envelope") };
        let Some(body) = envelope.get("soap:Body") else { return Said::Nothing("the envelope has no body") };
        match body.get("soap:Fault") {
            Some(fault) => self.fault(fault),
            None => Said::Body(body.clone()),
        }
    }

    fn fault(&self, fault: &Value) -> Said {
        let text = |value: &Value| value.get("#text").unwrap_or(value).as_str().map(|text| text.trim().to_owned());
        let at = |path: &[&str]| path.iter().try_fold(fault, |value, name| value.get(name)).and_then(text);
        // Codes are qualified names, with prefixes that only their document knows.
        let local = |code: Option<String>| code.map(|code| code.rsplit(':').next().unwrap_or_default().to_owned());
        let (codes, reason) = match at(&["faultcode"]) {
            Some(code) => ([local(Some(code)), None], at(&["faultstring"])),
            None => {
                let subcode = at(&["soap:Code", "soap:Subcode", "soap:Value"]);
                ([local(subcode), local(at(&["soap:Code", "soap:Value"]))], reason_of(fault, text))
            }
        };
        let status = codes.iter().flatten().find_map(|code| self.status(code));
        let shown: Vec<&str> = codes.iter().flatten().map(String::as_str).collect();
        Said::Fault {
            status: status.unwrap_or(StatusCode::BAD_GATEWAY),
            why: format!("fault {}: {}", shown.join(", "), reason.clone().unwrap_or_default()),
            message: reason.filter(|_| self.messages && status.is_some()),
        }
    }

    /// `Client.A.B` counts as `Client.A` and as `Client` where it is not listed.
    fn status(&self, code: &str) -> Option<StatusCode> {
        let mut code = code;
        loop {
            if let Some(status) = self.faults.get(code) {
                return Some(*status);
            }
            code = code.rsplit_once('.')?.0;
        }
    }
}

/// The first text of a reason, which there may be in several languages.
fn reason_of(fault: &Value, text: impl Fn(&Value) -> Option<String>) -> Option<String> {
    match fault.get("soap:Reason")?.get("soap:Text")? {
        Value::Array(texts) => text(texts.first()?),
        one => text(one),
    }
}

/// The statuses that codes have without being listed.
pub(crate) const KNOWN: [(&str, u16); 2] = [("Client", 400), ("Sender", 400)];
