//! `gleaner schema`: import, list, show, describe and remove databases of the catalogue.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;

use super::Context;
use crate::error::{Code, Error, Problem, Result};
use crate::sql::import::{MAX_DDL_BYTES, ReadOptions, ServerUrl, Source};
use crate::sql::{
    Changes, ColumnDescription, Database, Describer, Dialect, Masking, Origin, Schemas, Table,
    TableDescription, check_database_name,
};

/// Import, list, show, describe and remove the schemas of databases.
#[derive(Debug, Subcommand)]
pub(super) enum SchemaCommand {
    /// Import the schema of a database, or import it again and say what changed.
    Import(Import),
    /// List the databases.
    List {
        /// Who asks: databases that this caller may see nothing of are left out.
        #[arg(long, value_name = "NAME")]
        caller: Option<String>,
    },
    /// Show a database's tables, columns and keys.
    Show {
        /// Name of the database.
        database: String,
        /// One table only.
        #[arg(long)]
        table: Option<String>,
        /// Who asks; needed where the database has permissions.
        #[arg(long, value_name = "NAME")]
        caller: Option<String>,
    },
    /// Describe a database, a table or a column in words; an import keeps it.
    Describe {
        /// Name of the database.
        database: String,
        /// The table [default: the database itself is described].
        #[arg(long)]
        table: Option<String>,
        /// The column of the table.
        #[arg(long, requires = "table")]
        column: Option<String>,
        /// The description; empty takes away what was written.
        text: String,
    },
    /// The part of a schema that a question needs, to put into a prompt.
    Retrieve(super::schema_retrieve::Retrieve),
    /// Which database answers a question.
    Which(super::schema_which::Which),
    /// Cell values that are like a text: by words, letters and meaning.
    Values(super::schema_values::Values),
    /// Store questions with their SQL, and find those that are like a new one.
    #[command(subcommand)]
    Examples(super::schema_examples::Examples),
    /// Show or change who may see which tables.
    Permissions(super::schema_permissions::ShowPermissions),
    /// Remove a database and what was written about it.
    Remove {
        /// Name of the database.
        database: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct Import {
    /// Name of the database in the catalogue.
    name: String,
    #[command(flatten)]
    from: From,
    /// What the DDL text is written for.
    #[arg(long, value_enum, requires = "ddl")]
    dialect: Option<DialectName>,
    /// Folder with a CSV file of descriptions for each table, as BIRD has them.
    #[arg(long, value_name = "DIR")]
    descriptions: Option<PathBuf>,
    /// Read no sample rows.
    #[arg(long)]
    no_samples: bool,
    /// Read no frequent values.
    #[arg(long)]
    no_values: bool,
    /// Infer no foreign keys.
    #[arg(long)]
    no_inferred_keys: bool,
    /// Keep values also of columns that look like secrets or personal data.
    #[arg(long)]
    no_mask: bool,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct From {
    /// An SQLite file; it is only read.
    #[arg(long, value_name = "FILE")]
    sqlite: Option<PathBuf>,
    /// A server: postgres://, mysql:// or mariadb://, where ${NAME} stands for a variable of the
    /// environment. Other users of the machine can see command lines: put no password here.
    #[arg(long)]
    url: Option<String>,
    /// An environment variable that holds the URL.
    #[arg(long, value_name = "NAME")]
    url_env: Option<String>,
    /// A file that holds the URL.
    #[arg(long, value_name = "FILE")]
    url_file: Option<PathBuf>,
    /// DDL text.
    #[arg(long, value_name = "FILE")]
    ddl: Option<PathBuf>,
    /// A schema as `gleaner schema show --json` prints it.
    #[arg(long, value_name = "FILE")]
    database: Option<PathBuf>,
}

/// Dialects by their names.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum DialectName {
    Sqlite,
    Postgres,
    Mysql,
}

#[derive(Serialize)]
struct ImportResult {
    database: String,
    source: String,
    tables: usize,
    columns: usize,
    foreign_keys: usize,
    inferred_keys: usize,
    masked_columns: usize,
    skipped_statements: usize,
    /// None where the database is new.
    changes: Option<Changes>,
    notes: Vec<String>,
}

#[derive(Serialize)]
struct Listed {
    database: String,
    #[serde(flatten)]
    what: What,
}

#[derive(Serialize)]
#[serde(untagged)]
enum What {
    Known {
        tables: usize,
        columns: usize,
        source: String,
        imported_at: String,
        description: Option<String>,
    },
    Broken {
        problem: String,
    },
}

#[derive(Serialize)]
struct Removed {
    removed: String,
}

impl SchemaCommand {
    pub(super) fn run(self, context: &Context) -> Result<()> {
        let schemas = Schemas::new(&context.config.data.folder);
        match self {
            SchemaCommand::Import(import) => import.run(context, &schemas),
            SchemaCommand::List { caller } => list(context, &schemas, caller.as_deref()),
            SchemaCommand::Retrieve(command) => command.run(context, &schemas),
            SchemaCommand::Values(command) => command.run(context, &schemas),
            SchemaCommand::Which(command) => command.run(context, &schemas),
            SchemaCommand::Examples(command) => command.run(context, &schemas),
            SchemaCommand::Permissions(command) => command.run(context, &schemas),
            SchemaCommand::Show {
                database,
                table,
                caller,
            } => {
                let entry = schemas.visible(&database, caller.as_deref())?;
                let mut shown = entry.database.clone();
                if let Some(name) = table {
                    let known = shown.table(&name).cloned().ok_or_else(|| no_table(&name))?;
                    shown
                        .foreign_keys
                        .retain(|key| key.table == known.name || key.to_table == known.name);
                    shown.tables = vec![known];
                }
                context.print(&shown, words)
            }
            SchemaCommand::Describe {
                database,
                table,
                column,
                text,
            } => {
                let text = Some(text).filter(|text| !text.trim().is_empty());
                let entry = schemas.describe(&database, |written, known| {
                    let Some(table) = table else {
                        written.description = text;
                        return Ok(());
                    };
                    // As the database calls them; what it does not have is refused as it is.
                    let known = known.table(&table);
                    let table = known.map_or(table, |known| known.name.clone());
                    let of: &mut TableDescription = written.tables.entry(table).or_default();
                    let Some(column) = column else {
                        of.description = text;
                        return Ok(());
                    };
                    let known = known.and_then(|known| known.column(&column));
                    let column = known.map_or(column, |known| known.name.clone());
                    let of: &mut ColumnDescription = of.columns.entry(column).or_default();
                    of.description = text;
                    Ok(())
                })?;
                context.print(&entry.written, |_| format!("described {database}"))
            }
            SchemaCommand::Remove { database } => {
                schemas.remove(&database)?;
                let removed = Removed { removed: database };
                context.print(&removed, |removed| format!("removed {}", removed.removed))
            }
        }
    }
}

impl Import {
    fn run(self, context: &Context, schemas: &Schemas) -> Result<()> {
        // Before anything is read, which may take long.
        check_database_name(&self.name)?;
        let mut options = ReadOptions::new(&context.config.schemas);
        if self.no_samples {
            options.samples = 0;
        }
        if self.no_values {
            options.values = 0;
            options.searched_values = 0;
        }
        if self.no_mask {
            options.masking = Masking::off();
        }
        let source = self.from.source(self.dialect)?;
        let shown = source.to_string();
        let imported = source.read(&self.name, &options)?.refine(
            &options,
            !self.no_inferred_keys,
            self.descriptions.as_deref(),
        )?;
        let database = &imported.database;
        let columns = || database.tables.iter().flat_map(|table| &table.columns);
        let keys = database.foreign_keys.iter();
        let mut result = ImportResult {
            database: self.name,
            source: shown,
            tables: database.tables.len(),
            columns: columns().count(),
            foreign_keys: database.foreign_keys.len(),
            inferred_keys: keys.filter(|key| key.origin == Origin::Inferred).count(),
            masked_columns: columns().filter(|column| column.masked).count(),
            skipped_statements: imported.skipped,
            changes: None,
            notes: imported.notes,
        };
        result.changes = schemas.put(imported.database, &imported.cells, &result.source)?;
        context.print(&result, ImportResult::words)
    }
}

impl From {
    fn source(self, dialect: Option<DialectName>) -> Result<Source> {
        if self.ddl.is_none() && dialect.is_some() {
            return Err(Problem::new(
                Code::InvalidRequest,
                "only DDL text is read in a dialect that is said",
            )
            .field("dialect")
            .expected("--ddl with it")
            .into());
        }
        if let Some(path) = self.sqlite {
            return Ok(Source::Sqlite(path));
        }
        if let Some(url) = self.url {
            return ServerUrl::new(&url).map(Source::Server);
        }
        if let Some(name) = self.url_env {
            return ServerUrl::from_env(&name).map(Source::Server);
        }
        if let Some(path) = self.url_file {
            return ServerUrl::from_file(&path).map(Source::Server);
        }
        if let Some(path) = self.ddl {
            let dialect = match dialect {
                Some(DialectName::Sqlite) | None => Dialect::Sqlite,
                Some(DialectName::Postgres) => Dialect::Postgres,
                Some(DialectName::Mysql) => Dialect::Mysql,
            };
            return Ok(Source::Ddl(text(&path, "ddl")?, dialect));
        }
        let path = self.database.unwrap_or_default();
        let database: Database = serde_json::from_str(&text(&path, "database")?).map_err(|e| {
            Problem::new(Code::InvalidSchema, format!("this is no schema: {e}"))
                .field("database")
                .found(path.display())
                .expected("a document as gleaner schema show --json prints it")
        })?;
        Ok(Source::Database(Box::new(database)))
    }
}

/// A text file; what is no UTF-8 in it (the data of a dump, as a rule) is replaced.
fn text(path: &Path, field: &str) -> Result<String> {
    let problem = |message: String| {
        Problem::new(Code::InvalidFile, message)
            .field(field)
            .found(path.display())
    };
    let size = std::fs::metadata(path)
        .map(|metadata| metadata.len())
        .unwrap_or(0);
    // A database as JSON has its values and samples with it.
    if size > 8 * MAX_DDL_BYTES as u64 {
        return Err(problem(format!("the file is too long: {size} bytes")).into());
    }
    let bytes =
        std::fs::read(path).map_err(|e| problem(format!("the file cannot be read: {e}")))?;
    Ok(match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(e) => String::from_utf8_lossy(e.as_bytes()).into_owned(),
    })
}

fn no_table(name: &str) -> Problem {
    Problem::new(Code::InvalidRequest, "the database has no such table")
        .field("table")
        .found(name)
}

fn list(context: &Context, schemas: &Schemas, caller: Option<&str>) -> Result<()> {
    let mut all = Vec::new();
    for name in schemas.names()? {
        let entry = match caller {
            None => schemas.get(&name),
            caller => schemas.visible(&name, caller),
        };
        let not_seen = |error: &Error| {
            let problem = error.problem();
            problem.is_some_and(|problem| problem.code == Code::CallerNotPermitted)
        };
        // The others are listed all the same.
        let what = match entry {
            Err(error) if not_seen(&error) => continue,
            Ok(entry) => What::Known {
                tables: entry.database.tables.len(),
                columns: entry
                    .database
                    .tables
                    .iter()
                    .map(|table| table.columns.len())
                    .sum(),
                source: entry.source.clone(),
                imported_at: entry.imported_at.to_rfc3339(),
                description: entry.database.description.clone(),
            },
            Err(error) => What::Broken {
                problem: error.to_string(),
            },
        };
        all.push(Listed {
            database: name,
            what,
        });
    }
    context.print(&all, |all| {
        let lines = all.iter().map(|listed| match &listed.what {
            What::Known {
                tables,
                columns,
                source,
                ..
            } => {
                // A caller is not told.
                let from = match source.as_str() {
                    "" => String::new(),
                    source => format!(", from {source}"),
                };
                let name = &listed.database;
                format!("{name}  {tables} tables, {columns} columns{from}")
            }
            What::Broken { problem } => {
                format!("{}  cannot be read: {problem}", listed.database)
            }
        });
        let lines: Vec<String> = lines.collect();
        match lines.as_slice() {
            [] => "no databases yet; import one with: gleaner schema import NAME".into(),
            lines => lines.join("\n"),
        }
    })
}

impl ImportResult {
    fn words(&self) -> String {
        let mut text = format!(
            "imported {}: {} tables, {} columns, {} foreign keys ({} inferred), {} columns masked",
            self.database,
            self.tables,
            self.columns,
            self.foreign_keys,
            self.inferred_keys,
            self.masked_columns
        );
        if self.skipped_statements > 0 {
            let skipped = self.skipped_statements;
            text += &format!("\n{skipped} statements that are not about the schema were skipped");
        }
        match &self.changes {
            None => {}
            Some(changes) if changes.is_empty() => text += "\nnothing has changed",
            Some(changes) => {
                for (what, names) in [
                    ("tables added", &changes.tables.added),
                    ("tables changed", &changes.tables.changed),
                    ("tables removed", &changes.tables.removed),
                    ("columns added", &changes.columns.added),
                    ("columns changed", &changes.columns.changed),
                    ("columns removed", &changes.columns.removed),
                ] {
                    if !names.is_empty() {
                        text += &format!("\n{what}: {}", names.join(", "));
                    }
                }
                if changes.foreign_keys {
                    text += "\nforeign keys changed";
                }
            }
        }
        for note in &self.notes {
            text += &format!("\nnote: {note}");
        }
        text
    }
}

/// A database for people.
fn words(database: &Database) -> String {
    let describer = Describer::new(database);
    let mut text = database.name.clone();
    if let Some(description) = &database.description {
        text += &format!(": {description}");
    }
    for table in &database.tables {
        text += &format!("\n\n{}", heading(table));
        text += &format!("\n  {}", describer.table(table));
        for column in &table.columns {
            let key = if table.primary_key.contains(&column.name) {
                ", key"
            } else {
                ""
            };
            let masked = if column.masked { ", masked" } else { "" };
            text += &format!(
                "\n  {} {}{key}{masked}: {}",
                column.name,
                column.data_type,
                describer.column(table, column)
            );
        }
    }
    for key in &database.foreign_keys {
        let inferred = match key.origin {
            Origin::Inferred => " (inferred)",
            Origin::Declared => "",
        };
        text += &format!(
            "\n{}{}({}) -> {}({}){inferred}",
            if text.contains(" -> ") { "" } else { "\n" },
            key.table,
            key.columns.join(", "),
            key.to_table,
            key.to_columns.join(", ")
        );
    }
    text
}

fn heading(table: &Table) -> String {
    let kind = if table.view { " (view)" } else { "" };
    match table.rows {
        Some(rows) => format!("{}{kind}, {rows} rows", table.name),
        None => format!("{}{kind}", table.name),
    }
}
