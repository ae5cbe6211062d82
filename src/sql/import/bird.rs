//! Descriptions from the CSV files that the BIRD benchmark gives each database: one file a
//! table, a row for each column with its name in words, what it is and what its values mean.
//! Data teams write files of this shape for databases of their own.

use std::path::{Path, PathBuf};

use crate::error::{Code, Problem, Result};
use crate::sql::Database;
use crate::sql::database::same_name;

/// Largest file, in bytes (16 MiB): a description of every column of the widest table is far
/// smaller.
const LARGEST_FILE: u64 = 16 << 20;
/// Most files of a folder that are read.
const MOST_FILES: usize = 10_000;

/// A row; columns that are not there are empty.
#[derive(Debug, Default)]
struct Row {
    original_column_name: String,
    column_name: String,
    column_description: String,
    data_format: String,
    value_description: String,
}

/// Lays the descriptions in `folder` over a database, and says what found no place there.
///
/// The files are in UTF-8, with a byte order mark or without, or in Latin-1.
///
/// # Errors
/// `invalid_file` for a folder or file that cannot be read, or is no such CSV.
pub fn describe(database: &mut Database, folder: &Path) -> Result<Vec<String>> {
    let mut notes = Vec::new();
    for path in files(folder)? {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let table = database.tables.iter_mut().find(|table| {
            let own = table.name.rsplit('.').next().unwrap_or_default();
            same_name(&table.name, &name) || same_name(own, &name)
        });
        let Some(table) = table else {
            notes.push(format!("descriptions for {name}: no such table"));
            continue;
        };
        for row in rows(&path)? {
            let name = row.original_column_name.trim();
            let wanted = |own: &str| same_name(own.trim(), name);
            let Some(column) = table.columns.iter_mut().find(|c| wanted(&c.name)) else {
                notes.push(format!(
                    "descriptions for {}.{name}: no such column",
                    table.name
                ));
                continue;
            };
            let said = |text: String| {
                let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
                (!text.is_empty()).then_some(text)
            };
            if let Some(readable) = said(row.column_name)
                && !same_name(&readable, &column.name)
            {
                column.readable = Some(readable);
            }
            column.description = said(row.column_description).or(column.description.take());
            column.value_description = said(row.value_description);
            if column.data_type.is_empty() {
                column.data_type = said(row.data_format).unwrap_or_default();
            }
        }
    }
    Ok(notes)
}

fn problem(path: &Path, message: String) -> Problem {
    Problem::new(Code::InvalidFile, message)
        .field("descriptions")
        .found(path.display())
}

/// The CSV files, in the order of their names.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let cannot = |e| problem(folder, format!("the folder cannot be read: {e}"));
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(cannot)? {
        let path = entry.map_err(cannot)?.path();
        let csv = path
            .extension()
            .is_some_and(|e| e.eq_ignore_ascii_case("csv"));
        if csv && path.is_file() {
            files.push(path);
        }
    }
    if files.is_empty() || files.len() > MOST_FILES {
        let found = files.len();
        return Err(problem(folder, format!("the folder has {found} CSV files"))
            .expected(format!("a file for each table, {MOST_FILES} at most"))
            .into());
    }
    files.sort();
    Ok(files)
}

fn rows(path: &Path) -> Result<Vec<Row>> {
    let cannot = |e: std::io::Error| problem(path, format!("the file cannot be read: {e}"));
    if std::fs::metadata(path).map_err(cannot)?.len() > LARGEST_FILE {
        return Err(problem(path, "the file is too large".into())
            .expected(format!("at most {LARGEST_FILE} bytes"))
            .into());
    }
    let text = decoded(&std::fs::read(path).map_err(cannot)?);
    let mut reader = csv::ReaderBuilder::new()
        .flexible(true)
        .trim(csv::Trim::Headers)
        .from_reader(text.as_bytes());
    let no_csv = |e: csv::Error| problem(path, format!("the file is no CSV: {e}"));
    let headers = reader.headers().map_err(no_csv)?.clone();
    let place = |name: &str| headers.iter().position(|header| header == name);
    let Some(original) = place("original_column_name") else {
        return Err(problem(
            path,
            "the file does not say which columns it is about".into(),
        )
        .expected("a column original_column_name")
        .into());
    };
    let places = [
        place("column_name"),
        place("column_description"),
        place("data_format"),
        place("value_description"),
    ];
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(no_csv)?;
        let get = |place: Option<usize>| {
            let value = place.and_then(|place| record.get(place));
            value.unwrap_or_default().to_string()
        };
        let [
            column_name,
            column_description,
            data_format,
            value_description,
        ] = places.map(get);
        rows.push(Row {
            original_column_name: get(Some(original)),
            column_name,
            column_description,
            data_format,
            value_description,
        });
    }
    // Spreadsheets leave empty rows behind.
    rows.retain(|row| !row.original_column_name.trim().is_empty());
    Ok(rows)
}

/// UTF-8 without its byte order mark; what is none is Latin-1, in which every byte is a
/// character.
fn decoded(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.trim_start_matches('\u{feff}').to_string(),
        Err(_) => bytes.iter().map(|&byte| char::from(byte)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::Dialect;
    use crate::sql::import::ddl;

    fn schools() -> Database {
        let text = "CREATE TABLE frpm (CDSCode TEXT, \"County Name\" TEXT); \
                    CREATE TABLE Größen (x, y INT);";
        ddl("schools", text, Dialect::Sqlite).unwrap().database
    }

    #[test]
    fn descriptions_are_laid_over() {
        let folder = tempfile::tempdir().unwrap();
        let header =
            "original_column_name,column_name,column_description,data_format,value_description\n";
        let rows = "cdscode,CDS code,the code,text,\"commonsense: \nunique\"\nCounty Name ,,County,text,\nnowhere,a,b,c,d\n,,,,\n";
        std::fs::write(
            folder.path().join("FRPM.csv"),
            format!("\u{feff}{header}{rows}"),
        )
        .unwrap();
        let mut latin =
            b"original_column_name,column_description,data_format\nx,Gr\xf6\xdfe,real\n".to_vec();
        latin.extend_from_slice(b"y\n");
        std::fs::write(folder.path().join("Größen.csv"), latin).unwrap();
        std::fs::write(folder.path().join("other.csv"), header).unwrap();
        let mut database = schools();
        let notes = describe(&mut database, folder.path()).unwrap();
        let frpm = database.table("frpm").unwrap();
        let code = frpm.column("CDSCode").unwrap();
        assert_eq!(code.readable.as_deref(), Some("CDS code"));
        assert_eq!(code.description.as_deref(), Some("the code"));
        assert_eq!(
            code.value_description.as_deref(),
            Some("commonsense: unique")
        );
        let county = frpm.column("County Name").unwrap();
        assert_eq!(
            (county.readable.as_deref(), county.description.as_deref()),
            (None, Some("County"))
        );
        let x = &database.tables[1].columns[0];
        assert_eq!(
            (x.description.as_deref(), x.data_type.as_str()),
            (Some("Größe"), "real")
        );
        assert_eq!(notes.len(), 2, "{notes:?}");
    }

    #[test]
    fn what_is_no_description_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let code = |folder: &Path| {
            let error = describe(&mut schools(), folder).unwrap_err();
            error.problem().unwrap().code
        };
        assert_eq!(code(folder.path()), Code::InvalidFile);
        assert_eq!(code(&folder.path().join("nowhere")), Code::InvalidFile);
        std::fs::write(folder.path().join("frpm.csv"), "a,b\n1,2\n").unwrap();
        assert_eq!(code(folder.path()), Code::InvalidFile);
    }
}
