//! Foreign keys as a graph of tables, and what a choice of columns needs beside it to be joined.

use std::collections::{BTreeSet, HashMap, VecDeque};

use crate::sql::Database;

/// A foreign key, as places in the database's lists.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Edge {
    pub from: usize,
    pub to: usize,
    /// Columns of `from`, and those of `to` that they refer to; as many.
    pub from_columns: Vec<usize>,
    pub to_columns: Vec<usize>,
}

/// The foreign keys of a database whose tables and columns are numbered. Keys of tables or
/// columns that there are not are left out.
#[derive(Debug, Clone, Default)]
pub(crate) struct Graph {
    pub edges: Vec<Edge>,
    /// For each table, the edges that it is an end of.
    by_table: Vec<Vec<usize>>,
}

impl Graph {
    pub(crate) fn new(database: &Database) -> Graph {
        let tables = database.tables.iter().enumerate();
        let exact: HashMap<&str, usize> = tables.map(|(n, t)| (t.name.as_str(), n)).collect();
        let find = |name: &str| {
            let known = exact.get(name).copied();
            known.or_else(|| exact.get(database.table(name)?.name.as_str()).copied())
        };
        let columns = |table: usize, names: &[String]| {
            let table = &database.tables[table];
            let place = |name: &String| {
                let column = table.column(name)?;
                table.columns.iter().position(|c| c.name == column.name)
            };
            names.iter().map(place).collect::<Option<Vec<usize>>>()
        };
        let mut edges: Vec<Edge> = Vec::new();
        for key in &database.foreign_keys {
            let (Some(from), Some(to)) = (find(&key.table), find(&key.to_table)) else {
                continue;
            };
            let from_columns = columns(from, &key.columns);
            let to_columns = columns(to, &key.to_columns);
            if let (Some(from_columns), Some(to_columns)) = (from_columns, to_columns)
                && from_columns.len() == to_columns.len()
            {
                edges.push(Edge {
                    from,
                    to,
                    from_columns,
                    to_columns,
                });
            }
        }
        // In an order that does not depend on the source's.
        edges.sort();
        edges.dedup();
        let mut by_table = vec![Vec::new(); database.tables.len()];
        for (n, edge) in edges.iter().enumerate() {
            by_table[edge.from].push(n);
            if edge.to != edge.from {
                by_table[edge.to].push(n);
            }
        }
        Graph { edges, by_table }
    }

    /// Tables that a foreign key joins with this one, each once.
    pub(crate) fn neighbours(&self, table: usize) -> BTreeSet<usize> {
        let edges = self.by_table[table].iter().map(|n| &self.edges[*n]);
        edges
            .map(|edge| {
                if edge.from == table {
                    edge.to
                } else {
                    edge.from
                }
            })
            .filter(|other| *other != table)
            .collect()
    }

    /// The shortest way from one of some groups to any of those after it, with at most `most`
    /// tables in between: the tables on it, both ends included. Among ways of one length the first
    /// by table number wins. `group_of` says which group each table is in.
    fn way(
        &self,
        from: usize,
        group: &BTreeSet<usize>,
        group_of: &[Option<usize>],
        most: usize,
    ) -> Option<Vec<usize>> {
        let mut before: HashMap<usize, usize> = HashMap::new();
        let mut queue: VecDeque<(usize, usize)> = group.iter().map(|table| (*table, 0)).collect();
        while let Some((table, steps)) = queue.pop_front() {
            if group_of[table].is_some_and(|other| other > from) {
                let mut way = vec![table];
                let mut last = table;
                while let Some(next) = before.get(&last) {
                    way.push(*next);
                    last = *next;
                }
                way.reverse();
                return Some(way);
            }
            if steps > most {
                continue;
            }
            for next in self.neighbours(table) {
                if group_of[next] != Some(from) && !before.contains_key(&next) {
                    before.insert(next, table);
                    queue.push_back((next, steps + 1));
                }
            }
        }
        None
    }

    /// The groups of tables that touch, among these, each in order.
    fn groups(&self, tables: &BTreeSet<usize>) -> Vec<BTreeSet<usize>> {
        let mut left = tables.clone();
        let mut groups = Vec::new();
        while let Some(first) = left.pop_first() {
            let mut group = BTreeSet::from([first]);
            let mut queue = vec![first];
            while let Some(table) = queue.pop() {
                for next in self.neighbours(table) {
                    if left.remove(&next) {
                        group.insert(next);
                        queue.push(next);
                    }
                }
            }
            groups.push(group);
        }
        groups
    }

