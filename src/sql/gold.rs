//! What a SQL text uses of a database: its tables and columns, resolved by SQL's rules of scope.
//!
//! The promise: every table and column that the text names is found, whatever it is called there
//! (aliases, common table expressions, derived tables, correlated subqueries, quoted names, other
//! case); what cannot be read or resolved is an error and never a smaller answer.
//!
//! Some choices, where SQL leaves one:
//! * A star (`SELECT *`, `t.*`, `COUNT(*)`) uses its tables and names no column, as in the
//!   scripts with which published systems measure: they look for the columns that stand in the
//!   SQL.
//! * `"name"` in double quotes is a value where no column has that name, as SQLite has it.
//! * `USING (c)` and `NATURAL` use the columns of both sides.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, Ident, Join, JoinConstraint, JoinOperator, ObjectName, OrderByExpr, Query, Select,
    SelectItem, SelectItemQualifiedWildcardKind, SetExpr, Statement, TableFactor, TableWithJoins,
    Visit, Visitor,
};
use sqlparser::dialect::{Dialect, GenericDialect, MySqlDialect, SQLiteDialect};
use sqlparser::parser::Parser;

use super::database::same_name;
use super::{Database, Table};

/// Tables and columns that a SQL text uses, in the database's spelling.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gold {
    /// Those of the columns among them.
    pub tables: BTreeSet<String>,
    /// Table and column.
    pub columns: BTreeSet<(String, String)>,
}

/// Most joins of one `FROM`: each is resolved beside all before it.
const MOST_JOINS: usize = 200;

/// Why a text has no [`Gold`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unread {
    /// No dialect can parse it.
    #[error("it cannot be parsed: {0}")]
    Syntax(String),
    /// It parses and is something else than one query.
    #[error("it is not one query")]
    NotAQuery,
    #[error("the database has no table `{0}`")]
    UnknownTable(String),
    #[error("no table in reach has a column `{0}`")]
    UnknownColumn(String),
}

/// Reads what `sql` uses of `database`. SQLite's dialect is tried first, then a generic one and
/// MySQL's.
///
/// # Errors
/// [`Unread`], for what cannot be parsed or names what the database does not have.
pub fn gold(sql: &str, database: &Database) -> Result<Gold, Unread> {
    let mut first = None;
    let dialects: [&dyn Dialect; 3] = [&SQLiteDialect {}, &GenericDialect {}, &MySqlDialect {}];
    for dialect in dialects {
        match read(sql, dialect, database) {
            Ok(gold) => return Ok(gold),
            Err(unread) => first = first.or(Some(unread)),
        }
    }
    Err(first.unwrap_or(Unread::NotAQuery))
}

fn read(sql: &str, dialect: &dyn Dialect, database: &Database) -> Result<Gold, Unread> {
    let statements = Parser::parse_sql(dialect, sql).map_err(|e| Unread::Syntax(e.to_string()))?;
    let [Statement::Query(query)] = statements.as_slice() else {
        return Err(Unread::NotAQuery);
    };
    let mut reader = Reader {
        database,
        gold: Gold::default(),
        frames: Vec::new(),
        alias_next: false,
    };
    match query.visit(&mut reader) {
        ControlFlow::Continue(()) => Ok(reader.gold),
        ControlFlow::Break(unread) => Err(unread),
    }
}

/// What a name in a FROM clause stands for.
#[derive(Clone)]
enum Source<'d> {
    Table(&'d Table),
    /// A derived table or a common table expression: the columns it has.
    Derived(Outputs),
}

/// Columns of a query's result, in lower case.
type Outputs = HashSet<String>;

/// What names mean inside of a query or a SELECT.
#[derive(Default)]
struct Frame<'d> {
    expressions: HashMap<String, Outputs>,
    /// Names in lower case.
    sources: Vec<(String, Source<'d>)>,
    /// Names that the projection gives, in lower case.
    aliases: HashSet<String>,
    /// Whether ORDER BY, which sees aliases before columns, belongs to it.
    query: bool,
}

