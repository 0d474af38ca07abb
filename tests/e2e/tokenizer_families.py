"""tokenizer.json of published families, trained small on local text.

Real vocabularies differ from these only in what they were trained on: each
entry has the normalizer, pre-tokenizer, post-processor, decoder and flags that
the family publishes.
"""
import json

import sentencepiece
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from tokenizers import AddedToken

SPLIT = r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace("{1,3}", "")
O200K = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
         r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
         r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
DEEPSEEK = [r"\p{N}{1,3}", r"[一-龥぀-ゟ゠-ヿ]+",
            r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
            r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"]
TEKKEN = (r"[^\r\n\p{L}\p{N}]?((?=[\p{L}])([^a-z]))*((?=[\p{L}])([^A-Z]))+"
          r"|[^\r\n\p{L}\p{N}]?((?=[\p{L}])([^a-z]))+((?=[\p{L}])([^A-Z]))*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")
BLOOM = r" ?[^(\s|[.,!?…。，、।۔،])]+"
KIMI = (r"[\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+"
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+"
        r"[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
        r"|\s*[\r\n]+|\s+(?!\S)|\s+")
CLIP = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"

SIZE = 4000
SPACE = "▁"


def byte_level(use_regex=False, add_prefix_space=False):
    return pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space, use_regex=use_regex)


def split(pattern, behavior="isolated", invert=False):
    return pre_tokenizers.Split(Regex(pattern), behavior, invert=invert)


def train_bytes(texts, pre_tokenizer, normalizer=None, specials=(), suffix=None, **options):
    affixes = {"end_of_word_suffix": suffix} if suffix else {}
    tokenizer = Tokenizer(models.BPE(**options, **affixes))
    if normalizer:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(vocab_size=SIZE, show_progress=False, special_tokens=list(specials),
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), **affixes)
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def template(tokenizer, *tokens):
    """BOS, the text, then any more tokens."""
    specials = [(t, tokenizer.token_to_id(t)) for t in tokens]
    pieces = [tokens[0], "$A", *tokens[1:]]
    return processors.TemplateProcessing(single=pieces, pair=[*pieces, "$B:1"], special_tokens=specials)


