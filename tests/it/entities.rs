//! Promise: a catalog of entities holds the names that it was given and no others: through builds,
//! additions, removals, compactions and restarts, for every process that looks; what cannot be
//! taken is refused by name; and a damaged file is said to be one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use gleaner::entity::{BuildInput, Catalogs, NewAlias, NewName, RejectedFrom};
use gleaner::error::{Code, Error, Result};
use proptest::prelude::*;

use crate::support::names::{World, aliased, everything, name, of, plain};

#[derive(Debug, Clone)]
enum Step {
    Add(Vec<(u8, u8)>),
    Remove(u8),
    RemoveName(u8, u8),
    Compact,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => prop::collection::vec((0_u8..8, 0_u8..60), 1..4).prop_map(Step::Add),
        2 => (0_u8..8).prop_map(Step::Remove),
        2 => (0_u8..8, 0_u8..60).prop_map(|(id, name)| Step::RemoveName(id, name)),
        1 => Just(Step::Compact),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_catalog_is_the_set_of_what_was_added_and_not_removed(
        first in prop::collection::vec((0_u8..8, 0_u8..60), 0..20),
        steps in prop::collection::vec(step(), 0..25),
    ) {
        let world = World::new();
        let new = |&(id, number): &(u8, u8)| of(&format!("q{id}"), &name(number));
        world.build(&first.iter().map(new).collect::<Vec<_>>(), &[]);
        let pair = |&(id, number): &(u8, u8)| (name(number), format!("q{id}"));
        let mut model: BTreeSet<(String, String)> = first.iter().map(pair).collect();
        let mut catalogs = world.catalogs();
        // Another process, as it were, that looks all the time.
        let other = world.catalogs();
        for step in &steps {
            match step {
                Step::Add(names) => {
                    let report = catalogs.add("test", names.iter().map(new).collect()).unwrap();
                    prop_assert_eq!(report.added + report.replaced, names.len());
                    model.extend(names.iter().map(pair));
                }
                Step::Remove(id) => {
                    let id = format!("q{id}");
                    let gone = model.iter().filter(|(_, other)| *other == id).count();
                    match catalogs.remove("test", &id, None) {
                        Ok(count) => prop_assert_eq!(count, gone),
                        Err(error) => {
                            prop_assert_eq!(code(&error), Some(Code::EntityNotFound));
                            prop_assert_eq!(gone, 0);
                        }
                    }
                    model.retain(|(_, other)| *other != id);
                }
                Step::RemoveName(id, number) => {
                    let (name, id) = pair(&(*id, *number));
                    let was = model.remove(&(name.clone(), id.clone()));
                    let removed = catalogs.remove("test", &id, Some(&name));
                    prop_assert_eq!(removed.is_ok(), was);
                }
                Step::Compact => {
                    let report = catalogs.compact("test", &mut |_| {}).unwrap();
                    prop_assert_eq!(report.names as usize, model.len());
                }
                Step::Reopen => catalogs = world.catalogs(),
            }
            prop_assert_eq!(&everything(&catalogs.view("test").unwrap()), &model);
            prop_assert_eq!(&everything(&other.view("test").unwrap()), &model);
        }
        let mut by_id: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (name, id) in model {
            by_id.entry(id).or_default().insert(name);
        }
        for id in (0..8).map(|id| format!("q{id}")) {
            let names = catalogs.entity("test", &id);
            let names = names.map(|records| records.into_iter().map(|r| r.name).collect());
            prop_assert_eq!(names.ok(), by_id.get(&id).cloned());
        }
    }
}

fn code(error: &Error) -> Option<Code> {
    error.problem().map(|problem| problem.code)
}