struct Reader<'d> {
    database: &'d Database,
    gold: Gold,
    /// The innermost last.
    frames: Vec<Frame<'d>>,
    /// The next expression is an alias and no column.
    alias_next: bool,
}

type Flow = ControlFlow<Unread>;

impl<'d> Reader<'d> {
    fn use_column(&mut self, table: &Table, column: &str) {
        self.gold.tables.insert(table.name.clone());
        self.gold
            .columns
            .insert((table.name.clone(), column.to_string()));
    }

    /// The result columns of a common table expression in reach.
    fn expression(&self, name: &str) -> Option<&Outputs> {
        let frames = self.frames.iter().rev();
        frames
            .filter_map(|frame| frame.expressions.get(&name.to_lowercase()))
            .next()
    }

    /// The table or expression of a name; a schema in front may be part of it or not.
    fn named(&self, name: &ObjectName) -> Result<(String, Source<'d>), Unread> {
        let parts: Vec<&str> = identifiers(name).map(|part| part.value.as_str()).collect();
        let whole = parts.join(".");
        let last = parts.last().copied().unwrap_or_default();
        if let (1, Some(outputs)) = (parts.len(), self.expression(last)) {
            return Ok((last.to_lowercase(), Source::Derived(outputs.clone())));
        }
        let table = self
            .database
            .table(&whole)
            .or_else(|| self.database.table(last))
            .ok_or(Unread::UnknownTable(whole))?;
        Ok((last.to_lowercase(), Source::Table(table)))
    }

    fn sources(&self, from: &[TableWithJoins]) -> Result<Vec<(String, Source<'d>)>, Unread> {
        let mut sources = Vec::new();
        for part in from {
            self.gather(part, &mut sources)?;
        }
        Ok(sources)
    }