def train_characters(texts, pre_tokenizer, normalizer):
    """A BPE model with byte fallback, as converted from sentencepiece."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizer
    if pre_tokenizer:
        tokenizer.pre_tokenizer = pre_tokenizer
    specials = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)]
    words = pre_tokenizers.Metaspace(prepend_scheme="always")
    trained = Tokenizer(models.BPE(unk_token="<unk>"))
    trained.pre_tokenizer = words
    trained.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=SIZE, show_progress=False, special_tokens=specials, limit_alphabet=400))
    description = json.loads(trained.to_str())
    model = description["model"]
    model.update(byte_fallback=True, fuse_unk=True, unk_token="<unk>")
    whole = json.loads(tokenizer.to_str())
    whole["model"] = model
    whole["added_tokens"] = description["added_tokens"][:3]
    return Tokenizer.from_str(json.dumps(whole))


def make_roberta(texts):
    tokenizer = train_bytes(texts, byte_level(True, True), specials=["<s>", "</s>", "<unk>", "<mask>"])
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 1), ("<s>", 0))
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True, special=True)])
    return tokenizer


def make_llama3(texts):
    tokenizer = train_bytes(texts, pre_tokenizers.Sequence([split(LLAMA3), byte_level()]), ignore_merges=True,
                            specials=["<|begin_of_text|>", "<|eot_id|>"])
    tokenizer.post_processor = processors.Sequence(
        [processors.ByteLevel(trim_offsets=False), template(tokenizer, "<|begin_of_text|>")])
    return tokenizer


def make_neox(texts):
    tokenizer = train_bytes(texts, byte_level(True), normalizers.NFC(), specials=["<|endoftext|>", "<|padding|>"])
    tokenizer.add_tokens([AddedToken(" " * n, normalized=True) for n in range(24, 1, -1)])
    return tokenizer


def make_deepseek(texts):
    tokenizer = train_bytes(texts, pre_tokenizers.Sequence([*(split(p) for p in DEEPSEEK), byte_level()]),
                            normalizers.Sequence([]), specials=["<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"])
    tokenizer.post_processor = template(tokenizer, "<｜begin▁of▁sentence｜>")
    return tokenizer


def make_clip(texts):
    tokenizer = train_bytes(texts, pre_tokenizers.Sequence([split(CLIP, "removed", True), byte_level()]), normalizers.Sequence([
        normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]),
        specials=["<|startoftext|>", "<|endoftext|>"], suffix="</w>", unk_token="<|endoftext|>")
    tokenizer.post_processor = processors.RobertaProcessing(("<|endoftext|>", 1), ("<|startoftext|>", 0), False, False)
    return tokenizer


def make_characters(texts, pre_tokenizer, normalizer, strips):
    tokenizer = train_characters(texts, pre_tokenizer, normalizer)
    steps = [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    tokenizer.decoder = decoders.Sequence([*steps, decoders.Strip(" ", 1, 0)] if strips else steps)
    tokenizer.post_processor = template(tokenizer, "<s>")
    return tokenizer


def splitting(specials, *patterns, behavior="isolated", invert=False, normalizer=None, **options):
    """A family that splits by patterns before ByteLevel."""
    def make(texts):
        steps = [split(p, behavior, invert) for p in patterns]
        return train_bytes(texts, pre_tokenizers.Sequence([*steps, byte_level()]), normalizer, specials, **options)
    return make


FAMILIES = {
    "GPT-2": lambda texts: train_bytes(texts, byte_level(True), specials=["<|endoftext|>"]),
    "RoBERTa": make_roberta,
    "Llama 3": make_llama3,
    "Qwen2": splitting(["<|endoftext|>", "<|im_start|>", "<|im_end|>"], QWEN2, normalizer=normalizers.NFC()),
    "SmolLM2": lambda texts: train_bytes(texts, pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), byte_level(True)]), specials=["<|im_start|>", "<|im_end|>"]),
    "GPT-NeoX": make_neox,
    "DeepSeek": make_deepseek,
    "o200k": splitting(["<|endoftext|>"], O200K, behavior="removed", invert=True),
    "Tekken": splitting(["<s>"], TEKKEN, ignore_merges=True),
    "BLOOM": splitting(["<unk>", "<s>"], BLOOM),
    "Kimi": splitting(["<s>"], KIMI),
    "Falcon": lambda texts: train_bytes(texts, pre_tokenizers.Sequence(
        [pre_tokenizers.Punctuation("contiguous"), byte_level(True), pre_tokenizers.Digits(individual_digits=False),
         split("[0-9][0-9][0-9]")]), specials=["<|endoftext|>"]),
    "CLIP": make_clip,
    "Llama 2": lambda texts: make_characters(texts, None, normalizers.Sequence(
        [normalizers.Prepend(SPACE), normalizers.Replace(" ", SPACE)]), True),
    "Mistral": lambda texts: make_characters(
        texts, pre_tokenizers.Metaspace(prepend_scheme="first", split=False), None, True),
    "Gemma": lambda texts: make_characters(
        texts, pre_tokenizers.Split(" ", "merged_with_previous"), normalizers.Replace(" ", SPACE), False),
}


def sentencepiece_models(texts, folder):
    """(name, path) of .model files trained with the options of published models."""
    common = dict(vocab_size=SIZE, character_coverage=0.999, bos_id=1, eos_id=2, unk_id=0, num_threads=2,
                  minloglevel=2, max_sentence_length=100000, hard_vocab_limit=False)
    kinds = {
        "Llama": dict(model_type="bpe", byte_fallback=True, normalization_rule_name="identity", split_digits=True,
                      allow_whitespace_only_pieces=True, remove_extra_whitespaces=False),
        "Gemma": dict(model_type="bpe", byte_fallback=True, normalization_rule_name="identity", split_digits=True,
                      allow_whitespace_only_pieces=True, remove_extra_whitespaces=False, add_dummy_prefix=False,
                      user_defined_symbols=["<unused0>", "\n\n", "▁▁", "▁▁▁▁", "<b>", "</b>", "def"],
                      control_symbols=["<start_of_turn>", "<end_of_turn>"]),
        "T5": dict(model_type="unigram", normalization_rule_name="nmt_nfkc", pad_id=0, eos_id=1, unk_id=2, bos_id=-1),
        "XLNet": dict(model_type="unigram", normalization_rule_name="nfkc_cf", user_defined_symbols=["<sep>", "é", "..."],
                      byte_fallback=True),
        "suffix": dict(model_type="unigram", treat_whitespace_as_suffix=True),
        "BPE": dict(model_type="bpe", character_coverage=0.98),
    }
    for name, options in kinds.items():
        prefix = f"{folder}/{name}"
        sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(texts), model_prefix=prefix,
                                                 **{**common, **options})
        yield name, prefix + ".model"


def unigram_families(files):
    """(name, Tokenizer) of families whose vocabulary is one of `files`, a map from sentencepiece_models."""
    def converted(name):
        processor = sentencepiece.SentencePieceProcessor(model_file=files[name])
        ids = range(processor.get_piece_size())
        vocab = [(processor.id_to_piece(i), processor.get_score(i)) for i in ids]
        return Tokenizer(models.Unigram(vocab, processor.unk_id(), any(processor.is_byte(i) for i in ids)))

    def charsmap(name):
        return normalizers.Precompiled(charsmap_of(open(files[name], "rb").read()))

    t5 = converted("T5")
    t5.normalizer = charsmap("T5")
    t5.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    t5.decoder = decoders.Metaspace()
    t5.add_special_tokens(["</s>", "<pad>", "<extra_id_0>"])
    t5.post_processor = processors.TemplateProcessing(single="$A </s>", pair="$A </s> $B </s>",
                                                      special_tokens=[("</s>", t5.token_to_id("</s>"))])
    yield "T5", t5
    albert = converted("T5")
    albert.normalizer = normalizers.Sequence([
        normalizers.Replace("``", '"'), normalizers.Replace("''", '"'), normalizers.NFKD(), normalizers.StripAccents(),
        normalizers.Lowercase(), charsmap("T5"), normalizers.Replace(Regex(" {2,}"), " "), normalizers.Strip()])
    albert.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    albert.decoder = decoders.Metaspace(prepend_scheme="first")
    yield "ALBERT", albert
    fallback = converted("XLNet")
    fallback.normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC()])
    fallback.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never", split=False)
    fallback.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(prepend_scheme="never")])
    yield "unigram, byte fallback", fallback


def fields(data):
    """(number, value) of the fields of a protobuf message."""
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        key = varint()
        if key & 7 == 0:
            yield key >> 3, varint()
            continue
        size = varint() if key & 7 == 2 else 4 if key & 7 == 5 else 8
        yield key >> 3, data[at:at + size]
        at += size


def charsmap_of(model):
    """normalizer_spec.precompiled_charsmap of a ModelProto's bytes."""
    spec = next(value for number, value in fields(model) if number == 3)
    return next((value for number, value in fields(spec) if number == 2), b"")


def normalizer_options(path):
    spec = dict(fields(next(v for n, v in fields(open(path, "rb").read()) if n == 3)))
    return {"add_dummy_prefix": bool(spec.get(3, 1)), "remove_extra_whitespaces": bool(spec.get(4, 1))}


def is_bpe(path):
    return dict(fields(next(v for n, v in fields(open(path, "rb").read()) if n == 2))).get(3, 1) == 2


def user_defined(path):
    """Ids of user defined symbols."""
    pieces = [dict(fields(v)) for n, v in fields(open(path, "rb").read()) if n == 1]
    return [i for i, piece in enumerate(pieces) if piece.get(3, 1) == 4]
