"""`--emit lib`: C programs on the libraries and headers of compiled models."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import bad_models
from oracle import artifact, language_models
from oracle.models import MAGIKA, MINILM

ROOT = Path(__file__).parents[2]
CC = shutil.which("clang-22") or shutil.which("cc")
pytestmark = pytest.mark.skipif(not CC, reason="no C compiler")

# Two threads with a context each run the model on one input file; each writes
# its result to a file of its own.
MINILM_PROGRAM = r"""
#include "minilm.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { kBatch = 3, kLength = 20, kTokens = kBatch * kLength };
static int64_t ids[kTokens], mask[kTokens], types[kTokens];

static void *work(void *path) {
  char error[200] = "";
  minilm_options options = {.threads = 2};
  minilm_context *context = minilm_create(&options, error, sizeof(error));
  int64_t shape[3];
  if (!context || minilm_shapes(context, kBatch, kLength, shape) ||
      shape[0] != kBatch || shape[1] != kLength || minilm_threads(context) != 2) {
    fprintf(stderr, "%s\n", error);
    exit(2);
  }
  float *hidden = calloc(kTokens * shape[2], sizeof(float));
  for (int i = 0; i < 3; ++i)
    if (minilm_run(context, kBatch, kLength, ids, mask, types, hidden))
      exit(3);
  FILE *file = fopen(path, "wb");
  fwrite(hidden, sizeof(float), kTokens * shape[2], file);
  fclose(file);
  if (!minilm_run(context, kBatch, minilm_sequence_max + 1, ids, mask, types, hidden))
    exit(4);
  fprintf(stderr, "%s\n", minilm_error(context));
  minilm_destroy(context);
  free(hidden);
  return 0;
}