    fn gather(
        &self,
        part: &TableWithJoins,
        sources: &mut Vec<(String, Source<'d>)>,
    ) -> Result<(), Unread> {
        let joined = part.joins.iter().map(|join| &join.relation);
        for factor in std::iter::once(&part.relation).chain(joined) {
            match factor {
                TableFactor::Table { name, alias, .. } => {
                    let (own, source) = self.named(name)?;
                    let name = alias.as_ref().map(|a| a.name.value.to_lowercase());
                    sources.push((name.unwrap_or(own), source));
                }
                TableFactor::Derived {
                    subquery, alias, ..
                } => {
                    let name = alias.as_ref().map(|a| a.name.value.to_lowercase());
                    let outputs = self.outputs(subquery)?;
                    sources.push((name.unwrap_or_default(), Source::Derived(outputs)));
                }
                TableFactor::NestedJoin {
                    table_with_joins, ..
                } => self.gather(table_with_joins, sources)?,
                // Functions that give tables: nothing of the database is named by them.
                _ => {}
            }
        }
        Ok(())
    }

    /// The columns that a query's result has.
    fn outputs(&self, query: &Query) -> Result<Outputs, Unread> {
        // Its own common table expressions are not known out here.
        let mut inner = Reader {
            database: self.database,
            gold: Gold::default(),
            frames: vec![Frame {
                expressions: self.all_expressions(),
                ..Frame::default()
            }],
            alias_next: false,
        };
        inner.expressions_of(query)?;
        let Some(select) = leftmost(&query.body) else {
            return Ok(Outputs::new());
        };
        let sources = inner.sources(&select.from)?;
        let mut outputs = Outputs::new();
        for item in &select.projection {
            match item {
                SelectItem::ExprWithAlias { alias, .. } => {
                    outputs.insert(alias.value.to_lowercase());
                }
                SelectItem::UnnamedExpr(Expr::Identifier(name)) => {
                    outputs.insert(name.value.to_lowercase());
                }
                SelectItem::UnnamedExpr(Expr::CompoundIdentifier(names)) => {
                    outputs.extend(names.last().map(|name| name.value.to_lowercase()));
                }
                // SQLite names what has no name by its text.
                SelectItem::UnnamedExpr(expression) => {
                    outputs.insert(expression.to_string().to_lowercase());
                }
                SelectItem::QualifiedWildcard(kind, _) => {
                    let wanted = qualifier(kind);
                    for (_, source) in sources
                        .iter()
                        .filter(|(name, _)| Some(name) == wanted.as_ref())
                    {
                        outputs.extend(columns_of(source));
                    }
                }
                SelectItem::Wildcard(_) => {
                    outputs.extend(sources.iter().flat_map(|(_, source)| columns_of(source)));
                }
                SelectItem::ExprWithAliases { aliases, .. } => {
                    outputs.extend(aliases.iter().map(|alias| alias.value.to_lowercase()));
                }
            }
        }
        Ok(outputs)
    }

    fn all_expressions(&self) -> HashMap<String, Outputs> {
        let all = self.frames.iter().flat_map(|frame| &frame.expressions);
        all.map(|(name, outputs)| (name.clone(), outputs.clone()))
            .collect()
    }

    /// Makes the common table expressions of a query known in the innermost frame.
    fn expressions_of(&mut self, query: &Query) -> Result<(), Unread> {
        for expression in query.with.iter().flat_map(|with| &with.cte_tables) {
            let name = expression.alias.name.value.to_lowercase();
            let declared = &expression.alias.columns;
            let names: Outputs = declared
                .iter()
                .map(|c| c.name.value.to_lowercase())
                .collect();
            // A recursive one reads itself: known by its declared columns while it is read.
            if let Some(frame) = self.frames.last_mut() {
                frame.expressions.insert(name.clone(), names.clone());
            }
            let mut outputs = self.outputs(&expression.query)?;
            outputs.extend(names);
            if let Some(frame) = self.frames.last_mut() {
                frame.expressions.insert(name, outputs);
            }
        }
        Ok(())
    }

    /// `USING` and `NATURAL` name columns without an expression.
    fn joins(&mut self, part: &TableWithJoins) -> Result<(), Unread> {
        if part.joins.len() > MOST_JOINS {
            return Err(Unread::Syntax(format!("more than {MOST_JOINS} joins")));
        }
        for (n, join) in part.joins.iter().enumerate() {
            let names: Vec<String> = match constraint(join) {
                Some(JoinConstraint::Using(names) | JoinConstraint::UsingAlias(names, _)) => {
                    let last = names.iter().filter_map(|name| identifiers(name).last());
                    last.map(|name| name.value.clone()).collect()
                }
                Some(JoinConstraint::Natural) => Vec::new(),
                _ => continue,
            };
            let natural = names.is_empty();
            let left = TableWithJoins {
                relation: part.relation.clone(),
                joins: part.joins[..n].to_vec(),
            };
            let right = TableWithJoins {
                relation: join.relation.clone(),
                joins: Vec::new(),
            };
            let (left, right) = (self.sources(&[left])?, self.sources(&[right])?);
            let shared = |name: &str| {
                let has = |side: &[(String, Source<'d>)]| {
                    side.iter()
                        .any(|(_, source)| columns_of(source).any(|c| same_name(&c, name)))
                };
                has(&left) && has(&right)
            };
            for (_, source) in left.iter().chain(&right) {
                let Source::Table(table) = source else {
                    continue;
                };
                for column in &table.columns {
                    let named = names.iter().any(|name| same_name(name, &column.name));
                    if named || (natural && shared(&column.name)) {
                        self.use_column(table, &column.name);
                    }
                }
            }
        }
        Ok(())
    }

    fn open(&mut self, select: &Select) -> Result<(), Unread> {
        let sources = self.sources(&select.from)?;
        for (_, source) in &sources {
            if let Source::Table(table) = source {
                self.gold.tables.insert(table.name.clone());
            }
        }
        for part in &select.from {
            self.joins(part)?;
        }
        let frame = self.frame(select, sources);
        self.frames.push(frame);
        Ok(())
    }

    fn frame(&self, select: &Select, sources: Vec<(String, Source<'d>)>) -> Frame<'d> {
        let aliases = select.projection.iter().filter_map(|item| match item {
            SelectItem::ExprWithAlias { alias, .. } => Some(alias.value.to_lowercase()),
            _ => None,
        });
        Frame {
            sources,
            aliases: aliases.collect(),
            ..Frame::default()
        }
    }

    fn open_query(&mut self, query: &Query) -> Result<(), Unread> {
        self.frames.push(Frame {
            query: true,
            ..Frame::default()
        });
        self.expressions_of(query)?;
        if let Some(select) = leftmost(&query.body) {
            let frame = self.frame(select, self.sources(&select.from)?);
            if let Some(own) = self.frames.last_mut() {
                own.sources = frame.sources;
                own.aliases = frame.aliases;
            }
        }
        Ok(())
    }

    /// A column without a table in front.
    fn bare(&mut self, name: &Ident) -> Result<(), Unread> {
        let mut found = None;
        'frames: for frame in self.frames.iter().rev() {
            for (_, source) in &frame.sources {
                match source {
                    Source::Table(table) => {
                        if let Some(column) = table.column(&name.value) {
                            found = Some((*table, column.name.as_str()));
                            break 'frames;
                        }
                    }
                    Source::Derived(outputs) => {
                        if outputs.contains(&name.value.to_lowercase()) {
                            return Ok(());
                        }
                    }
                }
            }
        }
        if let Some((table, column)) = found {
            self.use_column(table, column);
            return Ok(());
        }
        let lower = name.value.to_lowercase();
        let is_alias = self
            .frames
            .iter()
            .any(|frame| frame.aliases.contains(&lower));
        if is_alias || is_row_id(&lower) || matches!(name.quote_style, Some('"' | '\'')) {
            return Ok(());
        }
        Err(Unread::UnknownColumn(name.value.clone()))
    }

    /// A column with its table in front, and perhaps a schema before that.
    fn qualified(&mut self, names: &[Ident]) -> Result<(), Unread> {
        let [.., table, column] = names else {
            return Ok(());
        };
        let wanted = table.value.to_lowercase();
        let frames = self.frames.iter().rev();
        let source = frames
            .flat_map(|frame| &frame.sources)
            .find(|(name, _)| *name == wanted)
            .map(|(_, source)| source.clone());
        let unknown = || Unread::UnknownColumn(format!("{}.{}", table.value, column.value));
        match source {
            Some(Source::Derived(_)) => Ok(()),
            Some(Source::Table(table)) => match table.column(&column.value) {
                Some(found) => {
                    self.use_column(table, &found.name);
                    Ok(())
                }
                None if is_row_id(&column.value.to_lowercase()) => Ok(()),
                None => Err(unknown()),
            },
            None => Err(unknown()),
        }
    }
}

impl Visitor for Reader<'_> {
    type Break = Unread;

    fn pre_visit_query(&mut self, query: &Query) -> Flow {
        flow(self.open_query(query))
    }

    fn post_visit_query(&mut self, _: &Query) -> Flow {
        self.frames.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> Flow {
        flow(self.open(select))
    }

    fn post_visit_select(&mut self, _: &Select) -> Flow {
        self.frames.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_order_by_expr(&mut self, order: &OrderByExpr) -> Flow {
        let own = self.frames.last().filter(|frame| frame.query);
        self.alias_next = match (&order.expr, own) {
            (Expr::Identifier(name), Some(frame)) => {
                frame.aliases.contains(&name.value.to_lowercase())
            }
            _ => false,
        };
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expression: &Expr) -> Flow {
        if std::mem::take(&mut self.alias_next) {
            return ControlFlow::Continue(());
        }
        flow(match expression {
            Expr::Identifier(name) => self.bare(name),
            Expr::CompoundIdentifier(names) => self.qualified(names),
            _ => Ok(()),
        })
    }
}

fn flow(result: Result<(), Unread>) -> Flow {
    match result {
        Ok(()) => ControlFlow::Continue(()),
        Err(unread) => ControlFlow::Break(unread),
    }
}

fn identifiers(name: &ObjectName) -> impl Iterator<Item = &Ident> {
    name.0.iter().filter_map(|part| part.as_ident())
}

fn qualifier(kind: &SelectItemQualifiedWildcardKind) -> Option<String> {
    match kind {
        SelectItemQualifiedWildcardKind::ObjectName(name) => identifiers(name)
            .last()
            .map(|name| name.value.to_lowercase()),
        SelectItemQualifiedWildcardKind::Expr(_) => None,
    }
}

/// The columns of a source; a table's in its spelling.
fn columns_of<'a>(source: &'a Source<'_>) -> Box<dyn Iterator<Item = String> + 'a> {
    match source {
        Source::Table(table) => Box::new(table.columns.iter().map(|c| c.name.to_lowercase())),
        Source::Derived(outputs) => Box::new(outputs.iter().cloned()),
    }
}

/// The SELECT that names the columns of a query's result.
fn leftmost(body: &SetExpr) -> Option<&Select> {
    match body {
        SetExpr::Select(select) => Some(select),
        SetExpr::Query(query) => leftmost(&query.body),
        SetExpr::SetOperation { left, .. } => leftmost(left),
        _ => None,
    }
}

fn constraint(join: &Join) -> Option<&JoinConstraint> {
    use JoinOperator as J;
    match &join.join_operator {
        J::Join(c)
        | J::Inner(c)
        | J::Left(c)
        | J::LeftOuter(c)
        | J::Right(c)
        | J::RightOuter(c)
        | J::FullOuter(c)
        | J::CrossJoin(c)
        | J::StraightJoin(c) => Some(c),
        _ => None,
    }
}

/// SQLite's names of the row's number, which no schema lists.
fn is_row_id(lower: &str) -> bool {
    matches!(lower, "rowid" | "oid" | "_rowid_")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::Column;

    fn shop() -> Database {
        let table = |name: &str, columns: &[&str]| Table {
            name: name.into(),
            columns: columns
                .iter()
                .map(|name| Column {
                    name: (*name).into(),
                    ..Column::default()
                })
                .collect(),
            ..Table::default()
        };
        Database {
            name: "shop".into(),
            tables: vec![
                table("Customer", &["id", "name", "City", "order"]),
                table("order", &["id", "customer_id", "total (EUR)", "placed"]),
                table("order line", &["order_id", "product", "amount"]),
                table("product", &["product", "price"]),
            ],
            ..Database::default()
        }
    }

    /// `table`, or `table.column`, sorted; tables whose columns are named are left out.
    fn used(sql: &str) -> Vec<String> {
        let gold = gold(sql, &shop()).unwrap_or_else(|e| panic!("{sql}: {e}"));
        let columns = gold.columns.iter();
        let mut all: Vec<String> = columns.map(|(t, c)| format!("{t}.{c}")).collect();
        for table in gold.tables {
            if !gold.columns.iter().any(|(t, _)| *t == table) {
                all.push(table);
            }
        }
        all.sort();
        all
    }

    #[test]
    fn names_are_resolved_whatever_they_are_called() {
        for (sql, expected) in [
            ("SELECT NAME FROM customer", vec!["Customer.name"]),
            (
                "select c.city from CUSTOMER as c where C.ID = 3;",
                vec!["Customer.City", "Customer.id"],
            ),
            ("SELECT Customer.name FROM Customer", vec!["Customer.name"]),
            (
                r#"SELECT "name" FROM Customer WHERE City = "Fremont""#,
                vec!["Customer.City", "Customer.name"],
            ),
            (
                "SELECT `total (EUR)` FROM `order`",
                vec!["order.total (EUR)"],
            ),
            (
                "SELECT [total (EUR)] FROM [order] o",
                vec!["order.total (EUR)"],
            ),
            (
                r#"SELECT "order" FROM Customer ORDER BY "order""#,
                vec!["Customer.order"],
            ),
            (
                "SELECT SUM(IIF(c.City = 'x', 1, 0)) FROM Customer c",
                vec!["Customer.City"],
            ),
            ("SELECT rowid FROM product", vec!["product"]),
        ] {
            assert_eq!(used(sql), expected, "{sql}");
        }
    }

    #[test]
    fn stars_name_their_tables_alone() {
        for sql in [
            "SELECT * FROM product",
            "SELECT COUNT(*) FROM product",
            "SELECT p.* FROM product p",
        ] {
            assert_eq!(used(sql), ["product"], "{sql}");
        }
        assert_eq!(
            used("SELECT COUNT(*) FROM Customer JOIN product ON price > id"),
            ["Customer.id", "product.price"]
        );
        assert_eq!(
            used("SELECT c.name FROM Customer c, product"),
            ["Customer.name", "product"]
        );
    }

    #[test]
    fn subqueries_see_what_is_around_them() {
        let correlated = "SELECT name FROM Customer c WHERE EXISTS \
            (SELECT 1 FROM `order` o WHERE o.customer_id = c.id AND city = 'x')";
        assert_eq!(
            used(correlated),
            [
                "Customer.City",
                "Customer.id",
                "Customer.name",
                "order.customer_id"
            ]
        );
        // An inner name hides the outer one: `id` is the order's.
        let hidden = "SELECT name FROM Customer WHERE 3 IN (SELECT id FROM `order`)";
        assert_eq!(used(hidden), ["Customer.name", "order.id"]);
        let scalar = "SELECT name, (SELECT MAX(price) FROM product) FROM Customer";
        assert_eq!(used(scalar), ["Customer.name", "product.price"]);
    }

    #[test]
    fn derived_tables_and_expressions_name_what_is_inside_of_them() {
        for sql in [
            "SELECT d.n FROM (SELECT name AS n FROM Customer) d WHERE d.n <> ''",
            "SELECT n FROM (SELECT name AS n FROM Customer)",
            "WITH d AS (SELECT name AS n FROM Customer) SELECT n FROM d",
            "WITH d AS (SELECT name FROM Customer), e(m) AS (SELECT name FROM d) SELECT m FROM e",
            "SELECT e.name FROM (SELECT * FROM (SELECT name FROM Customer) d) e",
        ] {
            assert_eq!(used(sql), ["Customer.name"], "{sql}");
        }
        // A common table expression hides a table.
        let hiding = "WITH product AS (SELECT name FROM Customer) SELECT name FROM product";
        assert_eq!(used(hiding), ["Customer.name"]);
        // A star passes columns on that were never named.
        let star = "SELECT id FROM (SELECT * FROM Customer)";
        assert_eq!(used(star), ["Customer"]);
    }

    #[test]
    fn set_operations_and_their_order() {
        let union = "SELECT name AS x FROM Customer UNION SELECT product FROM product ORDER BY x";
        assert_eq!(used(union), ["Customer.name", "product.product"]);
        // An alias is taken before a column of that name.
        let alias = "SELECT COUNT(*) AS price FROM product ORDER BY price DESC";
        assert_eq!(used(alias), ["product"]);
        let having =
            "SELECT product, SUM(amount) AS s FROM `order line` GROUP BY product HAVING s > 3";
        assert_eq!(used(having), ["order line.amount", "order line.product"]);
    }

    #[test]
    fn joins_without_a_condition_use_both_sides() {
        let using = "SELECT amount FROM `order line` JOIN product USING (product)";
        let natural = "SELECT amount FROM `order line` NATURAL JOIN product";
        for sql in [using, natural] {
            assert_eq!(
                used(sql),
                ["order line.amount", "order line.product", "product.product"],
                "{sql}"
            );
        }
    }

    #[test]
    fn what_is_not_there_is_an_error() {
        let unread = |sql: &str| gold(sql, &shop()).unwrap_err();
        assert_eq!(
            unread("SELECT 1 FROM bank"),
            Unread::UnknownTable("bank".into())
        );
        assert_eq!(
            unread("SELECT age FROM Customer"),
            Unread::UnknownColumn("age".into())
        );
        assert_eq!(
            unread("SELECT o.name FROM `order` o"),
            Unread::UnknownColumn("o.name".into())
        );
        assert_eq!(
            unread("SELECT x.id FROM Customer c"),
            Unread::UnknownColumn("x.id".into())
        );
        assert_eq!(unread("DELETE FROM product"), Unread::NotAQuery);
        assert!(matches!(unread("SELECT FROM WHERE ("), Unread::Syntax(_)));
        let deep = format!(
            "SELECT {}1{} FROM product",
            "(".repeat(9999),
            ")".repeat(9999)
        );
        assert!(matches!(unread(&deep), Unread::Syntax(_)));
    }
}
