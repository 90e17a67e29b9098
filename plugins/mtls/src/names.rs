//! The gateway's texts for the names in a certificate: distinguished names (RFC 4514) and alternative names.

/// The content of a distinguished name: attributes and their values, in order.
pub(crate) fn attributes(name: &str) -> Option<Vec<(String, String)>> {
    let mut attributes = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let (attribute, value) = rest.split_once('=')?;
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
        if attribute.is_empty() || !attribute.bytes().all(is_plain) {
            return None;
        }
        let (value, after) = value_of(value)?;
        attributes.push((attribute.to_owned(), value));
        rest = after;
    }
    Some(attributes)
}

/// A value without its escapes, and the rest after the following comma or plus sign.
fn value_of(text: &str) -> Option<(String, &str)> {
    let mut value = Vec::new();
    let mut rest = text.as_bytes();
    loop {
        rest = match rest {
            [] => break,
            [b',' | b'+', after @ ..] => {
                rest = after;
                break;
            }
            [b'\\', high, low, after @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                let digit = |digit: u8| (digit as char).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
                value.push(digit(*high)? << 4 | digit(*low)?);
                after
            }
            [b'\\', escaped, after @ ..] => {
                value.push(*escaped);
                after
            }
            [b'\\'] => return None,
            [byte, after @ ..] => {
                value.push(*byte);
                after
            }
        };
    }
    Some((String::from_utf8(value).ok()?, str::from_utf8(rest).ok()?))
}

/// The alternative names of one kind in `DNS:a.test,URI:spiffe://a/b`, without their percent-encoding.
pub(crate) fn alternative(names: &str, kind: &str) -> Vec<String> {
    let of_kind = |name: &str| name.strip_prefix(kind)?.strip_prefix(':').map(decoded);
    names.split(',').filter_map(of_kind).collect()
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        bytes.extend_from_slice(before.as_bytes());
        match after.split_at_checked(2).map(|(digits, after)| (u8::from_str_radix(digits, 16), after)) {
            Some((Ok(byte), after)) => {
                bytes.push(byte);
                rest = after;
            }
            _ => {
                bytes.push(b'%');
                rest = after;
            }
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    // An IA5String is ASCII, so this loses nothing that a rule could match.
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn attributes_of_distinguished_names() {
        for (name, expected) in [
            ("", vec![]),
            ("CN=orders,O=Example", vec![("CN", "orders"), ("O", "Example")]),
            (r"CN=orders\, the service,O=Example", vec![("CN", "orders, the service"), ("O", "Example")]),
            (r"CN=x\,OU\=admins", vec![("CN", "x,OU=admins")]),
            (r"CN=a\+b+UID=c,O=\ d\ ", vec![("CN", "a+b"), ("UID", "c"), ("O", " d ")]),
            (r"CN=\c3\a4\00", vec![("CN", "ä\0")]),
            ("1.2.3=#0401ff", vec![("1.2.3", "#0401ff")]),
            ("CN=", vec![("CN", "")]),
            ("CN=ä", vec![("CN", "ä")]),
        ] {
            let read = attributes(name).unwrap();
            let read: Vec<(&str, &str)> = read.iter().map(|(name, value)| (&**name, &**value)).collect();
            assert_eq!(read, expected, "{name}");
        }
        for name in ["CN", r"CN=a\", r"CN=\ff", "CN=a,,O=b"] {
            assert_eq!(attributes(name), None, "{name}");
        }
    }

    #[test]
    fn alternative_names_of_a_kind() {
        let names = "DNS:a.test,URI:spiffe://a/b%2CDNS:evil.test,DNS:b.test,email:a@b.test,IP:10.0.0.1";
        assert_eq!(alternative(names, "DNS"), ["a.test", "b.test"]);
        assert_eq!(alternative(names, "URI"), ["spiffe://a/b,DNS:evil.test"]);
        assert_eq!(alternative(names, "email"), ["a@b.test"]);
        assert_eq!(alternative(names, "IP"), ["10.0.0.1"]);
        assert_eq!(alternative("", "DNS"), [""; 0]);
        assert_eq!(alternative("URI:a%2,URI:%zz%41", "URI"), ["a%2", "%zzA"]);
    }
}
