//! An origin whose pages may use the hub (`serve --allow-origin`).
//!
//! Browsers write an origin in exactly one form, and requests are compared with it byte by byte. So
//! every other form is refused at startup, with the form to use; only upper case is converted.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use hyper::header::HeaderValue;

/// The origin of a page: `scheme://host` or `scheme://host:port`, as a browser writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedOrigin(HeaderValue);

impl AllowedOrigin {
    /// Returns the value of `Origin` in requests from a page of this origin.
    pub(super) fn header_value(&self) -> &HeaderValue {
        &self.0
    }
}

impl FromStr for AllowedOrigin {
    type Err = String;

    /// Parses an origin. The error says which form to use.
    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.to_ascii_lowercase();
        if text == "null" {
            return Err("the pages of many senders have the origin null; \
                        serve yours over http and allow its origin, such as http://localhost:5173"
                .to_owned());
        }
        if text.contains('*') {
            return Err("wildcards are not supported; repeat the flag for each origin".to_owned());
        }
        let (scheme, rest) = text
            .split_once("://")
            .filter(|(scheme, _)| matches!(*scheme, "http" | "https"))
            .ok_or("expected an origin that begins with http:// or https://, such as https://tools.example")?;
        if let Some(end) = rest.find(['/', '?', '#', '\\']) {
            return Err(format!("an origin has no path; use {scheme}://{}", &rest[..end]));
        }
        if let Some((_, host)) = rest.rsplit_once('@') {
            return Err(format!("an origin has no user name or password; use {scheme}://{host}"));
        }
        let (host, port) = split_port(rest);
        check_host(host)?;
        if let Some(port) = port {
            let default = if scheme == "http" { "80" } else { "443" };
            if port == default {
                return Err(format!("browsers leave out the default port; use {scheme}://{host}"));
            }
            let is_exact = port
                .parse::<u16>()
                .is_ok_and(|number| number > 0 && number.to_string() == port);
            if !is_exact {
                return Err(format!("{port:?} is not a port; use a number from 1 to 65535"));
            }
        }
        // The host and the port are ASCII without control characters, so this cannot fail.
        HeaderValue::from_str(&text)
            .map(Self)
            .map_err(|_| "the origin contains characters that no header may contain; remove them".to_owned())
    }
}

/// Splits `host:port`. The host may be an IPv6 address in brackets.
fn split_port(rest: &str) -> (&str, Option<&str>) {
    match rest.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (rest, None),
    }
}

/// Checks that a host, in lower case, is written as a browser writes it.
fn check_host(host: &str) -> Result<(), String> {
    if let Some(address) = host.strip_prefix('[') {
        let address: Ipv6Addr = address
            .strip_suffix(']')
            .and_then(|address| address.parse().ok())
            .ok_or_else(|| format!("{host} is not an IPv6 address in brackets"))?;
        let exact = format!("[{}]", as_in_urls(address));
        return if exact == host {
            Ok(())
        } else {
            Err(format!("browsers write {host} as {exact}; use that"))
        };
    }
    if !host.is_ascii() {
        return Err(format!(
            "browsers write {host} in ASCII, beginning with xn--; use that form, as shown in the request's Origin header"
        ));
    }
    let is_label = |label: &str| {
        !label.is_empty()
            && label
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
    };
    if !host.split('.').all(is_label) {
        return Err(format!(
            "{host:?} is not a host name; use a name such as tools.example or an IP address"
        ));
    }
    // Browsers read a name whose last part is a number as an IPv4 address.
    let last = host.rsplit('.').next().unwrap_or_default();
    let is_number = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
    let is_hex_number = |text: &str| {
        text.strip_prefix("0x")
            .is_some_and(|digits| digits.chars().all(|c| c.is_ascii_hexdigit()))
    };
    if (is_number(last) || is_hex_number(last)) && host.parse::<Ipv4Addr>().is_err() {
        return Err(format!(
            "{host} is not an IPv4 address as browsers write it; use four decimal numbers, such as 192.168.1.7"
        ));
    }
    Ok(())
}

/// Returns an IPv6 address as browsers write it: with hexadecimal digits only.
fn as_in_urls(address: Ipv6Addr) -> String {
    match address.to_ipv4_mapped() {
        Some(_) => format!("::ffff:{:x}:{:x}", address.segments()[6], address.segments()[7]),
        None => address.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<String, String> {
        let origin: AllowedOrigin = text.parse()?;
        Ok(origin.header_value().to_str().unwrap().to_owned())
    }

    #[test]
    fn accepts_origins_as_browsers_write_them() {
        for origin in [
            "https://tools.example",
            "http://localhost:5173",
            "http://127.0.0.1:8080",
            "http://[::1]:3000",
            "http://[::ffff:102:304]",
            "http://tools.example:443",
            "https://tools.example:80",
            "https://xn--bcher-kva.example",
            "http://my_host:65535",
            "http://1and1.example",
        ] {
            assert_eq!(parse(origin), Ok(origin.to_owned()));
        }
        assert_eq!(
            parse("HTTPS://Tools.Example:8443"),
            Ok("https://tools.example:8443".to_owned())
        );
    }

    #[test]
    fn refuses_other_forms_with_advice() {
        for (origin, advice) in [
            ("", "http:// or https://"),
            ("null", "http://localhost:5173"),
            ("NULL", "http://localhost:5173"),
            ("*", "repeat the flag"),
            ("https://*.tools.example", "repeat the flag"),
            ("http://localhost:*", "repeat the flag"),
            ("tools.example", "http:// or https://"),
            ("//tools.example", "http:// or https://"),
            ("file://", "http:// or https://"),
            ("chrome-extension://abcdefgh", "http:// or https://"),
            ("https:tools.example", "http:// or https://"),
            ("https://tools.example/", "use https://tools.example"),
            ("https://tools.example/app", "use https://tools.example"),
            ("https://tools.example?x", "use https://tools.example"),
            ("https://tools.example#x", "use https://tools.example"),
            ("https://user:pw@tools.example", "use https://tools.example"),
            ("http://tools.example:80", "use http://tools.example"),
            ("https://tools.example:443", "use https://tools.example"),
            ("http://[::1]:80", "use http://[::1]"),
            ("http://tools.example:", "65535"),
            ("http://tools.example:0", "65535"),
            ("http://tools.example:080", "65535"),
            ("http://tools.example:+81", "65535"),
            ("http://tools.example:65536", "65535"),
            ("http://", "not a host name"),
            ("http://:81", "not a host name"),
            ("http://a b", "not a host name"),
            ("http:// tools.example", "not a host name"),
            ("http://tools.example ", "not a host name"),
            ("http://tools..example", "not a host name"),
            (
                "http://tools.example,https://other.example",
                "use http://tools.example,https:",
            ),
            ("http://tools%2eexample", "not a host name"),
            ("http://a:b:81", "not a host name"),
            ("http://bücher.example", "xn--"),
            ("http://127.1", "four decimal numbers"),
            ("http://127.0.0.01", "four decimal numbers"),
            ("http://2130706433", "four decimal numbers"),
            ("http://0x7f.0.0.0x1", "four decimal numbers"),
            ("http://[0:0:0:0:0:0:0:1]", "[::1]"),
            ("http://[::ffff:1.2.3.4]", "[::ffff:102:304]"),
            ("http://[::1", "brackets"),
            ("http://[x]", "brackets"),
            ("http://::1", "not a host name"),
        ] {
            let error = parse(origin).expect_err(origin);
            assert!(error.contains(advice), "{origin}: {error}");
        }
    }
}
