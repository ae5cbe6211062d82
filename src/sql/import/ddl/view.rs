//! The columns of a view, as far as its definition says them.

use sqlparser::ast::{
    Expr, FunctionArguments, Ident, Query, Select, SelectItem, SelectItemQualifiedWildcardKind,
    SetExpr, TableAlias, TableFactor, TableWithJoins,
};

use super::Names;
use crate::sql::{Column, Dialect, Table};

/// Queries inside of queries, at most; what lies deeper stays unknown.
const DEEPEST: usize = 16;

/// What the tables of a FROM are called, and their columns.
struct Scope {
    relations: Vec<(String, Vec<Column>)>,
}

/// A finder of tables that are known already.
pub(super) struct Views<'a> {
    pub(super) names: &'a Names,
    pub(super) tables: &'a [Table],
}

impl Views<'_> {
    /// The columns of a query. A column whose name the definition does not say is left out.
    pub(super) fn columns(&self, query: &Query) -> Vec<Column> {
        self.query(query, &[], 0)
    }

    fn query(&self, query: &Query, outer: &[(String, Vec<Column>)], depth: usize) -> Vec<Column> {
        if depth > DEEPEST {
            return Vec::new();
        }
        let mut known = outer.to_vec();
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            let columns = self.query(&cte.query, &known, depth + 1);
            let columns = self.renamed(columns, &cte.alias);
            known.push((self.names.ident(&cte.alias.name), columns));
        }
        self.set(&query.body, &known, depth)
    }

    fn set(&self, set: &SetExpr, known: &[(String, Vec<Column>)], depth: usize) -> Vec<Column> {
        // A chain of UNIONs leans to the left: its first query names the columns.
        let mut set = set;
        while let SetExpr::SetOperation { left, .. } = set {
            set = left;
        }
        match set {
            SetExpr::Select(select) => self.select(select, known, depth),
            SetExpr::Query(query) => self.query(query, known, depth + 1),
            _ => Vec::new(),
        }
    }

    fn select(
        &self,
        select: &Select,
        known: &[(String, Vec<Column>)],
        depth: usize,
    ) -> Vec<Column> {
        let mut scope = Scope {
            relations: Vec::new(),
        };
        for from in &select.from {
            self.relations(from, known, depth, &mut scope);
        }
        let mut columns: Vec<Column> = Vec::new();
        let mut add = |column: Column| {
            if !column.name.is_empty() && !columns.iter().any(|c| c.name == column.name) {
                columns.push(column);
            }
        };
        for item in &select.projection {
            match item {
                SelectItem::UnnamedExpr(expr) => add(self.expression(expr, None, &scope)),
                SelectItem::ExprWithAlias { expr, alias } => {
                    add(self.expression(expr, Some(alias), &scope));
                }
                SelectItem::Wildcard(_) => {
                    let all = scope.relations.iter().flat_map(|(_, columns)| columns);
                    all.cloned().for_each(&mut add);
                }
                SelectItem::QualifiedWildcard(
                    SelectItemQualifiedWildcardKind::ObjectName(name),
                    _,
                ) => {
                    let name = self.names.object(name);
                    let of = scope
                        .relations
                        .iter()
                        .filter(|(relation, _)| *relation == name);
                    of.flat_map(|(_, columns)| columns)
                        .cloned()
                        .for_each(&mut add);
                }
                _ => {}
            }
        }
        columns
    }

    fn relations(
        &self,
        from: &TableWithJoins,
        known: &[(String, Vec<Column>)],
        depth: usize,
        scope: &mut Scope,
    ) {
        let joined = from.joins.iter().map(|join| &join.relation);
        for factor in std::iter::once(&from.relation).chain(joined) {
            match factor {
                TableFactor::Table { name, alias, .. } => {
                    let name = self.names.object(name);
                    let cte = known.iter().rev().find(|(cte, _)| *cte == name);
                    let table = || {
                        let tables = &mut self.tables.iter();
                        let table = tables.find(|table| self.names.same(&table.name, &name));
                        table.map(from_table)
                    };
                    let columns = cte.map(|(_, columns)| columns.clone()).or_else(table);
                    let columns = columns.unwrap_or_default();
                    scope.relations.push(match alias {
                        Some(alias) => {
                            (self.names.ident(&alias.name), self.renamed(columns, alias))
                        }
                        None => (name, columns),
                    });
                }
                TableFactor::Derived {
                    subquery,
                    alias: Some(alias),
                    ..
                } => {
                    let columns = self.query(subquery, known, depth + 1);
                    let columns = self.renamed(columns, alias);
                    scope
                        .relations
                        .push((self.names.ident(&alias.name), columns));
                }
                TableFactor::NestedJoin {
                    table_with_joins, ..
                } if depth < DEEPEST => self.relations(table_with_joins, known, depth + 1, scope),
                _ => {}
            }
        }
    }

    /// Columns under the names that an alias gives them.
    fn renamed(&self, mut columns: Vec<Column>, alias: &TableAlias) -> Vec<Column> {
        for (i, given) in alias.columns.iter().enumerate() {
            let name = self.names.ident(&given.name);
            match columns.get_mut(i) {
                Some(column) => column.name = name,
                None => columns.push(named(name)),
            }
        }
        columns
    }

    fn expression(&self, expr: &Expr, alias: Option<&Ident>, scope: &Scope) -> Column {
        let referred = match expr {
            Expr::Identifier(ident) => {
                let name = self.names.ident(ident);
                let all = &mut scope.relations.iter().flat_map(|(_, columns)| columns);
                let found = all.find(|column| self.names.same(&column.name, &name));
                Some(found.cloned().unwrap_or_else(|| named(name)))
            }
            Expr::CompoundIdentifier(parts) => parts.split_last().map(|(last, table)| {
                let name = self.names.ident(last);
                let table = table.last().map(|ident| self.names.ident(ident));
                let of = scope.relations.iter().filter(|(relation, _)| {
                    let last = relation.rsplit('.').next();
                    table
                        .as_deref()
                        .is_some_and(|table| last == Some(table) || relation == table)
                });
                let mut columns = of.flat_map(|(_, columns)| columns);
                let found = columns.find(|column| self.names.same(&column.name, &name));
                found.cloned().unwrap_or_else(|| named(name))
            }),
            _ => None,
        };
        let mut column = referred.unwrap_or_else(|| match expr {
            Expr::Cast { data_type, .. } => Column {
                data_type: data_type.to_string(),
                ..named(String::new())
            },
            _ => named(String::new()),
        });
        match alias {
            Some(alias) => column.name = self.names.ident(alias),
            None if column.name.is_empty() => column.name = self.unnamed(expr),
            None => {}
        }
        column
    }

    /// What a database calls an expression that nobody named.
    fn unnamed(&self, expr: &Expr) -> String {
        match (self.names.dialect, expr) {
            (Dialect::Postgres, Expr::Function(function)) => {
                let parts = function.name.0.last().and_then(|part| part.as_ident());
                parts
                    .map(|ident| self.names.ident(ident))
                    .unwrap_or_default()
            }
            (Dialect::Postgres, _) => String::new(),
            // Written as it stands; only short calls are written alike by everybody.
            (_, Expr::Function(function))
                if matches!(function.args, FunctionArguments::List(_)) =>
            {
                expr.to_string()
            }
            _ => String::new(),
        }
    }
}

fn from_table(table: &Table) -> Vec<Column> {
    let columns = table.columns.iter().map(|column| Column {
        name: column.name.clone(),
        data_type: column.data_type.clone(),
        description: column.description.clone(),
        values: column.values.clone(),
        ..named(String::new())
    });
    columns.collect()
}

/// A column of which nothing but the name is known.
fn named(name: String) -> Column {
    Column {
        name,
        nullable: true,
        ..Column::default()
    }
}
