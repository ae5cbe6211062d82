"""Training of the linker: a cross-encoder that reads a question and one table with its columns and
scores each of them (after RESDSQL, arXiv 2302.05965, and CodeS, arXiv 2402.16347)."""
