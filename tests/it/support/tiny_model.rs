//! A tiny BERT with random weights in the layout of sentence-transformers, written in
//! milliseconds: for every test that needs an encoder and not a good one.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use gleaner::model::RuntimeOptions;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::json;

/// Shape and settings of a tiny model.
#[derive(Debug, Clone)]
pub struct TinyModel {
    pub seed: u64,
    pub hidden: usize,
    pub layers: usize,
    pub heads: usize,
    pub intermediate: usize,
    pub positions: usize,
    pub max_tokens: usize,
    /// The flag in `1_Pooling/config.json` that is on.
    pub pooling: &'static str,
    pub query_prompt: &'static str,
    pub document_prompt: &'static str,
    /// Labels of a classifier, which makes a reranker of it; 0 for an encoder.
    pub labels: usize,
    /// The classifier is one of tokens.
    pub of_tokens: bool,
}

impl Default for TinyModel {
    fn default() -> Self {
        TinyModel {
            seed: 1,
            hidden: 32,
            layers: 2,
            heads: 4,
            intermediate: 64,
            positions: 128,
            max_tokens: 64,
            pooling: "pooling_mode_mean_tokens",
            query_prompt: "",
            document_prompt: "",
            labels: 0,
            of_tokens: false,
        }
    }
}

impl TinyModel {
    /// One that links questions to schemas.
    pub fn linker() -> TinyModel {
        TinyModel {
            positions: 256,
            max_tokens: 256,
            labels: 2,
            of_tokens: true,
            ..TinyModel::default()
        }
    }
}

/// Name to shape and values, row-major, named as BertModel's weights are.
pub type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

impl TinyModel {
    /// Writes the folder, which is made if it is not there.
    pub fn write(&self, folder: &Path) {
        fs::create_dir_all(folder.join("1_Pooling")).unwrap();
        let put = |name: &str, value: serde_json::Value| {
            fs::write(
                folder.join(name),
                serde_json::to_vec_pretty(&value).unwrap(),
            )
            .unwrap();
        };
        put("tokenizer.json", tokenizer());
        let mut config = json!({
                "model_type": "bert", "hidden_size": self.hidden,
                "num_hidden_layers": self.layers, "num_attention_heads": self.heads,
                "intermediate_size": self.intermediate, "hidden_act": "gelu",
                "vocab_size": vocabulary().len(), "max_position_embeddings": self.positions,
                "type_vocab_size": 2, "layer_norm_eps": 1e-12,
        });
        if self.labels > 0 {
            // As transformers and sentence-transformers' CrossEncoder save it.
            config["architectures"] = match self.of_tokens {
                true => json!(["BertForTokenClassification"]),
                false => json!(["BertForSequenceClassification"]),
            };
            let labels = (0..self.labels).map(|n| (n.to_string(), json!(format!("LABEL_{n}"))));
            config["id2label"] = labels.collect::<serde_json::Map<_, _>>().into();
            put("config.json", config);
            put(
                "tokenizer_config.json",
                json!({"model_max_length": self.max_tokens}),
            );
            self.write_weights(folder);
            return;
        }
        put("config.json", config);
        put(
            "modules.json",
            json!([
                {"idx": 0, "name": "0", "path": "",
                 "type": "sentence_transformers.models.Transformer"},
                {"idx": 1, "name": "1", "path": "1_Pooling",
                 "type": "sentence_transformers.models.Pooling"},
                {"idx": 2, "name": "2", "path": "2_Normalize",
                 "type": "sentence_transformers.models.Normalize"},
            ]),
        );
        let mut pooling = json!({"word_embedding_dimension": self.hidden});
        pooling[self.pooling] = json!(true);
        put("1_Pooling/config.json", pooling);
        put(
            "sentence_bert_config.json",
            json!({"max_seq_length": self.max_tokens, "do_lower_case": false}),
        );
        put(
            "config_sentence_transformers.json",
            json!({"prompts": {"query": self.query_prompt, "document": self.document_prompt}}),
        );
        fs::write(folder.join("LICENSE"), "Free to use in tests.\n").unwrap();

        self.write_weights(folder);
    }

