//===- Sampler.cpp - Penalties, truncation and the draw -------------------===//
#include "backends/runtime/Sampler.h"

#include "backends/runtime/Heap.h"
#include "backends/runtime/Softmax.h"

#include <stdlib.h>

using namespace pare::rt;

/// Below it the likeliest token has all the probability.
constexpr float kColdest = 1e-6f;

//===----------------------------------------------------------------------===//
// Random numbers
//===----------------------------------------------------------------------===//

Random::Random(uint64_t seed, uint64_t stream) {
  auto splitMix = [](uint64_t &x) {
    uint64_t z = x += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
  };
  uint64_t mixed = seed;
  mixed = splitMix(mixed) ^ stream;
  for (uint64_t &word : state)
    word = splitMix(mixed);
}

uint64_t Random::next() {
  auto rotate = [](uint64_t x, int k) { return x << k | x >> (64 - k); };
  uint64_t result = rotate(state[1] * 5, 7) * 9;
  uint64_t shifted = state[1] << 17;
  state[2] ^= state[0];
  state[3] ^= state[1];
  state[1] ^= state[2];
  state[0] ^= state[3];
  state[2] ^= shifted;
  state[3] = rotate(state[3], 45);
  return result;
}

//===----------------------------------------------------------------------===//
// Candidates
//===----------------------------------------------------------------------===//

/// The larger logit comes first, of equal ones the lower token.
struct Sampler::ByLogit {
  bool operator()(const Candidate &a, const Candidate &b) const {
    return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
  }
};

struct Sampler::ByKey {
  bool operator()(const Candidate &a, const Candidate &b) const {
    return a.key != b.key ? a.key < b.key : a.token < b.token;
  }
};

Sampler::~Sampler() {
  free(candidates);
  free(occurrences);
}

bool Sampler::open(uint32_t size) {
  vocabulary = size;
  candidates = static_cast<Candidate *>(
      malloc((uint64_t(size) + 1) * sizeof(Candidate)));
  occurrences = static_cast<uint32_t *>(calloc(uint64_t(size) + 1, 4));
  return candidates && occurrences;
}

void Sampler::takeAll(const float *logits) {
  for (uint32_t i = 0; i < vocabulary; ++i)
    candidates[i] = {logits[i], 0, int32_t(i)};
  numCandidates = vocabulary;
}

/// Keeps the `count` first in a heap with the last of them on top, and looks
/// closer only at blocks of logits that have one above it.
void Sampler::takeBest(const float *logits, uint32_t count) {
  constexpr uint32_t kBlock = 32;
  ByLogit comesFirst;
  numCandidates = min(count, vocabulary);
  for (uint32_t i = 0; i < numCandidates; ++i)
    candidates[i] = {logits[i], 0, int32_t(i)};
  makeHeap(candidates, numCandidates, comesFirst);
  auto consider = [&](uint32_t i) {
    if (!(logits[i] > candidates[0].logit))
      return;
    candidates[0] = {logits[i], 0, int32_t(i)};
    siftDown(candidates, 0, numCandidates, comesFirst);
  };
  uint32_t i = numCandidates;
  for (; numCandidates && i + kBlock <= vocabulary; i += kBlock) {
    float last = candidates[0].logit;
    uint32_t any = 0;
    for (uint32_t j = 0; j < kBlock; ++j)
      any |= uint32_t(logits[i + j] > last);
    for (uint32_t j = 0; any && j < kBlock; ++j)
      consider(i + j);
  }
  for (; numCandidates && i < vocabulary; ++i)
    consider(i);
  sort(candidates, numCandidates, comesFirst);
}

float Sampler::top() const {
  float result = candidates[0].logit;
  for (uint32_t i = 1; i < numCandidates; ++i)
    result = max(result, candidates[i].logit);
  return result;
}

double Sampler::sum(float top) const {
  double result = 0;
  for (uint32_t i = 0; i < numCandidates; ++i)
    result += double(expOf(candidates[i].logit - top));
  return result;
}

//===----------------------------------------------------------------------===//
// Steps
//===----------------------------------------------------------------------===//

void Sampler::penalize(float *logits, const Sampling &s, const int32_t *history,
                       uint64_t count) {
  if (s.repetition == 1 && s.presence == 0 && s.frequency == 0)
    return;
  uint64_t window = s.penaltyWindow < 0
                        ? count
                        : min<uint64_t>(uint64_t(s.penaltyWindow), count);
  const int32_t *recent = history + (count - window);
  for (uint64_t i = 0; i < window; ++i)
    if (uint32_t(recent[i]) < vocabulary)
      ++occurrences[recent[i]];
  for (uint64_t i = 0; i < window; ++i) {
    if (uint32_t(recent[i]) >= vocabulary || !occurrences[recent[i]])
      continue;
    float &logit = logits[recent[i]];
    logit = logit > 0 ? logit / s.repetition : logit * s.repetition;
    logit -= float(occurrences[recent[i]]) * s.frequency + s.presence;
    occurrences[recent[i]] = 0;
  }
}

