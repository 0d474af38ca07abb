"""Sentences with human scores of sentiment: those of the vaderSentiment sdist
(Hutto and Gilbert 2014), fetched once into the build folder."""

import hashlib
import io
import subprocess
import sys
import tarfile
from functools import cache

from oracle import corpus
from oracle.models import BUILD

SDIST, SHA256 = "vaderSentiment==3.3.1", "6ea3b53f1835a1bb9125cbb9872e8740bd506ab1d9f2266d0c63109b858d71af"
ARCHIVE = "vaderSentiment-3.3.1/additional_resources/hutto_ICWSM_2014.tar.gz"
SETS = ("movieReviewSnippets", "tweets", "amazonReviewSnippets", "nytEditorialSnippets")


def fetch():
    """Path of the sdist; from PyPI the first time."""
    folder = BUILD / "data"
    path = folder / "vaderSentiment-3.3.1.tar.gz"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input",
                        "--no-deps", "--no-binary", ":all:", "--dest", folder, SDIST], check=True)
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != SHA256:
        raise RuntimeError(f"{path}: not the sdist of {SDIST} that this was written for; remove it to fetch it again")
    return path


@cache
def scored(name):
    """(score, sentence) of one of SETS in its order; scores are -4 to 4."""
    with tarfile.open(fetch()) as outer:
        inner = io.BytesIO(outer.extractfile(ARCHIVE).read())
    with tarfile.open(fileobj=inner) as archive:
        text = archive.extractfile(f"hutto_ICWSM_2014/{name}_GroundTruth.txt").read().decode("utf-8", "replace")
    rows = [line.split("\t", 2) for line in text.splitlines() if line]
    return [(float(score), " ".join(sentence.split())) for _, score, sentence in rows]


@cache
def sentences():
    """All sentences, each once."""
    return list(dict.fromkeys(sentence for name in SETS for _, sentence in scored(name) if sentence))


def judged(count=2837):
    """Evenly spaced ones of every second sentence."""
    return corpus.spread(sentences()[::2], count)


def calibration(count=2048):
    """Evenly spaced ones of the others."""
    return corpus.spread(sentences()[1::2], count)


def movies():
    """10,605 sentences of film reviews and whether each is positive."""
    rows = scored(SETS[0])
    return [sentence for _, sentence in rows], [score > 0 for score, _ in rows]
