//! What the statements of a DDL text have made so far.

use std::collections::BTreeMap;

use sqlparser::ast::{
    AlterColumnOperation, AlterTable, AlterTableOperation, ColumnDef, ColumnOption, CommentObject,
    CreateTable, CreateTableLikeKind, CreateView, DataType, EnumMember, Expr, ForeignKeyConstraint,
    GeneratedAs, Ident, IndexColumn, MySQLColumnPosition, ObjectName, RenameTableNameKind,
    Statement, TableConstraint,
};
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::split::{is_word, word};
use super::view::Views;
use super::{Names, Wrong};
use crate::error::{Code, Problem, Result};
use crate::sql::MAX_TABLES;
use crate::sql::import::{Imported, MOST_ENUM_VALUES};
use crate::sql::{Cells, Column, Database, Dialect, ForeignKey, Origin, Table};

/// Tables and keys as they stand.
pub(super) struct State {
    /// Statements that say nothing about the schema.
    pub(super) skipped: usize,
    names: Names,
    description: Option<String>,
    tables: Vec<Table>,
    keys: Vec<Key>,
    /// PostgreSQL's types of listed values.
    enumerations: BTreeMap<String, Vec<String>>,
    notes: Vec<String>,
}

/// A foreign key as it is written: the other table may come later, and its columns may not be
/// named.
struct Key {
    constraint: Option<String>,
    table: String,
    columns: Vec<String>,
    to_table: String,
    to_columns: Vec<String>,
}

impl State {
    pub(super) fn new(dialect: Dialect) -> State {
        State {
            skipped: 0,
            names: Names {
                dialect,
                schema: None,
            },
            description: None,
            tables: Vec::new(),
            keys: Vec::new(),
            enumerations: BTreeMap::new(),
            notes: Vec::new(),
        }
    }

    /// `USE database` and `SET search_path = schema, ...`.
    pub(super) fn select_schema(&mut self, tokens: &[TokenWithSpan]) {
        let skip = if is_word(&tokens[0], "USE") { 1 } else { 2 };
        let named = tokens
            .iter()
            .skip(skip)
            .find_map(|token| match &token.token {
                Token::Word(word) if word.value.eq_ignore_ascii_case("TO") => None,
                Token::Word(word) => Some(word.value.clone()),
                Token::SingleQuotedString(name) => Some(name.clone()),
                _ => None,
            });
        let default = |name: &String| {
            self.names.dialect == Dialect::Postgres
                && matches!(name.as_str(), "" | "public" | "$user" | "pg_catalog")
        };
        self.names.schema = named.filter(|name| !default(name));
    }

    /// `CREATE TYPE name AS ENUM ('a', 'b')`.
    pub(super) fn enumeration(&mut self, tokens: &[TokenWithSpan]) -> Result<(), Wrong> {
        let before = tokens.iter().take_while(|token| !is_word(token, "AS"));
        let parts: Vec<String> = before
            .skip(2)
            .filter_map(|token| word(token))
            .map(|word| match word.quote_style {
                None => word.value.to_lowercase(),
                Some(_) => word.value.clone(),
            })
            .collect();
        let values = tokens.iter().filter_map(|token| match &token.token {
            Token::SingleQuotedString(value) => Some(value.clone()),
            _ => None,
        });
        let values = values.take(MOST_ENUM_VALUES).collect();
        self.enumerations.insert(self.names.parts(&parts), values);
        Ok(())
    }

    /// `CREATE VIRTUAL TABLE name USING module(argument, ...)`: the arguments that are a name,
    /// or begin with one, are columns for the modules that are in use.
    pub(super) fn virtual_table(&mut self, tokens: &[TokenWithSpan]) -> Result<(), Wrong> {
        let using = tokens.iter().position(|token| is_word(token, "USING"));
        let using = using.ok_or_else(|| Wrong::new("Expected: USING after the name"))?;
        let name = tokens[..using].iter().rev().find_map(|token| word(token));
        let name = name.ok_or_else(|| Wrong::new("Expected: a name"))?;
        let mut columns: Vec<Column> = Vec::new();
        let arguments = tokens[using..]
            .iter()
            .skip_while(|t| t.token != Token::LParen);
        let arguments: Vec<_> = arguments.skip(1).collect();
        for argument in arguments.split(|token| token.token == Token::Comma) {
            let option = argument.iter().any(|token| token.token == Token::Eq);
            if let Some(word) = argument.first().and_then(|token| word(token))
                && !option
            {
                columns.push(Column {
                    name: word.value.clone(),
                    nullable: true,
                    ..Column::default()
                });
            }
        }
        self.add(
            Table {
                name: name.value.clone(),
                columns,
                ..Table::default()
            },
            Existing::Kept,
        )
    }

