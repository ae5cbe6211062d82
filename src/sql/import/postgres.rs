//! The schema of a PostgreSQL server, as far as the user may read it.
//!
//! Every transaction is read-only and every statement has its time. Tables are those with the
//! right to select from them or from one of their columns, columns those with that right;
//! partitions are their table, and what extensions made is left out.

use std::collections::BTreeMap;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Row};

use super::read::{
    KeyColumn, LONGEST_VALUE, ReadOptions, SCANNED_ROWS, asked, collect_keys, drop_hidden_keys,
    is_binary, keep, quoted, wanted,
};
use super::{Imported, MOST_ENUM_VALUES, ServerUrl};
use crate::error::Result;
use crate::sql::{Cells, Column, Database, Dialect, Table};

const TABLES: &str = "
    SELECT c.oid::int8, n.nspname::text, c.relname::text, c.relkind IN ('v', 'm'),
        obj_description(c.oid, 'pg_class'),
        CASE WHEN c.relkind = 'p' THEN
            (SELECT sum(nullif(k.reltuples, -1)) FROM pg_partition_tree(c.oid) p
             JOIN pg_class k ON k.oid = p.relid WHERE p.isleaf)::float8
        ELSE nullif(c.reltuples, -1)::float8 END,
        n.nspname = coalesce(current_schema(), 'public')
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition
        AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(toast|temp)'
        AND has_schema_privilege(n.oid, 'USAGE')
        AND (has_table_privilege(c.oid, 'SELECT') OR has_any_column_privilege(c.oid, 'SELECT'))
        AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass
            AND d.objid = c.oid AND d.deptype = 'e')
    ORDER BY c.oid";

const COLUMNS: &str = "
    SELECT a.attrelid::int8, a.attname::text, format_type(a.atttypid, a.atttypmod), a.attnotnull,
        a.attgenerated <> '', col_description(a.attrelid, a.attnum::int4),
        (SELECT array_agg(e.enumlabel::text ORDER BY e.enumsortorder)
         FROM pg_enum e WHERE e.enumtypid = a.atttypid)
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
        AND c.relnamespace <> 'pg_catalog'::regnamespace
        AND has_column_privilege(a.attrelid, a.attnum, 'SELECT')
    ORDER BY a.attrelid, a.attnum";

const KEYS: &str = "
    SELECT k.oid::int8, k.contype = 'p', k.conrelid::int8, k.confrelid::int8, a.attname::text,
        f.attname::text
    FROM pg_constraint k
    CROSS JOIN LATERAL unnest(k.conkey, k.confkey) WITH ORDINALITY u(num, fnum, place)
    JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.num
    LEFT JOIN pg_attribute f ON f.attrelid = k.confrelid AND f.attnum = u.fnum
    WHERE k.contype IN ('p', 'f') AND k.conparentid = 0
    ORDER BY k.oid, u.place";

/// Reads the schema of the database that the URL names.
pub(super) async fn postgres(
    name: &str,
    url: &ServerUrl,
    options: &ReadOptions,
) -> Result<Imported> {
    let connect =
        PgConnectOptions::from_url(url.secret()).map(|connect| connect.application_name("gleaner"));
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
    connection: PgConnection,
    options: &'a ReadOptions,
    notes: Vec<String>,
    cells: Cells,
}

