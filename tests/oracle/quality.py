"""How close an artifact is to the model it was made from, on real data."""

from functools import cache

import numpy as np

from . import artifact, corpus, models


def embeddings(texts):
    """What the source says of `texts`: unit vectors by ONNX Runtime in f32."""
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    vectors = np.zeros((len(texts), 384), np.float32)
    for start in range(0, len(order), 16):
        rows = order[start : start + 16]
        length = min(256, max(len(models.tokenizer().encode(texts[i]).ids) for i in rows))
        feeds = models.encode([texts[i] for i in rows], length)
        hidden = models.expected(models.MINILM, feeds)["last_hidden_state"]
        vectors[rows] = models.pool(hidden, feeds["attention_mask"])
    return vectors


def sentence_cosines(minilm, count):
    """Cosine of each of `count` sentences' embedding to the source's."""
    texts = corpus.spread(corpus.sentences()[::2], count)
    return (artifact.embed(minilm, texts) * embeddings(texts)).sum(-1)


def line_agreement(recognizer, count, batch):
    """Share of `count` rendered lines that decode to the source's text; the
    artifact takes `batch` lines at once."""
    alphabet, same = models.characters(models.RECOGNIZER), 0
    lines = corpus.lines(count)
    for start in range(0, count, batch):
        feeds = {"x": lines[start : start + batch]}
        [want] = models.expected(models.RECOGNIZER, feeds).values()
        [got] = artifact.run(recognizer, feeds).values()
        same += sum(models.decode(g, alphabet) == models.decode(w, alphabet) for g, w in zip(got, want))
    return same / count


def calibration(model, folder, samples):
    """The --calibrate flag with `samples`, arrays for the model's only input."""
    [name] = models.BY_NAME[model.name].feeds(1, *model.cases[0][1:])
    files = []
    for i, sample in enumerate(samples):
        files.append(str(folder / f"{model.name}-calibration-{i}.npz"))
        np.savez(files[-1], **{name: sample})
    return f"--calibrate={','.join(files)}"


def recognizer_calibration(folder, batch):
    """--calibrate on 20 lines of other text, `batch` at once."""
    return calibration(models.RECOGNIZER, folder, np.split(corpus.calibration_lines(20), 20 // batch))


def vit_calibration(folder, count=4):
    """--calibrate on `count` pictures after the first 32."""
    return calibration(models.VIT, folder, np.split(corpus.pictures(32 + count, 224)[32:], count))


def photograph_calibration(folder, count=32):
    """--calibrate on `count` crops of photographs that nothing is judged on."""
    return calibration(models.EFFICIENTNET, folder, np.split(corpus.photographs(count, 224, judged=False), count))


@cache
def photograph_logits(count):
    """What the source says of `count` crops of photographs, [count, 1000]."""
    crops = corpus.photographs(count, 224, judged=True)
    return np.concatenate([models.expected(models.EFFICIENTNET, {"image": crop[None]})["logits"] for crop in crops])


def class_agreement(classify, count):
    """Share of `count` crops of photographs whose first class by `classify`, a
    function from one crop to logits, is the source's."""
    got = [classify(crop[None]).argmax() for crop in corpus.photographs(count, 224, judged=True)]
    return (np.array(got) == photograph_logits(count).argmax(-1)).mean()


def classify_by(binary):
    """A function from a crop of a photograph to the artifact's logits."""
    return lambda crop: artifact.run(binary, {"image": crop})["logits"]


def map_correlations(vit, count):
    """Correlation of each of `count` pictures' map with the source's; the
    artifact takes one picture at once."""
    found = []
    for image in corpus.pictures(count, 224):
        feeds = {"input_image": image[None]}
        [want] = models.expected(models.VIT, feeds).values()
        [got] = artifact.run(vit, feeds).values()
        found.append(np.corrcoef(got.ravel(), want.ravel())[0, 1])
    return np.array(found)
