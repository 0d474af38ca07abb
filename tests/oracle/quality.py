"""How close an artifact is to the model it was made from, on real data."""

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
    [name] = model.feeds(1, *model.cases[0][1:])
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


def photographs_to_calibrate(model, count=32):
    """`count` crops of photographs that nothing is judged on, as `model` takes them."""
    size = model.feeds(1)["image"].shape[-1]
    return corpus.photographs(count, size, judged=False)


def photograph_calibration(model, folder, count=32):
    """--calibrate on `count` crops of photographs."""
    return calibration(model, folder, np.split(photographs_to_calibrate(model, count), count))


def class_agreement(model, classify, count):
    """Share of `count` crops of photographs whose first class by `classify`, a
    function from one crop to logits, is that of the source."""
    crops = [crop[None] for crop in model.feeds(count)["image"]]
    same = [classify(crop).argmax() == models.expected(model, {"image": crop})["logits"].argmax() for crop in crops]
    return np.mean(same)


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
