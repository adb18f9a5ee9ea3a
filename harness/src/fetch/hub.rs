//! A hub's interface: the commit of a revision, the files of a commit, the address of a file.

use std::fmt::Write as _;
use std::io::Read;

use serde::Deserialize;

use crate::fetch::digest::Digest;
use crate::fetch::listing::{Entry, Listing, check_path, is_commit};
use crate::fetch::patience::{GivenUp, Limits, Patience};
use crate::fetch::source::Source;
use crate::http::{Client, Failure, Kind, Origin, Reply};
use crate::stop::Stop;

/// Longest answer of the interface, bytes: a page holds at most 1000 files.
const LONGEST_ANSWER: u64 = 16 << 20;
/// Pages of a listing at most.
const PAGES: usize = 1000;

/// A hub, asked about one model.
#[derive(Clone, Copy, Debug)]
pub struct Hub<'a> {
    /// Asks.
    pub client: &'a Client,
    /// Address without the last slash.
    pub endpoint: &'a str,
    /// The model.
    pub source: &'a Source,
    /// How long failures are put up with.
    pub limits: Limits,
    /// A request to stop.
    pub stop: &'a Stop,
}

#[derive(Deserialize)]
struct Revision {
    sha: String,
}

#[derive(Deserialize)]
struct Item {
    r#type: String,
    path: String,
    oid: String,
    #[serde(default)]
    size: u64,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    oid: String,
    size: u64,
}

impl Hub<'_> {
    /// The commit that the source's revision is now.
    ///
    /// # Errors
    /// When the hub does not say.
    pub fn commit(&self) -> Result<String, GivenUp> {
        let revision = &self.source.revision;
        if is_commit(revision) {
            return Ok(revision.clone());
        }
        let address = format!(
            "{}/api/models/{}/revision/{}",
            self.endpoint,
            self.source.id(),
            encode(revision, false)
        );
        let (body, _) = self.ask(&address)?;
        let answer: Revision = serde_json::from_slice(&body).map_err(|e| self.odd(&e))?;
        if is_commit(&answer.sha) {
            Ok(answer.sha)
        } else {
            Err(self.odd(&format!("the commit {:?}", answer.sha)))
        }
    }

    /// The files of a commit, page by page.
    ///
    /// # Errors
    /// When the hub does not say, or says what cannot be.
    pub fn listing(&self, commit: &str) -> Result<Listing, GivenUp> {
        let mut next = Some(format!(
            "{}/api/models/{}/tree/{commit}?recursive=true",
            self.endpoint,
            self.source.id()
        ));
        let (mut files, mut folders) = (Vec::new(), Vec::new());
        for _ in 0..PAGES {
            let Some(address) = next else {
                self.whole(&files, &folders)?;
                return Listing::new(commit.to_owned(), files).map_err(|why| self.odd(&why));
            };
            let (body, link) = self.ask(&address)?;
            let items: Vec<Item> = serde_json::from_slice(&body).map_err(|e| self.odd(&e))?;
            for item in items {
                check_path(&item.path).map_err(|expected| {
                    self.odd(&format!("the path {:?}, expected {expected}", item.path))
                })?;
                match &*item.r#type {
                    "file" => files.push(entry(item).map_err(|why| self.odd(&why))?),
                    "directory" => folders.push(item.path),
                    other => {
                        let odd = format!("{:?} of the unknown type {other:?}", item.path);
                        return Err(self.odd(&odd));
                    }
                }
            }
            next = link;
        }
        Err(self.odd(&format!("a listing of more than {PAGES} pages")))
    }

    /// Git has no empty folders: one without files means that the hub did not list everything.
    fn whole(&self, files: &[Entry], folders: &[String]) -> Result<(), GivenUp> {
        let empty = folders.iter().find(|folder| {
            let mut below = files.iter().filter_map(|f| f.path.strip_prefix(&***folder));
            !below.any(|rest| rest.starts_with('/'))
        });
        match empty {
            Some(folder) => Err(self.odd(&format!("the folder {folder:?} and none of its files"))),
            None => Ok(()),
        }
    }

    /// Asks the interface until there is an answer: its body, and the address of the next page.
    fn ask(&self, address: &str) -> Result<(Vec<u8>, Option<String>), GivenUp> {
        let mut patience = Patience::new(self.limits);
        loop {
            patience.hold(self.client, self.stop)?;
            let read = |mut reply: Reply| {
                let next = match reply.header("link").and_then(next_page) {
                    Some(next) => Some(self.own(next)?),
                    None => None,
                };
                let mut body = Vec::new();
                let reader = reply.body.as_reader();
                reader
                    .take(LONGEST_ANSWER + 1)
                    .read_to_end(&mut body)
                    .map_err(|e| Failure::passing(format!("{}: {e}", reply.origin)))?;
                if body.len() as u64 > LONGEST_ANSWER {
                    let why = format!("{}: an answer above {LONGEST_ANSWER} bytes", reply.origin);
                    return Err(Failure::of(Kind::Lasting, why));
                }
                Ok((body, next))
            };
            match self
                .client
                .get(address, &|_| Vec::<(&str, String)>::new())
                .and_then(read)
            {
                Ok(answer) => return Ok(answer),
                Err(failure) if failure.kind == Kind::Missing => {
                    return Err(GivenUp::Failed(failure));
                }
                Err(failure) => patience.wait(&failure, self.stop)?,
            }
        }
    }

    /// The next page must be the hub's own: hashes are believed to nobody else.
    fn own(&self, address: &str) -> Result<String, Failure> {
        let lasting = |what: String| {
            let why = format!("{}: the listing goes on at {what}", self.client.home());
            Failure::of(Kind::Lasting, why)
        };
        let uri = address
            .parse()
            .map_err(|_| lasting(format!("{address:?}")))?;
        match Origin::of(&uri) {
            Ok(origin) if origin == *self.client.home() => Ok(address.to_owned()),
            Ok(origin) => Err(lasting(origin.to_string())),
            Err(expected) => Err(lasting(format!("{address:?}, expected {expected}"))),
        }
    }

    fn odd(&self, what: &dyn std::fmt::Display) -> GivenUp {
        GivenUp::Failed(Failure::of(
            Kind::Lasting,
            format!("{}: unusable answer: {what}", self.client.home()),
        ))
    }
}

