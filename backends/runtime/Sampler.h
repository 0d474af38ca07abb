//===- Sampler.h - From logits to the next token ----------------*- C++ -*-===//
#ifndef PARE_BACKENDS_RUNTIME_SAMPLER_H
#define PARE_BACKENDS_RUNTIME_SAMPLER_H

#include "backends/runtime/Support.h"

namespace pare::rt {

struct TokenBias {
  int32_t token;
  float bias; ///< added to its logit; -infinity rules it out
};

/// How a token is chosen. Steps run in this order, llama.cpp's default one:
/// logit bias, penalties, top-k, typical, top-p, min-p, temperature. Each of
/// top-k to min-p sees the tokens that the one before it left, and leaves one
/// at least. The defaults choose by the model's own distribution.
struct Sampling {
  const TokenBias *biases = nullptr;
  uint32_t numBiases = 0;

  /// Logits of tokens among the last `penaltyWindow` ones (-1: all of them,
  /// prompt included) are divided by `repetition` where positive and multiplied
  /// by it where not (Keskar et al., "CTRL", 2019, 4.1), then lowered by
  /// `presence` and by `frequency` for each time that they occur.
  float repetition = 1, presence = 0, frequency = 0;
  int32_t penaltyWindow = 64;

  uint32_t topK = 0; ///< the k largest; 0: all
  /// The tokens whose surprise is nearest to the expected one, until they have
  /// this probability together; 1: all (Meister et al., "Locally typical
  /// sampling", 2023, eq. 10).
  float typical = 1;
  /// The likeliest tokens, until they have this probability together; 1: all
  /// (Holtzman et al., "The curious case of neural text degeneration", 2020).
  float topP = 1;
  /// Tokens of at least this times the likeliest one's probability; 0: all
  /// (Nguyen et al., "Turning up the heat: min-p sampling", 2024).
  float minP = 0;
  /// What logits are divided by before the draw. 0: the largest one after bias
  /// and penalties, of equal ones the lowest token.
  float temperature = 1;
};

/// xoshiro256** (Blackman and Vigna, 2021), seeded by splitmix64.
class Random {
public:
  Random() : Random(0, 0) {}
  /// Equal arguments give equal numbers; other streams others.
  Random(uint64_t seed, uint64_t stream);
  uint64_t next();
  /// In [0, 1), 53 bits of it.
  double real() { return double(next() >> 11) * 0x1p-53; }

private:
  uint64_t state[4];
};

/// A token and the logarithm of its probability.
struct TokenScore {
  int32_t token;
  float logProbability;
};

/// Chooses tokens. One sampler serves any number of sequences in turn.
class Sampler {
public:
  Sampler() = default;
  Sampler(const Sampler &) = delete;
  Sampler &operator=(const Sampler &) = delete;
  ~Sampler();

  /// Makes room for `vocabulary` tokens; false where memory is short.
  bool open(uint32_t vocabulary);

  /// Chooses by `logits`, which bias and penalties change. `history`: the
  /// `count` tokens before. Returns the token, or -1 where a logit is not a
  /// number or none is finite. A greedy choice draws nothing from `random`.
  int32_t sample(float *logits, const Sampling &sampling,
                 const int32_t *history, uint64_t count, Random &random);

  /// Log probabilities under the softmax of `logits`, which are finite at their
  /// largest: scores[0] of `token`, then of the `alternatives` likeliest
  /// tokens, likeliest first, of equal ones the lowest first; token -1 where
  /// the vocabulary has no more.
  void score(const float *logits, int32_t token, uint32_t alternatives,
             TokenScore *scores);

private:
  struct Candidate {
    float logit;
    float key;    ///< what typical orders by
    float weight; ///< its probability times what all have together
    int32_t token;
  };
  struct ByLogit;
  struct ByKey;

  void penalize(float *logits, const Sampling &sampling, const int32_t *history,
                uint64_t count);
  void takeAll(const float *logits);
  void takeBest(const float *logits, uint32_t count);
  void takeAbove(const float *logits, float floor);
  void keepTypical(double probability);
  void keepMinP(float ratio);
  /// Weighs the candidates against the logit `top`; returns the sum.
  double weigh(float top, float scale = 1);
  /// Keeps the first candidates in the order of `less`, in no order, until they
  /// weigh `wanted` together.
  template <typename Less> void keepMass(double wanted, Less less);
  float top() const;

  uint32_t vocabulary = 0;
  Candidate *candidates = nullptr; ///< [vocabulary]
  uint32_t numCandidates = 0;
  float *weights = nullptr;        ///< [vocabulary]
  uint32_t *occurrences = nullptr; ///< [vocabulary], zero between calls
};

} // namespace pare::rt

#endif