template <typename Less> void Sampler::keepMass(double probability, Less less) {
  // As in sort(), the heap's top is its last element: the order is reversed.
  auto comesLater = [&](const Candidate &a, const Candidate &b) {
    return less(b, a);
  };
  float highest = top();
  double wanted = probability * sum(highest), mass = 0;
  makeHeap(candidates, numCandidates, comesLater);
  uint32_t left = numCandidates;
  while (left && (left == numCandidates || mass < wanted)) {
    popHeap(candidates, left, comesLater);
    mass += double(expOf(candidates[--left].logit - highest));
  }
  // They are at the end, the first one last.
  numCandidates -= left;
  for (uint32_t i = 0; i < numCandidates / 2; ++i) {
    Candidate &a = candidates[left + i];
    Candidate &b = candidates[left + numCandidates - 1 - i];
    Candidate swap = a;
    a = b;
    b = swap;
  }
  memmove(candidates, candidates + left, numCandidates * sizeof(Candidate));
}

void Sampler::keepTypical(double probability) {
  float highest = top();
  double total = sum(highest), logTotal = logOf(total), entropy = 0;
  for (uint32_t i = 0; i < numCandidates; ++i) {
    float shifted = candidates[i].logit - highest;
    if (float weight = expOf(shifted))
      entropy += double(weight) * (logTotal - double(shifted)) / total;
  }
  for (uint32_t i = 0; i < numCandidates; ++i) {
    double surprise = logTotal - double(candidates[i].logit - highest);
    double distance = surprise - entropy;
    candidates[i].key = float(distance < 0 ? -distance : distance);
  }
  keepMass(probability, ByKey());
}

void Sampler::keepTopP(double probability) {
  // Tokens below (1 - p) / n have less than 1 - p together: they come after
  // those that have p.
  float highest = top();
  double total = sum(highest);
  double floor = (1 - probability) * total / numCandidates;
  uint32_t kept = 0;
  for (uint32_t i = 0; i < numCandidates; ++i)
    if (double(expOf(candidates[i].logit - highest)) >= floor)
      candidates[kept++] = candidates[i];
  numCandidates = kept;
  keepMass(probability * total / sum(highest), ByLogit());
}

void Sampler::keepMinP(float ratio) {
  float floor = top() + float(logOf(double(ratio)));
  uint32_t kept = 0;
  for (uint32_t i = 0; i < numCandidates; ++i)
    if (candidates[i].logit >= floor)
      candidates[kept++] = candidates[i];
  numCandidates = kept;
}

int32_t Sampler::sample(float *logits, const Sampling &s,
                        const int32_t *history, uint64_t count,
                        Random &random) {
  for (uint32_t i = 0; i < s.numBiases; ++i)
    if (uint32_t(s.biases[i].token) < vocabulary)
      logits[s.biases[i].token] += s.biases[i].bias;
  penalize(logits, s, history, count);
  float highest = largest(logits, vocabulary);
  if (!(highest - highest == 0))
    return -1;
  if (!(s.temperature > kColdest) || s.topK == 1) {
    uint32_t first = 0;
    while (logits[first] != highest)
      ++first;
    return int32_t(first);
  }

  if (s.topK && s.topK < vocabulary)
    takeBest(logits, s.topK);
  else
    takeAll(logits);
  if (s.typical < 1)
    keepTypical(double(s.typical));
  if (s.topP < 1)
    keepTopP(double(s.topP));
  if (s.minP > 0)
    keepMinP(min(s.minP, 1.0f));

  float scale = 1 / s.temperature;
  highest = top();
  double total = 0;
  for (uint32_t i = 0; i < numCandidates; ++i) {
    candidates[i].key = expOf((candidates[i].logit - highest) * scale);
    total += double(candidates[i].key);
  }
  double drawn = random.real() * total, mass = 0;
  int32_t token = candidates[0].token;
  for (uint32_t i = 0; i < numCandidates; ++i) {
    if (candidates[i].key == 0)
      continue;
    token = candidates[i].token;
    mass += double(candidates[i].key);
    if (drawn < mass)
      break;
  }
  return token;
}

void Sampler::score(const float *logits, int32_t token, uint32_t alternatives,
                    TokenScore *scores) {
  float highest = largest(logits, vocabulary);
  double logTotal = logOf(sumOfExponentials(logits, vocabulary, highest));
  auto scoreOf = [&](int32_t id) {
    return TokenScore{id, float(double(logits[id] - highest) - logTotal)};
  };
  scores[0] = scoreOf(token);
  takeBest(logits, alternatives);
  for (uint32_t i = 0; i < alternatives; ++i)
    scores[1 + i] =
        i < numCandidates ? scoreOf(candidates[i].token) : TokenScore{-1, 0};
}
