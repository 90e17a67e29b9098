//! SOAP 1.1 and 1.2: the envelope and the meaning of faults.

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

/// The content of a response.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// The content of the envelope's body.
    Body(Value),
    Fault {
        status: StatusCode,
        /// For the client, if it may see it.
        message: Option<String>,
        /// For the operator's log.
        why: String,
    },
    /// It is not an envelope; why.
    Nothing(&'static str),
}

impl Envelope {
    /// An envelope around an element with its content and, if there is one, a header's content.
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

    /// Reads the upstream's response, in the form of [`crate::read`].
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
        // Codes are qualified names, with prefixes that are only defined in their document.
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

    /// `Client.A.B` counts as `Client.A` and as `Client` if it is not listed.
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

/// The first text of a reason, which may be given in several languages.
fn reason_of(fault: &Value, text: impl Fn(&Value) -> Option<String>) -> Option<String> {
    match fault.get("soap:Reason")?.get("soap:Text")? {
        Value::Array(texts) => text(texts.first()?),
        one => text(one),
    }
}

/// The statuses of codes that need not be listed.
pub(crate) const KNOWN: [(&str, u16); 2] = [("Client", 400), ("Sender", 400)];
