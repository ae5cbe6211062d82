//! Promise: what packages bring along beside the program, completions and manual pages, is made by
//! the program itself, of every command, whatever is wrong with the configuration.

use std::fs;
use std::process::Command;

use crate::support::binary::Place;

/// A place whose configuration cannot be read.
fn place() -> Place {
    let place = Place::new();
    place.write("config.toml", "this is no TOML");
    place
}

#[test]
fn every_shell_gets_its_completion() {
    let place = place();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = place.ok(&["completions", shell]).out;
        for command in ["ingest", "serve", "tune"] {
            assert!(script.contains(command), "{shell} lacks {command}");
        }
        if shell == "bash" {
            let file = place.write("gleaner.bash", &script);
            let checked = Command::new("bash").arg("-n").arg(file).status();
            // Not every machine has one.
            assert!(checked.is_err() || checked.unwrap().success());
        }
    }
    assert_eq!(
        Some(2),
        crate::support::binary::Said::of(&mut place.command(&["completions", "ksh"])).status
    );
}

#[test]
fn every_command_has_a_manual_page() {
    let place = place();
    place.ok(&["man", "--out", "man/man1"]);
    let page = |name: &str| fs::read_to_string(place.path("man/man1").join(name)).unwrap();
    assert!(page("gleaner.1").contains("gleaner\\-serve"));
    assert!(page("gleaner-eval-tune.1").contains("folds"));
    let pages = fs::read_dir(place.path("man/man1")).unwrap().count();
    assert!(pages > 40, "{pages} pages");
}