    fn write_weights(&self, folder: &Path) {
        let tensors = self.tensors();
        let bytes: BTreeMap<&str, (Vec<usize>, Vec<u8>)> = tensors
            .iter()
            .map(|(name, (shape, values))| {
                let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
                (name.as_str(), (shape.clone(), bytes))
            })
            .collect();
        let views: Vec<(&str, TensorView<'_>)> = bytes
            .iter()
            .map(|(name, (shape, bytes))| {
                let view = TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap();
                (*name, view)
            })
            .collect();
        let file = safetensors::serialize(views, None).unwrap();
        fs::write(folder.join("model.safetensors"), file).unwrap();
    }

    /// The weights, the same for every equal model.
    pub fn tensors(&self) -> Tensors {
        let mut random = Random(self.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        let (h, f) = (self.hidden, self.intermediate);
        let mut tensors = Tensors::new();
        let mut put = |name: String, shape: &[usize], centre: f32, spread: f32| {
            let count = shape.iter().product();
            let values = (0..count)
                .map(|_| centre + spread * random.next())
                .collect();
            tensors.insert(name, (shape.to_vec(), values));
        };
        let e = "embeddings";
        put(
            format!("{e}.word_embeddings.weight"),
            &[vocabulary().len(), h],
            0.0,
            1.0,
        );
        put(
            format!("{e}.position_embeddings.weight"),
            &[self.positions, h],
            0.0,
            0.2,
        );
        put(
            format!("{e}.token_type_embeddings.weight"),
            &[2, h],
            0.0,
            0.2,
        );
        put(format!("{e}.LayerNorm.weight"), &[h], 1.0, 0.2);
        put(format!("{e}.LayerNorm.bias"), &[h], 0.0, 0.2);
        for layer in 0..self.layers {
            let p = format!("encoder.layer.{layer}");
            let dense = [
                ("attention.self.query", h, h),
                ("attention.self.key", h, h),
                ("attention.self.value", h, h),
                ("attention.output.dense", h, h),
                ("intermediate.dense", f, h),
                ("output.dense", h, f),
            ];
            for (name, outputs, inputs) in dense {
                let spread = 1.5 / (inputs as f32).sqrt();
                put(
                    format!("{p}.{name}.weight"),
                    &[outputs, inputs],
                    0.0,
                    spread,
                );
                put(format!("{p}.{name}.bias"), &[outputs], 0.0, 0.1);
            }
            for name in ["attention.output.LayerNorm", "output.LayerNorm"] {
                put(format!("{p}.{name}.weight"), &[h], 1.0, 0.2);
                put(format!("{p}.{name}.bias"), &[h], 0.0, 0.2);
            }
        }
        if self.labels > 0 {
            for (name, outputs, spread) in [
                ("bert.pooler.dense", h, 1.5 / (h as f32).sqrt()),
                ("classifier", self.labels, 0.5),
            ] {
                put(format!("{name}.weight"), &[outputs, h], 0.0, spread);
                put(format!("{name}.bias"), &[outputs], 0.0, 0.1);
            }
        }
        tensors
    }
}

/// Options with which tests run encoders: one session per core of a small machine.
///
/// # Panics
/// Without `ORT_DYLIB_PATH`, which `make test` sets.
pub fn runtime() -> RuntimeOptions {
    assert!(
        std::env::var_os("ORT_DYLIB_PATH").is_some_and(|path| Path::new(&path).is_file()),
        "tests of encoders need ONNX Runtime: set ORT_DYLIB_PATH to libonnxruntime.so, or \
         run them by `make test`, which does"
    );
    RuntimeOptions {
        sessions: Some(2),
        ..RuntimeOptions::default()
    }
}

/// xorshift64*, values in -1..1.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let bits = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 40;
        bits as f32 / (1 << 23) as f32 - 1.0
    }
}

/// Every string of ASCII letters, digits and punctuation has tokens; some words are one.
fn vocabulary() -> Vec<String> {
    let mut words: Vec<String> = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        .map(str::to_owned)
        .to_vec();
    let characters = ('a'..='z').chain('0'..='9');
    for character in characters {
        words.push(character.to_string());
        words.push(format!("##{character}"));
    }
    words.extend(".,;:!?'\"()-/".chars().map(String::from));
    let whole = "the of and a in to is was for on with as by that it from are this be at \
                 search index query document vector word sentence river mountain city house \
                 red green blue cat dog bird fish tree light water fire earth wind \
                 ##ing ##ed ##s ##er ##ly";
    words.extend(
        whole
            .split_whitespace()
            .filter(|word| word.len() > 1)
            .map(str::to_owned),
    );
    words
}

fn tokenizer() -> serde_json::Value {
    let vocabulary = vocabulary();
    let id = |token: &str| vocabulary.iter().position(|t| t == token).unwrap();
    let special = |token: &str| {
        json!({"id": id(token), "content": token, "single_word": false, "lstrip": false,
               "rstrip": false, "normalized": false, "special": true})
    };
    let vocab: serde_json::Map<String, serde_json::Value> = vocabulary
        .iter()
        .enumerate()
        .map(|(id, token)| (token.clone(), json!(id)))
        .collect();
    json!({
        "version": "1.0",
        // As published files do: a truncation and a padding that are not to be used.
        "truncation": {"max_length": 16, "strategy": "LongestFirst", "stride": 0,
                       "direction": "Right"},
        "padding": {"strategy": {"Fixed": 16}, "direction": "Right", "pad_to_multiple_of": null,
                    "pad_id": id("[PAD]"), "pad_type_id": 0, "pad_token": "[PAD]"},
        "added_tokens": [special("[PAD]"), special("[UNK]"), special("[CLS]"),
                         special("[SEP]"), special("[MASK]")],
        "normalizer": {"type": "BertNormalizer", "clean_text": true,
                       "handle_chinese_chars": true, "strip_accents": null, "lowercase": true},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}},
                       {"Sequence": {"id": "A", "type_id": 0}},
                       {"SpecialToken": {"id": "[SEP]", "type_id": 0}}],
            "pair": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}},
                     {"Sequence": {"id": "A", "type_id": 0}},
                     {"SpecialToken": {"id": "[SEP]", "type_id": 0}},
                     {"Sequence": {"id": "B", "type_id": 1}},
                     {"SpecialToken": {"id": "[SEP]", "type_id": 1}}],
            "special_tokens": {
                "[CLS]": {"id": "[CLS]", "ids": [id("[CLS]")], "tokens": ["[CLS]"]},
                "[SEP]": {"id": "[SEP]", "ids": [id("[SEP]")], "tokens": ["[SEP]"]}
            }
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {"type": "WordPiece", "unk_token": "[UNK]",
                  "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
                  "vocab": vocab}
    })
}
