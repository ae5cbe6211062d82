//! Promise: scripts can rely on the command line. Exit status 0 is success, 1 failure,
//! 2 usage; flags win over the environment, the environment over the file; what is wrong
//! with the configuration is named.

use assert_cmd::Command;
use gleaner::error::Code;

use crate::support::binary::{Place, Said, one_document};
use crate::support::tiny_model::TinyModel;

const WORDS: &str = r#"
name = "words"
[fields.title]
type = "text"
[fields.stars]
type = "integer"
"#;

#[test]
fn the_exit_status_tells_success_failure_and_usage() {
    let place = Place::new();
    place.write("words.toml", WORDS);
    place.ok(&["index", "create", "words.toml"]);
    for args in [
        &["--help"][..],
        &["--version"],
        &["help", "ingest"],
        &["index", "list"],
    ] {
        let said = place.ok(args);
        assert!(!said.out.is_empty(), "{args:?}");
    }
    let failures: [(&[&str], Code); 12] = [
        (&["search", "nobody", "x"], Code::IndexNotFound),
        (&["search", "../data", "x"], Code::IndexNotFound),
        (
            &["search", "words", "x", "--mode", "fuzzy"],
            Code::InvalidRequest,
        ),
        (&["search", "words", "x"], Code::InvalidRequest),
        (
            &["search", "words", "x", "--filter", "stars >< 3", "--json"],
            Code::InvalidFilter,
        ),
        (&["ingest", "nobody", "x.jsonl"], Code::IndexNotFound),
        (&["ingest", "words", "x.jsonl"], Code::InvalidFile),
        (&["ingest", "words", "words.toml"], Code::InvalidFile),
        (
            &["index", "create", "nowhere.toml"],
            Code::InvalidDefinition,
        ),
        (
            &["eval", "retrieval", "--beir", "nowhere"],
            Code::InvalidFile,
        ),
        (&["models", "check", "nobody"], Code::ModelNotFound),
        (&["models", "add", "nowhere"], Code::InvalidModel),
    ];
    for (args, code) in failures {
        place.refused(code, args);
    }
    let usage: [&[&str]; 10] = [
        &[],
        &["nonsense"],
        &["index"],
        &["index", "list", "--nonsense"],
        &["search", "words"],
        &["search", "words", "x", "--like", "y"],
        &["search", "words", "x", "-k", "many"],
        &["ingest", "words"],
        &["ingest", "words", "a.jsonl", "--format", "xml"],
        &["models", "add", "x", "--precision", "fp64"],
    ];
    for args in usage {
        let said = place.run(args);
        assert_eq!(
            (said.status, said.out.as_str()),
            (Some(2), ""),
            "{args:?}: {said:?}"
        );
        assert!(
            said.err.contains("Usage") || said.err.contains("--help"),
            "{args:?}"
        );
    }
}

#[test]
fn flags_win_over_environment_and_environment_over_file() {
    let place = Place::new();
    place.write("words.toml", WORDS);
    for data in ["data", "of-config", "of-named", "of-environment", "of-flag"] {
        place.ok(&[
            "index",
            "create",
            "words.toml",
            "--name",
            data,
            "--data",
            data,
        ]);
    }
    // Which data folder a command works in, by the one index that is in it.
    let works_in = |args: &[&str], environment: &[(&str, &str)]| -> String {
        let mut command = place.command(&["index", "list", "--json"]);
        command.args(args).envs(environment.iter().copied());
        let said = Said::of(&mut command);
        assert_eq!(said.status, Some(0), "{said:?}");
        let list = one_document(&said.out);
        list[0]["name"].as_str().unwrap().to_string()
    };
    assert_eq!(works_in(&[], &[]), "data");
    place.write("config.toml", "[data]\nfolder = \"of-config\"\n");
    place.write("named.toml", "[data]\nfolder = \"of-named\"\n");
    let data = ("GLEANER_DATA", "of-environment");
    let config = ("GLEANER_CONFIG", "named.toml");
    assert_eq!(works_in(&[], &[]), "of-config");
    assert_eq!(works_in(&[], &[config]), "of-named");
    assert_eq!(
        works_in(&["--config", "config.toml"], &[config]),
        "of-config"
    );
    assert_eq!(works_in(&[], &[config, data]), "of-environment");
    assert_eq!(
        works_in(&["--config", "config.toml"], &[data]),
        "of-environment"
    );
    assert_eq!(
        works_in(&[], &[("GLEANER__DATA__FOLDER", "of-environment")]),
        "of-environment"
    );
    assert_eq!(works_in(&["--data", "of-flag"], &[config, data]), "of-flag");
    // A variable that is set to nothing is not set.
    assert_eq!(
        works_in(&[], &[("GLEANER_DATA", ""), ("GLEANER_CONFIG", "")]),
        "of-config"
    );

    // The same for models: the flag's folders come before the configured ones.
    for (folder, model) in [("a", "one"), ("b", "two"), ("c", "three")] {
        TinyModel::default().write(&place.path(folder).join(model));
    }
    place.write("config.toml", "[models]\nfolders = [\"a\"]\n");
    let models = |args: &[&str], environment: &[(&str, &str)]| -> Vec<String> {
        let mut command = place.command(&["models", "list", "--json"]);
        command.args(args).envs(environment.iter().copied());
        let list = one_document(&Said::of(&mut command).out);
        let list = list.as_array().unwrap();
        list.iter()
            .map(|model| model["name"].as_str().unwrap().to_string())
            .collect()
    };
    assert_eq!(models(&[], &[]), ["one"]);
    assert_eq!(models(&[], &[("GLEANER_MODELS", "b:c")]), ["two", "three"]);
    assert_eq!(models(&["--models-dir", "c"], &[]), ["three", "one"]);
    assert_eq!(
        models(&["--models-dir", "c"], &[("GLEANER_MODELS", "b")]),
        ["three", "two"]
    );
}

