//! Promise: the dashboard and the alerts in `deploy/` speak of metrics that there are, and are what
//! Grafana and Prometheus read.

use std::collections::BTreeSet;
use std::process::Command;

use regex::Regex;
use serde_json::Value;

use crate::metrics::documented;

fn path(name: &str) -> String {
    format!("{}/deploy/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap()
}

/// What the expression names that is not a metric of ours, or has labels that it does not have.
fn strangers(expression: &str) -> Vec<String> {
    let documented = documented();
    let named = Regex::new(r"\b(gleaner|process)_[a-z0-9_]+").unwrap();
    let names = named.find_iter(expression).map(|found| found.as_str());
    let is_known = |name: &str| {
        let of_histogram = ["_bucket", "_sum", "_count"].iter().any(|ending| {
            let family = name.strip_suffix(ending);
            family.is_some_and(|f| documented.get(f).is_some_and(|kind| kind == "histogram"))
        });
        of_histogram || documented.get(name).is_some_and(|kind| kind != "histogram")
    };
    let strange = names.filter(|name| !is_known(name));
    strange.map(str::to_string).collect()
}

#[test]
fn the_dashboard_shows_metrics_that_there_are() {
    let dashboard: Value = serde_json::from_str(&read("grafana/gleaner.json")).unwrap();
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    assert_eq!(variables[0]["name"], "datasource");
    assert_eq!(variables[0]["type"], "datasource");
    assert_eq!(variables[0]["query"], "prometheus");
    for variable in &variables[1..] {
        let query = variable["query"]["query"].as_str().unwrap();
        assert_eq!(strangers(query), Vec::<String>::new(), "{query}");
        assert_eq!(variable["datasource"]["uid"], "${datasource}");
    }
    let mut ids = BTreeSet::new();
    let mut shown = 0;
    for panel in dashboard["panels"].as_array().unwrap() {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "twice: {title}");
        let place = &panel["gridPos"];
        assert!(place["x"].as_u64().unwrap() + place["w"].as_u64().unwrap() <= 24);
        if panel["type"] == "row" {
            continue;
        }
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
        for target in panel["targets"].as_array().unwrap() {
            let expression = target["expr"].as_str().unwrap();
            assert_eq!(strangers(expression), Vec::<String>::new(), "{title}");
            for (open, close) in [('(', ')'), ('{', '}'), ('[', ']')] {
                let count = |c| expression.matches(c).count();
                assert_eq!(count(open), count(close), "{title}: {expression}");
            }
            shown += 1;
        }
    }
    assert!(shown > 40);
}

#[test]
fn alerts_are_of_metrics_that_there_are() {
    let rules: serde_yaml_ng::Value =
        serde_yaml_ng::from_str(&read("prometheus/alerts.yml")).unwrap();
    let mut names = BTreeSet::new();
    for group in rules["groups"].as_sequence().unwrap() {
        for rule in group["rules"].as_sequence().unwrap() {
            let text =
                |value: &serde_yaml_ng::Value| value.as_str().unwrap_or_default().to_string();
            let name = text(&rule["alert"]);
            assert!(names.insert(name.clone()), "twice: {name}");
            let expression = text(&rule["expr"]);
            assert!(!expression.is_empty(), "{name}");
            assert_eq!(strangers(&expression), Vec::<String>::new(), "{name}");
            let severity = text(&rule["labels"]["severity"]);
            assert!(
                ["critical", "warning"].contains(&severity.as_str()),
                "{name}"
            );
            for said in ["summary", "description"] {
                assert!(
                    !text(&rule["annotations"][said]).is_empty(),
                    "{name}: {said}"
                );
            }
        }
    }
    assert!(names.len() > 10);
    let checked = Command::new("promtool")
        .args(["check", "rules", &path("prometheus/alerts.yml")])
        .output();
    match checked {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{said}");
        }
        Err(_) => println!("promtool is not installed: its opinion is left out"),
    }
}

#[test]
fn a_metric_that_is_not_there_is_noticed() {
    assert_eq!(
        strangers("rate(gleaner_nothing_total[5m])"),
        ["gleaner_nothing_total"]
    );
    // A histogram is asked for by its parts, a counter by all of its name.
    for (expression, wrong) in [
        ("gleaner_search_duration_seconds", true),
        ("gleaner_search_duration_seconds_bucket", false),
        ("gleaner_searches", true),
        ("gleaner_searches_total", false),
    ] {
        assert_eq!(!strangers(expression).is_empty(), wrong, "{expression}");
    }
}
