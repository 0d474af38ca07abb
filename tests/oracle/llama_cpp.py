"""Logits of GGUF files by ik_llama.cpp, which keeps llama.cpp's C interface."""

import numpy as np


def logits(path, tokens, vocabulary):
    """[tokens, vocabulary]: of each token as a sequence's next. Products have
    activations in 8 bits, as llama.cpp's do."""
    from ik_llama_cpp import _ctypes_api as ik

    ik.llama_backend_init()
    params = ik.llama_model_default_params()
    model = ik.llama_model_load_from_file(str(path).encode(), params)
    assert model, f"{path} was not loaded"
    params = ik.llama_context_default_params()
    params.n_ctx = params.n_batch = params.n_ubatch = 512
    params.n_threads = params.n_threads_batch = 2
    params.flash_attn = False
    context = ik.llama_init_from_model(model, params)
    batch = ik.llama_batch_init(512, 0, 1)
    batch.n_tokens = len(tokens)
    for i, token in enumerate(tokens):
        batch.token[i], batch.pos[i], batch.logits[i] = int(token), i, True
        batch.n_seq_id[i], batch.seq_id[i][0] = 1, 0
    assert ik.llama_decode(context, batch) == 0
    found = np.stack([np.ctypeslib.as_array(ik.llama_get_logits_ith(context, i), (vocabulary,)).copy()
                      for i in range(len(tokens))])
    ik.llama_batch_free(batch)
    ik.llama_free(context)
    ik.llama_free_model(model)
    return found