    pub(super) fn statement(
        &mut self,
        statement: Statement,
        comment: Option<String>,
    ) -> Result<(), Wrong> {
        match statement {
            Statement::CreateTable(table) => self.create_table(table, comment),
            Statement::CreateView(view) => self.create_view(view),
            Statement::AlterTable(alter) => self.alter_table(alter),
            Statement::Drop { names, .. } => {
                for name in names {
                    let name = self.names.object(&name);
                    self.remove(&name);
                }
                Ok(())
            }
            Statement::RenameTable(renames) => {
                for rename in renames {
                    let old = self.names.object(&rename.old_name);
                    let new = self.names.object(&rename.new_name);
                    self.rename(&old, new);
                }
                Ok(())
            }
            Statement::Comment {
                object_type,
                object_name,
                comment,
                ..
            } => {
                self.comment(object_type, &object_name, comment);
                Ok(())
            }
            _ => {
                self.skipped += 1;
                Ok(())
            }
        }
    }

    fn create_table(&mut self, create: CreateTable, comment: Option<String>) -> Result<(), Wrong> {
        let name = self.names.object(&create.name);
        let mut table = Table {
            name: name.clone(),
            description: comment.filter(|text| !text.is_empty()),
            ..Table::default()
        };
        let like = create.like.as_ref().map(|like| match like {
            CreateTableLikeKind::Parenthesized(like) | CreateTableLikeKind::Plain(like) => {
                &like.name
            }
        });
        for parent in create.inherits.iter().flatten().chain(like) {
            let parent = self.names.object(parent);
            if let Some(parent) = self.find(&parent) {
                table
                    .columns
                    .extend(self.tables[parent].columns.iter().cloned());
            }
        }
        if let Some(query) = &create.query {
            let views = Views {
                names: &self.names,
                tables: &self.tables,
            };
            table.columns = views.columns(query);
        }
        let mut keys = Vec::new();
        for definition in &create.columns {
            let column = self.column(definition, &mut table.primary_key, &name, &mut keys);
            match table.columns.iter_mut().find(|c| c.name == column.name) {
                // Of a parent, or of the query that fills it.
                Some(inherited) => *inherited = column,
                None => table.columns.push(column),
            }
        }
        for constraint in &create.constraints {
            self.constraint(constraint, &mut table, &mut keys);
        }
        settle_key(&self.names, &mut table);
        let existing = if create.if_not_exists {
            Existing::Kept
        } else if create.or_replace {
            Existing::Replaced
        } else {
            Existing::Refused
        };
        let before = self.find(&name).is_some();
        self.add(table, existing)?;
        if !before || create.or_replace {
            self.keys.extend(keys);
        }
        Ok(())
    }

    fn create_view(&mut self, create: CreateView) -> Result<(), Wrong> {
        let views = Views {
            names: &self.names,
            tables: &self.tables,
        };
        let mut columns = views.columns(&create.query);
        if !create.columns.is_empty() {
            let known = std::mem::take(&mut columns);
            columns = create
                .columns
                .iter()
                .enumerate()
                .map(|(i, stated)| Column {
                    name: self.names.ident(&stated.name),
                    data_type: match (&stated.data_type, known.get(i)) {
                        (Some(data_type), _) => data_type.to_string(),
                        // Only where no column of the query was left out do places agree.
                        (None, Some(column)) if known.len() == create.columns.len() => {
                            column.data_type.clone()
                        }
                        _ => String::new(),
                    },
                    nullable: true,
                    ..Column::default()
                })
                .collect();
        }
        let view = Table {
            name: self.names.object(&create.name),
            description: create.comment,
            view: true,
            columns,
            ..Table::default()
        };
        if view.columns.is_empty() {
            self.notes.push(format!(
                "view {}: its definition does not say what its columns are",
                view.name
            ));
        }
        let existing = match create.if_not_exists {
            true => Existing::Kept,
            false if create.or_replace => Existing::Replaced,
            false => Existing::Refused,
        };
        self.add(view, existing)
    }

