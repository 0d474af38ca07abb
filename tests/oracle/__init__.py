"""What pare is judged by: real models, real data and what others make of them.

In: the private environment of tools/setup. Out: model descriptions (models),
sentences, text lines and pictures (corpus), artifacts to run (artifact).
Used by tests/e2e and benchmarks; imports nothing of either.
"""
