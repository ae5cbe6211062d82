//! Made databases as they are found in companies: tables of one trade, keys between them, names
//! that are abbreviated here and there, descriptions of some, frequent values of texts. The same
//! seed makes the same.

use gleaner::sql::{Cells, Column, Database, ForeignKey, Origin, Table};
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};

/// A trade and what it keeps tables of.
const TRADES: &[(&str, &[&str])] = &[
    (
        "retail",
        &[
            "customer",
            "order",
            "product",
            "store",
            "supplier",
            "invoice",
            "payment",
            "shipment",
            "refund",
            "promotion",
            "warehouse",
            "employee",
        ],
    ),
    (
        "hospital",
        &[
            "patient",
            "doctor",
            "ward",
            "admission",
            "diagnosis",
            "prescription",
            "treatment",
            "nurse",
            "appointment",
            "laboratory_test",
            "surgery",
            "allergy",
        ],
    ),
    (
        "university",
        &[
            "student",
            "course",
            "lecturer",
            "department",
            "enrolment",
            "exam",
            "thesis",
            "building",
            "room",
            "scholarship",
            "library_loan",
            "semester",
        ],
    ),
    (
        "bank",
        &[
            "account",
            "client",
            "branch",
            "loan",
            "card",
            "transfer",
            "mortgage",
            "guarantee",
            "rate",
            "statement",
            "adviser",
            "complaint",
        ],
    ),
    (
        "airline",
        &[
            "flight",
            "airport",
            "aircraft",
            "passenger",
            "booking",
            "crew_member",
            "route",
            "ticket",
            "baggage",
            "delay",
            "maintenance",
            "gate",
        ],
    ),
    (
        "football",
        &[
            "player", "team", "match", "league", "season", "referee", "goal", "transfer",
            "stadium", "coach", "injury", "contract",
        ],
    ),
    (
        "hotel",
        &[
            "guest",
            "reservation",
            "suite",
            "hotel",
            "service",
            "bill",
            "rating",
            "cleaning",
            "event",
            "meal",
            "parking_space",
            "voucher",
        ],
    ),
    (
        "factory",
        &[
            "machine",
            "part",
            "work_order",
            "shift",
            "operator",
            "defect",
            "material",
            "assembly_line",
            "inspection",
            "delivery",
            "drawing",
            "tool",
        ],
    ),
    (
        "energy",
        &[
            "meter",
            "reading",
            "household",
            "tariff",
            "plant",
            "outage",
            "grid_node",
            "turbine",
            "contract",
            "forecast",
            "technician",
            "substation",
        ],
    ),
    (
        "music",
        &[
            "artist",
            "album",
            "track",
            "playlist",
            "concert",
            "label",
            "listener",
            "subscription",
            "genre",
            "venue",
            "review",
            "royalty",
        ],
    ),
];
/// What follows a table's name when the trade's own are used up.
const KINDS: &[&str] = &[
    "history", "detail", "status", "category", "address", "note", "document", "contact", "type",
    "group", "log", "summary", "archive", "region",
];
/// Attributes: name, an abbreviation of it, type, what it is, and whether it has values.
const ATTRIBUTES: &[(&str, &str, &str, &str)] = &[
    ("name", "nm", "VARCHAR(80)", "the full name"),
    ("city", "cty", "VARCHAR(60)", "town of the postal address"),
    ("country", "ctry", "VARCHAR(60)", "country of origin"),
    (
        "start_date",
        "strt_dt",
        "DATE",
        "first day on which it is valid",
    ),
    (
        "end_date",
        "end_dt",
        "DATE",
        "last day on which it is valid",
    ),
    (
        "amount",
        "amt",
        "DECIMAL(12,2)",
        "amount in the local currency",
    ),
    ("price", "prc", "DECIMAL(12,2)", "price without taxes"),
    ("quantity", "qty", "INTEGER", "number of pieces"),
    (
        "status",
        "sts",
        "VARCHAR(20)",
        "where it stands in the process",
    ),
    ("category", "cat", "VARCHAR(40)", "what kind it is of"),
    ("weight", "wgt", "REAL", "weight in kilograms"),
    ("height", "hgt", "REAL", "height in centimetres"),
    ("capacity", "cap", "INTEGER", "most that it can hold"),
    ("score", "scr", "REAL", "score from 0 to 100"),
    ("rank", "rnk", "INTEGER", "place in the ranking"),
    ("year", "yr", "INTEGER", "year it belongs to"),
    ("duration", "dur", "INTEGER", "how long it took in minutes"),
    (
        "discount",
        "disc",
        "REAL",
        "share that is taken off the price",
    ),
    ("gender", "gndr", "CHAR(1)", "F for female, M for male"),
    (
        "nationality",
        "natl",
        "VARCHAR(40)",
        "nationality as it is in the passport",
    ),
    ("language", "lang", "VARCHAR(20)", "language that is spoken"),
    ("colour", "clr", "VARCHAR(20)", "colour of the outside"),
    ("currency", "curr", "CHAR(3)", "currency by its ISO code"),
    (
        "balance",
        "bal",
        "DECIMAL(14,2)",
        "what is left at the end of the day",
    ),
    ("distance", "dist", "REAL", "distance in kilometres"),
    (
        "temperature",
        "temp",
        "REAL",
        "temperature in degrees Celsius",
    ),
    ("description", "descr", "TEXT", "free text"),
    ("remarks", "rmks", "TEXT", "what else there is to say"),
    ("created_at", "crt_ts", "TIMESTAMP", "when the row was made"),
    (
        "updated_at",
        "upd_ts",
        "TIMESTAMP",
        "when the row was changed",
    ),
    ("is_active", "actv_flg", "BOOLEAN", "whether it is in use"),
    ("percentage", "pct", "REAL", "share of the whole in percent"),
    ("total", "tot", "DECIMAL(14,2)", "sum over all parts"),
    (
        "average_cost",
        "avg_cost",
        "DECIMAL(12,2)",
        "what one costs on average",
    ),
    ("size", "sz", "VARCHAR(10)", "small, medium or large"),
    ("priority", "prio", "INTEGER", "1 is the most urgent"),
    ("origin", "orig", "VARCHAR(60)", "where it comes from"),
    ("destination", "dest", "VARCHAR(60)", "where it goes"),
    ("visitors", "vstrs", "INTEGER", "people that came"),
    ("speed", "spd", "REAL", "speed in kilometres an hour"),
];
/// Words that values are made of.
const VALUES: &[&str] = &[
    "north", "central", "open", "closed", "approved", "rejected", "pending", "gold", "silver",
    "standard", "premium", "Lisbon", "Oslo", "Fremont", "Nairobi", "Osaka", "Lima", "Portugal",
    "Norway", "Kenya", "Japan", "Peru", "monthly", "yearly", "express", "regular", "first",
    "second", "digital", "paper",
];
/// Columns of every table.
pub const COLUMNS: usize = 20;
/// Frequent values of a column that has any.
const VALUES_EACH: usize = 30;