impl Reader<'_> {
    async fn rows(&mut self, sql: &str) -> Result<Vec<PgRow>, sqlx::Error> {
        let query = sqlx::query(AssertSqlSafe(sql.to_string())).persistent(false);
        super::in_time(self.options, query.fetch_all(&mut self.connection)).await
    }

    /// Rows that an import may do without; not where the server is gone.
    async fn optional(&mut self, what: &str, sql: &str) -> Result<Vec<PgRow>, sqlx::Error> {
        match self.rows(sql).await {
            Err(error) if !super::is_over(&error) => {
                self.notes.push(format!("{what} left out: {error}"));
                Ok(Vec::new())
            }
            answered => answered,
        }
    }

    async fn read(&mut self, name: &str) -> Result<Database, sqlx::Error> {
        let time = self.options.statement_timeout.as_millis();
        let settings = [
            "SET default_transaction_read_only = on".to_string(),
            format!("SET statement_timeout = {time}"),
            format!("SET lock_timeout = {time}"),
        ];
        for setting in settings {
            let setting = sqlx::raw_sql(AssertSqlSafe(setting));
            super::in_time(self.options, setting.execute(&mut self.connection)).await?;
        }
        let mut database = Database {
            name: name.to_string(),
            dialect: Dialect::Postgres,
            ..Database::default()
        };
        let about = "SELECT shobj_description(oid, 'pg_database') FROM pg_database \
                     WHERE datname = current_database()";
        if let Some(row) = self.rows(about).await?.first() {
            database.description = row.try_get(0)?;
        }
        // Where each table stands, and how SQL calls it.
        let mut places: BTreeMap<i64, usize> = BTreeMap::new();
        let mut sources: Vec<String> = Vec::new();
        for row in self.rows(TABLES).await? {
            let (schema, table): (String, String) = (row.try_get(1)?, row.try_get(2)?);
            let quote = |name: &str| quoted(name, Dialect::Postgres);
            sources.push(format!("{}.{}", quote(&schema), quote(&table)));
            let default: bool = row.try_get(6)?;
            places.insert(row.try_get(0)?, database.tables.len());
            database.tables.push(Table {
                name: if default {
                    table
                } else {
                    format!("{schema}.{table}")
                },
                view: row.try_get(3)?,
                description: row.try_get(4)?,
                rows: row.try_get::<Option<f64>, _>(5)?.map(|rows| rows as u64),
                ..Table::default()
            });
        }
        for row in self.rows(COLUMNS).await? {
            let Some(&place) = places.get(&row.try_get(0)?) else {
                continue;
            };
            let labels: Option<Vec<String>> = row.try_get(6)?;
            let mut column = Column {
                name: row.try_get(1)?,
                data_type: row.try_get(2)?,
                nullable: !row.try_get::<bool, _>(3)?,
                generated: row.try_get(4)?,
                description: row.try_get(5)?,
                ..Column::default()
            };
            let table = &mut database.tables[place];
            column.masked = self.options.masking.names(&column);
            if !column.masked {
                let labels = labels.unwrap_or_default();
                column.values = labels.into_iter().take(MOST_ENUM_VALUES).collect();
            }
            table.columns.push(column);
        }
        let mut keys = Vec::new();
        for row in self.rows(KEYS).await? {
            let primary: bool = row.try_get(1)?;
            let Some(&place) = places.get(&row.try_get(2)?) else {
                continue;
            };
            let column: String = row.try_get(4)?;
            if primary {
                database.tables[place].primary_key.push(column);
                continue;
            }
            let to = places
                .get(&row.try_get(3)?)
                .map(|&to| database.tables[to].name.clone());
            keys.push(KeyColumn {
                key: row.try_get::<i64, _>(0)?.to_string(),
                table: database.tables[place].name.clone(),
                column,
                to_table: to.unwrap_or_else(|| "the other table".into()),
                to_column: row.try_get(5)?,
            });
        }
        drop_hidden_keys(&mut database);
        collect_keys(keys, &mut database, &mut self.notes);
        if super::check_size(&database).is_err() {
            // It is refused as a whole.
            return Ok(database);
        }
        for (table, source) in database.tables.iter_mut().zip(&sources) {
            self.contents(table, source).await?;
        }
        Ok(database)
    }

    async fn contents(&mut self, table: &mut Table, source: &str) -> Result<(), sqlx::Error> {
        if self.options.samples > 0 && !table.columns.is_empty() {
            let columns = table.columns.iter().map(|column| {
                match column.masked || is_binary(&column.data_type) {
                    true => "NULL::text".to_string(),
                    false => format!(
                        "left({}::text, {LONGEST_VALUE})",
                        quoted(&column.name, Dialect::Postgres)
                    ),
                }
            });
            let sql = format!(
                "SELECT {} FROM {source} LIMIT {}",
                columns.collect::<Vec<_>>().join(", "),
                self.options.samples
            );
            let what = format!("sample rows of {}", table.name);
            for row in self.optional(&what, &sql).await? {
                let values = (0..table.columns.len()).map(|i| row.try_get(i));
                table.samples.push(values.collect::<Result<_, _>>()?);
            }
        }
        for i in 0..table.columns.len() {
            let column = &table.columns[i];
            // Listed by their type.
            if !column.values.is_empty() || !wanted(table, column, self.options) {
                continue;
            }
            let name = quoted(&column.name, Dialect::Postgres);
            let sql = format!(
                "SELECT v FROM (SELECT {name}::text AS v FROM \
                 (SELECT {name} FROM {source} LIMIT {SCANNED_ROWS}) rows) texts \
                 WHERE length(v) BETWEEN 1 AND {LONGEST_VALUE} \
                 GROUP BY v ORDER BY count(*) DESC, v COLLATE \"C\" LIMIT {}",
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
