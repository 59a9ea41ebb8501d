use std::fmt;
use std::str::FromStr;

use super::uri::encode_path;

/// Where a phone finds a page of a service: an absolute URL of HTTP or HTTPS (RFC 3986 section 4.3,
/// without user and fragment).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Url {
    /// Whether it is one of HTTPS.
    pub is_secure: bool,
    /// Host name or address; an IPv6 address without its brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Path and query, as a request names them: begins with `/`.
    pub target: String,
}

/// A text is no URL that a phone can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no URL of HTTP or HTTPS")]
pub struct UrlError;

/// Longest URL in bytes (choice: those of CUCM are below 100).
const URL_LENGTH_MAX: usize = 512;

impl FromStr for Url {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Url, UrlError> {
        if text.len() > URL_LENGTH_MAX || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(UrlError);
        }
        let (scheme, rest) = text.split_once("://").ok_or(UrlError)?;
        let is_secure = match scheme {
            _ if scheme.eq_ignore_ascii_case("https") => true,
            _ if scheme.eq_ignore_ascii_case("http") => false,
            _ => return Err(UrlError),
        };
        let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (host, port) = split_authority(authority)?;
        let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte);
        if host.is_empty() || !host.bytes().all(is_host) || target.contains('#') {
            return Err(UrlError);
        }
        let port = match port {
            None => {
                if is_secure {
                    443
                } else {
                    80
                }
            }
            Some(port) => port.parse().ok().filter(|&port| port != 0).ok_or(UrlError)?,
        };
        let slash = if target.starts_with('/') { "" } else { "/" };
        Ok(Url { is_secure, host: host.to_owned(), port, target: format!("{slash}{target}") })
    }
}

/// Host and port of an authority; brackets around an IPv6 address are taken off.
fn split_authority(authority: &str) -> Result<(&str, Option<&str>), UrlError> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, behind) = rest.split_once(']').ok_or(UrlError)?;
        return match behind.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if behind.is_empty() => Ok((host, None)),
            None => Err(UrlError),
        };
    }
    match authority.split_once(':') {
        Some((_, port)) if port.contains(':') => Err(UrlError),
        Some((host, port)) => Ok((host, Some(port))),
        None => Ok((authority, None)),
    }
}

impl Url {
    /// The same with one more parameter in the query.
    #[must_use]
    pub fn with_parameter(&self, name: &str, value: &str) -> Url {
        let joint = if self.target.contains('?') { '&' } else { '?' };
        let value = encode_path(value);
        let target = format!("{}{joint}{name}={}", self.target, value.trim_start_matches('/'));
        Url { target, ..self.clone() }
    }

    /// Host and port, as a `Host` line names them.
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_secure { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_services_are_read_and_written_back() {
        for text in [
            "https://10.0.0.1:8443/ccmcip/xmldirectory.jsp",
            "http://pub.cucm.example:8080/ccmcip/xmldirectoryinput.jsp?name=SEP001122334455",
            "https://[2001:db8::1]:8443/emapp/EMAppServlet?device=SEP001122334455",
        ] {
            assert_eq!(text.parse::<Url>().unwrap().to_string(), text);
        }
        let short: Url = "HTTPS://pub?x=1".parse().unwrap();
        assert_eq!((short.port, short.target.as_str()), (443, "/?x=1"));
        let url: Url = "http://h/a".parse().unwrap();
        let url = url.with_parameter("name", "SEP1").with_parameter("f", "a b");
        assert_eq!((url.port, url.target.as_str()), (80, "/a?name=SEP1&f=a%20b"));
    }

    #[test]
    fn what_could_ask_for_something_else_is_no_url() {
        for text in [
            "",
            "https://",
            "https:///x",
            "ftp://h/x",
            "Dial:5551234",
            "https://h:0/x",
            "https://h:65536/x",
            "https://h:x/",
            "https://u@h/x",
            "https://h/a b",
            "https://h/a\r\nx",
            "https://h/#f",
            "https://[::1/x",
            "https://[::1]x/",
            "https://a:b:1/x",
            "https://h/\u{e9}",
        ] {
            assert_eq!(text.parse::<Url>(), Err(UrlError), "{text}");
        }
        let long = format!("https://h/{}", "x".repeat(URL_LENGTH_MAX));
        assert_eq!(long.parse::<Url>(), Err(UrlError));
    }
}
