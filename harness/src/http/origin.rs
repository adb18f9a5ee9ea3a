//! Who gets a request, and where a redirect leads.

use std::fmt;

use ureq::http::Uri;

/// Scheme, host and port: who gets a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    pub(super) https: bool,
    host: String,
    port: u16,
}

impl Origin {
    /// Of an address.
    ///
    /// # Errors
    /// What was expected, when it is no http or https address, or has a user name in it.
    pub fn of(uri: &Uri) -> Result<Self, &'static str> {
        let https = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err("an http or https address"),
        };
        let authority = uri.authority().ok_or("an address with a host")?;
        if authority.as_str().contains('@') {
            return Err("an address without a user name");
        }
        Ok(Self {
            https,
            host: authority.host().to_ascii_lowercase(),
            port: authority.port_u16().unwrap_or(if https { 443 } else { 80 }),
        })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.https, self.port) {
            (true, 443) | (false, 80) => f.write_str(&self.host),
            (_, port) => write!(f, "{}:{port}", self.host),
        }
    }
}

/// Where a `Location` leads from an address (RFC 3986, 5.2, without dot segments, which servers resolve).
pub(super) fn join(base: &Uri, to: &str) -> Option<Uri> {
    let to = to.split('#').next().unwrap_or(to);
    let (scheme, authority) = (base.scheme_str()?, base.authority()?);
    let whole = if to.contains("://") {
        to.to_owned()
    } else if to.starts_with("//") {
        format!("{scheme}:{to}")
    } else if to.starts_with('/') {
        format!("{scheme}://{authority}{to}")
    } else {
        let folder = base
            .path()
            .rsplit_once('/')
            .map_or("", |(folder, _)| folder);
        format!("{scheme}://{authority}{folder}/{to}")
    };
    whole.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_told_apart() -> Result<(), Box<dyn std::error::Error>> {
        let of = |text: &str| Origin::of(&text.parse::<Uri>().map_err(|_| "an address")?);
        assert_eq!(
            of("https://Hub.example/a")?,
            of("https://hub.example:443/b")?
        );
        for other in [
            "http://hub.example",
            "https://hub.example:8443",
            "https://hub.example.evil",
            "https://cdn.hub.example",
        ] {
            assert_ne!(of(other)?, of("https://hub.example")?, "{other}");
        }
        assert!(of("https://hub.example@evil.example/").is_err());
        assert!(of("ftp://hub.example/").is_err());
        Ok(())
    }

    #[test]
    fn redirects_lead_where_they_say() -> Result<(), Box<dyn std::error::Error>> {
        let base: Uri = "https://hub.example/a/b?c=d".parse()?;
        for (to, whole) in [
            ("https://cdn.example/x?y#z", "https://cdn.example/x?y"),
            ("//cdn.example/x", "https://cdn.example/x"),
            ("/x/y?z", "https://hub.example/x/y?z"),
            ("x", "https://hub.example/a/x"),
        ] {
            assert_eq!(
                join(&base, to).map(|u| u.to_string()).as_deref(),
                Some(whole)
            );
        }
        Ok(())
    }
}
