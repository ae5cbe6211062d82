//! The schema of a MySQL or MariaDB server, as far as the user may read it.
//!
//! Every transaction is read-only and every statement has its time. Where the URL names no
//! database, all that are not the server's own are read, each as a schema.

use std::collections::BTreeMap;

use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Row};

use super::read::{
    KeyColumn, LONGEST_VALUE, ReadOptions, SCANNED_ROWS, asked, collect_keys, drop_hidden_keys,
    is_binary, keep, quoted, wanted,
};
use super::{Imported, MOST_ENUM_VALUES, ServerUrl};
use crate::error::Result;
use crate::sql::{Cells, Column, Database, Dialect, Table};

/// Schemas that are the server's own, as a condition on `table_schema`.
const OURS: &str = "(table_schema = database() OR (database() IS NULL AND table_schema NOT IN \
    ('information_schema', 'mysql', 'performance_schema', 'sys')))";

/// Reads the schema of the database that the URL names.
pub(super) async fn mysql(name: &str, url: &ServerUrl, options: &ReadOptions) -> Result<Imported> {
    let connect = MySqlConnectOptions::from_url(url.secret());
    let mut reader = Reader {
        connection: super::connect(connect, url, options).await?,
        options,
        notes: Vec::new(),
        cells: Cells::default(),
    };
    let database = reader.read(name).await;
    let database = database.map_err(|e| super::cannot_read(url, &e))?;
    super::close(reader.connection).await;
    let scrubbed = reader.notes.iter().map(|note| url.scrub(note));
    Ok(Imported {
        database,
        skipped: 0,
        notes: scrubbed.collect(),
        cells: reader.cells,
    })
}

struct Reader<'a> {
    connection: MySqlConnection,
    options: &'a ReadOptions,
    notes: Vec<String>,
    cells: Cells,
}

/// A table by its schema and name.
type Place = (String, String);