#[test]
fn aliases_stand_for_names_and_stay_with_them() {
    let world = World::new();
    let names = [
        NewName {
            aliases: vec!["the water".into(), "stream".into()],
            description: Some("water that goes by".into()),
            popularity: Some(7.0),
            ..of("q1", "river")
        },
        of("q2", "mountain"),
        of("q3", "river water"),
    ];
    let alias = |alias: &str, name: &str, count| NewAlias {
        alias: alias.into(),
        name: name.into(),
        count,
    };
    let aliases = [
        alias("the water", "river water", 30),
        alias("the water", "nothing", 3),
        alias("hill", "mountain", 2),
        alias("hill", "mountain", 3),
    ];
    let (report, _) = world.build(&names, &aliases);
    assert_eq!((report.aliases, report.unknown_targets), (3, 1));
    let catalogs = world.catalogs();
    let check = |catalogs: &Catalogs| {
        let view = catalogs.view("test").unwrap();
        let water = [("river water".to_owned(), 30), ("river".to_owned(), 1)];
        assert_eq!(aliased(&view, "the water"), water);
        assert_eq!(aliased(&view, "hill"), [("mountain".to_owned(), 5)]);
        assert!(aliased(&view, "the").is_empty());
    };
    check(&catalogs);
    let record = &catalogs.entity("test", "q1").unwrap()[0];
    assert_eq!(record.description.as_deref(), Some("water that goes by"));
    assert_eq!(record.popularity, Some(7.0));

    // A name that comes anew keeps its aliases, and gets further ones.
    let anew = NewName {
        aliases: vec!["brook".into()],
        ..of("q1", "river")
    };
    let report = catalogs.add("test", vec![anew.clone()]).unwrap();
    assert_eq!((report.added, report.replaced), (0, 1));
    catalogs.add("test", vec![of("q1", "river")]).unwrap();
    // What does not come stays, what comes takes its place.
    let record = catalogs.entity("test", "q1").unwrap().remove(0);
    assert_eq!(record.description.as_deref(), Some("water that goes by"));
    assert_eq!(record.popularity, Some(7.0));
    let anew = NewName {
        description: Some(String::new()),
        popularity: Some(2.0),
        ..of("q1", "river")
    };
    catalogs.add("test", vec![anew]).unwrap();
    let record = catalogs.entity("test", "q1").unwrap().remove(0);
    assert_eq!((record.description, record.popularity), (None, Some(2.0)));
    for _ in 0..2 {
        check(&catalogs);
        let view = catalogs.view("test").unwrap();
        assert_eq!(aliased(&view, "brook"), [("river".to_owned(), 1)]);
        catalogs.compact("test", &mut |_| {}).unwrap();
    }
    catalogs.remove("test", "q1", None).unwrap();
    let view = catalogs.view("test").unwrap();
    assert!(aliased(&view, "brook").is_empty() && aliased(&view, "stream").is_empty());
    assert_eq!(aliased(&view, "the water").len(), 1);
}

#[test]
fn a_build_says_what_it_did_not_take() {
    let world = World::new();
    let long = "red ".repeat(40);
    let names = [
        plain("red river"),
        plain("red river"),
        plain("Red River"),
        plain(" "),
        plain("red\u{7}river"),
        plain("日本"),
        plain("[SEP]"),
        plain(&long),
        NewName {
            popularity: Some(f32::NAN),
            ..plain("blue")
        },
        of("", "green"),
        NewName {
            aliases: vec!["".into(), "the cat".into()],
            ..plain("cat")
        },
    ];
    let (report, rejected) = world.build(&names, &[]);
    let rows: Vec<u64> = rejected.iter().map(|one| one.row).collect();
    assert_eq!(rows, [4, 5, 6, 7, 8, 9, 10, 11]);
    assert!(
        rejected
            .iter()
            .all(|one| one.problem.code == Code::InvalidName)
    );
    let fields: Vec<&str> = rejected
        .iter()
        .map(|one| one.problem.field.as_deref().unwrap())
        .collect();
    assert_eq!(fields[5..], ["popularity", "id", "aliases"]);
    assert_eq!((report.duplicates, report.rejected), (1, 8));
    let found = everything(&world.catalogs().view("test").unwrap());
    let found: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
    let spelled_alike = report.names - report.spellings;
    assert_eq!(found, ["Red River", "cat", "red river"]);
    assert!(spelled_alike <= 1);
    // Adding is all or nothing, and names what is wrong.
    let catalogs = world.catalogs();
    let error = catalogs
        .add("test", vec![plain("wind"), plain("")])
        .unwrap_err();
    assert_eq!(code(&error), Some(Code::InvalidName));
    assert!(error.to_string().contains("names[1].name"), "{error}");
    assert_eq!(catalogs.view("test").unwrap().len(), 3);
}

#[test]
fn rows_are_counted_with_those_that_cannot_be_read() {
    let world = World::new();
    let unreadable = || -> Result<NewName> {
        Err(
            gleaner::error::Problem::new(Code::InvalidName, "a column is not what it should be")
                .field("popularity")
                .found("much")
                .into(),
        )
    };
    let names = [
        Ok(plain("red")),
        unreadable(),
        Ok(plain("")),
        Ok(plain("river")),
    ];
    let aliases = [
        Err(gleaner::error::Problem::new(Code::InvalidName, "a line is no alias").into()),
        Ok(NewAlias {
            alias: "\u{7}".into(),
            name: "red".into(),
            count: 1,
        }),
    ];
    let mut rejected = Vec::new();
    let input = BuildInput {
        names: &mut names.into_iter(),
        aliases: &mut aliases.into_iter(),
        rejects: &mut |one| {
            rejected.push((one.from, one.row, one.name));
            Ok(())
        },
        progress: &mut |_| {},
    };
    let report = world
        .catalogs()
        .build("test", &world.options(), input)
        .unwrap();
    assert_eq!((report.names, report.rejected), (2, 4));
    // What was found in another column is not the name.
    let (names, aliases) = (RejectedFrom::Names, RejectedFrom::Aliases);
    let expected = [
        (names, 2, String::new()),
        (names, 3, String::new()),
        (aliases, 1, String::new()),
        (aliases, 2, "\u{7}".to_owned()),
    ];
    assert_eq!(rejected, expected);
}

