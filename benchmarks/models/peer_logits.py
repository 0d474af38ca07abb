"""Perplexity and KL divergence of GGUF files by ik_llama.cpp's own kernels: of
files with types that pare does not read. The tokens that count are those that
`pare eval` counts: the second halves of chunks."""

import ctypes

import numpy as np
from ik_llama_cpp import _ctypes_api as ik


class Model:
    """A GGUF file, ready to read chunks of `context` tokens."""

    def __init__(self, path, context, threads=2):
        ik.llama_backend_init()
        params = ik.llama_model_default_params()
        params.repack_tensors = False
        self.model = ik.llama_model_load_from_file(str(path).encode(), params)
        if not self.model:
            raise RuntimeError(f"{path}: llama.cpp cannot read it")
        params = ik.llama_context_default_params()
        params.n_ctx = params.n_batch = params.n_ubatch = context
        params.n_threads = params.n_threads_batch = threads
        params.logits_all, params.flash_attn = True, False
        self.context = ik.llama_init_from_model(self.model, params)
        self.vocabulary = ik.llama_vocab_n_tokens(ik.llama_model_get_vocab(self.model))
        self.batch = ik.llama_batch_init(context, 0, 1)

    def tokenize(self, text):
        data = text.encode()
        tokens = (ctypes.c_int32 * (len(data) + 2))()
        count = ik.llama_tokenize(self.model, data, len(data), tokens, len(tokens), True, False)
        assert count >= 0
        return tokens[:count]

    def log_probabilities(self, chunk):
        """[rows, vocabulary] behind each token of the second half but the last."""
        ik.llama_kv_cache_clear(self.context)
        first = len(chunk) // 2
        self.batch.n_tokens = len(chunk)
        for i, token in enumerate(chunk):
            self.batch.token[i], self.batch.pos[i], self.batch.logits[i] = token, i, True
            self.batch.n_seq_id[i], self.batch.seq_id[i][0] = 1, 0
        if ik.llama_decode(self.context, self.batch):
            raise RuntimeError("llama_decode failed")
        rows = np.stack([np.ctypeslib.as_array(ik.llama_get_logits_ith(self.context, i), (self.vocabulary,))
                         for i in range(first, len(chunk) - 1)]).astype(np.float64)
        rows -= rows.max(-1, keepdims=True)
        return rows - np.log(np.exp(rows).sum(-1, keepdims=True))

    def close(self):
        ik.llama_batch_free(self.batch)
        ik.llama_free(self.context)
        ik.llama_free_model(self.model)


def compare(path, against, text, context, count):
    """Perplexity, mean KL divergence in nats to `against` and share of the same
    top token, over the first `count` tokens of `text`."""
    model, truth = Model(path, context), Model(against, context)
    ids = truth.tokenize(text)[:count]
    losses, divergences, same = [], [], []
    for start in range(0, len(ids) - context + 1, context):
        chunk = ids[start : start + context]
        got, want = model.log_probabilities(chunk), truth.log_probabilities(chunk)
        losses.extend(-got[np.arange(len(got)), chunk[context // 2 + 1 :]])
        divergences.extend((np.exp(want) * (want - got)).sum(-1))
        same.extend(got.argmax(-1) == want.argmax(-1))
    model.close()
    truth.close()
    return {"perplexity": float(np.exp(np.mean(losses))), "kl": float(np.mean(divergences)), "same_top": float(np.mean(same))}