    fn column(
        &self,
        definition: &ColumnDef,
        primary_key: &mut Vec<String>,
        table: &str,
        keys: &mut Vec<Key>,
    ) -> Column {
        let mut column = Column {
            name: self.names.ident(&definition.name),
            data_type: type_text(&definition.data_type),
            nullable: true,
            values: self.listed_values(&definition.data_type),
            ..Column::default()
        };
        for option in &definition.options {
            match &option.option {
                ColumnOption::PrimaryKey(_) => primary_key.push(column.name.clone()),
                ColumnOption::ForeignKey(key) => {
                    let mut key = self.key(table, key);
                    key.columns = vec![column.name.clone()];
                    key.constraint = option.name.as_ref().map(|name| self.names.ident(name));
                    keys.push(key);
                }
                option => apply(option, &mut column),
            }
        }
        column
    }

    fn listed_values(&self, data_type: &DataType) -> Vec<String> {
        match data_type {
            DataType::Enum(members, _) => {
                let names = members.iter().map(|member| match member {
                    EnumMember::Name(name) | EnumMember::NamedValue(name, _) => name.clone(),
                });
                names.take(MOST_ENUM_VALUES).collect()
            }
            DataType::Set(names) => names.iter().take(MOST_ENUM_VALUES).cloned().collect(),
            DataType::Custom(name, _) => {
                let known = self.enumerations.get(&self.names.object(name));
                known.cloned().unwrap_or_default()
            }
            _ => Vec::new(),
        }
    }

    fn key(&self, table: &str, key: &ForeignKeyConstraint) -> Key {
        Key {
            constraint: key.name.as_ref().map(|name| self.names.ident(name)),
            table: table.to_string(),
            columns: self.idents(&key.columns),
            to_table: self.names.object(&key.foreign_table),
            to_columns: self.idents(&key.referred_columns),
        }
    }

    fn idents(&self, idents: &[Ident]) -> Vec<String> {
        idents.iter().map(|ident| self.names.ident(ident)).collect()
    }

    fn indexed(&self, columns: &[IndexColumn]) -> Vec<String> {
        let names = columns
            .iter()
            .filter_map(|column| match &column.column.expr {
                Expr::Identifier(ident) => Some(self.names.ident(ident)),
                // With the length of a prefix: `name(10)`.
                Expr::Function(function) => {
                    let ident = function.name.0.last().and_then(|part| part.as_ident());
                    ident.map(|ident| self.names.ident(ident))
                }
                _ => None,
            });
        names.collect()
    }

    fn constraint(&self, constraint: &TableConstraint, table: &mut Table, keys: &mut Vec<Key>) {
        match constraint {
            TableConstraint::PrimaryKey(key) => table.primary_key = self.indexed(&key.columns),
            TableConstraint::ForeignKey(key) => keys.push(self.key(&table.name, key)),
            _ => {}
        }
    }

    fn alter_table(&mut self, alter: AlterTable) -> Result<(), Wrong> {
        let name = self.names.object(&alter.name);
        let Some(at) = self.find(&name) else {
            // Of another part of the schema, perhaps: a file with the keys alone.
            self.notes
                .push(format!("ALTER TABLE {name}: no such table"));
            return Ok(());
        };
        for operation in alter.operations {
            self.alteration(at, operation)?;
        }
        Ok(())
    }

