//! Integration tests: one module per promise, one binary so that RocksDB is linked once.

mod answers;
mod bad_input;
mod bad_models;
mod bad_requests;
mod catalog;
mod commands;
mod crash;
mod durability;
mod embeddings;
mod encoder;
mod encoding;
mod filters;
mod loading;
mod measures;
mod model;
mod model_folders;
mod operations;
mod quality;
mod readers;
mod rest;
mod schemas;
mod scripts;
mod snapshots;
mod support;
mod vectors;
mod words;
