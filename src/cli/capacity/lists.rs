use std::path::Path;

use super::super::args::CliError;

/// The lines of a text file with their numbers from 1: without blanks at their ends, comments
/// (`#`) and empty ones. A byte order mark of UTF-8 is skipped.
pub fn read_lines(path: &Path) -> Result<Vec<(usize, String)>, CliError> {
    let shown = path.display();
    let help = "name a text file in UTF-8, one entry a line";
    let bytes = std::fs::read(path)
        .map_err(|error| CliError::usage(format!("{shown}: cannot be read: {error}"), help))?;
    let is_utf_16 = bytes.starts_with(&[0xFF, 0xFE]) || bytes.starts_with(&[0xFE, 0xFF]);
    if is_utf_16 || bytes.iter().take(4).any(|byte| *byte == 0) {
        let what = format!("{shown}: this is UTF-16, not UTF-8");
        return Err(CliError::usage(what, "save it as UTF-8, one entry a line"));
    }
    let text = std::str::from_utf8(&bytes).map_err(|error| {
        let before = &bytes[..error.valid_up_to()];
        let line = before.split(|byte| *byte == b'\n').count();
        CliError::usage(format!("{shown}: line {line}: not UTF-8"), help)
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = text.lines().enumerate().map(|(at, line)| (at + 1, line.trim().to_owned()));
    Ok(lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')).collect())
}

/// Names of files, of which there must be one.
pub fn read_names(path: &Path) -> Result<Vec<String>, CliError> {
    /// A request for a longer name does not fit into a datagram that every server takes.
    const NAME_MAX: usize = 480;
    let lines = read_lines(path)?;
    if lines.is_empty() {
        let what = format!("{}: no name in it", path.display());
        return Err(CliError::usage(what, "write names of files into it, one a line"));
    }
    let is_odd = |name: &str| name.chars().any(char::is_control) || name.len() > NAME_MAX;
    if let Some((line, _)) = lines.iter().find(|(_, name)| is_odd(name)) {
        let what = format!("{}: line {line}: no name of a file", path.display());
        return Err(CliError::usage(
            what,
            "up to 480 bytes without control characters, one a line",
        ));
    }
    Ok(lines.into_iter().map(|(_, name)| name).collect())
}

/// Host and port of a server as people write them: `host`, `host:port`, `2001:db8::1`,
/// `[2001:db8::1]:port`, each also behind the scheme of the service and before a slash.
pub fn endpoint(text: &str, service: &str, usual: u16) -> Result<(String, u16), CliError> {
    let fault = |what: &str, help: &str| CliError::usage(format!("`{text}`: {what}"), help);
    let usual_help = format!("such as --{service} 192.0.2.7:{usual}");
    let mut rest = text.trim();
    if let Some((scheme, behind)) = rest.split_once("://") {
        if !scheme.eq_ignore_ascii_case(service) {
            let what = format!("an address of {scheme}, not of {service}");
            let help = match scheme.to_ascii_lowercase().as_str() {
                known @ ("tftp" | "http" | "tvs" | "capf" | "sip" | "sips") => {
                    format!("--{known} takes it")
                }
                _ => usual_help,
            };
            return Err(fault(&what, &help));
        }
        rest = behind;
    }
    if let Some((host, path)) = rest.split_once('/') {
        if !path.trim_matches('/').is_empty() {
            return Err(fault("a server and no file", "files are named by --names"));
        }
        rest = host;
    }
    let (host, port) = match rest.strip_prefix('[') {
        Some(rest) => {
            let (host, behind) = rest
                .split_once(']')
                .ok_or_else(|| fault("`[` without `]`", "such as [2001:db8::1]:69"))?;
            match behind.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if behind.is_empty() => (host, None),
                None => return Err(fault("what is behind `]` is no port", "such as [::1]:69")),
            }
        }
        // More than one colon: an IPv6 address without a port.
        None if rest.matches(':').count() > 1 => (rest, None),
        None => match rest.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (rest, None),
        },
    };
    if host.is_empty() || host.contains(char::is_whitespace) {
        return Err(fault("no host", &usual_help));
    }
    let is_v6 = host.parse::<std::net::Ipv6Addr>().is_ok() || host.contains('%');
    if host.contains(':') && !is_v6 {
        return Err(fault("no IPv6 address", "such as [2001:db8::1]:69"));
    }
    let port = match port.map(str::parse::<u16>) {
        None => usual,
        Some(Ok(port)) if port > 0 => port,
        Some(_) => {
            return Err(fault("no port from 1 to 65535 behind the last colon", &usual_help));
        }
    };
    Ok((host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(bytes: &[u8]) -> Result<Vec<(usize, String)>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list");
        std::fs::write(&path, bytes).unwrap();
        read_lines(&path).map_err(|error| error.to_string())
    }

    #[test]
    fn lists_are_read_with_marks_carriage_returns_comments_and_blank_lines() {
        let lines = with("\u{feff}# mine\r\nb c.xml\r\n\r\n  d.xml \n".as_bytes()).unwrap();
        assert_eq!(lines, [(2, "b c.xml".to_owned()), (4, "d.xml".to_owned())]);
        assert!(with(b"\xff\xfea\0").unwrap_err().contains("UTF-16"));
        assert!(with(b"a\0b\0").unwrap_err().contains("UTF-16"));
        assert!(with(b"a\nb\xe4c\n").unwrap_err().contains("line 2: not UTF-8"));
    }

    #[test]
    fn a_list_without_a_name_or_with_control_characters_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("names");
        std::fs::write(&path, "# none\n\n").unwrap();
        assert!(read_names(&path).unwrap_err().to_string().contains("no name in it"));
        std::fs::write(&path, "a\nb\u{1b}[2J\n").unwrap();
        assert!(read_names(&path).unwrap_err().to_string().contains("line 2"));
    }

    #[test]
    fn servers_are_read_as_people_write_them_and_refused_in_plain_words() {
        let read = |text: &str| endpoint(text, "tftp", 69).map_err(|error| error.to_string());
        let good = |host: &str, port| Ok((host.to_owned(), port));
        assert_eq!(read("cucm"), good("cucm", 69));
        assert_eq!(read(" tftp://cucm:6969/ "), good("cucm", 6_969));
        assert_eq!(read("TFTP://192.0.2.7"), good("192.0.2.7", 69));
        assert_eq!(read("::1"), good("::1", 69));
        assert_eq!(read("[::1]"), good("::1", 69));
        assert_eq!(read("[2001:db8::7]:70"), good("2001:db8::7", 70));
        for (text, why) in [
            ("127.0.0.1:70000", "no port from 1 to 65535"),
            ("127.0.0.1:", "no port from 1 to 65535"),
            ("127.0.0.1:0", "no port from 1 to 65535"),
            ("127.0.0.1:tftp", "no port from 1 to 65535"),
            ("[::1]:99999", "no port from 1 to 65535"),
            ("[::1", "without"),
            ("[::1]70", "is no port"),
            ("1:2:3", "no IPv6 address"),
            ("http://cucm:6970", "an address of http, not of tftp"),
            ("https://cucm", "an address of https"),
            ("tftp://cucm/SEP001122334455.cnf.xml", "a server and no file"),
            ("", "no host"),
            (":69", "no host"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