#[test]
fn what_is_wrong_with_the_configuration_is_named() {
    let place = Place::new();
    for (text, key) in [
        ("[server]\nlistn = \"x\"\n", "server.listn"),
        ("[sever]\nlisten = \"x\"\n", "sever"),
        ("[server]\nqueue = \"many\"\n", "server.queue"),
        ("[limits]\nhits = -3\n", "limits.hits"),
        ("[ingest]\nqueue = 0\n", "ingest.queue"),
        ("[ingest]\nqueue = 1000000000\n", "ingest.queue"),
        (
            "[storage]\nwrite_buffer_bytes = 9223372036854775807\n",
            "storage.write_buffer_bytes",
        ),
        ("[models.runtime]\nthreds = 2\n", "models.runtime.threds"),
    ] {
        place.write("config.toml", text);
        let said = place.refused(Code::InvalidConfiguration, &["index", "list"]);
        assert!(said.contains(&format!("field: {key}")), "{key}: {said}");
    }
    place.write("config.toml", "[server\n");
    let said = place.refused(Code::InvalidConfiguration, &["index", "list"]);
    assert!(said.contains("config.toml"), "{said}");
    std::fs::remove_file(place.path("config.toml")).unwrap();

    for (name, value, key) in [
        ("GLEANER__SERVER__LISTN", "x", "server.listn"),
        ("GLEANER__LIMITS__HITS", "many", "limits.hits"),
        ("GLEANER__LIMITS__HITS", "0", "limits.hits"),
    ] {
        let said = Said::of(place.command(&["index", "list"]).env(name, value));
        assert_eq!((said.status, said.out.as_str()), (Some(1), ""), "{said:?}");
        assert!(
            said.err.to_lowercase().contains(&format!("field: {key}")),
            "{said:?}"
        );
    }
    let said = place.refused(
        Code::InvalidConfiguration,
        &["index", "list", "--config", "no.toml"],
    );
    assert!(said.contains("found: no.toml"), "{said}");
    let said = place.refused(
        Code::InvalidConfiguration,
        &["index", "list", "--log", "]]"],
    );
    assert!(said.contains("field: log.filter"), "{said}");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let place = Place::new();
    place.write("words.toml", WORDS);
    place.ok(&["index", "create", "words.toml"]);
    place.write("one.jsonl", "{\"id\": 1, \"title\": \"river\"}");
    place.ok(&["ingest", "words", "one.jsonl"]);
    // The reader is gone before anything is written; the shell tells the status.
    let status = |before: &str, args: &str, after: &str| -> String {
        let program = env!("CARGO_BIN_EXE_gleaner");
        let script = format!("({before}{program} {args}; echo $? >status) {after}");
        let mut command = Command::new("bash");
        command
            .args(["-c", &script])
            .current_dir(place.folder())
            .env("GLEANER_MODELS", "models")
            .env("GLEANER_DATA", "data");
        let said = Said::of(&mut command);
        assert_eq!(said.status, Some(0), "{script}: {said:?}");
        std::fs::read_to_string(place.path("status")).unwrap()
    };
    for args in [
        "search words river --explain",
        "search words river --json",
        "index show words",
        "--help",
    ] {
        let quiet = format!("{args} 2>err.txt");
        assert_eq!(status("sleep 0.1; ", &quiet, "| true"), "0\n", "{args}");
        let log = std::fs::read_to_string(place.path("err.txt")).unwrap();
        assert!(
            !log.contains("gleaner: ") && !log.contains("panicked"),
            "{args}: {log}"
        );
    }
    // Nor where the log has no reader any more.
    let search = "search words river --log debug";
    assert_eq!(status("sleep 0.1; ", search, "2>&1 | true"), "0\n");
    assert_eq!(
        status("sleep 0.1; ", "search nobody x", "2>&1 | true"),
        "1\n"
    );
    assert_eq!(status("", search, "| head -n 1"), "0\n");
}
