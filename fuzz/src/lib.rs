//! What the fuzz targets share: an index to ask, files in memory, and which panics count.

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Once};

use gleaner::config::Config;
use gleaner::document::Fields;
use gleaner::index::{Catalog, Definition, Index};
use serde_json::json;
use tempfile::TempDir;

/// Fields of every type, a path among them, and vectors that documents bring.
pub const DEFINITION: &str = r#"
name = "notes"
[fields.title]
type = "text"
analysis = { language = "english" }
[fields.body]
type = "text"
[fields."author.name"]
type = "keyword"
[fields.tags]
type = "keyword"
many = true
[fields.stars]
type = "integer"
[fields.price]
type = "float"
[fields.day]
type = "date"
[fields.open]
type = "boolean"
[embedding]
vector_field = "vector"
dimensions = 3
"#;

/// The snapshot whose list is fuzzed.
pub const SNAPSHOT: &str = "20260131T020304567Z";

/// A folder in memory, where the system has one, or in the one that `GLEANER_FUZZ_FOLDER` names. What
/// stands until the process ends is left there: whoever names it removes it.
pub fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    let place = match std::env::var_os("GLEANER_FUZZ_FOLDER") {
        Some(named) => PathBuf::from(named),
        None if memory.is_dir() => memory.to_path_buf(),
        None => std::env::temp_dir(),
    };
    let made = tempfile::Builder::new()
        .prefix("gleaner-fuzz-")
        .tempdir_in(place);
    made.expect("a folder for temporary files")
}

/// A data folder with the index of [`DEFINITION`], which holds some documents.
pub struct World {
    pub config: Config,
    pub catalog: Arc<Catalog>,
    _folder: TempDir,
}

/// The world, made when it is first asked for.
pub static WORLD: LazyLock<World> = LazyLock::new(World::new);

impl World {
    /// One of its own, with the settings that `change` makes.
    pub fn with(change: impl FnOnce(&Path, &mut Config)) -> World {
        let folder = folder();
        let mut config = Config::default();
        config.data.folder = folder.path().join("data");
        config.storage.build_threads = Some(1);
        change(folder.path(), &mut config);
        let catalog = Arc::new(Catalog::new(&config).expect("a catalog"));
        let index = catalog.create(definition()).expect("an index");
        for n in 0..24 {
            let title = ["night train", "red river", "how birds find home"][n % 3];
            let (author, tags) = (["ada", "bo"][n % 2], &["x", "y"][..n % 2 + 1]);
            let document = json!({
                "id": format!("n{n}"), "title": title, "body": format!("{title}, part {n}"),
                "author": {"name": author}, "tags": tags,
                "stars": n, "price": n as f64 / 3.0, "day": format!("2024-01-{:02}", n + 1),
                "open": n % 2 == 0, "vector": [1.0, n as f64, 0.5],
            });
            let prepared = index.prepare(document).expect("a document");
            let encoded = index.encode(vec![prepared]).expect("vectors");
            index.write(&encoded).expect("a write");
        }
        index.refresh().expect("a refresh");
        World {
            config,
            catalog,
            _folder: folder,
        }
    }

    fn new() -> World {
        World::with(|_, _| {})
    }

    /// Its index.
    pub fn notes(&self) -> Arc<Index> {
        self.catalog.get("notes").expect("the index")
    }
}

/// The definition of the index.
pub fn definition() -> Definition {
    Definition::from_toml(DEFINITION).expect("a definition")
}

/// The fields of the index.
pub static FIELDS: LazyLock<Fields> = LazyLock::new(|| definition().fields);

/// Lets panics be caught that the program itself catches, as those of decoders: libFuzzer would
/// end at each. One that nobody catches ends it all the same.
pub fn count_uncaught_panics_only() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let _ = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
    });
}

/// A file with these bytes, overwritten by the next.
pub fn written(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, bytes).expect("a file in a temporary folder");
    path
}

/// An error that the program calls a bug of its own is one that is looked for.
pub fn no_bug<T>(done: Result<T, gleaner::error::Error>) -> Option<T> {
    match done {
        Ok(done) => Some(done),
        Err(gleaner::error::Error::Bug(bug)) => panic!("{bug}"),
        Err(_) => None,
    }
}

