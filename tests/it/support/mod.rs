//! What several promises need to be tested.

pub mod binary;
pub mod files;
pub mod names;
pub mod plain_bert;
pub mod program;
pub mod s3;
pub mod scrape;
pub mod service;
pub mod shop;
pub mod tiny_model;
pub mod toy_generator;
pub mod toy_graph;
pub mod world;