#[test]
fn many_names_of_an_id_and_many_aliases_take_no_longer_each() {
    let world = World::new();
    world.build(&[of("q", "red")], &[]);
    let catalogs = world.catalogs();
    let many = |count: usize| -> Vec<String> {
        let words = ["red", "river", "the", "cat", "Red", "in", "x", "city"];
        (0..count)
            .map(|mut number| {
                let mut name = String::from("cat");
                while number > 0 {
                    name.push(' ');
                    name.push_str(words[number % words.len()]);
                    number /= words.len();
                }
                name
            })
            .collect()
    };
    // Names that the tokenizer tells apart or not, all of one id: each looks for itself among them.
    let names: Vec<NewName> = many(4_000).iter().map(|name| of("q", name)).collect();
    let names: BTreeMap<String, NewName> = names
        .into_iter()
        .map(|new| (new.name.clone(), new))
        .collect();
    let names: Vec<NewName> = names.into_values().collect();
    let started = std::time::Instant::now();
    for _ in 0..2 {
        catalogs.add("test", names.clone()).unwrap();
    }
    assert!(started.elapsed().as_secs() < 60, "{:?}", started.elapsed());
    assert_eq!(catalogs.entity("test", "q").unwrap().len(), names.len() + 1);
    let with = |count: usize| NewName {
        aliases: many(count),
        ..plain("river")
    };
    let error = catalogs.add("test", vec![with(1_001)]).unwrap_err();
    assert_eq!(code(&error), Some(Code::InvalidName));
    assert!(error.to_string().contains("names[0].aliases"), "{error}");
    let (_, rejected) = world.build(&[plain("red"), with(1_001), with(1_000)], &[]);
    let rows: Vec<u64> = rejected.iter().map(|one| one.row).collect();
    assert_eq!(rows, [2]);
}

#[test]
fn a_catalog_is_not_removed_while_it_is_built_and_is_removed_whatever_it_says() {
    let world = World::new();
    world.build(&[plain("red")], &[]);
    let catalogs = world.catalogs();
    let refused = |result: Result<()>| code(&result.unwrap_err());
    let mut names = (0..3).map(|number| {
        assert_eq!(
            refused(world.catalogs().delete("test")),
            Some(Code::TaskRunning)
        );
        let compacted = world.catalogs().compact("test", &mut |_| {});
        assert_eq!(refused(compacted.map(drop)), Some(Code::TaskRunning));
        // What is there can be changed meanwhile.
        catalogs
            .add("test", vec![of("new", &name(number))])
            .unwrap();
        Ok(plain(&name(number)))
    });
    let input = BuildInput {
        names: &mut names,
        aliases: &mut std::iter::empty(),
        rejects: &mut |_| Ok(()),
        progress: &mut |_| {},
    };
    world
        .catalogs()
        .build("test", &world.options(), input)
        .unwrap();
    let folder = world.folder.path().join("entities");
    let manifest = folder.join("test/catalog.json");
    for text in [None, Some(""), Some("{\"version\": 9}")] {
        if let Some(text) = text {
            world.build(&[plain("red")], &[]);
            std::fs::write(&manifest, text).unwrap();
        }
        world.catalogs().delete("test").unwrap();
        assert_eq!(
            refused(catalogs.delete("test")),
            Some(Code::CatalogNotFound)
        );
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
        let added = catalogs.add("test", vec![plain("red")]);
        assert_eq!(refused(added.map(drop)), Some(Code::CatalogNotFound));
    }
    // What a process left that ended while it removed one is gone with the next.
    std::fs::create_dir(folder.join(".removed-before")).unwrap();
    world.build(&[plain("red")], &[]);
    assert_eq!(catalogs.names().unwrap(), ["test"]);
    catalogs.delete("test").unwrap();
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
}