/// A database of `tables` tables with [`COLUMNS`] columns each.
pub fn database(number: usize, tables: usize) -> Database {
    let mut random = StdRng::seed_from_u64(number as u64);
    let (trade, own) = TRADES[number % TRADES.len()];
    // Half of all databases were named by people who saved letters.
    let short = number % 2 == 1;
    let mut names: Vec<String> = own.iter().map(ToString::to_string).collect();
    let mut further: Vec<String> = own
        .iter()
        .flat_map(|entity| KINDS.iter().map(move |kind| format!("{entity}_{kind}")))
        .collect();
    further.shuffle(&mut random);
    names.extend(further);
    names.truncate(tables);
    let mut database = Database {
        name: format!("{trade}-{number:03}"),
        description: Some(format!("what a {trade} company keeps")),
        ..Database::default()
    };
    for (place, name) in names.iter().enumerate() {
        let mut table = table(name, short, &mut random);
        // A part refers to its whole; others to one or two tables before them.
        let mut others: Vec<&String> = names[..place].iter().collect();
        others.shuffle(&mut random);
        let whole = names[..place]
            .iter()
            .find(|other| name.starts_with(&format!("{other}_")));
        let count = random.random_range(1..=2);
        let mut referred: Vec<&String> = whole.into_iter().chain(others).take(count).collect();
        referred.dedup();
        for (n, other) in referred.into_iter().enumerate() {
            let column = &mut table.columns[n + 1];
            *column = Column {
                name: format!("{other}_id"),
                data_type: "INTEGER".into(),
                ..Column::default()
            };
            database.foreign_keys.push(ForeignKey {
                table: name.clone(),
                columns: vec![format!("{other}_id")],
                to_table: other.clone(),
                to_columns: vec![format!("{other}_id")],
                origin: Origin::Declared,
            });
        }
        database.tables.push(table);
    }
    database
}