    /// Tables to add so that those of `tables` that foreign keys can join are joined, with the
    /// ways between them. Ways with more than `most` tables in between are not gone.
    pub(crate) fn connect(&self, tables: &BTreeSet<usize>, most: usize) -> Vec<Vec<usize>> {
        let mut kept = tables.clone();
        let mut ways: Vec<Vec<usize>> = Vec::new();
        loop {
            let groups = self.groups(&kept);
            let mut group_of: Vec<Option<usize>> = vec![None; self.by_table.len()];
            for (n, group) in groups.iter().enumerate() {
                for table in group {
                    group_of[*table] = Some(n);
                }
            }
            let mut best: Option<Vec<usize>> = None;
            // With all tables kept those that do not touch are joined by none.
            let apart = match kept.len() < self.by_table.len() {
                true => groups.len(),
                false => 0,
            };
            for (n, group) in groups.iter().enumerate().take(apart) {
                let way = self.way(n, group, &group_of, most);
                if let Some(way) = way
                    && best.as_ref().is_none_or(|best| way.len() < best.len())
                {
                    best = Some(way);
                }
            }
            match best {
                Some(way) => {
                    kept.extend(way.iter().copied());
                    ways.push(way);
                }
                None => return ways,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::{Column, ForeignKey, Table};

    /// Tables `0`, `1`, ... with the columns `id` and `to_N`, and these keys.
    fn database(tables: usize, keys: &[(usize, usize)]) -> Database {
        let column = |name: String| Column {
            name,
            ..Column::default()
        };
        let mut database = Database::default();
        for n in 0..tables {
            let to = keys.iter().filter(|(from, _)| *from == n);
            let mut columns = vec![column("id".into())];
            columns.extend(to.map(|(_, to)| column(format!("to_{to}"))));
            database.tables.push(Table {
                name: n.to_string(),
                columns,
                ..Table::default()
            });
        }
        for (from, to) in keys {
            database.foreign_keys.push(ForeignKey {
                table: from.to_string(),
                columns: vec![format!("to_{to}")],
                to_table: to.to_string(),
                to_columns: vec!["id".into()],
                ..ForeignKey::default()
            });
        }
        database
    }

    fn connect(keys: &[(usize, usize)], tables: &[usize], most: usize) -> Vec<Vec<usize>> {
        let graph = Graph::new(&database(7, keys));
        graph.connect(&tables.iter().copied().collect(), most)
    }

    #[test]
    fn tables_that_do_not_touch_are_joined_by_the_shortest_way() {
        let chain = [(0, 1), (1, 2), (2, 3), (4, 0), (4, 3)];
        assert_eq!(connect(&chain, &[0, 1], 9), Vec::<Vec<usize>>::new());
        assert_eq!(connect(&chain, &[0, 3], 9), [vec![0, 4, 3]]);
        assert_eq!(connect(&chain, &[0, 2], 9), [vec![0, 1, 2]]);
        // Nothing joins 6, and 5 is no table of any key.
        assert_eq!(connect(&chain, &[0, 2, 5, 6], 9), [vec![0, 1, 2]]);
    }

    #[test]
    fn several_groups_are_joined_nearest_first() {
        let star = [(1, 0), (2, 0), (3, 0), (3, 4), (4, 5), (5, 6)];
        assert_eq!(
            connect(&star, &[1, 2, 6], 9),
            [vec![1, 0, 2], vec![0, 3, 4, 5, 6]]
        );
        assert_eq!(connect(&star, &[1, 2, 6], 1), [vec![1, 0, 2]]);
    }

    #[test]
    fn keys_of_what_is_not_there_are_left_out() {
        let mut database = database(2, &[(0, 1)]);
        let mut broken = database.foreign_keys[0].clone();
        broken.to_columns = vec!["nothing".into()];
        database.foreign_keys.push(broken.clone());
        broken.to_table = "nowhere".into();
        database.foreign_keys.push(broken);
        assert_eq!(Graph::new(&database).edges.len(), 1);
    }
}
