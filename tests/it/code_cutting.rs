//! Promise: whatever a file of code holds, reading it ends within its limits; it is cut where its
//! reader would cut it, no line is lost, and a function's graph is of its text alone.

use std::time::{Duration, Instant};

use gleaner::code::{
    CodeGraph, CutLimits, Cutting, GraphLimits, Kind, Language, Limits, LineRange, Unit, Unparsed,
    all_kinds, cut, cut_markdown, cut_text, is_markdown, parse, vocabulary_size,
};
use proptest::prelude::*;

const FILES: [(&str, &str, &str); 12] = [
    (
        "src/shop/cart.rs",
        r#"//! Carts.

use std::fmt;

/// A cart of things.
#[derive(Debug)]
pub struct Cart { things: Vec<u32> }

impl Cart {
    /// Adds one.
    pub fn add(&mut self, thing: u32) {
        self.things.push(thing);
    }
}

mod inner {
    fn helper() -> u32 { 7 }
}
"#,
        "shop::cart::Cart type|shop::cart::Cart type|shop::cart::Cart::add method Adds one.|shop::cart::inner::helper function",
    ),
    (
        "shop/cart.py",
        "\"\"\"Carts.\"\"\"\nimport os\n\n@cached\ndef total(things):\n    \"\"\"Sum of prices.\"\"\"\n    return sum(things)\n\nclass Cart(object):\n    SIZE = 3\n\n    # Adds one.\n    def add(self, thing):\n        def inner():\n            pass\n        self.things.append(thing)\n",
        "shop.cart.total function Sum of prices.|shop.cart.Cart type|shop.cart.Cart.add method Adds one.",
    ),
    (
        "cart.js",
        "import x from 'y';\n\n/** Sums. */\nexport function total(a) { return a; }\n\nconst add = (a, b) => a + b;\n\nclass Cart {\n  size() { return 1; }\n}\nexports.clear = function () { return null; };\n(function () { function hidden() { return 2; } })();\n",
        "total function Sums.|add function|Cart type|Cart.size method|clear function|hidden function",
    ),
    (
        "cart.ts",
        "export interface Thing { name: string }\n\nexport abstract class Cart<T> {\n  private size(): number { return 1; }\n}\nnamespace Shop { export const make = (n: number): Cart<X> => null; }\n",
        "Thing type|Cart type|Cart.size method|Shop.make function",
    ),
    (
        "cart.tsx",
        "// A view.\nexport const View = (p: Props) => <div>{p.name}</div>;\n",
        "View function A view.",
    ),
    (
        "Cart.java",
        "package a.b;\n\nimport java.util.List;\n\n/** A cart. */\npublic class Cart {\n    private int n = 1;\n\n    /**\n     * Adds one.\n     */\n    @Override\n    public void add(int thing) { n += thing; }\n\n    enum Color { RED }\n}\n",
        "a.b.Cart type A cart.|a.b.Cart.add method Adds one.|a.b.Cart.Color type",
    ),
    (
        "cart.go",
        "package shop\n\nimport \"fmt\"\n\n// Cart holds things.\ntype Cart struct {\n\tn int\n}\n\n// Add adds.\nfunc (c *Cart) Add(n int) {\n\tfmt.Println(n)\n}\n\nfunc New() *Cart { return nil }\n",
        "shop.Cart type Cart holds things.|shop.Cart.Add method Add adds.|shop.New function",
    ),
    (
        "cart.c",
        "#include <a.h>\n\nstruct cart { int n; };\n\ntypedef struct { int m; } other;\n\n/* Adds. */\nstatic int *add(struct cart *c, int n)\n{\n    return 0;\n}\n",
        "cart type|other type|add function Adds.",
    ),
    (
        "cart.cpp",
        "namespace shop {\nclass Cart {\n public:\n  int size() const { return 1; }\n};\ntemplate <typename T>\nT Cart::get(T a) { return a; }\n}\n",
        "shop::Cart type|shop::Cart::size method|shop::Cart::get function",
    ),
    (
        "Cart.cs",
        "namespace Shop.Core;\n\n/// <summary>A cart.</summary>\npublic class Cart {\n    public int Add(int n) { return n; }\n}\n",
        "Shop.Core.Cart type <summary>A cart.</summary>|Shop.Core.Cart.Add method",
    ),
    (
        "cart.rb",
        "require 'x'\n\nmodule Shop\n  # A cart.\n  class Cart\n    def add(thing)\n      @n = thing\n    end\n  end\nend\n",
        "Shop type|Shop::Cart type A cart.|Shop::Cart#add method",
    ),
    (
        "cart.php",
        "<?php\nnamespace Shop\\Core;\n\n/** A cart. */\nclass Cart {\n    public function add($n) { return $n; }\n}\nfunction total($a) { return $a; }\n",
        "Shop\\Core\\Cart type A cart.|Shop\\Core\\Cart::add method|Shop\\Core\\total function",
    ),
];

