//! Gleaner: retrieval and ranking in one process.

pub mod access;
pub mod api;
pub mod cli;
pub mod code;
pub mod combine;
pub mod config;
pub mod doctor;
pub mod document;
pub mod entity;
pub mod error;
pub mod eval;
pub mod feedback;
pub mod filter;
pub mod identifiers;
pub mod index;
pub mod ingest;
pub mod jobs;
pub mod lexical;
pub mod model;
pub mod objects;
pub mod rerank;
pub mod search;
pub mod sql;
pub mod store;
pub mod telemetry;
pub mod vector;
