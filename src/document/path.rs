//! Fields by their path: `author.name` is the member `name` of the member `author`.
//!
//! A path goes through lists of objects: every element contributes what it holds, in the
//! order of the list. A member's name may itself hold several steps (`"author.name": "x"`
//! means the same as `"author": {"name": "x"}`), which is how formats without objects, such
//! as CSV, fill nested fields.

use serde_json::{Map, Value as Json};

use super::Fields;

/// Between the steps of a path.
const STEP: char = '.';
/// Most steps of a path.
pub const MAX_STEPS: usize = 16;

/// What a document holds at a path.
#[derive(Debug, Default)]
pub(super) struct Found<'a> {
    /// The values in the order of the document; null counts as absent.
    pub values: Vec<&'a Json>,
    /// How the path was spelled where it was found first: a bit for each step that is a
    /// level of its own.
    spelled: Option<u32>,
    /// Whether it was spelled in two ways.
    pub mixed: bool,
}

/// Everything at a path.
pub(super) fn find<'a>(source: &'a Map<String, Json>, path: &str) -> Found<'a> {
    let mut found = Found::default();
    walk(source, path, (0, 0), &mut found);
    found
}

/// `at`: steps behind us, and how they were spelled.
fn walk<'a>(object: &'a Map<String, Json>, path: &str, at: (u32, u32), found: &mut Found<'a>) {
    let (steps, spelled) = at;
    if let Some(json) = object.get(path).filter(|json| !json.is_null()) {
        found.mixed |= found.spelled.is_some_and(|before| before != spelled);
        found.spelled = Some(spelled);
        found.values.push(json);
    }
    for (taken, (end, _)) in (1..).zip(path.match_indices(STEP)) {
        let Some(child) = object.get(&path[..end]) else {
            continue;
        };
        let steps = steps + taken;
        let at = (steps, spelled | 1 << steps.min(31));
        let rest = &path[end + 1..];
        match child {
            Json::Object(child) => walk(child, rest, at, found),
            Json::Array(items) => {
                for item in items.iter().filter_map(Json::as_object) {
                    walk(item, rest, at, found);
                }
            }
            _ => {}
        }
    }
}

/// The strings that a stored document holds at a path, lists taken apart, in the order of
/// [`super::Document::values`].
pub fn strings_at<'a>(source: &'a Map<String, Json>, path: &str) -> Vec<&'a str> {
    let mut strings = Vec::new();
    for value in find(source, path).values {
        match value {
            Json::String(text) => strings.push(text.as_str()),
            Json::Array(items) => strings.extend(items.iter().filter_map(Json::as_str)),
            _ => {}
        }
    }
    strings
}

/// The part of a document that these paths name, in its own shape. A path that leads to an
/// object takes all of it.
pub fn pick(source: Map<String, Json>, wanted: &[String]) -> Map<String, Json> {
    keep(source, "", &|path| {
        if wanted.iter().any(|w| w == path || is_below(path, w)) {
            Part::Whole
        } else if wanted.iter().any(|w| is_below(w, path)) {
            Part::Inside
        } else {
            Part::Nothing
        }
    })
}

/// Drops what no field names, inside of objects too.
pub(super) fn drop_unknown(
    source: Map<String, Json>,
    fields: &Fields,
    id_field: &str,
) -> Map<String, Json> {
    keep(source, "", &|path| {
        if path == id_field || fields.contains_key(path) {
            Part::Whole
        } else if is_parent(fields, path) {
            Part::Inside
        } else {
            Part::Nothing
        }
    })
}

/// What of a member is kept.
enum Part {
    Whole,
    Inside,
    Nothing,
}

fn keep(object: Map<String, Json>, above: &str, part: &impl Fn(&str) -> Part) -> Map<String, Json> {
    let mut kept = Map::with_capacity(object.len());
    for (name, json) in object {
        let path = join(above, &name);
        let json = match (part(&path), json) {
            (Part::Whole, json) => json,
            (Part::Inside, Json::Object(child)) => {
                let child = keep(child, &path, part);
                if child.is_empty() {
                    continue;
                }
                Json::Object(child)
            }
            (Part::Inside, Json::Array(items)) => {
                let items = items.into_iter().filter_map(|item| match item {
                    Json::Object(child) => Some(keep(child, &path, part)),
                    _ => None,
                });
                let items = items.filter(|child| !child.is_empty()).map(Json::Object);
                let items: Vec<Json> = items.collect();
                if items.is_empty() {
                    continue;
                }
                Json::Array(items)
            }
            _ => continue,
        };
        kept.insert(name, json);
    }
    kept
}