/// The values that questions are searched for: here the frequent ones are all there are.
pub fn cells(database: &Database) -> Cells {
    let mut cells = Cells::default();
    for table in &database.tables {
        for column in &table.columns {
            cells.set(&table.name, &column.name, column.values.clone());
        }
    }
    cells
}

fn table(name: &str, short: bool, random: &mut StdRng) -> Table {
    let key = format!("{name}_id");
    let mut columns = vec![Column {
        name: key.clone(),
        data_type: "INTEGER".into(),
        ..Column::default()
    }];
    let attributes = ATTRIBUTES.choose_multiple(random, COLUMNS - 1);
    for (long, abbreviated, data_type, description) in attributes {
        let attribute = if short && random.random_bool(0.5) {
            abbreviated
        } else {
            long
        };
        let text = data_type.starts_with("VARCHAR") && !long.ends_with("name");
        columns.push(Column {
            name: match random.random_bool(0.3) {
                true => format!("{name}_{attribute}"),
                false => (*attribute).to_string(),
            },
            data_type: (*data_type).into(),
            nullable: true,
            description: random
                .random_bool(0.4)
                .then(|| format!("{description} of the {}", name.replace('_', " "))),
            values: match text {
                true => (0..VALUES_EACH).map(|n| value(n, random)).collect(),
                false => Vec::new(),
            },
            ..Column::default()
        });
    }
    let row = |random: &mut StdRng| (0..COLUMNS).map(|n| Some(value(n, random))).collect();
    Table {
        name: name.into(),
        description: random
            .random_bool(0.3)
            .then(|| format!("every {} that there is", name.replace('_', " "))),
        samples: (0..3).map(|_| row(random)).collect(),
        primary_key: vec![key],
        rows: Some(random.random_range(10..1_000_000)),
        columns,
        ..Table::default()
    }
}

fn value(n: usize, random: &mut StdRng) -> String {
    let word = VALUES.choose(random).copied().unwrap_or_default();
    match n % 3 {
        0 => word.to_string(),
        1 => format!("{word} {}", random.random_range(1..1000)),
        _ => format!("{word} {}", VALUES[n % VALUES.len()]),
    }
}

/// A question about a database, and what is known about how to read it, or nothing.
pub fn question(database: &Database, random: &mut StdRng) -> (String, String) {
    let words = |name: &str| name.replace('_', " ");
    let pick = |random: &mut StdRng| -> Option<(String, String, Option<String>)> {
        let table = database.tables.choose(random)?;
        let column = table.columns[3..].choose(random)?;
        let value = column.values.choose(random).cloned();
        Some((words(&table.name), words(&column.name), value))
    };
    let none = || (String::new(), String::new(), None);
    let (table, column, _) = pick(random).unwrap_or_else(none);
    let (other, second, value) = pick(random).unwrap_or_else(none);
    let value = value.unwrap_or_else(|| random.random_range(1990..2026).to_string());
    match random.random_range(0..5) {
        0 => (
            format!("Which {table} has the highest {column}?"),
            String::new(),
        ),
        1 => (
            format!("How many {table} rows are there with {second} {value}?"),
            format!("{second} {value} refers to {other}.{second} = '{value}'"),
        ),
        2 => (
            format!(
                "List the {column} of every {table} together with the {second} of its {other}."
            ),
            String::new(),
        ),
        3 => (
            format!("What is the average {column} per {second} for {table} entries since {value}?"),
            format!("average {column} = AVG({column})"),
        ),
        _ => (
            format!(
                "Among the {table} whose {column} is above the mean, who comes from {value} and \
                 what is the {second}?"
            ),
            format!(
                "comes from {value} means {second} = '{value}'; above the mean is {column} > AVG({column})"
            ),
        ),
    }
}
