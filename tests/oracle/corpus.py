"""Real text and pictures: the Debian handbook, lines rendered from it, photographs."""

import html
import re
import sysconfig
from functools import cache
from pathlib import Path

import numpy as np

HANDBOOK = Path("/usr/share/doc/debian-handbook/html/en-US")
PYTHON_PAGES = Path("/usr/share/doc/python3.11/html")
FONTS = Path("/usr/share/fonts/truetype/dejavu")
# Photographs of scikit-image (PyPI) and of the MATE desktop (Debian).
SAMPLES = Path(sysconfig.get_paths()["purelib"]) / "skimage" / "data"
NATURE = Path("/usr/share/backgrounds/mate/nature")


@cache
def sentences():
    """The handbook's sentences of 20 to 400 characters, in its order, each once."""
    pages = sorted(HANDBOOK.glob("*.html"))
    if not pages:
        raise FileNotFoundError(f"no handbook in {HANDBOOK}: run tools/setup")
    found = {}
    for page in pages:
        for paragraph in re.findall(r'<div class="para">(.*?)</div>', page.read_text(), re.S):
            text = html.unescape(re.sub(r"<[^>]+>", "", paragraph))
            text = re.sub(r"\s+", " ", text).strip()
            for sentence in re.split(r"(?<=[.!?]) (?=[A-Z])", text):
                if 20 <= len(sentence) <= 400:
                    found[sentence] = None
    return list(found)


@cache
def python_paragraphs():
    """Paragraphs of at least 80 characters of Python's documentation, in its order, each once."""
    pages = [page for part in ("tutorial", "reference", "howto", "library") for page in sorted(PYTHON_PAGES.glob(f"{part}/*.html"))]
    if not pages:
        raise FileNotFoundError(f"no documentation of Python in {PYTHON_PAGES}: run tools/setup")
    found = {}
    for page in pages:
        for paragraph in re.findall(r"<p>(.*?)</p>", page.read_text(), re.S):
            text = re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", "", paragraph))).strip()
            if len(text) >= 80:
                found[text] = None
    return list(found)


