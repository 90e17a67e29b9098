//! The hosts file: an address and its names on each line, with comments after `#`.

use std::net::IpAddr;
use std::path::Path;

use crate::regular_file;

/// The addresses of a name in the file. The file is read each time, as the C library does: it is small, and may have
/// changed. Empty if there is no such file.
pub(super) fn addresses(file: &Path, name: &str) -> Vec<IpAddr> {
    let text = regular_file::read(file, LARGEST).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    find(&text.unwrap_or_default(), name)
}

fn find(text: &str, name: &str) -> Vec<IpAddr> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    let of_line = |line: &str| {
        let mut words = line.split_whitespace();
        let address = words.next()?.parse().ok()?;
        words.any(|word| word.eq_ignore_ascii_case(name)).then_some(address)
    };
    lines.filter_map(of_line).collect()
}

/// In bytes. Block lists have a few MiB, but are not meant for a gateway.
const LARGEST: u64 = 1 << 20;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn lines_give_names_addresses() {
        let text =
            "# comment\n127.0.0.1\tlocalhost  Users.internal # users\n::1 localhost\n\nbad users.internal\n10.0.0.1\n";
        let find = |name: &str| find(text, name).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(find("localhost"), ["127.0.0.1", "::1"]);
        assert_eq!(find("users.INTERNAL."), ["127.0.0.1"]);
        assert!(find("users").is_empty() && find("#").is_empty() && find("10.0.0.1").is_empty());
        assert!(addresses(Path::new("/no/such/file"), "localhost").is_empty());
        assert!(addresses(Path::new("/dev/zero"), "localhost").is_empty());
    }
}