#[test]
fn what_is_acknowledged_is_there_whoever_compacts_meanwhile() {
    let world = World::new();
    world.build(&[of("first", "red")], &[]);
    let done = std::sync::atomic::AtomicBool::new(false);
    let compactions = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..2_u8)
            .map(|writer| {
                // Of its own, as another process has them.
                let catalogs = world.catalogs();
                scope.spawn(move || {
                    for number in 0..30_u8 {
                        let id = format!("q{writer}-{number}");
                        catalogs.add("test", vec![of(&id, &name(number))]).unwrap();
                        if number % 3 == 0 {
                            catalogs.remove("test", &id, None).unwrap();
                        }
                    }
                })
            })
            .collect();
        let compactor = scope.spawn(|| {
            let catalogs = world.catalogs();
            let mut compactions = 0;
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                catalogs.compact("test", &mut |_| {}).unwrap();
                compactions += 1;
            }
            compactions
        });
        for writer in writers {
            writer.join().unwrap();
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        compactor.join().unwrap()
    });
    assert!(compactions > 1, "{compactions}");
    let mut expected = BTreeSet::from([("red".to_owned(), "first".to_owned())]);
    for writer in 0..2 {
        let kept = (0..30_u8).filter(|number| number % 3 != 0);
        expected.extend(kept.map(|number| (name(number), format!("q{writer}-{number}"))));
    }
    assert_eq!(
        everything(&world.catalogs().view("test").unwrap()),
        expected
    );
}

#[test]
fn a_build_that_fails_leaves_the_catalog_as_it_was() {
    let world = World::new();
    world.build(&[plain("red")], &[]);
    let catalogs = world.catalogs();
    let view = catalogs.view("test").unwrap();
    let broken: Result<NewName> = Err(Error::operator("the disk fails"));
    let failed = catalogs.build(
        "test",
        &world.options(),
        BuildInput {
            names: &mut [Ok(plain("blue")), broken].into_iter(),
            aliases: &mut std::iter::empty(),
            rejects: &mut |_| Ok(()),
            progress: &mut |_| {},
        },
    );
    assert!(matches!(failed, Err(Error::Operator(_))));
    assert_eq!(everything(&catalogs.view("test").unwrap()).len(), 1);
    // Nothing is left behind: one generation, the manifest, the locks.
    let entries = std::fs::read_dir(world.folder.path().join("entities/test")).unwrap();
    assert_eq!(entries.count(), 4);
    // Whoever holds a view goes on with it when the catalog is replaced.
    let before = everything(&view);
    world.build(&[plain("blue"), plain("green")], &[]);
    assert_eq!(everything(&view), before);
    assert_eq!(everything(&catalogs.view("test").unwrap()).len(), 2);
    let error = world.catalogs().view("none").err().unwrap();
    assert_eq!(code(&error), Some(Code::CatalogNotFound));
    for name in ["../test", "", "A"] {
        let error = world.catalogs().view(name).err().unwrap();
        assert_eq!(code(&error), Some(Code::CatalogNotFound));
    }
    assert!(world.catalogs().add("none", vec![plain("red")]).is_err());
    assert_eq!(world.catalogs().names().unwrap(), ["test"]);
}

/// The folder of the generation that counts.
fn generation(world: &World) -> PathBuf {
    let entries = std::fs::read_dir(world.folder.path().join("entities/test")).unwrap();
    let folders = entries.flatten().map(|entry| entry.path());
    let mut folders = folders.filter(|path| path.is_dir());
    folders.next().unwrap()
}

#[test]
fn a_damaged_file_is_the_operators() {
    let world = World::new();
    let names: Vec<NewName> = (0..60)
        .map(|number| NewName {
            aliases: vec![format!("a {}", name(number))],
            description: Some("what it is".into()),
            popularity: Some(1.0),
            ..of(&format!("q{number}"), &name(number))
        })
        .collect();
    world.build(&names, &[]);
    let file = generation(&world).join("names.bin");
    let whole = std::fs::read(&file).unwrap();
    let is_damaged = |bytes: &[u8]| {
        std::fs::write(&file, bytes).unwrap();
        let opened = world.catalogs().view("test");
        matches!(opened, Err(Error::Operator(_)))
    };
    for cut in (0..whole.len()).step_by(97) {
        assert!(is_damaged(&whole[..cut]), "cut at {cut}");
    }
    for at in (0..whole.len()).step_by(131) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        // Between sections lies nothing that counts.
        let error = is_damaged(&bytes);
        assert!(error || bytes[at] == 0x10, "changed at {at}");
    }
    assert!(!is_damaged(&whole));
    let manifest = world.folder.path().join("entities/test/catalog.json");
    for text in ["", "{}", "{\"version\": 9}"] {
        std::fs::write(&manifest, text).unwrap();
        let opened = world.catalogs().view("test");
        assert!(matches!(opened, Err(Error::Operator(_))), "{text}");
    }
}