int main(int argc, char **argv) {
  FILE *file = fopen(argv[1], "rb");
  if (fread(ids, 8, kTokens, file) + fread(mask, 8, kTokens, file) + fread(types, 8, kTokens, file) != 3 * kTokens)
    return 5;
  pthread_t threads[2];
  for (int i = 0; i < 2; ++i)
    pthread_create(&threads[i], 0, work, argv[2 + i]);
  for (int i = 0; i < 2; ++i)
    pthread_join(threads[i], 0);
  return 0;
}
"""


def build(folder, source, *libraries):
    """Compiles a C program against libraries in `folder`."""
    (folder / "main.c").write_text(source)
    program = folder / "program"
    artifact.call(
        CC, "-std=c11", "-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter", folder / "main.c", f"-I{folder}",
        *libraries, "-lpthread", "-lm", "-o", program,
    )
    return program


@pytest.fixture(scope="module")
def minilm(tmp_path_factory):
    """A folder with minilm.a, minilm.so and minilm.h."""
    folder = tmp_path_factory.mktemp("minilm")
    artifact.call(artifact.PARE, "compile", MINILM.source, "-o", folder / "minilm", "--emit=lib", "--quiet")
    assert sorted(p.name for p in folder.iterdir()) == ["minilm.a", "minilm.h", "minilm.so"]
    return folder


@pytest.mark.parametrize("kind", ("a", "so"))
def test_two_contexts_in_two_threads(kind, minilm, compiled, tmp_path):
    feeds = MINILM.feeds(3, 20)
    shutil.copy(minilm / "minilm.h", tmp_path)
    shutil.copy(minilm / f"minilm.{kind}", tmp_path)
    program = build(tmp_path, MINILM_PROGRAM, tmp_path / f"minilm.{kind}")
    with open(tmp_path / "in", "wb") as file:
        for name in ("input_ids", "attention_mask", "token_type_ids"):
            file.write(feeds[name].tobytes())
    done = subprocess.run(
        [program, tmp_path / "in", tmp_path / "0", tmp_path / "1"], capture_output=True, text=True, timeout=60,
        env={**os.environ, "LD_LIBRARY_PATH": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stderr.splitlines()) == 2 and "257" in done.stderr, done.stderr
    want = artifact.run(compiled(MINILM), feeds)["last_hidden_state"]
    for i in range(2):
        got = np.fromfile(tmp_path / str(i), np.float32).reshape(want.shape)
        assert (got == want).all()


def test_shared_library_needs_libc_only_and_exports_its_interface_only(minilm):
    def lines(*command):
        return subprocess.run([*command, minilm / "minilm.so"], capture_output=True, text=True).stdout.splitlines()

    readelf, nm = shutil.which("llvm-readelf-22") or "readelf", shutil.which("llvm-nm-22") or "nm"
    needed = [line.split("[")[1] for line in lines(readelf, "-d") if "NEEDED" in line]
    assert needed == ["libc.so.6]"]
    exported = [line.split()[-1] for line in lines(nm, "-D", "--defined-only")]
    assert exported and all(name.startswith("minilm_") for name in exported)


def test_two_models_in_one_program(tmp_path):
    """Nothing of two static libraries clashes, though both hold the runtime."""
    source = bad_models.save(tmp_path, bad_models.small())
    for name, model in (("first", source), ("second", source), ("magika", MAGIKA.source)):
        artifact.compile(model, tmp_path / f"{name}.a")
    program = build(
        tmp_path,
        r"""
        #include "first.h"
        #include "magika.h"
        #include "second.h"
        #include <stdio.h>
        int main(void) {
          float x[8] = {1, 0, 0, 0, 0, 1, 0, 0}, a[6], b[6];
          first_context *one = first_create(0, 0, 0);
          second_context *two = second_create(0, 0, 0);
          magika_context *three = magika_create(0, 0, 0);
          if (!one || !two || !three || first_run(one, x, a) || second_run(two, x, b))
            return 1;
          for (int i = 0; i < 6; ++i)
            printf("%g %g\n", a[i], b[i]);
          first_destroy(one);
          second_destroy(two);
          magika_destroy(three);
          return 0;
        }""",
        *(tmp_path / f"{name}.a" for name in ("first", "magika", "second")),
    )
    done = artifact.call(program)
    got = np.array([line.split() for line in done.stdout.splitlines()], float)
    want = np.arange(12).reshape(4, 3)[:2].reshape(-1) + 1  # rows of w, plus b
    np.testing.assert_array_equal(got, np.stack([want, want], 1))


def test_header_mirrors_the_runtime(minilm, tmp_path):
    shutil.copy(minilm / "minilm.h", tmp_path)
    fields = {
        "Options": ("threads", "guard", "pool", "allocator", "log", "log_user"),
        "ThreadPool": ("user", "threads", "parallel_for"),
        "Allocator": ("user", "allocate", "release"),
    }
    names = {"Options": "options", "ThreadPool": "thread_pool", "Allocator": "allocator"}
    checks = [
        f"_Static_assert(sizeof(Pare{struct}) == sizeof(minilm_{names[struct]}), \"\");"
        + "".join(
            f"_Static_assert(offsetof(Pare{struct}, {f}) == offsetof(minilm_{names[struct]}, {f}), \"\");"
            for f in members
        )
        for struct, members in fields.items()
    ]
    includes = '#include "minilm.h"\n#include "backends/runtime/Runtime.h"\n#include <stddef.h>\n'
    build(tmp_path, includes + "\n".join(checks) + "\nint main(void) { return 0; }\n", f"-I{ROOT}")


@pytest.fixture(scope="module")
def smol(tmp_path_factory):
    """A folder with SmolLM2 as smol.a, smol.so and smol.h, and as a program."""
    folder = tmp_path_factory.mktemp("smol")
    artifact.compile(language_models.SMOLLM2, folder / "smol", "--emit=lib")
    (folder / "exe").mkdir()
    artifact.compile(language_models.SMOLLM2, folder / "exe" / "smol")
    return folder


@pytest.mark.parametrize("kind", ("a", "so"))
def test_the_documented_program(kind, smol):
    """docs/embed.md's program says what the commands say."""
    [source] = re.findall(r"```c\n(.*?)```", (ROOT / "docs" / "embed.md").read_text(), re.S)
    program = build(smol, source, smol / f"smol.{kind}")
    question = "Name three colours."
    done = artifact.call(program, question, env={**os.environ, "LD_LIBRARY_PATH": str(smol)})

    def generate(*flags):
        flags = (*flags, "--temperature", "0", "--max-tokens", "32", "--json")
        return json.loads(artifact.call(smol / "exe" / "smol", "generate", *flags).stdout)["text"]

    assert done.stdout == generate("Once upon a time") + "\n" + generate("--chat", question) + "\n"
    assert done.stderr == ""


def test_the_program_of_the_readme(smol):
    [source] = re.findall(r"((?:^    .*\n)+)", (ROOT / "README.md").read_text().split("in tell.c:\n\n")[1], re.M)[:1]
    assert len(artifact.call(build(smol, source, smol / "smol.a")).stdout) > 1


