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
  free(weights);
  free(occurrences);
}

bool Sampler::open(uint32_t size) {
  vocabulary = size;
  uint64_t room = uint64_t(size) + 1;
  candidates = static_cast<Candidate *>(malloc(room * sizeof(Candidate)));
  weights = static_cast<float *>(malloc(room * sizeof(float)));
  occurrences = static_cast<uint32_t *>(calloc(room, sizeof(uint32_t)));
  return candidates && weights && occurrences;
}

void Sampler::takeAll(const float *logits) {
  for (uint32_t i = 0; i < vocabulary; ++i)
    candidates[i] = {logits[i], 0, 0, int32_t(i)};
  numCandidates = vocabulary;
}

/// Keeps the `count` first in a heap with the last of them on top, and looks
/// closer only at blocks of logits that have one above it.
void Sampler::takeBest(const float *logits, uint32_t count) {
  constexpr uint32_t kBlock = 32;
  ByLogit comesFirst;
  numCandidates = min(count, vocabulary);
  for (uint32_t i = 0; i < numCandidates; ++i)
    candidates[i] = {logits[i], 0, 0, int32_t(i)};
  makeHeap(candidates, numCandidates, comesFirst);
  auto consider = [&](uint32_t i) {
    if (!(logits[i] > candidates[0].logit))
      return;
    candidates[0] = {logits[i], 0, 0, int32_t(i)};
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

void Sampler::takeAbove(const float *logits, float floor) {
  numCandidates = 0;
  for (uint32_t i = 0; i < vocabulary; ++i)
    if (logits[i] >= floor)
      candidates[numCandidates++] = {logits[i], 0, 0, int32_t(i)};
}

float Sampler::top() const {
  float result = candidates[0].logit;
  for (uint32_t i = 1; i < numCandidates; ++i)
    result = max(result, candidates[i].logit);
  return result;
}

double Sampler::weigh(float top, float scale) {
  double sum = 0;
  for (uint32_t i = 0; i < numCandidates; ++i) {
    candidates[i].weight = expOf((candidates[i].logit - top) * scale);
    sum += double(candidates[i].weight);
  }
  return sum;
}

/// Quickselect by weight: only the part is divided further where the limit
/// lies.
template <typename Less> void Sampler::keepMass(double wanted, Less less) {
  auto swap = [](Candidate &a, Candidate &b) {
    Candidate kept = a;
    a = b;
    b = kept;
  };
  uint32_t begin = 0, end = numCandidates;
  while (begin < end && (begin == 0 || wanted > 0)) {
    // The median of three is the pivot, at the end while others are divided.
    Candidate *first = candidates + begin, *last = candidates + end - 1;
    Candidate *middle = candidates + begin + (end - begin) / 2;
    if (less(*middle, *first))
      swap(*middle, *first);
    if (less(*last, *first))
      swap(*last, *first);
    if (less(*middle, *last))
      swap(*middle, *last);
    uint32_t split = begin;
    double mass = 0;
    for (uint32_t i = begin; i + 1 < end; ++i)
      if (less(candidates[i], *last)) {
        mass += double(candidates[i].weight);
        swap(candidates[i], candidates[split++]);
      }
    swap(candidates[split], *last);
    if (split > begin && mass >= wanted) {
      end = split;
    } else {
      wanted -= mass + double(candidates[split].weight);
      begin = split + 1;
    }
  }
  numCandidates = begin;
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

void Sampler::keepTypical(double probability) {
  float highest = top();
  double total = weigh(highest), logTotal = logOf(total), entropy = 0;
  for (uint32_t i = 0; i < numCandidates; ++i)
    if (candidates[i].weight > 0)
      entropy += double(candidates[i].weight) / total *
                 (logTotal - double(candidates[i].logit - highest));
  for (uint32_t i = 0; i < numCandidates; ++i) {
    double surprise = logTotal - double(candidates[i].logit - highest);
    double distance = surprise - entropy;
    candidates[i].key = float(distance < 0 ? -distance : distance);
  }
  keepMass(probability * total, ByKey());
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

  float scale = 1 / s.temperature;
  const double topP = double(s.topP);
  bool cutsK = s.topK && s.topK < vocabulary;
  if (!cutsK && s.typical >= 1 && s.topP >= 1 && s.minP <= 0) {
    double total = exponentials(logits, vocabulary, highest, scale, weights);
    double drawn = random.real() * total, mass = 0;
    uint32_t token = 0;
    for (uint32_t i = 0; i < vocabulary && mass <= drawn; ++i)
      if (weights[i] > 0) {
        mass += double(weights[i]);
        token = i;
      }
    return int32_t(token);
  }

  if (cutsK) {
    takeBest(logits, s.topK);
  } else if (s.typical < 1) {
    takeAll(logits);
  } else if (s.topP < 1) {
    // Tokens below (1 - p) / n have less than 1 - p together: they come after
    // those that have p.
    double total = sumOfExponentials(logits, vocabulary, highest);
    double least = max((1 - topP) * total / vocabulary, 1e-30);
    takeAbove(logits, highest + min(float(logOf(least)), 0.0f) - 1e-3f);
    weigh(highest);
    keepMass(topP * total, ByLogit());
  } else {
    takeAbove(logits, highest + float(logOf(double(min(s.minP, 1.0f)))));
  }
  if (s.typical < 1)
    keepTypical(double(s.typical));
  if (s.topP < 1 && (cutsK || s.typical < 1))
    keepMass(topP * weigh(top()), ByLogit());
  if (s.minP > 0)
    keepMinP(min(s.minP, 1.0f));

  double drawn = random.real() * weigh(top(), scale), mass = 0;
  int32_t token = candidates[0].token;
  for (uint32_t i = 0; i < numCandidates && mass <= drawn; ++i)
    if (candidates[i].weight > 0) {
      token = candidates[i].token;
      mass += double(candidates[i].weight);
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
