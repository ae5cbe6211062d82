"""A generator of entities' names: a small encoder-decoder over the layers of a published encoder."""
