"""Training of networks: the loop, its optimisers, patches and recipes."""
