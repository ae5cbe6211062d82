//! What is asked of an encoder: texts or token ids, and how they are to be encoded.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::code::Language;

/// What a text is encoded for; decides its prompt, and who waits for whom: queries go
/// before documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// Something that is looked for.
    Query,
    /// Something that is found.
    Document,
}

/// What happens to texts that are longer than the model reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LongTexts {
    /// The end is cut off, and that is reported.
    #[default]
    Truncate,
    /// Overlapping windows are encoded each by itself; the text's vector is the mean of
    /// theirs, weighted by their tokens.
    Windows,
}

/// Something to encode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input<'a> {
    /// A text.
    Text(&'a str),
    /// Ids of the model's own tokenizer, with its special tokens or without; a prompt and
    /// the special tokens that are not there are put around them.
    Tokens(&'a [u32]),
    /// Source code; a text to a model that does not read syntax, and with a prompt. Its end is cut
    /// off where it is too long, whatever is asked for.
    Code(Language, &'a str),
}

/// What is put before a text instead of what the manifest says for its task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prompt {
    /// One of the manifest's prompts, by name.
    Named(String),
    /// This text.
    Text(String),
}

/// How texts are to be encoded.
#[derive(Debug, Clone)]
pub struct EncodeOptions {
    /// What for.
    pub task: Task,
    /// Another prompt than the task's.
    pub prompt: Option<Prompt>,
    /// What happens to long texts; as the manifest says where it is not set.
    pub long_texts: Option<LongTexts>,
    /// Most tokens of all texts together; more are refused before anything is encoded.
    pub most_tokens: usize,
    /// Refuse, rather than wait, where as many texts wait as may wait
    /// ([`RuntimeOptions::queue_texts`](super::RuntimeOptions::queue_texts)). For callers
    /// that nothing else bounds.
    pub refuse_when_full: bool,
    /// Look the vectors up among those that are kept, and keep them.
    pub cached: bool,
    /// Tells that nobody waits for the vectors any more.
    pub cancellation: Cancellation,
}

impl EncodeOptions {
    /// For a task, with the manifest's prompt, waiting as long as it takes, past the cache.
    pub fn new(task: Task) -> Self {
        EncodeOptions {
            task,
            prompt: None,
            long_texts: None,
            most_tokens: usize::MAX,
            refuse_when_full: false,
            cached: false,
            cancellation: Cancellation::default(),
        }
    }
}

/// Tells an encoder that nobody waits for some texts any more. Those that are not being
/// encoded yet never will be. Clones are one.
#[derive(Debug, Clone, Default)]
pub struct Cancellation(Arc<Flag>);

#[derive(Debug, Default)]
struct Flag {
    cancelled: AtomicBool,
    whole: Option<Cancellation>,
}

impl Cancellation {
    /// Nobody waits any more.
    pub fn cancel(&self) {
        self.0.cancelled.store(true, Ordering::Relaxed);
    }

    /// Whether nobody waits any more.
    pub fn is_cancelled(&self) -> bool {
        let whole = self.0.whole.as_ref();
        self.0.cancelled.load(Ordering::Relaxed) || whole.is_some_and(Self::is_cancelled)
    }

    /// One for a part of the work: cancelled with the whole, or by itself.
    pub fn of_part(&self) -> Cancellation {
        Cancellation(Arc::new(Flag {
            cancelled: AtomicBool::new(false),
            whole: Some(self.clone()),
        }))
    }

    /// Cancels when it is dropped: for whoever waits to hold on to.
    pub fn on_drop(&self) -> CancelOnDrop {
        CancelOnDrop(self.clone())
    }
}

/// See [`Cancellation::on_drop`].
#[derive(Debug)]
pub struct CancelOnDrop(Cancellation);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}
