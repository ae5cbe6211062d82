"""Training of text encoders: data, mining, losses, poolings, export.

`python -m encoders --help` lists what it does; training/README.md describes the files.
"""