/// A member that does not fit the fields.
#[derive(Debug)]
pub(super) struct Stray<'a> {
    /// Its path.
    pub path: String,
    /// What stands where an object with fields belongs; None where the member itself is
    /// not known.
    pub found: Option<&'a Json>,
}

/// The first member that no field names, or that is no object although fields are inside.
pub(super) fn stray<'a>(
    source: &'a Map<String, Json>,
    fields: &Fields,
    id_field: &str,
) -> Option<Stray<'a>> {
    stray_below(source, "", fields, id_field)
}

fn stray_below<'a>(
    object: &'a Map<String, Json>,
    above: &str,
    fields: &Fields,
    id_field: &str,
) -> Option<Stray<'a>> {
    for (name, json) in object {
        if above.is_empty() && (name == id_field || fields.contains_key(name)) {
            continue;
        }
        let path = join(above, name);
        if fields.contains_key(&path) {
            continue;
        }
        if !is_parent(fields, &path) {
            return Some(Stray { path, found: None });
        }
        let inside = match json {
            Json::Array(items) => items.as_slice(),
            single => std::slice::from_ref(single),
        };
        for item in inside {
            let stray = match item {
                Json::Null => None,
                Json::Object(child) => stray_below(child, &path, fields, id_field),
                other => Some(Stray {
                    path: path.clone(),
                    found: Some(other),
                }),
            };
            if stray.is_some() {
                return stray;
            }
        }
    }
    None
}

/// Whether there are fields below a path.
pub fn is_parent(fields: &Fields, path: &str) -> bool {
    fields.keys().any(|field| is_below(field, path))
}

/// Whether a path leads into what the other one names.
pub fn is_below(path: &str, above: &str) -> bool {
    path.strip_prefix(above)
        .is_some_and(|rest| rest.starts_with(STEP))
}

/// Whether every step of a path has a name, and there are not too many.
pub fn is_path(path: &str) -> bool {
    path.split(STEP).all(|step| !step.is_empty()) && path.split(STEP).count() <= MAX_STEPS
}

fn join(above: &str, name: &str) -> String {
    if above.is_empty() {
        name.to_string()
    } else {
        format!("{above}{STEP}{name}")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(json: Json) -> Map<String, Json> {
        match json {
            Json::Object(object) => object,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn a_path_goes_through_objects_lists_and_names_of_several_steps() {
        let source = object(json!({
            "a": {"b": [{"c": 1}, {"c": null}, {"d": 2}, {"c": [3, 4]}, 5]},
            "x.y": 6, "p.q": {"r": 7},
        }));
        let values =
            |path: &str| -> Vec<Json> { find(&source, path).values.into_iter().cloned().collect() };
        assert_eq!(values("a.b.c"), [json!(1), json!([3, 4])]);
        assert_eq!(values("a.b.d"), [json!(2)]);
        assert_eq!(values("x.y"), [json!(6)]);
        assert_eq!(values("p.q.r"), [json!(7)]);
        assert!(values("a.c").is_empty() && values("x").is_empty());
        assert!(!find(&source, "a.b.c").mixed);
        for both in [
            json!({"a.b": 1, "a": {"b": 2}}),
            json!({"a": {"b.c": 1, "b": {"c": 2}}}),
            json!({"a.b": {"c": 1}, "a": {"b": {"c": 2}}}),
        ] {
            let both = object(both);
            assert!(
                find(&both, "a.b").mixed || find(&both, "a.b.c").mixed,
                "{both:?}"
            );
        }
    }

    #[test]
    fn picking_keeps_the_shape() {
        let source = object(json!({
            "id": "1", "a": {"b": [{"c": 1, "d": 2}, {"d": 3}], "e": 4}, "x.y": 5, "f": 6,
        }));
        let picked = |wanted: &[&str]| {
            let wanted: Vec<String> = wanted.iter().map(|w| w.to_string()).collect();
            Json::Object(pick(source.clone(), &wanted))
        };
        assert_eq!(
            picked(&["a.b.c", "f"]),
            json!({"a": {"b": [{"c": 1}]}, "f": 6})
        );
        assert_eq!(picked(&["a.e", "x.y"]), json!({"a": {"e": 4}, "x.y": 5}));
        assert_eq!(picked(&["x"]), json!({"x.y": 5}));
        assert_eq!(picked(&["a"]), json!({"a": source["a"]}));
        assert_eq!(picked(&["a.b.z"]), json!({}));
    }
}
