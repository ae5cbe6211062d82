//! Catalogs of names, spelled by the tokenizer of a tiny model.

use std::path::PathBuf;

use gleaner::entity::{
    BuildInput, BuildOptions, BuildReport, Catalogs, NewAlias, NewName, RejectedName,
};

use super::tiny_model::TinyModel;

/// A data folder with the tokenizer of a tiny model beside it.
pub struct World {
    pub folder: tempfile::TempDir,
    pub model: PathBuf,
}

impl World {
    pub fn new() -> World {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("tiny");
        TinyModel::default().write(&model);
        World { folder, model }
    }

    pub fn catalogs(&self) -> Catalogs {
        Catalogs::new(self.folder.path())
    }

    pub fn options(&self) -> BuildOptions {
        BuildOptions {
            model: "tiny".into(),
            model_folder: self.model.clone(),
            max_tokens: 32,
            after_space: false,
            replace: true,
        }
    }

    pub fn build(
        &self,
        names: &[NewName],
        aliases: &[NewAlias],
    ) -> (BuildReport, Vec<RejectedName>) {
        let mut rejected = Vec::new();
        let report = self
            .catalogs()
            .build(
                "test",
                &self.options(),
                BuildInput {
                    names: &mut names.iter().cloned().map(Ok),
                    aliases: &mut aliases.iter().cloned().map(Ok),
                    rejects: &mut |one| {
                        rejected.push(one);
                        Ok(())
                    },
                    progress: &mut |_| {},
                },
            )
            .unwrap();
        (report, rejected)
    }
}

pub fn plain(name: &str) -> NewName {
    NewName {
        name: name.into(),
        ..NewName::default()
    }
}

pub fn of(id: &str, name: &str) -> NewName {
    NewName {
        id: Some(id.into()),
        ..plain(name)
    }
}

/// Names that share words, some of which the tokenizer does not tell apart.
pub fn name(number: u8) -> String {
    let words = ["red", "river", "the", "cat", "Red", "in x"];
    let at = |n: u8| words[usize::from(n) % words.len()];
    match number % 3 {
        0 => at(number / 3).to_owned(),
        1 => format!("{} {}", at(number / 3), at(number / 5)),
        _ => format!("{} {} {}", at(number / 3), at(number / 5), at(number / 7)),
    }
}
