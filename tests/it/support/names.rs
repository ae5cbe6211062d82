//! Catalogs of names, spelled by the tokenizer of a tiny model.

use std::collections::BTreeSet;
use std::path::PathBuf;

use gleaner::entity::{
    BuildInput, BuildOptions, BuildReport, Catalogs, NewAlias, NewName, Node, RejectedName, View,
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

/// Everything that can be written, by walking every path: names and ids.
pub fn everything(view: &View) -> BTreeSet<(String, String)> {
    fn below(view: &View, node: Node, found: &mut BTreeSet<(String, String)>) {
        for number in view.names_at(node) {
            let record = view.record(number).unwrap().unwrap();
            assert!(found.insert((record.name, record.id)), "a name came twice");
        }
        let mut children = Vec::new();
        view.children(node, &mut children);
        assert!(children.is_sorted_by(|a, b| a.0 < b.0));
        // Every path leads to a name.
        assert!(!children.is_empty() || view.ends(node) || node == view.root());
        for (token, child) in children {
            assert_eq!(view.child(node, token), Some(child));
            below(view, child, found);
        }
    }
    let mut found = BTreeSet::new();
    below(view, view.root(), &mut found);
    assert_eq!(found.len(), view.len());
    found
}

/// Names that an alias stands for, with counts.
pub fn aliased(view: &View, alias: &str) -> Vec<(String, u32)> {
    let tokens = view.tokenizer().tokens(alias).unwrap().unwrap();
    let aliases = view.aliased(&tokens).into_iter();
    aliases
        .map(|alias| {
            let record = view.record(alias.name).unwrap().unwrap();
            (record.name, alias.count)
        })
        .collect()
}
