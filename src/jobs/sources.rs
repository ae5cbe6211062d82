//! What jobs of the API may read.

use std::path::{Component, Path, PathBuf};

use crate::error::{Code, Problem, Result};
use crate::ingest::{Input, path_of};
use crate::objects;

/// Folders and beginnings of URLs that may be read from.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    folders: Vec<PathBuf>,
    urls: Vec<String>,
}

impl Sources {
    /// Those of the configuration, `ingest.sources`.
    pub fn new(sources: &[String]) -> Sources {
        // A file's URL that is none stays one, which no name is below of.
        let plain = |source: &String| path_of(source).ok().flatten();
        let (urls, folders): (Vec<String>, Vec<String>) = sources
            .iter()
            .map(|source| plain(source).unwrap_or_else(|| source.clone()))
            .partition(|source| objects::is_url(source));
        Sources {
            folders: folders
                .into_iter()
                .map(|folder| std::path::absolute(&folder).unwrap_or_else(|_| folder.into()))
                .collect(),
            urls,
        }
    }

    /// The folders by their real paths, those that are there.
    pub(super) fn folders(&self) -> Vec<PathBuf> {
        let real = |folder: &PathBuf| folder.canonicalize().ok();
        self.folders.iter().filter_map(real).collect()
    }

    /// Whether a name (of a file, a folder, a pattern, a URL) may be looked at.
    ///
    /// # Errors
    /// `source_not_permitted`, the same whether there is something of that name or not.
    pub fn check_name(&self, name: &str) -> Result<(), Problem> {
        let file = path_of(name).map_err(|_| self.refused(name))?;
        let permitted = match objects::is_url(name) && file.is_none() {
            true => self.urls.iter().any(|url| is_below(name, url)),
            false => {
                let name = file.as_deref().unwrap_or(name);
                let path = Path::new(name);
                let plain =
                    |part: Component<'_>| matches!(part, Component::RootDir | Component::Normal(_));
                path.is_absolute()
                    && path.components().all(plain)
                    && self.folders.iter().any(|folder| path.starts_with(folder))
            }
        };
        match permitted {
            true => Ok(()),
            false => Err(self.refused(name)),
        }
    }

    /// Whether what a name stands for may be read: links may lead elsewhere.
    ///
    /// # Errors
    /// `source_not_permitted`.
    pub fn check(&self, input: &Input) -> Result<(), Problem> {
        let name = input.location();
        self.check_name(name)?;
        if objects::is_url(name) {
            // A file is listed by its path.
            return match path_of(name) {
                Ok(None) => Ok(()),
                _ => Err(self.refused(name)),
            };
        }
        let real = Path::new(name).canonicalize();
        let within = real.is_ok_and(|file| {
            let mut folders = self.folders().into_iter();
            folders.any(|folder| file.starts_with(folder))
        });
        match within {
            true => Ok(()),
            false => Err(self.refused(name)),
        }
    }

    fn refused(&self, name: &str) -> Problem {
        let problem = Problem::new(
            Code::SourceNotPermitted,
            "jobs of the API may not read from there",
        )
        .field("inputs")
        .found(name);
        match self.folders.is_empty() && self.urls.is_empty() {
            true => problem.expected(
                "folders or beginnings of URLs in ingest.sources of the server's configuration, \
                 which names none",
            ),
            false => problem.expected(
                "an absolute path, or a URL, below one that ingest.sources of the server's \
                 configuration names",
            ),
        }
    }
}

/// Whether a URL is one that begins so, at a step of its path.
fn is_below(url: &str, beginning: &str) -> bool {
    let (Ok(url), Ok(beginning)) = (url::Url::parse(url), url::Url::parse(beginning)) else {
        return false;
    };
    let same_place = (url.scheme(), url.host_str(), url.port_or_known_default())
        == (
            beginning.scheme(),
            beginning.host_str(),
            beginning.port_or_known_default(),
        );
    let path = url.path();
    let above = beginning.path().trim_end_matches('/');
    let rest = path.strip_prefix(above);
    same_place
        && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        // What is encoded may mean a step back to whoever decodes it.
        && !path.to_ascii_lowercase().contains("%2e")
        && !path.to_ascii_lowercase().contains("%2f")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_below_a_source_may_be_read() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let (open, closed) = (root.join("open"), root.join("closed"));
        for folder in [&open, &closed] {
            std::fs::create_dir(folder).unwrap();
            std::fs::write(folder.join("a.jsonl"), "").unwrap();
        }
        std::os::unix::fs::symlink(closed.join("a.jsonl"), open.join("link.jsonl")).unwrap();
        let text = |path: PathBuf| path.to_str().unwrap().to_string();
        let sources = Sources::new(&[text(open.clone()), "s3://bucket/data/".into()]);
        let may = |name: &str| sources.check_name(name).is_ok();
        assert!(may(&text(open.join("a.jsonl"))) && may(&text(open.join("*.jsonl"))));
        assert!(may("s3://bucket/data/x/y.parquet") && may("s3://bucket/data"));
        for name in [
            text(closed.join("a.jsonl")),
            text(open.join("../closed/a.jsonl")),
            format!("{}-else/a", text(open.clone())),
            "a.jsonl".into(),
            "s3://bucket/database".into(),
            "s3://bucket/data/../x".into(),
            "s3://bucket/data/%2e%2E/x".into(),
            "s3://other/data/x".into(),
            "gs://bucket/data/x".into(),
            "file:///etc/passwd".into(),
        ] {
            assert!(!may(&name), "{name}");
        }
        // A file's URL is its path, in whatever case it is written, here and there.
        let url = |path: &Path, scheme: &str| format!("{scheme}://{}", path.display());
        let by_url = Sources::new(&[url(&open, "File")]);
        for scheme in ["file", "FILE"] {
            let sources = [&sources, &by_url];
            let may = |path: PathBuf| sources.map(|s| s.check_name(&url(&path, scheme)).is_ok());
            assert_eq!(may(open.join("a.jsonl")), [true; 2]);
            assert_eq!(may(closed.join("a.jsonl")), [false; 2]);
            assert_eq!(may(open.join("%2e%2e/closed/a.jsonl")), [false; 2]);
            let link = url(&open.join("link.jsonl"), scheme);
            let listed = crate::ingest::resolve(&[link], None).unwrap();
            assert!(
                sources
                    .iter()
                    .all(|sources| sources.check(&listed[0]).is_err())
            );
        }
        let input = |path: PathBuf| Input::file(&path).unwrap();
        assert!(sources.check(&input(open.join("a.jsonl"))).is_ok());
        assert!(sources.check(&input(open.join("link.jsonl"))).is_err());
        let none = Sources::new(&[]);
        let refused = none.check_name(&text(open.join("a.jsonl"))).unwrap_err();
        assert_eq!(refused.code, Code::SourceNotPermitted);
        assert!(refused.expected.unwrap().contains("ingest.sources"));
    }
}