    fn alteration(&mut self, at: usize, operation: AlterTableOperation) -> Result<(), Wrong> {
        let name = self.tables[at].name.clone();
        match operation {
            AlterTableOperation::AddConstraint { constraint, .. } => {
                let mut table = std::mem::take(&mut self.tables[at]);
                let mut keys = Vec::new();
                self.constraint(&constraint, &mut table, &mut keys);
                settle_key(&self.names, &mut table);
                self.keys.extend(keys);
                self.tables[at] = table;
            }
            AlterTableOperation::AddColumn {
                column_def,
                column_position,
                if_not_exists,
                ..
            } => {
                let (mut primary_key, mut keys) = (Vec::new(), Vec::new());
                let column = self.column(&column_def, &mut primary_key, &name, &mut keys);
                if self.column_place(at, &column.name).is_some() {
                    return match if_not_exists {
                        true => Ok(()),
                        false => Err(Wrong::new(format!(
                            "table {name} has a column {} already",
                            column.name
                        ))),
                    };
                }
                let place = self.place(at, column_position.as_ref());
                let table = &mut self.tables[at];
                table.columns.insert(place, column);
                if !primary_key.is_empty() {
                    table.primary_key = primary_key;
                }
                settle_key(&self.names, table);
                self.keys.extend(keys);
            }
            AlterTableOperation::DropColumn { column_names, .. } => {
                for column in self.idents(&column_names) {
                    self.drop_column(at, &column);
                }
            }
            AlterTableOperation::RenameColumn {
                old_column_name,
                new_column_name,
            } => {
                let old = self.names.ident(&old_column_name);
                let new = self.names.ident(&new_column_name);
                self.rename_column(at, &old, new);
            }
            AlterTableOperation::RenameTable { table_name } => {
                let (RenameTableNameKind::As(new) | RenameTableNameKind::To(new)) = &table_name;
                let mut new = self.names.object(new);
                // The schema stays.
                if let Some((schema, _)) = name.rsplit_once('.')
                    && !new.contains('.')
                {
                    new = format!("{schema}.{new}");
                }
                self.rename(&name, new);
            }
            AlterTableOperation::ChangeColumn {
                old_name,
                new_name,
                data_type,
                options,
                ..
            } => {
                let old = self.names.ident(&old_name);
                self.rename_column(at, &old, self.names.ident(&new_name));
                self.retype(at, &new_name, &data_type, &options);
            }
            AlterTableOperation::ModifyColumn {
                col_name,
                data_type,
                options,
                ..
            } => self.retype(at, &col_name, &data_type, &options),
            AlterTableOperation::AlterColumn { column_name, op } => {
                let column = self.names.ident(&column_name);
                let Some(place) = self.column_place(at, &column) else {
                    return Ok(());
                };
                let values = match &op {
                    AlterColumnOperation::SetDataType { data_type, .. } => {
                        self.listed_values(data_type)
                    }
                    _ => Vec::new(),
                };
                let column = &mut self.tables[at].columns[place];
                match op {
                    AlterColumnOperation::SetNotNull => column.nullable = false,
                    AlterColumnOperation::DropNotNull => column.nullable = true,
                    AlterColumnOperation::SetDataType { data_type, .. } => {
                        column.data_type = type_text(&data_type);
                        column.values = values;
                    }
                    _ => {}
                }
            }
            AlterTableOperation::DropPrimaryKey { .. } => self.tables[at].primary_key.clear(),
            AlterTableOperation::DropForeignKey { name: key, .. }
            | AlterTableOperation::DropConstraint { name: key, .. } => {
                let key = self.names.ident(&key);
                self.keys
                    .retain(|k| k.table != name || k.constraint.as_deref() != Some(key.as_str()));
            }
            AlterTableOperation::AttachPartitionOf { partition, .. } => {
                let partition = self.names.object(&partition);
                self.remove(&partition);
            }
            _ => {}
        }
        Ok(())
    }

    fn retype(&mut self, at: usize, name: &Ident, data_type: &DataType, options: &[ColumnOption]) {
        let name = self.names.ident(name);
        if let Some(place) = self.column_place(at, &name) {
            let mut column = Column {
                name: self.tables[at].columns[place].name.clone(),
                data_type: type_text(data_type),
                nullable: true,
                values: self.listed_values(data_type),
                ..Column::default()
            };
            options.iter().for_each(|option| apply(option, &mut column));
            self.tables[at].columns[place] = column;
        }
    }