/// The address of a file, behind the hub's.
pub fn resolve(source: &Source, commit: &str, path: &str) -> String {
    format!("{}/resolve/{commit}/{}", source.id(), encode(path, true))
}

fn entry(item: Item) -> Result<Entry, String> {
    let (hex, size) = match &item.lfs {
        Some(lfs) => (
            lfs.oid.strip_prefix("sha256:").unwrap_or(&lfs.oid),
            lfs.size,
        ),
        None => (&*item.oid, item.size),
    };
    let digest = Digest::parse(hex)
        .filter(|d| item.lfs.is_some() == matches!(d, Digest::Sha256(_)))
        .ok_or_else(|| format!("{:?} with the hash {hex:?}", item.path))?;
    if item.lfs.is_some() && size != item.size {
        return Err(format!(
            "{:?} of {size} and of {} bytes",
            item.path, item.size
        ));
    }
    Ok(Entry {
        path: item.path,
        size,
        digest,
        git: item.oid,
    })
}

/// The address after `rel="next"` in a `Link` header (RFC 8288).
fn next_page(link: &str) -> Option<&str> {
    link.split(',').find_map(|part| {
        let (address, parameters) = part.split_once('>')?;
        let next = parameters
            .split(';')
            .map(|p| p.trim().replace('"', ""))
            .any(|p| p.eq_ignore_ascii_case("rel=next"));
        next.then(|| address.trim().trim_start_matches('<'))
    })
}

/// Percent-encodes what is not unreserved (RFC 3986, 2.3); `/` stays where it parts folders.
fn encode(text: &str, slashes: bool) -> String {
    text.bytes().fold(String::new(), |mut out, b| {
        if b.is_ascii_alphanumeric() || b"-._~".contains(&b) || (slashes && b == b'/') {
            out.push(char::from(b));
        } else {
            let _ = write!(out, "%{b:02X}");
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_found() {
        let link =
            "<https://h/p?a=1>; rel=\"prev\", <https://h/p?cursor=x%3D&limit=2>; rel=\"next\"";
        assert_eq!(next_page(link), Some("https://h/p?cursor=x%3D&limit=2"));
        assert_eq!(next_page("<https://h/p>; rel=next"), Some("https://h/p"));
        assert_eq!(next_page("<https://h/p>; rel=\"last\""), None);
        assert_eq!(next_page("nonsense"), None);
    }

    #[test]
    fn paths_become_addresses() {
        assert_eq!(encode("a b/ü#?.gguf", true), "a%20b/%C3%BC%23%3F.gguf");
        assert_eq!(encode("refs/pr/1", false), "refs%2Fpr%2F1");
    }
}
