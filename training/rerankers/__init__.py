"""Trains cross-encoders that re-rank what a first stage found, also from judgments that only
cover what some retriever once showed (the Coupled Estimation Technique, arXiv 2209.05072).
"""
