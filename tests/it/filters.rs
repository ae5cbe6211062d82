//! Filters over an index give the documents that they give one by one.

use gleaner::document::{Document, FieldDefinition, FieldType, Fields, Value};
use gleaner::filter::{BoundFilter, Bounds, OrdinalSet, Target};
use gleaner::lexical::{WordIndex, WordOptions};
use indexmap::IndexMap;
use proptest::prelude::*;

const FIELDS: [(&str, FieldType, bool); 6] = [
    ("lang", FieldType::Keyword, false),
    ("tags", FieldType::Keyword, true),
    ("minutes", FieldType::Integer, false),
    ("price.net", FieldType::Float, true),
    ("published", FieldType::Date, true),
    ("featured", FieldType::Boolean, false),
];

fn fields() -> Fields {
    FIELDS
        .iter()
        .map(|&(name, kind, many)| {
            let mut definition = FieldDefinition::new(kind);
            definition.many = many;
            (name.to_string(), definition)
        })
        .collect()
}

fn value(kind: FieldType) -> BoxedStrategy<Value> {
    match kind {
        FieldType::Keyword | FieldType::Text => prop_oneof!["a", "ab", "b", "", "漢 字"]
            .prop_map(Value::Keyword)
            .boxed(),
        FieldType::Integer => prop_oneof![-2i64..3, Just(i64::MIN), Just(i64::MAX)]
            .prop_map(Value::Integer)
            .boxed(),
        FieldType::Float => prop_oneof![Just(-0.0), Just(0.0), Just(1e300), -2.0..2.0]
            .prop_map(Value::Float)
            .boxed(),
        // Microseconds count.
        FieldType::Date => (1_700_000_000_000_000i64..1_700_000_000_000_004)
            .prop_map(Value::Date)
            .boxed(),
        FieldType::Boolean => any::<bool>().prop_map(Value::Boolean).boxed(),
    }
}

fn document() -> impl Strategy<Value = IndexMap<String, Vec<Value>>> {
    let lists: Vec<_> = FIELDS
        .iter()
        .map(|&(name, kind, many)| {
            proptest::collection::vec(value(kind), 0..=if many { 3 } else { 1 })
                .prop_map(move |values| (name.to_string(), values))
        })
        .collect();
    lists.prop_map(|lists| lists.into_iter().filter(|(_, v)| !v.is_empty()).collect())
}

fn filter() -> impl Strategy<Value = BoundFilter> {
    let leaf = (0..FIELDS.len()).prop_flat_map(|i| {
        let (name, kind, many) = FIELDS[i];
        let target = Target::Field(name.to_string());
        let exists = Just(BoundFilter::Exists(target.clone())).boxed();
        let wanted = target.clone();
        let one_of = proptest::collection::vec(value(kind), 0..3)
            .prop_map(move |values| BoundFilter::In(wanted.clone(), values))
            .boxed();
        let end = || proptest::option::of((value(kind), any::<bool>()));
        let range = (end(), end())
            .prop_map(move |(low, high)| BoundFilter::Range {
                target: target.clone(),
                bounds: Bounds { low, high },
                many,
            })
            .boxed();
        if kind == FieldType::Keyword {
            let target = Target::Field(name.to_string());
            let prefix = prop_oneof!["[ab]{0,2}", Just("漢".to_string())]
                .prop_map(move |prefix| BoundFilter::Prefix(target.clone(), prefix));
            prop_oneof![exists, one_of, prefix].boxed()
        } else if kind == FieldType::Boolean {
            prop_oneof![exists, one_of].boxed()
        } else {
            prop_oneof![exists, one_of, range].boxed()
        }
    });
    let id =
        (0u32..12).prop_map(|n| BoundFilter::In(Target::Id, vec![Value::Keyword(format!("d{n}"))]));
    let ids = prop_oneof![Just("d"), Just("d1"), Just("e")]
        .prop_map(|prefix| BoundFilter::Prefix(Target::Id, prefix.into()));
    prop_oneof![9 => leaf, 1 => id, 1 => ids].prop_recursive(3, 16, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(BoundFilter::And),
            proptest::collection::vec(inner.clone(), 0..3).prop_map(BoundFilter::Or),
            inner.prop_map(|f| BoundFilter::Not(Box::new(f))),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    #[test]
    fn an_index_filters_as_documents_match(
        documents in proptest::collection::vec(document(), 1..12),
        filters in proptest::collection::vec(filter(), 40),
        deleted in proptest::collection::vec(0u32..12, 0..3),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let options = WordOptions { threads: 1, ..WordOptions::default() };
        let index = WordIndex::open_or_rebuild(dir.path(), &fields(), &options).unwrap();
        let documents: Vec<Document> = documents
            .into_iter()
            .enumerate()
            .map(|(i, values)| Document { id: format!("d{i}"), values, source: Default::default() })
            .collect();
        for (i, document) in documents.iter().enumerate() {
            index.add(i as u32, document).unwrap();
            if i == 5 {
                index.commit(1).unwrap();
            }
        }
        for &ordinal in &deleted {
            index.delete(ordinal).unwrap();
        }
        index.commit(2).unwrap();
        let reader = index.reader().unwrap();
        for filter in filters {
            let expected: OrdinalSet = documents
                .iter()
                .enumerate()
                .filter(|(i, document)| {
                    !deleted.contains(&(*i as u32)) && filter.matches(document)
                })
                .map(|(i, _)| i as u32)
                .collect();
            prop_assert_eq!(&reader.filter(&filter).unwrap(), &expected, "{}", filter);
            let normal = filter.clone().normalise();
            prop_assert_eq!(&reader.filter(&normal).unwrap(), &expected, "{}", normal);
        }
    }
}