fn units_of(path: &str, text: &str, limits: &CutLimits) -> Vec<Unit> {
    let language = Language::of_file(path.as_ref(), text).unwrap();
    let syntax = parse(language, text, &Limits::default()).unwrap();
    cut(&syntax, text, Cutting { path, limits })
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Function => "function",
        Kind::Method => "method",
        Kind::Type => "type",
        Kind::Module => "module",
        Kind::Section => "section",
        Kind::Text => "text",
    }
}

#[test]
fn every_language_is_cut_where_its_reader_would() {
    let mut wrong = String::new();
    for (path, text, expected) in FILES {
        let units = units_of(path, text, &CutLimits::default());
        let described: Vec<String> = units
            .iter()
            .filter(|unit| unit.kind != Kind::Module)
            .map(|unit| {
                let docs = unit.docstring.as_deref().unwrap_or_default();
                format!("{} {} {docs}", unit.symbol, word(unit.kind))
                    .trim()
                    .to_string()
            })
            .collect();
        // The struct's documentation is checked below; here it would only make lines long.
        let described = described.join("|").replace(" A cart of things.", "");
        if described != expected {
            wrong += &format!("{path}:\n  {described}\n  {expected}\n");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn a_unit_tells_its_lines_signature_and_words() {
    let (path, text, _) = FILES[0];
    let units = units_of(path, text, &CutLimits::default());
    let add = units.iter().find(|u| u.symbol.ends_with("::add")).unwrap();
    assert_eq!(
        add.lines,
        [LineRange {
            first: 10,
            last: 13
        }]
    );
    let signature = "pub fn add(&mut self, thing: u32)";
    assert_eq!(add.signature.as_deref(), Some(signature));
    assert!(add.code.starts_with("    /// Adds one.\n"), "{}", add.code);
    let cart = units.iter().find(|u| u.kind == Kind::Type).unwrap();
    assert_eq!(cart.docstring.as_deref(), Some("A cart of things."));
    assert!(
        cart.signature
            .as_deref()
            .unwrap()
            .starts_with("#[derive(Debug)]")
    );
    let module = units.iter().find(|u| u.kind == Kind::Module).unwrap();
    assert_eq!(module.symbol, "shop::cart");
    assert_eq!(module.docstring.as_deref(), Some("Carts."));
    assert!(module.code.contains("use std::fmt;"), "{}", module.code);
    assert!(!module.code.contains("struct"), "{}", module.code);

    let camel = "fn parseHTTPRequest_now() { let lineCount = 1; }";
    let unit = &units_of("a.rs", camel, &CutLimits::default())[0];
    assert!(
        unit.identifiers.contains("parse http request now"),
        "{unit:?}"
    );
    assert!(unit.identifiers.contains("line count"), "{unit:?}");
}

/// Every line that says something is in a unit; in several only where that is said.
fn check_lines(text: &str, units: &[Unit], overlap: bool) -> Result<(), TestCaseError> {
    let count = text.split('\n').count() as u32;
    let mut covered = vec![0; count as usize + 1];
    for unit in units {
        let mut last = 0;
        prop_assert!(!unit.lines.is_empty());
        for lines in &unit.lines {
            prop_assert!(lines.first > last && lines.first <= lines.last && lines.last <= count);
            last = lines.last;
            (lines.first..=lines.last).for_each(|line| covered[line as usize] += 1);
        }
    }
    for (n, line) in text.split('\n').enumerate() {
        let times = covered[n + 1];
        if line.contains(char::is_alphanumeric) {
            prop_assert!(times >= 1, "line {} of {text:?} is lost: {units:?}", n + 1);
        }
        // These files have no two definitions on a line, nor anything else beside one.
        prop_assert!(
            overlap || times <= 1,
            "line {} is in {times}: {units:?}",
            n + 1
        );
    }
    Ok(())
}

#[test]
fn lines_are_in_one_unit() {
    for (path, text, _) in FILES {
        let shares = matches!(path, "cart.js" | "cart.ts");
        let units = units_of(path, text, &CutLimits::default());
        check_lines(text, &units, shares).unwrap();
    }
}

#[test]
fn long_functions_are_cut_by_syntax_into_parts_that_overlap() {
    let body: String = (0..60)
        .map(|n| format!("    if a{n} {{\n        call_{n}();\n    }}\n"))
        .collect();
    let text = format!("/// Does much.\nfn much(a: u32) {{\n{body}}}\n");
    let limits = CutLimits {
        part_bytes: 600,
        overlap_bytes: 60,
    };
    let units = units_of("a.rs", &text, &limits);
    assert!(units.len() > 3);
    for (n, unit) in units.iter().enumerate() {
        assert_eq!((unit.part, unit.parts), (n as u32 + 1, units.len() as u32));
        assert_eq!(unit.symbol, "a::much");
        assert_eq!(unit.docstring.as_deref(), Some("Does much."));
        if n > 0 {
            assert!(
                unit.code.starts_with("fn much(a: u32)\n…\n"),
                "{}",
                unit.code
            );
            let before = units[n - 1].lines.last().unwrap().last;
            assert!(unit.lines[0].first <= before, "they overlap");
        }
    }
    check_lines(&text, &units, true).unwrap();
    // A nested function of a long one is a unit of its own.
    let inner: String = (0..40).map(|n| format!("        call_{n}();\n")).collect();
    let text = format!("fn outer() {{\n    fn inner() {{\n{inner}    }}\n    inner();\n}}\n");
    let nested = units_of("a.rs", &text, &limits);
    assert!(nested.iter().any(|unit| unit.symbol == "a::outer::inner"));
    assert!(nested.iter().any(|unit| unit.symbol == "a::outer"));
    let whole = units_of("a.rs", &text, &CutLimits::default());
    assert_eq!(whole.len(), 1);
}

#[test]
fn broken_code_is_cut_as_far_as_it_can_be_read() {
    let text = "fn good() { let a = 1; }\n\nfn bad( {{{ ]] let\n\nfn fine() { good(); }\n";
    let units = units_of("a.rs", text, &CutLimits::default());
    assert!(units.iter().any(|unit| unit.symbol == "a::good"));
    check_lines(text, &units, true).unwrap();
}

/// A hundred thousand of everything that can be nested or repeated, on a small stack.
#[test]
fn hostile_texts_exhaust_nothing() {
    let n = 100_000;
    let texts = [
        "(".repeat(n),
        "[".repeat(n) + &"]".repeat(n),
        "{".repeat(n) + &"}".repeat(n),
        "f(".repeat(n),
        "a+".repeat(n),
        "-".repeat(n),
        "if x { ".repeat(n),
        "\"".repeat(n),
        "/*".repeat(n),
        "<a>".repeat(n),
        "x".repeat(n * 5),
        "function a(){return 1};".repeat(n / 8),
        "\u{0}\u{1}\u{fffd}".repeat(n / 8),
    ];
    let small = std::thread::Builder::new().stack_size(256 * 1024);
    let run = move || {
        let limits = Limits {
            time: Duration::from_millis(500),
            ..Limits::default()
        };
        for language in [
            Language::Rust,
            Language::JavaScript,
            Language::Python,
            Language::Cpp,
        ] {
            for text in &texts {
                let started = Instant::now();
                if let Ok(syntax) = parse(language, text, &limits) {
                    let cutting = Cutting {
                        path: "a",
                        limits: &CutLimits::default(),
                    };
                    let units = cut(&syntax, text, cutting);
                    for unit in units {
                        assert!(unit.code.len() < 10_000, "{}", unit.code.len());
                    }
                }
                let graph = GraphLimits {
                    parse: limits,
                    ..GraphLimits::default()
                };
                if let Ok(graph) = CodeGraph::new(language, text, &graph) {
                    assert!(graph.len() <= 512);
                }
                let start = &text[..text.len().min(12)];
                let taken = started.elapsed();
                assert!(
                    taken < Duration::from_secs(20),
                    "{language} {start:?}: {taken:?}"
                );
            }
        }
    };
    small.spawn(run).unwrap().join().unwrap();
    let long = "x".repeat((1 << 20) + 1);
    let refused = parse(Language::Rust, &long, &Limits::default());
    assert_eq!(refused.err(), Some(Unparsed::Long));
}

#[test]
fn a_graph_has_no_wrappers_and_counts_children() {
    let limits = GraphLimits::default();
    let code = "def add(a, b):\n    return a + b\n";
    let graph = CodeGraph::new(Language::Python, code, &limits).unwrap();
    assert_eq!(graph.parents[0], 0);
    for place in 1..graph.len() {
        let parent = graph.parents[place] as usize;
        assert!(parent < place);
        let (outer, inner) = (&graph.spans[parent], &graph.spans[place]);
        assert!(outer.start <= inner.start && inner.end <= outer.end);
        let only = graph.children[parent] == 1;
        let same = code[outer.start as usize..outer.end as usize].trim()
            == code[inner.start as usize..inner.end as usize].trim();
        assert!(!(only && same), "{place} of {graph:?}");
    }
    // Module and function are one; name, parameters (a, b), body: a return of a sum of two.
    assert_eq!(graph.children, [3, 0, 2, 0, 0, 1, 2, 0, 0]);
    assert_eq!(graph.left_out, 0);
    assert!(graph.kinds.iter().all(|&kind| kind > 0));
    // The same construct has the same number in two languages.
    let other = CodeGraph::new(Language::JavaScript, "a", &limits).unwrap();
    let name = CodeGraph::new(Language::Go, "a", &limits).unwrap();
    assert_eq!(other.kinds.last(), name.kinds.last(), "an identifier");
}

#[test]
fn methods_are_read_as_inside_of_their_class() {
    let limits = GraphLimits::default();
    for (language, code) in [
        (Language::Java, "@Override public int size() { return n; }"),
        (
            Language::TypeScript,
            "private size(a: number): string { return this.n; }",
        ),
        (Language::CSharp, "public override int Size() => n;"),
        (Language::Php, "public function size() { return $this->n; }"),
        (
            Language::Cpp,
            "virtual int size() const override { return n; }",
        ),
    ] {
        let graph = CodeGraph::new(language, code, &limits).unwrap();
        let error = 1;
        assert!(!graph.kinds.contains(&error), "{language}: {graph:?}");
        let broken = CodeGraph::new(language, ")) ((", &limits).unwrap();
        assert!(broken.kinds.contains(&error), "{language}: {broken:?}");
        let length = code.len() as u32;
        assert!(
            graph.spans.iter().all(|span| span.end <= length),
            "{language}"
        );
    }
}

#[test]
fn the_deepest_nodes_are_left_out_first() {
    let code = "def f(a):\n    return g(h(a, [1, (2, 3)]))\n";
    let all = CodeGraph::new(Language::Python, code, &GraphLimits::default()).unwrap();
    for most in 1..=all.len() {
        let limits = GraphLimits {
            nodes: most,
            ..GraphLimits::default()
        };
        let graph = CodeGraph::new(Language::Python, code, &limits).unwrap();
        assert_eq!((graph.len(), graph.left_out), (most, all.len() - most));
        assert!(
            graph
                .parents
                .iter()
                .enumerate()
                .all(|(n, &p)| p as usize <= n)
        );
        let total: u32 = graph.children.iter().sum();
        assert!(total as usize >= graph.len() - 1, "of those left out too");
    }
}

#[test]
fn nodes_know_their_tokens() {
    let code = "f(ab)";
    let graph = CodeGraph::new(Language::Python, code, &GraphLimits::default()).unwrap();
    // Without room for the last: what the encoder did not read has no tokens.
    let tokens = graph.tokens(&[0..1, 1..2, 2..3]);
    for (span, tokens) in graph.spans.iter().zip(&tokens) {
        match span.start {
            0 if span.end == 5 => assert_eq!(*tokens, 0..3),
            0 => assert_eq!(*tokens, 0..1),
            1 => assert_eq!(*tokens, 1..3),
            _ => assert_eq!(*tokens, 2..3),
        }
    }
    assert_eq!(graph.tokens(&[])[0], 0..0);
}

#[test]
fn the_list_of_node_types_is_that_of_the_grammars() {
    let wanted = all_kinds();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/code/kinds.txt");
    if std::env::var_os("GLEANER_REGENERATE").is_some() {
        std::fs::write(path, &wanted).unwrap();
        return;
    }
    assert_eq!(std::fs::read_to_string(path).unwrap(), wanted);
    assert_eq!(vocabulary_size(), wanted.lines().count() + 1);
}

/// A page with what pages have: metadata, code that looks like headings, headings in two notations,
/// one with nothing under it, and one in a quotation.
const PAGE: &str = "---\ntitle: Lamps\n---\n\nBefore all.\n\n# Lamps & `light`\n\nOf lamps.\n\n## Care\n\n### Dust\n\n\
    Dust them.\n\n```sh\n# not a heading\ndust lamp\n```\n\n> # quoted\n\nPrices\n------\n\n| a | b |\n|---|---|\n| 1 | 2 |\n";

#[test]
fn markdown_is_cut_at_its_headings() {
    let limits = CutLimits::default();
    let cutting = Cutting {
        path: "docs/lamps.md",
        limits: &limits,
    };
    let units = cut_markdown(PAGE, cutting);
    check_lines(PAGE, &units, false).unwrap();
    let found: Vec<(&str, Option<&str>)> = units
        .iter()
        .map(|unit| (unit.symbol.as_str(), unit.docstring.as_deref()))
        .collect();
    assert_eq!(
        found,
        [
            ("docs/lamps.md", None),
            ("Lamps & light", None),
            ("Lamps & light > Care > Dust", Some("Lamps & light > Care")),
            ("Lamps & light > Prices", Some("Lamps & light")),
        ]
    );
    assert!(units.iter().all(|unit| unit.kind == Kind::Section));
    // A heading with nothing under it begins the section of the next.
    assert!(units[2].code.starts_with("## Care"), "{}", units[2].code);
    assert!(units[2].code.ends_with("> # quoted"), "{}", units[2].code);
    for (path, is) in [
        ("a.md", true),
        ("b/A.MARKDOWN", true),
        ("md", false),
        ("a.mdc", false),
    ] {
        assert_eq!(is_markdown(path), is, "{path}");
    }
}

#[test]
fn pages_are_cut_within_their_limits_and_rules_are_no_metadata() {
    let limits = CutLimits::default();
    let cut_page = |text: &str| {
        let path = "a.md";
        cut_markdown(
            text,
            Cutting {
                path,
                limits: &limits,
            },
        )
    };
    // Rules between sections, as slides have them.
    let slides = cut_page("---\n# Alpha\n\ntext a\n\n---\n# Beta\n\n+++\n## Gamma\n\ntext\n");
    let symbols: Vec<&str> = slides.iter().map(|unit| unit.symbol.as_str()).collect();
    assert_eq!(symbols, ["Alpha", "Beta > Gamma"]);
    // A long heading over many sections, and one of many lines, are not repeated whole.
    let long = format!(
        "# {}\n\n{}",
        "word ".repeat(4_000),
        "## a\n\nb\n\n".repeat(3_000)
    );
    let lines = format!(
        "{}===\n\n{}",
        "many words\n".repeat(2_000),
        "text\n\n".repeat(20_000)
    );
    let marks = "> ---\n".repeat(30_000);
    for text in [long, lines, marks] {
        let started = Instant::now();
        let units = cut_page(&text);
        let kept: usize = units
            .iter()
            .map(|unit| unit.code.len() + unit.symbol.len())
            .sum();
        assert!(kept < 20 * text.len(), "{kept} bytes of {}", text.len());
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "{:?}",
            started.elapsed()
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Pages of lines that mean something to Markdown, in any order.
    #[test]
    fn nothing_is_lost_of_pages(
        lines in proptest::collection::vec(proptest::sample::select(vec![
            "# one", "## two", "   ### three", "four\n===", "> # five", "- # six", "```", "    # seven", "",
            "word", "<!-- # eight -->", "---", "+++", "title: x", "| a |\n|---|", "#", "# #", "~~~\n# nine",
        ]), 0..24),
    ) {
        let text = lines.join("\n");
        let limits = CutLimits { part_bytes: 60, overlap_bytes: 10 };
        let units = cut_markdown(&text, Cutting { path: "a.md", limits: &limits });
        check_lines(&text, &units, true)?;
    }

    /// Files that are cut anywhere and joined to others are broken in every way.
    #[test]
    fn nothing_is_lost_of_broken_files(
        one in 0..FILES.len(), other in 0..FILES.len(), from in 0usize..400, to in 0usize..400,
    ) {
        let (path, text, _) = FILES[one];
        let at = |text: &str, at: usize| text.floor_char_boundary(at.min(text.len()));
        let second = FILES[other].1;
        let text = format!("{}{}", &text[..at(text, from)], &second[at(second, to)..]);
        let limits = CutLimits { part_bytes: 120, overlap_bytes: 20 };
        let language = Language::of_file(path.as_ref(), FILES[one].1).unwrap();
        let syntax = parse(language, &text, &Limits::default()).unwrap();
        check_lines(&text, &cut(&syntax, &text, Cutting { path, limits: &limits }), true)?;
        check_lines(&text, &cut_text(&text, Cutting { path, limits: &limits }), true)?;
        let graph = CodeGraph::new(language, &text, &GraphLimits::default()).unwrap();
        for (place, &parent) in graph.parents.iter().enumerate() {
            prop_assert!(parent as usize <= place);
        }
    }
}