    fn place(&self, at: usize, position: Option<&MySQLColumnPosition>) -> usize {
        match position {
            Some(MySQLColumnPosition::First) => 0,
            Some(MySQLColumnPosition::After(ident)) => {
                let after = self.column_place(at, &self.names.ident(ident));
                after.map_or(self.tables[at].columns.len(), |place| place + 1)
            }
            None => self.tables[at].columns.len(),
        }
    }

    fn column_place(&self, at: usize, name: &str) -> Option<usize> {
        let columns = &self.tables[at].columns;
        columns.iter().position(|c| self.names.same(&c.name, name))
    }

    fn drop_column(&mut self, at: usize, name: &str) {
        let table = &mut self.tables[at];
        table.columns.retain(|c| !self.names.same(&c.name, name));
        table.primary_key.retain(|c| !self.names.same(c, name));
        let table = &self.tables[at].name;
        let names = &self.names;
        let concerns = |t: &str, columns: &[String]| {
            names.same(t, table) && columns.iter().any(|c| names.same(c, name))
        };
        self.keys.retain(|key| {
            !concerns(&key.table, &key.columns) && !concerns(&key.to_table, &key.to_columns)
        });
    }

    fn rename_column(&mut self, at: usize, old: &str, new: String) {
        let names = &self.names;
        let rename = |name: &mut String| {
            if names.same(name, old) {
                name.clone_from(&new);
            }
        };
        let table = &mut self.tables[at];
        table.columns.iter_mut().for_each(|c| rename(&mut c.name));
        table.primary_key.iter_mut().for_each(rename);
        for key in &mut self.keys {
            if names.same(&key.table, &table.name) {
                key.columns.iter_mut().for_each(rename);
            }
            if names.same(&key.to_table, &table.name) {
                key.to_columns.iter_mut().for_each(rename);
            }
        }
    }

    fn rename(&mut self, old: &str, new: String) {
        let names = &self.names;
        let rename = |name: &mut String| {
            if names.same(name, old) {
                name.clone_from(&new);
            }
        };
        self.tables
            .iter_mut()
            .for_each(|table| rename(&mut table.name));
        for key in &mut self.keys {
            rename(&mut key.table);
            rename(&mut key.to_table);
        }
    }

    fn comment(&mut self, of: CommentObject, name: &ObjectName, comment: Option<String>) {
        match of {
            CommentObject::Database => self.description = comment,
            CommentObject::Column => {
                let parts = name.0.iter().filter_map(|part| part.as_ident());
                let parts: Vec<String> = parts.map(|ident| self.names.ident(ident)).collect();
                if let Some((column, table)) = parts.split_last()
                    && let Some(at) = self.find(&self.names.parts(table))
                    && let Some(place) = self.column_place(at, column)
                {
                    self.tables[at].columns[place].description = comment;
                }
            }
            _ => {
                if let Some(at) = self.find(&self.names.object(name)) {
                    self.tables[at].description = comment;
                }
            }
        }
    }

    /// # Errors
    /// `limit_exceeded` for more tables than a database may have: each is compared with all.
    pub(super) fn check_size(&self) -> Result<(), Problem> {
        if self.tables.len() <= MAX_TABLES {
            return Ok(());
        }
        let message = "the database has too many tables";
        Err(Problem::new(Code::LimitExceeded, message)
            .field("ddl")
            .found(format!("more than {MAX_TABLES}"))
            .expected(format!("at most {MAX_TABLES}")))
    }

    fn find(&self, name: &str) -> Option<usize> {
        let exact = self.tables.iter().position(|table| table.name == name);
        let same = |table: &Table| self.names.same(&table.name, name);
        exact.or_else(|| self.tables.iter().position(same))
    }

    fn remove(&mut self, name: &str) {
        if let Some(at) = self.find(name) {
            let removed = self.tables.remove(at);
            self.keys.retain(|key| key.table != removed.name);
        }
    }