impl Reader<'_> {
    async fn rows(&mut self, sql: &str) -> Result<Vec<MySqlRow>, sqlx::Error> {
        let query = sqlx::query(AssertSqlSafe(sql.to_string())).persistent(false);
        super::in_time(self.options, query.fetch_all(&mut self.connection)).await
    }

    /// Rows that an import may do without; not where the server is gone.
    async fn optional(&mut self, what: &str, sql: &str) -> Result<Vec<MySqlRow>, sqlx::Error> {
        match self.rows(sql).await {
            Err(error) if !super::is_over(&error) => {
                self.notes.push(format!("{what} left out: {error}"));
                Ok(Vec::new())
            }
            answered => answered,
        }
    }

    async fn set(&mut self, setting: String) -> Result<(), sqlx::Error> {
        let done = sqlx::raw_sql(AssertSqlSafe(setting)).execute(&mut self.connection);
        super::in_time(self.options, done).await.map(|_| ())
    }

    async fn read(&mut self, name: &str) -> Result<Database, sqlx::Error> {
        self.set("SET SESSION TRANSACTION READ ONLY".into()).await?;
        let time = self.options.statement_timeout;
        // MariaDB's name and unit, and then MySQL's: each refuses the other's.
        let seconds = time.as_secs_f64();
        if self
            .set(format!("SET SESSION max_statement_time = {seconds}"))
            .await
            .is_err()
        {
            let millis = time.as_millis();
            self.set(format!("SET SESSION max_execution_time = {millis}"))
                .await?;
        }
        let mut database = Database {
            name: name.to_string(),
            dialect: Dialect::Mysql,
            ..Database::default()
        };
        let mut places: BTreeMap<Place, usize> = BTreeMap::new();
        let mut sources: Vec<String> = Vec::new();
        let sql = format!(
            "SELECT CAST(table_schema AS CHAR), CAST(table_name AS CHAR), \
             table_type LIKE '%VIEW', CAST(table_comment AS CHAR), \
             CAST(table_rows AS SIGNED), coalesce(table_schema = database(), 0) \
             FROM information_schema.tables \
             WHERE {OURS} AND table_type IN ('BASE TABLE', 'SYSTEM VERSIONED', 'VIEW') \
             ORDER BY table_schema, create_time IS NULL, create_time, table_name"
        );
        for row in self.rows(&sql).await? {
            let (schema, table): (String, String) = (row.try_get(0)?, row.try_get(1)?);
            let quote = |name: &str| quoted(name, Dialect::Mysql);
            sources.push(format!("{}.{}", quote(&schema), quote(&table)));
            let view = row.try_get::<i64, _>(2)? != 0;
            let default = row.try_get::<i64, _>(5)? != 0;
            let comment: Option<String> = row.try_get(3)?;
            let rows: Option<i64> = row.try_get(4)?;
            places.insert((schema.clone(), table.clone()), database.tables.len());
            database.tables.push(Table {
                name: if default {
                    table
                } else {
                    format!("{schema}.{table}")
                },
                view,
                // A view's comment says that it is one, or what is wrong with it.
                description: comment.filter(|comment| !view && !comment.is_empty()),
                rows: rows
                    .filter(|_| !view)
                    .and_then(|rows| u64::try_from(rows).ok()),
                ..Table::default()
            });
        }
        self.columns(&mut database, &places).await?;
        self.keys(&mut database, &places).await?;
        // Tables without a column that may be read.
        let mut kept = database
            .tables
            .iter()
            .map(|table| !table.columns.is_empty());
        sources.retain(|_| kept.next().unwrap_or(false));
        database.tables.retain(|table| !table.columns.is_empty());
        if super::check_size(&database).is_err() {
            // It is refused as a whole.
            return Ok(database);
        }
        for (table, source) in database.tables.iter_mut().zip(&sources) {
            self.contents(table, source).await?;
        }
        Ok(database)
    }

    async fn columns(
        &mut self,
        database: &mut Database,
        places: &BTreeMap<Place, usize>,
    ) -> Result<(), sqlx::Error> {
        let sql = format!(
            "SELECT CAST(table_schema AS CHAR), CAST(table_name AS CHAR), \
             CAST(column_name AS CHAR), CAST(column_type AS CHAR), is_nullable = 'YES', \
             coalesce(generation_expression, '') <> '', CAST(column_comment AS CHAR) \
             FROM information_schema.columns WHERE {OURS} AND privileges LIKE '%select%' \
             ORDER BY table_schema, table_name, ordinal_position"
        );
        for row in self.rows(&sql).await? {
            let Some(&place) = places.get(&(row.try_get(0)?, row.try_get(1)?)) else {
                continue;
            };
            let comment: Option<String> = row.try_get(6)?;
            let mut column = Column {
                name: row.try_get(2)?,
                data_type: row.try_get(3)?,
                nullable: row.try_get::<i64, _>(4)? != 0,
                generated: row.try_get::<i64, _>(5)? != 0,
                description: comment.filter(|comment| !comment.is_empty()),
                ..Column::default()
            };
            let table = &mut database.tables[place];
            column.masked = self.options.masking.names(&column);
            if !column.masked {
                column.values = listed(&column.data_type);
            }
            table.columns.push(column);
        }
        Ok(())
    }

    async fn keys(
        &mut self,
        database: &mut Database,
        places: &BTreeMap<Place, usize>,
    ) -> Result<(), sqlx::Error> {
        let sql = format!(
            "SELECT CAST(constraint_name AS CHAR), CAST(table_schema AS CHAR), \
             CAST(table_name AS CHAR), CAST(column_name AS CHAR), \
             CAST(referenced_table_schema AS CHAR), CAST(referenced_table_name AS CHAR), \
             CAST(referenced_column_name AS CHAR) \
             FROM information_schema.key_column_usage WHERE {OURS} \
             AND (constraint_name = 'PRIMARY' OR referenced_table_name IS NOT NULL) \
             ORDER BY table_schema, table_name, constraint_name, ordinal_position"
        );
        let mut keys = Vec::new();
        for row in self.rows(&sql).await? {
            let Some(&place) = places.get(&(row.try_get(1)?, row.try_get(2)?)) else {
                continue;
            };
            let column: String = row.try_get(3)?;
            let to: (Option<String>, Option<String>) = (row.try_get(4)?, row.try_get(5)?);
            let (Some(to_schema), Some(to_table)) = to else {
                database.tables[place].primary_key.push(column);
                continue;
            };
            let known = places.get(&(to_schema.clone(), to_table.clone()));
            let known = known.map(|&to| database.tables[to].name.clone());
            keys.push(KeyColumn {
                key: row.try_get(0)?,
                table: database.tables[place].name.clone(),
                column,
                to_table: known.unwrap_or_else(|| format!("{to_schema}.{to_table}")),
                to_column: row.try_get(6)?,
            });
        }
        drop_hidden_keys(database);
        collect_keys(keys, database, &mut self.notes);
        Ok(())
    }

    async fn contents(&mut self, table: &mut Table, source: &str) -> Result<(), sqlx::Error> {
        if self.options.samples > 0 {
            let columns = table.columns.iter().map(|column| {
                match column.masked || is_binary(&column.data_type) {
                    true => "NULL".to_string(),
                    false => text(&quoted(&column.name, Dialect::Mysql)),
                }
            });
            let sql = format!(
                "SELECT {} FROM {source} LIMIT {}",
                columns.collect::<Vec<_>>().join(", "),
                self.options.samples
            );
            let what = format!("sample rows of {}", table.name);
            for row in self.optional(&what, &sql).await? {
                let values = (0..table.columns.len()).map(|i| {
                    let column = &table.columns[i];
                    match column.masked || is_binary(&column.data_type) {
                        true => Ok(None),
                        false => row.try_get(i),
                    }
                });
                table.samples.push(values.collect::<Result<_, _>>()?);
            }
        }
        for i in 0..table.columns.len() {
            let column = &table.columns[i];
            // Listed by their type.
            if !column.values.is_empty() || !wanted(table, column, self.options) {
                continue;
            }
            let name = quoted(&column.name, Dialect::Mysql);
            let sql = format!(
                "SELECT v FROM (SELECT {} AS v FROM \
                 (SELECT {name} FROM {source} WHERE {name} IS NOT NULL LIMIT {SCANNED_ROWS}) r) t \
                 WHERE char_length(v) BETWEEN 1 AND {LONGEST_VALUE} \
                 GROUP BY v ORDER BY count(*) DESC, v LIMIT {}",
                text(&name),
                asked(column, self.options)
            );
            let what = format!("values of {}.{}", table.name, column.name);
            let rows = self.optional(&what, &sql).await?;
            let values = rows.iter().map(|row| row.try_get(0));
            let values = values.collect::<Result<Vec<String>, _>>()?;
            keep(values, table, i, self.options, &mut self.cells);
        }
        Ok(())
    }
}

/// A value as text, compared byte by byte: `a` and `A` are two values. One character more than
/// is kept is left, so that what is longer can be told.
fn text(name: &str) -> String {
    let longest = LONGEST_VALUE + 1;
    format!("CAST(LEFT({name}, {longest}) AS CHAR CHARACTER SET utf8mb4) COLLATE utf8mb4_bin")
}

/// The values that `enum('a','b')` and `set(...)` list.
fn listed(data_type: &str) -> Vec<String> {
    let list = data_type
        .strip_prefix("enum(")
        .or_else(|| data_type.strip_prefix("set("));
    let Some(list) = list.and_then(|list| list.strip_suffix(')')) else {
        return Vec::new();
    };
    let inner = list
        .strip_prefix('\'')
        .and_then(|list| list.strip_suffix('\''));
    let values = inner.unwrap_or_default().split("','");
    let values = values.map(|value| value.replace("''", "'"));
    values.take(MOST_ENUM_VALUES).collect()
}
