"""The runtime side: what the weights of a training loop are when CPython and autograd run it."""