    fn add(&mut self, table: Table, existing: Existing) -> Result<(), Wrong> {
        match (self.find(&table.name), existing) {
            (None, _) => self.tables.push(table),
            (Some(_), Existing::Kept) => {}
            (Some(at), Existing::Replaced) => {
                let name = self.tables[at].name.clone();
                self.keys.retain(|key| key.table != name);
                self.tables[at] = table;
            }
            (Some(_), Existing::Refused) => {
                return Err(Wrong::new(format!("{} is created twice", table.name)));
            }
        }
        Ok(())
    }

    /// The schema, its keys resolved.
    pub(super) fn finish(mut self, name: &str) -> Result<Imported> {
        if self.tables.is_empty() {
            return Err(
                Problem::new(Code::InvalidSchema, "the DDL text creates no table")
                    .field("ddl")
                    .expected("CREATE TABLE statements")
                    .into(),
            );
        }
        let mut foreign_keys: Vec<ForeignKey> = Vec::new();
        for key in std::mem::take(&mut self.keys) {
            match self.resolve(&key) {
                Ok(key) if !foreign_keys.contains(&key) => foreign_keys.push(key),
                Ok(_) => {}
                Err(why) => self.notes.push(format!(
                    "foreign key {}({}) left out: {why}",
                    key.table,
                    key.columns.join(", ")
                )),
            }
        }
        Ok(Imported {
            database: Database {
                name: name.to_string(),
                dialect: self.names.dialect,
                description: self.description,
                tables: self.tables,
                foreign_keys,
            },
            skipped: self.skipped,
            notes: self.notes,
            cells: Cells::default(),
        })
    }

    fn resolve(&self, key: &Key) -> Result<ForeignKey, String> {
        let table = |name: &str| {
            let at = self.find(name).ok_or_else(|| format!("no table {name}"));
            at.map(|at| (at, &self.tables[at]))
        };
        let spelled = |at: usize, columns: &[String]| {
            let spell = |column: &String| {
                let place = self.column_place(at, column);
                let place = place
                    .ok_or_else(|| format!("no column {column} in {}", self.tables[at].name))?;
                Ok(self.tables[at].columns[place].name.clone())
            };
            columns
                .iter()
                .map(spell)
                .collect::<Result<Vec<String>, String>>()
        };
        let (from_at, from) = table(&key.table)?;
        let (to_at, to) = table(&key.to_table)?;
        let columns = spelled(from_at, &key.columns)?;
        let to_columns = match key.to_columns.is_empty() {
            true => to.primary_key.clone(),
            false => spelled(to_at, &key.to_columns)?,
        };
        if to_columns.len() != columns.len() || columns.is_empty() {
            return Err(format!("{} has no key of as many columns", to.name));
        }
        Ok(ForeignKey {
            table: from.name.clone(),
            columns,
            to_table: to.name.clone(),
            to_columns,
            origin: Origin::Declared,
        })
    }
}

/// What a CREATE does with a table of the same name.
#[derive(Clone, Copy)]
enum Existing {
    Kept,
    Replaced,
    Refused,
}

/// Options of a column that concern it alone.
fn apply(option: &ColumnOption, column: &mut Column) {
    match option {
        ColumnOption::NotNull => column.nullable = false,
        ColumnOption::Null => column.nullable = true,
        ColumnOption::Comment(text) if !text.is_empty() => column.description = Some(text.clone()),
        ColumnOption::Generated {
            generated_as,
            generation_expr,
            ..
        } => {
            // GENERATED ... AS IDENTITY is a number that counts up, not computed from others.
            column.generated =
                generation_expr.is_some() || matches!(generated_as, GeneratedAs::ExpStored);
        }
        _ => {}
    }
}

/// Spells the primary key as the columns are, which it makes NOT NULL.
fn settle_key(names: &Names, table: &mut Table) {
    for key in &mut table.primary_key {
        if let Some(column) = table.columns.iter_mut().find(|c| names.same(&c.name, key)) {
            column.nullable = false;
            key.clone_from(&column.name);
        }
    }
    let columns = &table.columns;
    table
        .primary_key
        .retain(|key| columns.iter().any(|column| column.name == *key));
}

fn type_text(data_type: &DataType) -> String {
    match data_type {
        DataType::Unspecified => String::new(),
        other => other.to_string(),
    }
}
