"""Training the graph part of code search (GNN-Coder, arXiv 2502.15202) over a frozen encoder."""
