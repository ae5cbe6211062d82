//! Promise: the example of an assistant answers questions with what is in the repository alone:
//! it retrieves, asks the model, runs what it says without ever writing, and repairs what fails.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::support::binary::{Place, Said};
use crate::support::service::Service;
use crate::support::tiny_model::TinyModel;

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("examples/assistant")
        .join(name)
}

/// The stand-in for a model, ended with the test.
struct StandIn {
    child: Child,
    url: String,
}

impl StandIn {
    fn start() -> StandIn {
        let mut child = Command::new("python3")
            .arg(example("stand_in.py"))
            .arg("0")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut url = String::new();
        let out = child.stdout.take().unwrap();
        BufReader::new(out).read_line(&mut url).unwrap();
        StandIn {
            child,
            url: url.trim().to_string(),
        }
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct World {
    service: Service,
    model: StandIn,
    place: Place,
}

impl World {
    fn new() -> World {
        let place = Place::new();
        let made = Command::new("python3")
            .arg(example("make_shop.py"))
            .arg(place.path("shop.sqlite"))
            .status()
            .unwrap();
        assert!(made.success());
        let service = Service::with(|config| {
            let models = config.data.folder.parent().unwrap().join("models");
            TinyModel::default().write(&models.join("gleaner-minilm"));
            TinyModel::linker().write(&models.join("gleaner-linker"));
            config.models.folders = vec![models];
            config.schemas.sources = vec![gleaner::config::SchemaSource {
                name: "shop".into(),
                sqlite: Some(place.path("shop.sqlite")),
                ..Default::default()
            }];
        });
        let answer = service.post("/v1/schemas", &serde_json::json!({"source": "shop"}));
        assert_eq!(answer.status, 201, "{}", answer.json());
        World {
            service,
            model: StandIn::start(),
            place,
        }
    }

    fn ask(&self, database: &str, question: &str) -> Said {
        let mut command = assert_cmd::Command::new("python3");
        command
            .arg(example("assistant.py"))
            .args([database, "shop.sqlite", question])
            .current_dir(self.place.folder())
            .env("GLEANER_URL", format!("http://{}", self.service.address))
            .env("OPENAI_BASE_URL", &self.model.url)
            .env_remove("OPENAI_API_KEY")
            .env_remove("TOKEN_BUDGET");
        Said::of(&mut command)
    }
}

#[test]
fn questions_are_answered_and_failures_repaired() {
    let world = World::new();
    let said = world.ask("shop", "Which customers in Fremont spent the most?");
    assert_eq!(said.status, Some(0), "{said:?}");
    assert!(
        said.out.contains("Ben Okafor | 149.0\nChiyo Tanaka | 61.0"),
        "{said:?}"
    );

    let said = world.ask("shop", "How many plants survive at -10 degrees?");
    assert_eq!(said.status, Some(0), "{said:?}");
    let lines: Vec<&str> = said.out.lines().collect();
    let failed = lines
        .iter()
        .position(|line| line.contains("no such column: min_temperature"));
    assert!(
        failed.is_some_and(|failed| failed < lines.len() - 2),
        "{said:?}"
    );
    assert_eq!(lines[lines.len() - 2..], ["hardy", "2"], "{said:?}");
}

#[test]
fn nothing_is_written_and_troubles_are_named() {
    let world = World::new();
    let file = world.place.path("shop.sqlite");
    let before = std::fs::read(&file).unwrap();
    // The model writes, is told that it may not, and writes again and again.
    let said = world.ask("shop", "Cancel every open order.");
    assert_eq!(said.status, Some(1), "{said:?}");
    assert_eq!(said.out.matches("not authorized").count(), 3, "{said:?}");
    assert_eq!(std::fs::read(&file).unwrap(), before);
    for (database, question, named) in [
        ("bank", "Who?", "there is no database of this name"),
        ("shop", "Who?", "nothing was recorded"),
        ("shop", " ", "the question is empty"),
    ] {
        let said = world.ask(database, question);
        assert_eq!(said.status, Some(1), "{said:?}");
        assert!(
            said.err.contains(named) && !said.err.contains("Traceback"),
            "{said:?}"
        );
    }
}
