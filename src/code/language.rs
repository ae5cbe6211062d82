//! The languages that are parsed, and how a file's is found.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Code, Problem};

/// A language with a grammar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    Rust,
    Python,
    JavaScript,
    TypeScript,
    /// TypeScript with JSX.
    Tsx,
    Java,
    Go,
    C,
    Cpp,
    CSharp,
    Ruby,
    Php,
}

impl Language {
    /// All of them.
    pub const ALL: [Language; 12] = [
        Language::Rust,
        Language::Python,
        Language::JavaScript,
        Language::TypeScript,
        Language::Tsx,
        Language::Java,
        Language::Go,
        Language::C,
        Language::Cpp,
        Language::CSharp,
        Language::Ruby,
        Language::Php,
    ];

    /// The name that documents carry, in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Language::Rust => "rust",
            Language::Python => "python",
            Language::JavaScript => "javascript",
            Language::TypeScript => "typescript",
            Language::Tsx => "tsx",
            Language::Java => "java",
            Language::Go => "go",
            Language::C => "c",
            Language::Cpp => "cpp",
            Language::CSharp => "csharp",
            Language::Ruby => "ruby",
            Language::Php => "php",
        }
    }

    /// The language of a file: by its extension, by its name, or by the interpreter that its
    /// first line names. A `.h` is C++ where it has a class, a namespace or a template.
    pub fn of_file(path: &Path, text: &str) -> Option<Language> {
        let extension = path.extension().and_then(|e| e.to_str());
        let Some(extension) = extension else {
            return match path.file_name().and_then(|name| name.to_str()) {
                Some("Rakefile" | "Gemfile" | "Guardfile") => Some(Language::Ruby),
                _ => Language::of_interpreter(text),
            };
        };
        Some(match extension.to_ascii_lowercase().as_str() {
            "rs" => Language::Rust,
            "py" | "pyi" | "pyw" => Language::Python,
            "js" | "mjs" | "cjs" | "jsx" => Language::JavaScript,
            "ts" | "mts" | "cts" => Language::TypeScript,
            "tsx" => Language::Tsx,
            "java" => Language::Java,
            "go" => Language::Go,
            "c" => Language::C,
            "h" if is_cpp(text) => Language::Cpp,
            "h" => Language::C,
            "cc" | "cpp" | "cxx" | "c++" | "hh" | "hpp" | "hxx" | "h++" | "inl" | "ipp" => {
                Language::Cpp
            }
            "cs" => Language::CSharp,
            "rb" | "rake" | "gemspec" => Language::Ruby,
            "php" | "phtml" => Language::Php,
            _ => return Language::of_interpreter(text),
        })
    }

    /// By the first line, `#!/usr/bin/env python3`.
    fn of_interpreter(text: &str) -> Option<Language> {
        let line = text.strip_prefix("#!")?.lines().next()?;
        let mut words = line.split_whitespace();
        let program = words.next()?.rsplit('/').next()?;
        let program = match program {
            "env" => words.find(|word| !word.starts_with('-') && !word.contains('='))?,
            other => other,
        };
        let program = program.rsplit('/').next()?;
        let name = program.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
        Some(match name {
            "python" | "pypy" => Language::Python,
            "node" | "nodejs" | "bun" => Language::JavaScript,
            "deno" | "ts-node" | "tsx" => Language::TypeScript,
            "ruby" | "jruby" => Language::Ruby,
            "php" => Language::Php,
            "rust-script" => Language::Rust,
            _ => return None,
        })
    }

    /// The grammar of a file; or, of PHP without its opening tag, the one of a fragment.
    pub(super) fn grammar(self, text: &str) -> tree_sitter::Language {
        match self {
            Language::Rust => tree_sitter_rust::LANGUAGE,
            Language::Python => tree_sitter_python::LANGUAGE,
            Language::JavaScript => tree_sitter_javascript::LANGUAGE,
            Language::TypeScript => tree_sitter_typescript::LANGUAGE_TYPESCRIPT,
            Language::Tsx => tree_sitter_typescript::LANGUAGE_TSX,
            Language::Java => tree_sitter_java::LANGUAGE,
            Language::Go => tree_sitter_go::LANGUAGE,
            Language::C => tree_sitter_c::LANGUAGE,
            Language::Cpp => tree_sitter_cpp::LANGUAGE,
            Language::CSharp => tree_sitter_c_sharp::LANGUAGE,
            Language::Ruby => tree_sitter_ruby::LANGUAGE,
            Language::Php if text.contains("<?") => tree_sitter_php::LANGUAGE_PHP,
            Language::Php => tree_sitter_php::LANGUAGE_PHP_ONLY,
        }
        .into()
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Language {
    type Err = Problem;

    fn from_str(name: &str) -> Result<Language, Problem> {
        let known = Language::ALL.into_iter();
        let mut known = known.filter(|language| language.as_str() == name);
        known.next().ok_or_else(|| {
            let names = Language::ALL.map(Language::as_str).join(", ");
            Problem::new(Code::InvalidRequest, "no grammar of this language")
                .field("language")
                .found(name)
                .expected(format!("one of {names}"))
        })
    }
}

/// The name of the module that a file is, where the path says it: `a::b` of `src/a/b.rs`,
/// `a.b` of `a/b/__init__.py`. Empty where the language names modules in the text, or not.
pub(super) fn module(language: Language, path: &str) -> String {
    let (between, index): (&str, &[&str]) = match language {
        Language::Rust => ("::", &["mod", "lib", "main"]),
        Language::Python => (".", &["__init__"]),
        _ => return String::new(),
    };
    let stem = path.rsplit_once('.').map_or(path, |(stem, _)| stem);
    let mut steps: Vec<&str> = stem.split('/').filter(|step| !step.is_empty()).collect();
    if let Some(source) = steps.iter().rposition(|&step| step == "src") {
        steps.drain(..=source);
    }
    if steps.last().is_some_and(|last| index.contains(last)) {
        steps.pop();
    }
    steps.join(between)
}

/// Whether a header has what C has not.
fn is_cpp(text: &str) -> bool {
    text.lines().any(|line| {
        let line = line.trim_start();
        [
            "class ",
            "namespace ",
            "template",
            "using ",
            "public:",
            "private:",
        ]
        .iter()
        .any(|word| line.starts_with(word))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_tell_their_language() {
        for (path, text, language) in [
            ("a/b.rs", "", Some(Language::Rust)),
            ("b.PY", "", Some(Language::Python)),
            (
                "run",
                "#!/usr/bin/env -S python3.12 -u\n",
                Some(Language::Python),
            ),
            ("run", "#!/usr/local/bin/node\n", Some(Language::JavaScript)),
            ("run", "#!/bin/sh\n", None),
            ("run", "#!", None),
            ("a.h", "struct a { int b; };", Some(Language::C)),
            ("a.h", "namespace a {\n}", Some(Language::Cpp)),
            ("Gemfile", "", Some(Language::Ruby)),
            ("notes.md", "# a", None),
            ("LICENSE", "", None),
        ] {
            assert_eq!(Language::of_file(Path::new(path), text), language, "{path}");
        }
        for language in Language::ALL {
            assert_eq!(language.as_str().parse::<Language>().unwrap(), language);
            assert_eq!(serde_json::to_value(language).unwrap(), language.as_str());
        }
        assert!("cobol".parse::<Language>().is_err());
    }
}