def spread(items, count):
    """`count` of `items`, evenly spaced."""
    assert len(items) >= count, f"{count} wanted, {len(items)} there"
    return [items[i * len(items) // count] for i in range(count)]


def text_lines(count):
    """Pieces of sentences of 8 to 28 characters, in ASCII, whole words."""
    lines = []
    for sentence in sentences():
        line = ""
        for word in sentence.split():
            if len(line) + 1 + len(word) > 28:
                break
            line = f"{line} {word}".strip()
        if len(line) >= 8 and line.isascii():
            lines.append(line)
    return spread(list(dict.fromkeys(lines)), count)


def render_line(text, seed, height=48, width=320):
    """`text` as the recognizer takes it, [3, height, width] in [-1, 1]: dark
    on light in one of the DejaVu fonts, slightly noisy, as many words as fit,
    padded with 0."""
    from PIL import Image, ImageDraw, ImageFont

    random = np.random.default_rng(seed)
    face = random.choice(["DejaVuSans.ttf", "DejaVuSerif.ttf", "DejaVuSansMono.ttf"])
    font = ImageFont.truetype(FONTS / face, int(random.integers(22, 34)))
    paper, ink = int(random.integers(200, 256)), int(random.integers(0, 80))
    # The model's own preprocessing keeps the aspect ratio: words that would
    # have to be squeezed into the width are left out.
    words = text.split()
    while True:
        left, top, right, bottom = font.getbbox(" ".join(words))
        scaled = -(-(right - left + 12) * height // (bottom - top + 12))
        if scaled <= width or len(words) == 1:
            break
        words.pop()
    scaled = min(scaled, width)
    image = Image.new("L", (right - left + 12, bottom - top + 12), paper)
    ImageDraw.Draw(image).text((6 - left, 6 - top), " ".join(words), ink, font)
    pixels = np.asarray(image.resize((scaled, height), Image.Resampling.BILINEAR), np.float32)
    pixels = np.clip(pixels + random.normal(0, 4, pixels.shape), 0, 255)
    line = np.zeros((3, height, width), np.float32)
    line[:, :, :scaled] = pixels / 127.5 - 1
    return line


def lines(count):
    """`count` rendered lines, [count, 3, 48, 320]."""
    return np.stack([render_line(text, seed) for seed, text in enumerate(text_lines(count))])


def calibration_lines(count):
    """`count` rendered lines of text that lines(300) does not show."""
    shown = set(text_lines(300))
    others = [text for text in text_lines(1200) if text not in shown]
    return np.stack([render_line(text, 1000 + i) for i, text in enumerate(spread(others, count))])


@cache
def picture_files():
    """The handbook's figures, photographs and screenshots, in order."""
    files = sorted(HANDBOOK.glob("images/*.png")) + sorted(HANDBOOK.glob("images/*.jpg"))
    assert files, f"no pictures in {HANDBOOK}/images: run tools/setup"
    return files


def pictures(count, size, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)):
    """`count` square crops of the handbook's pictures scaled to `size`,
    [count, 3, size, size], normalised per channel."""
    from PIL import Image

    random, crops = np.random.default_rng(7), []
    for i in range(count):
        image = Image.open(picture_files()[i % len(picture_files())]).convert("RGB")
        side = int(min(image.size) * random.uniform(0.6, 1))
        x = int(random.integers(0, image.width - side + 1))
        y = int(random.integers(0, image.height - side + 1))
        image = image.crop((x, y, x + side, y + side)).resize((size, size))
        crops.append((np.asarray(image, np.float32) / 255 - np.float32(mean)) / np.float32(std))
    return np.ascontiguousarray(np.stack(crops).transpose(0, 3, 1, 2), np.float32)


def photograph_files(judged):
    """Photographs to judge on, or those to calibrate on, in order: no scene is in both."""
    nature = sorted(NATURE.glob("*.jpg"))
    assert len(nature) >= 12, f"no photographs in {NATURE}: run tools/setup"
    if not judged:
        return nature[0::2]
    samples = [SAMPLES / name for name in (
        "astronaut.png", "brick.png", "camera.png", "chelsea.png", "coffee.png", "coins.png", "grass.png", "gravel.png",
        "motorcycle_left.png", "rocket.jpg")]
    return [*samples, *nature[1::2]]


def photographs(count, size, judged):
    """`count` square crops of photographs scaled to `size`, [count, 3, size, size] in [-1, 1].
    A crop is half to all of the picture's short side wide."""
    from PIL import Image

    random, files = np.random.default_rng(11 + judged), photograph_files(judged)
    images, crops = [Image.open(file).convert("RGB") for file in files], []
    for i in range(count):
        image = images[i % len(images)]
        side = int(min(image.size) * random.uniform(0.5, 1))
        x = int(random.integers(0, image.width - side + 1))
        y = int(random.integers(0, image.height - side + 1))
        image = image.resize((size, size), Image.Resampling.BICUBIC, (x, y, x + side, y + side))
        crops.append((np.asarray(image, np.float32) - 127) / 128)
    return np.ascontiguousarray(np.stack(crops).transpose(0, 3, 1, 2))


def file_bytes(count):
    """What magika sees of `count` files: 1,024 bytes of each end, 256 for none."""
    files = sorted(Path("/usr/share/doc").glob("*/*")) + sorted(Path("/usr/lib/python3.11").glob("*.py"))
    files = spread([f for f in files if f.is_file() and f.stat().st_size >= 64], count)
    rows = np.full((count, 2048), 256, np.int32)
    for row, file in zip(rows, files):
        data = file.read_bytes()
        begin = np.frombuffer(data[:4096].lstrip()[:1024], np.uint8)
        end = np.frombuffer(data[-4096:].rstrip()[-1024:], np.uint8)
        row[: len(begin)] = begin
        row[2048 - len(end) :] = end
    return rows
