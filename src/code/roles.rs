//! Which constructs of each language are cut out of a file.

use super::Language;

/// What a node is to cutting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// A function, or a method where it is inside of a type.
    Function,
    /// A type: its members are cut out of it.
    Type,
    /// Names what is inside, and is no unit: a module, a namespace.
    Scope,
    /// Names what comes after it: `package a.b;`.
    Prefix,
}

/// The role of a node by its type alone; see [`super::find`] for what depends on more.
pub(super) fn role(language: Language, kind: &str) -> Option<Role> {
    use Role::{Function, Prefix, Scope, Type};
    Some(match (language, kind) {
        (Language::Rust, "function_item" | "function_signature_item" | "macro_definition") => {
            Function
        }
        (
            Language::Rust,
            "struct_item" | "enum_item" | "union_item" | "trait_item" | "type_item" | "impl_item",
        ) => Type,
        (Language::Rust, "mod_item") => Scope,

        (Language::Python, "function_definition") => Function,
        (Language::Python, "class_definition") => Type,

        (
            Language::JavaScript | Language::TypeScript | Language::Tsx,
            "function_declaration"
            | "generator_function_declaration"
            | "method_definition"
            | "function_signature"
            // Where their value is a function.
            | "variable_declarator"
            | "pair"
            | "field_definition"
            | "public_field_definition"
            | "assignment_expression",
        ) => Function,
        (
            Language::JavaScript | Language::TypeScript | Language::Tsx,
            "class_declaration"
            | "abstract_class_declaration"
            | "interface_declaration"
            | "enum_declaration"
            | "type_alias_declaration",
        ) => Type,
        (Language::TypeScript | Language::Tsx, "internal_module" | "module") => Scope,

        (
            Language::Java,
            "method_declaration" | "constructor_declaration" | "compact_constructor_declaration",
        ) => Function,
        (
            Language::Java,
            "class_declaration"
            | "interface_declaration"
            | "enum_declaration"
            | "record_declaration"
            | "annotation_type_declaration",
        ) => Type,
        (Language::Java, "package_declaration") => Prefix,

        (Language::Go, "function_declaration" | "method_declaration") => Function,
        (Language::Go, "type_spec" | "type_alias") => Type,
        (Language::Go, "package_clause") => Prefix,

        (Language::C | Language::Cpp, "function_definition") => Function,
        (
            Language::C | Language::Cpp,
            "struct_specifier" | "union_specifier" | "enum_specifier" | "class_specifier",
        ) => Type,
        (Language::Cpp, "namespace_definition") => Scope,

        (
            Language::CSharp,
            "method_declaration"
            | "constructor_declaration"
            | "destructor_declaration"
            | "operator_declaration"
            | "conversion_operator_declaration"
            | "local_function_statement",
        ) => Function,
        (
            Language::CSharp,
            "class_declaration"
            | "struct_declaration"
            | "interface_declaration"
            | "enum_declaration"
            | "record_declaration"
            | "delegate_declaration",
        ) => Type,
        (Language::CSharp, "namespace_declaration") => Scope,
        (Language::CSharp, "file_scoped_namespace_declaration") => Prefix,

        (Language::Ruby, "method" | "singleton_method") => Function,
        (Language::Ruby, "class" | "module") => Type,

        (Language::Php, "function_definition" | "method_declaration") => Function,
        (
            Language::Php,
            "class_declaration"
            | "interface_declaration"
            | "trait_declaration"
            | "enum_declaration",
        ) => Type,
        (Language::Php, "namespace_definition") => Scope,
        _ => return None,
    })
}

/// Nodes that belong to the one definition that they hold: `export`, decorators, templates.
pub(super) fn is_wrapper(kind: &str) -> bool {
    matches!(
        kind,
        "decorated_definition"
            | "export_statement"
            | "ambient_declaration"
            | "lexical_declaration"
            | "variable_declaration"
            | "expression_statement"
            | "type_declaration"
            | "template_declaration"
            | "type_definition"
            | "declaration"
            | "global_statement"
    )
}

/// Comments and attributes, which belong to the definition that they stand before.
pub(super) fn is_leading(kind: &str) -> bool {
    is_comment(kind) || matches!(kind, "attribute_item" | "decorator" | "attribute_list")
}

pub(super) fn is_comment(kind: &str) -> bool {
    matches!(kind, "comment" | "line_comment" | "block_comment")
}

/// What stands between the names of a symbol, as the language writes it.
pub(super) fn separator(language: Language, before: Role, role: Role) -> &'static str {
    match language {
        Language::Rust | Language::Cpp | Language::C => "::",
        Language::Ruby if role == Role::Function => "#",
        Language::Ruby => "::",
        Language::Php if before == Role::Type => "::",
        Language::Php => "\\",
        _ => ".",
    }
}
