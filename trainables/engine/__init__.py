"""One fine-tune: the pass of a pack, its loop, what it minimises, and what becomes of it."""