/// The schema that a text of DDL describes, as it is imported over the API.
pub fn imported(text: &str) -> Option<()> {
    use gleaner::sql::Dialect;
    let (dialect, text) = match text.as_bytes().first() {
        Some(b'p') => (Dialect::Postgres, &text[1..]),
        Some(b'm') => (Dialect::Mysql, &text[1..]),
        _ => (Dialect::Sqlite, text),
    };
    no_bug(gleaner::sql::import::ddl("shop", text, dialect)).map(drop)
}

/// Options of vectors of one of the shapes that files may have.
pub fn vector_options(kind: u8) -> gleaner::vector::VectorOptions {
    use gleaner::vector::{Metric, Storage, VectorOptions};
    VectorOptions {
        metric: [Metric::Cosine, Metric::Dot, Metric::L2][usize::from(kind) % 3],
        storage: [Storage::Int8, Storage::F16, Storage::Binary][usize::from(kind) / 3 % 3],
        graph_threshold: 8,
        build_threads: 1,
        ..VectorOptions::new([4, 8][usize::from(kind) / 9 % 2])
    }
}

/// A small file of every format that rows are read from, by name.
pub fn samples() -> Vec<(&'static str, Vec<u8>)> {
    let rows = "{\"id\": \"a\", \"n\": 1, \"x\": 1.5, \"tags\": [\"p\", \"q\"], \"o\": {\"k\": \"v\"}}\n\
                {\"id\": \"b\", \"n\": null, \"x\": -2, \"tags\": [], \"o\": {\"k\": null}}\n";
    let table = "id,n,x,tags\na,1,1.5,\"p,q\"\nb,,-2,\n";
    vec![
        ("rows.jsonl", rows.as_bytes().to_vec()),
        ("rows.csv", table.as_bytes().to_vec()),
        ("rows.parquet", parquet_file(true)),
        ("rows.arrow", arrow_file()),
    ]
}

fn batch() -> arrow::array::RecordBatch {
    use arrow::array::{
        ArrayRef, BooleanArray, Date32Array, Float32Array, Int64Array, ListArray, RecordBatch,
        StringArray, StructArray,
    };
    use arrow::datatypes::{DataType, Field, Float32Type};
    let text = |values: [Option<&str>; 3]| Arc::new(StringArray::from(values.to_vec())) as ArrayRef;
    let vectors = [1.0_f32, 2.0, 3.0].map(|x| Some(vec![Some(x), Some(0.5)]));
    let inner = text([Some("v"), None, Some("w")]);
    let part = Arc::new(Field::new("k", DataType::Utf8, true));
    let object = StructArray::from(vec![(part, inner)]);
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", text([Some("a"), Some("b"), Some("c")])),
        (
            "n",
            Arc::new(Int64Array::from(vec![Some(1), None, Some(-3)])),
        ),
        ("x", Arc::new(Float32Array::from(vec![1.5, f32::NAN, -2.0]))),
        (
            "open",
            Arc::new(BooleanArray::from(vec![true, false, true])),
        ),
        ("day", Arc::new(Date32Array::from(vec![0, 19_000, -1]))),
        ("title", text([Some("night train"), Some(""), None])),
        (
            "vector",
            Arc::new(ListArray::from_iter_primitive::<Float32Type, _, _>(vectors)),
        ),
        ("o", Arc::new(object)),
    ];
    RecordBatch::try_from_iter(columns).expect("a batch")
}

/// Rows as Parquet.
pub fn parquet_file(compressed: bool) -> Vec<u8> {
    use parquet::arrow::ArrowWriter;
    use parquet::basic::Compression;
    use parquet::file::properties::WriterProperties;
    let compression = match compressed {
        true => Compression::SNAPPY,
        false => Compression::UNCOMPRESSED,
    };
    let properties = WriterProperties::builder()
        .set_compression(compression)
        .set_max_row_group_row_count(Some(2))
        .build();
    let batch = batch();
    let mut bytes = Vec::new();
    let mut writer =
        ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).expect("a writer");
    writer.write(&batch).expect("rows");
    writer.close().expect("a footer");
    bytes
}

/// Rows as an Arrow file.
pub fn arrow_file() -> Vec<u8> {
    let batch = batch();
    let mut bytes = Vec::new();
    let mut writer =
        arrow_ipc::writer::FileWriter::try_new(&mut bytes, &batch.schema()).expect("a writer");
    writer.write(&batch).expect("rows");
    writer.finish().expect("a footer");
    drop(writer);
    bytes
}
