// Source code cut into comments, strings, numbers, keywords and the rest: enough to colour it.
// It is no parser, and what it takes wrongly is only coloured wrongly.

const WORDS = {
  rust: "as async await break const continue crate dyn else enum extern false fn for if impl in let loop match mod move mut pub ref return self Self static struct super trait true type unsafe use where while",
  python: "and as assert async await break class continue def del elif else except False finally for from global if import in is lambda None nonlocal not or pass raise return True try while with yield match case",
  javascript: "async await break case catch class const continue debugger default delete do else export extends false finally for from function get if import in instanceof let new null of return set static super switch this throw true try typeof undefined var void while with yield",
  java: "abstract assert boolean break byte case catch char class const continue default do double else enum extends final finally float for if implements import instanceof int interface long native new null package private protected public record return short static super switch synchronized this throw throws transient true false try var void volatile while",
  go: "break case chan const continue default defer else fallthrough false for func go goto if import interface iota map nil package range return select struct switch true type var",
  c: "auto bool break case catch char class const constexpr continue default delete do double else enum explicit extern false float for friend goto if inline int long namespace new noexcept nullptr operator override private protected public register return short signed sizeof static struct switch template this throw true try typedef typename union unsigned using virtual void volatile while",
  csharp: "abstract as async await base bool break byte case catch char class const continue decimal default delegate do double else enum event false finally fixed float for foreach get if in int interface internal is lock long namespace new null object operator out override params private protected public readonly record ref return sealed set short static string struct switch this throw true try typeof uint using var virtual void volatile while yield",
  ruby: "alias and begin break case class def defined? do else elsif end ensure false for if in module next nil not or redo rescue retry return self super then true undef unless until when while yield require attr_reader attr_accessor",
  php: "abstract and array as break case catch class clone const continue declare default do echo else elseif extends false final finally fn for foreach function global if implements instanceof interface match namespace new null or private protected public readonly return static switch this throw trait true try use var while yield",
};
const ALSO = { typescript: ["javascript", "abstract any as boolean declare enum implements interface keyof namespace never number private protected public readonly string type unknown"], tsx: ["typescript", ""], cpp: ["c", ""] };

// Words behind which a name is defined.
const DEFINING = new Set("fn def class struct enum trait function func interface type mod module impl record namespace".split(" "));

const SLASH = String.raw`\/\/[^\n]*|\/\*[\s\S]*?(?:\*\/|$)`;
const HASH = String.raw`#[^\n]*`;
const DOUBLE = String.raw`"(?:\\.|[^"\\\n])*"?`;
const SINGLE = String.raw`'(?:\\.|[^'\\\n])*'?`;
const BACKTICK = String.raw`\`(?:\\[\s\S]|[^\`\\])*\`?`;
const NUMBER = String.raw`\b(?:0[xX][\da-fA-F_]+|0[bB][01_]+|\d[\d_]*(?:\.\d[\d_]*)?(?:[eE][+-]?\d+)?)\w*`;
const WORD = String.raw`[A-Za-z_$\u0080-\uffff][\w$\u0080-\uffff]*[?!]?`;

const FORMS = {
  rust: [SLASH, String.raw`b?r(#*)"[\s\S]*?"\k<0>|b?"(?:\\[\s\S]|[^"\\])*"|b?'(?:\\[^\n]+?|[^'\\\n])'`],
  python: [HASH, String.raw`[rbfuRBFU]{0,2}(?:"""[\s\S]*?(?:"""|$)|'''[\s\S]*?(?:'''|$)|${DOUBLE}|${SINGLE})`],
  javascript: [SLASH, `${DOUBLE}|${SINGLE}|${BACKTICK}`],
  go: [SLASH, `${DOUBLE}|${SINGLE}|${BACKTICK}`],
  ruby: [HASH, `${DOUBLE}|${SINGLE}`],
  php: [`${SLASH}|${HASH}`, `${DOUBLE}|${SINGLE}`],
  other: [SLASH, `${DOUBLE}|${SINGLE}`],
};

const made = new Map();

function wordsOf(language) {
  if (ALSO[language]) return [...wordsOf(ALSO[language][0]), ...ALSO[language][1].split(" ")];
  return (WORDS[language] || "").split(" ");
}

function rules(language) {
  if (!made.has(language)) {
    const base = language === "typescript" || language === "tsx" ? "javascript" : language;
    const [comment, string] = FORMS[base] || FORMS.other;
    // Raw strings of Rust end with as many marks as they begin with.
    const named = string.replace("(#*)", "(?<hashes>#*)").replace("\\k<0>", "\\k<hashes>");
    made.set(language, {
      pattern: new RegExp(`(?<comment>${comment})|(?<string>${named})|(?<number>${NUMBER})|(?<word>${WORD})`, "g"),
      keywords: new Set(wordsOf(language)),
    });
  }
  return made.get(language);
}

/** [{kind, text}] that add up to the code; `kind` is empty for what is not coloured. */
export function tokens(code, language) {
  if (!WORDS[language] && !ALSO[language]) return [{ kind: "", text: code }];
  const { pattern, keywords } = rules(language);
  const found = [];
  let at = 0;
  let before = "";
  for (const match of code.matchAll(pattern)) {
    const { comment, string, number, word } = match.groups;
    let kind = comment !== undefined ? "comment" : string !== undefined ? "string" : number !== undefined ? "number" : "";
    if (word !== undefined) {
      if (keywords.has(word)) kind = "keyword";
      else if (DEFINING.has(before)) kind = "name";
      before = word;
    }
    if (!kind) continue;
    if (match.index > at) found.push({ kind: "", text: code.slice(at, match.index) });
    found.push({ kind, text: match[0] });
    at = match.index + match[0].length;
  }
  if (at < code.length) found.push({ kind: "", text: code.slice(at) });
  return found;
}

/** The same in lines, with the stretches of `marks` ({start, end}, in order) marked. */
export function lines(code, language, marks) {
  const all = [[]];
  let at = 0;
  let next = 0;
  for (const { kind, text } of tokens(code, language)) {
    for (const part of text.split(/(\n)/)) {
      if (part === "\n") {
        all.push([]);
        at += 1;
        continue;
      }
      const end = at + part.length;
      while (at < end) {
        while (next < marks.length && marks[next].end <= at) next += 1;
        const mark = marks[next];
        const marked = Boolean(mark) && mark.start <= at;
        const stop = Math.min(end, mark ? (marked ? mark.end : mark.start) : end);
        all[all.length - 1].push({ kind, marked, text: code.slice(at, stop) });
        at = stop;
      }
    }
  }
  return all;
}