GENERATOR_PROGRAM = r"""
#include "smol.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *answer(smol_generator *generator, char *to) {
  const char *text;
  uint64_t bytes;
  *to = 0;
  while ((text = smol_generator_next(generator, &bytes))) {
    assert(bytes > 0 && strlen(text) == bytes);
    strcat(to, text);
  }
  return to;
}

int main(void) {
  static char first[65536], second[65536];
  char error[200];
  smol_options options = {.threads = 2};
  smol_generator *generator = smol_generator_open(&options, error, sizeof error);
  assert(generator && !*smol_generator_error(generator) && !smol_generator_next(generator, 0));
  smol_sampling sampling;
  smol_generator_advice(generator, &sampling);
  assert(sampling.max_tokens == 1024 && sampling.temperature > 0 && !sampling.stops);
  sampling.seed = 5;
  sampling.max_tokens = 12;

  /* The same seed, with and without what the cache holds; an answer cut short. */
  assert(!smol_generator_prompt(generator, "The sea was", &sampling));
  answer(generator, first);
  assert(*first && !strcmp(smol_generator_finish(generator), "length"));
  assert(!smol_generator_prompt(generator, "The sea was", &sampling));
  assert(smol_generator_next(generator, 0) && !strcmp(smol_generator_finish(generator), "running"));
  assert(!smol_generator_prompt(generator, "The sea was", &sampling));
  assert(!strcmp(first, answer(generator, second)));

  /* A stop text that the caller forgets at once. */
  char *word = malloc(100);
  snprintf(word, 100, "%s", strrchr(first, ' '));
  const char *stops[] = {word, NULL};
  sampling.stops = stops;
  assert(!smol_generator_prompt(generator, "The sea was", &sampling));
  free(word);
  stops[0] = NULL;
  assert(strlen(answer(generator, second)) < strlen(first) && !strncmp(first, second, strlen(second)));
  assert(!strcmp(smol_generator_finish(generator), "stop"));
  sampling.stops = NULL;

  /* Errors leave the generator usable. */
  const char *bad[] = {"not JSON", "[{\"role\": 3}]", "[{}]", "{}"};
  for (int i = 0; i < 4; ++i) {
    int code = smol_generator_chat(generator, bad[i], 0, 0, &sampling);
    if (code)
      fprintf(stderr, "%s\n", smol_generator_error(generator));
    else
      answer(generator, second);
  }
  sampling.temperature = -1;
  assert(smol_generator_prompt(generator, "x", &sampling));
  fprintf(stderr, "%s\n", smol_generator_error(generator));
  sampling.temperature = 0;
  char *much = calloc(200001, 1);
  for (int i = 0; i < 100000; ++i)
    memcpy(much + 2 * i, " a", 2);
  assert(smol_generator_prompt(generator, much, &sampling));
  fprintf(stderr, "%s\n", smol_generator_error(generator));
  free(much);
  assert(!smol_generator_prompt(generator, "x", 0));
  assert(smol_generator_next(generator, 0));
  smol_generator_close(generator);
  return 0;
}
"""


def test_generator(smol):
    program = build(smol, GENERATOR_PROGRAM, smol / "smol.a")
    done = artifact.call(program)
    lines = done.stderr.splitlines()
    assert "temperature: expected 0 to 1000" in lines
    assert any("more than the model's context of" in line for line in lines)
    assert any("JSON" in line for line in lines)


def test_generator_mirrors_the_runtime(smol):
    fields = ("temperature", "top_p", "min_p", "typical", "repetition_penalty", "presence_penalty",
              "frequency_penalty", "top_k", "penalty_window", "ignore_stop_tokens", "max_tokens", "seed", "stops")
    checks = "".join(f'_Static_assert(offsetof(PareSampling, {f}) == offsetof(smol_sampling, {f}), "");' for f in fields)
    build(smol, f"""
        #include "smol.h"
        #include "backends/runtime/TextGenerator.h"
        #include <stddef.h>
        _Static_assert(sizeof(PareSampling) == sizeof(smol_sampling), "");
        {checks}
        int main(void) {{ return 0; }}""", f"-I{ROOT}")


@pytest.mark.parametrize("language", ("c++", "c"))
def test_header_compiles_alone(language, minilm, tmp_path):
    (tmp_path / "main.x").write_text('#include "minilm.h"\n')
    artifact.call(
        CC, "-x", language, "-Wall", "-Wextra", "-Werror", "-pedantic", "-fsyntax-only", f"-I{minilm}",
        tmp_path / "main.x",
    )


def test_extension_decides(tmp_path):
    source = bad_models.save(tmp_path, bad_models.small())
    out = tmp_path / "out"
    out.mkdir()
    artifact.compile(source, out / "libnet-1.so")
    assert sorted(p.name for p in out.iterdir()) == ["libnet-1.h", "libnet-1.so"]
    assert "int net_1_run(net_1_context *context, const float *x, float *y);" in (out / "libnet-1.h").read_text()
    again = tmp_path / "again"
    again.mkdir()
    artifact.compile(source, again / "libnet-1.so")
    assert (again / "libnet-1.so").read_bytes() == (out / "libnet-1.so").read_bytes()
